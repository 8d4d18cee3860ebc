/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resolving portals by getaddrinfo().
 */
#include "iscsi-session/portal_resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int portal_resolve(const struct iscsi_address *address, char *portal, size_t size)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char number[NI_MAXHOST];
	int ret;

	ret = getaddrinfo(address->host, NULL, &hints, &found);
	if (ret != 0)
		return ret == EAI_AGAIN ? -EAGAIN : -ENOENT;
	ret = getnameinfo(found->ai_addr, found->ai_addrlen, number, sizeof(number), NULL, 0,
			  NI_NUMERICHOST);
	if (ret == 0) {
		bool six = found->ai_family == AF_INET6;
		snprintf(portal, size, "%s%s%s:%u", six ? "[" : "", number, six ? "]" : "",
			 address->port);
	}
	freeaddrinfo(found);
	return ret == 0 ? 0 : -ENOENT;
}

int portal_resolve_text(const char *text, char *portal, size_t size)
{
	char copy[ISCSI_HOST_MAX + 32];
	struct iscsi_address address = {0};
	const char *why;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return -EINVAL;
	copy[strcspn(copy, ",")] = '\0';
	if (iscsi_portal_parse(copy, &address, &why) < 0)
		return -EINVAL;
	return portal_resolve(&address, portal, size);
}
