/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_report_disks.h. A disk is named by controller and LUN, "0:1"; paths are no labels, for
 * they may be any bytes.
 */
#include "hypervisor/vm_report_disks.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();

	return value ? value : json_string("(not UTF-8)");
}

static json_int_t count(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

static json_t *stats_json(const struct storvsp_unit_stats *stats)
{
	return json_pack("{sI sI sI sI sI sI sI}", "reads", count(stats->reads), "read_bytes",
			 count(stats->read_bytes), "writes", count(stats->writes), "written_bytes",
			 count(stats->written_bytes), "others", count(stats->others), "errors",
			 count(stats->errors), "in_flight", count(stats->in_flight));
}

/* The format that was found, or the one that was asked for. */
static const char *format_name(const struct vm_disk_status *status)
{
	return status->info.kind ? status->info.kind : disk_format_name(status->config->format);
}

static json_t *disk_json(const struct vm_disk_status *status, bool is_open)
{
	const struct vm_disk_config *config = status->config;
	const struct disk_info *info = &status->info;

	return json_pack(
		"{so si si ss so so ss ss ss sb sb so so so}", "id",
		json_sprintf("%u:%u", config->controller, config->lun), "controller",
		(int)config->controller, "lun", (int)config->lun, "type",
		config->dvd ? "dvd" : "disk", "path",
		text_or_null(config->is_url ? NULL : config->path), "url",
		text_or_null(config->is_url ? config->path : NULL), "format", format_name(status),
		"cache", config->cache == DISK_CACHE_WRITEBACK ? "writeback" : "none", "state",
		is_open ? vm_disk_state_name(status->state) : "closed", "read_only",
		config->read_only, "passthrough", config->pass_through, "size_bytes",
		info->size_bytes ? json_integer(count(info->size_bytes)) : json_null(),
		"block_bytes", info->block_bytes ? json_integer(info->block_bytes) : json_null(),
		"stats", stats_json(&status->stats));
}

json_t *vm_report_disks_json(const struct vm_config *config, const struct vm_status *status)
{
	size_t disk_count = status->has_storage ? status->disk_count : config->disk_count;
	json_t *disks = json_array();

	for (size_t i = 0; i < disk_count; i++) {
		const struct vm_disk_status closed = {.config = &config->disks[i]};
		json_t *disk = disk_json(status->has_storage ? &status->disks[i] : &closed,
					 status->has_storage);

		if (json_array_append_new(disks, disk) < 0) {
			json_decref(disks);
			return NULL;
		}
	}
	return disks;
}

json_t *vm_report_controllers_json(const struct vm_status *status)
{
	json_t *controllers = json_array();

	for (size_t i = 0; i < status->controller_count; i++) {
		const struct vm_controller_status *controller = &status->controllers[i];
		uint32_t version = controller->status.version;
		json_t *value = json_pack(
			"{si so si sI}", "index", (int)controller->index, "vstor_version",
			version ? json_sprintf("%u.%u", version >> 8, version & 0xff) : json_null(),
			"channels_open", (int)controller->status.channels_open, "resets",
			count(controller->status.resets));

		if (json_array_append_new(controllers, value) < 0) {
			json_decref(controllers);
			return NULL;
		}
	}
	return controllers;
}

/* ---- metrics ---- */

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

struct disk_metric {
	const char *name;
	const char *help;
	size_t offset; /* in struct storvsp_unit_stats */
};

#define DISK_METRIC(metric, field, text)                                                           \
	{                                                                                          \
		"lunar_disk_" metric "_total", text, offsetof(struct storvsp_unit_stats, field)    \
	}

static void write_label(FILE *out, const char *name, const char *vm_name,
			const struct vm_disk_config *disk)
{
	fprintf(out, "%s{vm=\"%s\",disk=\"%u:%u\"} ", name, vm_name, disk->controller, disk->lun);
}

static void write_controllers(FILE *out, const char *vm_name, const struct vm_status *status)
{
	static const char *const names[] = {"lunar_disk_controller_channels_open",
					    "lunar_disk_controller_resets_total"};

	write_head(out, names[0], "gauge",
		   "Channels of a SCSI controller that the guest has open.");
	for (size_t i = 0; i < status->controller_count; i++)
		fprintf(out, "%s{vm=\"%s\",controller=\"%u\"} %u\n", names[0], vm_name,
			status->controllers[i].index, status->controllers[i].status.channels_open);
	write_head(out, names[1], "counter", "Bus resets that the guest asked for.");
	for (size_t i = 0; i < status->controller_count; i++)
		fprintf(out, "%s{vm=\"%s\",controller=\"%u\"} %" PRIu64 "\n", names[1], vm_name,
			status->controllers[i].index, status->controllers[i].status.resets);
}

void vm_report_disks_metrics(FILE *out, const char *vm_name, const struct vm_status *status)
{
	static const struct disk_metric metrics[] = {
		DISK_METRIC("reads", reads, "Reads that the guest asked for."),
		DISK_METRIC("read_bytes", read_bytes, "Bytes that the guest read."),
		DISK_METRIC("writes", writes, "Writes that the guest asked for."),
		DISK_METRIC("written_bytes", written_bytes, "Bytes that the guest wrote."),
		DISK_METRIC("other_commands", others, "Commands that neither read nor write."),
		DISK_METRIC("errors", errors, "Commands that ended with an error."),
	};

	if (status->controller_count)
		write_controllers(out, vm_name, status);
	if (!status->disk_count)
		return;
	write_head(out, "lunar_disk_size_bytes", "gauge", "Size of the disk, 0 without a medium.");
	for (size_t i = 0; i < status->disk_count; i++) {
		write_label(out, "lunar_disk_size_bytes", vm_name, status->disks[i].config);
		fprintf(out, "%" PRIu64 "\n", status->disks[i].info.size_bytes);
	}
	write_head(out, "lunar_disk_in_flight", "gauge", "Commands under way.");
	for (size_t i = 0; i < status->disk_count; i++) {
		write_label(out, "lunar_disk_in_flight", vm_name, status->disks[i].config);
		fprintf(out, "%" PRIu32 "\n", status->disks[i].stats.in_flight);
	}
	for (size_t m = 0; m < ARRAY_LENGTH(metrics); m++) {
		write_head(out, metrics[m].name, "counter", metrics[m].help);
		for (size_t i = 0; i < status->disk_count; i++) {
			uint64_t value;

			memcpy(&value, (const char *)&status->disks[i].stats + metrics[m].offset,
			       sizeof(value));
			write_label(out, metrics[m].name, vm_name, status->disks[i].config);
			fprintf(out, "%" PRIu64 "\n", value);
		}
	}
}
