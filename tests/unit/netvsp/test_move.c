/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vNIC moves from one netvspd to another: the guest's memory, rings and driver go on while the
 * vNIC behind them is saved here and made anew there. What a guest or the wire must see is checked
 * at the guest and on the wires; each frame and each completion exactly once.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "tests/fake_guest/fake_space.h"
#include "tests/unit/netvsp/frames.h"
#include "tests/unit/netvsp/netvspd_fixture.h"

#define WAIT_MS	 20000
#define QUIET_MS 100
#define FRAMES	 2000 /* numbered, most of a test */

static const uint8_t wire_host[6] = {0x02, 0, 0, 0, 0x99, 0x99};
static uint8_t frame[FRAME_MAX];

struct move_fixture {
	struct netvspd_fixture *here;
	struct netvspd_fixture *there;
};

static int setup(void **state)
{
	static struct move_fixture fixture;

	*state = &fixture;
	return netvspd_setup((void **)&fixture.here) || netvspd_setup((void **)&fixture.there) ? -1
											       : 0;
}

static int teardown(void **state)
{
	struct move_fixture *fixture = *state;
	int there = netvspd_teardown((void **)&fixture->there);

	return netvspd_teardown((void **)&fixture->here) | there;
}

static const struct fake_netvsc_config linux_driver = {.flavour = FAKE_LINUX};
static const struct fake_netvsc_config four_channels = {
	.flavour = FAKE_LINUX, .channels = 4, .recv_pages = 512};

static struct test_guest *start(struct netvspd_fixture *where, uint8_t last,
				const struct fake_netvsc_config *driver)
{
	struct test_guest *guest =
		test_guest_start(where, last == 1 ? "a/nic0" : "b/nic0", last, driver, 0);

	assert_non_null(guest);
	return guest;
}

static struct frame_spec numbered(const uint8_t *from, const uint8_t *to, uint32_t number)
{
	struct frame_spec spec = {.source_port = (uint16_t)(1000 + number % 32),
				  .destination_port = 2000,
				  .sequence = number,
				  .tcp_flags = 0x18,
				  .payload_bytes = 40 + number % 900,
				  .checksums = true};

	memcpy(spec.source, from, 6);
	memcpy(spec.destination, to, 6);
	return spec;
}

/* ---- the wire and the guest, with numbered frames ---- */

static void put_numbered(struct netvspd_fixture *where, const struct test_guest *guest,
			 uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct frame_spec spec = numbered(wire_host, test_guest_mac(guest), i);

		wire_put(where, frame, frame_build(&spec, frame), 0);
	}
}

static void send_numbered(struct test_guest *guest, uint32_t channels, uint32_t first,
			  uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct frame_spec spec = numbered(test_guest_mac(guest), wire_host, i);
		struct fake_tx tx = {.frame = frame, .length = frame_build(&spec, frame)};
		enum fake_way way = i % 3 == 0	 ? FAKE_SECTION
				    : i % 3 == 1 ? FAKE_PAGES
						 : FAKE_MIXED;
		int rc = -EAGAIN;

		for (int try = 0; try < 2000 && rc == -EAGAIN; try++) {
			rc = fake_netvsc_send(test_guest_driver(guest), i % channels, way, &tx, 1);
			if (rc == -EAGAIN)
				fake_netvsc_poll(test_guest_driver(guest), 10);
		}
		assert_int_equal(rc, 0);
	}
}

struct tally {
	uint8_t seen[FRAMES];
	uint32_t count;
};

static void tally_frame(struct tally *tally, const uint8_t *bytes, size_t length)
{
	struct frame_seen seen;

	if (length > 16 && get_be16(bytes + 12) == 0x8035)
		return;
	assert_true(frame_read(bytes, length, &seen));
	assert_true(seen.ip_checksum_good && seen.l4_checksum_good);
	assert_in_range(seen.sequence, 0, FRAMES - 1);
	assert_int_equal(tally->seen[seen.sequence], 0);
	tally->seen[seen.sequence] = 1;
	tally->count++;
}

/* Takes from the guest until there were count in all. */
static void tally_guest(struct tally *tally, struct test_guest *guest, uint32_t count)
{
	while (tally->count < count) {
		const struct test_frame *got = test_guest_take(guest, WAIT_MS);

		if (!got) {
			fail_msg("%u of %u frames, %s", tally->count, count,
				 fake_netvsc_violation(test_guest_driver(guest)));
			return;
		}
		tally_frame(tally, got->bytes, got->rx.length);
	}
	assert_null(test_guest_take(guest, QUIET_MS));
}

static void tally_wire(struct tally *tally, struct netvspd_fixture *where, int timeout_ms)
{
	size_t length;

	while ((length = wire_take(where, frame, sizeof(frame), timeout_ms)) > 0)
		tally_frame(tally, frame, length);
}

static void assert_sound(struct test_guest *guest)
{
	const struct fake_netvsc_counts *counts = fake_netvsc_counts(test_guest_driver(guest));

	assert_int_equal(fake_netvsc_drain(test_guest_driver(guest), WAIT_MS), 0);
	assert_int_equal(counts->tx_completed, counts->tx_sent);
	if (fake_netvsc_violation(test_guest_driver(guest)))
		fail_msg("%s", fake_netvsc_violation(test_guest_driver(guest)));
}

static void arrive(struct test_guest *guest, struct netvspd_fixture *where)
{
	uint64_t size = 0;
	int state_fd = -1;

	assert_int_equal(vsp_guest_save(test_guest_vsp(guest), &state_fd, &size), 0);
	assert_int_equal(
		vsp_guest_arrive(test_guest_vsp(guest), netvspd_socket(where), state_fd, size), 0);
	close(state_fd);
}

/* Hands late frames on, until none has come for a while. Returns how many. */
static uint32_t follow(struct test_guest *guest, int timeout_ms)
{
	uint32_t count = 0;
	size_t length;

	while ((length = vsp_guest_take_late(test_guest_vsp(guest), frame, sizeof(frame),
					     timeout_ms)) > 0) {
		assert_int_equal(vsp_guest_inject(test_guest_vsp(guest), frame, length), 0);
		fake_netvsc_poll(test_guest_driver(guest), 0);
		count++;
	}
	return count;
}

/* The whole receive buffer can be lent again: no section was lost, none is there twice. */
static void assert_all_sections_there(struct netvspd_fixture *where, struct test_guest *guest)
{
	struct fake_netvsc *driver = test_guest_driver(guest);
	uint32_t count = fake_netvsc_info(driver)->recv_section_count;
	struct tally tally = {0};

	fake_netvsc_poll(driver, QUIET_MS);
	usleep(50000); /* the last completions are on their way */
	fake_netvsc_hold(driver, true);
	assert_in_range(count, 1, FRAMES - 1);
	put_numbered(where, guest, 0, count);
	tally_guest(&tally, guest, count);
	fake_netvsc_hold(driver, false);
}

/* ---- the move ---- */

static void every_frame_and_completion_comes_once_over_a_move(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);
	struct fake_netvsc *driver = test_guest_driver(guest);
	static struct tally received, sent;

	memset(&received, 0, sizeof(received));
	memset(&sent, 0, sizeof(sent));
	/* Some received frames are held by the guest, some wait in its rings, some come while it
	 * is away. Some that it sent have been taken, others wait in the ring. */
	fake_netvsc_hold(driver, true);
	put_numbered(fixture->here, guest, 0, 100);
	tally_guest(&received, guest, 100);
	put_numbered(fixture->here, guest, 100, 200);
	send_numbered(guest, 4, 0, 60);
	arrive(guest, fixture->there);
	put_numbered(fixture->here, guest, 300, 150);
	send_numbered(guest, 4, 60, 20); /* nobody looks at the rings */
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	put_numbered(fixture->here, guest, 450, 50);
	put_numbered(fixture->there, guest, 500, 100);
	assert_in_range(follow(guest, 500), 200, 200);
	fake_netvsc_hold(driver, false);
	tally_guest(&received, guest, 600);
	send_numbered(guest, 4, 80, 100);
	assert_sound(guest);
	tally_wire(&sent, fixture->here, 0);
	tally_wire(&sent, fixture->there, QUIET_MS);
	assert_int_equal(sent.count, 180);
	assert_all_sections_there(fixture->there, guest);
	assert_sound(guest);
	test_guest_stop(guest);
}

/* Nothing is read back: completions and received frames fill the ring, more frames wait behind. */
static void full_rings_move(void **state)
{
	struct move_fixture *fixture = *state;
	struct fake_netvsc_config driver = {
		.flavour = FAKE_LINUX, .recv_pages = 512, .ring_pages = 3};
	struct test_guest *guest = start(fixture->here, 1, &driver);
	static struct tally received, sent;
	uint32_t posted = 0;

	memset(&received, 0, sizeof(received));
	memset(&sent, 0, sizeof(sent));
	for (; posted < 400; posted++) {
		struct frame_spec spec = numbered(test_guest_mac(guest), wire_host, posted);
		struct fake_tx tx = {.frame = frame, .length = frame_build(&spec, frame)};

		/* The ring is full where two tries, far apart, find no room. */
		if (fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1) == 0)
			continue;
		usleep(100000);
		if (fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1) != 0)
			break;
	}
	assert_in_range(posted, 50, 399);
	arrive(guest, fixture->there);
	put_numbered(fixture->here, guest, 0, 64);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_sound(guest); /* drains */
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	assert_int_equal(follow(guest, 500), 64);
	tally_guest(&received, guest, 64);
	tally_wire(&sent, fixture->here, 0);
	tally_wire(&sent, fixture->there, QUIET_MS);
	assert_int_equal(sent.count, posted);
	put_numbered(fixture->there, guest, 64, 64);
	tally_guest(&received, guest, 128);
	test_guest_stop(guest);
}

static void guest_moves_back_and_forth(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);
	static struct tally received, sent;
	uint32_t number = 0;

	memset(&received, 0, sizeof(received));
	memset(&sent, 0, sizeof(sent));
	for (int i = 0; i < 12; i++) {
		struct netvspd_fixture *from = i % 2 ? fixture->there : fixture->here;
		struct netvspd_fixture *to = i % 2 ? fixture->here : fixture->there;

		put_numbered(from, guest, number, 20);
		send_numbered(guest, 4, number, 20);
		/* The last move's old connection is still there: it is no obstacle. */
		arrive(guest, to);
		put_numbered(from, guest, number + 20, 10);
		assert_int_equal(
			vsp_guest_resume(test_guest_vsp(guest), i % 3 ? VSP_RESUME_ANNOUNCE : 0),
			0);
		assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
		assert_int_equal(follow(guest, 200), 10);
		put_numbered(to, guest, number + 30, 5);
		tally_guest(&received, guest, number / 50 * 35 + 35);
		tally_wire(&sent, from, 0);
		tally_wire(&sent, to, 0);
		number += 50;
	}
	assert_sound(guest);
	tally_wire(&sent, fixture->here, QUIET_MS);
	tally_wire(&sent, fixture->there, QUIET_MS);
	assert_int_equal(sent.count, 12 * 20);
	assert_all_sections_there(fixture->here, guest);
	test_guest_stop(guest);
}

static void move_that_is_given_up_goes_on_here(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);
	static struct tally received, sent;
	uint64_t size = 0;
	int state_fd = -1;

	memset(&received, 0, sizeof(received));
	memset(&sent, 0, sizeof(sent));
	put_numbered(fixture->here, guest, 0, 50);
	assert_int_equal(vsp_guest_save(test_guest_vsp(guest), &state_fd, &size), 0);
	close(state_fd);
	send_numbered(guest, 4, 0, 30);
	put_numbered(fixture->here, guest, 50, 100);
	assert_int_equal(wire_take(fixture->here, frame, sizeof(frame), QUIET_MS), 0);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	tally_guest(&received, guest, 150);
	assert_sound(guest);
	tally_wire(&sent, fixture->here, QUIET_MS);
	assert_int_equal(sent.count, 30);
	assert_all_sections_there(fixture->here, guest);
	test_guest_stop(guest);
}

/* What a vNIC at rest may touch of the guest: nothing. */
static void guest_memory_is_still_while_the_nic_rests(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);
	struct fake_space *space = vsp_guest_space(test_guest_vsp(guest));
	uint8_t *before = malloc(space->size_bytes), *after = malloc(space->size_bytes);
	uint64_t size = 0;
	int state_fd = -1;

	assert_true(before && after);
	put_numbered(fixture->here, guest, 0, 50);
	assert_int_equal(vsp_guest_save(test_guest_vsp(guest), &state_fd, &size), 0);
	close(state_fd);
	send_numbered(guest, 4, 0, 10);
	assert_int_equal(pread(space->fd, before, space->size_bytes, 0), space->size_bytes);
	put_numbered(fixture->here, guest, 50, 200);
	usleep(200000);
	assert_int_equal(pread(space->fd, after, space->size_bytes, 0), space->size_bytes);
	assert_memory_equal(before, after, space->size_bytes);
	free(before);
	free(after);
	test_guest_kill(guest);
}

static void incoming_nic_neither_sends_nor_receives_before_it_is_resumed(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);

	arrive(guest, fixture->there);
	put_numbered(fixture->there, guest, 0, 10);
	send_numbered(guest, 4, 0, 10);
	assert_int_equal(wire_take(fixture->there, frame, sizeof(frame), QUIET_MS), 0);
	assert_null(test_guest_take(guest, QUIET_MS));
	test_guest_kill(guest);
}

static void incoming_nic_with_an_address_in_use_is_refused(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct test_guest *other = start(fixture->there, 1, &linux_driver);
	uint64_t size = 0;
	int state_fd = -1;

	assert_int_equal(vsp_guest_save(test_guest_vsp(guest), &state_fd, &size), 0);
	assert_int_equal(vsp_guest_arrive(test_guest_vsp(guest), netvspd_socket(fixture->there),
					  state_fd, size),
			 -EEXIST);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	close(state_fd);
	test_guest_stop(guest);
	test_guest_stop(other);
}

/* Thousands of sections held in a receive buffer of Linux's size. */
static void large_state_moves(void **state)
{
	struct move_fixture *fixture = *state;
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .channels = 4};
	struct test_guest *guest = start(fixture->here, 1, &driver);
	static struct tally received;

	memset(&received, 0, sizeof(received));
	fake_netvsc_hold(test_guest_driver(guest), true);
	put_numbered(fixture->here, guest, 0, FRAMES);
	tally_guest(&received, guest, FRAMES);
	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	fake_netvsc_hold(test_guest_driver(guest), false);
	memset(&received, 0, sizeof(received));
	put_numbered(fixture->there, guest, 0, 100);
	tally_guest(&received, guest, 100);
	assert_sound(guest);
	test_guest_stop(guest);
}

static void answers_that_wait_for_room_are_given_after_the_move(void **state)
{
	static const struct rndis_request keepalive = {
		.header = {.type = RNDIS_KEEPALIVE, .length = sizeof(keepalive)},
		.request_id = 0x1234,
	};
	struct move_fixture *fixture = *state;
	struct fake_netvsc_config driver = {.flavour = FAKE_LINUX, .recv_pages = 32};
	struct test_guest *guest = start(fixture->here, 1, &driver);
	struct fake_netvsc *nv = test_guest_driver(guest);
	/* One id less than there are sections. */
	uint32_t most = fake_netvsc_info(nv)->recv_section_count - 1;
	static struct tally received;

	/* All transactions are held, so there is none for an answer. */
	memset(&received, 0, sizeof(received));
	fake_netvsc_hold(nv, true);
	put_numbered(fixture->here, guest, 0, most);
	tally_guest(&received, guest, most);
	assert_int_equal(fake_netvsc_post_rndis(nv, &keepalive, sizeof(keepalive)), 0);
	usleep(100000);
	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	fake_netvsc_hold(nv, false);
	assert_int_equal(fake_netvsc_await_rndis(nv), 0);
	assert_sound(guest);
	test_guest_stop(guest);
}

static void ring_that_the_guest_broke_does_not_keep_it_from_moving(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);

	fake_netvsc_break_ring(test_guest_driver(guest), 0, 0x13);
	arrive(guest, fixture->there);
	put_numbered(fixture->there, guest, 0, 10);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), VSP_RESUME_ANNOUNCE), 0);
	put_numbered(fixture->there, guest, 10, 10);
	usleep(100000);
	test_guest_kill(guest);
}

/* ---- announcements ---- */

static void arrival_is_announced_to_the_wire_and_once_to_the_guest(void **state)
{
	/* RFC 903: broadcast, request reverse, both hardware addresses ours. */
	static const uint8_t expected[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x15, 0x5d, 0,    0,	  1, 0x80, 0x35,
		0,    1,    0x08, 0,	6,    4,    0,	  3,	0x02, 0x15, 0x5d, 0, 0,	   1,
		0,    0,    0,	  0,	0x02, 0x15, 0x5d, 0,	0,    1,    0,	  0, 0,	   0};
	static const uint64_t due_ms[] = {0, 50, 150, 300, 600};
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct test_guest *local = start(fixture->there, 2, &linux_driver);
	uint64_t start_ns, indications;

	arrive(guest, fixture->there);
	indications = fake_netvsc_counts(test_guest_driver(guest))->indications;
	start_ns = monotonic_ns();
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), VSP_RESUME_ANNOUNCE), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(due_ms); i++) {
		assert_int_equal(wire_take(fixture->there, frame, sizeof(frame), WAIT_MS), 60);
		assert_memory_equal(frame, expected, sizeof(expected));
		assert_true(monotonic_ns() - start_ns >= due_ms[i] * NS_PER_MS);
	}
	assert_int_equal(wire_take(fixture->there, frame, sizeof(frame), 400), 0);
	assert_null(test_guest_take(guest, QUIET_MS));
	assert_null(test_guest_take(local, QUIET_MS));
	assert_int_equal(fake_netvsc_counts(test_guest_driver(guest))->indications,
			 indications + 1);
	assert_int_equal(fake_netvsc_counts(test_guest_driver(guest))->last_indication,
			 RNDIS_STATUS_MEDIA_CONNECT);
	assert_sound(guest);
	test_guest_stop(guest);
	test_guest_stop(local);
}

static void nothing_is_announced_unless_asked(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	uint64_t indications = fake_netvsc_counts(test_guest_driver(guest))->indications;

	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(wire_take(fixture->there, frame, sizeof(frame), 200), 0);
	assert_null(test_guest_take(guest, QUIET_MS));
	assert_int_equal(fake_netvsc_counts(test_guest_driver(guest))->indications, indications);
	test_guest_stop(guest);
}

static void arrival_is_announced_on_the_guests_vlans(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct frame_spec spec = numbered(test_guest_mac(guest), wire_host, 1);
	struct fake_tx tx = {.frame = frame,
			     .length = frame_build(&spec, frame),
			     .has_vlan = true,
			     .vlan_tci = 0x6064};
	bool untagged = false, tagged = false;

	assert_int_equal(fake_netvsc_send(test_guest_driver(guest), 0, FAKE_SECTION, &tx, 1), 0);
	assert_true(wire_take(fixture->here, frame, sizeof(frame), WAIT_MS) > 0);
	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), VSP_RESUME_ANNOUNCE), 0);
	for (int i = 0; i < 2; i++) {
		size_t length = wire_take(fixture->there, frame, sizeof(frame), WAIT_MS);

		if (length == 60 && get_be16(frame + 12) == 0x8035)
			untagged = true;
		if (length == 64 && get_be16(frame + 12) == 0x8100 &&
		    get_be16(frame + 14) == 0x064 && get_be16(frame + 16) == 0x8035)
			tagged = true;
	}
	assert_true(untagged && tagged);
	assert_sound(guest);
	test_guest_stop(guest);
}

/* ---- late frames ---- */

static uint32_t lso_of(uint32_t mss)
{
	return mss | 34u << RNDIS_LSO_L4_SHIFT | RNDIS_LSO_V2;
}

/* A local sender leaves checksums and segments to us: a late frame must be good on any wire. */
static void late_frames_of_a_local_sender_are_whole(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct test_guest *local = start(fixture->here, 2, &linux_driver);
	struct frame_spec spec = numbered(test_guest_mac(local), test_guest_mac(guest), 7);
	struct fake_tx tx = {.frame = frame, .has_lso = true, .lso = lso_of(1400)};
	size_t done = 0;

	arrive(guest, fixture->there);
	spec.payload_bytes = 20000;
	spec.large = true;
	spec.checksums = false;
	tx.length = frame_build(&spec, frame);
	assert_int_equal(fake_netvsc_send(test_guest_driver(local), 0, FAKE_PAGES, &tx, 1), 0);
	assert_sound(local);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	while (done < spec.payload_bytes) {
		struct frame_seen seen;
		size_t length =
			vsp_guest_take_late(test_guest_vsp(guest), frame, sizeof(frame), WAIT_MS);

		assert_true(frame_read(frame, length, &seen));
		assert_true(seen.ip_checksum_good && seen.l4_checksum_good);
		assert_int_equal(seen.sequence, spec.sequence + done);
		for (size_t i = 0; i < seen.payload_bytes; i++)
			assert_int_equal(frame[seen.payload_offset + i],
					 frame_payload_byte(&spec, done + i));
		done += seen.payload_bytes;
	}
	assert_int_equal(done, spec.payload_bytes);
	test_guest_stop(guest);
	test_guest_stop(local);
}

static void late_frame_keeps_its_tag(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct frame_spec spec = numbered(wire_host, test_guest_mac(guest), 3);
	size_t length = frame_build(&spec, frame);
	uint8_t tagged[2000], late[2000];
	const struct test_frame *got;

	memcpy(tagged, frame, 12);
	put_be16(tagged + 12, 0x8100);
	put_be16(tagged + 14, 0x2005);
	memcpy(tagged + 16, frame + 12, length - 12);
	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	wire_put(fixture->here, tagged, length + 4, 0);
	assert_int_equal(vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), WAIT_MS),
			 length + 4);
	assert_memory_equal(late, tagged, length + 4);
	assert_int_equal(vsp_guest_inject(test_guest_vsp(guest), late, length + 4), 0);
	got = test_guest_take(guest, WAIT_MS);
	assert_non_null(got);
	assert_true(got->rx.has_vlan);
	assert_int_equal(got->rx.vlan_tci, 0x2005);
	assert_memory_equal(got->bytes, frame, length);
	/* To the guest, and nowhere else. */
	assert_int_equal(wire_take(fixture->there, frame, sizeof(frame), QUIET_MS), 0);
	test_guest_stop(guest);
}

static void local_guests_follow_a_departed_one_once_the_wire_knows_it(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct test_guest *local = start(fixture->here, 2, &linux_driver);
	struct frame_spec spec = numbered(test_guest_mac(local), test_guest_mac(guest), 5);
	struct frame_spec seen_there = numbered(test_guest_mac(guest), wire_host, 6);
	uint8_t late[2000], ours[2000];
	size_t length = frame_build(&spec, ours);
	struct fake_tx tx = {.frame = ours, .length = length};

	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	assert_int_equal(fake_netvsc_send(test_guest_driver(local), 0, FAKE_SECTION, &tx, 1), 0);
	assert_int_equal(vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), WAIT_MS),
			 length);
	assert_int_equal(wire_take(fixture->here, frame, sizeof(frame), QUIET_MS), 0);
	/* Its address is seen on the wire now. */
	wire_put(fixture->here, frame, frame_build(&seen_there, frame), 0);
	usleep(100000);
	assert_int_equal(fake_netvsc_send(test_guest_driver(local), 0, FAKE_SECTION, &tx, 1), 0);
	assert_int_equal(wire_take(fixture->here, frame, sizeof(frame), WAIT_MS), length);
	assert_memory_equal(frame, ours, length);
	/* What the wire still brings for it goes after it all the same. */
	put_numbered(fixture->here, guest, 8, 1);
	assert_true(vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), WAIT_MS) > 0);
	assert_int_equal(vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), QUIET_MS),
			 0);
	/* And nothing of it once the connection has ended. */
	vsp_guest_forget_old(test_guest_vsp(guest));
	test_guest_stop(guest);
	test_guest_stop(local);
}

static void held_frames_are_bounded_and_the_newest_are_dropped(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	static struct tally received;

	memset(&received, 0, sizeof(received));
	arrive(guest, fixture->there);
	put_numbered(fixture->here, guest, 0, 1500);
	usleep(100000);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	assert_int_equal(follow(guest, 500), 1024);
	tally_guest(&received, guest, 1024);
	for (uint32_t i = 0; i < 1024; i++)
		assert_int_equal(received.seen[i], 1);
	test_guest_stop(guest);
}

static void late_frames_of_a_vmwp_that_does_not_read_wait_or_are_dropped(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct test_guest *local = start(fixture->here, 2, &linux_driver);
	static struct tally received;
	uint8_t late[2000];

	arrive(guest, fixture->there);
	assert_int_equal(vsp_guest_resume(test_guest_vsp(guest), 0), 0);
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), 0);
	put_numbered(fixture->here, guest, 0, 1990);
	/* Others are served meanwhile. */
	memset(&received, 0, sizeof(received));
	put_numbered(fixture->here, local, 0, 100);
	tally_guest(&received, local, 100);
	/* And so is this one: replies find room. */
	assert_int_equal(vsp_guest_depart(test_guest_vsp(guest)), -EINVAL);
	while (vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), QUIET_MS) > 0)
		;
	put_numbered(fixture->here, guest, 1999, 1);
	assert_true(vsp_guest_take_late(test_guest_vsp(guest), late, sizeof(late), WAIT_MS) > 0);
	test_guest_stop(guest);
	test_guest_stop(local);
}

static void injected_frames_are_checked(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct vsp_guest *vsp = test_guest_vsp(guest);
	struct frame_spec spec = numbered(wire_host, test_guest_mac(guest), 1);
	size_t length = frame_build(&spec, frame);

	for (size_t cut = 0; cut < 14; cut++)
		assert_int_equal(vsp_guest_inject(vsp, frame, cut), -EINVAL);
	frame[6] |= 1; /* a group as its source */
	assert_int_equal(vsp_guest_inject(vsp, frame, length), -EINVAL);
	frame[6] &= 0xfe;
	frame[5] ^= 1; /* somebody else's */
	assert_int_equal(vsp_guest_inject(vsp, frame, length), -EINVAL);
	frame[5] ^= 1;
	assert_int_equal(vsp_guest_inject(vsp, frame, 65535), -EMSGSIZE);
	assert_null(test_guest_take(guest, QUIET_MS));
	assert_int_equal(vsp_guest_inject(vsp, frame, length), 0);
	assert_non_null(test_guest_take(guest, WAIT_MS));
	assert_sound(guest);
	test_guest_stop(guest);
}

static void requests_of_a_move_in_the_wrong_order_are_refused(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &linux_driver);
	struct vsp_guest *vsp = test_guest_vsp(guest);
	struct vsp_header header;
	struct vsp_resume resume = {.flags = 2};
	uint64_t size = 0;
	int state_fd = -1;

	assert_int_equal(vsp_guest_ask(vsp, VSP_DEPART, &header, sizeof(header), &header, 16),
			 -EINVAL);
	assert_int_equal(
		vsp_guest_ask(vsp, VSP_RESUME, &resume.header, sizeof(resume), &header, 16),
		-EINVAL);
	assert_int_equal(vsp_guest_resume(vsp, 0), 0); /* it runs */
	assert_int_equal(vsp_guest_save(vsp, &state_fd, &size), 0);
	close(state_fd);
	assert_int_equal(vsp_guest_save(vsp, &state_fd, &size), 0); /* once more */
	close(state_fd);
	assert_int_equal(vsp_guest_ask(vsp, VSP_DEPART, &header, sizeof(header), &header, 16), 0);
	assert_int_equal(vsp_guest_resume(vsp, 0), -EINVAL);
	assert_int_equal(vsp_guest_save(vsp, &state_fd, &size), -EINVAL);
	test_guest_kill(guest);
}

/* ---- hostile state ---- */

static int seal_state(const uint8_t *bytes, size_t length, int seals)
{
	int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void state_that_is_cut_or_not_sealed_is_refused(void **state)
{
	struct move_fixture *fixture = *state;
	struct test_guest *guest = start(fixture->here, 1, &four_channels);
	struct vsp_guest *vsp = test_guest_vsp(guest);
	uint8_t bytes[16384];
	uint64_t size = 0;
	int state_fd = -1, fd;

	put_numbered(fixture->here, guest, 0, 20);
	usleep(100000);
	assert_int_equal(vsp_guest_save(vsp, &state_fd, &size), 0);
	assert_in_range(size, 200, sizeof(bytes));
	assert_int_equal(pread(state_fd, bytes, sizeof(bytes), 0), size);
	fd = seal_state(bytes, size, F_SEAL_SHRINK);
	assert_int_equal(vsp_guest_arrive(vsp, netvspd_socket(fixture->there), fd, size), -EPERM);
	close(fd);
	fd = seal_state(bytes, size, F_SEAL_SHRINK | F_SEAL_WRITE);
	assert_int_equal(vsp_guest_arrive(vsp, netvspd_socket(fixture->there), fd, size + 1),
			 -EINVAL);
	assert_int_equal(vsp_guest_arrive(vsp, netvspd_socket(fixture->there), fd, 0), -EINVAL);
	assert_int_equal(
		vsp_guest_arrive(vsp, netvspd_socket(fixture->there), fd, VSP_MAX_STATE_BYTES + 1),
		-EINVAL);
	for (uint64_t cut = 1; cut < size; cut += cut < 400 ? 1 : 97) {
		int rc;

		/* The last connection may not have been noticed to be gone. */
		do {
			rc = vsp_guest_arrive(vsp, netvspd_socket(fixture->there), fd, cut);
		} while (rc == -EEXIST);
		/* Sections that can be left out may be missing. */
		if (rc == 0)
			break;
		assert_true(rc == -EPROTO || rc == -EINVAL);
	}
	close(fd);
	close(state_fd);
	test_guest_kill(guest);
}

#define move_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		move_test(every_frame_and_completion_comes_once_over_a_move),
		move_test(full_rings_move),
		move_test(guest_moves_back_and_forth),
		move_test(move_that_is_given_up_goes_on_here),
		move_test(guest_memory_is_still_while_the_nic_rests),
		move_test(incoming_nic_neither_sends_nor_receives_before_it_is_resumed),
		move_test(incoming_nic_with_an_address_in_use_is_refused),
		move_test(large_state_moves),
		move_test(answers_that_wait_for_room_are_given_after_the_move),
		move_test(ring_that_the_guest_broke_does_not_keep_it_from_moving),
		move_test(arrival_is_announced_to_the_wire_and_once_to_the_guest),
		move_test(nothing_is_announced_unless_asked),
		move_test(arrival_is_announced_on_the_guests_vlans),
		move_test(late_frames_of_a_local_sender_are_whole),
		move_test(late_frame_keeps_its_tag),
		move_test(local_guests_follow_a_departed_one_once_the_wire_knows_it),
		move_test(held_frames_are_bounded_and_the_newest_are_dropped),
		move_test(late_frames_of_a_vmwp_that_does_not_read_wait_or_are_dropped),
		move_test(injected_frames_are_checked),
		move_test(requests_of_a_move_in_the_wrong_order_are_refused),
		move_test(state_that_is_cut_or_not_sealed_is_refused),
	};

	return cmocka_run_group_tests(tests, eal_group_setup, NULL);
}
