/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of VLAN ids, and the way people write one: "10,20-30". Id 0 stands for frames without a
 * VLAN; 4095 is reserved (IEEE 802.1Q 9.6) and never in a set. No state, any thread.
 */
#ifndef LUNAR_VLAN_VLAN_SET_H
#define LUNAR_VLAN_VLAN_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VLAN_ID_MASK   0x0fffu
#define VLAN_ID_MAX    4094u
#define VLAN_SET_WORDS 64u
#define VLAN_SET_BYTES 512u

struct vlan_set {
	uint64_t words[VLAN_SET_WORDS];
};

/* vid: at most 4095. */
static inline bool vlan_set_has(const struct vlan_set *set, uint16_t vid)
{
	return set->words[vid >> 6] >> (vid & 63) & 1;
}

static inline void vlan_set_add(struct vlan_set *set, uint16_t vid)
{
	set->words[vid >> 6] |= UINT64_C(1) << (vid & 63);
}

static inline void vlan_set_remove(struct vlan_set *set, uint16_t vid)
{
	set->words[vid >> 6] &= ~(UINT64_C(1) << (vid & 63));
}

/* first..last, both included. */
void vlan_set_add_range(struct vlan_set *set, uint16_t first, uint16_t last);
uint32_t vlan_set_count(const struct vlan_set *set);
bool vlan_set_is_equal(const struct vlan_set *a, const struct vlan_set *b);
/* The least id of at least that one; VLAN_ID_MAX + 1: there is none. */
uint16_t vlan_set_next(const struct vlan_set *set, uint16_t from);

/* Reads ids and ranges with commas between them, each id within least..VLAN_ID_MAX; spaces are
 * allowed. Returns 0, or -EINVAL: nothing else may be there, nor a range whose end comes before its
 * beginning, nor nothing at all. */
int vlan_set_parse(const char *text, uint16_t least, struct vlan_set *set);
/* Writes it as vlan_set_parse() reads it, ids that follow each other as a range; an empty set is
 * "none". What does not fit ends in "...". size: at least 8. Returns text. */
char *vlan_set_format(const struct vlan_set *set, char *text, size_t size);

/* As bytes for a peer: bit vid % 8 of byte vid / 8. */
void vlan_set_put(const struct vlan_set *set, uint8_t bytes[VLAN_SET_BYTES]);
void vlan_set_get(struct vlan_set *set, const uint8_t bytes[VLAN_SET_BYTES]);

#endif
