/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's disks for people, from the JSON of vm_report_disks.h; nothing in it is trusted.
 */
#ifndef LUNAR_CLI_OUTPUT_DISK_H
#define LUNAR_CLI_OUTPUT_DISK_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

/* A table. disks: an array. */
void output_disk_list(FILE *out, const json_t *disks);
/* Some lines of a VM's sheet. */
void output_disk_sheet(FILE *out, const json_t *disks, bool running);

#endif
