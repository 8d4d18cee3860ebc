/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See tls_fixture.h.
 */
#include "tests/unit/hypervisor/tls_fixture.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
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

/* ---- what only a test would make ---- */

static void pem_load(const char *directory, const char *file, gnutls_datum_t *pem)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", tls_fixture_path(directory), file);
	CHECK(gnutls_load_file(path, pem) == 0);
}

static void pem_store(const char *directory, const char *file, gnutls_datum_t *pem)
{
	char path[PATH_MAX];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", tls_fixture_path(directory), file);
	out = fopen(path, "w");
	CHECK(out && fwrite(pem->data, 1, pem->size, out) == pem->size && fclose(out) == 0);
	gnutls_free(pem->data);
}

static gnutls_x509_crt_t certificate_load(const char *directory, const char *file)
{
	gnutls_x509_crt_t certificate;
	gnutls_datum_t pem;

	pem_load(directory, file, &pem);
	CHECK(gnutls_x509_crt_init(&certificate) == 0);
	CHECK(gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM) == 0);
	gnutls_free(pem.data);
	return certificate;
}

static gnutls_x509_privkey_t key_load(const char *directory, const char *file)
{
	gnutls_x509_privkey_t key;
	gnutls_datum_t pem;

	pem_load(directory, file, &pem);
	CHECK(gnutls_x509_privkey_init(&key) == 0);
	CHECK(gnutls_x509_privkey_import2(key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0) == 0);
	gnutls_free(pem.data);
	return key;
}

void tls_fixture_nameless(const char *ca, const char *directory)
{
	gnutls_x509_crt_t authority = certificate_load(ca, TLS_FILES_CA_CERT), certificate;
	gnutls_x509_privkey_t signer = key_load(ca, TLS_FILES_CA_KEY), key;
	gnutls_datum_t pem = {0};
	time_t now = time(NULL);

	tls_fixture_host(ca, directory, "x", -60, 86400);
	key = key_load(directory, TLS_FILES_HOST_KEY);
	CHECK(gnutls_x509_crt_init(&certificate) == 0);
	CHECK(gnutls_x509_crt_set_version(certificate, 3) == 0);
	CHECK(gnutls_x509_crt_set_serial(certificate, "\x01\x02", 2) == 0);
	CHECK(gnutls_x509_crt_set_activation_time(certificate, now - 60) == 0);
	CHECK(gnutls_x509_crt_set_expiration_time(certificate, now + 86400) == 0);
	CHECK(gnutls_x509_crt_set_key(certificate, key) == 0);
	CHECK(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_ORGANIZATION_NAME, 0,
					    "Lab", 3) == 0);
	CHECK(gnutls_x509_crt_sign2(certificate, authority, signer, GNUTLS_DIG_SHA256, 0) == 0);
	CHECK(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem) == 0);
	pem_store(directory, TLS_FILES_HOST_CERT, &pem);
	gnutls_x509_crt_deinit(certificate);
	gnutls_x509_crt_deinit(authority);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_privkey_deinit(signer);
}

void tls_fixture_revoke(const char *ca, const char *host, const char *directory, int64_t to)
{
	gnutls_x509_crt_t authority = certificate_load(ca, TLS_FILES_CA_CERT), revoked;
	gnutls_x509_privkey_t signer = key_load(ca, TLS_FILES_CA_KEY);
	gnutls_datum_t pem = {0};
	time_t now = time(NULL);
	gnutls_x509_crl_t crl;

	CHECK(gnutls_x509_crl_init(&crl) == 0);
	CHECK(gnutls_x509_crl_set_version(crl, 2) == 0);
	CHECK(gnutls_x509_crl_set_this_update(crl, now - 3600) == 0);
	CHECK(gnutls_x509_crl_set_next_update(crl, now + (time_t)to) == 0);
	if (host) {
		revoked = certificate_load(host, TLS_FILES_HOST_CERT);
		CHECK(gnutls_x509_crl_set_crt(crl, revoked, now - 3600) == 0);
		gnutls_x509_crt_deinit(revoked);
	}
	CHECK(gnutls_x509_crl_set_number(crl, "\x01", 1) == 0);
	CHECK(gnutls_x509_crl_sign2(crl, authority, signer, GNUTLS_DIG_SHA256, 0) == 0);
	CHECK(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem) == 0);
	pem_store(directory, TLS_FILES_CRL, &pem);
	gnutls_x509_crl_deinit(crl);
	gnutls_x509_crt_deinit(authority);
	gnutls_x509_privkey_deinit(signer);
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
