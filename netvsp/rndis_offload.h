/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NDIS structures of the RNDIS device: task offloads and RSS capabilities, in the revision that
 * the guest asks for. Used by rndis_oid.c only. Each returns RNDIS_STATUS_*.
 */
#ifndef LUNAR_NETVSP_RNDIS_OFFLOAD_H
#define LUNAR_NETVSP_RNDIS_OFFLOAD_H

#include "netvsp/rndis_control_internal.h"

/* OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES (what is offered) or _CURRENT_CONFIG (what is on). */
uint32_t rndis_offload_query(const struct rndis_control *control, uint32_t oid,
			     const struct rndis_information *request, uint8_t *value,
			     size_t *value_bytes);
/* OID_TCP_OFFLOAD_PARAMETERS */
uint32_t rndis_offload_set(struct rndis_control *control, const struct rndis_information *request);
/* OID_GEN_RECEIVE_SCALE_CAPABILITIES */
uint32_t rndis_rss_capabilities(const struct rndis_control *control,
				const struct rndis_information *request, uint8_t *value,
				size_t *value_bytes);

#endif
