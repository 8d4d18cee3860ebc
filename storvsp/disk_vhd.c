/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens and closes VHD disks.
 */
#include "storvsp/disk_vhd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/disk_vhd_internal.h"
#include "storvsp/vhd_resize.h"

#define LOG_COMPONENT "vhd"
#include "base/log.h"

#define TABLE_ALIGN	4096u
#define PHYSICAL_BYTES	4096u
#define SPARSE_FACTOR_8 7 /* a fixed image with less than 7/8 of its space is a flex one */

static struct vhd_disk *disk_of(struct disk *base)
{
	return (struct vhd_disk *)base;
}

static int tell(const struct vhd_error *error, int rc, char *message, size_t message_bytes)
{
	snprintf(message, message_bytes, "%s", error->message);
	return rc;
}

/* ---- what it is ---- */

static bool is_flex(const struct vhd_link *link, const struct vhd_file_facts *facts)
{
	const struct vhd_footer *footer = &link->image.footer;

	return footer->creator_version == VHD_CREATOR_VERSION_FLEX ||
	       facts->allocated_bytes / 8 < footer->size_bytes / 64 * SPARSE_FACTOR_8;
}

static void fill_info(struct vhd_disk *disk)
{
	bool read_only = disk->options.read_only;
	const struct vhd_link *link = disk->layers[0].link;
	const struct vhd_footer *footer = &link->image.footer;
	struct vhd_file_facts facts = {0};
	struct disk_info info;
	bool flex = false;

	(void)link->file->ops->get_facts(link->file, &facts);
	if (footer->type == VHD_FIXED)
		flex = is_flex(link, &facts);
	disk->keep_space = footer->type == VHD_FIXED && !flex;
	info = (struct disk_info){
		.size_bytes = footer->size_bytes,
		.block_bytes = VHD_SECTOR_BYTES,
		.physical_block_bytes = PHYSICAL_BYTES,
		.optimal_bytes = facts.optimal_bytes,
		.read_only = read_only,
		.write_cache = !read_only,
		.rotational = facts.rotational,
		.kind = "vhd-fixed",
	};
	if (footer->type == VHD_DYNAMIC)
		info.kind = "vhd-dynamic";
	else if (footer->type == VHD_DIFFERENCING)
		info.kind = "vhd-differencing";
	else if (flex)
		info.kind = "vhd-flex";
	if (!disk->keep_space && !read_only) {
		info.unmap_granularity_bytes = PHYSICAL_BYTES;
		info.unmap_zeroes = true;
	}
	memcpy(info.id, footer->id, sizeof(info.id));
	pthread_mutex_lock(&disk->lock);
	disk->info = info;
	pthread_mutex_unlock(&disk->lock);
}

/* ---- layers ---- */

static void layers_free(struct vhd_disk *disk)
{
	for (size_t i = 0; i < disk->layer_count; i++) {
		struct vhd_layer *layer = &disk->layers[i];

		for (uint32_t k = 0; layer->blocks && k < layer->link->image.blocks; k++)
			if (layer->blocks[k].bitmap != vhd_full)
				free(layer->blocks[k].bitmap);
		free(layer->blocks);
	}
	free(disk->layers);
	disk->layers = NULL;
	disk->layer_count = 0;
	free(disk->table);
	free(disk->ones);
	disk->table = disk->ones = NULL;
}

static int layer_make(struct vhd_layer *layer, struct vhd_link *link)
{
	const struct vhd_image *image = &link->image;

	layer->link = link;
	if (image->footer.type == VHD_FIXED)
		return 0;
	layer->blocks = calloc(image->blocks, sizeof(*layer->blocks));
	if (!layer->blocks)
		return -ENOMEM;
	for (uint32_t i = 0; i < image->blocks; i++)
		layer->blocks[i].entry = image->table[i];
	return 0;
}

/* The table as it is on the disk, whole sectors of it, and what else growing takes. */
static int writer_make(struct vhd_disk *disk)
{
	struct vhd_link *link = disk->layers[0].link;
	struct vhd_image *image = &link->image;
	uint64_t bytes = align_up((uint64_t)image->blocks * 4, VHD_SECTOR_BYTES);
	uint64_t there = image->file_bytes - image->header.table_offset;
	uint64_t end = image->footer_offset;

	disk->first_dirty = VHD_NO_BLOCK;
	disk->dirty_count = 0;
	if (image->footer.type == VHD_FIXED)
		return 0;
	disk->table_bytes = (size_t)align_up(bytes, TABLE_ALIGN);
	disk->table = aligned_alloc(TABLE_ALIGN, disk->table_bytes);
	disk->ones = aligned_alloc(VHD_SECTOR_BYTES, image->bitmap_bytes);
	if (!disk->table || !disk->ones)
		return -ENOMEM;
	memset(disk->table, 0, disk->table_bytes);
	memset(disk->ones, 0xff, image->bitmap_bytes);
	/* A footer of 511 bytes, or one that lies where something else does: past both. */
	if (end < image->data_end)
		end = image->data_end;
	disk->grown_end = align_up(end, VHD_SECTOR_BYTES);
	disk->next_block = disk->grown_end;
	return vhd_file_read(link->file, disk->table, (size_t)(bytes < there ? bytes : there),
			     image->header.table_offset);
}

static int layers_make(struct vhd_disk *disk, bool read_only)
{
	int rc = 0;

	disk->layers = calloc(disk->chain.count, sizeof(*disk->layers));
	if (!disk->layers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < disk->chain.count; i++) {
		rc = layer_make(&disk->layers[i], &disk->chain.links[i]);
		if (rc == 0)
			disk->layer_count++;
	}
	return rc == 0 && !read_only ? writer_make(disk) : rc;
}

/* The chain becomes the disk's, whatever comes of it. */
static int take_chain(struct vhd_disk *disk, struct vhd_chain *chain, bool read_only,
		      struct vhd_error *error)
{
	struct vhd_link *top = &chain->links[0];
	int rc = 0;

	disk->chain = *chain;
	memset(chain, 0, sizeof(*chain));
	if (top->image.tail_missing)
		log_warn("%s: no footer at its end; its copy at the start counts", top->path);
	if (!read_only)
		rc = vhd_image_tidy(top->file, &top->image, error);
	if (rc == 0) {
		rc = layers_make(disk, read_only);
		if (rc)
			vhd_fail(error, rc, "%s: %s", top->path, strerror(-rc));
	}
	if (rc) {
		layers_free(disk);
		vhd_chain_fini(&disk->chain);
		return rc;
	}
	fill_info(disk);
	disk->open = true;
	return 0;
}

static void give_up(struct vhd_disk *disk)
{
	disk->open = false;
	layers_free(disk);
	vhd_chain_fini(&disk->chain);
}

/* ---- ops ---- */

static void vhd_get_info(struct disk *base, struct disk_info *info)
{
	struct vhd_disk *disk = disk_of(base);

	pthread_mutex_lock(&disk->lock);
	*info = disk->info;
	pthread_mutex_unlock(&disk->lock);
}

/* The file ends after its last block again; what the last growth set aside is given back. */
static int trim(struct vhd_disk *disk)
{
	struct vhd_link *top = disk->layers[0].link;
	struct vhd_image *image = &top->image;
	struct vhd_error error;
	uint64_t end = image->data_end;

	if (!disk->layers[0].blocks)
		return 0;
	for (uint32_t i = 0; i < image->blocks; i++) {
		uint64_t block_end;

		image->table[i] = disk->layers[0].blocks[i].entry;
		if (image->table[i] == VHD_UNUSED)
			continue;
		block_end = vhd_block_offset(image, i) + image->bitmap_bytes +
			    image->header.block_bytes;
		end = block_end > end ? block_end : end;
	}
	image->data_end = end;
	image->footer_offset = disk->grown_end;
	image->slack = image->footer_offset > end ? image->footer_offset - end : 0;
	return vhd_image_tidy(top->file, image, &error);
}

static int write_out(struct vhd_disk *disk)
{
	int rc = 0;

	if (!disk->info.read_only)
		rc = vhd_commit_now(disk);
	if (rc == 0 && !disk->info.read_only) {
		rc = trim(disk);
		if (rc == 0)
			disk->grown_end = disk->layers[0].link->image.footer_offset;
	}
	return rc;
}

static int vhd_release(struct disk *base)
{
	struct vhd_disk *disk = disk_of(base);
	int rc;

	if (!disk->open)
		return 0;
	rc = write_out(disk);
	if (rc == 0)
		give_up(disk);
	return rc;
}

static int open_now(struct vhd_disk *disk, bool unlocked, struct vhd_error *error)
{
	const struct vhd_chain_options options = {
		.file = {.write = !disk->options.read_only && !unlocked,
			 .direct = disk->options.cache == DISK_CACHE_NONE,
			 .unlocked = unlocked},
		.may_be_parent = disk->options.may_be_parent,
	};
	struct vhd_chain chain;
	int rc = vhd_chain_open(disk->path, &options, &chain, error);

	return rc ? rc : take_chain(disk, &chain, disk->options.read_only || unlocked, error);
}

static int vhd_reopen(struct disk *base, char *message, size_t message_bytes)
{
	struct vhd_disk *disk = disk_of(base);
	struct vhd_error error;
	int rc;

	if (disk->open)
		return 0;
	if (!disk->path) {
		snprintf(message, message_bytes, "this disk cannot be opened again");
		return -EINVAL;
	}
	rc = open_now(disk, false, &error);
	return rc ? tell(&error, rc, message, message_bytes) : 0;
}

/* Its size is what its footer says, and that changes by vhd_resize alone. */
static int vhd_refresh(struct disk *base)
{
	return disk_of(base)->open ? 0 : -ENODEV;
}

static void vhd_close(struct disk *base)
{
	struct vhd_disk *disk = disk_of(base);
	int rc = vhd_release(base);

	if (rc) {
		log_error("%s: what was not flushed is lost: %s", disk->chain.links[0].path,
			  strerror(-rc));
		give_up(disk);
	}
	vhd_job_free_all(disk);
	pthread_mutex_destroy(&disk->lock);
	free(disk->path);
	free(disk);
}

static const struct disk_ops vhd_ops = {
	.get_info = vhd_get_info,
	.submit = vhd_disk_submit,
	.release = vhd_release,
	.reopen = vhd_reopen,
	.refresh = vhd_refresh,
	.close = vhd_close,
};

/* ---- opening ---- */

static struct vhd_disk *disk_new(void)
{
	struct vhd_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->base.ops = &vhd_ops;
	disk->first_dirty = VHD_NO_BLOCK;
	pthread_mutex_init(&disk->lock, NULL);
	return disk;
}

static void disk_delete(struct vhd_disk *disk)
{
	pthread_mutex_destroy(&disk->lock);
	free(disk->path);
	free(disk);
}

int disk_vhd_open(const struct disk_options *options, struct disk **out, char *message,
		  size_t message_bytes)
{
	struct vhd_disk *disk = disk_new();
	struct vhd_error error;
	int rc;

	if (disk)
		disk->path = strdup(options->path);
	if (!disk || !disk->path) {
		if (disk)
			disk_delete(disk);
		snprintf(message, message_bytes, "%s: out of memory", options->path);
		return -ENOMEM;
	}
	disk->options = *options;
	disk->options.path = disk->path;
	disk->options.initiator = disk->options.secret_path = NULL;
	rc = open_now(disk, options->deferred, &error);
	if (rc) {
		disk_delete(disk);
		return tell(&error, rc, message, message_bytes);
	}
	if (options->deferred) {
		/* Only what it is was wanted; what it holds may still change. */
		give_up(disk);
	}
	*out = &disk->base;
	return 0;
}

int disk_vhd_open_chain(struct vhd_chain *chain, bool read_only, struct disk **out, char *message,
			size_t message_bytes)
{
	struct vhd_disk *disk = disk_new();
	struct vhd_error error;
	int rc;

	if (!disk) {
		vhd_chain_fini(chain);
		snprintf(message, message_bytes, "out of memory");
		return -ENOMEM;
	}
	disk->options.read_only = read_only;
	rc = take_chain(disk, chain, read_only, &error);
	if (rc) {
		disk_delete(disk);
		return tell(&error, rc, message, message_bytes);
	}
	*out = &disk->base;
	return 0;
}

/* -ENODATA: it failed, and cannot be read any more. */
static int resize_chain(struct vhd_chain *chain, uint64_t size_bytes, struct vhd_error *error)
{
	struct vhd_link *top = &chain->links[0];
	struct vhd_error ignored;
	int rc;

	error->message[0] = '\0';
	rc = vhd_resize(top, size_bytes, false, error);
	if (rc == 0)
		return 0;
	/* As it is on the disk now. */
	vhd_image_fini(&top->image);
	return vhd_image_read(top->file, &top->image, NULL, &ignored) ? -ENODATA : rc;
}

int disk_vhd_resize(struct disk *base, uint64_t size_bytes, char *message, size_t message_bytes)
{
	struct vhd_disk *disk = disk_of(base);
	struct vhd_error error;
	struct vhd_chain chain;
	int rc, retaken;

	if (!disk->open || disk->info.read_only || size_bytes < disk->info.size_bytes) {
		rc = vhd_fail(&error, -EINVAL, "a disk in use can only be made larger");
		return tell(&error, rc, message, message_bytes);
	}
	rc = write_out(disk);
	if (rc) {
		vhd_fail(&error, rc, "%s", strerror(-rc));
		return tell(&error, rc, message, message_bytes);
	}
	/* The files stay open, and locked. */
	chain = disk->chain;
	memset(&disk->chain, 0, sizeof(disk->chain));
	disk->open = false;
	layers_free(disk);
	rc = resize_chain(&chain, size_bytes, &error);
	tell(&error, rc, message, message_bytes);
	if (rc == -ENODATA) {
		vhd_chain_fini(&chain);
		return rc;
	}
	retaken = take_chain(disk, &chain, false, &error);
	return retaken ? tell(&error, retaken, message, message_bytes) : rc;
}

/* From offset to the end of the block, in the layer with the smallest ones. */
static bool has_data(const struct vhd_disk *disk, uint64_t offset, uint64_t *end)
{
	bool found = false;

	*end = disk->info.size_bytes;
	for (size_t i = 0; i < disk->layer_count; i++) {
		const struct vhd_layer *layer = &disk->layers[i];
		const struct vhd_image *image = &layer->link->image;
		uint64_t block;

		if (offset >= image->footer.size_bytes)
			continue;
		if (!layer->blocks)
			return true;
		block = offset / image->header.block_bytes;
		if ((block + 1) * image->header.block_bytes < *end)
			*end = (block + 1) * image->header.block_bytes;
		found |= layer->blocks[block].entry != VHD_UNUSED;
	}
	return found;
}

bool disk_vhd_next_data(struct disk *base, uint64_t offset, uint64_t *begin, uint64_t *end)
{
	const struct vhd_disk *disk = disk_of(base);
	uint64_t block_end;

	while (offset < disk->info.size_bytes && !has_data(disk, offset, &block_end))
		offset = block_end;
	*begin = *end = offset;
	while (*end < disk->info.size_bytes && has_data(disk, *end, &block_end))
		*end = block_end;
	return *begin < *end;
}
