/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_engine.h. A failure of the system ends the program: it is not what the tests are about.
 */
#include "tests/fake_vmwp/fake_engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/state.h"
#include "vmbus/guest_memory.h"
#include "wire/tlfs.h"
#include "wire/vmbus.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#define MAX_VPS	   64
#define MAX_EVENTS 64
#define MAX_LINES  24
#define VP_TAG	   STATE_TAG('F', 'V', 'P', '_')
#define CPU_TAG	   STATE_TAG('F', 'C', 'P', 'U')

struct fake_event {
	uint32_t connection_id; /* 0: none */
	int fd;
};

struct engine_partition {
	struct engine_config config;
	struct engine_sint_fds sints[MAX_VPS];
	int lines[MAX_LINES];
	fake_engine_program program;
	pthread_t thread;
	bool thread_made;
	uint64_t *dirty[GUEST_MEMORY_MAX_REGIONS];

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool running;
	bool paused;
	bool in_program;
	bool ending;
	bool halted;
	bool logging;
	uint32_t throttle;
	uint64_t registers[FAKE_REGISTERS];
	struct engine_synic synics[MAX_VPS];
	struct fake_event events[MAX_EVENTS];
};

struct fake_engine_faults fake_engine_faults;
static fake_engine_program next_program;
static struct engine_partition *newest;

static int fault_take(int *fault)
{
	int result = *fault;

	*fault = 0;
	return result;
}

void fake_engine_set_program(fake_engine_program program)
{
	next_program = program;
}

struct engine_partition *fake_engine_newest(void)
{
	return newest;
}

/* ---- life ---- */

static int fake_probe(struct vm_error *error)
{
	(void)error;
	return 0;
}

static int fake_create(const struct engine_config *config, struct engine_partition **partition,
		       struct vm_error *error)
{
	struct engine_partition *made;
	int result = fault_take(&fake_engine_faults.create);

	if (result)
		return vm_error_set(error, EXIT_NO_KVM, result, "the fake engine was told to fail");
	made = calloc(1, sizeof(*made));
	if (!made)
		abort();
	made->config = *config;
	made->program = next_program;
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->changed, NULL);
	for (uint32_t i = 0; i < config->vp_count; i++) {
		made->sints[i].raise = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		made->sints[i].eom = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	for (size_t i = 0; i < MAX_LINES; i++)
		made->lines[i] = -1;
	for (size_t i = 0; i < guest_memory_region_count(config->memory); i++) {
		uint64_t pages =
			guest_memory_region_at(config->memory, i)->size_bytes / GUEST_PAGE_SIZE;

		made->dirty[i] = calloc((size_t)(pages + 63) / 64, sizeof(uint64_t));
	}
	newest = made;
	*partition = made;
	return 0;
}

/* The VPs: they wait wherever they have to. */
static void *vps_run(void *argument)
{
	static const struct timespec breath = {.tv_nsec = 200000};
	struct engine_partition *partition = argument;

	pthread_mutex_lock(&partition->lock);
	while (!partition->ending) {
		if (!partition->running || partition->paused || partition->halted) {
			pthread_cond_wait(&partition->changed, &partition->lock);
			continue;
		}
		partition->in_program = true;
		pthread_mutex_unlock(&partition->lock);
		partition->program(partition);
		nanosleep(&breath, NULL);
		pthread_mutex_lock(&partition->lock);
		partition->in_program = false;
		pthread_cond_broadcast(&partition->changed);
	}
	pthread_mutex_unlock(&partition->lock);
	return NULL;
}

static int fake_start(struct engine_partition *partition, const struct engine_boot *boot,
		      struct vm_error *error)
{
	int result = fault_take(&fake_engine_faults.start);

	(void)boot;
	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result,
				    "the fake engine was told to fail");
	pthread_mutex_lock(&partition->lock);
	partition->running = true;
	pthread_mutex_unlock(&partition->lock);
	if (partition->program) {
		if (pthread_create(&partition->thread, NULL, vps_run, partition))
			abort();
		partition->thread_made = true;
	}
	return 0;
}

static void fake_stop(struct engine_partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition->running = false;
	partition->ending = true;
	pthread_cond_broadcast(&partition->changed);
	pthread_mutex_unlock(&partition->lock);
	if (partition->thread_made)
		pthread_join(partition->thread, NULL);
	partition->thread_made = false;
}

static void fake_destroy(struct engine_partition *partition)
{
	if (!partition)
		return;
	fake_stop(partition);
	for (uint32_t i = 0; i < partition->config.vp_count; i++) {
		close(partition->sints[i].raise);
		close(partition->sints[i].eom);
	}
	for (size_t i = 0; i < MAX_LINES; i++)
		if (partition->lines[i] >= 0)
			close(partition->lines[i]);
	for (size_t i = 0; i < GUEST_MEMORY_MAX_REGIONS; i++)
		free(partition->dirty[i]);
	pthread_cond_destroy(&partition->changed);
	pthread_mutex_destroy(&partition->lock);
	if (newest == partition)
		newest = NULL;
	free(partition);
}

static int fake_pause(struct engine_partition *partition)
{
	int result = fault_take(&fake_engine_faults.pause);

	if (result)
		return result;
	pthread_mutex_lock(&partition->lock);
	partition->paused = true;
	while (partition->in_program)
		pthread_cond_wait(&partition->changed, &partition->lock);
	pthread_mutex_unlock(&partition->lock);
	return 0;
}

static void fake_resume(struct engine_partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition->paused = false;
	pthread_cond_broadcast(&partition->changed);
	pthread_mutex_unlock(&partition->lock);
}

/* ---- events and lines ---- */

static struct fake_event *event_find(struct engine_partition *partition, uint32_t connection_id)
{
	for (size_t i = 0; i < MAX_EVENTS; i++)
		if (partition->events[i].connection_id == connection_id)
			return &partition->events[i];
	return NULL;
}

static int fake_connect_event(struct engine_partition *partition, uint32_t connection_id, int fd)
{
	struct fake_event *event;
	int result = 0;

	pthread_mutex_lock(&partition->lock);
	if (event_find(partition, connection_id)) {
		result = -EEXIST;
	} else {
		event = event_find(partition, 0);
		if (event)
			*event = (struct fake_event){.connection_id = connection_id, .fd = fd};
		else
			result = -ENOSPC;
	}
	pthread_mutex_unlock(&partition->lock);
	return result;
}

static void fake_disconnect_event(struct engine_partition *partition, uint32_t connection_id)
{
	struct fake_event *event;

	pthread_mutex_lock(&partition->lock);
	event = event_find(partition, connection_id);
	if (event)
		event->connection_id = 0;
	pthread_mutex_unlock(&partition->lock);
}

static int fake_get_sint_fds(struct engine_partition *partition, uint32_t vp,
			     struct engine_sint_fds *fds)
{
	if (vp >= partition->config.vp_count)
		return -EINVAL;
	*fds = partition->sints[vp];
	return 0;
}

static int fake_get_line_fd(struct engine_partition *partition, uint32_t line)
{
	int fd;

	if (line >= MAX_LINES)
		return -EINVAL;
	pthread_mutex_lock(&partition->lock);
	if (partition->lines[line] < 0)
		partition->lines[line] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fd = partition->lines[line];
	pthread_mutex_unlock(&partition->lock);
	return fd;
}

/* ---- state ---- */

static int fake_save(struct engine_partition *partition, struct state_writer *writer,
		     struct vm_error *error)
{
	int result = fault_take(&fake_engine_faults.save);

	if (result)
		return vm_error_set(error, EXIT_INTERNAL, result,
				    "the fake engine was told to fail");
	pthread_mutex_lock(&partition->lock);
	if (!partition->paused)
		abort();
	state_begin(writer, VP_TAG, 1, 1);
	for (size_t i = 0; i < FAKE_REGISTERS; i++)
		state_put_u64(writer, partition->registers[i]);
	for (uint32_t i = 0; i < partition->config.vp_count; i++) {
		state_put_u64(writer, partition->synics[i].scontrol);
		state_put_u64(writer, partition->synics[i].simp);
		state_put_u64(writer, partition->synics[i].siefp);
	}
	state_end(writer);
	pthread_mutex_unlock(&partition->lock);
	return 0;
}

static int fake_restore(struct engine_partition *partition, struct state_reader *reader,
			struct vm_error *error)
{
	struct state_reader section = {0};
	int result = fault_take(&fake_engine_faults.restore);

	if (!result && (state_next(reader, &section) != 1 || section.tag != VP_TAG))
		result = -EPROTO;
	pthread_mutex_lock(&partition->lock);
	for (size_t i = 0; i < FAKE_REGISTERS && !result; i++)
		partition->registers[i] = state_get_u64(&section);
	for (uint32_t i = 0; i < partition->config.vp_count && !result; i++) {
		partition->synics[i].scontrol = state_get_u64(&section);
		partition->synics[i].simp = state_get_u64(&section);
		partition->synics[i].siefp = state_get_u64(&section);
	}
	pthread_mutex_unlock(&partition->lock);
	if (section.error)
		result = section.error;
	return result ? vm_error_set(error, EXIT_BAD_STATE, result, "the VPs' state is malformed")
		      : 0;
}

static int fake_save_cpu(struct engine_partition *partition, struct state_writer *writer)
{
	(void)partition;
	state_begin(writer, CPU_TAG, 1, 1);
	state_put_u32(writer, 1);
	state_end(writer);
	return 0;
}

static int fake_check_cpu(struct state_reader *section, struct vm_error *error)
{
	if (section->tag != CPU_TAG)
		return vm_error_set(error, EXIT_BAD_STATE, -EPROTO, "not a fake processor");
	return fake_engine_faults.check_cpu
		       ? vm_error_set(error, EXIT_CANNOT_MOVE, fake_engine_faults.check_cpu,
				      "this host's processor lacks avx2048")
		       : 0;
}

static int fake_dirty_start(struct engine_partition *partition)
{
	int result = fault_take(&fake_engine_faults.dirty_start);

	pthread_mutex_lock(&partition->lock);
	partition->logging = !result;
	for (size_t i = 0; i < guest_memory_region_count(partition->config.memory); i++) {
		uint64_t pages = guest_memory_region_at(partition->config.memory, i)->size_bytes /
				 GUEST_PAGE_SIZE;

		memset(partition->dirty[i], 0, (size_t)(pages + 63) / 64 * sizeof(uint64_t));
	}
	pthread_mutex_unlock(&partition->lock);
	return result;
}

static void fake_dirty_stop(struct engine_partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition->logging = false;
	pthread_mutex_unlock(&partition->lock);
}

static int fake_dirty_fetch(struct engine_partition *partition, size_t region, uint64_t *words,
			    size_t word_count)
{
	size_t needed =
		(size_t)(guest_memory_region_at(partition->config.memory, region)->size_bytes /
			 GUEST_PAGE_SIZE / 64);

	if (word_count < needed)
		return -EINVAL;
	pthread_mutex_lock(&partition->lock);
	for (size_t i = 0; i < needed; i++) {
		words[i] |= partition->dirty[region][i];
		partition->dirty[region][i] = 0;
	}
	pthread_mutex_unlock(&partition->lock);
	return 0;
}

static void fake_throttle(struct engine_partition *partition, uint32_t percent)
{
	pthread_mutex_lock(&partition->lock);
	partition->throttle = percent;
	pthread_mutex_unlock(&partition->lock);
}

const struct engine_ops fake_engine = {
	.name = "fake",
	.probe = fake_probe,
	.create = fake_create,
	.destroy = fake_destroy,
	.start = fake_start,
	.stop = fake_stop,
	.connect_event = fake_connect_event,
	.disconnect_event = fake_disconnect_event,
	.get_sint_fds = fake_get_sint_fds,
	.get_line_fd = fake_get_line_fd,
	.pause = fake_pause,
	.resume = fake_resume,
	.save = fake_save,
	.restore = fake_restore,
	.save_cpu = fake_save_cpu,
	.check_cpu = fake_check_cpu,
	.dirty_start = fake_dirty_start,
	.dirty_stop = fake_dirty_stop,
	.dirty_fetch = fake_dirty_fetch,
	.throttle = fake_throttle,
};

/* ---- the guest's side ---- */

uint64_t *fake_engine_registers(struct engine_partition *partition)
{
	return partition->registers;
}

bool fake_engine_runs(struct engine_partition *partition)
{
	bool runs;

	pthread_mutex_lock(&partition->lock);
	runs = partition->running && !partition->paused;
	pthread_mutex_unlock(&partition->lock);
	return runs;
}

uint32_t fake_engine_throttled(struct engine_partition *partition)
{
	uint32_t percent;

	pthread_mutex_lock(&partition->lock);
	percent = partition->throttle;
	pthread_mutex_unlock(&partition->lock);
	return percent;
}

bool fake_engine_logs(struct engine_partition *partition)
{
	bool logs;

	pthread_mutex_lock(&partition->lock);
	logs = partition->logging;
	pthread_mutex_unlock(&partition->lock);
	return logs;
}

static uint8_t *memory_at(struct engine_partition *partition, uint64_t gpa, size_t length,
			  size_t *region)
{
	const struct guest_memory *memory = partition->config.memory;

	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		const struct guest_memory_region *at = guest_memory_region_at(memory, i);

		*region = i;
		if (gpa >= at->gpa && gpa + length <= at->gpa + at->size_bytes)
			return (uint8_t *)at->hva + (gpa - at->gpa);
	}
	abort();
}

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
/* A page that is copied while a VP writes it is copied again: no race, as far as a move goes. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:bytes_copy\nrace:batch_add\n";
}
#endif

/* Byte by byte, and atomic: the host may read at the same time. */
static void bytes_copy(uint8_t *to, const uint8_t *from, size_t length)
{
	_Atomic uint8_t *target = (_Atomic uint8_t *)to;

	for (size_t i = 0; i < length; i++)
		atomic_store_explicit(&target[i], __atomic_load_n(&from[i], __ATOMIC_RELAXED),
				      memory_order_relaxed);
}

void fake_engine_write(struct engine_partition *partition, uint64_t gpa, const void *bytes,
		       size_t length)
{
	size_t region;
	uint8_t *to = memory_at(partition, gpa, length, &region);
	uint64_t offset = gpa - guest_memory_region_at(partition->config.memory, region)->gpa;

	bytes_copy(to, bytes, length);
	pthread_mutex_lock(&partition->lock);
	for (uint64_t page = offset / GUEST_PAGE_SIZE;
	     partition->logging && page <= (offset + length - 1) / GUEST_PAGE_SIZE; page++)
		partition->dirty[region][page / 64] |= UINT64_C(1) << (page % 64);
	pthread_mutex_unlock(&partition->lock);
}

void fake_engine_read(struct engine_partition *partition, uint64_t gpa, void *bytes, size_t length)
{
	size_t region;

	bytes_copy(bytes, memory_at(partition, gpa, length, &region), length);
}

uint16_t fake_engine_post(struct engine_partition *partition, const void *message, size_t length)
{
	return partition->config.events->post_message(partition->config.ctx, 0,
						      VMBUS_MESSAGE_PORT_5, message, length);
}

void fake_engine_enable_synic(struct engine_partition *partition, uint32_t vp, uint64_t simp_gpa,
			      uint64_t siefp_gpa)
{
	const struct engine_synic synic = {
		.scontrol = 1,
		.simp = simp_gpa | HV_MSR_PAGE_ENABLE,
		.siefp = siefp_gpa | HV_MSR_PAGE_ENABLE,
	};

	pthread_mutex_lock(&partition->lock);
	partition->synics[vp] = synic;
	pthread_mutex_unlock(&partition->lock);
	partition->config.events->synic_changed(partition->config.ctx, vp, &synic);
}

bool fake_engine_take_message(struct engine_partition *partition, uint32_t vp, void *payload,
			      size_t *length)
{
	const uint64_t one = 1;
	uint64_t gpa = (partition->synics[vp].simp & HV_MSR_PAGE_GPA_MASK) +
		       HV_VMBUS_SINT * sizeof(struct hv_message_slot);
	size_t region;
	struct hv_message_slot *slot =
		(struct hv_message_slot *)(void *)memory_at(partition, gpa, sizeof(*slot), &region);

	if (__atomic_load_n(&slot->message_type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE)
		return false;
	*length = slot->payload_size;
	memcpy(payload, slot->payload, slot->payload_size);
	__atomic_store_n(&slot->message_type, HV_MESSAGE_NONE, __ATOMIC_SEQ_CST);
	fake_engine_write(partition, gpa + offsetof(struct hv_message_slot, sender), &slot->sender,
			  sizeof(slot->sender)); /* the page goes to the log */
	if (write(partition->sints[vp].eom, &one, sizeof(one)) < 0)
		abort();
	return true;
}

bool fake_engine_signal(struct engine_partition *partition, uint32_t connection_id)
{
	const uint64_t one = 1;
	const struct fake_event *event;
	bool sent;

	pthread_mutex_lock(&partition->lock);
	event = event_find(partition, connection_id);
	sent = event && write(event->fd, &one, sizeof(one)) > 0;
	pthread_mutex_unlock(&partition->lock);
	return sent;
}

uint64_t fake_engine_take_interrupts(struct engine_partition *partition, uint32_t vp)
{
	uint64_t count = 0;

	if (read(partition->sints[vp].raise, &count, sizeof(count)) < 0)
		return 0;
	return count;
}

static void halt(struct engine_partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition->halted = true;
	pthread_mutex_unlock(&partition->lock);
}

void fake_engine_port_io(struct engine_partition *partition, uint16_t port, bool write,
			 uint8_t *data, uint32_t size)
{
	if (partition->config.events->port_io(partition->config.ctx, port, write, data, size) ==
	    ENGINE_PORT_STOP_VP)
		halt(partition);
}

bool fake_engine_take_line(struct engine_partition *partition, uint32_t line)
{
	uint64_t count;
	int fd;

	pthread_mutex_lock(&partition->lock);
	fd = partition->lines[line];
	pthread_mutex_unlock(&partition->lock);
	return fd >= 0 && read(fd, &count, sizeof(count)) > 0;
}

void fake_engine_exit(struct engine_partition *partition, enum engine_exit_reason reason,
		      const char *text)
{
	halt(partition);
	partition->config.events->exited(partition->config.ctx, 0, reason, text);
}
