/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The head of a Linux bzImage: is it one, can it be entered in 64-bit mode, and where does it want
 * to lie. Source: Linux Documentation/x86/boot.rst, "The Linux/x86 Boot Protocol".
 */
#ifndef LUNAR_HYPERVISOR_BZIMAGE_H
#define LUNAR_HYPERVISOR_BZIMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much of the file bzimage_parse() wants to see (less when the file is smaller). */
#define BZIMAGE_HEAD_BYTES   0x290
#define BZIMAGE_HEADER_START 0x1f1 /* of the setup header, in the file and in boot_params */

struct bzimage {
	uint64_t code_offset; /* in the file: the protected-mode kernel */
	uint64_t code_bytes;
	uint64_t load_gpa;    /* where the kernel runs without moving itself */
	uint64_t init_bytes;  /* memory it needs from load_gpa on before it knows its own map */
	uint64_t entry_gpa;   /* 64-bit entry point */
	uint64_t initrd_max;  /* highest address of an initrd's last byte */
	uint32_t cmdline_max; /* longest command line, without its NUL */
	size_t header_bytes;  /* from BZIMAGE_HEADER_START on */
};

/*
 * Checks the first length bytes of a file of file_bytes. Returns 0, or -ENOEXEC with *why set to a
 * phrase for the user (static).
 */
int bzimage_parse(const uint8_t *head, size_t length, uint64_t file_bytes, struct bzimage *image,
		  const char **why);

#endif
