/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest host that a guest's NIC driver can talk to, in one process with it: rings, NVSP
 * session, RNDIS device and RNDIS packets of netvsp/, with plain copies where netvspd has a DPDK
 * data path. For unit tests of the protocol.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_LOOPBACK_HOST_H
#define LUNAR_TESTS_FAKE_GUEST_LOOPBACK_HOST_H

#include "netvsp/nvsp.h"
#include "netvsp/rndis_control.h"
#include "netvsp/rndis_packet.h"
#include "tests/fake_guest/fake_netvsc.h"

struct fake_space;
struct gpadl;
struct loopback_host;

struct loopback_config {
	struct nvsp_config nvsp;
	struct rndis_control_config rndis;
};

/* A host with max_channels, MTU 9000, all offloads, MAC 02:00:00:00:00:01, 10 Gbit/s, link up. */
struct loopback_config loopback_config_default(uint32_t max_channels);

/* Returns 0 or -errno. */
int loopback_host_create(struct fake_space *space, const struct loopback_config *config,
			 struct loopback_host **host);
/* Takes NULL. */
void loopback_host_destroy(struct loopback_host *host);

/* Transport of fake_netvsc by plain calls; ctx is the host. wait() lets the host work once. */
extern const struct fake_transport_ops loopback_transport;

/* Called with each frame that the guest sends; payload: the frame's bytes, put together. */
typedef void (*loopback_frame_fn)(void *ctx, uint32_t channel, const struct rndis_tx_packet *packet,
				  const uint8_t *payload);
void loopback_host_on_frame(struct loopback_host *host, loopback_frame_fn fn, void *ctx);

struct loopback_frame {
	const void *bytes;
	size_t length;
	struct rndis_rx_info info;
};

/* Sends frames to the guest in one ring packet, whatever the packet filter says. Returns 0, -EAGAIN
 * (no section or ring room), -ENOTCONN, -EMSGSIZE. */
int loopback_host_send(struct loopback_host *host, uint32_t channel,
		       const struct loopback_frame *frames, size_t count);

/* For a bus between the two: GPADLs as the bus's server made them (they live until gpadl_remove),
 * and sub-channels that the host wants offered. */
int loopback_host_gpadl_add(struct loopback_host *host, const struct gpadl *gpadl);
typedef void (*loopback_offer_fn)(void *ctx, uint32_t count);
void loopback_host_on_offer(struct loopback_host *host, loopback_offer_fn fn, void *ctx);

struct nvsp_session *loopback_host_nvsp(struct loopback_host *host);
struct rndis_control *loopback_host_rndis(struct loopback_host *host);
/* Receive sections that the guest has not given back. */
uint32_t loopback_host_sections_out(const struct loopback_host *host);
/* The guest broke a ring: that channel is dead. */
bool loopback_host_broken(const struct loopback_host *host);
/* GPADLs that the guest has lent now. */
size_t loopback_host_gpadls(const struct loopback_host *host);

#endif
