/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by rndis_control.c (messages and state) and rndis_oid.c (objects). Not for other folders.
 */
#ifndef LUNAR_NETVSP_RNDIS_CONTROL_INTERNAL_H
#define LUNAR_NETVSP_RNDIS_CONTROL_INTERNAL_H

#include "netvsp/rndis_control.h"

#define RNDIS_MAX_INFORMATION_BYTES                                                                \
	(RNDIS_CONTROL_MAX_RESPONSE_BYTES - sizeof(struct rndis_query_complete))

struct rndis_control {
	const struct rndis_control_ops *ops;
	void *ctx;
	struct rndis_control_config config;
	uint32_t nvsp_version;
	uint32_t mtu;
	uint32_t channels;
	enum rndis_state state;
	uint32_t packet_filter;
	uint8_t address[6];
	bool link_up;
	uint32_t link_speed_mbps;
	struct rndis_offload_state offloads;
	struct rss_params rss;
	uint8_t multicast[RNDIS_MAX_MULTICAST][6];
	size_t multicast_count;
};

/* A QUERY's or SET's information buffer, inside the private copy of the message; checked. */
struct rndis_information {
	const uint8_t *bytes;
	size_t length;
};

/* Answers a QUERY: the value goes to value (RNDIS_MAX_INFORMATION_BYTES of room), its length to
 * *value_bytes. Returns RNDIS_STATUS_*; writes only on success. */
uint32_t rndis_oid_query(const struct rndis_control *control, uint32_t oid,
			 const struct rndis_information *request, uint8_t *value,
			 size_t *value_bytes);
/* Carries a SET out. Returns RNDIS_STATUS_*; nothing changed unless success. */
uint32_t rndis_oid_set(struct rndis_control *control, uint32_t oid,
		       const struct rndis_information *request);
/* Offloads as before the guest sets any. */
void rndis_offloads_default(struct rndis_control *control);
/* RNDIS_OFFLOAD_* that this guest is offered. */
uint32_t rndis_offloads_offered(const struct rndis_control *control);
/* Whether all that is on in state is offered. */
bool rndis_offloads_are_offered(const struct rndis_control *control,
				const struct rndis_offload_state *state);

#endif
