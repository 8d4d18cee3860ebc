/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What attach and discover need before they can log in: who we are, the secrets, and the portal as
 * a number.
 */
#ifndef LUNAR_ISCSI_INITIATOR_LOGIN_SETUP_H
#define LUNAR_ISCSI_INITIATOR_LOGIN_SETUP_H

#include "iscsi-initiator/options.h"
#include "iscsi-session/chap_secret.h"

struct login_setup {
	char initiator_name[ISCSI_NAME_MAX + 1];
	char portal[300];
	struct chap_secrets secrets; /* the caller clears them */
};

/* Warns of cloned names. Returns EXIT_OK, or another code with one line in message. */
enum exit_code login_setup(const struct options *options, struct login_setup *setup, char *message,
			   size_t size);

#endif
