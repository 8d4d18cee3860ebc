/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control connection of a move, on either side: a thread reads frames into a queue, so that the
 * mover hears of a cut or of the peer's FAIL while it does something else, and may wait for a frame
 * for as long as it likes without spoiling the connection.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_CONTROL_H
#define LUNAR_HYPERVISOR_MIGRATION_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "hypervisor/migration/message.h"

struct migration_control;
struct migration_tls;
struct state_writer;

/* tls stays the caller's and outlives it. max_length: of a frame's payload. Returns 0 or -errno of
 * the thread, -ENOMEM. */
int migration_control_create(struct migration_tls *tls, size_t max_length,
			     struct migration_control **control);
/* Takes NULL. The connection is shut down first. */
void migration_control_destroy(struct migration_control *control);

/* The next frame, in *message, whose payload the caller's message takes over. 0; -ETIMEDOUT: none
 * came, and the connection is as good as before; or what ended it, once all frames are read. One
 * thread. */
int migration_control_receive(struct migration_control *control, struct migration_message *message,
			      struct deadline deadline);
/* Any thread: 0 while the connection is there, else what ended it. */
int migration_control_error(struct migration_control *control);

/* One thread. payload NULL: empty. */
int migration_control_send(struct migration_control *control, uint32_t type, const void *payload,
			   size_t length, struct deadline deadline);
/* Sends what was written, and ends the writer; its error is returned where it has one. */
int migration_control_send_state(struct migration_control *control, uint32_t type,
				 struct state_writer *writer, struct deadline deadline);

#endif
