/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vmwp side of the vsp socket, and the fake driver's transport over it.
 */
#include "tests/fake_guest/vsp_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/fd_passing.h"
#include "tests/fake_guest/fake_space.h"
#include "vmbus/gpadl.h"
#include "vmbus/guest_memory.h"

#define MAX_CHANNELS 64
#define MAX_GPADLS   128
#define FIRST_RELID  11 /* of the primary channel: nothing may rely on small ones */

struct guest_channel {
	bool open;
	uint32_t vp;
	int kick;  /* eventfd, the guest signals */
	int irqfd; /* eventfd, netvspd signals */
	uint32_t gpadl_id;
	uint32_t downstream_page;
};

struct vsp_guest {
	struct vsp_guest_config config;
	char name[48];
	struct fake_space *space;
	int socket;
	int parked_socket; /* of the netvspd that the vNIC has left; -1: none */
	int journal_fd;	   /* -1: none */
	int received_fd;   /* that came with the message in hand; -1: none */
	const struct fake_pages *gpadls[MAX_GPADLS];
	int timeout_ms;
	uint32_t sequence;
	uint32_t offered;
	struct vsp_nic_state nic_state;
	struct guest_channel channels[MAX_CHANNELS];
	_Alignas(8) uint8_t message[VSP_MAX_MESSAGE_BYTES];
};

/* ---- socket ---- */

/* Takes one message in. Returns its length, -EAGAIN when there is none, -EPIPE when the peer has
 * gone, -EPROTO. */
static ssize_t message_receive(struct vsp_guest *guest)
{
	const struct vsp_header *header = (const void *)guest->message;
	size_t fd_count = 0;
	int fds[1];
	ssize_t length = fd_passing_receive(guest->socket, guest->message, sizeof(guest->message),
					    fds, ARRAY_LENGTH(fds), &fd_count);

	if (length < 0)
		return length;
	if (length == 0)
		return -EPIPE;
	if (guest->received_fd >= 0)
		close(guest->received_fd);
	guest->received_fd = fd_count > 0 ? fds[0] : -1;
	if (fd_count > 0 && header->type != (VSP_SAVE | VSP_REPLY))
		return -EPROTO;
	if ((size_t)length < sizeof(*header) || header->size_bytes != (size_t)length)
		return -EPROTO;
	return length;
}

/* Takes in what netvspd says by itself. Returns 0, or -EPROTO where the message in hand is no
 * notification. */
static int notification_take(struct vsp_guest *guest)
{
	const struct vsp_header *header = (const void *)guest->message;

	if (header->type == VSP_SUB_CHANNELS &&
	    header->size_bytes == sizeof(struct vsp_sub_channels)) {
		guest->offered = ((const struct vsp_sub_channels *)header)->count;
		return 0;
	}
	if (header->type == VSP_NIC_STATE && header->size_bytes == sizeof(struct vsp_nic_state)) {
		memcpy(&guest->nic_state, header, sizeof(guest->nic_state));
		return 0;
	}
	if (header->type == VSP_LATE_FRAME) /* that nobody waits for */
		return 0;
	return -EPROTO;
}

static int socket_wait(struct vsp_guest *guest, struct deadline deadline)
{
	struct pollfd pollfd = {.fd = guest->socket, .events = POLLIN};
	int rc = poll(&pollfd, 1, deadline_left_ms(deadline));

	if (rc < 0)
		return errno == EINTR ? 0 : -errno;
	return rc == 0 ? -ETIMEDOUT : 0;
}

/* Sends a request and waits for its reply, which is then in guest->message. Returns the reply's
 * status, or -errno. */
static int request(struct vsp_guest *guest, struct vsp_header *header, uint32_t type, size_t length,
		   const int *fds, size_t fd_count, size_t reply_bytes)
{
	struct deadline deadline = deadline_in_ms((uint32_t)guest->timeout_ms);
	const struct vsp_header *reply = (const void *)guest->message;
	ssize_t got;
	int rc;

	header->type = type;
	header->size_bytes = (uint32_t)length;
	header->sequence = ++guest->sequence;
	header->status = 0;
	rc = fd_passing_send(guest->socket, header, length, fds, fd_count);
	while (rc == 0) {
		got = message_receive(guest);
		if (got == -EAGAIN) {
			rc = socket_wait(guest, deadline);
			continue;
		}
		if (got < 0)
			return (int)got;
		if (!(reply->type & VSP_REPLY)) {
			rc = notification_take(guest);
			continue;
		}
		if (reply->type != (type | VSP_REPLY) || reply->sequence != guest->sequence)
			return -EPROTO;
		if (reply->status == 0 && (size_t)got < reply_bytes)
			return -EPROTO;
		return reply->status;
	}
	return rc;
}

/* Takes in notifications that are waiting. Returns 0 or -errno. */
static int notifications_read(struct vsp_guest *guest)
{
	for (;;) {
		ssize_t got = message_receive(guest);

		if (got == -EAGAIN)
			return 0;
		if (got < 0)
			return (int)got;
		if (notification_take(guest))
			return -EPROTO;
	}
}

/* ---- set-up ---- */

static int hello(struct vsp_guest *guest)
{
	struct vsp_hello hello = {.version = VSP_VERSION};
	int rc = request(guest, &hello.header, VSP_HELLO, sizeof(hello), NULL, 0, sizeof(hello));

	if (rc)
		return rc;
	return ((const struct vsp_hello *)guest->message)->version == VSP_VERSION ? 0 : -EPROTO;
}

static int memory_send(struct vsp_guest *guest)
{
	_Alignas(8) uint8_t bytes[sizeof(struct vsp_memory) + sizeof(struct vsp_region)] = {0};
	struct vsp_memory *memory = (struct vsp_memory *)bytes;
	const int fds[] = {
		guest_memory_dirty_fd(guest->space->memory),
		guest->space->signals.fd,
		guest->space->fd,
	};

	memory->vp_count = guest->space->vp_count;
	memory->region_count = 1;
	memory->regions[0].size_bytes = guest->space->size_bytes;
	return request(guest, &memory->header, VSP_MEMORY, sizeof(bytes), fds, ARRAY_LENGTH(fds),
		       sizeof(struct vsp_header));
}

static int nic_send(struct vsp_guest *guest, uint32_t flags)
{
	const struct vsp_guest_config *config = &guest->config;
	struct vsp_nic nic = {
		.mtu = config->mtu ? config->mtu : 9000,
		.flags = config->flags | flags,
		.max_channels = config->max_channels ? config->max_channels : 1,
	};

	snprintf(nic.name, sizeof(nic.name), "%s", guest->name);
	memcpy(nic.mac, config->mac, sizeof(nic.mac));
	return request(guest, &nic.header, VSP_NIC, sizeof(nic), NULL, 0,
		       sizeof(struct vsp_header));
}

int vsp_guest_create(const struct vsp_guest_config *config, struct vsp_guest **guest)
{
	uint32_t vps = config->vp_count ? config->vp_count
					: (config->max_channels ? config->max_channels : 1);
	struct vsp_guest *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return -ENOMEM;
	new->config = *config;
	snprintf(new->name, sizeof(new->name), "%s", config->name);
	new->socket = -1;
	new->parked_socket = -1;
	new->received_fd = -1;
	new->journal_fd = -1;
	new->timeout_ms = config->timeout_ms ? config->timeout_ms : 20000;
	for (size_t i = 0; i < MAX_CHANNELS; i++)
		new->channels[i] = (struct guest_channel){.kick = -1, .irqfd = -1};
	rc = fake_space_create(config->memory_bytes ? config->memory_bytes : 64u << 20, vps,
			       &new->space);
	if (rc)
		goto err_destroy;
	new->socket = unix_socket_connect(config->socket, SOCK_SEQPACKET);
	if (new->socket < 0) {
		rc = new->socket;
		goto err_destroy;
	}
	rc = hello(new);
	if (rc == 0)
		rc = memory_send(new);
	if (rc == 0)
		rc = nic_send(new, 0);
	if (rc)
		goto err_destroy;
	*guest = new;
	return 0;
err_destroy:
	vsp_guest_destroy(new);
	return rc;
}

static void channel_fds_close(struct guest_channel *channel)
{
	if (channel->kick >= 0)
		close(channel->kick);
	if (channel->irqfd >= 0)
		close(channel->irqfd);
	*channel = (struct guest_channel){.kick = -1, .irqfd = -1};
}

void vsp_guest_destroy(struct vsp_guest *guest)
{
	if (!guest)
		return;
	if (guest->socket >= 0)
		close(guest->socket);
	vsp_guest_forget_old(guest);
	if (guest->received_fd >= 0)
		close(guest->received_fd);
	if (guest->journal_fd >= 0)
		close(guest->journal_fd);
	for (size_t i = 0; i < MAX_CHANNELS; i++)
		channel_fds_close(&guest->channels[i]);
	fake_space_destroy(guest->space);
	free(guest);
}

/* ---- the driver's transport ---- */

static int gpadl_send(struct vsp_guest *guest, const struct fake_pages *pages)
{
	size_t ranges = gpadl_encode(pages->gpadl, NULL, 0);
	size_t length = sizeof(struct vsp_gpadl_add) + ranges;
	struct vsp_gpadl_add *add = calloc(1, length);
	int rc;

	if (!add)
		return -ENOMEM;
	add->gpadl_id = pages->gpadl->id;
	add->range_count = pages->gpadl->range_count;
	gpadl_encode(pages->gpadl, add->ranges, ranges);
	rc = request(guest, &add->header, VSP_GPADL_ADD, length, NULL, 0,
		     sizeof(struct vsp_header));
	free(add);
	return rc;
}

/* The place in gpadls of an id, or of nothing (NULL). */
static const struct fake_pages **gpadl_find(struct vsp_guest *guest, const uint32_t *gpadl_id)
{
	for (size_t i = 0; i < MAX_GPADLS; i++) {
		const struct fake_pages *pages = guest->gpadls[i];

		if (gpadl_id ? pages && pages->gpadl->id == *gpadl_id : !pages)
			return &guest->gpadls[i];
	}
	return NULL;
}

static int transport_gpadl_add(void *ctx, uint32_t sub_index, const struct fake_pages *pages)
{
	struct vsp_guest *guest = ctx;
	const struct fake_pages **place = gpadl_find(guest, NULL);
	int rc;

	(void)sub_index; /* the socket has one space of ids for a vNIC */
	if (!place)
		return -ENOSPC;
	rc = gpadl_send(guest, pages);
	if (rc == 0)
		*place = pages;
	return rc;
}

static int transport_gpadl_remove(void *ctx, uint32_t sub_index, uint32_t gpadl_id)
{
	struct vsp_gpadl_remove remove = {.gpadl_id = gpadl_id};
	const struct fake_pages **place = gpadl_find(ctx, &gpadl_id);
	int rc = request(ctx, &remove.header, VSP_GPADL_REMOVE, sizeof(remove), NULL, 0,
			 sizeof(struct vsp_header));

	(void)sub_index;
	if (rc == 0 && place)
		*place = NULL;
	return rc;
}

static int channel_send(struct vsp_guest *guest, uint32_t sub_index, uint32_t flags)
{
	const struct guest_channel *channel = &guest->channels[sub_index];
	struct vsp_channel_open open = {
		.sub_index = sub_index,
		.gpadl_id = channel->gpadl_id,
		.downstream_page_offset = channel->downstream_page,
		.target_vp = channel->vp,
		.event_flag = FIRST_RELID + sub_index,
		.flags = flags,
	};

	return request(guest, &open.header, VSP_CHANNEL_OPEN, sizeof(open),
		       (const int[]){channel->kick, channel->irqfd}, 2, sizeof(struct vsp_header));
}

static int transport_channel_open(void *ctx, uint32_t sub_index, uint32_t gpadl_id,
				  uint32_t downstream_page, uint32_t vp)
{
	struct vsp_guest *guest = ctx;
	struct guest_channel *channel = &guest->channels[sub_index];
	int rc;

	/* Left by the channel's last life, whose interrupt nobody took: a guest's VP would have. */
	fake_space_take_flag(guest->space, vp, FIRST_RELID + sub_index);
	*channel = (struct guest_channel){
		.vp = vp, .gpadl_id = gpadl_id, .downstream_page = downstream_page};
	channel->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	channel->irqfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = channel->kick < 0 || channel->irqfd < 0 ? -EMFILE : channel_send(guest, sub_index, 0);
	if (rc) {
		channel_fds_close(channel);
		return rc;
	}
	channel->open = true;
	return 0;
}

static int transport_channel_close(void *ctx, uint32_t sub_index)
{
	struct vsp_guest *guest = ctx;
	struct vsp_channel_close close_message = {.sub_index = sub_index};
	int rc = request(guest, &close_message.header, VSP_CHANNEL_CLOSE, sizeof(close_message),
			 NULL, 0, sizeof(struct vsp_header));

	/* Sub-channels are offered anew after the primary was opened again. */
	if (rc == 0 && sub_index == 0)
		guest->offered = 0;
	if (rc == 0)
		channel_fds_close(&guest->channels[sub_index]);
	return rc;
}

static void transport_kick(void *ctx, uint32_t sub_index)
{
	const struct vsp_guest *guest = ctx;
	const uint64_t one = 1;

	/* A full counter is a kick that is still to come. */
	if (write(guest->channels[sub_index].kick, &one, sizeof(one)) < 0)
		return;
}

/* As the VP's interrupt handler: takes the flag first, then the driver looks at the ring. */
static bool interrupt_take(struct vsp_guest *guest, uint32_t sub_index)
{
	struct guest_channel *channel = &guest->channels[sub_index];
	uint64_t count;

	if (read(channel->irqfd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return false;
	fake_space_take_flag(guest->space, channel->vp, FIRST_RELID + sub_index);
	return true;
}

static int transport_wait(void *ctx, int timeout_ms)
{
	struct vsp_guest *guest = ctx;
	struct pollfd fds[MAX_CHANNELS + 1];
	uint32_t index[MAX_CHANNELS + 1];
	nfds_t count = 0;
	int rc;

	fds[count++] = (struct pollfd){.fd = guest->socket, .events = POLLIN};
	for (uint32_t i = 0; i < MAX_CHANNELS; i++) {
		if (!guest->channels[i].open)
			continue;
		index[count] = i;
		fds[count++] = (struct pollfd){.fd = guest->channels[i].irqfd, .events = POLLIN};
	}
	rc = poll(fds, count, timeout_ms);
	if (rc < 0)
		return errno == EINTR ? 0 : -errno;
	if (rc == 0)
		return -ETIMEDOUT;
	for (nfds_t i = 1; i < count; i++)
		if (fds[i].revents)
			interrupt_take(guest, index[i]);
	return fds[0].revents ? notifications_read(guest) : 0;
}

static uint32_t transport_offered(void *ctx)
{
	struct vsp_guest *guest = ctx;

	return guest->offered;
}

static const struct fake_transport_ops transport_ops = {
	.gpadl_add = transport_gpadl_add,
	.gpadl_remove = transport_gpadl_remove,
	.channel_open = transport_channel_open,
	.channel_close = transport_channel_close,
	.kick = transport_kick,
	.wait = transport_wait,
	.offered_sub_channels = transport_offered,
};

int vsp_guest_driver(struct vsp_guest *guest, const struct fake_netvsc_config *config,
		     struct fake_netvsc **nv)
{
	return fake_netvsc_create(guest->space, &transport_ops, guest, config, nv);
}

/* ---- a move ---- */

int vsp_guest_save(struct vsp_guest *guest, int *state_fd, uint64_t *size_bytes)
{
	struct vsp_header header;
	const struct vsp_state *reply = (const void *)guest->message;
	int rc = request(guest, &header, VSP_SAVE, sizeof(header), NULL, 0, sizeof(*reply));

	if (rc)
		return rc;
	if (guest->received_fd < 0)
		return -EPROTO;
	*state_fd = guest->received_fd;
	*size_bytes = reply->size_bytes;
	guest->received_fd = -1;
	return 0;
}

static int journal_send(struct vsp_guest *guest, uint32_t flags)
{
	struct vsp_journal journal = {.flags = flags};

	return request(guest, &journal.header, VSP_JOURNAL, sizeof(journal), &guest->journal_fd, 1,
		       sizeof(struct vsp_header));
}

int vsp_guest_keep_journal(struct vsp_guest *guest)
{
	guest->journal_fd = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (guest->journal_fd < 0 || ftruncate(guest->journal_fd, VSP_JOURNAL_BYTES) < 0 ||
	    fcntl(guest->journal_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return -errno;
	return journal_send(guest, 0);
}

/* The state: out of an fd, or (-1) of the journal. */
static int arrival_send(struct vsp_guest *guest, int state_fd, uint64_t size_bytes)
{
	struct vsp_state state = {.size_bytes = size_bytes};
	int rc = hello(guest);

	if (rc == 0)
		rc = memory_send(guest);
	if (rc == 0)
		rc = nic_send(guest, VSP_NIC_INCOMING);
	for (size_t i = 0; rc == 0 && i < MAX_GPADLS; i++) {
		if (guest->gpadls[i])
			rc = gpadl_send(guest, guest->gpadls[i]);
	}
	if (rc == 0 && state_fd >= 0)
		rc = request(guest, &state.header, VSP_RESTORE, sizeof(state), &state_fd, 1,
			     sizeof(struct vsp_header));
	if (rc == 0 && guest->journal_fd >= 0)
		rc = journal_send(guest, state_fd >= 0 ? 0 : VSP_JOURNAL_RECOVER);
	for (uint32_t i = 0; rc == 0 && i < MAX_CHANNELS; i++) {
		if (guest->channels[i].open)
			rc = channel_send(guest, i, VSP_CHANNEL_RESTORED);
	}
	return rc;
}

int vsp_guest_arrive(struct vsp_guest *guest, const char *socket, int state_fd, uint64_t size_bytes)
{
	int old = guest->socket;
	int rc;

	guest->socket = unix_socket_connect(socket, SOCK_SEQPACKET);
	rc = guest->socket < 0 ? guest->socket : arrival_send(guest, state_fd, size_bytes);
	if (rc) {
		if (guest->socket >= 0)
			close(guest->socket);
		guest->socket = old;
		return rc;
	}
	vsp_guest_forget_old(guest);
	guest->parked_socket = old;
	return 0;
}

int vsp_guest_journal(const struct vsp_guest *guest)
{
	return guest->journal_fd;
}

int vsp_guest_recover(struct vsp_guest *guest, const char *socket)
{
	int rc;

	close(guest->socket);
	guest->socket = unix_socket_connect(socket, SOCK_SEQPACKET);
	rc = guest->socket < 0 ? guest->socket : arrival_send(guest, -1, 0);
	return rc ? rc : vsp_guest_resume(guest, 0);
}

int vsp_guest_resume(struct vsp_guest *guest, uint32_t flags)
{
	struct vsp_resume resume = {.flags = flags};

	return request(guest, &resume.header, VSP_RESUME, sizeof(resume), NULL, 0,
		       sizeof(struct vsp_header));
}

static void sockets_swap(struct vsp_guest *guest)
{
	int socket = guest->socket;

	guest->socket = guest->parked_socket;
	guest->parked_socket = socket;
}

int vsp_guest_depart(struct vsp_guest *guest)
{
	struct vsp_header header;
	int rc;

	sockets_swap(guest);
	rc = request(guest, &header, VSP_DEPART, sizeof(header), NULL, 0, sizeof(header));
	sockets_swap(guest);
	return rc;
}

size_t vsp_guest_take_late(struct vsp_guest *guest, uint8_t *frame, size_t size, int timeout_ms)
{
	struct deadline deadline = deadline_in_ms((uint32_t)timeout_ms);
	const struct vsp_frame *message = (const void *)guest->message;
	size_t length = 0;

	sockets_swap(guest);
	while (length == 0) {
		ssize_t got = message_receive(guest);

		if (got == -EAGAIN && socket_wait(guest, deadline) == 0)
			continue;
		if (got < 0)
			break;
		if (message->header.type != VSP_LATE_FRAME || (size_t)got - sizeof(*message) > size)
			continue;
		length = (size_t)got - sizeof(*message);
		memcpy(frame, message->bytes, length);
	}
	sockets_swap(guest);
	return length;
}

int vsp_guest_inject(struct vsp_guest *guest, const void *frame, size_t length)
{
	struct vsp_frame *message = calloc(1, sizeof(*message) + length);
	int rc;

	if (!message)
		return -ENOMEM;
	memcpy(message->bytes, frame, length);
	rc = request(guest, &message->header, VSP_INJECT, sizeof(*message) + length, NULL, 0,
		     sizeof(struct vsp_header));
	free(message);
	return rc;
}

void vsp_guest_forget_old(struct vsp_guest *guest)
{
	if (guest->parked_socket >= 0)
		close(guest->parked_socket);
	guest->parked_socket = -1;
}

/* ---- the rest of the socket ---- */

int vsp_guest_ask(struct vsp_guest *guest, uint32_t type, struct vsp_header *message, size_t length,
		  void *reply, size_t reply_bytes)
{
	int rc = request(guest, message, type, length, NULL, 0, reply_bytes);

	if (rc == 0)
		memcpy(reply, guest->message, reply_bytes);
	return rc;
}

int vsp_guest_stats(struct vsp_guest *guest, struct vsp_stats *stats)
{
	struct vsp_header header;
	int rc = request(guest, &header, VSP_STATS, sizeof(header), NULL, 0, sizeof(*stats));

	if (rc == 0)
		memcpy(stats, guest->message, sizeof(*stats));
	return rc;
}

const struct vsp_nic_state *vsp_guest_nic_state(struct vsp_guest *guest)
{
	notifications_read(guest);
	return &guest->nic_state;
}

int vsp_guest_channel_modify(struct vsp_guest *guest, uint32_t sub_index, uint32_t vp)
{
	struct vsp_channel_modify modify = {.sub_index = sub_index, .target_vp = vp};
	struct guest_channel *channel = &guest->channels[sub_index];
	int rc;

	fake_space_take_flag(guest->space, vp, FIRST_RELID + sub_index);
	rc = request(guest, &modify.header, VSP_CHANNEL_MODIFY, sizeof(modify), &channel->irqfd, 1,
		     sizeof(struct vsp_header));

	if (rc == 0)
		channel->vp = vp;
	return rc;
}

struct fake_space *vsp_guest_space(struct vsp_guest *guest)
{
	return guest->space;
}

int vsp_guest_socket(const struct vsp_guest *guest)
{
	return guest->socket;
}
