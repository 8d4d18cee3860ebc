# SPDX-License-Identifier: BSD-3-Clause
base_SRCS := log.c event_loop.c fd_passing.c deadline.c exit_code.c state.c
