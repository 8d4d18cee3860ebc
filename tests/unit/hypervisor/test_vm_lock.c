/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's name is held once, and goes with whoever holds it.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/deadline.h"
#include "hypervisor/vm_lock.h"

static char dir[32];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lunar-lock-XXXXXX");
	return mkdtemp(dir) && !setenv("LUNAR_RUN_DIR", dir, 1) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void a_name_is_held_by_one(void **state)
{
	int fd = vm_lock_take("vm0", 0);
	int other;

	(void)state;
	assert_true(fd >= 0);
	assert_true(vm_lock_is_held("vm0"));
	assert_int_equal(vm_lock_take("vm0", 0), -EEXIST);
	other = vm_lock_take("vm1", 0);
	assert_true(other >= 0);
	close(other);
	close(fd);
	assert_false(vm_lock_is_held("vm0"));
}

static void to_look_takes_nothing(void **state)
{
	int fd;

	(void)state;
	assert_false(vm_lock_is_held("vm0"));
	fd = vm_lock_take("vm0", 0);
	for (int i = 0; i < 3; i++)
		assert_true(vm_lock_is_held("vm0"));
	close(fd);
	fd = vm_lock_take("vm0", 0);
	assert_true(fd >= 0);
	close(fd);
}

static void a_killed_process_lets_go(void **state)
{
	int ready[2];
	pid_t pid;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)vm_lock_take("vm0", 0);
		(void)!write(ready[1], "x", 1);
		for (;;)
			sleep(1000);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(vm_lock_is_held("vm0"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(vm_lock_is_held("vm0"));
	close(ready[0]);
	close(ready[1]);
}

static void who_waits_gets_it_when_it_is_let_go(void **state)
{
	uint64_t began = monotonic_ns();
	int fd = vm_lock_take("vm0", 0);
	pid_t pid;

	(void)state;
	assert_int_equal(vm_lock_take("vm0", 100), -EEXIST);
	assert_true(monotonic_ns() - began >= 100 * NS_PER_MS);
	pid = fork();
	if (pid == 0) {
		close(fd);
		_exit(vm_lock_take("vm0", 20000) >= 0 ? 0 : 1);
	}
	usleep(50000);
	close(fd);
	waitpid(pid, &fd, 0);
	assert_int_equal(fd, 0);
}

static void a_removed_folder_does_not_split_the_name(void **state)
{
	char path[64];
	int fd = vm_lock_take("vm0", 0);
	int other;

	(void)state;
	close(fd);
	snprintf(path, sizeof(path), "%s/vm/vm0/lock", dir);
	assert_int_equal(unlink(path), 0);
	fd = vm_lock_take("vm0", 0);
	assert_true(fd >= 0);
	other = vm_lock_take("vm0", 0);
	assert_int_equal(other, -EEXIST);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_is_held_by_one),
		TEST(to_look_takes_nothing),
		TEST(a_killed_process_lets_go),
		TEST(who_waits_gets_it_when_it_is_let_go),
		TEST(a_removed_folder_does_not_split_the_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
