/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The disk over a worker's session. Two VMs of one host that use the same LUN under the same name
 * would take each other's session away for ever: a name bound in the abstract socket namespace,
 * which goes with its process, keeps the second one out.
 */
#include "storvsp/disk_iscsi.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "iscsi-session/disk_id.h"
#include "storvsp/disk.h"
#include "storvsp/io_loop.h"
#include "storvsp/iscsi_login.h"
#include "storvsp/iscsi_request.h"
#include "storvsp/iscsi_worker.h"

#define OPEN_MS	   17000u /* the login's 15 s, and a look at the LUN */
#define REFRESH_MS 1900u
#define TRIES_MAX  5

struct disk_iscsi {
	struct disk disk; /* first */
	struct iscsi_login login;
	struct iscsi_worker *worker; /* NULL: released */
	int name_fd;		     /* bound; -1: released */
	pthread_mutex_t mutex;	     /* guards info */
	struct disk_info info;
	_Atomic uint32_t block_bytes;
	bool read_only;
};

/* In the request, while a disk has it. */
struct iscsi_state {
	struct io_post post; /* first */
	struct iscsi_item item;
	struct iovec iov;
	uint8_t parameter[ISCSI_PARAMETER_BYTES];
	int tries;
};

_Static_assert(sizeof(struct iscsi_state) <= DISK_BACKEND_WORDS * sizeof(uint64_t),
	       "a request has room for a command");

static struct iscsi_state *state_of(struct disk_request *request)
{
	return (struct iscsi_state *)(void *)request->backend_state;
}

static struct disk_request *request_of(struct iscsi_state *state)
{
	return (struct disk_request *)(void *)((char *)state -
					       offsetof(struct disk_request, backend_state));
}

/* ---- requests ---- */

static void on_post(struct io_post *post)
{
	struct iscsi_state *state = (struct iscsi_state *)post;
	struct disk_request *request = request_of(state);

	request->done(request, iscsi_request_status(request, &state->item.command));
}

/* The worker's thread. */
static void on_command(struct session_command *command)
{
	struct iscsi_item *item =
		(struct iscsi_item *)((char *)command - offsetof(struct iscsi_item, command));
	struct iscsi_state *state =
		(struct iscsi_state *)((char *)item - offsetof(struct iscsi_state, item));
	struct disk_request *request = request_of(state);

	if (iscsi_request_is_to_repeat(request, command) && ++state->tries < TRIES_MAX) {
		iscsi_worker_submit(request->backend[0], item);
		return;
	}
	io_loop_post(request->loop, &state->post);
}

static int check(const struct disk_iscsi *d, const struct disk_request *request)
{
	if (d->worker == NULL)
		return -ENODEV;
	if (d->read_only && disk_request_writes(request))
		return -EROFS;
	if (request->op == DISK_SCSI || request->op == DISK_FLUSH)
		return 0;
	/* Where it ends the target knows best: it may have grown. */
	return ((request->offset | request->length) & (d->block_bytes - 1)) == 0 ? 0 : -EINVAL;
}

static void iscsi_submit(struct disk *disk, struct disk_request *request)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;
	struct iscsi_state *state = state_of(request);
	int ret = check(d, request);

	if (ret == 0)
		ret = iscsi_request_to_command(request, d->block_bytes, state->parameter,
					       &state->iov, &state->item.command);
	if (ret < 0) {
		request->done(request, ret);
		return;
	}
	request->backend[0] = d->worker;
	state->tries = 0;
	state->post.fn = on_post;
	state->item.command.done = on_command;
	iscsi_worker_submit(d->worker, &state->item);
}

/* ---- what it is ---- */

static void iscsi_get_info(struct disk *disk, struct disk_info *info)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;

	pthread_mutex_lock(&d->mutex);
	*info = d->info;
	pthread_mutex_unlock(&d->mutex);
}

static void take_facts(struct disk_iscsi *d, const struct iscsi_lun_facts *facts)
{
	struct disk_info info = facts->info;

	info.passes_scsi = true;
	info.read_only |= d->read_only;
	info.kind = "iscsi";
	if (!facts->has_id) {
		char id[DISK_ID_LENGTH + 1];
		disk_id_make(d->login.address.target, d->login.address.lun, id);
		memset(info.id, 0, sizeof(info.id));
		memcpy(info.id, id, DISK_ID_LENGTH);
	}
	pthread_mutex_lock(&d->mutex);
	d->info = info;
	d->block_bytes = info.block_bytes;
	pthread_mutex_unlock(&d->mutex);
}

static int iscsi_refresh(struct disk *disk)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;
	struct iscsi_lun_facts facts;
	int ret;

	if (d->worker == NULL)
		return -EBADF;
	ret = iscsi_worker_look(d->worker, REFRESH_MS, &facts);
	if (ret == 0)
		take_facts(d, &facts);
	return ret;
}

/* ---- life ---- */

static int bind_name(struct disk_iscsi *d, char *message, size_t message_bytes)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char id[DISK_ID_LENGTH + 1], *name = address.sun_path + 1;
	const struct iscsi_login *login = &d->login;
	int length, ret;

	/* The portal is left out: one target may have many. */
	disk_id_make(login->address.target, login->address.lun, id);
	length = snprintf(name, sizeof(address.sun_path) - 1, "lunar-iscsi/%s/%06x", id,
			  disk_isid_random(login->initiator_name, login->address.target));
	d->name_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (d->name_fd < 0)
		return -errno;
	if (bind(d->name_fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0)
		return 0;
	ret = errno == EADDRINUSE ? -EBUSY : -errno;
	close(d->name_fd);
	d->name_fd = -1;
	if (ret == -EBUSY)
		snprintf(message, message_bytes,
			 "LUN %u of %s is in use by another VM of this host under the same name, "
			 "%s: give one of them an initiator of its own",
			 login->address.lun, login->address.target, login->initiator_name);
	else
		snprintf(message, message_bytes, "%s", strerror(-ret));
	return ret;
}

static void unbind_name(struct disk_iscsi *d)
{
	if (d->name_fd >= 0)
		close(d->name_fd);
	d->name_fd = -1;
}

static int iscsi_release(struct disk *disk)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;
	int ret = iscsi_worker_stop(d->worker, true);

	if (ret < 0)
		return ret;
	d->worker = NULL;
	unbind_name(d);
	return 0;
}

static int log_in(struct disk_iscsi *d, bool look, char *message, size_t message_bytes)
{
	struct session_config config;
	struct iscsi_lun_facts facts;
	int ret;

	iscsi_login_config(&d->login, look, &config);
	ret = iscsi_worker_start(&config, OPEN_MS, &d->worker, &facts, message, message_bytes);
	if (ret == 0)
		take_facts(d, &facts);
	return ret;
}

static int iscsi_reopen(struct disk *disk, char *message, size_t message_bytes)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;
	int ret;

	if (d->worker != NULL)
		return 0;
	ret = bind_name(d, message, message_bytes);
	if (ret < 0)
		return ret;
	ret = log_in(d, false, message, message_bytes);
	if (ret < 0)
		unbind_name(d);
	return ret;
}

static void iscsi_close(struct disk *disk)
{
	struct disk_iscsi *d = (struct disk_iscsi *)disk;

	iscsi_worker_stop(d->worker, false);
	unbind_name(d);
	iscsi_login_clear(&d->login);
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

static const struct disk_ops iscsi_ops = {
	.get_info = iscsi_get_info,
	.submit = iscsi_submit,
	.release = iscsi_release,
	.reopen = iscsi_reopen,
	.refresh = iscsi_refresh,
	.close = iscsi_close,
};

/* Another host has it: a look by another nexus, and out again. */
static int look_once(struct disk_iscsi *d, char *message, size_t message_bytes)
{
	int ret = log_in(d, true, message, message_bytes);

	if (ret == 0)
		iscsi_worker_stop(d->worker, false);
	d->worker = NULL;
	return ret;
}

int disk_iscsi_open(const struct disk_options *options, struct disk **disk, char *message,
		    size_t message_bytes)
{
	struct disk_iscsi *d = calloc(1, sizeof(*d));
	int ret;

	if (d == NULL) {
		snprintf(message, message_bytes, "%s: no memory", options->path);
		return -ENOMEM;
	}
	d->disk.ops = &iscsi_ops;
	d->name_fd = -1;
	d->read_only = options->read_only;
	pthread_mutex_init(&d->mutex, NULL);
	ret = iscsi_login_prepare(options, &d->login, message, message_bytes);
	if (ret == 0)
		ret = options->deferred ? look_once(d, message, message_bytes)
					: iscsi_reopen(&d->disk, message, message_bytes);
	if (ret < 0) {
		iscsi_close(&d->disk);
		return ret;
	}
	*disk = &d->disk;
	return 0;
}
