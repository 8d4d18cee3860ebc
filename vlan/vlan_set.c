/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of VLAN ids as text and bytes.
 */
#include "vlan/vlan_set.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

void vlan_set_add_range(struct vlan_set *set, uint16_t first, uint16_t last)
{
	for (uint32_t vid = first; vid <= last && vid <= VLAN_ID_MAX; vid++)
		vlan_set_add(set, (uint16_t)vid);
}

uint32_t vlan_set_count(const struct vlan_set *set)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < VLAN_SET_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(set->words[i]);
	return count;
}

bool vlan_set_is_equal(const struct vlan_set *a, const struct vlan_set *b)
{
	return memcmp(a->words, b->words, sizeof(a->words)) == 0;
}

uint16_t vlan_set_next(const struct vlan_set *set, uint16_t from)
{
	uint16_t vid = from;

	while (vid <= VLAN_ID_MAX && !vlan_set_has(set, vid))
		vid++;
	return vid;
}

static const char *skip_spaces(const char *text)
{
	while (*text == ' ')
		text++;
	return text;
}

/* Decimal digits only. Returns what follows the number and its spaces, or NULL. */
static const char *read_id(const char *text, uint16_t least, uint16_t *vid)
{
	uint32_t number = 0;
	const char *at = skip_spaces(text);

	if (!isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		number = number * 10 + (uint32_t)(*at - '0');
		if (number > VLAN_ID_MAX)
			return NULL;
	}
	if (number < least)
		return NULL;
	*vid = (uint16_t)number;
	return skip_spaces(at);
}

int vlan_set_parse(const char *text, uint16_t least, struct vlan_set *set)
{
	struct vlan_set read = {0};

	for (;;) {
		uint16_t first, last;

		text = read_id(text, least, &first);
		if (!text)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text = read_id(text + 1, least, &last);
			if (!text || last < first)
				return -EINVAL;
		}
		vlan_set_add_range(&read, first, last);
		if (*text != ',')
			break;
		text++;
	}
	if (*text)
		return -EINVAL;
	*set = read;
	return 0;
}

char *vlan_set_format(const struct vlan_set *set, char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "none");
	for (uint16_t vid = vlan_set_next(set, 0); vid <= VLAN_ID_MAX;) {
		char piece[16];
		uint16_t last = vid;
		size_t length;

		while (last < VLAN_ID_MAX && vlan_set_has(set, (uint16_t)(last + 1)))
			last++;
		if (last == vid)
			snprintf(piece, sizeof(piece), "%s%u", used ? "," : "", vid);
		else
			snprintf(piece, sizeof(piece), "%s%u-%u", used ? "," : "", vid, last);
		length = strlen(piece);
		if (used + length + 4 >= size) { /* room for "..." is always kept */
			snprintf(text + used, size - used, "...");
			break;
		}
		memcpy(text + used, piece, length + 1);
		used += length;
		vid = vlan_set_next(set, (uint16_t)(last + 1));
	}
	return text;
}

void vlan_set_put(const struct vlan_set *set, uint8_t bytes[VLAN_SET_BYTES])
{
	for (uint32_t i = 0; i < VLAN_SET_WORDS; i++)
		put_le64(bytes + i * sizeof(uint64_t), set->words[i]);
}

void vlan_set_get(struct vlan_set *set, const uint8_t bytes[VLAN_SET_BYTES])
{
	for (uint32_t i = 0; i < VLAN_SET_WORDS; i++)
		set->words[i] = get_le64(bytes + i * sizeof(uint64_t));
}
