# SPDX-License-Identifier: BSD-3-Clause
vmbus_SRCS := guest_memory.c gpadl.c gpadl_view.c ring.c packet.c event_signal.c server.c server_channel.c server_gpadl.c server_save.c \
	server_restore.c
vmbus_DEPS := base
vmbus_TEST_SRCS := tests/unit/vmbus/memory_fixture.c tests/unit/vmbus/server_fixture.c
