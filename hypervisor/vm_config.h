/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM as its YAML file describes it. Parsed with libcyaml; unknown keys, missing keys and values
 * out of range are errors that name the key.
 */
#ifndef LUNAR_HYPERVISOR_VM_CONFIG_H
#define LUNAR_HYPERVISOR_VM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlan/vlan_config.h"

#include "storvsp/disk.h"

#define VM_NAME_MAX	    32
#define VM_MAX_VPS	    64
#define VM_MAX_NICS	    8
#define VM_MAX_CONTROLLERS  4
#define VM_MAX_LUNS	    64	 /* of a controller */
#define VM_MAX_DISKS	    64	 /* of a VM */
#define VM_CMDLINE_MAX	    2047 /* what a Linux guest keeps (COMMAND_LINE_SIZE - 1) */
#define VM_MIN_MEMORY_BYTES (UINT64_C(64) << 20)
#define VM_MAX_MEMORY_BYTES                                                                        \
	((UINT64_C(1) << 40) - (UINT64_C(1) << 30)) /* GPA limit less the hole below 4 GiB */

struct vm_nic_config {
	uint8_t mac[6]; /* given, or derived from the VM's name and the NIC's index; locally
			   administered */
	uint8_t instance_id[16]; /* VMBus instance GUID, derived from the VM's name and the index:
				    stable across moves */
	uint16_t mtu;		 /* 576..9216, default 1500 */
	bool spoof_guard;	 /* default true */
	uint32_t queues;	 /* most channels, 1..64; default: the number of VPs, at most 8 */
	char *vsp_socket;	 /* default: vm_paths_switch_socket() */
	struct vlan_config vlan; /* default: VLAN_DEFAULT */
};

struct vm_disk_config {
	bool dvd;   /* a DVD drive, else a disk */
	char *path; /* absolute, or an iscsi:// URL; NULL: an empty DVD drive */
	bool is_url;
	enum disk_format format; /* default: auto */
	enum disk_cache cache;	 /* default: none */
	bool read_only;		 /* default false; a DVD is so always */
	bool pass_through;	 /* default false */
	char *initiator;	 /* of a URL; NULL: the host's */
	char *secret;		 /* of a URL: the path of a file with the CHAP secret; or NULL */
	uint32_t controller;	 /* default 0 */
	uint32_t lun;		 /* default: the entry's index */
	uint8_t unit_id[16];	 /* of a DVD drive: derived from the VM's name, controller and LUN;
				    a disk's comes from its image (vm_storage.c) */
};

enum vm_console_kind {
	VM_CONSOLE_SOCKET, /* default: a unix socket beside the API socket, with a scroll-back of
			      its last 64 KiB */
	VM_CONSOLE_STDIO,
	VM_CONSOLE_FILE,
};

struct vm_config {
	char name[VM_NAME_MAX + 1]; /* [a-zA-Z0-9][a-zA-Z0-9_.-]* */
	uint32_t vps;		    /* default 1 */
	uint64_t memory_bytes;	    /* "512M", "64G" in the file; a multiple of 2 MiB */
	bool huge_pages;
	char *kernel;  /* an absolute path, as all paths here */
	char *initrd;  /* NULL: none */
	char *cmdline; /* never NULL */
	enum vm_console_kind console;
	char *console_path; /* file or socket; NULL for stdio, or for the default socket */
	struct vm_nic_config nics[VM_MAX_NICS];
	size_t nic_count;
	struct vm_disk_config disks[VM_MAX_DISKS];
	size_t disk_count;
};

#define VM_CONFIG_MAX_BYTES	65536 /* of the file; a larger one is refused unread */
#define VM_CONFIG_MESSAGE_BYTES 512   /* enough for every message of the functions below */

/*
 * Reads and checks a VM's YAML file. Returns 0 (the caller frees with vm_config_free()), or -errno
 * with one line for the user in message: the file, the line where it is known, the key, what is
 * wrong, and what to do; 0 leaves it empty. -ENOENT and -EACCES speak of the file itself; -EINVAL
 * of what it holds.
 * Whether kernel and initrd exist is not checked here: that happens at start.
 */
int vm_config_load(const char *path, struct vm_config **config, char *message,
		   size_t message_bytes);

/* The two halves of vm_config_load(), for who wants to keep the text. The caller frees *text; it is
 * not NUL-terminated. file is only named in messages. */
int vm_config_read(const char *path, char **text, size_t *length, char *message,
		   size_t message_bytes);
int vm_config_parse(const char *file, const char *text, size_t length, struct vm_config **config,
		    char *message, size_t message_bytes);

/* Whether a string may be a VM's name: 1 to VM_NAME_MAX of [a-zA-Z0-9_.-], the first a letter or a
 * digit. */
bool vm_name_is_valid(const char *name);

/* "socket", "stdio" or "file". */
const char *vm_console_kind_name(enum vm_console_kind kind);

/* The instance GUID of a VM's SCSI controller: stable across moves. */
void vm_config_controller_id(const char *vm_name, uint32_t controller, uint8_t id[16]);
/* Of a unit: see vm_disk_config.unit_id. */
void vm_config_unit_id(const char *vm_name, uint32_t controller, uint32_t lun, uint8_t id[16]);
/*
 * One entry of `disks`, as a JSON object with its keys (which is YAML): the same checks, *disk is
 * freed by vm_disk_config_fini(). A missing lun is 0. Returns 0, or -EINVAL with one line in
 * message, "KEY: what is wrong", or -ENOMEM.
 */
int vm_disk_config_parse(const char *json, struct vm_disk_config *disk, char *message,
			 size_t message_bytes);
/* Deep copy; 0 or -ENOMEM. The copy is freed by vm_disk_config_fini(). */
int vm_disk_config_copy(const struct vm_disk_config *from, struct vm_disk_config *to);
void vm_disk_config_fini(struct vm_disk_config *disk);
/* Whether two disks are opened in the same way, wherever the guest has them. */
bool vm_disk_config_opens_same(const struct vm_disk_config *a, const struct vm_disk_config *b);
/* Whether two disks are the same image, and at least one of them would write it. */
bool vm_disk_config_shares(const struct vm_disk_config *a, const struct vm_disk_config *b);

/* Takes NULL. */
void vm_config_free(struct vm_config *config);

#endif
