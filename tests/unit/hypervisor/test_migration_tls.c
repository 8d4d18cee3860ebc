/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS between hosts: who gets in, who does not and what is said of it, and what each kind of end
 * looks like. Real TLS over loopback; the verdict is taken at both ends.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/migration/tls.h"
#include "hypervisor/tls_files.h"
#include "tests/unit/hypervisor/tls_fixture.h"

#define PATIENCE_MS 20000

/* One end of a handshake, and what came of it. */
struct end {
	struct migration_tls_credentials *credentials;
	const char *host; /* dialled; NULL: accepts */
	int fd;
	uint32_t ms;
	struct migration_tls *tls;
	struct vm_error error;
	int rc;
	pthread_t thread;
};

static void *end_run(void *arg)
{
	struct end *end = arg;
	struct deadline deadline = deadline_in_ms(end->ms);

	end->rc = end->host ? migration_tls_connect(end->credentials, end->fd, end->host, deadline,
						    &end->tls, &end->error)
			    : migration_tls_accept(end->credentials, end->fd, deadline, &end->tls,
						   &end->error);
	return NULL;
}

/* Shakes hands between two hosts' directories. */
static void meet(struct end *dialler, const char *dialling, const char *host, struct end *accepter,
		 const char *accepting)
{
	int fds[2];

	tls_fixture_sockets(fds);
	*dialler = (struct end){.credentials = tls_fixture_load(dialling),
				.host = host,
				.fd = fds[0],
				.ms = PATIENCE_MS};
	*accepter = (struct end){
		.credentials = tls_fixture_load(accepting), .fd = fds[1], .ms = PATIENCE_MS};
	assert_int_equal(pthread_create(&accepter->thread, NULL, end_run, accepter), 0);
	end_run(dialler);
	pthread_join(accepter->thread, NULL);
}

static void part(struct end *dialler, struct end *accepter)
{
	migration_tls_destroy(dialler->tls);
	migration_tls_destroy(accepter->tls);
	migration_tls_credentials_free(dialler->credentials);
	migration_tls_credentials_free(accepter->credentials);
}

static void expect_text(const struct end *end, const char *text)
{
	if (!strstr(end->error.message, text))
		fail_msg("'%s' does not say '%s'", end->error.message, text);
}

static void hosts_of_one_ca_talk(void **state)
{
	struct end a, b;
	char got[16];

	(void)state;
	meet(&a, "a", "127.0.0.1", &b, "b");
	assert_int_equal(a.rc, 0);
	assert_int_equal(b.rc, 0);
	assert_string_equal(migration_tls_peer_name(a.tls), "b");
	assert_string_equal(migration_tls_peer_name(b.tls), "a");
	assert_string_equal(migration_tls_peer_address(b.tls), "127.0.0.1");
	for (int i = 0; i < 2; i++) {
		struct migration_channel *from = migration_tls_channel(i ? b.tls : a.tls);
		struct migration_channel *to = migration_tls_channel(i ? a.tls : b.tls);

		assert_int_equal(from->ops->write(from->ctx, "over the moon!", 15,
						  deadline_in_ms(PATIENCE_MS)),
				 0);
		assert_int_equal(to->ops->read(to->ctx, got, 15, deadline_in_ms(PATIENCE_MS)), 0);
		assert_string_equal(got, "over the moon!");
	}
	assert_true(migration_tls_bytes_sent(a.tls) > 15);
	part(&a, &b);
}

static void names_are_checked_as_dialled(void **state)
{
	struct end a, b;

	(void)state;
	meet(&a, "a", "b", &b, "b");
	assert_int_equal(a.rc, 0);
	part(&a, &b);
	meet(&a, "a", "host9", &b, "b");
	assert_int_equal(a.rc, -EACCES);
	assert_int_equal(a.error.code, EXIT_NOT_TRUSTED);
	expect_text(&a, "another name");
	assert_true(b.rc < 0);
	part(&a, &b);
	meet(&a, "a", "127.0.0.2", &b, "b");
	assert_int_equal(a.error.code, EXIT_NOT_TRUSTED);
	part(&a, &b);
}

static void host_of_another_ca_gets_nothing(void **state)
{
	struct vm_error error;
	struct end a, b;

	(void)state;
	assert_int_equal(tls_files_make_ca(tls_fixture_path("lab2"), "Lab", 30, &error), 0);
	tls_fixture_host("lab2", "stranger", "a", -60, 86400);
	meet(&a, "a", "localhost", &b, "stranger");
	assert_int_equal(a.rc, -EACCES);
	assert_int_equal(a.error.code, EXIT_NOT_TRUSTED);
	expect_text(&a, "ca.crt");
	assert_true(b.rc < 0);
	part(&a, &b);
	/* It trusts us, since it has our CA's certificate too; we do not. */
	assert_int_equal(unlink(tls_fixture_path("stranger/ca.crt")), 0);
	assert_int_equal(link(tls_fixture_path("lab2/ca.crt"), tls_fixture_path("stranger/ca.crt")),
			 0);
	meet(&a, "stranger", "localhost", &b, "b");
	assert_true(a.rc < 0);
	assert_true(b.rc < 0);
	part(&a, &b);
}

/* A client of gnutls's own, which trusts everything, and host b, which it meets. */
struct stranger {
	gnutls_certificate_credentials_t x509;
	gnutls_session_t session;
	int handshake; /* GNUTLS_E_ of its own */
	int fd;
	struct end b;
};

/* certificate: a folder with a host's; NULL: it shows none. priorities: NULL: gnutls's own. */
static void stranger_greet(struct stranger *stranger, const char *certificate,
			   const char *priorities)
{
	int fds[2];

	*stranger = (struct stranger){.b = {.ms = PATIENCE_MS}};
	tls_fixture_sockets(fds);
	stranger->fd = fds[0];
	stranger->b.fd = fds[1];
	stranger->b.credentials = tls_fixture_load("b");
	assert_int_equal(pthread_create(&stranger->b.thread, NULL, end_run, &stranger->b), 0);
	gnutls_certificate_allocate_credentials(&stranger->x509);
	if (certificate) {
		char cert[256], key[256];

		snprintf(cert, sizeof(cert), "%s/host.crt", tls_fixture_path(certificate));
		snprintf(key, sizeof(key), "%s/host.key", tls_fixture_path(certificate));
		assert_int_equal(gnutls_certificate_set_x509_key_file(stranger->x509, cert, key,
								      GNUTLS_X509_FMT_PEM),
				 0);
	}
	gnutls_init(&stranger->session, GNUTLS_CLIENT);
	assert_int_equal(gnutls_priority_set_direct(stranger->session,
						    priorities ? priorities : "NORMAL", NULL),
			 0);
	gnutls_credentials_set(stranger->session, GNUTLS_CRD_CERTIFICATE, stranger->x509);
	gnutls_transport_set_int(stranger->session, stranger->fd);
	do
		stranger->handshake = gnutls_handshake(stranger->session);
	while (stranger->handshake < 0 && !gnutls_error_is_fatal(stranger->handshake));
}

static void stranger_part(struct stranger *stranger)
{
	gnutls_deinit(stranger->session);
	gnutls_certificate_free_credentials(stranger->x509);
	close(stranger->fd);
	migration_tls_credentials_free(stranger->b.credentials);
}

static void client_without_certificate_gets_nothing(void **state)
{
	struct stranger stranger;
	ssize_t length;
	char got[64];

	(void)state;
	stranger_greet(&stranger, NULL, NULL);
	do
		length = gnutls_record_recv(stranger.session, got, sizeof(got));
	while (stranger.handshake == 0 && length == GNUTLS_E_AGAIN);
	pthread_join(stranger.b.thread, NULL);
	assert_true(stranger.handshake < 0 || length == GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(stranger.b.rc, -EACCES);
	assert_int_equal(stranger.b.error.code, EXIT_NOT_TRUSTED);
	expect_text(&stranger.b, "no certificate");
	stranger_part(&stranger);
}

/* A host that shows a certificate which its own Lunar would not even load. */
static void expired_certificate_is_refused_and_told(void **state)
{
	static const struct {
		const char *directory;
		int64_t from, to;
		const char *text;
	} cases[] = {{"old", -7200, -3600, "expired"}, {"early", 3600, 7200, "not valid"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct migration_tls_credentials *credentials;
		struct vm_error error;
		struct stranger stranger;
		ssize_t length;
		char byte;

		tls_fixture_host("lab", cases[i].directory, "a", cases[i].from, cases[i].to);
		assert_int_equal(
			migration_tls_credentials_load(tls_fixture_path(cases[i].directory),
						       &credentials, &error),
			-EACCES);
		assert_int_equal(error.code, EXIT_NOT_TRUSTED);
		assert_non_null(strstr(error.message, cases[i].text));

		stranger_greet(&stranger, cases[i].directory, NULL);
		length = gnutls_record_recv(stranger.session, &byte, 1);
		pthread_join(stranger.b.thread, NULL);
		assert_int_equal(length, GNUTLS_E_FATAL_ALERT_RECEIVED);
		assert_int_equal(gnutls_alert_get(stranger.session), GNUTLS_A_CERTIFICATE_EXPIRED);
		assert_int_equal(stranger.b.rc, -EACCES);
		assert_int_equal(stranger.b.error.code, EXIT_NOT_TRUSTED);
		expect_text(&stranger.b, i == 0 ? "expired" : "not valid yet");
		stranger_part(&stranger);
	}
}

static void tls_1_2_is_refused(void **state)
{
	struct stranger stranger;

	(void)state;
	stranger_greet(&stranger, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
	pthread_join(stranger.b.thread, NULL);
	assert_true(stranger.handshake < 0);
	assert_int_equal(stranger.b.rc, -EPROTO);
	stranger_part(&stranger);
}

/* Runs one end against raw bytes on the other; then what we wrote is answered by a cut, or not. */
static void meet_bytes(struct end *end, bool accepts, const void *bytes, size_t length, bool cut,
		       uint32_t ms)
{
	int fds[2];

	tls_fixture_sockets(fds);
	*end = (struct end){.credentials = tls_fixture_load("b"),
			    .host = accepts ? NULL : "127.0.0.1",
			    .fd = fds[accepts ? 1 : 0],
			    .ms = ms};
	assert_int_equal(write(fds[accepts ? 0 : 1], bytes, length), (ssize_t)length);
	if (cut)
		shutdown(fds[accepts ? 0 : 1], SHUT_WR);
	end_run(end);
	close(fds[accepts ? 0 : 1]);
	assert_null(end->tls);
	migration_tls_credentials_free(end->credentials);
}

static void plain_bytes_are_refused(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct end end;

	(void)state;
	for (int accepts = 0; accepts < 2; accepts++) {
		meet_bytes(&end, accepts, http, strlen(http), false, PATIENCE_MS);
		assert_int_equal(end.rc, -EPROTO);
		assert_int_equal(end.error.code, EXIT_HOST_UNREACHABLE);
		expect_text(&end, "does not speak TLS");
	}
}

static void slow_peer_runs_into_the_deadline(void **state)
{
	struct end end;

	(void)state;
	for (int accepts = 0; accepts < 2; accepts++) {
		uint64_t start = monotonic_ns();

		meet_bytes(&end, accepts, "\x16", 1, false, 150);
		assert_int_equal(end.rc, -ETIMEDOUT);
		assert_int_equal(end.error.code, EXIT_HOST_UNREACHABLE);
		assert_true(monotonic_ns() - start >= 150 * NS_PER_MS);
		assert_true(monotonic_ns() - start < 5 * NS_PER_SEC);
	}
}

static void cut_in_the_handshake_is_told(void **state)
{
	struct end end;

	(void)state;
	for (int accepts = 0; accepts < 2; accepts++) {
		meet_bytes(&end, accepts, "\x16\x03\x01\x02", 4, true, PATIENCE_MS);
		assert_int_equal(end.rc, -ECONNRESET);
		assert_int_equal(end.error.code, EXIT_HOST_UNREACHABLE);
	}
}

static int read_some(struct migration_tls *tls, void *to, size_t length)
{
	struct migration_channel *channel = migration_tls_channel(tls);

	return channel->ops->read(channel->ctx, to, length, deadline_in_ms(PATIENCE_MS));
}

static int write_some(struct migration_tls *tls, const void *from, size_t length, uint32_t ms)
{
	struct migration_channel *channel = migration_tls_channel(tls);

	return channel->ops->write(channel->ctx, from, length, deadline_in_ms(ms));
}

static void proper_end_is_told_from_a_cut(void **state)
{
	struct migration_tls *a, *b;
	char byte[2];

	(void)state;
	tls_fixture_connect(&a, &b);
	assert_int_equal(write_some(a, "x", 1, PATIENCE_MS), 0);
	assert_int_equal(migration_tls_close(a, deadline_in_ms(PATIENCE_MS)), 0);
	assert_int_equal(read_some(b, byte, 1), 0);
	assert_int_equal(read_some(b, byte, 1), -EPIPE);
	/* The other direction is still open. */
	assert_int_equal(write_some(b, "y", 1, PATIENCE_MS), 0);
	assert_int_equal(read_some(a, byte, 1), 0);
	migration_tls_destroy(a);
	migration_tls_destroy(b);

	tls_fixture_connect(&a, &b);
	assert_int_equal(write_some(a, "x", 1, PATIENCE_MS), 0);
	assert_int_equal(migration_tls_close(a, deadline_in_ms(PATIENCE_MS)), 0);
	assert_int_equal(read_some(b, byte, 2), -ECONNRESET); /* in the middle of something */
	migration_tls_destroy(a);
	migration_tls_destroy(b);

	tls_fixture_connect(&a, &b);
	migration_tls_destroy(a);
	assert_int_equal(read_some(b, byte, 1), -ECONNRESET);
	migration_tls_destroy(b);
}

struct reading {
	struct migration_tls *tls;
	int rc;
};

static void *reading_run(void *arg)
{
	struct reading *reading = arg;
	char byte;

	reading->rc = read_some(reading->tls, &byte, 1);
	return NULL;
}

static void shutdown_wakes_a_reader_and_a_writer(void **state)
{
	static const uint8_t much[1 << 20];
	struct migration_tls *a, *b;
	struct reading reading;
	pthread_t thread;
	uint64_t start = monotonic_ns();
	int rc = 0;

	(void)state;
	tls_fixture_connect(&a, &b);
	reading = (struct reading){.tls = b};
	assert_int_equal(pthread_create(&thread, NULL, reading_run, &reading), 0);
	usleep(20000);
	migration_tls_shutdown(b);
	pthread_join(thread, NULL);
	assert_int_equal(reading.rc, -ECANCELED);
	assert_int_equal(write_some(b, "x", 1, PATIENCE_MS), -ECANCELED);
	migration_tls_destroy(a);
	migration_tls_destroy(b);

	tls_fixture_connect(&a, &b);
	while (rc == 0) /* nobody reads: until buffers are full */
		rc = write_some(a, much, sizeof(much), 100);
	assert_int_equal(rc, -ETIMEDOUT);
	migration_tls_destroy(a);
	migration_tls_destroy(b);
	assert_true(monotonic_ns() - start < 10 * NS_PER_SEC);
}

static void altered_record_is_refused(void **state)
{
	struct migration_tls *a, *b;
	char got[8];

	(void)state;
	tls_fixture_connect(&a, &b);
	/* A record that looks right but was made with no key. */
	assert_int_equal(
		send(migration_tls_fd(a), "\x17\x03\x03\x00\x14 twenty bytes of it.", 25, 0), 25);
	assert_int_equal(read_some(b, got, 1), -EPROTO);
	migration_tls_destroy(a);
	migration_tls_destroy(b);
}

static void files_that_cannot_be_used_are_named(void **state)
{
	struct migration_tls_credentials *credentials;
	struct vm_error error;
	FILE *file;

	(void)state;
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("nowhere"), &credentials, &error),
		-ENOENT);
	assert_int_equal(error.code, EXIT_NOT_TRUSTED);
	assert_non_null(strstr(error.message, "nowhere/ca.crt is missing"));

	tls_fixture_host("lab", "open", "a", -60, 86400);
	assert_int_equal(chmod(tls_fixture_path("open/host.key"), 0640), 0);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("open"), &credentials, &error),
		-EPERM);
	assert_non_null(strstr(error.message, "chmod 600"));

	tls_fixture_host("lab", "mixed", "a", -60, 86400);
	assert_int_equal(
		rename(tls_fixture_path("open/host.key"), tls_fixture_path("mixed/host.key")), 0);
	assert_int_equal(chmod(tls_fixture_path("mixed/host.key"), 0600), 0);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("mixed"), &credentials, &error),
		-EINVAL);
	assert_non_null(strstr(error.message, "is not the key of"));

	tls_fixture_host("lab", "broken", "a", -60, 86400);
	file = fopen(tls_fixture_path("broken/host.crt"), "w");
	fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("broken"), &credentials, &error),
		-EINVAL);
	assert_non_null(strstr(error.message, "broken/host.crt"));
}

/* Hosts know each other by name: two that have none would be one. */
static void certificate_that_names_nobody_is_refused_on_both_sides(void **state)
{
	struct migration_tls_credentials *credentials;
	struct stranger stranger;
	struct vm_error error;
	char byte;

	(void)state;
	tls_fixture_nameless("lab", "nameless");
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("nameless"), &credentials, &error),
		-EACCES);
	assert_int_equal(error.code, EXIT_NOT_TRUSTED);
	assert_non_null(strstr(error.message, "names no host"));

	stranger_greet(&stranger, "nameless", NULL);
	assert_int_equal(gnutls_record_recv(stranger.session, &byte, 1),
			 GNUTLS_E_FATAL_ALERT_RECEIVED);
	pthread_join(stranger.b.thread, NULL);
	assert_int_equal(stranger.b.rc, -EACCES);
	expect_text(&stranger.b, "names no host");
	stranger_part(&stranger);
}

static void revoked_host_is_refused_by_who_dials_and_by_who_is_dialled(void **state)
{
	struct end lost, honest;

	(void)state;
	tls_fixture_host("lab", "lost", "lost", -60, 86400);
	tls_fixture_host("lab", "careful", "careful", -60, 86400);
	meet(&lost, "lost", "127.0.0.1", &honest, "careful");
	assert_int_equal(lost.rc, 0);
	assert_int_equal(honest.rc, 0);
	part(&lost, &honest);
	tls_fixture_revoke("lab", "lost", "careful", 3600);
	meet(&lost, "lost", "127.0.0.1", &honest, "careful");
	assert_int_equal(honest.rc, -EACCES);
	expect_text(&honest, "it was revoked");
	assert_int_equal(lost.error.code, EXIT_NOT_TRUSTED);
	expect_text(&lost, "it was revoked");
	part(&lost, &honest);
	meet(&honest, "careful", "127.0.0.1", &lost, "lost");
	assert_int_equal(honest.rc, -EACCES);
	expect_text(&honest, "it was revoked");
	assert_true(lost.rc < 0);
	part(&honest, &lost);
	/* All others are as good as before. */
	meet(&honest, "careful", "127.0.0.1", &lost, "b");
	assert_int_equal(honest.rc, 0);
	assert_int_equal(lost.rc, 0);
	part(&honest, &lost);
}

static void list_of_revoked_ones_that_cannot_be_relied_on_is_named(void **state)
{
	struct migration_tls_credentials *credentials;
	struct vm_error error;
	FILE *file;

	(void)state;
	tls_fixture_host("lab", "listed", "listed", -60, 86400);
	tls_fixture_revoke("lab", NULL, "listed", -60);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("listed"), &credentials, &error),
		-EACCES);
	assert_int_equal(error.code, EXIT_NOT_TRUSTED);
	assert_non_null(strstr(error.message, "listed/crl.pem is out of date since"));

	assert_int_equal(tls_files_make_ca(tls_fixture_path("lab3"), "Lab", 30, &error), 0);
	tls_fixture_revoke("lab3", NULL, "listed", 3600);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("listed"), &credentials, &error),
		-EACCES);
	assert_non_null(strstr(error.message, "crl.pem was not signed by the CA in ca.crt"));

	file = fopen(tls_fixture_path("listed/crl.pem"), "w");
	fputs("nothing of the kind\n", file);
	fclose(file);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("listed"), &credentials, &error),
		-EINVAL);
	assert_non_null(strstr(error.message, "crl.pem holds no list"));

	/* A host that was revoked finds out by itself. */
	tls_fixture_revoke("lab", "listed", "listed", 3600);
	assert_int_equal(
		migration_tls_credentials_load(tls_fixture_path("listed"), &credentials, &error),
		-EACCES);
	assert_non_null(strstr(error.message, "host.crt is not good: it was revoked"));
}

static int group_setup(void **state)
{
	(void)state;
	tls_fixture_make();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	tls_fixture_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_of_one_ca_talk),
		cmocka_unit_test(names_are_checked_as_dialled),
		cmocka_unit_test(host_of_another_ca_gets_nothing),
		cmocka_unit_test(client_without_certificate_gets_nothing),
		cmocka_unit_test(expired_certificate_is_refused_and_told),
		cmocka_unit_test(tls_1_2_is_refused),
		cmocka_unit_test(plain_bytes_are_refused),
		cmocka_unit_test(slow_peer_runs_into_the_deadline),
		cmocka_unit_test(cut_in_the_handshake_is_told),
		cmocka_unit_test(proper_end_is_told_from_a_cut),
		cmocka_unit_test(shutdown_wakes_a_reader_and_a_writer),
		cmocka_unit_test(altered_record_is_refused),
		cmocka_unit_test(files_that_cannot_be_used_are_named),
		cmocka_unit_test(certificate_that_names_nobody_is_refused_on_both_sides),
		cmocka_unit_test(revoked_host_is_refused_by_who_dials_and_by_who_is_dialled),
		cmocka_unit_test(list_of_revoked_ones_that_cannot_be_relied_on_is_named),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
