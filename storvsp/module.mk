# SPDX-License-Identifier: BSD-3-Clause
storvsp_SRCS := io_loop.c
# The controller: VSTOR, channels and their workers.
storvsp_SRCS += vstor.c srb.c channel.c channel_request.c channel_worker.c controller.c controller_luns.c controller_mail.c \
	controller_operation.c controller_state.c
storvsp_DEPS := base vmbus
storvsp_PKGS := liburing libiscsi
