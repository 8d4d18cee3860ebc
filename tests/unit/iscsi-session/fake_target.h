/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iSCSI target (RFC 7143) for tests, on loopback and in the test's own event loop. It keeps what
 * it was sent, byte for byte, and misbehaves on request. One connection at a time.
 */
#ifndef LUNAR_TESTS_ISCSI_SESSION_FAKE_TARGET_H
#define LUNAR_TESTS_ISCSI_SESSION_FAKE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/event_loop.h"

#define FAKE_COMMANDS_MAX 1024
#define FAKE_PDU_MAX	  ((size_t)300 * 1024)
#define FAKE_OUT_MAX	  ((size_t)4 * 1024 * 1024)
struct fake_command {
	uint8_t header[48];
	uint32_t itt;
	uint32_t data_bytes; /* immediate and unsolicited data */
	uint64_t data_sum;   /* of its bytes */
	bool final;
	bool answered;
	uint8_t *out; /* where the target has a unit; freed with the answer */
};

/* A logical unit behind the target: fills in, of *in_bytes bytes at most, and sense, of 18. Returns
 * the SAM status. */
typedef uint8_t (*fake_unit_fn)(void *ctx, const uint8_t cdb[16], const uint8_t *out,
				uint32_t out_bytes, uint8_t *in, uint32_t *in_bytes,
				uint8_t sense[18]);

struct fake_target {
	struct event_loop *loop;
	int listen_fd, fd;
	struct event_watch *listen_watch, *watch;
	char portal[32];
	uint8_t *in;
	size_t in_bytes;
	uint32_t stat_sn;
	bool full_feature;

	/* How it behaves. */
	const char *login_keys; /* key=value pairs, each ended by a newline; sent in the operational
				   stage */
	uint16_t login_status;	/* RFC 7143 11.13.5; 0: accepts */
	bool mute_login;	/* never answers a login */
	bool reset_refused;	/* resets the connection as soon as it has refused a login */
	bool mute_nop;
	bool hold_commands;   /* answers none until fake_target_answer_all() */
	bool check_condition; /* answers every command with sense, of sense_bytes bytes */
	size_t sense_bytes;
	bool mute_abort;
	uint32_t underflow_bytes;	 /* of reads: that much less than asked comes */
	bool header_digest, data_digest; /* in full feature phase; say so in login_keys too */
	bool corrupt_data;		 /* flips a bit of each data segment that it sends */
	fake_unit_fn unit;		 /* optional: answers commands */
	void *unit_ctx;
	size_t trickle_bytes; /* sends that many a millisecond; 0: at once */

	uint8_t *out; /* what a trickle has left */
	size_t out_bytes;
	struct event_timer *trickle_timer;

	/* What it saw. */
	int logins, logouts, nops, aborts, lun_resets, connections, bad_digests;
	uint8_t login_header[48]; /* of the last first login PDU */
	char login_text[2048];	  /* of the last login; NULs made newlines */
	struct fake_command commands[FAKE_COMMANDS_MAX];
	int command_count;
};

int fake_target_create(struct event_loop *loop, struct fake_target *target);
void fake_target_destroy(struct fake_target *target);
/* Closes the connection, without a word. */
void fake_target_drop(struct fake_target *target);
/* Closes the connection and listens anew with a receive buffer of few bytes, so that the initiator
 * must wait. */
void fake_target_narrow(struct fake_target *target);
/* Stops listening, so that connects are refused, or listens again on the same port. */
void fake_target_listen(struct fake_target *target, bool on);
void fake_target_answer_all(struct fake_target *target);
/* Sends raw bytes to the initiator. */
void fake_target_send(struct fake_target *target, const void *bytes, size_t length);

#endif
