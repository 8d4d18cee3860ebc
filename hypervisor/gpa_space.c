/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory. See gpa_space.h.
 */
#include "hypervisor/gpa_space.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmbus/guest_memory.h"

#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)
#define HUGE_PAGE_DIR	"/sys/kernel/mm/hugepages/hugepages-2048kB/"

struct gpa_layout gpa_layout_of(uint64_t memory_bytes)
{
	struct gpa_layout layout = {.low_bytes = memory_bytes};

	if (memory_bytes > GPA_HOLE_START) {
		layout.low_bytes = GPA_HOLE_START;
		layout.high_bytes = memory_bytes - GPA_HOLE_START;
	}
	return layout;
}

/* One number out of the huge page pool's directory; 0 where the host has no such pool. */
static uint64_t huge_pool_read(const char *name)
{
	char path[96];
	char line[32];
	uint64_t value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s%s", HUGE_PAGE_DIR, name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		value = strtoull(line, NULL, 10);
	fclose(file);
	return value;
}

/* Pages that a new mapping can still reserve. A racing process may take them first: then the
 * mapping fails, and says the same. */
static uint64_t huge_pages_available(void)
{
	uint64_t free_pages = huge_pool_read("free_hugepages");
	uint64_t reserved = huge_pool_read("resv_hugepages");
	uint64_t overcommit = huge_pool_read("nr_overcommit_hugepages");
	uint64_t surplus = huge_pool_read("surplus_hugepages");
	uint64_t available = free_pages > reserved ? free_pages - reserved : 0;

	return available + (overcommit > surplus ? overcommit - surplus : 0);
}

static int report_huge_pages(uint64_t memory_bytes, struct vm_error *error)
{
	return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM,
			    "too few huge pages: the guest needs %" PRIu64 " of 2 MiB, %" PRIu64
			    " are free; raise vm.nr_hugepages or set huge_pages: false",
			    memory_bytes / HUGE_PAGE_BYTES, huge_pages_available());
}

static int memfd_create_sized(uint64_t size_bytes, bool huge_pages)
{
	unsigned int flags =
		MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge_pages ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int fd = memfd_create("lunar-guest", flags);
	int result;

	if (fd < 0)
		return -errno;
	/* sealed: netvspd takes no memory that could shrink under it */
	if (ftruncate(fd, (off_t)size_bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		result = -errno;
		close(fd);
		return result;
	}
	return fd;
}

int gpa_space_create(uint64_t memory_bytes, bool huge_pages, struct guest_memory **memory,
		     struct vm_error *error)
{
	struct gpa_layout layout = gpa_layout_of(memory_bytes);
	struct guest_memory_region regions[2] = {{.size_bytes = layout.low_bytes}};
	size_t count = 1;
	int result;
	int fd;

	if (huge_pages && huge_pages_available() < memory_bytes / HUGE_PAGE_BYTES)
		return report_huge_pages(memory_bytes, error);
	fd = memfd_create_sized(memory_bytes, huge_pages);
	if (fd < 0)
		return vm_error_set(error, EXIT_NO_MEMORY, fd, "cannot make guest memory: %s",
				    strerror(-fd));
	if (layout.high_bytes)
		regions[count++] = (struct guest_memory_region){
			.gpa = GPA_HOLE_END,
			.size_bytes = layout.high_bytes,
			.fd_offset = layout.low_bytes,
		};
	for (size_t i = 0; i < count; i++)
		regions[i].fd = fd;
	result = guest_memory_create(regions, count, -1, memory);
	close(fd); /* the table keeps its own */
	if (result == -ENOMEM && huge_pages)
		return report_huge_pages(memory_bytes, error);
	if (result)
		return vm_error_set(error, result == -ENOMEM ? EXIT_NO_MEMORY : EXIT_INTERNAL,
				    result, "cannot map %" PRIu64 " MiB of guest memory: %s",
				    memory_bytes >> 20, strerror(-result));
	return 0;
}
