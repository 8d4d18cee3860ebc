# SPDX-License-Identifier: BSD-3-Clause
# What writes to images for tests on this machine: vhd-io for tests/run-interop; storvsc-flush, to be killed, for
# tests/crash-storage. The latter's guest is the unit tests' own.
tests/interop_DEPS  := base storvsp tests/tools
tests/interop_PROGS := vhd-io storvsc-flush
STORVSC_GUEST       := $(B)/tests/unit/storvsp/fake_storvsc.o $(B)/tests/unit/vmbus/memory_fixture.o
$(B)/bin/storvsc-flush: $(STORVSC_GUEST)
$(B)/bin/storvsc-flush: tests/interop_LDFLAGS = $(STORVSC_GUEST)
