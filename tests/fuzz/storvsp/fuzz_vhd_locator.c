/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A parent locator of any bytes: what it decodes to is a path, and what we encode of that decodes
 * to the same path. The first byte chooses the form.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/vhd_locator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *without_dot(const char *path)
{
	return strncmp(path, "./", 2) == 0 ? path + 2 : path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t codes[] = {VHD_LOCATOR_W2RU, VHD_LOCATOR_W2KU, VHD_LOCATOR_MACX, 1};
	char path[VHD_PATH_BYTES], again[VHD_PATH_BYTES], relative[VHD_PATH_BYTES];
	uint8_t encoded[VHD_LOCATOR_MAX_BYTES], *copy;
	uint32_t code;
	int length;

	if (size < 1)
		return 0;
	code = codes[data[0] % 4];
	copy = malloc(size); /* exactly as long, so that a look past it shows */
	if (!copy)
		abort();
	memcpy(copy, data + 1, size - 1);
	if (vhd_locator_decode(code, copy, size - 1, path) == 0) {
		if (!*path || strlen(path) >= sizeof(path))
			abort();
		length = vhd_locator_encode(code, path, encoded, sizeof(encoded));
		if (length > 0 && vhd_locator_decode(code, encoded, (size_t)length, again) == 0 &&
		    strcmp(without_dot(again), without_dot(path)) != 0 && code != VHD_LOCATOR_MACX)
			abort();
		if (path[0] == '/')
			(void)vhd_relative_path("/v/a/child.vhd", path, relative);
	}
	free(copy);
	return 0;
}
