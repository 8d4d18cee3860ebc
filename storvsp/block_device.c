/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a block device's attributes.
 */
#include "storvsp/block_device.h"

#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#define BLOCK_MIN    512u
#define BLOCK_MAX    4096u
#define PHYSICAL_MAX 65536u

static bool read_attribute(dev_t device, const char *name, char *value, int size)
{
	static const char *const places[] = {"", "../"}; /* a disk's; a partition's */
	char path[160];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s%s", major(device),
			 minor(device), places[i], name);
		FILE *file = fopen(path, "re");
		if (file == NULL)
			continue;
		bool got = fgets(value, size, file) != NULL;
		fclose(file);
		if (got) {
			value[strcspn(value, "\n")] = '\0';
			return true;
		}
	}
	return false;
}

static uint64_t read_number(dev_t device, const char *name)
{
	char value[32];

	return read_attribute(device, name, value, sizeof(value)) ? strtoull(value, NULL, 10) : 0;
}

bool block_device_is_rotational(dev_t device)
{
	return read_number(device, "queue/rotational") == 1;
}

static bool is_block_size(uint32_t bytes, uint32_t max)
{
	return bytes >= BLOCK_MIN && bytes <= max && (bytes & (bytes - 1)) == 0;
}

/* A partition is known by its disk and its number. */
static void find_unique(dev_t device, char *unique, size_t size)
{
	static const char *const names[] = {"wwid", "device/wwid", "serial", "device/serial",
					    "dm/uuid"};
	char value[96], partition[16] = "0";

	read_attribute(device, "partition", partition, sizeof(partition));
	unique[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!read_attribute(device, names[i], value, sizeof(value)) ||
		    value[strspn(value, " ")] == '\0')
			continue;
		snprintf(unique, size, "%s/%s", value, partition);
		return;
	}
}

void block_device_look(int fd, dev_t device, struct block_device_info *info)
{
	unsigned int physical = 0, optimal = 0;
	int block = 0;
	uint64_t discard = 0;

	memset(info, 0, sizeof(*info));
	if (ioctl(fd, BLKSSZGET, &block) < 0 || !is_block_size((uint32_t)block, BLOCK_MAX))
		block = (int)BLOCK_MIN;
	if (ioctl(fd, BLKPBSZGET, &physical) < 0 || !is_block_size(physical, PHYSICAL_MAX) ||
	    physical < (unsigned int)block)
		physical = (unsigned int)block;
	if (ioctl(fd, BLKIOOPT, &optimal) < 0 || optimal % (unsigned int)block != 0)
		optimal = 0;
	if (read_number(device, "queue/discard_max_bytes") > 0)
		discard = read_number(device, "queue/discard_granularity");
	if (discard > 0 && (discard < (uint64_t)block || discard % (uint64_t)block != 0))
		discard = (uint64_t)block;
	info->block_bytes = (uint32_t)block;
	info->physical_block_bytes = physical;
	info->optimal_bytes = optimal;
	info->discard_bytes = discard <= UINT32_MAX ? (uint32_t)discard : 0;
	info->rotational = block_device_is_rotational(device);
	find_unique(device, info->unique, sizeof(info->unique));
}
