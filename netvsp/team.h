/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several ports to one network that count as one: a team (NIC teaming, bonding), on DPDK's bonding
 * driver. A team is a DPDK port by itself, and becomes an uplink as any other.
 */
#ifndef LUNAR_NETVSP_TEAM_H
#define LUNAR_NETVSP_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#define TEAM_MAX_MEMBERS 8
#define TEAM_NAME_BYTES	 32

enum team_mode {
	TEAM_ACTIVE_BACKUP, /* one member carries all; another takes over when its link is lost */
	TEAM_BALANCE_L2,    /* by MAC addresses; the far switch must have a static team as well */
	TEAM_BALANCE_L23,   /* by MAC and IP addresses */
	TEAM_BALANCE_L34,   /* by IP addresses and ports */
	TEAM_802_3AD,	    /* by LACP, IEEE 802.1AX; frames as TEAM_BALANCE_L34 */
};

struct team_config {
	enum team_mode mode;
	unsigned int count;
	const char *members[TEAM_MAX_MEMBERS]; /* as uplink_create()'s devargs */
};

struct team;

/* "active-backup", "balance-l2", ... */
const char *team_mode_name(enum team_mode mode);
/* Returns 0 or -EINVAL. */
int team_mode_parse(const char *text, enum team_mode *mode);

/*
 * Plugs the members and makes the team's port, not started. number: of this team, from 0. Returns
 * 0; -EINVAL: less than two members, or too many; what uplink_create() says of a member, which is
 * *bad_member then; or another -errno. Control thread.
 */
int team_create(unsigned int number, const struct team_config *config, struct team **team,
		const char **bad_member);
/* Takes NULL. Its uplink is gone. Control thread. */
void team_destroy(struct team *team);
/* The port's name in DPDK, for uplink_create(). */
const char *team_port_name(const struct team *team);

struct team_info {
	const char *name;
	enum team_mode mode;
	unsigned int count;
	struct {
		char name[TEAM_NAME_BYTES];
		bool link_up;
		bool carries; /* frames, now */
	} members[TEAM_MAX_MEMBERS];
};
/* As of now; does not wait for the ports. */
void team_get_info(const struct team *team, struct team_info *info);

/* Whether other members than at the last call carry frames: the network must learn anew where the
 * guests are. Control thread. */
bool team_has_changed(struct team *team);

/* Whether the port is a team that needs to be polled for sending too, and whether it has a member
 * with that driver. False for a port that is no team. */
bool team_port_needs_send_polls(uint16_t port_id);
bool team_port_has_driver(uint16_t port_id, const char *driver);

#endif
