# SPDX-License-Identifier: BSD-3-Clause
# Programs that tests and benchmarks run in guests and at the far end, linked statically so that they run in any image:
# ioverify (I/O that verifies itself), ioflush (what was flushed is kept), iobench (a job of a storage benchmark), dirtier
# (writes memory at a given rate), pinger (1 kHz echo).
tests/tools_SRCS    := block_pattern.c stop_signal.c
tests/tools_PROGS   := ioverify ioflush iobench dirtier pinger
tests/tools_LDFLAGS := $(if $(SAN),,-static)
