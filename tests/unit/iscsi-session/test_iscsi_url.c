/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * URLs and portals as users write them, and what must be refused.
 */
#include "iscsi-session/iscsi_url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/test_main.h"

static void url_gives_all_its_parts(void **state)
{
	struct iscsi_address a;
	const char *why;

	(void)state;
	assert_int_equal(
		iscsi_url_parse("iscsi://joe@192.0.2.7:3261/iqn.2025-11.test:disk.a/12", &a, &why),
		0);
	assert_string_equal(a.user, "joe");
	assert_string_equal(a.host, "192.0.2.7");
	assert_int_equal(a.port, 3261);
	assert_string_equal(a.target, "iqn.2025-11.test:disk.a");
	assert_int_equal(a.lun, 12);
}

static void url_defaults_to_port_3260_and_no_user(void **state)
{
	struct iscsi_address a;
	const char *why;

	(void)state;
	assert_int_equal(iscsi_url_parse("iscsi://san/iqn.2025-11.test:x/0", &a, &why), 0);
	assert_string_equal(a.user, "");
	assert_string_equal(a.host, "san");
	assert_int_equal(a.port, 3260);
	assert_int_equal(a.lun, 0);
}

static void url_takes_bracketed_ipv6(void **state)
{
	struct iscsi_address a;
	const char *why;

	(void)state;
	assert_int_equal(
		iscsi_url_parse("iscsi://[2001:db8::1]:860/iqn.2025-11.test:x/1", &a, &why), 0);
	assert_string_equal(a.host, "2001:db8::1");
	assert_int_equal(a.port, 860);
}

static void url_with_password_is_refused_and_says_what_to_do(void **state)
{
	static const char *const urls[] = {
		"iscsi://joe%secret@h/iqn.2025-11.test:x/1",
		"iscsi://joe:secret@h/iqn.2025-11.test:x/1",
		"iscsi://joe%se@cret@h/iqn.2025-11.test:x/1",
		"iscsi://joe%se/cret@h/iqn.2025-11.test:x/1",
	};
	struct iscsi_address a;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
		assert_int_equal(iscsi_url_parse(urls[i], &a, &why), -EINVAL);
		assert_non_null(strstr(why, "--secret-file"));
		assert_null(strstr(why, "cret@"));
	}
}

static void url_without_a_part_is_refused(void **state)
{
	static const char *const urls[] = {
		"",
		"iscsi://",
		"http://h/iqn.2025-11.test:x/1",
		"iscsi://h",
		"iscsi://h/",
		"iscsi://h/iqn.2025-11.test:x",
		"iscsi://h/iqn.2025-11.test:x/",
		"iscsi:///iqn.2025-11.test:x/1",
		"iscsi://@h/iqn.2025-11.test:x/1",
		"iscsi://h/notaname/1",
		"iscsi://h/iqn.2025-11.test:x/1/2",
		"iscsi://h/iqn.2025-11.test:x/-1",
		"iscsi://h/iqn.2025-11.test:x/16384",
		"iscsi://h/iqn.2025-11.test:x/99999999999999999999",
		"iscsi://h/iqn.2025 11:x/1",
		"iscsi://h:0/iqn.2025-11.test:x/1",
		"iscsi://h:65536/iqn.2025-11.test:x/1",
		"iscsi://h:/iqn.2025-11.test:x/1",
		"iscsi://h:32x/iqn.2025-11.test:x/1",
		"iscsi://2001:db8::1/iqn.2025-11.test:x/1",
		"iscsi://[2001:db8::1/iqn.2025-11.test:x/1",
		"iscsi://[2001:db8::1]x/iqn.2025-11.test:x/1",
		"iscsi://h h/iqn.2025-11.test:x/1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
		struct iscsi_address a = {.host = "untouched"};
		const char *why = NULL;
		if (iscsi_url_parse(urls[i], &a, &why) != -EINVAL)
			fail_msg("accepted: %s", urls[i]);
		assert_non_null(why);
		assert_string_equal(a.host, "untouched");
	}
}

static void url_parts_are_bounded(void **state)
{
	char url[1024], name[256];
	struct iscsi_address a;
	const char *why;

	(void)state;
	memset(name, 'a', sizeof(name));
	memcpy(name, "iqn.", 4);
	name[ISCSI_NAME_MAX] = '\0';
	snprintf(url, sizeof(url), "iscsi://h/%s/1", name);
	assert_int_equal(iscsi_url_parse(url, &a, &why), 0);
	assert_int_equal(strlen(a.target), ISCSI_NAME_MAX);
	name[ISCSI_NAME_MAX] = 'a';
	name[ISCSI_NAME_MAX + 1] = '\0';
	snprintf(url, sizeof(url), "iscsi://h/%s/1", name);
	assert_int_equal(iscsi_url_parse(url, &a, &why), -EINVAL);
	memset(name, 'h', 254);
	name[254] = '\0';
	snprintf(url, sizeof(url), "iscsi://%s/iqn.2025-11.test:x/1", name);
	assert_int_equal(iscsi_url_parse(url, &a, &why), -EINVAL);
}

static void portal_leaves_target_and_lun_alone(void **state)
{
	struct iscsi_address a = {.target = "kept", .lun = 5};
	const char *why;

	(void)state;
	assert_int_equal(iscsi_portal_parse("iscsi://10.0.0.1:3261/", &a, &why), 0);
	assert_string_equal(a.host, "10.0.0.1");
	assert_int_equal(a.port, 3261);
	assert_string_equal(a.target, "kept");
	assert_int_equal(a.lun, 5);
	assert_int_equal(iscsi_portal_parse("joe@10.0.0.1", &a, &why), -EINVAL);
	assert_int_equal(iscsi_portal_parse("", &a, &why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(url_gives_all_its_parts),
		cmocka_unit_test(url_defaults_to_port_3260_and_no_user),
		cmocka_unit_test(url_takes_bracketed_ipv6),
		cmocka_unit_test(url_with_password_is_refused_and_says_what_to_do),
		cmocka_unit_test(url_without_a_part_is_refused),
		cmocka_unit_test(url_parts_are_bounded),
		cmocka_unit_test(portal_leaves_target_and_lun_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
