/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dpdk-telemetry.py can ask a running netvspd: /lunar/ports and /lunar/mac_table (both in
 * pages: the parameter is the first entry to show), /lunar/vlans, /lunar/worker, /lunar/teams.
 */
#ifndef LUNAR_NETVSP_TELEMETRY_H
#define LUNAR_NETVSP_TELEMETRY_H

struct data_path;

/* Registers the commands. path must live until telemetry_unregister(). Returns 0 or -errno. Once a
 * process. */
int telemetry_register(struct data_path *path);
/* The commands answer with nothing from then on. */
void telemetry_unregister(void);

#endif
