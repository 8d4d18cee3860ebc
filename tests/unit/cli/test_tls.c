/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lunar tls in a temporary folder; the verdict on what it makes is gnutls's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "cli/commands.h"

struct fixture {
	char dir[64];
	char *printed;
	char *noticed;
	struct cli_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[96];

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-tls-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(path, sizeof(path), "%s/etc/tls", f->dir);
	setenv("LUNAR_TLS_DIR", path, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f->printed);
	free(f->noticed);
	free(f);
	return 0;
}

/* Runs "tls" and these words, in which @ is the temporary folder. */
static enum exit_code tls(struct fixture *f, const char *words)
{
	static char storage[16][128];
	char text[512], *argv[16] = {(char *)"lunar", (char *)"tls"};
	size_t printed_length, noticed_length;
	struct options options;
	struct command_context context = {.options = &options};
	enum exit_code code;
	int argc = 2;

	snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		snprintf(storage[argc], sizeof(storage[argc]), "%s%.60s",
			 *word == '@' ? f->dir : "", *word == '@' ? word + 1 : word);
		argv[argc] = storage[argc];
		argc++;
	}
	assert_int_equal(options_parse(argc, argv, &options, &f->error), EXIT_OK);
	free(f->printed);
	free(f->noticed);
	context.out = open_memstream(&f->printed, &printed_length);
	context.err = open_memstream(&f->noticed, &noticed_length);
	f->error.message[0] = '\0';
	code = command_tls(&context, &f->error);
	fclose(context.out);
	fclose(context.err);
	if (code != EXIT_OK)
		assert_string_not_equal(f->error.message, "");
	return code;
}

static void load(struct fixture *f, const char *name, gnutls_datum_t *datum)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(gnutls_load_file(path, datum), 0);
}

static gnutls_x509_crt_t load_certificate(struct fixture *f, const char *name)
{
	gnutls_x509_crt_t certificate;
	gnutls_datum_t datum;

	load(f, name, &datum);
	assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
	assert_int_equal(gnutls_x509_crt_import(certificate, &datum, GNUTLS_X509_FMT_PEM), 0);
	gnutls_free(datum.data);
	return certificate;
}

/* Whether a host's certificate is good for a name, as client and as server, under a CA. */
static bool verifies(struct fixture *f, const char *ca_name, const char *host_name,
		     const char *name)
{
	gnutls_x509_crt_t ca = load_certificate(f, ca_name), host = load_certificate(f, host_name);
	static const char *const purposes[] = {GNUTLS_KP_TLS_WWW_SERVER, GNUTLS_KP_TLS_WWW_CLIENT};
	gnutls_x509_trust_list_t list;
	bool good = true;

	assert_int_equal(gnutls_x509_trust_list_init(&list, 0), 0);
	assert_int_equal(gnutls_x509_trust_list_add_cas(list, &ca, 1, 0), 1);
	for (size_t i = 0; i < 2; i++) {
		gnutls_typed_vdata_st data[] = {
			{.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)(uintptr_t)name},
			{.type = GNUTLS_DT_KEY_PURPOSE_OID,
			 .data = (unsigned char *)(uintptr_t)purposes[i]},
		};
		unsigned int status = 0;

		assert_int_equal(gnutls_x509_trust_list_verify_crt2(list, &host, 1, data, 2, 0,
								    &status, NULL),
				 0);
		good = good && status == 0;
	}
	gnutls_x509_trust_list_deinit(list, 0);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_crt_deinit(host);
	return good;
}

static bool key_fits(struct fixture *f, const char *key_name, const char *certificate_name)
{
	gnutls_x509_crt_t certificate = load_certificate(f, certificate_name);
	unsigned char of_key[64], of_certificate[64];
	size_t key_bytes = sizeof(of_key), certificate_bytes = sizeof(of_certificate);
	gnutls_x509_privkey_t key;
	gnutls_datum_t datum;

	load(f, key_name, &datum);
	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_import(key, &datum, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_privkey_get_key_id(key, 0, of_key, &key_bytes), 0);
	assert_int_equal(
		gnutls_x509_crt_get_key_id(certificate, 0, of_certificate, &certificate_bytes), 0);
	gnutls_free(datum.data);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(certificate);
	return key_bytes == certificate_bytes && memcmp(of_key, of_certificate, key_bytes) == 0;
}

static mode_t mode_of(struct fixture *f, const char *name)
{
	struct stat status;
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return stat(path, &status) < 0 ? 0 : status.st_mode & 07777;
}

static void lab_makes_what_gnutls_accepts(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tls(f, "lab @/lab host1 host2,host2.lab,192.0.2.2"), EXIT_OK);
	assert_non_null(strstr(f->printed, "/lab/host1 root@host1:"));
	assert_non_null(strstr(f->printed, "/lab/host2 root@host2:"));
	assert_true(verifies(f, "lab/ca.crt", "lab/host1/host.crt", "host1"));
	assert_true(verifies(f, "lab/host1/ca.crt", "lab/host2/host.crt", "host2"));
	assert_true(verifies(f, "lab/ca.crt", "lab/host2/host.crt", "host2.lab"));
	assert_true(verifies(f, "lab/ca.crt", "lab/host2/host.crt", "192.0.2.2"));
	assert_false(verifies(f, "lab/ca.crt", "lab/host2/host.crt", "host1"));
	assert_false(verifies(f, "lab/ca.crt", "lab/host2/host.crt", "192.0.2.3"));
	assert_true(key_fits(f, "lab/host1/host.key", "lab/host1/host.crt"));
	assert_false(key_fits(f, "lab/host1/host.key", "lab/host2/host.crt"));
	assert_int_equal(mode_of(f, "lab/ca.key"), 0600);
	assert_int_equal(mode_of(f, "lab/host1/host.key"), 0600);
	assert_int_equal(mode_of(f, "lab/host1/ca.key"), 0); /* stays in the lab */
}

static void lab_grows_by_hosts_of_the_same_authority(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tls(f, "lab @/lab host1"), EXIT_OK);
	assert_int_equal(tls(f, "lab @/lab host3 --json"), EXIT_OK);
	assert_non_null(strstr(f->printed, "\"host\": \"host3\""));
	assert_true(verifies(f, "lab/host1/ca.crt", "lab/host3/host.crt", "host3"));
	assert_int_equal(tls(f, "lab @/other host1"), EXIT_OK);
	assert_false(verifies(f, "lab/ca.crt", "other/host1/host.crt", "host1"));
}

static void lab_replaces_no_host(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tls(f, "lab @/lab host1"), EXIT_OK);
	assert_int_equal(tls(f, "lab @/lab host1"), EXIT_EXISTS);
	assert_true(key_fits(f, "lab/host1/host.key", "lab/host1/host.crt"));
}

static void lab_takes_names_of_hosts_alone(void **state)
{
	static const char *const bad[] = {"lab @/lab ../host1", "lab @/lab .",
					  "lab @/lab a/b",	"lab @/lab host1,",
					  "lab @/lab ,h1",	"lab @/lab h,$(x)"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(tls(f, bad[i]), EXIT_USAGE);
		assert_non_null(strstr(f->error.message, "is no name or address of a host"));
	}
}

static void install_sets_the_modes_and_replaces(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tls(f, "lab @/lab host1"), EXIT_OK);
	assert_int_equal(tls(f, "install @/lab/host1"), EXIT_OK);
	assert_non_null(strstr(f->printed, "/etc/tls"));
	assert_int_equal(mode_of(f, "etc/tls/host.key"), 0600);
	assert_int_equal(mode_of(f, "etc/tls/host.crt"), 0644);
	assert_int_equal(mode_of(f, "etc/tls/ca.crt"), 0644);
	assert_int_equal(tls(f, "show"), EXIT_OK);
	assert_int_equal(tls(f, "lab @/other host9"), EXIT_OK);
	assert_int_equal(tls(f, "install @/other/host9 --json"), EXIT_OK);
	assert_true(verifies(f, "etc/tls/ca.crt", "etc/tls/host.crt", "host9"));
	assert_true(key_fits(f, "etc/tls/host.key", "etc/tls/host.crt"));
}

static void install_refuses_what_would_not_work_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char command[512];

	assert_int_equal(tls(f, "install @/nowhere"), EXIT_NOT_TRUSTED);
	assert_int_equal(tls(f, "lab @/lab host1 host2"), EXIT_OK);
	assert_int_equal(tls(f, "install @/lab/host1"), EXIT_OK);
	/* Of another authority; then a key that is not its own. */
	assert_int_equal(tls(f, "lab @/other host2"), EXIT_OK);
	snprintf(command, sizeof(command), "cp %s/other/ca.crt %s/lab/host2/ca.crt", f->dir,
		 f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(tls(f, "install @/lab/host2"), EXIT_NOT_TRUSTED);
	snprintf(command, sizeof(command),
		 "cp %s/lab/ca.crt %s/lab/host2/ca.crt; cp %s/lab/host1/host.key "
		 "%s/lab/host2/host.key",
		 f->dir, f->dir, f->dir, f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(tls(f, "install @/lab/host2"), EXIT_NOT_TRUSTED);
	assert_true(verifies(f, "etc/tls/ca.crt", "etc/tls/host.crt", "host1"));
	assert_true(key_fits(f, "etc/tls/host.key", "etc/tls/host.crt"));
}

static void show_tells_names_and_whether_a_move_would_work(void **state)
{
	struct fixture *f = *state;
	json_t *shown;

	assert_int_equal(tls(f, "show"), EXIT_NOT_TRUSTED);
	assert_non_null(strstr(f->printed, "host      -\n"));
	assert_int_equal(tls(f, "lab @/lab host1,192.0.2.1"), EXIT_OK);
	assert_int_equal(tls(f, "show @/lab/host1"), EXIT_OK);
	assert_non_null(strstr(f->printed, "host      CN=host1\n  names   host1\n          "
					   "192.0.2.1\n  issuer  CN=Lunar lab CA\n"));
	assert_non_null(strstr(f->printed, "Good for moves between hosts of this CA.\n"));
	assert_int_equal(tls(f, "show @/lab/host1 --json"), EXIT_OK);
	shown = json_loads(f->printed, JSON_REJECT_DUPLICATES, NULL);
	assert_true(json_is_true(json_object_get(shown, "usable")));
	assert_true(json_is_null(json_object_get(shown, "error")));
	assert_string_equal(json_string_value(json_array_get(
				    json_object_get(json_object_get(shown, "host"), "names"), 1)),
			    "192.0.2.1");
	json_decref(shown);
	assert_int_equal(tls(f, "show @/nowhere --json"), EXIT_NOT_TRUSTED);
	shown = json_loads(f->printed, JSON_REJECT_DUPLICATES, NULL);
	assert_true(json_is_false(json_object_get(shown, "usable")));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(shown, "error"), "code")),
		EXIT_NOT_TRUSTED);
	json_decref(shown);
}

int main(void)
{
#define tls_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		tls_test(lab_makes_what_gnutls_accepts),
		tls_test(lab_grows_by_hosts_of_the_same_authority),
		tls_test(lab_replaces_no_host),
		tls_test(lab_takes_names_of_hosts_alone),
		tls_test(install_sets_the_modes_and_replaces),
		tls_test(install_refuses_what_would_not_work_and_changes_nothing),
		tls_test(show_tells_names_and_whether_a_move_would_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
