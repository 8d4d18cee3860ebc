/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of docs/networking.md once more, as plainly as they can be said, to compare the real
 * ones with: no sets, no tables, nothing worked out in advance.
 */
#ifndef LUNAR_TESTS_UNIT_VLAN_VLAN_MODEL_H
#define LUNAR_TESTS_UNIT_VLAN_VLAN_MODEL_H

#include "vlan/vlan_config.h"

struct model_frame {
	int vid;	/* of its outer 802.1Q tag; -1: it has none */
	int priority;	/* with the drop-eligible bit, 0 to 15 */
	bool tag_after; /* what follows is another tag */
};

/* The VLAN in which a frame that comes in by the port is; 0: none; -1: it is dropped. */
int model_enter(const struct vlan_config *port, const struct model_frame *frame);
/* Whether a frame in that VLAN leaves by the port, and the VLAN id that the far end sees (-1: no
 * tag, or one without a VLAN id that only carries the priority). */
bool model_leave(const struct vlan_config *port, int vlan, bool tag_after, int *vid);

struct random_state {
	uint64_t value;
};
/* 0 to below - 1. */
uint32_t random_below(struct random_state *state, uint32_t below);
/* A sound configuration out of a few VLANs, so that ports meet: 10, 11, 12, 20, 21, 22. Private
 * VLANs keep their parts: 20 is a primary, 21 isolated, 22 a community. */
void random_config(struct random_state *state, struct vlan_config *config);
void random_frame(struct random_state *state, struct model_frame *frame);

#endif
