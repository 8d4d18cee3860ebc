/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The initiator name file: reading, making, and noticing clones.
 */
#include "iscsi-session/initiator_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test_main.h"

struct place {
	char folder[64], path[96], stamp[112];
};

static int set_up(void **state)
{
	static struct place place;

	strcpy(place.folder, "/tmp/lunar-name-XXXXXX");
	if (mkdtemp(place.folder) == NULL)
		return -1;
	snprintf(place.path, sizeof(place.path), "%s/name", place.folder);
	snprintf(place.stamp, sizeof(place.stamp), "%s.machine", place.path);
	*state = &place;
	return 0;
}

static int tear_down(void **state)
{
	const struct place *place = *state;

	unlink(place->path);
	unlink(place->stamp);
	return rmdir(place->folder);
}

static void name_is_found_between_comments(void **state)
{
	char name[ISCSI_NAME_MAX + 1];

	(void)state;
	assert_int_equal(initiator_name_parse("## DO NOT EDIT\n\n"
					      "InitiatorName=iqn.1993-08.org.debian:01:ab12 \n",
					      name),
			 0);
	assert_string_equal(name, "iqn.1993-08.org.debian:01:ab12");
}

static void name_in_a_comment_does_not_count(void **state)
{
	char name[ISCSI_NAME_MAX + 1];

	(void)state;
	assert_int_equal(
		initiator_name_parse("#InitiatorName=iqn.1993-08.org.debian:01:ab\n", name),
		-ENOENT);
	assert_int_equal(initiator_name_parse("GenerateName=yes\n", name), -ENOENT);
	assert_int_equal(initiator_name_parse("InitiatorName=nonsense\n", name), -EINVAL);
	assert_int_equal(initiator_name_parse("InitiatorName=\n", name), -EINVAL);
}

static void missing_file_gets_a_name_that_stays(void **state)
{
	const struct place *place = *state;
	char first[ISCSI_NAME_MAX + 1], second[ISCSI_NAME_MAX + 1];
	struct stat st;

	assert_int_equal(initiator_name_load(place->path, first), 0);
	assert_true(iscsi_name_is_valid(first));
	assert_false(initiator_name_is_template(first));
	assert_int_equal(initiator_name_load(place->path, second), 0);
	assert_string_equal(first, second);
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(place->path);
	assert_int_equal(initiator_name_load(place->path, second), 0);
	assert_string_not_equal(first, second);
}

static void garbage_is_never_overwritten(void **state)
{
	const struct place *place = *state;
	char name[ISCSI_NAME_MAX + 1], text[32] = "";
	FILE *file = fopen(place->path, "w");

	assert_non_null(file);
	fputs("my notes\n", file);
	fclose(file);
	assert_int_equal(initiator_name_load(place->path, name), -EINVAL);
	file = fopen(place->path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "my notes\n");
}

static void template_names_are_seen(void **state)
{
	(void)state;
	assert_true(initiator_name_is_template("iqn.1993-08.org.debian:01:000000000000"));
	assert_true(initiator_name_is_template("iqn.2005-03.com.example:localhost"));
	assert_true(initiator_name_is_template("iqn.2005-03.com.example"));
	assert_true(initiator_name_is_template("iqn.2005-03.com.example:"));
	assert_false(initiator_name_is_template("iqn.1993-08.org.debian:01:5ab1c3d4e5f6"));
	assert_false(initiator_name_is_template("naa.3000000000000001"));
}

static void same_name_on_another_machine_is_a_clone(void **state)
{
	const struct place *place = *state;
	const char *name = "iqn.1993-08.org.debian:01:5ab1c3d4e5f6";

	assert_false(initiator_name_is_cloned(place->path, name, "machine-1"));
	assert_false(initiator_name_is_cloned(place->path, name, "machine-1"));
	assert_true(initiator_name_is_cloned(place->path, name, "machine-2"));
	assert_true(initiator_name_is_cloned(place->path, name, "machine-2"));
	/* A new name makes an end of it. */
	assert_false(
		initiator_name_is_cloned(place->path, "iqn.1993-08.org.debian:01:77", "machine-2"));
	assert_false(initiator_name_is_cloned(place->path, name, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_is_found_between_comments),
		cmocka_unit_test(name_in_a_comment_does_not_count),
		cmocka_unit_test_setup_teardown(missing_file_gets_a_name_that_stays, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(garbage_is_never_overwritten, set_up, tear_down),
		cmocka_unit_test(template_names_are_seen),
		cmocka_unit_test_setup_teardown(same_name_on_another_machine_is_a_clone, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
