/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What people read: tables, a sheet about one VM, sizes and times in words. All of it is made from
 * the same JSON that
 * --json prints, so that the two cannot differ; and since that JSON may come from a VM's process,
 * nothing in it is trusted.
 */
#ifndef LUNAR_CLI_OUTPUT_H
#define LUNAR_CLI_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define OUTPUT_WORD_BYTES 32

/* A member of an object: "-" or 0 where it is missing or of another type. */
const char *output_get_text(const json_t *object, const char *key);
uint64_t output_get_number(const json_t *object, const char *key);

/* Copies text for a terminal: control bytes become '?'; bytes of UTF-8 stay, but for C1 controls.
 */
void output_copy_printable(char *out, size_t out_bytes, const char *text);

/* Rows of columns cells each, row by row, the first row the heads. Every column but the last is
 * padded. */
void output_table(FILE *out, size_t columns, const char *const *cells, size_t rows);

/* "512M", "1.5G", "64G". */
void output_size(char word[OUTPUT_WORD_BYTES], uint64_t bytes);
/* "45s", "3m 20s", "2h 5m", "12d 3h". */
void output_duration(char word[OUTPUT_WORD_BYTES], uint64_t ms);

/* "182ms", "12.3s", then as output_duration(). */
void output_time(char word[OUTPUT_WORD_BYTES], uint64_t ms);

#define OUTPUT_VLAN_BYTES 192
/* A NIC's "vlan": "access 10". */
void output_vlan(char text[OUTPUT_VLAN_BYTES], const json_t *vlan);

/* vms: an array of objects as vm_report_json() makes them. */
void output_vm_list(FILE *out, const json_t *vms);
/* One such object. */
void output_vm_sheet(FILE *out, const json_t *vm);

#endif
