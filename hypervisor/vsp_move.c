/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual NIC's part in a move: its state out of one netvspd and into another, rest in between,
 * and the frames that come late. See vsp_client.h and wire/vsp.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/vsp_client_internal.h"
#include "hypervisor/vsp_link.h"

#define LOG_COMPONENT "nic"

/* Frames on their way to netvspd; more are dropped, as a full queue of a switch would. */
#define MAX_INJECTING 512

static void state_free(struct vsp_move *move)
{
	move->complete = false;
	free(move->state);
	move->state = NULL;
	move->state_bytes = 0;
}

void vsp_move_free_state(struct vsp_client *client)
{
	state_free(&client->move);
}

static void done_call(struct vsp_move *move, int status)
{
	vsp_client_done_fn done = move->done;

	move->done = NULL;
	if (done)
		done(move->done_ctx, status);
}

/* ---- out ---- */

/* Copies the state out of netvspd's memfd, which is nothing to rely on. */
static int state_take(struct vsp_move *move, int fd, uint64_t size_bytes)
{
	size_t length = 0;

	if (fd < 0 || size_bytes < 1 || size_bytes > VSP_MAX_STATE_BYTES)
		return -EPROTO;
	state_free(move);
	move->state = malloc(size_bytes);
	if (!move->state)
		return -ENOMEM;
	while (length < size_bytes) {
		ssize_t got = pread(fd, move->state + length, size_bytes - length, (off_t)length);

		if (got <= 0) {
			state_free(move);
			return got < 0 ? -errno : -EPROTO;
		}
		length += (size_t)got;
	}
	move->state_bytes = length;
	move->complete = true;
	return 0;
}

static void on_saved(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;
	const struct vsp_state *state = (const void *)reply;
	int fd = reply ? vsp_link_take_fd(client->link) : -1;

	/* The pause that asked for it was given up: the guest has run since, and its state is
	 * another. */
	if (tag != client->move.saves || !client->move.done) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!status && !reply)
		status = -ENOTCONN;
	if (!status)
		status = reply->size_bytes < sizeof(*state)
				 ? -EPROTO
				 : state_take(&client->move, fd, state->size_bytes);
	if (fd >= 0)
		close(fd);
	done_call(&client->move, status);
}

/* Whether the guest still holds on to an earlier offer of this NIC. */
static bool has_orphan(const struct vsp_client *client)
{
	const struct vsp_device *first = LIST_FIRST(&client->devices);

	return first && (first != client->device || LIST_NEXT(first, link));
}

int vsp_client_save(struct vsp_client *client, vsp_client_done_fn done, void *ctx)
{
	struct vsp_move *move = &client->move;
	struct vsp_header message;
	int result;

	if (move->rests || move->done || move->recovering)
		return -EBUSY;
	if (!client->ready || !client->device || has_orphan(client))
		return -ENOTCONN;
	if (client->version < VSP_VERSION_MOVES)
		return -EOPNOTSUPP;
	vsp_header_fill(&message, VSP_SAVE, sizeof(message));
	result = vsp_link_request(client->link, &message, NULL, 0, on_saved, client,
				  move->saves + 1);
	if (result)
		return result;
	move->saves++;
	move->rests = true;
	move->done = done;
	move->done_ctx = ctx;
	return 0;
}

const void *vsp_client_get_state(const struct vsp_client *client, size_t *length)
{
	*length = client->move.state_bytes;
	return client->move.state;
}

/* ---- in ---- */

int vsp_client_set_state(struct vsp_client *client, const void *state, size_t length)
{
	struct vsp_move *move = &client->move;

	if (length < 1 || length > VSP_MAX_STATE_BYTES || move->state)
		return -EPROTO;
	move->state = malloc(length);
	if (!move->state)
		return -ENOMEM;
	memcpy(move->state, state, length);
	move->state_bytes = length;
	return 0;
}

int vsp_move_state_fd(const struct vsp_client *client)
{
	const struct vsp_move *move = &client->move;
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	int fd = memfd_create("lunar-nic-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int result = 0;

	if (fd < 0)
		return -errno;
	for (size_t sent = 0; sent < move->state_bytes && !result;) {
		ssize_t length = write(fd, move->state + sent, move->state_bytes - sent);

		if (length < 0)
			result = -errno;
		else
			sent += (size_t)length;
	}
	if (!result && fcntl(fd, F_ADD_SEALS, seals) < 0)
		result = -errno;
	if (!result)
		return fd;
	close(fd);
	return result;
}

static void on_restored(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)tag;
	(void)reply;
	client->move.restore_answered = true;
	client->move.restore_status = status;
	client->move.complete = !status && client->move.done;
	if (status)
		log_error("%s: netvspd does not take the NIC's state: %s", client->name,
			  strerror(-status));
	done_call(&client->move, status);
}

int vsp_move_send_state(struct vsp_client *client)
{
	struct vsp_move *move = &client->move;
	struct vsp_state message = {.size_bytes = move->state_bytes};
	int result;
	int fd;

	if (move->restore_sent)
		return 0;
	if (!client->link)
		return -ENOTCONN;
	if (!move->state)
		return -EPROTO;
	fd = vsp_move_state_fd(client);
	if (fd < 0)
		return fd;
	vsp_header_fill(&message, VSP_RESTORE, sizeof(message));
	result = vsp_link_request(client->link, &message.header, &fd, 1, on_restored, client, 0);
	close(fd);
	move->restore_sent = !result;
	if (!result)
		vsp_recover_give_journal(client);
	return result;
}

int vsp_client_restore(struct vsp_client *client, vsp_client_done_fn done, void *ctx)
{
	struct vsp_move *move = &client->move;
	int result = client->link ? vsp_move_send_state(client) : -ENOTCONN;

	if (result)
		return result;
	move->done = done;
	move->done_ctx = ctx;
	if (move->restore_answered) {
		move->complete = !move->restore_status;
		done_call(move, move->restore_status);
	}
	return 0;
}

/* ---- going on ---- */

static void on_resumed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)tag;
	if (status && reply)
		vsp_link_lose(client->link, "it does not let the NIC go on");
}

void vsp_move_send_resume(struct vsp_client *client, bool announce)
{
	struct vsp_resume message = {.flags = announce ? VSP_RESUME_ANNOUNCE : 0};

	client->move.incoming = false;
	vsp_header_fill(&message, VSP_RESUME, sizeof(message));
	if (vsp_link_request(client->link, &message.header, NULL, 0, on_resumed, client, 0)) {
		vsp_link_lose(client->link, "a request could not be sent");
		return;
	}
	if (client->device)
		vsp_device_kick(client->device);
}

void vsp_client_resume(struct vsp_client *client, bool announce)
{
	struct vsp_move *move = &client->move;

	if (!move->rests)
		return;
	move->rests = false;
	move->done = NULL;
	if (move->recovering) {
		move->resume_waits = true;
		move->announce = announce;
		move->recover_deadline = deadline_in_ms(VSP_RECOVER_MS);
		return;
	}
	state_free(move);
	if (!client->link) { /* lost meanwhile */
		move->incoming = false;
		vsp_device_orphan(client);
		vsp_client_set_timer(client, 0);
		return;
	}
	vsp_move_send_resume(client, announce);
}

static void on_departed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)tag;
	(void)reply;
	if (status)
		log_warn("%s: late frames are lost: %s", client->name, strerror(-status));
}

void vsp_client_depart(struct vsp_client *client, vsp_client_frame_fn fn, void *ctx)
{
	struct vsp_header message;

	client->move.late_frame = fn;
	client->move.late_frame_ctx = ctx;
	state_free(&client->move); /* nobody goes on with it here */
	client->move.hopeless = true;
	if (client->move.recovering)
		vsp_client_disconnect(client);
	client->move.recovering = false;
	if (!client->link)
		return;
	vsp_header_fill(&message, VSP_DEPART, sizeof(message));
	if (vsp_link_request(client->link, &message, NULL, 0, on_departed, client, 0))
		log_warn("%s: late frames are lost", client->name);
}

void vsp_move_late_frame(struct vsp_client *client, const struct vsp_header *message)
{
	const struct vsp_move *move = &client->move;
	const struct vsp_frame *frame = (const void *)message;
	size_t length = message->size_bytes - sizeof(*message);

	if (move->late_frame && length > 0 && length <= VSP_MAX_FRAME_BYTES)
		move->late_frame(move->late_frame_ctx, client->config.nic_index, frame->bytes,
				 length);
}

static void on_injected(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)tag;
	(void)status;
	(void)reply;
	client->move.injecting--;
}

void vsp_client_inject(struct vsp_client *client, const void *frame, size_t length)
{
	struct vsp_move *move = &client->move;
	struct vsp_frame *message;

	if (!client->ready || move->rests || move->recovering ||
	    client->version < VSP_VERSION_MOVES || length < 1 || length > VSP_MAX_FRAME_BYTES ||
	    move->injecting >= MAX_INJECTING)
		return;
	message = malloc(sizeof(*message) + length);
	if (!message)
		return;
	*message = (struct vsp_frame){0};
	vsp_header_fill(message, VSP_INJECT, sizeof(*message) + length);
	memcpy(message->bytes, frame, length);
	if (!vsp_link_request(client->link, &message->header, NULL, 0, on_injected, client, 0))
		move->injecting++;
	free(message);
}

size_t vsp_client_get_portals(const struct vsp_client *client, struct vsp_portal *portals)
{
	memcpy(portals, client->portals, client->portal_count * sizeof(portals[0]));
	return client->portal_count;
}
