/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's log, $LUNAR_RUN_DIR/vm/NAME/vmwp.log. `lunar start` opens it for the vmwp that it starts;
 * a vmwp that learns its VM's name only later (--incoming, --restore) opens it itself.
 */
#ifndef LUNAR_HYPERVISOR_VM_LOG_H
#define LUNAR_HYPERVISOR_VM_LOG_H

#include <stddef.h>

/*
 * Makes the VM's folder, keeps the log of the run before as vmwp.log.1, and opens an empty one to
 * append to. path receives its name. Returns the fd (close-on-exec), or -errno with path naming
 * what was refused; -ENAMETOOLONG.
 */
int vm_log_open(const char *name, char *path, size_t path_bytes);

/*
 * For a vmwp that was started without a name, once it holds that name (and so knows who is at the
 * other end): prints the name as a line on standard output, then lets standard output and error go
 * to the VM's log. Whoever started it (`lunar receive`, `lunar restore`) reads the name, and sees
 * by the end of that stream that there is no more to come. Where the log cannot be opened, standard
 * error stays and standard output ends all the same; returns 0 or -errno.
 */
int vm_log_take(const char *name);

#endif
