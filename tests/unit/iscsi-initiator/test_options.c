/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line.
 */
#include "iscsi-initiator/options.h"

#include <string.h>

#include "tests/unit/test_main.h"

#define PARSE(...)                                                                                 \
	parse((char *[]){"lunar-iscsi", __VA_ARGS__, NULL},                                        \
	      sizeof((char *[]){"lunar-iscsi", __VA_ARGS__}) / sizeof(char *))

static struct options o;
static char message[400];

static enum exit_code parse(char **argv, size_t argc)
{
	message[0] = '\0';
	return options_parse((int)argc, argv, &o, message, sizeof(message));
}

static void attach_takes_a_url_and_options_anywhere(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--json", "attach", "--nop-interval", "0",
			       "iscsi://joe@h/iqn.2025-11.test:x/3", "--header-digest=require",
			       "--replacement-timeout", "300"),
			 EXIT_OK);
	assert_int_equal(o.command, COMMAND_ATTACH);
	assert_true(o.json);
	assert_string_equal(o.address.user, "joe");
	assert_int_equal(o.address.lun, 3);
	assert_int_equal(o.header_digest, DIGEST_REQUIRE);
	assert_int_equal(o.timeouts.nop_interval_s, 0);
	assert_int_equal(o.timeouts.replacement_s, 300);
	assert_int_equal(o.timeouts.login_s, 15);
	assert_int_equal(o.timeouts.abort_s, 15);
}

static void attach_takes_its_parts_as_options(void **state)
{
	(void)state;
	assert_int_equal(PARSE("attach", "--portal", "10.0.0.1:860", "--target",
			       "iqn.2025-11.test:x", "--lun", "300", "--user", "joe"),
			 EXIT_OK);
	assert_string_equal(o.address.host, "10.0.0.1");
	assert_int_equal(o.address.port, 860);
	assert_int_equal(o.address.lun, 300);
	assert_string_equal(o.address.user, "joe");
}

static void attach_refuses_a_mixture(void **state)
{
	(void)state;
	assert_int_equal(PARSE("attach", "iscsi://h/iqn.2025-11.test:x/1", "--lun", "2"),
			 EXIT_USAGE);
	assert_int_equal(PARSE("attach", "--portal", "h", "--lun", "2"), EXIT_USAGE);
	assert_int_equal(PARSE("attach"), EXIT_USAGE);
	assert_int_equal(PARSE("attach", "iscsi://a@h/iqn.2025-11.test:x/1", "--user", "b"),
			 EXIT_USAGE);
}

static void a_password_is_never_repeated(void **state)
{
	(void)state;
	assert_int_equal(PARSE("attach", "iscsi://joe%hunter2@h/iqn.2025-11.test:x/1"), EXIT_USAGE);
	assert_null(strstr(message, "hunter2"));
	assert_non_null(strstr(message, "--secret-file"));
}

static void bad_values_are_refused(void **state)
{
	static char *const numbers[] = {"", "-1", "1x", "86401", "99999999999999999999", " 1"};

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_int_equal(PARSE("list", "--login-timeout", numbers[i]), EXIT_USAGE);
	assert_int_equal(PARSE("list", "--replacement-timeout", "0"), EXIT_USAGE);
	assert_int_equal(PARSE("list", "--header-digest", "maybe"), EXIT_USAGE);
	assert_int_equal(PARSE("list", "--no-such-option"), EXIT_USAGE);
	assert_int_equal(PARSE("list", "--portal"), EXIT_USAGE);
	assert_int_equal(PARSE("frob"), EXIT_USAGE);
	assert_int_equal(PARSE("list", "extra"), EXIT_USAGE);
	assert_int_equal(PARSE("detach"), EXIT_USAGE);
	assert_int_equal(PARSE("list", "--force"), EXIT_USAGE);
	assert_int_equal(PARSE("discover"), EXIT_USAGE);
	assert_true(message[0] != '\0');
}

static void other_commands_take_their_argument(void **state)
{
	(void)state;
	assert_int_equal(PARSE("detach", "/dev/sda", "--force"), EXIT_OK);
	assert_string_equal(o.disk, "/dev/sda");
	assert_true(o.force);
	assert_int_equal(PARSE("show"), EXIT_OK);
	assert_null(o.disk);
	assert_int_equal(PARSE("discover", "san:3261", "--user", "joe"), EXIT_OK);
	assert_string_equal(o.address.host, "san");
	assert_int_equal(o.address.port, 3261);
	assert_int_equal(PARSE("attach", "--help"), EXIT_OK);
	assert_int_equal(o.command, COMMAND_HELP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attach_takes_a_url_and_options_anywhere),
		cmocka_unit_test(attach_takes_its_parts_as_options),
		cmocka_unit_test(attach_refuses_a_mixture),
		cmocka_unit_test(a_password_is_never_repeated),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(other_commands_take_their_argument),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
