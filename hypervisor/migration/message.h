/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of wire/migration.h over a channel: something that takes and gives bytes in order, be it a
 * TLS connection, a file or a buffer. The same reader serves all of them, and a fuzzer.
 *
 * A channel is used by at most one reading and one writing thread at a time. After an error it is
 * good for nothing more in that direction.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_MESSAGE_H
#define LUNAR_HYPERVISOR_MIGRATION_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "wire/migration.h"

/*
 * All of length bytes, or an error: -EPIPE: the peer (or the file) has properly ended; -ECONNRESET:
 * cut (a file that ends in the middle too); -ETIMEDOUT; -ECANCELED: another thread ended it;
 * -EPROTO: it is not what it should be; or another -errno.
 */
struct migration_channel_ops {
	int (*read)(void *ctx, void *to, size_t length, struct deadline deadline);
	int (*write)(void *ctx, const void *from, size_t length, struct deadline deadline);
};

struct migration_channel {
	const struct migration_channel_ops *ops;
	void *ctx;
	bool checked; /* frames carry their check (a file) */
	uint64_t read_check;
	uint64_t write_check;
};

void migration_channel_init(struct migration_channel *channel,
			    const struct migration_channel_ops *ops, void *ctx, bool checked);

/* A received frame. The payload is the message's until the next receive. Zero it to begin with. */
struct migration_message {
	uint32_t type;
	uint32_t length;
	uint8_t *payload; /* NULL where nothing was ever received */
	size_t capacity;
};

void migration_message_fini(struct migration_message *message);

/* Sends one frame. Returns 0, -EMSGSIZE (past MIGRATION_MAX_PAYLOAD_BYTES) or as the channel. */
int migration_message_send(struct migration_channel *channel, uint32_t type, const void *payload,
			   size_t length, struct deadline deadline);

/*
 * Sends a frame whose payload lies in a buffer with room for its header right before it:
 * payload[-sizeof(struct migration_frame)] is written too. Spares a copy.
 */
int migration_message_send_in_place(struct migration_channel *channel, uint32_t type,
				    uint8_t *payload, size_t length, struct deadline deadline);

/*
 * Receives one frame of at most max_length payload bytes; memory for it is taken as it arrives, not
 * as it is announced. Returns 0, -EPROTO: longer than that, or its check is wrong; -ENOMEM; or as
 * the channel: -EPIPE only where it ended between two frames, else -ECONNRESET.
 */
int migration_message_receive(struct migration_channel *channel, struct migration_message *message,
			      size_t max_length, struct deadline deadline);

/* A channel that reads from bytes (the caller's), for tests and fuzzers. */
struct migration_buffer {
	struct migration_channel channel;
	const uint8_t *next;
	size_t left;
};

void migration_buffer_init(struct migration_buffer *buffer, const void *bytes, size_t length);

#endif
