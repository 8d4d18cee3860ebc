/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts the guest from any process that maps its memory: the event flag in shared memory, the
 * SINT by irqfd.
 */
#include "vmbus/event_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmbus/guest_memory_internal.h"
#include "wire/tlfs.h"

#define TABLE_BYTES (SIGNAL_TABLE_MAX_VPS * sizeof(uint64_t))

static_assert(VMBUS_SINT == HV_VMBUS_SINT, "VMBus's SINT");

static int table_fd(int fd)
{
	int own;
	int rc;

	if (fd >= 0) {
		rc = guest_memory_fd_check(fd, TABLE_BYTES);
		if (rc < 0)
			return rc;
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return own < 0 ? -errno : own;
	}
	own = memfd_create("lunar-signal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (own < 0)
		return -errno;
	if (ftruncate(own, (off_t)TABLE_BYTES) < 0 ||
	    fcntl(own, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		rc = -errno;
		close(own);
		return rc;
	}
	return own;
}

int signal_table_init(struct signal_table *table, int fd)
{
	int own = table_fd(fd);
	void *map;

	if (own < 0)
		return own;
	map = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
	if (map == MAP_FAILED) {
		int rc = -errno;

		close(own);
		return rc;
	}
	table->siefp = map;
	table->fd = own;
	return 0;
}

void signal_table_fini(struct signal_table *table)
{
	munmap((void *)table->siefp, TABLE_BYTES);
	close(table->fd);
	table->siefp = NULL;
	table->fd = -1;
}

void event_signal_raise(const struct event_signal *signal)
{
	const uint64_t one = 1;
	const uint64_t bit = UINT64_C(1) << (signal->flag % 64);
	_Atomic uint64_t *word;
	uint64_t siefp;
	uint64_t gpa;

	if (signal->irqfd < 0 || signal->vp >= SIGNAL_TABLE_MAX_VPS ||
	    signal->flag >= HV_EVENT_FLAG_COUNT)
		return;
	/* Partner: vmwp's store before it lets the VP that wrote the MSR go on. */
	siefp = atomic_load_explicit(&signal->table->siefp[signal->vp], memory_order_acquire);
	if (!(siefp & HV_MSR_PAGE_ENABLE))
		return;
	gpa = (siefp & HV_MSR_PAGE_GPA_MASK) + (uint64_t)VMBUS_SINT * HV_EVENT_FLAGS_BYTES +
	      signal->flag / 64 * sizeof(uint64_t);
	word = (_Atomic uint64_t *)guest_memory_hva(signal->memory, gpa, sizeof(*word));
	if (!word)
		return;
	/* Ordered after the ring's index that was published before: the guest clears the flag
	 * first and looks at the ring then (its sync_test_and_clear_bit is our partner). */
	if (atomic_fetch_or_explicit(word, bit, memory_order_seq_cst) & bit)
		return;
	guest_memory_mark_dirty(signal->memory, gpa, sizeof(*word));
	/* An eventfd refuses only when its counter is full: then it is raised anyway. */
	if (write(signal->irqfd, &one, sizeof(one)) < 0)
		return;
}
