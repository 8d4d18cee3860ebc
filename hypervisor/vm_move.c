/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM on the move: what the migration protocol may do with it (migration/vm.h), on either side,
 * and what becomes of the VM when a move ends. See vm.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/console.h"
#include "hypervisor/migration/figures.h"
#include "hypervisor/migration/record.h"
#include "hypervisor/partition.h"
#include "hypervisor/vm_internal.h"
#include "hypervisor/vm_portals.h"

#define LOG_COMPONENT "vm"

/* Of the VM itself; all else is the partition's. */
#define VM_TAG STATE_TAG('V', 'M', '_', '_')

#define DISKS_AGAIN_MS 500

/* ---- ops of the source ---- */

static struct guest_memory *source_get_memory(void *ctx)
{
	return partition_get_memory(((struct vm *)ctx)->partition);
}

static int source_dirty_start(void *ctx)
{
	return partition_dirty_start(((struct vm *)ctx)->partition);
}

static void source_dirty_stop(void *ctx)
{
	partition_dirty_stop(((struct vm *)ctx)->partition);
}

static int source_dirty_fetch(void *ctx, size_t region, uint64_t *words, size_t word_count)
{
	return partition_dirty_fetch(((struct vm *)ctx)->partition, region, words, word_count);
}

static void source_throttle(void *ctx, uint32_t percent)
{
	partition_throttle(((struct vm *)ctx)->partition, percent);
}

static const char *source_get_definition(void *ctx, size_t *length)
{
	const struct vm *vm = ctx;

	*length = vm->definition_bytes;
	return vm->definition;
}

static int source_save_cpu(void *ctx, struct state_writer *writer)
{
	return partition_save_cpu(((struct vm *)ctx)->partition, writer);
}

static int source_save_portals(void *ctx, struct state_writer *writer)
{
	struct vm *vm = ctx;
	struct vm_portal portals[VM_MAX_PORTALS];
	size_t count = partition_get_portals(vm->partition, portals);

	vm_portals_save(portals, count, writer);
	return writer->error;
}

static int source_save_disks(void *ctx, struct state_writer *writer)
{
	return vm_storage_describe(((struct vm *)ctx)->storage, writer);
}

static int source_flush(void *ctx, bool begin)
{
	return vm_storage_flush_ahead(((struct vm *)ctx)->storage, begin);
}

static int state_write(struct vm *vm, struct state_writer *writer, struct vm_error *error)
{
	state_begin(writer, VM_TAG, 1, STATE_SKIPPABLE);
	state_put_u64(writer, vm_uptime_ms(vm));
	state_put_u32(writer, vm->reboots);
	state_end(writer);
	return partition_save(vm->partition, writer, error);
}

/* Takes the order away first: what is called may give the next one. */
static void pause_answer(struct vm *vm, int status, const struct vm_error *error)
{
	migration_done_fn done = vm->move.done;

	vm->move.done = NULL;
	vm->move.writer = NULL;
	if (done)
		done(vm->move.done_ctx, status, error);
}

static void on_partition_paused(void *ctx, int status, const struct vm_error *error)
{
	struct vm *vm = ctx;
	struct vm_error failure = {.code = EXIT_INTERNAL};

	if (status) { /* it has gone on by itself */
		pause_answer(vm, status, error);
		return;
	}
	if (!vm->move.writer)
		status = vm_error_set(&failure, EXIT_CANCELLED, -ECANCELED, "given up");
	else
		status = state_write(vm, vm->move.writer, &failure);
	if (status)
		partition_resume(vm->partition);
	else
		vm_set_state(vm, VM_STATE_PAUSED);
	pause_answer(vm, status, &failure);
}

static int source_pause_and_save(void *ctx, struct state_writer *writer, migration_done_fn done,
				 void *done_ctx)
{
	struct vm *vm = ctx;
	int result;

	if (vm->move.done || vm->state != VM_STATE_RUNNING)
		return -EBUSY;
	vm->move.writer = writer;
	vm->move.done = done;
	vm->move.done_ctx = done_ctx;
	result = partition_pause(vm->partition, on_partition_paused, vm);
	if (result) {
		vm->move.done = NULL;
		vm->move.writer = NULL;
	}
	return result;
}

static int source_release(void *ctx, struct vm_error *error)
{
	struct vm *vm = ctx;

	if (vm->state != VM_STATE_PAUSED)
		return vm_error_set(error, EXIT_INTERNAL, -EBUSY, "the VM is %s",
				    vm_state_name(vm->state));
	return vm_storage_release(vm->storage, error);
}

static void on_resume_again(void *ctx);

static void resume_try(struct vm *vm, uint32_t patience_ms)
{
	struct vm_error error;

	if (vm_storage_reopen(vm->storage, patience_ms, &error)) {
		log_error_limited("%s: it rests until it has its disks again: %s", vm->config->name,
				  error.message);
		if (event_loop_after_ms(vm->loop, DISKS_AGAIN_MS, on_resume_again, vm,
					&vm->move.again))
			log_error("%s: out of memory: it rests for good", vm->config->name);
		return;
	}
	partition_resume(vm->partition);
	vm_set_state(vm, VM_STATE_RUNNING);
}

/* Without patience: while it waits the loop turns, and the VM can be asked and stopped. */
static void on_resume_again(void *ctx)
{
	struct vm *vm = ctx;

	vm->move.again = NULL;
	resume_try(vm, 0);
}

static void source_resume(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->state == VM_STATE_PAUSED && !vm->move.departed && !vm->move.again)
		resume_try(vm, VM_STORAGE_PATIENCE_MS);
}

static void source_depart(void *ctx, migration_late_frame_fn fn, void *fn_ctx)
{
	struct vm *vm = ctx;

	vm->move.departed = true;
	partition_depart(vm->partition, fn, fn_ctx);
}

static const struct migration_source_vm_ops source_ops = {
	.get_memory = source_get_memory,
	.dirty_start = source_dirty_start,
	.dirty_stop = source_dirty_stop,
	.dirty_fetch = source_dirty_fetch,
	.throttle = source_throttle,
	.get_definition = source_get_definition,
	.save_cpu = source_save_cpu,
	.save_portals = source_save_portals,
	.save_disks = source_save_disks,
	.flush = source_flush,
	.pause_and_save = source_pause_and_save,
	.release = source_release,
	.resume = source_resume,
	.depart = source_depart,
};

/* ---- a move from here, begin to end ---- */

/* Keeps what is told of a move that ends. */
static void outcome_keep(struct vm_move *move)
{
	const struct migration_check *check = migration_source_get_check(move->source);

	migration_source_get_status(move->source, &move->status);
	free(move->check);
	move->check = check ? malloc(sizeof(*check)) : NULL;
	if (move->check)
		*move->check = *check;
}

static void source_end(struct vm_move *move)
{
	event_timer_cancel(move->over);
	move->over = NULL;
	migration_source_destroy(move->source);
	move->source = NULL;
	move->writer = NULL;
}

/* For who asks when this process has ended. */
static void figures_keep(const struct vm *vm)
{
	int result = migration_figures_write(vm->config->name, &vm->move.status, NULL);

	if (result)
		log_warn("%s: the figures of the move were not kept: %s", vm->config->name,
			 strerror(-result));
}

static void on_over(void *ctx)
{
	struct vm *vm = ctx;
	struct vm_move *move = &vm->move;
	bool stop_after = move->stop_after;

	move->over = NULL;
	source_end(move);
	move->stop_after = false;
	if (move->saves) /* a move's mover has done so itself */
		figures_keep(vm);
	if (move->moved) {
		char reason[VM_MESSAGE_BYTES];

		snprintf(reason, sizeof(reason), "%s %s", move->saves ? "saved to" : "moved to",
			 move->status.peer);
		vm_finish(vm, move->saves ? VM_STATE_SAVED : VM_STATE_MOVED, EXIT_OK, reason);
		return;
	}
	source_resume(vm);
	if (move->status.phase == MIGRATION_FAILED || move->status.phase == MIGRATION_CANCELLED)
		log_warn("%s: not %s: %s", vm->config->name, move->saves ? "saved" : "moved",
			 move->status.error.message);
	if (stop_after && vm_order_stop(vm))
		log_error("%s: out of memory: not stopped", vm->config->name);
	vm->state_changed(vm->ctx, vm, vm->state);
}

/* The end is dealt with in the loop's next round: the source may not be destroyed from within. */
static void on_source_ended(void *ctx, bool moved)
{
	struct vm *vm = ctx;
	struct vm_move *move = &vm->move;

	outcome_keep(move);
	move->moved = moved;
	if (!move->over && event_loop_after_ms(vm->loop, 0, on_over, vm, &move->over))
		log_error("%s: out of memory: the move does not end", vm->config->name);
}

void vm_move_abandon(struct vm *vm, const char *why)
{
	struct vm_move *move = &vm->move;

	if (!move->source)
		return;
	if (!move->over)
		outcome_keep(move);
	source_end(move);
	move->stop_after = false;
	if (move->status.phase < MIGRATION_DONE) {
		move->status.phase = MIGRATION_FAILED;
		vm_error_set(&move->status.error, EXIT_CANNOT_MOVE, 0, "given up: %s", why);
		figures_keep(vm);
	}
	log_warn("%s: not %s: %s", vm->config->name, move->saves ? "saved" : "moved", why);
}

void vm_move_fini(struct vm *vm)
{
	source_end(&vm->move);
	free(vm->move.check);
	vm->move.check = NULL;
}

static int move_check(const struct vm *vm, struct vm_error *error)
{
	if (vm->move.source)
		return vm_error_set(error, EXIT_STATE, -EBUSY, "%s is being %s already",
				    vm->config->name, vm->move.saves ? "saved" : "moved");
	if (vm->state != VM_STATE_RUNNING)
		return vm_error_set(error, EXIT_STATE, -EINVAL, "%s is %s, not running",
				    vm->config->name, vm_state_name(vm->state));
	if (vm->stop_deadline || vm->order)
		return vm_error_set(error, EXIT_STATE, -EBUSY, "%s is being stopped",
				    vm->config->name);
	if (vm->reboot_again)
		return vm_error_set(error, EXIT_STATE, -EBUSY,
				    "%s reboots, once a disk that hangs has answered",
				    vm->config->name);
	return 0;
}

int vm_migrate(struct vm *vm, const struct migration_options *options, struct vm_error *error)
{
	int result = move_check(vm, error);

	if (result)
		return result;
	vm->move.saves = false;
	return migration_source_start(vm->loop, options, vm->config->name, &source_ops, vm,
				      on_source_ended, vm, &vm->move.source, error);
}

int vm_save(struct vm *vm, const char *path, struct vm_error *error)
{
	int result = move_check(vm, error);

	if (result)
		return result;
	vm->move.saves = true;
	return migration_save_start(vm->loop, path, vm->config->name, &source_ops, vm,
				    on_source_ended, vm, &vm->move.source, error);
}

int vm_cancel_migration(struct vm *vm, struct vm_error *error)
{
	if (!vm->move.source || vm->move.over)
		return vm_error_set(error, EXIT_STATE, -EINVAL, "%s is not being moved",
				    vm->config->name);
	if (migration_source_cancel(vm->move.source))
		return vm_error_set(error, EXIT_STATE, -EBUSY,
				    "%s is handed over: too late to cancel", vm->config->name);
	return 0;
}

int vm_resolve_migration(struct vm *vm, bool there, struct vm_error *error)
{
	if (!vm->move.source || migration_source_resolve(vm->move.source, there))
		return vm_error_set(error, EXIT_STATE, -EINVAL,
				    "no move of %s waits for an outcome", vm->config->name);
	return 0;
}

void vm_get_migration(const struct vm *vm, struct migration_status *status,
		      const struct migration_check **check)
{
	const struct vm_move *move = &vm->move;

	if (move->source && !move->over) {
		migration_source_get_status(move->source, status);
		*check = migration_source_get_check(move->source);
	} else {
		*status = move->status;
		*check = move->check;
	}
}

/* ---- a move to here ---- */

int vm_receive(struct vm *vm, bool from_file, struct vm_error *error)
{
	int result;

	if (vm->state != VM_STATE_CREATED)
		return vm_error_set(error, EXIT_STATE, -EALREADY, "the VM is %s already",
				    vm_state_name(vm->state));
	result = console_create(vm->config->console, vm->console_path, vm->loop, &vm->console,
				error);
	if (result)
		return result;
	result = vm_storage_create(vm->config, vm->loop,
				   from_file ? VM_STORAGE_FILE : VM_STORAGE_RECEIVED, &vm->storage,
				   error);
	if (!result)
		result = vm_make_partition(vm, true, true, error);
	if (result) {
		vm_storage_destroy(vm->storage);
		vm->storage = NULL;
		console_destroy(vm->console);
		vm->console = NULL;
		return result;
	}
	vm_set_state(vm, VM_STATE_INCOMING);
	return 0;
}

struct guest_memory *vm_get_memory(struct vm *vm)
{
	return partition_get_memory(vm->partition);
}

/* What is the VM's own; all of it may be missing. */
static int vm_part_restore(struct vm *vm, struct state_reader reader)
{
	struct state_reader section;
	int result;

	while ((result = state_next(&reader, &section)) > 0) {
		if (section.tag != VM_TAG || state_check_version(&section, 1))
			continue;
		vm->uptime_before_ms = state_get_u64(&section);
		vm->reboots = state_get_u32(&section);
		if (section.error)
			return -EPROTO;
	}
	return result;
}

int vm_restore(struct vm *vm, struct state_reader *reader, migration_done_fn done, void *done_ctx)
{
	int result = vm->state == VM_STATE_INCOMING ? vm_part_restore(vm, *reader) : -EBUSY;

	return result ? result : partition_restore(vm->partition, reader, done, done_ctx);
}

int vm_go(struct vm *vm, bool announce, struct vm_error *error)
{
	int result;

	if (vm->state != VM_STATE_INCOMING)
		return vm_error_set(error, EXIT_INTERNAL, -EBUSY, "the VM is %s",
				    vm_state_name(vm->state));
	/* The other host has let go of them by now; nobody has been told yet that the VM runs here.
	 */
	result = vm_storage_reopen(vm->storage, VM_STORAGE_PATIENCE_MS, error);
	if (!result)
		result = partition_go(vm->partition, announce, error);
	if (result) {
		struct vm_error ignored;

		(void)vm_storage_release(vm->storage, &ignored); /* the source wants them back */
		return result;
	}
	vm->started_ns = monotonic_ns();
	log_info("%s: running here now: %u VPs, %llu MiB", vm->config->name, vm->config->vps,
		 (unsigned long long)(vm->config->memory_bytes >> 20));
	vm_set_state(vm, VM_STATE_RUNNING);
	return 0;
}

void vm_check_disks(struct vm *vm, struct state_reader *disks, struct migration_check *findings)
{
	vm_storage_check(vm->storage, disks, findings);
}

void vm_inject(struct vm *vm, uint32_t nic, const void *frame, size_t length)
{
	if (vm->partition)
		partition_inject(vm->partition, nic, frame, length);
}
