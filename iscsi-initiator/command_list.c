/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list, show and detach: what concerns disks that are attached. A disk is found by asking every
 * daemon that has a socket. What a dead daemon has left is removed on the way.
 */
#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iscsi-initiator/commands.h"
#include "iscsi-initiator/control.h"
#include "iscsi-initiator/tcmu_device.h"
#include "iscsi-session/disk_id.h"

#define LOG_COMPONENT "lunar-iscsi"
#include "base/log.h"

#define SHOW_MS	  5000
#define DETACH_MS 180000

enum exit_code command_fail(const struct options *options, enum exit_code code, const char *message)
{
	fprintf(stderr, "lunar-iscsi: %s\n", message);
	if (options->json) {
		json_t *object = control_result(code, message);
		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	}
	return code;
}

static int ask_show(const char *id, json_t **status)
{
	json_t *request = json_pack("{s:s}", "command", "show");
	int ret = request != NULL ? control_ask(id, request, SHOW_MS, status) : -ENOMEM;

	json_decref(request);
	return ret;
}

static bool is_dead(int ask_result)
{
	return ask_result == -ENOENT || ask_result == -ECONNREFUSED;
}

/* A disk in configfs that no daemon serves. */
static void remove_dead(void *ctx, const char *id)
{
	json_t *status = NULL;
	int ret = ask_show(id, &status);

	(void)ctx;
	json_decref(status);
	if (!is_dead(ret))
		return;
	log_warn("disk %s has lost its daemon: removing it", id);
	ret = tcmu_device_clean_up(id);
	if (ret < 0)
		log_error("cannot remove disk %s: %s", id, strerror(-ret));
}

static void remove_socket_of_dead(const char *path, int ask_result)
{
	if (ask_result == -ECONNREFUSED)
		unlink(path);
}

/* The status of each disk that a daemon serves, as a JSON array. */
static json_t *collect(void)
{
	char pattern[160];
	json_t *disks = json_array();
	glob_t found;

	tcmu_device_each(remove_dead, NULL);
	snprintf(pattern, sizeof(pattern), "%s/*.sock", control_run_dir());
	if (glob(pattern, 0, NULL, &found) != 0)
		return disks;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *name = strrchr(found.gl_pathv[i], '/') + 1;
		char id[DISK_ID_LENGTH + 1];
		json_t *status = NULL;
		int ret;

		if (strlen(name) != DISK_ID_LENGTH + strlen(".sock"))
			continue;
		memcpy(id, name, DISK_ID_LENGTH);
		id[DISK_ID_LENGTH] = '\0';
		ret = ask_show(id, &status);
		if (ret == 0)
			json_array_append_new(disks, status);
		else
			remove_socket_of_dead(found.gl_pathv[i], ret);
	}
	globfree(&found);
	return disks;
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value != NULL ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* words: a device, an id, or a URL with or without a user. */
static bool is_disk(const json_t *status, const char *words)
{
	const char *device = text(status, "device");
	struct iscsi_address address = {0};
	const char *why;

	if (strcmp(words, text(status, "id")) == 0)
		return true;
	if (device[0] != '\0' &&
	    (strcmp(words, device) == 0 || strcmp(words, device + strlen("/dev/")) == 0))
		return true;
	if (iscsi_url_parse(words, &address, &why) < 0)
		return false;
	return strcmp(address.target, text(status, "target")) == 0 &&
	       address.lun == number(status, "lun");
}

static json_t *find(const json_t *disks, const char *words)
{
	size_t i;
	json_t *status;

	json_array_foreach(disks, i, status) if (is_disk(status, words)) return status;
	return NULL;
}

static void print_json(json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT);
	putchar('\n');
}

enum exit_code command_list(const struct options *options)
{
	json_t *disks = collect(), *status;
	size_t i;

	if (options->json) {
		json_t *object = json_pack("{s:i, s:O}", "code", 0, "disks", disks);
		print_json(object);
		json_decref(object);
	} else if (json_array_size(disks) > 0) {
		printf("%-10s %-12s %-12s %-4s %-22s %s\n", "DEVICE", "ID", "STATE", "LUN",
		       "PORTAL", "TARGET");
		json_array_foreach(disks, i, status) printf(
			"%-10s %-12s %-12s %-4lld %-22s %s\n", text(status, "device"),
			text(status, "id"), text(json_object_get(status, "session"), "state"),
			(long long)number(status, "lun"), text(status, "portal"),
			text(status, "target"));
	}
	json_decref(disks);
	return EXIT_OK;
}

/* Nested objects become indented blocks: the names are those of the JSON form. */
static void print_object(const json_t *object, int indent)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (indent == 0 && strcmp(key, "code") == 0)
			continue;
		printf("%*s%s:", indent, "", key);
		if (json_is_object(value)) {
			putchar('\n');
			print_object(value, indent + 2);
		} else if (json_is_string(value)) {
			printf(" %s\n", json_string_value(value));
		} else if (json_is_integer(value)) {
			printf(" %lld\n", (long long)json_integer_value(value));
		} else if (json_is_real(value)) {
			printf(" %.1f\n", json_real_value(value));
		} else {
			printf(" %s\n", json_is_true(value) ? "yes" : "no");
		}
	}
}

enum exit_code command_show(const struct options *options)
{
	json_t *disks = collect(), *shown = json_array(), *status;
	enum exit_code code = EXIT_OK;
	size_t i;

	json_array_foreach(disks, i,
			   status) if (options->disk == NULL || is_disk(status, options->disk))
		json_array_append(shown, status);
	if (options->disk != NULL && json_array_size(shown) == 0) {
		code = command_fail(options, EXIT_NOT_FOUND, "no such disk is attached");
	} else if (options->json) {
		json_t *object = json_pack("{s:i, s:O}", "code", 0, "disks", shown);
		print_json(object);
		json_decref(object);
	} else {
		json_array_foreach(shown, i, status)
		{
			if (i > 0)
				putchar('\n');
			print_object(status, 0);
		}
	}
	json_decref(shown);
	json_decref(disks);
	return code;
}

static enum exit_code ask_detach(const struct options *options, const char *id)
{
	json_t *request =
		json_pack("{s:s, s:b}", "command", "detach", "force", (int)options->force);
	json_t *reply = NULL;
	enum exit_code code;
	int ret = control_ask(id, request, DETACH_MS, &reply);

	json_decref(request);
	if (ret < 0)
		return command_fail(options, ret == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_INTERNAL,
				    ret == -ETIMEDOUT ? "the detach is not over yet; see show"
						      : "the daemon does not answer; see its log");
	code = (enum exit_code)number(reply, "code");
	if (code != EXIT_OK)
		command_fail(options, code, text(reply, "message"));
	else if (options->json)
		print_json(reply);
	json_decref(reply);
	return code;
}

enum exit_code command_detach(const struct options *options)
{
	json_t *disks = collect();
	const json_t *status = find(disks, options->disk);
	enum exit_code code;

	if (status == NULL)
		code = command_fail(options, EXIT_NOT_FOUND, "no such disk is attached");
	else
		code = ask_detach(options, text(status, "id"));
	json_decref(disks);
	return code;
}
