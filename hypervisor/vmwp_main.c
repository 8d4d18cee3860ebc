/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmwp: a VM on KVM.
 */
#include "hypervisor/engine.h"
#include "hypervisor/vmwp.h"

int main(int argc, char **argv)
{
	return (int)vmwp_run(argc, argv, &engine_kvm);
}
