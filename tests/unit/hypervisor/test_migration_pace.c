/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a VM that is being copied is stopped, slowed down, or taken back.
 */
#include "tests/unit/test_main.h"

#include "hypervisor/migration/pace.h"

#define MIB (UINT64_C(1) << 20)

static void vm_is_stopped_once_the_rest_fits_into_the_downtime(void **state)
{
	struct migration_pace pace;

	(void)state;
	migration_pace_init(&pace, 300, false);
	assert_int_equal(migration_pace_estimate_ms(&pace, 0, 0), 20);
	assert_int_equal(migration_pace_estimate_ms(&pace, 100 * MIB, 100 * MIB), 1020);
	assert_int_equal(migration_pace_round(&pace, 100 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 29 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 28 * MIB, 100 * MIB), MIGRATION_PACE_STOP);
}

static void guest_that_is_faster_than_the_wire_is_slowed_down_more_and_more(void **state)
{
	struct migration_pace pace;

	(void)state;
	migration_pace_init(&pace, 300, false);
	assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB), MIGRATION_PACE_ROUND);
	for (uint32_t percent = 20; percent <= 90; percent += 10) {
		assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB),
				 MIGRATION_PACE_THROTTLE);
		assert_int_equal(pace.throttle, percent);
		assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB),
				 MIGRATION_PACE_ROUND);
	}
	assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB),
			 MIGRATION_PACE_THROTTLE);
	assert_int_equal(pace.throttle, 99);
	for (int i = 0; i < 9; i++)
		assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB),
				 MIGRATION_PACE_ROUND);
	migration_pace_init(&pace, 300, true);
	for (int i = 0; i < 9; i++)
		assert_int_equal(migration_pace_round(&pace, 900 * MIB, 100 * MIB),
				 MIGRATION_PACE_ROUND);
}

/* Where what is left was to fit into the downtime, no target holds the VM for longer than ten
 * seconds, however slow it is. */
static void stopped_vm_waits_for_ten_seconds_and_not_for_more(void **state)
{
	(void)state;
	assert_int_equal(migration_pace_stop_ms(0, 0), 8000);
	assert_in_range(migration_pace_stop_ms(28 * MIB, 100 * MIB), 8100, 9200);
	assert_in_range(migration_pace_stop_ms(300 * 1000, 1000 * 1000), 8000, 9200);
	/* One that was forced over takes what it takes. */
	assert_true(migration_pace_stop_ms(4096 * MIB, 100 * MIB) > 100 * 1000);
	assert_int_equal(migration_pace_stop_ms(UINT64_MAX, 0), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vm_is_stopped_once_the_rest_fits_into_the_downtime),
		cmocka_unit_test(guest_that_is_faster_than_the_wire_is_slowed_down_more_and_more),
		cmocka_unit_test(stopped_vm_waits_for_ten_seconds_and_not_for_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
