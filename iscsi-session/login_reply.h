/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operational parameters of a session (RFC 7143 13), as the target's login replies settle them.
 * libiscsi shows each key=value of a reply only to its log function; this module reads them from
 * there.
 */
#ifndef LUNAR_ISCSI_SESSION_LOGIN_REPLY_H
#define LUNAR_ISCSI_SESSION_LOGIN_REPLY_H

#include <stdbool.h>
#include <stdint.h>

struct login_reply {
	bool header_digest; /* CRC32C */
	bool data_digest;   /* CRC32C */
	bool initial_r2t;
	bool immediate_data;
	bool target_proved_itself; /* a CHAP_R came, and libiscsi accepted it */
	uint32_t max_burst_bytes;
	uint32_t first_burst_bytes;
	uint32_t max_send_segment_bytes; /* the target's MaxRecvDataSegmentLength */
	uint32_t max_receive_segment_bytes;
};

/* The values that hold where the target says nothing (RFC 7143 13), and those that we ask for. */
void login_reply_init(struct login_reply *reply);

/*
 * Takes one line of libiscsi's log: "TargetLoginReply: Key=Value [target's name]". Returns true
 * where it was a key of a login reply, which is then not for logging (it may be a CHAP challenge).
 * Unknown keys are passed over.
 */
bool login_reply_take_log_line(struct login_reply *reply, const char *line);

/* Returns NULL where the parameters are usable, else a phrase that says which is not (RFC 7143
 * bounds). */
const char *login_reply_check(const struct login_reply *reply);

#endif
