/* insula env: shell exports that point AWS's tools at the region. insula key: access keys. */
#include "cli/client.h"
#include "cli/options.h"
#include "cli/policy.h"
#include "cli/verbs.h"
#include "region/cloud.h"
#include "region/region.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_cloud(struct cloud *c, const char *data, const char *verb)
{
	struct cloud_options options = {.data = data};
	struct error e;

	if (cloud_open(c, &options, &e) == 0)
		return 0;
	fprintf(stderr, "insula %s: %s\n", verb, e.text);
	return 1;
}

static const char env_usage[] = "usage: eval \"$(insula env [--data DIR])\"\n"
                                "       insula env --json [--data DIR]\n";

int env_main(int argc, char **argv)
{
	const char *data = NULL, *endpoint;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	int status = options_read(argc, argv, options, env_usage, 0, 0);
	struct access_key key;
	struct cloud c;
	char url[256];
	json_t *v;

	if (status >= 0)
		return status;
	if (open_cloud(&c, data, "env"))
		return 1;
	endpoint = cloud_setting(&c, "endpoint");
	snprintf(url, sizeof(url), "%s", endpoint ? endpoint : "http://127.0.0.1:8773");
	status = !access_key_first(&c, &key);
	cloud_close(&c);
	if (status) {
		fputs("insula env: there is no access key (see 'insula key create')\n", stderr);
		return 1;
	}
	if (json) {
		v = json_pack("{s:s, s:s, s:s, s:s}", "AWS_ACCESS_KEY_ID", key.id, "AWS_SECRET_ACCESS_KEY",
		              key.secret, "AWS_DEFAULT_REGION", REGION_DEFAULT, "AWS_ENDPOINT_URL", url);
		client_print(v);
		json_decref(v);
		return fflush(stdout) ? 1 : 0;
	}
	printf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_DEFAULT_REGION=%s\n"
	       "export AWS_ENDPOINT_URL=%s\n",
	       key.id, key.secret, REGION_DEFAULT, url);
	/* awscli of Debian 12 does not know AWS_ENDPOINT_URL: the alias passes it on. */
	printf("alias aws='aws --endpoint-url %s'\n", url);
	return fflush(stdout) ? 1 : 0;
}

static const char key_usage[] =
        "usage: insula key create [--data DIR] [--id ID --secret SECRET] [--policy FILE|read-only]\n\n"
        "FILE: what the key may do, in IAM's policy language (Effect, Action, Resource); without, all.\n";

int key_main(int argc, char **argv)
{
	const char *data = NULL, *id = NULL, *secret = NULL, *policy = NULL;
	const struct verb_option options[] = {{"data", &data, NULL},
	                                      {"id", &id, NULL},
	                                      {"secret", &secret, NULL},
	                                      {"policy", &policy, NULL},
	                                      {0}};
	int status = options_read(argc, argv, options, key_usage, 1, 1);
	struct buffer lines = {0};
	struct access_key key;
	struct cloud c;
	struct error e;

	if (status >= 0)
		return status;
	if (strcmp(argv[optind], "create") || !id != !secret) {
		fputs(key_usage, stderr);
		return 2;
	}
	if (policy && policy_read(policy, &lines, &e) < 0) {
		fprintf(stderr, "insula key: %s\n", e.text);
		buffer_release(&lines);
		return 1;
	}
	if (open_cloud(&c, data, "key")) {
		buffer_release(&lines);
		return 1;
	}
	status = 0;
	database_begin(c.db);
	if (access_key_create(&c, id, secret, buffer_str(&lines), &key, &e) < 0) {
		database_rollback(c.db);
		status = 1;
	} else if (database_commit(c.db, &e) < 0) {
		status = 1;
	}
	if (status)
		fprintf(stderr, "insula key: %s\n", e.text);
	else
		printf("%s %s\n", key.id, key.secret);
	buffer_release(&lines);
	cloud_close(&c);
	return status;
}
