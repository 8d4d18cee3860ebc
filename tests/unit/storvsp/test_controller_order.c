/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What waits for commands under way is told in the order in which it was asked for, also where a
 * worker hears of all of it at once: who is told that a pause is complete may rely on no removal
 * coming after it.
 */
#include "tests/unit/test_main.h"

#include <semaphore.h>
#include <unistd.h>

#include "tests/unit/storvsp/fake_storvsc.h"
#include "tests/unit/storvsp/fake_unit.h"

#define RING_PAGES 4

static struct {
	struct fake_storvsc guest;
	struct storvsp_controller *controller;
	struct scsi_unit unit, other;
	sem_t entered, leave;
	char told[8]; /* r: removed, q: quiet, p: paused */
	unsigned count;
} f;

/* Keeps the whole worker. */
static void execute_and_wait(struct scsi_unit *unit, struct scsi_command *command)
{
	sem_post(&f.entered);
	sem_wait(&f.leave);
	fake_unit_execute(unit, command);
}

static const struct controller_unit_ops slow_ops = {
	.execute = execute_and_wait,
	.reset = fake_unit_reset,
};

static int set_up(void **state)
{
	static const struct storvsp_controller_config config = {.instance_id.bytes = {1, 2, 3}};

	(void)state;
	memset(&f, 0, sizeof(f));
	sem_init(&f.entered, 0, 0);
	sem_init(&f.leave, 0, 0);
	storvsc_init(&f.guest);
	fake_unit_init(&f.unit);
	fake_unit_init(&f.other);
	if (fake_controller_create(&f.guest.bus, &config, &f.controller) != 0 ||
	    storvsp_controller_add_unit(f.controller, 0, &f.unit) != 0 ||
	    storvsp_controller_add_unit(f.controller, 1, &f.other) != 0)
		return -1;
	storvsc_connect(&f.guest);
	if (storvsc_open(&f.guest, 0, RING_PAGES) != 0 ||
	    !storvsc_begin_session(&f.guest, VSTOR_VERSION_6_2))
		return -1;
	f.controller->unit_ops = &slow_ops;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	storvsp_controller_destroy(f.controller);
	storvsc_fini(&f.guest);
	sem_destroy(&f.entered);
	sem_destroy(&f.leave);
	return 0;
}

static void note(char what)
{
	f.told[f.count++] = what;
}

static void on_removed(void *ctx, uint32_t lun)
{
	(void)ctx;
	(void)lun;
	note('r');
}

static void on_quiet(void *ctx, uint32_t lun)
{
	(void)ctx;
	(void)lun;
	note('q');
}

static void on_paused(void *ctx, int status)
{
	(void)ctx;
	assert_int_equal(status, 0);
	note('p');
}

static void what_was_asked_for_first_is_told_first(void **state)
{
	(void)state;
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 512));
	sem_wait(&f.entered); /* the worker hears of all three in one round, after this command */
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_quiet, NULL), 0);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 1, on_removed, NULL), 0);
	storvsp_controller_pause(f.controller, STORVSC_DEFAULT_PATIENCE, on_paused, NULL);
	sem_post(&f.leave);
	assert_true(storvsc_wait(&f.guest, &f.count, 3, STORVSC_DEFAULT_PATIENCE));
	assert_string_equal(f.told, "qrp");
}

static void what_waits_for_the_same_command_is_told_in_order(void **state)
{
	(void)state;
	atomic_store(&f.unit.manner, UNIT_HOLDS);
	sem_post(&f.leave);
	assert_true(storvsc_io(&f.guest, 0, 10, 0, false, 0, STORVSC_DATA_GPA, 512));
	sem_wait(&f.entered);
	assert_int_equal(storvsp_controller_quiesce_unit(f.controller, 0, on_quiet, NULL), 0);
	assert_int_equal(storvsp_controller_remove_unit(f.controller, 0, on_removed, NULL), 0);
	storvsp_controller_pause(f.controller, STORVSC_DEFAULT_PATIENCE, on_paused, NULL);
	storvsc_run(&f.guest, 10);
	assert_int_equal(f.count, 0);
	fake_unit_hold_no_more(&f.unit);
	assert_true(storvsc_wait(&f.guest, &f.count, 3, STORVSC_DEFAULT_PATIENCE));
	assert_string_equal(f.told, "qrp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_asked_for_first_is_told_first, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_waits_for_the_same_command_is_told_in_order,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
