/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assembling a child partition, and the way from its VPs' threads to the event loop. See
 * partition.h.
 *
 * The VMBus server, the NICs and all else that keeps state belong to the loop's thread. A VP's
 * thread leaves a message or the guest's end in a place of its own under a lock, and wakes the loop
 * by an eventfd.
 */
#include "hypervisor/partition.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "hypervisor/acpi_tables.h"
#include "hypervisor/boot_linux.h"
#include "hypervisor/channel_nudge.h"
#include "hypervisor/engine.h"
#include "hypervisor/gpa_space.h"
#include "hypervisor/message_inbox.h"
#include "hypervisor/platform.h"
#include "hypervisor/synic.h"
#include "hypervisor/vm_ic.h"
#include "hypervisor/vsp_client.h"
#include "vmbus/event_signal.h"
#include "vmbus/guest_memory.h"
#include "vmbus/server.h"

#define LOG_COMPONENT "partition"

/* While this many messages wait for a guest that does not read them, its own are not looked at. */
#define OUTBOUND_LIMIT 4096
/* Then the loop's other work has its turn: several VPs can post as fast as one thread reads. */
#define MESSAGES_A_ROUND 64

struct partition {
	struct partition_config config;
	struct guest_memory *memory;
	struct engine_boot boot;
	struct signal_table signals;
	bool signals_made;
	struct synic *synic;
	struct engine_partition *engine;
	struct platform platform;
	bool platform_made;
	struct vmbus_server *server;
	struct vsp_client *nics[VM_MAX_NICS];
	struct vm_ic *ic;
	struct channel_nudge *nudge;
	struct message_inbox inbox;
	int wake;
	struct event_watch *wake_watch;
	struct event_timer *retry; /* inbox put off: see OUTBOUND_LIMIT */

	pthread_mutex_t lock; /* guards all below */
	bool end_set;
	enum partition_end end;
	char end_text[VM_MESSAGE_BYTES];
};

static void loop_wake(struct partition *partition)
{
	const uint64_t one = 1;

	if (write(partition->wake, &one, sizeof(one)) < 0)
		log_error_limited("cannot wake the event loop: %s", strerror(errno));
}

/* ---- from the VPs' threads ---- */

/* The first end counts: what a guest does after it is noise. */
static void end_set(struct partition *partition, enum partition_end end, const char *text)
{
	pthread_mutex_lock(&partition->lock);
	if (!partition->end_set) {
		partition->end_set = true;
		partition->end = end;
		strncpy(partition->end_text, text, sizeof(partition->end_text) - 1);
	}
	pthread_mutex_unlock(&partition->lock);
	loop_wake(partition);
}

static uint16_t on_post_message(void *ctx, uint32_t vp, uint32_t connection_id, const void *payload,
				size_t length)
{
	struct partition *partition = ctx;

	(void)vp;
	if (!vmbus_server_is_message_port(connection_id))
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (message_inbox_put(&partition->inbox, connection_id, payload, length))
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	loop_wake(partition);
	return HV_STATUS_SUCCESS;
}

static void on_synic_changed(void *ctx, uint32_t vp, const struct engine_synic *registers)
{
	struct partition *partition = ctx;

	synic_update(partition->synic, vp, registers);
}

static enum engine_port_result on_port_io(void *ctx, uint16_t port, bool write, uint8_t *data,
					  uint32_t size)
{
	struct partition *partition = ctx;

	return platform_port_io(&partition->platform, port, write, data, size);
}

static void on_exited(void *ctx, uint32_t vp, enum engine_exit_reason reason, const char *text)
{
	static const enum partition_end ends[] = {
		[ENGINE_EXIT_RESET] = PARTITION_RESET,
		[ENGINE_EXIT_FAULT] = PARTITION_FAULTED,
		[ENGINE_EXIT_CRASH] = PARTITION_CRASHED,
		[ENGINE_EXIT_FAILED] = PARTITION_FAILED,
	};

	(void)vp;
	end_set(ctx, ends[reason], text);
}

static void on_power(void *ctx, enum platform_power what)
{
	end_set(ctx, what == PLATFORM_POWER_OFF ? PARTITION_POWERED_OFF : PARTITION_RESET, "");
}

static const struct engine_events partition_events = {
	.post_message = on_post_message,
	.synic_changed = on_synic_changed,
	.port_io = on_port_io,
	.exited = on_exited,
};

/* ---- on the loop's thread ---- */

static void inbox_run(struct partition *partition);

static void on_retry(void *ctx)
{
	struct partition *partition = ctx;

	partition->retry = NULL;
	inbox_run(partition);
}

static void inbox_run(struct partition *partition)
{
	enum { RETRY_MS = 10 };
	struct inbox_message message;

	for (int i = 0; synic_queued(partition->synic) < OUTBOUND_LIMIT; i++) {
		if (i == MESSAGES_A_ROUND) {
			loop_wake(partition);
			return;
		}
		if (!message_inbox_take(&partition->inbox, &message))
			return;
		if (vmbus_server_message(partition->server, message.connection_id, message.payload,
					 message.length))
			log_warn_limited("a message to unknown connection %u was dropped",
					 message.connection_id);
	}
	if (!partition->retry && event_loop_after_ms(partition->config.loop, RETRY_MS, on_retry,
						     partition, &partition->retry))
		end_set(partition, PARTITION_FAILED, "out of memory");
}

static void on_wake(void *ctx, int fd, uint32_t events)
{
	struct partition *partition = ctx;
	uint64_t count;
	bool ended;

	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	inbox_run(partition);
	pthread_mutex_lock(&partition->lock);
	ended = partition->end_set;
	pthread_mutex_unlock(&partition->lock);
	if (!ended)
		return;

	char text[VM_MESSAGE_BYTES];

	/* nobody writes it any more; copied, for the callback may free it */
	memcpy(text, partition->end_text, sizeof(text));
	event_watch_remove(partition->wake_watch);
	partition->wake_watch = NULL;
	partition->config.ended(partition->config.ctx, partition->end, text);
}

static void post_to_guest(void *ctx, uint32_t vp, const void *message, size_t length)
{
	struct partition *partition = ctx;
	int result = synic_post_message(partition->synic, vp, message, length);

	if (result)
		log_error_limited("a message to VP %u was lost: %s", vp, strerror(-result));
}

static void on_channel_opened(void *ctx, uint32_t relid, uint32_t target_vp)
{
	struct partition *partition = ctx;

	channel_nudge_opened(partition->nudge, relid, target_vp);
}

static const struct vmbus_server_ops partition_bus_ops = {
	.post_message = post_to_guest,
	.channel_opened = on_channel_opened,
};

/* ---- making and ending ---- */

static int acpi_load(struct guest_memory *memory, uint32_t vp_count)
{
	uint8_t *bytes = guest_memory_for_write(memory, BOOT_ACPI_GPA, BOOT_ACPI_BYTES);

	if (!bytes || !acpi_tables_build(vp_count, BOOT_ACPI_GPA, bytes, BOOT_ACPI_BYTES))
		return -EINVAL;
	return 0;
}

/*
 * The huge pages of the partition's former life may not be free yet: netvspd unmaps them when it
 * sees the end of the connection, which is waited for here.
 */
static int memory_create(struct partition *partition, struct vm_error *error)
{
	enum { WAIT_MS = 3000, STEP_MS = 20 };
	const struct timespec pause = {.tv_nsec = STEP_MS * (long)NS_PER_MS};
	const struct vm_config *vm = partition->config.vm;
	bool reboots = !partition->config.must_reach_switch;
	struct deadline deadline = deadline_in_ms(WAIT_MS);
	int result = gpa_space_create(vm->memory_bytes, vm->huge_pages, &partition->memory, error);

	while (result == -ENOMEM && vm->huge_pages && reboots && !deadline_passed(deadline)) {
		nanosleep(&pause, NULL);
		result = gpa_space_create(vm->memory_bytes, vm->huge_pages, &partition->memory,
					  error);
	}
	return result;
}

/* What a guest sees when it starts: memory with its kernel. */
static int memory_make(struct partition *partition, struct vm_error *error)
{
	const struct vm_config *vm = partition->config.vm;
	const struct boot_linux linux_boot = {
		.kernel_path = vm->kernel,
		.initrd_path = vm->initrd,
		.cmdline = vm->cmdline,
		.memory_bytes = vm->memory_bytes,
	};
	int result = memory_create(partition, error);

	if (!result)
		result = boot_linux_load(partition->memory, &linux_boot, &partition->boot, error);
	if (result)
		return result;
	result = acpi_load(partition->memory, vm->vps);
	return result ? vm_error_set(error, EXIT_INTERNAL, result, "ACPI tables do not fit") : 0;
}

static int engine_make(struct partition *partition, struct vm_error *error)
{
	const struct engine_ops *ops = partition->config.engine;
	const struct engine_config config = {
		.vp_count = partition->config.vm->vps,
		.memory = partition->memory,
		.events = &partition_events,
		.ctx = partition,
	};
	struct engine_sint_fds fds;
	int line;
	int result = ops->create(&config, &partition->engine, error);

	if (result)
		return result;
	line = ops->get_line_fd(partition->engine, ACPI_LINE_UART);
	if (line < 0)
		return vm_error_set(error, EXIT_INTERNAL, line, "no interrupt line for COM1: %s",
				    strerror(-line));
	platform_init(&partition->platform, partition->config.console, line, on_power, partition);
	partition->platform_made = true;
	for (uint32_t vp = 0; vp < config.vp_count && !result; vp++) {
		result = ops->get_sint_fds(partition->engine, vp, &fds);
		if (!result)
			result = synic_set_fds(partition->synic, vp, &fds);
	}
	return result ? vm_error_set(error, EXIT_INTERNAL, result, "no SINT for a VP: %s",
				     strerror(-result))
		      : 0;
}

static int bus_make(struct partition *partition, struct vm_error *error)
{
	uint32_t vps = partition->config.vm->vps;
	int result = signal_table_init(&partition->signals, -1);

	partition->signals_made = !result;
	if (!result)
		result = synic_create(partition->memory, &partition->signals, vps,
				      partition->config.loop, &partition->synic);
	if (!result)
		result =
			vmbus_server_create(&partition_bus_ops, partition, vps, &partition->server);
	return result ? vm_error_set(error, EXIT_NO_MEMORY, result, "cannot make the bus: %s",
				     strerror(-result))
		      : 0;
}

static int nics_make(struct partition *partition, struct vm_error *error)
{
	const struct vm_config *vm = partition->config.vm;
	int result = 0;

	for (uint32_t i = 0; i < vm->nic_count && !result; i++) {
		const struct vsp_client_config config = {
			.vm_name = vm->name,
			.nic_index = i,
			.nic = &vm->nics[i],
			.loop = partition->config.loop,
			.memory = partition->memory,
			.signals = &partition->signals,
			.vp_count = vm->vps,
			.server = partition->server,
			.engine = partition->config.engine,
			.partition = partition->engine,
		};

		result = vsp_client_create(&config, partition->config.must_reach_switch,
					   &partition->nics[i], error);
	}
	return result;
}

static void power_button_press(void *ctx)
{
	struct partition *partition = ctx;
	const uint64_t one = 1;
	int line = partition->config.engine->get_line_fd(partition->engine, ACPI_LINE_POWER_BUTTON);

	if (line < 0 || write(line, &one, sizeof(one)) < 0)
		log_warn("the power button cannot be pressed");
}

static int ic_make(struct partition *partition, struct vm_error *error)
{
	const struct vm_ic_config config = {
		.loop = partition->config.loop,
		.memory = partition->memory,
		.signals = &partition->signals,
		.server = partition->server,
		.engine = partition->config.engine,
		.partition = partition->engine,
		.refused = power_button_press,
		.ctx = partition,
	};
	int result = vm_ic_create(&config, &partition->ic);

	return result ? vm_error_set(error, EXIT_NO_MEMORY, result,
				     "cannot offer the integration services: %s", strerror(-result))
		      : 0;
}

static int nudge_make(struct partition *partition, struct vm_error *error)
{
	const struct channel_nudge_config config = {
		.loop = partition->config.loop,
		.memory = partition->memory,
		.signals = &partition->signals,
		.engine = partition->config.engine,
		.partition = partition->engine,
	};
	int result = channel_nudge_create(&config, &partition->nudge);

	return result ? vm_error_set(error, EXIT_NO_MEMORY, result, "out of memory") : 0;
}

static int wake_make(struct partition *partition, struct vm_error *error)
{
	int result;

	partition->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = partition->wake < 0
			 ? -errno
			 : event_loop_watch(partition->config.loop, partition->wake, EPOLLIN,
					    on_wake, partition, &partition->wake_watch);
	return result ? vm_error_set(error, EXIT_INTERNAL, result, "no event fd: %s",
				     strerror(-result))
		      : 0;
}

int partition_create(const struct partition_config *config, struct partition **partition,
		     struct vm_error *error)
{
	struct partition *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM, "out of memory");
	made->config = *config;
	made->wake = -1;
	message_inbox_init(&made->inbox);
	pthread_mutex_init(&made->lock, NULL);
	result = wake_make(made, error);
	if (!result)
		result = memory_make(made, error);
	if (!result)
		result = bus_make(made, error);
	if (!result)
		result = engine_make(made, error);
	if (!result)
		result = nudge_make(made, error);
	if (!result)
		result = nics_make(made, error);
	if (!result)
		result = ic_make(made, error);
	if (result) {
		partition_destroy(made);
		return result;
	}
	*partition = made;
	return 0;
}

void partition_destroy(struct partition *partition)
{
	if (!partition)
		return;
	if (partition->engine)
		partition->config.engine->stop(partition->engine);
	event_watch_remove(partition->wake_watch);
	event_timer_cancel(partition->retry);
	for (size_t i = 0; i < VM_MAX_NICS; i++)
		vsp_client_destroy(partition->nics[i]);
	vm_ic_destroy(partition->ic);
	vmbus_server_destroy(partition->server);
	channel_nudge_destroy(partition->nudge);
	if (partition->platform_made)
		platform_fini(&partition->platform);
	synic_destroy(partition->synic);
	partition->config.engine->destroy(partition->engine);
	if (partition->signals_made)
		signal_table_fini(&partition->signals);
	guest_memory_destroy(partition->memory);
	if (partition->wake >= 0)
		close(partition->wake);
	message_inbox_fini(&partition->inbox);
	pthread_mutex_destroy(&partition->lock);
	free(partition);
}

int partition_start(struct partition *partition, struct vm_error *error)
{
	return partition->config.engine->start(partition->engine, &partition->boot, error);
}

void partition_request_power_off(struct partition *partition, uint32_t timeout_seconds)
{
	if (vm_ic_request_power_off(partition->ic, timeout_seconds) < 0)
		power_button_press(partition);
}

void partition_get_status(const struct partition *partition, struct vm_status *status)
{
	struct vmbus_server_counts counts;

	vmbus_server_get_counts(partition->server, &counts);
	status->vmbus_version = counts.version;
	status->vmbus_offered = counts.offered;
	status->vmbus_open = counts.open;
	status->vmbus_gpadls = counts.gpadls;
	vm_ic_get_status(partition->ic, status);
	for (size_t i = 0; i < partition->config.vm->nic_count; i++)
		vsp_client_get_status(partition->nics[i], &status->nics[i]);
}
