/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small files that have to be there after a host went down, whole, and the folders that they are
 * in. Any thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_DURABLE_H
#define LUNAR_HYPERVISOR_MIGRATION_DURABLE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Returns 0 or -ENAMETOOLONG. */
int durable_path(char path[PATH_MAX], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The folder parent/name: made where it is missing (0700, those above 0755); or what was done in it
 * (renames, links, removals) on disk. Returns 0 or -errno. */
int durable_dir_make(const char *parent, const char *name);
int durable_dir_sync(const char *parent, const char *name);

/* Makes a file (0600), or replaces what is in it; follows no symbolic link. on_disk: its bytes are
 * durable then, its name is not yet. It is gone where that fails. Returns 0 or -errno. */
int durable_write(const char *path, const void *bytes, size_t length, bool on_disk);

/* Reads a whole file into text (NUL-terminated), which must be shorter than text_bytes. Returns its
 * length, -EFBIG, or another -errno. */
ssize_t durable_read(const char *path, char *text, size_t text_bytes);

#endif
