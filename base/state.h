/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved state: what a VM is, as bytes that another process, maybe of the version before or after
 * this one, makes the same VM of. A row of sections, which may hold sections in turn:
 *
 *   {u32 tag, u16 version, u16 readable_by, u32 length} length bytes       (little-endian)
 *
 * version: of the section's layout; only ever appended to. readable_by: the oldest layout that a
 * reader must know to make sense of it; STATE_SKIPPABLE where one who does not know the tag may
 * pass over it. So a reader takes what is older (the fields that are missing have a fallback) and
 * what is newer by an addition (the rest is left unread), and refuses the others with a reason.
 *
 * Bytes that are read are hostile. A reader never goes past its section; what is asked for beyond
 * the end reads as 0 and leaves an error that sticks, so that a parser may check once, at its end.
 * Single-threaded.
 */
#ifndef LUNAR_BASE_STATE_H
#define LUNAR_BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_MAX_DEPTH	   8
#define STATE_HEADER_BYTES 12
#define STATE_SKIPPABLE	   0 /* readable_by: not needed by who does not know the tag */

/* A tag of four characters, as they stand in the bytes. */
#define STATE_TAG(a, b, c, d)                                                                      \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* ---- writing ---- */

struct state_writer {
	uint8_t *bytes;
	size_t length;
	size_t capacity;
	int error; /* -ENOMEM or -EINVAL, from then on nothing is written */
	size_t open[STATE_MAX_DEPTH];
	unsigned int depth;
};

void state_writer_init(struct state_writer *writer);
void state_writer_fini(struct state_writer *writer);

/* Opens a section, inside the one that is open. */
void state_begin(struct state_writer *writer, uint32_t tag, uint16_t version, uint16_t readable_by);
void state_end(struct state_writer *writer);

void state_put_u8(struct state_writer *writer, uint8_t value);
void state_put_u16(struct state_writer *writer, uint16_t value);
void state_put_u32(struct state_writer *writer, uint32_t value);
void state_put_u64(struct state_writer *writer, uint64_t value);
/* length bytes, without their length. */
void state_put_bytes(struct state_writer *writer, const void *bytes, size_t length);
/* A u32 length, then the bytes: see state_get_blob(). */
void state_put_blob(struct state_writer *writer, const void *bytes, size_t length);

/* Whether all of it was written: 0, -ENOMEM, or -EINVAL: a section is still open, one was closed
 * that was not open, too deep, or too long for its header. */
int state_writer_result(const struct state_writer *writer);

/* ---- reading ---- */

struct state_reader {
	const uint8_t *next;
	const uint8_t *end;
	uint32_t tag; /* of the section that this reader is in; 0 at the outermost level */
	uint16_t version;
	uint16_t readable_by;
	int error; /* 0 or -EPROTO */
};

/* bytes are the caller's and outlive every reader in them. */
void state_reader_init(struct state_reader *reader, const void *bytes, size_t length);

/* Goes to the next section. Returns 1 with *section set to read it; 0 at the end; -EPROTO where the
 * bytes are cut or malformed (also kept in reader->error). */
int state_next(struct state_reader *reader, struct state_reader *section);

/* Whether a section can be read by who knows its layout up to version `known` (1..): 0, or
 * -EOPNOTSUPP: it is of a newer and incompatible version. */
int state_check_version(const struct state_reader *section, uint16_t known);
/* For a section of unknown tag: 0 where it may be passed over, else -EOPNOTSUPP. */
int state_check_skippable(const struct state_reader *section);

size_t state_left(const struct state_reader *reader);
uint8_t state_get_u8(struct state_reader *reader);
uint16_t state_get_u16(struct state_reader *reader);
uint32_t state_get_u32(struct state_reader *reader);
uint64_t state_get_u64(struct state_reader *reader);
/* A field that an older writer did not know: fallback at the section's end. */
uint32_t state_get_u32_or(struct state_reader *reader, uint32_t fallback);
uint64_t state_get_u64_or(struct state_reader *reader, uint64_t fallback);
/* length bytes in place, or NULL with the error set. */
const void *state_get_bytes(struct state_reader *reader, size_t length);
/* What state_put_blob() wrote, in place, *length of it (may be 0); NULL with the error set where it
 * is longer than max_length or cut. */
const void *state_get_blob(struct state_reader *reader, size_t max_length, size_t *length);
/* A value that must be at most max; else the error is set and 0 returned. For counts and indices.
 */
uint32_t state_get_bounded(struct state_reader *reader, uint32_t max);

#endif
