/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Texts from users, files and targets: URLs, portals, the initiator name file, login replies. What
 * is accepted is valid and bounded.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi-session/initiator_name.h"
#include "iscsi-session/iscsi_url.h"
#include "iscsi-session/login_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct iscsi_address address = {0};
	struct login_reply reply;
	char name[ISCSI_NAME_MAX + 1];
	const char *why = NULL;

	memcpy(text, data, size);
	text[size] = '\0';
	if (iscsi_url_parse(text, &address, &why) == 0) {
		if (!iscsi_name_is_valid(address.target) || address.port == 0 ||
		    address.lun > ISCSI_LUN_MAX || strpbrk(address.user, "%:") != NULL)
			abort();
	} else if (why == NULL) {
		abort();
	}
	iscsi_portal_parse(text, &address, &why);
	if (initiator_name_parse(text, name) == 0 && !iscsi_name_is_valid(name))
		abort();
	initiator_name_is_template(text);
	login_reply_init(&reply);
	login_reply_take_log_line(&reply, text);
	if (login_reply_check(&reply) == NULL && reply.max_send_segment_bytes < 512)
		abort();
	free(text);
	return 0;
}
