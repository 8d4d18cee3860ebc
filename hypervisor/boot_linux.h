/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts a Linux kernel, its initrd and command line into guest memory, ready to be entered at its
 * 64-bit entry point without firmware. Source: Linux Documentation/x86/boot.rst and zero-page.rst.
 *
 * - 0x000500: GDT
 * - 0x007000: boot_params (zero page)
 * - 0x009000: page tables, an identity map of 4 GiB
 * - 0x020000: command line
 * - 0x0e0000: ACPI tables
 * - 0x0ffff0: reset vector
 * - the address that the kernel prefers: the kernel
 * - as high as the kernel allows, below the hole: initrd
 */
#ifndef LUNAR_HYPERVISOR_BOOT_LINUX_H
#define LUNAR_HYPERVISOR_BOOT_LINUX_H

#include <stdint.h>

#include "hypervisor/vm_error.h"

struct engine_boot;
struct guest_memory;

#define BOOT_ACPI_GPA	UINT64_C(0xe0000) /* the RSDP, and every table after it */
#define BOOT_ACPI_BYTES UINT64_C(0x1f000)

struct boot_linux {
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *cmdline;
	uint64_t memory_bytes;
};

/*
 * Returns 0 with *boot filled, or -errno with *error: EXIT_NO_KERNEL (a file is missing or
 * unreadable), EXIT_BAD_KERNEL (not a bootable bzImage), EXIT_NO_MEMORY (the guest is too small for
 * its kernel and initrd), EXIT_CONFIG (command line too long).
 */
int boot_linux_load(struct guest_memory *memory, const struct boot_linux *linux_boot,
		    struct engine_boot *boot, struct vm_error *error);

#endif
