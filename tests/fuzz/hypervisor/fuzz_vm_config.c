/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any bytes as a VM's YAML file: a configuration that keeps every promise of vm_config.h, or one
 * printable line.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vm_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool promise)
{
	if (!promise)
		abort();
}

static void check_config(const struct vm_config *config)
{
	check(vm_name_is_valid(config->name));
	check(config->vps >= 1 && config->vps <= VM_MAX_VPS);
	check(config->memory_bytes >= VM_MIN_MEMORY_BYTES &&
	      config->memory_bytes <= VM_MAX_MEMORY_BYTES);
	check(config->memory_bytes % (2 << 20) == 0);
	check(config->kernel && config->kernel[0] == '/');
	check(!config->initrd || config->initrd[0] == '/');
	check(config->cmdline && strlen(config->cmdline) <= VM_CMDLINE_MAX);
	check((config->console == VM_CONSOLE_FILE) <= (config->console_path != NULL));
	check(config->nic_count <= VM_MAX_NICS);
	for (size_t i = 0; i < config->nic_count; i++) {
		const struct vm_nic_config *nic = &config->nics[i];

		check(nic->mtu >= 576 && nic->mtu <= 9216);
		check(nic->queues >= 1 && nic->queues <= 64);
		check(!(nic->mac[0] & 1));
		check(nic->vsp_socket && nic->vsp_socket[0] == '/');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char message[VM_CONFIG_MESSAGE_BYTES] = "";
	struct vm_config *config = NULL;
	int rc;

	rc = vm_config_parse("fuzz.yaml", (const char *)data, size, &config, message,
			     sizeof(message));
	if (rc == 0) {
		check_config(config);
	} else {
		check(config == NULL && message[0] != '\0');
		for (const char *c = message; *c; c++)
			check(*c >= 0x20 && *c < 0x7f);
	}
	vm_config_free(config);
	return 0;
}
