/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command ring that the kernel's target_core_user shares with us (Linux
 * Documentation/target/tcmu-design.rst, linux/target_core_user.h): a mailbox, a ring of
 * variable-length entries, and a data area. Entries are copied out once and checked; completions
 * may be in any order.
 */
#ifndef LUNAR_ISCSI_INITIATOR_TCMU_RING_H
#define LUNAR_ISCSI_INITIATOR_TCMU_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TCMU_RING_IOVS_MAX   8192 /* of one command: 32 MiB in pages */
#define TCMU_RING_CDB_MAX    260
#define TCMU_RING_ABORTS_MAX 1024

struct tcmu_ring {
	uint8_t *map;
	size_t map_bytes;
	uint32_t ring_offset, ring_bytes;
	size_t data_offset;
	uint32_t next; /* where the next entry that we have not seen begins */
	uint32_t tail; /* what we have handed back */
};

enum tcmu_request_kind {
	TCMU_REQUEST_COMMAND,
	TCMU_REQUEST_TASK_MANAGEMENT,
};

/* iov is the caller's growing buffer: set iov and iov_capacity to what malloc gave, or to zero. */
struct tcmu_request {
	enum tcmu_request_kind kind;
	uint16_t id;
	uint8_t cdb[TCMU_RING_CDB_MAX];
	size_t cdb_available; /* bytes of cdb that are there; the CDB itself may be shorter */
	struct iovec *iov;    /* points into the data area */
	uint32_t iov_count, iov_capacity;
	uint32_t data_bytes;

	uint8_t function; /* task management: TCMU_ABI_ABORT_TASK and so on */
	uint16_t ids[TCMU_RING_ABORTS_MAX];
	uint32_t id_count;
};

struct tcmu_completion {
	uint16_t id;
	uint8_t status;
	const uint8_t *sense;
	size_t sense_length;
	uint32_t read_bytes; /* of data-in that are valid; 0: all */
};

/* map: the uio mapping, which stays the caller's. Returns 0, or -EPROTO where the mailbox is not
 * one we know. */
int tcmu_ring_init(struct tcmu_ring *ring, void *map, size_t map_bytes);

/*
 * Takes the next entry. Returns 1 with *request filled, 0 where there is none, -EPROTO where the
 * ring is damaged, -EOPNOTSUPP for a command that we do not handle (bidirectional): request->id is
 * to be completed; -ENOMEM.
 */
int tcmu_ring_next(struct tcmu_ring *ring, struct tcmu_request *request);

/* Hands one command back; the caller then notifies the kernel. Returns 0, or -EPROTO where nothing
 * was pending. */
int tcmu_ring_complete(struct tcmu_ring *ring, const struct tcmu_completion *completion);

#endif
