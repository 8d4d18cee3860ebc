/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar vhd in a temporary folder: what it makes and says, and that each bad input has one line and
 * an exit code of its own, and leaves everything as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#define LOG_COMPONENT "test"
#include "base/log.h"
#include "cli/commands.h"
#include "storvsp/disk.h"

struct fixture {
	char dir[64];
	char *printed;
	char *noticed;
	struct cli_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-vhd-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f->printed);
	free(f->noticed);
	free(f);
	return 0;
}

static const char *path_of(const struct fixture *f, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return path;
}

/* Runs "vhd" and these words, in which @ is the temporary folder. Every failure is one line. */
static enum exit_code vhd(struct fixture *f, const char *words)
{
	static char storage[16][128];
	char text[512], *argv[16] = {(char *)"lunar", (char *)"vhd"};
	size_t printed_length, noticed_length;
	struct options options;
	struct command_context context = {.options = &options};
	enum exit_code code;
	int argc = 2;

	snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		snprintf(storage[argc], sizeof(storage[argc]), "%s%.60s",
			 *word == '@' ? f->dir : "", *word == '@' ? word + 1 : word);
		argv[argc] = storage[argc];
		argc++;
	}
	free(f->printed);
	free(f->noticed);
	context.out = open_memstream(&f->printed, &printed_length);
	context.err = open_memstream(&f->noticed, &noticed_length);
	f->error.message[0] = '\0';
	code = options_parse(argc, argv, &options, &f->error);
	if (code == EXIT_OK)
		code = command_vhd(&context, &f->error);
	fclose(context.out);
	fclose(context.err);
	if (code != EXIT_OK) {
		assert_string_not_equal(f->error.message, "");
		assert_null(strchr(f->error.message, '\n'));
	}
	return code;
}

static void assert_vhd(struct fixture *f, enum exit_code code, const char *words)
{
	enum exit_code got = vhd(f, words);

	if (got != code)
		fail_msg("vhd %s: exit code %d: %s", words, (int)got, f->error.message);
}

static void assert_says(const struct fixture *f, const char *words)
{
	if (!strstr(f->error.message, words))
		fail_msg("'%s' does not say '%s'", f->error.message, words);
}

static void write_at(const struct fixture *f, const char *name, off_t offset, const void *bytes,
		     size_t length)
{
	int fd = open(path_of(f, name), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, length, offset), length);
	close(fd);
}

static unsigned int file_count(const struct fixture *f)
{
	DIR *dir = opendir(f->dir);
	unsigned int count = 0;
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += *entry->d_name != '.';
	closedir(dir);
	return count;
}

/* ---- what it makes ---- */

static void images_of_each_format_are_clean(void **state)
{
	static const char *const formats[] = {"dynamic", "fixed", "flex"};
	struct fixture *f = *state;
	char words[128];

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		snprintf(words, sizeof(words), "create @/%s.vhd 4M --format %s", formats[i],
			 formats[i]);
		assert_vhd(f, EXIT_OK, words);
		assert_non_null(strstr(f->printed, formats[i]));
		snprintf(words, sizeof(words), "check @/%s.vhd", formats[i]);
		assert_vhd(f, EXIT_OK, words);
		assert_non_null(strstr(f->printed, "no problems"));
	}
	assert_int_equal(file_count(f), 3);
}

static void a_snapshot_is_merged_and_gone(void **state)
{
	struct fixture *f = *state;

	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	assert_vhd(f, EXIT_OK, "snapshot @/a.vhd @/b.vhd");
	assert_non_null(strstr(f->noticed, "a.vhd"));
	assert_vhd(f, EXIT_OK, "info @/b.vhd");
	assert_non_null(strstr(f->printed, "a.vhd"));
	assert_vhd(f, EXIT_OK, "merge @/b.vhd");
	assert_int_equal(file_count(f), 1);
	assert_vhd(f, EXIT_OK, "check @/a.vhd");
}

static void a_raw_disk_goes_into_a_vhd_and_back(void **state)
{
	struct fixture *f = *state;
	char bytes[4096], found[4096];
	int fd;

	memset(bytes, 0x5a, sizeof(bytes));
	write_at(f, "a.raw", 1 << 20, bytes, sizeof(bytes));
	assert_vhd(f, EXIT_OK, "convert @/a.raw @/a.vhd");
	assert_vhd(f, EXIT_OK, "convert @/a.vhd @/b.raw");
	fd = open(path_of(f, "b.raw"), O_RDONLY);
	assert_int_equal(pread(fd, found, sizeof(found), 1 << 20), sizeof(found));
	close(fd);
	assert_memory_equal(found, bytes, sizeof(bytes));
}

static void sizes_grow_and_shrink_where_that_is_said(void **state)
{
	struct fixture *f = *state;

	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	assert_vhd(f, EXIT_OK, "resize @/a.vhd +4M");
	assert_non_null(strstr(f->printed, "8"));
	assert_vhd(f, EXIT_NO_DISK, "resize @/a.vhd 2M");
	assert_says(f, "--shrink");
	assert_vhd(f, EXIT_OK, "resize @/a.vhd 2M --shrink");
	assert_vhd(f, EXIT_OK, "check @/a.vhd");
}

static void json_is_one_document(void **state)
{
	struct fixture *f = *state;
	json_t *json;

	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M --json");
	json = json_loads(f->printed, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json, "size_bytes")), 4 << 20);
	json_decref(json);
	write_at(f, "a.vhd", 0, "xxxxxxxx", 8); /* the footer's copy */
	assert_vhd(f, EXIT_NO_DISK, "check @/a.vhd --json");
	json = json_loads(f->printed, 0, NULL);
	assert_true(json_is_false(json_object_get(json, "clean")));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(json, "error"), "code")),
		EXIT_NO_DISK);
	json_decref(json);
}

/* ---- bad inputs ---- */

static void bad_words_are_usage(void **state)
{
	static const char *const words[] = {
		"frobnicate",
		"create",
		"create @/a.vhd",
		"create @/a.vhd 4M more",
		"create @/a.vhd 4X",
		"create @/a.vhd 0",
		"create @/a.vhd -4M",
		"create @/a.vhd 4096T",
		"create @/a.vhd 4M --format qcow2",
		"create @/a.vhd 4M --format raw",
		"create @/a.vhd 4M --shrink",
		"create @/a.vhd 4M --block-size 3K",
		"info",
		"merge @/a.vhd --repair",
		"resize @/a.vhd",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_vhd(f, EXIT_USAGE, words[i]);
	assert_int_equal(file_count(f), 0);
}

static void what_is_not_there_is_not_found(void **state)
{
	static const char *const words[] = {
		"info @/none.vhd",
		"check @/none.vhd",
		"merge @/none.vhd",
		"resize @/none.vhd 4M",
		"snapshot @/none.vhd @/b.vhd",
		"convert @/none.vhd @/b.raw",
		"create @/none/a.vhd 4M",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_vhd(f, EXIT_NOT_FOUND, words[i]);
		assert_says(f, "none");
	}
	assert_int_equal(file_count(f), 0);
}

static void what_is_there_is_not_written_over(void **state)
{
	struct fixture *f = *state;

	write_at(f, "b.vhd", 0, "precious", 8);
	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	assert_vhd(f, EXIT_EXISTS, "create @/b.vhd 4M");
	assert_vhd(f, EXIT_EXISTS, "snapshot @/a.vhd @/b.vhd");
	assert_vhd(f, EXIT_EXISTS, "convert @/a.vhd @/b.vhd");
	assert_int_equal(file_count(f), 2);
	assert_vhd(f, EXIT_NO_DISK, "info @/b.vhd");
}

static void what_is_no_image_is_told_as_such(void **state)
{
	static const char *const words[] = {"info @/a.vhd",
					    "check @/a.vhd",
					    "merge @/a.vhd",
					    "resize @/a.vhd 8M",
					    "snapshot @/a.vhd @/b.vhd",
					    "convert @/a.vhd @/b.raw"};
	struct fixture *f = *state;
	char bytes[8192];

	memset(bytes, 'x', sizeof(bytes));
	write_at(f, "a.vhd", 0, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_vhd(f, EXIT_NO_DISK, words[i]);
		assert_says(f, "a.vhd");
	}
	assert_vhd(f, EXIT_NO_DISK, "info @");
	assert_int_equal(file_count(f), 1);
}

static void an_image_in_use_is_not_changed(void **state)
{
	struct fixture *f = *state;
	struct disk_options options = {.format = DISK_FORMAT_VHD};
	char message[DISK_MESSAGE_BYTES];
	struct disk *disk;

	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	options.path = path_of(f, "a.vhd");
	assert_int_equal(disk_open(&options, &disk, message, sizeof(message)), 0);
	assert_vhd(f, EXIT_EXISTS, "resize @/a.vhd 8M");
	assert_says(f, "in use");
	assert_vhd(f, EXIT_EXISTS, "check @/a.vhd --repair");
	assert_vhd(f, EXIT_EXISTS, "snapshot @/a.vhd @/b.vhd");
	assert_vhd(f, EXIT_OK, "info @/a.vhd");
	disk_close(disk);
	assert_int_equal(file_count(f), 1);
}

static void a_chain_without_its_parent_is_told_with_its_name(void **state)
{
	struct fixture *f = *state;
	char away[160];

	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	assert_vhd(f, EXIT_OK, "snapshot @/a.vhd @/b.vhd");
	assert_vhd(f, EXIT_NO_DISK, "merge @/a.vhd");
	assert_says(f, "no parent");
	assert_vhd(f, EXIT_NO_DISK, "resize @/b.vhd 8M");
	snprintf(away, sizeof(away), "%s/c.vhd", f->dir);
	assert_int_equal(rename(path_of(f, "a.vhd"), away), 0);
	assert_vhd(f, EXIT_NOT_FOUND, "merge @/b.vhd");
	assert_says(f, "a.vhd");
	assert_vhd(f, EXIT_NO_DISK, "info @/b.vhd");
	assert_non_null(strstr(f->printed, "b.vhd"));
	/* Another one in its place is not taken for it. */
	assert_vhd(f, EXIT_OK, "create @/a.vhd 4M");
	assert_vhd(f, EXIT_NO_DISK, "convert @/b.vhd @/d.raw");
	assert_says(f, "another unique id");
	assert_int_equal(file_count(f), 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(images_of_each_format_are_clean),
		TEST(a_snapshot_is_merged_and_gone),
		TEST(a_raw_disk_goes_into_a_vhd_and_back),
		TEST(sizes_grow_and_shrink_where_that_is_said),
		TEST(json_is_one_document),
		TEST(bad_words_are_usage),
		TEST(what_is_not_there_is_not_found),
		TEST(what_is_there_is_not_written_over),
		TEST(what_is_no_image_is_told_as_such),
		TEST(an_image_in_use_is_not_changed),
		TEST(a_chain_without_its_parent_is_told_with_its_name),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
