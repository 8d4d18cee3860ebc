/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_worker.h. A VM that arrives has its definition from the other host (or the file), so its
 * name, folder, lock and API come only with target_make().
 */
#include "hypervisor/vm_worker.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/api_server.h"
#include "hypervisor/engine.h"
#include "hypervisor/migration/migration.h"
#include "hypervisor/migration/resolve.h"
#include "hypervisor/vm.h"
#include "hypervisor/vm_check.h"
#include "hypervisor/vm_disks.h"
#include "hypervisor/vm_lock.h"
#include "hypervisor/vm_log.h"
#include "hypervisor/vm_paths.h"
#include "hypervisor/vm_redefine.h"
#include "hypervisor/vm_vlan.h"

#define LOG_COMPONENT "vmwp"

/* A process that is just ending may hold the name for a moment longer. */
#define NAME_WAIT_MS 500

struct vm_worker {
	struct vm_worker_config config;
	char *definition;
	size_t definition_bytes;
	struct vm_config *vm_config;
	int lock; /* -1: no name is held */
	struct vm *vm;
	struct api_server *api;
	bool stop_requested;
	bool stop_pending; /* once the move that is under way has ended */
	/* of what arrives: */
	bool from_file;
	struct migration_target *target;
	struct event_timer *target_over;
	bool target_moved;
	struct migration_status arrival;
	struct vm_check *check;
	migration_done_fn check_done;
	void *check_ctx;
};

/* ---- the VM behind the API ---- */

static void api_get_status(void *ctx, struct vm_status *status)
{
	vm_get_status(((struct vm_worker *)ctx)->vm, status);
}

static const struct vm_config *api_get_config(void *ctx)
{
	return vm_get_config(((struct vm_worker *)ctx)->vm);
}

static int api_stop(void *ctx, bool force, uint32_t timeout_ms)
{
	return vm_request_stop(((struct vm_worker *)ctx)->vm, force, timeout_ms);
}

static int api_reboot(void *ctx)
{
	return vm_request_reboot(((struct vm_worker *)ctx)->vm);
}

static struct vm_defined worker_defined(struct vm_worker *worker)
{
	return (struct vm_defined){
		.vm = worker->vm,
		.definition = &worker->definition,
		.definition_bytes = &worker->definition_bytes,
	};
}

static int api_set_vlan(void *ctx, uint32_t nic, const struct vlan_config *vlan, bool *stored,
			struct vm_error *error)
{
	struct vm_worker *worker = ctx;
	const struct vm_defined target = worker_defined(worker);

	return vm_vlan_change(&target, worker->vm_config, nic, vlan, stored, error);
}

static int api_add_disk(void *ctx, const struct vm_disk_config *config,
			struct vm_disks_result *result, struct vm_error *error)
{
	const struct vm_defined target = worker_defined(ctx);

	return vm_disks_add(&target, config, result, error);
}

static int api_remove_disk(void *ctx, uint32_t controller, uint32_t lun,
			   struct vm_disks_result *result, struct vm_error *error)
{
	const struct vm_defined target = worker_defined(ctx);

	return vm_disks_remove(&target, controller, lun, result, error);
}

static int api_change_medium(void *ctx, uint32_t controller, uint32_t lun, const char *path,
			     struct vm_disks_result *result, struct vm_error *error)
{
	const struct vm_defined target = worker_defined(ctx);

	return vm_disks_change_medium(&target, controller, lun, path, result, error);
}

static int api_resize_disk(void *ctx, uint32_t controller, uint32_t lun, uint64_t bytes,
			   struct vm_disks_result *result, struct vm_error *error)
{
	const struct vm_defined target = worker_defined(ctx);

	return vm_disks_resize(&target, controller, lun, bytes, result, error);
}

static int api_migrate(void *ctx, const struct migration_options *options, struct vm_error *error)
{
	return vm_migrate(((struct vm_worker *)ctx)->vm, options, error);
}

static int api_save(void *ctx, const char *path, struct vm_error *error)
{
	return vm_save(((struct vm_worker *)ctx)->vm, path, error);
}

static int api_cancel_migration(void *ctx, struct vm_error *error)
{
	return vm_cancel_migration(((struct vm_worker *)ctx)->vm, error);
}

static int api_resolve_migration(void *ctx, bool there, struct vm_error *error)
{
	struct vm_worker *worker = ctx;

	if (worker->target && !worker->target_over &&
	    !migration_target_resolve(worker->target, there))
		return 0;
	return vm_resolve_migration(worker->vm, there, error);
}

static void api_get_migration(void *ctx, struct migration_status *status,
			      const struct migration_check **check)
{
	const struct vm_worker *worker = ctx;

	vm_get_migration(worker->vm, status, check);
	if (status->phase != MIGRATION_IDLE)
		return; /* it is later than the arrival */
	*check = NULL;
	if (worker->target && !worker->target_over)
		migration_target_get_status(worker->target, status);
	else
		*status = worker->arrival;
}

static const struct api_server_ops worker_api_ops = {
	.get_status = api_get_status,
	.get_config = api_get_config,
	.stop = api_stop,
	.reboot = api_reboot,
	.set_vlan = api_set_vlan,
	.add_disk = api_add_disk,
	.remove_disk = api_remove_disk,
	.change_medium = api_change_medium,
	.resize_disk = api_resize_disk,
	.migrate = api_migrate,
	.save = api_save,
	.cancel_migration = api_cancel_migration,
	.resolve_migration = api_resolve_migration,
	.get_migration = api_get_migration,
};

static int api_start(struct vm_worker *worker, struct vm_error *error)
{
	const char *name = worker->vm_config->name;
	char path[PATH_MAX];
	int result = vm_path(VM_PATH_API, name, path, sizeof(path));

	if (worker->config.no_api)
		return 0;
	if (!result)
		result = api_server_create(worker->config.loop, path, &worker_api_ops, worker, NULL,
					   &worker->api);
	if (result == -EADDRINUSE)
		return vm_error_set(error, EXIT_STATE, result, "%s runs already", name);
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result, "cannot serve the API on %s: %s",
				    path, strerror(-result));
	return 0;
}

/* ---- the VM ---- */

static void on_state(void *ctx, struct vm *vm, enum vm_state state)
{
	struct vm_worker *worker = ctx;
	int result;

	if (vm_state_is_final(state))
		worker->config.ended(worker->config.ctx);
	if (state != VM_STATE_RUNNING || !worker->stop_pending)
		return;
	result = vm_request_stop(vm, false, 0);
	if (result == -EBUSY)
		return; /* it runs on, and its move is about to end: then we are called again */
	worker->stop_pending = false;
	if (result)
		log_error("%s cannot be stopped", worker->vm_config->name);
}

/* in_use: the code for a name that another process holds. */
static int name_hold(struct vm_worker *worker, enum exit_code in_use, struct vm_error *error)
{
	const char *name = worker->vm_config->name;
	int result = vm_lock_take(name, NAME_WAIT_MS);

	if (result == -EEXIST)
		return vm_error_set(error, in_use, result, "%s runs already on this host", name);
	if (result < 0)
		return vm_error_set(error, EXIT_INTERNAL, result,
				    "cannot hold the name of %s in %s/vm/%s: %s", name,
				    vm_paths_run_dir(), name, strerror(-result));
	worker->lock = result;
	return 0;
}

/* The VM and its API, with the name held. */
static int vm_make(struct vm_worker *worker, struct vm_error *error)
{
	char console_path[PATH_MAX];
	const struct vm_setup setup = {
		.config = worker->vm_config,
		.definition = worker->definition,
		.definition_bytes = worker->definition_bytes,
		.console_path = console_path,
		.engine = worker->config.engine,
		.loop = worker->config.loop,
		.state_changed = on_state,
		.ctx = worker,
	};
	int result = vm_path(VM_PATH_CONSOLE, worker->vm_config->name, console_path,
			     sizeof(console_path));

	if (result)
		return vm_error_set(error, EXIT_CONFIG, result,
				    "LUNAR_RUN_DIR is too long for a socket; shorten it");
	result = vm_create(&setup, &worker->vm, error);
	return result ? result : api_start(worker, error);
}

/* Who waits for a check is told. */
static void check_give_up(struct vm_worker *worker)
{
	struct vm_error error;

	if (!worker->check)
		return;
	vm_check_cancel(worker->check);
	worker->check = NULL;
	vm_error_set(&error, EXIT_CANCELLED, 0, "given up");
	worker->check_done(worker->check_ctx, -ECANCELED, &error);
}

/* Nothing of the VM is left; the worker is as it was made. */
static void vm_drop(struct vm_worker *worker)
{
	check_give_up(worker);
	api_server_destroy(worker->api);
	worker->api = NULL;
	vm_destroy(worker->vm);
	worker->vm = NULL;
	if (worker->lock >= 0)
		close(worker->lock);
	worker->lock = -1;
	vm_config_free(worker->vm_config);
	worker->vm_config = NULL;
	free(worker->definition);
	worker->definition = NULL;
}

int vm_worker_start(struct vm_worker *worker, const char *definition_path, struct vm_error *error)
{
	int result = vm_config_read(definition_path, &worker->definition, &worker->definition_bytes,
				    error->message, sizeof(error->message));

	if (!result)
		result = vm_config_parse(definition_path, worker->definition,
					 worker->definition_bytes, &worker->vm_config,
					 error->message, sizeof(error->message));
	if (result) {
		error->code = EXIT_CONFIG;
		return result;
	}
	result = name_hold(worker, EXIT_STATE, error);
	if (!result)
		result = migration_resolve_before_start(worker->vm_config->name, error);
	if (!result)
		result = vm_make(worker, error);
	return result ? result : vm_start(worker->vm, error);
}

/* ---- a VM that arrives ---- */

static int target_make(void *ctx, const char *definition, size_t length, struct vm_error *error)
{
	struct vm_worker *worker = ctx;
	int result;

	if (worker->vm_config)
		return vm_error_set(error, EXIT_INTERNAL, -EALREADY, "there is a VM already");
	worker->definition = malloc(length ? length : 1);
	if (!worker->definition)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	memcpy(worker->definition, definition, length);
	worker->definition_bytes = length;
	result = vm_config_parse("the definition", worker->definition, length, &worker->vm_config,
				 error->message, sizeof(error->message));
	if (result)
		error->code = EXIT_CONFIG;
	else
		result = name_hold(worker, EXIT_EXISTS, error);
	if (!result && worker->config.take_log && vm_log_take(worker->vm_config->name))
		log_warn("%s has no log", worker->vm_config->name);
	if (!result)
		result = vm_make(worker, error);
	if (!result)
		result = vm_receive(worker->vm, worker->from_file, error);
	if (result)
		vm_drop(worker);
	return result;
}

static int target_check_cpu(void *ctx, struct state_reader *section, struct vm_error *error)
{
	return ((struct vm_worker *)ctx)->config.engine->check_cpu(section, error);
}

static void on_checked(void *ctx)
{
	static const struct vm_error none = {.code = EXIT_OK};
	struct vm_worker *worker = ctx;

	worker->check = NULL;
	worker->check_done(worker->check_ctx, 0, &none);
}

static int target_check(void *ctx, struct state_reader *portals, struct migration_check *findings,
			migration_done_fn done, void *done_ctx)
{
	struct vm_worker *worker = ctx;

	if (!worker->vm || worker->check)
		return -EBUSY;
	worker->check_done = done;
	worker->check_ctx = done_ctx;
	return vm_check_start(worker->config.loop, worker->vm_config, portals, findings, on_checked,
			      worker, &worker->check);
}

static void target_check_disks(void *ctx, struct state_reader *disks,
			       struct migration_check *findings)
{
	vm_check_disks(((struct vm_worker *)ctx)->vm, disks, findings);
}

static struct guest_memory *target_get_memory(void *ctx)
{
	return vm_get_memory(((struct vm_worker *)ctx)->vm);
}

static int target_restore(void *ctx, struct state_reader *reader, migration_done_fn done,
			  void *done_ctx)
{
	return vm_restore(((struct vm_worker *)ctx)->vm, reader, done, done_ctx);
}

static int target_go(void *ctx, bool announce, struct vm_error *error)
{
	return vm_go(((struct vm_worker *)ctx)->vm, announce, error);
}

static void target_inject(void *ctx, uint32_t nic, const void *frame, size_t length)
{
	struct vm_worker *worker = ctx;

	if (worker->vm)
		vm_inject(worker->vm, nic, frame, length);
}

static void target_drop(void *ctx)
{
	vm_drop(ctx);
}

static const struct migration_target_vm_ops target_ops = {
	.make = target_make,
	.check_cpu = target_check_cpu,
	.check = target_check,
	.check_disks = target_check_disks,
	.get_memory = target_get_memory,
	.restore = target_restore,
	.go = target_go,
	.inject = target_inject,
	.drop = target_drop,
};

static void target_end(struct vm_worker *worker)
{
	event_timer_cancel(worker->target_over);
	worker->target_over = NULL;
	migration_target_destroy(worker->target);
	worker->target = NULL;
}

/* In the loop's next round: the target may not be destroyed from within. */
static void on_target_over(void *ctx)
{
	struct vm_worker *worker = ctx;

	worker->target_over = NULL;
	target_end(worker);
	if (!worker->target_moved)
		worker->config.ended(worker->config.ctx);
}

static void on_target_ended(void *ctx, bool moved)
{
	struct vm_worker *worker = ctx;

	migration_target_get_status(worker->target, &worker->arrival);
	worker->target_moved = moved;
	if (!worker->target_over && event_loop_after_ms(worker->config.loop, 0, on_target_over,
							worker, &worker->target_over))
		log_error("out of memory: the move does not end");
}

int vm_worker_receive(struct vm_worker *worker, int socket, struct vm_error *error)
{
	return migration_target_start(worker->config.loop, socket, &target_ops, worker,
				      on_target_ended, worker, &worker->target, error);
}

int vm_worker_restore(struct vm_worker *worker, const char *path, struct vm_error *error)
{
	worker->from_file = true;
	return migration_restore_start(worker->config.loop, path, &target_ops, worker,
				       on_target_ended, worker, &worker->target, error);
}

/* ---- life ---- */

void vm_worker_request_stop(struct vm_worker *worker)
{
	bool again = worker->stop_requested;
	struct vm_error error;
	struct vm_status status;
	int result;

	worker->stop_requested = true;
	if (worker->vm)
		vm_get_status(worker->vm, &status);
	if (!worker->vm || status.state == VM_STATE_INCOMING) {
		worker->config.ended(worker->config.ctx);
		return;
	}
	result = vm_request_stop(worker->vm, again, 0);
	if (result == -EBUSY) {
		/* where it is committed it ends by itself, or is stopped when it runs on */
		worker->stop_pending = true;
		(void)vm_cancel_migration(worker->vm, &error);
	} else if (result) {
		worker->config.ended(worker->config.ctx);
	}
}

enum exit_code vm_worker_get_result(const struct vm_worker *worker, struct vm_error *error)
{
	if (worker->vm && !worker->arrival.error.code)
		return vm_get_exit_code(worker->vm);
	*error = worker->arrival.error;
	return error->code;
}

struct vm *vm_worker_get_vm(const struct vm_worker *worker)
{
	return worker->vm;
}

int vm_worker_create(const struct vm_worker_config *config, struct vm_worker **worker,
		     struct vm_error *error)
{
	struct vm_worker *made = calloc(1, sizeof(*made));

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	made->config = *config;
	made->lock = -1;
	*worker = made;
	return 0;
}

void vm_worker_destroy(struct vm_worker *worker)
{
	if (!worker)
		return;
	target_end(worker);
	vm_drop(worker);
	free(worker);
}
