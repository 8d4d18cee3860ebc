/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See tls_fixture.h.
 */
#include "tests/unit/hypervisor/tls_fixture.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/migration/tls.h"
#include "hypervisor/tls_files.h"

static char root[64];
static struct migration_tls_credentials *host_a;
static struct migration_tls_credentials *host_b;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

const char *tls_fixture_path(const char *name)
{
	static char paths[8][PATH_MAX];
	static unsigned int next;
	char *path = paths[next++ % 8];

	snprintf(path, PATH_MAX, "%s/%s", root, name);
	return path;
}

void tls_fixture_host(const char *ca, const char *directory, const char *name, int64_t from,
		      int64_t to)
{
	const char *const names[] = {name, "localhost", "127.0.0.1"};
	struct vm_error error;
	int64_t now = (int64_t)time(NULL);

	CHECK(tls_files_make_host_between(tls_fixture_path(ca), tls_fixture_path(directory), names,
					  3, now + from, now + to, &error) == 0);
}

const char *tls_fixture_make(void)
{
	struct vm_error error;

	snprintf(root, sizeof(root), "/tmp/lunar-tls-XXXXXX");
	CHECK(mkdtemp(root) != NULL);
	CHECK(tls_files_make_ca(tls_fixture_path("lab"), "Lab", 30, &error) == 0);
	tls_fixture_host("lab", "a", "a", -60, 86400);
	tls_fixture_host("lab", "b", "b", -60, 86400);
	host_a = tls_fixture_load("a");
	host_b = tls_fixture_load("b");
	return root;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void tls_fixture_remove(void)
{
	migration_tls_credentials_free(host_a);
	migration_tls_credentials_free(host_b);
	CHECK(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

struct migration_tls_credentials *tls_fixture_load(const char *directory)
{
	struct migration_tls_credentials *credentials = NULL;
	struct vm_error error = {0};

	if (migration_tls_credentials_load(tls_fixture_path(directory), &credentials, &error) < 0)
		fprintf(stderr, "%s\n", error.message);
	CHECK(credentials != NULL);
	return credentials;
}

void tls_fixture_sockets(int fds[2])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(listener >= 0);
	CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fds[0], (struct sockaddr *)&address, sizeof(address)) == 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fds[1] >= 0);
	close(listener);
}

struct accepting {
	int fd;
	struct migration_tls *tls;
};

static void *accept_run(void *arg)
{
	struct accepting *accepting = arg;
	struct vm_error error = {0};

	if (migration_tls_accept(host_b, accepting->fd, deadline_in_ms(20000), &accepting->tls,
				 &error) < 0)
		fprintf(stderr, "accept: %s\n", error.message);
	return NULL;
}

void tls_fixture_connect(struct migration_tls **dialler, struct migration_tls **accepter)
{
	struct accepting accepting = {0};
	struct vm_error error = {0};
	pthread_t thread;
	int fds[2];

	tls_fixture_sockets(fds);
	accepting.fd = fds[1];
	CHECK(pthread_create(&thread, NULL, accept_run, &accepting) == 0);
	if (migration_tls_connect(host_a, fds[0], "127.0.0.1", deadline_in_ms(20000), dialler,
				  &error) < 0) {
		fprintf(stderr, "connect: %s\n", error.message);
		abort();
	}
	pthread_join(thread, NULL);
	CHECK(accepting.tls != NULL);
	*accepter = accepting.tls;
}
