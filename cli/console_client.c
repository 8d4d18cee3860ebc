/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One poll loop. There is no time-out while a person is connected: leaving is theirs to decide.
 * Signals that end the program come through a signalfd, so that the terminal is always put back.
 */
#include "cli/console_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/deadline.h"

#define BUFFER_BYTES 4096

enum {
	POLL_SOCKET,
	POLL_INPUT,
	POLL_SIGNAL,
	POLL_COUNT,
};

struct session {
	int socket;
	int input; /* -1 once it has ended */
	int output;
	int signals;
	bool is_terminal;
	uint32_t linger_ms;
	struct deadline quiet; /* counts from the last byte, once the input has ended */
	size_t pending;	       /* bytes of the input that the socket has not taken yet */
	char buffer[BUFFER_BYTES];
};

/* What a step found: go on, or the end that it reached. */
#define SESSION_GOES_ON (-1)

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t put = write(fd, bytes, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		bytes += put;
		length -= (size_t)put;
	}
	return 0;
}

static int socket_to_output(struct session *session)
{
	char bytes[BUFFER_BYTES];
	ssize_t got = recv(session->socket, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return SESSION_GOES_ON;
	if (got <= 0)
		return CONSOLE_CLOSED;
	if (write_all(session->output, bytes, (size_t)got) < 0)
		return CONSOLE_LEFT; /* whoever read our output has gone */
	session->quiet = deadline_in_ms(session->linger_ms);
	return SESSION_GOES_ON;
}

static int input_to_buffer(struct session *session)
{
	ssize_t got = read(session->input, session->buffer, sizeof(session->buffer));
	char *leave;

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return SESSION_GOES_ON;
	if (got <= 0) {
		if (session->is_terminal)
			return CONSOLE_LEFT;
		session->input = -1;
		session->quiet = deadline_in_ms(session->linger_ms);
		return SESSION_GOES_ON;
	}
	leave = session->is_terminal ? memchr(session->buffer, CONSOLE_LEAVE_KEY, (size_t)got)
				     : NULL;
	session->pending = leave ? (size_t)(leave - session->buffer) : (size_t)got;
	return leave ? CONSOLE_LEFT : SESSION_GOES_ON;
}

static int buffer_to_socket(struct session *session)
{
	ssize_t put = send(session->socket, session->buffer, session->pending,
			   MSG_DONTWAIT | MSG_NOSIGNAL);

	if (put < 0)
		return errno == EAGAIN || errno == EINTR ? SESSION_GOES_ON : CONSOLE_CLOSED;
	session->pending -= (size_t)put;
	memmove(session->buffer, session->buffer + put, session->pending);
	session->quiet = deadline_in_ms(session->linger_ms);
	return SESSION_GOES_ON;
}

static int session_step(struct session *session)
{
	bool draining = session->input < 0 && session->pending == 0;
	struct pollfd fds[POLL_COUNT] = {
		[POLL_SOCKET] = {.fd = session->socket,
				 .events = (short)(POLLIN | (session->pending ? POLLOUT : 0))},
		[POLL_INPUT] = {.fd = session->pending ? -1 : session->input, .events = POLLIN},
		[POLL_SIGNAL] = {.fd = session->signals, .events = POLLIN},
	};
	int end = SESSION_GOES_ON;

	if (poll(fds, POLL_COUNT, draining ? deadline_left_ms(session->quiet) : -1) < 0)
		return errno == EINTR ? SESSION_GOES_ON : CONSOLE_LEFT;
	if (fds[POLL_SIGNAL].revents)
		return CONSOLE_LEFT;
	if (fds[POLL_SOCKET].revents & (POLLIN | POLLHUP | POLLERR))
		end = socket_to_output(session);
	if (end == SESSION_GOES_ON && session->pending && fds[POLL_SOCKET].revents & POLLOUT)
		end = buffer_to_socket(session);
	if (end == SESSION_GOES_ON && fds[POLL_INPUT].revents)
		end = input_to_buffer(session);
	if (end == SESSION_GOES_ON && draining && deadline_passed(session->quiet))
		end = CONSOLE_DONE;
	return end;
}

static int signals_open(sigset_t *before)
{
	sigset_t ending;

	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &ending, before) < 0)
		return -errno;
	return signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void signals_close(int fd, const sigset_t *before)
{
	struct signalfd_siginfo taken;

	while (read(fd, &taken, sizeof(taken)) > 0)
		continue; /* or they would come again once they are let through */
	close(fd);
	sigprocmask(SIG_SETMASK, before, NULL);
}

enum exit_code console_client_run(int socket, int input, int output, uint32_t linger_ms,
				  enum console_end *end, struct cli_error *error)
{
	struct session session = {
		.socket = socket, .input = input, .output = output, .linger_ms = linger_ms};
	struct termios before, raw;
	sigset_t mask;
	int result = SESSION_GOES_ON;

	session.is_terminal = isatty(input) && tcgetattr(input, &before) == 0;
	session.signals = signals_open(&mask);
	if (session.signals < 0)
		return cli_error_set(error, EXIT_INTERNAL, "cannot watch for signals: %s",
				     strerror(errno));
	if (session.is_terminal) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(input, TCSADRAIN, &raw);
	}
	while (result == SESSION_GOES_ON)
		result = session_step(&session);
	if (session.is_terminal)
		tcsetattr(input, TCSADRAIN, &before);
	signals_close(session.signals, &mask);
	*end = (enum console_end)result;
	return EXIT_OK;
}
