/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM out of a file. All of the file is read and found whole before the VM's state is loaded; the
 * file stays as it is.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
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
#include "hypervisor/migration/thread.h"
#include "hypervisor/migration/vm.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "restore"

#define LOOP_MS	   5000
#define MAKE_MS	   30000
#define RESTORE_MS 30000

struct restore {
	struct migration_target base;
	const struct migration_target_vm_ops *ops;
	void *ctx;
	migration_ended_fn ended;
	void *ended_ctx;
	struct migration_caller *caller;
	struct migration_file *file;
	struct over_post *over;
	pthread_t thread;
	uint64_t started_ns;
	/* The mover's: */
	struct migration_message message;
	struct migration_message state; /* kept until the end is found good */
	struct state_reader state_reader;
	bool made;
	bool runs;
	_Atomic bool destroyed;
	pthread_mutex_t lock; /* guards all below */
	struct migration_page_receiver *receiver;
	struct migration_status status;
};

static uint32_t ms_since(uint64_t start_ns)
{
	return (uint32_t)((monotonic_ns() - start_ns) / NS_PER_MS);
}

static int bad(struct restore *restore, struct vm_error *error)
{
	return migration_file_explain(restore->file, -EPROTO, error);
}

/* ---- frames ---- */

static int frame_next(struct restore *restore, size_t max_length, struct vm_error *error)
{
	int rc;

	if (atomic_load(&restore->destroyed))
		return vm_error_set(error, EXIT_CANCELLED, -ECANCELED, "cancelled");
	rc = migration_message_receive(migration_file_channel(restore->file), &restore->message,
				       max_length, deadline_in_ms(0));
	return rc < 0 ? migration_file_explain(restore->file, rc, error) : 0;
}

static int frame_expect(struct restore *restore, uint32_t type, struct vm_error *error)
{
	int rc = frame_next(restore, MIGRATION_MAX_CONTROL_BYTES, error);

	if (rc < 0)
		return rc;
	return restore->message.type == type ? 0 : bad(restore, error);
}

/* ---- the VM ---- */

static int vm_check_cpu(void *ctx, struct vm_error *error)
{
	struct restore *restore = ctx;
	struct state_reader reader;
	struct state_reader section;

	state_reader_init(&reader, restore->message.payload, restore->message.length);
	if (state_next(&reader, &section) != 1)
		return bad(restore, error);
	return restore->ops->check_cpu(restore->ctx, &section, error);
}

struct definition {
	struct restore *restore;
	const char *text;
	size_t length;
};

static int vm_make(void *ctx, struct vm_error *error)
{
	struct definition *definition = ctx;
	struct restore *restore = definition->restore;
	int rc = restore->ops->make(restore->ctx, definition->text, definition->length, error);

	restore->made = rc == 0;
	return rc;
}

static int vm_drop(void *ctx, struct vm_error *error)
{
	struct restore *restore = ctx;

	(void)error;
	restore->ops->drop(restore->ctx);
	return 0;
}

static int vm_restore(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct restore *restore = ctx;
	int rc = restore->ops->restore(restore->ctx, &restore->state_reader, migration_call_done,
				       call);

	return rc < 0 ? vm_error_set(error, EXIT_BAD_STATE, rc,
				     "the saved state could not be loaded: %s", strerror(-rc))
		      : 0;
}

static int vm_go(void *ctx, struct vm_error *error)
{
	struct restore *restore = ctx;

	/* The file may have come from another host, and the switch may have forgotten the guest. */
	return restore->ops->go(restore->ctx, true, error);
}

/* ---- the parts of the file ---- */

/* DEFINITION and CPU: the processor is looked at before anything is made. */
static int head_read(struct restore *restore, struct vm_error *error)
{
	struct migration_message text;
	struct definition definition = {.restore = restore};
	int rc = frame_expect(restore, MIGRATION_FRAME_DEFINITION, error);

	if (rc < 0)
		return rc;
	text = restore->message;
	restore->message = (struct migration_message){0};
	definition.text = (const char *)text.payload;
	definition.length = text.length;
	rc = frame_expect(restore, MIGRATION_FRAME_CPU, error);
	if (rc == 0)
		rc = migration_call(restore->caller, vm_check_cpu, restore, error,
				    deadline_in_ms(LOOP_MS));
	if (rc == 0)
		rc = migration_call(restore->caller, vm_make, &definition, error,
				    deadline_in_ms(MAKE_MS));
	migration_message_fini(&text);
	return rc;
}

static int map_check(const struct guest_memory *memory, const uint8_t *map, size_t length)
{
	size_t count = guest_memory_region_count(memory);

	if (length != count * sizeof(struct migration_region))
		return -EPROTO;
	for (size_t i = 0; i < count; i++) {
		const struct guest_memory_region *region = guest_memory_region_at(memory, i);
		const uint8_t *entry = map + i * sizeof(struct migration_region);

		if (get_le64(entry + offsetof(struct migration_region, gpa)) != region->gpa ||
		    get_le64(entry + offsetof(struct migration_region, size_bytes)) !=
			    region->size_bytes)
			return -EPROTO;
	}
	return 0;
}

static int map_read(struct restore *restore, struct vm_error *error)
{
	const struct guest_memory *memory = restore->ops->get_memory(restore->ctx);
	uint64_t bytes = 0;
	int rc = frame_expect(restore, MIGRATION_FRAME_MEMORY_MAP, error);

	if (rc < 0)
		return rc;
	if (map_check(memory, restore->message.payload, restore->message.length) < 0)
		return vm_error_set(error, EXIT_BAD_STATE, -EPROTO,
				    "the VM's memory would lie differently here: restore it with "
				    "the version of Lunar that saved it");
	for (size_t i = 0; i < guest_memory_region_count(memory); i++)
		bytes += guest_memory_region_at(memory, i)->size_bytes;
	pthread_mutex_lock(&restore->lock);
	restore->status.memory_bytes = bytes;
	pthread_mutex_unlock(&restore->lock);
	return 0;
}

static int receiver_make(struct restore *restore, struct vm_error *error)
{
	struct migration_page_receiver *receiver = NULL;
	int rc = migration_page_receiver_create(restore->ops->get_memory(restore->ctx), 0,
						&receiver);

	if (rc < 0)
		return vm_error_set(error, EXIT_INTERNAL, rc, "cannot fill the memory: %s",
				    strerror(-rc));
	pthread_mutex_lock(&restore->lock);
	restore->receiver = receiver;
	restore->status.phase = MIGRATION_COPYING;
	pthread_mutex_unlock(&restore->lock);
	return 0;
}

/* PAGES up to STATE, and the end. */
static int body_read(struct restore *restore, struct vm_error *error)
{
	bool pages_end = false;
	int rc = receiver_make(restore, error);

	while (rc == 0) {
		struct migration_message *message = &restore->message;

		rc = frame_next(restore, MIGRATION_MAX_PAYLOAD_BYTES, error);
		if (rc < 0)
			break;
		if (message->type == MIGRATION_FRAME_STATE && pages_end) {
			restore->state = *message;
			*message = (struct migration_message){0};
			break;
		}
		if (message->type == MIGRATION_FRAME_ROUND_END && !pages_end)
			pages_end = true;
		else if (message->type != MIGRATION_FRAME_PAGES || pages_end ||
			 migration_page_receiver_apply(restore->receiver, message->payload,
						       message->length) < 0)
			rc = bad(restore, error);
	}
	if (rc == 0)
		rc = frame_expect(restore, MIGRATION_FRAME_FILE_END, error);
	if (rc == 0 && (restore->message.length != 0 || !migration_file_at_end(restore->file)))
		rc = bad(restore, error);
	return rc;
}

static int state_load(struct restore *restore, struct vm_error *error)
{
	uint64_t start_ns = monotonic_ns();
	int rc;

	state_reader_init(&restore->state_reader, restore->state.payload, restore->state.length);
	rc = migration_call_wait(restore->caller, vm_restore, restore, NULL, error,
				 deadline_in_ms(RESTORE_MS));
	if (rc < 0 && !*error->message)
		vm_error_set(error, EXIT_BAD_STATE, rc, "the saved state could not be loaded: %s",
			     strerror(-rc));
	pthread_mutex_lock(&restore->lock);
	restore->status.restore_ms = ms_since(start_ns);
	pthread_mutex_unlock(&restore->lock);
	return rc;
}

/* ---- the mover ---- */

static int restore_read(struct restore *restore, struct vm_error *error)
{
	int rc = head_read(restore, error);

	if (rc == 0)
		rc = map_read(restore, error);
	if (rc == 0)
		rc = body_read(restore, error);
	if (rc == 0)
		rc = state_load(restore, error);
	if (rc == 0)
		rc = migration_call(restore->caller, vm_go, restore, error,
				    deadline_in_ms(LOOP_MS));
	return rc;
}

static void *restore_run(void *arg)
{
	struct restore *restore = arg;
	struct vm_error error = {0};
	int rc = restore_read(restore, &error);

	if (rc < 0 && restore->made)
		migration_call(restore->caller, vm_drop, restore, NULL, deadline_in_ms(LOOP_MS));
	if (rc < 0)
		log_warn("%s", error.message); /* the caller tells the user */
	restore->runs = rc == 0;
	pthread_mutex_lock(&restore->lock);
	restore->status.phase = rc == 0 ? MIGRATION_DONE : MIGRATION_FAILED;
	restore->status.error = error;
	restore->status.total_ms = ms_since(restore->started_ns);
	pthread_mutex_unlock(&restore->lock);
	over_post_send(restore->over);
	return NULL;
}

/* On the loop's thread. */
static void restore_over(void *owner)
{
	struct restore *restore = owner;

	restore->over = NULL;
	pthread_join(restore->thread, NULL);
	restore->ended(restore->ended_ctx, restore->runs);
}

/* ---- from outside ---- */

static void restore_get_status(const struct migration_target *target,
			       struct migration_status *status)
{
	struct restore *restore = (struct restore *)(uintptr_t)target;
	struct migration_page_stats stats;

	pthread_mutex_lock(&restore->lock);
	*status = restore->status;
	if (restore->receiver) {
		migration_page_receiver_get_stats(restore->receiver, &stats);
		status->bytes_sent = stats.bytes_sent;
		status->bytes_zero = stats.bytes_zero;
		status->rate = stats.rate;
	}
	if (status->phase < MIGRATION_DONE)
		status->total_ms = ms_since(restore->started_ns);
	pthread_mutex_unlock(&restore->lock);
}

static void restore_free(struct restore *restore)
{
	migration_page_receiver_destroy(restore->receiver);
	migration_message_fini(&restore->message);
	migration_message_fini(&restore->state);
	migration_file_close(restore->file);
	migration_caller_destroy(restore->caller);
	pthread_mutex_destroy(&restore->lock);
	free(restore);
}

static void restore_destroy(struct migration_target *target)
{
	struct restore *restore = (struct restore *)target;

	if (restore->over) {
		atomic_store(&restore->destroyed, true);
		migration_caller_close(restore->caller);
		pthread_join(restore->thread, NULL);
		over_post_cancel(restore->over);
	}
	restore_free(restore);
}

static const struct migration_target_kind restore_kind = {
	.get_status = restore_get_status,
	.destroy = restore_destroy,
};

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int migration_restore_start(struct event_loop *loop, const char *path,
			    const struct migration_target_vm_ops *ops, void *ctx,
			    migration_ended_fn ended, void *ended_ctx,
			    struct migration_target **target, struct vm_error *error)
{
	struct restore *restore = calloc(1, sizeof(*restore));
	int rc;

	if (!restore)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	restore->base.kind = &restore_kind;
	restore->ops = ops;
	restore->ctx = ctx;
	restore->ended = ended;
	restore->ended_ctx = ended_ctx;
	restore->started_ns = monotonic_ns();
	restore->status.phase = MIGRATION_CONNECTING;
	restore->status.incoming = true;
	restore->status.started_unix_ms = unix_ms();
	pthread_mutex_init(&restore->lock, NULL);
	snprintf(restore->status.peer, sizeof(restore->status.peer), "%s", path);
	rc = migration_file_open(path, &restore->file, error);
	if (rc < 0)
		goto err_free;
	rc = migration_caller_create(loop, &restore->caller);
	if (rc == 0)
		rc = over_post_create(loop, restore_over, restore, &restore->over);
	if (rc == 0)
		rc = migration_thread_start("restore", restore_run, restore, &restore->thread);
	if (rc < 0) {
		vm_error_set(error, EXIT_INTERNAL, rc, "cannot begin to restore: %s",
			     strerror(-rc));
		over_post_cancel(restore->over);
		goto err_free;
	}
	*target = &restore->base;
	return 0;

err_free:
	restore_free(restore);
	return rc;
}
