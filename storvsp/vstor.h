/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VSTOR session of a controller: versions, properties and sub-channels, a state machine that
 * takes the packets that are not SCSI requests and says what they ask for. Pure: it sends nothing
 * and takes no lock. Source: see wire/vstor.h.
 */
#ifndef LUNAR_STORVSP_VSTOR_H
#define LUNAR_STORVSP_VSTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/vstor.h"

#define VSTOR_MAX_TRANSFER_BYTES (1u << 20)

/* The numbers are those of the saved state. */
enum vstor_state {
	VSTOR_EXPECTS_BEGIN,
	VSTOR_EXPECTS_VERSION,
	VSTOR_EXPECTS_PROPERTIES,
	VSTOR_EXPECTS_END,
	VSTOR_READY, /* SRBs are taken */
};

struct vstor_session {
	enum vstor_state state;
	uint16_t version;	   /* as agreed, 0: not yet */
	uint16_t max_sub_channels; /* that the guest may ask for */
};

enum vstor_action {
	VSTOR_ANSWER,		    /* reply is ready */
	VSTOR_OFFER_SUB_CHANNELS,   /* *argument of them, then reply with what came of it */
	VSTOR_FLUSH_AND_RESET_ALL,  /* reply when every command that is under way has ended */
	VSTOR_FLUSH_AND_RESET_UNIT, /* the same, of unit *argument */
};

/* A new session: the primary channel was opened. */
void vstor_session_reset(struct vstor_session *session, uint16_t max_sub_channels);

/*
 * request: a copy of a packet's payload, length bytes of it; may be cut. primary: it came on the
 * primary channel. reply is made the answer of success or failure; the caller changes its status
 * where an action fails.
 */
enum vstor_action vstor_session_message(struct vstor_session *session, const void *request,
					size_t length, bool primary, struct vstor_packet *reply,
					uint32_t *argument);

/* How long the answer to a request of that length is: the same, but not shorter than a header nor
 * longer than a packet. */
size_t vstor_reply_bytes(size_t request_bytes);

/* Whether version is one that we speak. */
bool vstor_version_is_known(uint16_t version);

#endif
