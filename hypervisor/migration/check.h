/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is looked at before a move, at the destination, and the list of findings that comes of it:
 * the same for `lunar migrate --check` and for every move.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_CHECK_H
#define LUNAR_HYPERVISOR_MIGRATION_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/migration/migration.h"

/* Adds a finding; one that does not fit any more is left out, the last place being kept for one
 * that stops. item: "cpu", "memory", ...; the text says what is wrong and what to do, in a line. */
void migration_check_add(struct migration_check *check, enum migration_severity severity,
			 const char *item, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The first finding that stops, or NULL. */
const struct migration_finding *migration_check_stopper(const struct migration_check *check);

/* A failure to make the VM as a finding that stops, its item taken from the exit code. */
void migration_check_add_error(struct migration_check *check, const struct vm_error *error);

/*
 * What can be told without the VM: the definition can be read and is of that name, the name is not
 * in use here, it names nothing of this host but what confine.h lets it, and its kernel and initrd
 * are here. Nothing is read or changed. Returns false where the VM must not be made, not even to
 * look whether it can be.
 */
bool migration_check_definition(struct migration_check *check, const char *vm_name,
				const char *definition, size_t length);

#endif
