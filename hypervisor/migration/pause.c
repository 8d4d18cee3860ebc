/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VM writes its state into memory of the pause, which therefore lives until the VM has said
 * that it is done, whatever became of the mover. See pause.h.
 */
#include "hypervisor/migration/pause.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/vm.h"

#define ABANDON_MS 5000

struct migration_pause {
	atomic_uint holders; /* the mover, and the VM until it has said that it is done */
	const struct migration_source_vm_ops *ops;
	void *ctx;
	struct state_writer writer;
	struct migration_call *call;
	/* Loop's thread: */
	bool abandoned; /* the mover has given up: the VM runs on when it is done */
	bool done;
	int status;
};

static void pause_put(struct migration_pause *pause)
{
	if (atomic_fetch_sub(&pause->holders, 1) != 1)
		return;
	state_writer_fini(&pause->writer);
	free(pause);
}

void migration_pause_free(struct migration_pause *pause)
{
	if (pause)
		pause_put(pause);
}

const uint8_t *migration_pause_state(const struct migration_pause *pause, size_t *length)
{
	*length = pause->writer.length;
	return pause->writer.bytes;
}

static void on_paused(void *ctx, int status, const struct vm_error *error)
{
	struct migration_pause *pause = ctx;

	pause->done = true;
	pause->status = status;
	if (pause->abandoned && status == 0)
		pause->ops->resume(pause->ctx);
	migration_call_done(pause->call, status, error);
	pause_put(pause);
}

static int pause_begin(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct migration_pause *pause = ctx;
	int rc;

	pause->call = call;
	atomic_fetch_add(&pause->holders, 1); /* on_paused()'s */
	rc = pause->ops->pause_and_save(pause->ctx, &pause->writer, on_paused, pause);
	if (rc == 0)
		return 0;
	pause_put(pause);
	return vm_error_set(error, EXIT_INTERNAL, rc, "the VM could not be stopped: %s",
			    strerror(-rc));
}

static int pause_abandon(void *ctx, struct vm_error *error)
{
	struct migration_pause *pause = ctx;

	(void)error;
	if (pause->done && pause->status == 0)
		pause->ops->resume(pause->ctx);
	pause->abandoned = true;
	return 0;
}

/* The loop is told, however long it is busy: a VM that rests with nobody to wake it would be lost.
 * Where it cannot be told any more, the VM is being torn down, and needs no waking. */
static void pause_give_up(struct migration_caller *caller, struct migration_pause *pause)
{
	while (migration_call(caller, pause_abandon, pause, NULL, deadline_in_ms(ABANDON_MS)) ==
	       -ETIMEDOUT)
		;
	pause_put(pause);
}

int migration_pause(struct migration_caller *caller, const struct migration_source_vm_ops *ops,
		    void *ctx, struct deadline deadline, struct migration_pause **out,
		    struct vm_error *error)
{
	struct migration_pause *pause = calloc(1, sizeof(*pause));
	bool begun = false;
	int rc;

	if (!pause)
		return vm_error_set(error, EXIT_INTERNAL, -ENOMEM, "out of memory");
	atomic_init(&pause->holders, 1);
	pause->ops = ops;
	pause->ctx = ctx;
	state_writer_init(&pause->writer);
	rc = migration_call_wait(caller, pause_begin, pause, &begun, error, deadline);
	if (rc < 0 && begun) {
		pause_give_up(caller, pause);
		return rc;
	}
	if (rc < 0 && !*error->message)
		vm_error_set(error, EXIT_INTERNAL, rc, "the VM could not be stopped: %s",
			     strerror(-rc));
	if (rc == 0 && (rc = state_writer_result(&pause->writer)) < 0) {
		vm_error_set(error, EXIT_INTERNAL, rc, "the VM's state could not be written: %s",
			     strerror(-rc));
		pause_give_up(caller, pause);
		return rc;
	}
	if (rc < 0) {
		pause_put(pause);
		return rc;
	}
	*out = pause;
	return 0;
}
