/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a packet to a bucket, to a verdict.
 */
#include "nlb/nlb_filter.h"

#include <string.h>

#define NS_PER_SECOND UINT64_C(1000000000)

void nlb_filter_init(struct nlb_filter *filter, const struct nlb_cluster *cluster,
		     const struct nlb_connections *connections)
{
	memset(filter, 0, sizeof(*filter));
	filter->cluster = cluster;
	filter->connections = *connections;
	nlb_toeplitz_init(&filter->toeplitz, nlb_toeplitz_default_key);
}

/* ---- buckets ---- */

static uint32_t find_table(const struct nlb_cluster *cluster, const struct nlb_packet *packet)
{
	if (packet->protocol == NLB_IP_TCP)
		return nlb_cluster_find_table(cluster, NLB_TCP, packet->server_port);
	if (packet->protocol == NLB_IP_UDP)
		return nlb_cluster_find_table(cluster, NLB_UDP, packet->server_port);
	return cluster->rule_count;
}

uint32_t nlb_filter_bucket(const struct nlb_filter *filter, const struct nlb_packet *packet,
			   uint32_t *table)
{
	const struct nlb_cluster *cluster = filter->cluster;
	enum nlb_affinity affinity = NLB_AFFINITY_SINGLE;
	size_t length = packet->family == 4 ? 4 : 16;
	uint8_t input[16 + 2];

	*table = find_table(cluster, packet);
	if (*table < cluster->rule_count && cluster->rules[*table].filtering == NLB_MULTIPLE)
		affinity = cluster->rules[*table].affinity;
	if (affinity == NLB_AFFINITY_NETWORK)
		length = packet->family == 4 ? 3 : 8;
	memcpy(input, packet->client, length);
	if (affinity == NLB_AFFINITY_NONE) {
		input[length++] = (uint8_t)(packet->client_port >> 8);
		input[length++] = (uint8_t)packet->client_port;
	}
	return nlb_toeplitz_hash(&filter->toeplitz, input, length) % NLB_BUCKETS;
}

/* ---- connections ---- */

static void make_key(const struct nlb_packet *packet, struct nlb_connection_key *key)
{
	*key = (struct nlb_connection_key){.family = packet->family,
					   .client_port = packet->client_port,
					   .server_port = packet->server_port};
	memcpy(key->client, packet->client, sizeof(key->client));
	memcpy(key->server, packet->server, sizeof(key->server));
}

static void forget_one(struct nlb_filter *filter, const struct nlb_connection_key *key,
		       const struct nlb_connection *connection)
{
	uint32_t table = connection->table, bucket = connection->bucket;

	filter->connection_count--;
	if (--filter->counts[table][bucket] == 0)
		filter->busy[table] &= ~(UINT64_C(1) << bucket);
	filter->connections.ops->remove(filter->connections.ctx, key);
}

static void set_phase(const struct nlb_filter *filter, struct nlb_connection *connection,
		      enum nlb_phase phase, uint64_t now_ns)
{
	const struct nlb_timeouts *timeouts = &filter->cluster->timeouts;
	uint32_t seconds = phase == NLB_OPENING	      ? timeouts->opening_seconds
			   : phase == NLB_ESTABLISHED ? timeouts->established_seconds
						      : timeouts->closing_seconds;

	connection->phase = (uint8_t)phase;
	connection->expires_ns = now_ns + seconds * NS_PER_SECOND;
}

/* NULL: the table is full. */
static struct nlb_connection *remember(struct nlb_filter *filter,
				       const struct nlb_connection_key *key, uint32_t table,
				       uint32_t bucket, uint64_t now_ns)
{
	struct nlb_connection *connection =
		filter->connections.ops->add(filter->connections.ctx, key);

	if (!connection) {
		filter->counters.untracked++;
		return NULL;
	}
	connection->table = (uint8_t)table;
	connection->bucket = (uint8_t)bucket;
	set_phase(filter, connection, NLB_OPENING, now_ns);
	filter->connection_count++;
	filter->counts[table][bucket]++;
	filter->busy[table] |= UINT64_C(1) << bucket;
	return connection;
}

static struct nlb_connection *find(struct nlb_filter *filter, const struct nlb_connection_key *key,
				   uint64_t now_ns)
{
	struct nlb_connection *connection =
		filter->connections.ops->find(filter->connections.ctx, key);

	if (connection && connection->expires_ns <= now_ns) {
		forget_one(filter, key, connection);
		return NULL;
	}
	return connection;
}

void nlb_filter_expire(struct nlb_filter *filter, uint32_t count, uint64_t now_ns)
{
	const struct nlb_connections *connections = &filter->connections;
	struct nlb_connection_key key;

	for (; count > 0; count--) {
		const struct nlb_connection *connection =
			connections->ops->next(connections->ctx, &filter->expire_position, &key);

		if (!connection)
			return;
		if (connection->expires_ns <= now_ns)
			forget_one(filter, &key, connection);
	}
}

void nlb_filter_adopt(struct nlb_filter *filter, const struct nlb_packet *packet,
		      enum nlb_phase phase, uint64_t left_ns, uint64_t now_ns)
{
	struct nlb_connection *connection;
	struct nlb_connection_key key;
	uint32_t table, bucket = nlb_filter_bucket(filter, packet, &table);

	make_key(packet, &key);
	connection = find(filter, &key, now_ns);
	if (!connection)
		connection = remember(filter, &key, table, bucket, now_ns);
	if (!connection)
		return;
	set_phase(filter, connection, phase, now_ns);
	if (left_ns < connection->expires_ns - now_ns)
		connection->expires_ns = now_ns + left_ns;
}

void nlb_filter_refile(struct nlb_filter *filter)
{
	const struct nlb_connections *connections = &filter->connections;
	struct nlb_connection *connection;
	struct nlb_connection_key key;
	uint32_t position = 0;

	memset(filter->busy, 0, sizeof(filter->busy));
	memset(filter->counts, 0, sizeof(filter->counts));
	while ((connection = connections->ops->next(connections->ctx, &position, &key))) {
		struct nlb_packet packet = {.family = key.family,
					    .protocol = NLB_IP_TCP,
					    .client_port = key.client_port,
					    .server_port = key.server_port};
		uint32_t table, bucket;

		memcpy(packet.client, key.client, sizeof(packet.client));
		bucket = nlb_filter_bucket(filter, &packet, &table);
		connection->table = (uint8_t)table;
		connection->bucket = (uint8_t)bucket;
		filter->counts[table][bucket]++;
		filter->busy[table] |= UINT64_C(1) << bucket;
	}
}

void nlb_filter_forget(struct nlb_filter *filter)
{
	const struct nlb_connections *connections = &filter->connections;
	const struct nlb_connection *connection;
	struct nlb_connection_key key;

	filter->expire_position = 0;
	while ((connection =
			connections->ops->next(connections->ctx, &filter->expire_position, &key)))
		forget_one(filter, &key, connection);
}

/* ---- verdicts ---- */

static bool is_new(const struct nlb_packet *packet)
{
	return (packet->tcp_flags & (NLB_TCP_SYN | NLB_TCP_ACK | NLB_TCP_RST)) == NLB_TCP_SYN;
}

static bool begin_connection(struct nlb_filter *filter, const struct nlb_connection_key *key,
			     uint32_t table, uint32_t bucket, uint64_t now_ns)
{
	struct nlb_connection *connection = find(filter, key, now_ns);

	if (!(filter->held[table] >> bucket & 1)) {
		if (connection)
			forget_one(filter, key, connection);
		return false;
	}
	filter->counters.connections++;
	if (connection)
		set_phase(filter, connection, NLB_OPENING, now_ns);
	else
		remember(filter, key, table, bucket, now_ns);
	return true;
}

static bool go_on(struct nlb_filter *filter, const struct nlb_packet *packet,
		  const struct nlb_connection_key *key, uint32_t table, uint32_t bucket,
		  uint64_t now_ns)
{
	struct nlb_connection *connection = find(filter, key, now_ns);
	bool ends = packet->tcp_flags & (NLB_TCP_FIN | NLB_TCP_RST);

	if (connection) {
		if (!packet->is_error)
			set_phase(filter, connection,
				  ends || connection->phase == NLB_CLOSING ? NLB_CLOSING
									   : NLB_ESTABLISHED,
				  now_ns);
		return true;
	}
	if (!(filter->held[table] & ~filter->busy_elsewhere[table] & UINT64_C(1) << bucket))
		return false;
	/* One that was begun before its member was watched. */
	if (!ends && (packet->tcp_flags & NLB_TCP_ACK))
		remember(filter, key, table, bucket, now_ns);
	return true;
}

static bool takes(struct nlb_filter *filter, const struct nlb_packet *packet, uint64_t now_ns)
{
	struct nlb_connection_key key;
	uint32_t table, bucket;

	if (!filter->takes_part)
		return false;
	if (packet->is_fragment)
		return true;
	bucket = nlb_filter_bucket(filter, packet, &table);
	if (packet->protocol != NLB_IP_TCP)
		return filter->held[table] >> bucket & 1;
	make_key(packet, &key);
	if (is_new(packet))
		return begin_connection(filter, &key, table, bucket, now_ns);
	return go_on(filter, packet, &key, table, bucket, now_ns);
}

enum nlb_verdict nlb_decide(struct nlb_filter *filter, const struct nlb_packet *packet,
			    uint64_t now_ns)
{
	if (!nlb_cluster_has_address(filter->cluster, packet->family, packet->server))
		return NLB_NOT_OURS;
	if (takes(filter, packet, now_ns)) {
		filter->counters.accepted++;
		return NLB_ACCEPT;
	}
	filter->counters.dropped++;
	return NLB_DROP;
}
