/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that a login to a disk's LUN needs, from its options: the URL's parts, the portal as a
 * number, the parent's name and the CHAP secret.
 */
#ifndef LUNAR_STORVSP_ISCSI_LOGIN_H
#define LUNAR_STORVSP_ISCSI_LOGIN_H

#include <stddef.h>

#include "iscsi-session/chap_secret.h"
#include "iscsi-session/iscsi_url.h"
#include "iscsi-session/session.h"

struct disk_options;

/* Strings of a session's configuration point into it: it stays where it is. */
struct iscsi_login {
	struct iscsi_address address;
	char initiator_name[ISCSI_NAME_MAX + 1];
	char portal[300];
	struct chap_secrets secrets;
};

/* Blocks for the name service. Returns 0, or -errno with a line in message. iscsi_login_clear() in
 * either case. */
int iscsi_login_prepare(const struct disk_options *options, struct iscsi_login *login,
			char *message, size_t message_bytes);
void iscsi_login_clear(struct iscsi_login *login);

/* look: another nexus of the same initiator, so that a login that only looks does not take the
 * place of one that is in use. */
void iscsi_login_config(const struct iscsi_login *login, bool look, struct session_config *config);

#endif
