/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See team.h. The bonding driver watches the members' links by itself, on EAL's alarm thread, and
 * configures and starts the members with its own port.
 */
#include "netvsp/team.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eth_bond.h>
#include <rte_eth_bond_8023ad.h>
#include <rte_ethdev.h>

#include "base/bytes.h"
#include "base/log.h"
#include "netvsp/port_plug.h"

#define LOG_COMPONENT "team"

#define LINK_LOOK_MS 50 /* so often are members looked at that do not tell of their link */

struct team {
	char name[TEAM_NAME_BYTES];
	enum team_mode mode;
	bool made;
	uint16_t port_id;
	unsigned int count;
	struct plugged_port members[TEAM_MAX_MEMBERS];
	uint32_t carriers; /* a bit for each member: at the last look */
};

static const struct {
	const char *name;
	uint8_t mode, policy;
} modes[] = {
	[TEAM_ACTIVE_BACKUP] = {"active-backup", BONDING_MODE_ACTIVE_BACKUP, 0},
	[TEAM_BALANCE_L2] = {"balance-l2", BONDING_MODE_BALANCE, BALANCE_XMIT_POLICY_LAYER2},
	[TEAM_BALANCE_L23] = {"balance-l23", BONDING_MODE_BALANCE, BALANCE_XMIT_POLICY_LAYER23},
	[TEAM_BALANCE_L34] = {"balance-l34", BONDING_MODE_BALANCE, BALANCE_XMIT_POLICY_LAYER34},
	[TEAM_802_3AD] = {"802.3ad", BONDING_MODE_8023AD, BALANCE_XMIT_POLICY_LAYER34},
};

const char *team_mode_name(enum team_mode mode)
{
	return modes[mode].name;
}

int team_mode_parse(const char *text, enum team_mode *mode)
{
	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		if (strcmp(text, modes[i].name) == 0) {
			*mode = (enum team_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* DPDK's own word for a refusal is -1. */
static int as_errno(int rc)
{
	return rc == -1 ? -EIO : rc;
}

static int make_port(struct team *team)
{
	int rc = rte_eth_bond_create(team->name, modes[team->mode].mode, 0);

	if (rc < 0)
		return as_errno(rc);
	team->port_id = (uint16_t)rc;
	team->made = true;
	rc = rte_eth_bond_link_monitoring_set(team->port_id, LINK_LOOK_MS);
	if (rc == 0 && team->mode != TEAM_ACTIVE_BACKUP)
		rc = rte_eth_bond_xmit_policy_set(team->port_id, modes[team->mode].policy);
	return as_errno(rc);
}

static int add_members(struct team *team, const struct team_config *config, const char **bad_member)
{
	for (unsigned int i = 0; i < config->count; i++) {
		int rc = port_plug(config->members[i], &team->members[i]);

		*bad_member = config->members[i];
		if (rc)
			return rc;
		team->count++;
		rc = rte_eth_bond_slave_add(team->port_id, team->members[i].port_id);
		if (rc)
			return as_errno(rc);
	}
	*bad_member = NULL;
	return 0;
}

int team_create(unsigned int number, const struct team_config *config, struct team **out,
		const char **bad_member)
{
	struct team *team;
	int rc;

	*bad_member = NULL;
	if (config->count < 2 || config->count > TEAM_MAX_MEMBERS)
		return -EINVAL;
	team = calloc(1, sizeof(*team));
	if (!team)
		return -ENOMEM;
	team->mode = config->mode;
	/* The driver is chosen by how the name begins. */
	snprintf(team->name, sizeof(team->name), "net_bonding_team%u", number);
	rc = make_port(team);
	rc = rc ? rc : add_members(team, config, bad_member);
	if (rc) {
		team_destroy(team);
		return rc;
	}
	log_info("%s: %s, %u members", team->name, team_mode_name(team->mode), team->count);
	*out = team;
	return 0;
}

void team_destroy(struct team *team)
{
	if (!team)
		return;
	if (team->made) {
		if (rte_eth_dev_is_valid_port(team->port_id)) /* its uplink may have closed it */
			rte_eth_dev_close(team->port_id);
		rte_eth_bond_free(team->name);
	}
	for (unsigned int i = 0; i < team->count; i++)
		port_unplug(&team->members[i]);
	free(team);
}

const char *team_port_name(const struct team *team)
{
	return team->name;
}

static bool has_link(uint16_t port_id)
{
	struct rte_eth_link link = {0};

	return rte_eth_link_get_nowait(port_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* Whether LACP has come so far that frames go out by a member. */
static bool is_distributing(const struct team *team, uint16_t member)
{
	struct rte_eth_bond_8023ad_slave_info info;

	return rte_eth_bond_8023ad_slave_info(team->port_id, member, &info) == 0 &&
	       (info.actor_state & STATE_DISTRIBUTING);
}

/* The driver changes its list on a thread of its own: a look that meets that is wrong until the
 * next one. */
static uint32_t find_carriers(const struct team *team)
{
	uint16_t active[TEAM_MAX_MEMBERS];
	uint32_t carriers = 0;
	int count = rte_eth_bond_active_slaves_get(team->port_id, active, TEAM_MAX_MEMBERS);
	int primary = rte_eth_bond_primary_get(team->port_id);

	for (int a = 0; a < count; a++) {
		if ((team->mode == TEAM_ACTIVE_BACKUP && active[a] != primary) ||
		    (team->mode == TEAM_802_3AD && !is_distributing(team, active[a])))
			continue;
		for (unsigned int i = 0; i < team->count; i++)
			if (team->members[i].port_id == active[a])
				carriers |= 1u << i;
	}
	return carriers;
}

void team_get_info(const struct team *team, struct team_info *info)
{
	uint32_t carriers = find_carriers(team);

	*info = (struct team_info){.name = team->name, .mode = team->mode, .count = team->count};
	for (unsigned int i = 0; i < team->count; i++) {
		char name[RTE_ETH_NAME_MAX_LEN] = "";

		rte_eth_dev_get_name_by_port(team->members[i].port_id, name);
		snprintf(info->members[i].name, TEAM_NAME_BYTES, "%.31s", name);
		info->members[i].link_up = has_link(team->members[i].port_id);
		info->members[i].carries = carriers & 1u << i;
	}
}

bool team_has_changed(struct team *team)
{
	uint32_t before = team->carriers;

	team->carriers = find_carriers(team);
	if (team->carriers == before)
		return false;
	for (unsigned int i = 0; i < team->count; i++) {
		char name[RTE_ETH_NAME_MAX_LEN] = "";

		if (((team->carriers ^ before) & 1u << i) == 0)
			continue;
		rte_eth_dev_get_name_by_port(team->members[i].port_id, name);
		log_info("%s: %s %s", team->name, name,
			 team->carriers & 1u << i ? "carries frames" : "carries nothing now");
	}
	return true;
}

/* ---- by port ---- */

bool team_port_needs_send_polls(uint16_t port_id)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(port_id, &info) == 0 &&
	       strcmp(info.driver_name, "net_bonding") == 0 &&
	       rte_eth_bond_mode_get(port_id) == BONDING_MODE_8023AD;
}

bool team_port_has_driver(uint16_t port_id, const char *driver)
{
	uint16_t members[TEAM_MAX_MEMBERS];
	struct rte_eth_dev_info info;
	int count;

	if (rte_eth_dev_info_get(port_id, &info) != 0 ||
	    strcmp(info.driver_name, "net_bonding") != 0)
		return false;
	count = rte_eth_bond_slaves_get(port_id, members, TEAM_MAX_MEMBERS);
	for (int i = 0; i < count; i++)
		if (rte_eth_dev_info_get(members[i], &info) == 0 &&
		    strcmp(info.driver_name, driver) == 0)
			return true;
	return false;
}
