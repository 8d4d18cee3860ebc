/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bounded queue of posted messages. See message_inbox.h.
 */
#include "hypervisor/message_inbox.h"

#include <errno.h>
#include <string.h>

void message_inbox_init(struct message_inbox *inbox)
{
	inbox->head = 0;
	inbox->count = 0;
	pthread_mutex_init(&inbox->lock, NULL);
}

void message_inbox_fini(struct message_inbox *inbox)
{
	pthread_mutex_destroy(&inbox->lock);
}

int message_inbox_put(struct message_inbox *inbox, uint32_t connection_id, const void *payload,
		      size_t length)
{
	struct inbox_message *slot;
	int result = -ENOBUFS;

	pthread_mutex_lock(&inbox->lock);
	if (inbox->count < MESSAGE_INBOX_SLOTS && length <= HV_MESSAGE_PAYLOAD_BYTES) {
		slot = &inbox->slots[(inbox->head + inbox->count++) % MESSAGE_INBOX_SLOTS];
		slot->connection_id = connection_id;
		slot->length = (uint32_t)length;
		memcpy(slot->payload, payload, length);
		result = 0;
	}
	pthread_mutex_unlock(&inbox->lock);
	return result;
}

bool message_inbox_take(struct message_inbox *inbox, struct inbox_message *message)
{
	bool found = false;

	pthread_mutex_lock(&inbox->lock);
	if (inbox->count) {
		*message = inbox->slots[inbox->head];
		inbox->head = (inbox->head + 1) % MESSAGE_INBOX_SLOTS;
		inbox->count--;
		found = true;
	}
	pthread_mutex_unlock(&inbox->lock);
	return found;
}
