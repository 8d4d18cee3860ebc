/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is told about a move, in the forms that others read: JSON (GET /api/v1/vm/migration, the
 * record that is kept after the move, and every --json) and Prometheus text. One place gives them
 * their shape; docs/api/openapi.yaml describes it (Migration).
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_REPORT_H
#define LUNAR_HYPERVISOR_MIGRATION_REPORT_H

#include <stdio.h>

#include <jansson.h>

#include "hypervisor/migration/migration.h"

/*
 * A new JSON object, or NULL out of memory. check: the findings; NULL where there are none yet
 * ("check": null). The record in VM_PATH_MIGRATION (vm_paths.h) is this object, of the final
 * status.
 */
json_t *migration_report_json(const char *vm_name, const struct migration_status *status,
			      const struct migration_check *check);

/* Prometheus text exposition 0.0.4; nothing where there was no move. */
void migration_report_metrics(FILE *out, const char *vm_name,
			      const struct migration_status *status);

/* "stops", "harms" or "notes". */
const char *migration_severity_name(enum migration_severity severity);

/* "none", "lz4" or "zstd". */
const char *migration_compression_name(enum migration_compression compression);

#endif
