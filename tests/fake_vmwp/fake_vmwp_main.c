/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake-vmwp: vmwp with a fake engine, for whole moves between processes on any machine (LUNAR_VMWP
 * names it to lunar). Its guest writes memory all the time, keeps a sum of what must be there in
 * its registers, and crashes where memory is not what it wrote: a page that was lost or is stale,
 * and a guest that runs at two places, are found so. What it does is in fake_guest_program.h.
 */
#include "hypervisor/vmwp.h"
#include "tests/fake_vmwp/fake_engine.h"
#include "tests/fake_vmwp/fake_guest_program.h"

int main(int argc, char **argv)
{
	fake_engine_set_program(fake_guest_program);
	return (int)vmwp_run(argc, argv, &fake_engine);
}
