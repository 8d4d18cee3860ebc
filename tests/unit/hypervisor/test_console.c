/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The console's outer end over real sockets and files: several readers, a slow one, a new one, and
 * input that the guest takes in its own time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/fd_passing.h"
#include "hypervisor/console.h"

struct bench {
	char dir[32];
	char path[64];
	struct event_loop *loop;
	struct console *console;
	uint8_t typed[8192];
	size_t typed_count;
	size_t room;
};

static struct bench bench;

static void run(void)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(event_loop_run_once(bench.loop, 0), 0);
}

static size_t on_input(void *ctx, const uint8_t *bytes, size_t count)
{
	size_t taken = count < bench.room ? count : bench.room;

	(void)ctx;
	memcpy(bench.typed + bench.typed_count, bytes, taken);
	bench.typed_count += taken;
	bench.room -= taken;
	return taken;
}

static int setup(void **state)
{
	struct vm_error error;

	(void)state;
	memset(&bench, 0, sizeof(bench));
	strcpy(bench.dir, "/tmp/lunar-console-XXXXXX");
	if (!mkdtemp(bench.dir) || event_loop_create(&bench.loop))
		return -1;
	snprintf(bench.path, sizeof(bench.path), "%s/console.sock", bench.dir);
	return console_create(VM_CONSOLE_SOCKET, bench.path, bench.loop, &bench.console, &error);
}

static int teardown(void **state)
{
	(void)state;
	console_destroy(bench.console);
	event_loop_destroy(bench.loop);
	unlink(bench.path);
	return rmdir(bench.dir);
}

static int reader_connect(void)
{
	int fd = unix_socket_connect(bench.path, SOCK_STREAM);

	assert_true(fd >= 0);
	run();
	return fd;
}

static void guest_prints(const char *text)
{
	console_write(bench.console, (const uint8_t *)text, strlen(text));
	run();
}

static void assert_reads(int fd, const char *expected)
{
	char text[256] = "";

	assert_int_equal(read(fd, text, sizeof(text) - 1), strlen(expected));
	assert_string_equal(text, expected);
}

static void every_reader_gets_everything(void **state)
{
	int a = reader_connect();
	int b = reader_connect();

	(void)state;
	guest_prints("login: ");
	assert_reads(a, "login: ");
	assert_reads(b, "login: ");
	close(a);
	close(b);
}

static void new_reader_first_gets_what_was_printed(void **state)
{
	int fd;

	(void)state;
	guest_prints("booting\n");
	fd = reader_connect();
	assert_reads(fd, "booting\n");
	close(fd);
}

static void scroll_back_is_the_last_64_kib(void **state)
{
	char line[65] = "";
	size_t total = 0;
	uint8_t chunk[4096];
	ssize_t got;
	int fd;

	(void)state;
	for (int i = 0; i < 2048; i++) {
		snprintf(line, sizeof(line), "%063d\n", i);
		guest_prints(line);
	}
	fd = reader_connect();
	run();
	got = read(fd, chunk, 64);
	snprintf(line, sizeof(line), "%063d\n", 1024);
	assert_memory_equal(chunk, line, 64);
	while (got > 0) {
		total += (size_t)got;
		run();
		got = read(fd, chunk, sizeof(chunk));
	}
	assert_int_equal(total, CONSOLE_SCROLL_BACK_BYTES);
	close(fd);
}

static void slow_reader_delays_neither_guest_nor_others(void **state)
{
	char line[129];
	int slow = reader_connect();
	int quick = reader_connect();
	uint8_t chunk[128];

	(void)state;
	memset(line, 'z', 128);
	line[128] = '\0';
	for (int i = 0; i < 8192; i++) { /* 1 MiB: more than socket and ring hold */
		guest_prints(line);
		assert_int_equal(read(quick, chunk, sizeof(chunk)), 128);
	}
	guest_prints("end");
	assert_reads(quick, "end");
	close(slow);
	close(quick);
}

static void late_reader_gets_the_newest_bytes(void **state)
{
	uint8_t chunk[4096];
	uint8_t last = 0;
	ssize_t got;
	int fd = reader_connect();

	(void)state;
	for (int i = 0; i < 20000; i++)
		guest_prints("0123456789abcdef0123456789abcdef0123456789abcdef");
	guest_prints("!");
	for (;;) {
		run();
		got = read(fd, chunk, sizeof(chunk));
		if (got <= 0)
			break;
		last = chunk[got - 1];
	}
	assert_int_equal(last, '!');
	close(fd);
}

static void input_waits_until_the_guest_has_room(void **state)
{
	int fd = reader_connect();

	(void)state;
	assert_int_equal(write(fd, "root\n", 5), 5);
	run();
	assert_int_equal(bench.typed_count, 0);
	bench.room = 2;
	console_set_input(bench.console, on_input, NULL);
	run();
	assert_int_equal(bench.typed_count, 2);
	bench.room = 16;
	console_want_input(bench.console);
	run();
	assert_memory_equal(bench.typed, "root\n", 5);
	assert_int_equal(bench.typed_count, 5);
	close(fd);
}

static void flood_of_input_is_held_back_and_not_lost(void **state)
{
	uint8_t block[1024];
	size_t sent = 0;
	ssize_t put;
	int fd = reader_connect();

	(void)state;
	console_set_input(bench.console, on_input, NULL);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)i;
	while (sent < 6144) {
		put = write(fd, block, sizeof(block));
		assert_int_equal(put, sizeof(block));
		sent += (size_t)put;
	}
	run();
	for (int i = 0; i < 1000 && bench.typed_count < sent; i++) {
		bench.room = 16;
		console_want_input(bench.console);
		run();
	}
	assert_int_equal(bench.typed_count, sent);
	for (size_t i = 0; i < sent; i++)
		assert_int_equal(bench.typed[i], (uint8_t)(i % 1024));
	close(fd);
}

static void reader_that_leaves_frees_its_place(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * CONSOLE_MAX_READERS; i++) {
		int fd = reader_connect();

		guest_prints("x");
		assert_true(read(fd, &(char){0}, 1) == 1);
		close(fd);
		run();
	}
}

static void one_reader_too_many_is_turned_away(void **state)
{
	int fds[CONSOLE_MAX_READERS + 1];
	char byte;

	(void)state;
	for (int i = 0; i <= CONSOLE_MAX_READERS; i++)
		fds[i] = reader_connect();
	assert_int_equal(read(fds[CONSOLE_MAX_READERS], &byte, 1), 0);
	assert_int_equal(read(fds[0], &byte, 1), -1);
	for (int i = 0; i <= CONSOLE_MAX_READERS; i++)
		close(fds[i]);
}

static void socket_goes_with_the_console(void **state)
{
	struct stat status;
	struct vm_error error;

	(void)state;
	console_destroy(bench.console);
	assert_int_equal(stat(bench.path, &status), -1);
	assert_int_equal(
		console_create(VM_CONSOLE_SOCKET, bench.path, bench.loop, &bench.console, &error),
		0);
}

static void log_file_is_appended_to(void **state)
{
	char path[64];
	char text[32] = "";
	struct console *console;
	struct vm_error error;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/log", bench.dir);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			console_create(VM_CONSOLE_FILE, path, bench.loop, &console, &error), 0);
		console_write(console, (const uint8_t *)"boot\n", 5);
		console_destroy(console); /* what is left is written out */
	}
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, file), 10);
	assert_string_equal(text, "boot\nboot\n");
	fclose(file);
	unlink(path);
}

static void unusable_path_is_one_line(void **state)
{
	struct console *console = NULL;
	struct vm_error error;

	(void)state;
	assert_int_equal(
		console_create(VM_CONSOLE_FILE, "/nowhere/log", bench.loop, &console, &error),
		-ENOENT);
	assert_string_equal(error.message,
			    "cannot open the console /nowhere/log: No such file or directory");
}

/* ---- saved state ---- */

/* Another host's console of that kind, at path, with the past of the bench's. */
static void console_move(enum vm_console_kind kind, const char *path, struct console **there)
{
	struct state_writer writer;
	struct state_reader reader, section;
	struct vm_error error;

	state_writer_init(&writer);
	console_save(bench.console, &writer);
	assert_int_equal(state_writer_result(&writer), 0);
	assert_int_equal(console_create(kind, path, bench.loop, there, &error), 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(console_restore(*there, &section), 0);
	state_writer_fini(&writer);
}

static void saved_console_has_these_bytes(void **state)
{
	static const uint8_t golden[] = {'C', 'O', 'N', 'S', 1, 0, 0,	0,   7,	 0,
					 0,   0,   3,	0,   0, 0, 'a', 'b', 'c'};
	struct state_writer writer;

	(void)state;
	guest_prints("abc");
	state_writer_init(&writer);
	console_save(bench.console, &writer);
	assert_int_equal(writer.length, sizeof(golden));
	assert_memory_equal(writer.bytes, golden, sizeof(golden));
	state_writer_fini(&writer);
}

static void new_reader_elsewhere_gets_the_past_and_what_follows(void **state)
{
	struct console *there;
	char path[64];
	int fd;

	(void)state;
	guest_prints("booting\n");
	snprintf(path, sizeof(path), "%s/there.sock", bench.dir);
	console_move(VM_CONSOLE_SOCKET, path, &there);
	console_write(there, (const uint8_t *)"login: ", 7);
	fd = unix_socket_connect(path, SOCK_STREAM);
	run();
	assert_reads(fd, "booting\nlogin: ");
	close(fd);
	console_destroy(there);
}

static void past_is_the_same_when_the_ring_has_wrapped(void **state)
{
	struct state_writer before, after;
	struct console *there;
	char line[65];
	char path[64];

	(void)state;
	for (int i = 0; i < 5000; i++) { /* more than the ring, and not a divisor of it */
		snprintf(line, sizeof(line), "%062d\n", i);
		guest_prints(line);
	}
	snprintf(path, sizeof(path), "%s/there.sock", bench.dir);
	console_move(VM_CONSOLE_SOCKET, path, &there);
	state_writer_init(&before);
	state_writer_init(&after);
	console_save(bench.console, &before);
	console_save(there, &after);
	assert_int_equal(before.length, STATE_HEADER_BYTES + 4 + CONSOLE_SCROLL_BACK_BYTES);
	assert_int_equal(after.length, before.length);
	assert_memory_equal(after.bytes, before.bytes, before.length);
	assert_memory_equal(before.bytes + before.length - 6, "04999\n", 6);
	state_writer_fini(&before);
	state_writer_fini(&after);
	console_destroy(there);
}

static void log_file_elsewhere_gets_only_what_is_new(void **state)
{
	struct console *there;
	struct stat status;
	char path[64];

	(void)state;
	guest_prints("booting\n");
	snprintf(path, sizeof(path), "%s/log", bench.dir);
	console_move(VM_CONSOLE_FILE, path, &there);
	console_write(there, (const uint8_t *)"new\n", 4);
	console_destroy(there);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 4);
	unlink(path);
}

static void cut_newer_or_endless_past_is_refused(void **state)
{
	struct state_writer writer;
	struct state_reader reader, section;

	(void)state;
	guest_prints("abc");
	state_writer_init(&writer);
	console_save(bench.console, &writer);
	for (uint32_t cut = 0; cut < 7; cut++) {
		put_le32(writer.bytes + 8, cut);
		state_reader_init(&reader, writer.bytes, STATE_HEADER_BYTES + cut);
		assert_int_equal(state_next(&reader, &section), 1);
		assert_int_equal(console_restore(bench.console, &section), -EPROTO);
	}
	put_le32(writer.bytes + 8, 7);
	put_le16(writer.bytes + 6, 2);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(console_restore(bench.console, &section), -EOPNOTSUPP);
	state_writer_fini(&writer);

	state_begin(&writer, CONSOLE_STATE_TAG, 1, 1);
	state_put_u32(&writer, CONSOLE_SCROLL_BACK_BYTES + 1);
	for (int i = 0; i <= CONSOLE_SCROLL_BACK_BYTES; i++)
		state_put_u8(&writer, 'x');
	state_end(&writer);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section), 1);
	assert_int_equal(console_restore(bench.console, &section), -EPROTO);
	state_writer_fini(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_reader_gets_everything),
		TEST(new_reader_first_gets_what_was_printed),
		TEST(scroll_back_is_the_last_64_kib),
		TEST(slow_reader_delays_neither_guest_nor_others),
		TEST(late_reader_gets_the_newest_bytes),
		TEST(input_waits_until_the_guest_has_room),
		TEST(flood_of_input_is_held_back_and_not_lost),
		TEST(reader_that_leaves_frees_its_place),
		TEST(one_reader_too_many_is_turned_away),
		TEST(socket_goes_with_the_console),
		TEST(log_file_is_appended_to),
		TEST(unusable_path_is_one_line),
		TEST(saved_console_has_these_bytes),
		TEST(new_reader_elsewhere_gets_the_past_and_what_follows),
		TEST(past_is_the_same_when_the_ring_has_wrapped),
		TEST(log_file_elsewhere_gets_only_what_is_new),
		TEST(cut_newer_or_endless_past_is_refused),
	};

	signal(SIGPIPE, SIG_IGN); /* as vmwp does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
