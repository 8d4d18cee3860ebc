/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lab's certificates: what is made can be used, is told as it is, is never overwritten, and is
 * installed whole.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/migration/tls.h"
#include "hypervisor/tls_files.h"
#include "tests/unit/hypervisor/tls_fixture.h"

static struct tls_files_report report;

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

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

static void what_is_made_is_told(void **state)
{
	static const char *const names[] = {"host2", "host2.example.org", "192.0.2.7",
					    "2001:db8::7"};
	int64_t now = (int64_t)time(NULL);
	struct vm_error error;

	(void)state;
	assert_int_equal(tls_files_make_host(tls_fixture_path("lab"), tls_fixture_path("host2"),
					     names, 4, 365, &error),
			 0);
	assert_int_equal(tls_files_inspect(tls_fixture_path("host2"), &report), 0);
	assert_true(report.usable);
	assert_true(report.ca.present);
	assert_string_equal(report.ca.subject, "CN=Lab");
	assert_string_equal(report.ca.issuer, "CN=Lab");
	assert_string_equal(report.host.subject, "CN=host2");
	assert_string_equal(report.host.issuer, "CN=Lab");
	assert_int_equal(strlen(report.host.fingerprint), 64);
	assert_int_equal(report.host.name_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(report.host.names[i], names[i]);
	assert_true(report.host.not_before < now);
	assert_true(report.host.not_after > now + INT64_C(364) * 86400);
	assert_true(report.host.not_after < now + INT64_C(366) * 86400);
	assert_int_equal(mode_of(tls_fixture_path("host2/host.key")), 0600);
	assert_int_equal(mode_of(tls_fixture_path("lab/ca.key")), 0600);
	assert_int_equal(access(tls_fixture_path("host2/ca.key"), F_OK), -1);
}

static void nothing_is_overwritten(void **state)
{
	static const char *const names[] = {"c"};
	struct vm_error error;
	struct stat before, after;

	(void)state;
	assert_int_equal(stat(tls_fixture_path("lab/ca.key"), &before), 0);
	assert_int_equal(tls_files_make_ca(tls_fixture_path("lab"), "Other", 30, &error), -EEXIST);
	assert_int_equal(error.code, EXIT_EXISTS);
	assert_int_equal(stat(tls_fixture_path("lab/ca.key"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	/* A certificate that is there, and a key that is not: the key does not stay alone. */
	assert_int_equal(mkdir(tls_fixture_path("half"), 0700), 0);
	close(open(tls_fixture_path("half/host.crt"), O_CREAT | O_WRONLY, 0600));
	assert_int_equal(tls_files_make_host(tls_fixture_path("lab"), tls_fixture_path("half"),
					     names, 1, 30, &error),
			 -EEXIST);
	assert_int_equal(access(tls_fixture_path("half/host.key"), F_OK), -1);
	assert_int_equal(stat(tls_fixture_path("half/host.crt"), &after), 0);
	assert_int_equal(after.st_size, 0);
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {"", "a b", "host\n", "a/b", "h\xc3\xb6st", "*.org"};
	struct vm_error error;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(tls_files_make_host(tls_fixture_path("lab"),
						     tls_fixture_path("bad"), &bad[i], 1, 30,
						     &error),
				 -EINVAL);
		assert_int_equal(error.code, EXIT_USAGE);
	}
	assert_int_equal(access(tls_fixture_path("bad"), F_OK), -1);
	assert_int_equal(tls_files_make_ca(tls_fixture_path("bad"), "x", 0, &error), -EINVAL);
	assert_int_equal(tls_files_make_host(tls_fixture_path("nowhere"), tls_fixture_path("bad"),
					     (const char *const[]){"a"}, 1, 30, &error),
			 -ENOENT);
}

static void what_is_installed_is_whole_and_was_good(void **state)
{
	struct migration_tls_credentials *credentials;
	struct vm_error error;

	(void)state;
	assert_int_equal(tls_files_install(tls_fixture_path("a"), tls_fixture_path("etc/lunar/tls"),
					   false, &error),
			 0);
	assert_int_equal(mode_of(tls_fixture_path("etc/lunar/tls")), 0700);
	assert_int_equal(mode_of(tls_fixture_path("etc/lunar/tls/host.key")), 0600);
	credentials = tls_fixture_load("etc/lunar/tls");
	migration_tls_credentials_free(credentials);

	assert_int_equal(tls_files_install(tls_fixture_path("b"), tls_fixture_path("etc/lunar/tls"),
					   false, &error),
			 -EEXIST);
	tls_files_inspect(tls_fixture_path("etc/lunar/tls"), &report);
	assert_string_equal(report.host.subject, "CN=a");
	assert_int_equal(tls_files_install(tls_fixture_path("b"), tls_fixture_path("etc/lunar/tls"),
					   true, &error),
			 0);
	tls_files_inspect(tls_fixture_path("etc/lunar/tls"), &report);
	assert_true(report.usable);
	assert_string_equal(report.host.subject, "CN=b");

	/* What cannot be used is not installed over what can. */
	tls_fixture_host("lab", "expired", "x", -7200, -3600);
	assert_int_equal(tls_files_install(tls_fixture_path("expired"),
					   tls_fixture_path("etc/lunar/tls"), true, &error),
			 -EACCES);
	tls_files_inspect(tls_fixture_path("etc/lunar/tls"), &report);
	assert_string_equal(report.host.subject, "CN=b");
}

static void what_is_missing_or_wrong_is_told(void **state)
{
	(void)state;
	assert_int_equal(tls_files_inspect(tls_fixture_path("nothing"), &report), -ENOENT);
	assert_false(report.usable);
	assert_false(report.ca.present);
	assert_int_equal(report.error.code, EXIT_NOT_TRUSTED);
	assert_non_null(strstr(report.error.message, "ca.crt is missing"));

	tls_fixture_host("lab", "old", "x", -7200, -3600);
	assert_int_equal(tls_files_inspect(tls_fixture_path("old"), &report), 0);
	assert_true(report.host.present);
	assert_false(report.usable);
	assert_non_null(strstr(report.error.message, "expired on"));
}

static void list_of_revoked_ones_is_told_and_installed(void **state)
{
	int64_t now = (int64_t)time(NULL);
	struct vm_error error;

	(void)state;
	assert_int_equal(tls_files_inspect(tls_fixture_path("a"), &report), 0);
	assert_false(report.crl.present);
	tls_fixture_host("lab", "gone", "gone", -60, 86400);
	tls_fixture_host("lab", "c", "c", -60, 86400);
	tls_fixture_revoke("lab", "gone", "c", 7200);
	assert_int_equal(tls_files_inspect(tls_fixture_path("c"), &report), 0);
	assert_true(report.usable);
	assert_true(report.crl.present);
	assert_string_equal(report.crl.file, tls_fixture_path("c/crl.pem"));
	assert_string_equal(report.crl.issuer, "CN=Lab");
	assert_int_equal(report.crl.revoked, 1);
	assert_true(report.crl.this_update < now);
	assert_true(report.crl.next_update > now + 7100);
	assert_int_equal(
		tls_files_install(tls_fixture_path("c"), tls_fixture_path("etc2"), false, &error),
		0);
	assert_int_equal(mode_of(tls_fixture_path("etc2/crl.pem")), 0644);
	/* One that comes without a list does not make the host forget. */
	assert_int_equal(
		tls_files_install(tls_fixture_path("a"), tls_fixture_path("etc2"), true, &error),
		0);
	assert_int_equal(tls_files_inspect(tls_fixture_path("etc2"), &report), 0);
	assert_true(report.usable);
	assert_true(report.crl.present);
}

static void directory_comes_from_the_environment(void **state)
{
	(void)state;
	setenv(MIGRATION_TLS_DIR_VARIABLE, tls_fixture_path("a"), 1);
	assert_int_equal(tls_files_inspect(NULL, &report), 0);
	assert_string_equal(report.host.subject, "CN=a");
	setenv(MIGRATION_TLS_DIR_VARIABLE, "", 1);
	assert_string_equal(migration_tls_directory(), "/etc/lunar/tls");
	unsetenv(MIGRATION_TLS_DIR_VARIABLE);
	assert_string_equal(migration_tls_directory(), "/etc/lunar/tls");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_told),
		cmocka_unit_test(nothing_is_overwritten),
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(what_is_installed_is_whole_and_was_good),
		cmocka_unit_test(what_is_missing_or_wrong_is_told),
		cmocka_unit_test(list_of_revoked_ones_is_told_and_installed),
		cmocka_unit_test(directory_comes_from_the_environment),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
