/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages that the guest posted, on their way from the VPs' threads to the event loop: a bounded
 * queue. When it is full the guest is told so and tries again.
 */
#ifndef LUNAR_HYPERVISOR_MESSAGE_INBOX_H
#define LUNAR_HYPERVISOR_MESSAGE_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/tlfs.h"

#define MESSAGE_INBOX_SLOTS 256

struct inbox_message {
	uint32_t connection_id;
	uint32_t length;
	uint8_t payload[HV_MESSAGE_PAYLOAD_BYTES];
};

struct message_inbox {
	pthread_mutex_t lock; /* guards all below */
	uint32_t head;
	uint32_t count;
	struct inbox_message slots[MESSAGE_INBOX_SLOTS];
};

void message_inbox_init(struct message_inbox *inbox);
void message_inbox_fini(struct message_inbox *inbox);

/* Any thread. length is at most HV_MESSAGE_PAYLOAD_BYTES. Returns 0 or -ENOBUFS. */
int message_inbox_put(struct message_inbox *inbox, uint32_t connection_id, const void *payload,
		      size_t length);
/* Any thread. Returns whether there was one. */
bool message_inbox_take(struct message_inbox *inbox, struct inbox_message *message);

#endif
