/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A netvspd that is lost while its NIC is at rest: nothing is lost with it, since the NIC's state
 * is here and nobody has touched the guest's rings. So another netvspd (the next one on the same
 * socket) is told all over again what the guest has lent and opened, restored from that state, and
 * goes on. The guest is not told; what it does meanwhile waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hypervisor/vsp_client_internal.h"
#include "hypervisor/vsp_link.h"

#define LOG_COMPONENT "nic"

#define AGAIN_MS 100

bool vsp_recover_begin(struct vsp_client *client)
{
	struct vsp_move *move = &client->move;

	if (!client->device || !move->complete || !(move->rests || move->recovering))
		return false;
	move->recovering = true;
	move->incoming = true; /* it is one, to the next netvspd */
	move->replaying = 0;
	vsp_client_set_timer(client, AGAIN_MS);
	return true;
}

static void give_up(struct vsp_client *client)
{
	log_error("%s: netvspd did not come back in time; the guest's NIC is unplugged",
		  client->name);
	vsp_client_disconnect(client);
	client->move.recovering = false;
	client->move.resume_waits = false;
	client->move.incoming = false;
	vsp_move_free_state(client);
	vsp_device_orphan(client);
}

void vsp_recover_step(struct vsp_client *client)
{
	const struct vsp_move *move = &client->move;

	if (move->resume_waits && deadline_passed(move->recover_deadline))
		give_up(client);
	else if (client->link && client->refusal)
		vsp_client_disconnect(client); /* the name may be in use for a moment longer */
	else if (!client->link)
		(void)vsp_client_connect(client);
	vsp_client_set_timer(client, AGAIN_MS);
}

static void recovered(struct vsp_client *client)
{
	struct vsp_move *move = &client->move;

	log_info("%s: netvspd is back, and has the NIC as it was", client->name);
	move->recovering = false;
	if (client->device->channels[0].open)
		client->status.link = VM_NIC_OPEN;
	if (!move->resume_waits)
		return; /* at rest */
	move->resume_waits = false;
	vsp_move_free_state(client);
	vsp_move_send_resume(client, move->announce);
	vsp_device_run_deferred(client->device);
}

static void on_replayed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	if (!reply)
		return; /* lost again */
	if (status) {
		log_warn_limited("%s: netvspd does not take request %u again: %s", client->name,
				 (unsigned int)tag, strerror(-status));
		vsp_link_lose(client->link, "it does not take the NIC again");
	} else if (client->move.replaying && --client->move.replaying == 0) {
		recovered(client);
	}
}

static int replay(struct vsp_client *client, struct vsp_header *message, const int *fds,
		  size_t fd_count)
{
	int result = vsp_link_request(client->link, message, fds, fd_count, on_replayed, client,
				      message->type);

	if (!result)
		client->move.replaying++;
	return result;
}

static int gpadls_replay(struct vsp_client *client)
{
	const struct nic_gpadl *gpadl;
	int result = 0;

	LIST_FOREACH(gpadl, &client->device->gpadls, link)
	{
		struct vsp_header *message = vsp_device_gpadl_message(gpadl->gpadl);

		result = message ? replay(client, message, NULL, 0) : -ENOMEM;
		free(message);
		if (result)
			break;
	}
	return result;
}

static int state_replay(struct vsp_client *client)
{
	struct vsp_state message = {.size_bytes = client->move.state_bytes};
	int fd = vsp_move_state_fd(client);
	int result;

	if (fd < 0)
		return fd;
	vsp_header_fill(&message, VSP_RESTORE, sizeof(message));
	result = replay(client, &message.header, &fd, 1);
	close(fd);
	return result;
}

static int channels_replay(struct vsp_client *client)
{
	const struct vsp_device *nic = client->device;
	struct vsp_channel_open message;
	int result = 0;
	int fds[2];

	for (uint32_t i = 0; i < nic->channel_count && !result; i++) {
		int count;

		if (!nic->channels[i].open)
			continue;
		count = vsp_device_open_message(nic, i, &message, fds);
		message.flags = VSP_CHANNEL_RESTORED;
		result = count < 0 ? count : replay(client, &message.header, fds, (size_t)count);
	}
	return result;
}

void vsp_recover_replay(struct vsp_client *client)
{
	int result = gpadls_replay(client);

	if (!result)
		result = state_replay(client);
	if (!result)
		result = channels_replay(client);
	if (result)
		vsp_link_lose(client->link, "a request could not be sent");
}
