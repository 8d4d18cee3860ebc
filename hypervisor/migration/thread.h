/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread of a move: with a name for people who look, and no signals, which are the event loop's.
 */
#ifndef LUNAR_HYPERVISOR_MIGRATION_THREAD_H
#define LUNAR_HYPERVISOR_MIGRATION_THREAD_H

#include <pthread.h>

/* name: at most 15 characters. Returns 0 or -errno; the caller joins. */
int migration_thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *thread);

#endif
