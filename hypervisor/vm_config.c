/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's YAML file, checked to the last value. Three passes: yaml_outline refuses what is no YAML
 * of ours and notes the lines; libcyaml checks the keys against the schema and takes every scalar
 * as a string; then each string is read strictly here, since libcyaml takes "2abc" for 2 and any
 * word but a few for true.
 */
#include "hypervisor/vm_config_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cyaml/cyaml.h>

#include "base/bytes.h"
#include "hypervisor/vm_paths.h"
#include "hypervisor/yaml_outline.h"

#define SOCKET_BYTES_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define MEMORY_GRANULE	 (UINT64_C(2) << 20)
#define QUEUES_MAX	 64
#define QUEUES_DEFAULT	 8

/* The file as libcyaml fills it: strings, NULL where the key is absent. */
struct raw_vlan {
	char *mode;
	char *id;
	char *allowed;
	char *native;
	char *primary;
	char *secondary;
};

struct raw_nic {
	char *mac;
	char *mtu;
	char *queues;
	char *switch_socket;
	char *spoof_guard;
	struct raw_vlan *vlan;
};

struct raw_config {
	char *name;
	char *vps;
	char *memory;
	char *huge_pages;
	char *kernel;
	char *initrd;
	char *cmdline;
	char *console;
	char *console_path;
	struct raw_nic *nics;
	uint32_t nics_count;
	struct raw_disk *disks;
	uint32_t disks_count;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

#define VLAN_FIELD(name)                                                                           \
	CYAML_FIELD_STRING_PTR(#name, OPTIONAL, struct raw_vlan, name, 0, CYAML_UNLIMITED)

static const cyaml_schema_field_t vlan_fields[] = {
	VLAN_FIELD(mode),    VLAN_FIELD(id),	    VLAN_FIELD(allowed), VLAN_FIELD(native),
	VLAN_FIELD(primary), VLAN_FIELD(secondary), CYAML_FIELD_END,
};

static const cyaml_schema_field_t nic_fields[] = {
	CYAML_FIELD_STRING_PTR("mac", OPTIONAL, struct raw_nic, mac, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("mtu", OPTIONAL, struct raw_nic, mtu, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("queues", OPTIONAL, struct raw_nic, queues, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("switch", OPTIONAL, struct raw_nic, switch_socket, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("spoof_guard", OPTIONAL, struct raw_nic, spoof_guard, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_MAPPING_PTR("vlan", OPTIONAL, struct raw_nic, vlan, vlan_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t nic_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_nic, nic_fields),
};

static const cyaml_schema_value_t disk_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_disk, config_disk_fields),
};

static const cyaml_schema_field_t vm_fields[] = {
	CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct raw_config, name, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("vps", OPTIONAL, struct raw_config, vps, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("memory", CYAML_FLAG_POINTER, struct raw_config, memory, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("huge_pages", OPTIONAL, struct raw_config, huge_pages, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("kernel", CYAML_FLAG_POINTER, struct raw_config, kernel, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("initrd", OPTIONAL, struct raw_config, initrd, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("cmdline", OPTIONAL, struct raw_config, cmdline, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("console", OPTIONAL, struct raw_config, console, 0, CYAML_UNLIMITED),
	CYAML_FIELD_STRING_PTR("console_path", OPTIONAL, struct raw_config, console_path, 0,
			       CYAML_UNLIMITED),
	CYAML_FIELD_SEQUENCE("nics", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
			     struct raw_config, nics, &nic_schema, 0, VM_MAX_NICS),
	CYAML_FIELD_SEQUENCE("disks", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
			     struct raw_config, disks, &disk_schema, 0, VM_MAX_DISKS),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t vm_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, vm_fields),
};

/* What libcyaml says of a fault, gathered from its log. Its backtrace runs from the inside out. */
struct fault {
	char key[YAML_OUTLINE_KEY_BYTES];   /* that the first line names, if it does */
	char field[YAML_OUTLINE_KEY_BYTES]; /* innermost mapping field */
	int entry;			    /* -1: not within a list */
	char list[YAML_OUTLINE_KEY_BYTES];  /* that one */
	bool in_vlan;			    /* within an entry's mapping `vlan` */
	bool in_backtrace;
	bool innermost_known;
};

/* Copies for a message: never more than fits a line, and nothing that a terminal would act on. */
void config_quote(char *out, size_t out_bytes, const char *value)
{
	size_t n = 0;

	for (; value[n] && n + 4 < out_bytes && n < 48; n++)
		out[n] = (char)(value[n] >= 0x20 && value[n] < 0x7f ? value[n] : '?');
	snprintf(out + n, out_bytes - n, "%s", value[n] ? "..." : "");
}

static int complain_at(const struct config_parse *parse, size_t line, const char *format,
		       va_list args)
{
	char where[32] = "";
	char what[384];

	if (line)
		snprintf(where, sizeof(where), "%zu:", line);
	vsnprintf(what, sizeof(what), format, args);
	if (parse->key && parse->list)
		snprintf(parse->message, parse->message_bytes, "%s:%s %s[%d].%s: %s", parse->file,
			 where, parse->list, parse->entry, parse->key, what);
	else
		snprintf(parse->message, parse->message_bytes, "%s:%s %s%s%s", parse->file, where,
			 parse->key ? parse->key : "", parse->key ? ": " : "", what);
	return -EINVAL;
}

/* Says what is wrong with the value of parse->key. Returns -EINVAL. */
int config_complain(const struct config_parse *parse, const char *format, ...)
{
	size_t line = 0;
	va_list args;
	int rc;

	if (parse->key)
		line = yaml_outline_line(&parse->outline, parse->list, parse->entry, parse->key);
	va_start(args, format);
	rc = complain_at(parse, line, format, args);
	va_end(args);
	return rc;
}

__attribute__((format(printf, 3, 4))) static int complain_line(const struct config_parse *parse,
							       size_t line, const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	rc = complain_at(parse, line, format, args);
	va_end(args);
	return rc;
}

__attribute__((format(printf, 3, 0))) static void fault_note(cyaml_log_t level, void *ctx,
							     const char *format, va_list args)
{
	struct fault *fault = ctx;
	static const char entry_head[] = "  in sequence entry '";
	const char *colon;
	char text[256];

	if (level != CYAML_LOG_ERROR)
		return;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	if (strncmp(text, entry_head, sizeof(entry_head) - 1) == 0) {
		/* It counts the entry that it is in. */
		fault->entry = (int)strtol(text + sizeof(entry_head) - 1, NULL, 10) - 1;
		fault->innermost_known = true;
	} else if (strncmp(text, "  in mapping", 12) == 0) {
		if (fault->entry < 0 && strncmp(text, "  in mapping field 'vlan'", 25) == 0)
			fault->in_vlan = fault->innermost_known;
		if (fault->entry >= 0 && !*fault->list)
			(void)sscanf(text, "  in mapping field '%31[^']'", fault->list);
		if (!fault->innermost_known)
			(void)sscanf(text, "  in mapping field '%31[^']'", fault->field);
		fault->innermost_known = true;
	} else if (!fault->in_backtrace && strcmp(text, "Load: Backtrace:") != 0) {
		/* "Load: Unexpected key: KEY", "Load: Missing required mapping field: KEY" */
		colon = strstr(text + strcspn(text, " "), ": ");
		snprintf(fault->key, sizeof(fault->key), "%.*s", (int)sizeof(fault->key) - 1,
			 colon ? colon + 2 : "");
	} else {
		fault->in_backtrace = true;
	}
}

static bool is_disks(const char *key)
{
	return strcmp(key, "disks") == 0;
}

/* The name as a literal: what libcyaml said is gone when the message is made. */
static const char *list_name(const char *list)
{
	return is_disks(list) ? "disks" : "nics";
}

static int complain_too_many(struct config_parse *parse, const struct fault *fault)
{
	const char *list = list_name(fault->entry >= 0 ? fault->list : fault->field);

	parse->list = NULL;
	parse->key = list;
	if (is_disks(list))
		return config_complain(parse, "too many; a VM has at most %d disks", VM_MAX_DISKS);
	return config_complain(parse, "too many; a VM has at most %d NICs", VM_MAX_NICS);
}

static int complain_unknown_key(struct config_parse *parse, const struct fault *fault)
{
	const cyaml_schema_field_t *fields = vm_fields;
	char known[256] = "";
	char shown[YAML_OUTLINE_KEY_BYTES + 8];
	char name[sizeof(shown) + 8], where[sizeof(shown) + 8];
	size_t used = 0;
	int rc;

	if (parse->list)
		fields = is_disks(parse->list) ? config_disk_fields : nic_fields;
	if (fault->in_vlan)
		fields = vlan_fields;
	for (size_t i = 0; fields[i].key && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 fields[i].key);
	config_quote(shown, sizeof(shown), fault->key);
	snprintf(name, sizeof(name), "%s%s", fault->in_vlan ? "vlan." : "", shown);
	parse->key = name;
	snprintf(where, sizeof(where), "%s%s", fault->in_vlan ? "vlan." : "", fault->key);
	rc = complain_line(parse,
			   yaml_outline_line(&parse->outline, parse->list, parse->entry, where),
			   "unknown key; use one of %s", known);
	parse->key = NULL;
	return rc;
}

/* The structure is not the schema's. */
static int complain_fault(struct config_parse *parse, cyaml_err_t error, const struct fault *fault)
{
	char inner[YAML_OUTLINE_KEY_BYTES + 8];

	parse->entry = fault->entry;
	parse->list = fault->entry >= 0 ? list_name(fault->list) : NULL;
	parse->key = fault->field[0] ? fault->field : NULL;
	if (fault->in_vlan && parse->key) {
		snprintf(inner, sizeof(inner), "vlan.%s", fault->field);
		parse->key = inner;
	}
	switch (error) {
	case CYAML_ERR_OOM:
		return -ENOMEM;
	case CYAML_ERR_INVALID_KEY:
		return complain_unknown_key(parse, fault);
	case CYAML_ERR_MAPPING_FIELD_MISSING:
		parse->list = NULL;
		parse->key = fault->key;
		return config_complain(parse, "missing; add this key to the file");
	case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
		return complain_too_many(parse, fault);
	default:
		break;
	}
	if (!parse->key && parse->list) {
		parse->key = parse->list;
		parse->list = NULL;
		return config_complain(parse,
				       "each entry must be a mapping of keys, such as '- %s'",
				       is_disks(parse->key) ? "path: /disk.img" : "mtu: 1500");
	}
	if (!parse->key)
		return config_complain(parse, "not a mapping; write one 'key: value' a line");
	if (parse->list && !fault->in_vlan && strcmp(parse->key, "vlan") == 0)
		return config_complain(parse, "must be a mapping, such as {mode: access, id: 10}");
	if (!parse->list && (is_disks(parse->key) || strcmp(parse->key, "nics") == 0))
		return config_complain(parse, "must be a list; begin each %s with '- '",
				       is_disks(parse->key) ? "disk" : "NIC");
	return config_complain(parse, "must be one plain value, not a list or a mapping");
}

int config_read_bool(const struct config_parse *parse, const char *value, bool otherwise, bool *out)
{
	char shown[64];

	if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
		config_quote(shown, sizeof(shown), value);
		return config_complain(parse, "'%s' is neither; give true or false", shown);
	}
	*out = value ? strcmp(value, "true") == 0 : otherwise;
	return 0;
}

/* Decimal digits only, as far as they go. Returns what follows, or NULL where there are none or too
 * many. */
static const char *read_digits(const char *value, uint64_t *out)
{
	uint64_t number = 0;
	size_t n = 0;

	for (; isdigit((unsigned char)value[n]); n++) {
		if (n == 15)
			return NULL;
		number = number * 10 + (uint64_t)(value[n] - '0');
	}
	*out = number;
	return n ? value + n : NULL;
}

int config_read_number(const struct config_parse *parse, const char *value, uint32_t least,
		       uint32_t most, uint32_t otherwise, uint32_t *out)
{
	uint64_t number = otherwise;
	const char *rest = "";
	char shown[64];

	if (value)
		rest = read_digits(value, &number);
	if (!rest || *rest || number < least || number > most) {
		config_quote(shown, sizeof(shown), value);
		return config_complain(parse, "'%s' is not a whole number from %u to %u", shown,
				       least, most);
	}
	*out = (uint32_t)number;
	return 0;
}

static int read_memory(const struct config_parse *parse, const char *value, uint64_t *out)
{
	uint64_t number = 0;
	const char *unit = read_digits(value, &number);
	const char *known = "MGT";
	unsigned int shift;
	char shown[64];

	config_quote(shown, sizeof(shown), value);
	if (!unit || !*unit || unit[1] || !strchr(known, *unit))
		return config_complain(
			parse,
			"'%s' is not a size; give a whole number with M, G or T, such as 512M",
			shown);
	shift = *unit == 'M' ? 20 : *unit == 'G' ? 30 : 40;
	if (number > VM_MAX_MEMORY_BYTES >> shift || number << shift < VM_MIN_MEMORY_BYTES)
		return config_complain(parse, "'%s' is out of range; give 64M to 1023G", shown);
	if (number << shift & (MEMORY_GRANULE - 1))
		return config_complain(parse, "'%s' is not a multiple of 2M; round it up to %lluM",
				       shown, (unsigned long long)number + 1);
	*out = number << shift;
	return 0;
}

int config_read_path(const struct config_parse *parse, const char *value, size_t most, char **out)
{
	char shown[64];

	config_quote(shown, sizeof(shown), value);
	if (value[0] != '/' || !value[1])
		return config_complain(parse, "'%s' is not an absolute path; begin it with /",
				       shown);
	if (strlen(value) > most)
		return config_complain(parse, "the path is longer than %zu bytes; shorten it",
				       most);
	*out = strdup(value);
	return *out ? 0 : -ENOMEM;
}

static int read_mac(const struct config_parse *parse, const char *value, uint8_t mac[6])
{
	static const uint8_t zero[6];
	char shown[64];
	bool good = strlen(value) == 17;
	uint8_t bytes[6];

	config_quote(shown, sizeof(shown), value);
	for (size_t i = 0; good && i < 17; i++)
		good = i % 3 == 2 ? value[i] == ':' : isxdigit((unsigned char)value[i]) != 0;
	if (!good)
		return config_complain(
			parse, "'%s' is not a MAC; write it as \"02:00:00:00:00:01\"", shown);
	for (size_t i = 0; i < 6; i++)
		bytes[i] = (uint8_t)strtoul(value + 3 * i, NULL, 16);
	if (bytes[0] & 1)
		return config_complain(
			parse, "'%s' is a multicast address; make its first byte even", shown);
	if (memcmp(bytes, zero, sizeof(zero)) == 0)
		return config_complain(
			parse, "'%s' is no address; leave the key out to have one derived", shown);
	memcpy(mac, bytes, sizeof(bytes));
	return 0;
}

/* FNV-1a, 64 bits: spreads names over identifiers; nothing secret hangs on it. */
static uint64_t hash_name(const char *purpose, const char *name, size_t index)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	char text[VM_NAME_MAX + 64];

	snprintf(text, sizeof(text), "lunar %s %s %zu", purpose, name, index);
	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	/* FNV leaves the last bytes of similar names alike: mix (splitmix64's finaliser). */
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

static void derive_mac(const char *name, size_t index, uint8_t mac[6])
{
	uint8_t hash[8];

	put_le64(hash, hash_name("mac", name, index));
	mac[0] = 0x02; /* locally administered, unicast */
	memcpy(mac + 1, hash, 5);
}

/* A UUID of version 8 (RFC 9562 5.8), in wire order: bytes 7 and 8 hold the version and the
 * variant. */
void config_derive_id(const char *purpose, const char *name, size_t index, uint8_t id[16])
{
	char second[32];

	snprintf(second, sizeof(second), "%s too", purpose);
	put_le64(id, hash_name(purpose, name, index));
	put_le64(id + 8, hash_name(second, name, index));
	id[7] = (uint8_t)((id[7] & 0x0f) | 0x80);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

static int check_macs(struct config_parse *parse, const struct vm_config *config)
{
	for (size_t i = 0; i < config->nic_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (memcmp(config->nics[i].mac, config->nics[j].mac, 6) != 0)
				continue;
			parse->list = "nics";
			parse->entry = (int)i;
			parse->key = "mac";
			return config_complain(
				parse, "the same as that of nics[%zu]; give each NIC its own", j);
		}
	}
	return 0;
}

static int convert_vlan(struct config_parse *parse, const struct raw_vlan *raw,
			struct vlan_config *vlan)
{
	struct vlan_words words = {raw->mode,	raw->id,      raw->allowed,
				   raw->native, raw->primary, raw->secondary};
	char message[VLAN_MESSAGE_BYTES];
	char key[YAML_OUTLINE_KEY_BYTES];
	const char *word;
	int rc = vlan_config_parse(&words, vlan, &word, message);

	if (!rc)
		return 0;
	snprintf(key, sizeof(key), "vlan.%s", word);
	parse->key = key;
	rc = config_complain(parse, "%s", message);
	parse->key = "vlan";
	return rc;
}

static int convert_nic(struct config_parse *parse, const struct raw_nic *raw, size_t index,
		       struct vm_config *config)
{
	struct vm_nic_config *nic = &config->nics[index];
	char socket[CONFIG_PATH_BYTES_MAX + 1];
	uint32_t mtu = 0;
	int rc = 0;

	parse->list = "nics";
	parse->entry = (int)index;
	config_derive_id("instance", config->name, index, nic->instance_id);
	derive_mac(config->name, index, nic->mac);
	parse->key = "mac";
	if (raw->mac)
		rc = read_mac(parse, raw->mac, nic->mac);
	parse->key = "mtu";
	rc = rc ? rc : config_read_number(parse, raw->mtu, 576, 9216, 1500, &mtu);
	nic->mtu = (uint16_t)mtu;
	parse->key = "queues";
	rc = rc ? rc
		: config_read_number(parse, raw->queues, 1, QUEUES_MAX,
				     config->vps < QUEUES_DEFAULT ? config->vps : QUEUES_DEFAULT,
				     &nic->queues);
	parse->key = "spoof_guard";
	rc = rc ? rc : config_read_bool(parse, raw->spoof_guard, true, &nic->spoof_guard);
	if (!rc && raw->vlan)
		rc = convert_vlan(parse, raw->vlan, &nic->vlan);
	parse->key = "switch";
	if (rc < 0)
		return rc;
	if (!raw->switch_socket && vm_paths_switch_socket(socket, sizeof(socket)) < 0)
		return config_complain(parse,
				       "LUNAR_RUN_DIR is too long for a socket's path; shorten it");
	return config_read_path(parse, raw->switch_socket ? raw->switch_socket : socket,
				SOCKET_BYTES_MAX, &nic->vsp_socket);
}

static int convert_console(struct config_parse *parse, const struct raw_config *raw,
			   struct vm_config *config)
{
	const char *kind = raw->console ? raw->console : "socket";
	char shown[64];

	parse->key = "console";
	config_quote(shown, sizeof(shown), kind);
	if (strcmp(kind, "socket") == 0)
		config->console = VM_CONSOLE_SOCKET;
	else if (strcmp(kind, "stdio") == 0)
		config->console = VM_CONSOLE_STDIO;
	else if (strcmp(kind, "file") == 0)
		config->console = VM_CONSOLE_FILE;
	else
		return config_complain(parse, "'%s' is not a console; give socket, stdio or file",
				       shown);
	parse->key = "console_path";
	if (config->console == VM_CONSOLE_FILE && !raw->console_path)
		return config_complain(parse,
				       "missing; 'console: file' needs the file's path here");
	if (config->console == VM_CONSOLE_STDIO && raw->console_path)
		return config_complain(parse,
				       "not used with 'console: stdio'; take one of the two out");
	if (!raw->console_path)
		return 0;
	return config_read_path(parse, raw->console_path,
				config->console == VM_CONSOLE_SOCKET ? SOCKET_BYTES_MAX
								     : CONFIG_PATH_BYTES_MAX,
				&config->console_path);
}

static int convert_boot(struct config_parse *parse, const struct raw_config *raw,
			struct vm_config *config)
{
	int rc;

	parse->key = "kernel";
	rc = config_read_path(parse, raw->kernel, CONFIG_PATH_BYTES_MAX, &config->kernel);
	if (rc < 0)
		return rc;
	parse->key = "initrd";
	if (raw->initrd)
		rc = config_read_path(parse, raw->initrd, CONFIG_PATH_BYTES_MAX, &config->initrd);
	if (rc < 0)
		return rc;
	parse->key = "cmdline";
	if (raw->cmdline && strlen(raw->cmdline) > VM_CMDLINE_MAX)
		return config_complain(
			parse, "longer than %d bytes, which is all that Linux keeps; shorten it",
			VM_CMDLINE_MAX);
	config->cmdline = strdup(raw->cmdline ? raw->cmdline : "");
	return config->cmdline ? 0 : -ENOMEM;
}

static int convert(struct config_parse *parse, const struct raw_config *raw,
		   struct vm_config *config)
{
	char shown[64];
	int rc;

	parse->list = NULL;
	parse->key = "name";
	config_quote(shown, sizeof(shown), raw->name);
	if (!vm_name_is_valid(raw->name))
		return config_complain(
			parse,
			"'%s' is not a name; use 1 to %d letters, digits, '-', '_', '.', "
			"beginning with a letter or digit",
			shown, VM_NAME_MAX);
	snprintf(config->name, sizeof(config->name), "%s", raw->name);
	parse->key = "vps";
	rc = config_read_number(parse, raw->vps, 1, VM_MAX_VPS, 1, &config->vps);
	parse->key = "memory";
	rc = rc ? rc : read_memory(parse, raw->memory, &config->memory_bytes);
	parse->key = "huge_pages";
	rc = rc ? rc : config_read_bool(parse, raw->huge_pages, false, &config->huge_pages);
	rc = rc ? rc : convert_boot(parse, raw, config);
	rc = rc ? rc : convert_console(parse, raw, config);
	for (size_t i = 0; rc == 0 && i < raw->nics_count; i++) {
		config->nic_count = i + 1;
		rc = convert_nic(parse, &raw->nics[i], i, config);
	}
	rc = rc ? rc : check_macs(parse, config);
	return rc ? rc : config_convert_disks(parse, raw->disks, raw->disks_count, config);
}

int vm_config_parse(const char *file, const char *text, size_t length, struct vm_config **config,
		    char *message, size_t message_bytes)
{
	struct fault fault = {.entry = -1};
	const cyaml_config_t cyaml = {
		.log_fn = fault_note,
		.log_ctx = &fault,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	struct config_parse parse = {
		.file = file, .entry = -1, .message = message, .message_bytes = message_bytes};
	struct vm_config *made = NULL;
	struct raw_config *raw = NULL;
	char problem[256] = "";
	cyaml_err_t error;
	size_t line = 0;
	int rc;

	snprintf(message, message_bytes, "%s: out of memory", file);
	if (length > VM_CONFIG_MAX_BYTES)
		return config_complain(&parse,
				       "larger than %d bytes; this is not a VM's configuration",
				       VM_CONFIG_MAX_BYTES);
	rc = yaml_outline_read(text, length, &parse.outline, &line, problem, sizeof(problem));
	if (rc < 0)
		return rc == -EINVAL ? complain_line(&parse, line, "%s", problem) : rc;
	error = cyaml_load_data((const uint8_t *)text, length, &cyaml, &vm_schema,
				(cyaml_data_t **)&raw, NULL);
	if (error != CYAML_OK)
		return complain_fault(&parse, error, &fault);
	if (!raw)
		return config_complain(&parse, "not a mapping; write one 'key: value' a line");
	made = calloc(1, sizeof(*made));
	rc = made ? convert(&parse, raw, made) : -ENOMEM;
	(void)cyaml_free(&cyaml, &vm_schema, raw, 0);
	if (rc < 0) {
		vm_config_free(made);
		return rc;
	}
	*message = '\0';
	*config = made;
	return 0;
}

int vm_config_read(const char *path, char **text, size_t *length, char *message,
		   size_t message_bytes)
{
	struct stat status;
	char *buffer;
	ssize_t got = 0;
	size_t used = 0;
	int rc = 0;
	int fd;

	/* Non-blocking, so that a FIFO in the place of the file does not hold us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0) {
		rc = -errno;
		snprintf(message, message_bytes,
			 "%s: cannot be read (%s); give the path of a VM's YAML file", path,
			 strerror(-rc));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	buffer = malloc(VM_CONFIG_MAX_BYTES + 1);
	if (!S_ISREG(status.st_mode)) {
		rc = -EINVAL;
		snprintf(message, message_bytes,
			 "%s: not a regular file; give the path of a VM's YAML file", path);
	} else if (!buffer) {
		rc = -ENOMEM;
		snprintf(message, message_bytes, "%s: out of memory", path);
	}
	while (rc == 0 && used <= VM_CONFIG_MAX_BYTES) {
		got = read(fd, buffer + used, VM_CONFIG_MAX_BYTES + 1 - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	if (rc == 0 && got < 0) {
		rc = -errno;
		snprintf(message, message_bytes, "%s: cannot be read (%s)", path, strerror(-rc));
	} else if (rc == 0 && used > VM_CONFIG_MAX_BYTES) {
		rc = -EFBIG;
		snprintf(message, message_bytes,
			 "%s: larger than %d bytes; this is not a VM's configuration", path,
			 VM_CONFIG_MAX_BYTES);
	}
	close(fd);
	if (rc < 0) {
		free(buffer);
		return rc;
	}
	*text = buffer;
	*length = used;
	return 0;
}

int vm_config_load(const char *path, struct vm_config **config, char *message, size_t message_bytes)
{
	size_t length = 0;
	char *text = NULL;
	int rc;

	rc = vm_config_read(path, &text, &length, message, message_bytes);
	if (rc < 0)
		return rc;
	rc = vm_config_parse(path, text, length, config, message, message_bytes);
	free(text);
	return rc;
}

void vm_config_free(struct vm_config *config)
{
	if (!config)
		return;
	free(config->kernel);
	free(config->initrd);
	free(config->cmdline);
	free(config->console_path);
	for (size_t i = 0; i < config->nic_count; i++)
		free(config->nics[i].vsp_socket);
	for (size_t i = 0; i < config->disk_count; i++)
		vm_disk_config_fini(&config->disks[i]);
	free(config);
}

bool vm_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length < 1 || length > VM_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i]))
			return false;
	return true;
}

const char *vm_console_kind_name(enum vm_console_kind kind)
{
	switch (kind) {
	case VM_CONSOLE_SOCKET:
		return "socket";
	case VM_CONSOLE_STDIO:
		return "stdio";
	case VM_CONSOLE_FILE:
		return "file";
	}
	return "unknown";
}
