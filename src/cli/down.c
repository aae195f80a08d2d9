/* insula down: ends the region that `insula up` or `insula serve` began. Its machines go on, unless they are
 * to be stopped. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "host/hosted.h"
#include "region/cloud.h"
#include "region/network_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
        "usage: insula down [--all [--force]] [--json] [--data DIR]\n\n"
        "Ends the region. Machines go on running, and `insula up` takes them over again;\n"
        "with --all instances are stopped first, with --force without asking their guests.\n"
        "Networks go with their last machine.\n";

/* The region presses a guest's power button, waits, and then ends its machine: all within this time. */
enum { STOP_S = 300, END_S = 60 };

/* Ids of instances whose machines run here, as an array of strings. */
static json_t *running(const char *data)
{
	char path[4200], dir[4500];
	json_t *list = json_array();
	struct hosted_state state;
	struct dirent *entry;
	struct error e;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/instances", data);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, "i-", 2))
			continue;
		snprintf(dir, sizeof(dir), "%s/%s", path, entry->d_name);
		if (hosted_state(dir, &state, &e) == 0 && state.status == HOSTED_RUNNING)
			json_array_append_new(list, json_string(entry->d_name));
	}
	if (folder)
		closedir(folder);
	return list;
}

/* Regions that have machines. */
static json_t *regions(const char *data, struct error *e)
{
	struct cloud_options options = {.data = data, .existing = true};
	json_t *list;
	struct cloud c;
	struct query *q;

	if (cloud_open(&c, &options, e) < 0)
		return NULL;
	list = json_array();
	q = database_query(c.db, "SELECT DISTINCT region FROM machine WHERE status NOT IN ('stopped', "
	                         "'terminated')");
	while (query_row(q))
		json_array_append_new(list, json_string(query_column_text(q, 0)));
	cloud_close(&c);
	return list;
}

/* Asks for all that run to stop. Returns how many have not stopped yet, -1 with e. */
static int stop_once(struct client *c, bool force, struct error *e)
{
	json_t *all = client_call(c, e, "DescribeInstances", "Filter.1.Name", "instance-state-name",
	                          "Filter.1.Value.1", "pending", "Filter.1.Value.2", "running",
	                          "Filter.1.Value.3", "stopping", "Filter.1.Value.4", "shutting-down", NULL);
	json_t *reservation, *instance, *answer;
	size_t i, k;
	int count = 0;

	if (!all)
		return -1;
	json_array_foreach(json_object_get(all, "Reservations"), i, reservation)
	{
		json_array_foreach(json_object_get(reservation, "Instances"), k, instance)
		{
			count++;
			if (strcmp(client_text(instance, "State.Name"), "running"))
				continue;
			answer = client_call(c, e, "StopInstances", "InstanceId.1",
			                     client_text(instance, "InstanceId"), force ? "Force" : NULL,
			                     "true", NULL);
			if (!answer)
				count = -1;
			json_decref(answer);
			if (count < 0)
				break;
		}
		if (count < 0)
			break;
	}
	json_decref(all);
	return count;
}

static int stop_all(const char *data, bool force, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
	json_t *names = regions(data, e), *name;
	struct client c;
	size_t i;
	int left = 0;

	if (!names || client_open_data(&c, data, e) < 0) {
		json_decref(names);
		return -1;
	}
	json_array_foreach(names, i, name)
	{
		snprintf(c.region, sizeof(c.region), "%s", json_string_value(name));
		for (unsigned n = 0; n < STOP_S * 5; n++) {
			left = stop_once(&c, force, e);
			if (left <= 0)
				break;
			nanosleep(&pause, NULL);
		}
		if (left > 0)
			error_set(e, 0, "%d instances in %s have not stopped in %d s; the region goes on",
			          left, c.region, STOP_S);
		if (left)
			break;
	}
	client_close(&c);
	json_decref(names);
	return left ? -1 : 0;
}

/* Asks the process to end, and waits until it has. */
static int end(int pid, struct error *e)
{
	int fd = pidfd_open(pid, 0), result = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0 && errno == ESRCH)
		return 0;
	if (fd < 0 || pidfd_send_signal(fd, SIGTERM, NULL, 0) < 0)
		result = error_set(e, errno, "end process %d", pid);
	else if (poll(&p, 1, END_S * 1000) != 1)
		result = error_set(e, 0, "process %d has not ended in %d s; kill -9 %d does it no harm", pid,
		                   END_S, pid);
	if (fd >= 0)
		close(fd);
	return result;
}

static void report(const char *data, int pid, const json_t *machines)
{
	const json_t *machine;
	size_t i;

	if (pid)
		printf("the region is down (process %d)\n", pid);
	else
		printf("no region is up at %s\n", data);
	if (!json_array_size(machines))
		return;
	puts("these machines go on running; `insula up` takes them over, then `insula down --all` stops "
	     "them:");
	json_array_foreach(machines, i, machine) printf("  %s\n", json_string_value(machine));
}

int down_main(int argc, char **argv)
{
	const char *data = NULL;
	bool all = false, force = false, json = false;
	const struct verb_option options[] = {{"data", &data, NULL},
	                                      {"all", NULL, &all},
	                                      {"force", NULL, &force},
	                                      {"json", NULL, &json},
	                                      {0}};
	int pid, status = options_read(argc, argv, options, usage, 0, 0);
	json_t *machines;
	struct error e;

	if (status >= 0)
		return status;
	if (force && !all) {
		fputs(usage, stderr);
		return 2;
	}
	pid = cloud_server(data);
	if ((pid && all && stop_all(data, force, &e) < 0) || (pid && end(pid, &e) < 0)) {
		return verb_failed("down", &e);
	}
	if (network_sweep(data, &e) < 0)
		fprintf(stderr, "insula down: %s\n", e.text);
	machines = running(data);
	if (json) {
		machines = json_pack("{s:b, s:o}", "WasUp", pid != 0, "Running", machines);
		client_print(machines);
	} else {
		report(data, pid, machines);
	}
	json_decref(machines);
	return fflush(stdout) ? 1 : 0;
}
