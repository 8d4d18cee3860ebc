# SPDX-License-Identifier: BSD-3-Clause
# The protocol, without a DPDK type in it:
netvsp_SRCS := nvsp.c nvsp_rndis.c rndis_control.c rndis_oid.c rndis_offload.c rndis_packet.c rss.c
# The data path on DPDK:
netvsp_SRCS += eal.c mbuf_pools.c worker.c switch.c data_path.c offload.c port_plug.c team.c uplink.c \
	rx_buffer.c hold_queue.c queue.c nic.c nic_rx.c nic_control.c nic_move.c nic_late.c nic_journal.c journal.c portals.c probe.c saved_state.c vsp_server.c vsp_move.c vsp_survey.c vsp_vlan.c telemetry.c
netvsp_DEPS := vlan vmbus base
netvsp_PKGS := libdpdk
netvsp_PROGS := netvspd
# A fake guest, for tests of either half:
netvsp_TEST_SRCS := $(addprefix tests/fake_guest/,fake_space.c fake_rndis.c fake_netvsc.c fake_netvsc_probe.c \
	vsp_guest.c loopback_host.c fake_bus.c)
# netvspd in a test's process, its uplink made of rings:
netvsp_TEST_SRCS += $(addprefix tests/unit/netvsp/,netvspd_fixture.c frames.c)
netvsp_TEST_SRCS += tests/unit/vlan/vlan_model.c
netvsp_LDLIBS := -lrte_net_ring -lrte_net_bond
