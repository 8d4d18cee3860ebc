/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One question to a netvspd, on a connection of its own, without a vNIC: what its switch has, and
 * whether an address answers behind its uplinks. For the checks before a move. Loop's thread only.
 */
#ifndef LUNAR_HYPERVISOR_VSP_QUERY_H
#define LUNAR_HYPERVISOR_VSP_QUERY_H

#include <stdint.h>

struct event_loop;
struct vlan_config;
struct vlan_set;
struct vsp_info;
struct vsp_portal;
struct vsp_query;

#define VSP_QUERY_DEADLINE_MS 4000 /* a probe takes netvspd up to 2 s */

/* Once, from the loop; the query is gone when it returns. status: 0 or -errno as netvspd gave it
 * (see struct vsp_probe), -ENOTCONN (it went away), -ETIMEDOUT, -EOPNOTSUPP (it is too old), or
 * -EPROTO. info: of vsp_query_info() with status 0, valid during the call; else NULL. */
typedef void (*vsp_query_fn)(void *ctx, int status, const struct vsp_info *info);

/* Asks the netvspd that listens on path. Returns 0, or -errno: -ENOENT or -ECONNREFUSED where none
 * does; then fn is not called. */
int vsp_query_info(struct event_loop *loop, const char *path, uint32_t deadline_ms, vsp_query_fn fn,
		   void *ctx, struct vsp_query **query);
/* Which VLANs of a configuration the uplinks there do not carry: *missing valid during the call. */
typedef void (*vsp_query_vlan_fn)(void *ctx, int status, const struct vlan_set *missing);
int vsp_query_vlan(struct event_loop *loop, const char *path, const struct vlan_config *vlan,
		   uint32_t deadline_ms, vsp_query_vlan_fn fn, void *ctx, struct vsp_query **query);
int vsp_query_probe(struct event_loop *loop, const char *path, const struct vsp_portal *portal,
		    uint32_t deadline_ms, vsp_query_fn fn, void *ctx, struct vsp_query **query);
/* Takes NULL. fn is not called any more. */
void vsp_query_cancel(struct vsp_query *query);

#endif
