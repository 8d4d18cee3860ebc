/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the API share: api_server.c speaks HTTP and answers for the VM, api_migration.c
 * answers for its moves.
 */
#ifndef LUNAR_HYPERVISOR_API_SERVER_INTERNAL_H
#define LUNAR_HYPERVISOR_API_SERVER_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>

#include "hypervisor/api_server.h"

struct api_route;

#define API_ITEM_BYTES 16

/* A request while its body arrives. */
struct api_request {
	const struct api_route *route;
	char item[API_ITEM_BYTES]; /* what stands in the place of the route's "*" */
	size_t length;
	char body[API_SERVER_MAX_BODY_BYTES];
};

/* What an answer is made from. */
struct api_vm {
	const struct api_server_ops *ops;
	void *ctx;
};

typedef enum MHD_Result (*api_answer_fn)(const struct api_vm *vm, struct MHD_Connection *connection,
					 const struct api_request *request);

struct api_route {
	const char *url; /* a "*" stands for one part */
	const char *method;
	api_answer_fn answer;
};

/* The request's body as a JSON object without duplicate keys, for json_decref(); NULL: it is none.
 */
json_t *api_read_object(const struct api_request *request);

/* Sends a JSON value, which is released by this; NULL (out of memory) closes the connection. */
enum MHD_Result api_reply_json(struct MHD_Connection *connection, unsigned int status,
			       json_t *json);
/* Sends {"error": {"code", "message"}}. */
enum MHD_Result api_reply_error(struct MHD_Connection *connection, unsigned int status,
				const char *code, const char *message);

/* Nothing is answered yet: the route's function is called again for this request, soon. */
enum MHD_Result api_answer_later(struct MHD_Connection *connection);

/* Why the VM refused: the status says whose fault it is, exit_code what lunar ends with. */
enum MHD_Result api_reply_refused(struct MHD_Connection *connection, const struct vm_error *error);

/* The move under way or the last one; phase MIGRATION_IDLE where there was none. */
void api_get_migration(const struct api_vm *vm, struct migration_status *status,
		       const struct migration_check **check);

enum MHD_Result api_answer_migrate(const struct api_vm *vm, struct MHD_Connection *connection,
				   const struct api_request *request);
enum MHD_Result api_answer_migration(const struct api_vm *vm, struct MHD_Connection *connection,
				     const struct api_request *request);
enum MHD_Result api_answer_migration_cancel(const struct api_vm *vm,
					    struct MHD_Connection *connection,
					    const struct api_request *request);
enum MHD_Result api_answer_migration_resolve(const struct api_vm *vm,
					     struct MHD_Connection *connection,
					     const struct api_request *request);
enum MHD_Result api_answer_vlan(const struct api_vm *vm, struct MHD_Connection *connection,
				const struct api_request *request);
enum MHD_Result api_answer_disks(const struct api_vm *vm, struct MHD_Connection *connection,
				 const struct api_request *request);
enum MHD_Result api_answer_disk_add(const struct api_vm *vm, struct MHD_Connection *connection,
				    const struct api_request *request);
enum MHD_Result api_answer_disk_remove(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request);
enum MHD_Result api_answer_disk_insert(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request);
enum MHD_Result api_answer_disk_eject(const struct api_vm *vm, struct MHD_Connection *connection,
				      const struct api_request *request);
enum MHD_Result api_answer_disk_resize(const struct api_vm *vm, struct MHD_Connection *connection,
				       const struct api_request *request);
enum MHD_Result api_answer_save(const struct api_vm *vm, struct MHD_Connection *connection,
				const struct api_request *request);

#endif
