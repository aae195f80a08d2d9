#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <string.h>

/* ---- flags ---- */

void tr_save_host_flags(struct tr *t)
{
	static const u8 lahf_seto[] = {0x9f, 0x0f, 0x90, 0xc0};

	e_mov(&t->b, T0, REG_RAX);
	e_bytes(&t->b, lahf_seto, sizeof(lahf_seto));
	e8(&t->b, 0x66);
	e_abs(&t->b, false, OP_STORE, REG_RAX, &t->c->af);
	e_mov(&t->b, REG_RAX, T0);
}

void tr_save_flags(struct tr *t, u8 live)
{
	if (!live || t->saved)
		return;
	tr_save_host_flags(t);
	t->saved = true;
}

void tr_load_flags(struct tr *t)
{
	static const u8 add_sahf[] = {0x04, 0x7f, 0x9e};

	e_store(&t->b, &t->c->jx.temp2, REG_RAX);
	/* 16 bits, as tr_save_flags() stores: a wider load would wait for the store to reach the cache. */
	e8(&t->b, 0x0f);
	e_abs(&t->b, false, 0xb7, REG_RAX, &t->c->af);
	for (unsigned i = 0; i < sizeof(add_sahf); i++)
		e8(&t->b, add_sahf[i]);
	e_load(&t->b, REG_RAX, &t->c->jx.temp2);
}

void tr_need_flags(struct tr *t, u8 live)
{
	if (!live || t->host)
		return;
	tr_load_flags(t);
	t->host = true;
}

/* ---- ways out ---- */

/* Does a group's check belong to the op? Then what comes behind cannot do without it. */
static bool leads(const struct tr *t, unsigned op)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned g = t->groups.member[op].group[i];

		if (g != JIT_NO_GROUP && t->groups.group[g].first == op)
			return true;
	}
	return false;
}

struct cold *tr_cold(struct tr *t, unsigned kind, unsigned op, u8 *site)
{
	struct cold *k = &t->cold[t->colds];

	if (t->colds == COLDS - 1)
		t->b.full = true;
	else
		t->colds++;
	*k = (struct cold){.kind = (u8)kind,
	                   .op = (u16)op,
	                   .site = site,
	                   .rest = t->in_loop || t->early || leads(t, op),
	                   .of_loop = t->in_loop,
	                   .vectors = t->vec};
	if (!t->saved)
		k->writer = t->pending;
	return k;
}

/* All ways out since the last call come back here. */
static void resume_here(struct tr *t)
{
	for (; t->open < t->colds; t->open++) {
		struct cold *k = &t->cold[t->open];

		if (k->kind == COLD_INTERPRET || k->kind == COLD_CELL || k->kind == COLD_PLAIN) {
			k->load = t->host;
			k->addend = t->addend;
			k->resume = here(&t->b);
			t->held_at = NULL; /* it comes back with something else */
		}
	}
}

static u32 site(struct tr *t, struct jit_site **s)
{
	(*s)++;
	return (u32)((u64)(*s - 1) + (u64)t->b.to_run);
}

void tr_interpret(struct tr *t, unsigned op, u8 before)
{
	/* Dead ones too while there are any: what is interpreted may show them. */
	tr_save_flags(t, t->host ? JIT_ALL : before);
	t->vec = 0;
	tr_cold(t, COLD_INTERPRET, op, e_jmp_later(&t->b));
	t->host = false;
	t->saved = true;
}

/* ---- a block ---- */

void tr_one(struct tr *t, unsigned op)
{
	const struct op *o = &t->block->ops[op];
	const struct jit_insn *n = &t->c->jit->insns[op];
	u8 after = t->c->jit->insns[op + 1].live;

	if (n->kind == JIT_INTERPRET || n->kind == JIT_GUARD)
		t->addend = 0;
	switch ((enum jit_kind)n->kind) {
	case JIT_NOTHING:
		break;
	case JIT_COPY:
		if (n->mem >= 0)
			tr_copy_memory(t, op, o, n, after);
		else
			tr_copy_registers(t, o, n, after);
		break;
	case JIT_VECTOR:
		tr_check_vector(t, op, o, n->live);
		if (n->mem >= 0)
			tr_copy_memory(t, op, o, n, after);
		else
			tr_copy_registers(t, o, n, after);
		tr_x87_pointers(t, op, o, n);
		break;
	case JIT_LEA:
		tr_lea(t, o, n);
		break;
	case JIT_JCC:
		tr_jcc(t, o, n);
		break;
	case JIT_JMP:
		tr_jmp(t, op, o);
		break;
	case JIT_CALL:
		tr_call(t, op, o);
		break;
	case JIT_INTO:
		tr_into(t, op, o, n->live);
		break;
	case JIT_RET:
		tr_ret(t, op, o);
		break;
	case JIT_PUSH:
		tr_push(t, op, o, n->live);
		break;
	case JIT_POP:
		tr_pop(t, op, o, n->live);
		break;
	case JIT_LEAVE:
		tr_leave(t, op, n->live);
		break;
	case JIT_GUARD:
		if (t->mode == SOFT_TLB_USER)
			tr_interpret(t, op, n->live);
		break;
	case JIT_END:
		if (op < t->block->count || soft_op_is_next(o)) {
			tr_save_flags(t, n->live);
			unsigned off = op < t->block->count ? o->off : (unsigned)o->disp;

			tr_link(t, e_jmp_later(&t->b), off, off > t->block->off);
		} else {
			tr_far_jump(t, o->disp, tr_exit_flags(t, op));
		}
		break;
	case JIT_INTERPRET:
		if (!tr_system(t, op, o, n))
			tr_interpret(t, op, n->live);
		break;
	}
	resume_here(t);
	if (t->writer == op + 1) {
		if (n->aside)
			tr_put_aside(t, o, n);
		t->pending = (u8)t->writer;
	}
}

/* The code is left if there are events, to go on at op. */
static void check_events(struct tr *t, unsigned op)
{
	tr_save_flags(t, t->c->jit->insns[op].live);
	e_abs(&t->b, false, OP_LOAD, T1, &t->c->base.events);
	e_abs(&t->b, false, OP_TEST, T1, &t->c->events_enabled);
	tr_cold(t, COLD_STOP, op, e_jcc(&t->b, CC_NE))->disp = t->block->ops[op].off;
	t->host = false;
	t->addend = 0;
	t->open = t->colds;
}

static void prologue(struct tr *t)
{
	struct soft_cpu *c = t->c;
	u8 *start, *from;
	static const u8 nop5[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
	struct cold *k;

	t->check = here(&t->b);
	start = t->b.p;
	e8(&t->b, 0x83); /* cmpl $0, … */
	e_rip_tail(&t->b, 7, &c->base.events, 1);
	e8(&t->b, 0);
	from = e_jcc(&t->b, CC_NE);
	k = tr_cold(t, COLD_EVENT, 0, from);
	k->resume = here(&t->b);
	k->disp = t->block->off;
	if (t->b.p != start + JIT_CHECK_SIZE)
		t->b.full = true;
	/* Room for the jump that ends it (jit_pages.c), which no cell overwrites: the counting, if there is
	 * any. */
	if (!t->plain || c->lockstep) {
		e_bytes(&t->b, nop5, sizeof(nop5));
	} else {
		e_abs(&t->b, false, 0xff, 1, jit_counter(c->jit, t->block)); /* decl */
		tr_cold(t, COLD_USED, 0, e_jcc(&t->b, CC_S));
	}
	t->open = t->colds;
}

/* A check of plain code missed; its record follows the jump to C. */
static void plain_missed(struct tr *t, struct cold *k, u32 site)
{
	const struct soft_jit *j = t->c->jit;
	struct plain_check *record;
	u8 *number;

	bool stack = k->check.cell >= CELL_STACK && !k->check.shared;

	if (!stack && !k->check.shared)
		soft_cell_emit_missed(t->c, &t->b, k->check.mode, k->check.write);
	e_imm32(&t->b, T1, 0);
	number = t->b.p - 4;
	e_jmp(&t->b, stack ? j->stack_missed[k->check.mode] : j->refill);
	for (unsigned n = -here(&t->b) % _Alignof(struct plain_check); n; n--)
		e8(&t->b, 0);
	record = (struct plain_check *)t->b.p;
	k->check.site = site;
	for (unsigned n = 0; n < sizeof(*record); n++)
		e8(&t->b, 0);
	if (k->writer) {
		k->check.out = here(&t->b);
		tr_redo_flags(t, k->writer);
		e_imm32(&t->b, T1, site);
		e_jmp(&t->b, j->interpret);
	}
	if (k->check.copies && !k->check.group)
		k->check.seam = k->behind;
	if (k->addend_again) {
		u32 again = k->check.again;

		k->check.again = here(&t->b);
		tr_load_addend(t, k->addend_again);
		e_jmp(&t->b, again);
	}
	if (k->check.group && !stack) {
		k->check.seam = here(&t->b);
		tr_load_addend(t, (u32)k->disp);
		e_jmp(&t->b, k->behind);
	}
	if (t->b.p >= t->b.end)
		return;
	*(u32 *)number = (u32)((u64)record + (u64)t->b.to_run);
	*record = k->check;
}

static void write_cold(struct tr *t, struct jit_site **sites)
{
	const struct soft_jit *j = t->c->jit;

	for (unsigned i = 0; i < t->colds && !t->b.full; i++) {
		struct cold *k = &t->cold[i];
		struct jit_site *s = *sites;

		e_fix(&t->b, k->site, here(&t->b));
		if (k->kind == COLD_USED) {
			e_fix(&t->b, k->site, t->stale);
			continue;
		}
		if (k->kind != COLD_JCC && k->kind != COLD_REDO && k->kind != COLD_LOOP)
			*s = (struct jit_site){.block = low(t->block)};
		switch ((enum cold_kind)k->kind) {
		case COLD_PROBE:
			tr_probe_other(t, k);
			__attribute__((fallthrough));
		case COLD_UNKNOWN:
			s->op = k->op;
			s->resume = k->resume;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, t->c->lockstep ? j->interpret : j->unknown);
			break;
		case COLD_OTHERS:
			tr_probe_saved(t, k);
			e_jmp(&t->b, j->miss);
			break;
		case COLD_INTERPRET:
		case COLD_PLAIN:
		case COLD_CELL:
			s->op = k->op;
			s->off = (k->vectors ? JIT_SITE_VECTORS : 0) | (k->rest ? JIT_SITE_REST : 0) |
			         (t->block->ops[k->op].vclass ? JIT_SITE_VCLASS : 0) |
			         (u32)t->block->ops[k->op].off << JIT_SITE_OFF;
			if (k->kind == COLD_CELL) {
				struct soft_cell_info *cell = soft_cell_info(t->c, (u32)k->disp);

				cell->site = site(t, sites);
				if (cell->tlb)
					soft_cell_emit_missed(t->c, &t->b, cell->mode, cell->write);
				e_imm32(&t->b, T1, (u32)k->disp);
				e_jmp(&t->b, j->refill);
				if (k->addend_again) {
					u32 start = cell->start;

					cell->start = here(&t->b);
					tr_load_addend(t, k->addend_again);
					e_jmp(&t->b, start);
				}
				cell->out = k->writer ? here(&t->b) : 0;
				if (k->writer) {
					tr_redo_flags(t, k->writer);
					e_imm32(&t->b, T1, cell->site);
					e_jmp(&t->b, j->interpret);
				}
			} else if (k->kind == COLD_PLAIN) {
				plain_missed(t, k, site(t, sites));
			} else {
				if (k->writer)
					tr_redo_flags(t, k->writer);
				e_imm32(&t->b, T1, site(t, sites));
				e_jmp(&t->b, j->interpret);
			}
			s->resume = k->resume;
			if (k->load || k->addend) {
				s->resume = here(&t->b);
				if (k->load)
					tr_load_flags(t);
				if (k->addend)
					tr_load_addend(t, k->addend);
				e_jmp(&t->b, k->resume);
			}
			break;
		case COLD_WRITTEN:
			s->op = k->op;
			s->resume = k->resume;
			s->off = k->load;
			if (k->disp == T0)
				e_mov(&t->b, T1, T0);
			if (k->writer) {
				e_store(&t->b, &t->c->jx.temp, T1);
				tr_redo_flags(t, k->writer);
				e_load(&t->b, T1, &t->c->jx.temp);
			}
			e_imm32(&t->b, T0, site(t, sites));
			e_jmp(&t->b, j->written);
			break;
		case COLD_CHAIN:
			if (k->disp >
			    (s64)PAGE_SIZE -
			            15) { /* it may cross the page end, and then has no code to link */
				t->mode = k->op >> JIT_LINK_MODE;
				e_fix(&t->b, k->site, tr_far_probe(t, k));
				e_jmp(&t->b, j->miss);
				break;
			}
			s->op = k->op;
			s->resume = (u32)((u64)k->site + (u64)t->b.to_run);
			s->off = (u32)k->disp;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->chain);
			break;
		case COLD_JCC:
			tr_jcc_taken(t, k);
			break;
		case COLD_LOOP:
			tr_loop_missed(t, k);
			break;
		case COLD_REDO:
			tr_redo_probe(t, k);
			break;
		case COLD_FAR:
			t->mode = k->op;
			s->op = JIT_LINK_FAR | (k->disp > t->block->off ? JIT_LINK_FAST : 0) |
			        t->mode << JIT_LINK_MODE | (k->writer ? JIT_LINK_FLAGLESS : 0);
			s->resume = k->resume;
			s->off = tr_far_probe(t, k);
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->far);
			break;
		case COLD_USED:
			break;
		case COLD_EVENT:
			s->off = (u32)k->disp;
			s->resume = k->resume;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->event);
			t->stale = here(&t->b);
			e_imm32(&t->b, T1, (u32)((u64)s + (u64)t->b.to_run));
			e_jmp(&t->b, j->stop);
			break;
		case COLD_STOP:
			if (k->writer)
				tr_redo_flags(t, k->writer);
			s->off = (u32)k->disp;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->stop);
			break;
		}
	}
}

/* May flags be had behind op, if they are not saved? Else all are live. */
static u8 live_at_exit(struct tr *t, unsigned op)
{
	tr_plan_flags(t, op);
	t->writer = t->c->jit->insns[op].writer;
	return t->writer ? 0 : JIT_ALL;
}

u8 tr_live_there(struct tr *t, unsigned op, unsigned off)
{
	struct jit_insn *n = &t->c->jit->insns[op];

	if (!n->looked) {
		n->there = jit_live_at(t->c->jit->decoder, t->c->jit->page, off, 3, t->c->lockstep);
		n->looked = true;
	}
	return n->there;
}

/* What is live in front of each op, t->start_live being live at the start. */
static void live_ops(struct tr *t)
{
	struct jit_insn *n = t->c->jit->insns;
	const struct op *ops = t->block->ops;
	unsigned count = t->count;

	n[count].kind = JIT_END;
	n[count].aside = false;
	if (n[count - 1].kind == JIT_JMP || n[count - 1].kind == JIT_CALL || n[count - 1].kind == JIT_RET)
		n[count].live = 0; /* it is not reached */
	else if (count < t->block->count)
		n[count].live = tr_live_there(t, count, ops[count].off);
	else if (soft_op_is_next(&ops[count]))
		n[count].live = tr_live_there(t, count, (unsigned)ops[count].disp);
	else
		n[count].live = live_at_exit(t, count);
	for (unsigned i = count; i-- > 0;) {
		u8 after = n[i + 1].live;

		switch (n[i].kind) {
		case JIT_JCC:
			n[i].live = n[i].read | after | tr_live_after_jump(t, &ops[i]);
			break;
		case JIT_JMP:
		case JIT_CALL:
			if (op_kind(&ops[i], 0) == KIND_IMM && jit_in_page(ops[i].disp))
				n[i].live = tr_live_after_jump(t, &ops[i]);
			else
				n[i].live = live_at_exit(t, i);
			break;
		case JIT_RET:
			n[i].live = live_at_exit(t, i);
			break;
		default:
			n[i].live = (u8)((after & ~n[i].kill) | n[i].read);
			break;
		}
	}
}

static void liveness(struct tr *t)
{
	const struct jit_insn *n = t->c->jit->insns;

	/* Some jumps may go to the start: the least that agrees with itself. */
	t->start_live = 0;
	t->c->jit->insns[t->count].looked = false;
	live_ops(t);
	while (n[0].live & ~t->start_live) {
		t->start_live |= n[0].live;
		live_ops(t);
	}
	t->block->needs_flags = n[0].live || jit_pages_change(t->c->jit, t->block);
}

/* A loop that begins in the block has its first iteration in its own code, too: the block ends there. */
static unsigned count_ops(struct tr *t)
{
	const struct soft_block *b = t->block;

	for (unsigned i = 1; !t->plain && !t->c->lockstep && i < b->count; i++) {
		const struct soft_block *to =
		        soft_block_find(t->c, b->gpa, b->ops[i].off, soft_block_mode(b));

		if (to && to->loops && to->code[t->mode])
			return i;
	}
	return b->count;
}

u32 soft_jit_translate(struct soft_cpu *c, struct soft_block *b, unsigned mode)
{
	struct soft_jit *j = c->jit;
	const u8 *page = physmem_ptr(c->base.config.board->mem, b->gpa, PAGE_SIZE), *bytes;
	static _Thread_local struct tr t;
	const struct soft_block *second = b->mode & SOFT_MODE_CROSSING ? b + 1 : NULL;
	struct jit_site *sites;
	struct jit_code *code;
	size_t used, cold_used;
	u8 *end;

	if (c->vec_live)
		soft_vec_park(c);
	if (!page || c->stop.block == b)
		return 0;
	soft_block_ops(c, b);
	if (b->counter == SOFT_NOT_PLAIN)
		soft_block_widen(c, b);
	if (!soft_block_keep(c, b)) {
		j->used = j->size;
		return 0;
	}
	bytes = soft_block_bytes(c, b);
	memcpy(j->page, page, PAGE_SIZE);
	if (!jit_pages_announce(j, b) || (second && !jit_pages_announce(j, second)))
		return 0;
	t.c = c;
	t.block = b;
	t.mode = t.entry_mode = mode;
	if (!b->counter) {
		b->counter = SOFT_NOT_PLAIN;
		if (j->counter_count + 1 < j->counters_size) {
			b->counter = ++j->counter_count;
			soft_jit_plain_again(c, b);
		}
	}
	t.plain = b->counter != SOFT_NOT_PLAIN;
	t.check_after = ~0u;
	t.colds = t.open = 0;
	t.writer = t.pending = 0;
	t.host = false;
	t.saved = true;
	t.vec = 0;
	/* Where loops begin in lines of the host's cache matters for what is hot. */
	if (!t.plain)
		j->used = align_up(j->used, (size_t)64);
	t.b = (struct jit_buf){
	        .p = j->write + j->used, .end = j->write + j->cold, .to_run = j->run - j->write};

	/* What crosses a page in plain code may have a window. */
	for (unsigned i = 0; !t.plain && !b->regrouped && i < b->count; i++)
		b->ops[i].flags &= (u8)~OPF_ALONE;
	b->regrouped |= !t.plain;
	t.count = count_ops(&t);
	for (unsigned i = 0; i < t.count; i++)
		jit_classify(j->decoder, &j->insns[i], &b->ops[i],
		             bytes + (b->ops[i].off - soft_block_first(b)), c->lockstep);
	liveness(&t);
	t.loop.yes = t.in_loop = false;
	if (!t.plain && !second)
		tr_loop_find(&t);
	t.groups.plain = t.plain;
	jit_groups_find(&t.groups, b, j->insns, t.count, t.loop.yes ? t.loop.trace.last : ~0u, NULL);
	t.addend = 0;
	t.held_at = NULL;
	t.early = t.direct = false;
	prologue(&t);
	tr_loop_enter(&t);
	tr_early_checks(&t);
	for (unsigned i = 0; i <= t.count; i++) {
		tr_one(&t, i);
		tr_loop_leave(&t, i);
		if (t.check_after == i)
			check_events(&t, i + 1);
		if (j->insns[i].kind == JIT_JMP || j->insns[i].kind == JIT_CALL ||
		    j->insns[i].kind == JIT_RET)
			break;
	}
	tr_loop(&t);
	if (t.b.p >= t.b.end) {
		j->used = j->size;
		return 0;
	}
	end = t.b.p;
	/* Elsewhere: sites, then the code that names them. */
	t.b.p = j->write + j->cold_used;
	t.b.end = j->write + j->size;
	sites = (struct jit_site *)t.b.p;
	t.b.p += t.colds * sizeof(*sites);
	t.b.p += second ? sizeof(*code) : 0;
	code = (struct jit_code *)t.b.p; /* in front of what the check entry jumps to */
	t.b.p += sizeof(*code);
	t.pending = 0;
	if (t.b.p < t.b.end)
		write_cold(&t, &sites);
	if (t.b.p >= t.b.end) {
		j->used = j->size;
		return 0;
	}
	used = align_up((size_t)(end - j->write), (size_t)4);
	cold_used = align_up((size_t)(t.b.p - j->write), (size_t)4);
	if (t.b.full) {
		/* Not used again: there may be records of links in it. */
		j->used = used;
		j->cold_used = cold_used;
		b->heat = SOFT_JIT_NEVER;
		return 0;
	}
	b->loops = t.loop.yes;
	*code = (struct jit_code){.block = low(b) | (b->needs_flags ? JIT_CODE_FLAGS : 0) |
	                                   mode << JIT_CODE_MODE,
	                          .generation = b->generation,
	                          .check = t.check,
	                          .stale = t.stale};
	jit_pages_add(j, b, code);
	if (second) {
		code[-1] = (struct jit_code){.block = low(second) | (code->block & JIT_CODE_BITS),
		                             .generation = second->generation,
		                             .check = t.check,
		                             .stale = t.stale};
		jit_pages_add(j, second, code - 1);
	}
	j->used = used;
	j->cold_used = cold_used;
	return t.check;
}
