/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The head of a bzImage, as a user may hand us any file for a kernel: what is accepted must be safe
 * to load. Two bytes of the file's size in KiB, then its head.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bzimage image;
	const char *why = NULL;
	uint64_t file_bytes;
	size_t length;
	uint8_t *head;

	if (size < 2)
		return 0;
	length = size - 2 < BZIMAGE_HEAD_BYTES ? size - 2 : BZIMAGE_HEAD_BYTES;
	file_bytes = (uint64_t)get_le16(data) * 1024;
	if (file_bytes < length)
		file_bytes = length;
	head = malloc(length ? length : 1); /* exactly as long, so that a look past it shows */
	if (!head)
		abort();
	memcpy(head, data + 2, length);
	if (bzimage_parse(head, length, file_bytes, &image, &why)) {
		if (!why || !*why)
			abort();
	} else if (image.code_offset > file_bytes ||
		   image.code_bytes > file_bytes - image.code_offset ||
		   image.init_bytes < image.code_bytes || image.load_gpa < 0x100000 ||
		   image.load_gpa + image.init_bytes < image.load_gpa ||
		   BZIMAGE_HEADER_START + image.header_bytes > length) {
		abort();
	}
	free(head);
	return 0;
}
