/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parent locators and the text in them.
 */
#include "storvsp/vhd_locator.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define REPLACEMENT 0xfffdu

/* ---- UTF-16 and UTF-8 ---- */

static uint16_t unit_at(const uint8_t *units, size_t index, bool big)
{
	return big ? get_be16(units + 2 * index) : get_le16(units + 2 * index);
}

/* Appends a character where it fits; returns how many bytes it took. */
static size_t put_utf8(uint32_t c, char *out, size_t room)
{
	uint8_t bytes[4];
	size_t length;

	if (c < 0x80) {
		bytes[0] = (uint8_t)c;
		length = 1;
	} else if (c < 0x800) {
		bytes[0] = (uint8_t)(0xc0 | c >> 6);
		length = 2;
	} else if (c < 0x10000) {
		bytes[0] = (uint8_t)(0xe0 | c >> 12);
		length = 3;
	} else {
		bytes[0] = (uint8_t)(0xf0 | c >> 18);
		length = 4;
	}
	for (size_t i = 1; i < length; i++)
		bytes[i] = (uint8_t)(0x80 | ((c >> 6 * (length - 1 - i)) & 0x3f));
	if (length > room)
		return 0;
	memcpy(out, bytes, length);
	return length;
}

static void utf16_to_utf8(const uint8_t *units, size_t count, bool big, char *out, size_t out_bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t c = unit_at(units, i, big);
		size_t length;

		if (c == 0)
			break;
		if (c >= 0xd800 && c < 0xe000) {
			uint32_t low = i + 1 < count ? unit_at(units, i + 1, big) : 0;

			if (c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i++;
			} else {
				c = REPLACEMENT;
			}
		}
		length = put_utf8(c, out + used, out_bytes - 1 - used);
		if (length == 0)
			break;
		used += length;
	}
	out[used] = '\0';
}

void vhd_utf16be_to_utf8(const uint8_t *units, size_t count, char *out, size_t out_bytes)
{
	utf16_to_utf8(units, count, true, out, out_bytes);
}

void vhd_utf16le_to_utf8(const uint8_t *units, size_t count, char *out, size_t out_bytes)
{
	utf16_to_utf8(units, count, false, out, out_bytes);
}

/* The character at text, and where the next one is. */
static uint32_t take_utf8(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	size_t more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
	uint32_t c;

	*text += 1;
	if (p[0] < 0x80)
		return p[0];
	if (p[0] < 0xc0 || p[0] >= 0xf8)
		return REPLACEMENT;
	c = p[0] & (0x3fu >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return REPLACEMENT;
		c = c << 6 | (p[i] & 0x3fu);
	}
	*text += more;
	return c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? REPLACEMENT : c;
}

static size_t utf8_to_utf16(const char *text, bool big, uint8_t *units, size_t count)
{
	size_t used = 0;

	memset(units, 0, 2 * count);
	while (*text) {
		uint32_t c = take_utf8(&text);
		uint16_t pair[2] = {(uint16_t)c, 0};
		size_t length = 1;

		if (c >= 0x10000) {
			pair[0] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
			pair[1] = (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff));
			length = 2;
		}
		for (size_t i = 0; i < length && used + length <= count; i++) {
			if (big)
				put_be16(units + 2 * (used + i), pair[i]);
			else
				put_le16(units + 2 * (used + i), pair[i]);
		}
		used += length;
	}
	return used;
}

size_t vhd_utf8_to_utf16be(const char *text, uint8_t *units, size_t count)
{
	return utf8_to_utf16(text, true, units, count);
}

size_t vhd_utf8_to_utf16le(const char *text, uint8_t *units, size_t count)
{
	return utf8_to_utf16(text, false, units, count);
}

/* ---- paths ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* "file:///srv/base%20disk.vhd", "file://localhost/...", and "file://./base.vhd" as some write a
 * relative path. */
static int decode_url(const char *url, char path[VHD_PATH_BYTES])
{
	size_t used = 0;

	if (strncmp(url, "file://", 7) != 0)
		return -ENOTSUP;
	url += 7;
	if (strncmp(url, "localhost/", 10) == 0)
		url += 9;
	if (*url != '/' && *url != '.')
		return -ENOTSUP; /* another host's */
	for (; *url; url++) {
		char c = *url;

		if (c == '%') {
			int high = hex_digit(url[1]);
			int low = high < 0 ? -1 : hex_digit(url[2]);

			if (low < 0 || (high == 0 && low == 0))
				return -EINVAL;
			c = (char)(high * 16 + low);
			url += 2;
		}
		if (used + 1 >= VHD_PATH_BYTES)
			return -EINVAL;
		path[used++] = c;
	}
	path[used] = '\0';
	return used ? 0 : -EINVAL;
}

static int decode_windows(char path[VHD_PATH_BYTES], bool absolute)
{
	size_t length = strlen(path);

	if (length == 0)
		return -EINVAL;
	if (length >= 2 && path[1] == ':')
		return -ENOTSUP;
	if (strncmp(path, "\\\\", 2) == 0)
		return -ENOTSUP; /* of a share */
	for (size_t i = 0; i < length; i++)
		if (path[i] == '\\')
			path[i] = '/';
	if (absolute && path[0] != '/')
		return -ENOTSUP;
	if (!absolute && path[0] == '/')
		return -EINVAL;
	return 0;
}

int vhd_locator_decode(uint32_t code, const uint8_t *data, size_t length, char path[VHD_PATH_BYTES])
{
	char text[VHD_LOCATOR_MAX_BYTES + 1];

	if (length == 0 || length > VHD_LOCATOR_MAX_BYTES)
		return -EINVAL;
	if (code == VHD_LOCATOR_MACX) {
		memcpy(text, data, length);
		text[length] = '\0';
		return decode_url(text, path);
	}
	if (code != VHD_LOCATOR_W2RU && code != VHD_LOCATOR_W2KU)
		return -ENOTSUP;
	vhd_utf16le_to_utf8(data, length / 2, path, VHD_PATH_BYTES);
	if (strlen(path) >= VHD_PATH_BYTES - 4)
		return -EINVAL; /* cut */
	return decode_windows(path, code == VHD_LOCATOR_W2KU);
}

static int encode_url(const char *path, uint8_t *data, size_t data_bytes)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~/";
	size_t used = 0;

	if (data_bytes < 8)
		return -ENAMETOOLONG;
	memcpy(data, "file://", 7);
	used = 7;
	for (; *path; path++) {
		char escaped[4];
		bool is_plain = strchr(plain, *path) != NULL;
		size_t length = is_plain ? 1 : 3;

		snprintf(escaped, sizeof(escaped), "%%%02X", (unsigned int)(uint8_t)*path);
		if (length > data_bytes - used)
			return -ENAMETOOLONG;
		memcpy(data + used, is_plain ? path : escaped, length);
		used += length;
	}
	return (int)used;
}

int vhd_locator_encode(uint32_t code, const char *path, uint8_t *data, size_t data_bytes)
{
	char text[VHD_PATH_BYTES];
	bool dotted = code == VHD_LOCATOR_W2RU && path[0] != '.';
	size_t units;
	int length;

	if (code == VHD_LOCATOR_MACX)
		return encode_url(path, data, data_bytes);
	length = snprintf(text, sizeof(text), "%s%s", dotted ? "./" : "", path);
	if (length < 0 || (size_t)length >= sizeof(text))
		return -ENAMETOOLONG;
	for (size_t i = 0; text[i]; i++)
		if (text[i] == '/')
			text[i] = '\\';
	units = vhd_utf8_to_utf16le(text, data, data_bytes / 2);
	return units > data_bytes / 2 ? -ENAMETOOLONG : (int)(2 * units);
}

int vhd_relative_path(const char *from_file, const char *to_file, char path[VHD_PATH_BYTES])
{
	size_t shared = 0, used = 0;
	int length;

	for (size_t i = 0; from_file[i] && from_file[i] == to_file[i]; i++)
		if (from_file[i] == '/')
			shared = i + 1;
	for (const char *c = from_file + shared; *c; c++) {
		if (*c != '/')
			continue;
		if (used + 4 >= VHD_PATH_BYTES)
			return -ENAMETOOLONG;
		memcpy(path + used, "../", 3);
		used += 3;
	}
	length = snprintf(path + used, VHD_PATH_BYTES - used, "%s%s", used ? "" : "./",
			  to_file + shared);
	return length < 0 || (size_t)length >= VHD_PATH_BYTES - used ? -ENAMETOOLONG : 0;
}
