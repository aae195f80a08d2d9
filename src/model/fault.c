#include "model/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* EC2 API Reference, "Error codes": client errors are 400 unless they are here. */
static const struct {
	const char *code;
	int status;
} statuses[] = {
        {"AccessDenied", 403},
        {"AuthFailure", 401},
        {"Blocked", 403},
        {"ExpiredTokenException", 403},
        {"IncompleteSignature", 400},
        {"InsufficientAddressCapacity", 500},
        {"InsufficientCapacity", 500},
        {"InsufficientHostCapacity", 500},
        {"InsufficientInstanceCapacity", 500},
        {"InternalError", 500},
        {"InternalFailure", 500},
        {"InvalidClientTokenId", 403},
        {"MissingAuthenticationToken", 403},
        {"OptInRequired", 401},
        {"RequestEntityTooLargeException", 413},
        {"RequestExpired", 400},
        {"RequestLimitExceeded", 503},
        {"ServiceUnavailable", 503},
        {"SignatureDoesNotMatch", 403},
        {"Unavailable", 503},
        {"UnauthorizedOperation", 403},
        {"DryRunOperation", 412},
};

int fault_set(struct fault *f, const char *code, const char *format, ...)
{
	va_list args;

	f->status = 400;
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (!strcmp(statuses[i].code, code))
			f->status = statuses[i].status;
	snprintf(f->code, sizeof(f->code), "%s", code);
	va_start(args, format);
	vsnprintf(f->message, sizeof(f->message), format, args);
	va_end(args);
	return -1;
}
