# SPDX-License-Identifier: BSD-3-Clause
# The protocol, without a DPDK type in it:
netvsp_SRCS :=
# The data path on DPDK:
netvsp_SRCS +=
netvsp_DEPS := vmbus base
netvsp_PKGS := libdpdk
