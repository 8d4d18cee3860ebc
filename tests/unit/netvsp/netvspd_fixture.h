/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netvspd in the test's own process, without root, huge pages or a network: its data path and vsp
 * socket on threads of their own, two rings as the wire of its only uplink. EAL starts once a
 * process, with the first fixture.
 */
#ifndef LUNAR_TESTS_UNIT_NETVSP_NETVSPD_FIXTURE_H
#define LUNAR_TESTS_UNIT_NETVSP_NETVSPD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netvsp/data_path.h"
#include "tests/fake_guest/vsp_guest.h"

struct netvspd_fixture;

/* cmocka group set-up: EAL. */
int eal_group_setup(void **state);
/* cmocka set-up and tear-down; *state is the struct netvspd_fixture. The tear-down fails the test
 * where buffers of the data path are missing. */
int netvspd_setup(void **state);
int netvspd_teardown(void **state);

const char *netvspd_socket(const struct netvspd_fixture *fixture);
struct data_path *netvspd_data_path(const struct netvspd_fixture *fixture);

/* The next frame that left by the uplink, as the wire sees it. Returns its length, or 0 after
 * timeout_ms. */
size_t wire_take(struct netvspd_fixture *fixture, uint8_t *frame, size_t size, int timeout_ms);
/* A frame comes in; ol_flags: what its port knows of it (RTE_MBUF_F_RX_*). */
void wire_put(struct netvspd_fixture *fixture, const void *frame, size_t length, uint64_t ol_flags);

/* A guest with its driver started, or NULL (with a message). Its frames go to a queue of frames. */
struct test_guest;
struct test_guest *test_guest_start(struct netvspd_fixture *fixture, const char *name,
				    uint8_t last_mac_byte, const struct fake_netvsc_config *driver,
				    uint32_t flags);
/* Tears down as a guest does (stop) or as one that died. Takes NULL. */
void test_guest_stop(struct test_guest *guest);
void test_guest_kill(struct test_guest *guest);
const uint8_t *test_guest_mac(const struct test_guest *guest);
struct fake_netvsc *test_guest_driver(const struct test_guest *guest);
struct vsp_guest *test_guest_vsp(const struct test_guest *guest);

/* One received frame, as the driver gave it. */
struct test_frame {
	struct fake_rx rx;
	uint8_t bytes[66000];
};
/* The next frame that the guest received, in order; NULL after timeout_ms. Good until the next
 * call. */
const struct test_frame *test_guest_take(struct test_guest *guest, int timeout_ms);

#endif
