/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Secrets from files and the environment.
 */
#include "iscsi-session/chap_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test_main.h"

static char path[] = "/tmp/lunar-secret-XXXXXX";

static int set_up(void **state)
{
	int fd;

	strcpy(path, "/tmp/lunar-secret-XXXXXX");
	fd = mkstemp(path);
	*state = path;
	unsetenv("LUNAR_ISCSI_SECRET");
	unsetenv("LUNAR_ISCSI_MUTUAL_SECRET");
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

static void fill(const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	fchmod(fd, mode);
	close(fd);
}

static void file_gives_one_or_two_secrets(void **state)
{
	struct chap_secrets s;
	const char *why;

	(void)state;
	fill("first secret\r\n", 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), 0);
	assert_string_equal(s.secret, "first secret");
	assert_string_equal(s.mutual_secret, "");
	fill("one\ntwo", 0400);
	assert_int_equal(chap_secrets_read(path, &s, &why), 0);
	assert_string_equal(s.secret, "one");
	assert_string_equal(s.mutual_secret, "two");
}

static void file_that_others_can_read_is_refused(void **state)
{
	struct chap_secrets s = {.secret = "kept"};
	const char *why;

	(void)state;
	fill("secret", 0640);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EACCES);
	fill("secret", 0604);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EACCES);
	assert_string_equal(s.secret, "kept");
	assert_int_equal(chap_secrets_read("/nonexistent/secret", &s, &why), -ENOENT);
}

static void bad_contents_are_refused(void **state)
{
	struct chap_secrets s;
	const char *why;
	char text[600];

	(void)state;
	fill("", 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EINVAL);
	fill("same\nsame\n", 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EINVAL);
	assert_non_null(strstr(why, "differ"));
	memset(text, 'x', sizeof(text));
	text[256] = '\0';
	fill(text, 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EINVAL);
	text[255] = '\0';
	fill(text, 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), 0);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fill(text, 0600);
	assert_int_equal(chap_secrets_read(path, &s, &why), -EINVAL);
}

static void environment_is_read_and_forgotten(void **state)
{
	struct chap_secrets s;
	const char *why;

	(void)state;
	setenv("LUNAR_ISCSI_SECRET", "from env", 1);
	setenv("LUNAR_ISCSI_MUTUAL_SECRET", "other", 1);
	assert_int_equal(chap_secrets_read(NULL, &s, &why), 0);
	assert_string_equal(s.secret, "from env");
	assert_string_equal(s.mutual_secret, "other");
	assert_null(getenv("LUNAR_ISCSI_SECRET"));
	assert_null(getenv("LUNAR_ISCSI_MUTUAL_SECRET"));
	setenv("LUNAR_ISCSI_MUTUAL_SECRET", "alone", 1);
	assert_int_equal(chap_secrets_read(NULL, &s, &why), -EINVAL);
	assert_int_equal(chap_secrets_read(NULL, &s, &why), 0);
	assert_string_equal(s.secret, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(file_gives_one_or_two_secrets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(file_that_others_can_read_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(bad_contents_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(environment_is_read_and_forgotten, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
