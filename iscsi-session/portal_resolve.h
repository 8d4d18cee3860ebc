/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host names to numeric portals. It is done once, before a session starts: no name service can then
 * stall I/O.
 */
#ifndef LUNAR_ISCSI_SESSION_PORTAL_RESOLVE_H
#define LUNAR_ISCSI_SESSION_PORTAL_RESOLVE_H

#include <stddef.h>

#include "iscsi-session/iscsi_url.h"

/* Writes 192.0.2.1:3260 or [2001:db8::1]:3260. Returns 0, -ENOENT (no such host) or -EAGAIN (no
 * name server). */
int portal_resolve(const struct iscsi_address *address, char *portal, size_t size);

/* The same for what a target sends as TargetAddress: host[:port][,tag]. -EINVAL where it is none.
 */
int portal_resolve_text(const char *text, char *portal, size_t size);

#endif
