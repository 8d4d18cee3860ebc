# SPDX-License-Identifier: BSD-3-Clause
hypervisor_SRCS := acpi_tables.c api_migration.c api_server.c boot_linux.c bzimage.c channel_nudge.c console.c cpuid.c cpuid_check.c \
	cpuid_state.c engine_kvm.c engine_kvm_cpu.c engine_kvm_dirty.c engine_kvm_restore.c engine_kvm_run.c engine_kvm_save.c \
	engine_kvm_probe.c engine_kvm_vp.c gpa_space.c kvm_msrs.c kvm_state.c message_inbox.c partition.c partition_events.c partition_move.c partition_state.c platform.c rtc.c \
	synic.c uart.c vm.c vm_config.c vm_error.c vm_ic.c vm_lock.c vm_log.c vm_paths.c vm_portals.c vm_report.c vsp_client.c \
	vsp_device.c vsp_link.c vsp_move.c vsp_query.c yaml_outline.c
hypervisor_SRCS += tls_files.c tls_files_inspect.c
hypervisor_SRCS += api_vlan.c vm_definition.c vm_redefine.c vm_vlan.c
hypervisor_SRCS += api_disks.c engine_bus.c vm_config_disks.c vm_definition_disks.c vm_disks.c vm_report_disks.c vm_storage.c vm_storage_change.c vm_storage_flush.c vm_storage_open.c vm_storage_size.c vm_storage_state.c
hypervisor_SRCS += vsp_recover.c vm_check.c vm_move.c vm_worker.c vmwp.c
hypervisor_DEPS := base vmbus ic storvsp vlan
hypervisor_PKGS := libcyaml yaml-0.1 libmicrohttpd jansson gnutls liblz4 libzstd
hypervisor_PROGS := vmwp
hypervisor_TEST_SRCS := tests/unit/vmbus/memory_fixture.c tests/unit/vmbus/server_fixture.c tests/unit/storvsp/fake_storvsc.c
hypervisor_TEST_SRCS += tests/unit/hypervisor/tls_fixture.c tests/unit/hypervisor/move_fixture.c tests/unit/hypervisor/move_fake_vm.c
# a VM that moves, to another host or into a file:
hypervisor_SRCS += $(addprefix migration/,call.c check.c codec.c confine.c control.c decision.c definition.c durable.c figures.c file.c lock.c message.c migration.c over.c pace.c pages_receive.c \
	pages_send.c pause.c prune.c rate.c record.c report.c resolve.c restore.c save.c socket.c source.c source_commit.c source_copy.c \
	step.c target.c target_commit.c target_greet.c target_memory.c thread.c tls.c tls_credentials.c words.c)
# a VM without a processor and a switch:
hypervisor_TEST_SRCS += tests/fake_vmwp/fake_engine.c tests/fake_vmwp/fake_guest_program.c $(addprefix tests/unit/hypervisor/,fake_guest_bus.c fake_netvspd.c tiny_kernel.c)
