#include "cpu/soft/jit_seam.h"
#include "cpu/physmem.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { SEAMS = 64, MADE = 8 };
_Static_assert((unsigned)SEAMS > (unsigned)SEAMS_HOLD + (unsigned)SEAMS_PINS, "the oldest is not in use");

struct seams {
	u8 *area; /* two pages of each */
	const u8 *pinned[SEAMS_PINS];
	bool cannot;
	u64 now;
	u32 tick, made; /* within the tick */
	struct {
		u8 *pages[2];
		u64 used; /* when it was asked for last */
	} seam[SEAMS];
};

struct seams *seams_new(void)
{
	struct seams *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->area = mmap(NULL, 2 * SEAMS * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	               -1, 0);
	if (s->area == MAP_FAILED) {
		free(s);
		return NULL;
	}
	s->now = SEAMS;
	return s;
}

void seams_free(struct seams *s)
{
	if (!s)
		return;
	munmap(s->area, 2 * SEAMS * PAGE_SIZE);
	free(s);
}

/* A page that is mapped as shared, once more. What fails leaves a hole, where somebody else may map
 * something: so first elsewhere. */
static bool map_again(u8 *at, u8 *page)
{
	void *p = mremap(page, 0, PAGE_SIZE, MREMAP_MAYMOVE);

	if (p == MAP_FAILED)
		return false;
	return mremap(p, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at;
}

static bool is_pinned(const struct seams *s, unsigned i)
{
	for (unsigned k = 0; k < SEAMS_PINS; k++)
		if (s->pinned[k] == s->area + 2 * i * PAGE_SIZE)
			return true;
	return false;
}

void seam_pin(struct seams *s, unsigned pin, const u8 *at)
{
	if (s)
		s->pinned[pin] = at;
}

u8 *seam_of(struct seams *s, u8 *first, u8 *second, u32 tick)
{
	unsigned oldest = SEAMS;
	u8 *at;

	if (!s || s->cannot)
		return NULL;
	s->now++;
	for (unsigned i = 0; i < SEAMS; i++) {
		if (s->seam[i].pages[0] == first && s->seam[i].pages[1] == second) {
			s->seam[i].used = s->now;
			return s->area + 2 * i * PAGE_SIZE;
		}
		if (!is_pinned(s, i) && (oldest == SEAMS || s->seam[i].used < s->seam[oldest].used))
			oldest = i;
	}
	if (s->tick != tick) {
		s->tick = tick;
		s->made = 0;
	}
	if (s->made++ >= MADE)
		return NULL;
	at = s->area + 2 * oldest * PAGE_SIZE;
	s->seam[oldest].pages[0] = NULL;
	if (!map_again(at, first) || !map_again(at + PAGE_SIZE, second)) {
		s->cannot = true;
		return NULL;
	}
	s->seam[oldest].pages[0] = first;
	s->seam[oldest].pages[1] = second;
	s->seam[oldest].used = s->now;
	return at;
}
