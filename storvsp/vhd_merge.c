/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merges a differencing image into its parent, block by block, a run of sectors at a time.
 */
#include "storvsp/vhd_merge.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/disk.h"
#include "storvsp/disk_copy.h"
#include "storvsp/disk_vhd.h"

#define RUN_BYTES (1u << 20)

struct merge {
	struct vhd_link *child; /* alone */
	struct disk *parent;
	struct disk_caller *caller;
	uint8_t *bitmap, *bytes;
	struct vhd_merge_progress progress;
	bool (*step)(void *ctx, const struct vhd_merge_progress *progress);
	void *ctx;
};

int vhd_merge_mark(struct vhd_link *child, const struct vhd_link *parent, struct vhd_error *error)
{
	int rc = vhd_chain_check_parent(child, parent, error);

	if (rc)
		return rc;
	if (parent->image.footer.size_bytes < child->image.footer.size_bytes)
		return vhd_fail(
			error, -EINVAL,
			"%s: smaller than its child; run first: lunar vhd resize %s %" PRIu64,
			parent->path, parent->path, child->image.footer.size_bytes);
	rc = vhd_chain_set_parent_time(child, VHD_ANY_TIME);
	return rc ? vhd_fail(error, rc, "%s: cannot write its header: %s", child->path,
			     strerror(-rc))
		  : 0;
}

/* While the parent is as it was: that it is the right one, and then the mark that lets it change,
 * which the mere opening for writing does. */
static int mark_child(struct vhd_link *child, const char *path, struct vhd_error *error)
{
	const struct vhd_chain_options options = {.alone = true};
	struct vhd_chain chain;
	int rc = vhd_chain_open(path, &options, &chain, error);

	if (rc)
		return rc;
	rc = vhd_merge_mark(child, &chain.links[0], error);
	vhd_chain_fini(&chain);
	return rc;
}

/* Its parents are its own; they are opened for reading. */
static int open_parent(struct vhd_link *child, const char *path, struct disk **parent,
		       struct vhd_error *error)
{
	const struct vhd_chain_options options = {.file = {.write = true, .direct = true}};
	struct vhd_chain chain;
	int rc = mark_child(child, path, error);

	if (rc == 0)
		rc = vhd_chain_open(path, &options, &chain, error);
	if (rc)
		return rc;
	rc = vhd_chain_check_parent(child, &chain.links[0], error);
	if (rc) {
		vhd_chain_fini(&chain);
		return rc;
	}
	return disk_vhd_open_chain(&chain, false, parent, error->message, sizeof(error->message));
}

static int merge_run(struct merge *merge, uint64_t file_offset, uint64_t offset, uint64_t length)
{
	struct vhd_file *file = merge->child->file;
	int rc = 0;

	while (rc == 0 && length) {
		size_t part = length < RUN_BYTES ? (size_t)length : RUN_BYTES;

		rc = vhd_file_read(file, merge->bytes, part, file_offset);
		if (rc == 0)
			rc = disk_caller_write(merge->caller, merge->parent, offset, merge->bytes,
					       part);
		file_offset += part;
		offset += part;
		length -= part;
	}
	return rc;
}

static int merge_block(struct merge *merge, uint32_t block)
{
	const struct vhd_image *image = &merge->child->image;
	uint64_t begin = (uint64_t)block * image->header.block_bytes;
	uint64_t left = image->footer.size_bytes - begin;
	uint32_t sectors, run;
	int rc;

	if (left > image->header.block_bytes)
		left = image->header.block_bytes;
	sectors = (uint32_t)(left / VHD_SECTOR_BYTES);
	rc = vhd_file_read(merge->child->file, merge->bitmap, image->bitmap_bytes,
			   vhd_block_offset(image, block));
	for (uint32_t i = 0; rc == 0 && i < sectors; i += run) {
		run = vhd_bitmap_run(merge->bitmap, i, sectors - i);
		if (vhd_bitmap_get(merge->bitmap, i))
			rc = merge_run(merge,
				       vhd_block_offset(image, block) + image->bitmap_bytes +
					       (uint64_t)i * VHD_SECTOR_BYTES,
				       begin + (uint64_t)i * VHD_SECTOR_BYTES,
				       (uint64_t)run * VHD_SECTOR_BYTES);
	}
	return rc;
}

static int merge_all(struct merge *merge)
{
	const struct vhd_image *image = &merge->child->image;
	int rc = 0;

	merge->progress.total_bytes = (uint64_t)image->allocated * image->header.block_bytes;
	for (uint32_t i = 0; rc == 0 && i < image->blocks; i++) {
		if (image->table[i] == VHD_UNUSED)
			continue;
		rc = merge_block(merge, i);
		merge->progress.done_bytes += image->header.block_bytes;
		if (rc == 0 && !merge->step(merge->ctx, &merge->progress))
			rc = -ECANCELED;
	}
	return rc ? rc : disk_caller_flush(merge->caller, merge->parent);
}

int vhd_merge_into(struct vhd_link *child, struct disk *parent,
		   bool (*step)(void *ctx, const struct vhd_merge_progress *), void *ctx)
{
	struct merge merge = {.child = child, .parent = parent, .step = step, .ctx = ctx};
	int rc;

	merge.bitmap = malloc(child->image.bitmap_bytes);
	merge.bytes = aligned_alloc(4096, RUN_BYTES);
	rc = merge.bitmap && merge.bytes ? disk_caller_create(&merge.caller) : -ENOMEM;
	if (rc == 0)
		rc = merge_all(&merge);
	if (rc == 0)
		rc = parent->ops->release(parent);
	disk_caller_destroy(merge.caller);
	free(merge.bytes);
	free(merge.bitmap);
	return rc;
}

int vhd_merge(const char *child_path, bool (*step)(void *ctx, const struct vhd_merge_progress *),
	      void *ctx, char *parent_path, size_t parent_path_bytes, struct vhd_error *error)
{
	const struct vhd_chain_options options = {.file = {.write = true}, .alone = true};
	struct vhd_chain chain;
	struct vhd_link *child;
	struct disk *parent;
	int rc = vhd_chain_open(child_path, &options, &chain, error);

	if (rc)
		return rc;
	child = &chain.links[0];
	if (child->image.footer.type != VHD_DIFFERENCING)
		rc = vhd_fail(error, -EINVAL, "%s: has no parent: it is a %s image", child_path,
			      vhd_type_name(child->image.footer.type));
	if (rc == 0)
		rc = vhd_image_tidy(child->file, &child->image, error);
	if (rc == 0)
		rc = vhd_chain_find_parent(child, parent_path, parent_path_bytes, error);
	if (rc == 0)
		rc = open_parent(child, parent_path, &parent, error);
	if (rc == 0) {
		rc = vhd_merge_into(child, parent, step, ctx);
		if (rc)
			vhd_fail(error, rc,
				 "%s: %s; nothing is lost, and the merge can be done again",
				 parent_path, rc == -ECANCELED ? "cancelled" : strerror(-rc));
		parent->ops->close(parent);
	}
	vhd_chain_fini(&chain);
	return rc;
}
