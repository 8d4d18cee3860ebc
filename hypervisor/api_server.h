/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API of one running VM: HTTP/1.1 with JSON on a unix socket (mode 0600), as
 * docs/api/openapi.yaml describes it. libmicrohttpd does the HTTP; it is driven by the program's
 * event loop and has no thread of its own. A client can cost little: connections, request bodies
 * and the time that either may take are bounded.
 *
 *   GET /api/v1/vm           configuration and status
 *   GET /api/v1/vm/metrics   Prometheus text
 *   PUT /api/v1/vm/stop      {"force": false, "timeout_ms": 30000}, both optional
 *   PUT /api/v1/vm/reboot
 *   PUT /api/v1/vm/migrate   {"host": "host2", ...}: see struct migration_options
 *   GET /api/v1/vm/migration the move under way, or how the last one went
 *   PUT /api/v1/vm/migration/cancel
 *   PUT /api/v1/vm/migration/resolve  {"outcome": "here"|"there"}
 *   PUT /api/v1/vm/save      {"path": "/..."}
 *   PUT /api/v1/vm/vlan      {"nic": 0, "mode": "access", "id": 10}
 */
#ifndef LUNAR_HYPERVISOR_API_SERVER_H
#define LUNAR_HYPERVISOR_API_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/migration/migration.h"
#include "hypervisor/vm.h"
#include "hypervisor/vm_disks.h"

struct api_server;

#define API_SERVER_MAX_CONNECTIONS 32
#define API_SERVER_MAX_BODY_BYTES  4096
#define API_SERVER_IDLE_SECONDS	   5	 /* without a byte either way */
#define API_SERVER_LIFETIME_MS	   15000 /* of a connection, which carries one request */
#define API_SERVER_MAX_TIMEOUT_MS  3600000

/* What may be asked of a move. */
#define API_MIGRATE_MIN_BANDWIDTH   65536 /* bytes a second; less would never end */
#define API_MIGRATE_MAX_BANDWIDTH   (INT64_C(1) << 50)
#define API_MIGRATE_MAX_DOWNTIME_MS 600000
#define API_MIGRATE_MAX_TIMEOUT_S   86400

/* The VM behind the API; what vm.h offers, so that tests can stand in for it. All on the loop's
 * thread. */
struct api_server_ops {
	void (*get_status)(void *ctx, struct vm_status *status);
	const struct vm_config *(*get_config)(void *ctx);
	/* timeout_ms: 0 for the default. 0, -EINVAL unless running, or another -errno. */
	int (*stop)(void *ctx, bool force, uint32_t timeout_ms);
	int (*reboot)(void *ctx);
	/* As vm_vlan_change(). NULL: this VM's VLANs are fixed. */
	int (*set_vlan)(void *ctx, uint32_t nic, const struct vlan_config *vlan, bool *stored,
			struct vm_error *error);

	/* ---- disks, as vm_disks.h has them; all of them NULL: they are fixed. -EINPROGRESS: it
	 * is asked again with the same arguments; other requests are answered meanwhile ---- */

	int (*add_disk)(void *ctx, const struct vm_disk_config *config,
			struct vm_disks_result *result, struct vm_error *error);
	int (*remove_disk)(void *ctx, uint32_t controller, uint32_t lun,
			   struct vm_disks_result *result, struct vm_error *error);
	int (*change_medium)(void *ctx, uint32_t controller, uint32_t lun, const char *path,
			     struct vm_disks_result *result, struct vm_error *error);
	int (*resize_disk)(void *ctx, uint32_t controller, uint32_t lun, uint64_t bytes,
			   struct vm_disks_result *result, struct vm_error *error);

	/* ---- moves; all of them NULL: a VM that cannot be moved ---- */

	/*
	 * A move begins (options are checked; zeroes stand for the defaults), or a save to a file
	 * (path is absolute). Return 0: get_migration() tells how it goes; or -errno with *error,
	 * whose code the client's user gets: EXIT_STATE where the VM does not run or is being moved
	 * already.
	 */
	int (*migrate)(void *ctx, const struct migration_options *options, struct vm_error *error);
	int (*save)(void *ctx, const char *path, struct vm_error *error);
	/* Asks it to end. EXIT_STATE: there is none, or it is committed. */
	int (*cancel_migration)(void *ctx, struct vm_error *error);
	/* An operator has looked, and says where the VM runs, after a COMMIT whose answer cannot be
	 * had. there: the VM here is given up. EXIT_STATE: no move waits for that. */
	int (*resolve_migration)(void *ctx, bool there, struct vm_error *error);
	/* The move under way, or the last one of this process, to or from here; phase
	 * MIGRATION_IDLE: there was none. *check: NULL, or valid until the loop goes on. */
	void (*get_migration)(void *ctx, struct migration_status *status,
			      const struct migration_check **check);
};

/* How long a client may take. */
struct api_server_limits {
	uint32_t idle_seconds; /* 1.. */
	uint32_t lifetime_ms;
};

/*
 * Listens on path, whose folder exists, and serves from the loop. ops and ctx must outlive the
 * server. limits: NULL for those above.
 * Returns 0 (the caller destroys), -EADDRINUSE when somebody listens there already,
 * -ENAMETOOLONG, or another -errno.
 */
int api_server_create(struct event_loop *loop, const char *path, const struct api_server_ops *ops,
		      void *ctx, const struct api_server_limits *limits,
		      struct api_server **server);

/* Takes NULL. Closes every connection and removes the socket. Not from within an op. */
void api_server_destroy(struct api_server *server);

#endif
