/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A CDB to the device behind a block device, by SG_IO. Source: Linux include/scsi/sg.h (version 3
 * of the interface).
 */
#ifndef LUNAR_STORVSP_SCSI_GENERIC_H
#define LUNAR_STORVSP_SCSI_GENERIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk_scsi;
struct sg_io_hdr;

/* How a command gets to the device: 0 or -errno. */
typedef int (*scsi_generic_fn)(int fd, struct sg_io_hdr *io);

bool scsi_generic_is_there(int fd);

/* Blocks until the device has answered, or the command's time-out is over. length: the sum of iov.
 * Returns 0 with the answer in scsi; -EIO where the command did not reach the device; -ETIMEDOUT;
 * -ENODEV. */
int scsi_generic_run(int fd, struct disk_scsi *scsi, const struct iovec *iov, uint32_t iov_count,
		     uint64_t length);

/* By another way than SG_IO: for tests. */
int scsi_generic_run_by(scsi_generic_fn sg_io, int fd, struct disk_scsi *scsi,
			const struct iovec *iov, uint32_t iov_count, uint64_t length);

#endif
