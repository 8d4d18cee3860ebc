/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker process of one VM, which it starts, takes from another host, or restores from a file;
 * it ends when the VM does, or has moved away. All of the program but which engine runs the VM.
 */
#ifndef LUNAR_HYPERVISOR_VMWP_H
#define LUNAR_HYPERVISOR_VMWP_H

#include "base/exit_code.h"

struct engine_ops;

/* Returns what the program exits with; what went wrong is said on standard error. */
enum exit_code vmwp_run(int argc, char **argv, const struct engine_ops *engine);

#endif
