# SPDX-License-Identifier: BSD-3-Clause
# vm_config.c and api_server.c join when they are written.
hypervisor_SRCS := $(patsubst hypervisor/%,%,$(wildcard $(addprefix hypervisor/,vm_config.c vm_paths.c yaml_outline.c vm_report.c api_server.c)))
hypervisor_DEPS := base vmbus
hypervisor_PKGS := libcyaml yaml-0.1 libmicrohttpd jansson
