/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole partitions at rest, saved, and gone on with in another one, without a processor and without
 * a switch: the test is the guest and does what its drivers would; the fake netvspd says what
 * reached the NICs.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/state.h"
#include "hypervisor/console.h"
#include "hypervisor/partition.h"
#include "hypervisor/vm_portals.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "tests/unit/hypervisor/fake_guest_bus.h"
#include "tests/unit/hypervisor/fake_netvspd.h"
#include "tests/unit/hypervisor/tiny_kernel.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"
#include "wire/vmbus.h"

#define WAIT_MS	     20000
#define MEMORY_BYTES (UINT64_C(64) << 20)
#define NIC_GPADL    0x100
#define RING_GPADL   0x101

/* A partition with what it stands on, and the guest in it. */
struct host {
	struct fake_netvspd *netvspd;
	struct vm_config config;
	struct partition *partition;
	struct fake_guest_bus guest;
	bool ended;
	enum partition_end end;
};

struct outcome {
	bool done;
	int status;
	struct vm_error error;
};

static struct {
	char dir[32];
	char kernel[64];
	char console_path[64];
	struct event_loop *loop;
	struct console *console;
	struct host a;
	struct host b;
	struct outcome outcome;
	struct state_writer saved;
	unsigned late_frames;
	uint8_t late_frame[64];
} bench;

static void on_end(void *ctx, enum partition_end end, const char *text)
{
	struct host *host = ctx;

	(void)text;
	host->ended = true;
	host->end = end;
}

static int host_create(struct host *host, bool incoming, struct vm_error *error)
{
	const struct partition_config config = {
		.vm = &host->config,
		.loop = bench.loop,
		.console = bench.console,
		.engine = &fake_engine,
		.must_reach_switch = true,
		.incoming = incoming,
		.ended = on_end,
		.ctx = host,
	};
	int result = partition_create(&config, &host->partition, error);

	if (!result)
		fake_guest_bus_init(&host->guest, fake_engine_newest(), bench.loop);
	return result;
}

static void host_init(struct host *host)
{
	host->netvspd = fake_netvspd_start();
	host->config = (struct vm_config){
		.name = "vm0",
		.vps = 2,
		.memory_bytes = MEMORY_BYTES,
		.kernel = bench.kernel,
		.cmdline = (char *)(uintptr_t) "",
		.nic_count = 1,
		.nics[0] =
			{
				.mac = {2, 0, 0, 0, 0, 7},
				.instance_id = {0xaa, 0xbb},
				.mtu = 9000,
				.queues = 2,
				.vsp_socket = (char *)(uintptr_t)fake_netvspd_path(host->netvspd),
			},
	};
}

static void host_fini(struct host *host)
{
	partition_destroy(host->partition);
	fake_netvspd_stop(host->netvspd);
}

static int setup(void **state)
{
	struct vm_error error;

	(void)state;
	memset(&bench, 0, sizeof(bench));
	memset(&fake_engine_faults, 0, sizeof(fake_engine_faults));
	fake_engine_set_program(NULL);
	strcpy(bench.dir, "/tmp/lunar-partition-XXXXXX");
	if (!mkdtemp(bench.dir))
		return -1;
	snprintf(bench.kernel, sizeof(bench.kernel), "%s/vmlinuz", bench.dir);
	snprintf(bench.console_path, sizeof(bench.console_path), "%s/console", bench.dir);
	tiny_kernel_write(bench.kernel);
	if (event_loop_create(&bench.loop) ||
	    console_create(VM_CONSOLE_FILE, bench.console_path, bench.loop, &bench.console, &error))
		return -1;
	state_writer_init(&bench.saved);
	host_init(&bench.a);
	host_init(&bench.b);
	if (host_create(&bench.a, false, &error) || partition_start(bench.a.partition, &error)) {
		print_error("%s\n", error.message);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_fini(&bench.a);
	host_fini(&bench.b);
	state_writer_fini(&bench.saved);
	console_destroy(bench.console);
	event_loop_destroy(bench.loop);
	unlink(bench.kernel);
	unlink(bench.console_path);
	rmdir(bench.dir);
	return 0;
}

/* ---- what a move does ---- */

static void on_done(void *ctx, int status, const struct vm_error *error)
{
	struct outcome *outcome = ctx;

	assert_false(outcome->done);
	outcome->done = true;
	outcome->status = status;
	outcome->error = *error;
}

static int await(void)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (!bench.outcome.done) {
		assert_false(deadline_passed(deadline));
		event_loop_run_once(bench.loop, 10);
	}
	return bench.outcome.status;
}

static int pause_a(void)
{
	memset(&bench.outcome, 0, sizeof(bench.outcome));
	assert_int_equal(partition_pause(bench.a.partition, on_done, &bench.outcome), 0);
	return await();
}

static void save_a(void)
{
	struct vm_error error;

	state_writer_fini(&bench.saved);
	state_writer_init(&bench.saved);
	assert_int_equal(partition_save(bench.a.partition, &bench.saved, &error), 0);
}

static void memory_copy(void)
{
	const struct guest_memory *from = partition_get_memory(bench.a.partition);
	struct guest_memory *to = partition_get_memory(bench.b.partition);

	for (size_t i = 0; i < guest_memory_region_count(from); i++)
		memcpy(guest_memory_region_at(to, i)->hva, guest_memory_region_at(from, i)->hva,
		       guest_memory_region_at(from, i)->size_bytes);
}

static int restore_bytes(const void *bytes, size_t length)
{
	struct state_reader reader;
	struct vm_error error;

	assert_int_equal(host_create(&bench.b, true, &error), 0);
	memory_copy();
	state_reader_init(&reader, bytes, length);
	memset(&bench.outcome, 0, sizeof(bench.outcome));
	assert_int_equal(partition_restore(bench.b.partition, &reader, on_done, &bench.outcome), 0);
	return await();
}

static int restore_b(void)
{
	return restore_bytes(bench.saved.bytes, bench.saved.length);
}

static void go_b(void)
{
	struct vm_error error;

	bench.b.guest.relid = bench.a.guest.relid;
	bench.b.guest.connection_id = bench.a.guest.connection_id;
	assert_int_equal(partition_go(bench.b.partition, true, &error), 0);
}

static void assert_no_violations(void)
{
	assert_null(fake_netvspd_violation(bench.a.netvspd));
	assert_null(fake_netvspd_violation(bench.b.netvspd));
}

/* Runs the loop until netvspd has had that many requests of a type. */
static void await_requests(struct host *host, enum vsp_type type, unsigned count)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (fake_netvspd_count(host->netvspd, type) < count) {
		assert_false(deadline_passed(deadline));
		event_loop_run_once(bench.loop, 10);
	}
}

static void run_ms(uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);

	while (!deadline_passed(deadline))
		event_loop_run_once(bench.loop, 5);
}

/* The guest's driver: connected, a buffer lent, the primary channel open. */
static void guest_bring_up(struct host *host)
{
	fake_guest_bus_connect(&host->guest);
	fake_guest_bus_lend(&host->guest, NIC_GPADL, 8, 0x3100);
	fake_guest_bus_lend(&host->guest, RING_GPADL, 8, 0x3200);
	fake_guest_bus_open(&host->guest, RING_GPADL, 4, 1);
}

/* ---- pause and resume ---- */

static void a_paused_partition_goes_on_where_it_was(void **state)
{
	struct vsp_resume resume;

	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	assert_false(fake_engine_runs(bench.a.guest.engine));
	partition_resume(bench.a.partition);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	await_requests(&bench.a, VSP_RESUME, 1);
	fake_netvspd_last(bench.a.netvspd, VSP_RESUME, &resume, sizeof(resume));
	assert_int_equal(resume.flags, 0);
	fake_guest_bus_close(&bench.a.guest);
	fake_guest_bus_return(&bench.a.guest, NIC_GPADL);
	assert_no_violations();
	assert_int_equal(pause_a(), 0);
	partition_resume(bench.a.partition);
}

static void what_the_guest_posted_before_the_pause_is_answered_after_it(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	fake_guest_bus_post_lend(&bench.a.guest, NIC_GPADL, 4, 0x3100);
	assert_int_equal(pause_a(), 0);
	assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_GPADL_ADD), 1);
	partition_resume(bench.a.partition);
	fake_guest_bus_await_lent(&bench.a.guest, NIC_GPADL);
	assert_no_violations();
}

static void at_rest_nothing_touches_the_guests_memory(void **state)
{
	const struct guest_memory *memory = partition_get_memory(bench.a.partition);
	const struct guest_memory_region *region = guest_memory_region_at(memory, 0);
	void *copy = malloc(region->size_bytes);

	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	memcpy(copy, region->hva, region->size_bytes);
	fake_netvspd_hang_up(bench.a.netvspd);
	console_write(bench.console, (const uint8_t *)"x", 1);
	run_ms(2500); /* heartbeat, nudges and reconnecting would have come */
	assert_memory_equal(copy, region->hva, region->size_bytes);
	free(copy);
	partition_resume(bench.a.partition);
	fake_guest_bus_return(&bench.a.guest, NIC_GPADL);
	assert_no_violations();
}

static void a_device_that_does_not_finish_ends_the_pause(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	fake_netvspd_answer(bench.a.netvspd, VSP_GPADL_ADD, FAKE_NETVSPD_SILENT);
	fake_guest_bus_post_lend(&bench.a.guest, NIC_GPADL, 4, 0x3100);
	assert_int_equal(pause_a(), -ETIMEDOUT);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_SAVE), 0);
	assert_no_violations();
}

static void a_netvspd_that_does_not_save_ends_the_pause(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	fake_netvspd_answer(bench.a.netvspd, VSP_SAVE, -EIO);
	fake_netvspd_answer(bench.a.netvspd, VSP_RESUME, -EINVAL);
	assert_int_equal(pause_a(), -EIO);
	assert_int_equal(bench.outcome.error.code, EXIT_NO_SWITCH);
	assert_true(fake_engine_runs(bench.a.guest.engine));
}

static void a_netvspd_that_is_silent_ends_the_pause(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	fake_netvspd_answer(bench.a.netvspd, VSP_SAVE, FAKE_NETVSPD_SILENT);
	assert_int_equal(pause_a(), -ETIMEDOUT);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	await_requests(&bench.a, VSP_RESUME, 1);
}

static void a_netvspd_that_is_lost_ends_the_pause_and_is_recovered(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	fake_netvspd_answer(bench.a.netvspd, VSP_SAVE, FAKE_NETVSPD_HANGS_UP);
	assert_int_equal(pause_a(), -ENOTCONN);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	fake_guest_bus_return(&bench.a.guest, NIC_GPADL);
	fake_netvspd_answer(bench.a.netvspd, VSP_SAVE, 0);
	assert_int_equal(pause_a(), 0);
	assert_no_violations();
}

static void an_old_netvspd_cannot_save(void **state)
{
	struct vm_error error;

	(void)state;
	partition_destroy(bench.a.partition);
	fake_netvspd_set_version(bench.a.netvspd, 1);
	assert_int_equal(host_create(&bench.a, false, &error), 0);
	assert_int_equal(partition_start(bench.a.partition, &error), 0);
	assert_int_equal(pause_a(), -EOPNOTSUPP);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	assert_int_equal(host_create(&bench.b, false, &error), 0);
}

static void a_vp_that_does_not_stop_ends_the_pause(void **state)
{
	(void)state;
	fake_engine_faults.pause = -ETIMEDOUT;
	assert_int_equal(pause_a(), -ETIMEDOUT);
	assert_true(fake_engine_runs(bench.a.guest.engine));
	assert_int_equal(pause_a(), 0);
}

static void a_guest_that_ended_is_not_paused(void **state)
{
	(void)state;
	fake_engine_exit(bench.a.guest.engine, ENGINE_EXIT_RESET, "");
	assert_int_equal(pause_a(), -ECANCELED);
	run_ms(20);
	assert_true(bench.a.ended);
	assert_int_equal(bench.a.end, PARTITION_RESET);
}

static void who_waits_for_a_pause_hears_of_the_partitions_end(void **state)
{
	(void)state;
	memset(&bench.outcome, 0, sizeof(bench.outcome));
	assert_int_equal(partition_pause(bench.a.partition, on_done, &bench.outcome), 0);
	partition_destroy(bench.a.partition);
	bench.a.partition = NULL;
	assert_true(bench.outcome.done);
	assert_int_equal(bench.outcome.status, -ECANCELED);
}

static void only_one_pause_at_a_time(void **state)
{
	struct outcome other = {0};

	(void)state;
	assert_int_equal(partition_pause(bench.a.partition, on_done, &bench.outcome), 0);
	assert_int_equal(partition_pause(bench.a.partition, on_done, &other), -EBUSY);
	assert_int_equal(await(), 0);
	assert_int_equal(partition_pause(bench.a.partition, on_done, &other), -EBUSY);
	assert_false(other.done);
}

/* ---- from one to another ---- */

static bool event_flag_is_set(struct host *host, uint32_t vp, uint32_t flag)
{
	uint8_t byte;

	fake_engine_read(host->guest.engine,
			 fake_guest_bus_siefp(vp) + (uint64_t)HV_VMBUS_SINT * HV_EVENT_FLAGS_BYTES +
				 flag / 8,
			 &byte, 1);
	return byte >> (flag % 8) & 1;
}

static void a_guest_goes_on_in_another_partition(void **state)
{
	struct vsp_channel_open opened, restored;
	struct vsp_resume resume;
	struct vsp_nic nic;
	char nic_state[64] = "";

	(void)state;
	guest_bring_up(&bench.a);
	fake_engine_registers(bench.a.guest.engine)[3] = 0x1234;
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_RESUME), 0);
	assert_false(fake_engine_runs(bench.b.guest.engine));
	go_b();
	assert_true(fake_engine_runs(bench.b.guest.engine));
	assert_int_equal(fake_engine_registers(bench.b.guest.engine)[3], 0x1234);

	await_requests(&bench.b, VSP_RESUME, 1);
	fake_netvspd_last(bench.b.netvspd, VSP_NIC, &nic, sizeof(nic));
	assert_int_equal(nic.flags & VSP_NIC_INCOMING, VSP_NIC_INCOMING);
	assert_string_equal(nic.name, "vm0/nic0");
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_GPADL_ADD), 2);
	assert_int_equal(fake_netvspd_restored(bench.b.netvspd, nic_state, sizeof(nic_state)),
			 strlen("state 1 of a fake NIC"));
	assert_string_equal(nic_state, "state 1 of a fake NIC");
	fake_netvspd_last(bench.a.netvspd, VSP_CHANNEL_OPEN, &opened, sizeof(opened));
	fake_netvspd_last(bench.b.netvspd, VSP_CHANNEL_OPEN, &restored, sizeof(restored));
	assert_int_equal(restored.flags, VSP_CHANNEL_RESTORED);
	assert_int_equal(restored.gpadl_id, opened.gpadl_id);
	assert_int_equal(restored.event_flag, opened.event_flag);
	assert_int_equal(restored.target_vp, opened.target_vp);
	assert_int_equal(restored.downstream_page_offset, opened.downstream_page_offset);
	assert_memory_equal(restored.user_data, opened.user_data, sizeof(opened.user_data));
	fake_netvspd_last(bench.b.netvspd, VSP_RESUME, &resume, sizeof(resume));
	assert_int_equal(resume.flags, VSP_RESUME_ANNOUNCE);

	/* whatever lies in the rings is looked at, and the guest can go on with all it has */
	assert_true(event_flag_is_set(&bench.b, 1, opened.event_flag));
	assert_true(fake_engine_take_interrupts(bench.b.guest.engine, 1) > 0);
	assert_true(fake_engine_signal(bench.b.guest.engine, bench.b.guest.connection_id));
	fake_guest_bus_lend(&bench.b.guest, 0x200, 4, 0x3300);
	fake_guest_bus_close(&bench.b.guest);
	fake_guest_bus_return(&bench.b.guest, RING_GPADL);
	fake_guest_bus_return(&bench.b.guest, NIC_GPADL);
	assert_no_violations();
}

static void a_guest_that_has_not_connected_moves(void **state)
{
	(void)state;
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	go_b();
	await_requests(&bench.b, VSP_RESUME, 1);
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_RESTORE), 1);
	guest_bring_up(&bench.b);
}

static void a_guest_moves_there_and_back(void **state)
{
	struct host first;

	(void)state;
	guest_bring_up(&bench.a);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pause_a(), 0);
		save_a();
		assert_int_equal(restore_b(), 0);
		go_b();
		await_requests(&bench.b, VSP_RESUME, 1);
		assert_no_violations();
		partition_destroy(bench.a.partition);
		bench.a.partition = NULL;
		fake_netvspd_stop(bench.a.netvspd);
		host_init(&bench.a);
		first = bench.a;
		bench.a = bench.b;
		bench.b = first;
	}
	fake_guest_bus_close(&bench.a.guest);
	fake_guest_bus_return(&bench.a.guest, RING_GPADL);
}

static void messages_that_the_guest_has_not_read_move_in_order(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	for (uint32_t i = 0; i < 5; i++)
		fake_guest_bus_post_lend(&bench.a.guest, 0x300 + i, 2, 0x3100 + 16 * i);
	await_requests(&bench.a, VSP_GPADL_ADD, 5);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	go_b();
	for (uint32_t i = 0; i < 5; i++)
		fake_guest_bus_await_lent(&bench.b.guest, 0x300 + i);
	assert_no_violations();
}

static void a_gpadl_of_which_half_is_said_moves(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	fake_guest_bus_post_lend_head(&bench.a.guest, NIC_GPADL, 40, 0x3100);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	go_b();
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_GPADL_ADD), 0);
	fake_guest_bus_post_lend_body(&bench.b.guest, NIC_GPADL, 40, 0x3100);
	fake_guest_bus_await_lent(&bench.b.guest, NIC_GPADL);
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_GPADL_ADD), 1);
}

static void on_late_frame(void *ctx, uint32_t nic, const void *frame, size_t length)
{
	(void)ctx;
	assert_int_equal(nic, 0);
	assert_true(length <= sizeof(bench.late_frame));
	memcpy(bench.late_frame, frame, length);
	bench.late_frames++;
	partition_inject(bench.b.partition, nic, frame, length);
}

static void frames_that_come_late_go_where_the_guest_is(void **state)
{
	struct {
		struct vsp_header header;
		uint8_t bytes[60];
	} frame = {.bytes = {1, 2, 3}}, injected;

	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	go_b();
	await_requests(&bench.b, VSP_RESUME, 1);
	partition_depart(bench.a.partition, on_late_frame, NULL);
	await_requests(&bench.a, VSP_DEPART, 1);
	frame.header = (struct vsp_header){.type = VSP_LATE_FRAME, .size_bytes = sizeof(frame)};
	fake_netvspd_notify(bench.a.netvspd, &frame, sizeof(frame));
	await_requests(&bench.b, VSP_INJECT, 1);
	assert_int_equal(bench.late_frames, 1);
	assert_memory_equal(bench.late_frame, frame.bytes, sizeof(frame.bytes));
	fake_netvspd_last(bench.b.netvspd, VSP_INJECT, &injected, sizeof(injected));
	assert_int_equal(injected.header.size_bytes, sizeof(injected));
	assert_memory_equal(injected.bytes, frame.bytes, sizeof(frame.bytes));
	assert_no_violations();
}

/* ---- a netvspd that is lost at rest ---- */

/* Another netvspd has taken what the guest of that host has. */
static void assert_recovered(struct host *host, unsigned opens)
{
	struct vsp_channel_open first, again;
	struct vsp_resume resume;

	await_requests(host, VSP_RESUME, 1);
	fake_netvspd_last(host->netvspd, VSP_RESUME, &resume, sizeof(resume));
	assert_int_equal(resume.flags, host == &bench.b ? VSP_RESUME_ANNOUNCE : 0);
	assert_int_equal(fake_netvspd_count(host->netvspd, VSP_CHANNEL_OPEN), opens);
	fake_netvspd_last(host->netvspd, VSP_CHANNEL_OPEN, &again, sizeof(again));
	fake_netvspd_last(bench.a.netvspd, VSP_CHANNEL_OPEN, &first, sizeof(first));
	assert_int_equal(again.flags, VSP_CHANNEL_RESTORED);
	assert_int_equal(again.event_flag, first.event_flag);
	assert_memory_equal(again.user_data, first.user_data, sizeof(first.user_data));
	assert_no_violations();
}

static void a_netvspd_lost_before_the_guest_goes_is_recovered(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	fake_netvspd_hang_up(bench.b.netvspd);
	await_requests(&bench.b, VSP_CHANNEL_OPEN, 2);
	run_ms(50);
	go_b();
	assert_recovered(&bench.b, 2);
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_GPADL_ADD), 4);
	fake_guest_bus_close(&bench.b.guest);
	fake_guest_bus_return(&bench.b.guest, RING_GPADL);
	assert_no_violations();
}

/* The guest runs, and what it does to its NIC waits until netvspd is back. */
static void a_guest_that_goes_before_its_netvspd_is_back_is_not_told(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	fake_netvspd_answer(bench.b.netvspd, VSP_NIC, -EEXIST); /* of the connection before */
	fake_netvspd_hang_up(bench.b.netvspd);
	run_ms(50);
	go_b();
	fake_guest_bus_post_lend(&bench.b.guest, 0x300, 4, 0x3400);
	run_ms(500);
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_GPADL_ADD), 2);
	fake_netvspd_answer(bench.b.netvspd, VSP_NIC, 0);
	fake_guest_bus_await_lent(&bench.b.guest, 0x300);
	assert_recovered(&bench.b, 2);
	fake_guest_bus_return(&bench.b.guest, 0x300);
	fake_guest_bus_close(&bench.b.guest);
	fake_guest_bus_return(&bench.b.guest, NIC_GPADL);
	assert_no_violations();
}

static void a_netvspd_lost_at_the_source_is_recovered_where_the_move_is_given_up(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	fake_guest_bus_return(&bench.a.guest, NIC_GPADL);
	assert_int_equal(pause_a(), 0);
	fake_netvspd_hang_up(bench.a.netvspd);
	await_requests(&bench.a, VSP_CHANNEL_OPEN, 2);
	fake_netvspd_hang_up(bench.a.netvspd); /* and once more */
	run_ms(20);
	partition_resume(bench.a.partition);
	assert_recovered(&bench.a, 3);
	assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_GPADL_ADD), 2 + 1 + 1);
	fake_guest_bus_lend(&bench.a.guest, 0x300, 4, 0x3400);
	assert_int_equal(pause_a(), 0);
	partition_resume(bench.a.partition);
}

static void a_netvspd_that_does_not_come_back_costs_the_guest_its_nic(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	fake_netvspd_answer(bench.b.netvspd, VSP_HELLO, FAKE_NETVSPD_HANGS_UP);
	fake_netvspd_hang_up(bench.b.netvspd);
	run_ms(50);
	go_b();
	fake_guest_bus_post_lend(&bench.b.guest, 0x300, 4, 0x3400);
	fake_guest_bus_await(&bench.b.guest, VMBUS_RESCIND_CHANNEL_OFFER);
}

static void a_netvspd_lost_while_the_guest_runs_is_recovered(void **state)
{
	struct vsp_journal journal;

	(void)state;
	guest_bring_up(&bench.a);
	for (unsigned i = 1; i <= 3; i++) {
		fake_netvspd_hang_up(bench.a.netvspd);
		await_requests(&bench.a, VSP_RESUME, i);
		fake_netvspd_last(bench.a.netvspd, VSP_JOURNAL, &journal, sizeof(journal));
		assert_int_equal(journal.flags, VSP_JOURNAL_RECOVER);
		assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_CHANNEL_OPEN), 1 + i);
	}
	assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_RESTORE), 0);
	assert_true(fake_engine_signal(bench.a.guest.engine, bench.a.guest.connection_id));
	fake_guest_bus_lend(&bench.a.guest, 0x300, 4, 0x3400);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	go_b();
	await_requests(&bench.b, VSP_RESUME, 1);
	fake_netvspd_hang_up(bench.b.netvspd); /* also where it arrived */
	await_requests(&bench.b, VSP_RESUME, 2);
	fake_guest_bus_close(&bench.b.guest);
	fake_guest_bus_return(&bench.b.guest, RING_GPADL);
	assert_no_violations();
}

static void what_was_asked_of_a_lost_netvspd_is_asked_again(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	fake_guest_bus_lend(&bench.a.guest, RING_GPADL, 8, 0x3200);
	fake_netvspd_answer(bench.a.netvspd, VSP_GPADL_ADD, FAKE_NETVSPD_SILENT);
	fake_guest_bus_post_lend(&bench.a.guest, NIC_GPADL, 4, 0x3100);
	await_requests(&bench.a, VSP_GPADL_ADD, 2);
	fake_netvspd_answer(bench.a.netvspd, VSP_GPADL_ADD, 0);
	fake_netvspd_hang_up(bench.a.netvspd);
	fake_guest_bus_await_lent(&bench.a.guest, NIC_GPADL);
	fake_netvspd_answer(bench.a.netvspd, VSP_CHANNEL_OPEN, FAKE_NETVSPD_HANGS_UP);
	fake_guest_bus_post_open(&bench.a.guest, RING_GPADL, 4, 1);
	await_requests(&bench.a, VSP_CHANNEL_OPEN, 1);
	fake_netvspd_answer(bench.a.netvspd, VSP_CHANNEL_OPEN, 0);
	fake_guest_bus_await_opened(&bench.a.guest);
	assert_true(fake_engine_signal(bench.a.guest.engine, bench.a.guest.connection_id));
	fake_guest_bus_close(&bench.a.guest);
	fake_guest_bus_return(&bench.a.guest, NIC_GPADL);
	assert_no_violations();
}

static void a_journal_without_content_costs_only_an_open_nic(void **state)
{
	(void)state;
	fake_guest_bus_connect(&bench.a.guest);
	fake_guest_bus_lend(&bench.a.guest, RING_GPADL, 8, 0x3200);
	fake_netvspd_answer(bench.a.netvspd, VSP_JOURNAL, -ENODATA);
	fake_netvspd_hang_up(bench.a.netvspd);
	await_requests(&bench.a, VSP_RESUME, 1);
	fake_guest_bus_open(&bench.a.guest, RING_GPADL, 4, 1);
	fake_netvspd_hang_up(bench.a.netvspd);
	fake_guest_bus_await(&bench.a.guest, VMBUS_RESCIND_CHANNEL_OFFER);
}

static void a_departed_nic_is_not_recovered(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	fake_netvspd_hang_up(bench.a.netvspd);
	run_ms(20);
	partition_depart(bench.a.partition, on_late_frame, NULL);
	run_ms(400);
	assert_true(fake_netvspd_count(bench.a.netvspd, VSP_HELLO) <= 2);
	assert_int_equal(fake_netvspd_count(bench.a.netvspd, VSP_RESUME), 0);
}

/* ---- what is refused ---- */

static void b_is_broken(int status)
{
	struct vm_error error;

	assert_int_equal(bench.outcome.status, status);
	assert_true(*bench.outcome.error.message);
	assert_int_not_equal(partition_go(bench.b.partition, true, &error), 0);
	partition_destroy(bench.b.partition);
	bench.b.partition = NULL;
	assert_int_equal(fake_netvspd_count(bench.b.netvspd, VSP_RESUME), 0);
}

static void each_part_that_cannot_be_restored_is_an_error(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	fake_engine_faults.restore = -EIO;
	restore_b();
	b_is_broken(-EIO);
	fake_netvspd_answer(bench.b.netvspd, VSP_RESTORE, -EPROTO);
	restore_b();
	b_is_broken(-EPROTO);
	fake_netvspd_answer(bench.b.netvspd, VSP_RESTORE, 0);
	fake_netvspd_answer(bench.b.netvspd, VSP_GPADL_ADD, -ENOMEM);
	restore_b();
	b_is_broken(-ENOMEM);
	fake_netvspd_answer(bench.b.netvspd, VSP_GPADL_ADD, 0);
	fake_netvspd_answer(bench.b.netvspd, VSP_CHANNEL_OPEN, -EINVAL);
	restore_b();
	b_is_broken(-EINVAL);
	fake_netvspd_answer(bench.b.netvspd, VSP_CHANNEL_OPEN, FAKE_NETVSPD_HANGS_UP);
	restore_b();
	b_is_broken(-ENOTCONN);
	fake_netvspd_answer(bench.b.netvspd, VSP_CHANNEL_OPEN, 0);
	assert_int_equal(restore_b(), 0);
	go_b();
}

static void another_machine_is_not_restored(void **state)
{
	(void)state;
	assert_int_equal(pause_a(), 0);
	save_a();
	bench.b.config.vps = 1;
	restore_b();
	b_is_broken(-EPROTO);
	assert_int_equal(bench.outcome.error.code, EXIT_BAD_STATE);
	bench.b.config.vps = 2;
	bench.b.config.nic_count = 0;
	restore_b();
	b_is_broken(-EPROTO);
}

static void state_that_is_cut_anywhere_is_an_error(void **state)
{
	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	for (size_t length = 0; length < bench.saved.length;
	     length += 1 + bench.saved.length / 40) {
		assert_int_not_equal(restore_bytes(bench.saved.bytes, length), 0);
		partition_destroy(bench.b.partition);
		bench.b.partition = NULL;
	}
}

/* Each byte that lies in a tag, a length or a version does harm; none does more than that. */
static void state_with_a_wrong_byte_does_no_harm(void **state)
{
	uint8_t *bytes;

	(void)state;
	guest_bring_up(&bench.a);
	assert_int_equal(pause_a(), 0);
	save_a();
	bytes = malloc(bench.saved.length);
	for (size_t at = 0; at < bench.saved.length; at += 1 + bench.saved.length / 60) {
		memcpy(bytes, bench.saved.bytes, bench.saved.length);
		bytes[at] ^= 0xff;
		(void)restore_bytes(bytes, bench.saved.length);
		partition_destroy(bench.b.partition);
		bench.b.partition = NULL;
	}
	free(bytes);
}

static void a_state_is_restored_once_and_only_at_rest_saved(void **state)
{
	struct state_reader reader;
	struct vm_error error;

	(void)state;
	assert_int_not_equal(partition_save(bench.a.partition, &bench.saved, &error), 0);
	state_reader_init(&reader, "", 0);
	assert_int_equal(partition_restore(bench.a.partition, &reader, on_done, &bench.outcome),
			 -EBUSY);
	assert_int_equal(pause_a(), 0);
	save_a();
	assert_int_equal(restore_b(), 0);
	assert_int_equal(partition_restore(bench.b.partition, &reader, on_done, &bench.outcome),
			 -EBUSY);
	go_b();
	assert_int_not_equal(partition_go(bench.b.partition, true, &error), 0);
}

static void a_save_that_fails_says_so_and_the_guest_can_go_on(void **state)
{
	struct vm_error error = {0};

	(void)state;
	assert_int_equal(pause_a(), 0);
	fake_engine_faults.save = -EIO;
	assert_int_equal(partition_save(bench.a.partition, &bench.saved, &error), -EIO);
	assert_true(*error.message);
	partition_resume(bench.a.partition);
	assert_true(fake_engine_runs(bench.a.guest.engine));
}

/* ---- the log of written pages ---- */

static bool page_is_in(const uint64_t *words, uint64_t gpa)
{
	return words[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1;
}

static void both_logs_of_written_pages_are_one(void **state)
{
	uint64_t words[MEMORY_BYTES / 4096 / 64] = {0};
	const size_t count = sizeof(words) / sizeof(words[0]);
	struct partition *partition = bench.a.partition;

	(void)state;
	guest_memory_write(partition_get_memory(partition), 0x5000, "before", 6);
	assert_int_equal(partition_dirty_start(partition), 0);
	assert_true(fake_engine_logs(bench.a.guest.engine));
	fake_engine_write(bench.a.guest.engine, 0x7000, "vp", 2);
	guest_memory_write(partition_get_memory(partition), 0x9000, "host", 4);
	guest_memory_write(partition_get_memory(partition), MEMORY_BYTES - 4096, "host", 4);
	words[1] = 1; /* what is there stays */
	assert_int_equal(partition_dirty_fetch(partition, 0, words, count), 0);
	assert_false(page_is_in(words, 0x5000));
	assert_true(page_is_in(words, 0x7000));
	assert_false(page_is_in(words, 0x8000));
	assert_true(page_is_in(words, 0x9000));
	assert_true(page_is_in(words, MEMORY_BYTES - 4096));
	assert_true(page_is_in(words, UINT64_C(64) * 4096));
	memset(words, 0, sizeof(words));
	assert_int_equal(partition_dirty_fetch(partition, 0, words, count), 0);
	assert_false(page_is_in(words, 0x7000) || page_is_in(words, 0x9000));
	assert_int_equal(partition_dirty_fetch(partition, 1, words, count), -EINVAL);
	assert_int_equal(partition_dirty_fetch(partition, 0, words, count - 1), -EINVAL);
	partition_throttle(partition, 30);
	assert_int_equal(fake_engine_throttled(bench.a.guest.engine), 30);
	partition_dirty_stop(partition);
	assert_false(fake_engine_logs(bench.a.guest.engine));
}

/* ---- portals ---- */

static void the_portals_of_the_guest_are_known_and_move_as_a_section(void **state)
{
	struct vsp_portals told = {
		.count = 1,
		.portals[0] = {.address = {[10] = 0xff, 0xff, 10, 0, 0, 9},
			       .next_hop = {2, 0, 0, 0, 0, 1},
			       .port = 3260,
			       .vlan = 7},
	};
	struct vm_portal portals[VM_MAX_PORTALS];
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	struct state_reader reader, section;
	struct state_writer writer;
	char text[VM_PORTAL_TEXT_BYTES];
	size_t count = 0;

	(void)state;
	fake_netvspd_set_portals(bench.a.netvspd, &told);
	while (partition_get_portals(bench.a.partition, portals) == 0) {
		assert_false(deadline_passed(deadline));
		event_loop_run_once(bench.loop, 10);
	}
	state_writer_init(&writer);
	vm_portals_save(portals, 1, &writer);
	assert_int_equal(state_writer_result(&writer), 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	memset(portals, 0, sizeof(portals));
	assert_int_equal(vm_portals_parse(&section, portals, &count), 0);
	assert_int_equal(count, 1);
	assert_memory_equal(portals[0].portal.address, told.portals[0].address, 16);
	assert_memory_equal(portals[0].portal.next_hop, told.portals[0].next_hop, 6);
	vm_portal_format(&portals[0], text);
	assert_string_equal(text, "10.0.0.9:3260 in VLAN 7");
	state_writer_fini(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_paused_partition_goes_on_where_it_was),
		TEST(what_the_guest_posted_before_the_pause_is_answered_after_it),
		TEST(at_rest_nothing_touches_the_guests_memory),
		TEST(a_device_that_does_not_finish_ends_the_pause),
		TEST(a_netvspd_that_does_not_save_ends_the_pause),
		TEST(a_netvspd_that_is_silent_ends_the_pause),
		TEST(a_netvspd_that_is_lost_ends_the_pause_and_is_recovered),
		TEST(an_old_netvspd_cannot_save),
		TEST(a_vp_that_does_not_stop_ends_the_pause),
		TEST(a_guest_that_ended_is_not_paused),
		TEST(who_waits_for_a_pause_hears_of_the_partitions_end),
		TEST(only_one_pause_at_a_time),
		TEST(a_guest_goes_on_in_another_partition),
		TEST(a_guest_that_has_not_connected_moves),
		TEST(a_guest_moves_there_and_back),
		TEST(messages_that_the_guest_has_not_read_move_in_order),
		TEST(a_gpadl_of_which_half_is_said_moves),
		TEST(frames_that_come_late_go_where_the_guest_is),
		TEST(a_netvspd_lost_before_the_guest_goes_is_recovered),
		TEST(a_guest_that_goes_before_its_netvspd_is_back_is_not_told),
		TEST(a_netvspd_lost_at_the_source_is_recovered_where_the_move_is_given_up),
		TEST(a_netvspd_that_does_not_come_back_costs_the_guest_its_nic),
		TEST(a_netvspd_lost_while_the_guest_runs_is_recovered),
		TEST(what_was_asked_of_a_lost_netvspd_is_asked_again),
		TEST(a_journal_without_content_costs_only_an_open_nic),
		TEST(a_departed_nic_is_not_recovered),
		TEST(each_part_that_cannot_be_restored_is_an_error),
		TEST(another_machine_is_not_restored),
		TEST(state_that_is_cut_anywhere_is_an_error),
		TEST(state_with_a_wrong_byte_does_no_harm),
		TEST(a_state_is_restored_once_and_only_at_rest_saved),
		TEST(a_save_that_fails_says_so_and_the_guest_can_go_on),
		TEST(both_logs_of_written_pages_are_one),
		TEST(the_portals_of_the_guest_are_known_and_move_as_a_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
