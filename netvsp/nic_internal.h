/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What nic.c, nic_rx.c, nic_control.c and queue.c share. Everything here belongs to the worker's
 * thread once the NIC has joined the switch.
 */
#ifndef LUNAR_NETVSP_NIC_INTERNAL_H
#define LUNAR_NETVSP_NIC_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "netvsp/data_path.h"
#include "netvsp/hold_queue.h"
#include "netvsp/journal.h"
#include "netvsp/nic.h"
#include "netvsp/nvsp.h"
#include "netvsp/offload.h"
#include "netvsp/portals.h"
#include "netvsp/rndis_control.h"
#include "netvsp/rx_buffer.h"
#include "netvsp/saved_state.h"
#include "vmbus/event_signal.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

#define QUEUE_MAX_TRANSACTIONS                                                                     \
	1024 /* received packets (of many frames each) that the guest holds at a time */
#define QUEUE_MAX_RETURNED 128 /* transactions in one flush; a poll reads fewer packets */
#define QUEUE_MAX_RANGES   320 /* of one; Linux takes 375 */

/* One VMBus channel. */
struct queue {
	struct nic *nic;
	uint32_t sub_index;
	uint32_t gpadl_id;
	struct gpadl_view *in_view;
	struct gpadl_view *out_view;
	struct ring in;	 /* guest to host */
	struct ring out; /* host to guest */
	struct event_signal signal;
	int kick_fd;
	struct worker_source source;
	uint32_t downstream_page_offset;
	uint32_t generation; /* of the batch that is under way: see journal.h */
	bool stuck;	     /* no room for completions: nothing is read until the guest reads */
	bool signal_owed;    /* a publication found the guest waiting */

	/* Transactions that the guest holds: chains of sections by transaction id, and the ids that
	 * are free. */
	uint32_t chains[QUEUE_MAX_TRANSACTIONS];
	uint16_t free_ids[QUEUE_MAX_TRANSACTIONS];
	uint16_t free_id_count;

	/* Transactions that the guest has given back: free once that is published. */
	uint16_t returned_ids[QUEUE_MAX_RETURNED];
	uint16_t returned_count;
	uint64_t returned[QUEUE_MAX_TRANSACTIONS / 64]; /* a bit each */

	uint16_t batch_count; /* frames of this round, on their way to the switch */
	struct rte_mbuf *batch[SWITCH_BURST];
};

/* A message of ours to the guest that waits for room. */
struct control_message {
	STAILQ_ENTRY(control_message) link;
	bool is_rndis; /* else an in-band NVSP message */
	size_t length;
	uint8_t bytes[];
};
STAILQ_HEAD(control_list, control_message);

/* Only a running vNIC touches guest memory. */
enum nic_phase {
	NIC_RUNNING,
	NIC_INCOMING, /* made for a VM that is not here yet: frames are dropped */
	NIC_RESTING,  /* saved: frames are held */
	NIC_DEPARTED, /* its VM is elsewhere: frames go after it */
};

/* What a restored channel held, until it is opened. */
struct restored_channel {
	bool has_in_index; /* packets up to there have been dealt with */
	uint32_t in_index;
	uint32_t generation; /* the last that was used */
	uint32_t chains[QUEUE_MAX_TRANSACTIONS];
};

struct nic {
	struct data_path *path;
	struct guest_memory *memory;
	const struct signal_table *signals;
	struct nic_config config;
	const struct nic_ops *ops;
	void *ctx;

	enum nic_phase phase;
	struct switch_port *port;
	struct nvsp_session *nvsp;
	struct rndis_control *rndis;
	struct gpadl *gpadls[NIC_MAX_GPADLS];
	struct rx_buffer rx_buffer;
	struct gpadl_view *send_view;
	bool up; /* the guest has set a packet filter */
	struct portal_list portals;
	uint32_t sub_channels_wanted;
	_Atomic bool notice_given;

	struct queue *queues[NVSP_MAX_CHANNELS];
	uint64_t dirty_queues; /* a bit each: to be flushed */

	struct control_list control;
	unsigned int control_count;

	bool restored;
	struct restored_channel *restored_channels[NVSP_MAX_CHANNELS]; /* NULL: none, or opened */
	struct journal *journal;				       /* NULL: none */
	bool control_changed; /* since the journal was told */
	struct hold_queue held;
	bool late_noticed;
	uint32_t vlan_count; /* restored: to be announced on */
	uint16_t vlans[SAVED_MAX_VLANS];

	uint8_t scratch[PACKET_MAX_BYTES];
	struct rte_mbuf *segments[OFFLOAD_MAX_SEGMENTS];
};

/* ---- queue.c ---- */

/* Control thread. Takes both fds where it returns 0. */
int queue_create(struct nic *nic, const struct gpadl *gpadl, const struct nic_channel *channel,
		 struct queue **queue);
static inline bool queue_is_broken(const struct queue *queue)
{
	return queue->in.broken || queue->out.broken;
}
/* Control thread, when the worker has let go. Takes NULL. */
void queue_destroy(struct queue *queue);
/* Forgets what the guest holds; the receive buffer has been or will be emptied by others where
 * release is false. */
void queue_reset_transactions(struct queue *queue, bool release);
/* The channel goes on here, or begins: the journal is told. */
void queue_begin(struct queue *queue);
/* Goes on with what the guest held of a restored channel. */
void queue_adopt_transactions(struct queue *queue, const struct restored_channel *restored);
/* Ranges that a received packet may have now: 0 where there is no transaction id or no ring room.
 */
uint32_t queue_rx_room(struct queue *queue);
/* Gives a chain of sections to the guest. Returns 0 or -errno (the chain stays the caller's). */
int queue_rx_send(struct queue *queue, uint32_t channel_type, const struct transfer_range *ranges,
		  uint32_t count, uint32_t chain);
void queue_mark_dirty(struct queue *queue);
/* Publishes what was written and signals the guest if need be. */
void queue_flush(struct queue *queue);

/* ---- nic_rx.c: frames to the guest ---- */

uint16_t nic_transmit(void *ctx, struct rte_mbuf **mbufs, uint16_t count);
/* What the guest has given back can be lent again only after a flush: does that now. Not while a
 * channel of this NIC is being read. */
void nic_reclaim(struct nic *nic);
/* The same for a running NIC, whatever its phase was when the frames came. */
uint16_t nic_deliver(struct nic *nic, struct rte_mbuf **mbufs, uint16_t count);

/* ---- nic_control.c: NVSP and RNDIS control ---- */

extern const struct nvsp_ops nic_nvsp_ops;
extern const struct rndis_control_ops nic_rndis_ops;
/* Tells the owner that nic_state changed. */
void nic_notice(struct nic *nic);
/* A control message in the runs of a guest's packet. Returns the status to complete it with. */
enum nvsp_status nic_control_request(struct nic *nic, const struct rndis_run *runs,
				     size_t run_count);
/* Sends a message to the guest as soon as there is room. */
void nic_control_queue(struct nic *nic, bool is_rndis, const void *bytes, size_t length);
/* Sends what waits for room. */
void nic_control_flush(struct nic *nic);
/* The primary channel was closed. */
void nic_control_reset(struct nic *nic);
struct gpadl *nic_find_gpadl(const struct nic *nic, uint32_t gpadl_id);

/* ---- nic_journal.c ---- */

/* The control state has changed: the next flush of the primary channel enters it. */
void nic_control_changed(struct nic *nic);
/* A NIC that was restored lends what its state says. */
void nic_journal_restored(struct nic *nic);
/* Enters it now, for the next record. */
void nic_journal_control(struct nic *nic);

/* ---- nic_move.c ---- */

/* Finishes what is under way; from then on nothing of the guest's is touched. Worker's thread. */
void nic_rest(struct nic *nic);
/* What nic_save() saves but the sections that the guest holds; messages has room for
 * SAVED_MAX_MESSAGES. */
void nic_gather(const struct nic *nic, struct saved_nic *saved);
/* Makes an incoming NIC out of it. Worker's thread. As nic_restore(). */
int nic_apply(struct nic *nic, const struct saved_nic *saved);

/* Frames for a NIC that does not run. Takes all; returns how many it keeps. */
uint16_t nic_hold(struct nic *nic, struct rte_mbuf **mbufs, uint16_t count);
/* Opens a channel of a restored NIC: its rings rest until nic_resume(). Returns 0, or -EINVAL: it
 * was not open when the NIC was saved. */
int nic_adopt_channel(struct nic *nic, struct queue *queue);
/* Forgets what was restored and held, and gives restored sections back where there is still a
 * buffer. */
void nic_forget_restored(struct nic *nic);

/* ---- nic_late.c ---- */

/* Tells the owner of a departed NIC that frames have come, if there are any. */
void nic_late_notice(struct nic *nic);

#endif
