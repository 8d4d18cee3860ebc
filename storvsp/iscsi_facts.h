/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a LUN tells of itself: size and blocks, what it is known by, what it can unmap, its cache.
 * Source: SBC-3 5.16 (READ CAPACITY), 6.5 (VPD pages), SPC-4 7.8.6 (VPD 83h).
 */
#ifndef LUNAR_STORVSP_ISCSI_FACTS_H
#define LUNAR_STORVSP_ISCSI_FACTS_H

#include <stdint.h>

#include "iscsi-session/session.h"
#include "storvsp/disk.h"

struct iscsi_facts;

/* ret: 0 with info, all but kind and, where the LUN has no name of its own (has_id false), id; or
 * -errno with a line for the user. The session's thread. */
typedef void (*iscsi_facts_fn)(void *ctx, int ret, const struct disk_info *info, bool has_id,
			       const char *message);

/* Asks, on a session that is up. done comes once, unless the session is destroyed before. Returns 0
 * or -ENOMEM. */
int iscsi_facts_ask(struct session *session, iscsi_facts_fn done, void *ctx,
		    struct iscsi_facts **facts);
/* After done, or after the session was destroyed. Takes NULL. */
void iscsi_facts_destroy(struct iscsi_facts *facts);

/* Parsers of answers, for tests; each takes what is there. */
void iscsi_facts_take_id(const uint8_t *page, uint32_t length, struct disk_info *info,
			 bool *has_id);
void iscsi_facts_take_limits(const uint8_t *page, uint32_t length, struct disk_info *info);
void iscsi_facts_take_rotation(const uint8_t *page, uint32_t length, struct disk_info *info);
void iscsi_facts_take_capacity(const uint8_t *data, uint32_t length, struct disk_info *info);
void iscsi_facts_take_caching(const uint8_t *data, uint32_t length, struct disk_info *info);

#endif
