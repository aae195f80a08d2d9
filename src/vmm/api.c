#include "vmm/api.h"

#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A console on COM1, and a reboot that is one: what a client gets that says nothing of boot_args. */
#define DEFAULT_BOOT_ARGS "console=ttyS0 reboot=k panic=1"

void api_fault(struct api_response *response, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	json_t *json = json_pack("{s:s}", "fault_message", text);

	if (!json) /* text cut within a UTF-8 sequence, or not UTF-8 at all */
		json = json_pack("{s:s}", "fault_message", "bad request");
	free(response->body);
	response->status = 400;
	response->body = json_dumps(json, JSON_COMPACT);
	json_decref(json);
}

void api_response_release(struct api_response *response)
{
	free(response->body);
	response->body = NULL;
}

static void answer_json(struct api_response *response, json_t *json)
{
	response->status = 200;
	response->body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!response->body)
		api_fault(response, "no memory for the answer");
}

/* One request in the making. */
struct call {
	struct api *api;
	const char *id; /* the path's {id}, or NULL */
	json_t *body;   /* an object, or NULL where the resource takes none */
	struct api_response *response;
};

/* Copies a JSON string into *to; NULL leaves NULL. */
static bool copy(struct call *c, char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	if (text && !*to)
		api_fault(c->response, "no memory");
	return !text || *to;
}

/* Takes the body apart as json_unpack() does, and refuses keys that are not named. */
#define unpack_body(c, fmt, ...)                                                               \
	({                                                                                     \
		json_error_t _error;                                                           \
		bool _ok = !json_unpack_ex((c)->body, &_error, JSON_STRICT, fmt, __VA_ARGS__); \
		if (!_ok)                                                                      \
			api_fault((c)->response, "the request's body: %s", _error.text);       \
		_ok;                                                                           \
	})

static bool file_ok(struct call *c, const char *path, int mode)
{
	if (*path && !access(path, mode))
		return true;
	api_fault(c->response, "%s: %s", path, *path ? strerror(errno) : "an empty file name");
	return false;
}

/* ---- what is asked for ---- */

static const char *state_name(struct api *api)
{
	static const char *const names[] = {
	        [API_NOT_STARTED] = "Not started", [API_RUNNING] = "Running", [API_PAUSED] = "Paused"};

	return names[api->machine.state(api->machine.ctx)];
}

static void get_instance(struct call *c)
{
	answer_json(c->response,
	            json_pack("{s:s, s:s, s:s, s:s}", "id", "anonymous-instance", "state", state_name(c->api),
	                      "vmm_version", INSULA_VERSION, "app_name", "Insula"));
}

static void get_version(struct call *c)
{
	/* The first name is the one that clients know. */
	answer_json(c->response, json_pack("{s:s, s:s}", "firecracker_version", INSULA_VERSION,
	                                   "insula_version", INSULA_VERSION));
}

static json_t *machine_config_json(const struct vmm_config *config)
{
	return json_pack("{s:i, s:I, s:b, s:b}", "vcpu_count", (int)config->cpus, "mem_size_mib",
	                 (json_int_t)(config->memory / MiB), "smt", 0, "track_dirty_pages", 0);
}

static void get_machine_config(struct call *c)
{
	answer_json(c->response, machine_config_json(c->api->config));
}

static json_t *drives_json(const struct vmm_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->disk_count; i++) {
		const struct vmm_disk *d = &config->disk[i];
		char made_up[16];

		snprintf(made_up, sizeof(made_up), "disk%u", i);
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:s?, s:s, s:s}", "drive_id",
		                                      d->id ? d->id : made_up, "path_on_host", d->path,
		                                      "is_root_device", d->root, "is_read_only", d->readonly,
		                                      "partuuid", d->partuuid, "cache_type", "Writeback",
		                                      "type", d->type == VMM_DISK_NVME ? "nvme" : "virtio"));
	}
	return list;
}

static json_t *bucket_json(const struct limiter_bucket_config *b)
{
	if (!b->size || !b->refill_ms)
		return NULL;
	return json_pack("{s:I, s:I, s:I}", "size", (json_int_t)b->size, "one_time_burst",
	                 (json_int_t)b->burst, "refill_time", (json_int_t)b->refill_ms);
}

static void limiter_json(json_t *net, const char *name, const struct limiter_config *l)
{
	json_t *bytes = bucket_json(&l->bytes), *ops = bucket_json(&l->ops);

	if (bytes || ops)
		json_object_set_new(net, name, json_pack("{s:o*, s:o*}", "bandwidth", bytes, "ops", ops));
}

static json_t *nets_json(const struct vmm_config *config)
{
	json_t *list = json_array(), *net;

	for (unsigned i = 0; i < config->net_count; i++) {
		const struct vmm_net *n = &config->net[i];
		char text[18];
		u8 mac[6];

		vmm_net_mac(n, mac);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		         mac[4], mac[5]);
		net = json_pack("{s:s, s:s*, s:s*, s:s}", "iface_id", vmm_net_name(n), "host_dev_name",
		                n->tap, "stream", n->stream, "guest_mac", text);
		limiter_json(net, "rx_rate_limiter", &n->rx);
		limiter_json(net, "tx_rate_limiter", &n->tx);
		json_array_append_new(list, net);
	}
	return list;
}

static void get_vm_config(struct call *c)
{
	const struct vmm_config *config = c->api->config;
	json_t *boot = config->kernel ? json_pack("{s:s, s:s?, s:s?}", "kernel_image_path", config->kernel,
	                                          "boot_args", config->cmdline, "initrd_path", config->initrd)
	                              : json_object();

	answer_json(c->response, json_pack("{s:o, s:o, s:o, s:o}", "boot-source", boot, "drives",
	                                   drives_json(config), "machine-config", machine_config_json(config),
	                                   "network-interfaces", nets_json(config)));
}

/* ---- what describes the machine ---- */

static void set_machine_config(struct call *c, bool all)
{
	json_int_t cpus = c->api->config->cpus, mib = (json_int_t)(c->api->config->memory / MiB);
	const char *template = NULL, *pages = NULL;
	int smt = 0, dirty = 0;
	struct error e;

	if (!unpack_body(c, all ? "{s:I, s:I, s?b, s?b, s?s, s?s}" : "{s?I, s?I, s?b, s?b, s?s, s?s}",
	                 "vcpu_count", &cpus, "mem_size_mib", &mib, "smt", &smt, "track_dirty_pages", &dirty,
	                 "cpu_template", &template, "huge_pages", &pages))
		return;
	if (cpus < 1 || cpus > VMM_MAX_CPUS) {
		api_fault(c->response, "vcpu_count: from 1 to %u", VMM_MAX_CPUS);
		return;
	}
	if (mib < 0 || mib > (json_int_t)(1 << 30) || vmm_check_memory((u64)mib * MiB, &e)) {
		api_fault(c->response, "mem_size_mib: %s",
		          mib < 0 || mib > 1 << 30 ? "out of range" : e.text);
		return;
	}
	if (smt || (template && strcmp(template, "None")) || (pages && strcmp(pages, "None"))) {
		api_fault(c->response, "smt, cpu_template and huge_pages are not built yet");
		return;
	}
	c->api->config->cpus = (unsigned)cpus;
	c->api->config->memory = (u64)mib * MiB;
}

static void put_machine_config(struct call *c)
{
	set_machine_config(c, true);
}

static void patch_machine_config(struct call *c)
{
	set_machine_config(c, false);
}

static void put_boot_source(struct call *c)
{
	struct vmm_config *config = c->api->config;
	const char *kernel, *initrd = NULL, *args = NULL;
	char *new_kernel = NULL, *new_initrd = NULL, *new_args = NULL;

	if (!unpack_body(c, "{s:s, s?s, s?s}", "kernel_image_path", &kernel, "initrd_path", &initrd,
	                 "boot_args", &args))
		return;
	if (!file_ok(c, kernel, R_OK) || (initrd && !file_ok(c, initrd, R_OK)))
		return;
	if (!copy(c, &new_kernel, kernel) || !copy(c, &new_initrd, initrd) ||
	    !copy(c, &new_args, args ? args : DEFAULT_BOOT_ARGS)) {
		free(new_kernel);
		free(new_initrd);
		free(new_args);
		return;
	}
	free(config->kernel);
	free(config->initrd);
	free(config->cmdline);
	config->kernel = new_kernel;
	config->initrd = new_initrd;
	config->cmdline = new_args;
}

/* An {id} of a drive or interface. */
static bool id_ok(struct call *c, const char *in_body)
{
	struct error e;

	if (vmm_check_id(c->id, &e)) {
		api_fault(c->response, "%s", e.text);
		return false;
	}
	if (strcmp(c->id, in_body)) {
		api_fault(c->response, "the id in the path is not the one in the body");
		return false;
	}
	return true;
}

/* Puts d where a disk with its id is, or at the end; a root disk goes first, since the kernel counts from
 * there. */
static bool disk_put(struct vmm_config *config, const struct vmm_disk *d)
{
	unsigned i = 0;

	while (i < config->disk_count && (!config->disk[i].id || strcmp(config->disk[i].id, d->id)))
		i++;
	if (i == VMM_MAX_DISKS)
		return false;
	if (i < config->disk_count)
		vmm_disk_release(&config->disk[i]);
	else
		config->disk_count++;
	if (d->root) {
		memmove(config->disk + 1, config->disk, i * sizeof(*d));
		i = 0;
	}
	config->disk[i] = *d;
	return true;
}

static bool started(const struct call *c)
{
	return c->api->machine.state(c->api->machine.ctx) != API_NOT_STARTED;
}

/* The last of a list, which the guest is to get; off the list again if that fails. */
static void plug_last(struct call *c, enum vmm_part part, unsigned n)
{
	struct error e;

	if (c->api->machine.plug(c->api->machine.ctx, part, n, &e)) {
		vmm_config_remove(c->api->config, part, n);
		api_fault(c->response, "%s: %s", c->id, e.text);
	}
}

/* One that is there already, of a machine that runs: the same may be said again. */
static void drive_again(struct call *c, unsigned i, const struct vmm_disk *d, const char *path)
{
	const struct vmm_disk *there = &c->api->config->disk[i];
	struct error e;

	if (strcmp(there->path, path) || there->readonly != d->readonly || there->type != d->type)
		api_fault(c->response, "%s: another drive has this id", c->id);
	else if (c->api->machine.plug(c->api->machine.ctx, VMM_PART_DISK, i, &e))
		api_fault(c->response, "%s: %s", c->id, e.text);
}

static void put_drive(struct call *c)
{
	const char *id, *path, *partuuid = NULL, *cache = NULL, *engine = NULL, *type = "nvme";
	int root, readonly = 0;
	json_t *limiter = NULL;
	struct vmm_disk d = {0};

	if (!unpack_body(c, "{s:s, s:s, s:b, s?b, s?s, s?s, s?s, s?o, s?s}", "drive_id", &id, "path_on_host",
	                 &path, "is_root_device", &root, "is_read_only", &readonly, "partuuid", &partuuid,
	                 "cache_type", &cache, "io_engine", &engine, "rate_limiter", &limiter, "type", &type))
		return;
	if (!id_ok(c, id) || !file_ok(c, path, readonly ? R_OK : R_OK | W_OK))
		return;
	if (limiter) {
		api_fault(c->response, "rate_limiter is not built yet");
		return;
	}
	if (strcmp(type, "nvme") && strcmp(type, "virtio")) {
		api_fault(c->response, "type: not one of nvme, virtio");
		return;
	}
	for (unsigned i = 0; root && i < c->api->config->disk_count; i++)
		if (c->api->config->disk[i].root && strcmp(c->api->config->disk[i].id, id)) {
			api_fault(c->response, "there is a root device already");
			return;
		}
	d.root = root;
	d.readonly = readonly;
	d.type = strcmp(type, "nvme") ? VMM_DISK_VIRTIO : VMM_DISK_NVME;
	if (started(c))
		for (unsigned i = 0; i < c->api->config->disk_count; i++)
			if (c->api->config->disk[i].id && !strcmp(c->api->config->disk[i].id, id)) {
				drive_again(c, i, &d, path);
				return;
			}
	if (started(c) && root) {
		api_fault(c->response, "the root device cannot be plugged in later");
		return;
	}
	if (!copy(c, &d.id, id) || !copy(c, &d.path, path) || !copy(c, &d.partuuid, root ? partuuid : NULL)) {
		vmm_disk_release(&d);
	} else if (!disk_put(c->api->config, &d)) {
		vmm_disk_release(&d);
		api_fault(c->response, "more than %u drives", VMM_MAX_DISKS);
	} else if (started(c)) {
		plug_last(c, VMM_PART_DISK, c->api->config->disk_count - 1);
	}
}

/* ---- networks ---- */

/* {"size": …, "refill_time": …, "one_time_burst": …}; not there: no limit. */
static bool bucket_get(struct call *c, json_t *json, struct limiter_bucket_config *bucket)
{
	json_int_t size = 0, refill = 0, burst = 0;
	json_error_t error;

	*bucket = (struct limiter_bucket_config){0};
	if (!json || json_is_null(json))
		return true;
	if (json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:I, s?I}", "size", &size, "refill_time",
	                   &refill, "one_time_burst", &burst) ||
	    size < 0 || refill < 0 || burst < 0) {
		api_fault(c->response,
		          "a rate limiter's bucket: size, refill_time and one_time_burst are numbers");
		return false;
	}
	*bucket = (struct limiter_bucket_config){
	        .size = (u64)size, .refill_ms = (u64)refill, .burst = (u64)burst};
	return true;
}

static bool limiter_get(struct call *c, json_t *json, struct limiter_config *limiter)
{
	json_t *bytes = NULL, *ops = NULL;

	*limiter = (struct limiter_config){0};
	if (!json)
		return true;
	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s?o, s?o}", "bandwidth", &bytes, "ops", &ops)) {
		api_fault(c->response, "a rate limiter has a bandwidth and ops");
		return false;
	}
	return bucket_get(c, bytes, &limiter->bytes) && bucket_get(c, ops, &limiter->ops);
}

/* The interface of this name; net_count: there is none. */
static unsigned net_find(const struct vmm_config *config, const char *name)
{
	unsigned i = 0;

	while (i < config->net_count && strcmp(vmm_net_name(&config->net[i]), name))
		i++;
	return i;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* One that is there already, of a machine that runs: the same may be said again. */
static void net_again(struct call *c, unsigned i, const struct vmm_net *n)
{
	const struct vmm_net *there = &c->api->config->net[i];
	struct error e;
	u8 mac[2][6];

	vmm_net_mac(there, mac[0]);
	vmm_net_mac(n, mac[1]);
	if (!same_text(there->tap, n->tap) || !same_text(there->stream, n->stream) ||
	    memcmp(mac[0], mac[1], 6))
		api_fault(c->response, "%s: another interface has this id", c->id);
	else if (c->api->machine.plug(c->api->machine.ctx, VMM_PART_NET, i, &e))
		api_fault(c->response, "%s: %s", c->id, e.text);
}

static bool net_get(struct call *c, struct vmm_net *n)
{
	const char *id, *tap = NULL, *mac = NULL, *stream = NULL;
	json_t *rx = NULL, *tx = NULL;
	struct error e;

	if (!unpack_body(c, "{s:s, s?s, s?s, s?s, s?o, s?o}", "iface_id", &id, "host_dev_name", &tap,
	                 "stream", &stream, "guest_mac", &mac, "rx_rate_limiter", &rx, "tx_rate_limiter",
	                 &tx))
		return false;
	if (!id_ok(c, id) || !limiter_get(c, rx, &n->rx) || !limiter_get(c, tx, &n->tx))
		return false;
	if (!tap == !stream || (stream && !*stream)) {
		api_fault(c->response, "%s: host_dev_name, or stream, is missing", id);
		return false;
	}
	n->has_mac = mac;
	if ((tap && vmm_check_tap(tap, &e)) || (mac && vmm_parse_mac(mac, n->mac, &e))) {
		api_fault(c->response, "%s: %s", id, e.text);
		return false;
	}
	return copy(c, &n->id, id) && copy(c, &n->tap, tap) && copy(c, &n->stream, stream);
}

static void put_net(struct call *c)
{
	struct vmm_config *config = c->api->config;
	struct vmm_net n = {0};
	unsigned i;

	if (!net_get(c, &n)) {
		vmm_net_release(&n);
		return;
	}
	i = net_find(config, n.id);
	if (i == VMM_MAX_NETS) {
		api_fault(c->response, "more than %u interfaces", VMM_MAX_NETS);
		vmm_net_release(&n);
		return;
	}
	if (i < config->net_count && started(c)) {
		net_again(c, i, &n);
		vmm_net_release(&n);
		return;
	}
	if (i < config->net_count)
		vmm_net_release(&config->net[i]);
	else
		config->net_count++;
	config->net[i] = n;
	if (started(c))
		plug_last(c, VMM_PART_NET, i);
}

static void patch_net(struct call *c)
{
	struct vmm_config *config = c->api->config;
	json_t *rx = NULL, *tx = NULL;
	struct limiter_config in, out;
	const char *id;
	unsigned i;

	if (!unpack_body(c, "{s:s, s?o, s?o}", "iface_id", &id, "rx_rate_limiter", &rx, "tx_rate_limiter",
	                 &tx) ||
	    !id_ok(c, id) || !limiter_get(c, rx, &in) || !limiter_get(c, tx, &out))
		return;
	i = net_find(config, id);
	if (i == config->net_count) {
		api_fault(c->response, "%s: no such interface", id);
		return;
	}
	if (rx)
		config->net[i].rx = in;
	if (tx)
		config->net[i].tx = out;
	if (started(c))
		c->api->machine.limit_net(c->api->machine.ctx, i, rx, tx);
}

static void delete_part(struct call *c, enum vmm_part part, unsigned n, unsigned count)
{
	struct error e;
	int force = 0;

	if (c->body && !unpack_body(c, "{s?b}", "force", &force))
		return;
	if (n == count)
		return;
	switch (started(c) ? c->api->machine.unplug(c->api->machine.ctx, part, n, force, &e) : 0) {
	case 0:
		vmm_config_remove(c->api->config, part, n);
		return;
	case 1:
		answer_json(c->response, json_pack("{s:s}", "state", "ejecting"));
		c->response->status = c->response->body ? 202 : 400;
		return;
	default:
		api_fault(c->response, "%s: %s", c->id, e.text);
	}
}

static void delete_net(struct call *c)
{
	delete_part(c, VMM_PART_NET, net_find(c->api->config, c->id), c->api->config->net_count);
}

static void delete_drive(struct call *c)
{
	const struct vmm_config *config = c->api->config;
	unsigned i = 0;

	while (i < config->disk_count && (!config->disk[i].id || strcmp(config->disk[i].id, c->id)))
		i++;
	delete_part(c, VMM_PART_DISK, i, config->disk_count);
}

static void put_entropy(struct call *c)
{
	/* Every machine has a random number generator. */
}

/* ---- what acts on it ---- */

static bool need_started(struct call *c, bool started)
{
	if ((c->api->machine.state(c->api->machine.ctx) != API_NOT_STARTED) == started)
		return true;
	api_fault(c->response, started ? "the machine has not started" : "the machine has started already");
	return false;
}

static void put_action(struct call *c)
{
	struct api_machine *m = &c->api->machine;
	const char *type;
	struct error e;

	if (!unpack_body(c, "{s:s}", "action_type", &type))
		return;
	if (!strcmp(type, "InstanceStart")) {
		if (!need_started(c, false))
			return;
		if (!c->api->config->kernel && !c->api->config->firmware)
			api_fault(c->response, "nothing to boot: no boot-source is set");
		else if (m->start(m->ctx, &e))
			api_fault(c->response, "%s", e.text);
	} else if (!strcmp(type, "SendCtrlAltDel")) {
		if (need_started(c, true))
			m->power_button(m->ctx);
	} else if (!strcmp(type, "FlushMetrics")) {
		need_started(c, true);
	} else {
		api_fault(c->response, "action_type: not one of InstanceStart, SendCtrlAltDel, FlushMetrics");
	}
}

static void patch_vm(struct call *c)
{
	struct api_machine *m = &c->api->machine;
	const char *state;

	if (!unpack_body(c, "{s:s}", "state", &state))
		return;
	if (!strcmp(state, "Paused"))
		m->pause(m->ctx);
	else if (!strcmp(state, "Resumed"))
		m->resume(m->ctx);
	else
		api_fault(c->response, "state: not one of Paused, Resumed");
}

static void not_built(struct call *c)
{
	api_fault(c->response, "this resource is not built yet");
}

static void snapshots_not_built(struct call *c)
{
	api_fault(c->response, "snapshots are not built yet");
}

/* ---- routes ---- */

enum when { ALWAYS, BEFORE_START, AFTER_START };

struct route {
	const char *method, *path; /* a path that ends in "/" stands for it and one {id} */
	enum when when;
	bool body;
	void (*handle)(struct call *c);
};

static const struct route routes[] = {
        {"GET", "/", ALWAYS, false, get_instance},
        {"GET", "/version", ALWAYS, false, get_version},
        {"GET", "/vm/config", ALWAYS, false, get_vm_config},
        {"GET", "/machine-config", ALWAYS, false, get_machine_config},
        {"PUT", "/machine-config", BEFORE_START, true, put_machine_config},
        {"PATCH", "/machine-config", BEFORE_START, true, patch_machine_config},
        {"PUT", "/boot-source", BEFORE_START, true, put_boot_source},
        {"PUT", "/drives/", ALWAYS, true, put_drive},
        {"DELETE", "/drives/", ALWAYS, true, delete_drive},
        {"PUT", "/network-interfaces/", ALWAYS, true, put_net},
        {"PATCH", "/network-interfaces/", ALWAYS, true, patch_net},
        {"DELETE", "/network-interfaces/", ALWAYS, true, delete_net},
        {"PUT", "/entropy", BEFORE_START, true, put_entropy},
        {"PUT", "/actions", ALWAYS, true, put_action},
        {"PATCH", "/vm", AFTER_START, true, patch_vm},
        {"PUT", "/snapshot/create", ALWAYS, false, snapshots_not_built},
        {"PUT", "/snapshot/load", ALWAYS, false, snapshots_not_built},
        {"PATCH", "/drives/", ALWAYS, false, not_built},
        {"PUT", "/balloon", ALWAYS, false, not_built},
        {"PUT", "/cpu-config", ALWAYS, false, not_built},
        {"PUT", "/logger", ALWAYS, false, not_built},
        {"PUT", "/metrics", ALWAYS, false, not_built},
        {"PUT", "/mmds", ALWAYS, false, not_built},
        {"PUT", "/mmds/config", ALWAYS, false, not_built},
        {"PUT", "/vsock", ALWAYS, false, not_built},
};

/* Whether the path is the route's; *id is its {id}. */
static bool route_match(const struct route *route, const char *path, const char **id)
{
	size_t len = strlen(route->path);

	*id = NULL;
	if (len < 2 || route->path[len - 1] != '/')
		return !strcmp(route->path, path);
	if (strncmp(route->path, path, len) || strchr(path + len, '/'))
		return false;
	*id = path + len;
	return true;
}

/* A member that is null is one that is not there. */
static void nulls_remove(json_t *object)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(object, next, key, value) if (json_is_null(value))
	        json_object_del(object, key);
}

static void route_call(const struct route *route, struct call *c, const struct http_request *request)
{
	json_error_t error;

	if (route->when != ALWAYS && !need_started(c, route->when == AFTER_START))
		return;
	if (route->body && (request->body_len || strcmp(request->method, "DELETE"))) {
		c->body = json_loadb((const char *)request->body, request->body_len, JSON_REJECT_DUPLICATES,
		                     &error);
		if (!json_is_object(c->body)) {
			api_fault(c->response, "the request's body: %s",
			          c->body ? "not an object" : error.text);
			json_decref(c->body);
			return;
		}
		nulls_remove(c->body);
	}
	route->handle(c);
	json_decref(c->body);
}

void api_handle(struct api *api, const struct http_request *request, struct api_response *response)
{
	struct call call = {.api = api, .response = response};

	*response = (struct api_response){.status = 204};
	for (unsigned i = 0; i < ARRAY_SIZE(routes); i++)
		if (!strcmp(routes[i].method, request->method) &&
		    route_match(&routes[i], request->path, &call.id)) {
			route_call(&routes[i], &call, request);
			return;
		}
	api_fault(response, "no such method and path: %s %s", request->method, request->path);
}
