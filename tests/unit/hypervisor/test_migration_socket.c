/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dialling, listening and accepting: on time, with words for what went wrong; and the limit of
 * bandwidth, which is about time too.
 */
#include "tests/unit/test_main.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor/migration/rate.h"
#include "hypervisor/migration/socket.h"
#include "tests/unit/hypervisor/tls_fixture.h"

#define PATIENCE_MS 20000

static int listen_anywhere(uint16_t *port)
{
	int fds[2];
	int listener;

	tls_fixture_sockets(fds);
	listener = migration_listen(fds[1], 0, 0, port);
	assert_true(listener >= 0);
	close(fds[0]);
	close(fds[1]);
	return listener;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
	return value;
}

static void dialled_and_accepted_sockets_notice_a_dead_peer(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	struct vm_error error = {0};
	uint16_t port;
	int listener = listen_anywhere(&port);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fds[2];

		fds[0] = migration_dial(hosts[i], port, -1, deadline_in_ms(PATIENCE_MS), &error);
		assert_true(fds[0] >= 0);
		fds[1] = migration_accept(listener, -1, deadline_in_ms(PATIENCE_MS));
		assert_true(fds[1] >= 0);
		for (int end = 0; end < 2; end++) {
			assert_int_equal(option(fds[end], IPPROTO_TCP, TCP_USER_TIMEOUT),
					 MIGRATION_DEAD_PEER_MS);
			assert_int_equal(option(fds[end], SOL_SOCKET, SO_KEEPALIVE), 1);
			assert_true((option(fds[end], IPPROTO_TCP, TCP_KEEPIDLE) +
				     option(fds[end], IPPROTO_TCP, TCP_KEEPINTVL) *
					     option(fds[end], IPPROTO_TCP, TCP_KEEPCNT)) *
					    1000 <=
				    MIGRATION_DEAD_PEER_MS);
			assert_int_equal(option(fds[end], IPPROTO_TCP, TCP_NODELAY), 1);
			close(fds[end]);
		}
	}
	close(listener);
}

static void nobody_there_is_told(void **state)
{
	struct vm_error error = {0};
	uint16_t port;
	int listener = listen_anywhere(&port);

	(void)state;
	close(listener);
	assert_int_equal(migration_dial("127.0.0.1", port, -1, deadline_in_ms(PATIENCE_MS), &error),
			 -ECONNREFUSED);
	assert_int_equal(error.code, EXIT_HOST_UNREACHABLE);
	assert_non_null(strstr(error.message, "lunar receive"));
}

static void name_that_is_none_is_told_in_time(void **state)
{
	struct vm_error error = {0};
	uint64_t start = monotonic_ns();

	(void)state;
	assert_true(migration_dial("no-such-host.invalid", 1, -1, deadline_in_ms(2000), &error) <
		    0);
	assert_int_equal(error.code, EXIT_HOST_UNREACHABLE);
	assert_non_null(strstr(error.message, "no-such-host.invalid"));
	assert_true(monotonic_ns() - start < 10 * NS_PER_SEC);
}

static void full_listener_runs_into_the_deadline_or_is_cancelled(void **state)
{
	struct vm_error error = {0};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int cancel_fd = eventfd(0, 0);
	int fds[8];
	int rc = 0;
	size_t count = 0;

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	while (count < 8) {
		rc = migration_dial("127.0.0.1", ntohs(address.sin_port), -1, deadline_in_ms(200),
				    &error);
		if (rc < 0)
			break;
		fds[count++] = rc;
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(error.code, EXIT_HOST_UNREACHABLE);
	eventfd_write(cancel_fd, 1);
	assert_int_equal(migration_dial("127.0.0.1", ntohs(address.sin_port), cancel_fd,
					deadline_in_ms(PATIENCE_MS), &error),
			 -ECANCELED);
	assert_int_equal(error.code, EXIT_CANCELLED);
	while (count > 0)
		close(fds[--count]);
	close(cancel_fd);
	close(listener);
}

static void accept_ends_at_its_deadline_or_when_cancelled(void **state)
{
	uint16_t port;
	int listener = listen_anywhere(&port);
	int cancel_fd = eventfd(0, 0);

	(void)state;
	assert_int_equal(migration_accept(listener, cancel_fd, deadline_in_ms(50)), -ETIMEDOUT);
	eventfd_write(cancel_fd, 1);
	assert_int_equal(migration_accept(listener, cancel_fd, deadline_in_ms(PATIENCE_MS)),
			 -ECANCELED);
	close(cancel_fd);
	close(listener);
}

static void next_port_is_taken_where_one_is_in_use(void **state)
{
	uint16_t first, port;
	int listener = listen_anywhere(&first);
	int fds[2];
	int second;

	(void)state;
	tls_fixture_sockets(fds);
	assert_int_equal(migration_listen(fds[1], first, first, &port), -EADDRINUSE);
	second = migration_listen(fds[1], first, (uint16_t)(first < 65000 ? first + 50 : 65535),
				  &port);
	assert_true(second >= 0);
	assert_true(port > first);
	close(second);
	close(listener);
	close(fds[0]);
	close(fds[1]);
}

static void limit_lets_through_what_it_says(void **state)
{
	struct migration_limit limit;
	uint64_t start;
	uint64_t took;

	(void)state;
	migration_limit_init(&limit, 1000000);
	start = monotonic_ns();
	for (int i = 0; i < 20; i++)
		assert_int_equal(migration_limit_take(&limit, 20000, deadline_in_ms(PATIENCE_MS)),
				 0);
	took = monotonic_ns() - start;
	assert_true(took > 300 * NS_PER_MS); /* 400 kB at 1 MB/s, less what was saved up and one */
	assert_true(took < 10 * NS_PER_SEC);
	/* A debt is waited for, not for ever. */
	assert_int_equal(migration_limit_take(&limit, 100000000, deadline_in_ms(PATIENCE_MS)), 0);
	assert_int_equal(migration_limit_take(&limit, 1, deadline_in_ms(50)), -ETIMEDOUT);
	migration_limit_set(&limit, 0);
	assert_int_equal(migration_limit_take(&limit, UINT64_MAX, deadline_in_ms(50)), 0);
	migration_limit_cancel(&limit);
	assert_int_equal(migration_limit_take(&limit, 1, deadline_in_ms(PATIENCE_MS)), -ECANCELED);
	migration_limit_fini(&limit);
}

static void meter_tells_the_rate_and_forgets(void **state)
{
	struct migration_meter meter;
	uint64_t rate;

	(void)state;
	migration_meter_init(&meter);
	assert_int_equal(migration_meter_rate(&meter), 0);
	for (int i = 0; i < 10; i++) {
		migration_meter_add(&meter, 100000);
		usleep(20000);
	}
	rate = migration_meter_rate(&meter); /* 1 MB in 0.2 s or somewhat more */
	assert_true(rate > 100000);
	assert_true(rate < 6000000);
	usleep(1300000);
	assert_int_equal(migration_meter_rate(&meter), 0);
	migration_meter_fini(&meter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dialled_and_accepted_sockets_notice_a_dead_peer),
		cmocka_unit_test(nobody_there_is_told),
		cmocka_unit_test(name_that_is_none_is_told_in_time),
		cmocka_unit_test(full_listener_runs_into_the_deadline_or_is_cancelled),
		cmocka_unit_test(accept_ends_at_its_deadline_or_when_cancelled),
		cmocka_unit_test(next_port_is_taken_where_one_is_in_use),
		cmocka_unit_test(limit_lets_through_what_it_says),
		cmocka_unit_test(meter_tells_the_rate_and_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
