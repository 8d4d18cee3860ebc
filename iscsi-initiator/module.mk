# SPDX-License-Identifier: BSD-3-Clause
# lunar-iscsi is linked statically, so that one file works in any Linux guest and initramfs. libiscsi is
# always the static library: libiscsi_shim.c replaces a few of its functions at link time (--wrap), and
# supplies the iSER entry point so that no RDMA library is needed. A static program cannot be sanitized.
iscsi-initiator_SRCS    := iscsi_url.c initiator_name.c chap_secret.c login_reply.c libiscsi_shim.c crc32c.c data_digest.c scsi_cdb.c login.c \
                           discover.c session.c session_command.c session_status.c lun_probe.c tcmu_ring.c \
                           tcmu_device.c configfs.c disk.c disk_in_use.c control.c control_client.c disk_id.c daemon.c daemon_status.c options.c \
                           portal_resolve.c login_setup.c command_attach.c command_list.c command_discover.c
iscsi-initiator_DEPS    := base
iscsi-initiator_PKGS    := jansson
iscsi-initiator_LDLIBS  := -l:libiscsi.a -Wl,--wrap=iscsi_pdu_add_data,--wrap=iscsi_reconnect \
                           -Wl,--wrap=iscsi_process_scsi_reply,--wrap=iscsi_process_r2t \
                           -Wl,--wrap=iscsi_tcp_free_pdu,--wrap=rand \
                           -Wl,--wrap=send,--wrap=recv,--wrap=writev,--wrap=readv
iscsi-initiator_LDFLAGS := $(if $(SAN),,-static -Wl,--no-warnings)
iscsi-initiator_TEST_SRCS := tests/unit/iscsi-initiator/fake_target.c
iscsi-initiator_PROGS   := lunar-iscsi
