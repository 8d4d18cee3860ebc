/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API's part about moves: migrate, save, cancel, resolve, and how it goes. Bodies are hostile:
 * only known members with values in their bounds are taken, and each problem is told by name.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "hypervisor/api_server_internal.h"
#include "hypervisor/migration/report.h"

#define MAX_PATH_BYTES 4000 /* of a body's 4096 */

enum MHD_Result api_reply_refused(struct MHD_Connection *connection, const struct vm_error *error)
{
	unsigned int status = MHD_HTTP_CONFLICT;
	const char *code = "refused";
	json_t *message = json_string(error->message);

	if (error->code == EXIT_USAGE || error->code == EXIT_CONFIG) {
		status = MHD_HTTP_BAD_REQUEST;
		code = "bad_request";
	} else if (error->code == EXIT_INTERNAL || error->code == EXIT_OK) {
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		code = "internal";
	}
	return api_reply_json(connection, status,
			      json_pack("{s{ss so si}}", "error", "code", code, "message",
					message ? message : json_string("(not UTF-8)"), "exit_code",
					error->code == EXIT_OK ? EXIT_INTERNAL : (int)error->code));
}

static enum MHD_Result reply_bad(struct MHD_Connection *connection, const char *problem)
{
	return api_reply_error(connection, MHD_HTTP_BAD_REQUEST, "bad_request", problem);
}

static enum MHD_Result reply_outcome(struct MHD_Connection *connection, int rc,
				     const struct vm_error *error)
{
	if (rc)
		return api_reply_refused(connection, error);
	return api_reply_json(connection, MHD_HTTP_ACCEPTED, json_object());
}

void api_get_migration(const struct api_vm *vm, struct migration_status *status,
		       const struct migration_check **check)
{
	*status = (struct migration_status){.phase = MIGRATION_IDLE};
	*check = NULL;
	if (vm->ops->get_migration)
		vm->ops->get_migration(vm->ctx, status, check);
}

/* Ends a request to a VM that has no moves. */
static enum MHD_Result reply_immovable(struct MHD_Connection *connection)
{
	static const struct vm_error error = {.code = EXIT_CANNOT_MOVE,
					      .message = "this VM cannot be moved or saved"};

	return api_reply_refused(connection, &error);
}

static bool integer_within(const json_t *value, json_int_t least, json_int_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= least &&
	       json_integer_value(value) <= most;
}

/* A name or address as it may stand in a certificate and in a log. */
static bool read_host(const json_t *value, char host[MIGRATION_HOST_BYTES])
{
	const char *text = json_string_value(value);
	size_t length = text ? strlen(text) : 0;

	if (length == 0 || length >= MIGRATION_HOST_BYTES || length != json_string_length(value))
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '/')
			return false;
	memcpy(host, text, length + 1);
	return true;
}

static bool read_compression(const json_t *value, enum migration_compression *compression)
{
	const char *text = json_string_value(value);

	for (int i = MIGRATION_COMPRESSION_NONE; text && i <= MIGRATION_COMPRESSION_ZSTD; i++)
		if (strcmp(text, migration_compression_name((enum migration_compression)i)) == 0) {
			*compression = (enum migration_compression)i;
			return true;
		}
	return false;
}

static bool read_late(const json_t *value, enum migration_late *late)
{
	const char *text = json_string_value(value);

	if (!text || (strcmp(text, "cancel") != 0 && strcmp(text, "force") != 0))
		return false;
	*late = strcmp(text, "force") == 0 ? MIGRATION_LATE_FORCE : MIGRATION_LATE_CANCEL;
	return true;
}

/* Takes one member. Returns NULL, or what its value has to be. */
static const char *read_option(const char *key, const json_t *value,
			       struct migration_options *options)
{
	json_int_t number = json_integer_value(value);

	if (strcmp(key, "host") == 0) {
		if (!read_host(value, options->host))
			return "\"host\" has to be a name or address of at most 255 characters";
	} else if (strcmp(key, "port") == 0) {
		if (!integer_within(value, 1, 65535))
			return "\"port\" has to be from 1 to 65535";
		options->port = (uint16_t)number;
	} else if (strcmp(key, "connections") == 0) {
		if (!integer_within(value, 1, MIGRATION_MAX_CONNECTIONS))
			return "\"connections\" has to be from 1 to 8";
		options->connections = (uint32_t)number;
	} else if (strcmp(key, "compression") == 0) {
		if (!read_compression(value, &options->compression))
			return "\"compression\" has to be \"none\", \"lz4\" or \"zstd\"";
	} else if (strcmp(key, "bandwidth") == 0) {
		if (!integer_within(value, 0, API_MIGRATE_MAX_BANDWIDTH) ||
		    (number && number < API_MIGRATE_MIN_BANDWIDTH))
			return "\"bandwidth\" (bytes a second) has to be 0 (no limit), or from "
			       "65536 to 2^50";
		options->bandwidth = (uint64_t)number;
	} else if (strcmp(key, "downtime_ms") == 0) {
		if (!integer_within(value, 1, API_MIGRATE_MAX_DOWNTIME_MS))
			return "\"downtime_ms\" has to be from 1 to 600000";
		options->downtime_ms = (uint32_t)number;
	} else if (strcmp(key, "timeout_s") == 0) {
		if (!integer_within(value, 1, API_MIGRATE_MAX_TIMEOUT_S))
			return "\"timeout_s\" has to be from 1 to 86400";
		options->timeout_seconds = (uint32_t)number;
	} else if (strcmp(key, "late") == 0) {
		if (!read_late(value, &options->late))
			return "\"late\" has to be \"cancel\" or \"force\"";
	} else if (strcmp(key, "throttle") == 0) {
		if (!json_is_boolean(value))
			return "\"throttle\" has to be true or false";
		options->no_throttle = !json_is_true(value);
	} else if (strcmp(key, "check_only") == 0) {
		if (!json_is_boolean(value))
			return "\"check_only\" has to be true or false";
		options->check_only = json_is_true(value);
	} else {
		return "only \"host\", \"port\", \"connections\", \"compression\", \"bandwidth\", "
		       "\"downtime_ms\", \"timeout_s\", \"late\", \"throttle\" and \"check_only\" "
		       "may be given";
	}
	return NULL;
}

/* Returns NULL, or what is wrong with the body. */
static const char *read_options(const struct api_request *request,
				struct migration_options *options)
{
	json_t *json = api_read_object(request);
	const char *problem =
		json ? NULL : "the body is not a JSON object; send {\"host\": \"...\"}";
	const char *key;
	json_t *value;

	json_object_foreach(json, key, value)
	{
		problem = read_option(key, value, options);
		if (problem)
			break;
	}
	if (!problem && !*options->host)
		problem = "\"host\" is missing";
	json_decref(json);
	return problem;
}

enum MHD_Result api_answer_migrate(const struct api_vm *vm, struct MHD_Connection *connection,
				   const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	struct migration_options options = {.compression = MIGRATION_COMPRESSION_DEFAULT};
	const char *problem = read_options(request, &options);

	if (problem)
		return reply_bad(connection, problem);
	if (!vm->ops->migrate)
		return reply_immovable(connection);
	return reply_outcome(connection, vm->ops->migrate(vm->ctx, &options, &error), &error);
}

enum MHD_Result api_answer_migration(const struct api_vm *vm, struct MHD_Connection *connection,
				     const struct api_request *request)
{
	const struct migration_check *check = NULL;
	struct migration_status status;

	(void)request;
	api_get_migration(vm, &status, &check);
	return api_reply_json(
		connection, MHD_HTTP_OK,
		migration_report_json(vm->ops->get_config(vm->ctx)->name, &status, check));
}

enum MHD_Result api_answer_migration_cancel(const struct api_vm *vm,
					    struct MHD_Connection *connection,
					    const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};

	if (request->length)
		return reply_bad(connection, "cancel takes no body");
	if (!vm->ops->cancel_migration)
		return reply_immovable(connection);
	return reply_outcome(connection, vm->ops->cancel_migration(vm->ctx, &error), &error);
}

enum MHD_Result api_answer_migration_resolve(const struct api_vm *vm,
					     struct MHD_Connection *connection,
					     const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	json_t *json = api_read_object(request);
	const char *outcome = json_string_value(json_object_get(json, "outcome"));
	bool there = outcome && strcmp(outcome, "there") == 0;
	bool good =
		json_object_size(json) == 1 && outcome && (there || strcmp(outcome, "here") == 0);

	json_decref(json);
	if (!good)
		return reply_bad(connection,
				 "send {\"outcome\": \"here\"} or {\"outcome\": \"there\"}");
	if (!vm->ops->resolve_migration)
		return reply_immovable(connection);
	return reply_outcome(connection, vm->ops->resolve_migration(vm->ctx, there, &error),
			     &error);
}

enum MHD_Result api_answer_save(const struct api_vm *vm, struct MHD_Connection *connection,
				const struct api_request *request)
{
	struct vm_error error = {.code = EXIT_INTERNAL};
	json_t *json = api_read_object(request);
	const json_t *value = json_object_get(json, "path");
	const char *path = json_string_value(value);
	enum MHD_Result result;

	if (json_object_size(json) != 1 || !path || *path != '/' ||
	    json_string_length(value) > MAX_PATH_BYTES || json_string_length(value) != strlen(path))
		result = reply_bad(connection, "send {\"path\": \"/...\"}, an absolute path");
	else if (!vm->ops->save)
		result = reply_immovable(connection);
	else
		result = reply_outcome(connection, vm->ops->save(vm->ctx, path, &error), &error);
	json_decref(json);
	return result;
}
