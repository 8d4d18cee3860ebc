/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout of TCMU's shared memory (observed: linux/target_core_user.h, mailbox version 2).
 * Stated here because that header brings in linux/uio.h, which cannot live beside <sys/uio.h>.
 * Native byte order: both ends are one machine.
 */
#ifndef LUNAR_ISCSI_INITIATOR_TCMU_ABI_H
#define LUNAR_ISCSI_INITIATOR_TCMU_ABI_H

#include <stddef.h>
#include <stdint.h>

#define TCMU_ABI_VERSION 2
#define TCMU_ABI_ALIGN	 8

#define TCMU_CAP_OUT_OF_ORDER 0x1
#define TCMU_CAP_READ_LENGTH  0x2

struct tcmu_abi_mailbox {
	uint16_t version;
	uint16_t capabilities;
	uint32_t ring_offset; /* from the start of the mapping */
	uint32_t ring_bytes;
	uint32_t head; /* the kernel's */
	uint8_t pad1[48];
	uint32_t tail; /* ours, on a cache line of its own */
	uint8_t pad2[60];
};
_Static_assert(sizeof(struct tcmu_abi_mailbox) == 128, "mailbox");
_Static_assert(offsetof(struct tcmu_abi_mailbox, head) == 12, "head");
_Static_assert(offsetof(struct tcmu_abi_mailbox, tail) == 64, "tail");

enum tcmu_abi_op {
	TCMU_ABI_PAD = 0,
	TCMU_ABI_COMMAND = 1,
	TCMU_ABI_TASK_MANAGEMENT = 2,
};
#define TCMU_ABI_OP_MASK 0x7u

struct tcmu_abi_head {
	uint32_t length_op; /* length, a multiple of 8, with the operation in the low bits */
	uint16_t id;
	uint8_t kernel_flags;
	uint8_t user_flags;
};
_Static_assert(sizeof(struct tcmu_abi_head) == 8, "entry head");

#define TCMU_ABI_FLAG_READ_LENGTH 0x2
#define TCMU_ABI_SENSE_BYTES	  96

/* What the kernel writes. The iovecs follow at TCMU_ABI_IOV_OFFSET, the CDB after them. */
struct tcmu_abi_request {
	struct tcmu_abi_head head;
	uint32_t iov_count, iov_bidi_count, iov_dif_count;
	uint32_t pad1;
	uint64_t cdb_offset; /* from the start of the mapping */
	uint64_t pad2[2];
};
#define TCMU_ABI_IOV_OFFSET 48
_Static_assert(sizeof(struct tcmu_abi_request) == TCMU_ABI_IOV_OFFSET, "request");
_Static_assert(offsetof(struct tcmu_abi_request, cdb_offset) == 24, "cdb_offset");

struct tcmu_abi_iovec {
	uint64_t offset; /* from the start of the mapping */
	uint64_t length;
};

/* What we write over it; every command entry is at least this long. */
struct tcmu_abi_response {
	struct tcmu_abi_head head;
	uint8_t status;
	uint8_t pad1;
	uint16_t pad2;
	uint32_t read_bytes;
	uint8_t sense[TCMU_ABI_SENSE_BYTES];
};
_Static_assert(sizeof(struct tcmu_abi_response) == 112, "response");

/* A task management function, with cmd_count u16 ids of the commands that it aborts behind it. */
struct tcmu_abi_task_management {
	struct tcmu_abi_head head;
	uint8_t function;
	uint8_t pad1;
	uint16_t pad2;
	uint32_t id_count;
	uint8_t pad3[16];
};
_Static_assert(sizeof(struct tcmu_abi_task_management) == 32, "task management");

#define TCMU_ABI_ABORT_TASK 1
#define TCMU_ABI_LUN_RESET  5

#endif
