/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_guest_program.h. The working set lies from 32 MiB on, behind what a boot loads.
 */
#include "tests/fake_vmwp/fake_guest_program.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/acpi_tables.h"
#include "hypervisor/uart.h"
#include "tests/fake_vmwp/fake_engine.h"

#define FIRST_GPA   (UINT64_C(32) << 20)
#define PAGE_BYTES  4096u
#define PAGE_WORDS  (PAGE_BYTES / sizeof(uint64_t))
#define SAY_STEPS   2500
#define CHECK_PAGES 4 /* looked at in a step */

#define BOOTED UINT64_C(0x6b6f6f6c20746f6e) /* in REGISTER_BOOTED once it is */

enum {
	REGISTER_BOOTED,
	REGISTER_STEP,
	REGISTER_PAGES,
	REGISTER_SUM, /* over page_mark() of every page */
	REGISTER_CHECK_AT,
	REGISTER_CHECK_SUM, /* of the pages before that */
	REGISTER_RANDOM,
};

static uint64_t environment_number(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 31) * UINT64_C(0x7fb5d329728ea185);
	value = (value ^ value >> 27) * UINT64_C(0x81dadef4bc2dd44d);
	return value ^ value >> 33;
}

static uint64_t page_mark(uint64_t page, uint64_t generation)
{
	return mix(page << 40 ^ generation);
}

static uint64_t page_gpa(uint64_t page)
{
	return FIRST_GPA + page * PAGE_BYTES;
}

static void page_write(struct engine_partition *partition, uint64_t page, uint64_t generation)
{
	uint64_t words[PAGE_WORDS];

	words[0] = page;
	words[1] = generation;
	for (size_t i = 2; i < PAGE_WORDS; i++)
		words[i] = page_mark(page, generation) + i;
	fake_engine_write(partition, page_gpa(page), words, sizeof(words));
}

/* Returns the generation of the page; crashes the guest where it is not whole. */
static uint64_t page_read(struct engine_partition *partition, uint64_t page)
{
	uint64_t words[PAGE_WORDS];
	char text[128];

	fake_engine_read(partition, page_gpa(page), words, sizeof(words));
	for (size_t i = 2; i < PAGE_WORDS; i++) {
		if (words[0] == page && words[i] == page_mark(page, words[1]) + i)
			continue;
		snprintf(text, sizeof(text), "memory is wrong: page %llu, word %zu",
			 (unsigned long long)page, i);
		fake_engine_exit(partition, ENGINE_EXIT_CRASH, text);
		break;
	}
	return words[1];
}

static void say(struct engine_partition *partition, const char *text)
{
	for (; *text; text++) {
		uint8_t byte = (uint8_t)*text;

		fake_engine_port_io(partition, UART_PORT, true, &byte, 1);
	}
}

static void say_step(struct engine_partition *partition)
{
	char text[64];

	snprintf(text, sizeof(text), "step %llu\n",
		 (unsigned long long)fake_engine_registers(partition)[REGISTER_STEP]);
	say(partition, text);
}

static void boot(struct engine_partition *partition, uint64_t *registers)
{
	registers[REGISTER_PAGES] = environment_number("FAKE_GUEST_PAGES", 4096);
	registers[REGISTER_RANDOM] = 1;
	for (uint64_t page = 0; page < registers[REGISTER_PAGES]; page++) {
		page_write(partition, page, 0);
		registers[REGISTER_SUM] += page_mark(page, 0);
	}
	registers[REGISTER_BOOTED] = BOOTED;
	say(partition, "booted\n");
}

static void page_change(struct engine_partition *partition, uint64_t *registers)
{
	uint64_t page, generation, change;

	registers[REGISTER_RANDOM] = mix(registers[REGISTER_RANDOM] + 1);
	page = registers[REGISTER_RANDOM] % registers[REGISTER_PAGES];
	generation = page_read(partition, page);
	page_write(partition, page, generation + 1);
	change = page_mark(page, generation + 1) - page_mark(page, generation);
	registers[REGISTER_SUM] += change;
	if (page < registers[REGISTER_CHECK_AT])
		registers[REGISTER_CHECK_SUM] += change;
}

/* A part of a walk over all pages, at whose end the sums must agree. */
static void pages_check(struct engine_partition *partition, uint64_t *registers)
{
	for (int i = 0; i < CHECK_PAGES; i++) {
		uint64_t page = registers[REGISTER_CHECK_AT]++;

		registers[REGISTER_CHECK_SUM] += page_mark(page, page_read(partition, page));
		if (registers[REGISTER_CHECK_AT] < registers[REGISTER_PAGES])
			continue;
		if (registers[REGISTER_CHECK_SUM] != registers[REGISTER_SUM])
			fake_engine_exit(partition, ENGINE_EXIT_CRASH,
					 "memory is wrong: a page is of another time");
		registers[REGISTER_CHECK_AT] = 0;
		registers[REGISTER_CHECK_SUM] = 0;
	}
}

static void power_off(struct engine_partition *partition)
{
	uint8_t value = ACPI_SLEEP_ENABLE | ACPI_SLEEP_TYPE_S5 << 2;

	fake_engine_port_io(partition, ACPI_PORT_SLEEP_CONTROL, true, &value, 1);
}

static void orders_obey(struct engine_partition *partition)
{
	uint8_t status = 0, order = 0;

	if (fake_engine_take_line(partition, ACPI_LINE_POWER_BUTTON))
		power_off(partition);
	fake_engine_port_io(partition, UART_PORT + 5, false, &status, 1);
	if (!(status & 1))
		return;
	fake_engine_port_io(partition, UART_PORT, false, &order, 1);
	if (order == 'p')
		power_off(partition);
	else if (order == 'r')
		fake_engine_exit(partition, ENGINE_EXIT_RESET, "");
	else if (order == 'c')
		fake_engine_exit(partition, ENGINE_EXIT_CRASH, "the guest was told to crash");
	else if (order == 's')
		say_step(partition);
}

void fake_guest_program(struct engine_partition *partition)
{
	uint64_t *registers = fake_engine_registers(partition);

	if (registers[REGISTER_BOOTED] != BOOTED) {
		boot(partition, registers);
		return;
	}
	for (uint64_t i = environment_number("FAKE_GUEST_DIRTY", 1); i > 0; i--)
		page_change(partition, registers);
	pages_check(partition, registers);
	orders_obey(partition);
	if (++registers[REGISTER_STEP] % SAY_STEPS == 0)
		say_step(partition);
}
