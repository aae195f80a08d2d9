/* The verbs for instances: run, ls, show, start, stop, reboot, rm, types. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/find.h"
#include "cli/options.h"
#include "cli/show.h"
#include "cli/ssh.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "model/scalar.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- run ---- */

static int wait_running(struct client *c, const char *id, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};

	for (;;) {
		json_t *instance = find_instance(c, id, e);
		char state[32], why[256];

		if (!instance)
			return -1;
		snprintf(state, sizeof(state), "%s", client_text(instance, "State.Name"));
		snprintf(why, sizeof(why), "%s", client_text(instance, "StateReason.Message"));
		json_decref(instance);
		if (!strcmp(state, "running"))
			return 0;
		if (strcmp(state, "pending"))
			return error_set(e, 0, "%s: %s %s", id, state, why);
		nanosleep(&pause, NULL);
	}
}

static const char *find_image(struct client *c, const char *what, char *id, size_t size, struct error *e)
{
	json_t *all;

	if (!strncmp(what, "ami-", 4))
		return what;
	all = client_call(c, e, "DescribeImages", "Filter.1.Name", "name", "Filter.1.Value.1", what, NULL);
	if (!all)
		return NULL;
	snprintf(id, size, "%s", client_text(all, "Images.0.ImageId"));
	json_decref(all);
	if (!*id)
		error_set(e, 0,
		          !strcmp(what, "micro") || !strcmp(what, "debian-12")
		                  ? "there is no image '%s' yet: make it with `insula image build %s`"
		                  : "there is no image '%s': `insula image build micro` makes one, `insula "
		                    "image "
		                    "import --name %s` takes a disk",
		          what, what);
	return *id ? id : NULL;
}

/* A file of at most the 16 KiB that EC2 takes, in base64. */
static int read_user_data(const char *path, struct buffer *text, struct error *e)
{
	FILE *file = fopen(path, "re");
	char bytes[16385];
	size_t length;

	if (!file)
		return error_set(e, errno, "--user-data %s", path);
	length = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	if (length == sizeof(bytes))
		return error_set(e, 0, "--user-data %s: longer than 16384 bytes", path);
	base64_write(text, bytes, length);
	return 0;
}

int run_main(int argc, char **argv)
{
	const char *pairs[32] = {"MinCount", "1", "MaxCount", "1"}, *image;
	char id[64], ami[64];
	const char *data = NULL, *type = "t3.nano", *name = NULL, *key = NULL, *user_data_file = NULL;
	bool wait = false, json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"type", &type, NULL},
	                                      {"name", &name, NULL}, {"key", &key, NULL},
	                                      {"wait", NULL, &wait}, {"user-data", &user_data_file, NULL},
	                                      {"json", NULL, &json}, {0}};
	struct client c;
	struct error e;
	unsigned n = 4;
	json_t *answer;
	struct buffer user_data = {0};
	int status =
	        options_read(argc, argv, options,
	                     "usage: insula run IMAGE [--type T] [--name N] [--key K] [--user-data FILE] "
	                     "[--wait] [--json] [--data DIR]\n",
	                     1, 1);

	if (status >= 0)
		return status;
	if ((user_data_file && read_user_data(user_data_file, &user_data, &e) < 0) ||
	    client_open(&c, data, &e) < 0) {
		buffer_release(&user_data);
		return verb_failed("run", &e);
	}
	image = find_image(&c, argv[optind], ami, sizeof(ami), &e);
	if (!image) {
		buffer_release(&user_data);
		client_close(&c);
		return verb_failed("run", &e);
	}
	if (!key && ssh_key_ensure(&c, data, &e) == 0)
		key = SSH_KEY_NAME;
	else if (!key)
		fprintf(stderr, "insula run: without a key, as %s\n", e.text);
	pairs[n++] = "ImageId";
	pairs[n++] = image;
	pairs[n++] = "InstanceType";
	pairs[n++] = type;
	if (key) {
		pairs[n++] = "KeyName";
		pairs[n++] = key;
	}
	if (name) {
		pairs[n++] = "TagSpecification.1.ResourceType";
		pairs[n++] = "instance";
		pairs[n++] = "TagSpecification.1.Tag.1.Key";
		pairs[n++] = "Name";
		pairs[n++] = "TagSpecification.1.Tag.1.Value";
		pairs[n++] = name;
	}
	if (user_data_file) {
		pairs[n++] = "UserData";
		pairs[n++] = buffer_str(&user_data);
	}
	answer = client_call_list(&c, &e, "RunInstances", pairs);
	buffer_release(&user_data);
	status = answer ? 0 : verb_failed("run", &e);
	if (answer) {
		snprintf(id, sizeof(id), "%s", client_text(answer, "Instances.0.InstanceId"));
		if (wait && wait_running(&c, id, &e) < 0)
			status = verb_failed("run", &e);
		if (json)
			client_print(json_array_get(json_object_get(answer, "Instances"), 0));
		else
			puts(id);
		json_decref(answer);
	}
	client_close(&c);
	return status;
}

/* ---- ls, show, types ---- */

/* Where it is reached within its VPC. */
static const char *address_of(const json_t *instance)
{
	const char *v4 = client_text(instance, "PrivateIpAddress");

	return *v4 ? v4 : client_text(instance, "Ipv6Address");
}

int ls_main(int argc, char **argv)
{
	static const char *const headings[] = {"ID",   "NAME",    "STATE",  "TYPE",
	                                       "ZONE", "ADDRESS", "PUBLIC", "IMAGE"};
	json_t *answer, *reservation, *instance, *list;
	const char *data = NULL;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	struct client c;
	struct error e;
	size_t i, k;
	int status = options_read(argc, argv, options, "usage: insula ls [--json] [--data DIR]\n", 0, 0);

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("ls", &e);
	answer = client_call(&c, &e, "DescribeInstances", NULL);
	client_close(&c);
	if (!answer)
		return verb_failed("ls", &e);
	list = json_array();
	json_array_foreach(json_object_get(answer, "Reservations"), i, reservation)
	        json_array_extend(list, json_object_get(reservation, "Instances"));
	if (json) {
		client_print(list);
	} else {
		struct table table;

		table_begin(&table, headings, ARRAY_SIZE(headings));
		table.coloured = 2;
		json_array_foreach(list, k, instance)
		{
			table_cell(&table, "%s", client_text(instance, "InstanceId"));
			table_cell(&table, "%s", find_tag(instance, "Name"));
			table_cell(&table, "%s", client_text(instance, "State.Name"));
			table_cell(&table, "%s", client_text(instance, "InstanceType"));
			table_cell(&table, "%s", client_text(instance, "Placement.AvailabilityZone"));
			table_cell(&table, "%s", address_of(instance));
			table_cell(&table, "%s", client_text(instance, "PublicIpAddress"));
			table_cell(&table, "%s", client_text(instance, "ImageId"));
		}
		table_end(&table);
	}
	json_decref(list);
	json_decref(answer);
	return 0;
}

int show_main(int argc, char **argv)
{
	const char *data = NULL;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	json_t *instance, *credits;
	struct client c;
	struct error e;
	int status = options_read(argc, argv, options, "usage: insula show INSTANCE [--json] [--data DIR]\n",
	                          1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("show", &e);
	instance = find_instance(&c, argv[optind], &e);
	credits = instance ? client_operate(&c, &e, "GetCpuCredits",
	                                    (const char *[]){"InstanceId",
	                                                     client_text(instance, "InstanceId"), NULL})
	                   : NULL;
	client_close(&c);
	if (!instance)
		return verb_failed("show", &e);
	if (credits && json_object_size(credits))
		json_object_set(instance, "CpuCredits", credits);
	json_decref(credits);
	if (json)
		client_print(instance);
	else
		show_instance(instance, find_tag(instance, "Name"));
	json_decref(instance);
	return 0;
}

static long long number(const json_t *v, const char *member, const char *inner)
{
	return (long long)json_integer_value(json_object_get(json_object_get(v, member), inner));
}

int types_main(int argc, char **argv)
{
	static const char *const headings[] = {"TYPE", "VCPUS", "MEMORY"};
	const char *data = NULL;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	json_t *answer, *type;
	struct client c;
	struct error e;
	size_t i;
	int status = options_read(argc, argv, options, "usage: insula types [--json] [--data DIR]\n", 0, 0);

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("types", &e);
	answer = client_call(&c, &e, "DescribeInstanceTypes", NULL);
	client_close(&c);
	if (!answer)
		return verb_failed("types", &e);
	if (json) {
		client_print(json_object_get(answer, "InstanceTypes"));
	} else {
		struct table table;

		table_begin(&table, headings, ARRAY_SIZE(headings));
		table.right = 6;
		json_array_foreach(json_object_get(answer, "InstanceTypes"), i, type)
		{
			table_cell(&table, "%s", client_text(type, "InstanceType"));
			table_cell(&table, "%lld", number(type, "VCpuInfo", "DefaultVCpus"));
			table_cell(&table, "%lld MiB", number(type, "MemoryInfo", "SizeInMiB"));
		}
		table_end(&table);
	}
	json_decref(answer);
	return 0;
}

/* ---- start, stop, reboot, rm ---- */

static int change(int argc, char **argv, const char *verb, const char *action)
{
	bool stops = !strcmp(verb, "stop"), json = false, force = false;
	const char *data = NULL, *name;
	const struct verb_option options[] = {
	        {"data", &data, NULL}, {"json", NULL, &json}, {stops ? "force" : NULL, NULL, &force}, {0}};
	json_t *all, *list;
	struct client c;
	struct error e;
	char usage[96];
	int status;

	snprintf(usage, sizeof(usage), "usage: insula %s INSTANCE...%s [--json] [--data DIR]\n", verb,
	         stops ? " [--force]" : "");
	status = options_read(argc, argv, options, usage, 1, 1000);
	if (status >= 0)
		return status;
	all = json_array();
	if (client_open(&c, data, &e) < 0)
		return verb_failed(verb, &e);
	status = 0;
	for (int i = optind; i < argc; i++) {
		json_t *instance = find_instance(&c, argv[i], &e), *answer = NULL;

		if (instance)
			answer = client_call(&c, &e, action, "InstanceId.1",
			                     client_text(instance, "InstanceId"), force ? "Force" : NULL,
			                     "true", NULL);
		if (!answer)
			status = verb_failed(verb, &e);
		json_object_foreach(answer, name, list) if (json_is_array(list)) json_array_extend(all, list);
		json_decref(answer);
		json_decref(instance);
	}
	client_close(&c);
	if (json)
		client_print(all);
	json_decref(all);
	return status;
}

int start_main(int argc, char **argv)
{
	return change(argc, argv, "start", "StartInstances");
}
int stop_main(int argc, char **argv)
{
	return change(argc, argv, "stop", "StopInstances");
}
int reboot_main(int argc, char **argv)
{
	return change(argc, argv, "reboot", "RebootInstances");
}
int rm_main(int argc, char **argv)
{
	return change(argc, argv, "rm", "TerminateInstances");
}
