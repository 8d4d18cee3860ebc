/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways to name a LUN: iscsi://[user@]host[:port]/target-iqn/lun, and the portal form
 * host[:port]. IPv6 addresses stand in brackets. A password in a URL (user%password@) is refused,
 * since a URL ends up in process lists, logs and shell history.
 */
#ifndef LUNAR_ISCSI_SESSION_ISCSI_URL_H
#define LUNAR_ISCSI_SESSION_ISCSI_URL_H

#include <stdbool.h>
#include <stdint.h>

#define ISCSI_NAME_MAX	   223 /* RFC 7143 4.2.7.1 */
#define ISCSI_HOST_MAX	   253
#define ISCSI_USER_MAX	   255
#define ISCSI_DEFAULT_PORT 3260
#define ISCSI_LUN_MAX	   16383 /* flat space addressing, SAM-5 4.7.7.3 */

struct iscsi_address {
	char user[ISCSI_USER_MAX + 1]; /* CHAP name, or empty */
	char host[ISCSI_HOST_MAX + 1]; /* without brackets */
	char target[ISCSI_NAME_MAX + 1];
	uint16_t port;
	uint16_t lun;
};

/* Parses a full URL. Returns 0, or -EINVAL, with a phrase for the user in *why (static storage). */
int iscsi_url_parse(const char *url, struct iscsi_address *address, const char **why);

/* Parses host[:port], or iscsi://host[:port][/]. Sets host and port only. Returns as
 * iscsi_url_parse(). */
int iscsi_portal_parse(const char *portal, struct iscsi_address *address, const char **why);

/* Parses a LUN number, 0 to ISCSI_LUN_MAX. Returns 0 or -EINVAL. */
int iscsi_lun_parse(const char *text, uint16_t *lun);

/* True for what may stand as an iSCSI name: iqn., eui. or naa., and the characters of RFC
 * 7143 4.2.7.2. */
bool iscsi_name_is_valid(const char *name);

#endif
