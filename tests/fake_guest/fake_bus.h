/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's end of VMBus, in one process with the server: connects as Linux 6.1 does, takes the
 * NIC's offer, and carries the fake driver's GPADLs and channels as messages. Behind the server is
 * a loopback host.
 */
#ifndef LUNAR_TESTS_FAKE_GUEST_FAKE_BUS_H
#define LUNAR_TESTS_FAKE_GUEST_FAKE_BUS_H

#include <stdint.h>

#include "tests/fake_guest/fake_netvsc.h"
#include "vmbus/server.h"

struct fake_bus;
struct fake_space;
struct loopback_host;

/* A server with the host's NIC on it; nothing said yet. space and host must outlive it. Returns 0
 * or -errno. */
int fake_bus_create(struct fake_space *space, struct loopback_host *host, uint32_t max_channels,
		    struct fake_bus **bus);
/* Takes NULL. */
void fake_bus_destroy(struct fake_bus *bus);

/* INITIATE_CONTACT from the newest version down (0) or with one only, then REQUEST_OFFERS. Returns
 * 0, -EOPNOTSUPP (no version), -ENODEV (no NIC offered), -EPROTO (the server said what Linux does
 * not expect). */
int fake_bus_connect(struct fake_bus *bus, uint32_t version);
/* UNLOAD, as before a kexec. Returns 0 or -EPROTO (no response). */
int fake_bus_unload(struct fake_bus *bus);

/* The transport for fake_netvsc_create(); ctx is the bus. */
extern const struct fake_transport_ops fake_bus_transport;

uint32_t fake_bus_version(const struct fake_bus *bus);
void fake_bus_counts(const struct fake_bus *bus, struct vmbus_server_counts *counts);

#endif
