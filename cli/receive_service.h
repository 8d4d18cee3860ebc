/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `lunar receive`: accepts TCP connections of hosts that send VMs here (or ask about one), and
 * starts a vmwp --incoming for each, which does all the talking. This process never reads a byte of
 * what a peer sends; it only bounds what strangers can cost, and says in a line what became of each
 * connection.
 *
 * A stranger is a connection whose vmwp has not told a VM's name yet (vm_log_take()), which it does
 * only for a peer with a good certificate. Strangers are bounded in number, in total and for each
 * address, and in time.
 */
#ifndef LUNAR_CLI_RECEIVE_SERVICE_H
#define LUNAR_CLI_RECEIVE_SERVICE_H

#include <stdint.h>

#include "cli/cli_error.h"

struct event_loop;
struct receive_service;

#define RECEIVE_STRANGER_MS 120000 /* a check, or the making of a VM, takes far less */

struct receive_options {
	const char *host; /* "": every address */
	uint16_t port;	  /* 0: any (tests) */
	uint32_t max;	  /* strangers at once */
	uint32_t stranger_ms;
	int errors; /* where vmwp says what is wrong until it has a log of its own */
};

/*
 * Listens. Returns EXIT_OK (the caller destroys), EXIT_EXISTS where somebody listens there already,
 * EXIT_USAGE where host is no address of this host, or another code. errors and loop outlive it.
 */
enum exit_code receive_service_create(struct event_loop *loop,
				      const struct receive_options *options,
				      struct receive_service **service, struct cli_error *error);

/* Takes NULL. The VMs that came live on. */
void receive_service_destroy(struct receive_service *service);

/* Where it listens: "[::]:49200". */
const char *receive_service_address(const struct receive_service *service);
uint16_t receive_service_port(const struct receive_service *service);

#endif
