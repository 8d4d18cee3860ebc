# SPDX-License-Identifier: BSD-3-Clause
storvsp_SRCS := io_loop.c
# The controller: VSTOR, channels and their workers.
storvsp_SRCS += vstor.c srb.c channel.c channel_request.c channel_worker.c controller.c controller_luns.c controller_mail.c \
	controller_operation.c controller_state.c
# Disks: files, block devices, images that are raw.
storvsp_SRCS += slow_call.c image_lock.c image_file.c image_io.c block_device.c blocking_pool.c scsi_generic.c \
	disk.c disk_raw.c disk_iso.c
# LUNs of iSCSI targets.
storvsp_SRCS += disk_iscsi.c iscsi_login.c iscsi_worker.c iscsi_facts.c iscsi_request.c
storvsp_TEST_SRCS += tests/unit/storvsp/disk_fixture.c tests/unit/iscsi-session/fake_target.c
storvsp_TEST_SRCS += tests/unit/storvsp/memory_disk.c tests/unit/storvsp/scsi_fixture.c
# A guest with a SCSI controller:
storvsp_TEST_SRCS += tests/unit/vmbus/memory_fixture.c tests/unit/storvsp/fake_storvsc.c
storvsp_DEPS := base vmbus iscsi-session
storvsp_PKGS := liburing
# The SCSI unit: commands, sense, reservations.
storvsp_SRCS += scsi_unit.c scsi_table.c scsi_end.c scsi_job.c scsi_range.c scsi_primary.c scsi_inquiry.c scsi_mode.c \
	scsi_block.c scsi_compare.c scsi_unmap.c scsi_reserve.c scsi_mmc.c scsi_pass.c scsi_saved_state.c
# VHD images.
storvsp_SRCS += vhd_format.c vhd_locator.c vhd_file.c vhd_image.c vhd_create.c vhd_chain.c vhd_resize.c vhd_check.c vhd_merge.c disk_copy.c disk_vhd.c disk_vhd_map.c \
	disk_vhd_request.c disk_vhd_commit.c
storvsp_TEST_SRCS += tests/unit/storvsp/vhd_fixture.c tests/unit/storvsp/vhd_log_file.c
