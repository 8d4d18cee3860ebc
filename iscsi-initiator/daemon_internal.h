/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's state, shared by daemon.c (life of the disk) and daemon_status.c (what it tells).
 */
#ifndef LUNAR_ISCSI_INITIATOR_DAEMON_INTERNAL_H
#define LUNAR_ISCSI_INITIATOR_DAEMON_INTERNAL_H

#include <sys/types.h>

#include "base/deadline.h"
#include "iscsi-initiator/control.h"
#include "iscsi-initiator/daemon.h"
#include "iscsi-initiator/disk.h"
#include "iscsi-initiator/tcmu_device.h"
#include "iscsi-session/lun_probe.h"
#include "iscsi-session/session.h"

enum daemon_state {
	DAEMON_ATTACHING,
	DAEMON_ATTACHED,
	DAEMON_DETACHING,
};

struct daemon;

struct helper {
	pid_t pid;
	int pipe;
	struct event_watch *watch;
	void (*done)(struct daemon *daemon, int ret, const char *why);
};

struct daemon {
	const struct daemon_config *config;
	struct event_loop *loop;
	char id[DISK_ID_LENGTH + 1];
	enum daemon_state state;
	uint64_t attached_at_ns;
	enum exit_code exit_code;

	struct control_server *control;
	struct control_client *detach_client; /* waits for the end of the detach */
	struct session *session;
	struct lun_probe *probe;
	struct lun_geometry geometry;
	struct tcmu_device device;
	bool device_created;
	bool force_detach;
	struct disk *disk;
	char disk_name[32];
	struct helper helper;
	struct event_timer *disk_timer;
	struct deadline disk_deadline;

	int signal_fd;
	struct event_watch *signal_watch;
	daemon_attached_fn attached;
	void *attached_ctx;
};

/* {"code":0, "id":..., "device":..., "state":..., ...}; the caller releases it. NULL without
 * memory. */
json_t *daemon_status(const struct daemon *daemon);

#endif
