/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fake guest and fake devices around the VMBus server, for unit tests and the stateful fuzz
 * target. The fake device checks every promise that vmbus/server.h makes to devices; a broken one
 * is counted in violations. It answers from within its ops, or later, when told to.
 */
#ifndef LUNAR_TESTS_VMBUS_SERVER_FIXTURE_H
#define LUNAR_TESTS_VMBUS_SERVER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmbus/server.h"
#include "wire/vmbus.h"

#define FAKE_MAX_SUBS 8 /* sub-channels of a fake device */
#define FAKE_VPS      4

enum fake_call_kind {
	FAKE_GPADL_CREATED,
	FAKE_GPADL_TEARDOWN,
	FAKE_OPEN,
	FAKE_CLOSE,
	FAKE_MODIFY,
	FAKE_KINDS,
};

struct fake_call {
	enum fake_call_kind kind;
	uint32_t sub_index;
	uint32_t gpadl_id;
};

struct fake_gpadl {
	uint32_t id;
	bool tearing_down;
};

struct fake_channel {
	bool open; /* from channel_open to close_done */
	bool closing;
	uint32_t ring;
	uint32_t target_vp;
};

struct fake_device {
	struct vmbus_device *handle; /* NULL after removal */
	bool later;		     /* answer when fake_device_answer() is called */
	int status;		     /* what the next created, open and modify are answered with */
	struct fake_call *calls;     /* not yet answered */
	size_t call_count;
	struct fake_gpadl *gpadls;
	size_t gpadl_count;
	struct fake_channel channels[FAKE_MAX_SUBS + 1];
	unsigned total[FAKE_KINDS]; /* calls ever */
	struct vmbus_open_request last_open;
	unsigned violations;
	unsigned removals;
};

#define FAKE_LOG_MESSAGES 128

struct fake_message {
	uint32_t vp;
	size_t length;
	uint8_t bytes[VMBUS_MESSAGE_MAX_BYTES];
};

struct fake_guest {
	struct vmbus_server *server;
	struct fake_message log[FAKE_LOG_MESSAGES]; /* the last ones */
	size_t posted;				    /* ever */
	size_t taken;				    /* by fake_guest_next() */
	unsigned cleanings;
	unsigned openings;   /* told by channel_opened */
	uint32_t opened_vp;  /* of the last one */
	unsigned violations; /* messages that no guest could take */
};

void fake_guest_init(struct fake_guest *guest);
void fake_guest_fini(struct fake_guest *guest);
/* The next message that the test has not looked at, or NULL. */
const struct fake_message *fake_guest_next(struct fake_guest *guest);

void fake_device_init(struct fake_device *device);
void fake_device_fini(struct fake_device *device);
/* Adds the device to the bus; number tells instances apart. Returns what the server says. */
int fake_device_add(struct fake_device *device, struct fake_guest *guest, uint8_t number);
/* Answers the index-th call not yet answered; false where there is none. */
bool fake_device_answer(struct fake_device *device, size_t index);
void fake_device_answer_all(struct fake_device *device);

/* What Linux sends; message connection 4. */
void guest_send(struct fake_guest *guest, const void *message, size_t length);
void guest_send_empty(struct fake_guest *guest, uint32_t type);
void guest_send_contact(struct fake_guest *guest, uint32_t version, uint32_t target_vp);
/* A GPADL of pages whole pages, gpns from first_gpn on, in a header and as many bodies as it takes.
 */
void guest_send_gpadl(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id, uint32_t pages,
		      uint64_t first_gpn);
void guest_send_teardown(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id);
void guest_send_open(struct fake_guest *guest, uint32_t relid, uint32_t gpadl_id,
		     uint32_t downstream_page, uint32_t target_vp);
/* CLOSE_CHANNEL or RELID_RELEASED. */
void guest_send_relid(struct fake_guest *guest, uint32_t type, uint32_t relid);
void guest_send_modify(struct fake_guest *guest, uint32_t relid, uint32_t target_vp);

#endif
