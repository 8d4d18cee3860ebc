# SPDX-License-Identifier: BSD-3-Clause
cli_SRCS := api_client.c cli_error.c command_define.c command_look.c command_migrate.c command_power.c command_receive.c \
	command_restore.c command_tls.c command_vlan.c console_client.c last_move.c migration_follow.c migration_output.c option_values.c options.c options_help.c output.c receive_service.c \
	vm_process.c vm_store.c
cli_SRCS += command_disk.c output_disk.c
cli_SRCS += command_vhd.c command_vhd_copy.c command_vhd_look.c new_file.c progress.c
cli_DEPS := base storvsp hypervisor
cli_PKGS := libcurl jansson
cli_PROGS := lunar
