#include "net/ntp.h"
#include "net/wire.h"

#include <string.h>

enum { CLIENT = 3, SERVER = 4, STRATUM = 3, PRECISION = -20 /* 2^-20 s */ };
static const u32 local_clock = 0x7f7f0101; /* reference id of a clock of one's own */
static const u32 era = 2208988800;         /* 1970 in seconds of NTP */

static void put_time(u8 *p, u64 ns)
{
	wire_put32(p, (u32)(ns / 1000000000 + era));
	wire_put32(p + 4, (u32)((ns % 1000000000 << 32) / 1000000000));
}

bool ntp_answer(const struct ntp_clock *clock, const u8 *in, size_t length, u64 received_ns, u64 now_ns,
                u8 out[NTP_PACKET])
{
	u8 version = length ? in[0] >> 3 & 7 : 0;
	u64 error = clock->error_us;

	if (length < NTP_PACKET || (in[0] & 7) != CLIENT || version < 1 || version > 4)
		return false;
	/* A clock that follows nobody grows its error without end; a guest that asks has no better one. */
	error = error > 500000 ? 500000 : error;
	memset(out, 0, NTP_PACKET);
	out[0] = (u8)(clock->leap << 6 | version << 3 | SERVER);
	out[1] = STRATUM;
	out[2] = in[2]; /* poll */
	out[3] = (u8)PRECISION;
	wire_put32(out + 8, (u32)((error << 16) / 1000000)); /* root dispersion */
	wire_put32(out + 12, local_clock);
	/* When the clock was last set: not known, but not long ago. */
	put_time(out + 16, received_ns - received_ns % 16000000000ULL);
	memcpy(out + 24, in + 40, 8);
	put_time(out + 32, received_ns);
	put_time(out + 40, now_ns);
	return true;
}
