/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Renders a VM's configuration and status. Names need no escaping in Prometheus labels:
 * vm_name_is_valid() sees to that.
 */
#include "hypervisor/vm_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "hypervisor/migration/report.h"
#include "hypervisor/vm_report_disks.h"

/* A path may be any bytes; JSON must be UTF-8. */
static json_t *utf8_text(const char *text)
{
	json_t *value = json_string(text);

	return value ? value : json_string("(not UTF-8)");
}

static json_t *text_or_null(const char *text)
{
	return text && *text ? utf8_text(text) : json_null();
}

/* "5.3" for 0x50003, null for 0. */
static json_t *version_or_null(uint32_t version)
{
	if (!version)
		return json_null();
	return json_sprintf("%u.%u", (unsigned int)(version >> 16),
			    (unsigned int)(version & 0xffff));
}

static json_int_t count(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

void vm_report_mac(const uint8_t mac[6], char text[VM_REPORT_MAC_BYTES])
{
	snprintf(text, VM_REPORT_MAC_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
}

static json_t *vlan_json(const struct vlan_config *vlan)
{
	const char *mode = vlan_mode_name(vlan->mode);
	char list[1024];

	vlan_set_format(&vlan->list, list, sizeof(list));
	switch (vlan->mode) {
	case VLAN_ACCESS:
		return json_pack("{ss si}", "mode", mode, "id", (int)vlan->id);
	case VLAN_TRUNK:
		return json_pack("{ss ss si}", "mode", mode, "allowed", list, "native",
				 (int)vlan->id);
	case VLAN_ISOLATED:
	case VLAN_COMMUNITY:
		return json_pack("{ss si si}", "mode", mode, "primary", (int)vlan->id, "secondary",
				 (int)vlan->secondary);
	case VLAN_PROMISCUOUS:
		return json_pack("{ss si ss}", "mode", mode, "primary", (int)vlan->id, "secondary",
				 list);
	default:
		return json_pack("{ss}", "mode", mode);
	}
}

static json_t *nic_json(const struct vm_nic_config *config, const struct vm_nic_status *status)
{
	const struct vm_nic_stats *stats = &status->stats;
	char mac[VM_REPORT_MAC_BYTES];
	json_t *counters;

	vm_report_mac(config->mac, mac);
	counters = json_pack("{sI sI sI sI sI sI sI sI sI sI}", "tx_packets",
			     count(stats->tx_packets), "tx_bytes", count(stats->tx_bytes),
			     "tx_dropped", count(stats->tx_dropped), "tx_spoofed",
			     count(stats->tx_spoofed), "tx_malformed", count(stats->tx_malformed),
			     "rx_packets", count(stats->rx_packets), "rx_bytes",
			     count(stats->rx_bytes), "rx_dropped", count(stats->rx_dropped),
			     "tx_vlan", count(stats->tx_vlan), "rx_vlan", count(stats->rx_vlan));
	return json_pack("{ss so sb si sI ss so si sI sb so so}", "mac", mac, "switch",
			 text_or_null(config->vsp_socket), "spoof_guard", config->spoof_guard,
			 "mtu_max", (int)config->mtu, "queues_max", (json_int_t)config->queues,
			 "link", vm_nic_link_name(status->link), "nvsp_version",
			 version_or_null(status->nvsp_version), "mtu", (int)status->mtu,
			 "channels_open", (json_int_t)status->channels_open, "rndis_up",
			 status->rndis_up, "stats", counters, "vlan", vlan_json(&config->vlan));
}

json_t *vm_report_json(const struct vm_config *config, const struct vm_status *status,
		       const char *state)
{
	json_t *nics = json_array();
	const char *console_path =
		status->console_path ? status->console_path : config->console_path;
	json_t *console, *vmbus, *guest;

	for (size_t i = 0; i < config->nic_count; i++)
		if (json_array_append_new(nics, nic_json(&config->nics[i], &status->nics[i])) < 0) {
			json_decref(nics);
			return NULL;
		}
	console = json_pack("{ss so}", "kind", vm_console_kind_name(config->console), "path",
			    text_or_null(console_path));
	vmbus = json_pack("{so sI sI sI}", "version", version_or_null(status->vmbus_version),
			  "channels_offered", (json_int_t)status->vmbus_offered, "channels_open",
			  (json_int_t)status->vmbus_open, "gpadls",
			  (json_int_t)status->vmbus_gpadls);
	guest = json_pack("{so sb}", "heartbeat", text_or_null(status->heartbeat), "shutdown_ready",
			  status->shutdown_ready);
	return json_pack("{ss ss so so so sI sI sb sI sI so so so so so so so so so}", "name",
			 config->name, "state", state, "reason", text_or_null(status->reason),
			 "engine", text_or_null(status->engine), "pid",
			 status->pid ? json_integer(status->pid) : json_null(), "vps",
			 (json_int_t)config->vps, "memory_bytes", count(config->memory_bytes),
			 "huge_pages", config->huge_pages, "uptime_ms", count(status->uptime_ms),
			 "reboots", (json_int_t)status->reboots, "kernel",
			 text_or_null(config->kernel), "initrd", text_or_null(config->initrd),
			 "cmdline", utf8_text(config->cmdline), "console", console, "vmbus", vmbus,
			 "guest", guest, "nics", nics, "disks",
			 vm_report_disks_json(config, status), "disk_controllers",
			 vm_report_controllers_json(status));
}

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const struct vm_config *config, const char *name, const char *type,
		      const char *help, uint64_t value)
{
	write_head(out, name, type, help);
	fprintf(out, "%s{vm=\"%s\"} %" PRIu64 "\n", name, config->name, value);
}

struct nic_metric {
	const char *name;
	const char *help;
	size_t offset; /* in struct vm_nic_stats */
};

#define NIC_METRIC(metric, field, text)                                                            \
	{                                                                                          \
		"lunar_nic_" metric "_total", text, offsetof(struct vm_nic_stats, field)           \
	}

static void write_nics(FILE *out, const struct vm_config *config, const struct vm_status *status)
{
	static const struct nic_metric metrics[] = {
		NIC_METRIC("transmit_packets", tx_packets, "Frames that the guest sent."),
		NIC_METRIC("transmit_bytes", tx_bytes, "Bytes that the guest sent."),
		NIC_METRIC("transmit_dropped", tx_dropped,
			   "Frames of the guest that were dropped."),
		NIC_METRIC("transmit_spoofed", tx_spoofed,
			   "Frames of the guest that the MAC-spoof guard dropped."),
		NIC_METRIC("transmit_malformed", tx_malformed,
			   "Packets of the guest that were no valid RNDIS."),
		NIC_METRIC("receive_packets", rx_packets, "Frames delivered to the guest."),
		NIC_METRIC("receive_bytes", rx_bytes, "Bytes delivered to the guest."),
		NIC_METRIC("transmit_vlan_dropped", tx_vlan,
			   "Frames of the guest that its VLAN mode does not allow."),
		NIC_METRIC("receive_vlan_dropped", rx_vlan,
			   "Frames for the guest that its VLAN mode does not allow."),
		NIC_METRIC("receive_dropped", rx_dropped,
			   "Frames for the guest that were dropped, mostly for want of room."),
	};
	char mac[VM_REPORT_MAC_BYTES];

	write_head(out, "lunar_nic_up", "gauge", "1 when the guest can receive on this NIC.");
	for (size_t i = 0; i < config->nic_count; i++) {
		vm_report_mac(config->nics[i].mac, mac);
		fprintf(out, "lunar_nic_up{vm=\"%s\",nic=\"%zu\",mac=\"%s\"} %d\n", config->name, i,
			mac, status->nics[i].rndis_up);
	}
	for (size_t m = 0; m < ARRAY_LENGTH(metrics); m++) {
		write_head(out, metrics[m].name, "counter", metrics[m].help);
		for (size_t i = 0; i < config->nic_count; i++) {
			uint64_t value;

			memcpy(&value, (const char *)&status->nics[i].stats + metrics[m].offset,
			       sizeof(value));
			fprintf(out, "%s{vm=\"%s\",nic=\"%zu\"} %" PRIu64 "\n", metrics[m].name,
				config->name, i, value);
		}
	}
}

char *vm_report_metrics(const struct vm_config *config, const struct vm_status *status,
			const struct migration_status *migration, size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);
	bool failed;

	if (!out)
		return NULL;
	write_one(out, config, "lunar_vm_running", "gauge", "1 while the guest runs.",
		  status->state == VM_STATE_RUNNING);
	write_head(out, "lunar_vm_uptime_seconds", "gauge", "Time since the last start or reboot.");
	fprintf(out, "lunar_vm_uptime_seconds{vm=\"%s\"} %" PRIu64 ".%03" PRIu64 "\n", config->name,
		status->uptime_ms / 1000, status->uptime_ms % 1000);
	write_one(out, config, "lunar_vm_reboots_total", "counter",
		  "Reboots of the guest since its start.", status->reboots);
	write_one(out, config, "lunar_vm_virtual_processors", "gauge", "Virtual processors.",
		  config->vps);
	write_one(out, config, "lunar_vm_memory_bytes", "gauge", "Memory that the guest sees.",
		  config->memory_bytes);
	write_one(out, config, "lunar_vmbus_channels_offered", "gauge",
		  "VMBus channels offered to the guest.", status->vmbus_offered);
	write_one(out, config, "lunar_vmbus_channels_open", "gauge",
		  "VMBus channels that the guest has open.", status->vmbus_open);
	write_one(out, config, "lunar_vmbus_gpadls", "gauge",
		  "Guest page lists lent to the host, those in progress included.",
		  status->vmbus_gpadls);
	write_one(out, config, "lunar_guest_heartbeat", "gauge",
		  "1 while the guest answers heartbeats.",
		  status->heartbeat && strcmp(status->heartbeat, "ok") == 0);
	if (config->nic_count)
		write_nics(out, config, status);
	vm_report_disks_metrics(out, config->name, status);
	migration_report_metrics(out, config->name, migration);
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
