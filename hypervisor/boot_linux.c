/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading Linux. See boot_linux.h.
 */
#include "hypervisor/boot_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "hypervisor/acpi_tables.h"
#include "hypervisor/bzimage.h"
#include "hypervisor/engine.h"
#include "hypervisor/gpa_space.h"
#include "vmbus/guest_memory.h"

#define GDT_GPA		 UINT64_C(0x500)
#define BOOT_PARAMS_GPA	 UINT64_C(0x7000)
#define PAGE_TABLE_GPA	 UINT64_C(0x9000)
#define CMDLINE_GPA	 UINT64_C(0x20000)
#define CMDLINE_LIMIT	 UINT64_C(0x10000)
#define EBDA_GPA	 UINT64_C(0x9fc00) /* where a PC's first memory ends */
#define RESET_VECTOR_GPA UINT64_C(0xffff0) /* f000:fff0 in real mode */
#define MIB		 UINT64_C(0x100000)

/* Offsets in boot_params, beyond the setup header. */
#define PARAMS_ACPI_RSDP      0x70
#define PARAMS_E820_COUNT     0x1e8
#define PARAMS_TYPE_OF_LOADER 0x210
#define PARAMS_RAMDISK_IMAGE  0x218
#define PARAMS_RAMDISK_SIZE   0x21c
#define PARAMS_CMDLINE	      0x228
#define PARAMS_E820_TABLE     0x2d0
#define LOADER_UNDEFINED      0xff

enum e820_type {
	E820_RAM = 1,
	E820_ACPI = 3,
};

/* A regular file opened for reading; a FIFO or a device would block or never end. */
static int file_open(const char *path, const char *what, uint64_t *size_bytes,
		     struct vm_error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	int result;

	if (fd < 0) {
		result = -errno;
		return vm_error_set(error, EXIT_NO_KERNEL, result, "cannot read %s %s: %s", what,
				    path, strerror(errno));
	}
	if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		close(fd);
		return vm_error_set(error, EXIT_NO_KERNEL, -EINVAL,
				    "cannot read %s %s: it is not a regular file", what, path);
	}
	*size_bytes = (uint64_t)status.st_size;
	return fd;
}

/* Reads length bytes at offset straight to memory of our own or the guest's. Returns 0 or -errno;
 * -EIO: the file became shorter. */
static int file_read(int fd, uint64_t offset, void *to, uint64_t length)
{
	uint8_t *at = to;

	while (length > 0) {
		ssize_t got = pread(fd, at, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		at += got;
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return 0;
}

static int file_load(int fd, uint64_t offset, struct guest_memory *memory, uint64_t gpa,
		     uint64_t length, const char *path, struct vm_error *error)
{
	void *to = guest_memory_for_write(memory, gpa, length);
	int result = to ? file_read(fd, offset, to, length) : -EFAULT;

	if (result)
		return vm_error_set(error, EXIT_NO_KERNEL, result, "cannot read %s: %s", path,
				    strerror(-result));
	return 0;
}

/* Opens the kernel, checks it, and reads its setup header into params. Returns the fd or -errno. */
static int kernel_open(const char *path, struct bzimage *image, uint8_t *params,
		       struct vm_error *error)
{
	uint8_t head[BZIMAGE_HEAD_BYTES] = {0};
	const char *why = "";
	uint64_t size = 0;
	size_t length;
	int result;
	int fd = file_open(path, "kernel", &size, error);

	if (fd < 0)
		return fd;
	length = size < sizeof(head) ? (size_t)size : sizeof(head);
	result = file_read(fd, 0, head, length);
	if (result) {
		vm_error_set(error, EXIT_NO_KERNEL, result, "cannot read kernel %s: %s", path,
			     strerror(-result));
		goto err_close;
	}
	result = bzimage_parse(head, length, size, image, &why);
	if (result) {
		vm_error_set(error, EXIT_BAD_KERNEL, result,
			     "%s is not a kernel that can be booted: %s", path, why);
		goto err_close;
	}
	memcpy(params + BZIMAGE_HEADER_START, head + BZIMAGE_HEADER_START, image->header_bytes);
	return fd;

err_close:
	close(fd);
	return result;
}

static int kernel_load(struct guest_memory *memory, const struct boot_linux *linux_boot,
		       struct bzimage *image, uint8_t *params, struct vm_error *error)
{
	uint64_t low_bytes = gpa_layout_of(linux_boot->memory_bytes).low_bytes;
	int fd = kernel_open(linux_boot->kernel_path, image, params, error);
	int result;

	if (fd < 0)
		return fd;
	if (!range_fits(image->load_gpa, image->init_bytes, low_bytes))
		result = vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM,
				      "too little memory: this kernel needs %" PRIu64
				      " MiB to start, the guest has %" PRIu64,
				      (image->load_gpa + image->init_bytes + MIB - 1) / MIB,
				      low_bytes / MIB);
	else
		result = file_load(fd, image->code_offset, memory, image->load_gpa,
				   image->code_bytes, linux_boot->kernel_path, error);
	close(fd);
	return result;
}

static int initrd_load(struct guest_memory *memory, const struct boot_linux *linux_boot,
		       const struct bzimage *image, uint8_t *params, struct vm_error *error)
{
	uint64_t top = gpa_layout_of(linux_boot->memory_bytes).low_bytes;
	uint64_t kernel_end = image->load_gpa + image->init_bytes;
	uint64_t size = 0;
	uint64_t gpa;
	int result;
	int fd;

	if (!linux_boot->initrd_path)
		return 0;
	fd = file_open(linux_boot->initrd_path, "initrd", &size, error);
	if (fd < 0)
		return fd;
	if (top > image->initrd_max)
		top = (image->initrd_max + 1) & ~(GUEST_PAGE_SIZE - 1);
	gpa = size <= top ? (top - size) & ~(GUEST_PAGE_SIZE - 1) : 0;
	if (gpa < kernel_end)
		result = vm_error_set(error, EXIT_NO_MEMORY, -ENOMEM,
				      "too little memory: initrd %s has %" PRIu64 " MiB, %" PRIu64
				      " are left beside the kernel",
				      linux_boot->initrd_path, size / MIB,
				      top > kernel_end ? (top - kernel_end) / MIB : 0);
	else
		result = size ? file_load(fd, 0, memory, gpa, size, linux_boot->initrd_path, error)
			      : 0;
	close(fd);
	if (!result && size) {
		put_le32(params + PARAMS_RAMDISK_IMAGE, (uint32_t)gpa);
		put_le32(params + PARAMS_RAMDISK_SIZE, (uint32_t)size);
	}
	return result;
}

static int cmdline_load(struct guest_memory *memory, const struct boot_linux *linux_boot,
			const struct bzimage *image, uint8_t *params, struct vm_error *error)
{
	size_t length = strlen(linux_boot->cmdline);

	if (length > image->cmdline_max || length >= CMDLINE_LIMIT)
		return vm_error_set(error, EXIT_CONFIG, -E2BIG,
				    "cmdline: %zu characters; this kernel takes at most %" PRIu32,
				    length, image->cmdline_max);
	put_le32(params + PARAMS_CMDLINE, (uint32_t)CMDLINE_GPA);
	return guest_memory_write(memory, CMDLINE_GPA, linux_boot->cmdline, length + 1);
}

static void e820_add(uint8_t *params, uint64_t gpa, uint64_t size_bytes, enum e820_type type)
{
	uint8_t *entry = params + PARAMS_E820_TABLE + (size_t)20 * params[PARAMS_E820_COUNT];

	put_le64(entry, gpa);
	put_le64(entry + 8, size_bytes);
	put_le32(entry + 16, type);
	params[PARAMS_E820_COUNT]++;
}

static void e820_make(uint8_t *params, uint64_t memory_bytes)
{
	struct gpa_layout layout = gpa_layout_of(memory_bytes);

	e820_add(params, 0, EBDA_GPA, E820_RAM);
	e820_add(params, BOOT_ACPI_GPA, BOOT_ACPI_BYTES, E820_ACPI);
	e820_add(params, MIB, layout.low_bytes - MIB, E820_RAM);
	if (layout.high_bytes)
		e820_add(params, GPA_HOLE_END, layout.high_bytes, E820_RAM);
}

/* Identity map of the first 4 GiB in 2 MiB pages: one PML4, one PDPT, four page directories. */
static int page_tables_load(struct guest_memory *memory)
{
	enum { PRESENT_WRITABLE = 3, LARGE = 0x80, DIRECTORIES = 4, ENTRIES = 4 * 512 };
	uint8_t *tables =
		guest_memory_for_write(memory, PAGE_TABLE_GPA, (2 + DIRECTORIES) * GUEST_PAGE_SIZE);

	if (!tables)
		return -EFAULT;
	put_le64(tables, (PAGE_TABLE_GPA + GUEST_PAGE_SIZE) | PRESENT_WRITABLE);
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		put_le64(tables + GUEST_PAGE_SIZE + 8 * i,
			 (PAGE_TABLE_GPA + (2 + i) * GUEST_PAGE_SIZE) | PRESENT_WRITABLE);
	for (uint64_t i = 0; i < ENTRIES; i++)
		put_le64(tables + 2 * GUEST_PAGE_SIZE + 8 * i, i << 21 | PRESENT_WRITABLE | LARGE);
	return 0;
}

static int gdt_load(struct guest_memory *memory, struct engine_boot *boot)
{
	/* null, null, flat 64-bit code (0x10), flat data (0x18): the boot protocol's selectors */
	static const uint64_t entries[] = {0, 0, UINT64_C(0x00af9b000000ffff),
					   UINT64_C(0x00cf93000000ffff)};
	uint8_t bytes[sizeof(entries)];

	for (size_t i = 0; i < ARRAY_LENGTH(entries); i++)
		put_le64(bytes + 8 * i, entries[i]);
	boot->gdt_gpa = GDT_GPA;
	boot->gdt_bytes = sizeof(bytes);
	return guest_memory_write(memory, GDT_GPA, bytes, sizeof(bytes));
}

/*
 * What a jump to the PC's reset vector finds: real-mode code that writes the ACPI reset register.
 * On hardware-reduced ACPI Linux restarts by EFI alone, and where there is none falls back to this
 * jump (its arch/x86/kernel/reboot.c).
 */
static int reset_vector_load(struct guest_memory *memory)
{
	/* mov al, value; mov dx, port; out dx, al; hlt; jmp to the hlt */
	static const uint8_t code[] = {0xb0,
				       ACPI_RESET_VALUE,
				       0xba,
				       ACPI_PORT_RESET & 0xff,
				       ACPI_PORT_RESET >> 8,
				       0xee,
				       0xf4,
				       0xeb,
				       0xfd};

	return guest_memory_write(memory, RESET_VECTOR_GPA, code, sizeof(code));
}

int boot_linux_load(struct guest_memory *memory, const struct boot_linux *linux_boot,
		    struct engine_boot *boot, struct vm_error *error)
{
	uint8_t params[GUEST_PAGE_SIZE] = {0};
	struct engine_boot made = {
		.page_table_gpa = PAGE_TABLE_GPA,
		.boot_params_gpa = BOOT_PARAMS_GPA,
	};
	struct bzimage image = {0};
	int result;

	result = kernel_load(memory, linux_boot, &image, params, error);
	if (!result)
		result = initrd_load(memory, linux_boot, &image, params, error);
	if (!result)
		result = cmdline_load(memory, linux_boot, &image, params, error);
	if (result)
		return result;

	params[PARAMS_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put_le64(params + PARAMS_ACPI_RSDP, BOOT_ACPI_GPA);
	e820_make(params, linux_boot->memory_bytes);
	if (guest_memory_write(memory, BOOT_PARAMS_GPA, params, sizeof(params)) ||
	    page_tables_load(memory) || gdt_load(memory, &made) || reset_vector_load(memory))
		return vm_error_set(error, EXIT_INTERNAL, -EFAULT, "guest memory has a hole");
	made.entry_gpa = image.entry_gpa;
	*boot = made;
	return 0;
}
