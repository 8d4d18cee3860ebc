/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI tables that a guest finds: RSDP, XSDT, FADT (hardware-reduced: no SCI, no PM timer),
 * MADT and DSDT. Source: ACPI 6.3, chapter 5.2.
 */
#ifndef LUNAR_HYPERVISOR_ACPI_TABLES_H
#define LUNAR_HYPERVISOR_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Ports of the FADT's registers, a byte each (ACPI 4.8.3.6, 4.8.3.7). */
#define ACPI_PORT_SLEEP_CONTROL 0x600
#define ACPI_PORT_SLEEP_STATUS	0x601
#define ACPI_PORT_RESET		0x602
#define ACPI_RESET_VALUE	0x01
#define ACPI_SLEEP_ENABLE	0x20 /* bit 5; the sleep type is bits 2..4 */
#define ACPI_SLEEP_TYPE(value)	(((value) >> 2) & 7)
#define ACPI_SLEEP_TYPE_S5	5 /* as _S5 in acpi_dsdt.asl */

/* Interrupt lines that the DSDT names. */
#define ACPI_LINE_UART	       4
#define ACPI_LINE_POWER_BUTTON 5

/*
 * Writes the tables for vp_count VPs into bytes, to be placed at gpa; the RSDP is first. Returns
 * the length, or 0 where size is too small.
 */
size_t acpi_tables_build(uint32_t vp_count, uint64_t gpa, uint8_t *bytes, size_t size);

#endif
