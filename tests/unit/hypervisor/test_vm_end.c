/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a VM, and its reboot, with a disk that hangs: whole VMs on an engine without a
 * processor. The verdict is what the VM's state is, and when.
 */
#include "tests/unit/test_main.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "hypervisor/partition.h"
#include "hypervisor/vm_internal.h"
#include "hypervisor/vm_storage_internal.h"
#include "storvsp/controller_internal.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "tests/unit/hypervisor/tiny_kernel.h"

#define END_MS	    100
#define WAIT_MS	    20000
#define IMAGE_BYTES (1u << 20)

static struct {
	char dir[32], kernel[64], console[64], image[64];
	struct event_loop *loop;
	struct vm_config config;
	struct vm *vm;
	struct vm_error error;
	/* What the disk's controller waits for, while it hangs. */
	struct controller_operation hanging;
} bench;

static void on_state(void *ctx, struct vm *vm, enum vm_state state)
{
	(void)ctx;
	(void)vm;
	(void)state;
}

static int setup(void **state)
{
	struct vm_setup vm = {
		.config = &bench.config,
		.engine = &fake_engine,
		.state_changed = on_state,
	};
	int fd;

	(void)state;
	memset(&bench, 0, sizeof(bench));
	fake_engine_set_program(NULL);
	strcpy(bench.dir, "/tmp/lunar-vm-end-XXXXXX");
	if (!mkdtemp(bench.dir))
		return -1;
	snprintf(bench.kernel, sizeof(bench.kernel), "%s/vmlinuz", bench.dir);
	snprintf(bench.console, sizeof(bench.console), "%s/console", bench.dir);
	snprintf(bench.image, sizeof(bench.image), "%s/image", bench.dir);
	tiny_kernel_write(bench.kernel);
	fd = open(bench.image, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, IMAGE_BYTES) < 0 || close(fd) < 0)
		return -1;
	bench.config = (struct vm_config){
		.name = "vm0",
		.vps = 1,
		.memory_bytes = 64u << 20,
		.kernel = bench.kernel,
		.cmdline = (char *)(uintptr_t) "",
		.console = VM_CONSOLE_FILE,
		.console_path = bench.console,
		.disk_count = 1,
		.disks[0] = {.path = bench.image, .format = DISK_FORMAT_RAW},
	};
	if (event_loop_create(&bench.loop))
		return -1;
	vm.loop = bench.loop;
	if (vm_create(&vm, &bench.vm, &bench.error) || vm_start(bench.vm, &bench.error)) {
		print_error("%s\n", bench.error.message);
		return -1;
	}
	bench.vm->end_ms = END_MS;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_destroy(bench.vm);
	event_loop_destroy(bench.loop);
	unlink(bench.kernel);
	unlink(bench.console);
	unlink(bench.image);
	rmdir(bench.dir);
	return 0;
}

static void disk_hang(void)
{
	struct storvsp_controller *controller = bench.vm->storage->controllers[0].controller;

	LIST_INSERT_HEAD(&controller->operations, &bench.hanging, link);
}

static void disk_answer(void)
{
	LIST_REMOVE(&bench.hanging, link);
}

static bool await_state(enum vm_state state)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (bench.vm->state != state && !deadline_passed(deadline))
		event_loop_run_once(bench.loop, 10);
	return bench.vm->state == state;
}

static void run_ms(uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);

	while (!deadline_passed(deadline))
		event_loop_run_once(bench.loop, 10);
}

static void on_timer(void *ctx)
{
	*(bool *)ctx = true;
}

static void a_disk_that_hangs_does_not_keep_a_vm_from_its_end(void **state)
{
	uint64_t began_ns = monotonic_ns();
	struct vm *vm = bench.vm;

	(void)state;
	disk_hang();
	assert_int_equal(vm_request_stop(vm, true, 0), 0);
	assert_true(await_state(VM_STATE_STOPPED));
	assert_true(monotonic_ns() - began_ns >= END_MS * NS_PER_MS);
	assert_non_null(strstr(vm->reason, "does not answer"));
	/* What it may still write to is there. */
	assert_non_null(vm->partition);
	assert_non_null(vm->storage);
	disk_answer();
	vm->left = false; /* so that nothing is left here */
}

static void without_one_nothing_is_left(void **state)
{
	(void)state;
	assert_int_equal(vm_request_stop(bench.vm, true, 0), 0);
	assert_true(await_state(VM_STATE_STOPPED));
	assert_null(bench.vm->partition);
	assert_null(bench.vm->storage);
	assert_string_equal(bench.vm->reason, "stopped by force");
}

static void a_reboot_waits_for_a_disk_that_hangs_while_the_loop_turns(void **state)
{
	struct event_timer *timer;
	bool fired = false;

	(void)state;
	disk_hang();
	assert_int_equal(vm_request_reboot(bench.vm), 0);
	assert_int_equal(event_loop_after_ms(bench.loop, 500, on_timer, &fired, &timer), 0);
	run_ms(1000);
	assert_true(fired);
	assert_int_equal(bench.vm->reboots, 0);
	assert_int_not_equal(vm_save(bench.vm, "/nowhere", &bench.error), 0);
	assert_int_equal(bench.error.code, EXIT_STATE);
	disk_answer();
	for (int i = 0; i < 1000 && !bench.vm->reboots; i++)
		run_ms(10);
	assert_int_equal(bench.vm->reboots, 1);
	assert_int_equal(bench.vm->state, VM_STATE_RUNNING);
}

static void a_vm_whose_reboot_waits_can_be_stopped(void **state)
{
	(void)state;
	disk_hang();
	assert_int_equal(vm_request_reboot(bench.vm), 0);
	run_ms(300);
	assert_int_equal(vm_request_stop(bench.vm, false, 0), 0);
	assert_true(await_state(VM_STATE_STOPPED));
	disk_answer();
	bench.vm->left = false;
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_disk_that_hangs_does_not_keep_a_vm_from_its_end),
		TEST(without_one_nothing_is_left),
		TEST(a_reboot_waits_for_a_disk_that_hangs_while_the_loop_turns),
		TEST(a_vm_whose_reboot_waits_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
