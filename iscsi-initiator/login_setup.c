/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gathers the initiator name, the CHAP secrets and the resolved portal, and checks that they go
 * together.
 */
#include "iscsi-initiator/login_setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "iscsi-session/initiator_name.h"
#include "iscsi-session/portal_resolve.h"

#define LOG_COMPONENT "lunar-iscsi"
#include "base/log.h"

static enum exit_code find_name(const struct options *o, struct login_setup *setup, char *message,
				size_t size)
{
	int ret = initiator_name_load(o->name_file, setup->initiator_name);

	if (ret < 0) {
		snprintf(message, size, "%s: %s", o->name_file,
			 ret == -EINVAL ? "no valid InitiatorName= line" : strerror(-ret));
		return ret == -EACCES ? EXIT_PERMISSION : EXIT_CONFIG;
	}
	if (initiator_name_is_template(setup->initiator_name))
		log_warn("%s looks like a template's name: machines that share a name drop each "
			 "other's sessions; delete %s to get a new one",
			 setup->initiator_name, o->name_file);
	else if (initiator_name_is_cloned(o->name_file, setup->initiator_name, NULL))
		log_warn("%s was first used on another machine: if this is a clone, delete %s and "
			 "%s.machine to get a new name; if the machine itself has changed, delete "
			 "the "
			 "latter",
			 setup->initiator_name, o->name_file, o->name_file);
	return EXIT_OK;
}

static enum exit_code find_secrets(const struct options *o, struct login_setup *setup,
				   char *message, size_t size)
{
	const char *why = "";
	bool has_user = o->address.user[0] != '\0', has_secret, has_mutual;
	int ret = chap_secrets_read(o->secret_file, &setup->secrets, &why);

	if (ret < 0) {
		snprintf(message, size, "%s: %s",
			 o->secret_file != NULL ? o->secret_file : "secret", why);
		return ret == -EACCES ? EXIT_PERMISSION : EXIT_CONFIG;
	}
	has_secret = setup->secrets.secret[0] != '\0';
	has_mutual = setup->secrets.mutual_secret[0] != '\0';
	if (has_user && !has_secret)
		snprintf(message, size,
			 "a user is given but no secret: use --secret-file or "
			 "LUNAR_ISCSI_SECRET");
	else if (o->secret_file != NULL && !has_user)
		snprintf(message, size, "a secret is given but no user: use --user");
	else if (o->mutual_user != NULL && !has_mutual)
		snprintf(message, size,
			 "--mutual-user needs a mutual secret: the second line of the "
			 "secret file, or LUNAR_ISCSI_MUTUAL_SECRET");
	else if (o->mutual_user == NULL && has_mutual)
		snprintf(message, size,
			 "a mutual secret needs --mutual-user: the name by which the "
			 "target proves itself");
	else
		return EXIT_OK;
	return EXIT_USAGE;
}

enum exit_code login_setup(const struct options *o, struct login_setup *setup, char *message,
			   size_t size)
{
	enum exit_code code;

	memset(setup, 0, sizeof(*setup));
	code = find_secrets(o, setup, message, size);
	if (code == EXIT_OK)
		code = find_name(o, setup, message, size);
	if (code == EXIT_OK &&
	    portal_resolve(&o->address, setup->portal, sizeof(setup->portal)) < 0) {
		snprintf(message, size, "cannot find the address of %s", o->address.host);
		code = EXIT_PORTAL_UNREACHABLE;
	}
	if (code != EXIT_OK)
		chap_secrets_clear(&setup->secrets);
	return code;
}
