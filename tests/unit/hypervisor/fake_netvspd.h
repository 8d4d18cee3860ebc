/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A netvspd that moves no frame: it listens on a vsp socket in a thread of its own, answers
 * everything as wire/vsp.h asks, keeps what it was told, and hands out and takes NIC states. For
 * tests of vmwp's side. It checks the order of a move; what is against it is a violation.
 */
#ifndef LUNAR_TESTS_HYPERVISOR_FAKE_NETVSPD_H
#define LUNAR_TESTS_HYPERVISOR_FAKE_NETVSPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/vsp.h"

struct fake_netvspd;

struct fake_netvspd *fake_netvspd_start(void);
/* Takes NULL. Ends every connection. */
void fake_netvspd_stop(struct fake_netvspd *netvspd);
/* The path of its socket. */
const char *fake_netvspd_path(const struct fake_netvspd *netvspd);

/* How it answers requests of a type from now on: 0, -errno, or one of these. */
#define FAKE_NETVSPD_SILENT   1 /* not at all */
#define FAKE_NETVSPD_HANGS_UP 2
void fake_netvspd_answer(struct fake_netvspd *netvspd, enum vsp_type type, int how);
void fake_netvspd_set_version(struct fake_netvspd *netvspd, uint32_t version);
/* What INFO and PORTALS are answered with. */
void fake_netvspd_set_info(struct fake_netvspd *netvspd, const struct vsp_info *info);
void fake_netvspd_set_portals(struct fake_netvspd *netvspd, const struct vsp_portals *portals);
/* What VLAN_CHECK is answered with: no VLAN is missing before. */
void fake_netvspd_set_missing(struct fake_netvspd *netvspd, const struct vsp_vlan_missing *missing);

/* Requests of that type so far. */
unsigned fake_netvspd_count(struct fake_netvspd *netvspd, enum vsp_type type);
/* The last request of that type, cut to size. False: there was none. */
bool fake_netvspd_last(struct fake_netvspd *netvspd, enum vsp_type type, void *message,
		       size_t size);
/* The state of the last RESTORE. */
size_t fake_netvspd_restored(struct fake_netvspd *netvspd, void *state, size_t size);
/* The first thing that vmwp did wrong, or NULL. */
const char *fake_netvspd_violation(struct fake_netvspd *netvspd);
/* Hangs up on every connection. */
void fake_netvspd_hang_up(struct fake_netvspd *netvspd);
/* Sends a notification on the connections of every vNIC. */
void fake_netvspd_notify(struct fake_netvspd *netvspd, const void *message, size_t length);

#endif
