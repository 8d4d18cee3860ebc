/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The figures of a VM's last move, in VM_PATH_MIGRATION, for `lunar show`. Any thread.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_FIGURES_H
#define LUNAR_HYPERVISOR_MIGRATION_FIGURES_H

#include <stdbool.h>
#include <time.h>

#include "hypervisor/migration/migration.h"

/* The final figures, for `lunar show`: migration_report_json() in VM_PATH_MIGRATION. check may be
 * NULL. */
int migration_figures_write(const char *vm, const struct migration_status *status,
			    const struct migration_check *check);
/* Whether any were written after that moment (CLOCK_REALTIME_COARSE, as files have it): those of a
 * later move, which the end of an earlier one must not replace. */
bool migration_figures_written_since(const char *vm, struct timespec when);

#endif
