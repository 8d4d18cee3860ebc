# SPDX-License-Identifier: BSD-3-Clause
ic_SRCS := ic_message.c ic_channel.c shutdown.c heartbeat.c
ic_DEPS := base vmbus
ic_TEST_SRCS := tests/unit/vmbus/memory_fixture.c tests/unit/ic/util_guest.c
