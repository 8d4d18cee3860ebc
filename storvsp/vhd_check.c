/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks and repairs VHDs.
 */
#include "storvsp/vhd_check.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SLACK_NOTED 4096u

static void note_footers(const struct vhd_image *image, struct vhd_findings *findings)
{
	if (image->tail_missing)
		vhd_finding_add(findings, VHD_DAMAGE, true,
				"offset %" PRIu64 ", footer: missing; its copy at offset 0 is good",
				image->footer_offset);
	else if (image->copy_bad)
		vhd_finding_add(findings, VHD_DAMAGE, true,
				"offset 0, copy of the footer: not as the footer at %" PRIu64,
				image->footer_offset);
	if (image->slack >= SLACK_NOTED)
		vhd_finding_add(findings, VHD_NOTE, true,
				"offset %" PRIu64 ": %" PRIu64 " bytes belong to no block",
				image->data_end, image->slack);
}

/* QEMU takes the geometry's size for images of creators that it does not know to mean it. */
static void note_size(const struct vhd_image *image, struct vhd_findings *findings)
{
	static const char *const exact[] = {"win ", "qem2", "d2v ", "tap"};
	const struct vhd_footer *footer = &image->footer;
	uint64_t geometry = vhd_geometry_bytes(footer);

	for (size_t i = 0; i < ARRAY_LENGTH(exact); i++)
		if (memcmp(footer->creator, exact[i], sizeof(footer->creator)) == 0)
			return;
	if (geometry != footer->size_bytes && geometry < UINT64_C(65535) * 16 * 255 * 512)
		vhd_finding_add(findings, VHD_NOTE, false,
				"footer geometry: QEMU shows %" PRIu64
				" bytes of this disk's %" PRIu64
				", unless it is told force_size_calc=current_size",
				geometry, footer->size_bytes);
}

/* Entries whose blocks begin past the end are cleared; a block that is cut is filled up with
 * zeroes, as the footer moves behind it. */
static int repair_entries(struct vhd_file *file, const struct vhd_image *image)
{
	static const uint8_t unused[4] = {0xff, 0xff, 0xff, 0xff};
	uint64_t limit = image->tail_missing ? image->file_bytes : image->footer_offset;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < image->blocks; i++)
		if (image->table[i] != VHD_UNUSED && vhd_block_offset(image, i) >= limit)
			rc = vhd_file_write(file, unused, sizeof(unused),
					    image->header.table_offset + (uint64_t)i * 4);
	return rc ? rc : vhd_file_sync(file);
}

/* The end of what is left of the blocks. */
static int repair_end(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	struct vhd_findings ignored = {0};
	int rc;

	vhd_image_fini(image);
	rc = vhd_image_read(file, image, &ignored, error);
	if (rc)
		return rc;
	if (image->data_end > image->footer_offset)
		image->tail_missing = true; /* it lies within a block */
	return vhd_image_tidy(file, image, error);
}

static int repair(struct vhd_file *file, struct vhd_image *image, struct vhd_error *error)
{
	int rc = 0;

	if (image->footer.type == VHD_FIXED)
		return 0;
	rc = repair_entries(file, image);
	if (rc)
		return vhd_fail(error, rc, "cannot write its table: %s", strerror(-rc));
	return repair_end(file, image, error);
}

int vhd_check_file(struct vhd_file *file, bool repairs, struct vhd_findings *findings,
		   struct vhd_error *error)
{
	struct vhd_image image;
	int rc = vhd_image_read(file, &image, findings, error);

	if (rc == -EINVAL || rc == -EFBIG) {
		vhd_finding_add(findings, VHD_LOSS, false, "%.250s", error->message);
		return 0;
	}
	if (rc)
		return rc;
	note_footers(&image, findings);
	/* Blocks that lie over each other: nobody can know whose is right, and nothing is touched.
	 */
	if (repairs && findings->unrepairable == 0)
		rc = repair(file, &image, error);
	note_size(&image, findings);
	vhd_image_fini(&image);
	return rc;
}

/* ---- the parent ---- */

/* Opens the parent of a child that was opened alone. */
static int add_parent(struct vhd_chain *chain, struct vhd_error *error)
{
	const struct vhd_file_options options = {0};
	struct vhd_file *file;
	char path[PATH_MAX];
	int rc = vhd_chain_find_parent(&chain->links[0], path, sizeof(path), error);

	if (rc == 0)
		rc = vhd_file_open(path, &options, &file, error);
	return rc ? rc : vhd_chain_add(chain, path, file, error);
}

/* The parent is the right one, and its time is entered. */
static int accept_parent(struct vhd_chain *chain, struct vhd_error *error)
{
	struct vhd_file_facts facts;
	struct vhd_file *parent = chain->links[1].file;
	int rc = parent->ops->get_facts(parent, &facts);

	if (rc == 0)
		rc = vhd_chain_set_parent_time(&chain->links[0], vhd_time(facts.modified_unix));
	return rc ? vhd_fail(error, rc, "cannot write its header: %s", strerror(-rc)) : 0;
}

static int check_parents(const char *path, bool repairs, struct vhd_findings *findings,
			 struct vhd_error *error)
{
	const struct vhd_chain_options alone = {.file = {.write = repairs}, .alone = true};
	const struct vhd_chain_options whole = {.alone = false};
	struct vhd_chain chain;
	struct vhd_error problem = {.message = ""};
	int rc, accepted = 0;

	rc = vhd_chain_open(path, &alone, &chain, error);
	if (rc)
		return 0; /* told already */
	if (chain.links[0].image.footer.type == VHD_DIFFERENCING) {
		rc = add_parent(&chain, &problem);
		if (rc)
			vhd_finding_add(findings, VHD_LOSS, rc == -ESTALE, "%.250s",
					problem.message);
		if (rc == -ESTALE && repairs)
			accepted = accept_parent(&chain, error);
	}
	vhd_chain_fini(&chain);
	if (rc || accepted)
		return accepted;
	rc = vhd_chain_open(path, &whole, &chain, &problem);
	if (rc)
		vhd_finding_add(findings, VHD_LOSS, false, "%.250s", problem.message);
	else
		vhd_chain_fini(&chain);
	return 0;
}

int vhd_check(const char *path, bool repairs, struct vhd_findings *findings,
	      struct vhd_error *error)
{
	const struct vhd_file_options options = {.write = repairs};
	struct vhd_error inner;
	struct vhd_file *file;
	int rc;

	memset(findings, 0, sizeof(*findings));
	rc = vhd_file_open(path, &options, &file, error);
	if (rc)
		return rc;
	rc = vhd_check_file(file, repairs, findings, &inner);
	vhd_file_close(file);
	if (rc)
		return vhd_fail(error, rc, "%.200s: %.300s", path, inner.message);
	if (findings->worst[VHD_LOSS] && !repairs)
		return 0;
	return check_parents(path, repairs, findings, error);
}
