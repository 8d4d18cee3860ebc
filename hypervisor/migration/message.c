/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames over a channel. See message.h.
 */
#include "hypervisor/migration/message.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SMALL_BYTES	4096 /* payloads up to this are sent in one piece with their header */
#define FIRST_BYTES	(64u << 10) /* of memory for a payload, before any of it has come */
#define SHA256_BYTES	32
#define FRAME_LENGTH_AT offsetof(struct migration_frame, length_bytes)
#define FRAME_CHECK_AT	offsetof(struct migration_frame, check)

void migration_channel_init(struct migration_channel *channel,
			    const struct migration_channel_ops *ops, void *ctx, bool checked)
{
	*channel = (struct migration_channel){.ops = ops, .ctx = ctx, .checked = checked};
}

void migration_message_fini(struct migration_message *message)
{
	free(message->payload);
	*message = (struct migration_message){0};
}

/* The check of a frame, given that of the frame before. Returns 0 or -EIO. */
static int frame_check(uint64_t before, const uint8_t *header, const void *payload, size_t length,
		       uint64_t *check)
{
	gnutls_hash_hd_t hash;
	uint8_t digest[SHA256_BYTES];
	uint8_t prefix[8 + FRAME_CHECK_AT];

	put_le64(prefix, before);
	memcpy(prefix + 8, header, FRAME_CHECK_AT);
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return -EIO;
	if (gnutls_hash(hash, prefix, sizeof(prefix)) < 0 ||
	    (length > 0 && gnutls_hash(hash, payload, length) < 0)) {
		gnutls_hash_deinit(hash, NULL);
		return -EIO;
	}
	gnutls_hash_deinit(hash, digest);
	*check = get_le64(digest);
	return 0;
}

static int header_put(struct migration_channel *channel, uint8_t *header, uint32_t type,
		      const void *payload, size_t length)
{
	uint64_t check = 0;
	int rc;

	if (length > MIGRATION_MAX_PAYLOAD_BYTES)
		return -EMSGSIZE;
	put_le32(header, type);
	put_le32(header + FRAME_LENGTH_AT, (uint32_t)length);
	if (channel->checked) {
		rc = frame_check(channel->write_check, header, payload, length, &check);
		if (rc < 0)
			return rc;
		channel->write_check = check;
	}
	put_le64(header + FRAME_CHECK_AT, check);
	return 0;
}

int migration_message_send(struct migration_channel *channel, uint32_t type, const void *payload,
			   size_t length, struct deadline deadline)
{
	uint8_t frame[sizeof(struct migration_frame) + SMALL_BYTES];
	int rc = header_put(channel, frame, type, payload, length);

	if (rc < 0)
		return rc;
	if (length <= SMALL_BYTES) {
		if (length > 0)
			memcpy(frame + sizeof(struct migration_frame), payload, length);
		return channel->ops->write(channel->ctx, frame,
					   sizeof(struct migration_frame) + length, deadline);
	}
	rc = channel->ops->write(channel->ctx, frame, sizeof(struct migration_frame), deadline);
	if (rc < 0)
		return rc;
	return channel->ops->write(channel->ctx, payload, length, deadline);
}

int migration_message_send_in_place(struct migration_channel *channel, uint32_t type,
				    uint8_t *payload, size_t length, struct deadline deadline)
{
	uint8_t *frame = payload - sizeof(struct migration_frame);
	int rc = header_put(channel, frame, type, payload, length);

	if (rc < 0)
		return rc;
	return channel->ops->write(channel->ctx, frame, sizeof(struct migration_frame) + length,
				   deadline);
}

static int message_reserve(struct migration_message *message, size_t capacity)
{
	uint8_t *payload;

	if (capacity <= message->capacity)
		return 0;
	payload = realloc(message->payload, capacity);
	if (!payload)
		return -ENOMEM;
	message->payload = payload;
	message->capacity = capacity;
	return 0;
}

/* Reads length bytes into the message's payload. Its memory doubles as bytes come, so that a length
 * that is a lie costs little. */
static int payload_read(struct migration_channel *channel, struct migration_message *message,
			size_t length, struct deadline deadline)
{
	size_t have = 0;

	while (have < length) {
		size_t capacity = have < FIRST_BYTES ? FIRST_BYTES : 2 * have;
		size_t want;
		int rc;

		if (capacity < message->capacity)
			capacity = message->capacity;
		if (capacity > length)
			capacity = length;
		rc = message_reserve(message, capacity);
		if (rc < 0)
			return rc;
		want = capacity - have;
		rc = channel->ops->read(channel->ctx, message->payload + have, want, deadline);
		if (rc < 0)
			return rc == -EPIPE ? -ECONNRESET : rc; /* no end within a frame */
		have += want;
	}
	return 0;
}

int migration_message_receive(struct migration_channel *channel, struct migration_message *message,
			      size_t max_length, struct deadline deadline)
{
	uint8_t header[sizeof(struct migration_frame)];
	uint32_t length;
	uint64_t check;
	int rc;

	message->length = 0;
	rc = channel->ops->read(channel->ctx, header, sizeof(header), deadline);
	if (rc < 0)
		return rc;
	length = get_le32(header + FRAME_LENGTH_AT);
	if (length > max_length || length > MIGRATION_MAX_PAYLOAD_BYTES)
		return -EPROTO;
	rc = payload_read(channel, message, length, deadline);
	if (rc < 0)
		return rc;
	if (channel->checked) {
		rc = frame_check(channel->read_check, header, message->payload, length, &check);
		if (rc < 0)
			return rc;
		if (check != get_le64(header + FRAME_CHECK_AT))
			return -EPROTO;
		channel->read_check = check;
	}
	message->type = get_le32(header);
	message->length = length;
	return 0;
}

static int buffer_read(void *ctx, void *to, size_t length, struct deadline deadline)
{
	struct migration_buffer *buffer = ctx;

	(void)deadline;
	if (buffer->left == 0 && length > 0)
		return -EPIPE;
	if (length > buffer->left) {
		buffer->left = 0;
		return -ECONNRESET;
	}
	memcpy(to, buffer->next, length);
	buffer->next += length;
	buffer->left -= length;
	return 0;
}

static int buffer_write(void *ctx, const void *from, size_t length, struct deadline deadline)
{
	(void)ctx;
	(void)from;
	(void)length;
	(void)deadline;
	return -EBADF;
}

void migration_buffer_init(struct migration_buffer *buffer, const void *bytes, size_t length)
{
	static const struct migration_channel_ops ops = {
		.read = buffer_read,
		.write = buffer_write,
	};

	migration_channel_init(&buffer->channel, &ops, buffer, false);
	buffer->next = bytes;
	buffer->left = length;
}
