/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers and byte layouts of Hyper-V's hypervisor interface that hypervisor/ and vmbus/ share:
 * CPUID leaves, MSRs, hypercalls, SynIC messages and event flags. Only what Lunar serves or looks
 * at is here. Source: Hyper-V Top Level Functional Specification (TLFS), by chapter; values that
 * the TLFS leaves out are "observed" in Linux 6.1 asm/hyperv-tlfs.h and asm-generic/hyperv-tlfs.h.
 */
#ifndef LUNAR_WIRE_TLFS_H
#define LUNAR_WIRE_TLFS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define HV_BIT32(n) (UINT32_C(1) << (n))
#define HV_BIT64(n) (UINT64_C(1) << (n))

/* ---- CPUID: TLFS 2 "Feature and Interface Discovery" ---- */

#define HV_CPUID_1_ECX_HYPERVISOR_PRESENT HV_BIT32(31)

enum hv_cpuid_leaf {
	HV_CPUID_VENDOR_AND_MAX = 0x40000000, /* eax: highest leaf; ebx, ecx, edx: vendor */
	HV_CPUID_INTERFACE = 0x40000001,      /* eax: HV_CPUID_INTERFACE_HV1 */
	HV_CPUID_VERSION = 0x40000002, /* eax: build; ebx: major << 16 | minor; ecx: service pack */
	HV_CPUID_FEATURES = 0x40000003, /* eax, ebx: privileges; edx: features */
	HV_CPUID_HINTS = 0x40000004,	/* eax: recommendations; ebx: spinlock retries */
	HV_CPUID_LIMITS = 0x40000005,	/* eax: most VPs; ebx: most logical processors */
	HV_CPUID_HARDWARE_FEATURES = 0x40000006,
	HV_CPUID_CPU_MANAGEMENT = 0x40000007,
	HV_CPUID_NESTED_FEATURES = 0x4000000A,
	HV_CPUID_ISOLATION = 0x4000000C,
};

/* "Microsoft Hv" as ebx, ecx, edx. */
#define HV_CPUID_VENDOR_EBX    UINT32_C(0x7263694d)
#define HV_CPUID_VENDOR_ECX    UINT32_C(0x666f736f)
#define HV_CPUID_VENDOR_EDX    UINT32_C(0x76482074)
#define HV_CPUID_INTERFACE_HV1 UINT32_C(0x31237648) /* "Hv#1" */

/* HV_CPUID_FEATURES eax: partition privileges, low half (TLFS 4.2.2). */
#define HV_PRIVILEGE_VP_RUNTIME	      HV_BIT32(0)
#define HV_PRIVILEGE_TIME_REF_COUNT   HV_BIT32(1)
#define HV_PRIVILEGE_SYNIC	      HV_BIT32(2)
#define HV_PRIVILEGE_SYNTHETIC_TIMERS HV_BIT32(3)
#define HV_PRIVILEGE_APIC	      HV_BIT32(4)
#define HV_PRIVILEGE_HYPERCALL	      HV_BIT32(5)
#define HV_PRIVILEGE_VP_INDEX	      HV_BIT32(6)
#define HV_PRIVILEGE_RESET	      HV_BIT32(7)
#define HV_PRIVILEGE_STATS	      HV_BIT32(8)
#define HV_PRIVILEGE_REFERENCE_TSC    HV_BIT32(9)
#define HV_PRIVILEGE_GUEST_IDLE	      HV_BIT32(10)
#define HV_PRIVILEGE_FREQUENCY_MSRS   HV_BIT32(11)
#define HV_PRIVILEGE_DEBUG_MSRS	      HV_BIT32(12)
#define HV_PRIVILEGE_REENLIGHTENMENT  HV_BIT32(13)
#define HV_PRIVILEGE_TSC_INVARIANT    HV_BIT32(15)

/* HV_CPUID_FEATURES ebx: partition privileges, high half. */
#define HV_PRIVILEGE_CREATE_PARTITIONS	 HV_BIT32(0)
#define HV_PRIVILEGE_PARTITION_ID	 HV_BIT32(1)
#define HV_PRIVILEGE_MEMORY_POOL	 HV_BIT32(2)
#define HV_PRIVILEGE_POST_MESSAGES	 HV_BIT32(4)
#define HV_PRIVILEGE_SIGNAL_EVENTS	 HV_BIT32(5)
#define HV_PRIVILEGE_CREATE_PORT	 HV_BIT32(6)
#define HV_PRIVILEGE_CONNECT_PORT	 HV_BIT32(7)
#define HV_PRIVILEGE_DEBUGGING		 HV_BIT32(11)
#define HV_PRIVILEGE_CPU_MANAGEMENT	 HV_BIT32(12) /* makes Linux think it is the root partition */
#define HV_PRIVILEGE_EXTENDED_HYPERCALLS HV_BIT32(20)
#define HV_PRIVILEGE_ISOLATION		 HV_BIT32(22)

/* HV_CPUID_FEATURES edx. */
#define HV_FEATURE_MWAIT	   HV_BIT32(0)
#define HV_FEATURE_XMM_INPUT	   HV_BIT32(4)
#define HV_FEATURE_GUEST_IDLE	   HV_BIT32(5)
#define HV_FEATURE_FREQUENCY_MSRS  HV_BIT32(8)
#define HV_FEATURE_GUEST_CRASH_MSR HV_BIT32(10)
#define HV_FEATURE_DEBUG_MSRS	   HV_BIT32(11)
#define HV_FEATURE_XMM_OUTPUT	   HV_BIT32(15)
#define HV_FEATURE_STIMER_DIRECT   HV_BIT32(19)

/* HV_CPUID_HINTS eax. */
#define HV_HINT_AS_SWITCH	   HV_BIT32(0)
#define HV_HINT_LOCAL_TLB_FLUSH	   HV_BIT32(1)
#define HV_HINT_REMOTE_TLB_FLUSH   HV_BIT32(2)
#define HV_HINT_APIC_MSRS	   HV_BIT32(3)
#define HV_HINT_SYSTEM_RESET	   HV_BIT32(4)
#define HV_HINT_RELAXED_TIMING	   HV_BIT32(5)
#define HV_HINT_DEPRECATE_AUTO_EOI HV_BIT32(9)
#define HV_HINT_CLUSTER_IPI	   HV_BIT32(10)
#define HV_HINT_EX_PROCESSOR_MASKS HV_BIT32(11)
#define HV_HINT_ENLIGHTENED_VMCS   HV_BIT32(14)
#define HV_HINT_NO_CORE_SHARING	   HV_BIT32(18)
#define HV_SPINLOCK_NEVER_NOTIFY   UINT32_MAX /* HV_CPUID_HINTS ebx */

/* ---- MSRs: TLFS appendix F ---- */

enum hv_msr {
	HV_MSR_GUEST_OS_ID = 0x40000000,
	HV_MSR_HYPERCALL = 0x40000001,
	HV_MSR_VP_INDEX = 0x40000002,
	HV_MSR_RESET = 0x40000003,
	HV_MSR_VP_RUNTIME = 0x40000010,
	HV_MSR_TIME_REF_COUNT = 0x40000020, /* 100 ns units */
	HV_MSR_REFERENCE_TSC = 0x40000021,
	HV_MSR_TSC_FREQUENCY = 0x40000022,
	HV_MSR_APIC_FREQUENCY = 0x40000023,
	HV_MSR_EOI = 0x40000070,
	HV_MSR_ICR = 0x40000071,
	HV_MSR_TPR = 0x40000072,
	HV_MSR_VP_ASSIST_PAGE = 0x40000073,
	HV_MSR_SCONTROL = 0x40000080,
	HV_MSR_SVERSION = 0x40000081,
	HV_MSR_SIEFP = 0x40000082,
	HV_MSR_SIMP = 0x40000083,
	HV_MSR_EOM = 0x40000084,
	HV_MSR_SINT0 = 0x40000090,	    /* SINTn is HV_MSR_SINT0 + n, n < HV_SINT_COUNT */
	HV_MSR_STIMER0_CONFIG = 0x400000B0, /* timer n: + 2 * n */
	HV_MSR_STIMER0_COUNT = 0x400000B1,  /* timer n: + 2 * n */
	HV_MSR_GUEST_IDLE = 0x400000F0,
	HV_MSR_CRASH_P0 = 0x40000100, /* P0..P4 */
	HV_MSR_CRASH_P4 = 0x40000104,
	HV_MSR_CRASH_CTL = 0x40000105,
	HV_MSR_REENLIGHTENMENT_CONTROL = 0x40000106,
	HV_MSR_TSC_EMULATION_CONTROL = 0x40000107,
	HV_MSR_TSC_EMULATION_STATUS = 0x40000108,
	HV_MSR_TSC_INVARIANT_CONTROL = 0x40000118,
};

#define HV_STIMER_COUNT		 4
#define HV_CRASH_PARAMETER_COUNT 5
/* Guest crash: what a guest writes to HV_MSR_CRASH_CTL (TLFS 18.4). */
#define HV_CRASH_CTL_NOTIFY_MESSAGE HV_BIT64(62) /* P3 is the GPA and P4 the length of a text */
#define HV_CRASH_CTL_NOTIFY	    HV_BIT64(63)

/* Page-pointer MSRs (HYPERCALL, SIMP, SIEFP, REFERENCE_TSC, VP_ASSIST_PAGE): bit 0 enables,
 * bits 12..63 the page. */
#define HV_MSR_PAGE_ENABLE   HV_BIT64(0)
#define HV_MSR_PAGE_GPA_MASK (~UINT64_C(0xfff))
#define HV_SCONTROL_ENABLE   HV_BIT64(0)

/* SINTn MSR (TLFS 11.4). */
#define HV_SINT_VECTOR_MASK UINT64_C(0xff)
#define HV_SINT_MASKED	    HV_BIT64(16)
#define HV_SINT_AUTO_EOI    HV_BIT64(17)
#define HV_SINT_POLLING	    HV_BIT64(18)

/* Guest OS id (TLFS 3.3): bit 63 set is open source; vendor in bits 48..63 otherwise. */
#define HV_GUEST_OS_OPEN_SOURCE HV_BIT64(63)

/* ---- Hypercalls: TLFS 3 and appendix C ---- */

/* Input value in RCX. */
#define HV_HYPERCALL_CODE_MASK	      UINT64_C(0xffff)
#define HV_HYPERCALL_FAST	      HV_BIT64(16)
#define HV_HYPERCALL_VAR_HEADER_SHIFT 17
#define HV_HYPERCALL_VAR_HEADER_MASK  UINT64_C(0x3ff)
#define HV_HYPERCALL_REP_COUNT_SHIFT  32
#define HV_HYPERCALL_REP_START_SHIFT  48
#define HV_HYPERCALL_REP_MASK	      UINT64_C(0xfff)

enum hv_hypercall_code {
	HV_CALL_FLUSH_VIRTUAL_ADDRESS_SPACE = 0x0002,
	HV_CALL_FLUSH_VIRTUAL_ADDRESS_LIST = 0x0003,
	HV_CALL_NOTIFY_LONG_SPIN_WAIT = 0x0008,
	HV_CALL_SEND_SYNTHETIC_CLUSTER_IPI = 0x000b,
	HV_CALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX = 0x0013,
	HV_CALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX = 0x0014,
	HV_CALL_SEND_SYNTHETIC_CLUSTER_IPI_EX = 0x0015,
	HV_CALL_POST_MESSAGE = 0x005c,
	HV_CALL_SIGNAL_EVENT = 0x005d,
	HV_CALL_QUERY_CAPABILITIES = 0x8001,
};

/* Bits 0..15 of the result in RAX; bits 32..43: reps completed. */
enum hv_status {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_HYPERCALL_CODE = 2,
	HV_STATUS_INVALID_HYPERCALL_INPUT = 3,
	HV_STATUS_INVALID_ALIGNMENT = 4,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_ACCESS_DENIED = 6,
	HV_STATUS_OPERATION_DENIED = 8,
	HV_STATUS_INSUFFICIENT_MEMORY = 11,
	HV_STATUS_INVALID_PORT_ID = 17,
	HV_STATUS_INVALID_CONNECTION_ID = 18,
	HV_STATUS_INSUFFICIENT_BUFFERS = 19,
};

#define HV_PARTITION_ID_SELF  UINT64_MAX
#define HV_VP_INDEX_SELF      (UINT32_MAX - 1)
#define HV_CONNECTION_ID_MASK UINT32_C(0xffffff) /* the high byte is reserved */

/* Input page of HV_CALL_POST_MESSAGE (TLFS 11.11.1). */
#define HV_MESSAGE_PAYLOAD_BYTES 240

struct hv_post_message_input {
	uint32_t connection_id;
	uint32_t reserved;
	uint32_t message_type;
	uint32_t payload_size; /* at most HV_MESSAGE_PAYLOAD_BYTES */
	uint8_t payload[HV_MESSAGE_PAYLOAD_BYTES];
};
static_assert(sizeof(struct hv_post_message_input) == 256, "post message input");
static_assert(offsetof(struct hv_post_message_input, payload) == 16, "post message payload");

/* Input of HV_CALL_SIGNAL_EVENT (TLFS 11.11.2); fast: in RDX. */
struct hv_signal_event_input {
	uint32_t connection_id;
	uint16_t flag_number;
	uint16_t reserved;
};
static_assert(sizeof(struct hv_signal_event_input) == 8, "signal event input");

/* Input of HV_CALL_NOTIFY_LONG_SPIN_WAIT is one u64, the spin count; it has no output. */

/* ---- SynIC: TLFS 11 ---- */

#define HV_SINT_COUNT	      16
#define HV_VMBUS_SINT	      2 /* the source that VMBus uses; observed: Linux 6.1 VMBUS_MESSAGE_SINT */
#define HV_VMBUS_MESSAGE_TYPE 1 /* message_type of every VMBus message, both ways */

/* Message types other than VMBus's. */
#define HV_MESSAGE_NONE		 UINT32_C(0) /* the slot is free */
#define HV_MESSAGE_TIMER_EXPIRED UINT32_C(0x80000010)

#define HV_MESSAGE_FLAG_PENDING                                                                    \
	1 /* more messages wait: the guest writes EOM when it has freed the slot */

/* One slot of the SIMP page: slot n serves SINTn (TLFS 11.9). The type is written last; the guest
 * frees the slot by writing HV_MESSAGE_NONE to it, then EOM where HV_MESSAGE_FLAG_PENDING is set.
 */
struct hv_message_slot {
	uint32_t message_type;
	uint8_t payload_size;
	uint8_t message_flags;
	uint16_t reserved;
	uint64_t sender; /* or the port id in the low 24 bits */
	uint8_t payload[HV_MESSAGE_PAYLOAD_BYTES];
};
static_assert(sizeof(struct hv_message_slot) == 256, "message slot");
static_assert(offsetof(struct hv_message_slot, payload_size) == 4, "message payload size");
static_assert(offsetof(struct hv_message_slot, message_flags) == 5, "message flags");
static_assert(offsetof(struct hv_message_slot, payload) == 16, "message payload");
static_assert(sizeof(struct hv_message_slot) * HV_SINT_COUNT == 4096, "SIMP page");

/* Event flags of one SINT in the SIEFP page: 2048 bits, little-endian bit order (TLFS 11.10). */
#define HV_EVENT_FLAG_COUNT  2048
#define HV_EVENT_FLAGS_BYTES 256
static_assert(HV_EVENT_FLAGS_BYTES * HV_SINT_COUNT == 4096, "SIEFP page");

/* Reference TSC page (TLFS 12.7.3): time = ((tsc * scale) >> 64) + offset, valid while the sequence
 * is nonzero. */
struct hv_reference_tsc_page {
	uint32_t tsc_sequence;
	uint32_t reserved;
	uint64_t tsc_scale;
	int64_t tsc_offset;
};
static_assert(sizeof(struct hv_reference_tsc_page) == 24, "reference TSC page");

#endif
