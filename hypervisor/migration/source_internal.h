/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of a source share: source.c (its outside, and its thread),
 * source_copy.c (up to a VM that may be stopped), source_commit.c (from there
 * to the end).
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_SOURCE_INTERNAL_H
#define LUNAR_HYPERVISOR_MIGRATION_SOURCE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "hypervisor/migration/internal.h"
#include "hypervisor/migration/pages.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/migration/step.h"
#include "hypervisor/migration/vm.h"
#include "hypervisor/migration/words.h"

struct migration_caller;
struct migration_control;
struct migration_tls;
struct migration_tls_credentials;
struct over_post;

enum operator_word {
	OPERATOR_SILENT,
	OPERATOR_HERE,
	OPERATOR_THERE,
};

struct late_frame {
	STAILQ_ENTRY(late_frame) link;
	size_t length;	 /* of bytes */
	uint8_t bytes[]; /* payload of MIGRATION_FRAME_LATE */
};

STAILQ_HEAD(late_frames, late_frame);

struct source {
	struct migration_source base;
	struct event_loop *loop;
	struct migration_options options; /* zeroes replaced by what they stand for */
	char vm_name[VM_NAME_MAX + 1];
	const struct migration_source_vm_ops *ops;
	void *ctx;
	migration_ended_fn ended;
	void *ended_ctx;
	struct migration_caller *caller;
	struct migration_tls_credentials *credentials;
	int cancel_fd; /* eventfd: readable once the move is to end */
	pthread_t thread;
	struct over_post *over; /* loop's thread */

	pthread_mutex_t lock; /* guards what follows */
	struct migration_status status;
	struct migration_check check; /* constant once checked */
	bool checked;
	int dial_fd; /* a duplicate of the connection whose handshake is under way, or -1 */
	struct migration_tls *tls; /* for who shuts them down; the mover's otherwise */
	struct migration_tls *memory_tls[MIGRATION_MAX_CONNECTIONS];
	struct migration_page_sender *sender;
	enum operator_word operator_word;
	struct late_frames late;
	size_t late_count;
	bool late_closed;

	_Atomic bool cancelled; /* set under lock, unless released */
	_Atomic bool released;	/* likewise, unless cancelled: COMMIT may have been sent */
	_Atomic bool destroyed;

	/* The mover's. */
	struct migration_control *control;
	struct migration_record record;
	int out_lock;
	uint64_t started_ns;
	uint64_t memory_rate; /* bytes of pages with content a second, of the last long round */
	uint32_t rounds;      /* sent */
	bool logging;	      /* dirty_start() */
	bool recorded;	      /* a record is on disk */
	bool complete;	      /* the target may have all of it */
	bool paused;
	bool moved;
};

/* Each part: 0, or -errno with *error (the move is given up). */
int source_connect(struct source *source, struct vm_error *error);
int source_copy(struct source *source, struct vm_error *error);
/* Stops the VM and hands it over. What went wrong before COMMIT is undone by source_abort(). */
int source_hand_over(struct source *source, struct vm_error *error);
/* The VM runs on here. */
void source_abort(struct source *source);
/* The VM is the target's: late frames, figures. */
void source_depart(struct source *source);

void source_disconnect(struct source *source);
void source_set_phase(struct source *source, enum migration_phase phase);
/* What an error of a connection means; what the target itself said of it comes first. */
int source_explain(struct source *source, int rc, struct vm_error *error);
uint32_t source_ms_since(uint64_t start_ns);

#endif
