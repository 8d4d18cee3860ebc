/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ISO images: a look at the volume descriptors, so that a wrong file is told here and not by a
 * guest that finds no medium it knows; the rest is a raw disk.
 */
#include "storvsp/disk_iso.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storvsp/disk.h"
#include "storvsp/disk_raw_internal.h"
#include "storvsp/image_file.h"

#define ISO_BLOCK_BYTES	 2048u
#define DESCRIPTORS_AT	 32768u /* 16 blocks, in both standards */
#define IDENTIFIER_AT	 1u	/* of a descriptor */
#define IDENTIFIER_BYTES 5u

/* ISO 9660; High Sierra's is not in use any more. UDF: the first descriptor begins its area. */
static bool is_known(const char *identifier)
{
	return memcmp(identifier, "CD001", IDENTIFIER_BYTES) == 0 ||
	       memcmp(identifier, "BEA01", IDENTIFIER_BYTES) == 0 ||
	       memcmp(identifier, "NSR02", IDENTIFIER_BYTES) == 0 ||
	       memcmp(identifier, "NSR03", IDENTIFIER_BYTES) == 0;
}

static int check_volume(const struct image_file *file, char *message, size_t message_bytes)
{
	char identifier[IDENTIFIER_BYTES];
	int ret = image_file_read_now(file, identifier, sizeof(identifier),
				      DESCRIPTORS_AT + IDENTIFIER_AT);

	if (ret == -ENODATA) {
		snprintf(message, message_bytes,
			 "%s: not an ISO image: it ends before offset %u, where its volume "
			 "descriptors should be",
			 file->path, DESCRIPTORS_AT);
		return -EMEDIUMTYPE;
	}
	if (ret < 0) {
		snprintf(message, message_bytes, "%s: offset %u: %s", file->path, DESCRIPTORS_AT,
			 strerror(-ret));
		return ret;
	}
	if (is_known(identifier))
		return 0;
	snprintf(message, message_bytes,
		 "%s: not an ISO image: offset %u, the volume descriptor's standard identifier: "
		 "neither CD001 (ISO 9660) nor BEA01 (UDF)",
		 file->path, DESCRIPTORS_AT + IDENTIFIER_AT);
	return -EMEDIUMTYPE;
}

int disk_iso_open(const struct disk_options *options, struct disk **disk, char *message,
		  size_t message_bytes)
{
	/* An image never changes: the page cache serves all VMs that install from it. */
	const struct image_file_options file_options = {
		.path = options->path,
		.read_only = true,
		.deferred = options->deferred,
	};
	struct image_file *file;
	int ret = image_file_open(&file_options, &file, message, message_bytes);

	if (ret < 0)
		return ret;
	/* A drive's own block device (/dev/sr0) is one too. */
	if (!options->deferred)
		ret = check_volume(file, message, message_bytes);
	if (ret < 0)
		goto err_close;
	ret = disk_raw_wrap(file, ISO_BLOCK_BYTES, "iso", false, disk);
	if (ret == 0)
		return 0;
	snprintf(message, message_bytes, "%s: %s", options->path, strerror(-ret));
err_close:
	image_file_close(file);
	return ret;
}
