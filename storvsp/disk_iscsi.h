/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A LUN of an iSCSI target, which the parent logs in to: CDBs go there as they are, and its answers
 * come back. One session a disk, on a thread of its own. A target that goes away holds the requests
 * for 120 s; then they fail until it is back.
 */
#ifndef LUNAR_STORVSP_DISK_ISCSI_H
#define LUNAR_STORVSP_DISK_ISCSI_H

#include <stddef.h>

struct disk;
struct disk_options;

/* As disk_open(); path is iscsi://[user@]host[:port]/target/lun. Blocks, for at most 15 s. */
int disk_iscsi_open(const struct disk_options *options, struct disk **disk, char *message,
		    size_t message_bytes);

#endif
