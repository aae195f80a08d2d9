#include "vmm/api.h"
#include "vmm/api_server.h"
#include "vmm/http.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a machine that only notes what is done to it ---- */

static struct {
	enum api_state state;
	int starts, pauses, resumes, buttons, plugs, unplug, limits;
	const char *start_error, *plug_error;
} fake;

static struct vmm_config config;

static enum api_state fake_state(void *ctx)
{
	return fake.state;
}

static int fake_start(void *ctx, struct error *e)
{
	fake.starts++;
	if (fake.start_error)
		return error_set(e, 0, "%s", fake.start_error);
	fake.state = API_RUNNING;
	return 0;
}

static void fake_pause(void *ctx)
{
	fake.pauses++;
	fake.state = API_PAUSED;
}

static void fake_resume(void *ctx)
{
	fake.resumes++;
	fake.state = API_RUNNING;
}

static void fake_button(void *ctx)
{
	fake.buttons++;
}

/* Plugged in, and what the guest says when it is asked for a part. */
static int fake_plug(void *ctx, enum vmm_part part, unsigned n, struct error *e)
{
	fake.plugs++;
	return fake.plug_error ? error_set(e, 0, "%s", fake.plug_error) : 0;
}

static int fake_unplug(void *ctx, enum vmm_part part, unsigned n, bool force, struct error *e)
{
	if (fake.unplug < 0 && !force)
		return error_set(e, 0, "the guest keeps it");
	return force ? 0 : fake.unplug;
}

static void fake_limit(void *ctx, unsigned n, bool rx, bool tx)
{
	fake.limits += rx + 10 * tx;
}

static struct api api = {&config,
                         {.state = fake_state,
                          .start = fake_start,
                          .pause = fake_pause,
                          .resume = fake_resume,
                          .power_button = fake_button,
                          .plug = fake_plug,
                          .unplug = fake_unplug,
                          .limit_net = fake_limit}};

static int setup(void **state)
{
	struct error e;

	memset(&fake, 0, sizeof(fake));
	return vmm_config_init(&config, &e);
}

static int teardown(void **state)
{
	vmm_config_release(&config);
	return 0;
}

/* The response's body, or "" for none; static. */
static const char *call(const char *method, const char *path, const char *body, int *status)
{
	static char text[4096];
	struct http_request r = {.body = (const u8 *)body, .body_len = strlen(body)};
	struct api_response response;

	snprintf(r.method, sizeof(r.method), "%s", method);
	snprintf(r.path, sizeof(r.path), "%s", path);
	api_handle(&api, &r, &response);
	*status = response.status;
	snprintf(text, sizeof(text), "%s", response.body ? response.body : "");
	api_response_release(&response);
	return text;
}

static void assert_done(const char *method, const char *path, const char *body)
{
	int status;
	const char *text = call(method, path, body, &status);

	if (status != 204 || *text)
		fail_msg("%s %s gives %d %s", method, path, status, text);
}

static void assert_fault(const char *method, const char *path, const char *body, const char *says)
{
	int status;
	const char *text = call(method, path, body, &status);
	json_t *json = json_loads(text, 0, NULL);
	const char *message = json_string_value(json_object_get(json, "fault_message"));

	if (status != 400 || !message || !strstr(message, says))
		fail_msg("%s %s gives %d %s, not '%s'", method, path, status, text, says);
	json_decref(json);
}

static void assert_gets(const char *path, const char *expected)
{
	int status;
	const char *text = call("GET", path, "", &status);
	json_t *got = json_loads(text, 0, NULL), *wanted = json_loads(expected, 0, NULL);

	assert_int_equal(status, 200);
	assert_non_null(wanted);
	if (!json_equal(got, wanted))
		fail_msg("%s is %s", path, text);
	json_decref(got);
	json_decref(wanted);
}

/* ---- meaning ---- */

static void says_what_it_is(void **state)
{
	assert_gets("/", "{\"id\": \"anonymous-instance\", \"state\": \"Not started\", \"vmm_version\": "
	                 "\"" INSULA_VERSION "\", \"app_name\": \"Insula\"}");
	assert_gets("/version", "{\"firecracker_version\": \"" INSULA_VERSION
	                        "\", \"insula_version\": \"" INSULA_VERSION "\"}");
	assert_gets(
	        "/machine-config",
	        "{\"vcpu_count\": 1, \"mem_size_mib\": 512, \"smt\": false, \"track_dirty_pages\": false}");
}

static void a_machine_is_described_and_started(void **state)
{
	assert_done("PUT", "/machine-config", "{\"vcpu_count\": 4, \"mem_size_mib\": 1024}");
	assert_done("PATCH", "/machine-config", "{\"vcpu_count\": 2}");
	assert_done("PUT", "/boot-source",
	            "{\"kernel_image_path\": \"/dev/null\", \"boot_args\": \"console=ttyS0\", "
	            "\"initrd_path\": null}");
	assert_done("PUT", "/drives/data",
	            "{\"drive_id\": \"data\", \"path_on_host\": \"/dev/null\", \"is_root_device\": false, "
	            "\"is_read_only\": true}");
	assert_done("PUT", "/drives/rootfs",
	            "{\"drive_id\": \"rootfs\", \"path_on_host\": \"/dev/zero\", \"is_root_device\": true, "
	            "\"partuuid\": \"12-01\", \"cache_type\": \"Unsafe\", \"io_engine\": \"Sync\"}");
	assert_done("PUT", "/network-interfaces/eth0",
	            "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", \"guest_mac\": "
	            "\"02:00:00:00:00:01\"}");
	assert_gets(
	        "/vm/config",
	        "{\"boot-source\": {\"kernel_image_path\": \"/dev/null\", \"boot_args\": \"console=ttyS0\", "
	        "\"initrd_path\": null}, "
	        "\"drives\": [{\"drive_id\": \"rootfs\", \"path_on_host\": \"/dev/zero\", "
	        "\"is_root_device\": true, "
	        "\"is_read_only\": false, \"partuuid\": \"12-01\", \"cache_type\": \"Writeback\", \"type\": "
	        "\"nvme\"}, "
	        "{\"drive_id\": \"data\", \"path_on_host\": \"/dev/null\", \"is_root_device\": false, "
	        "\"is_read_only\": true, \"partuuid\": null, \"cache_type\": \"Writeback\", \"type\": "
	        "\"nvme\"}], "
	        "\"machine-config\": {\"vcpu_count\": 2, \"mem_size_mib\": 1024, \"smt\": false, "
	        "\"track_dirty_pages\": false}, "
	        "\"network-interfaces\": [{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", "
	        "\"guest_mac\": \"02:00:00:00:00:01\"}]}");
	assert_int_equal(config.cpus, 2);
	assert_int_equal(config.memory, 1 * GiB);
	assert_string_equal(config.disk[0].path, "/dev/zero");
	assert_done("PUT", "/actions", "{\"action_type\": \"InstanceStart\"}");
	assert_int_equal(fake.starts, 1);
	assert_done("PATCH", "/vm", "{\"state\": \"Paused\"}");
	assert_int_equal(fake.pauses, 1);
	assert_done("PATCH", "/vm", "{\"state\": \"Resumed\"}");
	assert_int_equal(fake.resumes, 1);
	assert_done("PUT", "/actions", "{\"action_type\": \"SendCtrlAltDel\"}");
	assert_int_equal(fake.buttons, 1);
	assert_done("PUT", "/actions", "{\"action_type\": \"FlushMetrics\"}");
}

static void what_is_put_again_is_replaced(void **state)
{
	assert_done("PUT", "/drives/a",
	            "{\"drive_id\":\"a\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}");
	assert_done("PUT", "/drives/b",
	            "{\"drive_id\":\"b\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}");
	assert_done("PUT", "/drives/b",
	            "{\"drive_id\":\"b\",\"path_on_host\":\"/dev/"
	            "zero\",\"is_root_device\":true,\"type\":\"virtio\"}");
	assert_int_equal(config.disk_count, 2);
	assert_string_equal(config.disk[0].id, "b");
	assert_string_equal(config.disk[0].path, "/dev/zero");
	assert_int_equal(config.disk[0].type, VMM_DISK_VIRTIO);
	assert_string_equal(config.disk[1].id, "a");
	assert_done("PUT", "/boot-source", "{\"kernel_image_path\": \"/dev/null\"}");
	assert_done("PUT", "/boot-source", "{\"kernel_image_path\": \"/dev/zero\"}");
	assert_string_equal(config.kernel, "/dev/zero");
	assert_string_equal(config.cmdline, "console=ttyS0 reboot=k panic=1");
	assert_done("PUT", "/network-interfaces/n", "{\"iface_id\":\"n\",\"host_dev_name\":\"tap0\"}");
	assert_done("PUT", "/network-interfaces/n", "{\"iface_id\":\"n\",\"host_dev_name\":\"tap1\"}");
	assert_int_equal(config.net_count, 1);
	assert_string_equal(config.net[0].tap, "tap1");
	assert_done("PUT", "/entropy", "{}");
}

static void bad_requests_say_why(void **state)
{
	static const struct {
		const char *method, *path, *body, *says;
	} cases[] = {
	        {"GET", "/none", "", "no such method and path: GET /none"},
	        {"POST", "/", "", "no such method"},
	        {"PUT", "/drives", "{}", "no such method"},
	        {"PUT", "/drives/a/b", "{}", "no such method"},
	        {"PUT", "/actions", "", "the request's body"},
	        {"PUT", "/actions", "{", "the request's body"},
	        {"PUT", "/actions", "[]", "not an object"},
	        {"PUT", "/actions", "{}", "action_type"},
	        {"PUT", "/actions", "{\"action_type\": 1}", "string"},
	        {"PUT", "/actions", "{\"action_type\": \"Explode\"}", "not one of"},
	        {"PUT", "/actions", "{\"action_type\": \"InstanceStart\", \"x\": 1}", "x"},
	        {"PUT", "/actions", "{\"action_type\": \"InstanceStart\"}", "no boot-source"},
	        {"PUT", "/actions", "{\"action_type\": \"SendCtrlAltDel\"}", "has not started"},
	        {"PATCH", "/vm", "{\"state\": \"Paused\"}", "has not started"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 1}", "mem_size_mib"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 0, \"mem_size_mib\": 128}", "vcpu_count"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 65, \"mem_size_mib\": 128}", "vcpu_count"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 1}", "too little memory"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": -1}", "out of range"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 9223372036854775807}",
	         "out of range"},
	        {"PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 128, \"smt\": true}",
	         "not built yet"},
	        {"PUT", "/boot-source", "{\"kernel_image_path\": \"/none\"}", "/none: No such file"},
	        {"PUT", "/boot-source", "{\"kernel_image_path\": \"\"}", "empty"},
	        {"PUT", "/boot-source", "{\"kernel_image_path\": \"/dev/null\", \"initrd_path\": \"/none\"}",
	         "/none"},
	        {"PUT", "/drives/a",
	         "{\"drive_id\":\"b\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}", "id"},
	        {"PUT", "/drives/",
	         "{\"drive_id\":\"\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}", "id"},
	        {"PUT", "/drives/%41",
	         "{\"drive_id\":\"%41\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}", "id"},
	        {"PUT", "/drives/a",
	         "{\"drive_id\":\"a\",\"path_on_host\":\"/none\",\"is_root_device\":false}", "/none"},
	        {"PUT", "/drives/a",
	         "{\"drive_id\":\"a\",\"path_on_host\":\"/dev/"
	         "null\",\"is_root_device\":false,\"rate_limiter\":{}}",
	         "rate_limiter"},
	        {"PUT", "/drives/a",
	         "{\"drive_id\":\"a\",\"path_on_host\":\"/dev/"
	         "null\",\"is_root_device\":false,\"type\":\"ide\"}",
	         "type"},
	        {"PUT", "/network-interfaces/a", "{\"iface_id\":\"a\",\"host_dev_name\":\"\"}",
	         "network interface"},
	        {"PUT", "/network-interfaces/a",
	         "{\"iface_id\":\"a\",\"host_dev_name\":\"t\",\"guest_mac\":\"x\"}", "MAC"},
	        {"PUT", "/snapshot/create", "{}", "snapshots are not built yet"},
	        {"PUT", "/snapshot/load", "", "snapshots are not built yet"},
	        {"PUT", "/balloon", "{}", "not built yet"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_fault(cases[i].method, cases[i].path, cases[i].body, cases[i].says);
	assert_int_equal(fake.starts, 0);
	assert_int_equal(config.disk_count + config.net_count, 0);
}

static void a_second_root_is_refused(void **state)
{
	assert_done("PUT", "/drives/a",
	            "{\"drive_id\":\"a\",\"path_on_host\":\"/dev/null\",\"is_root_device\":true}");
	assert_fault("PUT", "/drives/b",
	             "{\"drive_id\":\"b\",\"path_on_host\":\"/dev/null\",\"is_root_device\":true}", "root");
	assert_done("PUT", "/drives/a",
	            "{\"drive_id\":\"a\",\"path_on_host\":\"/dev/zero\",\"is_root_device\":true}");
}

static void after_the_start_nothing_is_described(void **state)
{
	fake.state = API_RUNNING;
	assert_fault("PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 128}",
	             "started already");
	assert_fault("PUT", "/boot-source", "{\"kernel_image_path\": \"/dev/null\"}", "started already");
	assert_fault("PUT", "/actions", "{\"action_type\": \"InstanceStart\"}", "started already");
	assert_gets(
	        "/",
	        "{\"id\": \"anonymous-instance\", \"state\": \"Running\", \"vmm_version\": \"" INSULA_VERSION
	        "\", \"app_name\": \"Insula\"}");
}

static void parts_are_plugged_while_it_runs(void **state)
{
	static const char net[] = "{\"iface_id\":\"n\",\"host_dev_name\":\"tap0\"}";
	static const char drive[] =
	        "{\"drive_id\":\"d\",\"path_on_host\":\"/dev/null\",\"is_root_device\":false}";
	int status;

	fake.state = API_RUNNING;
	assert_done("PUT", "/network-interfaces/n", net);
	assert_done("PUT", "/drives/d", drive);
	assert_int_equal(fake.plugs, 2);
	assert_int_equal(config.net_count + config.disk_count, 2);
	/* Said again; another one under this name; a root. */
	assert_done("PUT", "/network-interfaces/n", net);
	assert_done("PUT", "/drives/d", drive);
	assert_int_equal(fake.plugs, 4);
	assert_fault("PUT", "/network-interfaces/n", "{\"iface_id\":\"n\",\"host_dev_name\":\"tap1\"}",
	             "another interface");
	assert_fault("PUT", "/drives/d",
	             "{\"drive_id\":\"d\",\"path_on_host\":\"/dev/zero\",\"is_root_device\":false}",
	             "another drive");
	assert_fault("PUT", "/drives/r",
	             "{\"drive_id\":\"r\",\"path_on_host\":\"/dev/null\",\"is_root_device\":true}", "root");
	/* One that cannot be opened leaves nothing. */
	fake.plug_error = "tap 'x': no such interface";
	assert_fault("PUT", "/network-interfaces/x", "{\"iface_id\":\"x\",\"host_dev_name\":\"x\"}",
	             "no such");
	assert_int_equal(config.net_count, 1);
	/* The guest takes its time; keeps it; it is torn out. */
	fake.unplug = 1;
	assert_string_equal(call("DELETE", "/network-interfaces/n", "{}", &status),
	                    "{\"state\":\"ejecting\"}");
	assert_int_equal(status, 202);
	fake.unplug = -1;
	assert_fault("DELETE", "/network-interfaces/n", "", "the guest keeps it");
	assert_done("DELETE", "/network-interfaces/n", "{\"force\":true}");
	assert_done("DELETE", "/drives/d", "{\"force\":true}");
	assert_int_equal(config.net_count + config.disk_count, 0);
	assert_done("DELETE", "/network-interfaces/n", "{}");
	assert_done("DELETE", "/drives/none", "");
	assert_fault("DELETE", "/drives/none", "{\"forse\":true}", "forse");
}

static void rates_are_kept_and_changed(void **state)
{
	assert_done("PUT", "/network-interfaces/n",
	            "{\"iface_id\":\"n\",\"host_dev_name\":\"t\",\"rx_rate_limiter\":{\"bandwidth\":"
	            "{\"size\":1000,\"refill_time\":100,\"one_time_burst\":7},\"ops\":null}}");
	assert_int_equal(config.net[0].rx.bytes.size, 1000);
	assert_int_equal(config.net[0].rx.bytes.refill_ms, 100);
	assert_int_equal(config.net[0].rx.bytes.burst, 7);
	assert_int_equal(config.net[0].rx.ops.size, 0);
	assert_int_equal(config.net[0].tx.bytes.size, 0);
	assert_done("PATCH", "/network-interfaces/n",
	            "{\"iface_id\":\"n\",\"tx_rate_limiter\":{\"ops\":{\"size\":5,\"refill_time\":10}}}");
	assert_int_equal(config.net[0].rx.bytes.size, 1000);
	assert_int_equal(config.net[0].tx.ops.size, 5);
	assert_int_equal(fake.limits, 0);
	fake.state = API_RUNNING;
	assert_done("PATCH", "/network-interfaces/n", "{\"iface_id\":\"n\",\"tx_rate_limiter\":{}}");
	assert_int_equal(config.net[0].tx.ops.size, 0);
	assert_int_equal(fake.limits, 10);
	assert_fault("PATCH", "/network-interfaces/m", "{\"iface_id\":\"m\"}", "no such interface");
	assert_fault(
	        "PATCH", "/network-interfaces/n",
	        "{\"iface_id\":\"n\",\"rx_rate_limiter\":{\"bandwidth\":{\"size\":-1,\"refill_time\":1}}}",
	        "numbers");
	assert_fault("PATCH", "/network-interfaces/n", "{\"iface_id\":\"n\",\"rx_rate_limiter\":7}",
	             "bandwidth");
}

static void a_failed_start_can_be_tried_again(void **state)
{
	assert_done("PUT", "/boot-source", "{\"kernel_image_path\": \"/dev/null\"}");
	fake.start_error = "/dev/null: empty file";
	assert_fault("PUT", "/actions", "{\"action_type\": \"InstanceStart\"}", "/dev/null: empty file");
	fake.start_error = NULL;
	assert_done("PUT", "/actions", "{\"action_type\": \"InstanceStart\"}");
}

/* ---- HTTP ---- */

static enum http_result parse(const char *text, struct http_request *r)
{
	return http_parse((const u8 *)text, strlen(text), r);
}

static void http_takes_requests(void **state)
{
	struct http_request r;
	const char *two =
	        "PUT /a/b?q=1 HTTP/1.1\r\nHost: x\r\ncontent-length:  3 \r\n\r\nabcGET / HTTP/1.1\r\n\r\n";

	assert_int_equal(parse(two, &r), HTTP_OK);
	assert_string_equal(r.method, "PUT");
	assert_string_equal(r.path, "/a/b");
	assert_int_equal(r.body_len, 3);
	assert_memory_equal(r.body, "abc", 3);
	assert_true(r.keep_alive);
	assert_int_equal(parse(two + r.length, &r), HTTP_OK);
	assert_string_equal(r.method, "GET");
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &r), HTTP_OK);
	assert_false(r.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", &r), HTTP_OK);
	assert_false(r.keep_alive);
	assert_int_equal(parse("PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", &r),
	                 HTTP_CONTINUE);
	assert_int_equal(parse("PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{", &r),
	                 HTTP_MORE);
}

static void http_waits_for_the_rest(void **state)
{
	const char *text = "PUT /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";

	for (size_t len = 0; len <= strlen(text); len++) {
		u8 *cut = malloc(len ? len : 1);
		struct http_request r;

		memcpy(cut, text, len);
		assert_int_equal(http_parse(cut, len, &r), len == strlen(text) ? HTTP_OK : HTTP_MORE);
		free(cut);
	}
}

static void http_refuses_nonsense(void **state)
{
	static const char *const bad[] = {
	        "\r\n\r\n",
	        "GET\r\n\r\n",
	        "GET /\r\n\r\n",
	        "GET / HTTP/2.0\r\n\r\n",
	        "GET / HTTP/1.1 \r\n\r\n",
	        "GET  / HTTP/1.1\r\n\r\n",
	        "GET x HTTP/1.1\r\n\r\n",
	        "VERYLONG / HTTP/1.1\r\n\r\n",
	        "G(T / HTTP/1.1\r\n\r\n",
	        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
	        "GET / HTTP/1.1\r\n: x\r\n\r\n",
	        "GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
	        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
	        "GET / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
	        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
	        "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
	        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
	};
	struct http_request r;
	u8 head[HTTP_MAX_HEAD];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i], &r) != HTTP_BAD)
			fail_msg("'%s' is taken", bad[i]);
	assert_int_equal(parse("PUT / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", &r), HTTP_TOO_LARGE);
	memset(head, 'x', sizeof(head));
	assert_int_equal(http_parse(head, sizeof(head), &r), HTTP_TOO_LARGE);
}

/* ---- the socket ---- */

static char socket_path[64];

static void *loop_main(void *arg)
{
	struct error e;

	return (void *)(intptr_t)loop_run(arg, &e);
}

static int client_connect(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, socket_path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Reads until `text` has come, or the end. */
static bool client_sees(int fd, const char *text)
{
	static char got[8192];
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, got + len, sizeof(got) - 1 - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		got[len] = 0;
		if (strstr(got, text))
			return true;
	}
}

static void client_sends(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void serves_clients_on_a_socket(void **state)
{
	struct loop loop;
	struct error e;
	struct stat st;
	pthread_t thread;

	snprintf(socket_path, sizeof(socket_path), "/tmp/insula-test-api-%d", getpid());
	assert_int_equal(loop_init(&loop, &e), 0);
	struct api_server *s = api_server_new(socket_path, &api, &loop, &e);

	assert_non_null(s);
	assert_int_equal(stat(socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* Somebody listens there: a second server must not take it away. */
	assert_null(api_server_new(socket_path, &api, &loop, &e));
	assert_int_equal(pthread_create(&thread, NULL, loop_main, &loop), 0);

	int fd[API_MAX_CLIENTS + 1];

	/* More than are served at once: the last one is, when another has gone. */
	for (unsigned i = 0; i <= API_MAX_CLIENTS; i++) {
		fd[i] = client_connect();
		client_sends(fd[i], "GET /version HTTP/1.1\r\n\r\n");
	}
	for (unsigned i = 0; i < API_MAX_CLIENTS; i++)
		assert_true(client_sees(fd[i], INSULA_VERSION "\"}"));
	close(fd[0]);
	assert_true(client_sees(fd[API_MAX_CLIENTS], INSULA_VERSION "\"}"));

	/* Two requests in one go, and a body in two pieces. */
	client_sends(fd[1], "GET / HTTP/1.1\r\n\r\nPUT /entropy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{");
	assert_true(client_sees(fd[1], "Not started"));
	client_sends(fd[1], "}");
	assert_true(client_sees(fd[1], "204 No Content"));
	client_sends(fd[2], "PUT /entropy HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_true(client_sees(fd[2], "100 Continue\r\n\r\n"));
	client_sends(fd[2], "{}");
	assert_true(client_sees(fd[2], "204 No Content"));
	client_sends(fd[3], "nonsense\r\n\r\n");
	assert_true(client_sees(fd[3], "400 Bad Request"));
	assert_false(client_sees(fd[3], "anything more"));

	loop_stop(&loop);
	pthread_join(thread, NULL);
	api_server_free(s);
	assert_int_equal(stat(socket_path, &st), -1);
	for (unsigned i = 1; i <= API_MAX_CLIENTS; i++)
		close(fd[i]);
	loop_release(&loop);
}

static void takes_over_a_stale_socket_only(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct loop loop;
	struct error e;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(socket_path, sizeof(socket_path), "/tmp/insula-test-stale-%d", getpid());
	strcpy(addr.sun_path, socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(loop_init(&loop, &e), 0);
	struct api_server *s = api_server_new(socket_path, &api, &loop, &e);

	assert_non_null(s);
	api_server_free(s);

	/* A file of another kind stays. */
	fclose(fopen(socket_path, "w"));
	assert_null(api_server_new(socket_path, &api, &loop, &e));
	assert_non_null(strstr(e.text, socket_path));
	assert_int_equal(stat(socket_path, &st), 0);
	unlink(socket_path);
	assert_null(api_server_new("/nowhere/sock", &api, &loop, &e));
	loop_release(&loop);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(says_what_it_is),
	        TEST(a_machine_is_described_and_started),
	        TEST(what_is_put_again_is_replaced),
	        TEST(bad_requests_say_why),
	        TEST(a_second_root_is_refused),
	        TEST(after_the_start_nothing_is_described),
	        TEST(parts_are_plugged_while_it_runs),
	        TEST(rates_are_kept_and_changed),
	        TEST(a_failed_start_can_be_tried_again),
	        TEST(http_takes_requests),
	        TEST(http_waits_for_the_rest),
	        TEST(http_refuses_nonsense),
	        TEST(serves_clients_on_a_socket),
	        TEST(takes_over_a_stale_socket_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
