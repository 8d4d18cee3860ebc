/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is told about a VM, in the two forms that others read: JSON (the API and every --json) and
 * Prometheus text. One place gives them their shape; docs/api/openapi.yaml describes it.
 */
#ifndef LUNAR_HYPERVISOR_VM_REPORT_H
#define LUNAR_HYPERVISOR_VM_REPORT_H

#include <stddef.h>

#include <jansson.h>

#include "hypervisor/migration/migration.h"
#include "hypervisor/vm.h"
#include "hypervisor/vm_config.h"

/*
 * A new JSON object, or NULL out of memory. A VM that does not run is told with a status of zeroes;
 * state is its state's name, since "stopped" (defined, no process) is none of vmwp's.
 */
json_t *vm_report_json(const struct vm_config *config, const struct vm_status *status,
		       const char *state);

/* Prometheus text exposition 0.0.4, which the caller frees; NULL out of memory. */
char *vm_report_metrics(const struct vm_config *config, const struct vm_status *status,
			const struct migration_status *migration, size_t *length);

/* Bytes for vm_report_mac(), the end included. */
#define VM_REPORT_MAC_BYTES 18
void vm_report_mac(const uint8_t mac[6], char text[VM_REPORT_MAC_BYTES]);

#endif
