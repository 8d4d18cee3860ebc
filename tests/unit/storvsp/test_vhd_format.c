/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Footers, headers, geometries, bitmaps and parent locators of VHDs, byte by byte. The golden bytes
 * are of an image of 16 MiB that qemu-img 7.2 made.
 */
#include "tests/unit/test_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storvsp/vhd_format.h"
#include "storvsp/vhd_locator.h"

static const uint8_t golden_footer[88] = {
	0x63, 0x6f, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x78, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x32, 0x96, 0x8d, 0xe7, 0x71, 0x65,
	0x6d, 0x75, 0x00, 0x05, 0x00, 0x03, 0x57, 0x69, 0x32, 0x6b, 0x00, 0x00, 0x00, 0x00, 0x01,
	0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x10, 0x00, 0x01, 0xe2, 0x04, 0x11,
	0x00, 0x00, 0x00, 0x03, 0xff, 0xff, 0xed, 0xf7, 0x4a, 0xa2, 0x75, 0x21, 0x53, 0x98, 0x41,
	0xef, 0x9f, 0xac, 0xff, 0x2c, 0xb7, 0x74, 0x82, 0x70, 0x00, 0x00, 0x00, 0x00,
};
static const uint8_t golden_header[40] = {
	0x63, 0x78, 0x73, 0x70, 0x61, 0x72, 0x73, 0x65, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x01, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x09, 0x00, 0x20, 0x00, 0x00, 0xff, 0xff, 0xf4, 0x6e,
};

static void get_footer(uint8_t bytes[VHD_FOOTER_BYTES])
{
	memset(bytes, 0, VHD_FOOTER_BYTES);
	memcpy(bytes, golden_footer, sizeof(golden_footer));
}

static void get_header(uint8_t bytes[VHD_HEADER_BYTES])
{
	memset(bytes, 0, VHD_HEADER_BYTES);
	memcpy(bytes, golden_header, sizeof(golden_header));
}

static void footer_of_qemu_is_read_and_built_again(void **state)
{
	uint8_t bytes[VHD_FOOTER_BYTES], built[VHD_FOOTER_BYTES];
	struct vhd_footer footer;
	struct vhd_error error;

	(void)state;
	get_footer(bytes);
	assert_int_equal(vhd_footer_parse(bytes, 0, &footer, &error), 0);
	assert_int_equal(footer.type, VHD_DYNAMIC);
	assert_int_equal(footer.header_offset, 512);
	assert_int_equal(footer.size_bytes, 0x1001000);
	assert_int_equal(footer.cylinders, 0x1e2);
	assert_int_equal(footer.heads, 4);
	assert_int_equal(footer.sectors, 17);
	assert_memory_equal(footer.creator, "qemu", 4);
	assert_int_equal(vhd_geometry_bytes(&footer), 0x1001000);
	vhd_footer_build(&footer, built);
	assert_memory_equal(built, bytes, sizeof(bytes));
}

static void header_of_qemu_is_read_and_built_again(void **state)
{
	uint8_t bytes[VHD_HEADER_BYTES], built[VHD_HEADER_BYTES];
	struct vhd_header header;
	struct vhd_error error;

	(void)state;
	get_header(bytes);
	assert_int_equal(vhd_header_parse(bytes, 512, 0x1001000, &header, &error), 0);
	assert_int_equal(header.table_offset, 1536);
	assert_int_equal(header.table_entries, 9);
	assert_int_equal(header.block_bytes, 2 << 20);
	vhd_header_build(&header, built);
	assert_memory_equal(built, bytes, sizeof(bytes));
}

struct bad {
	size_t at;
	uint8_t bytes[8];
	size_t length;
	const char *offset, *field;
};

static void bad_footer_is_told_by_offset_and_field(void **state)
{
	static const struct bad bads[] = {
		{0, "x", 1, "offset 4096,", "cookie"},
		{12, {0, 2}, 2, "offset 4108,", "format version"},
		{16, {0, 0, 0, 0, 0, 0, 0, 7}, 8, "offset 4112,", "data offset"},
		{48, {0, 0, 0, 0, 0, 0, 2, 1}, 8, "offset 4144,", "current size"},
		{48, {0, 0, 0, 0, 0, 0, 0, 0}, 8, "offset 4144,", "current size"},
		{48, {0, 0, 2, 0, 0, 0, 0, 0}, 8, "offset 4144,", "2040 GiB"},
		{60, {0, 0, 0, 9}, 4, "offset 4156,", "disk type"},
	};
	uint8_t bytes[VHD_FOOTER_BYTES];
	struct vhd_footer footer;
	struct vhd_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bads); i++) {
		get_footer(bytes);
		memcpy(bytes + bads[i].at, bads[i].bytes, bads[i].length);
		if (bads[i].at >= 8) {
			assert_int_equal(vhd_footer_parse(bytes, 4096, &footer, &error), -EINVAL);
			assert_non_null(strstr(error.message, "offset 4160, footer checksum"));
			vhd_footer_seal(bytes);
		}
		assert_true(vhd_footer_parse(bytes, 4096, &footer, &error) < 0);
		assert_non_null(strstr(error.message, bads[i].offset));
		assert_non_null(strstr(error.message, bads[i].field));
	}
}

static void bad_header_is_told_by_offset_and_field(void **state)
{
	static const struct bad bads[] = {
		{0, "x", 1, "offset 512,", "cookie"},
		{16, {0, 0, 0, 0, 0, 0, 6, 1}, 8, "offset 528,", "table offset"},
		{24, {0, 2}, 2, "offset 536,", "version"},
		{28, {0, 0, 0, 8}, 4, "offset 540,", "max table entries"},
		{28, {0xff, 0xff, 0xff, 0xff}, 4, "offset 540,", "max table entries"},
		{32, {0, 0, 2, 0}, 4, "offset 544,", "block size"},
		{32, {0, 0x20, 0, 1}, 4, "offset 544,", "block size"},
	};
	uint8_t bytes[VHD_HEADER_BYTES];
	struct vhd_header header;
	struct vhd_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bads); i++) {
		get_header(bytes);
		memcpy(bytes + bads[i].at, bads[i].bytes, bads[i].length);
		if (bads[i].at >= 8)
			vhd_header_seal(bytes);
		assert_int_equal(vhd_header_parse(bytes, 512, 0x1001000, &header, &error), -EINVAL);
		assert_non_null(strstr(error.message, bads[i].offset));
		assert_non_null(strstr(error.message, bads[i].field));
	}
}

static void geometry_is_that_of_the_specification(void **state)
{
	static const struct {
		uint64_t sectors;
		uint16_t cylinders;
		uint8_t heads, per_track;
	} known[] = {
		{32768, 481, 4, 17},		       /* 16 MiB */
		{UINT64_C(1) << 21, 2080, 16, 63},     /* 1 GiB */
		{UINT64_C(127) << 21, 65278, 16, 255}, /* 127 GiB, Hyper-V's default */
		{UINT64_C(2040) << 21, 65535, 16, 255},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
		uint8_t heads, per_track;
		uint16_t cylinders;

		vhd_geometry(known[i].sectors * 512, &cylinders, &heads, &per_track);
		assert_int_equal(cylinders, known[i].cylinders);
		assert_int_equal(heads, known[i].heads);
		assert_int_equal(per_track, known[i].per_track);
	}
}

static void bitmap_runs_are_those_of_its_bits(void **state)
{
	uint8_t bitmap[16] = {0};
	bool model[128] = {false};

	(void)state;
	assert_true(vhd_bitmap_set(bitmap, 0, 1));
	assert_int_equal(bitmap[0], 0x80); /* the first sector is bit 7 */
	assert_false(vhd_bitmap_set(bitmap, 0, 1));
	bitmap[0] = 0;
	for (uint32_t seed = 1, i = 0; i < 60; i++) {
		uint32_t first, count, run;

		seed = seed * 1664525 + 1013904223;
		first = seed >> 16 & 127;
		count = 1 + (seed >> 8) % 20;
		if (count > 128 - first)
			count = 128 - first;
		vhd_bitmap_set(bitmap, first, count);
		memset(model + first, true, count);
		for (uint32_t s = 0; s < 128; s += run) {
			run = vhd_bitmap_run(bitmap, s, 128 - s);
			assert_true(run > 0 && run <= 128 - s);
			for (uint32_t k = s; k < s + run; k++)
				assert_int_equal(vhd_bitmap_get(bitmap, s), model[k]);
			if (s + run < 128)
				assert_int_not_equal(model[s + run], model[s]);
		}
	}
}

/* ---- locators ---- */

static int decode_utf16(uint32_t code, const char *text, char path[VHD_PATH_BYTES])
{
	uint8_t data[512];
	size_t units = vhd_utf8_to_utf16le(text, data, sizeof(data) / 2);

	return vhd_locator_decode(code, data, 2 * units, path);
}

static int decode_url(const char *text, char path[VHD_PATH_BYTES])
{
	return vhd_locator_decode(VHD_LOCATOR_MACX, (const uint8_t *)text, strlen(text), path);
}

static void locators_of_windows_become_paths(void **state)
{
	char path[VHD_PATH_BYTES];

	(void)state;
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2RU, ".\\a\\..\\b\xc3\xa4.vhd", path), 0);
	assert_string_equal(path, "./a/../b\xc3\xa4.vhd");
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2KU, "\\srv\\b.vhd", path), 0);
	assert_string_equal(path, "/srv/b.vhd");
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2KU, "C:\\b.vhd", path), -ENOTSUP);
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2KU, "\\\\host\\share\\b.vhd", path), -ENOTSUP);
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2RU, "\\etc\\b.vhd", path), -EINVAL);
	assert_int_equal(decode_utf16(VHD_LOCATOR_W2RU, "", path), -EINVAL);
	assert_int_equal(decode_utf16(0x57693272, "x", path), -ENOTSUP);
	/* Half a pair. */
	assert_int_equal(vhd_locator_decode(VHD_LOCATOR_W2RU, (const uint8_t *)"\x00\xd8", 2, path),
			 0);
	assert_string_equal(path, "\xef\xbf\xbd");
}

static void urls_become_paths(void **state)
{
	char path[VHD_PATH_BYTES];

	(void)state;
	assert_int_equal(decode_url("file:///srv/a%20b.vhd", path), 0);
	assert_string_equal(path, "/srv/a b.vhd");
	assert_int_equal(decode_url("file://./b.vhd", path), 0);
	assert_string_equal(path, "./b.vhd");
	assert_int_equal(decode_url("file://localhost/b.vhd", path), 0);
	assert_string_equal(path, "/b.vhd");
	assert_int_equal(decode_url("file://other/b.vhd", path), -ENOTSUP);
	assert_int_equal(decode_url("http://x/b.vhd", path), -ENOTSUP);
	assert_int_equal(decode_url("file:///a%00b", path), -EINVAL);
	assert_int_equal(decode_url("file:///a%2", path), -EINVAL);
}

static void locators_are_encoded_as_windows_reads_them(void **state)
{
	static const uint8_t relative[] = ".\0\\\0b\0";
	char path[VHD_PATH_BYTES];
	uint8_t data[64];

	(void)state;
	assert_int_equal(vhd_locator_encode(VHD_LOCATOR_W2RU, "b", data, sizeof(data)), 6);
	assert_memory_equal(data, relative, 6);
	assert_int_equal(vhd_locator_encode(VHD_LOCATOR_MACX, "/a b%", data, sizeof(data)), 16);
	assert_memory_equal(data, "file:///a%20b%25", 16);
	assert_int_equal(vhd_locator_encode(VHD_LOCATOR_W2KU, "/a", data, 3), -ENAMETOOLONG);
	assert_int_equal(vhd_relative_path("/v/a/c.vhd", "/v/b/p.vhd", path), 0);
	assert_string_equal(path, "../b/p.vhd");
	assert_int_equal(vhd_relative_path("/v/c.vhd", "/v/p.vhd", path), 0);
	assert_string_equal(path, "./p.vhd");
	assert_int_equal(vhd_relative_path("/v/c.vhd", "/v/cc/p.vhd", path), 0);
	assert_string_equal(path, "./cc/p.vhd");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(footer_of_qemu_is_read_and_built_again),
	cmocka_unit_test(header_of_qemu_is_read_and_built_again),
	cmocka_unit_test(bad_footer_is_told_by_offset_and_field),
	cmocka_unit_test(bad_header_is_told_by_offset_and_field),
	cmocka_unit_test(geometry_is_that_of_the_specification),
	cmocka_unit_test(bitmap_runs_are_those_of_its_bits),
	cmocka_unit_test(locators_of_windows_become_paths),
	cmocka_unit_test(urls_become_paths),
	cmocka_unit_test(locators_are_encoded_as_windows_reads_them),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
