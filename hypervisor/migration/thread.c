/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads of a move. See thread.h.
 */
#include "hypervisor/migration/thread.h"

#include <signal.h>

int migration_thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *thread)
{
	sigset_t all;
	sigset_t before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		pthread_setname_np(*thread, name);
	return -rc;
}
