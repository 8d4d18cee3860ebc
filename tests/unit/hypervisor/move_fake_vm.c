/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM of 12 MiB that writes to its memory and keeps the witness's clock. One thread is its VP; all
 * else is the loop's.
 */
#include "tests/unit/hypervisor/move_fake_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/state.h"
#include "hypervisor/migration/check.h"
#include "hypervisor/migration/definition.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/migration/vm.h"
#include "hypervisor/vm_lock.h"
#include "hypervisor/vm_paths.h"
#include "vmbus/guest_memory.h"

#define MIB	    (UINT64_C(1) << 20)
#define LOW_BYTES   (8 * MIB)
#define HIGH_GPA    (16 * MIB)
#define HIGH_BYTES  (4 * MIB)
#define TAG_FAKE    STATE_TAG('F', 'A', 'K', 'E')
#define TAG_CPU	    STATE_TAG('C', 'P', 'U', 'I')
#define TAG_PORTALS STATE_TAG('P', 'O', 'R', 'T')
#define LATE_FRAMES 5
#define LOOK_MS	    3

#define DEFINITION "name: " MOVE_VM "\nmemory: 64M\nkernel: /bin/sh\n"

struct fake_vm {
	struct move_world *world;
	struct move_witness *witness;
	enum move_host host;
	struct event_loop *loop;
	struct guest_memory *memory;
	int lock;
	char definition[256];
	pthread_t vp;
	bool vp_runs;
	_Atomic bool vp_stop;
	uint64_t clock; /* the VP's while it runs */
	uint64_t saved_hash;
	struct migration_source *source;
	struct migration_target *target;
	migration_done_fn done;
	void *done_ctx;
	struct state_writer *writer;
	struct state_reader *reader;
	migration_late_frame_fn late;
	void *late_ctx;
	uint32_t late_left;
	bool moved_away;
};

static int orders[ORDER_COUNT]; /* an eventfd each */

/* ---- signals ---- */

static void on_order(int number)
{
	const uint64_t one = 1;

	(void)!write(orders[number - SIGRTMIN], &one, sizeof(one));
}

/* Every TCP connection of this process is cut, as if the network were. */
static void on_cut(int number)
{
	int saved = errno;

	(void)number;
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer = {0};
		socklen_t length = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
		    peer.sin_family == AF_INET)
			shutdown(fd, SHUT_RDWR);
	}
	errno = saved;
}

static void signals_set(void)
{
	struct sigaction action = {.sa_handler = on_order, .sa_flags = SA_RESTART};

	for (int order = 0; order < ORDER_COUNT; order++) {
		orders[order] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		sigaction(SIGRTMIN + order, &action, NULL);
	}
	action.sa_handler = on_cut;
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- the VP ---- */

/* A guest writes while its memory is copied: what is torn is dirty, and is sent again. That is no
 * fault of ours, so ThreadSanitizer does not see the guest's part. */
__attribute__((no_sanitize("thread"))) static void guest_store(struct fake_vm *vm, uint64_t gpa,
							       uint64_t value)
{
	const struct guest_memory_region *region =
		guest_memory_region_at(vm->memory, gpa >= HIGH_GPA);

	*(volatile uint64_t *)((uint8_t *)region->hva + (gpa - region->gpa)) = value;
}

static void *vp_run(void *ctx)
{
	struct fake_vm *vm = ctx;
	struct move_witness *witness = vm->witness;
	unsigned int seed = (unsigned int)vm->clock;

	while (!atomic_load(&vm->vp_stop)) {
		uint32_t pages = atomic_load(&witness->dirty_pages);
		uint64_t expected = vm->clock;

		for (uint32_t i = 0; i < pages; i++) {
			uint64_t page = (uint64_t)rand_r(&seed) % (12 * MIB / GUEST_PAGE_SIZE);
			uint64_t gpa = page * GUEST_PAGE_SIZE;

			gpa = gpa < LOW_BYTES ? gpa : gpa - LOW_BYTES + HIGH_GPA;
			gpa += expected % 500 * 8;
			guest_store(vm, gpa, expected);
			guest_memory_mark_dirty(vm->memory, gpa, 8);
		}
		if (!atomic_compare_exchange_strong(&witness->clock, &expected, expected + 1))
			atomic_fetch_add(&witness->violations, 1);
		vm->clock++;
		usleep(200);
	}
	return NULL;
}

static void vp_start(struct fake_vm *vm)
{
	atomic_store(&vm->vp_stop, false);
	vm->vp_runs = pthread_create(&vm->vp, NULL, vp_run, vm) == 0;
}

static void vp_end(struct fake_vm *vm)
{
	if (!vm->vp_runs)
		return;
	atomic_store(&vm->vp_stop, true);
	pthread_join(vm->vp, NULL);
	vm->vp_runs = false;
}

/* ---- memory ---- */

static int memory_make(struct fake_vm *vm)
{
	struct guest_memory_region regions[2] = {
		{.gpa = 0, .size_bytes = LOW_BYTES},
		{.gpa = HIGH_GPA, .size_bytes = HIGH_BYTES, .fd_offset = LOW_BYTES},
	};
	int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0 || ftruncate(fd, (off_t)(LOW_BYTES + HIGH_BYTES)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return -errno;
	regions[0].fd = regions[1].fd = fd;
	rc = guest_memory_create(regions, 2, -1, &vm->memory);
	close(fd);
	return rc;
}

static uint64_t memory_hash(struct fake_vm *vm)
{
	uint64_t hash = 14695981039346656037u;

	for (size_t r = 0; r < guest_memory_region_count(vm->memory); r++) {
		const struct guest_memory_region *region = guest_memory_region_at(vm->memory, r);
		const uint64_t *words = region->hva;

		for (size_t i = 0; i < region->size_bytes / sizeof(*words); i++)
			hash = (hash ^ words[i]) * 1099511628211u;
	}
	return hash;
}

/* ---- the source's ops ---- */

static struct guest_memory *op_get_memory(void *ctx)
{
	return ((struct fake_vm *)ctx)->memory;
}

static int op_dirty_start(void *ctx)
{
	(void)ctx;
	return 0;
}

static void op_dirty_stop(void *ctx)
{
	(void)ctx;
}

static int op_dirty_fetch(void *ctx, size_t region, uint64_t *words, size_t word_count)
{
	struct fake_vm *vm = ctx;
	const struct guest_memory_region *found = guest_memory_region_at(vm->memory, region);
	uint64_t *fetched = calloc(word_count, sizeof(*fetched));
	int rc;

	if (!fetched)
		return -ENOMEM;
	rc = guest_memory_dirty_fetch_and_clear(vm->memory, found->gpa / GUEST_PAGE_SIZE, fetched,
						word_count);
	for (size_t i = 0; i < word_count; i++)
		words[i] |= fetched[i];
	free(fetched);
	return rc;
}

static void op_throttle(void *ctx, uint32_t percent)
{
	struct fake_vm *vm = ctx;

	if (percent > vm->witness->throttle_most)
		vm->witness->throttle_most = percent;
	if (percent >= 40)
		vm->witness->dirty_pages = 0;
}

static const char *op_get_definition(void *ctx, size_t *length)
{
	struct fake_vm *vm = ctx;

	*length = strlen(vm->definition);
	return vm->definition;
}

static int op_save_cpu(void *ctx, struct state_writer *writer)
{
	(void)ctx;
	state_begin(writer, TAG_CPU, 1, 1);
	state_put_u32(writer, 42);
	state_end(writer);
	return 0;
}

static int op_save_portals(void *ctx, struct state_writer *writer)
{
	(void)ctx;
	state_begin(writer, TAG_PORTALS, 1, 1);
	state_put_u32(writer, 3260);
	state_end(writer);
	return 0;
}

static int op_flush(void *ctx, bool begin)
{
	struct move_witness *witness = ((struct fake_vm *)ctx)->witness;

	if (begin)
		atomic_store(&witness->flushed, false);
	else if (witness->flush_looks > 0)
		atomic_fetch_sub(&witness->flush_looks, 1);
	atomic_store(&witness->flushed, witness->flush_looks == 0);
	return witness->flush_looks ? -EINPROGRESS : 0;
}

static void on_paused(void *ctx)
{
	struct fake_vm *vm = ctx;

	state_begin(vm->writer, TAG_FAKE, 1, 1);
	state_put_u64(vm->writer, vm->clock);
	state_put_u64(vm->writer, memory_hash(vm));
	state_end(vm->writer);
	vm->done(vm->done_ctx, 0, NULL);
}

static int op_pause_and_save(void *ctx, struct state_writer *writer, migration_done_fn done,
			     void *done_ctx)
{
	struct fake_vm *vm = ctx;
	struct event_timer *timer;

	vp_end(vm);
	atomic_store(&vm->witness->flushed_at_stop, vm->witness->flushed);
	vm->writer = writer;
	vm->done = done;
	vm->done_ctx = done_ctx;
	return event_loop_after_ms(vm->loop, 1, on_paused, vm, &timer);
}

static void op_resume(void *ctx)
{
	vp_start(ctx);
}

static void on_late(void *ctx)
{
	struct fake_vm *vm = ctx;
	uint8_t frame[60];
	struct event_timer *timer;

	memset(frame, (int)vm->late_left, sizeof(frame));
	vm->late(vm->late_ctx, 1, frame, sizeof(frame));
	atomic_fetch_add(&vm->witness->late_sent, 1);
	if (--vm->late_left)
		event_loop_after_ms(vm->loop, 20, on_late, vm, &timer);
}

static void op_depart(void *ctx, migration_late_frame_fn fn, void *fn_ctx)
{
	struct fake_vm *vm = ctx;
	struct event_timer *timer;

	vm->late = fn;
	vm->late_ctx = fn_ctx;
	vm->late_left = LATE_FRAMES;
	event_loop_after_ms(vm->loop, 1, on_late, vm, &timer);
}

static const struct migration_source_vm_ops source_ops = {
	.get_memory = op_get_memory,
	.dirty_start = op_dirty_start,
	.dirty_stop = op_dirty_stop,
	.dirty_fetch = op_dirty_fetch,
	.throttle = op_throttle,
	.get_definition = op_get_definition,
	.save_cpu = op_save_cpu,
	.save_portals = op_save_portals,
	.flush = op_flush,
	.pause_and_save = op_pause_and_save,
	.resume = op_resume,
	.depart = op_depart,
};

/* ---- the target's ops ---- */

static int op_make(void *ctx, const char *definition, size_t length, struct vm_error *error)
{
	struct fake_vm *vm = ctx;

	if (vm->witness->fail_make || length >= sizeof(vm->definition))
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "not enough memory; free some");
	vm->lock = vm_lock_take(MOVE_VM, 0);
	if (vm->lock < 0)
		return vm_error_set(error, EXIT_EXISTS, vm->lock, "the name is in use");
	memcpy(vm->definition, definition, length);
	atomic_store(&vm->witness->vm_pid[vm->host], getpid());
	return memory_make(vm);
}

static int op_check_cpu(void *ctx, struct state_reader *section, struct vm_error *error)
{
	(void)ctx;
	if (section->tag == TAG_CPU && state_get_u32(section) == 42)
		return 0;
	return vm_error_set(error, EXIT_CANNOT_MOVE, -EOPNOTSUPP, "another processor");
}

static void on_checked(void *ctx)
{
	struct fake_vm *vm = ctx;

	vm->done(vm->done_ctx, 0, NULL);
}

static int op_check(void *ctx, struct state_reader *portals, struct migration_check *findings,
		    migration_done_fn done, void *done_ctx)
{
	struct fake_vm *vm = ctx;
	struct event_timer *timer;

	if (!portals || portals->tag != TAG_PORTALS || state_get_u32(portals) != 3260)
		migration_check_add(findings, MIGRATION_STOPS, "portal", "no portal was told");
	migration_check_add(findings, MIGRATION_HARMS, "uplink", "no uplink has a link");
	vm->done = done;
	vm->done_ctx = done_ctx;
	return event_loop_after_ms(vm->loop, 1, on_checked, vm, &timer);
}

static void on_restored(void *ctx)
{
	struct fake_vm *vm = ctx;
	struct vm_error error = {.code = EXIT_BAD_STATE, .message = "it is not to be restored"};
	struct state_reader section;
	bool ok = state_next(vm->reader, &section) == 1 && section.tag == TAG_FAKE;

	if (!ok || vm->witness->fail_restore) {
		vm->done(vm->done_ctx, -EPROTO, &error);
		return;
	}
	vm->clock = state_get_u64(&section);
	if (state_get_u64(&section) != memory_hash(vm))
		atomic_fetch_add(&vm->witness->differences, 1);
	vm->done(vm->done_ctx, 0, NULL);
}

static int op_restore(void *ctx, struct state_reader *reader, migration_done_fn done,
		      void *done_ctx)
{
	struct fake_vm *vm = ctx;
	struct event_timer *timer;

	vm->reader = reader;
	vm->done = done;
	vm->done_ctx = done_ctx;
	return event_loop_after_ms(vm->loop, 1, on_restored, vm, &timer);
}

static int op_go(void *ctx, bool announce, struct vm_error *error)
{
	struct fake_vm *vm = ctx;

	if (vm->witness->fail_go || !announce)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "it does not go");
	vp_start(vm);
	return 0;
}

static void op_inject(void *ctx, uint32_t nic, const void *frame, size_t length)
{
	struct fake_vm *vm = ctx;

	if (nic == 1 && length == 60 && ((const uint8_t *)frame)[0] != 0)
		atomic_fetch_add(&vm->witness->late_injected, 1);
}

static void op_drop(void *ctx)
{
	struct fake_vm *vm = ctx;

	guest_memory_destroy(vm->memory);
	vm->memory = NULL;
	if (vm->lock >= 0)
		close(vm->lock);
	vm->lock = -1;
	atomic_store(&vm->witness->vm_pid[vm->host], 0);
}

static const struct migration_target_vm_ops target_ops = {
	.make = op_make,
	.check_cpu = op_check_cpu,
	.check = op_check,
	.get_memory = op_get_memory,
	.restore = op_restore,
	.go = op_go,
	.inject = op_inject,
	.drop = op_drop,
};

/* ---- the processes ---- */

static void check_look(struct fake_vm *vm)
{
	const struct migration_check *check = migration_source_get_check(vm->source);

	vm->witness->checked = check != NULL;
	vm->witness->findings = check ? check->count : 0;
}

/* As an API's client that looks again and again. */
static void on_look(void *ctx)
{
	struct fake_vm *vm = ctx;
	struct event_timer *timer;

	if (!vm->source)
		return;
	check_look(vm);
	event_loop_after_ms(vm->loop, LOOK_MS, on_look, vm, &timer);
}

static void on_source_ended(void *ctx, bool moved)
{
	struct fake_vm *vm = ctx;
	struct migration_status status;

	check_look(vm);
	migration_source_get_status(vm->source, &status);
	vm->witness->phase = (int32_t)status.phase;
	vm->witness->code = (int32_t)status.error.code;
	if (moved) {
		atomic_store(&vm->witness->vm_pid[vm->host], 0);
		atomic_fetch_add(&vm->witness->moved, 1);
		vm->moved_away = true;
		event_loop_stop(vm->loop);
	} else {
		migration_source_destroy(vm->source);
		vm->source = NULL;
	}
	atomic_fetch_add(&vm->witness->ended, 1);
}

static void move_start(struct fake_vm *vm)
{
	struct migration_options options = vm->world->options;
	struct vm_error error = {0};

	snprintf(options.host, sizeof(options.host), "%s",
		 world_address(vm->host == HOST_A ? HOST_B : HOST_A));
	options.port = vm->world->port;
	if (vm->source || migration_source_start(vm->loop, &options, MOVE_VM, &source_ops, vm,
						 on_source_ended, vm, &vm->source, &error))
		fprintf(stderr, "no move: %s\n", error.message);
	else
		on_look(vm);
}

static void order_resolve(struct fake_vm *vm, bool there)
{
	if (vm->source)
		migration_source_resolve(vm->source, there);
	if (vm->target)
		migration_target_resolve(vm->target, there);
}

static void on_orders(void *ctx, int fd, uint32_t events)
{
	struct fake_vm *vm = ctx;
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return;
	if (fd == orders[ORDER_MOVE])
		move_start(vm);
	else if (fd == orders[ORDER_CANCEL] && vm->source)
		vm->witness->cancel_result = migration_source_cancel(vm->source);
	else if (fd == orders[ORDER_HERE] || fd == orders[ORDER_THERE])
		order_resolve(vm, fd == orders[ORDER_THERE]);
	else if (fd == orders[ORDER_END])
		event_loop_stop(vm->loop);
}

static int vm_loop(struct fake_vm *vm)
{
	struct event_watch *watch;

	for (int order = 0; order < ORDER_COUNT; order++)
		event_loop_watch(vm->loop, orders[order], EPOLLIN, on_orders, vm, &watch);
	event_loop_run(vm->loop);
	migration_source_destroy(vm->source);
	migration_target_destroy(vm->target);
	vp_end(vm);
	guest_memory_destroy(vm->memory);
	event_loop_destroy(vm->loop);
	if (vm->lock >= 0)
		close(vm->lock);
	return EXIT_OK;
}

static int vm_prepare(struct fake_vm *vm, struct move_world *world, enum move_host host)
{
	*vm = (struct fake_vm){.world = world, .witness = world->witness, .host = host, .lock = -1};
	signals_set();
	return event_loop_create(&vm->loop);
}

static int definition_store(void)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/vms", vm_paths_state_dir());
	if (vm_paths_make_dir(path) || vm_path(VM_PATH_DEFINITION, MOVE_VM, path, sizeof(path)))
		return -EIO;
	file = fopen(path, "w");
	if (!file)
		return -errno;
	fputs(DEFINITION, file);
	return fclose(file);
}

int fake_source_run(struct move_world *world, enum move_host host, bool move)
{
	static struct fake_vm vm;
	struct vm_error error = {0};

	if (vm_prepare(&vm, world, host))
		return EXIT_INTERNAL;
	vm.lock = vm_lock_take(MOVE_VM, 3000);
	if (vm.lock < 0 || migration_resolve_before_start(MOVE_VM, &error)) {
		fprintf(stderr, "no start: %s\n", error.message);
		return EXIT_STATE;
	}
	snprintf(vm.definition, sizeof(vm.definition), "%s", DEFINITION);
	if (definition_store() || memory_make(&vm))
		return EXIT_INTERNAL;
	vm.clock = atomic_load(&world->witness->clock); /* a new life */
	atomic_store(&world->witness->vm_pid[host], getpid());
	vp_start(&vm);
	if (move)
		move_start(&vm);
	return vm_loop(&vm);
}

static void on_target_ended(void *ctx, bool moved)
{
	struct fake_vm *vm = ctx;

	if (!moved)
		event_loop_stop(vm->loop);
	migration_target_destroy(vm->target);
	vm->target = NULL;
}

int fake_target_run(struct move_world *world, enum move_host host, int fd)
{
	static struct fake_vm vm;
	struct vm_error error = {0};

	if (vm_prepare(&vm, world, host))
		return EXIT_INTERNAL;
	if (migration_target_start(vm.loop, fd, &target_ops, &vm, on_target_ended, &vm, &vm.target,
				   &error)) {
		fprintf(stderr, "not served: %s\n", error.message);
		return EXIT_INTERNAL;
	}
	return vm_loop(&vm);
}
