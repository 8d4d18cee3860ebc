# SPDX-License-Identifier: BSD-3-Clause
# Tests of the KVM engine on a real KVM: run in a host of the testbed by tests/e2e/test_engine.py. Not installed.
tests/kvm_SRCS   := guest_code.c machine.c
tests/kvm_DEPS   := hypervisor
tests/kvm_PROGS  := test-engine
tests/kvm_LDLIBS := -lcmocka
