/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's one initiator name, in the file that open-iscsi uses too. Two machines with the same
 * name drop each other's sessions for ever, so a name that looks cloned is reported.
 */
#ifndef LUNAR_ISCSI_SESSION_INITIATOR_NAME_H
#define LUNAR_ISCSI_SESSION_INITIATOR_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "iscsi-session/iscsi_url.h"

#define INITIATOR_NAME_FILE "/etc/iscsi/initiatorname.iscsi"

/*
 * Finds InitiatorName= in text. Returns 0; -ENOENT where there is none (or only GenerateName=yes);
 * -EINVAL where it is not an iSCSI name.
 */
int initiator_name_parse(const char *text, char name[ISCSI_NAME_MAX + 1]);

/*
 * Reads the name from path. Where path does not exist, or asks for it by GenerateName=yes, makes a
 * unique one (Debian's form, iqn.1993-08.org.debian:01:<12 random hex digits>) and writes path.
 * Returns 0 or -errno.
 */
int initiator_name_load(const char *path, char name[ISCSI_NAME_MAX + 1]);

/* True for names that cannot be unique to a machine: no part after a colon, a template's word, all
 * zeroes. */
bool initiator_name_is_template(const char *name);

/*
 * Keeps beside path, in path.machine, which machine (DMI UUID, else MAC address) the name was first
 * used on. Returns true where the same name now runs on another machine: the disk or file was
 * cloned. identity NULL: this machine's.
 */
bool initiator_name_is_cloned(const char *path, const char *name, const char *identity);

#endif
