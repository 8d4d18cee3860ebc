/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A saved VM's file, restored into a VM that takes everything: either the input as it is, or, so
 * that the checks in the frames do not keep everything else from being reached, as a row of
 * {type, length of two bytes, payload} that gets its checks here. The VM must be dropped or run,
 * and run only where all of the file was read.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/migration/message.h"
#include "hypervisor/migration/migration.h"
#include "hypervisor/migration/vm.h"
#include "tests/unit/vmbus/memory_fixture.h"
#include "vmbus/guest_memory.h"

#define PAGES	    64
#define FRAME_HEAD  3
#define PATIENCE_MS 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct vm {
	struct guest_memory *memory;
	bool made, restored, runs, ended;
};

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static int vm_make(void *ctx, const char *definition, size_t length, struct vm_error *error)
{
	struct vm *vm = ctx;

	(void)error;
	vm->made = true;
	return length > 0 && definition[length - 1] == 'X' ? -EINVAL : 0;
}

static int vm_check_cpu(void *ctx, struct state_reader *section, struct vm_error *error)
{
	(void)ctx;
	(void)error;
	state_get_u64(section);
	return 0;
}

static struct guest_memory *vm_memory(void *ctx)
{
	return ((struct vm *)ctx)->memory;
}

static int vm_restore(void *ctx, struct state_reader *reader, migration_done_fn done,
		      void *done_ctx)
{
	struct vm *vm = ctx;
	struct state_reader section;

	REQUIRE(vm->made && !vm->restored);
	vm->restored = true;
	while (state_next(reader, &section) == 1)
		state_get_u64(&section);
	done(done_ctx, reader->error, NULL);
	return 0;
}

static int vm_go(void *ctx, bool announce, struct vm_error *error)
{
	struct vm *vm = ctx;

	(void)announce;
	(void)error;
	REQUIRE(vm->restored);
	vm->runs = true;
	return 0;
}

static void vm_drop(void *ctx)
{
	REQUIRE(!((struct vm *)ctx)->runs);
}

static void vm_ended(void *ctx, bool moved)
{
	struct vm *vm = ctx;

	REQUIRE(moved == vm->runs);
	vm->ended = true;
}

static const struct migration_target_vm_ops ops = {
	.make = vm_make,
	.check_cpu = vm_check_cpu,
	.get_memory = vm_memory,
	.restore = vm_restore,
	.go = vm_go,
	.drop = vm_drop,
};

static int fd_write(void *ctx, const void *from, size_t length, struct deadline deadline)
{
	(void)deadline;
	REQUIRE(write(*(int *)ctx, from, length) == (ssize_t)length);
	return 0;
}

/* The frames of the input behind a good header, each with its check. */
static void frames_write(int fd, const uint8_t *data, size_t size)
{
	static const struct migration_channel_ops channel_ops = {.write = fd_write};
	uint8_t header[sizeof(struct migration_file_header)] = MIGRATION_FILE_MAGIC "\1\0\1";
	struct migration_channel channel;

	migration_channel_init(&channel, &channel_ops, &fd, true);
	fd_write(&fd, header, sizeof(header), deadline_in_ms(0));
	while (size >= FRAME_HEAD) {
		size_t length = get_le16(data + 1);

		if (length > size - FRAME_HEAD)
			length = size - FRAME_HEAD;
		REQUIRE(migration_message_send(&channel, data[0], data + FRAME_HEAD, length,
					       deadline_in_ms(0)) == 0);
		data += FRAME_HEAD + length;
		size -= FRAME_HEAD + length;
	}
}

static void restore_run(struct event_loop *loop, struct vm *vm, const char *path)
{
	struct deadline deadline = deadline_in_ms(PATIENCE_MS);
	struct migration_target *target;
	struct vm_error error = {0};

	if (migration_restore_start(loop, path, &ops, vm, vm_ended, vm, &target, &error) < 0) {
		REQUIRE(error.code != EXIT_OK && *error.message);
		return;
	}
	while (!vm->ended && !deadline_passed(deadline))
		event_loop_run_once(loop, 100);
	REQUIRE(vm->ended);
	migration_target_destroy(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory *memory;
	static struct event_loop *loop;
	struct vm vm = {0};
	char path[64];
	int fd;

	if (!memory) {
		log_set_level(LOG_LEVEL_ERROR);
		memory = fixture_memory(PAGES);
		REQUIRE(event_loop_create(&loop) == 0);
	}
	if (size == 0)
		return 0;
	vm.memory = memory;
	fd = memfd_create("saved", MFD_CLOEXEC);
	REQUIRE(fd >= 0);
	if (data[0] == 'L')
		REQUIRE(write(fd, data, size) == (ssize_t)size);
	else
		frames_write(fd, data, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	restore_run(loop, &vm, path);
	close(fd);
	return 0;
}
