/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plain table.
 */
#include "tests/unit/nlb/plain_connections.h"

#include <string.h>

static uint32_t find_index(const struct plain_connections *plain,
			   const struct nlb_connection_key *key)
{
	for (uint32_t i = 0; i < plain->limit; i++)
		if (plain->used[i] && memcmp(&plain->keys[i], key, sizeof(*key)) == 0)
			return i;
	return plain->limit;
}

static struct nlb_connection *plain_find(void *ctx, const struct nlb_connection_key *key)
{
	struct plain_connections *plain = ctx;
	uint32_t i = find_index(plain, key);

	return i < plain->limit ? &plain->connections[i] : NULL;
}

static struct nlb_connection *plain_add(void *ctx, const struct nlb_connection_key *key)
{
	struct plain_connections *plain = ctx;

	for (uint32_t i = 0; i < plain->limit; i++) {
		if (plain->used[i])
			continue;
		plain->used[i] = true;
		plain->count++;
		plain->keys[i] = *key;
		plain->connections[i] = (struct nlb_connection){0};
		return &plain->connections[i];
	}
	return NULL;
}

static void plain_remove(void *ctx, const struct nlb_connection_key *key)
{
	struct plain_connections *plain = ctx;
	uint32_t i = find_index(plain, key);

	if (i < plain->limit) {
		plain->used[i] = false;
		plain->count--;
	}
}

static struct nlb_connection *plain_next(void *ctx, uint32_t *position,
					 struct nlb_connection_key *key)
{
	struct plain_connections *plain = ctx;

	for (; *position < plain->limit; ++*position) {
		if (!plain->used[*position])
			continue;
		*key = plain->keys[*position];
		return &plain->connections[(*position)++];
	}
	*position = 0;
	return NULL;
}

static const struct nlb_connection_ops plain_ops = {
	.find = plain_find, .add = plain_add, .remove = plain_remove, .next = plain_next};

struct nlb_connections plain_connections_init(struct plain_connections *plain, uint32_t limit)
{
	*plain = (struct plain_connections){.limit = limit};
	return (struct nlb_connections){.ops = &plain_ops, .ctx = plain};
}
