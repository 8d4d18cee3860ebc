/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the VMBus server share: a guest with two devices on its bus, and looks at the
 * next message that the guest got. For tests only.
 */
#ifndef LUNAR_TESTS_VMBUS_SERVER_EXPECT_H
#define LUNAR_TESTS_VMBUS_SERVER_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/log.h"
#include "tests/unit/vmbus/server_fixture.h"

struct setup {
	struct fake_guest guest;
	struct fake_device device;
	struct fake_device other;
};

static inline int prepare(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	log_set_level(LOG_LEVEL_ERROR);
	fake_guest_init(&s->guest);
	fake_device_init(&s->device);
	fake_device_init(&s->other);
	*state = s;
	return fake_device_add(&s->device, &s->guest, 0xaa) ||
	       fake_device_add(&s->other, &s->guest, 0xbb);
}

static inline int clean_up(void **state)
{
	struct setup *s = *state;

	assert_int_equal(s->guest.violations, 0);
	assert_int_equal(s->device.violations, 0);
	assert_int_equal(s->other.violations, 0);
	fake_guest_fini(&s->guest);
	fake_device_fini(&s->device);
	fake_device_fini(&s->other);
	free(s);
	return 0;
}

/* The next message must be these bytes. */
#define EXPECT_BYTES(guest, ...)                                                                   \
	do {                                                                                       \
		static const uint8_t expected_[] = {__VA_ARGS__};                                  \
		const struct fake_message *message_ = fake_guest_next(guest);                      \
		assert_non_null(message_);                                                         \
		assert_int_equal(message_->length, sizeof(expected_));                             \
		assert_memory_equal(message_->bytes, expected_, sizeof(expected_));                \
	} while (0)
#define EXPECT_NOTHING(guest) assert_null(fake_guest_next(guest))

static inline const struct fake_message *expect(struct fake_guest *guest, uint32_t type,
						size_t length)
{
	const struct fake_message *message = fake_guest_next(guest);

	assert_non_null(message);
	assert_int_equal(get_le32(message->bytes), type);
	assert_int_equal(message->length, length);
	return message;
}

static inline void connect_guest(struct fake_guest *guest, uint32_t version)
{
	guest_send_contact(guest, version, 1);
	assert_int_equal(expect(guest, VMBUS_VERSION_RESPONSE, 16)->bytes[8], 1);
	guest_send_empty(guest, VMBUS_REQUEST_OFFERS);
	expect(guest, VMBUS_OFFER_CHANNEL, 196);
	expect(guest, VMBUS_OFFER_CHANNEL, 196);
	expect(guest, VMBUS_ALL_OFFERS_DELIVERED, 8);
}

/* Opens channel 1 with a ring of 8 pages, GPADL 0xe1e10. */
static inline void open_first(struct setup *s)
{
	guest_send_gpadl(&s->guest, 1, 0xe1e10, 8, 100);
	expect(&s->guest, VMBUS_GPADL_CREATED, 20);
	guest_send_open(&s->guest, 1, 0xe1e10, 4, 0);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OPEN_CHANNEL_RESULT, 20)->bytes + 16), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

#endif
