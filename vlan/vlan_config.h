/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a port of the switch has to do with VLANs: exactly one mode, named as Hyper-V names them.
 * See docs/networking.md for the rules. No state, any thread.
 */
#ifndef LUNAR_VLAN_VLAN_CONFIG_H
#define LUNAR_VLAN_VLAN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlan/vlan_set.h"

enum vlan_mode {
	VLAN_DEFAULT,  /* no mode given: every VLAN, frames with the tag that their sender gave */
	VLAN_UNTAGGED, /* frames without a VLAN only */
	VLAN_ACCESS,   /* one VLAN, of which the guest knows nothing */
	VLAN_TRUNK, /* the guest tags: allowed VLANs, and a native one for frames without a tag */
	VLAN_ISOLATED,	  /* private VLAN: reaches promiscuous ports only */
	VLAN_COMMUNITY,	  /* private VLAN: reaches its own community, and promiscuous ports */
	VLAN_PROMISCUOUS, /* private VLAN: reaches all ports of the primary and of its secondaries
			   */
	VLAN_MODE_COUNT,
};

struct vlan_config {
	enum vlan_mode mode;
	uint16_t id;	    /* access: the VLAN; trunk: the native one, 0: none; private: primary */
	uint16_t secondary; /* isolated and community */
	struct vlan_set list; /* trunk: allowed VLANs; promiscuous: secondaries; else empty */
};

#define VLAN_MESSAGE_BYTES 160
#define VLAN_TEXT_BYTES	   128

/* "default", "untagged", "access", ... */
const char *vlan_mode_name(enum vlan_mode mode);
/* Returns 0 or -EINVAL. */
int vlan_mode_parse(const char *name, enum vlan_mode *mode);

/* Whether it is one that makes sense, and nothing is set that its mode does not have. Any bytes.
 * Returns 0, or -EINVAL with what is wrong and what to do in message (VLAN_MESSAGE_BYTES). */
int vlan_config_check(const struct vlan_config *config, char *message);
bool vlan_config_is_equal(const struct vlan_config *a, const struct vlan_config *b);

/* The parts of a configuration as people give them; NULL: not given. */
struct vlan_words {
	const char *mode;
	const char *id;	       /* access */
	const char *allowed;   /* trunk: a list */
	const char *native;    /* trunk; default 0 */
	const char *primary;   /* private */
	const char *secondary; /* private: one; promiscuous: a list */
};

/* Reads and checks. Returns 0, or -EINVAL with the word at fault in *key ("mode", "id", ...;
 * static) and what is wrong and what to do in message (VLAN_MESSAGE_BYTES). */
int vlan_config_parse(const struct vlan_words *words, struct vlan_config *config, const char **key,
		      char *message);

/* One phrase: "access 10", "trunk 10,20-30 native 1", "isolated 100,101". Returns text, which has
 * VLAN_TEXT_BYTES. */
char *vlan_config_format(const struct vlan_config *config, char *text);

/* The VLANs on which such a port's frames go out by an uplink, and come in: what the uplinks of a
 * host must carry. Nothing for VLAN_DEFAULT, which asks for nothing. */
void vlan_config_needs(const struct vlan_config *config, struct vlan_set *needed);

#endif
