/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See ic_message.h.
 */
#include "ic/ic_message.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

static const struct ic_version framework_versions[] = {{1, 0}, {3, 0}};

int ic_message_build(uint8_t *bytes, uint16_t type, const struct ic_versions *versions,
		     uint8_t transaction_id, const void *body, size_t body_bytes)
{
	struct ic_header header = {0};

	if (body_bytes > IC_MAX_MESSAGE_BYTES - sizeof(header))
		return -EMSGSIZE;
	header.pipe_type = IC_PIPE_DATA;
	header.pipe_bytes =
		(uint32_t)(sizeof(header) - offsetof(struct ic_header, framework) + body_bytes);
	header.framework = versions->framework;
	header.type = type;
	header.message = versions->message;
	header.body_bytes = (uint16_t)body_bytes;
	header.transaction_id = transaction_id;
	header.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST;
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), body, body_bytes);
	return (int)(sizeof(header) + body_bytes);
}

int ic_negotiate_build(uint8_t *bytes, uint8_t transaction_id, const struct ic_version *versions,
		       size_t count)
{
	const struct ic_versions none = {0};
	struct {
		struct ic_negotiate head;
		struct ic_version versions[ARRAY_LENGTH(framework_versions) + IC_MAX_VERSIONS];
	} body = {0};

	if (count > IC_MAX_VERSIONS)
		return -EMSGSIZE;
	body.head.framework_count = ARRAY_LENGTH(framework_versions);
	body.head.message_count = (uint16_t)count;
	memcpy(body.versions, framework_versions, sizeof(framework_versions));
	memcpy(body.versions + ARRAY_LENGTH(framework_versions), versions,
	       count * sizeof(*versions));
	return ic_message_build(bytes, IC_NEGOTIATE, &none, transaction_id, &body,
				sizeof(body.head) + sizeof(framework_versions) +
					count * sizeof(*versions));
}

int ic_answer_parse(const void *bytes, size_t length, struct ic_answer *answer)
{
	struct ic_header header;

	if (length < sizeof(header))
		return -EPROTO;
	memcpy(&header, bytes, sizeof(header));
	if (!(header.flags & IC_FLAG_RESPONSE) || header.body_bytes > length - sizeof(header))
		return -EPROTO;
	answer->type = header.type;
	answer->status = header.status;
	answer->transaction_id = header.transaction_id;
	answer->body = (const uint8_t *)bytes + sizeof(header);
	answer->body_bytes = header.body_bytes;
	return 0;
}

static bool version_is_offered(const struct ic_version *version, const struct ic_version *versions,
			       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (version->major == versions[i].major && version->minor == versions[i].minor)
			return true;
	}
	return false;
}

bool ic_versions_are_offered(const struct ic_versions *chosen, const struct ic_version *versions,
			     size_t count)
{
	return version_is_offered(&chosen->framework, framework_versions,
				  ARRAY_LENGTH(framework_versions)) &&
	       version_is_offered(&chosen->message, versions, count);
}

int ic_negotiate_parse(const struct ic_answer *answer, const struct ic_version *versions,
		       size_t count, struct ic_versions *chosen)
{
	struct ic_versions answered;
	struct ic_negotiate head;

	if (answer->body_bytes < sizeof(head))
		return -EPROTO;
	memcpy(&head, answer->body, sizeof(head));
	if (head.framework_count == 0 && head.message_count == 0)
		return -EOPNOTSUPP;
	if (head.framework_count != 1 || head.message_count != 1 ||
	    answer->body_bytes < sizeof(head) + sizeof(answered))
		return -EPROTO;
	memcpy(&answered, answer->body + sizeof(head), sizeof(answered));
	if (!ic_versions_are_offered(&answered, versions, count))
		return -EPROTO;
	*chosen = answered;
	return 0;
}
