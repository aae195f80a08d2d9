#include "net/guests.h"
#include "base/clock.h"

bool guest_find(const struct guests *g, int device, struct guest *out)
{
	out->link = links_find(&g->links, device);
	out->interface = out->link ? config_interface(g->config, out->link->name) : NULL;
	return out->interface != NULL;
}

bool guest_may_send(const struct guest *guest)
{
	return rate_take(&guest->link->rate, clock_monotonic_ns());
}
