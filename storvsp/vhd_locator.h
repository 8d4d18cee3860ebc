/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a differencing VHD names its parent: the parent's name, and locators, each a path in a form
 * of some platform. Windows' paths become Linux' and the other way round. Pure functions.
 */
#ifndef LUNAR_STORVSP_VHD_LOCATOR_H
#define LUNAR_STORVSP_VHD_LOCATOR_H

#include <stddef.h>
#include <stdint.h>

#include "storvsp/vhd_format.h"

#define VHD_PATH_BYTES	      4096u
#define VHD_LOCATOR_MAX_BYTES (3 * VHD_PATH_BYTES)

/* A bad sequence becomes U+FFFD. The text ends at a NUL or with its units; out is always
 * terminated, and cut where it is too short, never within a character. */
void vhd_utf16be_to_utf8(const uint8_t *units, size_t count, char *out, size_t out_bytes);
void vhd_utf16le_to_utf8(const uint8_t *units, size_t count, char *out, size_t out_bytes);
/* Fills up to count units, the rest with 0. Returns how many the text has, which may be more. */
size_t vhd_utf8_to_utf16be(const char *text, uint8_t *units, size_t count);
size_t vhd_utf8_to_utf16le(const char *text, uint8_t *units, size_t count);

/*
 * The path that a locator's data says, as one of Linux; relative paths are to the child's folder.
 * Returns 0; -ENOTSUP for a form that is not known or names no path on this system (a drive letter,
 * another host); -EINVAL where it is malformed.
 */
int vhd_locator_decode(uint32_t code, const uint8_t *data, size_t length,
		       char path[VHD_PATH_BYTES]);

/*
 * A locator's data for a path of Linux: code W2RU takes a relative one, W2KU and MACX an absolute
 * one. Returns its length, or -ENAMETOOLONG.
 */
int vhd_locator_encode(uint32_t code, const char *path, uint8_t *data, size_t data_bytes);

/* The path from the folder of one file to another file, both absolute and without "." or "..".
 * Returns 0 or -ENAMETOOLONG. */
int vhd_relative_path(const char *from_file, const char *to_file, char path[VHD_PATH_BYTES]);

#endif
