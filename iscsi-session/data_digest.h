/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data digests (RFC 7143 11.2.3) for libiscsi, which has none: its socket calls are sent here at
 * link time, and this module follows the PDUs in both streams. Behind each data segment it puts, or
 * takes and checks, the CRC32C; libiscsi sees a connection without. A data segment is only handed
 * over whole when its digest was right.
 */
#ifndef LUNAR_ISCSI_SESSION_DATA_DIGEST_H
#define LUNAR_ISCSI_SESSION_DATA_DIGEST_H

#include <stdbool.h>

/*
 * From now on both streams of fd carry data digests. Call between two PDUs, when the login is over;
 * header_digest: headers carry digests too (which libiscsi deals with). A thread has one
 * connection at a time, and serves it alone.
 */
void data_digest_start(int fd, bool header_digest);
void data_digest_stop(void);

/* True where part of a digest waits for the socket to take it. */
bool data_digest_is_pending(void);
/* Sends it as far as the socket takes it. Returns 0 or -errno, but not -EAGAIN. */
int data_digest_flush(void);

#endif
