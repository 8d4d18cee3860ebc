/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API's part about VLANs: a NIC's mode is changed. The body has the members of `vlan` in a VM's
 * definition, numbers as numbers or as text; it is hostile.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/api_server_internal.h"
#include "vlan/vlan_config.h"

#define WORD_BYTES    512 /* the longest list that is taken */
#define PROBLEM_BYTES (VLAN_MESSAGE_BYTES + 32)

/* Members of the body beside "nic", in the order of struct vlan_words. */
static const char *const word_names[] = {"mode", "id", "allowed", "native", "primary", "secondary"};

struct vlan_body {
	json_int_t nic; /* -1: not given */
	char texts[ARRAY_LENGTH(word_names)][WORD_BYTES];
	const char *words[ARRAY_LENGTH(word_names)];
	struct vlan_config config;
	char problem[PROBLEM_BYTES];
};

static bool read_member(struct vlan_body *body, const char *key, const json_t *value)
{
	if (strcmp(key, "nic") == 0 && json_is_integer(value) && json_integer_value(value) >= 0 &&
	    json_integer_value(value) < VM_MAX_NICS) {
		body->nic = json_integer_value(value);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(word_names); i++) {
		const char *text = json_string_value(value);

		if (strcmp(key, word_names[i]) != 0)
			continue;
		if (json_is_integer(value))
			snprintf(body->texts[i], WORD_BYTES, "%lld",
				 (long long)json_integer_value(value));
		else if (text && strlen(text) == json_string_length(value) &&
			 strlen(text) < WORD_BYTES)
			memcpy(body->texts[i], text, strlen(text) + 1);
		else
			return false;
		body->words[i] = body->texts[i];
		return true;
	}
	return false;
}

static bool read_config(struct vlan_body *body)
{
	const struct vlan_words words = {body->words[0], body->words[1], body->words[2],
					 body->words[3], body->words[4], body->words[5]};
	char message[VLAN_MESSAGE_BYTES];
	const char *key;

	if (vlan_config_parse(&words, &body->config, &key, message) == 0)
		return true;
	snprintf(body->problem, PROBLEM_BYTES, "\"%s\": %s", key, message);
	return false;
}

/* Returns whether it is good; else problem says what is not. */
static bool read_body(const struct api_request *request, struct vlan_body *body)
{
	json_t *json = api_read_object(request);
	bool good = json != NULL;
	const char *key;
	json_t *value;

	*body = (struct vlan_body){.nic = -1};
	json_object_foreach(json, key, value) good = good && read_member(body, key, value);
	json_decref(json);
	if (good && body->nic < 0)
		good = false;
	if (!good) {
		snprintf(body->problem, PROBLEM_BYTES,
			 "send \"nic\" (0 to %d), \"mode\" and what the mode has, such as "
			 "{\"nic\": 0, \"mode\": \"access\", \"id\": 10}",
			 VM_MAX_NICS - 1);
		return false;
	}
	return read_config(body);
}

enum MHD_Result api_answer_vlan(const struct api_vm *vm, struct MHD_Connection *connection,
				const struct api_request *request)
{
	static const struct vm_error no_vlans = {.code = EXIT_STATE,
						 .message = "the VLANs of this VM are fixed"};
	struct vm_error error = {.code = EXIT_INTERNAL};
	struct vlan_body body;
	bool stored = false;

	if (!read_body(request, &body)) {
		json_t *text = json_string(body.problem);

		json_decref(text);
		return api_reply_error(connection, MHD_HTTP_BAD_REQUEST, "bad_request",
				       text ? body.problem : "a value is not UTF-8");
	}
	if (!vm->ops->set_vlan)
		return api_reply_refused(connection, &no_vlans);
	if (vm->ops->set_vlan(vm->ctx, (uint32_t)body.nic, &body.config, &stored, &error))
		return api_reply_refused(connection, &error);
	return api_reply_json(connection, MHD_HTTP_OK, json_pack("{sb}", "stored", stored));
}
