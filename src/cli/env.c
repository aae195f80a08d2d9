/* insula env: shell exports that point AWS's tools at the region. insula key: access keys. */
#include "cli/place.h"
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

int env_main(int argc, char **argv)
{
	static const struct option longs[] = {{"data", required_argument, 0, 'd'},
	                                      {"json", no_argument, 0, 'j'},
	                                      {"help", no_argument, 0, 'h'},
	                                      {0}};
	char place[4096], url[256];
	const char *data = place_default(place, sizeof(place)), *endpoint;
	struct access_key key;
	struct cloud c;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'd')
			data = optarg;
		else if (option == 'j')
			json = true;
		else if (option == 'h')
			return puts("usage: eval \"$(insula env [--data DIR])\"\n"
			            "       insula env --json [--data DIR]") < 0;
		else
			return 2;
	}
	if (open_cloud(&c, data, "env"))
		return 1;
	endpoint = cloud_setting(&c, "endpoint");
	snprintf(url, sizeof(url), "%s", endpoint ? endpoint : "http://127.0.0.1:8773");
	if (!access_key_first(&c, &key)) {
		fprintf(stderr, "insula env: there is no access key (see 'insula key create')\n");
		cloud_close(&c);
		return 1;
	}
	if (json) {
		printf("{\n  \"AWS_ACCESS_KEY_ID\": \"%s\",\n  \"AWS_SECRET_ACCESS_KEY\": \"%s\",\n"
		       "  \"AWS_DEFAULT_REGION\": \"%s\",\n  \"AWS_ENDPOINT_URL\": \"%s\"\n}\n",
		       key.id, key.secret, REGION_DEFAULT, url);
		cloud_close(&c);
		return fflush(stdout) ? 1 : 0;
	}
	printf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_DEFAULT_REGION=%s\n"
	       "export AWS_ENDPOINT_URL=%s\n",
	       key.id, key.secret, REGION_DEFAULT, url);
	/* awscli of Debian 12 does not know AWS_ENDPOINT_URL: the alias passes it on. */
	printf("alias aws='aws --endpoint-url %s'\n", url);
	cloud_close(&c);
	return fflush(stdout) ? 1 : 0;
}

static const char key_usage[] =
        "usage: insula key create [--data DIR] [--id ID --secret SECRET] [--policy FILE|read-only]\n\n"
        "FILE: what the key may do, in IAM's policy language (Effect, Action, Resource); without, all.\n";

int key_main(int argc, char **argv)
{
	static const struct option longs[] = {
	        {"data", required_argument, 0, 'd'},   {"id", required_argument, 0, 'i'},
	        {"secret", required_argument, 0, 's'}, {"policy", required_argument, 0, 'p'},
	        {"help", no_argument, 0, 'h'},         {0}};
	char place[4096];
	const char *data = place_default(place, sizeof(place)), *id = NULL, *secret = NULL, *policy = NULL;
	struct buffer lines = {0};
	struct access_key key;
	struct cloud c;
	struct error e;
	int option, status = 0;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'd')
			data = optarg;
		else if (option == 'i')
			id = optarg;
		else if (option == 's')
			secret = optarg;
		else if (option == 'p')
			policy = optarg;
		else if (option == 'h')
			return fputs(key_usage, stdout) < 0;
		else
			return 2;
	}
	if (optind + 1 != argc || strcmp(argv[optind], "create") || !id != !secret) {
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
