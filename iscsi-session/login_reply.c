/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parses "TargetLoginReply: Key=Value [iqn...]" and checks the outcome. libiscsi itself takes any
 * number that a target sends; a segment length of zero would make it loop for ever, so nothing is
 * sent before the check has passed.
 */
#include "iscsi-session/login_reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "iscsi-session/libiscsi_shim.h"

#define LENGTH_MIN 512u	     /* RFC 7143 13.12 to 13.14 */
#define LENGTH_MAX 16777215u /* 2^24 - 1 */
#define VALUE_MAX  64u	     /* of the keys that count here */

static const char line_prefix[] = "TargetLoginReply: ";

void login_reply_init(struct login_reply *reply)
{
	*reply = (struct login_reply){
		.initial_r2t = true,
		.immediate_data = true,
		.max_burst_bytes = SHIM_MAX_BURST_BYTES,
		.first_burst_bytes = 262144,
		.max_send_segment_bytes = 8192,
		.max_receive_segment_bytes = SHIM_MAX_SEGMENT_BYTES,
	};
}

/* Anything but a plain decimal number becomes 0, which login_reply_check() refuses. */
static uint32_t parse_length(const char *text)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return 0;
	value = strtoul(text, &end, 10);
	return *end == '\0' && value <= LENGTH_MAX ? (uint32_t)value : 0;
}

static void take_key(struct login_reply *reply, const char *key, size_t key_length,
		     const char *value)
{
	const struct {
		const char *key;
		uint32_t *value;
	} lengths[] = {
		{"MaxBurstLength", &reply->max_burst_bytes},
		{"FirstBurstLength", &reply->first_burst_bytes},
		{"MaxRecvDataSegmentLength", &reply->max_send_segment_bytes},
	};
	const struct {
		const char *key, *when_true;
		bool *value;
	} flags[] = {
		{"HeaderDigest", "CRC32C", &reply->header_digest},
		{"DataDigest", "CRC32C", &reply->data_digest},
		{"InitialR2T", "Yes", &reply->initial_r2t},
		{"ImmediateData", "Yes", &reply->immediate_data},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++)
		if (strlen(lengths[i].key) == key_length &&
		    memcmp(key, lengths[i].key, key_length) == 0)
			*lengths[i].value = parse_length(value);
	for (size_t i = 0; i < ARRAY_LENGTH(flags); i++)
		if (strlen(flags[i].key) == key_length &&
		    memcmp(key, flags[i].key, key_length) == 0)
			*flags[i].value = strcmp(value, flags[i].when_true) == 0;
	if (key_length == 6 && memcmp(key, "CHAP_R", 6) == 0)
		reply->target_proved_itself = true;
}

bool login_reply_take_log_line(struct login_reply *reply, const char *line)
{
	char value[VALUE_MAX];
	const char *equals;
	size_t length;

	if (strncmp(line, line_prefix, sizeof(line_prefix) - 1) != 0)
		return false;
	line += sizeof(line_prefix) - 1;
	equals = strchr(line, '=');
	if (equals == NULL)
		return true;
	/* No value that counts has a space: what follows is libiscsi's note of the target. */
	length = strcspn(equals + 1, " ");
	if (length >= sizeof(value))
		length = sizeof(value) - 1;
	memcpy(value, equals + 1, length);
	value[length] = '\0';
	take_key(reply, line, (size_t)(equals - line), value);
	return true;
}

const char *login_reply_check(const struct login_reply *reply)
{
	if (reply->max_send_segment_bytes < LENGTH_MIN)
		return "the target's MaxRecvDataSegmentLength is out of range";
	if (reply->max_burst_bytes < LENGTH_MIN || reply->max_burst_bytes > SHIM_MAX_BURST_BYTES)
		return "the target's MaxBurstLength is out of range";
	if (reply->first_burst_bytes < LENGTH_MIN || reply->first_burst_bytes > 262144)
		return "the target's FirstBurstLength is out of range";
	return NULL;
}
