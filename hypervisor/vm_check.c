/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_check.h. Every question goes to netvspd at once; each has its own deadline.
 */
#include "hypervisor/vm_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/event_loop.h"
#include "hypervisor/migration/check.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_portals.h"
#include "hypervisor/vsp_query.h"
#include "wire/vsp.h"

#define MAX_PROBES 16 /* netvspd serves a bounded number of connections */

struct question {
	struct vm_check *check;
	struct vsp_query *query;
	const struct vm_nic_config *nic;
	uint32_t nic_index;
	struct vm_portal portal; /* of a probe */
};

struct vm_check {
	struct migration_check *findings;
	vm_check_fn fn;
	void *ctx;
	struct event_timer *timer; /* where nothing was to be asked */
	size_t pending;
	size_t question_count;
	struct question questions[2 * VM_MAX_NICS + MAX_PROBES];
};

void vm_check_cancel(struct vm_check *check)
{
	if (!check)
		return;
	event_timer_cancel(check->timer);
	for (size_t i = 0; i < check->question_count; i++)
		vsp_query_cancel(check->questions[i].query);
	free(check);
}

static void on_all_answered(void *ctx)
{
	struct vm_check *check = ctx;
	vm_check_fn fn = check->fn;
	void *fn_ctx = check->ctx;

	check->timer = NULL;
	vm_check_cancel(check);
	fn(fn_ctx);
}

static void question_end(struct question *question)
{
	question->query = NULL;
	if (--question->check->pending == 0)
		on_all_answered(question->check);
}

/* An uplink must have a link, and carry the guest's largest frame. */
static void on_info(void *ctx, int status, const struct vsp_info *info)
{
	struct question *question = ctx;
	struct migration_check *findings = question->check->findings;
	uint32_t best_mtu = 0;
	bool up = false;

	for (uint32_t i = 0; !status && i < info->uplink_count; i++) {
		if (!info->uplinks[i].link_up)
			continue;
		up = true;
		if (info->uplinks[i].mtu > best_mtu)
			best_mtu = info->uplinks[i].mtu;
	}
	if (status)
		migration_check_add(findings, MIGRATION_NOTES, "uplink",
				    "nic%u: its switch does not tell about its uplinks: %s",
				    question->nic_index, strerror(-status));
	else if (!up)
		migration_check_add(findings, MIGRATION_HARMS, "uplink",
				    "nic%u: no uplink of its switch has a link: the VM would be "
				    "cut off; check the cabling there",
				    question->nic_index);
	else if (best_mtu < question->nic->mtu)
		migration_check_add(findings, MIGRATION_HARMS, "uplink",
				    "nic%u may use an MTU of %u, the uplinks there carry %u: "
				    "raise theirs",
				    question->nic_index, question->nic->mtu, best_mtu);
	question_end(question);
}

static void on_probed(void *ctx, int status, const struct vsp_info *info)
{
	struct question *question = ctx;
	struct migration_check *findings = question->check->findings;
	char text[VM_PORTAL_TEXT_BYTES];

	(void)info;
	vm_portal_format(&question->portal, text);
	if (status == -EHOSTUNREACH)
		migration_check_add(findings, MIGRATION_HARMS, "portal",
				    "the iSCSI portal %s, which nic%u uses, does not answer there: "
				    "check VLAN and cabling of the uplinks",
				    text, question->nic_index);
	else if (status && status != -ENETDOWN) /* that is told once, above */
		migration_check_add(findings, MIGRATION_NOTES, "portal",
				    "whether the iSCSI portal %s answers there cannot be told: %s",
				    text, strerror(-status));
	question_end(question);
}

static void on_vlan(void *ctx, int status, const struct vlan_set *missing)
{
	struct question *question = ctx;
	struct migration_check *findings = question->check->findings;
	char list[64];

	if (status)
		migration_check_add(findings, MIGRATION_NOTES, "vlan",
				    "nic%u: its switch does not tell about VLANs: %s",
				    question->nic_index, strerror(-status));
	else if (vlan_set_count(missing) > 0)
		migration_check_add(findings, MIGRATION_HARMS, "vlan",
				    "nic%u: no uplink there carries VLAN %s: allow it there "
				    "(netvspd --vlans)",
				    question->nic_index,
				    vlan_set_format(missing, list, sizeof(list)));
	question_end(question);
}

static struct question *question_add(struct vm_check *check, const struct vm_config *config,
				     uint32_t nic)
{
	struct question *question = &check->questions[check->question_count++];

	question->check = check;
	question->nic = &config->nics[nic];
	question->nic_index = nic;
	check->pending++;
	return question;
}

static void nics_ask(struct vm_check *check, struct event_loop *loop,
		     const struct vm_config *config)
{
	for (uint32_t i = 0; i < config->nic_count; i++) {
		struct question *question = question_add(check, config, i);

		if (vsp_query_info(loop, question->nic->vsp_socket, VSP_QUERY_DEADLINE_MS, on_info,
				   question, &question->query))
			check->pending--; /* make() has told that netvspd is not there */
		if (config->nics[i].vlan.mode == VLAN_DEFAULT)
			continue;
		question = question_add(check, config, i);
		if (vsp_query_vlan(loop, question->nic->vsp_socket, &question->nic->vlan,
				   VSP_QUERY_DEADLINE_MS, on_vlan, question, &question->query))
			check->pending--;
	}
}

static void portals_ask(struct vm_check *check, struct event_loop *loop,
			const struct vm_config *config, struct state_reader *section)
{
	struct vm_portal portals[VM_MAX_PORTALS];
	size_t count = 0;
	size_t asked = 0;

	if (vm_portals_parse(section, portals, &count)) {
		migration_check_add(check->findings, MIGRATION_NOTES, "portal",
				    "what the source tells of the guest's iSCSI portals cannot be "
				    "read: they were not tried");
		return;
	}
	for (size_t i = 0; i < count && asked < MAX_PROBES; i++) {
		struct question *question;

		if (portals[i].nic >= config->nic_count)
			continue;
		question = question_add(check, config, portals[i].nic);
		question->portal = portals[i];
		asked++;
		if (vsp_query_probe(loop, question->nic->vsp_socket, &question->portal.portal,
				    VSP_QUERY_DEADLINE_MS, on_probed, question, &question->query))
			check->pending--;
	}
}

int vm_check_start(struct event_loop *loop, const struct vm_config *config,
		   struct state_reader *portals, struct migration_check *findings, vm_check_fn fn,
		   void *ctx, struct vm_check **check)
{
	struct vm_check *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->findings = findings;
	made->fn = fn;
	made->ctx = ctx;
	nics_ask(made, loop, config);
	if (portals)
		portals_ask(made, loop, config, portals);
	if (!made->pending && event_loop_after_ms(loop, 0, on_all_answered, made, &made->timer)) {
		free(made);
		return -ENOMEM;
	}
	*check = made;
	return 0;
}
