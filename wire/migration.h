/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A move on the wire, and a saved VM in its file: frames of {type, length, check} and a payload,
 * little-endian, fixed layout. On a connection the frames are inside TLS 1.3; in a file they follow
 * a header of their own. Source: docs/migration.md.
 *
 * Connections: one for control, opened by the source to `lunar receive`; then MIGRATION_PORT_FIRST
 * to _LAST at the destination for memory, each authenticated like the first and opened by
 * MEMORY_HELLO with the token that the control connection told. A memory connection carries PAGES,
 * ROUND_END and at last MEMORY_END, one way.
 */
#ifndef LUNAR_WIRE_MIGRATION_H
#define LUNAR_WIRE_MIGRATION_H

#include <assert.h>
#include <stdint.h>

#define MIGRATION_PORT_FIRST 49201
#define MIGRATION_PORT_LAST  49263

/* What the accepting end says first inside TLS, once it has found the other's certificate good. */
#define MIGRATION_GREETING	 "LUNAR MOVE 1\r\n"
#define MIGRATION_GREETING_BYTES 14

#define MIGRATION_MAX_PAYLOAD_BYTES (64u << 20) /* of any frame: STATE is the longest */
#define MIGRATION_MAX_CONTROL_BYTES (1u << 20)	/* of those that hold neither pages nor STATE */

enum migration_frame_type {
	/* Memory connections, and the file. */
	MIGRATION_FRAME_PAGES = 1,
	MIGRATION_FRAME_ROUND_END = 2,	/* struct migration_round_end */
	MIGRATION_FRAME_MEMORY_END = 3, /* empty: no further round */
	MIGRATION_FRAME_MEMORY_HELLO = 4,

	/* Control connection (16..63), and those that a file has too. */
	MIGRATION_FRAME_DEFINITION = 16, /* the VM's definition as text, no NUL */
	MIGRATION_FRAME_CPU = 17,	 /* sections of base/state.h */
	MIGRATION_FRAME_MEMORY_MAP = 18, /* struct migration_region, one a region of memory */
	MIGRATION_FRAME_STATE = 19,	 /* sections of base/state.h */
	/* Control connection alone; sections of base/state.h unless it says otherwise. */
	MIGRATION_FRAME_HELLO = 24,
	MIGRATION_FRAME_ACCEPT = 25,
	MIGRATION_FRAME_REFUSE = 26,
	MIGRATION_FRAME_LAST_ROUND = 27, /* struct migration_round_end: the one that STATE is of */
	MIGRATION_FRAME_READY = 28,
	MIGRATION_FRAME_COMMIT = 29, /* empty */
	MIGRATION_FRAME_DONE = 30,
	MIGRATION_FRAME_LATE = 31, /* u32 NIC, then a network frame */
	MIGRATION_FRAME_FIGURES = 32,
	MIGRATION_FRAME_FAIL = 33,
	MIGRATION_FRAME_RESOLVE = 34, /* on a connection of its own, as is ASK */
	MIGRATION_FRAME_ASK = 35,
	MIGRATION_FRAME_OUTCOME = 36,
	MIGRATION_FRAME_SETTLED = 37, /* as RESOLVE */

	/* The file alone. */
	MIGRATION_FRAME_FILE_END = 64, /* empty: everything is there */
};

struct migration_frame {
	uint32_t type;
	uint32_t length_bytes; /* of the payload */
	/* Connection: 0. File: the first 8 bytes of SHA-256(check of the frame before, type,
	 * length, payload): a frame that was altered, lost or moved shows. */
	uint64_t check;
};
static_assert(sizeof(struct migration_frame) == 16, "migration frame");

struct migration_region {
	uint64_t gpa;
	uint64_t size_bytes;
};
static_assert(sizeof(struct migration_region) == 16, "migration region");

struct migration_round_end {
	uint32_t round; /* from 0 */
	uint32_t reserved;
};
static_assert(sizeof(struct migration_round_end) == 8, "migration round end");

#define MIGRATION_MAX_RUNS	  256	  /* in a PAGES frame */
#define MIGRATION_BATCH_BYTES	  262144u /* of page data in a PAGES frame, uncompressed */
#define MIGRATION_MAX_PAGES_BYTES (MIGRATION_BATCH_BYTES + 65536u) /* of a PAGES payload */

#define MIGRATION_RUN_DATA 0 /* its pages are in the frame's data, in order of the runs */
#define MIGRATION_RUN_ZERO 1 /* all of its pages are zero */

/* PAGES: this, runs[run_count], then the data: data_bytes after decompression. */
struct migration_pages_header {
	uint32_t compression; /* enum migration_compression */
	uint32_t run_count;   /* 1..MIGRATION_MAX_RUNS */
	uint32_t data_bytes;  /* a multiple of 4096, at most MIGRATION_BATCH_BYTES */
	uint32_t reserved;
};
static_assert(sizeof(struct migration_pages_header) == 16, "migration pages header");

struct migration_run {
	uint64_t gpn;
	uint32_t page_count; /* nonzero; inside one region */
	uint32_t kind;	     /* MIGRATION_RUN_* */
};
static_assert(sizeof(struct migration_run) == 16, "migration run");

#define MIGRATION_TOKEN_BYTES 32

struct migration_memory_hello {
	uint8_t token[MIGRATION_TOKEN_BYTES];
	uint32_t index; /* of this connection, from 0 */
	uint32_t reserved;
};
static_assert(sizeof(struct migration_memory_hello) == 40, "migration memory hello");

/* ---- the file ---- */

#define MIGRATION_FILE_MAGIC	   "LUNARVM\n"
#define MIGRATION_FILE_MAGIC_BYTES 8
/* DEFINITION, CPU, MEMORY_MAP, PAGES..., ROUND_END, STATE, FILE_END */
#define MIGRATION_FILE_VERSION	   1
#define MIGRATION_FILE_READABLE_BY 1

struct migration_file_header {
	uint8_t magic[MIGRATION_FILE_MAGIC_BYTES];
	uint16_t version;
	uint16_t readable_by; /* the oldest version of a reader that makes sense of it */
	uint32_t reserved;
};
static_assert(sizeof(struct migration_file_header) == 16, "migration file header");

#endif
