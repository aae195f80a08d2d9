/*
 * DNS messages (RFC 1035, RFC 2308, RFC 6891): what a VPC's name server answers, as a function of a query's
 * bytes. Names of the VPC are answered here; others are passed on as they came, under an id of ours.
 */
#pragma once

#include "net/dns_zone.h"

enum {
	DNS_HEADER = 12,
	DNS_UDP_MAX = 512,    /* of an answer, where the client does not say more */
	DNS_EDNS_MAX = 4096,  /* nor do we send more by UDP */
	DNS_QUERY_MAX = 4096, /* larger ones are no queries */
	DNS_MESSAGE_MAX = 65535,
};

enum dns_rcode {
	DNS_NOERROR,
	DNS_FORMERR,
	DNS_SERVFAIL,
	DNS_NXDOMAIN,
	DNS_NOTIMP,
	DNS_REFUSED,
	DNS_BADVERS = 16, /* in the OPT record */
};

enum dns_verdict {
	DNS_DROP,    /* not a query */
	DNS_ANSWER,  /* out has the answer */
	DNS_FORWARD, /* to be asked of somebody else */
};

struct dns_query {
	u16 id, flags, type, class;
	struct dns_name name;
	size_t question_end; /* offset behind the question; 0: there is none */
	bool edns, dnssec_ok;
	u16 room; /* bytes that an answer by UDP may have */
};

/* Reads a query and, if it is about the zone's names or is a bad one, answers it in out (at most
 * DNS_MESSAGE_MAX bytes; for UDP, at most as many as the client takes: then it is marked as truncated). q is
 * filled in unless it is DNS_DROP. */
enum dns_verdict dns_answer(const struct dns_zone *z, const u8 *in, size_t length, bool tcp,
                            struct dns_query *q, u8 *out, size_t *out_length);
/* An answer that says no more than why there is none; returns its length. out: room for DNS_HEADER +
 * DNS_NAME_MAX + 4 + 11 bytes. in: the query. */
size_t dns_refuse(const struct dns_query *q, const u8 *in, unsigned rcode, u8 *out);
/* Is this an answer to that query: the same id, one question, the same but for the case of letters? */
bool dns_is_answer(const u8 *query, size_t query_length, const u8 *in, size_t length);
/* Cuts an answer that is too long for the client: its question alone, marked as truncated. Returns the new
 * length. */
size_t dns_truncate(const struct dns_query *q, u8 *answer, size_t length);
