# SPDX-License-Identifier: BSD-3-Clause
# The targets that need more than a compiler: packages, the demonstration, all tests, fuzzing.
.PHONY: deps demo test e2e fuzz bench bench-migrate bench-storage bench-switch soak-migrate soak-storage crash-storage conformance

deps:
	$(Q)testbed/deps
demo:
	$(Q)testbed/demo
# All tests; the last line is 'N passed, N failed'.
test: deps
	$(Q)tests/run-all
# End-to-end tests alone; E2E="-k attach" selects some.
e2e: all
	$(Q)tests/run-e2e $(E2E)
# Every fuzz target for SECONDS (default 10) seconds, from its seeds.
fuzz: SECONDS = 10
fuzz:
	$(Q)$(MAKE) --no-print-directory FUZZ=1 CC=clang fuzzers
	$(Q)tests/run-fuzz $(SECONDS) $(O)/fuzz-clang
# Ratios to QEMU on the same hosts, into bench/results/; wants a machine that does nothing else, for about ten minutes.
bench: deps all
	$(Q)bench/boot
	$(Q)bench/throughput
# A move beside QEMU's live migration, on the same two hosts; about ten minutes.
bench-migrate: deps all
	$(Q)bench/migrate
# N moves back and forth under verified I/O; the last line is 'N moves, M errors'.
soak-migrate: N = 50
soak-migrate: VPS = 2
soak-migrate: RATE = 0
soak-migrate: deps all
	$(Q)tests/soak-migrate $(N) $(VPS) $(RATE)
# Every way from a guest to its storage, side by side: bench/results/storage.json, storage.svg, storage.md; about half an hour.
bench-storage: ROUNDS = 5
bench-storage: deps all
	$(Q)bench/storage $(ROUNDS)
# What a packet costs in the switch, by feature: bench/results/switch.json, switch.svg; some seconds.
bench-switch: ROUNDS = 25
bench-switch: deps all
	$(Q)bench/switch $(ROUNDS)
# iscsi-test-cu and sg3-utils in a guest, on disks of several kinds; the last line is 'N passed, M failed, K not applicable'.
conformance: deps all
	$(Q)tests/conformance $(DISKS)
# Verified I/O on every kind of disk for MINUTES, with bus resets, moves, and crashes of a file server, of guests and of vmwp; the
# last lines are 'N crashes; ...' and 'N rounds, M errors'. FAULTS="server vmwp ..." names what goes wrong, in order.
soak-storage: MINUTES = 60
soak-storage: deps all
	$(Q)tests/soak-storage $(MINUTES) $(FAULTS)
# The storage of a VM's process killed KILLS times in the midst of writes to every kind of image, without a guest and in minutes;
# the last line is 'N crashes (...), M errors'.
crash-storage: KILLS = 100
crash-storage: all
	$(Q)tests/crash-storage $(KILLS)
