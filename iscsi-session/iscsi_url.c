/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * URL and portal parsing. Every part is copied into a bounded field; nothing is unescaped, since
 * neither iSCSI names nor portals need it.
 */
#include "iscsi-session/iscsi_url.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char scheme[] = "iscsi://";

static int refuse(const char **why, const char *phrase)
{
	*why = phrase;
	return -EINVAL;
}

static int copy_field(char *field, size_t size, const char *from, size_t length)
{
	if (length == 0 || length >= size)
		return -EINVAL;
	memcpy(field, from, length);
	field[length] = '\0';
	return 0;
}

static int parse_decimal(const char *text, size_t length, uint32_t max, uint32_t *out)
{
	uint32_t value = 0;

	if (length == 0 || length > 9)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value > max)
		return -EINVAL;
	*out = value;
	return 0;
}

int iscsi_lun_parse(const char *text, uint16_t *lun)
{
	uint32_t value;

	if (parse_decimal(text, strlen(text), ISCSI_LUN_MAX, &value) < 0)
		return -EINVAL;
	*lun = (uint16_t)value;
	return 0;
}

bool iscsi_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length < 5 || length > ISCSI_NAME_MAX)
		return false;
	if (strncmp(name, "iqn.", 4) != 0 && strncmp(name, "eui.", 4) != 0 &&
	    strncmp(name, "naa.", 4) != 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)name[i];
		/* Above 0x7f: names are UTF-8, their preparation is the administrator's. */
		if (!isalnum(c) && strchr("-.:_", c) == NULL && c < 0x80)
			return false;
	}
	return true;
}

static bool host_is_valid(const char *host)
{
	for (const char *p = host; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("-._:%", *p) == NULL)
			return false;
	return true;
}

/* host[:port] in [text, text + length). */
static int parse_host_port(const char *text, size_t length, struct iscsi_address *address,
			   const char **why)
{
	const char *host = text, *port = NULL;
	size_t host_length = length;
	uint32_t number = ISCSI_DEFAULT_PORT;

	if (length > 0 && text[0] == '[') {
		const char *close = memchr(text, ']', length);
		if (close == NULL)
			return refuse(why, "an IPv6 address lacks its closing bracket");
		host = text + 1;
		host_length = (size_t)(close - host);
		if (close + 1 < text + length) {
			if (close[1] != ':')
				return refuse(why, "only a port may follow the closing bracket");
			port = close + 2;
		}
	} else {
		const char *colon = memchr(text, ':', length);
		if (colon != NULL) {
			host_length = (size_t)(colon - text);
			port = colon + 1;
			if (memchr(port, ':', (size_t)(text + length - port)) != NULL)
				return refuse(why, "an IPv6 address must stand in brackets");
		}
	}
	if (port != NULL &&
	    (parse_decimal(port, (size_t)(text + length - port), 65535, &number) < 0 ||
	     number == 0))
		return refuse(why, "the port must be a number from 1 to 65535");
	if (copy_field(address->host, sizeof(address->host), host, host_length) < 0)
		return refuse(why, "the host is missing or too long");
	if (!host_is_valid(address->host))
		return refuse(why, "the host has a character that no host name or address has");
	address->port = (uint16_t)number;
	return 0;
}

static int parse_user(const char *text, size_t length, struct iscsi_address *address,
		      const char **why)
{
	if (memchr(text, '%', length) != NULL || memchr(text, ':', length) != NULL)
		return refuse(
			why, "a password in a URL can be read by everybody on this machine: put it "
			     "into a file of mode 600 and give --secret-file FILE, or set "
			     "LUNAR_ISCSI_SECRET");
	if (copy_field(address->user, sizeof(address->user), text, length) < 0)
		return refuse(why, "the user before the @ is empty or too long");
	return 0;
}

int iscsi_url_parse(const char *url, struct iscsi_address *out, const char **why)
{
	struct iscsi_address address = {0};
	const char *authority, *slash, *at, *target, *lun;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return refuse(why, "a LUN is named iscsi://[user@]host[:port]/target-iqn/lun");
	authority = url + sizeof(scheme) - 1;
	at = strrchr(authority, '@');
	slash = strchr(at != NULL ? at : authority, '/');
	if (slash == NULL)
		return refuse(why, "the URL lacks /target-iqn/lun");
	if (at != NULL) {
		if (parse_user(authority, (size_t)(at - authority), &address, why) < 0)
			return -EINVAL;
		authority = at + 1;
	}
	if (parse_host_port(authority, (size_t)(slash - authority), &address, why) < 0)
		return -EINVAL;
	target = slash + 1;
	lun = strchr(target, '/');
	if (lun == NULL)
		return refuse(why, "the URL lacks the LUN number after the target's name");
	if (copy_field(address.target, sizeof(address.target), target, (size_t)(lun - target)) <
		    0 ||
	    !iscsi_name_is_valid(address.target))
		return refuse(why, "the target's name is not an iSCSI name (iqn., eui. or naa.)");
	if (iscsi_lun_parse(lun + 1, &address.lun) < 0)
		return refuse(why, "the LUN must be a number from 0 to 16383");
	*out = address;
	return 0;
}

int iscsi_portal_parse(const char *portal, struct iscsi_address *address, const char **why)
{
	struct iscsi_address parsed = {0};
	size_t length;

	if (strncmp(portal, scheme, sizeof(scheme) - 1) == 0)
		portal += sizeof(scheme) - 1;
	length = strlen(portal);
	if (length > 0 && portal[length - 1] == '/')
		length--;
	if (memchr(portal, '@', length) != NULL)
		return refuse(why, "a portal is host[:port]; give the user by --user");
	if (parse_host_port(portal, length, &parsed, why) < 0)
		return -EINVAL;
	memcpy(address->host, parsed.host, sizeof(address->host));
	address->port = parsed.port;
	return 0;
}
