# SPDX-License-Identifier: BSD-3-Clause
# The protocol, without a DPDK type in it:
netvsp_SRCS := nvsp.c nvsp_rndis.c rndis_control.c rndis_oid.c rndis_offload.c rndis_packet.c rss.c
# The data path on DPDK:
netvsp_SRCS +=
netvsp_DEPS := vmbus base
netvsp_PKGS := libdpdk
