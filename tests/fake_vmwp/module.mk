# SPDX-License-Identifier: BSD-3-Clause
# fake-vmwp: vmwp with a fake engine, whose guest verifies its memory; and that engine for unit tests. Not installed.
tests/fake_vmwp_SRCS  := fake_engine.c fake_guest_program.c
tests/fake_vmwp_DEPS  := hypervisor
tests/fake_vmwp_PROGS := fake-vmwp
