/*
 * Time (RFC 5905, server mode): the host's clock, as it is, to whoever asks. A guest is to agree with its
 * host even where the host follows nobody, so the clock is never called unsynchronised; how far off it may be
 * is what the kernel says.
 */
#pragma once

#include "base/types.h"

enum { NTP_PORT = 123, NTP_PACKET = 48 };

struct ntp_clock {
	u64 error_us; /* maximum error */
	u8 leap;      /* 0 none, 1 a second is inserted at the end of the day, 2 one is left out */
};

/* Writes the answer to a query that came at received_ns (CLOCK_REALTIME) and is answered at now_ns. False: it
 * is not a client's query. */
bool ntp_answer(const struct ntp_clock *clock, const u8 *in, size_t length, u64 received_ns, u64 now_ns,
                u8 out[NTP_PACKET]);
