#include "region/network_sweep.h"
#include "host/hosted.h"
#include "net/datapath.h"
#include "net/service.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH = PATH_MAX + 600 };

/* The namespace that a machine's folder names; "": none. */
static void namespace_of(const char *dir, char out[64])
{
	char path[PATH + 700];
	FILE *f;

	snprintf(path, sizeof(path), "%s/netns", dir);
	f = fopen(path, "re");
	if (!f || !fgets(out, 64, f))
		*out = 0;
	if (f)
		fclose(f);
	out[strcspn(out, "\n")] = 0;
}

static bool is_used(const char *data, const char *vpc)
{
	char path[PATH], dir[PATH + 600], name[64];
	struct hosted_state state;
	struct dirent *entry;
	bool used = false;
	struct error e;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/instances", data);
	folder = opendir(path);
	while (folder && !used && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, "i-", 2) ||
		    snprintf(dir, sizeof(dir), "%s/%s", path, entry->d_name) >= (int)sizeof(dir))
			continue;
		namespace_of(dir, name);
		used = !strcmp(name, vpc) &&
		       (hosted_state(dir, &state, &e) < 0 || state.status == HOSTED_RUNNING ||
		        state.status == HOSTED_STARTING);
	}
	if (folder)
		closedir(folder);
	return used;
}

static int take_away(const char *data, const char *vpc, struct error *e)
{
	char dir[PATH];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s/vpcs/%s", data, vpc);
	if (stat(dir, &st) == 0 && vpc_service_end(dir, e) < 0)
		return -1;
	if (datapath_remove(vpc, e) < 0)
		return -1;
	return stat(dir, &st) == 0 ? vpc_service_remove(dir, e) : 0;
}

/* By the folders: a VPC's is there before all else of it, and goes last. */
int network_sweep(const char *data, struct error *e)
{
	char path[PATH], owner[PATH_MAX];
	struct dirent *entry;
	int used = 0, status = 0;
	struct error first;
	DIR *folder;

	if (!realpath(data, owner))
		return errno == ENOENT ? 0 : error_set(e, errno, "%s", data);
	snprintf(path, sizeof(path), "%s/vpcs", owner);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, "vpc-", 4))
			continue;
		if (is_used(owner, entry->d_name)) {
			used++;
		} else if (take_away(owner, entry->d_name, &first) < 0 && status == 0) {
			*e = first;
			status = -1;
		}
	}
	if (folder)
		closedir(folder);
	return status < 0 ? -1 : used;
}
