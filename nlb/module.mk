# SPDX-License-Identifier: BSD-3-Clause
nlb_SRCS := nlb_config.c nlb_toeplitz.c nlb_buckets.c nlb_packet.c nlb_filter.c \
	nlb_heartbeat.c nlb_converge.c nlb_member.c nlb_saved_state.c
nlb_DEPS := base
nlb_TEST_SRCS := $(addprefix tests/unit/nlb/,plain_connections.c cluster_sim.c)
