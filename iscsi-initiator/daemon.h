/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process behind one attached disk: it holds the session, serves the kernel's ring, answers on
 * the control socket, and takes everything down at a detach.
 */
#ifndef LUNAR_ISCSI_INITIATOR_DAEMON_H
#define LUNAR_ISCSI_INITIATOR_DAEMON_H

#include "iscsi-initiator/options.h"
#include "iscsi-session/chap_secret.h"

/* From the start of the daemon to the disk's appearance, on top of the login time-out. */
#define DAEMON_ATTACH_MS 60000

struct daemon_config {
	const struct options *options;
	const struct chap_secrets *secrets;
	char initiator_name[ISCSI_NAME_MAX + 1];
	char portal[300]; /* numeric */
};

struct attach_result {
	enum exit_code code;
	char message[512];	 /* on failure, for the user */
	char id[16], device[64]; /* on success; device: "/dev/sda" */
};

/* The attach is over. Called once. */
typedef void (*daemon_attached_fn)(void *ctx, const struct attach_result *result);

/* Attaches, and returns when the disk was detached, or at once when it could not be attached. */
enum exit_code daemon_run(const struct daemon_config *config, daemon_attached_fn attached,
			  void *ctx);

#endif
