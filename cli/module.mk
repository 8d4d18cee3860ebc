# SPDX-License-Identifier: BSD-3-Clause
cli_SRCS := api_client.c cli_error.c command_define.c command_look.c command_power.c console_client.c options.c output.c \
	vm_process.c vm_store.c
cli_DEPS := base hypervisor
cli_PKGS := libcurl jansson
cli_PROGS := lunar
