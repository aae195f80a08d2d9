/*
 * The control socket's meaning: a request (method, path, body) against a configuration and a machine gives a
 * response. The resources are those of Firecracker's API, so that its clients work here:
 *
 *   GET  /  /version  /vm/config  /machine-config
 *   PUT  /machine-config  /boot-source  /drives/{id}  /network-interfaces/{id}  /entropy  /actions
 *   PATCH /machine-config  /vm  /network-interfaces/{id}
 *   DELETE /drives/{id}  /network-interfaces/{id}
 *
 * 200 with JSON or 204 on success; else 400 with {"fault_message": …}. What describes the machine can be said
 * only before it has started, what acts on it only after.
 *
 * Ours: a drive takes "type": "nvme" (the default) or "virtio". Drives and interfaces can be put, and
 * deleted, after the start too. A PUT plugs one in; the same again announces it once more. A DELETE asks the
 * guest for it: 202 as long as the guest has not given it back, 204 when it is gone or was not there, 400 if
 * the guest keeps it (then the next one asks anew); with {"force": true} it is gone at once, as if torn out.
 * An interface may be on "stream", a socket's path (net_stream.h), instead of host_dev_name.
 *
 * A function of its arguments; it does no I/O but to look whether a named file is there. Loop's thread.
 */
#pragma once

#include "base/error.h"
#include "vmm/config.h"
#include "vmm/http.h"

enum api_state { API_NOT_STARTED, API_RUNNING, API_PAUSED };

/* The machine behind the API. */
struct api_machine {
	enum api_state (*state)(void *ctx);
	int (*start)(void *ctx, struct error *e); /* builds it from the configuration, and runs it */
	void (*pause)(void *ctx);
	void (*resume)(void *ctx);
	void (*power_button)(void *ctx);
	/* Of a machine that has started, as devices_plug() and devices_unplug() have it (devices.h). */
	int (*plug)(void *ctx, enum vmm_part part, unsigned n, struct error *e);
	int (*unplug)(void *ctx, enum vmm_part part, unsigned n, bool force, struct error *e);
	void (*limit_net)(void *ctx, unsigned n, bool rx, bool tx);
	void *ctx;
};

struct api {
	struct vmm_config *config;
	struct api_machine machine;
};

struct api_response {
	int status;
	char *body; /* owned JSON text, or NULL */
};

void api_handle(struct api *api, const struct http_request *request, struct api_response *response);
void api_fault(struct api_response *response, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void api_response_release(struct api_response *response);
