/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages with descriptors: they arrive whole, nothing leaks from a message that is refused.
 */
#include "base/fd_passing.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/test_main.h"

static int pair[2];

static int set_up(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static int open_fd_count(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void message_arrives_with_a_working_fd(void **state)
{
	(void)state;
	char text[16];
	int received = -1;
	size_t count = 0;
	int fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(fd_passing_send(pair[0], "hello", 6, &fd, 1), 0);
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), &received, 1, &count), 6);
	assert_string_equal(text, "hello");
	assert_int_equal(count, 1);
	assert_int_equal(eventfd_write(received, 7), 0);
	eventfd_t value = 0;
	assert_int_equal(eventfd_read(fd, &value), 0);
	assert_int_equal(value, 7);
	close(received);
	close(fd);
}

static void fds_past_the_limit_are_closed_and_the_message_refused(void **state)
{
	(void)state;
	char text[16];
	int fds[3] = {pair[0], pair[0], pair[0]};
	int received[1];
	size_t count = 99;
	int before = open_fd_count();
	assert_int_equal(fd_passing_send(pair[0], "x", 1, fds, 3), 0);
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), received, 1, &count),
			 -EMSGSIZE);
	assert_int_equal(count, 99);
	assert_int_equal(open_fd_count(), before);
}

static void truncated_message_is_refused_and_its_fd_closed(void **state)
{
	(void)state;
	char text[4];
	int received[2];
	size_t count = 0;
	int before = open_fd_count();
	assert_int_equal(fd_passing_send(pair[0], "longer than four", 16, &pair[0], 1), 0);
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), received, 2, &count),
			 -EMSGSIZE);
	assert_int_equal(open_fd_count(), before);
}

static void empty_message_does_not_leave_its_fds_open(void **state)
{
	(void)state;
	char text[4];
	int received[2];
	size_t count = 0;
	int before = open_fd_count();
	assert_int_equal(fd_passing_send(pair[0], "", 0, &pair[0], 1), 0);
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), received, 2, &count),
			 -EMSGSIZE);
	assert_int_equal(open_fd_count(), before);
}

static void empty_socket_says_again_and_closed_peer_says_zero(void **state)
{
	(void)state;
	char text[4];
	size_t count = 0;
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), NULL, 0, &count), -EAGAIN);
	close(pair[0]);
	assert_int_equal(fd_passing_receive(pair[1], text, sizeof(text), NULL, 0, &count), 0);
	assert_int_equal(fd_passing_send(pair[1], "x", 1, NULL, 0), -EPIPE);
}

static void stale_socket_file_is_replaced_but_a_live_one_is_not(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof(path), "/tmp/lunar-test-%d.sock", (int)getpid());
	int first = unix_socket_listen(path, SOCK_SEQPACKET);
	assert_true(first >= 0);
	assert_int_equal(unix_socket_listen(path, SOCK_SEQPACKET), -EADDRINUSE);
	close(first);
	int second = unix_socket_listen(path, SOCK_SEQPACKET);
	assert_true(second >= 0);
	close(second);
	unlink(path);
	assert_int_equal(unix_socket_connect(path, SOCK_SEQPACKET), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(message_arrives_with_a_working_fd, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			fds_past_the_limit_are_closed_and_the_message_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(truncated_message_is_refused_and_its_fd_closed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(empty_message_does_not_leave_its_fds_open, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(empty_socket_says_again_and_closed_peer_says_zero,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(stale_socket_file_is_replaced_but_a_live_one_is_not,
						set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
