/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any two ports and any frame: a configuration that the check lets through does what the model
 * says. The rest of the bytes, as text: what is read as a set is written so that it is read again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/vlan/vlan_model.h"
#include "vlan/vlan_map.h"
#include "vlan/vlan_port.h"

#define PORT_BYTES 17
#define HEAD_BYTES (2 * PORT_BYTES + 5)

static bool read_port(const uint8_t *bytes, struct vlan_config *config)
{
	char message[VLAN_MESSAGE_BYTES];

	*config = (struct vlan_config){.mode = (enum vlan_mode)(bytes[0] % (VLAN_MODE_COUNT + 1)),
				       .id = get_le16(bytes + 1),
				       .secondary = get_le16(bytes + 3)};
	for (unsigned int i = 0; i < 6; i++)
		if (get_le16(bytes + 5 + 2 * i))
			vlan_set_add(&config->list, get_le16(bytes + 5 + 2 * i) & VLAN_ID_MASK);
	return vlan_config_check(config, message) == 0;
}

static void compare(const struct vlan_config *from, const struct vlan_config *to,
		    const uint8_t *bytes)
{
	struct model_frame frame = {.vid = bytes[0] & 1 ? get_le16(bytes + 1) & 0xfff : -1,
				    .priority = bytes[0] & 1 ? bytes[3] & 15 : 0,
				    .tag_after = bytes[4] & 1};
	struct vlan_tag tag = {.present = frame.vid >= 0}, out;
	uint16_t ether_type = frame.tag_after ? 0x8100 : 0x0800;
	struct vlan_port port;
	int vlan = model_enter(from, &frame), vid;
	bool leaves;

	if (tag.present)
		tag.tci = (uint16_t)(frame.vid | frame.priority << 12);
	vlan_port_set(&port, from);
	if ((vlan_port_admit(&port, &tag, ether_type) == VLAN_PASS) != (vlan >= 0))
		abort();
	if (vlan < 0)
		return;
	if ((tag.tci & VLAN_ID_MASK) != vlan || (!tag.present && tag.tci))
		abort();
	vlan_port_set(&port, to);
	leaves = model_leave(to, vlan, frame.tag_after, &vid);
	if ((vlan_port_release(&port, &tag, ether_type, &out) == VLAN_PASS) != leaves)
		abort();
	if (leaves &&
	    ((out.tci & VLAN_ID_MASK) != (vid < 0 ? 0 : vid) || out.tci >> 12 != frame.priority))
		abort();
}

static void meet(const struct vlan_config *from, const struct vlan_config *to)
{
	static struct vlan_map map;
	uint16_t vlan;

	vlan_map_init(&map);
	if (vlan_map_add(&map, from, &vlan) < 0)
		abort();
	if (vlan_map_add(&map, to, &vlan) == 0)
		vlan_map_remove(&map, to);
	vlan_map_remove(&map, from);
	for (uint16_t vid = 0; vid < 4096; vid++)
		if (map.learned_as[vid] != vid || map.entries[vid].users ||
		    map.entries[vid].primaries)
			abort();
}

static void read_text(const uint8_t *data, size_t size)
{
	struct vlan_set set, again;
	char text[256], written[32768];

	if (size >= sizeof(text))
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	if (vlan_set_parse(text, 0, &set) < 0)
		return;
	if (vlan_set_parse(vlan_set_format(&set, written, sizeof(written)), 0, &again) < 0 ||
	    !vlan_set_is_equal(&set, &again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vlan_config from, to;

	if (size < HEAD_BYTES)
		return 0;
	if (read_port(data, &from) && read_port(data + PORT_BYTES, &to)) {
		compare(&from, &to, data + 2 * PORT_BYTES);
		meet(&from, &to);
	}
	read_text(data + HEAD_BYTES, size - HEAD_BYTES);
	return 0;
}
