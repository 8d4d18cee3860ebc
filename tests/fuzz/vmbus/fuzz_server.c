/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMBus server between a hostile guest and devices that answer now, later, or with errors: the
 * input is a list of steps. The fake device and the fake guest check what vmbus/server.h promises;
 * whatever a guest brings about, a bus at rest can be saved and made again out of that; at the end
 * everything is answered and the bus must come clean.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "tests/unit/vmbus/server_fixture.h"

#define DEVICES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bus {
	struct fake_guest guest;
	struct fake_device devices[DEVICES];
	struct {
		const uint8_t *at;
		size_t left;
	} input;
};

static uint8_t take(struct bus *bus)
{
	if (bus->input.left == 0)
		return 0;
	bus->input.left--;
	return *bus->input.at++;
}

/* Ids from a small set, so that they meet. */
static uint32_t take_relid(struct bus *bus)
{
	return take(bus) % 16;
}

static uint32_t take_gpadl(struct bus *bus)
{
	return take(bus) % 8;
}

static void step_raw(struct bus *bus)
{
	size_t length = take(bus);
	uint8_t message[256];

	for (size_t i = 0; i < length; i++)
		message[i] = take(bus);
	if (length >= 4) /* so that most are of a known type */
		put_le32(message, message[0] % 32);
	guest_send(&bus->guest, message, length);
}

static void step_body(struct bus *bus)
{
	uint8_t message[VMBUS_MESSAGE_MAX_BYTES] = {0};

	put_le32(message, VMBUS_GPADL_BODY);
	put_le32(message + 12, take_gpadl(bus));
	guest_send(&bus->guest, message, 16 + take(bus) % 225);
}

static void step_contact(struct bus *bus)
{
	static const uint32_t versions[] = {0x50003, 0x50002, 0x40001, 0x20004, 0x60000, 0x0000d};
	uint8_t choice = take(bus);

	guest_send_contact(&bus->guest, versions[choice % ARRAY_LENGTH(versions)], choice >> 5);
	if (choice & 0x10)
		guest_send_empty(&bus->guest, VMBUS_REQUEST_OFFERS);
}

static void step_guest(struct bus *bus, uint8_t kind)
{
	struct fake_guest *guest = &bus->guest;
	uint32_t relid;
	uint32_t gpadl;

	switch (kind) {
	case 0:
		step_contact(bus);
		break;
	case 1:
		relid = take_relid(bus);
		gpadl = take_gpadl(bus);
		guest_send_gpadl(guest, relid, gpadl, 1 + take(bus) % 64, take(bus));
		break;
	case 2:
		relid = take_relid(bus);
		guest_send_teardown(guest, relid, take_gpadl(bus));
		break;
	case 3:
		relid = take_relid(bus);
		gpadl = take_gpadl(bus);
		guest_send_open(guest, relid, gpadl, take(bus) % 32, take(bus) % (FAKE_VPS + 1));
		break;
	case 4:
		guest_send_relid(guest, VMBUS_CLOSE_CHANNEL, take_relid(bus));
		break;
	case 5:
		guest_send_relid(guest, VMBUS_RELID_RELEASED, take_relid(bus));
		break;
	case 6:
		relid = take_relid(bus);
		guest_send_modify(guest, relid, take(bus) % (FAKE_VPS + 1));
		break;
	case 7:
		guest_send_empty(guest, take(bus) % 32);
		break;
	case 8:
		step_body(bus);
		break;
	default:
		step_raw(bus);
		break;
	}
}

static void on_restored(void *ctx, int status)
{
	if (status != 0)
		abort();
	++*(unsigned *)ctx;
}

/* A bus of the same devices is made what the bytes say, and says the same of itself. */
static void saved_check(const struct bus *bus, const struct state_writer *saved)
{
	static struct fake_guest guest;
	static struct fake_device devices[DEVICES];
	struct state_reader reader, section;
	struct state_writer again;
	unsigned dones = 0;
	int rc;

	fake_guest_init(&guest);
	for (size_t i = 0; i < DEVICES; i++) {
		fake_device_init(&devices[i]);
		if (bus->devices[i].handle)
			fake_device_add(&devices[i], &guest, (uint8_t)i);
	}
	state_reader_init(&reader, saved->bytes, saved->length);
	if (state_next(&reader, &section) != 1)
		abort();
	rc = vmbus_server_restore(guest.server, &section, on_restored, &dones);
	if (rc != 0 || dones != 1 || guest.posted > 0)
		abort();
	state_writer_init(&again);
	if (vmbus_server_save(guest.server, &again) != 0 || again.length != saved->length ||
	    memcmp(again.bytes, saved->bytes, saved->length) != 0)
		abort();
	state_writer_fini(&again);
	fake_guest_fini(&guest);
	for (size_t i = 0; i < DEVICES; i++) {
		if (devices[i].violations > 0)
			abort();
		fake_device_fini(&devices[i]);
	}
}

static void step_save(struct bus *bus)
{
	struct state_writer writer;
	size_t owed = 0;
	int rc;

	for (size_t i = 0; i < DEVICES; i++)
		owed += bus->devices[i].call_count;
	state_writer_init(&writer);
	rc = vmbus_server_save(bus->guest.server, &writer);
	if ((rc == 0) != (owed == 0))
		abort();
	if (rc == 0)
		saved_check(bus, &writer);
	state_writer_fini(&writer);
}

static void step_host(struct bus *bus, uint8_t kind)
{
	struct fake_device *device = &bus->devices[take(bus) % DEVICES];

	switch (kind) {
	case 0:
		fake_device_answer(device, take(bus));
		break;
	case 1:
		device->later = !device->later;
		break;
	case 2:
		device->status = -(int)(take(bus) % 2);
		break;
	case 3:
		if (device->handle)
			vmbus_device_offer_sub_channels(device->handle, take(bus) % 10);
		break;
	case 4:
		if (device->handle)
			vmbus_device_rescind(device->handle);
		break;
	case 5:
		if (!device->handle)
			fake_device_add(device, &bus->guest, (uint8_t)(device - bus->devices));
		break;
	case 6:
		step_save(bus);
		break;
	default:
		vmbus_server_reset(bus->guest.server);
		break;
	}
}

static void violations_check(const struct bus *bus)
{
	if (bus->guest.violations > 0)
		abort();
	for (size_t i = 0; i < DEVICES; i++) {
		if (bus->devices[i].violations > 0)
			abort();
	}
}

static void bus_finish(struct bus *bus)
{
	struct vmbus_server_counts counts;

	for (size_t i = 0; i < DEVICES; i++)
		bus->devices[i].later = false;
	vmbus_server_reset(bus->guest.server);
	for (size_t i = 0; i < DEVICES; i++)
		fake_device_answer_all(&bus->devices[i]);
	vmbus_server_get_counts(bus->guest.server, &counts);
	if (bus->guest.cleanings == 0 || counts.version || counts.open || counts.gpadls ||
	    counts.offered)
		abort();
	for (size_t i = 0; i < DEVICES; i++) {
		if (bus->devices[i].gpadl_count > 0)
			abort();
	}
	violations_check(bus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bus bus;

	log_set_level(LOG_LEVEL_ERROR);
	memset(&bus, 0, sizeof(bus));
	fake_guest_init(&bus.guest);
	bus.input.at = data;
	bus.input.left = size;
	for (size_t i = 0; i < DEVICES; i++) {
		fake_device_init(&bus.devices[i]);
		fake_device_add(&bus.devices[i], &bus.guest, (uint8_t)i);
	}
	while (bus.input.left > 0) {
		uint8_t kind = take(&bus) % 19;

		if (kind < 11)
			step_guest(&bus, kind);
		else
			step_host(&bus, (uint8_t)(kind - 11));
		violations_check(&bus);
	}
	bus_finish(&bus);
	fake_guest_fini(&bus.guest);
	for (size_t i = 0; i < DEVICES; i++)
		fake_device_fini(&bus.devices[i]);
	return 0;
}
