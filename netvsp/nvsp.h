/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVSP session of one vNIC: version, NDIS configuration, shared buffers, sub-channels. A pure
 * state machine: it takes the NVSP messages that the guest sent in-band and emits replies and data
 * path calls through ops. It does no I/O and takes no lock; all calls on one session come from one
 * thread at a time. Source: wire/nvsp.h.
 *
 * The data path reads the channel's packets and gives each one that is not NVSP_RNDIS to
 * nvsp_session_message(). It handles NVSP_RNDIS itself, with the helpers at the end: control bytes
 * go to netvsp/rndis_control.h, data to netvsp/rndis_packet.h.
 */
#ifndef LUNAR_NETVSP_NVSP_H
#define LUNAR_NETVSP_NVSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/nvsp.h"

struct nvsp_session;

#define NVSP_MAX_CHANNELS	    64 /* primary included; what Linux uses at most */
#define NVSP_MIN_MTU		    576
#define NVSP_MAX_MTU		    9216
#define NVSP_DEFAULT_MTU	    1500
#define NVSP_SEND_SECTION_BYTES	    6144
#define NVSP_MIN_RECV_SECTION_BYTES 1728

enum nvsp_buffer {
	NVSP_BUFFER_RECV,
	NVSP_BUFFER_SEND,
};

/* How a shared buffer is cut: section i is bytes [i * section_bytes, (i + 1) * section_bytes) of
 * the GPADL's view. */
struct nvsp_layout {
	uint32_t gpadl_id;
	uint16_t id; /* receive buffer: the transfer page set id of received packets */
	uint32_t section_bytes;
	uint32_t section_count; /* at least 1 */
};

struct nvsp_ops {
	/* Complete a packet of the primary channel: a completion packet with this transaction id
	 * and payload (length 0 to NVSP_MAX_MESSAGE_BYTES). Queued where the ring is full, never
	 * refused; at most one for each message. */
	void (*complete)(void *ctx, uint64_t transaction_id, const void *reply, size_t length);
	/* Send an in-band message on the primary channel, no completion requested. Queued, never
	 * refused; at most one for each nvsp_session_channel_opened(). */
	void (*send)(void *ctx, const void *message, size_t length);
	/*
	 * The size of a GPADL that the guest has lent: *size_bytes. Returns 0 or -ENOENT.
	 */
	int (*gpadl_size)(void *ctx, uint32_t gpadl_id, size_t *size_bytes);
	/* Start to use a buffer, cut as layout says (it fits the GPADL). Called before the reply
	 * goes out. Returns 0 or -errno (the guest gets a failure). */
	int (*buffer_attach)(void *ctx, enum nvsp_buffer buffer, const struct nvsp_layout *layout);
	/* The guest takes the buffer back: when this returns, no thread touches it. Called once for
	 * each attach. */
	void (*buffer_detach)(void *ctx, enum nvsp_buffer buffer);
	/* Ask the host to offer sub-channels 1..count. Called after the reply was emitted; count >
	 * 0. */
	void (*offer_sub_channels)(void *ctx, uint32_t count);
	/* Version, MTU, capabilities, buffers or granted sub-channels changed: read them with the
	 * getters. May be NULL. */
	void (*changed)(void *ctx);
};

struct nvsp_config {
	uint32_t max_channels; /* 1..NVSP_MAX_CHANNELS */
	uint32_t max_mtu;      /* NVSP_MIN_MTU..NVSP_MAX_MTU, without the Ethernet header */
};

/* ops and ctx must outlive the session. Returns 0, -EINVAL (config out of range) or -ENOMEM. */
int nvsp_session_create(const struct nvsp_config *config, const struct nvsp_ops *ops, void *ctx,
			struct nvsp_session **session);
/* Takes NULL. Calls no op. */
void nvsp_session_destroy(struct nvsp_session *session);

/*
 * A message of the primary channel that is not NVSP_RNDIS. bytes is a private copy of the packet's
 * payload. wants_completion: the packet's completion-requested flag. A request is always completed
 * exactly once when the guest asked for it: a malformed or unexpected one with a failure status, or
 * with an empty completion where the protocol has no reply.
 */
void nvsp_session_message(struct nvsp_session *session, uint64_t transaction_id,
			  bool wants_completion, const void *bytes, size_t length);
/* A sub-channel (index >= 1) was opened or closed. When all that were granted are open, the send
 * table goes out. */
void nvsp_session_channel_opened(struct nvsp_session *session, uint32_t sub_index);
void nvsp_session_channel_closed(struct nvsp_session *session, uint32_t sub_index);
/* The guest tears a GPADL down: a buffer that is still cut out of it is detached. */
void nvsp_session_gpadl_removed(struct nvsp_session *session, uint32_t gpadl_id);
/* The primary channel was closed: detaches the buffers and forgets all that was negotiated. */
void nvsp_session_reset(struct nvsp_session *session);

/* ---- a move ---- */

/* What was negotiated, as another session, maybe in another process, goes on with it. */
struct nvsp_saved {
	uint32_t version; /* 0: not yet, and nothing below */
	uint32_t mtu;
	uint64_t capabilities;
	bool attached[2]; /* by enum nvsp_buffer */
	struct nvsp_layout layouts[2];
	uint32_t granted;
	bool table_sent;
};

void nvsp_session_save(const struct nvsp_session *session, struct nvsp_saved *saved);
/* On a session that has had no message yet. Attaches the buffers through the ops. saved is hostile.
 * Returns 0; -EINVAL: not what this session could have become; -ENOENT: a buffer's GPADL is not
 * there; or buffer_attach's -errno. Where it fails the session is as before. */
int nvsp_session_restore(struct nvsp_session *session, const struct nvsp_saved *saved);

/* ---- what was negotiated ---- */

uint32_t nvsp_session_version(const struct nvsp_session *session); /* 0: not yet */
uint32_t nvsp_session_mtu(const struct nvsp_session *session);	   /* without the Ethernet header */
uint64_t nvsp_session_capabilities(
	const struct nvsp_session *session); /* NVSP_CAPABILITY_* that the guest claims */
uint32_t nvsp_session_channels(const struct nvsp_session *session); /* 1 + granted sub-channels */
/* NULL while not attached. */
const struct nvsp_layout *nvsp_session_layout(const struct nvsp_session *session,
					      enum nvsp_buffer buffer);
/* Length that replies have: NVSP_MESSAGE_BYTES or NVSP_MESSAGE_BYTES_61. */
size_t nvsp_session_reply_bytes(const struct nvsp_session *session);

/* Receive section that holds a frame of this MTU with its RNDIS header; also what a test expects.
 */
uint32_t nvsp_recv_section_bytes(uint32_t mtu);

/* ---- NVSP_RNDIS, for the data path: stateless, any thread ---- */

/* A message's type, or 0 where there is none (shorter than 4 bytes). */
uint32_t nvsp_message_type(const void *bytes, size_t length);
/* Reads an NVSP_RNDIS message out of a private copy. Returns 0 or -EINVAL (short, another type,
 * unknown channel type). */
int nvsp_parse_rndis(const void *bytes, size_t length, struct nvsp_rndis *rndis);
/* The bytes [*offset, *offset + *length) of the send buffer that a message names. Returns 0 (length
 * 0: no section), or -EINVAL: no buffer (layout NULL), index or size out of range. */
int nvsp_rndis_section(const struct nvsp_rndis *rndis, const struct nvsp_layout *layout,
		       size_t *offset, size_t *length);
/* Builds the completion of a guest's NVSP_RNDIS, padded to reply_bytes. message has room for
 * NVSP_MAX_MESSAGE_BYTES. */
void nvsp_build_rndis_complete(void *message, size_t reply_bytes, enum nvsp_status status);
/* Builds the NVSP_RNDIS payload of a transfer-page packet to the guest; channel_type:
 * NVSP_RNDIS_DATA or _CONTROL. */
void nvsp_build_rndis(void *message, size_t reply_bytes, uint32_t channel_type);
/* Reads the guest's completion of such a packet. Returns its nvsp_status; NVSP_STATUS_NONE where it
 * is malformed (its buffers are returned all the same). */
uint32_t nvsp_parse_rndis_complete(const void *bytes, size_t length);

#endif
