# SPDX-License-Identifier: BSD-3-Clause
hypervisor_SRCS := acpi_tables.c api_migration.c api_server.c boot_linux.c bzimage.c channel_nudge.c console.c cpuid.c cpuid_check.c \
	cpuid_state.c engine_kvm.c engine_kvm_cpu.c engine_kvm_dirty.c engine_kvm_restore.c engine_kvm_run.c engine_kvm_save.c \
	engine_kvm_probe.c engine_kvm_vp.c gpa_space.c kvm_msrs.c kvm_state.c message_inbox.c migration_report.c partition.c partition_events.c partition_move.c partition_state.c platform.c rtc.c \
	synic.c uart.c vm.c vm_config.c vm_error.c vm_ic.c vm_lock.c vm_log.c vm_paths.c vm_portals.c vm_report.c vsp_client.c \
	vsp_device.c vsp_link.c vsp_move.c vsp_query.c yaml_outline.c
hypervisor_SRCS += migration.c migration_call.c migration_codec.c migration_file.c migration_message.c migration_pages_receive.c migration_pages_send.c migration_pause.c migration_rate.c migration_restore.c migration_save.c migration_socket.c migration_thread.c migration_tls.c migration_tls_credentials.c tls_files.c tls_files_inspect.c
hypervisor_SRCS += vsp_recover.c vm_check.c vm_move.c vm_worker.c vmwp.c
hypervisor_DEPS := base vmbus ic
hypervisor_PKGS := libcyaml yaml-0.1 libmicrohttpd jansson gnutls liblz4 libzstd
hypervisor_PROGS := vmwp
hypervisor_TEST_SRCS := tests/unit/vmbus/memory_fixture.c tests/unit/vmbus/server_fixture.c
hypervisor_TEST_SRCS += tests/unit/hypervisor/tls_fixture.c tests/unit/hypervisor/move_fixture.c tests/unit/hypervisor/move_fake_vm.c
hypervisor_SRCS += migration_check.c migration_control.c migration_over.c migration_pace.c migration_record.c \
	migration_resolve.c migration_source.c migration_source_commit.c migration_source_copy.c migration_step.c \
	migration_target.c migration_target_commit.c migration_target_make.c migration_words.c
# a VM without a processor and a switch:
hypervisor_TEST_SRCS += tests/fake_vmwp/fake_engine.c tests/fake_vmwp/fake_guest_program.c $(addprefix tests/unit/hypervisor/,fake_guest_bus.c fake_netvspd.c tiny_kernel.c)
