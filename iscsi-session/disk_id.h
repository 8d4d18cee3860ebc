/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identities that follow from names, so that they are the same at the next attach, after a crash
 * and after a reboot: the id of an attached disk, and the ISID of its session.
 */
#ifndef LUNAR_ISCSI_SESSION_DISK_ID_H
#define LUNAR_ISCSI_SESSION_DISK_ID_H

#include <stdint.h>

#define DISK_ID_LENGTH 12 /* lower-case hex digits */

/* One id for one LUN of one target. */
void disk_id_make(const char *target, uint16_t lun, char id[DISK_ID_LENGTH + 1]);

/* The 24-bit random part of the ISID; its qualifier is the LUN, since each LUN has a session of its
 * own. */
uint32_t disk_isid_random(const char *initiator_name, const char *target);

#endif
