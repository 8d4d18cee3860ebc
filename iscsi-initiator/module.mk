# SPDX-License-Identifier: BSD-3-Clause
# lunar-iscsi is linked statically, so that one file works in any Linux guest and initramfs. A static program cannot be
# sanitized.
iscsi-initiator_SRCS    := discover.c tcmu_ring.c tcmu_device.c configfs.c disk.c disk_in_use.c control.c control_client.c \
                           daemon.c daemon_status.c options.c login_setup.c command_attach.c command_list.c command_discover.c
iscsi-initiator_DEPS    := base iscsi-session
iscsi-initiator_PKGS    := jansson
iscsi-initiator_LDFLAGS := $(if $(SAN),,-static -Wl,--no-warnings)
iscsi-initiator_PROGS   := lunar-iscsi
