#include "cpu/soft/jit_cell_table.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { WANTS_OF_PAGE = 8, SHARED = 1 << 14 };

const u16 soft_stack_spans[SOFT_STACK_SPANS] = {8, 24, 56, 120, 512};

/* ---- life ---- */

bool soft_cells_init(struct soft_cpu *c)
{
	struct soft_cells *k = calloc(1, sizeof(*k));

	if (!k)
		return false;
	k->size = c->base.config.count > 16 ? 1 << 15 : 1 << 18;
	k->cells = soft_map(&c->base.config, k->size * sizeof(*k->cells), PROT_READ | PROT_WRITE, -1);
	k->info = calloc(k->size, sizeof(*k->info));
	for (unsigned i = 0; i < 2; i++)
		k->lists[i].items = calloc(k->size, sizeof(u32));
	k->shared = calloc(SHARED, sizeof(*k->shared));
	c->cells = k;
	if (k->cells == MAP_FAILED || !k->info || !k->shared || !k->lists[0].items || !k->lists[1].items ||
	    (u64)(k->cells + k->size) >> 31) {
		soft_cells_release(c);
		return false;
	}
	k->windows = windows_new(c->base.config.count);
	k->patience = c->jit->threshold == 1 ? 1 : WANTS;
	k->often = c->jit->threshold == 1 ? 1 : WANTS_OF_PAGE;
	soft_cells_reset(c);
	return true;
}

void soft_cells_release(struct soft_cpu *c)
{
	struct soft_cells *k = c->cells;

	if (!k)
		return;
	if (k->cells != MAP_FAILED)
		munmap(k->cells, k->size * sizeof(*k->cells));
	free(k->info);
	free(k->shared);
	free(k->lists[0].items);
	free(k->lists[1].items);
	windows_free(k->windows);
	free(k);
	c->cells = NULL;
}

void soft_cells_reset(struct soft_cpu *c)
{
	if (!c->cells)
		return;
	soft_cells_drop_all(c);
	c->cells->used = CELL_FIRST;
	for (u32 i = 0; c->cells->shares && i < SHARED; i++)
		((volatile struct shared *)c->cells->shared)[i].cell = 0;
	c->cells->shares = false;
}

u32 soft_cell_new(struct soft_cpu *c)
{
	struct soft_cells *k = c->cells;
	u32 n = k->used;

	if (n == k->size)
		return 0;
	k->used++;
	k->cells[n] = (struct soft_cell){.tag = NO_TAG};
	k->info[n] = (struct soft_cell_info){0};
	return n;
}

u32 soft_cell_shared(struct soft_cpu *c, u64 code, s32 pages, unsigned mode, bool write)
{
	enum { PER_PAGE = 8, WAYS = 16 };
	struct soft_cells *k = c->cells;
	u32 page = (u32)(code >> PAGE_SHIFT), first = page * PER_PAGE + (u32)pages % PER_PAGE;

	for (unsigned i = 0; i < WAYS; i++) {
		struct shared *s = &k->shared[(first + i) % SHARED];
		struct soft_cell_info *info;

		if (s->cell) {
			info = &k->info[s->cell];
			if (s->code == page && s->pages == pages && info->mode == mode &&
			    info->write == write)
				return s->cell;
			continue;
		}
		s->cell = soft_cell_new(c);
		if (!s->cell)
			return 0;
		info = &k->info[s->cell];
		info->form = CELL_CONSTANT;
		info->mode = (u8)mode;
		info->write = write;
		s->code = page;
		s->pages = pages;
		k->shares = true;
		return s->cell;
	}
	return 0;
}

struct soft_cell *soft_cell(struct soft_cpu *c, u32 number)
{
	return &c->cells->cells[number];
}
struct soft_cell_info *soft_cell_info(struct soft_cpu *c, u32 number)
{
	return &c->cells->info[number];
}

/* ---- lists ---- */

static u32 head_of(u64 page)
{
	return (page >> PAGE_SHIFT ^ page >> 22) % HEADS;
}

static u32 *list_of(struct list *l, const struct soft_cell_info *i)
{
	return i->pages > 1 ? &l->runs[(i->page >> REGION) % RUN_HEADS] : &l->heads[head_of(i->page)];
}

static u32 filter_of(const _Atomic u32 *page)
{
	return ((u64)page / sizeof(*page)) % FILTER;
}

void cell_invalidate(struct soft_cell *cell)
{
	cell->limit = 0;
	cell->tag = NO_TAG;
}

void cell_unlink(struct soft_cells *k, u32 n)
{
	struct soft_cell_info *i = &k->info[n];

	if (i->prev)
		k->info[i->prev].next = i->next;
	else
		*list_of(&k->lists[i->global], i) = i->next;
	if (i->next)
		k->info[i->next].prev = i->prev;
}

void cell_validate(struct soft_cells *k, u32 n, u64 page, unsigned pages, bool global)
{
	struct soft_cell_info *i = &k->info[n];
	struct list *l = &k->lists[global];
	u32 *head;

	i->page = page;
	i->pages = (u16)pages;
	i->global = global;
	i->prev = 0;
	head = list_of(l, i);
	i->next = *head;
	if (i->next)
		k->info[i->next].prev = n;
	*head = n;
	if (i->listed[global] != l->epoch) {
		i->listed[global] = l->epoch;
		l->items[l->count++] = n;
	}
}

static void clear(struct soft_cells *k, bool global)
{
	struct list *l = &k->lists[global];

	bool few = l->count < HEADS / 8;

	for (u32 i = 0; i < l->count; i++) {
		u32 n = l->items[i];

		if (k->info[n].global == global)
			cell_invalidate(&k->cells[n]);
		if (few) /* all heads that lead somewhere */
			*list_of(l, &k->info[n]) = 0;
	}
	l->count = 0;
	if (++l->epoch == 0) {
		for (u32 i = 0; i < k->size; i++)
			((volatile struct soft_cell_info *)k->info)[i].listed[global] = 0;
		l->epoch = 1;
	}
	for (u32 i = 0; !few && i < HEADS; i++)
		((volatile u32 *)l->heads)[i] = 0;
	for (u32 i = 0; !few && i < RUN_HEADS; i++)
		((volatile u32 *)l->runs)[i] = 0;
}

static void drop_stack(struct soft_cpu *c, unsigned mode)
{
	c->cells->cells[CELL_STACK + mode].tag = NO_TAG;
	c->cells->stack_second[mode] = NULL;
	for (unsigned i = 0; i < SOFT_STACK_SPANS; i++)
		c->jx.stack_limit[mode][i] = 0;
}

void soft_cells_drop_space(struct soft_cpu *c)
{
	c->jx.flushes++;
	if (!c->cells)
		return;
	clear(c->cells, false);
	windows_release(c->cells->windows);
	for (unsigned i = 0; i < SOFT_TLB_MODES; i++)
		drop_stack(c, i);
}

void soft_cells_drop_all(struct soft_cpu *c)
{
	soft_cells_drop_space(c);
	if (!c->cells)
		return;
	clear(c->cells, true);
	for (u32 i = 0; i < FILTER / 64; i++)
		((volatile u64 *)c->cells->written)[i] = 0;
}

/* Cells that cover the page, and runs near it. */
void cell_forget_page(struct soft_cells *k, u64 page, bool global)
{
	struct list *l = &k->lists[global];
	u32 next;

	for (u32 n = l->heads[head_of(page)]; n; n = next) {
		next = k->info[n].next;
		if (k->info[n].page != page)
			continue;
		cell_unlink(k, n);
		cell_invalidate(&k->cells[n]);
	}
	for (u32 n = l->runs[(page >> REGION) % RUN_HEADS]; n; n = next) {
		next = k->info[n].next;
		if (k->info[n].page >> REGION != page >> REGION)
			continue;
		cell_unlink(k, n);
		cell_invalidate(&k->cells[n]);
	}
}

void soft_cells_drop_page(struct soft_cpu *c, u64 linear)
{
	struct soft_cells *k = c->cells;
	u64 page = align_down(linear, PAGE_SIZE);

	c->jx.flushes++;
	if (!k)
		return;
	for (unsigned i = 0; i < SOFT_TLB_MODES; i++)
		if (page - k->cells[CELL_STACK + i].tag <= PAGE_SIZE)
			drop_stack(c, i);
	windows_look_again(k->windows);
	for (unsigned global = 0; global < 2; global++)
		cell_forget_page(k, page, global);
}

/* The word of the cell's page number i. */
static const _Atomic u32 *word_of(const struct soft_cells *k, u32 n, u32 i)
{
	const struct soft_cell_info *info = &k->info[n];

	return info->window ? window_word(k->windows, info->window - 1, info->page + i * PAGE_SIZE)
	                    : k->cells[n].page + i;
}

static bool covers(const struct soft_cells *k, u32 n, const _Atomic u32 *page)
{
	const _Atomic u32 *first = k->cells[n].page;

	if (!k->info[n].window)
		return page >= first && page < first + k->info[n].pages;
	for (u32 i = 0; i < k->info[n].pages; i++)
		if (word_of(k, n, i) == page)
			return true;
	return false;
}

void cell_note_word(struct soft_cells *k, const _Atomic u32 *word)
{
	u32 bit = filter_of(word);

	k->written[bit / 64] |= BIT(bit % 64);
}

/* The cell may write to its pages. */
void cell_note_written(struct soft_cells *k, u32 n)
{
	const struct soft_cell_info *info = &k->info[n];
	u32 bit = filter_of(k->cells[n].page);

	for (u32 i = 0; info->window && i < info->pages; i++)
		cell_note_word(k, word_of(k, n, i));
	/* The words of a run follow each other. */
	for (u32 left = info->window ? 0 : info->pages, some; left; left -= some) {
		some = min(left, 64 - bit % 64);
		k->written[bit / 64] |= MASK(some) << (bit % 64);
		bit = (bit + some) % FILTER;
	}
}

void soft_cells_drop_writes(struct soft_cpu *c, const _Atomic u32 *page)
{
	struct soft_cells *k = c->cells;
	u32 bit = filter_of(page);

	c->jx.flushes++; /* plain code has no cells, but what it found */
	for (unsigned i = 0; k && i < SOFT_TLB_MODES; i++)
		if (k->cells[CELL_STACK + i].page == page || k->stack_second[i] == page)
			drop_stack(c, i);
	if (!k || !(k->written[bit / 64] >> (bit % 64) & 1))
		return;
	windows_look_again(k->windows);
	for (u32 i = 0; i < FILTER / 64; i++)
		((volatile u64 *)k->written)[i] = 0;
	for (unsigned global = 0; global < 2; global++) {
		struct list *l = &k->lists[global];

		for (u32 i = 0; i < l->count; i++) {
			u32 n = l->items[i];
			struct soft_cell *cell = &k->cells[n];

			if (!cell_is_valid(cell) || !k->info[n].write)
				continue;
			if (covers(k, n, page)) {
				cell_unlink(k, n);
				cell_invalidate(cell);
			} else {
				cell_note_written(k, n);
			}
		}
	}
}

void soft_cells_settle(struct soft_cpu *c)
{
	if (windows_full(c->cells->windows))
		soft_cells_drop_space(c);
}
