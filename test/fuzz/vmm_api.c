/*
 * A client of the control socket that sends anything; the first byte says how the rest is used.
 *   0  bytes on the socket
 *   n  the body of a request to the n-th resource of the list
 * State is kept from one request to the next within an input, which is cut at 0xff bytes (no JSON has them).
 */
#include "vmm/api.h"

#include <stdlib.h>
#include <string.h>

static enum api_state machine_state;

static enum api_state fake_state(void *ctx)
{
	return machine_state;
}
static void fake_pause(void *ctx)
{
	machine_state = API_PAUSED;
}
static void fake_resume(void *ctx)
{
	machine_state = API_RUNNING;
}
static void fake_button(void *ctx) {}

static int fake_start(void *ctx, struct error *e)
{
	free(vmm_config_cmdline(ctx));
	machine_state = API_RUNNING;
	return 0;
}

static int fake_plug(void *ctx, enum vmm_part part, unsigned n, struct error *e)
{
	const struct vmm_config *config = ctx;

	if (n >= (part == VMM_PART_NET ? config->net_count : config->disk_count))
		abort();
	return n % 3 == 2 ? error_set(e, 0, "no room") : 0;
}

static int fake_unplug(void *ctx, enum vmm_part part, unsigned n, bool force, struct error *e)
{
	static unsigned turn;

	return force || turn++ % 3 == 0 ? 0 : turn % 3 == 1 ? 1 : error_set(e, 0, "kept");
}

static void fake_limit(void *ctx, unsigned n, bool rx, bool tx)
{
	if (n >= ((struct vmm_config *)ctx)->net_count)
		abort();
}

static void request(struct api *api, const struct http_request *r)
{
	struct api_response response;

	api_handle(api, r, &response);
	if (response.status != 200 && response.status != 202 && response.status != 204 &&
	    response.status != 400)
		abort();
	if (response.status != 204 && !response.body)
		abort();
	api_response_release(&response);
}

static void stream(struct api *api, const u8 *data, size_t size)
{
	struct http_request r;

	while (http_parse(data, size, &r) == HTTP_OK) {
		if (r.length > size || r.body < data || r.body + r.body_len > data + size)
			abort();
		request(api, &r);
		data += r.length;
		size -= r.length;
	}
}

static const char *const resources[][2] = {
        {"PUT", "/machine-config"},
        {"PATCH", "/machine-config"},
        {"PUT", "/boot-source"},
        {"PUT", "/drives/a"},
        {"PUT", "/network-interfaces/a"},
        {"PUT", "/actions"},
        {"PATCH", "/vm"},
        {"GET", "/vm/config"},
        {"PUT", "/entropy"},
        {"DELETE", "/drives/a"},
        {"DELETE", "/network-interfaces/a"},
        {"PATCH", "/network-interfaces/a"},
        {"PUT", "/network-interfaces/b"},
        {"PUT", "/drives/b"},
};

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct vmm_config config;
	struct error e;
	struct api api = {&config,
	                  {.state = fake_state,
	                   .start = fake_start,
	                   .pause = fake_pause,
	                   .resume = fake_resume,
	                   .power_button = fake_button,
	                   .plug = fake_plug,
	                   .unplug = fake_unplug,
	                   .limit_net = fake_limit,
	                   .ctx = &config}};

	if (vmm_config_init(&config, &e))
		abort();
	machine_state = API_NOT_STARTED;
	while (size) {
		const u8 *end = memchr(data, 0xff, size);
		size_t part = end ? (size_t)(end - data) : size;

		if (part) {
			unsigned way = data[0] % (ARRAY_SIZE(resources) + 1);

			if (!way) {
				stream(&api, data + 1, part - 1);
			} else {
				struct http_request r = {.body = data + 1, .body_len = part - 1};

				strcpy(r.method, resources[way - 1][0]);
				strcpy(r.path, resources[way - 1][1]);
				request(&api, &r);
			}
		}
		data += part + (end != NULL);
		size -= part + (end != NULL);
	}
	vmm_config_release(&config);
	return 0;
}
