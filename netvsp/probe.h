/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks the network whether an address is there, without an address of our own: an ARP probe (RFC
 * 5227) or a neighbour solicitation as for duplicate address detection (RFC 4862), sent from a port
 * of the switch that lives as long as there is a question. Where nobody answers, the address may be
 * behind a router: then the router's MAC must have been seen at an uplink. Control thread.
 */
#ifndef LUNAR_NETVSP_PROBE_H
#define LUNAR_NETVSP_PROBE_H

#include "wire/vsp.h"

struct data_path;
struct event_loop;
struct probe;
struct prober;

#define PROBE_MAX 64 /* at a time */

/* 0, or as VSP_PROBE's reply. */
typedef void (*probe_done_fn)(void *ctx, int status);

/* Returns 0, -ENOMEM or -errno. */
int prober_create(struct event_loop *loop, struct data_path *path, struct prober **prober);
/* Takes NULL. Every probe has ended or been cancelled. The loop must not run afterwards. */
void prober_destroy(struct prober *prober);

/* fn is called once, from the loop, within 2 s, never from within this call; the probe is no more
 * then. Returns 0; -EAFNOSUPPORT: no address that a machine has; -EINVAL: no VLAN; -ENETDOWN: no
 * uplink has a link; -EBUSY: too many; -ENOMEM. */
int probe_start(struct prober *prober, const struct vsp_portal *portal, probe_done_fn fn, void *ctx,
		struct probe **probe);
/* fn is not called any more. Takes NULL. */
void probe_cancel(struct probe *probe);

#endif
