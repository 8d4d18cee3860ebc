/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI tables, walked as a guest walks them, and compiled and read by ACPICA's own tools where
 * they are installed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/acpi_dsdt.h"
#include "hypervisor/acpi_tables.h"

#define GPA UINT64_C(0xe0000)

static uint8_t memory[0x10000];

static uint8_t sum_of(const uint8_t *bytes, size_t length)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum;
}

/* A table at a GPA: its signature, and a checksum that adds up. */
static const uint8_t *table_at(uint64_t gpa, const char *signature)
{
	const uint8_t *table = memory + (gpa - GPA);

	assert_true(gpa >= GPA && gpa < GPA + sizeof(memory));
	assert_memory_equal(table, signature, 4);
	assert_int_equal(sum_of(table, get_le32(table + 4)), 0);
	return table;
}

static const uint8_t *xsdt_find(uint32_t vps)
{
	size_t length = acpi_tables_build(vps, GPA, memory, sizeof(memory));

	assert_int_not_equal(length, 0);
	assert_memory_equal(memory, "RSD PTR ", 8);
	assert_int_equal(sum_of(memory, 20), 0);
	assert_int_equal(sum_of(memory, 36), 0);
	assert_int_equal(memory[15], 2);
	return table_at(get_le64(memory + 24), "XSDT");
}

static const uint8_t *fadt_find(uint32_t vps)
{
	return table_at(get_le64(xsdt_find(vps) + 36), "FACP");
}

static void fadt_is_hardware_reduced_with_a_reset_register(void **state)
{
	const uint8_t *fadt = fadt_find(1);
	uint32_t flags = get_le32(fadt + 112);

	(void)state;
	assert_int_equal(get_le32(fadt + 4), 276);
	assert_int_equal(fadt[8], 6);
	assert_true(flags & 1u << 20);
	assert_true(flags & 1u << 10);
	/* reset register: I/O, 8 bits wide, byte access */
	assert_memory_equal(fadt + 116, "\x01\x08\x00\x01\x02\x06\0\0\0\0\0\0", 12);
	assert_int_equal(fadt[128], 1);
	/* no VGA, no MSI, no ASPM; neither an 8042 nor "no RTC" */
	assert_int_equal(get_le16(fadt + 109), 0x1c);
	assert_memory_equal(fadt + 268, "MsHyperV", 8);
}

static void fadt_names_the_sleep_registers(void **state)
{
	const uint8_t *fadt = fadt_find(1);

	(void)state;
	assert_memory_equal(fadt + 244, "\x01\x08\x00\x01\x00\x06\0\0\0\0\0\0", 12);
	assert_memory_equal(fadt + 256, "\x01\x08\x00\x01\x01\x06\0\0\0\0\0\0", 12);
}

static void dsdt_is_where_the_fadt_says(void **state)
{
	const uint8_t *dsdt = table_at(get_le64(fadt_find(3) + 140), "DSDT");

	(void)state;
	assert_int_equal(get_le32(dsdt + 4), sizeof(acpi_dsdt));
	assert_memory_equal(dsdt, acpi_dsdt, sizeof(acpi_dsdt));
}

static void madt_has_one_enabled_lapic_a_vp_and_an_ioapic(void **state)
{
	const uint8_t *madt = table_at(get_le64(xsdt_find(64) + 44), "APIC");
	const uint8_t *entry = madt + 44;

	(void)state;
	assert_int_equal(get_le32(madt + 36), 0xfee00000);
	assert_int_equal(get_le32(madt + 40), 0); /* no 8259 */
	for (uint32_t vp = 0; vp < 64; vp++, entry += 8) {
		assert_int_equal(entry[0], 0);
		assert_int_equal(entry[1], 8);
		assert_int_equal(entry[3], vp);
		assert_int_equal(get_le32(entry + 4), 1);
	}
	assert_int_equal(entry[0], 1);
	assert_int_equal(entry[1], 12);
	assert_int_equal(get_le32(entry + 4), 0xfec00000);
	assert_ptr_equal(entry + 12, madt + get_le32(madt + 4));
}

static void tables_do_not_run_over_their_place(void **state)
{
	size_t length = acpi_tables_build(64, GPA, memory, sizeof(memory));

	(void)state;
	assert_int_equal(acpi_tables_build(64, GPA, memory, length - 1), 0);
	assert_int_equal(acpi_tables_build(64, GPA, memory, length), length);
}

static bool iasl_is_there(void)
{
	return system("command -v iasl >/dev/null 2>&1") == 0;
}

static void dsdt_is_the_compiled_source(void **state)
{
	(void)state;
	if (!iasl_is_there())
		skip();
	assert_int_equal(system("out=$(mktemp) && hypervisor/acpi_dsdt.sh $out && "
				"grep 0x $out >$out.a && "
				"grep 0x hypervisor/acpi_dsdt.h >$out.b && cmp $out.a $out.b; "
				"rc=$?; rm -f $out $out.a $out.b; exit $rc"),
			 0);
}

static void dsdt_disassembles_to_the_devices(void **state)
{
	char path[] = "/tmp/lunar-dsdt-XXXXXX";
	char command[256];
	int fd;

	(void)state;
	if (!iasl_is_there())
		skip();
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, acpi_dsdt, sizeof(acpi_dsdt)), sizeof(acpi_dsdt));
	close(fd);
	snprintf(command, sizeof(command),
		 "iasl -d %s >/dev/null 2>&1 && grep -q VMBUS %s.dsl && grep -q PNP0501 %s.dsl && "
		 "grep -q _S5 %s.dsl; rc=$?; rm -f %s %s.dsl; exit $rc",
		 path, path, path, path, path, path);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fadt_is_hardware_reduced_with_a_reset_register),
		cmocka_unit_test(fadt_names_the_sleep_registers),
		cmocka_unit_test(dsdt_is_where_the_fadt_says),
		cmocka_unit_test(madt_has_one_enabled_lapic_a_vp_and_an_ioapic),
		cmocka_unit_test(tables_do_not_run_over_their_place),
		cmocka_unit_test(dsdt_is_the_compiled_source),
		cmocka_unit_test(dsdt_disassembles_to_the_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
