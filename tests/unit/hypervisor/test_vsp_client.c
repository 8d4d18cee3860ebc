/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A NIC between a guest that drives the real VMBus server and a fake netvspd on a real socket: what
 * the guest does must reach netvspd, byte for byte, and what netvspd answers the guest; whatever
 * netvspd does, the guest gets an answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "hypervisor/engine.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vsp_client.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "tests/unit/vmbus/server_fixture.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "wire/vsp.h"

#define WAIT_MS 20000

/* ---- a fake engine: it notes what is connected ---- */

struct engine_partition {
	uint32_t connected; /* connection id; 0: none */
	int kick;
	struct engine_sint_fds sint[FAKE_VPS];
};

static int fake_connect(struct engine_partition *partition, uint32_t connection_id, int fd)
{
	if (partition->connected)
		return -EEXIST;
	partition->connected = connection_id;
	partition->kick = fd;
	return 0;
}

static void fake_disconnect(struct engine_partition *partition, uint32_t connection_id)
{
	if (partition->connected == connection_id)
		partition->connected = 0;
}

static int fake_sint(struct engine_partition *partition, uint32_t vp, struct engine_sint_fds *fds)
{
	if (vp >= FAKE_VPS)
		return -EINVAL;
	*fds = partition->sint[vp];
	return 0;
}

static const struct engine_ops fake_engine = {
	.name = "fake",
	.connect_event = fake_connect,
	.disconnect_event = fake_disconnect,
	.get_sint_fds = fake_sint,
};

/* ---- the fake netvspd ---- */

struct message {
	_Alignas(struct vsp_header) uint8_t bytes[4096];
	size_t length;
	int fds[8];
	size_t fd_count;
};

struct bench {
	char dir[32];
	char path[64];
	int listener;
	int peer; /* of the client */
	pthread_t thread;
	int nic_status; /* what the thread answers to VSP_NIC */
	struct message memory_message;
	struct message nic_message;
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct fake_guest guest;
	struct engine_partition engine;
	struct vm_nic_config nic;
	struct vsp_client *client;
	struct vm_error error;
};

static struct bench bench;

static const struct vsp_header *header_of(const struct message *message)
{
	return (const struct vsp_header *)message->bytes;
}

static void fds_close(struct message *message)
{
	for (size_t i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

/* The next message, while the client's loop runs (or not, from the thread). False: none came. */
static bool peer_receive(struct message *message, bool run_loop)
{
	struct pollfd poll_fd = {.fd = bench.peer, .events = POLLIN};
	ssize_t length;

	for (int waited = 0; waited < WAIT_MS; waited += 5) {
		if (run_loop)
			event_loop_run_once(bench.loop, 0);
		if (poll(&poll_fd, 1, 5) <= 0)
			continue;
		length = fd_passing_receive(bench.peer, message->bytes, sizeof(message->bytes),
					    message->fds, 8, &message->fd_count);
		if (length <= 0)
			return false;
		message->length = (size_t)length;
		return true;
	}
	return false;
}

static void peer_send(const void *message, size_t length)
{
	assert_int_equal(fd_passing_send(bench.peer, message, length, NULL, 0), 0);
}

static int peer_reply_raw(const struct message *request, int status)
{
	struct vsp_hello reply = {.header = *header_of(request), .version = VSP_VERSION};

	reply.header.type |= VSP_REPLY;
	reply.header.status = status;
	reply.header.size_bytes = header_of(request)->type == VSP_HELLO
					  ? (uint32_t)sizeof(reply)
					  : (uint32_t)sizeof(reply.header);
	return fd_passing_send(bench.peer, &reply, reply.header.size_bytes, NULL, 0);
}

static void run(void)
{
	for (int i = 0; i < 6; i++)
		assert_int_equal(event_loop_run_once(bench.loop, 1), 0);
}

static void peer_reply(const struct message *request, int status)
{
	assert_int_equal(peer_reply_raw(request, status), 0);
	run();
}

/* What the client asks for by itself, once a second or when it has a channel. */
static bool asked_by_itself(uint32_t type)
{
	return type == VSP_STATS || type == VSP_JOURNAL || type == VSP_PORTALS;
}

/* Receives what must be a request of that type, whole. */
static void peer_expect(struct message *message, uint32_t type, size_t length)
{
	do {
		fds_close(message);
		assert_true(peer_receive(message, true));
	} while (header_of(message)->type != type && asked_by_itself(header_of(message)->type));
	assert_int_equal(header_of(message)->type, type);
	assert_int_equal(header_of(message)->size_bytes, message->length);
	assert_int_equal(message->length, length);
}

/* Accepts, and answers HELLO, MEMORY and NIC. */
static void *peer_thread(void *argument)
{
	struct pollfd poll_fd = {.fd = bench.listener, .events = POLLIN};
	struct message hello = {0};

	(void)argument;
	if (poll(&poll_fd, 1, WAIT_MS) <= 0)
		return NULL;
	bench.peer = accept(bench.listener, NULL, NULL);
	if (!peer_receive(&hello, false) || peer_reply_raw(&hello, 0) ||
	    !peer_receive(&bench.memory_message, false) ||
	    peer_reply_raw(&bench.memory_message, 0) || !peer_receive(&bench.nic_message, false))
		return NULL;
	peer_reply_raw(&bench.nic_message, bench.nic_status);
	return NULL;
}

/* ---- fixture ---- */

static int setup(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	strcpy(bench.dir, "/tmp/lunar-vsp-XXXXXX");
	if (!mkdtemp(bench.dir) || event_loop_create(&bench.loop) ||
	    signal_table_init(&bench.signals, -1))
		return -1;
	snprintf(bench.path, sizeof(bench.path), "%s/vsp.sock", bench.dir);
	bench.listener = unix_socket_listen(bench.path, SOCK_SEQPACKET);
	bench.peer = -1;
	bench.memory = fixture_memory(64);
	fake_guest_init(&bench.guest);
	for (uint32_t vp = 0; vp < FAKE_VPS; vp++)
		bench.engine.sint[vp].raise = eventfd(0, EFD_NONBLOCK);
	bench.nic = (struct vm_nic_config){
		.mac = {2, 0, 0, 0, 0, 7},
		.instance_id = {0xaa, 0xbb},
		.mtu = 9000,
		.spoof_guard = true,
		.queues = 4,
		.vsp_socket = bench.path,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vsp_client_destroy(bench.client);
	fake_guest_fini(&bench.guest);
	for (uint32_t vp = 0; vp < FAKE_VPS; vp++)
		close(bench.engine.sint[vp].raise);
	fds_close(&bench.memory_message);
	fds_close(&bench.nic_message);
	if (bench.peer >= 0)
		close(bench.peer);
	if (bench.listener >= 0)
		close(bench.listener);
	signal_table_fini(&bench.signals);
	guest_memory_destroy(bench.memory);
	event_loop_destroy(bench.loop);
	unlink(bench.path);
	return rmdir(bench.dir);
}

static int client_create(bool must_reach)
{
	const struct vsp_client_config config = {
		.vm_name = "vm0",
		.nic_index = 1,
		.nic = &bench.nic,
		.loop = bench.loop,
		.memory = bench.memory,
		.signals = &bench.signals,
		.vp_count = FAKE_VPS,
		.server = bench.guest.server,
		.engine = &fake_engine,
		.partition = &bench.engine,
	};

	return vsp_client_create(&config, must_reach, &bench.client, &bench.error);
}

static int setup_connected(void **state)
{
	int result = setup(state);

	if (!result)
		result = -pthread_create(&bench.thread, NULL, peer_thread, NULL);
	if (!result) {
		result = client_create(true);
		pthread_join(bench.thread, NULL);
	}
	return result;
}

/* The next message to the guest of that type, NULL where there is none; others are passed over. */
static const void *guest_next(uint32_t type)
{
	const struct fake_message *message;

	while ((message = fake_guest_next(&bench.guest)))
		if (((const struct vmbus_message_header *)message->bytes)->type == type)
			return message->bytes;
	return NULL;
}

static const void *guest_expect(uint32_t type)
{
	const void *message = guest_next(type);

	if (!message)
		fail_msg("the guest got no message of type %u", type);
	return message;
}

/* The same, for what comes in its time. */
static const void *guest_waits_for(uint32_t type)
{
	const void *message = NULL;

	for (int i = 0; i < WAIT_MS / 10 && !(message = guest_next(type)); i++)
		event_loop_run_once(bench.loop, 10);
	assert_non_null(message);
	return message;
}

static const struct vmbus_offer_channel *guest_finds_nic(void)
{
	guest_send_contact(&bench.guest, VMBUS_VERSION_5_3, 0);
	guest_send_empty(&bench.guest, VMBUS_REQUEST_OFFERS);
	return guest_expect(VMBUS_OFFER_CHANNEL);
}

/* The guest lends 8 pages as GPADL 5, netvspd takes them. Returns the NIC's relid. */
static uint32_t guest_lends_ring(void)
{
	struct message add = {0};
	uint32_t relid = guest_finds_nic()->relid;

	guest_send_gpadl(&bench.guest, relid, 5, 8, 16);
	peer_expect(&add, VSP_GPADL_ADD, offsetof(struct vsp_gpadl_add, ranges) + 72);
	peer_reply(&add, 0);
	return relid;
}

static uint32_t guest_opens_channel(struct message *open)
{
	uint32_t relid = guest_lends_ring();

	guest_send_open(&bench.guest, relid, 5, 4, 1);
	peer_expect(open, VSP_CHANNEL_OPEN, sizeof(struct vsp_channel_open));
	return relid;
}

static struct vm_nic_status status_now(void)
{
	struct vm_nic_status status;

	vsp_client_get_status(bench.client, &status);
	return status;
}

/* Whether fd is the same eventfd as own: what is written to one is read from the other. */
static bool same_eventfd(int fd, int own)
{
	uint64_t value = 41;

	return write(fd, &value, sizeof(value)) == sizeof(value) &&
	       read(own, &value, sizeof(value)) == sizeof(value) && value == 41;
}

/* ---- the tests ---- */

static void absent_netvspd_is_one_line_and_its_own_exit_code(void **state)
{
	char expected[256];

	(void)state;
	close(bench.listener);
	bench.listener = -1;
	assert_int_equal(client_create(true), -ECONNREFUSED);
	assert_int_equal(bench.error.code, EXIT_NO_SWITCH);
	snprintf(expected, sizeof(expected),
		 "netvspd is not running (nobody listens on %s): start it, or take the NICs out of "
		 "the VM's definition",
		 bench.path);
	assert_string_equal(bench.error.message, expected);
}

static void refused_nic_says_that_the_mac_is_in_use(void **state)
{
	(void)state;
	bench.nic_status = -EEXIST;
	assert_int_equal(pthread_create(&bench.thread, NULL, peer_thread, NULL), 0);
	assert_int_equal(client_create(true), -EEXIST);
	pthread_join(bench.thread, NULL);
	assert_int_equal(bench.error.code, EXIT_NO_SWITCH);
	assert_string_equal(bench.error.message,
			    "netvspd refuses vm0/nic1: its MAC or name is in use on this switch");
}

static void nic_is_described_as_configured(void **state)
{
	const struct vsp_nic *nic = (const void *)bench.nic_message.bytes;

	(void)state;
	assert_int_equal(nic->header.size_bytes, sizeof(*nic));
	assert_string_equal(nic->name, "vm0/nic1");
	assert_memory_equal(nic->mac, "\x02\0\0\0\0\x07", 6);
	assert_int_equal(nic->mtu, 9000);
	assert_int_equal(nic->flags, VSP_NIC_SPOOF_GUARD);
	assert_int_equal(nic->max_channels, 4);
}

static void memory_goes_with_its_fds(void **state)
{
	const struct vsp_memory *memory = (const void *)bench.memory_message.bytes;
	struct guest_memory_region region;
	struct guest_memory *theirs;
	uint32_t seen = 0;

	(void)state;
	assert_int_equal(memory->vp_count, FAKE_VPS);
	assert_int_equal(memory->region_count, 1);
	assert_int_equal(bench.memory_message.fd_count, 3);
	region = (struct guest_memory_region){
		.gpa = memory->regions[0].gpa,
		.size_bytes = memory->regions[0].size_bytes,
		.fd_offset = memory->regions[0].fd_offset,
		.fd = bench.memory_message.fds[2],
	};
	assert_int_equal(guest_memory_create(&region, 1, bench.memory_message.fds[0], &theirs), 0);
	assert_int_equal(guest_memory_write(bench.memory, 0x2000, "\x12\x34\x56\x78", 4), 0);
	assert_int_equal(guest_memory_read(theirs, 0x2000, &seen, 4), 0);
	assert_int_equal(seen, 0x78563412);
	guest_memory_destroy(theirs);
}

static void guest_is_offered_a_nic_with_its_instance(void **state)
{
	static const uint8_t nic_type[16] = VMBUS_INTERFACE_NIC;
	const struct vmbus_offer_channel *offer = guest_finds_nic();

	(void)state;
	assert_memory_equal(offer->interface_type, nic_type, 16);
	assert_memory_equal(offer->interface_id, bench.nic.instance_id, 16);
	assert_int_equal(status_now().link, VM_NIC_CONNECTED);
}

static void gpadl_reaches_netvspd_and_its_answer_the_guest(void **state)
{
	struct message add = {0};
	const struct vsp_gpadl_add *request = (const void *)add.bytes;
	const struct vmbus_gpadl_created *created;
	uint32_t relid = guest_finds_nic()->relid;
	uint64_t gpn;

	(void)state;
	guest_send_gpadl(&bench.guest, relid, 0x77, 3, 20);
	peer_expect(&add, VSP_GPADL_ADD, offsetof(struct vsp_gpadl_add, ranges) + 32);
	assert_int_equal(request->gpadl_id, 0x77);
	assert_int_equal(request->range_count, 1);
	memcpy(&gpn, request->ranges + 8 + 16, sizeof(gpn));
	assert_int_equal(gpn, 22);
	peer_reply(&add, -ENOMEM);
	created = guest_expect(VMBUS_GPADL_CREATED);
	assert_int_equal(created->gpadl_id, 0x77);
	assert_int_not_equal(created->status, 0);
}

static void opened_channel_has_kick_and_interrupt(void **state)
{
	struct message open = {0};
	const struct vsp_channel_open *request = (const void *)open.bytes;
	const struct vmbus_open_result *result;
	uint32_t relid = guest_opens_channel(&open);

	(void)state;
	assert_int_equal(request->sub_index, 0);
	assert_int_equal(request->gpadl_id, 5);
	assert_int_equal(request->downstream_page_offset, 4);
	assert_int_equal(request->target_vp, 1);
	assert_int_equal(request->event_flag, relid);
	/* the guest's kick works before it knows that the channel is open */
	assert_int_not_equal(bench.engine.connected, 0);
	assert_int_equal(open.fd_count, 2);
	assert_true(same_eventfd(bench.engine.kick, open.fds[0]));
	assert_true(same_eventfd(open.fds[1], bench.engine.sint[1].raise));
	peer_reply(&open, 0);
	result = guest_expect(VMBUS_OPEN_CHANNEL_RESULT);
	assert_int_equal(result->status, 0);
	assert_int_equal(status_now().link, VM_NIC_OPEN);
	fds_close(&open);
}

static void refused_channel_leaves_no_kick_behind(void **state)
{
	struct message open = {0};
	const struct vmbus_open_result *result;

	(void)state;
	guest_opens_channel(&open);
	peer_reply(&open, -EINVAL);
	result = guest_expect(VMBUS_OPEN_CHANNEL_RESULT);
	assert_int_not_equal(result->status, 0);
	assert_int_equal(bench.engine.connected, 0);
	assert_int_equal(status_now().link, VM_NIC_CONNECTED);
	fds_close(&open);
}

static void channel_moves_to_another_vp(void **state)
{
	struct message open = {0};
	struct message modify = {0};
	const struct vsp_channel_modify *request = (const void *)modify.bytes;
	const struct vmbus_modify_channel_response *response;
	uint32_t relid = guest_opens_channel(&open);

	(void)state;
	peer_reply(&open, 0);
	guest_send_modify(&bench.guest, relid, 3);
	peer_expect(&modify, VSP_CHANNEL_MODIFY, sizeof(*request));
	assert_int_equal(request->target_vp, 3);
	assert_int_equal(modify.fd_count, 1);
	assert_true(same_eventfd(modify.fds[0], bench.engine.sint[3].raise));
	peer_reply(&modify, 0);
	response = guest_expect(VMBUS_MODIFY_CHANNEL_RESPONSE);
	assert_int_equal(response->status, 0);
	fds_close(&open);
	fds_close(&modify);
}

static void gpadl_is_torn_down_when_netvspd_has_let_go(void **state)
{
	struct message open = {0};
	struct message closing = {0};
	struct message removal = {0};
	struct vmbus_server_counts counts;
	uint32_t relid = guest_opens_channel(&open);

	(void)state;
	peer_reply(&open, 0);
	guest_send_relid(&bench.guest, VMBUS_CLOSE_CHANNEL, relid);
	peer_expect(&closing, VSP_CHANNEL_CLOSE, sizeof(struct vsp_channel_close));
	assert_int_equal(bench.engine.connected, 0);
	peer_reply(&closing, 0);
	guest_send_teardown(&bench.guest, relid, 5);
	peer_expect(&removal, VSP_GPADL_REMOVE, sizeof(struct vsp_gpadl_remove));
	vmbus_server_get_counts(bench.guest.server, &counts);
	assert_int_equal(counts.gpadls, 1);
	peer_reply(&removal, 0);
	guest_expect(VMBUS_GPADL_TORNDOWN);
	vmbus_server_get_counts(bench.guest.server, &counts);
	assert_int_equal(counts.gpadls, 0);
	assert_int_equal(counts.open, 0);
	fds_close(&open);
}

static void sub_channels_are_offered_as_many_as_asked(void **state)
{
	struct message open = {0};
	struct vsp_sub_channels ask = {
		.header = {.type = VSP_SUB_CHANNELS, .size_bytes = sizeof(ask)}, .count = 3};

	(void)state;
	guest_opens_channel(&open);
	peer_reply(&open, 0);
	peer_send(&ask, sizeof(ask));
	run();
	for (uint16_t i = 1; i <= 3; i++) {
		const struct vmbus_offer_channel *offer = guest_expect(VMBUS_OFFER_CHANNEL);

		assert_int_equal(offer->sub_channel_index, i);
	}
	fds_close(&open);
}

static void state_and_statistics_are_shown(void **state)
{
	struct message ask = {0};
	struct vsp_nic_state told = {.header = {.type = VSP_NIC_STATE, .size_bytes = sizeof(told)},
				     .nvsp_version = 0x60001,
				     .mtu = 1500,
				     .channels_open = 2,
				     .rndis_up = 1};
	struct vsp_stats stats = {.tx_packets = 11, .rx_bytes = 1234, .tx_spoofed = 3};

	(void)state;
	peer_send(&told, sizeof(told));
	peer_expect(&ask, VSP_STATS, sizeof(struct vsp_header)); /* within about a second */
	stats.header = *header_of(&ask);
	stats.header.type |= VSP_REPLY;
	stats.header.size_bytes = sizeof(stats);
	peer_send(&stats, sizeof(stats));
	run();
	assert_int_equal(status_now().nvsp_version, 0x60001);
	assert_int_equal(status_now().channels_open, 2);
	assert_true(status_now().rndis_up);
	assert_int_equal(status_now().stats.tx_packets, 11);
	assert_int_equal(status_now().stats.rx_bytes, 1234);
	assert_int_equal(status_now().stats.tx_spoofed, 3);
}

/* Whatever ends the connection, the guest's pending open fails and the NIC is unplugged. */
static void assert_unplugged(void)
{
	const struct vmbus_open_result *result;

	for (int i = 0; i < 20; i++)
		run();
	result = guest_expect(VMBUS_OPEN_CHANNEL_RESULT);
	assert_int_not_equal(result->status, 0);
	guest_expect(VMBUS_RESCIND_CHANNEL_OFFER);
	assert_int_equal(bench.engine.connected, 0);
	assert_int_equal(status_now().link, VM_NIC_DISCONNECTED);
}

static void dead_netvspd_unplugs_the_nic(void **state)
{
	struct message open = {0};

	(void)state;
	guest_opens_channel(&open);
	fds_close(&open);
	close(bench.peer);
	bench.peer = -1;
	assert_unplugged();
}

/* It may have been killed between a write and the mark of it: a VM that is being copied would leave
 * that page behind. */
static void what_a_dead_netvspd_could_write_is_dirty(void **state)
{
	struct message open = {0};
	uint64_t dirty;

	(void)state;
	guest_opens_channel(&open);
	fds_close(&open);
	assert_int_equal(guest_memory_dirty_fetch_and_clear(bench.memory, 0, &dirty, 1), 0);
	close(bench.peer);
	bench.peer = -1;
	for (int i = 0; i < 20; i++)
		run();
	assert_int_equal(guest_memory_dirty_fetch_and_clear(bench.memory, 0, &dirty, 1), 0);
	assert_int_equal(dirty & (UINT64_C(0xff) << 16), UINT64_C(0xff) << 16);
	assert_unplugged();
}

static void answer_to_nothing_ends_the_connection(void **state)
{
	struct message open = {0};
	struct vsp_header reply = {.type = VSP_CHANNEL_CLOSE | VSP_REPLY,
				   .size_bytes = sizeof(reply),
				   .sequence = 999};

	(void)state;
	guest_opens_channel(&open);
	fds_close(&open);
	peer_send(&reply, sizeof(reply));
	assert_unplugged();
}

static void message_with_a_wrong_length_ends_the_connection(void **state)
{
	struct message open = {0};
	struct vsp_nic_state told = {.header = {.type = VSP_NIC_STATE, .size_bytes = 4000}};

	(void)state;
	guest_opens_channel(&open);
	fds_close(&open);
	peer_send(&told, sizeof(told));
	assert_unplugged();
}

static void short_notification_is_passed_over(void **state)
{
	struct vsp_header told = {.type = VSP_NIC_STATE, .size_bytes = sizeof(told)};

	(void)state;
	peer_send(&told, sizeof(told));
	run();
	assert_int_equal(status_now().link, VM_NIC_CONNECTED);
	assert_int_equal(status_now().nvsp_version, 0);
}

/* The guest lets go of the unplugged NIC; netvspd comes back. */
static void returned_netvspd_plugs_the_nic_in_again(void **state)
{
	struct message open = {0};
	uint32_t relid = guest_opens_channel(&open);
	const struct vmbus_offer_channel *offer;

	(void)state;
	peer_reply(&open, 0);
	fds_close(&open);
	fds_close(&bench.memory_message);
	close(bench.peer);
	bench.peer = -1;
	run();
	guest_expect(VMBUS_RESCIND_CHANNEL_OFFER);
	guest_send_relid(&bench.guest, VMBUS_RELID_RELEASED, relid);

	assert_int_equal(pthread_create(&bench.thread, NULL, peer_thread, NULL), 0);
	for (int i = 0; i < WAIT_MS / 10 && status_now().link != VM_NIC_CONNECTED; i++)
		event_loop_run_once(bench.loop, 10);
	pthread_join(bench.thread, NULL);
	offer = guest_waits_for(VMBUS_OFFER_CHANNEL);
	assert_memory_equal(offer->interface_id, bench.nic.instance_id, 16);
}

static void reboot_without_netvspd_waits_for_it(void **state)
{
	(void)state;
	close(bench.listener);
	bench.listener = -1;
	assert_int_equal(client_create(false), 0);
	assert_int_equal(status_now().link, VM_NIC_DISCONNECTED);
	bench.listener = unix_socket_listen(bench.path, SOCK_SEQPACKET);
	assert_int_equal(pthread_create(&bench.thread, NULL, peer_thread, NULL), 0);
	for (int i = 0; i < WAIT_MS / 10 && status_now().link != VM_NIC_CONNECTED; i++)
		event_loop_run_once(bench.loop, 10);
	pthread_join(bench.thread, NULL);
	assert_int_equal(status_now().link, VM_NIC_CONNECTED);
}

/* netvspd answers NIC before it refuses HELLO: the NIC must not be on the bus by then. */
static void *peer_out_of_order_thread(void *argument)
{
	struct pollfd poll_fd = {.fd = bench.listener, .events = POLLIN};
	struct message hello = {0};

	(void)argument;
	if (poll(&poll_fd, 1, WAIT_MS) <= 0)
		return NULL;
	bench.peer = accept(bench.listener, NULL, NULL);
	if (!peer_receive(&hello, false) || !peer_receive(&bench.memory_message, false) ||
	    !peer_receive(&bench.nic_message, false) || peer_reply_raw(&bench.nic_message, 0) ||
	    peer_reply_raw(&bench.memory_message, 0))
		return NULL;
	peer_reply_raw(&hello, -EPROTO);
	return NULL;
}

static void nic_answered_before_hello_does_not_make_it_ready(void **state)
{
	(void)state;
	assert_int_equal(pthread_create(&bench.thread, NULL, peer_out_of_order_thread, NULL), 0);
	assert_int_equal(client_create(true), -EPROTO);
	pthread_join(bench.thread, NULL);
}

/* More teardowns at once than a queue of a thousand: each reaches netvspd. */
static void every_gpadl_of_an_unload_is_taken_from_netvspd(void **state)
{
	enum { GPADLS = 1500 };
	struct message message = {0};
	uint32_t relid = guest_finds_nic()->relid;

	(void)state;
	for (uint32_t id = 1; id <= GPADLS; id++) {
		guest_send_gpadl(&bench.guest, relid, id, 1, 16);
		peer_expect(&message, VSP_GPADL_ADD, offsetof(struct vsp_gpadl_add, ranges) + 16);
		assert_int_equal(peer_reply_raw(&message, 0), 0);
		assert_int_equal(event_loop_run_once(bench.loop, 1), 0);
	}
	guest_send_empty(&bench.guest, VMBUS_UNLOAD);
	for (uint32_t i = 0; i < GPADLS; i++)
		peer_expect(&message, VSP_GPADL_REMOVE, sizeof(struct vsp_gpadl_remove));
	assert_int_equal(status_now().link, VM_NIC_CONNECTED);
}

static void status_note(void *ctx, int status)
{
	*(int *)ctx = status;
}

static void late_answer_to_a_save_that_was_given_up_is_nobodys(void **state)
{
	enum { NONE = 1 };
	struct message first = {0}, resume = {0}, second = {0};
	int first_status = NONE, second_status = NONE;

	(void)state;
	(void)guest_finds_nic();
	assert_int_equal(vsp_client_save(bench.client, status_note, &first_status), 0);
	peer_expect(&first, VSP_SAVE, sizeof(struct vsp_header));
	vsp_client_resume(bench.client, false);
	peer_expect(&resume, VSP_RESUME, sizeof(struct vsp_resume));
	assert_int_equal(vsp_client_save(bench.client, status_note, &second_status), 0);
	peer_expect(&second, VSP_SAVE, sizeof(struct vsp_header));
	peer_reply(&first, -EIO);
	assert_int_equal(first_status, NONE);
	assert_int_equal(second_status, NONE);
	peer_reply(&resume, 0);
	peer_reply(&second, -ENOMEM);
	assert_int_equal(second_status, -ENOMEM);
	vsp_client_resume(bench.client, false);
}

#define ALONE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CONNECTED(name) cmocka_unit_test_setup_teardown(name, setup_connected, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(absent_netvspd_is_one_line_and_its_own_exit_code),
		ALONE(refused_nic_says_that_the_mac_is_in_use),
		CONNECTED(nic_is_described_as_configured),
		CONNECTED(memory_goes_with_its_fds),
		CONNECTED(guest_is_offered_a_nic_with_its_instance),
		CONNECTED(gpadl_reaches_netvspd_and_its_answer_the_guest),
		CONNECTED(opened_channel_has_kick_and_interrupt),
		CONNECTED(refused_channel_leaves_no_kick_behind),
		CONNECTED(channel_moves_to_another_vp),
		CONNECTED(gpadl_is_torn_down_when_netvspd_has_let_go),
		CONNECTED(sub_channels_are_offered_as_many_as_asked),
		CONNECTED(state_and_statistics_are_shown),
		CONNECTED(dead_netvspd_unplugs_the_nic),
		CONNECTED(what_a_dead_netvspd_could_write_is_dirty),
		CONNECTED(answer_to_nothing_ends_the_connection),
		CONNECTED(message_with_a_wrong_length_ends_the_connection),
		CONNECTED(short_notification_is_passed_over),
		CONNECTED(returned_netvspd_plugs_the_nic_in_again),
		ALONE(reboot_without_netvspd_waits_for_it),
		ALONE(nic_answered_before_hello_does_not_make_it_ready),
		CONNECTED(every_gpadl_of_an_unload_is_taken_from_netvspd),
		CONNECTED(late_answer_to_a_save_that_was_given_up_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
