/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exit codes of every Lunar program. They are part of the interface: scripts tell failures apart by
 * them, so a number is never reused. docs and man pages list them from here.
 */
#ifndef LUNAR_BASE_EXIT_CODE_H
#define LUNAR_BASE_EXIT_CODE_H

enum exit_code {
	EXIT_OK = 0,
	EXIT_INTERNAL = 1,    /* a fault of ours, or the system refused something unexpected */
	EXIT_USAGE = 2,	      /* unknown option, missing argument */
	EXIT_CONFIG = 3,      /* the VM's YAML: unknown key, bad value, unreadable */
	EXIT_NO_KERNEL = 4,   /* kernel or initrd file missing or unreadable */
	EXIT_BAD_KERNEL = 5,  /* not a bzImage that can be booted */
	EXIT_NO_KVM = 6,      /* no usable KVM on this host */
	EXIT_NO_MEMORY = 7,   /* the host has too little memory or too few huge pages */
	EXIT_NO_SWITCH = 8,   /* netvspd absent, or it refused the vNIC */
	EXIT_BAD_DEVARGS = 9, /* netvspd: an uplink that DPDK does not accept */
	EXIT_PORTAL_UNREACHABLE = 10, /* iSCSI: no connection to the portal */
	EXIT_UNKNOWN_TARGET = 11,     /* iSCSI: the target does not know this IQN */
	EXIT_NO_LUN = 12,	      /* iSCSI: the target has no such LUN */
	EXIT_AUTH_FAILED = 13,	      /* iSCSI: CHAP refused, by either side */
	EXIT_NOT_FOUND = 14,	      /* no such VM, disk or session */
	EXIT_EXISTS = 15,	      /* the name, MAC or disk is in use */
	EXIT_TIMEOUT = 16,	      /* a deadline passed; nothing is known to be broken */
	EXIT_GUEST_CRASHED = 17,      /* vmwp: the guest crashed */
	EXIT_NO_KERNEL_SUPPORT =
		18,	      /* the running kernel lacks a module or facility that is needed */
	EXIT_STATE = 19,      /* the VM is in a state that does not allow this (already running, not
				 running) */
	EXIT_PERMISSION = 20, /* root or a capability is needed */
	EXIT_HOST_UNREACHABLE = 21, /* migration: nobody answers at the destination, or the
				       connection was lost */
	EXIT_NOT_TRUSTED = 22, /* migration: a certificate is missing, or the peer's is not good */
	EXIT_CANNOT_MOVE = 23, /* migration: the checks found what stops it, or it was given up */
	EXIT_CANCELLED = 24,   /* migration: on request */
	EXIT_BAD_STATE = 25,   /* migration, restore: saved state that is malformed, cut, or of an
				  incompatible version */
	EXIT_NO_DISK = 26,     /* a disk's image, device or LUN cannot be opened or used */
};

/* One short phrase for an exit code, for man pages and --json; never NULL. */
const char *exit_code_phrase(enum exit_code code);

#endif
