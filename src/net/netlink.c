#include "net/netlink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER = 64 << 10 }; /* the kernel fills up to 32 KiB at a time */

int netlink_open(struct netlink *n, int protocol, struct error *e)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int on = 1;

	n->sequence = 0;
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (n->fd < 0)
		return error_set(e, errno, "a netlink socket");
	setsockopt(n->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(n->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (connect(n->fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
		error_set(e, errno, "a netlink socket");
		close(n->fd);
		return -1;
	}
	return 0;
}

void netlink_close(struct netlink *n)
{
	close(n->fd);
}

/* ---- requests ---- */

static void *extend(struct netlink_request *r, size_t size)
{
	void *at = r->bytes + r->header.nlmsg_len;

	assert(r->header.nlmsg_len + NLMSG_ALIGN(size) <= sizeof(r->bytes));
	memset(at, 0, NLMSG_ALIGN(size));
	r->header.nlmsg_len += (u32)NLMSG_ALIGN(size);
	return at;
}

void netlink_begin(struct netlink_request *r, unsigned type, unsigned flags, const void *body, size_t size)
{
	r->header = (struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN,
	                              .nlmsg_type = (u16)type,
	                              .nlmsg_flags = (u16)(NLM_F_REQUEST | flags)};
	memcpy(extend(r, size), body, size);
}

void netlink_put(struct netlink_request *r, unsigned attribute, const void *data, size_t size)
{
	struct nlattr *a = extend(r, NLA_HDRLEN + size);

	a->nla_len = (u16)(NLA_HDRLEN + size);
	a->nla_type = (u16)attribute;
	if (size)
		memcpy((u8 *)a + NLA_HDRLEN, data, size);
}

void netlink_put32(struct netlink_request *r, unsigned attribute, u32 value)
{
	netlink_put(r, attribute, &value, sizeof(value));
}

void netlink_put_text(struct netlink_request *r, unsigned attribute, const char *text)
{
	netlink_put(r, attribute, text, strlen(text) + 1);
}

size_t netlink_nest(struct netlink_request *r, unsigned attribute, const void *body, size_t size)
{
	size_t at = r->header.nlmsg_len;

	netlink_put(r, attribute, body, size);
	return at;
}

void netlink_nest_end(struct netlink_request *r, size_t nest)
{
	((struct nlattr *)(void *)(r->bytes + nest))->nla_len = (u16)(r->header.nlmsg_len - nest);
}

/* ---- answers ---- */

static int send_request(struct netlink *n, struct netlink_request *r, struct error *e)
{
	r->header.nlmsg_seq = ++n->sequence;
	if (send(n->fd, r, r->header.nlmsg_len, 0) < 0)
		return error_set(e, errno, "netlink");
	return 0;
}

/* What the kernel says of an error beside its number. */
static const char *explanation(const struct nlmsghdr *m)
{
	const struct nlattr *attributes[NLMSGERR_ATTR_MSG + 1];

	if (!(m->nlmsg_flags & NLM_F_ACK_TLVS) || !(m->nlmsg_flags & NLM_F_CAPPED))
		return "";
	netlink_attributes(m, sizeof(struct nlmsgerr), attributes, NLMSGERR_ATTR_MSG);
	return attributes[NLMSGERR_ATTR_MSG] ? netlink_data(attributes[NLMSGERR_ATTR_MSG]) : "";
}

/* Until the answer's end. Messages of requests before, whose answers nobody waited for, are passed over. */
static int receive(struct netlink *n, netlink_each *each, void *arg, struct error *e)
{
	u8 *answer = malloc(ANSWER);
	int status = 1;

	while (status > 0) {
		ssize_t length = recv(n->fd, answer, ANSWER, 0);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0) {
			status = error_set(e, errno, "netlink");
			break;
		}
		for (struct nlmsghdr *m = (void *)answer; status > 0 && NLMSG_OK(m, length);
		     m = NLMSG_NEXT(m, length)) {
			const struct nlmsgerr *error = NLMSG_DATA(m);

			if (m->nlmsg_seq != n->sequence)
				continue;
			if (m->nlmsg_type == NLMSG_DONE)
				status = 0;
			else if (m->nlmsg_type != NLMSG_ERROR)
				each(m, arg);
			else if (!error->error)
				status = 0;
			else
				status = error_set(e, -error->error, "%s",
				                   *explanation(m) ? explanation(m) : "netlink");
		}
	}
	free(answer);
	return status;
}

int netlink_get(struct netlink *n, struct netlink_request *r, netlink_each *each, void *arg, struct error *e)
{
	r->header.nlmsg_flags |= NLM_F_ACK;
	if (send_request(n, r, e) < 0)
		return -1;
	return receive(n, each, arg, e);
}

static void ignored(const struct nlmsghdr *message, void *arg) {}

int netlink_ask(struct netlink *n, struct netlink_request *r, struct error *e)
{
	return netlink_get(n, r, ignored, NULL, e);
}

int netlink_dump(struct netlink *n, struct netlink_request *r, netlink_each *each, void *arg, struct error *e)
{
	r->header.nlmsg_flags |= NLM_F_DUMP;
	if (send_request(n, r, e) < 0)
		return -1;
	return receive(n, each, arg, e);
}

static void attributes(const u8 *at, size_t length, const struct nlattr *to[], unsigned most)
{
	memset((void *)to, 0, (most + 1) * sizeof(*to));
	while (length >= NLA_HDRLEN) {
		const struct nlattr *a = (const void *)at;
		size_t step = NLA_ALIGN(a->nla_len);
		unsigned type = a->nla_type & NLA_TYPE_MASK;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > length)
			break;
		if (type <= most)
			to[type] = a;
		if (step >= length)
			break;
		at += step;
		length -= step;
	}
}

void netlink_attributes(const struct nlmsghdr *message, size_t size, const struct nlattr *to[], unsigned most)
{
	size_t before = NLMSG_HDRLEN + NLMSG_ALIGN(size);

	attributes((const u8 *)message + before,
	           message->nlmsg_len > before ? message->nlmsg_len - before : 0, to, most);
}

void netlink_nested(const struct nlattr *in, const struct nlattr *to[], unsigned most)
{
	attributes(in ? netlink_data(in) : NULL, in ? netlink_size(in) : 0, to, most);
}

u32 netlink_get32(const struct nlattr *a, u32 otherwise)
{
	u32 value = otherwise;

	if (a && netlink_size(a) >= sizeof(value))
		memcpy(&value, netlink_data(a), sizeof(value));
	return value;
}
