/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A move for people: the bar on a terminal, lines elsewhere, findings, final figures. Made from the
 * JSON of migration_report_json(), which may come from a VM's process, so that nothing in it is
 * trusted: what is printed has no control bytes.
 */
#ifndef LUNAR_CLI_MIGRATION_OUTPUT_H
#define LUNAR_CLI_MIGRATION_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

/* Whether a phase is one that nothing follows. */
bool migration_phase_is_final(const char *phase);

/* One line of at most columns characters, less one, for a terminal; without its end. */
void migration_output_bar(char *line, size_t line_bytes, size_t columns, const json_t *migration);

/* The same in words, for a log: "copying memory: 25%, 1.2G sent, ...". */
void migration_output_now(char *line, size_t line_bytes, const json_t *migration);

/* The findings of a check, the worst first; returns how many of them stop the move. */
size_t migration_output_findings(FILE *out, const json_t *migration);

/* After a move that succeeded: how long, how much, and where the downtime went. */
void migration_output_figures(FILE *out, const json_t *migration);

/* In one line, for `lunar show`: "to host2, 2026-01-31 12:00:05 UTC: 12.3s, downtime 182ms". */
void migration_output_last(char *line, size_t line_bytes, const json_t *migration);

#endif
