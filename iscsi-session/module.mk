# SPDX-License-Identifier: BSD-3-Clause
# Sessions with iSCSI targets, for lunar-iscsi in a guest and for storvsp in the parent. libiscsi is always the static
# library: libiscsi_shim.c replaces a few of its functions at link time (--wrap), and supplies the iSER entry point so
# that no RDMA library is needed. Whoever links this gets the wrapped socket calls too; they look at the connections
# of the calling thread's session only.
iscsi-session_SRCS      := iscsi_url.c initiator_name.c chap_secret.c login_reply.c libiscsi_shim.c crc32c.c data_digest.c scsi_cdb.c login.c \
                           session.c session_command.c session_status.c lun_probe.c portal_resolve.c disk_id.c
iscsi-session_DEPS      := base
iscsi-session_LDLIBS    := -l:libiscsi.a -Wl,--wrap=iscsi_pdu_add_data,--wrap=iscsi_reconnect \
                           -Wl,--wrap=iscsi_process_scsi_reply,--wrap=iscsi_process_r2t \
                           -Wl,--wrap=iscsi_tcp_free_pdu,--wrap=iscsi_log_message,--wrap=rand \
                           -Wl,--wrap=send,--wrap=recv,--wrap=writev,--wrap=readv
iscsi-session_TEST_SRCS := tests/unit/iscsi-session/fake_target.c
