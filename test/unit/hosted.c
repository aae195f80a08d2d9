/*
 * Interfaces and disks of a machine that runs: what is said at its control socket, and how answers are taken.
 * The other end is a thread that answers one request.
 */
#include "host/hosted.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static int listener = -1;
static pthread_t thread;
static const char *answer;
static char request[8192];

static void *serve(void *arg)
{
	int fd = accept(listener, NULL, NULL);
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

	request[n > 0 ? n : 0] = 0;
	(void)!write(fd, answer, strlen(answer));
	close(fd);
	return NULL;
}

static int setup(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	strcpy(dir, "/tmp/insula-hosted-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/vmm.sock", dir);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	return 0;
}

static int teardown(void **state)
{
	char path[128];

	close(listener);
	snprintf(path, sizeof(path), "%s/vmm.sock", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}

static void expect(const char *text)
{
	answer = text;
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static const char *asked(void)
{
	pthread_join(thread, NULL);
	return request;
}

#define DONE "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
#define WAIT "HTTP/1.1 202 Accepted\r\nContent-Length: 20\r\n\r\n{\"state\":\"ejecting\"}"
#define REFUSED \
	"HTTP/1.1 400 Bad Request\r\nContent-Length: 35\r\n\r\n{\"fault_message\":\"x: no such thing\"}"

static void a_tap_is_attached(void **state)
{
	struct error e;

	expect(DONE);
	assert_int_equal(hosted_attach_tap(dir, "tap=eni0,mac=02:00:00:00:00:01,rx-rate=1000000,tx-rate=7",
	                                   "eni0", &e),
	                 0);
	assert_non_null(strstr(asked(), "PUT /network-interfaces/eni0 HTTP/1.1\r\n"));
	assert_non_null(strstr(request,
	                       "\r\n\r\n{\"iface_id\":\"eni0\",\"host_dev_name\":\"eni0\","
	                       "\"guest_mac\":\"02:00:00:00:00:01\","
	                       "\"rx_rate_limiter\":{\"bandwidth\":{\"size\":100000,\"refill_time\":100}},"
	                       "\"tx_rate_limiter\":{\"bandwidth\":{\"size\":7,\"refill_time\":1000}}}"));
	expect(REFUSED);
	assert_int_equal(hosted_attach_tap(dir, "tap=eni0", "eni0", &e), -1);
	assert_non_null(strstr(e.text, "x: no such thing"));
	assert_non_null(strstr(asked(), "{\"iface_id\":\"eni0\",\"host_dev_name\":\"eni0\"}"));
}

static void a_tap_is_asked_for(void **state)
{
	struct error e;

	expect(WAIT);
	assert_int_equal(hosted_detach_tap(dir, "eni0", false, &e), 1);
	assert_non_null(strstr(asked(), "DELETE /network-interfaces/eni0 HTTP/1.1\r\n"));
	assert_non_null(strstr(request, "\r\n\r\n{}"));
	expect(DONE);
	assert_int_equal(hosted_detach_tap(dir, "eni0", true, &e), 0);
	assert_non_null(strstr(asked(), "{\"force\":true}"));
	expect(REFUSED);
	assert_int_equal(hosted_detach_tap(dir, "eni0", false, &e), -1);
	assert_non_null(strstr(e.text, "no such thing"));
	asked();
	/* A VMM that ends without a word. */
	expect("");
	assert_int_equal(hosted_detach_tap(dir, "eni0", false, &e), -1);
	asked();
}

static void a_disk_comes_and_goes(void **state)
{
	struct hosted_disk disk = {.path = "../../volumes/vol-0", .id = "vol0", .readonly = true};
	struct error e;

	expect(DONE);
	assert_int_equal(hosted_attach_disk(dir, &disk, &e), 0);
	assert_non_null(strstr(asked(), "PUT /drives/vol0 HTTP/1.1\r\n"));
	assert_non_null(strstr(request, "{\"drive_id\":\"vol0\",\"path_on_host\":\"../../volumes/vol-0\","
	                                "\"is_root_device\":false,\"is_read_only\":true}"));
	expect(WAIT);
	assert_int_equal(hosted_detach_disk(dir, "vol0", false, &e), 1);
	assert_non_null(strstr(asked(), "DELETE /drives/vol0 HTTP/1.1\r\n"));
	disk.path = "a\"b";
	assert_int_equal(hosted_attach_disk(dir, &disk, &e), -1);
}

static void nobody_is_there(void **state)
{
	struct error e;

	assert_int_equal(hosted_detach_tap("/nowhere", "eni0", false, &e), -1);
	assert_int_equal(hosted_attach_tap("/nowhere", "tap=t", "eni0", &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_tap_is_attached),
	        cmocka_unit_test(a_tap_is_asked_for),
	        cmocka_unit_test(a_disk_comes_and_goes),
	        cmocka_unit_test(nobody_is_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
