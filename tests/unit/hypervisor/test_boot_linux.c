/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bzImages good and bad, and what lies in guest memory after a good one was loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/boot_linux.h"
#include "hypervisor/bzimage.h"
#include "hypervisor/engine.h"
#include "hypervisor/gpa_space.h"
#include "vmbus/guest_memory.h"

#define MIB	    UINT64_C(0x100000)
#define SETUP_BYTES 1024u /* boot sector and one more */
#define CODE_BYTES  4096u
#define IMAGE_BYTES (SETUP_BYTES + CODE_BYTES)

/* The smallest file that is a bzImage of protocol 2.15. */
static void image_fill(uint8_t *image)
{
	memset(image, 0, IMAGE_BYTES);
	image[0x1f1] = 1;
	put_le32(image + 0x1f4, CODE_BYTES / 16);
	put_le16(image + 0x1fe, 0xaa55);
	image[0x201] = 0x6a;		     /* the header ends at 0x26c */
	put_le32(image + 0x202, 0x53726448); /* "HdrS" */
	put_le16(image + 0x206, 0x020f);
	image[0x211] = 1;
	put_le32(image + 0x22c, 0x7fffffff);
	put_le16(image + 0x236, 0x0003);
	put_le32(image + 0x238, 2047);
	put_le64(image + 0x258, 0x1000000);
	put_le32(image + 0x260, 0x300000);
	memset(image + SETUP_BYTES, 0xc0, CODE_BYTES);
}

static uint8_t image[IMAGE_BYTES];

static int image_setup(void **state)
{
	(void)state;
	image_fill(image);
	return 0;
}

static int parse(struct bzimage *parsed, const char **why)
{
	return bzimage_parse(image, BZIMAGE_HEAD_BYTES, IMAGE_BYTES, parsed, why);
}

static void assert_refused(const char *expected)
{
	struct bzimage parsed;
	const char *why = NULL;

	assert_int_equal(parse(&parsed, &why), -ENOEXEC);
	assert_string_equal(why, expected);
}

static void good_image_is_understood(void **state)
{
	struct bzimage parsed;
	const char *why;

	(void)state;
	assert_int_equal(parse(&parsed, &why), 0);
	assert_int_equal(parsed.code_offset, SETUP_BYTES);
	assert_int_equal(parsed.code_bytes, CODE_BYTES);
	assert_int_equal(parsed.load_gpa, 0x1000000);
	assert_int_equal(parsed.entry_gpa, 0x1000200);
	assert_int_equal(parsed.init_bytes, 0x300000);
	assert_int_equal(parsed.cmdline_max, 2047);
	assert_int_equal(parsed.header_bytes, 0x26c - 0x1f1);
}

static void missing_magic_is_not_a_bzimage(void **state)
{
	(void)state;
	image[0x202] = 'X';
	assert_refused("it is not a bzImage");
}

static void short_file_is_not_a_bzimage(void **state)
{
	struct bzimage parsed;
	const char *why;

	(void)state;
	for (size_t length = 0; length < 0x264; length++)
		assert_int_equal(bzimage_parse(image, length, length, &parsed, &why), -ENOEXEC);
}

static void old_protocol_is_refused(void **state)
{
	(void)state;
	put_le16(image + 0x206, 0x020b);
	assert_refused("its boot protocol is older than 2.12 (Linux 3.8)");
}

static void kernel_of_32_bits_is_refused(void **state)
{
	(void)state;
	put_le16(image + 0x236, 0x0002);
	assert_refused("it has no 64-bit entry point");
}

static void zimage_is_refused(void **state)
{
	(void)state;
	image[0x211] = 0;
	assert_refused("it is a zImage, not a bzImage");
}

static void code_past_the_end_of_the_file_is_refused(void **state)
{
	(void)state;
	put_le32(image + 0x1f4, CODE_BYTES / 16 + 1);
	assert_refused("it is truncated");
	put_le32(image + 0x1f4, 0xffffffff);
	assert_refused("it is truncated");
	put_le32(image + 0x1f4, 0);
	assert_refused("it is truncated");
}

static void setup_that_swallows_the_file_is_refused(void **state)
{
	(void)state;
	image[0x1f1] = 0xff;
	assert_refused("it is truncated");
}

static void impossible_load_address_is_refused(void **state)
{
	static const uint64_t bad[] = {0, 0x1000, 0x1000001, UINT64_C(0x100000000),
				       UINT64_MAX & ~UINT64_C(0xfff)};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		put_le64(image + 0x258, bad[i]);
		assert_refused("it asks for an impossible load address");
	}
}

static void init_size_below_the_code_is_refused(void **state)
{
	(void)state;
	put_le32(image + 0x260, CODE_BYTES - 1);
	assert_refused("its header says that it needs less memory than it has code");
}

static void header_that_ends_before_its_fields_is_refused(void **state)
{
	(void)state;
	image[0x201] = 0x10;
	assert_refused("its setup header is too short");
}

static void header_length_stays_inside_what_was_read(void **state)
{
	struct bzimage parsed;
	const char *why;

	(void)state;
	image[0x201] = 0xff;
	assert_int_equal(parse(&parsed, &why), 0);
	assert_int_equal(parsed.header_bytes, BZIMAGE_HEAD_BYTES - BZIMAGE_HEADER_START);
}

/* ---- loading ---- */

struct fixture {
	char dir[32];
	char kernel[64];
	char initrd[64];
	struct guest_memory *memory;
	struct engine_boot boot;
	struct vm_error error;
	struct boot_linux linux_boot;
};

static struct fixture f;

static void file_write(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static int load_setup(void **state)
{
	struct vm_error error;

	(void)state;
	memset(&f, 0, sizeof(f));
	strcpy(f.dir, "/tmp/lunar-boot-XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	snprintf(f.kernel, sizeof(f.kernel), "%s/kernel", f.dir);
	snprintf(f.initrd, sizeof(f.initrd), "%s/initrd", f.dir);
	image_fill(image);
	file_write(f.kernel, image, sizeof(image));
	file_write(f.initrd, "INITRD-BYTES", 12);
	f.linux_boot = (struct boot_linux){.kernel_path = f.kernel,
					   .initrd_path = f.initrd,
					   .cmdline = "console=ttyS0",
					   .memory_bytes = 64 * MIB};
	return gpa_space_create(64 * MIB, false, &f.memory, &error);
}

static int load_teardown(void **state)
{
	(void)state;
	guest_memory_destroy(f.memory);
	unlink(f.kernel);
	unlink(f.initrd);
	return rmdir(f.dir);
}

static int load(void)
{
	return boot_linux_load(f.memory, &f.linux_boot, &f.boot, &f.error);
}

static const uint8_t *params_loaded(void)
{
	const uint8_t *params;

	assert_int_equal(load(), 0);
	params = guest_memory_for_read(f.memory, f.boot.boot_params_gpa, 4096);
	assert_non_null(params);
	return params;
}

static void kernel_lies_where_it_wants_to(void **state)
{
	const uint8_t *code;

	(void)state;
	assert_int_equal(load(), 0);
	code = guest_memory_for_read(f.memory, 0x1000000, CODE_BYTES);
	assert_memory_equal(code, image + SETUP_BYTES, CODE_BYTES);
	assert_int_equal(f.boot.entry_gpa, 0x1000200);
}

static void boot_params_hold_header_initrd_and_rsdp(void **state)
{
	const uint8_t *params = params_loaded();
	uint32_t initrd = get_le32(params + 0x218);

	(void)state;
	assert_memory_equal(params + 0x202, "HdrS", 4);
	assert_int_equal(params[0x210], 0xff);
	assert_int_equal(params[0x1ef], 0); /* the sentinel: boot_params were cleared */
	assert_int_equal(get_le64(params + 0x70), BOOT_ACPI_GPA);
	assert_int_equal(get_le32(params + 0x21c), 12);
	assert_int_equal(initrd, 64 * MIB - 4096);
	assert_memory_equal(guest_memory_for_read(f.memory, initrd, 12), "INITRD-BYTES", 12);
	assert_string_equal(guest_memory_for_read(f.memory, get_le32(params + 0x228), 14),
			    "console=ttyS0");
}

static void memory_map_leaves_out_the_hole_and_the_tables(void **state)
{
	const uint8_t *params;
	const uint8_t *entry;

	(void)state;
	guest_memory_destroy(f.memory);
	assert_int_equal(gpa_space_create(4096 * MIB, false, &f.memory, &f.error), 0);
	f.linux_boot.memory_bytes = 4096 * MIB;
	params = params_loaded();
	entry = params + 0x2d0;
	assert_int_equal(params[0x1e8], 4);
	assert_int_equal(get_le64(entry + 8), 0x9fc00);
	assert_int_equal(get_le64(entry + 20), 0xe0000);
	assert_int_equal(get_le32(entry + 36), 3); /* ACPI tables */
	assert_int_equal(get_le64(entry + 40), MIB);
	assert_int_equal(get_le64(entry + 48), 3071 * MIB);
	assert_int_equal(get_le64(entry + 60), 4096 * MIB);
	assert_int_equal(get_le64(entry + 68), 1024 * MIB);
	assert_int_equal(get_le32(entry + 76), 1);
	/* an initrd below the kernel's limit of 2 GiB - 1 */
	assert_int_equal(get_le32(params + 0x218), 2048 * MIB - 4096);
}

static void page_tables_map_4_gib_to_themselves(void **state)
{
	const uint8_t *directory;

	(void)state;
	assert_int_equal(load(), 0);
	directory = guest_memory_for_read(f.memory, f.boot.page_table_gpa + 0x2000, 0x4000);
	for (uint64_t i = 0; i < 2048; i++)
		assert_int_equal(get_le64(directory + 8 * i), i << 21 | 0x83);
}

static void missing_kernel_has_its_own_exit_code(void **state)
{
	(void)state;
	f.linux_boot.kernel_path = "/nowhere/vmlinuz";
	assert_int_equal(load(), -ENOENT);
	assert_int_equal(f.error.code, EXIT_NO_KERNEL);
	assert_string_equal(f.error.message,
			    "cannot read kernel /nowhere/vmlinuz: No such file or directory");
}

static void missing_initrd_has_the_same(void **state)
{
	(void)state;
	f.linux_boot.initrd_path = "/nowhere/initrd";
	assert_int_equal(load(), -ENOENT);
	assert_int_equal(f.error.code, EXIT_NO_KERNEL);
}

static void folder_and_device_are_no_kernels(void **state)
{
	(void)state;
	f.linux_boot.kernel_path = "/tmp";
	assert_true(load() < 0);
	assert_int_equal(f.error.code, EXIT_NO_KERNEL);
	f.linux_boot.kernel_path = "/dev/zero";
	assert_true(load() < 0);
	assert_int_equal(f.error.code, EXIT_NO_KERNEL);
}

static void text_file_is_a_bad_kernel(void **state)
{
	(void)state;
	file_write(f.kernel, "#!/bin/sh\n", 10);
	assert_int_equal(load(), -ENOEXEC);
	assert_int_equal(f.error.code, EXIT_BAD_KERNEL);
}

static void kernel_larger_than_the_guest_is_too_little_memory(void **state)
{
	(void)state;
	put_le32(image + 0x260, 48 * MIB + 1);
	file_write(f.kernel, image, sizeof(image));
	assert_int_equal(load(), -ENOMEM);
	assert_int_equal(f.error.code, EXIT_NO_MEMORY);
	assert_string_equal(f.error.message, "too little memory: this kernel needs 65 MiB to "
					     "start, the guest has 64");
}

static void initrd_that_does_not_fit_is_too_little_memory(void **state)
{
	(void)state;
	assert_int_equal(truncate(f.initrd, 46 * MIB), 0); /* 45 are left */
	assert_int_equal(load(), -ENOMEM);
	assert_int_equal(f.error.code, EXIT_NO_MEMORY);
	assert_int_equal(truncate(f.initrd, 45 * MIB), 0);
	assert_int_equal(load(), 0);
}

static void command_line_longer_than_the_kernel_takes_is_refused(void **state)
{
	static char line[2049];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[2048] = '\0';
	f.linux_boot.cmdline = line;
	assert_int_equal(load(), -E2BIG);
	assert_int_equal(f.error.code, EXIT_CONFIG);
	line[2047] = '\0';
	assert_int_equal(load(), 0);
}

#define PARSE(name) cmocka_unit_test_setup(name, image_setup)
#define LOAD(name)  cmocka_unit_test_setup_teardown(name, load_setup, load_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PARSE(good_image_is_understood),
		PARSE(missing_magic_is_not_a_bzimage),
		PARSE(short_file_is_not_a_bzimage),
		PARSE(old_protocol_is_refused),
		PARSE(kernel_of_32_bits_is_refused),
		PARSE(zimage_is_refused),
		PARSE(code_past_the_end_of_the_file_is_refused),
		PARSE(setup_that_swallows_the_file_is_refused),
		PARSE(impossible_load_address_is_refused),
		PARSE(init_size_below_the_code_is_refused),
		PARSE(header_that_ends_before_its_fields_is_refused),
		PARSE(header_length_stays_inside_what_was_read),
		LOAD(kernel_lies_where_it_wants_to),
		LOAD(boot_params_hold_header_initrd_and_rsdp),
		LOAD(memory_map_leaves_out_the_hole_and_the_tables),
		LOAD(page_tables_map_4_gib_to_themselves),
		LOAD(missing_kernel_has_its_own_exit_code),
		LOAD(missing_initrd_has_the_same),
		LOAD(folder_and_device_are_no_kernels),
		LOAD(text_file_is_a_bad_kernel),
		LOAD(kernel_larger_than_the_guest_is_too_little_memory),
		LOAD(initrd_that_does_not_fit_is_too_little_memory),
		LOAD(command_line_longer_than_the_kernel_takes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
