/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ACPI tables. See acpi_tables.h.
 */
#include "hypervisor/acpi_tables.h"

#include <string.h>

#include "base/bytes.h"
#include "hypervisor/acpi_dsdt.h"

#define RSDP_BYTES   36u
#define HEADER_BYTES 36u /* of every other table */
#define FADT_BYTES   276u
#define XSDT_BYTES   (HEADER_BYTES + 2 * 8)
#define TABLE_ALIGN  16u

/* FADT: offsets and bits (ACPI 5.2.9). */
#define FADT_PROFILE		 45
#define FADT_BOOT_ARCH		 109
#define FADT_FLAGS		 112
#define FADT_RESET_REGISTER	 116
#define FADT_RESET_VALUE	 128
#define FADT_MINOR_VERSION	 131
#define FADT_X_DSDT		 140
#define FADT_SLEEP_CONTROL	 244
#define FADT_SLEEP_STATUS	 256
#define FADT_HYPERVISOR_VENDOR	 268
#define PROFILE_ENTERPRISE	 4
#define BOOT_ARCH_NO_VGA	 (1u << 2)
#define BOOT_ARCH_NO_MSI	 (1u << 3)
#define BOOT_ARCH_NO_ASPM	 (1u << 4)
#define FLAG_WBINVD		 (1u << 0)
#define FLAG_POWER_BUTTON_IS_AML (1u << 4)
#define FLAG_SLEEP_BUTTON_IS_AML (1u << 5)
#define FLAG_RESET_REGISTER	 (1u << 10)
#define FLAG_HARDWARE_REDUCED	 (1u << 20)
#define GAS_SPACE_IO		 1

/* MADT (ACPI 5.2.12). */
#define MADT_FIXED_BYTES  44u
#define MADT_LAPIC_BYTES  8u
#define MADT_IOAPIC_BYTES 12u
#define MADT_TYPE_LAPIC	  0
#define MADT_TYPE_IOAPIC  1
#define LAPIC_GPA	  0xfee00000u
#define IOAPIC_GPA	  0xfec00000u
#define LAPIC_ENABLED	  1u

static uint8_t checksum_of(const uint8_t *bytes, size_t length)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* Bytes of a fixed-width field, which has no NUL. */
static void text_put(uint8_t *field, const char *text, size_t width)
{
	memcpy(field, text, width);
}

static void header_put(uint8_t *table, const char *signature, uint32_t length, uint8_t revision)
{
	text_put(table, signature, 4);
	put_le32(table + 4, length);
	table[8] = revision;
	text_put(table + 10, "LUNAR ", 6);
	text_put(table + 16, "LUNARVM ", 8);
	put_le32(table + 24, 1);
	text_put(table + 28, "LNAR", 4);
	put_le32(table + 32, 1);
}

static void header_seal(uint8_t *table)
{
	table[9] = checksum_of(table, get_le32(table + 4));
}

/* Generic address structure of one byte of I/O space (ACPI 5.2.3.2). */
static void gas_put(uint8_t *gas, uint16_t port)
{
	gas[0] = GAS_SPACE_IO;
	gas[1] = 8; /* bits wide */
	gas[3] = 1; /* byte access */
	put_le64(gas + 4, port);
}

static void fadt_put(uint8_t *fadt, uint64_t dsdt_gpa)
{
	header_put(fadt, "FACP", FADT_BYTES, 6);
	fadt[FADT_PROFILE] = PROFILE_ENTERPRISE;
	put_le16(fadt + FADT_BOOT_ARCH, BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_MSI | BOOT_ARCH_NO_ASPM);
	put_le32(fadt + FADT_FLAGS, FLAG_WBINVD | FLAG_POWER_BUTTON_IS_AML |
					    FLAG_SLEEP_BUTTON_IS_AML | FLAG_RESET_REGISTER |
					    FLAG_HARDWARE_REDUCED);
	gas_put(fadt + FADT_RESET_REGISTER, ACPI_PORT_RESET);
	fadt[FADT_RESET_VALUE] = ACPI_RESET_VALUE;
	fadt[FADT_MINOR_VERSION] = 3;
	put_le64(fadt + FADT_X_DSDT, dsdt_gpa);
	gas_put(fadt + FADT_SLEEP_CONTROL, ACPI_PORT_SLEEP_CONTROL);
	gas_put(fadt + FADT_SLEEP_STATUS, ACPI_PORT_SLEEP_STATUS);
	text_put(fadt + FADT_HYPERVISOR_VENDOR, "MsHyperV", 8);
	header_seal(fadt);
}

static uint32_t madt_bytes(uint32_t vp_count)
{
	return MADT_FIXED_BYTES + MADT_IOAPIC_BYTES + vp_count * MADT_LAPIC_BYTES;
}

static void madt_put(uint8_t *madt, uint32_t vp_count)
{
	uint8_t *entry = madt + MADT_FIXED_BYTES;

	header_put(madt, "APIC", madt_bytes(vp_count), 5);
	put_le32(madt + 36, LAPIC_GPA); /* flags stay 0: no 8259 */
	for (uint32_t vp = 0; vp < vp_count; vp++) {
		entry[0] = MADT_TYPE_LAPIC;
		entry[1] = MADT_LAPIC_BYTES;
		entry[2] = (uint8_t)vp; /* processor UID */
		entry[3] = (uint8_t)vp; /* APIC id */
		put_le32(entry + 4, LAPIC_ENABLED);
		entry += MADT_LAPIC_BYTES;
	}
	entry[0] = MADT_TYPE_IOAPIC;
	entry[1] = MADT_IOAPIC_BYTES;
	put_le32(entry + 4, IOAPIC_GPA);
	header_seal(madt);
}

static void rsdp_put(uint8_t *rsdp, uint64_t xsdt_gpa)
{
	text_put(rsdp, "RSD PTR ", 8);
	text_put(rsdp + 9, "LUNAR ", 6);
	rsdp[15] = 2; /* ACPI 2.0 and later: the XSDT counts */
	put_le32(rsdp + 20, RSDP_BYTES);
	put_le64(rsdp + 24, xsdt_gpa);
	rsdp[8] = checksum_of(rsdp, 20);
	rsdp[32] = checksum_of(rsdp, RSDP_BYTES);
}

size_t acpi_tables_build(uint32_t vp_count, uint64_t gpa, uint8_t *bytes, size_t size)
{
	size_t xsdt = align_up(RSDP_BYTES, TABLE_ALIGN);
	size_t fadt = align_up(xsdt + XSDT_BYTES, TABLE_ALIGN);
	size_t madt = align_up(fadt + FADT_BYTES, TABLE_ALIGN);
	size_t dsdt = align_up(madt + madt_bytes(vp_count), TABLE_ALIGN);
	size_t end = dsdt + sizeof(acpi_dsdt);

	if (end > size)
		return 0;
	memset(bytes, 0, end);
	memcpy(bytes + dsdt, acpi_dsdt, sizeof(acpi_dsdt));
	fadt_put(bytes + fadt, gpa + dsdt);
	madt_put(bytes + madt, vp_count);
	header_put(bytes + xsdt, "XSDT", XSDT_BYTES, 1);
	put_le64(bytes + xsdt + HEADER_BYTES, gpa + fadt);
	put_le64(bytes + xsdt + HEADER_BYTES + 8, gpa + madt);
	header_seal(bytes + xsdt);
	rsdp_put(bytes, gpa + xsdt);
	return end;
}
