/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What we change in libiscsi 1.19 at link time, because its API does not offer it: who owns
 * reconnection, the burst length that is asked for, and guards against replies that it would read
 * out of bounds. The linker's
 * --wrap sends libiscsi's calls here; module.mk lists them. docs/decisions has the reasons.
 */
#ifndef LUNAR_ISCSI_SESSION_LIBISCSI_SHIM_H
#define LUNAR_ISCSI_SESSION_LIBISCSI_SHIM_H

#include <stdint.h>

struct iscsi_context;

#define SHIM_MAX_BURST_BYTES   1048576u
#define SHIM_MAX_SEGMENT_BYTES 262144u

/* What the next login says of data digests, which libiscsi would always refuse: "None",
 * "CRC32C,None", "CRC32C". */
void shim_ask_data_digest(const char *values);

/* What libiscsi logs goes to fn, on the thread that caused it. */
void shim_set_log_fn(struct iscsi_context *iscsi, void (*fn)(int level, const char *line));

/* Like iscsi_which_events(). */
int shim_which_events(struct iscsi_context *iscsi);

/*
 * Serves the connection: like iscsi_service(), but PDUs that a reply frees stay readable while
 * libiscsi is still sending them (it keeps a pointer). events: poll(2) bits. Returns 0, or -1 where
 * the connection is lost.
 */
int shim_service(struct iscsi_context *iscsi, int events);

/* Like iscsi_destroy_context(), but never touches a PDU that it has freed. Takes NULL. */
void shim_destroy_context(struct iscsi_context *iscsi);

#endif
