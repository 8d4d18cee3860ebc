/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the last move of a VM from or to this host went, from the file that vmwp leaves behind
 * (migration_figures_write()): known also when the VM, its process and its definition are gone.
 */
#ifndef LUNAR_CLI_LAST_MOVE_H
#define LUNAR_CLI_LAST_MOVE_H

#include <stdbool.h>

#include <jansson.h>

/* A new object as migration_report_json() makes it, or NULL where there is none that can be read.
 * name: a checked one. */
json_t *last_move_read(const char *name);

/* Whether by that move the VM has left this host. Takes NULL. */
bool last_move_is_departure(const json_t *move);

#endif
