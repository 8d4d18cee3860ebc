/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Image locks: one writer or many readers of an image file, in this host and, on NFS, in all hosts.
 *
 * The lock is an open file description lock over the whole file (fcntl(2), F_OFD_SETLK): it goes
 * with the last descriptor, so that a process that dies leaves none behind, and Linux' NFS client
 * maps it to a lock on the server, which arbitrates between hosts. A client that lost its lock (it
 * was away for longer than its lease) gets -EIO for each write from then on. QEMU keeps its locks
 * on bytes of the same file, so that a writer of ours and a writer of QEMU's exclude each other
 * too. A block device is held by O_EXCL as well, which mounts and other programs respect.
 */
#ifndef LUNAR_STORVSP_IMAGE_LOCK_H
#define LUNAR_STORVSP_IMAGE_LOCK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Takes the lock on an open file, at once or not at all. shared: with other readers. May hang with
 * the share. Returns 0; -EBUSY with who holds it in message, as far as that can be known; another
 * -errno where this file system has no locks (-ENOLCK on NFS 3 without lockd): a reader may go on
 * without.
 */
int image_lock_take(int fd, const char *path, bool shared, char *message, size_t message_bytes);
void image_lock_drop(int fd);

#endif
