/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's bus driver on a fake engine's VP: posts what Linux posts, and reads its message slot,
 * while the event loop runs. One NIC. A step that does not come in time fails the test.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_FAKE_GUEST_BUS_H
#define LUNAR_TESTS_HYPERVISOR_FAKE_GUEST_BUS_H

#include <stddef.h>
#include <stdint.h>

#include "wire/vmbus.h"

struct engine_partition;
struct event_loop;

struct fake_guest_bus {
	struct engine_partition *engine;
	struct event_loop *loop;
	uint32_t relid; /* of the NIC's primary channel */
	uint32_t connection_id;
	size_t length; /* of the last message */
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX_BYTES];
};

void fake_guest_bus_init(struct fake_guest_bus *bus, struct engine_partition *engine,
			 struct event_loop *loop);
uint64_t fake_guest_bus_siefp(uint32_t vp); /* GPA */

/* Enables the SynIC of two VPs, connects with 5.3 and takes the offers. */
void fake_guest_bus_connect(struct fake_guest_bus *bus);
/* Takes messages until one of that type is there, in bus->message. */
void fake_guest_bus_await(struct fake_guest_bus *bus, uint32_t type);

/* Lends pages whole pages from first_gpn on, and waits until they are taken. */
void fake_guest_bus_lend(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
			 uint64_t first_gpn);
/* The steps of that: up to 26 pages in the head, up to 28 more in one body. */
void fake_guest_bus_post_lend(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
			      uint64_t first_gpn);
void fake_guest_bus_post_lend_head(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
				   uint64_t first_gpn);
void fake_guest_bus_post_lend_body(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t pages,
				   uint64_t first_gpn);
void fake_guest_bus_await_lent(struct fake_guest_bus *bus, uint32_t gpadl_id);
void fake_guest_bus_return(struct fake_guest_bus *bus, uint32_t gpadl_id);

/* The primary channel. */
void fake_guest_bus_open(struct fake_guest_bus *bus, uint32_t gpadl_id, uint32_t downstream_page,
			 uint32_t target_vp);
void fake_guest_bus_post_open(struct fake_guest_bus *bus, uint32_t gpadl_id,
			      uint32_t downstream_page, uint32_t target_vp);
void fake_guest_bus_await_opened(struct fake_guest_bus *bus);
void fake_guest_bus_close(struct fake_guest_bus *bus);

#endif
