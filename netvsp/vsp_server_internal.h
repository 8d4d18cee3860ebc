/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by vsp_server.c (connections, and the requests of a running vNIC) and vsp_move.c (those of
 * a move). Control thread.
 */
#ifndef LUNAR_NETVSP_VSP_SERVER_INTERNAL_H
#define LUNAR_NETVSP_VSP_SERVER_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "netvsp/vsp_server.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "wire/vsp.h"

#define VSP_REQUEST_MAX_FDS (2 + GUEST_MEMORY_MAX_REGIONS)
#define VSP_REPLY_MAX_BYTES 1024

struct event_timer;
struct event_watch;
struct nic;

/* VSP_PROBE requests without a reply yet. */
LIST_HEAD(pending_probe_list, pending_probe);

struct connection {
	LIST_ENTRY(connection) link;
	struct vsp_server *server;
	int fd;
	struct event_watch *watch;
	bool greeted;
	uint32_t version; /* in force */
	uint32_t vp_count;
	struct guest_memory *memory;
	struct signal_table signals;
	struct nic *nic;
	char name[48];
	_Atomic bool noticed;		  /* the NIC's state changed */
	struct event_timer *notice_timer; /* NULL: a notice can be sent at once */
	uint64_t noticed_ns;
	unsigned int notices_sent;	    /* of a burst */
	_Atomic bool late;		    /* a departed NIC has frames */
	struct event_timer *announce_timer; /* NULL: all is said */
	unsigned int announcement;
	uint8_t *late_messages; /* NULL until there is one */
	size_t late_length;
	size_t late_sent;
	struct pending_probe_list probes;
};

LIST_HEAD(connection_list, connection);

#define VSP_REPLY_LATER 1 /* of a handler: the reply follows */

struct vsp_server {
	struct event_loop *loop;
	struct data_path *data;
	struct prober *prober;
	char path[108];
	int fd;
	struct event_watch *watch;
	struct event_timer *accept_timer; /* while no client can be taken */
	struct connection_list connections;
	uint32_t connection_count;
	_Atomic bool notices_posted;
	_Alignas(8) uint8_t message[VSP_MAX_MESSAGE_BYTES];
};

/* One request as received. fds that a handler keeps are set to -1. */
struct request {
	const void *bytes;
	size_t length;
	int fds[VSP_REQUEST_MAX_FDS];
	size_t fd_count;
};

/* What goes back where the status is 0; the header is filled by the caller. */
struct reply {
	size_t length; /* the header's at least */
	int fd;	       /* sent along and closed; -1: none */
	_Alignas(8) uint8_t bytes[VSP_REPLY_MAX_BYTES];
};

/* Each handler returns the reply's status (0 or -errno), VSP_REPLY_LATER, or -EBADMSG to end the
 * connection. */
int vsp_handle_save(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_restore(struct connection *connection, struct request *request, struct reply *reply);
/* Begins a series of announcements; the connection has a NIC. */
void vsp_announce(struct connection *connection);
int vsp_handle_resume(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_depart(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_inject(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_journal(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_info(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_portals(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_probe(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_vlan(struct connection *connection, struct request *request, struct reply *reply);
int vsp_handle_vlan_check(struct connection *connection, struct request *request,
			  struct reply *reply);

/* Sends a departed NIC's frames, as many as the socket takes now, and sees to it that the rest
 * follows. Returns 0 or -errno: the peer is gone. */
int vsp_send_late(struct connection *connection);
/* Tells the peer what there is to tell of its NIC, if anything, now or a little later. Returns 0 or
 * -errno: the peer cannot take it. */
int vsp_send_notices(struct connection *connection);
/* The same, now. */
int vsp_send_last_notices(struct connection *connection);
/* The connection is about to end. */
void vsp_move_fini(struct connection *connection);
void vsp_survey_fini(struct connection *connection);
void vsp_drop_connection(struct connection *connection);

#endif
