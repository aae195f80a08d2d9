/*
 * Windows: pages that follow each other in linear addresses, and lie anywhere in memory, mapped once more in
 * the order of their addresses. A loop's cell that covers a window needs to be filled once for an array, not
 * once for each page, and no access crosses a page any more.
 *
 * A window is WINDOW_PAGES of linear addresses, aligned, of one page table. Its pages are mapped as they are
 * asked for, some in each tick, as each costs microseconds. Who asks has looked up each page, and uses the
 * answer as long as the TLB's: until translations are dropped. So a page is replaced by another, and a window
 * given to other addresses, only if translations were dropped (windows_release()) since it was asked for.
 * Where that does not happen and all are in use, or have a page that has been replaced, windows_full() says
 * that it should. A window that was asked for within a second stays: of a stream through much memory some
 * parts have windows then, and nothing is mapped anew.
 *
 * Guest memory stays where it is, so no other change matters.
 *
 * Hosts look for lines of their caches by linear addresses first, so one line at two addresses, in turn, costs
 * eleven cycles each time: what is in a window should be accessed there alone.
 *
 * Owner: struct soft_cells; vCPU thread only.
 */
#pragma once

#include "base/types.h"

enum { WINDOW_PAGES = 128, WINDOW_BITS = 19 };

struct windows;

/* NULL: no memory. cpus: that share the process. */
struct windows *windows_new(unsigned cpus);
void windows_free(struct windows *w);

/* The host's page, and its page word, of a linear page; NULL: may not be accessed. */
typedef u8 *(*window_look)(void *arg, u64 page, _Atomic u32 **word);

/* Is this its page in a window? root: of the page table. */
bool window_has(const struct windows *w, u64 page, u64 root, const u8 *host);

struct window_view {
	u8 *at; /* where `from` is */
	u64 from, to;
	unsigned number;
	bool later; /* it cannot be had now, or not all around it, but soon */
	bool made;  /* a page was mapped */
	bool fresh; /* pages were looked up: not all of it was known */
};
/* `count` pages from `page` on and those around that may be accessed: what `look` said of them for accesses of
 * this kind is remembered until windows_look_again(). False: not even the first can be had. */
enum { WINDOW_KINDS = 8 };
bool window_of(struct windows *w, u64 page, unsigned count, u64 root, u32 tick, unsigned kind,
               window_look look, void *arg, struct window_view *view);
/* The word of its page for the linear address. */
_Atomic u32 *window_word(const struct windows *w, unsigned number, u64 linear);

/* Some page may not be accessed as it was. */
void windows_look_again(struct windows *w);
/* No window is in use, and likewise. */
void windows_release(struct windows *w);
/* Was there none to be had, as all are, or not the right page in one? Now and then. */
bool windows_full(const struct windows *w);
