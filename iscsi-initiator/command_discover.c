/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * discover: prints portal and target pairs as iscsiadm does, or a JSON list.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "iscsi-initiator/commands.h"
#include "iscsi-initiator/discover.h"
#include "iscsi-initiator/login_setup.h"

static void print_json(const struct discovered *list, size_t count)
{
	json_t *targets = json_array(), *object;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(targets, json_pack("{s:s, s:s}", "portal", list[i].portal,
							 "target", list[i].target));
	object = json_pack("{s:i, s:o}", "code", 0, "targets", targets);
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

enum exit_code command_discover(const struct options *options)
{
	struct login_setup setup;
	struct login_result result;
	struct discovered *list = NULL;
	size_t count = 0;
	char message[400];
	enum exit_code code = login_setup(options, &setup, message, sizeof(message));

	if (code != EXIT_OK)
		return command_fail(options, code, message);
	const struct login_params params = {
		.initiator_name = setup.initiator_name,
		.portal = setup.portal,
		.user = options->address.user,
		.secret = setup.secrets.secret[0] != '\0' ? setup.secrets.secret : NULL,
		.mutual_user = options->mutual_user,
		.mutual_secret = options->mutual_user != NULL ? setup.secrets.mutual_secret : NULL,
		.header_digest = options->header_digest,
		.data_digest = options->data_digest,
		.timeout_ms = options->timeouts.login_s * 1000,
	};
	code = discover_targets(&params, &list, &count, &result);
	chap_secrets_clear(&setup.secrets);
	if (code != EXIT_OK)
		return command_fail(options, code, result.message);
	if (options->json)
		print_json(list, count);
	else
		for (size_t i = 0; i < count; i++)
			printf("%s %s\n", list[i].portal, list[i].target);
	free(list);
	return EXIT_OK;
}
