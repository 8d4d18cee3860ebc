/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL's command line. No PCI device is touched at the start: the allow-list names one that cannot
 * exist, and uplinks are plugged later, each with an error of its own.
 */
#include "netvsp/eal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "base/bytes.h"

#define FREE_HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define NO_PCI_DEVICE	"ffff:ff:1f.7"

unsigned int eal_free_huge_megabytes(void)
{
	FILE *file = fopen(FREE_HUGE_PAGES, "re");
	char line[32];
	unsigned int pages = 0;

	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		pages = (unsigned int)strtoul(line, NULL, 10);
	fclose(file);
	return pages * 2;
}

/* EAL would tie this thread to one CPU: give its only lcore all those that we may use. */
static void format_lcores(char *text, size_t size)
{
	size_t length = (size_t)snprintf(text, size, "0@(");
	bool first = true;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		CPU_SET(0, &cpus);
	for (size_t cpu = 0; cpu < CPU_SETSIZE && length + 8 < size; cpu++) {
		if (!CPU_ISSET(cpu, &cpus))
			continue;
		length +=
			(size_t)snprintf(text + length, size - length, first ? "%zu" : ",%zu", cpu);
		first = false;
	}
	snprintf(text + length, size - length, ")");
}

int eal_start(const struct eal_options *options)
{
	bool huge = options->pages == EAL_PAGES_HUGE ||
		    (options->pages == EAL_PAGES_AUTO &&
		     eal_free_huge_megabytes() >= options->memory_megabytes);
	char lcores[2048], memory[16], level[32], prefix[96];
	/* EAL wants to write there. */
	char program[] = "netvspd", lcores_option[] = "--lcores", memory_option[] = "-m";
	char in_memory[] = "--in-memory", unshared[] = "--no-shconf", allow_option[] = "-a",
	     allowed[] = NO_PCI_DEVICE;
	char no_huge[] = "--no-huge";
	char *argv[16];
	int argc = 0;

	if (huge && eal_free_huge_megabytes() < options->memory_megabytes)
		return -ENOMEM;
	format_lcores(lcores, sizeof(lcores));
	snprintf(memory, sizeof(memory), "%u", options->memory_megabytes);
	snprintf(level, sizeof(level), "--log-level=*:%s", options->verbose ? "info" : "emergency");
	snprintf(prefix, sizeof(prefix), "--file-prefix=%s", options->file_prefix);
	argv[argc++] = program;
	argv[argc++] = level;
	argv[argc++] = lcores_option;
	argv[argc++] = lcores;
	argv[argc++] = memory_option;
	argv[argc++] = memory;
	/* Nothing on disk, no other DPDK process; EAL has no --in-memory without huge pages. */
	argv[argc++] = huge ? in_memory : unshared;
	argv[argc++] = prefix;
	argv[argc++] = allow_option;
	argv[argc++] = allowed;
	if (!huge)
		argv[argc++] = no_huge;
	argv[argc] = NULL;
	if (rte_eal_init(argc, argv) < 0)
		return rte_errno ? -rte_errno : -EINVAL;
	return 0;
}

void eal_stop(void)
{
	rte_eal_cleanup();
}
