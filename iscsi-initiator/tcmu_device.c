/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configfs side of a TCMU disk:
 *   target/core/user_N/lunar-ID        the backstore; N is free to choose, one per disk
 *   target/loopback/naa.3000ID/tpgt_1  the SCSI host; lun/lun_0 holds a link to the backstore
 * naa.3 names are NAA type 3, locally assigned (SPC-4 7.8.6.2.4).
 */
#include "iscsi-initiator/tcmu_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "iscsi-initiator/configfs.h"

#define LOG_COMPONENT "tcmu"
#include "base/log.h"

#define CORE	      CONFIGFS_ROOT "/target/core"
#define LOOPBACK      CONFIGFS_ROOT "/target/loopback"
#define HBA_FIRST     4096 /* others count from 0 */
#define HBA_TRIES     4096
#define DATA_AREA_MB  64
#define UIO_MAX_BYTES (2048u << 20)

static int refuse(const char **why, int error, const char *phrase)
{
	*why = phrase;
	return error;
}

int tcmu_support_check(const char **why)
{
	if (geteuid() != 0)
		return refuse(why, -EPERM, "attaching a disk needs root");
	if (configfs_mount() < 0)
		return refuse(why, -ENOENT, "this kernel has no configfs");
	kernel_module_load("target_core_user");
	if (access("/sys/class/uio", F_OK) < 0 || access(CONFIGFS_ROOT "/target", F_OK) < 0 ||
	    access("/sys/module/target_core_user", F_OK) < 0)
		return refuse(why, -ENOENT, "the kernel module target_core_user cannot be loaded");
	kernel_module_load("tcm_loop");
	/* The folder appears with the module's registration, at the latest by this mkdir. */
	if (folder_make(LOOPBACK) < 0)
		return refuse(why, -ENOENT, "the kernel module tcm_loop cannot be loaded");
	kernel_module_load("sd_mod"); /* often built in */
	return 0;
}

static void host_path(char *path, size_t size, const char *id)
{
	snprintf(path, size, LOOPBACK "/naa.3000%s", id);
}

/* The backstore of a disk id, wherever it is. */
static int find_backstore(const char *id, char *path, size_t size)
{
	char pattern[128];
	glob_t found;
	int ret = -ENOENT;

	snprintf(pattern, sizeof(pattern), CORE "/user_*/lunar-%s", id);
	if (glob(pattern, 0, NULL, &found) == 0) {
		if (strlen(found.gl_pathv[0]) < size) {
			snprintf(path, size, "%s", found.gl_pathv[0]);
			ret = 0;
		}
		globfree(&found);
	}
	return ret;
}

static int make_backstore(struct tcmu_device *device)
{
	for (int n = HBA_FIRST; n < HBA_FIRST + HBA_TRIES; n++) {
		char hba[64];
		snprintf(hba, sizeof(hba), CORE "/user_%d", n);
		if (mkdir(hba, 0755) < 0) {
			if (errno == EEXIST)
				continue;
			return -errno;
		}
		snprintf(device->backstore, sizeof(device->backstore), "%s/lunar-%s", hba,
			 device->id);
		if (mkdir(device->backstore, 0755) < 0) {
			int ret = -errno;
			rmdir(hba);
			return ret;
		}
		return 0;
	}
	return -EEXIST;
}

static void remove_backstore(const char *backstore)
{
	char hba[128];

	if (folder_remove(backstore) < 0)
		log_warn("cannot remove %s: %m", backstore);
	snprintf(hba, sizeof(hba), "%s", backstore);
	*strrchr(hba, '/') = '\0';
	folder_remove(hba);
}

static int enable_backstore(struct tcmu_device *device, const struct tcmu_device_config *config,
			    const char **why)
{
	char text[256], attributes[160];
	const char *folder = device->backstore;
	uint64_t bytes = config->blocks * config->block_bytes;

	/* nl_reply_supported=-1: the kernel does not wait for a netlink daemon's answer. */
	snprintf(text, sizeof(text),
		 "dev_config=lunar-iscsi/%s,dev_size=%llu,hw_block_size=%u,max_data_area_mb=%d,"
		 "nl_reply_supported=-1",
		 config->id, (unsigned long long)bytes, config->block_bytes, DATA_AREA_MB);
	if (attribute_write(folder, "control", text) < 0)
		return refuse(why, -EINVAL, "the kernel refuses the backstore's parameters");
	if (attribute_write(folder, "enable", "1") < 0)
		return refuse(why, -EINVAL, "the kernel cannot enable the backstore");
	snprintf(attributes, sizeof(attributes), "%s/attrib", folder);
	if (attribute_write(attributes, "pgr_support", "0") < 0 ||
	    attribute_write(attributes, "alua_support", "0") < 0)
		return refuse(
			why, -ENOENT,
			"this kernel cannot pass reservations through (Linux 5.8 or later can)");
	/* Time is kept by the session: the kernel shall not give up on its own. */
	snprintf(text, sizeof(text), "%u", config->queue_full_s);
	if (attribute_write(attributes, "cmd_time_out", "0") < 0 ||
	    attribute_write(attributes, "qfull_time_out", text) < 0)
		return refuse(why, -EINVAL, "the kernel refuses the backstore's time-outs");
	if (attribute_write(attributes, "tmr_notification", "1") < 0)
		log_warn("this kernel does not report aborts (Linux 5.9 or later does)");
	return 0;
}

/* The uio device whose name ends in our dev_config. */
static int find_uio(const char *id, char *folder, size_t size)
{
	char suffix[64], name[256];
	glob_t found;
	int ret = -ENOENT;

	snprintf(suffix, sizeof(suffix), "/lunar-%s/lunar-iscsi/%s", id, id);
	if (glob("/sys/class/uio/uio*", 0, NULL, &found) != 0)
		return -ENOENT;
	for (size_t i = 0; i < found.gl_pathc && ret < 0; i++) {
		if (attribute_read(found.gl_pathv[i], "name", name, sizeof(name)) < 0)
			continue;
		size_t length = strlen(name), tail = strlen(suffix);
		if (length > tail && strcmp(name + length - tail, suffix) == 0 &&
		    strlen(found.gl_pathv[i]) < size) {
			snprintf(folder, size, "%s", found.gl_pathv[i]);
			ret = 0;
		}
	}
	globfree(&found);
	return ret;
}

/* Opens /dev/uioN; makes a node of our own where nothing has made one. */
static int open_uio(const char *folder)
{
	char path[PATH_MAX], number[32], *colon;
	unsigned long major_number, minor_number;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", strrchr(folder, '/') + 1);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	if (attribute_read(folder, "dev", number, sizeof(number)) < 0)
		return -ENODEV;
	major_number = strtoul(number, &colon, 10);
	if (*colon != ':')
		return -ENODEV;
	minor_number = strtoul(colon + 1, NULL, 10);
	if (mknod(path, S_IFCHR | 0600,
		  makedev((unsigned int)major_number, (unsigned int)minor_number)) < 0)
		return -errno;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return fd >= 0 ? fd : -errno;
}

static int map_uio(struct tcmu_device *device, const char **why)
{
	char folder[PATH_MAX], size[32];
	unsigned long long bytes;
	int ret;

	if (find_uio(device->id, folder, sizeof(folder)) < 0)
		return refuse(why, -ENODEV, "the kernel made no uio device for the backstore");
	if (attribute_read(folder, "maps/map0/size", size, sizeof(size)) < 0)
		return refuse(why, -ENODEV, "the uio device has no memory");
	bytes = strtoull(size, NULL, 16);
	if (bytes == 0 || bytes > UIO_MAX_BYTES)
		return refuse(why, -ENODEV, "the uio device's memory has an odd size");
	device->uio_fd = open_uio(folder);
	if (device->uio_fd < 0)
		return refuse(why, device->uio_fd, "the uio device cannot be opened");
	device->map_bytes = (size_t)bytes;
	device->map = mmap(NULL, device->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			   device->uio_fd, 0);
	if (device->map == MAP_FAILED) {
		ret = refuse(why, -errno, "the uio device's memory cannot be mapped");
		goto err_close;
	}
	madvise(device->map, device->map_bytes, MADV_DONTFORK);
	ret = tcmu_ring_init(&device->ring, device->map, device->map_bytes);
	if (ret < 0) {
		*why = "this kernel's TCMU ring is of an unknown kind";
		goto err_unmap;
	}
	return 0;

err_unmap:
	munmap(device->map, device->map_bytes);
err_close:
	close(device->uio_fd);
	return ret;
}

int tcmu_device_create(struct tcmu_device *device, const struct tcmu_device_config *config,
		       const char **why)
{
	int ret;

	*device = (struct tcmu_device){.uio_fd = -1, .map = MAP_FAILED};
	snprintf(device->id, sizeof(device->id), "%s", config->id);
	host_path(device->host, sizeof(device->host), config->id);
	ret = make_backstore(device);
	if (ret < 0)
		return refuse(why, ret, "the kernel refuses a new backstore");
	ret = enable_backstore(device, config, why);
	if (ret < 0)
		goto err_remove;
	ret = map_uio(device, why);
	if (ret < 0)
		goto err_remove;
	return 0;

err_remove:
	remove_backstore(device->backstore);
	return ret;
}

void tcmu_device_destroy(struct tcmu_device *device)
{
	munmap(device->map, device->map_bytes);
	close(device->uio_fd);
	remove_backstore(device->backstore);
}

int tcmu_device_link(const struct tcmu_device *device, const char **why)
{
	char path[192], link[256], name[64];

	if (folder_make(device->host) < 0)
		return refuse(why, -EIO, "the kernel refuses a new loopback host");
	snprintf(path, sizeof(path), "%s/tpgt_1", device->host);
	snprintf(name, sizeof(name), "naa.3001%s", device->id);
	if (folder_make(path) < 0 || attribute_write(path, "nexus", name) < 0)
		return refuse(why, -EIO, "the kernel refuses the loopback host's port");
	snprintf(path, sizeof(path), "%s/tpgt_1/lun/lun_0", device->host);
	snprintf(link, sizeof(link), "%s/lunar-%s", path, device->id);
	if (folder_make(path) < 0 || symlink(device->backstore, link) < 0)
		return refuse(why, -EIO, "the kernel refuses the disk");
	return 0;
}

static int remove_host(const char *host, const char *id)
{
	char path[256];
	int ret = 0, step;

	snprintf(path, sizeof(path), "%s/tpgt_1/lun/lun_0/lunar-%s", host, id);
	if (unlink(path) < 0 && errno != ENOENT)
		ret = -errno;
	snprintf(path, sizeof(path), "%s/tpgt_1/lun/lun_0", host);
	step = folder_remove(path);
	ret = ret < 0 ? ret : step;
	snprintf(path, sizeof(path), "%s/tpgt_1", host);
	step = folder_remove(path);
	ret = ret < 0 ? ret : step;
	step = folder_remove(host);
	return ret < 0 ? ret : step;
}

int tcmu_device_unlink(const struct tcmu_device *device)
{
	return remove_host(device->host, device->id);
}

void tcmu_device_notify(const struct tcmu_device *device)
{
	const uint32_t one = 1;

	if (write(device->uio_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		log_warn_limited("cannot notify the kernel: %m");
}

/* The sysfs folder of the disk's SCSI device. */
static int scsi_device_path(const char *id, char *path, size_t size)
{
	char port[192], host[128], address[64];

	host_path(host, sizeof(host), id);
	snprintf(port, sizeof(port), "%s/tpgt_1", host);
	if (attribute_read(port, "address", address, sizeof(address)) < 0)
		return -ENOENT;
	snprintf(path, size, "/sys/class/scsi_device/%s:0/device", address);
	return 0;
}

int tcmu_device_disk_name(const char *id, char *name, size_t size)
{
	char folder[192], block[256];
	struct dirent *entry;
	int ret = -ENOENT;
	DIR *directory;

	if (scsi_device_path(id, folder, sizeof(folder)) < 0)
		return -ENOENT;
	snprintf(block, sizeof(block), "%s/block", folder);
	directory = opendir(block);
	if (directory == NULL)
		return -ENOENT;
	while (ret < 0 && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= size)
			continue;
		snprintf(name, size, "%s", entry->d_name);
		ret = 0;
	}
	closedir(directory);
	return ret;
}

int tcmu_device_set_command_timeout(const char *id, uint32_t seconds)
{
	char folder[192], text[16];

	if (scsi_device_path(id, folder, sizeof(folder)) < 0)
		return -ENOENT;
	snprintf(text, sizeof(text), "%u", seconds);
	return attribute_write(folder, "timeout", text);
}

void tcmu_device_each(void (*fn)(void *ctx, const char *id), void *ctx)
{
	glob_t found;

	if (glob(CORE "/user_*/lunar-*", 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *id = strrchr(found.gl_pathv[i], '/') + strlen("/lunar-");
		if (strlen(id) == DISK_ID_LENGTH &&
		    strspn(id, "0123456789abcdef") == DISK_ID_LENGTH)
			fn(ctx, id);
	}
	globfree(&found);
}

int tcmu_device_clean_up(const char *id)
{
	char host[128], port[192], backstore[PATH_MAX], actions[PATH_MAX + 8];
	int ret;

	host_path(host, sizeof(host), id);
	snprintf(port, sizeof(port), "%s/tpgt_1", host);
	/* First nothing new may come in, then what nobody will ever answer must fail: or removal
	 * waits. */
	attribute_write(port, "transport_status", "offline");
	if (find_backstore(id, backstore, sizeof(backstore)) < 0)
		return remove_host(host, id);
	snprintf(actions, sizeof(actions), "%s/action", backstore);
	attribute_write(actions, "block_dev", "1");
	attribute_write(actions, "reset_ring", "2");
	ret = remove_host(host, id);
	if (ret == 0)
		remove_backstore(backstore);
	return ret;
}
