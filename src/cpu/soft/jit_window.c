#include "cpu/soft/jit_window.h"
#include "cpu/physmem.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
	WINDOWS = 24,
	MADE = 16,       /* pages in a tick */
	SHARE = 1 << 14, /* pages of all vCPUs; the host has a limit for mappings */
	REST = 1000 /* milliseconds until a window that is not asked for is given away: streams keep some */
};
#define NOWHERE (~0ULL)

struct window {
	u64 linear, root;
	u64 used;  /* when it was asked for last */
	u64 epoch; /* … and in which epoch */
	u32 tick;  /* … and in which tick */
	unsigned mapped;
	struct {
		u64 look; /* when it was looked up */
		u64 from, to;
	} known[WINDOW_KINDS];
	u8 *host[WINDOW_PAGES]; /* NULL: a hole */
	_Atomic u32 *word[WINDOW_PAGES];
};

struct windows {
	u8 *area;
	bool cannot, full;
	u64 now, epoch, look;
	u32 tick, made;
	unsigned mapped, limit;
	struct window window[WINDOWS];
};

struct windows *windows_new(unsigned cpus)
{
	struct windows *w = calloc(1, sizeof(*w));
	size_t size = (size_t)WINDOWS << WINDOW_BITS;

	if (!w)
		return NULL;
	w->area = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->area == MAP_FAILED) {
		free(w);
		return NULL;
	}
	w->limit = SHARE / cpus;
	w->epoch = w->look = 1;
	for (unsigned i = 0; i < WINDOWS; i++)
		w->window[i].linear = NOWHERE;
	return w;
}

void windows_free(struct windows *w)
{
	if (!w)
		return;
	munmap(w->area, (size_t)WINDOWS << WINDOW_BITS);
	free(w);
}

static u8 *area_of(const struct windows *w, const struct window *v)
{
	return w->area + ((size_t)(v - w->window) << WINDOW_BITS);
}

static bool in_use(const struct windows *w, const struct window *v)
{
	return v->epoch == w->epoch;
}

/* All holes. */
static bool empty(struct windows *w, struct window *v)
{
	if (v->mapped && mmap(area_of(w, v), 1 << WINDOW_BITS, PROT_NONE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
		w->cannot = true;
		return false;
	}
	w->mapped -= v->mapped;
	v->mapped = 0;
	for (unsigned i = 0; i < WINDOW_PAGES; i++)
		v->host[i] = NULL;
	for (unsigned i = 0; i < WINDOW_KINDS; i++)
		v->known[i].look = 0;
	return true;
}

static struct window *find(struct windows *w, u64 linear, u64 root)
{
	struct window *oldest = NULL;
	bool rests = false;

	for (unsigned i = 0; i < WINDOWS; i++) {
		struct window *v = &w->window[i];

		if (v->linear == linear && v->root == root)
			return v;
		if (v->linear != NOWHERE && w->tick - v->tick < REST)
			continue;
		if (in_use(w, v))
			rests = true;
		else if (!oldest || v->used < oldest->used)
			oldest = v;
	}
	if (!oldest) {
		w->full |= rests;
		return NULL;
	}
	oldest->linear = NOWHERE;
	if (!empty(w, oldest))
		return NULL;
	oldest->linear = linear;
	oldest->tick = w->tick;
	oldest->root = root;
	return oldest;
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

/* Is the window's page n this one, or can it be? */
static bool has(struct windows *w, struct window *v, unsigned n, u8 *host, _Atomic u32 *word,
                struct window_view *view)
{
	if (v->host[n] == host)
		return true;
	if (w->made >= MADE) {
		view->later = true;
		return false;
	}
	if (v->host[n] && in_use(w, v)) { /* the linear page is another since */
		w->made++;
		w->full = view->later = true;
		return false;
	}
	if (!v->host[n] && w->mapped >= w->limit)
		return false;
	w->made++;
	w->mapped += !v->host[n];
	v->mapped += !v->host[n];
	v->host[n] = NULL;
	if (!map_again(area_of(w, v) + n * PAGE_SIZE, host)) {
		w->cannot = true;
		return false;
	}
	v->host[n] = host;
	v->word[n] = word;
	view->made = true;
	return true;
}

bool window_has(const struct windows *w, u64 page, u64 root, const u8 *host)
{
	u64 linear = align_down(page, 1ULL << WINDOW_BITS);

	for (unsigned i = 0; w && w->mapped && i < WINDOWS; i++)
		if (w->window[i].linear == linear && w->window[i].root == root)
			return w->window[i].host[page / PAGE_SIZE % WINDOW_PAGES] == host;
	return false;
}

bool window_of(struct windows *w, u64 page, unsigned count, u64 root, u32 tick, unsigned kind,
               window_look look, void *arg, struct window_view *view)
{
	u64 linear = align_down(page, 1ULL << WINDOW_BITS);
	unsigned n = (unsigned)((page - linear) / PAGE_SIZE), first = n, end = n;
	struct window *v;
	_Atomic u32 *word;
	u8 *host;

	*view = (struct window_view){0};
	if (!w || w->cannot)
		return false;
	if (w->tick != tick) {
		w->tick = tick;
		w->made = 0;
	}
	v = find(w, linear, root);
	if (!v)
		return false;
	host = look(arg, page, &word);
	if (v->host[n] != host || v->known[kind].look != w->look || page < v->known[kind].from ||
	    page + count * PAGE_SIZE > v->known[kind].to) {
		view->fresh = true;
		while (end < WINDOW_PAGES && (host = look(arg, linear + end * PAGE_SIZE, &word)) &&
		       has(w, v, end, host, word, view))
			end++;
		if (end == n)
			return false;
		while (first && (host = look(arg, linear + (first - 1) * PAGE_SIZE, &word)) &&
		       has(w, v, first - 1, host, word, view))
			first--;
		v->known[kind].look = w->look;
		v->known[kind].from = linear + first * PAGE_SIZE;
		v->known[kind].to = linear + end * PAGE_SIZE;
	}
	v->used = ++w->now;
	v->tick = w->tick;
	v->epoch = w->epoch;
	view->from = v->known[kind].from;
	view->to = v->known[kind].to;
	view->number = (unsigned)(v - w->window);
	view->at = area_of(w, v) + (view->from - linear);
	return true;
}

_Atomic u32 *window_word(const struct windows *w, unsigned number, u64 linear)
{
	return w->window[number].word[linear / PAGE_SIZE % WINDOW_PAGES];
}

void windows_look_again(struct windows *w)
{
	if (w)
		w->look++;
}

void windows_release(struct windows *w)
{
	if (!w)
		return;
	w->epoch++;
	w->look++;
	w->full = false;
}

bool windows_full(const struct windows *w)
{
	return w && w->full;
}
