/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the readers of a VM's YAML file: vm_config.c has the file and the VM, vm_config_disks.c
 * the entries of `disks`. Scalars come as strings and are read strictly.
 */
#ifndef LUNAR_HYPERVISOR_VM_CONFIG_INTERNAL_H
#define LUNAR_HYPERVISOR_VM_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include <cyaml/cyaml.h>

#include "hypervisor/vm_config.h"
#include "hypervisor/yaml_outline.h"

#define CONFIG_PATH_BYTES_MAX 4095

/* One parse: where its complaints go, and which value is being read. */
struct config_parse {
	const char *file;
	struct yaml_outline outline;
	const char *list; /* "nics" or "disks"; NULL: a key of the top mapping */
	int entry;	  /* of list */
	const char *key;
	char *message;
	size_t message_bytes;
};

/* An entry of `disks` as libcyaml fills it: strings, NULL where the key is absent. */
struct raw_disk {
	char *path;
	char *url;
	char *format;
	char *type;
	char *controller;
	char *lun;
	char *read_only;
	char *cache;
	char *passthrough;
	char *initiator;
	char *secret;
};

extern const cyaml_schema_field_t config_disk_fields[];

/* Copies for a message: never more than fits a line, and nothing that a terminal would act on. */
void config_quote(char *out, size_t out_bytes, const char *value);
/* Says what is wrong with the value of parse->key. Returns -EINVAL. */
int config_complain(const struct config_parse *parse, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* value may be NULL: otherwise, where there is one. 0 or -EINVAL, -ENOMEM. */
int config_read_bool(const struct config_parse *parse, const char *value, bool otherwise,
		     bool *out);
int config_read_number(const struct config_parse *parse, const char *value, uint32_t least,
		       uint32_t most, uint32_t otherwise, uint32_t *out);
/* An absolute path of at most that many bytes; *out is allocated. */
int config_read_path(const struct config_parse *parse, const char *value, size_t most, char **out);

/* A UUID of version 8, in wire order, of a name and a number; the same on every host. */
void config_derive_id(const char *purpose, const char *name, size_t index, uint8_t id[16]);

/* All entries of `disks`, and what they must not have in common. config->name is set. */
int config_convert_disks(struct config_parse *parse, const struct raw_disk *raw, size_t count,
			 struct vm_config *config);

#endif
