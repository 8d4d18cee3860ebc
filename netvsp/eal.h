/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's environment (EAL) for one process: memory with or without huge pages, no device until an
 * uplink is plugged.
 */
#ifndef LUNAR_NETVSP_EAL_H
#define LUNAR_NETVSP_EAL_H

#include <stdbool.h>

enum eal_pages {
	EAL_PAGES_AUTO, /* huge pages where enough of them are free */
	EAL_PAGES_HUGE,
	EAL_PAGES_SMALL,
};

struct eal_options {
	const char *file_prefix; /* of the runtime directory, where the telemetry socket is */
	enum eal_pages pages;
	unsigned int memory_megabytes;
	bool verbose; /* DPDK's own messages */
};

/* Returns 0; -ENOMEM: not enough (huge) pages; -EINVAL or another -errno. Once a process. */
int eal_start(const struct eal_options *options);
void eal_stop(void);

/* Megabytes in free huge pages of 2 MB. */
unsigned int eal_free_huge_megabytes(void);

#endif
