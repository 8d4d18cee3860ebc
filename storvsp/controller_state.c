/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's saved state: the VSTOR session, and whether the guest is still to be told of a
 * change. It is saved at rest: no command is under way, every answer is in the guest's rings, and
 * those are guest memory. The channels come back by the bus, the units save themselves.
 */
#include <errno.h>

#include "storvsp/controller_internal.h"

#define STATE_VERSION 1

int storvsp_controller_save(const struct storvsp_controller *controller,
			    struct state_writer *writer)
{
	const struct storvsp_channel *primary = controller->channels[0];
	bool rescan = controller->rescan_wanted || (primary && channel_is_enumerating(primary));

	state_begin(writer, STORVSP_STATE_TAG, STATE_VERSION, STATE_VERSION);
	state_put_u8(writer, (uint8_t)controller->session.state);
	state_put_u16(writer, controller->session.version);
	state_put_u16(writer, controller->session.max_sub_channels);
	state_put_u8(writer, controller->scanning);
	state_put_u8(writer, rescan);
	state_put_u64(writer, controller->resets);
	state_end(writer);
	return writer->error;
}

/* A version goes with every state after it was agreed, and with no other. */
static bool session_is_sound(const struct vstor_session *session)
{
	if (session->state <= VSTOR_EXPECTS_VERSION)
		return session->version == 0;
	return vstor_version_is_known(session->version);
}

int storvsp_controller_restore(struct storvsp_controller *controller, struct state_reader *section)
{
	struct vstor_session session = {0};
	bool scanning, rescan;
	uint64_t resets;
	uint8_t state;
	int rc = state_check_version(section, STATE_VERSION);

	if (rc < 0)
		return rc;
	state = state_get_u8(section);
	session.state = state <= VSTOR_READY ? (enum vstor_state)state : VSTOR_EXPECTS_BEGIN;
	session.version = state_get_u16(section);
	session.max_sub_channels = state_get_u16(section);
	scanning = state_get_u8(section) != 0;
	rescan = state_get_u8(section) != 0;
	resets = state_get_u64(section);
	if (section->error || state > VSTOR_READY || !session_is_sound(&session))
		return -EPROTO;
	if (session.max_sub_channels > controller->max_sub_channels)
		return -EOPNOTSUPP; /* the guest was promised more than there are here */
	controller->session = session;
	controller->scanning = scanning && session.state == VSTOR_READY;
	controller->rescan_wanted = rescan;
	controller->resets = resets;
	atomic_store_explicit(&controller->ready, session.state == VSTOR_READY,
			      memory_order_release);
	atomic_store_explicit(&controller->first_srb, controller->scanning, memory_order_relaxed);
	atomic_store_explicit(&controller->paused, true, memory_order_release);
	return 0;
}
