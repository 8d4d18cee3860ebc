/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small VHD images for tests.
 */
#include "tests/unit/storvsp/vhd_fixture.h"

#include "tests/unit/test_main.h"

#include <stdio.h>
#include <string.h>

#include "storvsp/disk_vhd.h"

const char *vhd_fixture_path(const struct disk_fixture *f, const char *name)
{
	static char paths[2][160];
	static unsigned int turn;

	turn ^= 1;
	snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", f->directory, name);
	return paths[turn];
}

static struct vhd_file *create(const char *path)
{
	const struct vhd_file_options options = {.write = true, .create = true};
	struct vhd_error error;
	struct vhd_file *file = NULL;

	assert_int_equal(vhd_file_open(path, &options, &file, &error), 0);
	return file;
}

void vhd_fixture_make(const struct disk_fixture *f, const char *name, enum vhd_type type, bool flex,
		      uint64_t size)
{
	struct vhd_new new = {
		.type = type,
		.flex = flex,
		.size_bytes = size,
		.block_bytes = VHD_FIXTURE_BLOCK,
		.timestamp = 1,
	};
	struct vhd_file *file = create(vhd_fixture_path(f, name));
	struct vhd_error error;

	assert_int_equal(vhd_new_id(new.id), 0);
	assert_int_equal(vhd_write_new(file, &new, &error), 0);
	vhd_file_close(file);
}

void vhd_fixture_make_child(const struct disk_fixture *f, const char *name, const char *parent)
{
	const struct vhd_chain_options options = {.alone = true};
	const char *path = vhd_fixture_path(f, name);
	struct vhd_chain chain;
	struct vhd_error error;
	struct vhd_file *file;
	struct vhd_new new;

	assert_int_equal(vhd_chain_open(vhd_fixture_path(f, parent), &options, &chain, &error), 0);
	assert_int_equal(vhd_new_child(&chain.links[0], path, &new), 0);
	new.block_bytes = VHD_FIXTURE_BLOCK;
	file = create(path);
	assert_int_equal(vhd_write_new(file, &new, &error), 0);
	vhd_file_close(file);
	vhd_chain_fini(&chain);
}

int vhd_fixture_open(struct disk_fixture *f, const char *name, bool read_only, struct disk **disk)
{
	const struct disk_options options = {
		.path = vhd_fixture_path(f, name),
		.format = DISK_FORMAT_VHD,
		.read_only = read_only,
	};

	return disk_vhd_open(&options, disk, f->message, sizeof(f->message));
}
