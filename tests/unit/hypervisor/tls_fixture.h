/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Certificates and connected sockets for tests of a move's transport: a directory under /tmp with
 * CAs and hosts made by tls_files, and TLS over loopback. A failure of the system ends the program.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_TLS_FIXTURE_H
#define LUNAR_TESTS_HYPERVISOR_TLS_FIXTURE_H

#include <stdint.h>

struct migration_tls;
struct migration_tls_credentials;

/* Makes the directory with lab/ (a CA), and a/ and b/: two hosts of it, each named "a" or "b",
 * "localhost" and 127.0.0.1. Returns its path, removed by tls_fixture_remove(). */
const char *tls_fixture_make(void);
void tls_fixture_remove(void);
/* "ROOT/name", in one of a few static buffers. */
const char *tls_fixture_path(const char *name);
/* A further host of the CA in ROOT/ca, valid between now + from and now + to seconds. */
void tls_fixture_host(const char *ca, const char *directory, const char *name, int64_t from,
		      int64_t to);
/* One that names nobody. */
void tls_fixture_nameless(const char *ca, const char *directory);
/* The CA in ROOT/ca revokes the certificate in ROOT/host (NULL: none): its list, good from an hour
 * ago until now + to seconds, is ROOT/directory/crl.pem. */
void tls_fixture_revoke(const char *ca, const char *host, const char *directory, int64_t to);
struct migration_tls_credentials *tls_fixture_load(const char *directory);

/* Two connected TCP sockets over 127.0.0.1: fds[0] dialled fds[1]. */
void tls_fixture_sockets(int fds[2]);
/* The same with TLS between hosts a (dialling) and b. */
void tls_fixture_connect(struct migration_tls **dialler, struct migration_tls **accepter);

#endif
