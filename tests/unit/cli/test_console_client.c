/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The console's carrier between a socket pair that stands for the VM, and pipes or a
 * pseudo-terminal that stand for the user. It runs in a child process; verdicts come from the far
 * ends and from its exit status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/deadline.h"
#include "cli/console_client.h"

#define LINGER_MS 200

struct fixture {
	int vm;	    /* our end of the console's socket */
	int input;  /* what we write, the client reads */
	int output; /* what the client wrote */
	int pty;    /* the slave's fd, kept open; -1 */
	pid_t child;
};

/* Ends the child by _exit(end), or 99. */
static void start(struct fixture *f, bool terminal)
{
	int pair[2], in[2], out[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	f->pty = -1;
	if (terminal) {
		in[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(in[1] >= 0 && grantpt(in[1]) == 0 && unlockpt(in[1]) == 0);
		in[0] = open(ptsname(in[1]), O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(in[0] >= 0);
		f->pty = dup(in[0]);
	} else {
		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	}
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		enum console_end end = CONSOLE_LEFT;
		struct cli_error error;

		close(pair[0]);
		close(in[1]);
		close(out[0]);
		if (console_client_run(pair[1], in[0], out[1], LINGER_MS, &end, &error) != EXIT_OK)
			_exit(99);
		_exit((int)end);
	}
	close(pair[1]);
	close(in[0]);
	close(out[1]);
	f->vm = pair[0];
	f->input = in[1];
	f->output = out[0];
}

static int finish(struct fixture *f, uint32_t ms)
{
	struct deadline deadline = deadline_in_ms(ms);
	int status = 0;

	while (waitpid(f->child, &status, WNOHANG) == 0) {
		if (deadline_passed(deadline)) {
			kill(f->child, SIGKILL);
			waitpid(f->child, &status, 0);
			return -1;
		}
		usleep(5000);
	}
	if (f->input >= 0)
		close(f->input);
	if (f->pty >= 0)
		close(f->pty);
	close(f->vm);
	close(f->output);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

static void assert_arrives(int fd, const char *expected)
{
	size_t wanted = strlen(expected), got = 0;
	char text[256];

	while (got < wanted) {
		struct pollfd readable = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&readable, 1, 3000), 1);
		n = read(fd, text + got, wanted - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(text, expected, wanted);
}

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void piped_input_is_sent_and_the_answer_waited_for(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, false);
	put(f.input, "uname\n\x1d still here\n");
	close(f.input);
	f.input = -1;
	assert_arrives(f.vm, "uname\n\x1d still here\n");
	for (int i = 0; i < 5; i++) { /* it stays while the guest talks, beyond the linger time */
		usleep(LINGER_MS * 1000 / 2);
		put(f.vm, "Linux\n");
		assert_arrives(f.output, "Linux\n");
	}
	assert_int_equal(finish(&f, 3000), CONSOLE_DONE);
}

static void vm_that_closes_ends_the_session(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, false);
	put(f.vm, "last words");
	shutdown(f.vm, SHUT_RDWR);
	assert_arrives(f.output, "last words");
	assert_int_equal(finish(&f, 3000), CONSOLE_CLOSED);
}

static void reader_that_goes_away_ends_the_session(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, false);
	close(f.output);
	f.output = dup(f.vm);
	put(f.vm, "nobody reads this");
	assert_int_equal(finish(&f, 3000), CONSOLE_LEFT);
}

static void large_input_waits_for_a_slow_guest(void **state)
{
	enum { TOTAL = 512 * 1024 };
	char *sent = malloc(TOTAL), *received = malloc(TOTAL);
	size_t written = 0, read_bytes = 0;
	struct fixture f;

	(void)state;
	assert_true(sent && received);
	for (size_t i = 0; i < TOTAL; i++)
		sent[i] = (char)(i * 31 + i / 251);
	start(&f, false);
	fcntl(f.input, F_SETFL, O_NONBLOCK);
	while (read_bytes < TOTAL) {
		ssize_t n = written < TOTAL ? write(f.input, sent + written, TOTAL - written) : 0;
		struct pollfd readable = {.fd = f.vm, .events = POLLIN};

		written += n > 0 ? (size_t)n : 0;
		assert_int_equal(poll(&readable, 1, 3000), 1);
		n = read(f.vm, received + read_bytes,
			 1000 < TOTAL - read_bytes ? 1000 : TOTAL - read_bytes);
		assert_true(n > 0);
		read_bytes += (size_t)n;
	}
	assert_memory_equal(sent, received, TOTAL);
	close(f.input);
	f.input = -1;
	assert_int_equal(finish(&f, 3000), CONSOLE_DONE);
	free(sent);
	free(received);
}

static bool is_raw(int pty)
{
	struct termios now;

	assert_int_equal(tcgetattr(pty, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG));
}

static void terminal_is_raw_meanwhile_and_ctrl_bracket_leaves(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	for (int i = 0; i < 600 && !is_raw(f.pty); i++)
		usleep(5000);
	assert_true(is_raw(f.pty));
	put(f.input, "\x03"); /* Ctrl-C is the guest's */
	assert_arrives(f.vm, "\x03");
	put(f.input, "\x1d");
	for (int i = 0; i < 600 && is_raw(f.pty); i++)
		usleep(5000);
	assert_false(is_raw(f.pty));
	assert_int_equal(finish(&f, 3000), CONSOLE_LEFT);
}

static void signal_puts_the_terminal_back(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	for (int i = 0; i < 600 && !is_raw(f.pty); i++)
		usleep(5000);
	assert_true(is_raw(f.pty));
	kill(f.child, SIGTERM);
	for (int i = 0; i < 600 && is_raw(f.pty); i++)
		usleep(5000);
	assert_false(is_raw(f.pty));
	assert_int_equal(finish(&f, 3000), CONSOLE_LEFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(piped_input_is_sent_and_the_answer_waited_for),
		cmocka_unit_test(vm_that_closes_ends_the_session),
		cmocka_unit_test(reader_that_goes_away_ends_the_session),
		cmocka_unit_test(large_input_waits_for_a_slow_guest),
		cmocka_unit_test(terminal_is_raw_meanwhile_and_ctrl_bracket_leaves),
		cmocka_unit_test(signal_puts_the_terminal_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
