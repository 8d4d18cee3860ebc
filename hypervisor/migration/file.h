/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A saved VM as one file: the frames of wire/migration.h behind a header, each with a check. It is
 * written under a temporary name and appears under its own once it is complete and on disk; it
 * never replaces another. A reader takes nothing for granted: a file that is cut or altered is
 * refused before anything runs.
 *
 * migration_save_start() and migration_restore_start() of hypervisor/migration.h stand on this.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_FILE_H
#define LUNAR_HYPERVISOR_MIGRATION_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/migration/message.h"
#include "hypervisor/vm_error.h"

struct migration_file;

/* Makes the temporary file beside path. Returns 0, or -errno with *error (-EEXIST: path exists). */
int migration_file_create(const char *path, struct migration_file **file, struct vm_error *error);
/* Opens a saved VM and reads its header. Returns 0, or -errno with *error (EXIT_BAD_STATE where it
 * is none, or of an incompatible version). */
int migration_file_open(const char *path, struct migration_file **file, struct vm_error *error);

/* Its frames; the file's. */
struct migration_channel *migration_file_channel(struct migration_file *file);
uint64_t migration_file_position(const struct migration_file *file);
uint64_t migration_file_size(const struct migration_file *file);
/* Whether all of it was read. */
bool migration_file_at_end(struct migration_file *file);

/* Writes FILE_END, flushes to disk, gives the file its name. Returns 0 or -errno with *error; the
 * temporary file goes with migration_file_close(). */
int migration_file_commit(struct migration_file *file, struct vm_error *error);
/* Takes NULL. What was not committed is removed. */
void migration_file_close(struct migration_file *file);

/* What a read error of the channel means, for a user; returns rc. */
int migration_file_explain(const struct migration_file *file, int rc, struct vm_error *error);

#endif
