/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's saved state without KVM: what is written is read, and nothing that is malformed,
 * incomplete, doubled or not allowed gets through.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/kvm_state.h"
#include "wire/tlfs.h"

#define MSR_PAT	       0x277
#define MSR_LSTAR      0xc0000082
#define MSR_EFER       0xc0000080
#define MSR_APIC_BASE  0x1b
#define MSR_KVM_SYSTEM 0x4b564d01

#define VPS 2

static struct kvm_vp_state vp;
static struct kvm_mp_state mp_state;
static struct kvm_regs regs;
static struct kvm_sregs2 sregs2;
static struct kvm_xsave xsave;
static struct kvm_debugregs debugregs;
static struct kvm_lapic_state lapic;
static struct kvm_vcpu_events events;
static struct cpuid_state cpuid;
static struct state_writer writer;
static struct kvm_state *read_state;

static void part_put(enum kvm_vp_part part, const void *bytes, size_t length)
{
	vp.parts[part] = bytes;
	vp.part_bytes[part] = length;
}

static int setup(void **state)
{
	(void)state;
	memset(&vp, 0, sizeof(vp));
	memset(&mp_state, 0, sizeof(mp_state));
	memset(&regs, 0, sizeof(regs));
	memset(&events, 0, sizeof(events));
	part_put(KVM_PART_MP_STATE, &mp_state, sizeof(mp_state));
	part_put(KVM_PART_REGS, &regs, sizeof(regs));
	part_put(KVM_PART_SREGS2, &sregs2, sizeof(sregs2));
	part_put(KVM_PART_XSAVE, &xsave, sizeof(xsave));
	part_put(KVM_PART_DEBUGREGS, &debugregs, sizeof(debugregs));
	part_put(KVM_PART_LAPIC, &lapic, sizeof(lapic));
	part_put(KVM_PART_EVENTS, &events, sizeof(events));
	memset(&cpuid, 0, sizeof(cpuid));
	cpuid.vp_count = VPS;
	cpuid.tsc_khz = 1000000;
	state_writer_init(&writer);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	state_writer_fini(&writer);
	free(read_state);
	read_state = NULL;
	return 0;
}

static void msr_put(uint32_t index, uint64_t value)
{
	vp.msrs[vp.msr_count++] = (struct kvm_msr_entry){.index = index, .data = value};
}

static void chips_write(void)
{
	for (uint32_t id = 0; id < KVM_CHIP_COUNT; id++)
		kvm_chip_state_write(&(struct kvm_irqchip){.chip_id = id}, &writer);
}

static void head_write(void)
{
	cpuid_state_write(&cpuid, &writer);
	kvm_clock_state_write(&(struct kvm_clock_state){.clock_ns = 5, .realtime_ns = 6, .tsc = 7},
			      &writer);
	chips_write();
}

static void vp_write(uint32_t index)
{
	vp.index = index;
	vp.tsc_ahead = index * UINT64_C(100);
	kvm_vp_state_write(&vp, &writer);
}

static int read_back(void)
{
	struct state_reader reader;

	assert_int_equal(state_writer_result(&writer), 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	return kvm_state_read(&reader, VPS, &read_state);
}

/* A state whose VP 1 is vp as the test made it. */
static int read_with_vp(void)
{
	head_write();
	vp_write(0);
	vp_write(1);
	return read_back();
}

static void what_is_written_is_read(void **state)
{
	const struct kvm_vp_state *second;

	(void)state;
	regs.rip = 0x1234;
	events.interrupt.nr = 0x41;
	msr_put(MSR_PAT, 0x70406);
	msr_put(MSR_LSTAR, UINT64_MAX);
	assert_int_equal(read_with_vp(), 0);
	assert_int_equal(read_state->vp_count, VPS);
	assert_int_equal(read_state->clock.clock_ns, 5);
	assert_int_equal(read_state->clock.realtime_ns, 6);
	assert_int_equal(read_state->clock.tsc, 7);
	second = &read_state->vps[1];
	assert_int_equal(second->tsc_ahead, 100);
	assert_memory_equal(second->parts[KVM_PART_REGS], &regs, sizeof(regs));
	assert_memory_equal(second->parts[KVM_PART_EVENTS], &events, sizeof(events));
	assert_null(second->parts[KVM_PART_SREGS]);
	assert_null(second->parts[KVM_PART_XCRS]);
	assert_int_equal(second->msr_count, 2);
	assert_int_equal(second->msrs[1].index, MSR_LSTAR);
	assert_int_equal(second->msrs[1].data, UINT64_MAX);
}

static void small_sections_have_their_bytes(void **state)
{
	static const uint8_t golden[] = {
		'C', 'L', 'C', 'K', 1, 0, 1, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0,
		0,   0,	  2,   0,   0, 0, 0, 0, 0,  0, 3, 0, 0, 0, 0, 0, 0, 0x80,
	};

	(void)state;
	kvm_clock_state_write(&(struct kvm_clock_state){.clock_ns = 1,
							.realtime_ns = 2,
							.tsc = UINT64_C(3) | UINT64_C(1) << 63},
			      &writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
}

static void msrs_that_are_no_state_are_refused(void **state)
{
	static const uint32_t refused[] = {
		MSR_EFER,
		MSR_APIC_BASE,
		0x10 /* TSC */,
		0x0,
		UINT32_MAX,
		HV_MSR_EOM,
		HV_MSR_RESET,
		HV_MSR_VP_INDEX,
		HV_MSR_EOI,
		HV_MSR_SVERSION,
		HV_MSR_CRASH_CTL,
		MSR_KVM_SYSTEM,
		0x80b /* x2APIC EOI */,
		0x830 /* ICR */,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		setup(state);
		msr_put(refused[i], 1);
		if (read_with_vp() != -EPROTO)
			fail_msg("MSR 0x%x got through", refused[i]);
		teardown(state);
	}
}

static void an_msr_of_the_partition_is_vp_0s_alone(void **state)
{
	(void)state;
	head_write();
	msr_put(HV_MSR_GUEST_OS_ID, 1);
	vp_write(0);
	vp.msr_count = 0;
	vp_write(1);
	assert_int_equal(read_back(), 0);
	teardown(state);
	setup(state);
	msr_put(HV_MSR_GUEST_OS_ID, 1);
	assert_int_equal(read_with_vp(), -EPROTO);
}

static void msrs_come_in_their_order_and_once(void **state)
{
	(void)state;
	msr_put(MSR_LSTAR, 1);
	msr_put(MSR_PAT, 1);
	assert_int_equal(read_with_vp(), -EPROTO);
	teardown(state);
	setup(state);
	msr_put(MSR_PAT, 1);
	msr_put(MSR_PAT, 2);
	assert_int_equal(read_with_vp(), -EPROTO);
}

/* A count that is set enables a timer with auto-enable, so it must come first. */
static void a_timers_count_comes_before_its_configuration(void **state)
{
	(void)state;
	msr_put(HV_MSR_STIMER0_COUNT, 1);
	msr_put(HV_MSR_STIMER0_CONFIG, 8);
	assert_int_equal(read_with_vp(), 0);
	teardown(state);
	setup(state);
	msr_put(HV_MSR_STIMER0_CONFIG, 8);
	msr_put(HV_MSR_STIMER0_COUNT, 1);
	assert_int_equal(read_with_vp(), -EPROTO);
}

static void the_order_of_msrs_is_that_of_restoring(void **state)
{
	const struct kvm_msr_range *id = kvm_msr_find(HV_MSR_GUEST_OS_ID);

	(void)state;
	assert_true(id == kvm_msr_find(HV_MSR_HYPERCALL)); /* upward: the id first */
	assert_false(id->flags & KVM_MSR_DOWNWARD);
	for (size_t i = 1; i < kvm_msr_range_count; i++) {
		assert_true(kvm_msr_ranges[i].first <= kvm_msr_ranges[i].last);
		assert_true(kvm_msr_ranges[i].stage >= kvm_msr_ranges[i - 1].stage);
		for (size_t j = 0; j < i; j++)
			assert_true(kvm_msr_ranges[i].first > kvm_msr_ranges[j].last ||
				    kvm_msr_ranges[i].last < kvm_msr_ranges[j].first);
	}
}

static void all_msrs_of_the_list_fit(void **state)
{
	uint32_t count = 0;

	(void)state;
	for (size_t i = 0; i < kvm_msr_range_count; i++)
		count += kvm_msr_ranges[i].last - kvm_msr_ranges[i].first + 1;
	assert_true(count <= KVM_MSRS_MAX);
}

static void every_needed_part_must_be_there(void **state)
{
	static const enum kvm_vp_part needed[] = {
		KVM_PART_MP_STATE,  KVM_PART_REGS,  KVM_PART_SREGS2, KVM_PART_XSAVE,
		KVM_PART_DEBUGREGS, KVM_PART_LAPIC, KVM_PART_EVENTS};

	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		setup(state);
		vp.parts[needed[i]] = NULL;
		assert_int_equal(read_with_vp(), -EPROTO);
		teardown(state);
	}
}

static void system_registers_come_in_one_form(void **state)
{
	static const struct kvm_sregs sregs;

	(void)state;
	part_put(KVM_PART_SREGS, &sregs, sizeof(sregs));
	assert_int_equal(read_with_vp(), -EPROTO);
}

static void parts_of_a_wrong_size_are_refused(void **state)
{
	static uint8_t large[256 * 1024];

	(void)state;
	for (int part = 0; part < KVM_PART_COUNT; part++) {
		const struct kvm_part_layout *layout = &kvm_part_layouts[part];

		if (part == KVM_PART_SREGS)
			continue;
		setup(state);
		part_put((enum kvm_vp_part)part, large, layout->min_bytes - 1);
		assert_int_equal(read_with_vp(), -EPROTO);
		teardown(state);
		setup(state);
		part_put((enum kvm_vp_part)part, large, layout->max_bytes + 1);
		assert_int_equal(read_with_vp(), -EPROTO);
		teardown(state);
	}
}

static void contents_are_checked(void **state)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = KVM_MAX_XCRS + 1};
	struct kvm_nested_state nested = {.size = 4096};

	(void)state;
	mp_state.mp_state = KVM_MP_STATE_HALTED;
	assert_int_equal(read_with_vp(), 0);
	teardown(state);
	setup(state);
	mp_state.mp_state = 1000;
	assert_int_equal(read_with_vp(), -EPROTO);
	teardown(state);
	setup(state);
	events.flags = 1u << 31;
	assert_int_equal(read_with_vp(), -EPROTO);
	teardown(state);
	setup(state);
	events.exception.injected = 1;
	events.exception.nr = 32;
	assert_int_equal(read_with_vp(), -EPROTO);
	teardown(state);
	setup(state);
	part_put(KVM_PART_XCRS, &xcrs, sizeof(xcrs));
	assert_int_equal(read_with_vp(), -EPROTO);
	teardown(state);
	setup(state);
	part_put(KVM_PART_NESTED, &nested, sizeof(nested)); /* it tells of more than there is */
	assert_int_equal(read_with_vp(), -EPROTO);
}

static void the_number_of_vps_must_be_the_partitions(void **state)
{
	(void)state;
	head_write();
	vp_write(0);
	assert_int_equal(read_back(), -EPROTO); /* one too few */
	vp_write(1);
	vp_write(2);
	assert_int_equal(read_back(), -EPROTO); /* one too many */
	teardown(state);
	setup(state);
	head_write();
	vp_write(1);
	vp_write(0);
	assert_int_equal(read_back(), -EPROTO); /* not in order */
	teardown(state);
	setup(state);
	cpuid.vp_count = VPS + 1;
	assert_int_equal(read_with_vp(), -EPROTO); /* the processor's promise is another's */
}

static void sections_that_are_missing_or_doubled_are_refused(void **state)
{
	(void)state;
	cpuid_state_write(&cpuid, &writer);
	chips_write();
	vp_write(0);
	vp_write(1);
	assert_int_equal(read_back(), -EPROTO); /* no clock */
	teardown(state);
	setup(state);
	head_write();
	kvm_chip_state_write(&(struct kvm_irqchip){.chip_id = 1}, &writer);
	vp_write(0);
	vp_write(1);
	assert_int_equal(read_back(), -EPROTO);
	teardown(state);
	setup(state);
	head_write();
	kvm_chip_state_write(&(struct kvm_irqchip){.chip_id = KVM_CHIP_COUNT}, &writer);
	assert_int_equal(read_back(), -EPROTO);
}

static void a_clock_that_would_wrap_is_refused(void **state)
{
	(void)state;
	cpuid_state_write(&cpuid, &writer);
	kvm_clock_state_write(&(struct kvm_clock_state){.clock_ns = UINT64_MAX}, &writer);
	chips_write();
	vp_write(0);
	vp_write(1);
	assert_int_equal(read_back(), -EPROTO);
}

static void unknown_sections_are_passed_over_where_they_allow_it(void **state)
{
	(void)state;
	head_write();
	state_begin(&writer, STATE_TAG('N', 'E', 'W', '_'), 1, STATE_SKIPPABLE);
	state_put_u32(&writer, 1);
	state_end(&writer);
	vp_write(0);
	vp_write(1);
	assert_int_equal(read_back(), 0);
	teardown(state);
	setup(state);
	head_write();
	state_begin(&writer, STATE_TAG('N', 'E', 'W', '_'), 1, 1);
	state_end(&writer);
	vp_write(0);
	vp_write(1);
	assert_int_equal(read_back(), -EOPNOTSUPP);
}

static void every_cut_is_refused(void **state)
{
	struct state_reader reader;

	(void)state;
	msr_put(MSR_PAT, 1);
	assert_int_equal(read_with_vp(), 0);
	for (size_t length = 0; length < writer.length; length += length < 200 ? 1 : 41) {
		struct kvm_state *cut = NULL;
		uint8_t *copy = malloc(length + 1); /* so that a sanitizer sees its end */

		memcpy(copy, writer.bytes, length);
		state_reader_init(&reader, copy, length);
		assert_int_equal(kvm_state_read(&reader, VPS, &cut), -EPROTO);
		assert_null(cut);
		free(copy);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What counts is what would be written into the VPs, whatever the state says of it before. */
static void promise_is_read_off_every_vp(void **state)
{
	struct cpuid_table host;
	char text[128];

	(void)state;
	cpuid.table.count = 1;
	cpuid.table.leaves[0] =
		(struct cpuid_leaf){.function = 7, .indexed = true, .edx = UINT32_C(1) << 29};
	host = cpuid.table;
	head_write();
	vp_write(0);
	msr_put(KVM_MSR_ARCH_CAPABILITIES, 0x21);
	vp_write(1);
	assert_int_equal(read_back(), 0);
	assert_int_equal(kvm_state_check_promise(read_state, &host, 0x21, text, sizeof(text)), 0);
	assert_int_equal(kvm_state_check_promise(read_state, &host, 0x20, text, sizeof(text)),
			 -EOPNOTSUPP);
	assert_string_equal(text, "rdcl_no");
	host.leaves[0].edx = 0;
	assert_int_equal(kvm_state_check_promise(read_state, &host, 0x21, text, sizeof(text)),
			 -EOPNOTSUPP);
	assert_string_equal(text, "arch_capabilities");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(promise_is_read_off_every_vp),
		TEST(what_is_written_is_read),
		TEST(small_sections_have_their_bytes),
		TEST(msrs_that_are_no_state_are_refused),
		TEST(an_msr_of_the_partition_is_vp_0s_alone),
		TEST(msrs_come_in_their_order_and_once),
		TEST(a_timers_count_comes_before_its_configuration),
		TEST(the_order_of_msrs_is_that_of_restoring),
		TEST(all_msrs_of_the_list_fit),
		TEST(every_needed_part_must_be_there),
		TEST(system_registers_come_in_one_form),
		TEST(parts_of_a_wrong_size_are_refused),
		TEST(contents_are_checked),
		TEST(the_number_of_vps_must_be_the_partitions),
		TEST(sections_that_are_missing_or_doubled_are_refused),
		TEST(a_clock_that_would_wrap_is_refused),
		TEST(unknown_sections_are_passed_over_where_they_allow_it),
		TEST(every_cut_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
