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

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/step.h"
#include "tests/unit/hypervisor/move_fixture.h"

#define MOVE_MS		 20000
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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

/* Where it is not to have the VM, or not any more. */
static void other_finds_out(enum move_host other)
{
	for (int i = 0; i < 1000 && world.witness->vm_pid[other]; i++)
		usleep(10000);
}

/* The VM runs at that host and nowhere else, and was never anything but one. */
static void assert_runs_at(enum move_host host)
{
	enum move_host other = host == HOST_A ? HOST_B : HOST_A;

	other_finds_out(other);
	if (!world_vm_runs(&world, 5000) || world.witness->violations ||
	    !world.witness->vm_pid[host] || world.witness->vm_pid[other])
		world_print_logs(&world);
	assert_true(world_vm_runs(&world, 5000));
	assert_int_equal(world.witness->violations, 0);
	assert_int_equal(world.witness->differences, 0);
	assert_int_not_equal(world.witness->vm_pid[host], 0);
	other_finds_out(other); /* what came late may have made it meanwhile */
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
		vm_order(world.witness->vm_pid[moves % 2 ? HOST_A : HOST_B], ORDER_MOVE);
		assert_true(world_wait_ended(&world, moves, MOVE_MS));
		assert_int_equal(world.witness->phase, MIGRATION_DONE);
		assert_runs_at(moves % 2 ? HOST_B : HOST_A);
	}
}

/* One move from A with what the witness and the options say; returns when it has ended. */
static pid_t move_once(void)
{
	pid_t pid = vm_boot(&world, HOST_A, true);

	if (!world_wait_ended(&world, 1, MOVE_MS))
		world_print_logs(&world);
	assert_int_equal(world.witness->ended, 1);
	return pid;
}

static void assert_stays(enum migration_phase phase, enum exit_code code)
{
	assert_int_equal(world.witness->phase, phase);
	assert_int_equal(world.witness->code, code);
	assert_runs_at(HOST_A);
	assert_true(world_is_defined(&world, HOST_A));
	assert_false(world_is_defined(&world, HOST_B));
}

static void assert_second_try_succeeds(pid_t pid)
{
	uint32_t ended = world.witness->ended;

	vm_order(pid, ORDER_MOVE);
	assert_true(world_wait_ended(&world, ended + 1, MOVE_MS));
	assert_int_equal(world.witness->phase, MIGRATION_DONE);
	assert_runs_at(HOST_B);
}

/* Locks of moves that a host's processes hold, or have left. */
static unsigned int locks_count(enum move_host host)
{
	char path[PATH_MAX];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	world_enter(&world, host);
	snprintf(path, sizeof(path), "%s/migrations", getenv("LUNAR_RUN_DIR"));
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += strstr(entry->d_name, ".lock") != NULL;
	closedir(dir);
	return count;
}

static void check_reports_and_moves_nothing(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.options.check_only = true;
	pid = move_once();
	assert_stays(MIGRATION_CHECKED, EXIT_OK);
	assert_true(world.witness->checked);
	assert_int_equal(world.witness->findings, 1); /* the fake VM's "no uplink has a link" */
	assert_int_equal(locks_count(HOST_A), 0);
	assert_true(vm_wait(pid, 0) == -ETIMEDOUT);
}

static void vm_that_cannot_be_made_there_stays(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.witness->fail_make = true;
	pid = move_once();
	assert_stays(MIGRATION_FAILED, EXIT_CANNOT_MOVE);
	world.witness->fail_make = false;
	assert_second_try_succeeds(pid);
}

static void vm_whose_name_is_taken_there_stays(void **state)
{
	pid_t other;

	(void)state;
	receivers_start();
	other = vm_boot(&world, HOST_B, false); /* of another life: the clocks would clash */
	while (!world.witness->vm_pid[HOST_B])
		usleep(1000);
	kill(other, SIGSTOP);
	(void)move_once();
	assert_int_equal(world.witness->phase, MIGRATION_FAILED);
	assert_int_equal(world.witness->code, EXIT_CANNOT_MOVE);
	assert_true(world_vm_runs(&world, 5000));
	kill(other, SIGKILL);
}

static void vm_that_cannot_be_restored_stays(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.witness->fail_restore = true;
	pid = move_once();
	assert_stays(MIGRATION_FAILED, EXIT_BAD_STATE);
	world.witness->fail_restore = false;
	assert_second_try_succeeds(pid);
}

/* The record was there already, and is taken back. */
static void vm_that_cannot_be_set_going_there_stays(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.witness->fail_go = true;
	pid = move_once();
	assert_stays(MIGRATION_FAILED, EXIT_HOST_UNREACHABLE);
	world.witness->fail_go = false;
	assert_second_try_succeeds(pid);
}

static void nobody_there_is_said_at_once(void **state)
{
	pid_t pid;

	(void)state;
	pid = move_once();
	assert_stays(MIGRATION_FAILED, EXIT_HOST_UNREACHABLE);
	assert_false(world.witness->checked);
	receivers_start();
	assert_second_try_succeeds(pid);
}

/* ---- cancel ---- */

static void move_is_cancelled_at_every_step_before_commit(void **state)
{
	static char hold[64];

	(void)state;
	for (int step = MIGRATION_STEP_SOURCE_CONNECT; step <= MIGRATION_STEP_SOURCE_READY;
	     step++) {
		const char *name = migration_step_name((enum migration_step)step);
		pid_t pid;

		if (step != MIGRATION_STEP_SOURCE_CONNECT)
			setup(NULL);
		snprintf(hold, sizeof(hold), "%s:60000", name);
		world.source_hold = hold;
		receivers_start();
		pid = vm_boot(&world, HOST_A, true);
		assert_true(world_wait_held(&world, HOST_A, name, MOVE_MS));
		vm_order(pid, ORDER_CANCEL);
		assert_true(world_wait_ended(&world, 1, 3000));
		assert_int_equal(world.witness->cancel_result, 0);
		assert_stays(MIGRATION_CANCELLED, EXIT_CANCELLED);
		if (step != MIGRATION_STEP_SOURCE_READY)
			teardown(NULL);
	}
}

static void cancel_after_commit_is_too_late(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.source_hold = "source-commit:1000";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-commit", MOVE_MS));
	vm_order(pid, ORDER_CANCEL);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_int_equal(world.witness->cancel_result, -EBUSY);
	assert_runs_at(HOST_B);
}

static void process_that_is_ended_takes_only_itself(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.source_hold = "source-copying:60000";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-copying", MOVE_MS));
	vm_order(pid, ORDER_END);
	assert_int_equal(vm_wait(pid, 5000), EXIT_OK);
	for (int i = 0; i < 500 && world.witness->vm_pid[HOST_B]; i++)
		usleep(10000);
	assert_int_equal(world.witness->vm_pid[HOST_B], 0);
	assert_false(world_is_defined(&world, HOST_B));
}

/* ---- disks ---- */

static void disks_are_flushed_before_the_vm_is_stopped(void **state)
{
	(void)state;
	receivers_start();
	world.witness->flush_looks = 5;
	(void)move_once();
	assert_int_equal(world.witness->phase, MIGRATION_DONE);
	assert_int_equal(world.witness->flush_looks, 0);
	assert_true(world.witness->flushed_at_stop);
	assert_runs_at(HOST_B);
}

static void move_with_a_disk_that_does_not_flush_is_given_up_in_time(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.witness->flush_looks = -1;
	world.options.timeout_seconds = 1;
	pid = move_once();
	assert_stays(MIGRATION_FAILED, EXIT_CANNOT_MOVE);
	world.witness->flush_looks = 0;
	assert_second_try_succeeds(pid);
}

/* ---- a VM that dirties faster than the wire ---- */

static void dirty_fast(void)
{
	world.witness->dirty_pages = 64;
	world.options.bandwidth = 24 << 20;
	world.options.downtime_ms = 60;
}

static void move_that_does_not_converge_is_given_up_in_time(void **state)
{
	(void)state;
	receivers_start();
	dirty_fast();
	world.options.no_throttle = true;
	world.options.timeout_seconds = 3;
	(void)move_once();
	assert_stays(MIGRATION_FAILED, EXIT_CANNOT_MOVE);
}

static void move_that_does_not_converge_is_forced_where_asked(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	dirty_fast();
	world.options.no_throttle = true;
	world.options.timeout_seconds = 2;
	world.options.late = MIGRATION_LATE_FORCE;
	pid = move_once();
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_runs_at(HOST_B);
}

static void guest_is_throttled_until_the_move_converges(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	dirty_fast();
	world.options.timeout_seconds = 60;
	world.options.downtime_ms = 300;
	pid = vm_boot(&world, HOST_A, true);
	assert_int_equal(vm_wait(pid, 60000), EXIT_OK);
	assert_true(world.witness->throttle_most >= 40);
	assert_runs_at(HOST_B);
}

/* ---- one of the receivers is out of reach ---- */

static void source_alone_reaches_the_other_and_both_agree(void **state)
{
	pid_t pid;

	(void)state;
	receiver_start(&world, HOST_B); /* none at A: the target cannot ASK */
	world.source_hold = "source-ready:300";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-ready", MOVE_MS));
	vm_cut(pid);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_runs_at(HOST_B);
}

static void target_alone_reaches_the_other_and_both_agree_once_they_can(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.source_hold = "source-released:500";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-released", MOVE_MS));
	receiver_stop(&world, HOST_B); /* the source cannot RESOLVE */
	vm_cut(pid);
	assert_true(world_vm_runs(&world, MOVE_MS)); /* by ASK */
	assert_int_equal(vm_wait(pid, 500), -ETIMEDOUT);
	receiver_start(&world, HOST_B);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_runs_at(HOST_B);
}

static void both_wait_while_neither_reaches_the_other(void **state)
{
	uint64_t clock;
	pid_t pid;

	(void)state;
	receivers_start();
	world.source_hold = "source-released:500";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-released", MOVE_MS));
	receiver_stop(&world, HOST_A);
	receiver_stop(&world, HOST_B);
	vm_cut(pid);
	clock = world.witness->clock;
	sleep(2);
	assert_int_equal(world.witness->clock, clock);
	receiver_start(&world, HOST_B);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_runs_at(HOST_B);
}

/* ---- an operator's word ---- */

static pid_t leave_source_in_doubt(void)
{
	pid_t pid;

	receivers_start();
	world.source_hold = "source-released:300";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-released", MOVE_MS));
	receiver_stop(&world, HOST_B);
	kill(world.witness->vm_pid[HOST_B], SIGKILL); /* the whole host has died */
	world.witness->vm_pid[HOST_B] = 0;
	assert_false(world_vm_runs(&world, 1500));
	return pid;
}

static void operator_says_that_the_vm_is_here(void **state)
{
	pid_t pid;

	(void)state;
	pid = leave_source_in_doubt();
	vm_order(pid, ORDER_HERE);
	assert_true(world_wait_ended(&world, 1, MOVE_MS));
	assert_stays(MIGRATION_FAILED, EXIT_HOST_UNREACHABLE);
	receiver_start(&world, HOST_B);
	assert_second_try_succeeds(pid);
}

static void operator_says_that_the_vm_is_there(void **state)
{
	pid_t pid;

	(void)state;
	pid = leave_source_in_doubt();
	vm_order(pid, ORDER_THERE);
	assert_int_equal(vm_wait(pid, MOVE_MS), EXIT_OK);
	assert_false(world_is_defined(&world, HOST_A));
}

static void operator_speaks_for_a_killed_source(void **state)
{
	struct vm_error error = {0};
	pid_t pid;

	(void)state;
	pid = leave_source_in_doubt();
	world_enter(&world, HOST_A);
	assert_int_equal(migration_resolve_by_operator(MOVE_VM, false, &error), -EBUSY);
	kill(pid, SIGKILL);
	vm_wait(pid, 1000);
	world.source_hold = NULL;
	assert_int_equal(vm_wait(vm_boot(&world, HOST_A, false), MOVE_MS), EXIT_STATE);
	assert_true(world_is_defined(&world, HOST_A));
	assert_int_equal(migration_resolve_by_operator(MOVE_VM, false, &error), 0);
	assert_int_equal(migration_resolve_by_operator(MOVE_VM, false, &error), -ENOENT);
	world.witness->vm_pid[HOST_A] = 0;
	(void)vm_boot(&world, HOST_A, false);
	assert_runs_at(HOST_A);
}

static void operator_gives_a_waiting_target_the_vm(void **state)
{
	pid_t pid;

	(void)state;
	receivers_start();
	world.source_hold = "source-ready:60000";
	pid = vm_boot(&world, HOST_A, true);
	assert_true(world_wait_held(&world, HOST_A, "source-ready", MOVE_MS));
	receiver_stop(&world, HOST_A); /* the source's host has died */
	kill(pid, SIGKILL);
	vm_wait(pid, 1000);
	world.witness->vm_pid[HOST_A] = 0;
	assert_false(world_vm_runs(&world, 1500));
	vm_order(world.witness->vm_pid[HOST_B], ORDER_HERE);
	assert_runs_at(HOST_B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(vm_moves_there_and_back_with_its_memory),
		WORLD_TEST(check_reports_and_moves_nothing),
		WORLD_TEST(vm_that_cannot_be_made_there_stays),
		WORLD_TEST(vm_whose_name_is_taken_there_stays),
		WORLD_TEST(vm_that_cannot_be_restored_stays),
		WORLD_TEST(vm_that_cannot_be_set_going_there_stays),
		WORLD_TEST(nobody_there_is_said_at_once),
		WORLD_TEST(move_is_cancelled_at_every_step_before_commit),
		WORLD_TEST(cancel_after_commit_is_too_late),
		WORLD_TEST(process_that_is_ended_takes_only_itself),
		WORLD_TEST(disks_are_flushed_before_the_vm_is_stopped),
		WORLD_TEST(move_with_a_disk_that_does_not_flush_is_given_up_in_time),
		WORLD_TEST(move_that_does_not_converge_is_given_up_in_time),
		WORLD_TEST(move_that_does_not_converge_is_forced_where_asked),
		WORLD_TEST(guest_is_throttled_until_the_move_converges),
		WORLD_TEST(source_alone_reaches_the_other_and_both_agree),
		WORLD_TEST(target_alone_reaches_the_other_and_both_agree_once_they_can),
		WORLD_TEST(both_wait_while_neither_reaches_the_other),
		WORLD_TEST(operator_says_that_the_vm_is_here),
		WORLD_TEST(operator_says_that_the_vm_is_there),
		WORLD_TEST(operator_speaks_for_a_killed_source),
		WORLD_TEST(operator_gives_a_waiting_target_the_vm),
	};

	cmocka_set_test_filter(getenv("MOVE_TEST")); /* to look at one */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
