/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state of what lives in vmwp itself (SynIC, platform, nudges, integration components and
 * the bus under them), as somebody hostile would write it, over a guest memory that is hostile too:
 * the first 16 bytes are the control words of the rings that a restored channel may find. What is
 * taken must run, and be saved as bytes that make the same again.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/channel_nudge.h"
#include "hypervisor/console.h"
#include "hypervisor/engine.h"
#include "hypervisor/platform.h"
#include "hypervisor/synic.h"
#include "hypervisor/vm_ic.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"

#define VPS	   2
#define PAGES	   64
#define RING_PAGE  8 /* of the seeds: four pages each way */
#define RING_PAGES 4
#define HEAD_BYTES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct engine_partition {
	struct engine_sint_fds fds[VPS];
};

struct machine {
	struct engine_partition engine;
	int line;
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct synic *synic;
	struct console *console;
	struct platform platform;
	struct channel_nudge *nudge;
	struct vmbus_server *server;
	struct vm_ic *ic;
	unsigned dones;
	int bus_status;
};

static void require(bool ok)
{
	if (!ok)
		abort();
}

static int fake_sint(struct engine_partition *partition, uint32_t vp, struct engine_sint_fds *fds)
{
	if (vp >= VPS)
		return -EINVAL;
	*fds = partition->fds[vp];
	return 0;
}

static int fake_connect(struct engine_partition *partition, uint32_t connection_id, int eventfd)
{
	(void)partition;
	(void)connection_id;
	(void)eventfd;
	return 0;
}

static void fake_disconnect(struct engine_partition *partition, uint32_t connection_id)
{
	(void)partition;
	(void)connection_id;
}

static const struct engine_ops fake_engine = {
	.get_sint_fds = fake_sint,
	.connect_event = fake_connect,
	.disconnect_event = fake_disconnect,
};

static void on_message(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct machine *machine = ctx;

	require(synic_post_message(machine->synic, vp, message, length) == 0);
}

static void on_opened(void *ctx, uint32_t relid, uint32_t target_vp)
{
	channel_nudge_opened(((struct machine *)ctx)->nudge, relid, target_vp);
}

static const struct vmbus_server_ops bus_ops = {
	.post_message = on_message,
	.channel_opened = on_opened,
};

static void on_power(void *ctx, enum platform_power what)
{
	(void)ctx;
	(void)what;
}

static void machine_init(struct machine *machine)
{
	struct channel_nudge_config nudge = {.engine = &fake_engine};
	struct vm_ic_config ic = {.engine = &fake_engine};
	struct vm_error error;

	memset(machine, 0, sizeof(*machine));
	machine->line = eventfd(0, EFD_NONBLOCK);
	machine->memory = fixture_memory(PAGES);
	require(event_loop_create(&machine->loop) == 0);
	require(signal_table_init(&machine->signals, -1) == 0);
	require(synic_create(machine->memory, &machine->signals, VPS, machine->loop,
			     &machine->synic) == 0);
	for (uint32_t vp = 0; vp < VPS; vp++) {
		struct engine_sint_fds *fds = &machine->engine.fds[vp];

		fds->raise = eventfd(0, EFD_NONBLOCK);
		fds->eom = eventfd(0, EFD_NONBLOCK);
		require(synic_set_fds(machine->synic, vp, fds) == 0);
	}
	require(console_create(VM_CONSOLE_FILE, "/dev/null", machine->loop, &machine->console,
			       &error) == 0);
	platform_init(&machine->platform, machine->console, machine->line, on_power, machine);
	nudge.loop = ic.loop = machine->loop;
	nudge.memory = ic.memory = machine->memory;
	nudge.signals = ic.signals = &machine->signals;
	nudge.partition = ic.partition = &machine->engine;
	require(channel_nudge_create(&nudge, &machine->nudge) == 0);
	require(vmbus_server_create(&bus_ops, machine, VPS, &machine->server) == 0);
	ic.server = machine->server;
	require(vm_ic_create(&ic, &machine->ic) == 0);
}

static void machine_fini(struct machine *machine)
{
	vm_ic_destroy(machine->ic);
	vmbus_server_destroy(machine->server);
	channel_nudge_destroy(machine->nudge);
	platform_fini(&machine->platform);
	console_destroy(machine->console);
	synic_destroy(machine->synic);
	for (uint32_t vp = 0; vp < VPS; vp++) {
		close(machine->engine.fds[vp].raise);
		close(machine->engine.fds[vp].eom);
	}
	close(machine->line);
	signal_table_fini(&machine->signals);
	event_loop_destroy(machine->loop);
	guest_memory_destroy(machine->memory);
}

static void on_done(void *ctx, int status)
{
	struct machine *machine = ctx;

	machine->dones++;
	machine->bus_status = status;
}

static int part_restore(struct machine *machine, struct state_reader *part)
{
	int rc;

	switch (part->tag) {
	case SYNIC_STATE_TAG:
		return synic_restore(machine->synic, part);
	case PLATFORM_STATE_TAG:
		return platform_restore(&machine->platform, part);
	case CHANNEL_NUDGE_STATE_TAG:
		return channel_nudge_restore(machine->nudge, part);
	case VM_IC_STATE_TAG:
		return vm_ic_restore(machine->ic, part);
	case VMBUS_SERVER_STATE_TAG:
		rc = vmbus_server_restore(machine->server, part, on_done, machine);
		require(machine->dones <= 1 && (rc != 0 || machine->dones == 1));
		return rc;
	default:
		return state_check_skippable(part);
	}
}

/* Returns whether all of it was taken. */
static bool machine_restore(struct machine *machine, const uint8_t *bytes, size_t length)
{
	struct state_reader reader, part;
	int rc;

	state_reader_init(&reader, bytes, length);
	while ((rc = state_next(&reader, &part)) == 1) {
		if (part_restore(machine, &part) != 0)
			return false;
	}
	return rc == 0;
}

static void machine_go(struct machine *machine)
{
	synic_resume(machine->synic);
	vm_ic_resume(machine->ic);
	channel_nudge_resume(machine->nudge);
	platform_resume(&machine->platform);
	for (int i = 0; i < 4; i++)
		require(event_loop_run_once(machine->loop, 0) == 0);
	for (uint16_t port = UART_PORT; port < UART_PORT + UART_PORT_COUNT; port++) {
		uint8_t data[1];

		platform_port_io(&machine->platform, port, false, data, 1);
	}
	if (machine->bus_status == 0)
		vmbus_server_reset(machine->server);
}

/* All but the components: those tell the age of an answer. */
static void machine_save(struct machine *machine, struct state_writer *writer)
{
	state_writer_init(writer);
	require(synic_save(machine->synic, writer) == 0);
	require(platform_save(&machine->platform, writer) == 0);
	require(channel_nudge_save(machine->nudge, writer) == 0);
	require(state_writer_result(writer) == 0);
}

static void machine_move_on(struct machine *machine)
{
	struct state_writer before, after;
	struct machine next;

	synic_pause(machine->synic);
	channel_nudge_pause(machine->nudge);
	machine_save(machine, &before);
	machine_init(&next);
	require(machine_restore(&next, before.bytes, before.length));
	machine_save(&next, &after);
	require(before.length == after.length &&
		memcmp(before.bytes, after.bytes, before.length) == 0);
	machine_fini(&next);
	state_writer_fini(&before);
	state_writer_fini(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine machine;

	log_set_level(LOG_LEVEL_ERROR);
	if (size < HEAD_BYTES)
		return 0;
	machine_init(&machine);
	require(guest_memory_write(machine.memory, RING_PAGE * GUEST_PAGE_SIZE, data, 8) == 0);
	require(guest_memory_write(machine.memory, (RING_PAGE + RING_PAGES) * GUEST_PAGE_SIZE,
				   data + 8, 8) == 0);
	if (machine_restore(&machine, data + HEAD_BYTES, size - HEAD_BYTES)) {
		machine_move_on(&machine);
		machine_go(&machine);
	}
	machine_fini(&machine);
	return 0;
}
