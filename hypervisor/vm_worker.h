/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VM with all that belongs to it on this host: its name's lock, its folder, its API and its
 * definition; started from a file, received from another host, or restored. What vmwp is, without
 * its command line. Loop's thread only.
 */
#ifndef LUNAR_HYPERVISOR_VM_WORKER_H
#define LUNAR_HYPERVISOR_VM_WORKER_H

#include <stdbool.h>

#include "base/exit_code.h"
#include "hypervisor/vm_error.h"

struct engine_ops;
struct event_loop;
struct vm;
struct vm_worker;

/* There is nothing left to do: the VM has come to a final state, or did not arrive. From the loop;
 * the worker may not be destroyed from within. */
typedef void (*vm_worker_ended_fn)(void *ctx);

struct vm_worker_config {
	struct event_loop *loop;
	const struct engine_ops *engine;
	bool no_api;
	bool take_log; /* of what arrives: standard output and error go to the VM's log */
	vm_worker_ended_fn ended;
	void *ctx;
};

/* Returns 0 (the caller destroys) or -errno with *error. */
int vm_worker_create(const struct vm_worker_config *config, struct vm_worker **worker,
		     struct vm_error *error);
/* Takes NULL. Stops what runs, at once. */
void vm_worker_destroy(struct vm_worker *worker);

/* One of these, once. Each returns 0, or -errno with *error; the worker may then only be
 * destroyed. */

/* Starts the VM that a YAML file defines. EXIT_STATE: it runs already, or lives elsewhere since a
 * move. */
int vm_worker_start(struct vm_worker *worker, const char *definition_path, struct vm_error *error);
/* Serves one connection of another host (takes the socket over): a VM that comes here, a check, or
 * a question. */
int vm_worker_receive(struct vm_worker *worker, int socket, struct vm_error *error);
/* Runs the VM that a file of vm_save() holds. */
int vm_worker_restore(struct vm_worker *worker, const char *path, struct vm_error *error);

/* A signal to end: gracefully, after a move that is under way was cancelled; again: by force. A VM
 * that is still on its way here is dropped. */
void vm_worker_request_stop(struct vm_worker *worker);

/* After ended. What the program should exit with, and where it is not EXIT_OK one line why. */
enum exit_code vm_worker_get_result(const struct vm_worker *worker, struct vm_error *error);
/* NULL as long as none has arrived. */
struct vm *vm_worker_get_vm(const struct vm_worker *worker);

#endif
