/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A member that goes to another host with its VM: what it is, whom it hears, and its connections,
 * as sections of base/state.h. The member at the destination goes on as the same instance, so the
 * others notice no more than some late heartbeats. Times travel as what is left of them, since the
 * hosts' clocks differ. What is read is hostile: it is checked as heartbeats are, and where a
 * connection belongs is worked out anew.
 *
 * Connections travel apart from the member, in pieces of any size, since there may be many.
 */
#ifndef LUNAR_NLB_NLB_SAVED_STATE_H
#define LUNAR_NLB_NLB_SAVED_STATE_H

#include "base/state.h"
#include "nlb/nlb_member.h"

#define NLB_STATE_MEMBER      STATE_TAG('N', 'L', 'B', 'M')
#define NLB_STATE_CONNECTIONS STATE_TAG('N', 'L', 'B', 'C')

/* Writes one section NLB_STATE_MEMBER. From then on the member must not be sent for: either it is
 * thrown away without being stopped, or nothing is done with what was saved. */
void nlb_member_save(const struct nlb_member *member, uint64_t now_ns, struct state_writer *writer);

/* section: NLB_STATE_MEMBER. member: fresh from nlb_member_init(), of the same cluster, id and
 * shares. Returns 0; -EINVAL: of another id or other rules, so it must be started instead;
 * -EPROTO: malformed; -EOPNOTSUPP: of a newer version. On errors the member is as it was. */
int nlb_member_restore(struct nlb_member *member, struct state_reader *section, uint64_t now_ns);

/* Writes a section NLB_STATE_CONNECTIONS with at most max of them, from *position on, which starts
 * at 0 and is 0 again when all have been written. Returns how many it wrote. */
uint32_t nlb_connections_save(const struct nlb_filter *filter, uint64_t now_ns, uint32_t max,
			      uint32_t *position, struct state_writer *writer);

/* section: NLB_STATE_CONNECTIONS. What does not fit into the table is left out, and counted as
 * untracked. Returns 0, -EPROTO (some may have been taken by then) or -EOPNOTSUPP. */
int nlb_connections_restore(struct nlb_filter *filter, struct state_reader *section,
			    uint64_t now_ns);

#endif
