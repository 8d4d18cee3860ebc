/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing and reading saved state. See state.h.
 */
#include "base/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define FIRST_CAPACITY 4096

/* ---- writing ---- */

void state_writer_init(struct state_writer *writer)
{
	*writer = (struct state_writer){0};
}

void state_writer_fini(struct state_writer *writer)
{
	free(writer->bytes);
	*writer = (struct state_writer){0};
}

/* Room for length more bytes, which are the writer's from then on; NULL after an error. */
static uint8_t *bytes_add(struct state_writer *writer, size_t length)
{
	size_t capacity = writer->capacity ? writer->capacity : FIRST_CAPACITY;
	uint8_t *grown;

	if (writer->error)
		return NULL;
	while (capacity - writer->length < length) {
		if (capacity > SIZE_MAX / 2) {
			writer->error = -ENOMEM;
			return NULL;
		}
		capacity *= 2;
	}
	if (capacity != writer->capacity) {
		grown = realloc(writer->bytes, capacity);
		if (!grown) {
			writer->error = -ENOMEM;
			return NULL;
		}
		writer->bytes = grown;
		writer->capacity = capacity;
	}
	writer->length += length;
	return writer->bytes + writer->length - length;
}

void state_put_bytes(struct state_writer *writer, const void *bytes, size_t length)
{
	uint8_t *to = bytes_add(writer, length);

	if (to && length)
		memcpy(to, bytes, length);
}

void state_put_u8(struct state_writer *writer, uint8_t value)
{
	state_put_bytes(writer, &value, sizeof(value));
}

void state_put_u16(struct state_writer *writer, uint16_t value)
{
	uint8_t bytes[2];

	put_le16(bytes, value);
	state_put_bytes(writer, bytes, sizeof(bytes));
}

void state_put_u32(struct state_writer *writer, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	state_put_bytes(writer, bytes, sizeof(bytes));
}

void state_put_u64(struct state_writer *writer, uint64_t value)
{
	uint8_t bytes[8];

	put_le64(bytes, value);
	state_put_bytes(writer, bytes, sizeof(bytes));
}

void state_put_blob(struct state_writer *writer, const void *bytes, size_t length)
{
	if (length > UINT32_MAX) {
		writer->error = writer->error ? writer->error : -EINVAL;
		return;
	}
	state_put_u32(writer, (uint32_t)length);
	state_put_bytes(writer, bytes, length);
}

void state_begin(struct state_writer *writer, uint32_t tag, uint16_t version, uint16_t readable_by)
{
	if (writer->error)
		return;
	if (writer->depth == STATE_MAX_DEPTH) {
		writer->error = -EINVAL;
		return;
	}
	writer->open[writer->depth++] = writer->length;
	state_put_u32(writer, tag);
	state_put_u16(writer, version);
	state_put_u16(writer, readable_by);
	state_put_u32(writer, 0); /* the length, once it is known */
}

void state_end(struct state_writer *writer)
{
	size_t start;
	size_t length;

	if (writer->error)
		return;
	if (writer->depth == 0) {
		writer->error = -EINVAL;
		return;
	}
	start = writer->open[--writer->depth];
	length = writer->length - start - STATE_HEADER_BYTES;
	if (length > UINT32_MAX) {
		writer->error = -EINVAL;
		return;
	}
	put_le32(writer->bytes + start + STATE_HEADER_BYTES - sizeof(uint32_t), (uint32_t)length);
}

int state_writer_result(const struct state_writer *writer)
{
	if (writer->error)
		return writer->error;
	return writer->depth ? -EINVAL : 0;
}

/* ---- reading ---- */

void state_reader_init(struct state_reader *reader, const void *bytes, size_t length)
{
	*reader = (struct state_reader){.next = bytes, .end = (const uint8_t *)bytes + length};
}

size_t state_left(const struct state_reader *reader)
{
	return (size_t)(reader->end - reader->next);
}

const void *state_get_bytes(struct state_reader *reader, size_t length)
{
	const uint8_t *bytes = reader->next;

	if (reader->error || state_left(reader) < length) {
		reader->error = -EPROTO;
		return NULL;
	}
	reader->next += length;
	return bytes;
}

uint8_t state_get_u8(struct state_reader *reader)
{
	const uint8_t *bytes = state_get_bytes(reader, 1);

	return bytes ? *bytes : 0;
}

uint16_t state_get_u16(struct state_reader *reader)
{
	const void *bytes = state_get_bytes(reader, 2);

	return bytes ? get_le16(bytes) : 0;
}

uint32_t state_get_u32(struct state_reader *reader)
{
	const void *bytes = state_get_bytes(reader, 4);

	return bytes ? get_le32(bytes) : 0;
}

uint64_t state_get_u64(struct state_reader *reader)
{
	const void *bytes = state_get_bytes(reader, 8);

	return bytes ? get_le64(bytes) : 0;
}

uint32_t state_get_u32_or(struct state_reader *reader, uint32_t fallback)
{
	return !reader->error && state_left(reader) == 0 ? fallback : state_get_u32(reader);
}

uint64_t state_get_u64_or(struct state_reader *reader, uint64_t fallback)
{
	return !reader->error && state_left(reader) == 0 ? fallback : state_get_u64(reader);
}

const void *state_get_blob(struct state_reader *reader, size_t max_length, size_t *length)
{
	uint32_t stored = state_get_u32(reader);

	*length = 0;
	if (reader->error || stored > max_length) {
		reader->error = -EPROTO;
		return NULL;
	}
	*length = stored;
	return state_get_bytes(reader, stored);
}

uint32_t state_get_bounded(struct state_reader *reader, uint32_t max)
{
	uint32_t value = state_get_u32(reader);

	if (value <= max)
		return value;
	reader->error = -EPROTO;
	return 0;
}

int state_next(struct state_reader *reader, struct state_reader *section)
{
	uint32_t tag;
	uint16_t version;
	uint16_t readable_by;
	size_t length;
	const void *bytes;

	if (!reader->error && state_left(reader) == 0)
		return 0;
	tag = state_get_u32(reader);
	version = state_get_u16(reader);
	readable_by = state_get_u16(reader);
	bytes = state_get_blob(reader, SIZE_MAX, &length);
	if (reader->error)
		return reader->error;
	state_reader_init(section, bytes, length);
	section->tag = tag;
	section->version = version;
	section->readable_by = readable_by;
	return 1;
}

int state_check_version(const struct state_reader *section, uint16_t known)
{
	return section->readable_by <= known ? 0 : -EOPNOTSUPP;
}

int state_check_skippable(const struct state_reader *section)
{
	return section->readable_by == STATE_SKIPPABLE ? 0 : -EOPNOTSUPP;
}
