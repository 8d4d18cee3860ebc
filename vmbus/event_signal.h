/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupting the guest without an exit: set a channel's event flag in the target VP's SIEFP page
 * and, only when it was clear, raise that VP's SINT by its irqfd. Any process that maps guest
 * memory, the signal table and the irqfd can do this. Source: TLFS 11.8 (SIEFP), 11.10 (event
 * flags).
 *
 * The signal table is a memfd shared by the VM's processes: one little-endian u64 a VP, its SIEFP
 * MSR as the guest last wrote it (bit 0 enabled, bits 12..63 the page's GPA). vmwp writes it, on
 * KVM_EXIT_HYPERV_SYNIC, before the VP goes on.
 */
#ifndef LUNAR_VMBUS_EVENT_SIGNAL_H
#define LUNAR_VMBUS_EVENT_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_memory;

#define SIGNAL_TABLE_MAX_VPS 64
#define VMBUS_SINT	     2

struct signal_table {
	_Atomic uint64_t *siefp; /* SIGNAL_TABLE_MAX_VPS entries */
	int fd;
};

/* Makes a table of disabled entries, or (fd >= 0) maps another process's; keeps a duplicate of fd.
 * Returns 0 or -errno; -EPERM: fd is not sealed against shrinking. */
int signal_table_init(struct signal_table *table, int fd);
void signal_table_fini(struct signal_table *table);

/* One interrupt source: a channel's event flag on one VP. */
struct event_signal {
	struct guest_memory *memory;
	const struct signal_table *table;
	uint32_t vp;
	uint32_t flag; /* relid, < 2048 */
	int irqfd;     /* raises SINT2 of that VP; -1: the guest wants no interrupts */
};

/* Sets the flag and raises the interrupt if needed. Does nothing when the VP's SIEFP is disabled or
 * not guest memory. Any thread. */
void event_signal_raise(const struct event_signal *signal);

#endif
