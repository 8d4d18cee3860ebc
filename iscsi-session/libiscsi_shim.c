/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions that stand in for libiscsi's own. Each __wrap_x is called where libiscsi calls x,
 * and may call __real_x. The declarations repeat the prototypes of libiscsi 1.19's private header;
 * they are kept honest by the API version check below, since the library is linked statically.
 */
#include "iscsi-session/libiscsi_shim.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "iscsi-session/data_digest.h"

#define LOG_COMPONENT "iscsi"
#include "base/log.h"

_Static_assert(LIBISCSI_API_VERSION == 20170105,
	       "check the wrapped functions against this libiscsi");

#define REPLY_BYTES	512u /* room for any sense data that the parser may walk */
#define MIN_SENSE_BYTES 20u
#define DEFERRED_MAX	65536u

struct iscsi_pdu;

/* The head of libiscsi's private struct iscsi_in_pdu. */
struct in_pdu {
	struct in_pdu *next;
	long long hdr_pos;
	unsigned char *hdr;
	long long data_pos;
	unsigned char *data;
};

int iscsi_reconnect(struct iscsi_context *iscsi);
void iscsi_init_iser_transport(struct iscsi_context *iscsi);
void iscsi_set_error(struct iscsi_context *iscsi, const char *format, ...);

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's --wrap makes these names */
int __wrap_iscsi_reconnect(struct iscsi_context *iscsi);
int __wrap_iscsi_pdu_add_data(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
			      unsigned char *data, int size);
int __wrap_iscsi_process_scsi_reply(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
				    struct in_pdu *in);
int __wrap_iscsi_process_r2t(struct iscsi_context *iscsi, struct iscsi_pdu *pdu, struct in_pdu *in);
void __wrap_iscsi_tcp_free_pdu(struct iscsi_context *iscsi, struct iscsi_pdu *pdu);
int __wrap_rand(void);
void __wrap_iscsi_log_message(struct iscsi_context *iscsi, int level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int __real_iscsi_pdu_add_data(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
			      unsigned char *data, int size);
int __real_iscsi_process_scsi_reply(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
				    struct in_pdu *in);
int __real_iscsi_process_r2t(struct iscsi_context *iscsi, struct iscsi_pdu *pdu, struct in_pdu *in);
void __real_iscsi_tcp_free_pdu(struct iscsi_context *iscsi, struct iscsi_pdu *pdu);

/* PDUs whose release is put off. A thread has one connection at a time. */
static _Thread_local struct {
	struct iscsi_pdu **pdus;
	size_t count, capacity;
	bool active;
} deferred;

/* iSER is not offered: no RDMA library is linked. libiscsi only calls this when a caller asks for
 * iSER. */
void iscsi_init_iser_transport(struct iscsi_context *iscsi)
{
	iscsi_set_error(iscsi, "iSER is not supported");
}

/* The session layer reconnects, with the same ISID; libiscsi's own reconnect would take a random
 * one. */
int __wrap_iscsi_reconnect(struct iscsi_context *iscsi)
{
	(void)iscsi;
	return -1;
}

static _Thread_local const char *data_digest_values = "None";

void shim_ask_data_digest(const char *values)
{
	data_digest_values = values;
}

static bool is_key(const unsigned char *data, int size, const char *key)
{
	size_t length = strlen(key);

	return size > (int)length && memcmp(data, key, length) == 0;
}

/*
 * libiscsi has no setter for MaxBurstLength, and asks for 256 KiB; it honours any R2T up to what
 * was agreed. Of data digests it knows nothing: data_digest.c does them.
 */
int __wrap_iscsi_pdu_add_data(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
			      unsigned char *data, int size)
{
	char text[40];

	if (is_key(data, size, "MaxBurstLength=")) {
		size = snprintf(text, sizeof(text), "MaxBurstLength=%u", SHIM_MAX_BURST_BYTES) + 1;
		data = (unsigned char *)text;
	} else if (is_key(data, size, "DataDigest=")) {
		size = snprintf(text, sizeof(text), "DataDigest=%s", data_digest_values) + 1;
		data = (unsigned char *)text;
	}
	return __real_iscsi_pdu_add_data(iscsi, pdu, data, size);
}

/* libiscsi parses sense data without looking at its length: give it zeroes to run into. */
int __wrap_iscsi_process_scsi_reply(struct iscsi_context *iscsi, struct iscsi_pdu *pdu,
				    struct in_pdu *in)
{
	if (in->hdr[3] == SCSI_STATUS_CHECK_CONDITION && in->data_pos < (long long)REPLY_BYTES) {
		size_t have = (size_t)in->data_pos;
		unsigned char *grown = realloc(in->data, REPLY_BYTES);
		if (grown == NULL)
			return -1;
		memset(grown + have, 0, REPLY_BYTES - have);
		in->data = grown;
		in->data_pos = REPLY_BYTES;
	}
	return __real_iscsi_process_scsi_reply(iscsi, pdu, in);
}

/* An R2T makes libiscsi allocate a PDU per segment at once: keep that within the burst we agreed
 * to. */
int __wrap_iscsi_process_r2t(struct iscsi_context *iscsi, struct iscsi_pdu *pdu, struct in_pdu *in)
{
	uint32_t length = get_be32(in->hdr + 44);

	if (length == 0 || length > SHIM_MAX_BURST_BYTES) {
		iscsi_set_error(iscsi, "target asked for %u bytes in one R2T", length);
		return -1;
	}
	return __real_iscsi_process_r2t(iscsi, pdu, in);
}

/* libiscsi draws its CHAP challenge from rand(). */
int __wrap_rand(void)
{
	unsigned int value = 0;

	if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
		log_warn_limited("getrandom: %m");
	return (int)(value & (unsigned int)RAND_MAX);
}

static _Thread_local void (*log_fn)(int level, const char *line);

void shim_set_log_fn(struct iscsi_context *iscsi, void (*fn)(int level, const char *line))
{
	log_fn = fn;
	iscsi_set_log_fn(iscsi, fn); /* libiscsi looks whether there is one */
}

/* libiscsi puts its lines into one buffer of the process, and replies are read from them. */
void __wrap_iscsi_log_message(struct iscsi_context *iscsi, int level, const char *format, ...)
{
	char line[1024];
	va_list arguments;

	(void)iscsi;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (log_fn != NULL)
		log_fn(level, line);
}

static void deferred_release(struct iscsi_context *iscsi, size_t count)
{
	for (size_t i = 0; i < count; i++)
		__real_iscsi_tcp_free_pdu(iscsi, deferred.pdus[i]);
	deferred.count -= count;
	if (deferred.count > 0)
		memmove(deferred.pdus, deferred.pdus + count,
			deferred.count * sizeof(struct iscsi_pdu *));
}

void __wrap_iscsi_tcp_free_pdu(struct iscsi_context *iscsi, struct iscsi_pdu *pdu)
{
	if (!deferred.active || pdu == NULL) {
		__real_iscsi_tcp_free_pdu(iscsi, pdu);
		return;
	}
	if (deferred.count == DEFERRED_MAX)
		deferred_release(iscsi, deferred.count / 2);
	if (deferred.count == deferred.capacity) {
		size_t capacity = deferred.capacity == 0 ? 256 : deferred.capacity * 2;
		struct iscsi_pdu **grown =
			reallocarray(deferred.pdus, capacity, sizeof(struct iscsi_pdu *));
		if (grown == NULL)
			return; /* a lost PDU is better than a freed one in use */
		deferred.pdus = grown;
		deferred.capacity = capacity;
	}
	deferred.pdus[deferred.count++] = pdu;
}

int shim_which_events(struct iscsi_context *iscsi)
{
	return iscsi_which_events(iscsi) | (data_digest_is_pending() ? POLLOUT : 0);
}

int shim_service(struct iscsi_context *iscsi, int events)
{
	int incoming = events & ~POLLOUT;
	int ret = 0;

	if (incoming != 0) {
		deferred.active = (iscsi_which_events(iscsi) & POLLOUT) != 0;
		ret = iscsi_service(iscsi, incoming);
		deferred.active = false;
	}
	if (ret == 0 && (events & POLLOUT) != 0 && data_digest_flush() < 0)
		ret = -1;
	if (ret == 0 && (events & POLLOUT) != 0)
		ret = iscsi_service(iscsi, POLLOUT);
	if (ret == 0 && deferred.count > 0 && (iscsi_which_events(iscsi) & POLLOUT) == 0)
		deferred_release(iscsi, deferred.count);
	return ret == 0 ? 0 : -1;
}

void shim_destroy_context(struct iscsi_context *iscsi)
{
	if (iscsi == NULL)
		return;
	deferred.active = true;
	iscsi_destroy_context(iscsi);
	deferred.active = false;
	if (deferred.count == 0)
		goto out;
	/* The PDUs outlived their context; another one's allocator takes them back. */
	struct iscsi_context *scratch = iscsi_create_context("iqn.scratch");
	if (scratch == NULL)
		return;
	deferred_release(scratch, deferred.count);
	iscsi_destroy_context(scratch);
out:
	/* The thread may end now. */
	free(deferred.pdus);
	deferred.pdus = NULL;
	deferred.capacity = 0;
}
/* NOLINTEND(bugprone-reserved-identifier) */
