/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest file that is a bzImage of protocol 2.15: for partitions whose engine does not run
 * it.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_TINY_KERNEL_H
#define LUNAR_TESTS_HYPERVISOR_TINY_KERNEL_H

void tiny_kernel_write(const char *path);

#endif
