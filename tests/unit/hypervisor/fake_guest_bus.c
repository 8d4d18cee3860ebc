/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_guest_bus.h. Observed: Linux 6.1 drivers/hv (connection.c, channel.c).
 */
#include "tests/unit/hypervisor/fake_guest_bus.h"

#include "tests/unit/test_main.h"

#include <string.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "wire/tlfs.h"

#define WAIT_MS	   20000
#define SIMP(vp)   (UINT64_C(0x3000000) + (vp)*UINT64_C(0x2000))
#define SIEFP(vp)  (SIMP(vp) + 0x1000)
#define HEAD_PAGES 26
#define PAGE_BYTES 4096u

void fake_guest_bus_init(struct fake_guest_bus *bus, struct engine_partition *engine,
			 struct event_loop *loop)
{
	*bus = (struct fake_guest_bus){.engine = engine, .loop = loop};
}

uint64_t fake_guest_bus_siefp(uint32_t vp)
{
	return SIEFP(vp);
}

static void post(struct fake_guest_bus *bus, const void *message, size_t length)
{
	assert_int_equal(fake_engine_post(bus->engine, message, length), HV_STATUS_SUCCESS);
}

static uint32_t next_message(struct fake_guest_bus *bus)
{
	struct deadline deadline = deadline_in_ms(WAIT_MS);

	while (!fake_engine_take_message(bus->engine, 0, bus->message, &bus->length)) {
		assert_false(deadline_passed(deadline));
		event_loop_run_once(bus->loop, 5);
	}
	return get_le32(bus->message);
}

void fake_guest_bus_await(struct fake_guest_bus *bus, uint32_t type)
{
	while (next_message(bus) != type)
		;
}

void fake_guest_bus_connect(struct fake_guest_bus *bus)
{
	static const uint8_t nic[16] = VMBUS_INTERFACE_NIC;
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_INITIATE_CONTACT,
		.version = VMBUS_VERSION_5_3,
	};
	const struct vmbus_message_header request = {.type = VMBUS_REQUEST_OFFERS};
	const struct vmbus_offer_channel *offer = (const void *)bus->message;
	uint32_t type;

	contact.target.sint = HV_VMBUS_SINT;
	for (uint32_t vp = 0; vp < 2; vp++)
		fake_engine_enable_synic(bus->engine, vp, SIMP(vp), SIEFP(vp));
	post(bus, &contact, sizeof(contact));
	fake_guest_bus_await(bus, VMBUS_VERSION_RESPONSE);
	post(bus, &request, sizeof(request));
	while ((type = next_message(bus)) != VMBUS_ALL_OFFERS_DELIVERED) {
		assert_int_equal(type, VMBUS_OFFER_CHANNEL);
		if (memcmp(offer->interface_type, nic, sizeof(nic)) != 0)
			continue;
		bus->relid = offer->relid;
		bus->connection_id = offer->connection_id;
	}
	assert_int_not_equal(bus->relid, 0);
}

void fake_guest_bus_post_lend_head(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
				   uint64_t first_gpn)
{
	uint8_t message[VMBUS_MESSAGE_MAX_BYTES] = {0};
	struct vmbus_gpadl_header header = {
		.header.type = VMBUS_GPADL_HEADER,
		.relid = bus->relid,
		.gpadl_id = gpadl_id,
		.ranges_bytes = (uint16_t)(8 + pages * 8),
		.range_count = 1,
	};
	uint32_t count = pages < HEAD_PAGES ? pages : HEAD_PAGES;

	memcpy(message, &header, sizeof(header));
	put_le32(message + sizeof(header), pages * PAGE_BYTES);
	for (uint32_t i = 0; i < count; i++)
		put_le64(message + sizeof(header) + 8 + (size_t)i * 8, first_gpn + i);
	post(bus, message, sizeof(header) + 8 + (size_t)count * 8);
}

void fake_guest_bus_post_lend_body(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
				   uint64_t first_gpn)
{
	uint8_t message[VMBUS_MESSAGE_MAX_BYTES] = {0};
	const struct vmbus_gpadl_body header = {
		.header.type = VMBUS_GPADL_BODY,
		.gpadl_id = gpadl_id,
	};

	memcpy(message, &header, sizeof(header));
	for (uint32_t i = HEAD_PAGES; i < pages; i++)
		put_le64(message + sizeof(header) + (size_t)(i - HEAD_PAGES) * 8, first_gpn + i);
	post(bus, message, sizeof(header) + (size_t)(pages - HEAD_PAGES) * 8);
}

void fake_guest_bus_post_lend(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
			      uint64_t first_gpn)
{
	fake_guest_bus_post_lend_head(bus, gpadl_id, pages, first_gpn);
	if (pages > HEAD_PAGES)
		fake_guest_bus_post_lend_body(bus, gpadl_id, pages, first_gpn);
}

void fake_guest_bus_await_lent(struct fake_guest_bus *bus, uint32_t gpadl_id)
{
	const struct vmbus_gpadl_created *created = (const void *)bus->message;

	fake_guest_bus_await(bus, VMBUS_GPADL_CREATED);
	assert_int_equal(created->gpadl_id, gpadl_id);
	assert_int_equal(created->status, VMBUS_STATUS_SUCCESS);
}

void fake_guest_bus_lend(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
			 uint64_t first_gpn)
{
	fake_guest_bus_post_lend(bus, gpadl_id, pages, first_gpn);
	fake_guest_bus_await_lent(bus, gpadl_id);
}

void fake_guest_bus_return(struct fake_guest_bus *bus, uint32_t gpadl_id)
{
	const struct vmbus_gpadl_teardown teardown = {
		.header.type = VMBUS_GPADL_TEARDOWN,
		.relid = bus->relid,
		.gpadl_id = gpadl_id,
	};
	const struct vmbus_gpadl_torndown *torndown = (const void *)bus->message;

	post(bus, &teardown, sizeof(teardown));
	fake_guest_bus_await(bus, VMBUS_GPADL_TORNDOWN);
	assert_int_equal(torndown->gpadl_id, gpadl_id);
}

void fake_guest_bus_post_open(struct fake_guest_bus *bus, uint32_t gpadl_id,
			      uint32_t downstream_page, uint32_t target_vp)
{
	struct vmbus_open_channel open = {
		.header.type = VMBUS_OPEN_CHANNEL,
		.relid = bus->relid,
		.open_id = bus->relid,
		.ring_gpadl_id = gpadl_id,
		.target_vp = target_vp,
		.downstream_page_offset = downstream_page,
	};

	memset(open.user_data, 0x5a, sizeof(open.user_data));
	post(bus, &open, sizeof(open));
}

void fake_guest_bus_await_opened(struct fake_guest_bus *bus)
{
	const struct vmbus_open_result *result = (const void *)bus->message;

	fake_guest_bus_await(bus, VMBUS_OPEN_CHANNEL_RESULT);
	assert_int_equal(result->relid, bus->relid);
	assert_int_equal(result->status, VMBUS_STATUS_SUCCESS);
}

void fake_guest_bus_open(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t downstream_page,
			 uint32_t target_vp)
{
	fake_guest_bus_post_open(bus, gpadl_id, downstream_page, target_vp);
	fake_guest_bus_await_opened(bus);
}

void fake_guest_bus_close(struct fake_guest_bus *bus)
{
	const struct vmbus_relid_message close = {
		.header.type = VMBUS_CLOSE_CHANNEL,
		.relid = bus->relid,
	};

	post(bus, &close, sizeof(close));
}
