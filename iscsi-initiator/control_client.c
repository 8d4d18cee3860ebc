/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking a daemon through its control socket.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd_passing.h"
#include "iscsi-initiator/control.h"

#define REPLY_BYTES_MAX 65536

static int wait_readable(int fd, struct deadline deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int ret;

	do {
		ret = poll(&poll_fd, 1, deadline_left_ms(deadline));
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return ret > 0 ? 0 : -ETIMEDOUT;
}

static int receive_reply(int fd, json_t **reply)
{
	char *text = malloc(REPLY_BYTES_MAX);
	size_t fd_count = 0;
	ssize_t length;
	json_t *parsed;

	if (text == NULL)
		return -ENOMEM;
	length = fd_passing_receive(fd, text, REPLY_BYTES_MAX, NULL, 0, &fd_count);
	parsed = length > 0 ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
	free(text);
	if (parsed == NULL || !json_is_object(parsed)) {
		json_decref(parsed);
		return length < 0 ? (int)length : -EPROTO;
	}
	*reply = parsed;
	return 0;
}

int control_ask(const char *id, const json_t *request, uint32_t timeout_ms, json_t **reply)
{
	struct deadline deadline = deadline_in_ms(timeout_ms);
	char path[128];
	char *text;
	int fd, ret;

	control_path(id, ".sock", path, sizeof(path));
	fd = unix_socket_connect(path, SOCK_SEQPACKET);
	if (fd < 0)
		return fd;
	text = json_dumps(request, JSON_COMPACT);
	ret = text != NULL ? fd_passing_send(fd, text, strlen(text), NULL, 0) : -ENOMEM;
	free(text);
	if (ret == 0)
		ret = wait_readable(fd, deadline);
	if (ret == 0)
		ret = receive_reply(fd, reply);
	close(fd);
	return ret;
}
