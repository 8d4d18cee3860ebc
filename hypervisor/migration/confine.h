/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of this host a definition may name that another host sent. Its guest is the other host's to
 * command: what the definition's kernel or initrd holds it can read after a reboot, what its
 * console says it can write, and its disks it can do both to. So a definition that came from
 * elsewhere names files and sockets in folders that this host's administrator keeps for that, and
 * no others; one that was defined here names what it likes.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_CONFINE_H
#define LUNAR_HYPERVISOR_MIGRATION_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

/* Further folders for all of them but consoles; $LUNAR_INCOMING_DIRS, "/srv/images:/dev/mapper". */
#define CONFINE_DIRS_VARIABLE "LUNAR_INCOMING_DIRS"
/* Where it is set, the targets that disks may name: "iscsi://192.0.2.10
 * iscsi://san/iqn.2026-01.com.example:db", each a host or more of a URL. */
#define CONFINE_TARGETS_VARIABLE "LUNAR_INCOMING_TARGETS"

enum confine_kind {
	CONFINE_BOOT,	 /* kernel, initrd: /boot, $LUNAR_STATE_DIR/boot */
	CONFINE_DISK,	 /* image, device, or a target's secret: $LUNAR_STATE_DIR/disks */
	CONFINE_PARENT,	 /* of a differencing image: the same */
	CONFINE_SOCKET,	 /* a switch's: $LUNAR_RUN_DIR itself, and the default's folder */
	CONFINE_CONSOLE, /* vm_paths_console_dir() and the VM's own folder in $LUNAR_RUN_DIR, alone
			  */
};

/*
 * Whether a definition of another host may name that path (absolute). Folders are compared as text:
 * no "." or ".." in path. Where a kernel, an initrd or a socket is there already, it has also to be
 * in one of the folders when all symbolic links are followed; a disk may be one (/dev/mapper is
 * made of them), so nobody else may write to a folder for disks. A parent is named by an image,
 * which the other host wrote: its path has all links followed, and so are the folders' here.
 * vm_name: a valid one.
 */
bool confine_path_is_allowed(enum confine_kind kind, const char *vm_name, const char *path);

/* Whether a definition of another host may name that iscsi:// URL: any, where the variable is not
 * set, since which hosts a target lets in is the target's to say. */
bool confine_target_is_allowed(const char *url);

/* The folders of a kind, for people: "/boot, /var/lib/lunar/boot". */
void confine_folders_list(enum confine_kind kind, const char *vm_name, char *text, size_t size);

#endif
