/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of the vsp socket. A message whose shape is wrong (size, number of fds, unknown type,
 * out of order) ends the connection: the peer is broken. One that asks for what cannot be done gets
 * a negative status.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/nic.h"
#include "netvsp/nvsp.h"
#include "netvsp/probe.h"
#include "netvsp/vsp_server_internal.h"
#include "vmbus/gpadl.h"
#include "vmbus/server.h"

#define LOG_COMPONENT "vsp"

#define MESSAGES_A_ROUND 16
#define MAX_EVENT_FLAGS	 2048u
#define ACCEPT_PAUSE_MS	 200
#define NOTICE_PAUSE_MS	 100 /* between two, once the burst is used up: guests can cause them */
#define NOTICE_BURST	 32u

void vsp_drop_connection(struct connection *connection)
{
	struct vsp_server *server = connection->server;

	event_timer_cancel(connection->notice_timer);
	event_watch_remove(connection->watch);
	LIST_REMOVE(connection, link);
	server->connection_count--;
	vsp_move_fini(connection);
	vsp_survey_fini(connection);
	nic_destroy(connection->nic);
	if (connection->memory) {
		signal_table_fini(&connection->signals);
		guest_memory_destroy(connection->memory);
	}
	close(connection->fd);
	if (connection->name[0])
		log_info("%s: gone", connection->name);
	free(connection);
}

/* Returns 0, or -errno: the peer does not read, or is gone. */
static int send_message(struct connection *connection, const void *message, size_t length)
{
	return fd_passing_send(connection->fd, message, length, NULL, 0);
}

/* ---- notices of the NIC ---- */

static void notice_again(void *ctx)
{
	struct connection *connection = ctx;

	connection->notice_timer = NULL;
	connection->notices_sent = NOTICE_BURST - 1;
	if (vsp_send_notices(connection) < 0) {
		log_warn_limited("%s: does not read its socket: dropped", connection->name);
		vsp_drop_connection(connection);
	}
}

/* Whether a notice may be sent now; otherwise it will be later. */
static bool may_send_notice(struct connection *connection)
{
	uint64_t now_ns = monotonic_ns();

	if (connection->notice_timer)
		return false;
	if (now_ns - connection->noticed_ns > NOTICE_PAUSE_MS * NS_PER_MS * NOTICE_BURST)
		connection->notices_sent = 0;
	connection->noticed_ns = now_ns;
	if (connection->notices_sent++ < NOTICE_BURST)
		return true;
	return event_loop_after_ms(connection->server->loop, NOTICE_PAUSE_MS, notice_again,
				   connection, &connection->notice_timer) < 0;
}

static int send_notices(struct connection *connection)
{
	struct vsp_sub_channels sub_channels = {
		.header = {.type = VSP_SUB_CHANNELS, .size_bytes = sizeof(sub_channels)}};
	struct vsp_nic_state message = {
		.header = {.type = VSP_NIC_STATE, .size_bytes = sizeof(message)}};
	struct nic_state state;
	int err = 0;

	if (!atomic_exchange_explicit(&connection->noticed, false, memory_order_acq_rel) ||
	    !connection->nic)
		return 0;
	nic_get_state(connection->nic, &state);
	sub_channels.count = state.sub_channels_wanted;
	message.nvsp_version = state.nvsp_version;
	message.mtu = state.mtu;
	message.channels_open = state.channels_open;
	message.rndis_up = state.rndis_up;
	if (state.sub_channels_wanted > 0)
		err = send_message(connection, &sub_channels, sizeof(sub_channels));
	return err ? err : send_message(connection, &message, sizeof(message));
}

int vsp_send_notices(struct connection *connection)
{
	if (!connection->nic || !atomic_load_explicit(&connection->noticed, memory_order_acquire) ||
	    !may_send_notice(connection))
		return 0;
	return send_notices(connection);
}

int vsp_send_last_notices(struct connection *connection)
{
	event_timer_cancel(connection->notice_timer);
	connection->notice_timer = NULL;
	return send_notices(connection);
}

static void handle_notices(void *ctx)
{
	struct vsp_server *server = ctx;
	struct connection *connection = LIST_FIRST(&server->connections);

	atomic_store_explicit(&server->notices_posted, false, memory_order_release);
	while (connection) {
		struct connection *next = LIST_NEXT(connection, link);
		bool late =
			atomic_exchange_explicit(&connection->late, false, memory_order_acq_rel);

		if (vsp_send_notices(connection) < 0 || (late && vsp_send_late(connection) < 0)) {
			log_warn("%s: does not read its socket: dropped", connection->name);
			vsp_drop_connection(connection);
		}
		connection = next;
	}
}

/* Worker's thread. */
static void post_notices(struct vsp_server *server)
{
	if (atomic_exchange_explicit(&server->notices_posted, true, memory_order_acq_rel))
		return;
	if (event_loop_post(server->loop, handle_notices, server) < 0)
		atomic_store_explicit(&server->notices_posted, false, memory_order_release);
}

static void note_state(void *ctx)
{
	struct connection *connection = ctx;

	atomic_store_explicit(&connection->noticed, true, memory_order_release);
	post_notices(connection->server);
}

static void note_late(void *ctx)
{
	struct connection *connection = ctx;

	atomic_store_explicit(&connection->late, true, memory_order_release);
	post_notices(connection->server);
}

static const struct nic_ops nic_ops = {.notice = note_state, .late = note_late};

/* ---- requests: each returns the reply's status, or -EBADMSG to end the connection ---- */

static int handle_hello(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_hello *hello = request->bytes;

	if (connection->greeted || hello->version == 0)
		return -EBADMSG;
	connection->greeted = true;
	connection->version = hello->version < VSP_VERSION ? hello->version : VSP_VERSION;
	((struct vsp_hello *)reply->bytes)->version = connection->version;
	reply->length = sizeof(*hello);
	return 0;
}

static int handle_memory(struct connection *connection, struct request *request,
			 struct reply *reply)
{
	const struct vsp_memory *message = request->bytes;
	struct guest_memory_region regions[GUEST_MEMORY_MAX_REGIONS];
	int err;

	(void)reply;
	(void)reply;
	if (connection->memory || message->region_count == 0 ||
	    message->region_count > GUEST_MEMORY_MAX_REGIONS ||
	    request->length !=
		    sizeof(*message) + message->region_count * sizeof(message->regions[0]) ||
	    request->fd_count != 2 + (size_t)message->region_count)
		return -EBADMSG;
	if (message->vp_count == 0 || message->vp_count > SIGNAL_TABLE_MAX_VPS)
		return -EINVAL;
	for (uint32_t i = 0; i < message->region_count; i++) {
		regions[i] = (struct guest_memory_region){
			.gpa = message->regions[i].gpa,
			.size_bytes = message->regions[i].size_bytes,
			.fd_offset = message->regions[i].fd_offset,
			.fd = request->fds[2 + i],
		};
	}
	err = signal_table_init(&connection->signals, request->fds[1]);
	if (err)
		return err;
	err = guest_memory_create(regions, message->region_count, request->fds[0],
				  &connection->memory);
	if (err) {
		signal_table_fini(&connection->signals);
		return err;
	}
	connection->vp_count = message->vp_count;
	return 0;
}

static bool name_is_good(const char *name, size_t size)
{
	size_t length = strnlen(name, size);

	if (length == 0 || length == size)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isgraph((unsigned char)name[i]))
			return false;
	}
	return true;
}

static int handle_nic(struct connection *connection, struct request *request, struct reply *reply)
{
	const struct vsp_nic *message = request->bytes;
	struct nic_config config = {
		.mtu = message->mtu,
		.spoof_guard = message->flags & VSP_NIC_SPOOF_GUARD,
		.max_channels = message->max_channels,
		.incoming = message->flags & VSP_NIC_INCOMING,
	};
	int err;

	(void)reply;
	(void)reply;
	if (!connection->memory || connection->nic)
		return -EBADMSG;
	if (!name_is_good(message->name, sizeof(message->name)) || message->mtu < NVSP_MIN_MTU ||
	    message->mtu > NVSP_MAX_MTU || message->max_channels == 0 ||
	    message->max_channels > NVSP_MAX_CHANNELS ||
	    (message->flags & ~(VSP_NIC_SPOOF_GUARD | VSP_NIC_INCOMING)) != 0)
		return -EINVAL;
	memcpy(config.name, message->name, sizeof(config.name));
	memcpy(config.mac, message->mac, sizeof(config.mac));
	memcpy(connection->name, message->name, sizeof(connection->name));
	err = nic_create(connection->server->data, connection->memory, &connection->signals,
			 &config, &nic_ops, connection, &connection->nic);
	if (err)
		log_warn("%s: refused: %s", connection->name, strerror(-err));
	else
		log_info("%s: %02x:%02x:%02x:%02x:%02x:%02x joined", connection->name,
			 config.mac[0], config.mac[1], config.mac[2], config.mac[3], config.mac[4],
			 config.mac[5]);
	return err;
}

static int handle_gpadl_add(struct connection *connection, struct request *request,
			    struct reply *reply)
{
	const struct vsp_gpadl_add *message = request->bytes;
	struct gpadl *gpadl;
	int err;

	(void)reply;
	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	err = gpadl_parse(message->gpadl_id, message->range_count, message->ranges,
			  request->length - sizeof(*message), &gpadl);
	if (err)
		return err;
	err = nic_gpadl_add(connection->nic, gpadl);
	if (err)
		gpadl_free(gpadl);
	return err;
}

static int handle_gpadl_remove(struct connection *connection, struct request *request,
			       struct reply *reply)
{
	const struct vsp_gpadl_remove *message = request->bytes;

	(void)reply;
	(void)reply;
	return connection->nic ? nic_gpadl_remove(connection->nic, message->gpadl_id) : -EBADMSG;
}

static bool is_eventfd(int fd)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char path[32], link[sizeof(expected)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof(link));
	return length == (ssize_t)sizeof(expected) - 1 &&
	       memcmp(link, expected, sizeof(expected) - 1) == 0;
}

/* An fd that the worker writes to must never make it wait, and be nothing but an eventfd. */
static int take_irqfd(struct request *request, size_t index)
{
	int fd = request->fds[index];
	int flags = fcntl(fd, F_GETFL);

	if (!is_eventfd(fd) || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -1;
	return fd;
}

static int handle_channel_open(struct connection *connection, struct request *request,
			       struct reply *reply)
{
	const struct vsp_channel_open *message = request->bytes;
	bool silent = message->target_vp == VMBUS_NO_INTERRUPTS;
	struct nic_channel channel = {
		.sub_index = message->sub_index,
		.gpadl_id = message->gpadl_id,
		.downstream_page_offset = message->downstream_page_offset,
		.target_vp = message->target_vp,
		.event_flag = message->event_flag,
		.restored = message->flags & VSP_CHANNEL_RESTORED,
		.kick_fd = request->fds[0],
		.irqfd = -1,
	};
	int err;

	(void)reply;
	(void)reply;
	if (!connection->nic || request->fd_count != (silent ? 1u : 2u))
		return -EBADMSG;
	if ((!silent && message->target_vp >= connection->vp_count) ||
	    message->event_flag >= MAX_EVENT_FLAGS || (message->flags & ~VSP_CHANNEL_RESTORED) != 0)
		return -EINVAL;
	if (!is_eventfd(channel.kick_fd))
		return -EINVAL;
	if (!silent) {
		channel.irqfd = take_irqfd(request, 1);
		if (channel.irqfd < 0)
			return -EINVAL;
	}
	err = nic_channel_open(connection->nic, &channel);
	if (!err)
		request->fd_count = 0; /* the NIC keeps them */
	return err;
}

static int handle_channel_close(struct connection *connection, struct request *request,
				struct reply *reply)
{
	const struct vsp_channel_close *message = request->bytes;

	(void)reply;
	(void)reply;
	return connection->nic ? nic_channel_close(connection->nic, message->sub_index) : -EBADMSG;
}

static int handle_channel_modify(struct connection *connection, struct request *request,
				 struct reply *reply)
{
	const struct vsp_channel_modify *message = request->bytes;
	bool silent = message->target_vp == VMBUS_NO_INTERRUPTS;
	int irqfd = -1;
	int err;

	(void)reply;
	(void)reply;
	if (!connection->nic || request->fd_count != (silent ? 0u : 1u))
		return -EBADMSG;
	if (!silent && message->target_vp >= connection->vp_count)
		return -EINVAL;
	if (!silent) {
		irqfd = take_irqfd(request, 0);
		if (irqfd < 0)
			return -EINVAL;
	}
	err = nic_channel_modify(connection->nic, message->sub_index, message->target_vp, irqfd);
	if (!err)
		request->fd_count = 0;
	return err;
}

static int handle_stats(struct connection *connection, struct request *request, struct reply *reply)
{
	struct vsp_stats *stats = (struct vsp_stats *)reply->bytes;
	struct nic_stats seen;

	(void)request;
	if (!connection->nic)
		return -EBADMSG;
	nic_get_stats(connection->nic, &seen);
	stats->tx_packets = seen.tx_packets;
	stats->tx_bytes = seen.tx_bytes;
	stats->tx_dropped = seen.tx_dropped;
	stats->rx_packets = seen.rx_packets;
	stats->rx_bytes = seen.rx_bytes;
	stats->rx_dropped = seen.rx_dropped;
	stats->tx_spoofed = seen.tx_spoofed;
	stats->tx_malformed = seen.tx_malformed;
	stats->tx_vlan = seen.tx_vlan;
	stats->rx_vlan = seen.rx_vlan;
	reply->length = connection->version >= VSP_VERSION_VLANS
				? sizeof(*stats)
				: offsetof(struct vsp_stats, tx_vlan);
	return 0;
}

struct request_kind {
	int (*handle)(struct connection *connection, struct request *request, struct reply *reply);
	size_t min_bytes;
	bool exact; /* else at least min_bytes */
	size_t min_fds;
	size_t max_fds;
};

static const struct request_kind request_kinds[] = {
	[VSP_HELLO] = {handle_hello, sizeof(struct vsp_hello), true, 0, 0},
	[VSP_MEMORY] = {handle_memory, sizeof(struct vsp_memory), false, 3, VSP_REQUEST_MAX_FDS},
	[VSP_NIC] = {handle_nic, sizeof(struct vsp_nic), true, 0, 0},
	[VSP_GPADL_ADD] = {handle_gpadl_add, sizeof(struct vsp_gpadl_add), false, 0, 0},
	[VSP_GPADL_REMOVE] = {handle_gpadl_remove, sizeof(struct vsp_gpadl_remove), true, 0, 0},
	[VSP_CHANNEL_OPEN] = {handle_channel_open, sizeof(struct vsp_channel_open), true, 1, 2},
	[VSP_CHANNEL_CLOSE] = {handle_channel_close, sizeof(struct vsp_channel_close), true, 0, 0},
	[VSP_CHANNEL_MODIFY] = {handle_channel_modify, sizeof(struct vsp_channel_modify), true, 0,
				1},
	[VSP_STATS] = {handle_stats, sizeof(struct vsp_header), true, 0, 0},
	[VSP_SAVE] = {vsp_handle_save, sizeof(struct vsp_header), true, 0, 0},
	[VSP_RESTORE] = {vsp_handle_restore, sizeof(struct vsp_state), true, 1, 1},
	[VSP_RESUME] = {vsp_handle_resume, sizeof(struct vsp_resume), true, 0, 0},
	[VSP_DEPART] = {vsp_handle_depart, sizeof(struct vsp_header), true, 0, 0},
	[VSP_INJECT] = {vsp_handle_inject, sizeof(struct vsp_frame), false, 0, 0},
	[VSP_JOURNAL] = {vsp_handle_journal, sizeof(struct vsp_journal), true, 1, 1},
	[VSP_INFO] = {vsp_handle_info, sizeof(struct vsp_header), true, 0, 0},
	[VSP_PORTALS] = {vsp_handle_portals, sizeof(struct vsp_header), true, 0, 0},
	[VSP_PROBE] = {vsp_handle_probe, sizeof(struct vsp_probe), true, 0, 0},
	[VSP_VLAN] = {vsp_handle_vlan, sizeof(struct vsp_vlan), true, 0, 0},
	[VSP_VLAN_CHECK] = {vsp_handle_vlan_check, sizeof(struct vsp_vlan), true, 0, 0},
};

/* Closes the reply's fd. */
static int send_reply(struct connection *connection, const struct vsp_header *asked, int status,
		      struct reply *reply)
{
	struct vsp_header *header = (struct vsp_header *)reply->bytes;
	size_t length = status ? sizeof(*header) : reply->length;
	size_t fd_count = !status && reply->fd >= 0;
	int err;

	header->type = asked->type | VSP_REPLY;
	header->size_bytes = (uint32_t)length;
	header->sequence = asked->sequence;
	header->status = status;
	err = fd_passing_send(connection->fd, reply->bytes, length, &reply->fd, fd_count);
	if (reply->fd >= 0)
		close(reply->fd);
	return err;
}

/* Returns 0 or more, or -errno where the connection is to end. */
static int handle_request(struct connection *connection, struct request *request)
{
	const struct vsp_header *header = request->bytes;
	struct reply reply = {.length = sizeof(*header), .fd = -1};
	const struct request_kind *kind;
	int status;

	if (request->length < sizeof(*header) || header->size_bytes != request->length)
		return -EBADMSG;
	if (header->type >= ARRAY_LENGTH(request_kinds) || !request_kinds[header->type].handle)
		return send_reply(connection, header, -EOPNOTSUPP, &reply);
	kind = &request_kinds[header->type];
	if (request->length < kind->min_bytes ||
	    (kind->exact && request->length != kind->min_bytes) ||
	    request->fd_count < kind->min_fds || request->fd_count > kind->max_fds ||
	    (header->type != VSP_HELLO && !connection->greeted))
		return -EBADMSG;
	status = kind->handle(connection, request, &reply);
	if (status == -EBADMSG || status == VSP_REPLY_LATER)
		return status;
	return send_reply(connection, header, status, &reply);
}

/* Returns 1: a request was handled; 0: none there; -errno: the connection is to end. */
static int receive_request(struct connection *connection)
{
	struct vsp_server *server = connection->server;
	struct request request = {.bytes = server->message};
	ssize_t length =
		fd_passing_receive(connection->fd, server->message, sizeof(server->message),
				   request.fds, VSP_REQUEST_MAX_FDS, &request.fd_count);
	int err;

	if (length == -EAGAIN)
		return 0;
	if (length <= 0)
		return length < 0 ? (int)length : -EPIPE;
	request.length = (size_t)length;
	err = handle_request(connection, &request);
	for (size_t i = 0; i < request.fd_count; i++)
		close(request.fds[i]);
	return err < 0 ? err : 1;
}

static void connection_ready(void *ctx, int fd, uint32_t events)
{
	struct connection *connection = ctx;

	(void)fd;
	if ((events & EPOLLOUT) && vsp_send_late(connection) < 0) {
		vsp_drop_connection(connection);
		return;
	}
	for (unsigned int i = 0; i < MESSAGES_A_ROUND; i++) {
		int rc = receive_request(connection);

		if (rc > 0)
			continue;
		if (rc < 0) {
			if (rc != -EPIPE && rc != -ECONNRESET)
				log_warn_limited(
					"%s: connection dropped: %s",
					connection->name[0] ? connection->name : "a client",
					rc == -EBADMSG ? "malformed request" : strerror(-rc));
			vsp_drop_connection(connection);
		}
		return;
	}
}

static void accept_again(void *ctx)
{
	struct vsp_server *server = ctx;

	server->accept_timer = NULL;
	event_watch_modify(server->watch, EPOLLIN);
}

/* No fd or memory for the client that waits: it would keep the loop spinning. */
static void pause_accepting(struct vsp_server *server, int err)
{
	log_warn_limited("a client must wait: %s", strerror(-err));
	if (event_loop_after_ms(server->loop, ACCEPT_PAUSE_MS, accept_again, server,
				&server->accept_timer) == 0)
		event_watch_modify(server->watch, 0);
}

static void accept_ready(void *ctx, int listen_fd, uint32_t events)
{
	struct vsp_server *server = ctx;
	struct connection *connection;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(server, -errno);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection || server->connection_count >= VSP_SERVER_MAX_CONNECTIONS) {
		log_warn_limited("too many connections");
		goto err_free;
	}
	connection->server = server;
	connection->fd = fd;
	LIST_INIT(&connection->probes);
	if (event_loop_watch(server->loop, fd, EPOLLIN, connection_ready, connection,
			     &connection->watch) < 0)
		goto err_free;
	LIST_INSERT_HEAD(&server->connections, connection, link);
	server->connection_count++;
	return;

err_free:
	free(connection);
	close(fd);
}

int vsp_server_create(struct event_loop *loop, struct data_path *data, const char *path,
		      struct vsp_server **out)
{
	struct vsp_server *server;
	int err;

	if (strlen(path) >= sizeof(server->path))
		return -ENAMETOOLONG;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->data = data;
	memcpy(server->path, path, strlen(path) + 1);
	LIST_INIT(&server->connections);
	err = prober_create(loop, data, &server->prober);
	if (err)
		goto err_free;
	server->fd = unix_socket_listen(path, SOCK_SEQPACKET);
	if (server->fd < 0) {
		err = server->fd;
		goto err_prober;
	}
	err = event_loop_watch(loop, server->fd, EPOLLIN, accept_ready, server, &server->watch);
	if (err)
		goto err_close;
	*out = server;
	return 0;

err_close:
	close(server->fd);
	unlink(path);
err_prober:
	prober_destroy(server->prober);
err_free:
	free(server);
	return err;
}

void vsp_server_destroy(struct vsp_server *server)
{
	struct connection *connection;

	if (!server)
		return;
	connection = LIST_FIRST(&server->connections);
	while (connection) {
		struct connection *next = LIST_NEXT(connection, link);

		vsp_drop_connection(connection);
		connection = next;
	}
	event_timer_cancel(server->accept_timer);
	event_watch_remove(server->watch);
	prober_destroy(server->prober);
	close(server->fd);
	unlink(server->path);
	free(server);
}

void vsp_server_announce(struct vsp_server *server)
{
	struct connection *connection;

	LIST_FOREACH(connection, &server->connections, link)
	if (connection->nic)
		vsp_announce(connection);
}

uint32_t vsp_server_connections(const struct vsp_server *server)
{
	return server->connection_count;
}
