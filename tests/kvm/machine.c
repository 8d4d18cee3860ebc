/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A partition for engine tests. See machine.h.
 */
#include "tests/kvm/machine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/unit/test_main.h"

#include "base/deadline.h"
#include "hypervisor/gpa_space.h"
#include "vmbus/guest_memory.h"

#define GDT_GPA		0x1000
#define PML4_GPA	0x2000
#define PDPT_GPA	0x3000
#define DIRECTORY_GPA	0x4000
#define PRESENT_WRITE	0x3
#define LARGE_PAGE	0x80
#define DIRECTORY_BYTES (UINT64_C(2) << 20)
#define GDT_BYTES	32

#define ICR_NMI	 UINT64_C(0x4400)
#define ICR_INIT UINT64_C(0x4500)
#define ICR_SIPI UINT64_C(0x4600)

void sleep_ms(uint32_t ms)
{
	const struct timespec time = {.tv_sec = ms / 1000,
				      .tv_nsec = (long)(ms % 1000) * (long)NS_PER_MS};

	nanosleep(&time, NULL);
}

void wait_for(const volatile uint64_t *value, uint64_t least, uint32_t seconds, const char *what)
{
	struct deadline deadline = deadline_in_ms(seconds * 1000);

	while (*value < least && !deadline_passed(deadline))
		sleep_ms(1);
	if (*value < least)
		fail_msg("%s: %llu after %u s, wanted %llu", what, (unsigned long long)*value,
			 seconds, (unsigned long long)least);
}

void wait_for_u32(const volatile uint32_t *value, uint32_t least, uint32_t seconds,
		  const char *what)
{
	struct deadline deadline = deadline_in_ms(seconds * 1000);

	while (*value < least && !deadline_passed(deadline))
		sleep_ms(1);
	if (*value < least)
		fail_msg("%s: %u after %u s, wanted %u", what, *value, seconds, least);
}

/* ---- the host's side ---- */

static uint16_t on_post_message(void *ctx, uint32_t vp, uint32_t connection_id, const void *payload,
				size_t length)
{
	(void)ctx;
	(void)vp;
	(void)connection_id;
	(void)payload;
	(void)length;
	return 0;
}

static void on_synic_changed(void *ctx, uint32_t vp, const struct engine_synic *synic)
{
	struct machine *machine = ctx;

	(void)vp;
	(void)synic;
	atomic_fetch_add(&machine->synic_changes, 1);
	atomic_fetch_add(&machine->callbacks, 1);
}

/* The guest writes one number after the other, and reads them: none is lost, none comes twice. */
static enum engine_port_result on_port_io(void *ctx, uint16_t port, bool write, uint8_t *data,
					  uint32_t size)
{
	struct machine *machine = ctx;
	uint32_t value = 0;

	atomic_fetch_add(&machine->callbacks, 1);
	if (write && port == GUEST_PORT_OUT) {
		memcpy(&value, data, size);
		if (value != atomic_fetch_add(&machine->out_next, 1))
			atomic_fetch_add(&machine->out_wrong, 1);
	} else if (!write && port == GUEST_PORT_IN) {
		value = atomic_fetch_add(&machine->in_next, 1) + 1;
		memcpy(data, &value, size);
	}
	return ENGINE_PORT_DONE;
}

static void on_exited(void *ctx, uint32_t vp, enum engine_exit_reason reason, const char *text)
{
	struct machine *machine = ctx;

	printf("VP %u exited: %d %s\n", vp, (int)reason, text);
	machine->exit_reason = reason;
	snprintf(machine->exit_text, sizeof(machine->exit_text), "%s", text);
	atomic_store(&machine->exited, true);
}

static const struct engine_events machine_events = {
	.post_message = on_post_message,
	.synic_changed = on_synic_changed,
	.port_io = on_port_io,
	.exited = on_exited,
};

/* ---- making ---- */

/* Identity-mapped up to 1 GiB. */
static void tables_make(struct guest_memory *memory)
{
	uint64_t *gdt = guest_memory_for_write(memory, GDT_GPA, GDT_BYTES);
	uint64_t *pml4 = guest_memory_for_write(memory, PML4_GPA, GUEST_PAGE_SIZE);
	uint64_t *pdpt = guest_memory_for_write(memory, PDPT_GPA, GUEST_PAGE_SIZE);
	uint64_t *directory = guest_memory_for_write(memory, DIRECTORY_GPA, GUEST_PAGE_SIZE);

	gdt[2] = UINT64_C(0x00af9b000000ffff);
	gdt[3] = UINT64_C(0x00cf93000000ffff);
	pml4[0] = PDPT_GPA | PRESENT_WRITE;
	pdpt[0] = DIRECTORY_GPA | PRESENT_WRITE;
	for (uint64_t i = 0; i < 512; i++)
		directory[i] = i * DIRECTORY_BYTES | PRESENT_WRITE | LARGE_PAGE;
}

void machine_create(struct machine *machine)
{
	const struct engine_config config = {
		.vp_count = machine->vp_count,
		.memory = machine->memory,
		.events = &machine_events,
		.ctx = machine,
	};
	struct vm_error error = {0};

	if (engine_kvm.create(&config, &machine->partition, &error))
		fail_msg("create: %s", error.message);
}

void machine_make(struct machine *machine, uint32_t vp_count, uint64_t memory_bytes,
		  const uint8_t *program, const uint8_t *program_end)
{
	struct vm_error error = {0};

	memset(machine, 0, sizeof(*machine));
	machine->vp_count = vp_count;
	machine->memory_bytes = memory_bytes;
	if (gpa_space_create(memory_bytes, false, &machine->memory, &error))
		fail_msg("memory: %s", error.message);
	tables_make(machine->memory);
	assert_int_equal(guest_memory_write(machine->memory, GUEST_CODE_GPA, program,
					    (size_t)(program_end - program)),
			 0);
	machine->mail =
		guest_memory_for_write(machine->memory, GUEST_MAIL_GPA, sizeof(struct guest_mail));
	machine_create(machine);
}

void machine_destroy(struct machine *machine)
{
	engine_kvm.destroy(machine->partition);
	machine->partition = NULL;
}

void machine_end(struct machine *machine)
{
	if (machine->partition)
		machine_destroy(machine);
	guest_memory_destroy(machine->memory);
}

void machine_start(struct machine *machine)
{
	const struct engine_boot boot = {
		.entry_gpa = GUEST_CODE_GPA,
		.page_table_gpa = PML4_GPA,
		.gdt_gpa = GDT_GPA,
		.gdt_bytes = GDT_BYTES,
	};
	struct vm_error error = {0};

	if (engine_kvm.start(machine->partition, &boot, &error))
		fail_msg("start: %s", error.message);
}

void machine_load(struct machine *machine, uint32_t page, const uint8_t *program,
		  const uint8_t *program_end)
{
	assert_int_equal(guest_memory_write(machine->memory, (uint64_t)page << GUEST_PAGE_SHIFT,
					    program, (size_t)(program_end - program)),
			 0);
}

volatile uint32_t *machine_counter(const struct machine *machine, uint32_t page)
{
	return guest_memory_for_write(machine->memory, (uint64_t)page << GUEST_PAGE_SHIFT,
				      sizeof(uint32_t));
}

static void icr_send(struct machine *machine, uint64_t command, uint32_t vp)
{
	struct deadline deadline = deadline_in_ms(10000);

	machine->mail->icr = command | (uint64_t)vp << 32;
	while (machine->mail->icr && !deadline_passed(deadline))
		sleep_ms(1);
	assert_int_equal(machine->mail->icr, 0);
}

void machine_send_init(struct machine *machine, uint32_t vp)
{
	icr_send(machine, ICR_INIT, vp);
}

void machine_send_sipi(struct machine *machine, uint32_t vp, uint32_t page)
{
	icr_send(machine, ICR_SIPI | page, vp);
}

void machine_send_nmi(struct machine *machine, uint32_t vp)
{
	icr_send(machine, ICR_NMI, vp);
}

/* ---- moving ---- */

void machine_save(struct machine *machine, struct state_writer *writer)
{
	struct vm_error error = {0};

	state_writer_init(writer);
	if (engine_kvm.save(machine->partition, writer, &error))
		fail_msg("save: %s", error.message);
	assert_int_equal(state_writer_result(writer), 0);
}

void machine_restore(struct machine *machine, const struct state_writer *writer)
{
	struct state_reader reader;
	struct vm_error error = {0};

	state_reader_init(&reader, writer->bytes, writer->length);
	if (engine_kvm.restore(machine->partition, &reader, &error))
		fail_msg("restore: %s", error.message);
}

void machine_move(struct machine *machine)
{
	struct state_writer writer;
	uint32_t callbacks;
	uint64_t times[4];

	times[0] = monotonic_ns();
	assert_int_equal(engine_kvm.pause(machine->partition), 0);
	times[1] = monotonic_ns();
	callbacks = atomic_load(&machine->callbacks);
	machine_save(machine, &writer);
	times[2] = monotonic_ns();
	assert_int_equal(atomic_load(&machine->callbacks), callbacks);
	machine_destroy(machine);
	machine_create(machine);
	times[3] = monotonic_ns();
	machine_restore(machine, &writer);
	printf("pause %llu us, save %llu us, restore %llu us\n",
	       (unsigned long long)((times[1] - times[0]) / 1000),
	       (unsigned long long)((times[2] - times[1]) / 1000),
	       (unsigned long long)((monotonic_ns() - times[3]) / 1000));
	state_writer_fini(&writer);
}
