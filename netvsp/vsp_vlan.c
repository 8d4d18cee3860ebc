/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests about VLANs: a vNIC's mode, and whether the uplinks carry what such a vNIC needs.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "netvsp/data_path.h"
#include "netvsp/nic.h"
#include "netvsp/uplink.h"
#include "netvsp/vsp_server_internal.h"
#include "vlan/vlan_config.h"

#define LOG_COMPONENT "vsp"

static_assert(sizeof(struct vsp_vlan_missing) <= VSP_REPLY_MAX_BYTES, "VSP_VLAN_CHECK's reply");
static_assert(VSP_VLAN_SET_BYTES == VLAN_SET_BYTES, "a set of VLANs");
static_assert(VSP_VLAN_DEFAULT == VLAN_DEFAULT && VSP_VLAN_UNTAGGED == VLAN_UNTAGGED &&
		      VSP_VLAN_ACCESS == VLAN_ACCESS && VSP_VLAN_TRUNK == VLAN_TRUNK &&
		      VSP_VLAN_ISOLATED == VLAN_ISOLATED && VSP_VLAN_COMMUNITY == VLAN_COMMUNITY &&
		      VSP_VLAN_PROMISCUOUS == VLAN_PROMISCUOUS,
	      "modes are numbered as on the wire");

/* Returns 0 or -EINVAL. */
static int read_config(const struct vsp_vlan *message, struct vlan_config *config)
{
	char problem[VLAN_MESSAGE_BYTES];

	if (message->mode >= VLAN_MODE_COUNT)
		return -EINVAL;
	*config = (struct vlan_config){.mode = (enum vlan_mode)message->mode,
				       .id = message->id,
				       .secondary = message->secondary};
	vlan_set_get(&config->list, message->list);
	return vlan_config_check(config, problem);
}

int vsp_handle_vlan(struct connection *connection, struct request *request, struct reply *reply)
{
	struct vlan_config config;
	char text[VLAN_TEXT_BYTES];
	int err;

	(void)reply;
	if (!connection->nic)
		return -EBADMSG;
	err = read_config(request->bytes, &config);
	if (!err)
		err = nic_set_vlan(connection->nic, &config);
	if (err == -EEXIST)
		err = -ENOTUNIQ; /* -EEXIST is for names, and waited out */
	if (!err)
		log_info_limited("%s: VLAN mode %s", connection->name,
				 vlan_config_format(&config, text));
	return err;
}

/* What the uplinks carry: those with a link, or all where none has one, which is another trouble.
 */
static void get_carried(const struct data_path *data, struct vlan_set *carried)
{
	struct vlan_set any = {0}, up = {0};

	for (uint32_t i = 0; i < data->uplink_count; i++) {
		struct uplink_info info;

		uplink_get_info(data->uplinks[i], &info);
		for (uint32_t word = 0; word < VLAN_SET_WORDS; word++) {
			any.words[word] |= info.carried->words[word];
			if (info.link_up)
				up.words[word] |= info.carried->words[word];
		}
	}
	*carried = vlan_set_count(&up) ? up : any;
}

int vsp_handle_vlan_check(struct connection *connection, struct request *request,
			  struct reply *reply)
{
	struct vsp_vlan_missing *message = (struct vsp_vlan_missing *)reply->bytes;
	struct vlan_config config;
	struct vlan_set needed, carried;
	int err = read_config(request->bytes, &config);

	if (err)
		return err;
	vlan_config_needs(&config, &needed);
	get_carried(connection->server->data, &carried);
	for (uint32_t word = 0; word < VLAN_SET_WORDS; word++)
		needed.words[word] &= ~carried.words[word];
	vlan_set_put(&needed, message->list);
	reply->length = sizeof(*message);
	return 0;
}
