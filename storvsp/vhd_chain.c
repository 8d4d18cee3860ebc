/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens chains of differencing images.
 *
 * A parent that was written to after its child was made gives the child's guest a mixture of both.
 * So the child's header tells when the parent was last changed, and that must be the time of the
 * parent's file; but for a child that is being merged into it.
 */
#include "storvsp/vhd_chain.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "storvsp/vhd_locator.h"

/* Windows and some file systems count in steps of two seconds. */
#define TIME_STEP 2u

int vhd_chain_check_parent(const struct vhd_link *child, const struct vhd_link *parent,
			   struct vhd_error *error)
{
	const struct vhd_header *header = &child->image.header;
	struct vhd_file_facts facts;
	uint32_t modified, difference;
	int rc;

	if (memcmp(header->parent_id, parent->image.footer.id, VHD_ID_BYTES) != 0)
		return vhd_fail(error, -ENXIO,
				"%s: its parent %s has another unique id than the one it was made "
				"on; put the right file there",
				child->path, parent->path);
	if (header->parent_timestamp == VHD_ANY_TIME)
		return 0;
	rc = parent->file->ops->get_facts(parent->file, &facts);
	if (rc)
		return vhd_fail(error, rc, "%s: %s", parent->path, strerror(-rc));
	modified = vhd_time(facts.modified_unix);
	difference = modified > header->parent_timestamp ? modified - header->parent_timestamp
							 : header->parent_timestamp - modified;
	if (difference > TIME_STEP)
		return vhd_fail(error, -ESTALE,
				"%s: its parent %s was changed after it was made; where that was a "
				"mere copy (without its time), run: lunar vhd check --repair %s",
				child->path, parent->path, child->path);
	return 0;
}

static int fail_image(const char *path, int rc, struct vhd_error *error)
{
	struct vhd_error inner = *error;

	return vhd_fail(error, rc, "%.200s: %.300s", path, inner.message);
}

int vhd_chain_add(struct vhd_chain *chain, const char *path, struct vhd_file *file,
		  struct vhd_error *error)
{
	struct vhd_link *links, *link;
	int rc;

	links = chain->count < VHD_CHAIN_MAX
			? realloc(chain->links, (chain->count + 1) * sizeof(*links))
			: NULL;
	if (!links) {
		vhd_file_close(file);
		return vhd_fail(error, -ELOOP, "%s: a chain of more than %u images", path,
				VHD_CHAIN_MAX);
	}
	chain->links = links;
	link = &links[chain->count];
	memset(link, 0, sizeof(*link));
	link->file = file;
	link->path = strdup(path);
	rc = link->path ? vhd_image_read(file, &link->image, NULL, error)
			: vhd_fail(error, -ENOMEM, "out of memory");
	if (rc) {
		free(link->path);
		vhd_file_close(file);
		return fail_image(path, rc, error);
	}
	chain->count++;
	return chain->count > 1 ? vhd_chain_check_parent(link - 1, link, error) : 0;
}

int vhd_chain_set_parent_time(struct vhd_link *child, uint32_t parent_timestamp)
{
	struct vhd_image *image = &child->image;
	int rc;

	put_be32(image->header_bytes + VHD_HEADER_PARENT_TIME_AT, parent_timestamp);
	vhd_header_seal(image->header_bytes);
	image->header.parent_timestamp = parent_timestamp;
	rc = vhd_file_write(child->file, image->header_bytes, VHD_SECTOR_BYTES,
			    image->footer.header_offset);
	return rc ? rc : vhd_file_sync(child->file);
}

/* The first of the paths that the image gives at which there is something, which may be a parent.
 * What may not is not told from what is not there. */
static int find_parent(const struct vhd_link *child, bool (*may_be_parent)(const char *path),
		       char *out, size_t out_bytes, struct vhd_error *error)
{
	char path[VHD_PATH_BYTES], resolved[PATH_MAX];

	for (unsigned int i = 0; vhd_image_parent_path(child->file, &child->image, i, child->path,
						       path, sizeof(path)) == 0;
	     i++) {
		if (!realpath(path, resolved) || strlen(resolved) >= out_bytes ||
		    (may_be_parent && !may_be_parent(resolved)))
			continue;
		memcpy(out, resolved, strlen(resolved) + 1);
		return 0;
	}
	if (may_be_parent)
		return vhd_fail(error, -EACCES,
				"%.200s: its parent '%.200s' is not there, or not in a folder for "
				"disks of VMs that come from other hosts",
				child->path, child->image.header.parent_name);
	return vhd_fail(error, -ENOENT,
			"%.200s: its parent '%.200s' is not there; put it beside this file",
			child->path, child->image.header.parent_name);
}

int vhd_chain_find_parent(const struct vhd_link *child, char *out, size_t out_bytes,
			  struct vhd_error *error)
{
	return find_parent(child, NULL, out, out_bytes, error);
}

static int open_parent(const struct vhd_chain *chain, const struct vhd_chain_options *options,
		       char resolved[PATH_MAX], struct vhd_file **file, struct vhd_error *error)
{
	const struct vhd_file_options file_options = {
		.direct = options->file.direct,
		.unlocked = options->file.unlocked,
	};
	int rc = find_parent(&chain->links[chain->count - 1], options->may_be_parent, resolved,
			     PATH_MAX, error);

	for (size_t i = 0; rc == 0 && i < chain->count; i++)
		if (strcmp(chain->links[i].path, resolved) == 0)
			return vhd_fail(error, -ELOOP, "%s: is its own parent", resolved);
	return rc ? rc : vhd_file_open(resolved, &file_options, file, error);
}

int vhd_chain_open(const char *path, const struct vhd_chain_options *options,
		   struct vhd_chain *chain, struct vhd_error *error)
{
	struct vhd_file *file;
	char resolved[PATH_MAX];
	int rc;

	memset(chain, 0, sizeof(*chain));
	if (!realpath(path, resolved))
		return vhd_fail(error, -errno, "%s: %s", path, strerror(errno));
	rc = vhd_file_open(resolved, &options->file, &file, error);
	if (rc == 0)
		rc = vhd_chain_add(chain, resolved, file, error);
	while (rc == 0 && !options->alone &&
	       chain->links[chain->count - 1].image.footer.type == VHD_DIFFERENCING) {
		rc = open_parent(chain, options, resolved, &file, error);
		if (rc == 0)
			rc = vhd_chain_add(chain, resolved, file, error);
	}
	if (rc)
		vhd_chain_fini(chain);
	return rc;
}

int vhd_new_child(const struct vhd_link *parent, const char *path, struct vhd_new *new)
{
	struct vhd_file_facts facts;
	int rc = parent->file->ops->get_facts(parent->file, &facts);

	if (rc)
		return rc;
	*new = (struct vhd_new){
		.type = VHD_DIFFERENCING,
		.size_bytes = parent->image.footer.size_bytes,
		.timestamp = vhd_time(time(NULL)),
		.path = path,
		.parent_path = parent->path,
		.parent_id = parent->image.footer.id,
		.parent_timestamp = vhd_time(facts.modified_unix),
	};
	return vhd_new_id(new->id);
}

void vhd_chain_fini(struct vhd_chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		vhd_image_fini(&chain->links[i].image);
		vhd_file_close(chain->links[i].file);
		free(chain->links[i].path);
	}
	free(chain->links);
	memset(chain, 0, sizeof(*chain));
}
