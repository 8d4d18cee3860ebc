/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state of a VMBus server, as somebody hostile would write it: the first byte says how
 * the devices answer, the rest are the parts of the section. The fake devices check what
 * vmbus/server.h promises them. A bus that is taken must be saved as bytes that make the same bus
 * again, and must come clean when its guest goes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tests/unit/vmbus/server_fixture.h"

#define DEVICES 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bus {
	struct fake_guest guest;
	struct fake_device devices[DEVICES];
	unsigned dones;
	int status;
};

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void on_done(void *ctx, int status)
{
	struct bus *bus = ctx;

	bus->dones++;
	bus->status = status;
}

static void bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	fake_guest_init(&bus->guest);
	for (uint8_t i = 0; i < DEVICES; i++) {
		fake_device_init(&bus->devices[i]);
		require(fake_device_add(&bus->devices[i], &bus->guest, (uint8_t)(i + 1)) == 0);
	}
}

static void bus_fini(struct bus *bus)
{
	require(bus->guest.violations == 0);
	fake_guest_fini(&bus->guest);
	for (size_t i = 0; i < DEVICES; i++) {
		require(bus->devices[i].violations == 0);
		fake_device_fini(&bus->devices[i]);
	}
}

/* Answers every device's calls, at most a few of one before it is the next one's turn. */
static void bus_answer(struct bus *bus, unsigned at_once)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < DEVICES; i++) {
			for (unsigned n = 0; n <= at_once; n++)
				more |= fake_device_answer(&bus->devices[i], n / 2);
		}
	}
}

/* Returns whether the bus stands. */
static bool bus_restore(struct bus *bus, const uint8_t *bytes, size_t length, uint8_t manner)
{
	struct state_reader section;
	int rc;

	state_reader_init(&section, bytes, length);
	section.tag = VMBUS_SERVER_STATE_TAG;
	section.version = 1;
	section.readable_by = 1;
	for (size_t i = 0; i < DEVICES; i++) {
		bus->devices[i].later = manner & 1 << i;
		bus->devices[i].status = manner & 0x10 << i ? -5 : 0;
	}
	rc = vmbus_server_restore(bus->guest.server, &section, on_done, bus);
	require(rc == 0 || bus->dones == 0);
	bus_answer(bus, manner >> 6);
	require(rc != 0 || bus->dones == 1);
	require(bus->guest.posted == 0);
	for (size_t i = 0; i < DEVICES; i++) {
		require(rc == 0 || bus->devices[i].gpadl_count == 0);
		bus->devices[i].later = false;
		bus->devices[i].status = 0;
	}
	return rc == 0 && bus->status == 0;
}

static void bus_move_on(const struct bus *bus)
{
	static struct bus next;
	struct state_writer before, after;

	state_writer_init(&before);
	state_writer_init(&after);
	require(vmbus_server_save(bus->guest.server, &before) == 0);
	bus_init(&next);
	require(bus_restore(&next, before.bytes + STATE_HEADER_BYTES,
			    before.length - STATE_HEADER_BYTES, 0));
	require(vmbus_server_save(next.guest.server, &after) == 0);
	require(before.length == after.length &&
		memcmp(before.bytes, after.bytes, before.length) == 0);
	bus_fini(&next);
	state_writer_fini(&before);
	state_writer_fini(&after);
}

static void bus_leave(struct bus *bus)
{
	struct vmbus_server_counts counts;

	guest_send_empty(&bus->guest, VMBUS_UNLOAD);
	require(bus->guest.cleanings == 1);
	vmbus_server_get_counts(bus->guest.server, &counts);
	require(counts.version == 0 && counts.offered == 0 && counts.open == 0 &&
		counts.gpadls == 0);
	for (size_t i = 0; i < DEVICES; i++)
		require(bus->devices[i].gpadl_count == 0);
	guest_send_contact(&bus->guest, VMBUS_VERSION_5_3, 0);
	guest_send_empty(&bus->guest, VMBUS_REQUEST_OFFERS);
	vmbus_server_get_counts(bus->guest.server, &counts);
	require(counts.offered == DEVICES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bus bus;

	log_set_level(LOG_LEVEL_ERROR);
	if (size == 0)
		return 0;
	bus_init(&bus);
	if (bus_restore(&bus, data + 1, size - 1, data[0])) {
		bus_move_on(&bus);
		bus_leave(&bus);
	}
	bus_fini(&bus);
	return 0;
}
