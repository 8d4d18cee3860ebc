/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API's part about disks: they are listed, added, removed, made larger, and a DVD drive's
 * medium is changed. Bodies are hostile; what a disk may be is checked as in a definition.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/api_server_internal.h"
#include "hypervisor/vm_report_disks.h"

static enum MHD_Result reply_bad(struct MHD_Connection *connection, const char *problem)
{
	json_t *text = json_string(problem);

	json_decref(text);
	return api_reply_error(connection, MHD_HTTP_BAD_REQUEST, "bad_request",
			       text ? problem : "a value is not UTF-8");
}

static enum MHD_Result reply_fixed(struct MHD_Connection *connection)
{
	static const struct vm_error error = {.code = EXIT_STATE,
					      .message = "the disks of this VM are fixed"};

	return api_reply_refused(connection, &error);
}

static enum MHD_Result reply_change(struct MHD_Connection *connection, unsigned int status,
				    const struct vm_disks_result *result)
{
	return api_reply_json(
		connection, status,
		json_pack("{so si si so sb}", "id",
			  json_sprintf("%u:%u", result->controller, result->lun), "controller",
			  (int)result->controller, "lun", (int)result->lun, "size_bytes",
			  result->size_bytes ? json_integer((json_int_t)result->size_bytes)
					     : json_null(),
			  "stored", result->stored));
}

enum MHD_Result api_answer_disks(const struct api_vm *vm, struct MHD_Connection *connection,
				 const struct api_request *request)
{
	struct vm_status status = {0};

	(void)request;
	vm->ops->get_status(vm->ctx, &status);
	return api_reply_json(connection, MHD_HTTP_OK,
			      json_pack("{so so}", "disks",
					vm_report_disks_json(vm->ops->get_config(vm->ctx), &status),
					"controllers", vm_report_controllers_json(&status)));
}

/* ---- bodies ---- */

/* Plain members alone: what else JSON has means nothing in a definition. */
static bool is_flat(const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) if (!json_is_string(value) &&
							      !json_is_boolean(value) &&
							      !json_is_integer(value)) return false;
	return true;
}

/* "0:1" */
static bool read_id(const char *text, uint32_t *controller, uint32_t *lun)
{
	unsigned int numbers[2];
	char more;

	if (!isdigit((unsigned char)*text) || strspn(text, "0123456789:") != strlen(text) ||
	    sscanf(text, "%3u:%3u%c", &numbers[0], &numbers[1], &more) != 2)
		return false;
	*controller = numbers[0];
	*lun = numbers[1];
	return true;
}

/* The disk of the URL. Queues the error where there is none. */
static bool id_get(struct MHD_Connection *connection, const struct api_request *request,
		   uint32_t *controller, uint32_t *lun, enum MHD_Result *result)
{
	if (read_id(request->item, controller, lun))
		return true;
	*result = reply_bad(connection, "name a disk as CONTROLLER:LUN, such as 0:1");
	return false;
}

static enum MHD_Result answer_outcome(struct MHD_Connection *connection, unsigned int status,
				      int rc, const struct vm_disks_result *result,
				      const struct vm_error *error)
{
	if (rc == -EINPROGRESS)
		return api_answer_later(connection);
	return rc ? api_reply_refused(connection, error) : reply_change(connection, status, result);
}

/* ---- changes ---- */

enum MHD_Result api_answer_disk_add(const struct api_vm *vm, struct MHD_Connection *connection,
				    const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_disks_result result = {0};
	struct vm_disk_config config;
	enum MHD_Result reply;
	json_t *json = api_read_object(request);
	char *text = json && is_flat(json) ? json_dumps(json, JSON_COMPACT) : NULL;
	bool any_lun = !json_object_get(json, "lun");
	int rc;

	json_decref(json);
	if (!text)
		return reply_bad(connection, "the body is not a flat JSON object; send "
					     "{\"path\": \"/...\"}");
	if (!vm->ops->add_disk) {
		free(text);
		return reply_fixed(connection);
	}
	rc = vm_disk_config_parse(text, &config, message, sizeof(message));
	free(text);
	if (rc)
		return reply_bad(connection, message);
	if (any_lun)
		config.lun = VM_STORAGE_ANY_LUN;
	rc = vm->ops->add_disk(vm->ctx, &config, &result, &error);
	reply = answer_outcome(connection, MHD_HTTP_OK, rc, &result, &error);
	vm_disk_config_fini(&config);
	return reply;
}

enum MHD_Result api_answer_disk_remove(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	struct vm_disks_result result = {0};
	uint32_t controller, lun;
	enum MHD_Result reply;

	if (!id_get(connection, request, &controller, &lun, &reply))
		return reply;
	if (!vm->ops->remove_disk)
		return reply_fixed(connection);
	return answer_outcome(connection, MHD_HTTP_ACCEPTED,
			      vm->ops->remove_disk(vm->ctx, controller, lun, &result, &error),
			      &result, &error);
}

static enum MHD_Result medium_change(const struct api_vm *vm, struct MHD_Connection *connection,
				     const struct api_request *request, const char *path)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	struct vm_disks_result result = {0};
	uint32_t controller, lun;
	enum MHD_Result reply;

	if (!id_get(connection, request, &controller, &lun, &reply))
		return reply;
	if (!vm->ops->change_medium)
		return reply_fixed(connection);
	return answer_outcome(
		connection, MHD_HTTP_ACCEPTED,
		vm->ops->change_medium(vm->ctx, controller, lun, path, &result, &error), &result,
		&error);
}

enum MHD_Result api_answer_disk_insert(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_disk_config config;
	json_t *json = api_read_object(request);
	const json_t *path = json_object_get(json, "path");
	enum MHD_Result reply;
	char *text = NULL;

	if (json_object_size(json) == 1 && json_is_string(path)) {
		json_object_set_new(json, "type", json_string("dvd"));
		text = json_dumps(json, JSON_COMPACT);
	}
	json_decref(json);
	if (!text)
		return reply_bad(connection, "send {\"path\": \"/...\"}, an ISO image");
	if (vm_disk_config_parse(text, &config, message, sizeof(message))) {
		free(text);
		return reply_bad(connection, message);
	}
	free(text);
	reply = medium_change(vm, connection, request, config.path);
	vm_disk_config_fini(&config);
	return reply;
}

enum MHD_Result api_answer_disk_eject(const struct api_vm *vm, struct MHD_Connection *connection,
				      const struct api_request *request)
{
	return medium_change(vm, connection, request, NULL);
}

enum MHD_Result api_answer_disk_resize(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	struct vm_disks_result result = {0};
	json_t *json = request->length ? api_read_object(request) : json_object();
	const json_t *size = json_object_get(json, "size_bytes");
	json_int_t bytes = json_integer_value(size);
	bool good = json && json_object_size(json) == (size ? 1 : 0) &&
		    (!size || (json_is_integer(size) && bytes > 0));
	uint32_t controller, lun;
	enum MHD_Result reply;

	json_decref(json);
	if (!good)
		return reply_bad(connection, "send {\"size_bytes\": N}, or nothing: look again");
	if (!id_get(connection, request, &controller, &lun, &reply))
		return reply;
	if (!vm->ops->resize_disk)
		return reply_fixed(connection);
	return answer_outcome(
		connection, MHD_HTTP_OK,
		vm->ops->resize_disk(vm->ctx, controller, lun, (uint64_t)bytes, &result, &error),
		&result, &error);
}
