/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A first look at a small YAML text, before anything believes it: is it YAML at all, one document,
 * shallow, without anchors, tags and keys given twice, free of control characters? And on which
 * line does each key stand, so that later errors can say. It bounds what a hostile file can cost:
 * it stops at the first event that no configuration of ours would hold.
 */
#ifndef LUNAR_HYPERVISOR_YAML_OUTLINE_H
#define LUNAR_HYPERVISOR_YAML_OUTLINE_H

#include <stddef.h>

#define YAML_OUTLINE_MAX_KEYS 1024 /* more than any file of ours has; more is an error */
#define YAML_OUTLINE_MAX_DEPTH                                                                          \
	5 /* mapping → list → mapping → mapping, and one that is wrong, which the schema will say \
	     better */
#define YAML_OUTLINE_KEY_BYTES 32 /* longer keys are cut: no key of ours is that long */

struct yaml_outline_key {
	/* One of a mapping in a list's entry: "vlan.id", that mapping's key in front. */
	char key[YAML_OUTLINE_KEY_BYTES];
	int parent; /* -1: of the top mapping; else the key (index into keys) that this one stands
		       under */
	int entry;  /* of the parent's list, from 0; -1 where the parent is no list */
	size_t line;
};

struct yaml_outline {
	struct yaml_outline_key keys[YAML_OUTLINE_MAX_KEYS];
	size_t key_count;
};

/*
 * Reads text (length bytes, need not end in NUL). Returns 0 with *outline filled; or -EINVAL with
 * *line (0: unknown) and the problem, static or in message; -ENOMEM. No memory is left allocated.
 */
int yaml_outline_read(const char *text, size_t length, struct yaml_outline *outline, size_t *line,
		      char *message, size_t message_bytes);

/* The line of a key: of the top mapping (list NULL), or of this entry of a list. 0 where there is
 * none. */
size_t yaml_outline_line(const struct yaml_outline *outline, const char *list, int entry,
			 const char *key);

#endif
