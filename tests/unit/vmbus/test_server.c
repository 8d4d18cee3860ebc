/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMBus server's connection: versions, offers, unload, re-contact, reset, and messages that
 * make no sense. What goes over the wire is compared with bytes as Linux 6.1 sends and reads them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vmbus/server_expect.h"
#include "vmbus/server.h"

/* vmbus_negotiate_version(), 5.3, VP 3. */
static const uint8_t linux_contact[] = {
	14, 0, 0, 0, 0, 0, 0,	 0, 3, 0, 5, 0, 3, 0, 0,    0, 2, 0, 0, 0,
	0,  0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0,
};

static void linux_is_answered_on_the_vp_it_named(void **state)
{
	struct setup *s = *state;

	guest_send(&s->guest, linux_contact, sizeof(linux_contact));
	assert_int_equal(s->guest.log[0].vp, 3);
	EXPECT_BYTES(&s->guest, 15, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0);
	EXPECT_NOTHING(&s->guest);
}

static void every_version_since_windows_8_is_spoken(void **state)
{
	struct setup *s = *state;
	const uint32_t versions[] = {0x50003, 0x50002, 0x50001, 0x50000,
				     0x40001, 0x40000, 0x30000, 0x20004};
	struct vmbus_server_counts counts;

	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		const struct fake_message *message;

		guest_send_contact(&s->guest, versions[i], 2);
		message = expect(&s->guest, VMBUS_VERSION_RESPONSE, 16);
		assert_int_equal(message->bytes[8], 1);
		assert_int_equal(get_le32(message->bytes + 12), versions[i] >= 0x50000 ? 4 : 0);
		/* Before 8.1 the field was not a VP. */
		assert_int_equal(message->vp, versions[i] >= 0x30000 ? 2 : 0);
		vmbus_server_get_counts(s->guest.server, &counts);
		assert_int_equal(counts.version, versions[i]);
	}
}

static void other_versions_are_refused_and_leave_no_connection(void **state)
{
	struct setup *s = *state;
	const uint32_t versions[] = {0x60000, 0x50004, 0x10001, 0x0000d, 0, UINT32_MAX};
	struct vmbus_server_counts counts;

	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		guest_send_contact(&s->guest, versions[i], 1);
		assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->bytes[8], 0);
		vmbus_server_get_counts(s->guest.server, &counts);
		assert_int_equal(counts.version, 0);
		guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
		EXPECT_NOTHING(&s->guest);
	}
	/* The way down that Linux goes. */
	connect_guest(&s->guest, 0x50002);
}

static void another_sint_than_ours_is_refused(void **state)
{
	struct setup *s = *state;
	uint8_t contact[sizeof(linux_contact)];

	memcpy(contact, linux_contact, sizeof(contact));
	contact[16] = 4;
	guest_send(&s->guest, contact, sizeof(contact));
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->bytes[8], 0);
	contact[16] = 2;
	contact[17] = 2; /* VTL 2 */
	guest_send(&s->guest, contact, sizeof(contact));
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->bytes[8], 0);
}

static void a_vp_that_does_not_exist_becomes_vp_0(void **state)
{
	struct setup *s = *state;

	guest_send_contact(&s->guest, 0x50003, FAKE_VPS);
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->vp, 0);
	guest_send_contact(&s->guest, 0x50003, UINT32_MAX);
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->vp, 0);
}

static void unknown_message_ports_are_told_apart(void **state)
{
	struct setup *s = *state;
	const uint32_t bad[] = {0, 2, 3, 5, 0x2001, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		assert_false(vmbus_server_is_message_port(bad[i]));
		assert_int_equal(vmbus_server_message(s->guest.server, bad[i], linux_contact,
						      sizeof(linux_contact)),
				 -EINVAL);
	}
	EXPECT_NOTHING(&s->guest);
	assert_true(vmbus_server_is_message_port(1) && vmbus_server_is_message_port(4));
	assert_int_equal(
		vmbus_server_message(s->guest.server, 1, linux_contact, sizeof(linux_contact)), 0);
	expect(&s->guest, VMBUS_VERSION_RESPONSE, 16);
}

static void offers_are_as_linux_reads_them(void **state)
{
	struct setup *s = *state;
	const struct fake_message *message;
	uint8_t expected[196] = {
		1,    0,    0,	  0,	0,    0,    0,	  0,	/* OFFERCHANNEL */
		0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46, /* NIC */
		0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e,
	};

	guest_send_contact(&s->guest, 0x50003, 0);
	expect(&s->guest, VMBUS_VERSION_RESPONSE, 16);
	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);

	memset(expected + 24, 0xaa, 16);
	expected[56] = 1; /* flags */
	expected[58] = 3; /* MMIO megabytes */
	memcpy(expected + 60, "offer", sizeof("offer"));
	expected[184] = 1;		  /* relid */
	expected[190] = 1;		  /* dedicated interrupt */
	put_le32(expected + 192, 0x2001); /* connection id: relid and SINT 2 */
	message = expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	assert_memory_equal(message->bytes, expected, 196);

	memset(expected + 24, 0xbb, 16);
	expected[184] = 2;
	put_le32(expected + 192, 0x2002);
	message = expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	assert_memory_equal(message->bytes, expected, 196);
	EXPECT_BYTES(&s->guest, 4, 0, 0, 0, 0, 0, 0, 0);
	EXPECT_NOTHING(&s->guest);
	/* Offers are given once a connection. */
	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
	EXPECT_NOTHING(&s->guest);
}

static void a_device_added_later_is_offered_at_once(void **state)
{
	struct setup *s = *state;
	struct fake_device late;

	connect_guest(&s->guest, 0x50003);
	fake_device_init(&late);
	assert_int_equal(fake_device_add(&late, &s->guest, 0xaa), -EEXIST);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(fake_device_add(&late, &s->guest, 0xcc), 0);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 3);
	fake_device_fini(&late);
}

static void unload_is_answered_after_everything_is_closed(void **state)
{
	struct setup *s = *state;
	struct vmbus_server_counts counts;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_gpadl(&s->guest, 1, 0xe1e11, 1000, 200);
	expect(&s->guest, VMBUS_GPADL_CREATED, 20);
	s->device.later = true;
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	vmbus_server_get_counts(s->guest.server, &counts);
	assert_int_equal(counts.open, 1);
	assert_int_equal(counts.gpadls, 2);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer_all(&s->device);
	EXPECT_BYTES(&s->guest, 17, 0, 0, 0, 0, 0, 0, 0);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->guest.cleanings, 1);
	assert_int_equal(s->device.total[FAKE_CLOSE], 1);
	assert_int_equal(s->device.total[FAKE_GPADL_TEARDOWN], 2);
	vmbus_server_get_counts(s->guest.server, &counts);
	assert_int_equal(counts.version + counts.offered + counts.open + counts.gpadls, 0);
	s->device.later = false;
	connect_guest(&s->guest, 0x50003);
	open_first(s);
}

static void a_guest_that_was_never_connected_may_unload(void **state)
{
	struct setup *s = *state;

	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	EXPECT_BYTES(&s->guest, 17, 0, 0, 0, 0, 0, 0, 0);
}

static void a_crash_kernel_finds_a_clean_bus(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_gpadl(&s->guest, 2, 77, 4, 200);
	expect(&s->guest, VMBUS_GPADL_CREATED, 20);
	s->device.later = true;
	/* No unload: the new kernel just says hello, from another VP. */
	guest_send_contact(&s->guest, 0x50001, 2);
	EXPECT_NOTHING(&s->guest);
	/* What the old one still had on its way is dropped. */
	guest_send_open(&s->guest, 2, 77, 2, 0);
	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
	EXPECT_NOTHING(&s->guest);
	fake_device_answer_all(&s->device);
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->vp, 2);
	EXPECT_NOTHING(&s->guest);
	s->device.later = false;
	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
	assert_int_equal(get_le32(expect(&s->guest, VMBUS_OFFER_CHANNEL, 196)->bytes + 184), 1);
	expect(&s->guest, VMBUS_OFFER_CHANNEL, 196);
	expect(&s->guest, VMBUS_ALL_OFFERS_DELIVERED, 8);
	open_first(s); /* the same GPADL id again */
}

static void the_last_of_several_contacts_is_answered(void **state)
{
	struct setup *s = *state;
	struct vmbus_server_counts counts;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	s->device.later = true;
	guest_send_empty(&s->guest, VMBUS_UNLOAD);
	guest_send_contact(&s->guest, 0x50003, 1);
	guest_send_contact(&s->guest, 0x40000, 3);
	fake_device_answer_all(&s->device);
	expect(&s->guest, VMBUS_UNLOAD_RESPONSE, 8);
	assert_int_equal(expect(&s->guest, VMBUS_VERSION_RESPONSE, 16)->vp, 3);
	EXPECT_NOTHING(&s->guest);
	vmbus_server_get_counts(s->guest.server, &counts);
	assert_int_equal(counts.version, 0x40000);
}

static void a_reset_is_silent_and_cleans_up(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	guest_send_gpadl(&s->guest, 1, 5, 20, 0);
	expect(&s->guest, VMBUS_GPADL_CREATED, 20);
	s->device.later = true;
	guest_send_empty(&s->guest, VMBUS_UNLOAD); /* nobody is left to hear the answer */
	vmbus_server_reset(s->guest.server);
	assert_int_equal(s->guest.cleanings, 0);
	fake_device_answer_all(&s->device);
	assert_int_equal(s->guest.cleanings, 1);
	EXPECT_NOTHING(&s->guest);
	vmbus_server_reset(s->guest.server);
	assert_int_equal(s->guest.cleanings, 2);
	EXPECT_NOTHING(&s->guest);
}

static void hyperv_sockets_are_refused(void **state)
{
	struct setup *s = *state;
	uint8_t request[40] = {21};
	const struct fake_message *message;

	memset(request + 8, 0x11, 16);
	memset(request + 24, 0x22, 16);
	connect_guest(&s->guest, 0x40000);
	guest_send(&s->guest, request, sizeof(request));
	EXPECT_NOTHING(&s->guest);
	connect_guest(&s->guest, 0x50003);
	guest_send(&s->guest, request, sizeof(request));
	message = expect(&s->guest, VMBUS_TL_CONNECT_RESULT, 44);
	assert_memory_equal(message->bytes + 8, request + 8, 32);
	assert_int_equal(get_le32(message->bytes + 40), 0xc0000236);
}

static void messages_before_the_contact_are_dropped(void **state)
{
	struct setup *s = *state;

	guest_send_empty(&s->guest, VMBUS_REQUEST_OFFERS);
	guest_send_gpadl(&s->guest, 1, 1, 100, 0);
	guest_send_open(&s->guest, 1, 1, 4, 0);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	guest_send_relid(&s->guest, VMBUS_RELID_RELEASED, 1);
	guest_send_modify(&s->guest, 1, 0);
	guest_send_teardown(&s->guest, 1, 1);
	EXPECT_NOTHING(&s->guest);
	assert_int_equal(s->device.total[FAKE_GPADL_CREATED], 0);
}

/* Every type at every length: too short is dropped, no look past the end (a sanitizer watches), too
 * long is dropped. */
static void short_and_long_messages_are_dropped(void **state)
{
	struct setup *s = *state;
	static const uint8_t min[25] = {
		[3] = 8,   [5] = 148, [7] = 12, [8] = 20,  [9] = 16, [11] = 16,
		[13] = 12, [14] = 40, [16] = 8, [21] = 40, [22] = 16};
	uint8_t message[300];

	for (uint32_t type = 0; type < 40; type++) {
		for (size_t length = 0; length < sizeof(message); length++) {
			bool whole = type < 25 && min[type] && length >= min[type] && length <= 240;

			if (whole && (type == VMBUS_INITIATE_CONTACT || type == VMBUS_UNLOAD ||
				      type == VMBUS_REQUEST_OFFERS))
				continue;
			connect_guest(&s->guest, 0x50003);
			memset(message, 0, sizeof(message));
			put_le32(message, type);
			guest_send(&s->guest, message, length);
			if (!whole)
				EXPECT_NOTHING(&s->guest);
			while (fake_guest_next(&s->guest))
				;
		}
	}
	put_le32(message, UINT32_MAX);
	guest_send(&s->guest, message, 8);
	EXPECT_NOTHING(&s->guest);
}

static void destroying_a_busy_server_leaks_nothing(void **state)
{
	struct setup *s = *state;

	connect_guest(&s->guest, 0x50003);
	open_first(s);
	s->device.later = true;
	guest_send_gpadl(&s->guest, 1, 1, 100, 0);
	assert_int_equal(vmbus_device_offer_sub_channels(s->device.handle, 3), 0);
	guest_send_relid(&s->guest, VMBUS_CLOSE_CHANNEL, 1);
	vmbus_server_destroy(NULL);
	/* clean_up() destroys; LeakSanitizer gives the verdict. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(linux_is_answered_on_the_vp_it_named),
		TEST(every_version_since_windows_8_is_spoken),
		TEST(other_versions_are_refused_and_leave_no_connection),
		TEST(another_sint_than_ours_is_refused),
		TEST(a_vp_that_does_not_exist_becomes_vp_0),
		TEST(unknown_message_ports_are_told_apart),
		TEST(offers_are_as_linux_reads_them),
		TEST(a_device_added_later_is_offered_at_once),
		TEST(unload_is_answered_after_everything_is_closed),
		TEST(a_guest_that_was_never_connected_may_unload),
		TEST(a_crash_kernel_finds_a_clean_bus),
		TEST(the_last_of_several_contacts_is_answered),
		TEST(a_reset_is_silent_and_cleans_up),
		TEST(hyperv_sockets_are_refused),
		TEST(messages_before_the_contact_are_dropped),
		TEST(short_and_long_messages_are_dropped),
		TEST(destroying_a_busy_server_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
