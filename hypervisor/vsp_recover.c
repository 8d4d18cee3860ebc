/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A netvspd that is lost does not cost the guest its NIC. Where the NIC was at rest, its state is
 * here; where it ran, netvspd has kept a journal in memory of ours (wire/vsp.h, VSP_JOURNAL). So
 * the next netvspd on the same socket is told all over again what the guest has lent and opened, is
 * given state or journal, and goes on. The guest is not told; what it asks of its NIC meanwhile
 * waits.
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

#define AGAIN_MS 100

bool vsp_recover_is_possible(const struct vsp_client *client)
{
	const struct vsp_move *move = &client->move;

	if (!client->device || move->hopeless)
		return false;
	if (move->recovering || move->complete)
		return true;
	return move->journal_kept && !move->incoming;
}

bool vsp_recover_begin(struct vsp_client *client)
{
	struct vsp_move *move = &client->move;

	if (!vsp_recover_is_possible(client))
		return false;
	if (!move->rests && !move->recovering) { /* the guest runs: it must not wait for ever */
		move->resume_waits = true;
		move->announce = false;
		move->recover_deadline = deadline_in_ms(VSP_RECOVER_MS);
	}
	move->recovering = true;
	move->incoming = true; /* it is one, to the next netvspd */
	move->replaying = 0;
	vsp_client_set_timer(client, AGAIN_MS);
	return true;
}

/* ---- the journal ---- */

void vsp_recover_fini(struct vsp_client *client)
{
	if (client->move.journal >= 0)
		close(client->move.journal);
	client->move.journal = -1;
	client->move.journal_kept = false;
}

/* An empty one. */
static int journal_make(struct vsp_client *client)
{
	int fd = memfd_create("lunar-nic-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	vsp_recover_fini(client);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, VSP_JOURNAL_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		int result = -errno;

		close(fd);
		return result;
	}
	client->move.journal = fd;
	return 0;
}

static void on_journal(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	(void)tag;
	(void)reply;
	client->move.journal_kept = !status;
}

void vsp_recover_give_journal(struct vsp_client *client)
{
	struct vsp_journal message = {0};

	client->move.hopeless = false;
	if (client->version < VSP_VERSION_MOVES || journal_make(client))
		return;
	vsp_header_fill(&message, VSP_JOURNAL, sizeof(message));
	(void)vsp_link_request(client->link, &message.header, &client->move.journal, 1, on_journal,
			       client, 0);
}

/* ---- going on ---- */

void vsp_recover_end(struct vsp_client *client)
{
	struct vsp_move *move = &client->move;

	move->recovering = false;
	move->resume_waits = false;
	move->journal_kept = false;
	if (move->rests)
		return; /* until vsp_client_resume() */
	move->incoming = false;
	vsp_move_free_state(client);
	vsp_device_orphan(client);
}

static void give_up(struct vsp_client *client)
{
	log_error("%s: netvspd did not come back in time; the guest's NIC is unplugged",
		  client->name);
	vsp_client_disconnect(client);
	client->move.hopeless = true;
	vsp_recover_end(client);
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

static bool has_open_channel(const struct vsp_device *nic)
{
	for (uint32_t i = 0; i < nic->channel_count; i++)
		if (nic->channels[i].open)
			return true;
	return false;
}

static void on_replayed(void *ctx, uint64_t tag, int status, const struct vsp_header *reply)
{
	struct vsp_client *client = ctx;

	if (!reply)
		return; /* lost again */
	if (status == -ENODATA && tag == VSP_JOURNAL && !has_open_channel(client->device))
		status = 0; /* the vNIC is new, and so it is to the guest */
	if (tag == VSP_JOURNAL) {
		client->move.journal_kept = !status;
		if (client->move.complete)
			status = 0; /* it goes without one */
	}
	if (status) {
		client->move.hopeless = tag == VSP_JOURNAL || tag == VSP_RESTORE;
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

/* After the state an empty one, else the one to go on with. */
static int journal_replay(struct vsp_client *client)
{
	struct vsp_journal message = {
		.flags = client->move.complete ? 0 : VSP_JOURNAL_RECOVER,
	};
	int result = client->move.complete ? journal_make(client) : 0;

	if (result)
		return result;
	vsp_header_fill(&message, VSP_JOURNAL, sizeof(message));
	return replay(client, &message.header, &client->move.journal, 1);
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

	if (!result && client->move.complete)
		result = state_replay(client);
	if (!result)
		result = journal_replay(client);
	if (!result)
		result = channels_replay(client);
	if (result)
		vsp_link_lose(client->link, "a request could not be sent");
}
