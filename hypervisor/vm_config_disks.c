/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The entries of `disks` in a VM's YAML file: each on its own, then what two of them must not have
 * in common. Whether an image exists and is good shows when it is opened.
 */
#include "hypervisor/vm_config_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define URL_SCHEME	    "iscsi://"
#define INITIATOR_BYTES_MAX 223 /* RFC 7143 4.2.7.1 */

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define DISK_FIELD(name)                                                                           \
	CYAML_FIELD_STRING_PTR(#name, OPTIONAL, struct raw_disk, name, 0, CYAML_UNLIMITED)

const cyaml_schema_field_t config_disk_fields[] = {
	DISK_FIELD(path),	 DISK_FIELD(url),	DISK_FIELD(format),    DISK_FIELD(type),
	DISK_FIELD(controller),	 DISK_FIELD(lun),	DISK_FIELD(read_only), DISK_FIELD(cache),
	DISK_FIELD(passthrough), DISK_FIELD(initiator), DISK_FIELD(secret),    CYAML_FIELD_END,
};

/* ---- one entry ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && strcasecmp(text + length - end_length, end) == 0;
}

static int read_type(struct config_parse *parse, const struct raw_disk *raw,
		     struct vm_disk_config *disk)
{
	char shown[64];

	parse->key = "type";
	disk->dvd = raw->type && strcmp(raw->type, "dvd") == 0;
	if (!raw->type || disk->dvd || strcmp(raw->type, "disk") == 0)
		return 0;
	config_quote(shown, sizeof(shown), raw->type);
	return config_complain(parse, "'%s' is not a type; give disk or dvd", shown);
}

/* A password in a URL would be in process lists, logs and reports. */
static bool url_has_password(const char *url)
{
	const char *user = url + strlen(URL_SCHEME);
	const char *at = strchr(user, '@');
	const char *password = strpbrk(user, "%:");

	return at && password && password < at;
}

static int read_url(struct config_parse *parse, const char *url, struct vm_disk_config *disk)
{
	char shown[64];

	parse->key = "url";
	config_quote(shown, sizeof(shown), url);
	if (strncmp(url, URL_SCHEME, strlen(URL_SCHEME)) != 0)
		return config_complain(parse,
				       "'%s' is not a URL that is known; give "
				       "iscsi://HOST[:PORT]/IQN/LUN",
				       shown);
	if (url_has_password(url))
		return config_complain(parse, "holds a password; put it in a file of its own, and "
					      "that file's path in secret");
	if (strlen(url) > CONFIG_PATH_BYTES_MAX)
		return config_complain(parse, "longer than %d bytes; shorten it",
				       CONFIG_PATH_BYTES_MAX);
	disk->is_url = true;
	disk->path = strdup(url);
	return disk->path ? 0 : -ENOMEM;
}

static int read_place(struct config_parse *parse, const struct raw_disk *raw,
		      struct vm_disk_config *disk)
{
	if (raw->path && raw->url) {
		parse->key = "url";
		return config_complain(parse, "there is a path as well; keep one of the two");
	}
	parse->key = "path";
	if (raw->path)
		return config_read_path(parse, raw->path, CONFIG_PATH_BYTES_MAX, &disk->path);
	if (raw->url && disk->dvd) {
		parse->key = "url";
		return config_complain(parse, "a DVD drive takes the path of an ISO image");
	}
	if (raw->url)
		return read_url(parse, raw->url, disk);
	if (disk->dvd)
		return 0;
	return config_complain(parse, "missing; give the image's path, or a url");
}

static int read_format(struct config_parse *parse, const struct raw_disk *raw,
		       struct vm_disk_config *disk)
{
	enum disk_format format = DISK_FORMAT_AUTO;
	char shown[64];
	bool iso;

	parse->key = "format";
	if (raw->format && !disk_format_parse(raw->format, &format)) {
		config_quote(shown, sizeof(shown), raw->format);
		return config_complain(
			parse, "'%s' is not a format; give auto, raw, vhd, iso or iscsi", shown);
	}
	disk->format = format;
	if (disk->is_url && format != DISK_FORMAT_AUTO && format != DISK_FORMAT_ISCSI)
		return config_complain(parse, "a url is of the format iscsi; leave this key out");
	if (!disk->is_url && format == DISK_FORMAT_ISCSI)
		return config_complain(parse, "needs a url; give that in the place of the path");
	if (disk->dvd && format != DISK_FORMAT_AUTO && format != DISK_FORMAT_ISO)
		return config_complain(parse, "a DVD drive takes ISO images; leave this key out");
	if (disk->dvd)
		disk->format = DISK_FORMAT_ISO;
	iso = format == DISK_FORMAT_ISO ||
	      (format == DISK_FORMAT_AUTO && disk->path && ends_with(disk->path, ".iso"));
	if (iso && !disk->dvd)
		return config_complain(parse,
				       "an ISO image goes into a DVD drive; add 'type: dvd'");
	return 0;
}

static int read_access(struct config_parse *parse, const struct raw_disk *raw,
		       struct vm_disk_config *disk)
{
	char shown[64];
	int rc;

	parse->key = "read_only";
	rc = config_read_bool(parse, raw->read_only, disk->dvd, &disk->read_only);
	if (!rc && disk->dvd && !disk->read_only)
		return config_complain(parse, "a DVD drive only reads; leave this key out");
	parse->key = "passthrough";
	rc = rc ? rc : config_read_bool(parse, raw->passthrough, false, &disk->pass_through);
	if (!rc && disk->pass_through && (disk->is_url || disk->dvd))
		return config_complain(parse, "is for a block device of this host; leave it out");
	parse->key = "cache";
	if (rc || !raw->cache)
		return rc;
	if (strcmp(raw->cache, "writeback") == 0)
		disk->cache = DISK_CACHE_WRITEBACK;
	else if (strcmp(raw->cache, "none") != 0) {
		config_quote(shown, sizeof(shown), raw->cache);
		return config_complain(parse, "'%s' is not a cache; give none or writeback", shown);
	}
	if (disk->cache == DISK_CACHE_WRITEBACK && (disk->is_url || disk->pass_through))
		return config_complain(parse, "'writeback' is for images; leave this key out");
	return 0;
}

static int read_login(struct config_parse *parse, const struct raw_disk *raw,
		      struct vm_disk_config *disk)
{
	char shown[64];

	parse->key = raw->initiator ? "initiator" : "secret";
	if ((raw->initiator || raw->secret) && !disk->is_url)
		return config_complain(parse, "goes with a url only; leave this key out");
	if (raw->initiator) {
		config_quote(shown, sizeof(shown), raw->initiator);
		if ((strncmp(raw->initiator, "iqn.", 4) != 0 &&
		     strncmp(raw->initiator, "eui.", 4) != 0 &&
		     strncmp(raw->initiator, "naa.", 4) != 0) ||
		    strpbrk(raw->initiator, " /\\") || strlen(raw->initiator) > INITIATOR_BYTES_MAX)
			return config_complain(parse,
					       "'%s' is not an iSCSI name; write it as "
					       "iqn.2026-01.com.example:vm0",
					       shown);
		disk->initiator = strdup(raw->initiator);
		if (!disk->initiator)
			return -ENOMEM;
	}
	parse->key = "secret";
	if (!raw->secret)
		return 0;
	return config_read_path(parse, raw->secret, CONFIG_PATH_BYTES_MAX, &disk->secret);
}

static int convert_disk(struct config_parse *parse, const struct raw_disk *raw, size_t index,
			struct vm_config *config)
{
	struct vm_disk_config *disk = &config->disks[index];
	int rc;

	parse->list = "disks";
	parse->entry = (int)index;
	rc = read_type(parse, raw, disk);
	rc = rc ? rc : read_place(parse, raw, disk);
	rc = rc ? rc : read_format(parse, raw, disk);
	rc = rc ? rc : read_access(parse, raw, disk);
	rc = rc ? rc : read_login(parse, raw, disk);
	parse->key = "controller";
	rc = rc ? rc
		: config_read_number(parse, raw->controller, 0, VM_MAX_CONTROLLERS - 1, 0,
				     &disk->controller);
	parse->key = "lun";
	rc = rc ? rc
		: config_read_number(parse, raw->lun, 0, VM_MAX_LUNS - 1, (uint32_t)index,
				     &disk->lun);
	if (!rc)
		vm_config_unit_id(config->name, disk->controller, disk->lun, disk->unit_id);
	return rc;
}

/* ---- all of them ---- */

static bool text_is_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool vm_disk_config_opens_same(const struct vm_disk_config *a, const struct vm_disk_config *b)
{
	return a->dvd == b->dvd && a->is_url == b->is_url && a->format == b->format &&
	       a->cache == b->cache && a->read_only == b->read_only &&
	       a->pass_through == b->pass_through && text_is_equal(a->path, b->path) &&
	       text_is_equal(a->initiator, b->initiator) && text_is_equal(a->secret, b->secret);
}

bool vm_disk_config_shares(const struct vm_disk_config *a, const struct vm_disk_config *b)
{
	return a->path && b->path && strcmp(a->path, b->path) == 0 &&
	       !(a->read_only && b->read_only);
}

static int check_pair(struct config_parse *parse, const struct vm_config *config, size_t first,
		      size_t second)
{
	const struct vm_disk_config *a = &config->disks[first], *b = &config->disks[second];

	parse->entry = (int)second;
	if (a->controller == b->controller && a->lun == b->lun) {
		parse->key = "lun";
		return config_complain(parse,
				       "%u of controller %u is that of disks[%zu]; give each disk "
				       "its own",
				       b->lun, b->controller, first);
	}
	parse->key = b->is_url ? "url" : "path";
	if (vm_disk_config_shares(a, b))
		return config_complain(parse,
				       "the same as that of disks[%zu], which both would write; "
				       "take one out, or make both read_only",
				       first);
	return 0;
}

int config_convert_disks(struct config_parse *parse, const struct raw_disk *raw, size_t count,
			 struct vm_config *config)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		config->disk_count = i + 1;
		rc = convert_disk(parse, &raw[i], i, config);
	}
	for (size_t i = 0; rc == 0 && i < count; i++)
		for (size_t j = 0; rc == 0 && j < i; j++)
			rc = check_pair(parse, config, j, i);
	return rc;
}

/* ---- one of its own ---- */

/* "disk:4: disks[0].path: what" → "path: what" */
static void message_shorten(char *message)
{
	static const char head[] = "disks[0].";
	const char *rest = strstr(message, head);

	if (!rest)
		rest = strstr(message, "disks: ");
	if (rest)
		memmove(message, rest + (rest[5] == '[' ? sizeof(head) - 1 : 0),
			strlen(rest) - (rest[5] == '[' ? sizeof(head) - 1 : 0) + 1);
}

int vm_disk_config_parse(const char *json, struct vm_disk_config *disk, char *message,
			 size_t message_bytes)
{
	static const char rest[] = "name: disk\nmemory: 64M\nkernel: /k\ndisks: [";
	size_t size = sizeof(rest) + strlen(json) + 2;
	struct vm_config *config = NULL;
	char *text = malloc(size);
	int rc;

	if (!text)
		return -ENOMEM;
	snprintf(text, size, "%s%s]", rest, json);
	rc = vm_config_parse("disk", text, strlen(text), &config, message, message_bytes);
	free(text);
	if (rc) {
		message_shorten(message);
		return rc;
	}
	if (config->disk_count != 1) {
		snprintf(message, message_bytes, "give one disk");
		rc = -EINVAL;
	} else {
		rc = vm_disk_config_copy(&config->disks[0], disk);
	}
	vm_config_free(config);
	return rc;
}

/* ---- identities, copies ---- */

void vm_config_controller_id(const char *vm_name, uint32_t controller, uint8_t id[16])
{
	config_derive_id("scsi", vm_name, controller, id);
}

void vm_config_unit_id(const char *vm_name, uint32_t controller, uint32_t lun, uint8_t id[16])
{
	config_derive_id("unit", vm_name, (size_t)controller * VM_MAX_LUNS + lun, id);
}

static int text_copy(const char *from, char **to)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int vm_disk_config_copy(const struct vm_disk_config *from, struct vm_disk_config *to)
{
	*to = *from;
	to->path = to->initiator = to->secret = NULL;
	if (text_copy(from->path, &to->path) || text_copy(from->initiator, &to->initiator) ||
	    text_copy(from->secret, &to->secret)) {
		vm_disk_config_fini(to);
		return -ENOMEM;
	}
	return 0;
}

void vm_disk_config_fini(struct vm_disk_config *disk)
{
	free(disk->path);
	free(disk->initiator);
	free(disk->secret);
	disk->path = disk->initiator = disk->secret = NULL;
}
