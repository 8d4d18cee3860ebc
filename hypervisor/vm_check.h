/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only the switch of this host can tell about a VM that wants to come: whether its uplinks
 * have a link and carry the NICs' frames, and whether the guest's iSCSI portals answer behind them.
 * Loop's thread only.
 */
#ifndef LUNAR_HYPERVISOR_VM_CHECK_H
#define LUNAR_HYPERVISOR_VM_CHECK_H

struct event_loop;
struct migration_check;
struct state_reader;
struct vm_check;
struct vm_config;

/* Once, from the loop; the check is gone when it returns. */
typedef void (*vm_check_fn)(void *ctx);

/* portals: the section of vm_portals_save(), or NULL; read at once. findings is added to until fn
 * is called. Takes at most VSP_QUERY_DEADLINE_MS. Returns 0, or -ENOMEM: then fn is not called. */
int vm_check_start(struct event_loop *loop, const struct vm_config *config,
		   struct state_reader *portals, struct migration_check *findings, vm_check_fn fn,
		   void *ctx, struct vm_check **check);
/* Takes NULL. fn is not called any more. */
void vm_check_cancel(struct vm_check *check);

#endif
