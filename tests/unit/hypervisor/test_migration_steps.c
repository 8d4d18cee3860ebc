/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks through every step of the migration protocol (docs/migration.md): at each the source's
 * process is killed, or the target's, or all connections of one side are cut. Afterwards exactly
 * one VM runs, where it should, as the one that it was; and a second try succeeds. What cannot be
 * helped, a killed process that held the only copy, is listed as such.
 *
 * Each case is a world of its own in a process of its own; some run at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/exit_code.h"
#include "hypervisor/migration/step.h"
#include "tests/unit/hypervisor/move_fixture.h"

#define AT_A_TIME   6
#define HELD_MS	    60000
#define SETTLE_MS   60000
#define CUT_HOLD    ":700"
#define KILL_HOLD   ":60000"
#define NOBODY	    2 /* its process was killed, and nobody else can have it */
#define ANYBODY	    3 /* either, but one */
#define NO_CASE	    4
#define EVENT_KINDS 4

enum event {
	KILL_SOURCE,
	KILL_TARGET,
	CUT_SOURCE, /* its connections */
	CUT_TARGET,
};

static const char *const event_names[EVENT_KINDS] = {
	[KILL_SOURCE] = "kill source",
	[KILL_TARGET] = "kill target",
	[CUT_SOURCE] = "cut source",
	[CUT_TARGET] = "cut target",
};

/* Who runs the VM in the end. Kills are of the side that is held. */
struct walk {
	enum migration_step step;
	int killed;
	int cut;
};

static const struct walk walks[] = {
	{MIGRATION_STEP_SOURCE_CONNECT, NOBODY, NO_CASE},
	{MIGRATION_STEP_SOURCE_HELLO, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_ACCEPTED, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_COPYING, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_ROUND, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_LEAVING, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_PAUSED, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_PAGES, NOBODY, HOST_A},
	{MIGRATION_STEP_SOURCE_STATE, HOST_B, ANYBODY},
	{MIGRATION_STEP_SOURCE_READY, HOST_B, HOST_B},
	{MIGRATION_STEP_SOURCE_RELEASED, HOST_B, HOST_B},
	{MIGRATION_STEP_SOURCE_COMMIT, HOST_B, HOST_B},
	{MIGRATION_STEP_SOURCE_DONE, HOST_B, HOST_B},
	{MIGRATION_STEP_TARGET_HELLO, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_MADE, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_ACCEPTED, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_PAGES, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_STATE, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_RESTORED, HOST_A, HOST_A},
	{MIGRATION_STEP_TARGET_READY, HOST_A, HOST_B},
	{MIGRATION_STEP_TARGET_COMMIT, HOST_A, HOST_B},
	{MIGRATION_STEP_TARGET_RUNNING, NOBODY, HOST_B},
	{MIGRATION_STEP_TARGET_DONE, NOBODY, HOST_B},
};

static struct move_world world;

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static bool at_source(const struct walk *walk)
{
	return walk->step <= MIGRATION_STEP_SOURCE_DONE;
}

static int outcome_of(const struct walk *walk, enum event event)
{
	bool source = event == KILL_SOURCE || event == CUT_SOURCE;

	if (source != at_source(walk))
		return NO_CASE;
	return event == KILL_SOURCE || event == KILL_TARGET ? walk->killed : walk->cut;
}

/* Waits until one host has it and its clock goes; then looks a while whether that stays so. */
static bool settle(enum move_host *host)
{
	EXPECT(world_vm_runs(&world, SETTLE_MS));
	for (int i = 0; i < 40; i++) {
		EXPECT(world_vm_runs(&world, SETTLE_MS));
		EXPECT(world.witness->violations == 0);
		EXPECT(world.witness->differences == 0);
		usleep(5000);
	}
	for (int i = 0; i < 12000 && !!world.witness->vm_pid[0] + !!world.witness->vm_pid[1] != 1;
	     i++)
		usleep(5000);
	EXPECT(!!world.witness->vm_pid[HOST_A] + !!world.witness->vm_pid[HOST_B] == 1);
	*host = world.witness->vm_pid[HOST_A] ? HOST_A : HOST_B;
	return true;
}

/* A second try, from where it is now. */
static bool move_again(enum move_host host)
{
	enum move_host other = host == HOST_A ? HOST_B : HOST_A, now = host;
	uint32_t moved = world.witness->moved;

	for (int tries = 0; tries < 100 && world.witness->moved == moved; tries++) {
		uint32_t ended = world.witness->ended;

		vm_order(world.witness->vm_pid[host], ORDER_MOVE);
		EXPECT(world_wait_ended(&world, ended + 1, SETTLE_MS));
	}
	EXPECT(world.witness->moved > moved);
	EXPECT(settle(&now));
	EXPECT(now == other);
	EXPECT(world_is_defined(&world, other));
	EXPECT(!world_is_defined(&world, host));
	return true;
}

/* Starts it, and again while it is not known yet what became of its move, as an operator is told
 * to. The last try's exit code, or -ETIMEDOUT: it runs. */
static int vm_start(enum move_host host)
{
	struct deadline deadline = deadline_in_ms(SETTLE_MS);
	pid_t pid;
	int code;

	do {
		pid = vm_boot(&world, host, false);
		do {
			usleep(2000);
			code = vm_wait(pid, 0);
		} while (code == -ETIMEDOUT && world.witness->vm_pid[host] != pid &&
			 !deadline_passed(deadline));
	} while (code == EXIT_STATE && world_is_defined(&world, host) &&
		 !deadline_passed(deadline));
	return code;
}

/* The VM went with its process. What is left lets it start afresh, at the one place where it is
 * defined. */
static bool start_again(enum move_host host)
{
	enum move_host other = host == HOST_A ? HOST_B : HOST_A, now = other;
	uint64_t clock;

	usleep(300000);
	clock = world.witness->clock;
	usleep(200000);
	EXPECT(world.witness->clock == clock);
	EXPECT(world_is_defined(&world, host));
	world.source_hold = NULL;
	world.witness->vm_pid[host] = 0;
	EXPECT(vm_start(host) == -ETIMEDOUT);
	EXPECT(settle(&now));
	EXPECT(now == host);
	return move_again(host);
}

static bool outcome_check(const struct walk *walk, enum event event, pid_t source)
{
	int outcome = outcome_of(walk, event);
	enum move_host host = HOST_A;

	if (outcome == NOBODY) {
		host = event == KILL_SOURCE ? HOST_A : HOST_B;
		if (event == KILL_TARGET) /* the source must find out that it has moved */
			EXPECT(vm_wait(source, SETTLE_MS) == EXIT_OK);
		return start_again(host);
	}
	EXPECT(settle(&host));
	if (outcome != ANYBODY)
		EXPECT((int)host == outcome);
	if (event == KILL_SOURCE) { /* it must not start a second time where it was */
		EXPECT(world_is_defined(&world, HOST_A) ||
		       walk->step == MIGRATION_STEP_SOURCE_DONE);
		world.source_hold = NULL;
		EXPECT(vm_start(HOST_A) == EXIT_STATE);
		EXPECT(!world_is_defined(&world, HOST_A));
	}
	return move_again(host);
}

static bool case_run(const struct walk *walk, enum event event)
{
	static char hold[64];
	bool kills = event == KILL_SOURCE || event == KILL_TARGET;
	enum move_host held = at_source(walk) ? HOST_A : HOST_B;
	pid_t source, victim;

	snprintf(hold, sizeof(hold), "%s%s", migration_step_name(walk->step),
		 kills ? KILL_HOLD : CUT_HOLD);
	if (held == HOST_A)
		world.source_hold = hold;
	receiver_start(&world, HOST_A);
	if (held == HOST_B)
		world.target_hold = hold;
	receiver_start(&world, HOST_B);
	source = vm_boot(&world, HOST_A, true);
	EXPECT(world_wait_held(&world, held, migration_step_name(walk->step), HELD_MS));
	victim = held == HOST_A ? source : world.witness->served_pid[HOST_B];
	if (kills) {
		kill(victim, SIGKILL);
		if (held == HOST_A)
			vm_wait(victim, 5000);
		atomic_store(&world.witness->vm_pid[held], 0);
	} else {
		vm_cut(victim);
	}
	return outcome_check(walk, event, source);
}

static pid_t case_start(const struct walk *walk, enum event event)
{
	pid_t pid = fork();
	bool ok;

	if (pid)
		return pid;
	world_make(&world);
	ok = case_run(walk, event);
	if (!ok) {
		fprintf(stderr, "at %s, %s:\n", migration_step_name(walk->step),
			event_names[event]);
		world_print_logs(&world);
	}
	world_remove(&world);
	_exit(!ok);
}

static uint32_t case_reap(uint32_t *running)
{
	int status;

	if (waitpid(-1, &status, 0) <= 0)
		return 1;
	(*running)--;
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void walk_all(enum event event)
{
	const char *only = getenv("MOVE_STEP"); /* to look at one */
	uint32_t running = 0, failed = 0, cases = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(walks); i++) {
		if (outcome_of(&walks[i], event) == NO_CASE ||
		    (only && strcmp(only, migration_step_name(walks[i].step)) != 0))
			continue;
		if (running == AT_A_TIME)
			failed += case_reap(&running);
		assert_true(case_start(&walks[i], event) > 0);
		running++;
		cases++;
	}
	while (running)
		failed += case_reap(&running);
	assert_int_equal(failed, 0);
	assert_true(cases > 0 || only);
}

static void source_killed_at_every_step_leaves_one_vm_or_none_that_ran_on(void **state)
{
	(void)state;
	walk_all(KILL_SOURCE);
}

static void target_killed_at_every_step_leaves_one_vm(void **state)
{
	(void)state;
	walk_all(KILL_TARGET);
}

static void source_cut_off_at_every_step_leaves_one_vm(void **state)
{
	(void)state;
	walk_all(CUT_SOURCE);
}

static void target_cut_off_at_every_step_leaves_one_vm(void **state)
{
	(void)state;
	walk_all(CUT_TARGET);
}

static int certificates(void **state)
{
	(void)state;
	world_prepare();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_killed_at_every_step_leaves_one_vm_or_none_that_ran_on),
		cmocka_unit_test(target_killed_at_every_step_leaves_one_vm),
		cmocka_unit_test(source_cut_off_at_every_step_leaves_one_vm),
		cmocka_unit_test(target_cut_off_at_every_step_leaves_one_vm),
	};

	return cmocka_run_group_tests(tests, certificates, NULL);
}
