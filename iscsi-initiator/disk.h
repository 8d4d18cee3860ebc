/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves commands from the kernel's ring to the session and their results back. Data is not touched:
 * libiscsi reads and writes the socket straight from and to the ring's data area.
 */
#ifndef LUNAR_ISCSI_INITIATOR_DISK_H
#define LUNAR_ISCSI_INITIATOR_DISK_H

#include "base/event_loop.h"
#include "iscsi-initiator/tcmu_device.h"
#include "iscsi-session/session.h"

struct disk;

/* Starts to serve the device's ring. Device and session are borrowed. Returns 0 or -errno. */
int disk_start(struct event_loop *loop, struct tcmu_device *device, struct session *session,
	       struct disk **disk);
/* Stops serving. The session must have no commands of the disk left. Takes NULL. */
void disk_stop(struct disk *disk);

/* The session's round_end: tells the kernel of what was completed since. disk may be NULL. */
void disk_round_end(struct disk *disk);

/* True where the ring was found damaged; the disk serves no more commands. */
bool disk_is_broken(const struct disk *disk);

#endif
