/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all parts of the data path stand on: buffers, switch and worker, made and unmade together.
 */
#ifndef LUNAR_NETVSP_DATA_PATH_H
#define LUNAR_NETVSP_DATA_PATH_H

#include "netvsp/hold_queue.h"
#include "netvsp/mbuf_pools.h"
#include "netvsp/switch.h"
#include "netvsp/worker.h"

#define DATA_PATH_MAX_UPLINKS 8

struct team;
struct uplink;

struct data_path {
	struct mbuf_pools pools;
	struct vswitch *sw;
	struct worker *worker;
	struct hold_share held; /* worker's thread: of all vNICs at rest */
	/* Control thread. */
	uint32_t uplink_count;
	struct uplink *uplinks[DATA_PATH_MAX_UPLINKS];
	uint32_t team_count;
	struct team *teams[DATA_PATH_MAX_UPLINKS]; /* whoever made them takes them away */
};

struct data_path_config {
	const char *name;	       /* of DPDK's objects, at most 12 characters; NULL: "lunar" */
	unsigned int memory_megabytes; /* of DPDK's in all */
	int cpu;		       /* of the worker; -1: any */
	struct vswitch_config sw;
};

/* Needs a running EAL. Returns 0 or -errno. */
int data_path_create(const struct data_path_config *config, struct data_path **path);
/* Takes NULL. All vNICs and uplinks are gone. */
void data_path_destroy(struct data_path *path);

/* Switch ports come and go between two rounds of the worker. As vswitch_add_port() and
 * vswitch_remove_port(), from any thread. */
int data_path_add_port(struct data_path *path, const struct switch_port_config *config,
		       struct switch_port **port);
void data_path_remove_port(struct data_path *path, struct switch_port *port);
/* As worker_add_source() and worker_remove_source(), from any thread. */
int data_path_add_source(struct data_path *path, struct worker_source *source);
void data_path_remove_source(struct data_path *path, struct worker_source *source);

#endif
