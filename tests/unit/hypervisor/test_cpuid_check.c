/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's CPUID against a host's: what is missing is named, what does not matter is not.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/cpuid_check.h"
#include "hypervisor/cpuid_state.h"

static struct cpuid_table guest, host;
static char text[256];

static struct cpuid_leaf *leaf_put(struct cpuid_table *table, struct cpuid_leaf leaf)
{
	table->leaves[table->count] = leaf;
	return &table->leaves[table->count++];
}

static void table_fill(struct cpuid_table *table)
{
	memset(table, 0, sizeof(*table));
	/* "AuthenticAMD" */
	leaf_put(table, (struct cpuid_leaf){.function = 0,
					    .eax = 0xd,
					    .ebx = 0x68747541,
					    .ecx = 0x444d4163,
					    .edx = 0x69746e65});
	leaf_put(table, (struct cpuid_leaf){.function = 1, .ecx = 0xfed83203, .edx = 0x178bfbff});
	leaf_put(table, (struct cpuid_leaf){
				.function = 7, .indexed = true, .ebx = 0x209c01a9, .edx = 0x10});
	leaf_put(table, (struct cpuid_leaf){.function = 0xd,
					    .index = 0,
					    .indexed = true,
					    .eax = 7,
					    .ebx = 832,
					    .ecx = 832});
	leaf_put(table,
		 (struct cpuid_leaf){.function = 0xd, .index = 1, .indexed = true, .eax = 7});
	leaf_put(table,
		 (struct cpuid_leaf){
			 .function = 0xd, .index = 2, .indexed = true, .eax = 256, .ebx = 576});
	leaf_put(table, (struct cpuid_leaf){.function = 0x40000003, .eax = 0xaef, .edx = 0x80d12});
	leaf_put(table,
		 (struct cpuid_leaf){.function = 0x80000001, .ecx = 0x1f3, .edx = 0x2fd3fbff});
	leaf_put(table, (struct cpuid_leaf){.function = 0x80000008, .eax = 0x3030});
}

static int setup(void **state)
{
	(void)state;
	table_fill(&guest);
	table_fill(&host);
	memset(text, 'x', sizeof(text) - 1);
	return 0;
}

static int check(void)
{
	return cpuid_check(&guest, &host, text, sizeof(text));
}

static void the_same_processor_lacks_nothing(void **state)
{
	(void)state;
	assert_int_equal(check(), 0);
	assert_string_equal(text, "");
}

static void a_better_host_lacks_nothing(void **state)
{
	(void)state;
	cpuid_find(&host, 7, 0)->ebx |= 1u << 16;
	cpuid_find(&host, 0x80000008, 0)->eax = 0x3034;
	leaf_put(&host, (struct cpuid_leaf){.function = 0x80000021, .eax = 1});
	assert_int_equal(check(), 0);
}

static void what_is_missing_has_the_name_that_people_know(void **state)
{
	(void)state;
	cpuid_find(&host, 7, 0)->ebx &= ~(1u << 5);
	cpuid_find(&host, 1, 0)->ecx &= ~(1u << 25);
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "aes, avx2");
}

static void a_bit_without_a_name_has_its_place(void **state)
{
	(void)state;
	cpuid_find(&guest, 7, 0)->edx |= 1u << 9;
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "leaf 0x7 edx bit 9");
}

static void a_leaf_that_the_host_has_not_lacks_all(void **state)
{
	(void)state;
	cpuid_find(&host, 7, 0)->function = 0x99;
	cpuid_find(&guest, 7, 0)->ebx = 1u << 7 | 1u << 20;
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "smep, smap, fsrm");
}

static void what_the_system_or_the_topology_sets_does_not_count(void **state)
{
	(void)state;
	cpuid_find(&guest, 1, 0)->ecx |= 1u << 27; /* osxsave */
	cpuid_find(&guest, 1, 0)->edx |= 1u << 28; /* ht */
	cpuid_find(&guest, 1, 0)->ebx = 0x12345678;
	cpuid_find(&guest, 0x80000001, 0)->ecx |= 2; /* cmp_legacy */
	cpuid_find(&host, 1, 0)->ecx &= ~(1u << 27);
	assert_int_equal(check(), 0);
}

static void another_maker_is_refused_by_name(void **state)
{
	struct cpuid_leaf *leaf = cpuid_find(&host, 0, 0);

	(void)state;
	leaf->ebx = 0x756e6547;
	leaf->edx = 0x49656e69;
	leaf->ecx = 0x6c65746e;
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "a processor by AuthenticAMD (this one is by GenuineIntel)");
}

static void physical_address_bits_must_suffice(void **state)
{
	(void)state;
	cpuid_find(&host, 0x80000008, 0)->eax = 0x3028;
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "48 physical address bits (40 here)");
}

static void the_xsave_image_must_have_the_same_layout(void **state)
{
	(void)state;
	host.leaves[5].ebx = 640; /* where AVX registers lie */
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "the layout of XSAVE component 2");
}

static void the_xsave_area_must_be_large_enough(void **state)
{
	(void)state;
	host.leaves[3].ecx = 576;
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "an XSAVE area of 832 bytes (576 here)");
}

static void hyperv_features_are_compared_too(void **state)
{
	(void)state;
	cpuid_find(&host, 0x40000003, 0)->edx &= ~(1u << 19);
	assert_int_equal(check(), -EOPNOTSUPP);
	assert_string_equal(text, "hv stimer-direct");
}

static void a_long_list_is_cut_and_says_so(void **state)
{
	char small[32];

	(void)state;
	cpuid_find(&host, 1, 0)->ecx = 0;
	assert_int_equal(cpuid_check(&guest, &host, small, sizeof(small)), -EOPNOTSUPP);
	assert_true(strlen(small) < sizeof(small));
	assert_string_equal(small + strlen(small) - 5, ", ...");
	for (size_t size = 1; size < 200; size++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(cpuid_check(&guest, &host, text, size), -EOPNOTSUPP);
		assert_true(strnlen(text, sizeof(text)) < size);
	}
}

/* ---- saved ---- */

/* ---- IA32_ARCH_CAPABILITIES ---- */

static int check_capabilities(uint64_t promised, uint64_t here)
{
	return cpuid_check_arch_capabilities(&guest, promised, here, text, sizeof(text));
}

/* A guest that was told that it needs no defence has none. */
static void invulnerability_that_was_promised_must_be_here(void **state)
{
	(void)state;
	guest.leaves[2].edx |= UINT32_C(1) << 29;
	assert_int_equal(check_capabilities(0x6b, 0x6b), 0);
	assert_string_equal(text, "");
	assert_int_equal(check_capabilities(0x6b, UINT64_MAX & ~UINT64_C(0x80004)), 0);
	assert_int_equal(check_capabilities(0x6b, 0x4a), -EOPNOTSUPP);
	assert_string_equal(text, "rdcl_no, mds_no");
	assert_int_equal(check_capabilities(UINT64_C(1) << 62 | UINT64_C(1) << 40, 0), -EOPNOTSUPP);
	assert_string_equal(text, "IA32_ARCH_CAPABILITIES bit 40, its_no");
}

static void vulnerability_that_was_not_told_must_not_be_here(void **state)
{
	(void)state;
	guest.leaves[2].edx |= UINT32_C(1) << 29;
	assert_int_equal(check_capabilities(0, 4), -EOPNOTSUPP);
	assert_non_null(strstr(text, "rsba"));
	assert_int_equal(check_capabilities(4, 0), 0);
	assert_int_equal(check_capabilities(4, 4), 0);
}

static void capabilities_that_the_guest_cannot_read_do_not_count(void **state)
{
	(void)state;
	assert_int_equal(check_capabilities(UINT64_MAX, 0), 0);
	assert_string_equal(text, "");
}

static struct cpuid_state state_in, state_out;

static void golden_make(struct state_writer *writer)
{
	memset(&state_in, 0, sizeof(state_in));
	state_in.vp_count = 4;
	state_in.tsc_khz = 2596128;
	state_in.arch_capabilities = UINT64_C(0x400000000000006b);
	leaf_put(&state_in.table, (struct cpuid_leaf){.function = 7,
						      .index = 1,
						      .indexed = true,
						      .eax = 0x11223344,
						      .ebx = 2,
						      .ecx = 3,
						      .edx = 4});
	state_writer_init(writer);
	cpuid_state_write(&state_in, writer);
	assert_int_equal(state_writer_result(writer), 0);
}

static const uint8_t golden[] = {
	'C',  'P',  'U',  'I',	1,    0,    1,	  0, 48, 0, 0, 0, /* version, readable by, length */
	4,    0,    0,	  0,	0x20, 0x9d, 0x27, 0, 1,	 0, 0, 0, /* VPs, kHz, leaves */
	7,    0,    0,	  0,	1,    0,    0,	  0, 1,	 0, 0, 0, /* function, index, indexed */
	0x44, 0x33, 0x22, 0x11, 2,    0,    0,	  0, 3,	 0, 0, 0,
	4,    0,    0,	  0,	0x6b, 0,    0,	  0, 0,	 0, 0, 0x40, /* IA32_ARCH_CAPABILITIES */
};

static int state_read(const void *bytes, size_t length)
{
	struct state_reader reader;
	struct state_reader section;
	int result;

	state_reader_init(&reader, bytes, length);
	result = state_next(&reader, &section);
	return result < 0    ? result
	       : result == 0 ? -ENODATA
			     : cpuid_state_read(&section, &state_out);
}

static void saved_cpuid_has_its_bytes(void **state)
{
	struct state_writer writer;

	(void)state;
	golden_make(&writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
	assert_int_equal(state_read(golden, sizeof(golden)), 0);
	assert_int_equal(state_out.vp_count, 4);
	assert_int_equal(state_out.tsc_khz, 2596128);
	assert_int_equal(state_out.table.count, 1);
	assert_int_equal(state_out.table.leaves[0].eax, 0x11223344);
	assert_true(state_out.table.leaves[0].indexed);
	assert_true(state_out.arch_capabilities_known);
	assert_int_equal(state_out.arch_capabilities, UINT64_C(0x400000000000006b));
}

/* As the first writers left it. */
static void saved_cpuid_may_end_before_the_capabilities(void **state)
{
	uint8_t bytes[sizeof(golden) - 8];

	(void)state;
	memcpy(bytes, golden, sizeof(bytes));
	bytes[8] -= 8;
	assert_int_equal(state_read(bytes, sizeof(bytes)), 0);
	assert_int_equal(state_out.tsc_khz, 2596128);
	assert_false(state_out.arch_capabilities_known);
	assert_int_equal(state_out.arch_capabilities, 0);
}

static void a_cut_cpuid_is_refused(void **state)
{
	uint8_t bytes[sizeof(golden)];

	(void)state;
	for (size_t length = 1; length < sizeof(golden); length++) {
		memcpy(bytes, golden, sizeof(golden));
		assert_true(state_read(bytes, length) < 0);
		if (length < 12)
			continue;
		if (length == sizeof(golden) - 8)
			continue;		   /* an older one */
		bytes[8] = (uint8_t)(length - 12); /* as a section that is whole */
		assert_int_equal(state_read(bytes, length), -EPROTO);
	}
}

static void hostile_counts_of_cpuid_are_refused(void **state)
{
	uint8_t bytes[sizeof(golden)];

	(void)state;
	memcpy(bytes, golden, sizeof(golden));
	bytes[21] = 1; /* 257 leaves */
	assert_int_equal(state_read(bytes, sizeof(bytes)), -EPROTO);
	memset(&bytes[20], 0xff, 4);
	assert_int_equal(state_read(bytes, sizeof(bytes)), -EPROTO);
	memcpy(bytes, golden, sizeof(golden));
	bytes[12] = 0; /* no VP */
	assert_int_equal(state_read(bytes, sizeof(bytes)), -EPROTO);
	memcpy(bytes, golden, sizeof(golden));
	bytes[32] = 2; /* neither indexed nor not */
	assert_int_equal(state_read(bytes, sizeof(bytes)), -EPROTO);
}

static void a_newer_cpuid_is_read_where_it_says_so(void **state)
{
	uint8_t bytes[sizeof(golden) + 4] = {0};

	(void)state;
	memcpy(bytes, golden, sizeof(golden));
	bytes[4] = 2;  /* version 2, which 1 can read, */
	bytes[8] += 4; /* with one more field */
	assert_int_equal(state_read(bytes, sizeof(bytes)), 0);
	bytes[6] = 2;
	assert_int_equal(state_read(bytes, sizeof(bytes)), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_same_processor_lacks_nothing, setup),
		cmocka_unit_test_setup(a_better_host_lacks_nothing, setup),
		cmocka_unit_test_setup(what_is_missing_has_the_name_that_people_know, setup),
		cmocka_unit_test_setup(a_bit_without_a_name_has_its_place, setup),
		cmocka_unit_test_setup(a_leaf_that_the_host_has_not_lacks_all, setup),
		cmocka_unit_test_setup(what_the_system_or_the_topology_sets_does_not_count, setup),
		cmocka_unit_test_setup(another_maker_is_refused_by_name, setup),
		cmocka_unit_test_setup(physical_address_bits_must_suffice, setup),
		cmocka_unit_test_setup(the_xsave_image_must_have_the_same_layout, setup),
		cmocka_unit_test_setup(the_xsave_area_must_be_large_enough, setup),
		cmocka_unit_test_setup(hyperv_features_are_compared_too, setup),
		cmocka_unit_test_setup(a_long_list_is_cut_and_says_so, setup),
		cmocka_unit_test_setup(invulnerability_that_was_promised_must_be_here, setup),
		cmocka_unit_test_setup(vulnerability_that_was_not_told_must_not_be_here, setup),
		cmocka_unit_test_setup(capabilities_that_the_guest_cannot_read_do_not_count, setup),
		cmocka_unit_test(saved_cpuid_has_its_bytes),
		cmocka_unit_test(saved_cpuid_may_end_before_the_capabilities),
		cmocka_unit_test(a_cut_cpuid_is_refused),
		cmocka_unit_test(hostile_counts_of_cpuid_are_refused),
		cmocka_unit_test(a_newer_cpuid_is_read_where_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
