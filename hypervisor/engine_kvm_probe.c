/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether this host's KVM can run a partition. That /dev/kvm opens proves nothing: where the
 * processor shows neither svm nor vmx, the module behind it emulates each instruction, and no guest
 * gets anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/engine_kvm_internal.h"

#define KVM_API 12

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
	int result = ioctl(fd, request, argument);

	return result < 0 ? -errno : result;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long argument)
{
	int result = ioctl(fd, request, argument);

	return result < 0 ? -errno : result;
}

bool kvm_has(int fd, int capability)
{
	return ioctl(fd, KVM_CHECK_EXTENSION, capability) > 0;
}

static bool line_has_word(char *line, const char *word)
{
	char *rest = NULL;

	for (char *token = strtok_r(line, " \t\n", &rest); token;
	     token = strtok_r(NULL, " \t\n", &rest))
		if (!strcmp(token, word))
			return true;
	return false;
}

/* The first processor's flags are everyone's. */
static bool cpu_has_virtualization(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!file)
		return false;
	while (getline(&line, &size, file) > 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		char *copy = strdup(line);

		found = copy && (line_has_word(line, "svm") || line_has_word(copy, "vmx"));
		free(copy);
		break;
	}
	free(line);
	fclose(file);
	return found;
}

static int capabilities_check(int fd, struct vm_error *error)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "user memory"},
		{KVM_CAP_IRQCHIP, "interrupt controllers"},
		{KVM_CAP_IRQFD, "irqfd"},
		{KVM_CAP_IRQFD_RESAMPLE, "irqfd with resample"},
		{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
		{KVM_CAP_HYPERV_SYNIC2, "Hyper-V SynIC"},
		{KVM_CAP_HYPERV_EVENTFD, "Hyper-V event fds"},
		{KVM_CAP_SYS_HYPERV_CPUID, "Hyper-V CPUID"},
	};

	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API)
		return vm_error_set(error, EXIT_NO_KVM, -ENOTSUP,
				    "no usable KVM: /dev/kvm speaks another version");
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!kvm_has(fd, needed[i].capability))
			return vm_error_set(error, EXIT_NO_KVM, -ENOTSUP,
					    "no usable KVM: it lacks %s (Linux 5.11 or later has "
					    "it)",
					    needed[i].name);
	return 0;
}

int kvm_open(struct vm_error *error)
{
	int result;
	int fd;

	if (!cpu_has_virtualization())
		return vm_error_set(error, EXIT_NO_KVM, -ENODEV,
				    "no usable KVM: the processor shows neither svm nor vmx%s; "
				    "enable (nested) virtualization for this machine",
				    access("/dev/kvm", F_OK) ? ""
							     : ", so /dev/kvm here only emulates");
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		result = -errno;
		return vm_error_set(error, EXIT_NO_KVM, result, "no usable KVM: /dev/kvm: %s; %s",
				    strerror(-result),
				    result == -EACCES ? "run as root or as a member of group kvm"
						      : "load kvm_amd or kvm_intel");
	}
	result = capabilities_check(fd, error);
	if (result) {
		close(fd);
		return result;
	}
	return fd;
}

int kvm_probe(struct vm_error *error)
{
	int fd = kvm_open(error);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
