/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which file, and where in it, a sector of the disk is. The lock is held in all of this.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "storvsp/disk_vhd_internal.h"

uint8_t vhd_full[1];

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void place_file(struct vhd_place *place, struct vhd_layer *layer, uint32_t block,
		       uint64_t within, uint64_t length)
{
	const struct vhd_image *image = &layer->link->image;

	place->where = VHD_AT_FILE;
	place->layer = layer;
	place->block = block;
	place->offset = (uint64_t)layer->blocks[block].entry * VHD_SECTOR_BYTES +
			image->bitmap_bytes + within;
	place->length = length;
}

/* Whether the layer has the first byte at offset, and for how many bytes, of at most *length, that
 * is so. VHD_AT_FILE, VHD_ZEROES (has not) or VHD_NEEDS_BITMAP. */
static void look_into(struct vhd_layer *layer, uint64_t offset, uint64_t length,
		      struct vhd_place *place)
{
	const struct vhd_image *image = &layer->link->image;
	uint64_t size = image->footer.size_bytes, within;
	uint32_t block_bytes, block, sector, run;
	const struct vhd_block *entry;

	place->where = VHD_ZEROES;
	place->layer = layer;
	place->length = length;
	if (offset >= size)
		return; /* a parent may be shorter */
	place->length = length = min_u64(length, size - offset);
	if (!layer->blocks) {
		place->where = VHD_AT_FILE;
		place->offset = offset;
		return;
	}
	block_bytes = image->header.block_bytes;
	block = (uint32_t)(offset / block_bytes);
	within = offset % block_bytes;
	place->block = block;
	place->length = length = min_u64(length, block_bytes - within);
	entry = &layer->blocks[block];
	if (entry->entry == VHD_UNUSED)
		return;
	if (!entry->bitmap) {
		place->where = VHD_NEEDS_BITMAP;
		return;
	}
	if (entry->bitmap == vhd_full) {
		place_file(place, layer, block, within, length);
		return;
	}
	sector = (uint32_t)(within / VHD_SECTOR_BYTES);
	run = vhd_bitmap_run(entry->bitmap, sector, (uint32_t)(length / VHD_SECTOR_BYTES));
	place->length = (uint64_t)run * VHD_SECTOR_BYTES;
	if (vhd_bitmap_get(entry->bitmap, sector))
		place_file(place, layer, block, within, place->length);
}

static void read_from(struct vhd_disk *disk, size_t first, uint64_t offset, uint64_t length,
		      struct vhd_place *place)
{
	*place = (struct vhd_place){.where = VHD_ZEROES, .length = length};
	for (size_t i = first; i < disk->layer_count; i++) {
		look_into(&disk->layers[i], offset, place->length, place);
		if (place->where != VHD_ZEROES)
			return;
	}
}

void vhd_map_read(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place)
{
	read_from(disk, 0, offset, length, place);
}

void vhd_map_mark_dirty(struct vhd_disk *disk, uint32_t block, uint8_t dirty)
{
	struct vhd_block *entry = &disk->layers[0].blocks[block];

	if (!entry->dirty) {
		entry->next_dirty = disk->first_dirty;
		disk->first_dirty = block;
		if (disk->dirty_count++ == 0)
			disk->dirty_since_ns = monotonic_ns();
	}
	entry->dirty |= dirty;
}

/* Gives a block its place. 0; -ENOSPC: the file must grow first; -ENOMEM. */
static int give_block(struct vhd_disk *disk, struct vhd_layer *top, uint32_t block)
{
	const struct vhd_image *image = &top->link->image;
	uint64_t length = (uint64_t)image->bitmap_bytes + image->header.block_bytes;
	struct vhd_block *entry = &top->blocks[block];

	if (disk->next_block + length > disk->grown_end)
		return -ENOSPC;
	if (image->footer.type == VHD_DYNAMIC) {
		/* As every writer does it: some readers do not look at the bitmaps of these. */
		entry->bitmap = vhd_full;
	} else {
		entry->bitmap = calloc(1, image->bitmap_bytes);
		if (!entry->bitmap)
			return -ENOMEM;
	}
	entry->entry = (uint32_t)(disk->next_block / VHD_SECTOR_BYTES);
	disk->next_block += vhd_block_stride(image);
	vhd_map_mark_dirty(disk, block, VHD_DIRTY_ENTRY | VHD_DIRTY_BITMAP);
	return 0;
}

int vhd_map_write(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place)
{
	struct vhd_layer *top = &disk->layers[0];
	uint32_t block_bytes, block;
	int rc = 0;

	*place = (struct vhd_place){.where = VHD_AT_FILE, .layer = top, .offset = offset};
	place->length = length;
	if (!top->blocks)
		return 0;
	block_bytes = top->link->image.header.block_bytes;
	block = (uint32_t)(offset / block_bytes);
	place->block = block;
	place->length = length = min_u64(length, block_bytes - offset % block_bytes);
	if (top->blocks[block].entry == VHD_UNUSED)
		rc = give_block(disk, top, block);
	if (rc == -ENOSPC)
		place->where = VHD_NEEDS_ROOM;
	if (rc)
		return rc == -ENOSPC ? 0 : rc;
	if (!top->blocks[block].bitmap) {
		place->where = VHD_NEEDS_BITMAP;
		return 0;
	}
	place_file(place, top, block, offset % block_bytes, length);
	place->sets_bits = top->blocks[block].bitmap != vhd_full;
	return 0;
}

int vhd_map_zero(struct vhd_disk *disk, uint64_t offset, uint64_t length, struct vhd_place *place)
{
	struct vhd_place now;

	read_from(disk, 0, offset, length, &now);
	if (now.where != VHD_AT_FILE) {
		*place = now; /* zeroes already, or not known yet */
		return 0;
	}
	return vhd_map_write(disk, offset, now.length, place);
}

void vhd_map_written(struct vhd_disk *disk, uint32_t block, uint32_t sector, uint32_t sectors)
{
	struct vhd_layer *top = &disk->layers[0];
	uint32_t in_block = top->link->image.header.block_bytes / VHD_SECTOR_BYTES;
	struct vhd_block *entry = &top->blocks[block];

	if (entry->bitmap == vhd_full || !vhd_bitmap_set(entry->bitmap, sector, sectors))
		return;
	vhd_map_mark_dirty(disk, block, VHD_DIRTY_BITMAP);
	if (vhd_bitmap_is_full(entry->bitmap, in_block)) {
		free(entry->bitmap);
		entry->bitmap = vhd_full;
	}
}

void vhd_map_bitmap(struct vhd_layer *layer, uint32_t block, uint8_t *bitmap)
{
	const struct vhd_image *image = &layer->link->image;
	struct vhd_block *entry = &layer->blocks[block];
	uint64_t begin = (uint64_t)block * image->header.block_bytes;
	uint64_t used = min_u64(image->footer.size_bytes - begin, image->header.block_bytes);

	if (entry->bitmap) {
		free(bitmap); /* another job was quicker, and it may have been changed since */
		return;
	}
	if (vhd_bitmap_is_full(bitmap, (uint32_t)(used / VHD_SECTOR_BYTES))) {
		free(bitmap);
		bitmap = vhd_full;
	}
	entry->bitmap = bitmap;
}
