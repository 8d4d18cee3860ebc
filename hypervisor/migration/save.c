/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saving a VM to a file: it is stopped, written, and gone, or it runs on. What commits is the
 * moment at which the complete file gets its name.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/file.h"
#include "hypervisor/migration/internal.h"
#include "hypervisor/migration/over.h"
#include "hypervisor/migration/pages.h"
#include "hypervisor/migration/pause.h"
#include "hypervisor/migration/thread.h"
#include "hypervisor/migration/vm.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "save"

#define LOOP_MS	 5000
#define PAUSE_MS 10000
#define WRITE_MS (6 * 60 * 60 * 1000) /* a terabyte to a slow disk */

struct save {
	struct migration_source base;
	const struct migration_source_vm_ops *ops;
	void *ctx;
	migration_ended_fn ended;
	void *ended_ctx;
	char vm_name[VM_NAME_MAX + 1];
	struct migration_caller *caller;
	struct migration_file *file;
	struct migration_pause *pause;
	struct over_post *over;
	pthread_t thread;
	uint64_t started_ns;
	bool saved;	      /* the mover's, then the loop's */
	pthread_mutex_t lock; /* guards all below */
	struct migration_page_sender *sender;
	struct migration_status status;
	bool cancelled;
	bool committing; /* too late to cancel */
};

static uint32_t ms_since(uint64_t start_ns)
{
	return (uint32_t)((monotonic_ns() - start_ns) / NS_PER_MS);
}

static bool save_cancelled(struct save *save)
{
	bool cancelled;

	pthread_mutex_lock(&save->lock);
	cancelled = save->cancelled;
	pthread_mutex_unlock(&save->lock);
	return cancelled;
}

/* ---- what is written ---- */

static int frame_write(struct save *save, uint32_t type, const void *payload, size_t length,
		       struct vm_error *error)
{
	int rc = migration_message_send(migration_file_channel(save->file), type, payload, length,
					deadline_in_ms(WRITE_MS));

	return rc < 0 ? migration_file_explain(save->file, rc, error) : 0;
}

static int head_write(void *ctx, struct vm_error *error)
{
	struct save *save = ctx;
	struct state_writer writer;
	size_t length = 0;
	const char *definition = save->ops->get_definition(save->ctx, &length);
	int rc;

	if (length > MIGRATION_MAX_CONTROL_BYTES)
		return vm_error_set(error, EXIT_CONFIG, -EMSGSIZE, "the definition is too long");
	rc = frame_write(save, MIGRATION_FRAME_DEFINITION, definition, length, error);
	if (rc < 0)
		return rc;
	state_writer_init(&writer);
	rc = save->ops->save_cpu(save->ctx, &writer);
	if (rc == 0)
		rc = state_writer_result(&writer);
	if (rc < 0)
		vm_error_set(error, EXIT_INTERNAL, rc, "the processor's state: %s", strerror(-rc));
	else
		rc = frame_write(save, MIGRATION_FRAME_CPU, writer.bytes, writer.length, error);
	state_writer_fini(&writer);
	return rc;
}

static int map_write(struct save *save, struct vm_error *error)
{
	const struct guest_memory *memory = save->ops->get_memory(save->ctx);
	uint8_t map[GUEST_MEMORY_MAX_REGIONS * sizeof(struct migration_region)];
	size_t count = guest_memory_region_count(memory);
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);
		uint8_t *entry = map + i * sizeof(struct migration_region);

		put_le64(entry + offsetof(struct migration_region, gpa), region->gpa);
		put_le64(entry + offsetof(struct migration_region, size_bytes), region->size_bytes);
		bytes += region->size_bytes;
	}
	pthread_mutex_lock(&save->lock);
	save->status.memory_bytes = bytes;
	pthread_mutex_unlock(&save->lock);
	return frame_write(save, MIGRATION_FRAME_MEMORY_MAP, map,
			   count * sizeof(struct migration_region), error);
}

static int memory_write(struct save *save, struct vm_error *error)
{
	const struct migration_page_sender_options options = {
		.compression = MIGRATION_COMPRESSION_ZSTD,
	};
	struct migration_channel *channel = migration_file_channel(save->file);
	struct migration_page_sender *sender = NULL;
	struct migration_page_stats stats;
	int rc = migration_page_sender_create(save->ops->get_memory(save->ctx), &channel, 1,
					      &options, &sender);

	if (rc < 0)
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot write the memory: %s",
				    strerror(-rc));
	pthread_mutex_lock(&save->lock);
	save->sender = sender;
	if (save->cancelled)
		migration_page_sender_cancel(sender);
	pthread_mutex_unlock(&save->lock);
	rc = migration_page_sender_add_all(sender);
	if (rc == 0)
		rc = migration_page_sender_round(sender, deadline_in_ms(WRITE_MS));
	migration_page_sender_get_stats(sender, &stats);
	pthread_mutex_lock(&save->lock);
	save->sender = NULL;
	save->status.bytes_zero = stats.bytes_zero;
	save->status.bytes_left = stats.bytes_pending;
	save->status.rounds = 1;
	pthread_mutex_unlock(&save->lock);
	migration_page_sender_destroy(sender);
	return rc < 0 ? migration_file_explain(save->file, rc, error) : 0;
}

static int state_write(struct save *save, struct vm_error *error)
{
	size_t length;
	const uint8_t *state = migration_pause_state(save->pause, &length);

	return frame_write(save, MIGRATION_FRAME_STATE, state, length, error);
}

/* The last step, which cannot be cancelled. */
static int file_commit(struct save *save, struct vm_error *error)
{
	pthread_mutex_lock(&save->lock);
	save->committing = !save->cancelled;
	if (save->committing)
		save->status.phase = MIGRATION_COMMITTING;
	pthread_mutex_unlock(&save->lock);
	if (!save->committing)
		return vm_error_set(error, EXIT_CANCELLED, -ECANCELED, "cancelled");
	return migration_file_commit(save->file, error);
}

/* ---- the mover ---- */

static int vm_stop(struct save *save, struct vm_error *error)
{
	uint64_t start_ns = monotonic_ns();
	int rc = migration_pause(save->caller, save->ops, save->ctx, deadline_in_ms(PAUSE_MS),
				 &save->pause, error);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&save->lock);
	save->status.phase = MIGRATION_STOPPED;
	save->status.pause_ms = ms_since(start_ns);
	pthread_mutex_unlock(&save->lock);
	return 0;
}

static int vm_resume(void *ctx, struct vm_error *error)
{
	struct save *save = ctx;

	(void)error;
	save->ops->resume(save->ctx);
	return 0;
}

static int save_write(struct save *save, struct vm_error *error)
{
	int rc = migration_call(save->caller, head_write, save, error, deadline_in_ms(LOOP_MS));

	if (rc == 0)
		rc = map_write(save, error);
	if (rc == 0)
		rc = vm_stop(save, error);
	if (rc == 0)
		rc = memory_write(save, error);
	if (rc == 0)
		rc = state_write(save, error);
	if (rc == 0)
		rc = file_commit(save, error);
	return rc;
}

static void save_fail(struct save *save, int rc, struct vm_error *error)
{
	bool cancelled = save_cancelled(save) || rc == -ECANCELED;

	if (save->pause)
		migration_call(save->caller, vm_resume, save, NULL, deadline_in_ms(LOOP_MS));
	if (cancelled)
		vm_error_set(error, EXIT_CANCELLED, rc, "saving %s was cancelled", save->vm_name);
	log_warn("%s was not saved: %s", save->vm_name, error->message);
	pthread_mutex_lock(&save->lock);
	save->status.phase = cancelled ? MIGRATION_CANCELLED : MIGRATION_FAILED;
	save->status.error = *error;
	save->status.total_ms = ms_since(save->started_ns);
	pthread_mutex_unlock(&save->lock);
}

static void *save_run(void *arg)
{
	struct save *save = arg;
	struct vm_error error = {0};
	int rc = save_write(save, &error);

	if (rc < 0) {
		save_fail(save, rc, &error);
	} else {
		pthread_mutex_lock(&save->lock);
		save->status.phase = MIGRATION_DONE;
		save->status.total_ms = ms_since(save->started_ns);
		save->status.downtime_ms = save->status.total_ms;
		save->status.bytes_sent = migration_file_position(save->file);
		pthread_mutex_unlock(&save->lock);
		save->saved = true;
		log_info("%s is saved in %s, %llu MiB", save->vm_name, save->status.peer,
			 (unsigned long long)(migration_file_position(save->file) >> 20));
	}
	over_post_send(save->over);
	return NULL;
}

/* On the loop's thread. */
static void save_over(void *owner)
{
	struct save *save = owner;

	save->over = NULL;
	pthread_join(save->thread, NULL);
	save->ended(save->ended_ctx, save->saved);
}

/* ---- from outside ---- */

static int save_cancel(struct migration_source *source)
{
	struct save *save = (struct save *)source;
	int rc = 0;

	pthread_mutex_lock(&save->lock);
	if (save->committing)
		rc = -EBUSY;
	else
		save->cancelled = true;
	if (rc == 0 && save->sender)
		migration_page_sender_cancel(save->sender);
	pthread_mutex_unlock(&save->lock);
	return rc;
}

static void save_get_status(const struct migration_source *source, struct migration_status *status)
{
	struct save *save = (struct save *)(uintptr_t)source;
	struct migration_page_stats stats;

	pthread_mutex_lock(&save->lock);
	*status = save->status;
	if (save->sender) {
		migration_page_sender_get_stats(save->sender, &stats);
		status->bytes_sent = stats.bytes_sent;
		status->bytes_left = stats.bytes_pending;
		status->bytes_zero = stats.bytes_zero;
		status->rate = stats.rate;
	}
	if (status->phase < MIGRATION_DONE)
		status->total_ms = ms_since(save->started_ns);
	pthread_mutex_unlock(&save->lock);
}

static const struct migration_check *save_get_check(const struct migration_source *source)
{
	static const struct migration_check nothing;

	(void)source;
	return &nothing;
}

static void save_free(struct save *save)
{
	migration_pause_free(save->pause);
	migration_file_close(save->file);
	migration_caller_destroy(save->caller);
	pthread_mutex_destroy(&save->lock);
	free(save);
}

static void save_destroy(struct migration_source *source)
{
	struct save *save = (struct save *)source;

	if (save->over) {
		save_cancel(source);
		migration_caller_close(save->caller);
		pthread_join(save->thread, NULL);
		over_post_cancel(save->over);
	}
	save_free(save);
}

static const struct migration_source_kind save_kind = {
	.cancel = save_cancel,
	.get_status = save_get_status,
	.get_check = save_get_check,
	.destroy = save_destroy,
};

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int migration_save_start(struct event_loop *loop, const char *path, const char *vm_name,
			 const struct migration_source_vm_ops *ops, void *ctx,
			 migration_ended_fn ended, void *ended_ctx,
			 struct migration_source **source, struct vm_error *error)
{
	struct save *save = calloc(1, sizeof(*save));
	int rc;

	if (!save)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	save->base.kind = &save_kind;
	save->ops = ops;
	save->ctx = ctx;
	save->ended = ended;
	save->ended_ctx = ended_ctx;
	save->started_ns = monotonic_ns();
	save->status.phase = MIGRATION_COPYING;
	save->status.started_unix_ms = unix_ms();
	pthread_mutex_init(&save->lock, NULL);
	snprintf(save->vm_name, sizeof(save->vm_name), "%s", vm_name);
	snprintf(save->status.peer, sizeof(save->status.peer), "%s", path);
	rc = migration_file_create(path, &save->file, error);
	if (rc < 0)
		goto err_free;
	rc = migration_caller_create(loop, &save->caller);
	if (rc == 0)
		rc = over_post_create(loop, save_over, save, &save->over);
	if (rc == 0)
		rc = migration_thread_start("save", save_run, save, &save->thread);
	if (rc < 0) {
		vm_error_set(error, EXIT_INTERNAL, rc, "cannot begin to save: %s", strerror(-rc));
		over_post_cancel(save->over);
		goto err_free;
	}
	*source = &save->base;
	return 0;

err_free:
	save_free(save);
	return rc;
}
