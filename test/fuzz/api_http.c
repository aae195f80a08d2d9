/*
 * The endpoint as a client that may be anybody reaches it: bytes on a connection, to the real front with the
 * real region behind it (of one simulated host), whose changes are taken back after each batch.
 *
 * The input is what is sent, but for these bytes:
 *   ff     let the server read what was sent so far
 *   fe     close the connection and open another
 *   fd n   the byte before, n * 512 times more
 *   fc     from here to the next of these bytes: the body of a request that is signed as it should be
 *
 * What comes back must be answers of ours, each of as many bytes as it says.
 */
#include "api/front.h"

static int fuzz_commit(struct front *f, struct error *e);
#define front_commit fuzz_commit
#include "api/server.c"
#undef front_commit

#include "api/digest.h"
#include "api/traffic.h"
#include "region/resource.h"
#include "region/schedule.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

static struct cloud cloud;
static struct front front = {.cloud = &cloud};
static struct server *server;
static struct access_key key;
static bool keep; /* the region's first objects */

static int fuzz_commit(struct front *f, struct error *e)
{
	if (keep)
		return front_commit(f, e);
	database_rollback(f->cloud->db);
	return 0;
}

struct client {
	int fd;
	struct buffer out, in;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void client_open(struct client *c)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
	                         .sin_port = htons((u16)server_port(server)),
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
	/* No port is left waiting. */
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/* Reads what there is. True: the server has closed. */
static bool client_read(struct client *c)
{
	char bytes[65536];
	ssize_t n;

	while ((n = read(c->fd, bytes, sizeof(bytes))) > 0)
		buffer_append(&c->in, bytes, (size_t)n);
	return n == 0 || errno != EAGAIN;
}

/* Sends all that is waiting, for as long as the server takes it. */
static bool client_send(struct client *c)
{
	size_t sent = 0;
	bool closed = false;

	for (unsigned idle = 0; sent < c->out.length && !closed && idle < 1000; idle++) {
		ssize_t n = send(c->fd, buffer_str(&c->out) + sent, c->out.length - sent, MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
		} else if (errno != EAGAIN) {
			closed = true;
		}
		event_base_loop(server->base, EVLOOP_NONBLOCK);
		closed |= client_read(c);
	}
	buffer_clear(&c->out);
	return closed;
}

/* Nothing but whole answers; the last may be cut. */
static void check_answers(const char *at, const char *end)
{
	while (at < end) {
		const char *body = strstr(at, "\r\n\r\n"), *length, *status;
		size_t size = 0;

		if (!body)
			return;
		body += 4;
		status = memchr(at, ' ', (size_t)(body - at));
		if (strncmp(at, "HTTP/", 5) || !status || status[1] < '1' || status[1] > '5')
			abort();
		length = strstr(at, "\r\nContent-Length: ");
		if (length && length < body)
			size = strtoul(length + 18, NULL, 10);
		else if (strncmp(status + 1, "100", 3))
			return; /* to the end of the connection */
		if (size > (size_t)(end - body))
			return;
		/* All but what /metrics refuses is the API's. */
		if (strncmp(status + 1, "100", 3) && strncmp(body, "<?xml ", 6) && body[0] != '{' &&
		    strncmp(body, "# HELP", 6) && strncmp(status + 1, "405", 3))
			abort();
		at = body + size;
	}
}

static void client_close(struct client *c)
{
	bool closed = client_send(c);

	shutdown(c->fd, SHUT_WR);
	for (unsigned i = 0; i < 50 && !closed; i++) {
		event_base_loop(server->base, EVLOOP_NONBLOCK);
		closed = client_read(c);
	}
	check_answers(buffer_str(&c->in), buffer_str(&c->in) + c->in.length);
	buffer_clear(&c->in);
	close(c->fd);
	event_base_loop(server->base, EVLOOP_NONBLOCK);
}

static void mac(u8 out[32], const void *secret, size_t length, const char *text)
{
	unsigned size = 32;

	HMAC(EVP_sha256(), secret, (int)length, (const u8 *)text, strlen(text), out, &size);
}

/* A request of the key's, with this body. */
static void append_signed(struct buffer *out, const u8 *body, size_t length)
{
	time_t now = time(NULL);
	char when[24], day[12], first[160], digest[DIGEST_HEX], text[1024];
	struct tm tm;
	u8 mac_key[32];

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	strftime(day, sizeof(day), "%Y%m%d", &tm);
	digest_sha256(digest, body, length);
	snprintf(text, sizeof(text), "POST\n/\n\nhost:h\nx-amz-date:%s\n\nhost;x-amz-date\n%s", when, digest);
	digest_sha256(digest, text, strlen(text));
	snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s/us-east-1/ec2/aws4_request\n%s", when, day,
	         digest);
	snprintf(first, sizeof(first), "AWS4%s", key.secret);
	mac(mac_key, first, strlen(first), day);
	mac(mac_key, mac_key, 32, "us-east-1");
	mac(mac_key, mac_key, 32, "ec2");
	mac(mac_key, mac_key, 32, "aws4_request");
	mac(mac_key, mac_key, 32, text);
	digest_hex(digest, mac_key, 32);
	buffer_printf(out,
	              "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Date: %s\r\nContent-Length: %zu\r\nAuthorization: "
	              "AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/ec2/aws4_request, "
	              "SignedHeaders=host;x-amz-date, Signature=%s\r\n\r\n",
	              when, length, key.id, day, digest);
	buffer_append(out, body, length);
}

/* A region with its default network, so that what is refused is refused for what was sent. */
static void begin(void)
{
	static const char hello[] = "Action=DescribeVpcs&Version=2016-11-15";
	char place[] = "/tmp/insula-fuzz-XXXXXX";
	struct client c = {0};
	struct error e;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(place) ||
	    cloud_open(&cloud, &(struct cloud_options){.data = place, .database = "sqlite::memory:"}, &e) < 0)
		abort();
	rmdir(place);
	front.traffic = traffic_new();
	server = server_new(&front, &(struct server_options){.listen = "127.0.0.1:0"}, &e);
	if (!server || !access_key_first(&cloud, &key))
		abort();
	database_begin(cloud.db);
	schedule_hosts(&cloud, 1);
	resource_index(&cloud);
	if (database_commit(cloud.db, &e) < 0)
		abort();
	keep = true;
	client_open(&c);
	append_signed(&c.out, (const u8 *)hello, strlen(hello));
	client_send(&c);
	if (!strstr(buffer_str(&c.in), "<isDefault>true</isDefault>"))
		abort();
	client_close(&c);
	buffer_release(&c.in);
	buffer_release(&c.out);
	keep = false;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct client c;

	if (!server)
		begin();
	client_open(&c);
	for (size_t i = 0; i < size; i++) {
		if (data[i] == 0xff) {
			client_send(&c);
		} else if (data[i] == 0xfe) {
			client_close(&c);
			client_open(&c);
		} else if (data[i] == 0xfd && i && i + 1 < size) {
			for (unsigned n = data[i + 1] * 512u; n; n--)
				buffer_char(&c.out, (char)data[i - 1]);
			i++;
		} else if (data[i] == 0xfc) {
			size_t end = i + 1;

			while (end < size && data[end] < 0xfc)
				end++;
			append_signed(&c.out, data + i + 1, end - i - 1);
			i = end - 1;
		} else {
			buffer_char(&c.out, (char)data[i]);
		}
	}
	client_close(&c);
	return 0;
}
