/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM through a file: a fake one is saved and restored, and every way in which that fails leaves
 * it running, or not there at all, and nothing half-made behind.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/migration/file.h"
#include "hypervisor/migration/migration.h"
#include "hypervisor/migration/vm.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define PATIENCE_MS 60000
#define PAGES	    4096
#define PAGE_BYTES  ((size_t)GUEST_PAGE_SIZE)
#define DEFINITION  "name: vm0\n"
#define TAG_CPU	    STATE_TAG('C', 'P', 'U', 'I')
#define TAG_STATE   STATE_TAG('T', 'E', 'S', 'T')

/* A VM of which the tests see everything. */
struct vm {
	struct event_loop *loop;
	struct guest_memory *memory;
	char made_of[64];
	bool running;
	bool fail_pause, fail_make, fail_cpu, fail_restore, fail_go;
	unsigned int resumes, drops, restores, checks;
	uint64_t state_value;
	migration_done_fn done;
	void *done_ctx;
	/* what migration told */
	bool ended, moved;
	void (*on_pause)(struct vm *vm);
	struct migration_source *source;
};

static char folder[64];
static char path[96];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/lunar-save-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/vm0.saved", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static unsigned int files_seen;

static int count_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)name;
	(void)st;
	(void)ftw;
	files_seen += type == FTW_F;
	return 0;
}

static unsigned int files_left(void)
{
	files_seen = 0;
	nftw(folder, count_one, 8, FTW_PHYS);
	return files_seen;
}

static void vm_init(struct vm *vm, bool running)
{
	*vm = (struct vm){.running = running, .state_value = 42};
	assert_int_equal(event_loop_create(&vm->loop), 0);
	vm->memory = fixture_memory(PAGES);
}

static void vm_fini(struct vm *vm)
{
	guest_memory_destroy(vm->memory);
	event_loop_destroy(vm->loop);
}

static void vm_fill(struct vm *vm)
{
	uint8_t *bytes = (uint8_t *)guest_memory_region_at(vm->memory, 0)->hva;
	uint32_t seed = 3;

	for (size_t page = 0; page < PAGES; page += 1 + fixture_random(&seed) % 64)
		for (size_t i = 0; i < PAGE_BYTES; i += 4)
			memcpy(bytes + page * PAGE_BYTES + i,
			       &(uint32_t){i % 64 ? 7 : fixture_random(&seed)}, 4);
}

static void vm_ended(void *ctx, bool moved)
{
	struct vm *vm = ctx;

	assert_false(vm->ended);
	vm->ended = true;
	vm->moved = moved;
}

static void vm_loop(struct vm *vm)
{
	struct deadline deadline = deadline_in_ms(PATIENCE_MS);

	while (!vm->ended && !deadline_passed(deadline))
		event_loop_run_once(vm->loop, 10);
	assert_true(vm->ended);
}

/* ---- ops ---- */

static struct guest_memory *op_memory(void *ctx)
{
	return ((struct vm *)ctx)->memory;
}

static const char *op_definition(void *ctx, size_t *length)
{
	(void)ctx;
	*length = strlen(DEFINITION);
	return DEFINITION;
}

static int op_save_cpu(void *ctx, struct state_writer *writer)
{
	(void)ctx;
	state_begin(writer, TAG_CPU, 1, 1);
	state_put_u32(writer, 0xc0ffee);
	state_end(writer);
	return 0;
}

static void pause_done(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->fail_pause) {
		const struct vm_error error = {.code = EXIT_INTERNAL,
					       .message = "it would not stop"};

		vm->done(vm->done_ctx, -EBUSY, &error);
		return;
	}
	vm->running = false;
	if (vm->on_pause)
		vm->on_pause(vm);
	vm->done(vm->done_ctx, 0, NULL);
}

static int op_pause_and_save(void *ctx, struct state_writer *writer, migration_done_fn done,
			     void *done_ctx)
{
	struct vm *vm = ctx;

	vm->done = done;
	vm->done_ctx = done_ctx;
	state_begin(writer, TAG_STATE, 1, 1);
	state_put_u64(writer, vm->state_value);
	state_end(writer);
	return event_loop_after_ms(vm->loop, 5, pause_done, vm, NULL);
}

static void op_resume(void *ctx)
{
	struct vm *vm = ctx;

	assert_false(vm->running);
	vm->running = true;
	vm->resumes++;
}

static const struct migration_source_vm_ops source_ops = {
	.get_memory = op_memory,
	.get_definition = op_definition,
	.save_cpu = op_save_cpu,
	.pause_and_save = op_pause_and_save,
	.resume = op_resume,
};

static int op_make(void *ctx, const char *definition, size_t length, struct vm_error *error)
{
	struct vm *vm = ctx;

	assert_int_equal(vm->checks, 1);
	if (vm->fail_make)
		return vm_error_set(error, EXIT_EXISTS, -EEXIST, "there is one");
	snprintf(vm->made_of, sizeof(vm->made_of), "%.*s", (int)length, definition);
	return 0;
}

static int op_check_cpu(void *ctx, struct state_reader *section, struct vm_error *error)
{
	struct vm *vm = ctx;

	vm->checks++;
	if (vm->fail_cpu || section->tag != TAG_CPU || state_get_u32(section) != 0xc0ffee)
		return vm_error_set(error, EXIT_CANNOT_MOVE, -EOPNOTSUPP, "no such processor");
	return 0;
}

static void restore_done(void *ctx)
{
	struct vm *vm = ctx;
	const struct vm_error error = {.code = EXIT_BAD_STATE, .message = "not like this"};

	vm->done(vm->done_ctx, vm->fail_restore ? -EPROTO : 0, vm->fail_restore ? &error : NULL);
}

static int op_restore(void *ctx, struct state_reader *reader, migration_done_fn done,
		      void *done_ctx)
{
	struct vm *vm = ctx;
	struct state_reader section;

	vm->restores++;
	vm->done = done;
	vm->done_ctx = done_ctx;
	vm->state_value = state_next(reader, &section) == 1 ? state_get_u64(&section) : 0;
	return event_loop_after_ms(vm->loop, 5, restore_done, vm, NULL);
}

static int op_go(void *ctx, bool announce, struct vm_error *error)
{
	struct vm *vm = ctx;

	(void)announce;
	if (vm->fail_go)
		return vm_error_set(error, EXIT_INTERNAL, -EIO, "it does not go");
	vm->running = true;
	return 0;
}

static void op_drop(void *ctx)
{
	struct vm *vm = ctx;

	assert_false(vm->running);
	vm->drops++;
}

static const struct migration_target_vm_ops target_ops = {
	.make = op_make,
	.check_cpu = op_check_cpu,
	.get_memory = op_memory,
	.restore = op_restore,
	.go = op_go,
	.drop = op_drop,
};

/* ---- saving ---- */

/* Saves to path; the status at the end. */
static void vm_save(struct vm *vm, struct migration_status *status)
{
	struct vm_error error = {0};

	assert_int_equal(migration_save_start(vm->loop, path, "vm0", &source_ops, vm, vm_ended, vm,
					      &vm->source, &error),
			 0);
	vm_loop(vm);
	migration_source_get_status(vm->source, status);
	migration_source_destroy(vm->source);
}

static void vm_restore(struct vm *vm, struct migration_status *status)
{
	struct migration_target *target;
	struct vm_error error = {0};

	assert_int_equal(migration_restore_start(vm->loop, path, &target_ops, vm, vm_ended, vm,
						 &target, &error),
			 0);
	vm_loop(vm);
	migration_target_get_status(target, status);
	migration_target_destroy(target);
}

static void saved_vm_is_restored_as_it_was(void **state)
{
	struct migration_status status;
	struct vm from, to;
	struct stat st;

	(void)state;
	vm_init(&from, true);
	vm_fill(&from);
	from.state_value = 0x1234567890;
	vm_save(&from, &status);
	assert_true(from.moved);
	assert_false(from.running);
	assert_int_equal(status.phase, MIGRATION_DONE);
	assert_int_equal(status.memory_bytes, PAGES * PAGE_BYTES);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal((uint64_t)st.st_size, status.bytes_sent);
	assert_true(st.st_size < 262144); /* of 16 MiB that are mostly holes */
	assert_int_equal(files_left(), 1);

	vm_init(&to, false);
	vm_restore(&to, &status);
	assert_true(to.moved);
	assert_true(to.running);
	assert_int_equal(to.drops, 0);
	assert_string_equal(to.made_of, DEFINITION);
	assert_int_equal(to.state_value, 0x1234567890);
	assert_int_equal(status.phase, MIGRATION_DONE);
	assert_true(status.incoming);
	assert_memory_equal(guest_memory_region_at(to.memory, 0)->hva,
			    guest_memory_region_at(from.memory, 0)->hva, PAGES * PAGE_BYTES);
	vm_fini(&from);
	vm_fini(&to);
}

static void file_that_exists_is_never_replaced(void **state)
{
	struct migration_source *source;
	struct vm_error error = {0};
	struct vm vm;
	char byte;
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	vm_init(&vm, true);
	assert_int_equal(migration_save_start(vm.loop, path, "vm0", &source_ops, &vm, vm_ended, &vm,
					      &source, &error),
			 -EEXIST);
	assert_int_equal(error.code, EXIT_EXISTS);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fd);
	vm_fini(&vm);
}

static void make_file(struct vm *vm)
{
	(void)vm;
	close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
}

static void file_made_meanwhile_is_not_replaced_either(void **state)
{
	struct migration_status status;
	struct stat st;
	struct vm vm;

	(void)state;
	vm_init(&vm, true);
	vm.on_pause = make_file;
	vm_save(&vm, &status);
	assert_false(vm.moved);
	assert_true(vm.running);
	assert_int_equal(vm.resumes, 1);
	assert_int_equal(status.phase, MIGRATION_FAILED);
	assert_int_equal(status.error.code, EXIT_EXISTS);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(files_left(), 1);
	vm_fini(&vm);
}

static void vm_that_does_not_stop_runs_on(void **state)
{
	struct migration_status status;
	struct vm vm;

	(void)state;
	vm_init(&vm, true);
	vm.fail_pause = true;
	vm_save(&vm, &status);
	assert_false(vm.moved);
	assert_true(vm.running);
	assert_int_equal(vm.resumes, 0);
	assert_string_equal(status.error.message, "it would not stop");
	assert_int_equal(files_left(), 0);
	vm_fini(&vm);
}

static void full_disk_leaves_the_vm_running(void **state)
{
	struct rlimit before, small = {.rlim_cur = 8192};
	struct migration_status status;
	struct vm vm;

	(void)state;
	vm_init(&vm, true);
	vm_fill(&vm);
	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	vm_save(&vm, &status);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_false(vm.moved);
	assert_true(vm.running);
	assert_int_equal(vm.resumes, 1);
	assert_int_equal(status.phase, MIGRATION_FAILED);
	assert_non_null(strstr(status.error.message, "no room"));
	assert_int_equal(files_left(), 0);
	vm_fini(&vm);
}

static void cancel_at_pause(struct vm *vm)
{
	assert_int_equal(migration_source_cancel(vm->source), 0);
}

static void cancelled_save_leaves_the_vm_running(void **state)
{
	struct migration_status status;
	struct vm vm;

	(void)state;
	vm_init(&vm, true);
	vm_fill(&vm);
	vm.on_pause = cancel_at_pause;
	vm_save(&vm, &status);
	assert_false(vm.moved);
	assert_true(vm.running);
	assert_int_equal(status.phase, MIGRATION_CANCELLED);
	assert_int_equal(status.error.code, EXIT_CANCELLED);
	assert_int_equal(files_left(), 0);
	vm_fini(&vm);
}

static void save_that_is_destroyed_leaves_no_file(void **state)
{
	struct vm_error error = {0};
	struct vm vm;

	(void)state;
	vm_init(&vm, true);
	vm_fill(&vm);
	assert_int_equal(migration_save_start(vm.loop, path, "vm0", &source_ops, &vm, vm_ended, &vm,
					      &vm.source, &error),
			 0);
	migration_source_destroy(vm.source);
	event_loop_run_once(vm.loop, 10);
	assert_false(vm.ended);
	assert_int_equal(files_left(), 0);
	vm_fini(&vm);
}

/* ---- restoring ---- */

static void save_one(void)
{
	struct migration_status status;
	struct vm vm;

	vm_init(&vm, true);
	vm_fill(&vm);
	vm_save(&vm, &status);
	assert_true(vm.moved);
	vm_fini(&vm);
}

/* Restores what must not be; returns why. The VM was dropped if it was made, and never ran. */
static struct vm_error restore_refused(struct vm *vm)
{
	struct migration_target *target;
	struct migration_status status;
	struct vm_error error = {0};

	if (migration_restore_start(vm->loop, path, &target_ops, vm, vm_ended, vm, &target,
				    &error) < 0)
		return error;
	vm_loop(vm);
	migration_target_get_status(target, &status);
	migration_target_destroy(target);
	assert_int_equal(status.phase, MIGRATION_FAILED);
	assert_false(vm->moved);
	assert_false(vm->running);
	assert_int_equal(vm->drops, *vm->made_of ? 1 : 0);
	return status.error;
}

static void host_that_cannot_run_it_refuses_it(void **state)
{
	bool *fails[4];
	struct vm vm;

	(void)state;
	save_one();
	for (int i = 0; i < 4; i++) {
		static const enum exit_code codes[] = {EXIT_CANNOT_MOVE, EXIT_EXISTS,
						       EXIT_BAD_STATE, EXIT_INTERNAL};

		vm_init(&vm, false);
		fails[0] = &vm.fail_cpu;
		fails[1] = &vm.fail_make;
		fails[2] = &vm.fail_restore;
		fails[3] = &vm.fail_go;
		*fails[i] = true;
		assert_int_equal(restore_refused(&vm).code, codes[i]);
		assert_int_equal(vm.drops, i >= 2);
		vm_fini(&vm);
	}
	assert_int_equal(access(path, F_OK), 0);
}

static void vm_of_another_size_is_refused(void **state)
{
	struct vm_error error;
	struct vm vm;

	(void)state;
	save_one();
	vm_init(&vm, false);
	guest_memory_destroy(vm.memory);
	vm.memory = fixture_memory(PAGES / 2);
	error = restore_refused(&vm);
	assert_int_equal(error.code, EXIT_BAD_STATE);
	assert_int_equal(vm.restores, 0);
	vm_fini(&vm);
}

static void file_cut_anywhere_is_refused_before_anything_runs(void **state)
{
	struct stat st;
	off_t length;

	(void)state;
	save_one();
	assert_int_equal(stat(path, &st), 0);
	length = st.st_size;
	for (int i = 0; i < 40; i++) {
		struct vm_error error;
		struct vm vm;

		/* From the end: its last bytes one by one, then in larger steps. */
		length -= i < 24 ? 1 : length / 4 + 1;
		if (length < 0)
			break;
		assert_int_equal(truncate(path, length), 0);
		vm_init(&vm, false);
		error = restore_refused(&vm);
		assert_int_equal(error.code, EXIT_BAD_STATE);
		assert_non_null(strstr(error.message,
				       length < 16 ? "not a saved VM" : "is cut off at byte"));
		assert_int_equal(vm.restores, 0);
		vm_fini(&vm);
	}
}

static void flip(off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void file_altered_anywhere_is_refused_before_anything_runs(void **state)
{
	struct stat st;

	(void)state;
	save_one();
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 160 || at > st.st_size - 160 ? 1 : 997) {
		struct vm_error error;
		struct vm vm;

		if (at >= 8 && at < 16 && at != 11)
			continue; /* version and reserved may differ; at 11 it is too new */
		flip(at);
		vm_init(&vm, false);
		error = restore_refused(&vm);
		if (error.code != EXIT_BAD_STATE)
			fail_msg("byte %ld: %d %s", (long)at, error.code, error.message);
		assert_int_equal(vm.restores, 0);
		vm_fini(&vm);
		flip(at);
	}
}

static void bytes_after_the_end_are_refused(void **state)
{
	struct vm_error error;
	struct vm vm;
	int fd;

	(void)state;
	save_one();
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	vm_init(&vm, false);
	error = restore_refused(&vm);
	assert_int_equal(error.code, EXIT_BAD_STATE);
	assert_int_equal(vm.restores, 0);
	vm_fini(&vm);
}

static void what_is_no_saved_vm_is_told(void **state)
{
	static const char *const names[] = {"/dev/zero", "/proc/version", "/nonexistent", "/tmp"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct migration_file *file;
		struct vm_error error = {0};

		assert_true(migration_file_open(names[i], &file, &error) < 0);
		assert_int_equal(error.code, i == 2 ? EXIT_NOT_FOUND : EXIT_BAD_STATE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(saved_vm_is_restored_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(file_that_exists_is_never_replaced, setup,
						teardown),
		cmocka_unit_test_setup_teardown(file_made_meanwhile_is_not_replaced_either, setup,
						teardown),
		cmocka_unit_test_setup_teardown(vm_that_does_not_stop_runs_on, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk_leaves_the_vm_running, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled_save_leaves_the_vm_running, setup,
						teardown),
		cmocka_unit_test_setup_teardown(save_that_is_destroyed_leaves_no_file, setup,
						teardown),
		cmocka_unit_test_setup_teardown(host_that_cannot_run_it_refuses_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(vm_of_another_size_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(file_cut_anywhere_is_refused_before_anything_runs,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			file_altered_anywhere_is_refused_before_anything_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_after_the_end_are_refused, setup, teardown),
		cmocka_unit_test(what_is_no_saved_vm_is_told),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
