/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts buffers, switch and worker together.
 */
#include "netvsp/data_path.h"

#include <errno.h>
#include <stdlib.h>

static void end_round(void *ctx)
{
	struct data_path *path = ctx;

	vswitch_flush(path->sw);
}

static void tick(void *ctx)
{
	struct data_path *path = ctx;

	vswitch_tick(path->sw);
}

int data_path_create(const struct data_path_config *config, struct data_path **out)
{
	const char *name = config->name ? config->name : "lunar";
	struct data_path *path = calloc(1, sizeof(*path));
	struct worker_config worker = {
		.cpu = config->cpu, .round_end = end_round, .tick = tick, .ctx = path};
	int err;

	if (!path)
		return -ENOMEM;
	err = mbuf_pools_create(name, config->memory_megabytes, &path->pools);
	if (err)
		goto err_free;
	err = vswitch_create(name, &config->sw, &path->sw);
	if (err)
		goto err_pools;
	err = worker_create(&worker, &path->worker);
	if (err)
		goto err_switch;
	*out = path;
	return 0;

err_switch:
	vswitch_destroy(path->sw);
err_pools:
	mbuf_pools_destroy(&path->pools);
err_free:
	free(path);
	return err;
}

void data_path_destroy(struct data_path *path)
{
	if (!path)
		return;
	worker_destroy(path->worker);
	vswitch_destroy(path->sw);
	mbuf_pools_destroy(&path->pools);
	free(path);
}

struct port_call {
	struct data_path *path;
	const struct switch_port_config *config;
	struct switch_port *port;
	struct worker_source *source;
	int err;
};

static void add_port(void *ctx)
{
	struct port_call *call = ctx;

	call->err = vswitch_add_port(call->path->sw, call->config, &call->port);
}

int data_path_add_port(struct data_path *path, const struct switch_port_config *config,
		       struct switch_port **port)
{
	struct port_call call = {.path = path, .config = config};

	worker_call(path->worker, add_port, &call);
	if (!call.err)
		*port = call.port;
	return call.err;
}

static void remove_port(void *ctx)
{
	struct port_call *call = ctx;

	vswitch_remove_port(call->path->sw, call->port);
}

void data_path_remove_port(struct data_path *path, struct switch_port *port)
{
	struct port_call call = {.path = path, .port = port};

	worker_call(path->worker, remove_port, &call);
}

static void add_source(void *ctx)
{
	struct port_call *call = ctx;

	call->err = worker_add_source(call->path->worker, call->source);
}

int data_path_add_source(struct data_path *path, struct worker_source *source)
{
	struct port_call call = {.path = path, .source = source};

	worker_call(path->worker, add_source, &call);
	return call.err;
}

static void remove_source(void *ctx)
{
	struct port_call *call = ctx;

	worker_remove_source(call->path->worker, call->source);
}

void data_path_remove_source(struct data_path *path, struct worker_source *source)
{
	struct port_call call = {.path = path, .source = source};

	worker_call(path->worker, remove_source, &call);
}
