/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake guest's memory. Neighbouring pages are handed out in swapped order, so that nothing that
 * spans pages is contiguous in host memory, and code that forgets page borders fails.
 */
#include "tests/fake_guest/fake_space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmbus/gpadl.h"
#include "vmbus/gpadl_view.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"

static int space_map(struct fake_space *space)
{
	struct guest_memory_region region = {.size_bytes = space->size_bytes};

	space->fd = memfd_create("fake-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (space->fd < 0)
		return -errno;
	if (ftruncate(space->fd, (off_t)space->size_bytes) < 0 ||
	    fcntl(space->fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return -errno;
	region.fd = space->fd;
	return guest_memory_create(&region, 1, -1, &space->memory);
}

static int space_fill(struct fake_space *space)
{
	size_t pages = (size_t)(space->size_bytes / GUEST_PAGE_SIZE);

	space->free_gpns = calloc(pages, sizeof(*space->free_gpns));
	if (!space->free_gpns)
		return -ENOMEM;
	/* Page 0 and its pair stay unused: a page number of 0 is then always a mistake. */
	for (size_t gpn = pages; gpn-- > 2;)
		space->free_gpns[space->free_count++] = gpn ^ 1;
	for (uint32_t vp = 0; vp < space->vp_count; vp++) {
		if (space->free_count == 0)
			return -ENOMEM;
		space->siefp_gpa[vp] = space->free_gpns[--space->free_count] * GUEST_PAGE_SIZE;
		atomic_store(&space->signals.siefp[vp], space->siefp_gpa[vp] | HV_MSR_PAGE_ENABLE);
	}
	return 0;
}

int fake_space_create(uint64_t size_bytes, uint32_t vp_count, struct fake_space **space)
{
	struct fake_space *new;
	int rc;

	if (vp_count < 1 || vp_count > SIGNAL_TABLE_MAX_VPS || size_bytes % (2 * GUEST_PAGE_SIZE))
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->size_bytes = size_bytes;
	new->vp_count = vp_count;
	new->next_gpadl_id = 0xe1e10;
	new->fd = -1;
	new->signals.fd = -1;
	rc = signal_table_init(&new->signals, -1);
	if (rc)
		goto err_destroy;
	rc = space_map(new);
	if (rc)
		goto err_destroy;
	rc = space_fill(new);
	if (rc)
		goto err_destroy;
	*space = new;
	return 0;
err_destroy:
	fake_space_destroy(new);
	return rc;
}

void fake_space_destroy(struct fake_space *space)
{
	if (!space)
		return;
	guest_memory_destroy(space->memory);
	if (space->fd >= 0)
		close(space->fd);
	if (space->signals.fd >= 0)
		signal_table_fini(&space->signals);
	free(space->free_gpns);
	free(space);
}

int fake_pages_create(struct fake_space *space, size_t count, struct fake_pages **pages)
{
	size_t length = 8 + count * sizeof(uint64_t);
	struct fake_pages *new;
	uint8_t *ranges;
	int rc;

	if (count == 0 || count > space->free_count)
		return -ENOMEM;
	new = calloc(1, sizeof(*new));
	ranges = malloc(length);
	rc = -ENOMEM;
	if (!new || !ranges)
		goto err_free;
	put_le32(ranges, (uint32_t)(count * GUEST_PAGE_SIZE));
	put_le32(ranges + 4, 0);
	for (size_t i = 0; i < count; i++) {
		uint64_t gpn = space->free_gpns[space->free_count - 1 - i];

		put_le64(ranges + 8 + i * sizeof(uint64_t), gpn);
	}
	rc = gpadl_parse(space->next_gpadl_id, 1, ranges, length, &new->gpadl);
	if (rc)
		goto err_free;
	rc = gpadl_view_create(space->memory, new->gpadl, 0, count, &new->view);
	if (rc)
		goto err_gpadl;
	for (size_t i = 0; i < count; i++)
		memset(new->view->pages[i], 0, GUEST_PAGE_SIZE);
	space->free_count -= count;
	space->next_gpadl_id++;
	new->space = space;
	free(ranges);
	*pages = new;
	return 0;
err_gpadl:
	gpadl_free(new->gpadl);
err_free:
	free(ranges);
	free(new);
	return rc;
}

void fake_pages_destroy(struct fake_pages *pages)
{
	if (!pages)
		return;
	for (size_t i = pages->gpadl->page_count; i-- > 0;)
		pages->space->free_gpns[pages->space->free_count++] = pages->gpadl->gpns[i];
	gpadl_view_free(pages->view);
	gpadl_free(pages->gpadl);
	free(pages);
}

bool fake_space_take_flag(struct fake_space *space, uint32_t vp, uint32_t flag)
{
	const uint64_t bit = UINT64_C(1) << (flag % 64);
	uint64_t gpa = space->siefp_gpa[vp] + (uint64_t)VMBUS_SINT * HV_EVENT_FLAGS_BYTES +
		       flag / 64 * sizeof(uint64_t);
	_Atomic uint64_t *word = guest_memory_for_write(space->memory, gpa, sizeof(*word));

	return atomic_fetch_and(word, ~bit) & bit;
}
