/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small steps on configfs and sysfs: attributes are files of one line, objects are folders.
 */
#ifndef LUNAR_ISCSI_INITIATOR_CONFIGFS_H
#define LUNAR_ISCSI_INITIATOR_CONFIGFS_H

#include <stddef.h>

#define CONFIGFS_ROOT "/sys/kernel/config"

/* Writes value to folder/name. Returns 0 or -errno. */
int attribute_write(const char *folder, const char *name, const char *value);

/* Reads folder/name without the final newline. Returns 0, -errno, or -E2BIG. */
int attribute_read(const char *folder, const char *name, char *value, size_t size);

/* mkdir; an existing folder is fine. Returns 0 or -errno. */
int folder_make(const char *path);

/* rmdir; a missing folder is fine. Returns 0 or -errno. */
int folder_remove(const char *path);

/* Mounts configfs where it is not. Returns 0 or -errno. */
int configfs_mount(void);

/* Runs modprobe. Returns 0, or -ENOENT where it does not succeed (which a built-in module is no
 * case of). */
int kernel_module_load(const char *module);

#endif
