# SPDX-License-Identifier: BSD-3-Clause
vlan_SRCS := vlan_set.c vlan_config.c vlan_port.c vlan_map.c
vlan_DEPS := base
vlan_TEST_SRCS := tests/unit/vlan/vlan_model.c
