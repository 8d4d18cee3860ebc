/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CPUID as a guest reads it: Hyper-V where KVM was, the partition's own topology, and no promise
 * that KVM does not keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "hypervisor/cpuid.h"
#include "wire/tlfs.h"

/* What KVM of Linux 6.1 offers. */
#define KVM_HV_FEATURES_EAX 0x2aefu
#define KVM_HV_FEATURES_EBX 0x830u
#define KVM_HV_FEATURES_EDX 0x80d12u
#define KVM_HV_HINTS_EAX    0x40e2cu

static void leaf_put(struct cpuid_table *table, struct cpuid_leaf leaf)
{
	table->leaves[table->count++] = leaf;
}

static void host_fill(struct cpuid_table *host, struct cpuid_table *hyperv)
{
	memset(host, 0, sizeof(*host));
	memset(hyperv, 0, sizeof(*hyperv));
	leaf_put(host, (struct cpuid_leaf){.function = 0, .eax = 0x1f});
	leaf_put(host,
		 (struct cpuid_leaf){
			 .function = 1, .ebx = 0x03100800, .ecx = 0x00000201, .edx = 0x178bfbff});
	leaf_put(host, (struct cpuid_leaf){
			       .function = 4, .index = 0, .indexed = true, .eax = 0x1c004121});
	leaf_put(host, (struct cpuid_leaf){
			       .function = 4, .index = 3, .indexed = true, .eax = 0x1c03c163});
	leaf_put(host, (struct cpuid_leaf){.function = 0xb, .index = 0, .indexed = true, .edx = 3});
	leaf_put(host, (struct cpuid_leaf){.function = 0xb, .index = 1, .indexed = true, .edx = 3});
	leaf_put(host, (struct cpuid_leaf){.function = 0x1f, .index = 0, .indexed = true});
	leaf_put(host, (struct cpuid_leaf){.function = 0x40000000, .ebx = 0x4b4d564b}); /* KVMK */
	leaf_put(host, (struct cpuid_leaf){.function = 0x40000001, .eax = 0x01007efb});
	leaf_put(host, (struct cpuid_leaf){.function = 0x80000001, .ecx = 0x2});
	leaf_put(host, (struct cpuid_leaf){.function = 0x80000008, .eax = 0x3028, .ecx = 0x700f});
	leaf_put(host,
		 (struct cpuid_leaf){.function = 0x8000001e, .eax = 9, .ebx = 0x109, .ecx = 0x101});
	leaf_put(hyperv, (struct cpuid_leaf){.function = HV_CPUID_FEATURES,
					     .eax = KVM_HV_FEATURES_EAX,
					     .ebx = KVM_HV_FEATURES_EBX,
					     .edx = KVM_HV_FEATURES_EDX});
	leaf_put(hyperv, (struct cpuid_leaf){.function = HV_CPUID_HINTS, .eax = KVM_HV_HINTS_EAX});
}

static struct cpuid_table host, hyperv;

static int setup(void **state)
{
	(void)state;
	host_fill(&host, &hyperv);
	return 0;
}

static void guest_sees_microsoft_hv_and_no_kvm(void **state)
{
	const struct cpuid_leaf *leaf;
	char vendor[13] = "";

	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), 0);
	leaf = cpuid_find(&host, 0x40000000, 0);
	memcpy(vendor, &leaf->ebx, 4);
	memcpy(vendor + 4, &leaf->ecx, 4);
	memcpy(vendor + 8, &leaf->edx, 4);
	assert_string_equal(vendor, "Microsoft Hv");
	assert_true(leaf->eax >= 0x40000005); /* or Linux does not believe it */
	leaf = cpuid_find(&host, 0x40000001, 0);
	assert_memory_equal(&leaf->eax, "Hv#1", 4);
	assert_true(cpuid_find(&host, 1, 0)->ecx >> 31);
}

static void privileges_are_what_vmbus_needs_and_no_more(void **state)
{
	const struct cpuid_leaf *leaf;

	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), 0);
	leaf = cpuid_find(&host, HV_CPUID_FEATURES, 0);
	assert_int_equal(leaf->eax, 0xaef);
	assert_int_equal(leaf->ebx, HV_PRIVILEGE_POST_MESSAGES | HV_PRIVILEGE_SIGNAL_EVENTS);
	assert_true(leaf->edx & HV_FEATURE_STIMER_DIRECT);
	assert_false(leaf->edx & HV_FEATURE_DEBUG_MSRS);
	/* these two turn Linux into a root partition, or an isolated one */
	assert_false(leaf->ebx & (HV_PRIVILEGE_CPU_MANAGEMENT | HV_PRIVILEGE_ISOLATION));
}

static void hints_are_the_papers_enlightenments(void **state)
{
	const struct cpuid_leaf *leaf;

	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), 0);
	leaf = cpuid_find(&host, HV_CPUID_HINTS, 0);
	assert_true(leaf->eax & HV_HINT_REMOTE_TLB_FLUSH);
	assert_true(leaf->eax & HV_HINT_CLUSTER_IPI);
	assert_true(leaf->eax & HV_HINT_DEPRECATE_AUTO_EOI);
	assert_int_not_equal(leaf->ebx, 0); /* spin so often, then notify */
	assert_int_not_equal(leaf->ebx, HV_SPINLOCK_NEVER_NOTIFY);
}

static void nothing_is_promised_that_kvm_lacks(void **state)
{
	(void)state;
	cpuid_find(&hyperv, HV_CPUID_FEATURES, 0)->edx &= ~HV_FEATURE_GUEST_CRASH_MSR;
	cpuid_find(&hyperv, HV_CPUID_HINTS, 0)->eax &= ~HV_HINT_CLUSTER_IPI;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), 0);
	assert_false(cpuid_find(&host, HV_CPUID_FEATURES, 0)->edx & HV_FEATURE_GUEST_CRASH_MSR);
	assert_false(cpuid_find(&host, HV_CPUID_HINTS, 0)->eax & HV_HINT_CLUSTER_IPI);
}

static void kvm_without_synic_is_refused(void **state)
{
	(void)state;
	cpuid_find(&hyperv, HV_CPUID_FEATURES, 0)->eax &= ~HV_PRIVILEGE_SYNIC;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), -ENOTSUP);
}

static void each_vp_has_its_own_apic_id(void **state)
{
	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 64, true), 0);
	for (uint32_t vp = 0; vp < 64; vp++) {
		cpuid_set_vp(&host, vp, 64);
		assert_int_equal(cpuid_find(&host, 1, 0)->ebx, vp << 24 | 64 << 16 | 0x0800);
		assert_int_equal(cpuid_find(&host, 0xb, 0)->edx, vp);
		assert_int_equal(cpuid_find(&host, 0xb, 1)->edx, vp);
		assert_int_equal(cpuid_find(&host, 0x8000001e, 0)->eax, vp);
		assert_int_equal(cpuid_find(&host, 0x8000001e, 0)->ebx, vp); /* 1 thread a core */
	}
}

static void topology_is_one_package_of_single_threaded_cores(void **state)
{
	const struct cpuid_leaf *threads;
	const struct cpuid_leaf *cores;

	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 6, true), 0);
	threads = cpuid_find(&host, 0xb, 0);
	cores = cpuid_find(&host, 0xb, 1);
	assert_int_equal(threads->eax, 0);
	assert_int_equal(threads->ebx, 1);
	assert_int_equal(threads->ecx, 0x100);
	assert_int_equal(cores->eax, 3); /* 6 cores need 3 bits */
	assert_int_equal(cores->ebx, 6);
	assert_int_equal(cores->ecx, 0x201);
	assert_null(cpuid_find(&host, 0x1f, 0));
	assert_int_equal(cpuid_find(&host, 0x80000008, 0)->ecx, 5 | 3 << 12);
	assert_true(cpuid_find(&host, 1, 0)->edx & 1u << 28);
}

static void caches_below_the_last_level_are_a_cores_own(void **state)
{
	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 4, true), 0);
	assert_int_equal(cpuid_find(&host, 4, 0)->eax >> 14 & 0xfff, 0); /* level 1 */
	assert_int_equal(cpuid_find(&host, 4, 3)->eax >> 14 & 0xfff, 3); /* level 3 */
	assert_int_equal(cpuid_find(&host, 4, 0)->eax >> 26, 3);
	assert_int_equal(cpuid_find(&host, 4, 0)->eax & 0x3fff, 0x0121);
}

static void single_vp_shows_no_siblings(void **state)
{
	(void)state;
	assert_int_equal(cpuid_make(&host, &hyperv, 1, false), 0);
	assert_false(cpuid_find(&host, 1, 0)->edx & 1u << 28);
	assert_false(cpuid_find(&host, 1, 0)->ecx & 1u << 24); /* no deadline timer asked for */
	assert_int_equal(cpuid_find(&host, 0x80000008, 0)->ecx, 0);
}

static void full_table_is_refused(void **state)
{
	(void)state;
	while (host.count < CPUID_MAX_LEAVES)
		leaf_put(&host, (struct cpuid_leaf){.function = 0x7fff0000});
	assert_int_equal(cpuid_make(&host, &hyperv, 1, false), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(guest_sees_microsoft_hv_and_no_kvm, setup),
		cmocka_unit_test_setup(privileges_are_what_vmbus_needs_and_no_more, setup),
		cmocka_unit_test_setup(hints_are_the_papers_enlightenments, setup),
		cmocka_unit_test_setup(nothing_is_promised_that_kvm_lacks, setup),
		cmocka_unit_test_setup(kvm_without_synic_is_refused, setup),
		cmocka_unit_test_setup(each_vp_has_its_own_apic_id, setup),
		cmocka_unit_test_setup(topology_is_one_package_of_single_threaded_cores, setup),
		cmocka_unit_test_setup(caches_below_the_last_level_are_a_cores_own, setup),
		cmocka_unit_test_setup(single_vp_shows_no_siblings, setup),
		cmocka_unit_test_setup(full_table_is_refused, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
