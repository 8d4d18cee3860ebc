/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assembling a child partition, and taking it apart. See partition.h.
 */
#include "hypervisor/partition.h"

#include <errno.h>
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
#include "hypervisor/gpa_space.h"
#include "hypervisor/partition_internal.h"
#include "hypervisor/synic.h"
#include "hypervisor/vm_ic.h"
#include "hypervisor/vm_storage.h"
#include "hypervisor/vsp_client.h"
#include "vmbus/guest_memory.h"

#define LOG_COMPONENT "partition"

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

/* What a guest sees when it starts: memory with its kernel. Incoming: nothing yet. */
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

	if (result || partition->config.incoming)
		return result;
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
		.events = &partition_engine_events,
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
	platform_init(&partition->platform, partition->config.console, line, partition_on_power,
		      partition);
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
			.incoming = partition->config.incoming,
		};

		result = vsp_client_create(&config, partition->config.must_reach_switch,
					   &partition->nics[i], error);
	}
	return result;
}

static int storage_make(struct partition *partition, struct vm_error *error)
{
	const struct vm_storage_partition config = {
		.memory = partition->memory,
		.signals = &partition->signals,
		.server = partition->server,
		.engine = partition->config.engine,
		.partition = partition->engine,
		.vp_count = partition->config.vm->vps,
	};
	int result = 0;

	if (partition->config.storage)
		result = vm_storage_attach(partition->config.storage, &config);
	return result ? vm_error_set(error, EXIT_INTERNAL, result,
				     "cannot offer the disks' controllers: %s", strerror(-result))
		      : 0;
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
					    partition_on_wake, partition, &partition->wake_watch);
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
	made->phase = config->incoming ? PARTITION_INCOMING : PARTITION_RUNS;
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
		result = storage_make(made, error);
	if (!result)
		result = ic_make(made, error);
	if (result) {
		partition_destroy(made);
		return result;
	}
	*partition = made;
	return 0;
}

static void guest_end(struct partition *partition)
{
	if (partition->engine)
		partition->config.engine->stop(partition->engine);
	event_watch_remove(partition->wake_watch);
	partition->wake_watch = NULL;
	event_timer_cancel(partition->retry);
	partition->retry = NULL;
	partition_change_cancel(partition);
}

int partition_halt(struct partition *partition, bool for_good, uint32_t deadline_ms,
		   struct vm_error *error)
{
	guest_end(partition);
	return vm_storage_drain(partition->config.storage, for_good, deadline_ms, error);
}

void partition_destroy(struct partition *partition)
{
	if (!partition)
		return;
	guest_end(partition);
	for (size_t i = 0; i < VM_MAX_NICS; i++)
		vsp_client_destroy(partition->nics[i]);
	vm_storage_detach(partition->config.storage);
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

struct guest_memory *partition_get_memory(struct partition *partition)
{
	return partition->memory;
}

void partition_request_power_off(struct partition *partition, uint32_t timeout_seconds)
{
	if (vm_ic_request_power_off(partition->ic, timeout_seconds) < 0)
		power_button_press(partition);
}

int partition_change_vlan(struct partition *partition, uint32_t nic)
{
	return vsp_client_change_vlan(partition->nics[nic]);
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
	status->controller_count =
		vm_storage_get_controllers(partition->config.storage, status->controllers);
}
