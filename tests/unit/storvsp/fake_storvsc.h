/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest with storvsc, as far as a SCSI controller sees one: a real VMBus server, rings and data
 * in real guest memory. It reads a ring only when it was interrupted for it, masks and unmasks as
 * Linux 6.1 does, and signals only where the ring says so: a signal that is lost on either side
 * leaves an answer unread, and the test fails.
 */
#ifndef LUNAR_TESTS_STORVSP_FAKE_STORVSC_H
#define LUNAR_TESTS_STORVSP_FAKE_STORVSC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storvsp/controller.h"
#include "storvsp/vstor.h"
#include "vmbus/event_signal.h"
#include "vmbus/ring.h"

#define STORVSC_CHANNELS	 4
#define STORVSC_MAX_RING_PAGES	 16 /* each way, control page included */
#define STORVSC_VPS		 4
#define STORVSC_TRANSACTIONS	 4096
#define STORVSC_DATA_GPA	 0x100000u /* the tests' own memory, up to the limit */
#define STORVSC_MEMORY_BYTES	 0x400000u
#define STORVSC_DEFAULT_PATIENCE 30000 /* ms */

struct storvsc_answer {
	unsigned count; /* how often this transaction was answered */
	uint32_t order; /* among all answers */
	size_t bytes;
	struct vstor_packet packet;
};

struct storvsc_channel {
	struct fake_storvsc *guest;
	uint32_t relid; /* 0: not offered */
	uint32_t connection_id;
	int kick; /* the host's, -1: none */
	uint32_t open_status;
	bool open;
	uint32_t vp;
	uint32_t ring_pages;
	struct gpadl_view *out_view, *in_view;
	struct ring out, in;
};

struct fake_storvsc {
	struct event_loop *loop;
	struct guest_memory *memory;
	struct signal_table signals;
	struct vmbus_server *server;
	struct device_bus bus;
	int sints[STORVSC_VPS];
	struct event_watch *watches[STORVSC_VPS];
	struct storvsc_channel channels[STORVSC_CHANNELS];
	uint8_t interface_type[16];
	uint16_t offer_flags;
	bool refuse_connect;
	bool deaf; /* does not react to interrupts */
	unsigned torn_down;
	unsigned enumerations; /* ENUMERATE_BUS received */
	unsigned interrupts;
	uint32_t answers_seen;
	struct storvsc_answer answers[STORVSC_TRANSACTIONS];
};

void storvsc_init(struct fake_storvsc *guest);
void storvsc_fini(struct fake_storvsc *guest);
/* Another host, after the controller of the last one was destroyed. */
void storvsc_change_host(struct fake_storvsc *guest);

/* INITIATE_CONTACT and REQUEST_OFFERS. */
void storvsc_connect(struct fake_storvsc *guest);
/* Opens a channel with fresh rings and waits for the result; returns its status. */
uint32_t storvsc_open(struct fake_storvsc *guest, unsigned channel, uint32_t ring_pages);
/* CLOSE_CHANNEL and GPADL_TEARDOWN; waits for nothing. */
void storvsc_close(struct fake_storvsc *guest, unsigned channel);
void storvsc_modify(struct fake_storvsc *guest, unsigned channel, uint32_t vp);

/* Lets both sides work until *value is wanted, at most ms milliseconds. Returns whether it is. */
bool storvsc_wait(struct fake_storvsc *guest, const unsigned *value, unsigned wanted, int ms);
/* The same, until the transaction is answered. */
bool storvsc_answered(struct fake_storvsc *guest, uint64_t transaction);
/* Lets both sides work for ms milliseconds. */
void storvsc_run(struct fake_storvsc *guest, int ms);

/* Writes a packet that wants an answer, and kicks where the ring asks for it. False: no room. */
bool storvsc_send(struct fake_storvsc *guest, unsigned channel, uint64_t transaction,
		  const void *bytes, size_t length);
/* The same with one range of guest memory. */
bool storvsc_send_data(struct fake_storvsc *guest, unsigned channel, uint64_t transaction,
		       const void *bytes, size_t length, uint64_t gpa, uint32_t data_bytes);
void storvsc_kick(struct fake_storvsc *guest, unsigned channel);

/* A packet of an operation without a body. */
struct vstor_packet storvsc_packet(uint32_t operation);
/* EXECUTE_SRB; direction: VSTOR_DATA_* */
struct vstor_packet storvsc_srb(uint8_t lun, const uint8_t *cdb, uint8_t cdb_bytes,
				uint8_t direction, uint32_t data_bytes);
/* READ(10) or WRITE(10), and its one range. */
bool storvsc_io(struct fake_storvsc *guest, unsigned channel, uint64_t transaction, uint8_t lun,
		bool write, uint32_t block, uint64_t gpa, uint32_t bytes);
/* A command, waited for. Returns its answer, NULL where none came. */
const struct vstor_packet *storvsc_command(struct fake_storvsc *guest, uint8_t lun,
					   const uint8_t *cdb, uint8_t cdb_bytes, uint64_t gpa,
					   uint32_t bytes);
/* Sends on channel 0 and waits for the answer: NULL where none came. */
const struct vstor_packet *storvsc_ask(struct fake_storvsc *guest, uint64_t transaction,
				       const struct vstor_packet *packet);
/* BEGIN, versions from 6.2 down to version, properties, END. False where one failed. */
bool storvsc_begin_session(struct fake_storvsc *guest, uint16_t version);
/* Asks for sub-channels and opens them on VPs of their own. */
bool storvsc_open_sub_channels(struct fake_storvsc *guest, unsigned count, uint32_t ring_pages);

#endif
