/* The verbs for instances: run, ls, show, log, console, start, stop, reboot, rm, types. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/place.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "host/hosted.h"
#include "model/scalar.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

struct verb_options {
	const char *data, *type, *name, *key, *user_data;
	bool wait, json, force;
};

static int failed(const char *verb, const struct error *e)
{
	fprintf(stderr, "insula %s: %s\n", verb, e->text);
	return 1;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct verb_options *o, const char *usage, int least, int most)
{
	static const struct option longs[] = {{"data", required_argument, 0, 'd'},
	                                      {"type", required_argument, 0, 't'},
	                                      {"name", required_argument, 0, 'n'},
	                                      {"key", required_argument, 0, 'k'},
	                                      {"user-data", required_argument, 0, 'u'},
	                                      {"wait", no_argument, 0, 'w'},
	                                      {"json", no_argument, 0, 'j'},
	                                      {"force", no_argument, 0, 'f'},
	                                      {"help", no_argument, 0, 'h'},
	                                      {0}};
	static char place[4096];
	int option;

	*o = (struct verb_options){.data = place_default(place, sizeof(place))};
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 'd':
			o->data = optarg;
			break;
		case 't':
			o->type = optarg;
			break;
		case 'n':
			o->name = optarg;
			break;
		case 'k':
			o->key = optarg;
			break;
		case 'u':
			o->user_data = optarg;
			break;
		case 'w':
			o->wait = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'f':
			o->force = true;
			break;
		case 'h':
			return printf("usage: insula %s\n", usage) < 0;
		default:
			return 2;
		}
	}
	if (argc - optind < least || argc - optind > most) {
		fprintf(stderr, "usage: insula %s\n", usage);
		return 2;
	}
	return -1;
}

static const char *tag_of(const json_t *instance, const char *key)
{
	json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(instance, "Tags"), i,
	                   tag) if (!strcmp(client_text(tag, "Key"), key)) return client_text(tag, "Value");
	return "";
}

/* An instance by its id, or by its Name. NULL with e. */
static json_t *find(struct client *c, const char *what, struct error *e)
{
	bool by_id = !strncmp(what, "i-", 2);
	json_t *all =
	        by_id ? client_call(c, e, "DescribeInstances", "InstanceId.1", what, NULL)
	              : client_call(c, e, "DescribeInstances", "Filter.1.Name", "tag:Name",
	                            "Filter.1.Value.1", what, "Filter.2.Name", "instance-state-name",
	                            "Filter.2.Value.1", "pending", "Filter.2.Value.2", "running",
	                            "Filter.2.Value.3", "stopping", "Filter.2.Value.4", "stopped", NULL);
	json_t *found = NULL, *reservation, *instance;
	size_t i, k, count = 0;

	if (!all)
		return NULL;
	json_array_foreach(json_object_get(all, "Reservations"), i, reservation)
	{
		json_array_foreach(json_object_get(reservation, "Instances"), k, instance)
		{
			found = instance;
			count++;
		}
	}
	if (count == 1)
		json_incref(found);
	else
		error_set(e, 0,
		          count ? "%s: %zu instances have this name; say an id"
		                : "%s: there is no such instance; `insula ls` shows those there are",
		          what, count);
	json_decref(all);
	return count == 1 ? found : NULL;
}

/* ---- run ---- */

static int wait_running(struct client *c, const char *id, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};

	for (;;) {
		json_t *instance = find(c, id, e);
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
	struct verb_options o;
	struct client c;
	struct error e;
	unsigned n = 4;
	json_t *answer;
	struct buffer user_data = {0};
	int status =
	        parse(argc, argv, &o,
	              "run IMAGE [--type T] [--name N] [--key K] [--user-data FILE] [--wait] [--json]", 1, 1);

	if (status >= 0)
		return status;
	if ((o.user_data && read_user_data(o.user_data, &user_data, &e) < 0) ||
	    client_open(&c, o.data, &e) < 0) {
		buffer_release(&user_data);
		return failed("run", &e);
	}
	image = find_image(&c, argv[optind], ami, sizeof(ami), &e);
	if (!image) {
		buffer_release(&user_data);
		client_close(&c);
		return failed("run", &e);
	}
	pairs[n++] = "ImageId";
	pairs[n++] = image;
	pairs[n++] = "InstanceType";
	pairs[n++] = o.type ? o.type : "t3.nano";
	if (o.key) {
		pairs[n++] = "KeyName";
		pairs[n++] = o.key;
	}
	if (o.name) {
		pairs[n++] = "TagSpecification.1.ResourceType";
		pairs[n++] = "instance";
		pairs[n++] = "TagSpecification.1.Tag.1.Key";
		pairs[n++] = "Name";
		pairs[n++] = "TagSpecification.1.Tag.1.Value";
		pairs[n++] = o.name;
	}
	if (o.user_data) {
		pairs[n++] = "UserData";
		pairs[n++] = buffer_str(&user_data);
	}
	answer = client_call_list(&c, &e, "RunInstances", pairs);
	buffer_release(&user_data);
	status = answer ? 0 : failed("run", &e);
	if (answer) {
		snprintf(id, sizeof(id), "%s", client_text(answer, "Instances.0.InstanceId"));
		if (o.wait && wait_running(&c, id, &e) < 0)
			status = failed("run", &e);
		if (o.json)
			client_print(json_array_get(json_object_get(answer, "Instances"), 0));
		else
			puts(id);
		json_decref(answer);
	}
	client_close(&c);
	return status;
}

/* ---- ls, show, types ---- */

int ls_main(int argc, char **argv)
{
	static const char *const headings[] = {"ID", "NAME", "STATE", "TYPE", "ZONE", "ADDRESS", "IMAGE"};
	json_t *answer, *reservation, *instance, *list;
	struct verb_options o;
	struct client c;
	struct error e;
	size_t i, k;
	int status = parse(argc, argv, &o, "ls [--json]", 0, 0);

	if (status >= 0)
		return status;
	if (client_open(&c, o.data, &e) < 0)
		return failed("ls", &e);
	answer = client_call(&c, &e, "DescribeInstances", NULL);
	client_close(&c);
	if (!answer)
		return failed("ls", &e);
	list = json_array();
	json_array_foreach(json_object_get(answer, "Reservations"), i, reservation)
	        json_array_extend(list, json_object_get(reservation, "Instances"));
	if (o.json) {
		client_print(list);
	} else {
		struct table table;

		table_begin(&table, headings, ARRAY_SIZE(headings));
		table.coloured = 2;
		json_array_foreach(list, k, instance)
		{
			const char *address = client_text(instance, "PublicIpAddress");

			table_cell(&table, "%s", client_text(instance, "InstanceId"));
			table_cell(&table, "%s", tag_of(instance, "Name"));
			table_cell(&table, "%s", client_text(instance, "State.Name"));
			table_cell(&table, "%s", client_text(instance, "InstanceType"));
			table_cell(&table, "%s", client_text(instance, "Placement.AvailabilityZone"));
			table_cell(&table, "%s",
			           *address ? address : client_text(instance, "PrivateIpAddress"));
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
	struct verb_options o;
	json_t *instance, *credits;
	struct client c;
	struct error e;
	int status = parse(argc, argv, &o, "show INSTANCE [--json]", 1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, o.data, &e) < 0)
		return failed("show", &e);
	instance = find(&c, argv[optind], &e);
	credits = instance ? client_operate(&c, &e, "GetCpuCredits",
	                                    (const char *[]){"InstanceId",
	                                                     client_text(instance, "InstanceId"), NULL})
	                   : NULL;
	client_close(&c);
	if (!instance)
		return failed("show", &e);
	if (credits && json_object_size(credits))
		json_object_set(instance, "CpuCredits", credits);
	json_decref(credits);
	if (o.json)
		client_print(instance);
	else
		show_instance(instance, tag_of(instance, "Name"));
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
	struct verb_options o;
	json_t *answer, *type;
	struct client c;
	struct error e;
	size_t i;
	int status = parse(argc, argv, &o, "types [--json]", 0, 0);

	if (status >= 0)
		return status;
	if (client_open(&c, o.data, &e) < 0)
		return failed("types", &e);
	answer = client_call(&c, &e, "DescribeInstanceTypes", NULL);
	client_close(&c);
	if (!answer)
		return failed("types", &e);
	if (o.json) {
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
	bool stops = !strcmp(verb, "stop");
	struct verb_options o;
	json_t *all, *list;
	const char *name;
	struct client c;
	struct error e;
	char usage[64];
	int status;

	snprintf(usage, sizeof(usage), "%s INSTANCE...%s [--json]", verb, stops ? " [--force]" : "");
	status = parse(argc, argv, &o, usage, 1, 1000);
	if (status >= 0)
		return status;
	if (o.force && !stops) {
		fprintf(stderr, "usage: insula %s\n", usage);
		return 2;
	}
	all = json_array();
	if (client_open(&c, o.data, &e) < 0)
		return failed(verb, &e);
	status = 0;
	for (int i = optind; i < argc; i++) {
		json_t *instance = find(&c, argv[i], &e), *answer = NULL;

		if (instance)
			answer = client_call(&c, &e, action, "InstanceId.1",
			                     client_text(instance, "InstanceId"), o.force ? "Force" : NULL,
			                     "true", NULL);
		if (!answer)
			status = failed(verb, &e);
		json_object_foreach(answer, name, list) if (json_is_array(list)) json_array_extend(all, list);
		json_decref(answer);
		json_decref(instance);
	}
	client_close(&c);
	if (o.json)
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

/* ---- log, console ---- */

int log_main(int argc, char **argv)
{
	json_t *instance, *answer = NULL;
	struct verb_options o;
	struct arena arena;
	struct client c;
	struct error e;
	const char *text;
	size_t length;
	int status = parse(argc, argv, &o, "log INSTANCE [--json]", 1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, o.data, &e) < 0)
		return failed("log", &e);
	instance = find(&c, argv[optind], &e);
	if (instance)
		answer = client_call(&c, &e, "GetConsoleOutput", "InstanceId",
		                     client_text(instance, "InstanceId"), NULL);
	client_close(&c);
	json_decref(instance);
	if (!answer)
		return failed("log", &e);
	if (o.json) {
		client_print(answer);
		json_decref(answer);
		return 0;
	}
	arena_init(&arena);
	text = client_text(answer, "Output");
	text = base64_parse(&arena, text, strlen(text), &length);
	if (text)
		fwrite(text, 1, length, stdout);
	arena_release(&arena);
	json_decref(answer);
	return 0;
}

/* Bytes both ways until Ctrl-] or the end of either. */
static void attach(int line)
{
	struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = line, .events = POLLIN}};
	struct termios old, raw;
	bool terminal = tcgetattr(0, &old) == 0;
	char bytes[4096];

	if (terminal) {
		fputs("(Ctrl-] leaves)\r\n", stderr);
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents) {
			char *leave;

			n = read(0, bytes, sizeof(bytes));
			if (n <= 0) {
				fds[0].fd = -1;
				shutdown(line, SHUT_WR);
				continue;
			}
			leave = terminal ? memchr(bytes, 0x1d, (size_t)n) : NULL;
			if (leave)
				n = leave - bytes;
			if ((n && write(line, bytes, (size_t)n) < 0) || leave)
				break;
		}
		if (fds[1].revents) {
			n = read(line, bytes, sizeof(bytes));
			if (n <= 0 || write(1, bytes, (size_t)n) < 0)
				break;
		}
	}
	if (terminal)
		tcsetattr(0, TCSANOW, &old);
}

int console_main(int argc, char **argv)
{
	struct verb_options o;
	json_t *instance;
	struct client c;
	struct error e;
	char dir[4200];
	int line, status = parse(argc, argv, &o, "console INSTANCE", 1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, o.data, &e) < 0)
		return failed("console", &e);
	instance = find(&c, argv[optind], &e);
	client_close(&c);
	if (!instance)
		return failed("console", &e);
	snprintf(dir, sizeof(dir), "%s/instances/%s", o.data, client_text(instance, "InstanceId"));
	line = hosted_console(dir, &e);
	if (line >= 0) {
		attach(line);
		close(line);
	}
	json_decref(instance);
	return line < 0 ? failed("console", &e) : 0;
}
