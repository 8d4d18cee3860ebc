/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libcurl over the VM's unix socket.
 */
#include "cli/api_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/fd_passing.h"
#include "hypervisor/vm_paths.h"

#define ANSWER_MAX_BYTES ((size_t)1024 * 1024)
#define PATH_BYTES	 256

struct answer {
	char *bytes;
	size_t length;
};

enum exit_code api_find_process(const char *name, pid_t *pid, struct cli_error *error)
{
	struct ucred peer = {0};
	socklen_t length = sizeof(peer);
	char path[PATH_BYTES];
	int fd;

	if (vm_path(VM_PATH_API, name, path, sizeof(path)) < 0)
		return cli_error_set(error, EXIT_CONFIG,
				     "LUNAR_RUN_DIR is too long for a socket's path; shorten it");
	fd = unix_socket_connect(path, SOCK_STREAM);
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return cli_error_set(error, EXIT_STATE, "%s is not running", name);
	if (fd == -EAGAIN)
		return cli_error_set(error, EXIT_TIMEOUT, "%s: vmwp takes no connection on %s",
				     name, path);
	if (fd < 0)
		return cli_error_system(error, EXIT_INTERNAL, fd, "cannot connect to", path);
	/* Of a listening socket's peer the kernel tells who called listen(). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		peer.pid = 0;
	close(fd);
	*pid = peer.pid;
	return EXIT_OK;
}

static size_t answer_append(char *bytes, size_t size, size_t count, void *ctx)
{
	struct answer *answer = ctx;
	char *grown;

	count *= size;
	if (count == 0)
		return 0;
	if (count > ANSWER_MAX_BYTES - answer->length)
		return 0; /* libcurl ends the transfer */
	grown = realloc(answer->bytes, answer->length + count);
	if (!grown)
		return 0;
	answer->bytes = grown;
	memcpy(answer->bytes + answer->length, bytes, count);
	answer->length += count;
	return count;
}

static enum exit_code transfer_failed(CURL *curl, CURLcode rc, const char *name,
				      struct cli_error *error)
{
	long os_error = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
	if (rc == CURLE_OPERATION_TIMEDOUT || (rc == CURLE_COULDNT_CONNECT && os_error == EAGAIN))
		return cli_error_set(error, EXIT_TIMEOUT, "%s: vmwp does not answer", name);
	if (rc == CURLE_COULDNT_CONNECT && (os_error == ENOENT || os_error == ECONNREFUSED))
		return cli_error_set(error, EXIT_STATE, "%s is not running", name);
	if (rc == CURLE_COULDNT_CONNECT)
		return cli_error_system(error, EXIT_INTERNAL, -(int)os_error,
					"cannot connect to the API of", name);
	return cli_error_set(error, EXIT_INTERNAL, "%s: the API broke off: %s", name,
			     curl_easy_strerror(rc));
}

/* Turns status and body into a result. */
static enum exit_code read_answer(const char *name, long status, const struct answer *answer,
				  json_t **json, struct cli_error *error)
{
	json_t *value = json_loadb(answer->bytes ? answer->bytes : "", answer->length,
				   JSON_REJECT_DUPLICATES, NULL);
	const json_t *problem = json_object_get(value, "error");
	const char *message = json_string_value(json_object_get(problem, "message"));
	json_int_t told = json_integer_value(json_object_get(problem, "exit_code"));
	enum exit_code code;

	if (status >= 200 && status < 300 && json_is_object(value)) {
		*json = value;
		return EXIT_OK;
	}
	code = status == 409 ? EXIT_STATE : EXIT_INTERNAL;
	if (told > 0 && told < 256)
		code = (enum exit_code)told;
	if (message)
		code = cli_error_of_vm(error, code, name, message);
	else
		code = cli_error_set(error, code,
				     "%s: the API answered with status %ld and no JSON of ours",
				     name, status);
	json_decref(value);
	return code;
}

static void set_body(CURL *curl, const char *body)
{
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
}

/* body: NULL for none. */
static enum exit_code transfer(const char *name, const char *method, const char *path,
			       const char *body, uint32_t timeout_ms, json_t **json,
			       struct cli_error *error)
{
	struct answer answer = {0};
	struct curl_slist *headers = NULL;
	char socket_path[PATH_BYTES], url[PATH_BYTES];
	enum exit_code code;
	long status = 0;
	CURLcode rc;
	CURL *curl;

	if (vm_path(VM_PATH_API, name, socket_path, sizeof(socket_path)) < 0)
		return cli_error_set(error, EXIT_CONFIG,
				     "LUNAR_RUN_DIR is too long for a socket's path; shorten it");
	snprintf(url, sizeof(url), "http://vm/api/v1/vm%s", path);
	curl = curl_easy_init();
	if (!curl)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_append);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (body) {
		set_body(curl, body);
		headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	}
	rc = curl_easy_perform(curl);
	if (rc == CURLE_OK) {
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		code = read_answer(name, status, &answer, json, error);
	} else {
		code = transfer_failed(curl, rc, name, error);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	free(answer.bytes);
	return code;
}

enum exit_code api_get(const char *name, const char *path, uint32_t timeout_ms, json_t **answer,
		       struct cli_error *error)
{
	return transfer(name, "GET", path, NULL, timeout_ms, answer, error);
}

enum exit_code api_put(const char *name, const char *path, const json_t *body, uint32_t timeout_ms,
		       json_t **answer, struct cli_error *error)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	enum exit_code code;

	if (body && !text)
		return cli_error_set(error, EXIT_INTERNAL, "out of memory");
	code = transfer(name, "PUT", path, text ? text : "", timeout_ms, answer, error);
	free(text);
	return code;
}

enum exit_code api_delete(const char *name, const char *path, uint32_t timeout_ms, json_t **answer,
			  struct cli_error *error)
{
	return transfer(name, "DELETE", path, NULL, timeout_ms, answer, error);
}
