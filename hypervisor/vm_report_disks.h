/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM's disks and their controllers, rendered: JSON for `lunar show` and `lunar disk list`, and
 * Prometheus' text format. What is known from the definition alone has the same shape.
 */
#ifndef LUNAR_HYPERVISOR_VM_REPORT_DISKS_H
#define LUNAR_HYPERVISOR_VM_REPORT_DISKS_H

#include <stdio.h>

#include <jansson.h>

#include "hypervisor/vm.h"

/* An array each; NULL: out of memory. */
json_t *vm_report_disks_json(const struct vm_config *config, const struct vm_status *status);
json_t *vm_report_controllers_json(const struct vm_status *status);
/* Nothing where there is no disk. */
void vm_report_disks_metrics(FILE *out, const char *vm_name, const struct vm_status *status);

#endif
