/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of a target share: target.c (its outside, and its thread), target_greet.c (HELLO,
 * checks, the VM), target_memory.c (its memory and state), target_commit.c (from READY to the end).
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_TARGET_INTERNAL_H
#define LUNAR_HYPERVISOR_MIGRATION_TARGET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

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

struct target {
	struct migration_target base;
	struct event_loop *loop;
	int socket; /* -1 once TLS has it */
	const struct migration_target_vm_ops *ops;
	void *ctx;
	migration_ended_fn ended;
	void *ended_ctx;
	struct migration_caller *caller;
	struct migration_tls_credentials *credentials;
	int cancel_fd;
	pthread_t thread;
	struct over_post *over; /* loop's thread */

	pthread_mutex_t lock; /* guards what follows */
	struct migration_status status;
	int handshake_fd;	   /* a duplicate of the connection while it is under way, or -1 */
	struct migration_tls *tls; /* for who shuts them down; the mover's otherwise */
	struct migration_tls *memory_tls[MIGRATION_MAX_CONNECTIONS];
	struct migration_page_receiver *receiver;
	bool waiting;	/* for the source's word, restored */
	bool word_said; /* an operator's */
	bool word_there;

	_Atomic bool destroyed;

	/* The mover's. */
	struct migration_control *control;
	struct migration_message first; /* HELLO: what follows points into it */
	struct migration_hello hello;
	struct migration_check check;
	struct migration_record record; /* "committed", as it will be */
	char source_address[64];
	int in_lock;
	uint64_t started_ns;
	struct timespec runs_since; /* CLOCK_REALTIME_COARSE; of target_settle() */
	bool made;
	bool prepared; /* decision and definition lie on disk */
	bool moved;
	/* Given to the VM, which may still use them when a wait for it was given up. */
	struct state_reader portals;
	struct migration_check nic_findings;
	struct migration_message state;
	struct state_reader state_reader;
	uint32_t last_round;
};

/* Each part: 0, or -errno with *error: the VM is dropped. */
/* 1: answered, and nothing comes of it (a check). */
int target_greet(struct target *target, struct vm_error *error);
/* ACCEPT, and the memory connections. */
int target_join(struct target *target, struct vm_error *error);
int target_receive(struct target *target, struct vm_error *error);
int target_restore(struct target *target, struct vm_error *error);
/* READY, and the source's word. 0: it runs here. */
int target_decide(struct target *target, struct vm_error *error);
/* Late frames, figures. */
void target_settle(struct target *target);

void target_disconnect(struct target *target);
uint32_t target_ms_since(uint64_t start_ns);
/* Tells the source why, where it listens. */
void target_fail_tell(struct target *target, const struct vm_error *error);

#endif
