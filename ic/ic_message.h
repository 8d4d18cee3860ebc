/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of the integration components: built for the guest, and read from what the guest
 * answered. Pure functions on bytes; see wire/ic.h.
 */
#ifndef LUNAR_IC_IC_MESSAGE_H
#define LUNAR_IC_IC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/ic.h"

#define IC_MAX_MESSAGE_BYTES 4096 /* hv_util reads no more */
#define IC_MAX_VERSIONS	     8

/* The versions in force on a channel. */
struct ic_versions {
	struct ic_version framework;
	struct ic_version message;
};

/* An answer of the guest; body points into the caller's bytes. */
struct ic_answer {
	uint16_t type;
	uint32_t status;
	uint8_t transaction_id;
	const uint8_t *body;
	size_t body_bytes;
};

/* Writes a request into bytes (IC_MAX_MESSAGE_BYTES of them). Returns its length, or -EMSGSIZE. */
int ic_message_build(uint8_t *bytes, uint16_t type, const struct ic_versions *versions,
		     uint8_t transaction_id, const void *body, size_t body_bytes);
/* The same for NEGOTIATE: offers every framework version we know and these of the service, at most
 * IC_MAX_VERSIONS. */
int ic_negotiate_build(uint8_t *bytes, uint8_t transaction_id, const struct ic_version *versions,
		       size_t count);

/* Whether both are versions that a guest could have chosen: of the framework one that we know, of
 * the service one of these. */
bool ic_versions_are_offered(const struct ic_versions *chosen, const struct ic_version *versions,
			     size_t count);

/* Reads an answer. Returns 0; -EPROTO: too short, not an answer, or a body that is longer than the
 * message. */
int ic_answer_parse(const void *bytes, size_t length, struct ic_answer *answer);
/* Reads the answer to NEGOTIATE. Returns 0; -EPROTO: malformed, or a version that was not offered;
 * -EOPNOTSUPP: the guest speaks none of them. */
int ic_negotiate_parse(const struct ic_answer *answer, const struct ic_version *versions,
		       size_t count, struct ic_versions *chosen);

#endif
