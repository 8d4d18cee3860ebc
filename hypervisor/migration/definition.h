/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The definition of a VM that comes or goes, in $LUNAR_STATE_DIR/vms. Any thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_DEFINITION_H
#define LUNAR_HYPERVISOR_MIGRATION_DEFINITION_H

#include <stdbool.h>
#include <stddef.h>

/* The definition of a VM that comes, on disk beside the others but not yet one of them. */
int migration_definition_prepare(const char *vm, const char *id, const void *text, size_t length);
/* Makes it one; durable. 0 also where that was done before. */
int migration_definition_place(const char *vm, const char *id);
void migration_definition_discard(const char *vm, const char *id);
bool migration_definition_is_prepared(const char *vm, const char *id);
/* Whether a VM of this name is defined on this host, and whether its definition is this text. */
bool migration_definition_exists(const char *vm);
bool migration_definition_is_stored(const char *vm, const void *text, size_t length);
/* The stored definition goes; durable. No error where there is none. */
int migration_definition_remove(const char *vm);

#endif
