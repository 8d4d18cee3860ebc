/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VM writes its state into memory of the pause, which therefore lives until the VM has said
 * that it is done, whatever became of the mover. See pause.h.
 */
#include "hypervisor/migration/pause.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "hypervisor/migration/call.h"
#include "hypervisor/migration/vm.h"

#define ABANDON_MS 5000

struct migration_pause {
	const struct migration_source_vm_ops *ops;
	void *ctx;
	struct state_writer writer;
	struct migration_call *call;
	/* Loop's thread: */
	bool abandoned; /* the mover has given up: undo it when it is done */
	bool done;
	int status;
};

void migration_pause_free(struct migration_pause *pause)
{
	if (!pause)
		return;
	state_writer_fini(&pause->writer);
	free(pause);
}

const uint8_t *migration_pause_state(const struct migration_pause *pause, size_t *length)
{
	*length = pause->writer.length;
	return pause->writer.bytes;
}

static void pause_undo(struct migration_pause *pause)
{
	if (pause->status == 0)
		pause->ops->resume(pause->ctx);
	migration_pause_free(pause);
}

static void on_paused(void *ctx, int status, const struct vm_error *error)
{
	struct migration_pause *pause = ctx;
	struct migration_call *call = pause->call;

	pause->done = true;
	pause->status = status;
	if (pause->abandoned)
		pause_undo(pause);
	migration_call_done(call, status, error);
}

static int pause_begin(void *ctx, struct migration_call *call, struct vm_error *error)
{
	struct migration_pause *pause = ctx;
	int rc;

	pause->call = call;
	rc = pause->ops->pause_and_save(pause->ctx, &pause->writer, on_paused, pause);
	return rc < 0 ? vm_error_set(error, EXIT_INTERNAL, rc, "the VM could not be stopped: %s",
				     strerror(-rc))
		      : 0;
}

static int pause_abandon(void *ctx, struct vm_error *error)
{
	struct migration_pause *pause = ctx;

	(void)error;
	if (pause->done)
		pause_undo(pause);
	else
		pause->abandoned = true;
	return 0;
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
	pause->ops = ops;
	pause->ctx = ctx;
	state_writer_init(&pause->writer);
	rc = migration_call_wait(caller, pause_begin, pause, &begun, error, deadline);
	if (rc < 0 && begun) {
		/* Where the loop cannot be told, the VM is being torn down, and this with it. */
		migration_call(caller, pause_abandon, pause, NULL, deadline_in_ms(ABANDON_MS));
		return rc;
	}
	if (rc < 0 && !*error->message)
		vm_error_set(error, EXIT_INTERNAL, rc, "the VM could not be stopped: %s",
			     strerror(-rc));
	if (rc == 0 && (rc = state_writer_result(&pause->writer)) < 0) {
		vm_error_set(error, EXIT_INTERNAL, rc, "the VM's state could not be written: %s",
			     strerror(-rc));
		migration_call(caller, pause_abandon, pause, NULL, deadline_in_ms(ABANDON_MS));
		return rc;
	}
	if (rc < 0) {
		migration_pause_free(pause);
		return rc;
	}
	*out = pause;
	return 0;
}
