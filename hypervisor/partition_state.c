/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A partition's state: brought to rest, written, read, and set going again. See partition.h; the
 * sections' own layouts belong to the parts that write them.
 *
 * A pause takes the VPs out first; then nothing new begins, and what devices still owe comes by
 * itself. Last the NICs: from then on nobody but us touches the guest's memory. A restore goes the
 * other way round: engine, then what stands on it, then the bus, which walks its devices.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/state.h"
#include "hypervisor/channel_nudge.h"
#include "hypervisor/partition_internal.h"
#include "hypervisor/synic.h"
#include "hypervisor/vm_ic.h"
#include "hypervisor/vm_storage.h"
#include "hypervisor/vsp_client.h"
#include "wire/vsp.h"

#define LOG_COMPONENT "partition"

#define PAUSE_DEADLINE_MS   2000
#define STORAGE_DEADLINE_MS 1500 /* of a pause: to tell a disk that hangs from the rest */
#define RESTORE_DEADLINE_MS 8000
#define QUIET_CHECK_MS	    1

#define CONFIG_TAG STATE_TAG('P', 'A', 'R', 'T')
#define ENGINE_TAG STATE_TAG('E', 'N', 'G', 'N')
#define NICS_TAG   STATE_TAG('N', 'I', 'C', 'S')
#define NIC_TAG	   STATE_TAG('N', 'I', 'C', '_')

/* ---- a change: pause or restore ---- */

static void timers_cancel(struct partition_change *change)
{
	event_timer_cancel(change->deadline);
	change->deadline = NULL;
	event_timer_cancel(change->step);
	change->step = NULL;
}

/* Tells the end, and forgets the change. The partition may be destroyed from within. */
static void change_done(struct partition *partition, int status)
{
	struct partition_change ended = partition->change;

	timers_cancel(&partition->change);
	partition->change = (struct partition_change){0};
	if (ended.done)
		ended.done(ended.ctx, status, &ended.error);
}

void partition_change_cancel(struct partition *partition)
{
	struct partition_change *change = &partition->change;

	if (!change->done)
		return;
	vm_error_set(&change->error, EXIT_CANCELLED, 0, "given up: the VM has ended");
	change_done(partition, -ECANCELED);
}

static int change_begin(struct partition *partition, uint32_t deadline_ms, event_timer_fn late,
			partition_done_fn done, void *ctx)
{
	struct partition_change *change = &partition->change;
	int result = event_loop_after_ms(partition->config.loop, deadline_ms, late, partition,
					 &change->deadline);

	if (result)
		return result;
	change->done = done;
	change->ctx = ctx;
	return 0;
}

/* Calls fn from the loop, for the caller may be in the middle of something. */
static void step_set(struct partition *partition, uint32_t delay_ms, event_timer_fn fn)
{
	struct partition_change *change = &partition->change;

	if (!change->step &&
	    event_loop_after_ms(partition->config.loop, delay_ms, fn, partition, &change->step))
		log_error("out of memory: waiting for the deadline");
}

static void failure_note(struct partition_change *change, int status, enum exit_code code,
			 const char *text)
{
	if (change->status)
		return;
	change->status = status;
	vm_error_set(&change->error, code, status, "%s: %s", text, strerror(-status));
}

/* ---- pause ---- */

/* Everything but VPs and NICs. */
static void parts_pause(struct partition *partition)
{
	synic_pause(partition->synic);
	vm_ic_pause(partition->ic);
	channel_nudge_pause(partition->nudge);
}

static void parts_resume(struct partition *partition, bool announce)
{
	for (size_t i = 0; i < partition->config.vm->nic_count; i++)
		vsp_client_resume(partition->nics[i], announce);
	synic_resume(partition->synic);
	vm_ic_resume(partition->ic);
	if (partition->config.storage)
		vm_storage_resume(partition->config.storage);
	channel_nudge_resume(partition->nudge);
	partition->phase = PARTITION_RUNS;
	partition_wake(partition);
}

void partition_resume(struct partition *partition)
{
	partition->config.engine->resume(partition->engine);
	parts_resume(partition, false);
}

static void pause_give_up(struct partition *partition)
{
	partition_resume(partition);
	change_done(partition, partition->change.status);
}

static void on_pause_late(void *ctx)
{
	struct partition *partition = ctx;

	partition->change.deadline = NULL;
	failure_note(&partition->change, -ETIMEDOUT, EXIT_TIMEOUT,
		     vmbus_server_is_quiet(partition->server)
			     ? "netvspd did not hand over the NICs' state"
			     : "a device did not finish what the guest had asked for");
	pause_give_up(partition);
}

static void on_paused(void *ctx)
{
	struct partition *partition = ctx;

	partition->change.step = NULL;
	if (partition->change.status) {
		pause_give_up(partition);
	} else if (partition_has_ended(partition)) {
		/* it was on its way to the loop when the VPs came out */
		failure_note(&partition->change, -ECANCELED, EXIT_STATE,
			     "the guest has come to an end");
		pause_give_up(partition);
	} else {
		partition->phase = PARTITION_PAUSED;
		change_done(partition, 0);
	}
}

static void nic_done(struct partition *partition, int status, event_timer_fn next)
{
	struct partition_change *change = &partition->change;

	if (!change->done)
		return; /* too late */
	if (status)
		failure_note(change, status, EXIT_NO_SWITCH,
			     status == -EOPNOTSUPP ? "netvspd is of a version that knows no moves"
						   : "netvspd does not hold a NIC's state");
	if (--change->pending == 0)
		step_set(partition, 0, next);
}

static void on_nic_saved(void *ctx, int status)
{
	nic_done(ctx, status, on_paused);
}

static void on_storage_paused(void *ctx, int status)
{
	struct partition *partition = ctx;
	struct partition_change *change = &partition->change;

	if (!change->done)
		return; /* too late */
	if (status)
		failure_note(change, status, EXIT_TIMEOUT,
			     status == -ETIMEDOUT ? "a disk does not finish what the guest had "
						    "asked for"
						  : "what the guest wrote cannot be flushed");
	if (--change->pending == 0)
		step_set(partition, 0, on_paused);
}

/* One more pending than there are NICs, so that the end comes once all are asked; and the storage,
 * which drains meanwhile. */
static void devices_save(struct partition *partition)
{
	struct partition_change *change = &partition->change;
	size_t count = partition->config.vm->nic_count;

	change->nics_begun = true;
	change->pending = (uint32_t)count + 1;
	if (partition->config.storage) {
		change->pending++;
		vm_storage_pause(partition->config.storage, STORAGE_DEADLINE_MS, on_storage_paused,
				 partition);
	}
	for (size_t i = 0; i < count; i++) {
		int result = vsp_client_save(partition->nics[i], on_nic_saved, partition);

		if (result)
			on_nic_saved(partition, result);
	}
	on_nic_saved(partition, 0);
}

static void on_pause_step(void *ctx)
{
	struct partition *partition = ctx;

	partition->change.step = NULL;
	if (vmbus_server_is_quiet(partition->server))
		devices_save(partition);
	else
		step_set(partition, QUIET_CHECK_MS, on_pause_step);
}

int partition_pause(struct partition *partition, partition_done_fn done, void *ctx)
{
	int result;

	if (partition->phase != PARTITION_RUNS)
		return -EBUSY;
	result = change_begin(partition, PAUSE_DEADLINE_MS, on_pause_late, done, ctx);
	if (result)
		return result;
	result = partition->config.engine->pause(partition->engine);
	if (result) {
		failure_note(&partition->change, result, EXIT_TIMEOUT, "a VP does not stop");
		change_done(partition, result);
		return 0;
	}
	partition->phase = PARTITION_PAUSING;
	parts_pause(partition);
	partition_inbox_drain(partition);
	on_pause_step(partition);
	return 0;
}

/* ---- save ---- */

static void config_save(const struct partition *partition, struct state_writer *writer)
{
	const struct vm_config *vm = partition->config.vm;

	state_begin(writer, CONFIG_TAG, 1, 1);
	state_put_u32(writer, vm->vps);
	state_put_u64(writer, vm->memory_bytes);
	state_put_u32(writer, (uint32_t)vm->nic_count);
	state_end(writer);
}

static int nics_save_state(const struct partition *partition, struct state_writer *writer)
{
	state_begin(writer, NICS_TAG, 1, 1);
	for (uint32_t i = 0; i < partition->config.vm->nic_count; i++) {
		size_t length;
		const void *state = vsp_client_get_state(partition->nics[i], &length);

		if (!state)
			return -EINVAL;
		state_begin(writer, NIC_TAG, 1, 1);
		state_put_u32(writer, i);
		state_put_blob(writer, state, length);
		state_end(writer);
	}
	state_end(writer);
	return 0;
}

int partition_save(struct partition *partition, struct state_writer *writer, struct vm_error *error)
{
	int result;

	if (partition->phase != PARTITION_PAUSED)
		return vm_error_set(error, EXIT_INTERNAL, -EBUSY, "the VM does not rest");
	config_save(partition, writer);
	state_begin(writer, ENGINE_TAG, 1, 1);
	result = partition->config.engine->save(partition->engine, writer, error);
	if (result)
		return result;
	state_end(writer);
	result = synic_save(partition->synic, writer);
	if (!result)
		result = platform_save(&partition->platform, writer);
	if (!result)
		result = channel_nudge_save(partition->nudge, writer);
	if (!result)
		result = vm_ic_save(partition->ic, writer);
	if (!result)
		result = nics_save_state(partition, writer);
	if (!result && partition->config.storage)
		result = vm_storage_save(partition->config.storage, writer);
	if (!result)
		result = vmbus_server_save(partition->server, writer);
	if (!result)
		result = state_writer_result(writer);
	return result ? vm_error_set(error, EXIT_INTERNAL, result,
				     "the VM's state cannot be written: %s", strerror(-result))
		      : 0;
}

int partition_save_cpu(struct partition *partition, struct state_writer *writer)
{
	return partition->config.engine->save_cpu(partition->engine, writer);
}

/* ---- restore ---- */

enum part {
	PART_CONFIG,
	PART_ENGINE,
	PART_SYNIC,
	PART_PLATFORM,
	PART_NUDGE,
	PART_IC,
	PART_NICS,
	PART_BUS,
	PART_STORAGE, /* may be missing, as all from here on */
	PART_COUNT,
};

static const struct {
	uint32_t tag;
	uint16_t known; /* version; 0: the part checks it itself */
	const char *name;
} parts[PART_COUNT] = {
	[PART_CONFIG] = {CONFIG_TAG, 1, "configuration"},
	[PART_ENGINE] = {ENGINE_TAG, 1, "VPs"},
	[PART_SYNIC] = {SYNIC_STATE_TAG, 0, "SynIC"},
	[PART_PLATFORM] = {PLATFORM_STATE_TAG, 0, "platform"},
	[PART_NUDGE] = {CHANNEL_NUDGE_STATE_TAG, 0, "channel signals"},
	[PART_IC] = {VM_IC_STATE_TAG, 0, "integration components"},
	[PART_NICS] = {NICS_TAG, 1, "NICs"},
	[PART_BUS] = {VMBUS_SERVER_STATE_TAG, 0, "VMBus"},
	[PART_STORAGE] = {VM_STORAGE_STATE_TAG, 0, "disks"},
};

static int part_failed(struct partition *partition, const char *name, int status)
{
	struct vm_error *error = &partition->change.error;

	partition->change.status = status;
	switch (status) {
	case -EPROTO:
		return vm_error_set(error, EXIT_BAD_STATE, status,
				    "the saved state is malformed (%s)", name);
	case -EOPNOTSUPP:
		return vm_error_set(error, EXIT_BAD_STATE, status,
				    "the saved state is of an incompatible version (%s): "
				    "update the older host",
				    name);
	case -ENODEV:
	case -EBUSY:
		return vm_error_set(error, EXIT_BAD_STATE, status,
				    "the saved state has devices that the definition has not, or "
				    "that are half gone (%s)",
				    name);
	default:
		return vm_error_set(error, EXIT_INTERNAL, status,
				    "the saved state cannot be restored (%s): %s", name,
				    strerror(-status));
	}
}

static int part_find(uint32_t tag)
{
	for (int i = 0; i < PART_COUNT; i++)
		if (parts[i].tag == tag)
			return i;
	return -1;
}

/* Sorts the sections by part. All must be there, once. */
static int parts_collect(struct partition *partition, struct state_reader *reader,
			 struct state_reader *found)
{
	struct state_reader section;
	int result;

	while ((result = state_next(reader, &section)) > 0) {
		int part = part_find(section.tag);

		if (part < 0 && state_check_skippable(&section))
			return part_failed(partition, "unknown part", -EOPNOTSUPP);
		if (part < 0)
			continue;
		if (found[part].tag)
			return part_failed(partition, parts[part].name, -EPROTO);
		if (parts[part].known && state_check_version(&section, parts[part].known))
			return part_failed(partition, parts[part].name, -EOPNOTSUPP);
		found[part] = section;
	}
	if (result)
		return part_failed(partition, "sections", result);
	for (int i = 0; i < PART_STORAGE; i++)
		if (!found[i].tag)
			return part_failed(partition, parts[i].name, -EPROTO);
	return 0;
}

static int config_restore(const struct partition *partition, struct state_reader *section)
{
	const struct vm_config *vm = partition->config.vm;
	bool same = state_get_u32(section) == vm->vps;

	same = state_get_u64(section) == vm->memory_bytes && same;
	same = state_get_u32(section) == vm->nic_count && same;
	return same && !section->error ? 0 : -EPROTO;
}

static int nic_restore_state(struct partition *partition, struct state_reader *section)
{
	uint32_t index = state_get_u32(section);
	size_t length;
	const void *state = state_get_blob(section, VSP_MAX_STATE_BYTES, &length);

	if (!state || index >= partition->config.vm->nic_count)
		return -EPROTO;
	return vsp_client_set_state(partition->nics[index], state, length);
}

static int nics_restore_state(struct partition *partition, struct state_reader *section)
{
	struct state_reader nic;
	int result;

	while ((result = state_next(section, &nic)) > 0) {
		if (nic.tag != NIC_TAG)
			result = state_check_skippable(&nic);
		else
			result = state_check_version(&nic, 1);
		if (!result && nic.tag == NIC_TAG)
			result = nic_restore_state(partition, &nic);
		if (result)
			return result;
	}
	return result;
}

/* All that is done at once: everything but the bus. */
static int parts_restore(struct partition *partition, struct state_reader *found)
{
	struct vm_error *error = &partition->change.error;
	int result = config_restore(partition, &found[PART_CONFIG]);
	enum part part = PART_CONFIG;

	if (!result) {
		result = partition->config.engine->restore(partition->engine, &found[PART_ENGINE],
							   error);
		if (result)
			return partition->change.status = result;
		part = PART_SYNIC;
		result = synic_restore(partition->synic, &found[part]);
	}
	if (!result) {
		part = PART_PLATFORM;
		result = platform_restore(&partition->platform, &found[part]);
	}
	if (!result) {
		part = PART_NUDGE;
		result = channel_nudge_restore(partition->nudge, &found[part]);
	}
	if (!result) {
		part = PART_IC;
		result = vm_ic_restore(partition->ic, &found[part]);
	}
	if (!result) {
		part = PART_NICS;
		result = nics_restore_state(partition, &found[part]);
	}
	if (!result && partition->config.storage) {
		part = PART_STORAGE;
		result = vm_storage_restore(partition->config.storage,
					    found[part].tag ? &found[part] : NULL);
	} else if (!result && found[PART_STORAGE].tag) {
		part = PART_STORAGE;
		result = -ENODEV;
	}
	return result ? part_failed(partition, parts[part].name, result) : 0;
}

static void on_restore_end(void *ctx)
{
	struct partition *partition = ctx;
	int status = partition->change.status;

	partition->change.step = NULL;
	partition->phase = status ? PARTITION_BROKEN : PARTITION_RESTORED;
	change_done(partition, status);
}

static void on_restore_late(void *ctx)
{
	struct partition *partition = ctx;

	partition->change.deadline = NULL;
	failure_note(&partition->change, -ETIMEDOUT, EXIT_TIMEOUT,
		     "netvspd did not take the NICs over in time");
	partition->phase = PARTITION_BROKEN;
	change_done(partition, partition->change.status);
}

static void on_nic_restored(void *ctx, int status)
{
	nic_done(ctx, status, on_restore_end);
}

/* Every channel is open again. NICs without one have their state still to send. */
static void on_bus_restored(void *ctx, int status)
{
	struct partition *partition = ctx;
	struct partition_change *change = &partition->change;
	size_t count = partition->config.vm->nic_count;

	if (!change->done)
		return; /* too late */
	if (status) {
		part_failed(partition, parts[PART_BUS].name, status);
		step_set(partition, 0, on_restore_end);
		return;
	}
	change->pending = (uint32_t)count + 1;
	for (size_t i = 0; i < count; i++) {
		int result = vsp_client_restore(partition->nics[i], on_nic_restored, partition);

		if (result)
			on_nic_restored(partition, result);
	}
	on_nic_restored(partition, 0);
}

int partition_restore(struct partition *partition, struct state_reader *reader,
		      partition_done_fn done, void *ctx)
{
	struct state_reader found[PART_COUNT] = {0};
	int result;

	if (partition->phase != PARTITION_INCOMING)
		return -EBUSY;
	result = change_begin(partition, RESTORE_DEADLINE_MS, on_restore_late, done, ctx);
	if (result)
		return result;
	partition->phase = PARTITION_RESTORING;
	result = parts_collect(partition, reader, found);
	if (!result)
		result = parts_restore(partition, found);
	if (!result) {
		result = vmbus_server_restore(partition->server, &found[PART_BUS], on_bus_restored,
					      partition);
		if (result)
			part_failed(partition, parts[PART_BUS].name, result);
	}
	if (result)
		step_set(partition, 0, on_restore_end);
	return 0;
}

int partition_go(struct partition *partition, bool announce, struct vm_error *error)
{
	int result;

	if (partition->phase != PARTITION_RESTORED)
		return vm_error_set(error, EXIT_INTERNAL, -EBUSY, "the VM is not restored");
	result = partition->config.engine->start(partition->engine, NULL, error);
	if (result)
		return result;
	parts_resume(partition, announce);
	platform_resume(&partition->platform);
	return 0;
}
