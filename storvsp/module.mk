# SPDX-License-Identifier: BSD-3-Clause
storvsp_SRCS :=
storvsp_DEPS := base vmbus
storvsp_PKGS := liburing libiscsi
