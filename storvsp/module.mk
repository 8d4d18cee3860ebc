# SPDX-License-Identifier: BSD-3-Clause
storvsp_SRCS := io_loop.c
storvsp_DEPS := base vmbus
storvsp_PKGS := liburing libiscsi
