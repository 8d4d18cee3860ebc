/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netvspd in a test's process.
 */
#include "tests/unit/netvsp/netvspd_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "netvsp/eal.h"
#include "netvsp/uplink.h"
#include "netvsp/vsp_server.h"

#define RING_ENTRIES	  4096
#define MEMORY_MEGABYTES  96
#define FRAMES_KEPT	  4096
#define CLOSE_DEADLINE_MS 3000

struct netvspd_fixture {
	char socket[64];
	struct data_path *path;
	struct rte_ring *to_wire;
	struct rte_ring *from_wire;
	struct uplink *uplink;
	struct event_loop *loop;
	struct vsp_server *server;
	pthread_t thread;
	unsigned int small_available;
	unsigned int large_available;
	unsigned int indirect_available;
};

/* EAL leaves its folder behind. This was registered before EAL's own clean-up, so it runs after
 * that. */
static void remove_runtime_folder(void)
{
	rmdir(rte_eal_get_runtime_dir());
}

int eal_group_setup(void **state)
{
	struct eal_options options = {.file_prefix = "lunar-test",
				      .pages = EAL_PAGES_SMALL,
				      .memory_megabytes = 2 * MEMORY_MEGABYTES + 32};
	char prefix[32];
	int err;

	(void)state;
	snprintf(prefix, sizeof(prefix), "lunar-test-%d", (int)getpid());
	options.file_prefix = prefix;
	options.verbose = getenv("NETVSPD_TEST_VERBOSE") != NULL;
	if (!options.verbose)
		log_set_level(LOG_LEVEL_ERROR);
	atexit(remove_runtime_folder);
	err = eal_start(&options);
	if (err)
		fprintf(stderr, "EAL: %s\n", strerror(-err));
	return err;
}

static void *serve(void *arg)
{
	struct netvspd_fixture *fixture = arg;

	event_loop_run(fixture->loop);
	return NULL;
}

static int start_uplink(struct netvspd_fixture *fixture, unsigned int number)
{
	char name[32];

	snprintf(name, sizeof(name), "to_wire_%u", number);
	fixture->to_wire = rte_ring_create(name, RING_ENTRIES, 0, 0);
	snprintf(name, sizeof(name), "from_wire_%u", number);
	fixture->from_wire = rte_ring_create(name, RING_ENTRIES, 0, 0);
	if (!fixture->to_wire || !fixture->from_wire)
		return -1;
	snprintf(name, sizeof(name), "wire%u", number);
	if (rte_eth_from_rings(name, &fixture->from_wire, 1, &fixture->to_wire, 1, 0) < 0)
		return -1;
	snprintf(name, sizeof(name), "net_ring_wire%u", number);
	return uplink_create(fixture->path, name, NULL, &fixture->uplink);
}

int netvspd_setup(void **state)
{
	static unsigned int number;
	char name[16];
	struct data_path_config config = {
		.name = name, .memory_megabytes = MEMORY_MEGABYTES, .cpu = -1};
	struct netvspd_fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	number++;
	snprintf(name, sizeof(name), "test%u", number % 1000000);
	snprintf(fixture->socket, sizeof(fixture->socket), "/tmp/netvspd-test-%d-%u.sock",
		 (int)getpid(), number);
	if (data_path_create(&config, &fixture->path) < 0)
		return -1;
	fixture->small_available = rte_mempool_avail_count(fixture->path->pools.small);
	fixture->large_available = rte_mempool_avail_count(fixture->path->pools.large);
	fixture->indirect_available = rte_mempool_avail_count(fixture->path->pools.indirect);
	if (start_uplink(fixture, number) < 0 || event_loop_create(&fixture->loop) < 0 ||
	    vsp_server_create(fixture->loop, fixture->path, fixture->socket, &fixture->server) <
		    0 ||
	    pthread_create(&fixture->thread, NULL, serve, fixture) != 0)
		return -1;
	*state = fixture;
	return 0;
}

static void drain(struct rte_ring *ring)
{
	void *mbuf;

	while (rte_ring_dequeue(ring, &mbuf) == 0)
		rte_pktmbuf_free(mbuf);
}

int netvspd_teardown(void **state)
{
	struct netvspd_fixture *fixture = *state;
	int missing = 0;

	event_loop_stop(fixture->loop);
	pthread_join(fixture->thread, NULL);
	vsp_server_destroy(fixture->server);
	uplink_destroy(fixture->uplink);
	drain(fixture->to_wire);
	drain(fixture->from_wire);
	if (rte_mempool_avail_count(fixture->path->pools.small) != fixture->small_available ||
	    rte_mempool_avail_count(fixture->path->pools.large) != fixture->large_available ||
	    rte_mempool_avail_count(fixture->path->pools.indirect) != fixture->indirect_available) {
		fprintf(stderr, "buffers are missing\n");
		missing = 1;
	}
	event_loop_destroy(fixture->loop);
	data_path_destroy(fixture->path);
	rte_ring_free(fixture->to_wire);
	rte_ring_free(fixture->from_wire);
	free(fixture);
	return missing;
}

const char *netvspd_socket(const struct netvspd_fixture *fixture)
{
	return fixture->socket;
}

struct data_path *netvspd_data_path(const struct netvspd_fixture *fixture)
{
	return fixture->path;
}

/* ---- the wire ---- */

/* Done on the worker's thread, as its driver does: the rings are synchronised inside DPDK, where
 * ThreadSanitizer does not see it. */
struct wire_call {
	struct netvspd_fixture *fixture;
	uint8_t *taken;
	const void *given;
	size_t size;
	size_t length;
	uint64_t ol_flags;
};

static void take_from_wire(void *ctx)
{
	struct wire_call *call = ctx;
	struct rte_mbuf *mbuf;
	const void *bytes;
	void *entry;

	if (rte_ring_dequeue(call->fixture->to_wire, &entry) != 0)
		return;
	mbuf = entry;
	call->length = mbuf->pkt_len < call->size ? mbuf->pkt_len : call->size;
	bytes = rte_pktmbuf_read(mbuf, 0, (uint32_t)call->length, call->taken);
	if (bytes != call->taken)
		memcpy(call->taken, bytes, call->length);
	rte_pktmbuf_free(mbuf);
}

size_t wire_take(struct netvspd_fixture *fixture, uint8_t *frame, size_t size, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)timeout_ms);
	struct wire_call call = {.fixture = fixture, .size = size};

	call.taken = frame;
	for (;;) {
		worker_call(fixture->path->worker, take_from_wire, &call);
		if (call.length > 0 || deadline_passed(deadline))
			return call.length;
		usleep(1000);
	}
}

static void put_on_wire(void *ctx)
{
	struct wire_call *call = ctx;
	struct rte_mbuf *mbuf = mbuf_pools_alloc(&call->fixture->path->pools, call->length);

	if (!mbuf)
		return;
	memcpy(rte_pktmbuf_append(mbuf, (uint16_t)call->length), call->given, call->length);
	mbuf->ol_flags |= call->ol_flags;
	if (rte_ring_enqueue(call->fixture->from_wire, mbuf) != 0)
		rte_pktmbuf_free(mbuf);
}

void wire_put(struct netvspd_fixture *fixture, const void *frame, size_t length, uint64_t ol_flags)
{
	struct wire_call call = {
		.fixture = fixture, .given = frame, .length = length, .ol_flags = ol_flags};

	worker_call(fixture->path->worker, put_on_wire, &call);
}

/* ---- guests ---- */

struct kept_frame {
	STAILQ_ENTRY(kept_frame) link;
	struct fake_rx rx;
	uint8_t bytes[];
};

struct test_guest {
	struct vsp_guest *vsp;
	struct fake_netvsc *driver;
	uint8_t mac[6];
	STAILQ_HEAD(, kept_frame) frames;
	unsigned int frame_count;
	struct test_frame current;
};

static void keep_frame(void *ctx, const struct fake_rx *rx)
{
	struct test_guest *guest = ctx;
	struct kept_frame *frame;

	if (guest->frame_count >= FRAMES_KEPT)
		return;
	frame = malloc(sizeof(*frame) + rx->length);
	if (!frame)
		return;
	frame->rx = *rx;
	memcpy(frame->bytes, rx->frame, rx->length);
	STAILQ_INSERT_TAIL(&guest->frames, frame, link);
	guest->frame_count++;
}

struct test_guest *test_guest_start(struct netvspd_fixture *fixture, const char *name,
				    uint8_t last_mac_byte, const struct fake_netvsc_config *driver,
				    uint32_t flags)
{
	struct vsp_guest_config config = {
		.socket = fixture->socket,
		.name = name,
		.mac = {0x02, 0x15, 0x5d, 0, 0, last_mac_byte},
		.flags = flags,
		.max_channels = driver->channels ? driver->channels : 1,
	};
	struct test_guest *guest = calloc(1, sizeof(*guest));
	int err;

	if (!guest)
		return NULL;
	STAILQ_INIT(&guest->frames);
	memcpy(guest->mac, config.mac, sizeof(guest->mac));
	err = vsp_guest_create(&config, &guest->vsp);
	if (!err)
		err = vsp_guest_driver(guest->vsp, driver, &guest->driver);
	if (!err) {
		fake_netvsc_on_frame(guest->driver, keep_frame, guest);
		err = fake_netvsc_start(guest->driver);
	}
	if (err) {
		fprintf(stderr, "%s: %s, violation: %s\n", name, strerror(-err),
			guest->driver ? fake_netvsc_violation(guest->driver) : "-");
		test_guest_kill(guest);
		return NULL;
	}
	return guest;
}

void test_guest_kill(struct test_guest *guest)
{
	struct kept_frame *frame;

	if (!guest)
		return;
	fake_netvsc_destroy(guest->driver);
	vsp_guest_destroy(guest->vsp);
	while ((frame = STAILQ_FIRST(&guest->frames))) {
		STAILQ_REMOVE_HEAD(&guest->frames, link);
		free(frame);
	}
	free(guest);
}

void test_guest_stop(struct test_guest *guest)
{
	if (guest && fake_netvsc_stop(guest->driver) < 0)
		fprintf(stderr, "stop: %s\n", fake_netvsc_violation(guest->driver));
	test_guest_kill(guest);
}

const uint8_t *test_guest_mac(const struct test_guest *guest)
{
	return guest->mac;
}

struct fake_netvsc *test_guest_driver(const struct test_guest *guest)
{
	return guest->driver;
}

struct vsp_guest *test_guest_vsp(const struct test_guest *guest)
{
	return guest->vsp;
}

const struct test_frame *test_guest_take(struct test_guest *guest, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)timeout_ms);
	struct kept_frame *frame;

	while (!(frame = STAILQ_FIRST(&guest->frames))) {
		if (fake_netvsc_poll(guest->driver, deadline_left_ms(deadline)) < 0 &&
		    deadline_passed(deadline))
			return NULL;
	}
	STAILQ_REMOVE_HEAD(&guest->frames, link);
	guest->frame_count--;
	guest->current.rx = frame->rx;
	memcpy(guest->current.bytes, frame->bytes, frame->rx.length);
	guest->current.rx.frame = guest->current.bytes;
	free(frame);
	return &guest->current;
}
