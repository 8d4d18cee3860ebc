/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a VM: start, stop, reboot, crash. See vm.h.
 */
#include "hypervisor/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/console.h"
#include "hypervisor/engine.h"
#include "hypervisor/partition.h"
#include "hypervisor/vm_internal.h"

#define LOG_COMPONENT "vm"

/* A guest that triple-faults so soon and so often will not get further the next time. */
#define FAULT_SOON_MS	10000
#define FAULTS_TO_CRASH 3

#define REBOOT_PATIENCE_MS 200 /* for disks that are merely busy */
#define REBOOT_LOOK_MS	   200

const char *vm_state_name(enum vm_state state)
{
	static const char *const names[] = {
		[VM_STATE_CREATED] = "created",	  [VM_STATE_RUNNING] = "running",
		[VM_STATE_STOPPED] = "stopped",	  [VM_STATE_CRASHED] = "crashed",
		[VM_STATE_INCOMING] = "incoming", [VM_STATE_PAUSED] = "paused",
		[VM_STATE_MOVED] = "moved",	  [VM_STATE_SAVED] = "saved",
	};

	return names[state];
}

bool vm_state_is_final(enum vm_state state)
{
	return state == VM_STATE_STOPPED || state == VM_STATE_CRASHED || state == VM_STATE_MOVED ||
	       state == VM_STATE_SAVED;
}

const char *vm_nic_link_name(enum vm_nic_link link)
{
	static const char *const names[] = {
		[VM_NIC_DISCONNECTED] = "disconnected",
		[VM_NIC_CONNECTED] = "connected",
		[VM_NIC_OPEN] = "open",
	};

	return names[link];
}

int vm_create(const struct vm_setup *setup, struct vm **vm, struct vm_error *error)
{
	const struct vm_config *config = setup->config;
	const char *path = config->console_path ? config->console_path : setup->console_path;
	struct vm *made = calloc(1, sizeof(*made));

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	if (config->console == VM_CONSOLE_STDIO)
		path = NULL;
	else if (!path) {
		free(made);
		return vm_error_set(error, EXIT_CONFIG, -EINVAL, "the console has no path");
	}
	made->config = config;
	made->definition = setup->definition;
	made->definition_bytes = setup->definition_bytes;
	made->loop = setup->loop;
	made->console_path = path ? strdup(path) : NULL;
	made->state_changed = setup->state_changed;
	made->ctx = setup->ctx;
	made->engine = setup->engine;
	made->end_ms = VM_END_MS;
	if (path && !made->console_path) {
		free(made);
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	}
	*vm = made;
	return 0;
}

static void timers_cancel(struct vm *vm)
{
	event_timer_cancel(vm->stop_deadline);
	vm->stop_deadline = NULL;
	event_timer_cancel(vm->move.again);
	vm->move.again = NULL;
	event_timer_cancel(vm->order);
	vm->order = NULL;
	event_timer_cancel(vm->reboot_again);
	vm->reboot_again = NULL;
}

/*
 * Partition and disks go. Where a disk hangs they cannot: its I/O may still write to the guest's
 * memory. They are left then, with *error, for the end of the process, which is near.
 */
static void machine_leave(struct vm *vm, struct vm_error *error)
{
	if (vm->left)
		return;
	if (vm->partition)
		vm->left = partition_halt(vm->partition, true, vm->end_ms, error) != 0;
	else
		vm->left = vm_storage_drain(vm->storage, true, vm->end_ms, error) != 0;
	if (vm->left) {
		log_error("%s: %s, for %u s by now: what was not flushed there may be lost",
			  vm->config->name, error->message, vm->end_ms / 1000);
		return;
	}
	partition_destroy(vm->partition);
	vm->partition = NULL;
	vm_storage_destroy(vm->storage);
	vm->storage = NULL;
}

void vm_destroy(struct vm *vm)
{
	struct vm_error error;

	if (!vm)
		return;
	timers_cancel(vm);
	vm_move_fini(vm);
	machine_leave(vm, &error);
	console_destroy(vm->console);
	free(vm->console_path);
	free(vm);
}

void vm_set_state(struct vm *vm, enum vm_state state)
{
	vm->state = state;
	vm->state_changed(vm->ctx, vm, state);
}

void vm_finish(struct vm *vm, enum vm_state state, enum exit_code code, const char *reason)
{
	struct vm_error error = {0};

	timers_cancel(vm);
	machine_leave(vm, &error);
	vm->exit_code = code;
	if (vm->left)
		snprintf(vm->reason, sizeof(vm->reason), "%.200s; %.300s", reason, error.message);
	else
		strncpy(vm->reason, reason, sizeof(vm->reason) - 1);
	reason = vm->reason;
	if (state == VM_STATE_CRASHED)
		log_error("%s: %s", vm->config->name, reason);
	else
		log_info("%s: %s", vm->config->name, reason);
	vm_set_state(vm, state);
}

static void on_ended(void *ctx, enum partition_end end, const char *text);

int vm_make_partition(struct vm *vm, bool incoming, bool must_reach_switch, struct vm_error *error)
{
	const struct partition_config config = {
		.vm = vm->config,
		.loop = vm->loop,
		.console = vm->console,
		.engine = vm->engine,
		.storage = vm->storage,
		.must_reach_switch = must_reach_switch,
		.incoming = incoming,
		.ended = on_ended,
		.ctx = vm,
	};

	return partition_create(&config, &vm->partition, error);
}

static int partition_run(struct vm *vm, bool must_reach_switch, struct vm_error *error)
{
	int result = vm_make_partition(vm, false, must_reach_switch, error);

	if (result)
		return result;
	vm->started_ns = monotonic_ns();
	vm->uptime_before_ms = 0;
	result = partition_start(vm->partition, error);
	if (result) {
		partition_destroy(vm->partition);
		vm->partition = NULL;
	}
	return result;
}

int vm_start(struct vm *vm, struct vm_error *error)
{
	int result;

	if (vm->state != VM_STATE_CREATED)
		return vm_error_set(error, EXIT_STATE, -EALREADY, "the VM is %s already",
				    vm_state_name(vm->state));
	result = console_create(vm->config->console, vm->console_path, vm->loop, &vm->console,
				error);
	if (result)
		return result;
	result = vm_storage_create(vm->config, vm->loop, VM_STORAGE_HERE, &vm->storage, error);
	if (!result)
		result = partition_run(vm, true, error);
	if (result) {
		vm_storage_destroy(vm->storage);
		vm->storage = NULL;
		console_destroy(vm->console);
		vm->console = NULL;
		return result;
	}
	log_info("%s: running: %u VPs, %llu MiB", vm->config->name, vm->config->vps,
		 (unsigned long long)(vm->config->memory_bytes >> 20));
	vm_set_state(vm, VM_STATE_RUNNING);
	return 0;
}

static void on_reboot_again(void *ctx);

/* The guest of the next partition may not be overtaken by what the last one has under way. */
static bool reboot_waits(struct vm *vm, uint32_t patience_ms)
{
	struct vm_error error;

	if (!partition_halt(vm->partition, false, patience_ms, &error))
		return false;
	log_warn_limited("%s: its reboot waits: %s", vm->config->name, error.message);
	if (!event_loop_after_ms(vm->loop, REBOOT_LOOK_MS, on_reboot_again, vm, &vm->reboot_again))
		return true;
	log_error("%s: out of memory: nothing else is done meanwhile", vm->config->name);
	return false;
}

static void reboot_try(struct vm *vm, uint32_t patience_ms)
{
	struct vm_error error;

	if (reboot_waits(vm, patience_ms))
		return;
	partition_destroy(vm->partition);
	vm->partition = NULL;
	if (partition_run(vm, false, &error)) {
		vm_finish(vm, VM_STATE_CRASHED, error.code, error.message);
		return;
	}
	vm->reboots++;
	vm->state_changed(vm->ctx, vm, vm->state);
}

static void on_reboot_again(void *ctx)
{
	struct vm *vm = ctx;

	vm->reboot_again = NULL;
	reboot_try(vm, 0);
}

static void vm_reboot(struct vm *vm, const char *why)
{
	log_info_limited("%s: %s", vm->config->name, why);
	timers_cancel(vm);
	reboot_try(vm, REBOOT_PATIENCE_MS);
}

static void vm_faulted(struct vm *vm)
{
	bool soon = monotonic_ns() - vm->started_ns < FAULT_SOON_MS * NS_PER_MS;

	vm->faults_in_row = soon ? vm->faults_in_row + 1 : 1;
	if (vm->faults_in_row >= FAULTS_TO_CRASH)
		vm_finish(vm, VM_STATE_CRASHED, EXIT_GUEST_CRASHED,
			  "the guest triple-faults again and again as it starts");
	else
		vm_reboot(vm, "the guest triple-faulted: reset");
}

static void on_ended(void *ctx, enum partition_end end, const char *text)
{
	struct vm *vm = ctx;
	bool stops = vm->stop_deadline || vm->move.stop_after;

	vm_move_abandon(vm, "the guest came to an end");
	/* Else a guest could reset itself out of a stop: the next boot knows of no deadline. */
	if (stops && (end == PARTITION_RESET || end == PARTITION_FAULTED)) {
		vm_finish(vm, VM_STATE_STOPPED, EXIT_OK,
			  "the guest reset when it was asked to power off: stopped");
		return;
	}
	switch (end) {
	case PARTITION_POWERED_OFF:
		vm_finish(vm, VM_STATE_STOPPED, EXIT_OK, "the guest powered off");
		break;
	case PARTITION_RESET:
		vm->faults_in_row = 0;
		vm_reboot(vm, "the guest asked for a reset");
		break;
	case PARTITION_FAULTED:
		vm_faulted(vm);
		break;
	case PARTITION_CRASHED:
		vm_finish(vm, VM_STATE_CRASHED, EXIT_GUEST_CRASHED, text);
		break;
	case PARTITION_FAILED:
		vm_finish(vm, VM_STATE_CRASHED, EXIT_INTERNAL, text);
		break;
	}
}

static void on_order(void *ctx)
{
	struct vm *vm = ctx;

	vm->order = NULL;
	if (vm->order_reboot)
		vm_reboot(vm, "reset on request");
	else
		vm_finish(vm, VM_STATE_STOPPED, EXIT_OK, "stopped by force");
}

static void on_stop_deadline(void *ctx)
{
	struct vm *vm = ctx;

	vm->stop_deadline = NULL;
	vm_finish(vm, VM_STATE_STOPPED, EXIT_OK,
		  "the guest did not power off in time: stopped by force");
}

/* Carried out in the loop's next round, so that the callback never comes from within a request. A
 * stop replaces a reboot, not the other way round. */
static int order_give(struct vm *vm, bool reboot)
{
	if (vm->order) {
		vm->order_reboot = vm->order_reboot && reboot;
		return 0;
	}
	vm->order_reboot = reboot;
	return event_loop_after_ms(vm->loop, 0, on_order, vm, &vm->order);
}

int vm_order_stop(struct vm *vm)
{
	return order_give(vm, false);
}

int vm_request_stop(struct vm *vm, bool force, uint32_t deadline_ms)
{
	if (vm->move.source && !vm_state_is_final(vm->state)) {
		if (!force || migration_source_cancel(vm->move.source))
			return -EBUSY;
		vm->move.stop_after = true;
		return 0;
	}
	if (vm->state != VM_STATE_RUNNING && !vm->move.again)
		return -EINVAL;
	/* a guest that waits for its disks hears nothing */
	if (force || vm->move.again || vm->reboot_again)
		return order_give(vm, false);
	if (deadline_ms == 0)
		deadline_ms = VM_STOP_DEADLINE_MS;
	partition_request_power_off(vm->partition, deadline_ms / 1000);
	if (vm->stop_deadline)
		return 0; /* asked once more; the first deadline stands */
	return event_loop_after_ms(vm->loop, deadline_ms, on_stop_deadline, vm, &vm->stop_deadline);
}

int vm_request_reboot(struct vm *vm)
{
	if (vm->move.source)
		return -EBUSY;
	return vm->state == VM_STATE_RUNNING ? order_give(vm, true) : -EINVAL;
}

uint64_t vm_uptime_ms(const struct vm *vm)
{
	return vm->uptime_before_ms + (monotonic_ns() - vm->started_ns) / NS_PER_MS;
}

void vm_get_status(const struct vm *vm, struct vm_status *status)
{
	*status = (struct vm_status){
		.state = vm->state,
		.engine = vm->engine->name,
		.pid = getpid(),
		.vps = vm->config->vps,
		.memory_bytes = vm->config->memory_bytes,
		.reboots = vm->reboots,
		.console_path = vm->console_path,
		.nic_count = vm->config->nic_count,
	};
	memcpy(status->reason, vm->reason, sizeof(status->reason));
	status->has_storage = vm->storage != NULL;
	status->disk_count = vm_storage_get_disks(vm->storage, status->disks);
	if (!vm->partition)
		return;
	if (vm->started_ns)
		status->uptime_ms = vm_uptime_ms(vm);
	partition_get_status(vm->partition, status);
}

const struct vm_config *vm_get_config(const struct vm *vm)
{
	return vm->config;
}

enum exit_code vm_get_exit_code(const struct vm *vm)
{
	return vm->exit_code;
}
