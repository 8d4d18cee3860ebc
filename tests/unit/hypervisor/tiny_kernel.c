/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See tiny_kernel.h. Source: Linux Documentation/x86/boot.rst.
 */
#include "tests/unit/hypervisor/tiny_kernel.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SETUP_BYTES 1024u /* boot sector and one more */
#define CODE_BYTES  4096u

void tiny_kernel_write(const char *path)
{
	uint8_t image[SETUP_BYTES + CODE_BYTES] = {0};
	FILE *file = fopen(path, "we");

	image[0x1f1] = 1;
	put_le32(image + 0x1f4, CODE_BYTES / 16);
	put_le16(image + 0x1fe, 0xaa55);
	image[0x201] = 0x6a;		     /* the header ends at 0x26c */
	put_le32(image + 0x202, 0x53726448); /* "HdrS" */
	put_le16(image + 0x206, 0x020f);
	image[0x211] = 1;
	put_le32(image + 0x22c, 0x7fffffff);
	put_le16(image + 0x236, 0x0003);
	put_le32(image + 0x238, 2047);
	put_le64(image + 0x258, 0x1000000);
	put_le32(image + 0x260, 0x300000);
	memset(image + SETUP_BYTES, 0xc0, CODE_BYTES);
	if (!file || fwrite(image, sizeof(image), 1, file) != 1 || fclose(file))
		abort();
}
