/*
 * The kernel's netlink: requests with an answer, and dumps (RFC 3549; rtnetlink(7), ctnetlink). A socket
 * speaks to the network namespace that its thread was in when it was opened. For one thread at a time.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#include <linux/netlink.h>

struct netlink {
	int fd;
	u32 sequence;
};

/* protocol: NETLINK_ROUTE, NETLINK_NETFILTER */
int netlink_open(struct netlink *n, int protocol, struct error *e);
void netlink_close(struct netlink *n);

/* A request that is put together; what does not fit is a bug. */
struct netlink_request {
	union {
		struct nlmsghdr header;
		u8 bytes[2048];
	};
};

void netlink_begin(struct netlink_request *r, unsigned type, unsigned flags, const void *body, size_t size);
void netlink_put(struct netlink_request *r, unsigned attribute, const void *data, size_t size);
void netlink_put32(struct netlink_request *r, unsigned attribute, u32 value);
void netlink_put_text(struct netlink_request *r, unsigned attribute, const char *text);
/* What is put in between is within the attribute; a body goes before it. */
size_t netlink_nest(struct netlink_request *r, unsigned attribute, const void *body, size_t size);
void netlink_nest_end(struct netlink_request *r, size_t nest);

/* Sends it and waits for the answer. -1 with e, whose code is the kernel's errno. */
int netlink_ask(struct netlink *n, struct netlink_request *r, struct error *e);
/* The same; each message before the answer's end goes to each(). */
typedef void netlink_each(const struct nlmsghdr *message, void *arg);
int netlink_get(struct netlink *n, struct netlink_request *r, netlink_each *each, void *arg, struct error *e);
/* Asks for all of a kind. */
int netlink_dump(struct netlink *n, struct netlink_request *r, netlink_each *each, void *arg,
                 struct error *e);

/* The attributes behind a message's body of `size` bytes (or within one): to[type] for types up to most. */
void netlink_attributes(const struct nlmsghdr *message, size_t size, const struct nlattr *to[],
                        unsigned most);
void netlink_nested(const struct nlattr *in, const struct nlattr *to[], unsigned most);
static inline const void *netlink_data(const struct nlattr *a)
{
	return (const u8 *)a + NLA_HDRLEN;
}
static inline size_t netlink_size(const struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}
u32 netlink_get32(const struct nlattr *a, u32 otherwise);
