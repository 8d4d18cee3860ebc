/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be known of a LUN before the kernel gets a disk: that it is there, is a disk, and its
 * geometry.
 */
#ifndef LUNAR_ISCSI_SESSION_LUN_PROBE_H
#define LUNAR_ISCSI_SESSION_LUN_PROBE_H

#include <stdint.h>

#include "base/exit_code.h"
#include "iscsi-session/session.h"

struct lun_geometry {
	uint8_t device_type; /* 0: disk */
	uint32_t block_bytes;
	uint64_t blocks;
	char vendor[9], product[17]; /* of INQUIRY, printable ASCII */
};

/* On EXIT_OK geometry is filled; else message is for the user. */
typedef void (*lun_probe_fn)(void *ctx, enum exit_code code, const struct lun_geometry *geometry,
			     const char *message);

struct lun_probe;

/* Starts INQUIRY and READ CAPACITY(16) on a session that is up. done comes once. Returns 0 or
 * -ENOMEM. */
int lun_probe_start(struct session *session, lun_probe_fn done, void *ctx,
		    struct lun_probe **probe);
/* After done, or after the session was destroyed. Takes NULL. */
void lun_probe_destroy(struct lun_probe *probe);

/* Parsers, for tests. Return 0 or -EINVAL; lun_parse_inquiry() -ENODEV where there is no LUN. */
int lun_parse_inquiry(const uint8_t *data, uint32_t length, struct lun_geometry *geometry);
int lun_parse_capacity(const uint8_t *data, uint32_t length, struct lun_geometry *geometry);

#endif
