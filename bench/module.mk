# SPDX-License-Identifier: BSD-3-Clause
# switchbench: what a packet costs in the switch, by feature.
bench_SRCS  :=
bench_PROGS := switchbench
bench_DEPS  := netvsp
bench_PKGS  := libdpdk
