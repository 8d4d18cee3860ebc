/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk's request as a SCSI command, and back. Source: SBC-3 5 (READ(16), WRITE(16), SYNCHRONIZE
 * CACHE(10), WRITE SAME(16), UNMAP).
 */
#ifndef LUNAR_STORVSP_ISCSI_REQUEST_H
#define LUNAR_STORVSP_ISCSI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "iscsi-session/session.h"
#include "storvsp/disk.h"

#define ISCSI_PARAMETER_BYTES 24 /* UNMAP's, with one descriptor */

/* Fills command but for done. parameter and iov are the command's own until it is done. Returns 0,
 * or -EINVAL where it does not fit. */
int iscsi_request_to_command(const struct disk_request *request, uint32_t block_bytes,
			     uint8_t parameter[ISCSI_PARAMETER_BYTES], struct iovec *iov,
			     struct session_command *command);
/* The target's answer: the request's status, with that of DISK_SCSI filled in. */
int iscsi_request_status(const struct disk_request *request, const struct session_command *command);
/* True where the target only had something to tell, and the command is to be sent again. */
bool iscsi_request_is_to_repeat(const struct disk_request *request,
				const struct session_command *command);

#endif
