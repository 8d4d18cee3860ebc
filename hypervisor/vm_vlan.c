/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See vm_vlan.h. The switch is asked last of what can refuse, since only it acts.
 */
#include "hypervisor/vm_vlan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/partition.h"
#include "hypervisor/vm_config.h"
#include "hypervisor/vm_definition.h"
#include "hypervisor/vm_internal.h"
#include "hypervisor/vm_redefine.h"

#define LOG_COMPONENT "vm"

static int check_state(const struct vm *vm, uint32_t nic, struct vm_error *error)
{
	if (nic >= vm->config->nic_count)
		return vm_error_set(error, EXIT_NOT_FOUND, -ENOENT, "%s has no NIC %u",
				    vm->config->name, nic);
	return vm_check_changeable(vm, "VLAN", error);
}

static int explain_refusal(const struct vm *vm, uint32_t nic, int result, struct vm_error *error)
{
	const char *name = vm->config->name;

	if (result == -ENOTUNIQ)
		return vm_error_set(error, EXIT_EXISTS, result,
				    "%s/nic%u: another port of its switch uses one of these VLANs "
				    "as another part of a private VLAN",
				    name, nic);
	if (result == -EOPNOTSUPP)
		return vm_error_set(error, EXIT_NO_SWITCH, result,
				    "%s/nic%u: its netvspd knows no VLAN modes: update it", name,
				    nic);
	return vm_error_set(error, EXIT_NO_SWITCH, result,
			    "%s/nic%u: its netvspd does not take the change: %s", name, nic,
			    strerror(-result));
}

int vm_vlan_change(const struct vm_defined *target, struct vm_config *config, uint32_t nic,
		   const struct vlan_config *vlan, bool *stored, struct vm_error *error)
{
	struct vm *vm = target->vm;
	struct vlan_config before;
	char *text = NULL;
	size_t length = 0;
	int result = check_state(vm, nic, error);

	if (result)
		return result;
	result = vm_definition_set_vlan(*target->definition, *target->definition_bytes, nic, vlan,
					&text, &length, error->message, sizeof(error->message));
	if (result) {
		error->code = result == -ENOMEM ? EXIT_NO_MEMORY : EXIT_CONFIG;
		return result;
	}
	before = config->nics[nic].vlan;
	config->nics[nic].vlan = *vlan;
	result = partition_change_vlan(vm->partition, nic);
	if (result) {
		config->nics[nic].vlan = before;
		free(text);
		return explain_refusal(vm, nic, result, error);
	}
	*stored = vm_redefine(target, text, length);
	return 0;
}
