/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preparing a login. The ISID follows from initiator name, target and LUN (as lunar-iscsi's does),
 * so that a VM that is killed, or moves with an initiator name of its own, reinstates its session
 * and keeps its persistent reservations.
 */
#include "storvsp/iscsi_login.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "iscsi-session/disk_id.h"
#include "iscsi-session/initiator_name.h"
#include "iscsi-session/portal_resolve.h"
#include "storvsp/disk.h"

#define LOOK_ISID_BIT 0x800000u /* of 24 */

static int find_name(const struct disk_options *options, struct iscsi_login *login, char *message,
		     size_t message_bytes)
{
	int ret;

	if (options->initiator != NULL) {
		if (!iscsi_name_is_valid(options->initiator)) {
			snprintf(message, message_bytes, "initiator: %s is not an iSCSI name",
				 options->initiator);
			return -EINVAL;
		}
		snprintf(login->initiator_name, sizeof(login->initiator_name), "%s",
			 options->initiator);
		return 0;
	}
	ret = initiator_name_load(INITIATOR_NAME_FILE, login->initiator_name);
	if (ret < 0)
		snprintf(message, message_bytes, "%s: %s", INITIATOR_NAME_FILE,
			 ret == -EINVAL ? "no valid InitiatorName= line" : strerror(-ret));
	return ret;
}

static int find_secrets(const struct disk_options *options, struct iscsi_login *login,
			char *message, size_t message_bytes)
{
	bool has_user = login->address.user[0] != '\0';
	const char *why = "";
	int ret;

	if (options->secret_path == NULL && !has_user)
		return 0;
	if (options->secret_path == NULL || !has_user) {
		snprintf(message, message_bytes,
			 has_user ? "%s names a user: say secret:, the file with its CHAP secret"
				  : "%s names no user (iscsi://user@host/...), which the secret "
				    "wants",
			 options->path);
		return -EINVAL;
	}
	ret = chap_secrets_read(options->secret_path, &login->secrets, &why);
	if (ret == 0 && login->secrets.secret[0] == '\0') {
		ret = -EINVAL;
		why = "is empty";
	}
	if (ret < 0)
		snprintf(message, message_bytes, "%s: %s", options->secret_path, why);
	return ret;
}

int iscsi_login_prepare(const struct disk_options *options, struct iscsi_login *login,
			char *message, size_t message_bytes)
{
	const char *why = "";
	int ret;

	memset(login, 0, sizeof(*login));
	if (iscsi_url_parse(options->path, &login->address, &why) < 0) {
		snprintf(message, message_bytes, "%s", why);
		return -EINVAL;
	}
	ret = find_secrets(options, login, message, message_bytes);
	if (ret == 0)
		ret = find_name(options, login, message, message_bytes);
	if (ret < 0)
		return ret;
	ret = portal_resolve(&login->address, login->portal, sizeof(login->portal));
	if (ret < 0) {
		snprintf(message, message_bytes, "cannot find the address of %s",
			 login->address.host);
		ret = -EHOSTUNREACH;
	}
	return ret;
}

void iscsi_login_clear(struct iscsi_login *login)
{
	chap_secrets_clear(&login->secrets);
}

void iscsi_login_config(const struct iscsi_login *login, bool look, struct session_config *config)
{
	bool has_secret = login->secrets.secret[0] != '\0';
	bool has_mutual = login->secrets.mutual_secret[0] != '\0';

	*config = (struct session_config){
		.login = {.initiator_name = login->initiator_name,
			  .portal = login->portal,
			  .target = login->address.target,
			  .user = has_secret ? login->address.user : NULL,
			  .secret = has_secret ? login->secrets.secret : NULL,
			  .mutual_user = has_mutual ? login->address.user : NULL,
			  .mutual_secret = has_mutual ? login->secrets.mutual_secret : NULL,
			  .isid_random =
				  disk_isid_random(login->initiator_name, login->address.target),
			  .isid_qualifier = login->address.lun},
		.timeouts = session_timeouts_default,
		.lun = login->address.lun,
	};
	if (look)
		config->login.isid_random ^= LOOK_ISID_BIT;
}
