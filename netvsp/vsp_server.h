/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vsp socket: one connection of a vmwp is one vNIC, which lives and dies with it. Control
 * thread.
 */
#ifndef LUNAR_NETVSP_VSP_SERVER_H
#define LUNAR_NETVSP_VSP_SERVER_H

#include <stdint.h>

struct data_path;
struct event_loop;
struct vsp_server;

#define VSP_SERVER_MAX_CONNECTIONS 512

/* Listens on path. Returns 0, -EADDRINUSE (another netvspd is there), or another -errno. */
int vsp_server_create(struct event_loop *loop, struct data_path *data, const char *path,
		      struct vsp_server **server);
/* Takes NULL. Drops all connections with their vNICs and removes the socket. The loop must not run
 * afterwards, since it may hold work that was posted. */
void vsp_server_destroy(struct vsp_server *server);
/* Tells the network where all guests are, by RARP, now and some times more within a second: the way
 * there has changed. */
void vsp_server_announce(struct vsp_server *server);
uint32_t vsp_server_connections(const struct vsp_server *server);

#endif
