/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telemetry. DPDK calls from threads of its own; the worker fills the answer between two rounds, so
 * that it is of one moment. An answer holds a page of entries, since DPDK cuts it at 16 KiB.
 */
#include "netvsp/telemetry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_telemetry.h>

#include "netvsp/data_path.h"
#include "netvsp/team.h"

#define PORTS_A_PAGE 32
#define MACS_A_PAGE  96
#define VLANS_A_PAGE 200

/* DPDK has no way to take a command back, nor to hand it a context. */
static pthread_mutex_t path_lock = PTHREAD_MUTEX_INITIALIZER; /* guards registered_path */
static struct data_path *registered_path;

struct telemetry_call {
	struct data_path *path;
	unsigned int first;
	bool one_vlan; /* only its addresses */
	unsigned int vlan;
	struct rte_tel_data *data;
};

/* DPDK 22.11 lets a dictionary hold dictionaries, but not an array; names are letters, digits and
 * underscores. */
static void add_entry(struct rte_tel_data *list, const char *kind, unsigned int index,
		      struct rte_tel_data *entry)
{
	char name[32];

	snprintf(name, sizeof(name), "%s_%u", kind, index);
	if (rte_tel_data_add_dict_container(list, name, entry, 0) < 0)
		rte_tel_data_free(entry);
}

static void add_port(struct rte_tel_data *list, unsigned int index, struct switch_port *port)
{
	const struct switch_port_counters *counters = switch_port_counters(port);
	const struct vlan_port *vlan = switch_port_vlan(port);
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char text[VLAN_TEXT_BYTES];

	if (!entry)
		return;
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "name", switch_port_name(port));
	rte_tel_data_add_dict_string(
		entry, "kind", switch_port_kind(port) == SWITCH_PORT_UPLINK ? "uplink" : "vnic");
	rte_tel_data_add_dict_u64(entry, "in_packets", counters->in_packets);
	rte_tel_data_add_dict_u64(entry, "in_bytes", counters->in_bytes);
	rte_tel_data_add_dict_u64(entry, "in_dropped", counters->in_dropped);
	rte_tel_data_add_dict_u64(entry, "in_spoofed", counters->in_spoofed);
	rte_tel_data_add_dict_u64(entry, "in_malformed", counters->in_malformed);
	rte_tel_data_add_dict_u64(entry, "out_packets", counters->out_packets);
	rte_tel_data_add_dict_u64(entry, "out_bytes", counters->out_bytes);
	rte_tel_data_add_dict_u64(entry, "out_dropped", counters->out_dropped);
	rte_tel_data_add_dict_u64(entry, "out_too_long", counters->out_too_long);
	rte_tel_data_add_dict_u64(entry, "in_vlan", counters->in_vlan);
	rte_tel_data_add_dict_u64(entry, "out_vlan", counters->out_vlan);
	rte_tel_data_add_dict_string(
		entry, "vlan",
		switch_port_kind(port) == SWITCH_PORT_UPLINK
			? vlan_set_format(&vlan->members_out, text, sizeof(text))
			: vlan_config_format(&vlan->config, text));
	add_entry(list, "port", index, entry);
}

static void list_ports(void *ctx)
{
	struct telemetry_call *call = ctx;
	struct switch_port *port = NULL;

	for (unsigned int i = 0; (port = vswitch_next_port(call->path->sw, port)); i++) {
		if (i >= call->first && i < call->first + PORTS_A_PAGE)
			add_port(call->data, i, port);
	}
}

static void add_mac(struct rte_tel_data *list, unsigned int index, const struct vswitch_mac *mac)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char text[RTE_ETHER_ADDR_FMT_SIZE];

	if (!entry)
		return;
	rte_ether_format_addr(text, sizeof(text), &mac->mac);
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "mac", text);
	rte_tel_data_add_dict_int(entry, "vlan", mac->vlan);
	rte_tel_data_add_dict_string(entry, "port", switch_port_name(mac->port));
	rte_tel_data_add_dict_int(entry, "age", mac->is_static ? -1 : (int)mac->age_seconds);
	add_entry(list, "mac", index, entry);
}

static void list_macs(void *ctx)
{
	struct telemetry_call *call = ctx;
	struct vswitch_mac mac;
	uint32_t position = 0;
	unsigned int i = 0;

	while (vswitch_next_mac(call->path->sw, &position, &mac)) {
		if (call->one_vlan && mac.vlan != call->vlan)
			continue;
		if (i >= call->first && i < call->first + MACS_A_PAGE)
			add_mac(call->data, i, &mac);
		i++;
	}
}

/* How many addresses each VLAN has. */
static void list_vlans(void *ctx)
{
	struct telemetry_call *call = ctx;
	uint32_t counts[VLAN_ID_MAX + 1] = {0};
	struct vswitch_mac mac;
	uint32_t position = 0;
	unsigned int i = 0;

	while (vswitch_next_mac(call->path->sw, &position, &mac))
		counts[mac.vlan]++;
	for (uint32_t vlan = 0; vlan <= VLAN_ID_MAX; vlan++) {
		char name[16];

		if (counts[vlan] == 0)
			continue;
		snprintf(name, sizeof(name), "vlan_%u", vlan);
		if (i >= call->first && i < call->first + VLANS_A_PAGE)
			rte_tel_data_add_dict_u64(call->data, name, counts[vlan]);
		i++;
	}
}

static int answer(const char *parameters, struct rte_tel_data *data, void (*fill)(void *ctx))
{
	struct telemetry_call call = {.data = data};

	char *end;

	if (parameters) {
		call.first = (unsigned int)strtoul(parameters, &end, 10);
		call.one_vlan = *end == ',';
		call.vlan = call.one_vlan ? (unsigned int)strtoul(end + 1, NULL, 10) : 0;
	}
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&path_lock);
	call.path = registered_path;
	if (call.path)
		worker_call(call.path->worker, fill, &call);
	pthread_mutex_unlock(&path_lock);
	return 0;
}

static int handle_ports(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, list_ports);
}

static int handle_mac_table(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, list_macs);
}

static int handle_vlans(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, list_vlans);
}

static int handle_worker(const char *command, const char *parameters, struct rte_tel_data *data)
{
	struct worker_counters counters = {0};

	(void)command;
	(void)parameters;
	pthread_mutex_lock(&path_lock);
	if (registered_path)
		worker_get_counters(registered_path->worker, &counters);
	pthread_mutex_unlock(&path_lock);
	rte_tel_data_start_dict(data);
	rte_tel_data_add_dict_u64(data, "rounds", counters.rounds);
	rte_tel_data_add_dict_u64(data, "sleeps", counters.sleeps);
	rte_tel_data_add_dict_u64(data, "armed", counters.armed);
	return 0;
}

static void add_team(struct rte_tel_data *list, unsigned int index, const struct team *team)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	struct team_info info;

	if (!entry)
		return;
	team_get_info(team, &info);
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "name", info.name);
	rte_tel_data_add_dict_string(entry, "mode", team_mode_name(info.mode));
	for (unsigned int i = 0; i < info.count; i++)
		rte_tel_data_add_dict_string(entry, info.members[i].name,
					     info.members[i].carries   ? "carries"
					     : info.members[i].link_up ? "ready"
								       : "no link");
	add_entry(list, "team", index, entry);
}

static int handle_teams(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	(void)parameters;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&path_lock);
	for (uint32_t i = 0; registered_path && i < registered_path->team_count; i++)
		add_team(data, i, registered_path->teams[i]);
	pthread_mutex_unlock(&path_lock);
	return 0;
}

int telemetry_register(struct data_path *path)
{
	int err;

	pthread_mutex_lock(&path_lock);
	registered_path = path;
	pthread_mutex_unlock(&path_lock);
	err = rte_telemetry_register_cmd(
		"/lunar/ports", handle_ports,
		"The switch's ports and their counters. Parameter: first port to show.");
	if (!err)
		err = rte_telemetry_register_cmd(
			"/lunar/mac_table", handle_mac_table,
			"Addresses the switch knows. Parameters: first entry to show, and the VLAN "
			"to show alone.");
	if (!err)
		err = rte_telemetry_register_cmd(
			"/lunar/vlans", handle_vlans,
			"How many addresses the switch knows in each VLAN (0: none). Parameter: "
			"first VLAN to show, counted from 0.");
	if (!err)
		err = rte_telemetry_register_cmd(
			"/lunar/worker", handle_worker,
			"How often the packet thread went round, and slept.");
	if (!err)
		err = rte_telemetry_register_cmd(
			"/lunar/teams", handle_teams,
			"The teams of uplinks, and what each member does.");
	return err;
}

void telemetry_unregister(void)
{
	pthread_mutex_lock(&path_lock);
	registered_path = NULL;
	pthread_mutex_unlock(&path_lock);
}
