#include "cpu/soft/jit.h"
#include "cpu/soft/block.h"
#include "cpu/soft/jit_cell.h"
#include "cpu/soft/jit_decode.h"
#include "cpu/soft/jit_emit.h"
#include "cpu/soft/jit_insn.h"
#include "cpu/soft/jit_map.h"
#include "cpu/soft/jit_seam.h"
#include "cpu/soft/lockstep.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"
#include "cpu/soft/vec_signal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIGNAL_STACK = 64 << 10, GIVE_BACK = 512 << 10, POPULATE = 64 << 10, HOT = 16, HOTTER = 16384 };

/* Is there translated code for the current mode? That for the supervisor takes it that CPL is 0. */
static bool usable(const struct soft_cpu *c)
{
	return c->long64 && (u64)(c->tlb - c->tlbs[0]) < (u64)SOFT_TLB_MODES * SOFT_TLB_ENTRIES &&
	       (c->cpl == 0 || c->cpl == 3);
}

/* ---- what code calls; general registers are in c->regs, the stack is the host's ---- */

/* Goes on at c->rip if that is translated and nothing is to be done before; else code must be left. */
static bool go_on(struct soft_cpu *c)
{
	u32 code;

	c->op = NULL;
	if (!usable(c) || c->step || c->halted || c->lockstep ||
	    (atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled))
		return true;
	code = jit_jump_at(c, c->rip, (unsigned)((u64)(c->tlb - c->tlbs[0]) / SOFT_TLB_ENTRIES));
	if (!code)
		return true;
	c->regs[SREG_PAGE_RIP] = c->rip & ~(PAGE_SIZE - 1);
	c->jx.resume = code;
	return false;
}

static bool leave(struct soft_cpu *c, const struct op *next)
{
	if (next)
		c->rip = soft_op_rip(c, next);
	return go_on(c);
}

/* Interprets from o on, to the end of a block. */
static void rest(struct soft_cpu *c, const struct op *o)
{
	while (o) {
		const struct op *next;

		if (unlikely(c->lockstep != NULL)) {
			soft_lockstep_return(c, o);
			soft_lockstep_call(c, o, false);
		}
		c->op = o;
		next = o->fn(c, o);
		if (VEC_PARK_ALWAYS && c->vec_live)
			soft_vec_park(c);
		if (unlikely(c->lockstep != NULL) && next != o + 1) {
			leave(c, next);
			return;
		}
		o = next;
	}
}

/* Does one op; true if code must be left, with c->rip set. */
static bool interpret(struct soft_cpu *c, const struct jit_site *s)
{
	const struct op *o, *next;
	const struct soft_tlb_entry *tlb = c->tlb;
	bool live = (s->off & JIT_SITE_VECTORS) && c->vec_live;
	bool leaves = (s->off & JIT_SITE_REST) && s->op && !c->lockstep;
	u32 flushes = c->jx.flushes;

	/* From here on it is another block's, that has no such group in the end. */
	if (leaves && !(s->off & JIT_SITE_VCLASS)) {
		c->rip = c->regs[SREG_PAGE_RIP] + (s->off >> JIT_SITE_OFF);
		return go_on(c);
	}
	c->block = (struct soft_block *)(u64)s->block;
	c->block->seen = (u8)(c->block->heat + 1);
	o = c->op = soft_block_ops(c, c->block) + s->op;
	if (o->vclass)
		soft_jit_x87_before(c, o);
	if (leaves)
		return leave(c, o);
	if (unlikely(c->lockstep != NULL))
		soft_lockstep_call(c, o, false);
	next = o->fn(c, o);
	if (VEC_PARK_ALWAYS && c->vec_live)
		soft_vec_park(c);
	if (unlikely(next != o + 1))
		return leave(c, next);
	if (unlikely(c->stop.op == next)) {
		next->fn(c, next);
		return true;
	}
	if (unlikely(c->tlb != tlb || c->jx.flushes != flushes) || unlikely(!soft_jit_may_return(c)))
		return leave(c, next);
	if (s->off & JIT_SITE_REST) {
		rest(c, next);
		return go_on(c);
	}
	if (unlikely(c->lockstep != NULL))
		soft_lockstep_return(c, next);
	if (live && !c->vec_live && !VEC_PARK_ALWAYS)
		soft_vec_unpark(c);
	c->jx.resume = s->resume;
	return false;
}

/* A translated store hit a page with code. */
static bool written(struct soft_cpu *c, const struct jit_site *s, _Atomic u32 *page)
{
	const struct op *o;

	c->block = (struct soft_block *)(u64)s->block;
	o = c->op = soft_block_ops(c, c->block) + s->op;
	physmem_page_changed(page);
	if (!s->off)
		c->rip = soft_next_rip(c, o);
	else if (op_kind(o, 0) == KIND_IMM)
		c->rip = c->regs[SREG_PAGE_RIP] + (u64)o->disp;
	else
		c->rip = c->jx.target_rip;
	return true;
}

/* The instruction at pc raised SIGFPE: a division or a vector instruction. */
static _Noreturn void fault(struct soft_cpu *c, u64 pc, unsigned trap)
{
	const struct soft_jit *j = c->jit;
	unsigned from = 0, to = j->fault_count;

	while (to - from > 1) {
		unsigned middle = (from + to) / 2;

		if (j->faults[middle].pc <= pc)
			from = middle;
		else
			to = middle;
	}
	c->block = (struct soft_block *)(u64)j->faults[from].block;
	c->op = soft_block_ops(c, c->block) + j->faults[from].op;
	if (j->faults[from].host)
		c->af = (u16)c->jx.temp;
	soft_jit_x87_before(c, c->op);
	if (unlikely(c->lockstep != NULL))
		soft_lockstep_call(c, c->op, true);
	if (trap == EXC_DE)
		soft_raise(c, EXC_DE);
	soft_vec_fault(c, trap);
}

/* ---- trampolines ---- */

static void store_registers(struct soft_cpu *c, struct jit_buf *b)
{
	for (unsigned i = 0; i < REG_COUNT; i++)
		if (i != T0 && i != T1)
			e_store(b, &c->regs[i], i);
}

static void load_registers(struct soft_cpu *c, struct jit_buf *b)
{
	for (unsigned i = 0; i < REG_COUNT; i++)
		if (i != T0 && i != T1)
			e_load(b, i, &c->regs[i]);
}

static void back_to_c(struct soft_cpu *c, struct jit_buf *b)
{
	static const u8 code[] = {0x48, 0x83, 0xc4, 0x08,             /* add $8, %rsp */
	                          0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, /* pop %r15 … */
	                          0x41, 0x5c, 0x5d, 0x5b, 0xc3};

	for (unsigned i = 0; i < sizeof(code); i++)
		e8(b, code[i]);
}

/* A C function with site in T1 (arguments after the first are set); goes on at jx.resume, or leaves. */
static void call_out(struct soft_cpu *c, struct jit_buf *b, const u64 *function)
{
	u8 *out;

	e_load(b, REG_RSP, &c->jx.host_rsp);
	e_imm32(b, REG_RDI, low(c));
	e_abs(b, false, 0xff, 2, function);
	e_rr(b, false, 0x84, REG_RAX, REG_RAX);
	out = e_jcc(b, CC_NE);
	load_registers(c, b);
	e_jmp_abs(b, &c->jx.resume);
	e_fix(b, out, here(b));
	back_to_c(c, b);
}

/* T0: what a check of the stack has in it, T1: its record. If the TLB has the page, the cell gets it. */
static void stack_missed(struct soft_cpu *c, struct jit_buf *b, unsigned mode)
{
	static const u8 index[] = {0xc4, 0xc3, 0xfb, 0xf0, 0xc2, 0x06, /* rorx $6, %r10, %rax */
	                           0x25};                              /* and $…, %eax */
	struct soft_cell *cell = soft_cell(c, CELL_STACK + mode);
	struct soft_tlb_entry *tlb = c->tlbs[mode];
	u8 *miss;

	c->jit->stack_missed[mode] = here(b);
	e_abs(b, true, OP_ADD, T0, &cell->tag);
	e_store(b, &c->regs[REG_RAX], REG_RAX);
	e_store(b, &c->regs[REG_RCX], REG_RCX);
	e_bytes(b, index, sizeof(index));
	e32(b, (SOFT_TLB_ENTRIES - 1) * sizeof(*tlb));
	e_mov(b, REG_RCX, T0);
	e_abs(b, true, OP_ADD, REG_RCX, &c->tlb_key);
	e_mem(b, true, OP_SUB, REG_RCX, REG_RAX, NO_REG, 0, low(&tlb->tag_write));
	e_mem(b, true, OP_CMP, REG_RCX, T1, NO_REG, 0, offsetof(struct plain_check, fits));
	miss = e_jcc(b, CC_A);
	e_rr(b, true, 0x29, REG_RCX, T0); /* sub %rcx, %r10 */
	e_store(b, &cell->tag, T0);
	e_mem(b, true, OP_LOAD, REG_RCX, REG_RAX, NO_REG, 0, low(&tlb->addend));
	e_store(b, &cell->addend, REG_RCX);
	e_mem(b, true, OP_LOAD, REG_RCX, REG_RAX, NO_REG, 0, low(&tlb->page));
	e_store(b, &cell->page, REG_RCX);
	for (unsigned i = 0; i < SOFT_STACK_SPANS; i++) {
		e_fixed(b, true, 0xc7, 0, &c->jx.stack_limit[mode][i]); /* movq $…, … */
		e32(b, (u32)PAGE_SIZE + 1 - soft_stack_spans[i]);
	}
	e_load(b, REG_RAX, &c->regs[REG_RAX]);
	e_load(b, REG_RCX, &c->regs[REG_RCX]);
	e_mem(b, false, OP_LOAD, T1, T1, NO_REG, 0, offsetof(struct plain_check, seam));
	e_jmp_reg(b, T1);
	e_fix(b, miss, here(b));
	e_load(b, REG_RAX, &c->regs[REG_RAX]);
	e_load(b, REG_RCX, &c->regs[REG_RCX]);
	e_jmp(b, c->jit->refill);
}

static void trampolines(struct soft_cpu *c)
{
	static const u8 entry[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, /* push %rbx … */
	                           0x41, 0x57, 0x48, 0x83, 0xec, 0x08,             /* sub $8, %rsp */
	                           0x49, 0x89, 0xfb};                              /* mov %rdi, %r11 */
	struct soft_jit *j = c->jit;
	struct jit_buf b = {.p = j->write, .end = j->write + 4096, .to_run = j->run - j->write};
	u32 out;

	j->enter = (void (*)(u64))(u64)here(&b);
	for (unsigned i = 0; i < sizeof(entry); i++)
		e8(&b, entry[i]);
	e_store(&b, &c->jx.host_rsp, REG_RSP);
	load_registers(c, &b);
	e_jmp_reg(&b, T1);

	j->out = out = here(&b);
	store_registers(c, &b);
	e_load(&b, REG_RSP, &c->jx.host_rsp);
	back_to_c(c, &b);

	/* T1: site. rip is its offset in the page. */
	j->chain = here(&b);
	e_abs(&b, false, OP_STORE, T1, &c->jx.link);
	j->stop = here(&b);
	e_mem(&b, false, OP_LOAD, T1, T1, NO_REG, 0, offsetof(struct jit_site, off));
	e_abs(&b, true, OP_ADD, T1, &c->regs[SREG_PAGE_RIP]);
	e_store(&b, &c->rip, T1);
	e_jmp(&b, out);

	/* T1: site. If there is no event that matters now, it goes on. */
	j->event = here(&b);
	e_abs(&b, false, OP_LOAD, T0, &c->base.events);
	e_abs(&b, false, OP_TEST, T0, &c->events_enabled);
	e_fix(&b, e_jcc(&b, CC_NE), j->stop);
	e_mem(&b, false, OP_LOAD, T1, T1, NO_REG, 0, offsetof(struct jit_site, resume));
	e_jmp_reg(&b, T1);

	/* T0: rip, T1: site */
	j->far = here(&b);
	e_abs(&b, false, OP_STORE, T1, &c->jx.link);
	/* T0: rip */
	j->miss = here(&b);
	e_store(&b, &c->rip, T0);
	e_jmp(&b, out);

	/* T1: site */
	j->interpret = here(&b);
	store_registers(c, &b);
	e_mov(&b, REG_RSI, T1);
	call_out(c, &b, &c->jx.interpret);

	/* T0: rip that a jump is about to go to, T1: site; where that jumps by what T1 says of rip, it leaves code.
	 * If rip is not canonical the jump itself faults. */
	static const u8 high_bits[] = {0x49, 0xc1, 0xfa, 0x2f}; /* sar $47, %r10 */
	j->unknown = here(&b);
	e_store(&b, &c->rip, T0);
	e_bytes(&b, high_bits, sizeof(high_bits));
	e_group1(&b, true, 0, T0, 1);
	e_group1(&b, true, 7, T0, 1);
	e_fix(&b, e_jcc(&b, CC_A), j->interpret);
	e_mem(&b, false, OP_LOAD, T1, T1, NO_REG, 0, offsetof(struct jit_site, resume));
	e_store(&b, &c->jx.resume, T1);
	e_load(&b, T0, &c->rip);
	e_imm32(&b, T1, low(c->jx.unknown));
	e_jmp_abs(&b, &c->jx.resume);
	c->jx.unknown[1] = out;

	/* jx.site */
	j->interpret_site = here(&b);
	e_load(&b, T1, &c->jx.site);
	e_jmp(&b, j->interpret);

	/* T0: what the check has in it, T1: number of the cell. Only what C may clobber is saved. */
	static const u8 clobbered[] = {REG_RAX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, 8, 9};
	j->refill = here(&b);
	for (unsigned i = 0; i < sizeof(clobbered); i++)
		e_store(&b, &c->regs[clobbered[i]], clobbered[i]);
	e_store(&b, &c->regs[REG_RSP], REG_RSP);
	e_load(&b, REG_RSP, &c->jx.host_rsp);
	e_imm32(&b, REG_RDI, low(c));
	e_mov(&b, REG_RSI, T1);
	e_mov(&b, REG_RDX, T0);
	e_abs(&b, false, 0xff, 2, &c->jx.refill);
	e_mov(&b, T0, REG_RDX);
	e_mov(&b, T1, REG_RAX);
	for (unsigned i = 0; i < sizeof(clobbered); i++)
		e_load(&b, clobbered[i], &c->regs[clobbered[i]]);
	e_load(&b, REG_RSP, &c->regs[REG_RSP]);
	e_jmp_reg(&b, T1);

	/* jx.addend, jx.resume */
	j->across = here(&b);
	e_load(&b, T1, &c->jx.addend);
	e_jmp_abs(&b, &c->jx.resume);

	for (unsigned i = 0; i < SOFT_TLB_MODES; i++)
		stack_missed(c, &b, i);

	/* T0: site, T1: page word */
	j->written = here(&b);
	store_registers(c, &b);
	e_mov(&b, REG_RSI, T0);
	e_mov(&b, REG_RDX, T1);
	call_out(c, &b, &c->jx.written);

	/* T0: pc, T1: trap number */
	static const u8 lahf_seto[] = {0x9f, 0x0f, 0x90, 0xc0};
	j->fault = here(&b);
	store_registers(c, &b);
	for (unsigned i = 0; i < sizeof(lahf_seto); i++)
		e8(&b, lahf_seto[i]);
	e_store(&b, &c->jx.temp, REG_RAX);
	e_mov(&b, REG_RSI, T0);
	e_mov(&b, REG_RDX, T1);
	call_out(c, &b, &c->jx.fault);

	if (b.full)
		__builtin_trap();
	j->fixed = j->used = align_up((size_t)(b.p - j->write), (size_t)64);
}

/* ---- life ---- */

static bool host_has_bmi2(void)
{
	u32 eax = 7, ebx, ecx = 0, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx & BIT(8);
}

static size_t tables_bytes(const struct soft_jit *j)
{
	size_t count = 0;

	for (unsigned i = 0; i < j->table_count; i++)
		count += j->tables[i].size;
	return count * sizeof(*j->jumps);
}

void soft_jit_init(struct soft_cpu *c)
{
	const char *text = getenv("INSULA_TRANSLATE"); /* for tests: 1 translates everything, 0 nothing */
	int fd, threshold = text ? atoi(text) : c->base.config.check ? 1 : HOT;
	struct soft_jit *j;
	size_t tables_size;

	if (c->base.config.interpret || threshold <= 0 || (u64)(c + 1) >> 31 || !host_has_bmi2() ||
	    !soft_cache_is_low(c))
		return;
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	c->jit = j;
	j->threshold = threshold;
	j->uses = threshold == 1 ? 2 : threshold * HOTTER;
	j->size = soft_share(c, 128 * MiB, 24 * MiB, 6 * MiB);
	/* Of which the main line takes three tenths. */
	j->cold = j->cold_used = align_down(j->size / 10 * 3, (size_t)PAGE_SIZE);
	j->write = j->run = j->signal_stack = MAP_FAILED;
	j->counters = MAP_FAILED;
	j->counters_size = (unsigned)soft_share(c, 1 << 18, 1 << 17, 1 << 15);
	j->decoder = jit_decoder_new();
	j->insns = calloc(JIT_INSNS, sizeof(*j->insns));
	j->faults = calloc(JIT_FAULTS, sizeof(*j->faults));
	j->seen = calloc(2 * JIT_SEEN, sizeof(*j->seen));
	j->linked = calloc(JIT_LINKED, sizeof(*j->linked));
	j->linked_count = 1;
	j->table_count = c->base.config.count > 16 ? 4 : JIT_TABLES;
	for (unsigned i = 0; i < j->table_count; i++)
		j->tables[i].size = i < JIT_USER_TABLE          ? JIT_SUPER_JUMPS
		                    : c->base.config.count <= 4 ? JIT_JUMPS
		                                                : JIT_JUMPS / 2;
	tables_size = tables_bytes(j);
	j->jumps = soft_map(&c->base.config, tables_size, PROT_READ | PROT_WRITE, -1);
	j->counters = soft_map(&c->base.config, j->counters_size * sizeof(*j->counters),
	                       PROT_READ | PROT_WRITE, -1);
	fd = memfd_create("translated-code", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)j->size) == 0) {
		j->write = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		j->run = soft_map(&c->base.config, j->size, PROT_READ | PROT_EXEC, fd);
		j->signal_stack = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE,
		                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (fd >= 0)
		close(fd);
	if (!soft_cells_init(c) || !j->decoder || !j->insns || !j->faults || !j->seen || !j->linked ||
	    j->write == MAP_FAILED || j->run == MAP_FAILED || j->signal_stack == MAP_FAILED ||
	    (u64)(j->run + j->size) >> 31 || j->jumps == MAP_FAILED ||
	    (u64)((u8 *)j->jumps + tables_size) >> 31 || j->counters == MAP_FAILED ||
	    (u64)(j->counters + j->counters_size) >> 31) {
		soft_jit_release(c);
		return;
	}
	c->jx.refill = (u64)soft_cell_refill;
	c->jx.interpret = (u64)interpret;
	c->jx.written = (u64)written;
	c->jx.fault = (u64)fault;
	trampolines(c);
	j->seams = seams_new();
	j->map = jit_map_new();
	jit_map_name(j->map, (u64)j->run, (u64)j->run + j->fixed, "trampolines");
	jit_map_name(j->map, (u64)&c->rip, (u64)(&c->rip + 1), "rip");
	jit_map_name(j->map, (u64)&c->op, (u64)(&c->op + 1), "op");
	for (unsigned i = 0, at = 0; i < j->table_count; at += j->tables[i++].size)
		j->tables[i].jumps = j->jumps + at;
	j->table = j->oldest = JIT_USER_TABLE;
	soft_jit_remapped(c);
	soft_jit_space(c);
}

void soft_jit_release(struct soft_cpu *c)
{
	struct soft_jit *j = c->jit;

	if (!j)
		return;
	if (j->jumps != MAP_FAILED)
		munmap(j->jumps, tables_bytes(j));
	if (j->counters != MAP_FAILED)
		munmap(j->counters, j->counters_size * sizeof(*j->counters));
	if (j->write != MAP_FAILED)
		munmap(j->write, j->size);
	if (j->run != MAP_FAILED)
		munmap(j->run, j->size);
	if (j->signal_stack != MAP_FAILED)
		munmap(j->signal_stack, SIGNAL_STACK);
	seams_free(j->seams);
	jit_map_free(j->map);
	soft_cells_release(c);
	jit_decoder_free(j->decoder);
	free(j->insns);
	free(j->faults);
	free(j->seen);
	free(j->linked);
	free(j);
	c->jit = NULL;
}

void soft_jit_plain_again(struct soft_cpu *c, struct soft_block *b)
{
	s32 *counter = c->jit ? jit_counter(c->jit, b) : NULL;

	if (counter)
		*counter = c->jit->uses;
	else
		b->counter = 0;
}

void soft_jit_flush(struct soft_cpu *c)
{
	if (!c->jit)
		return;
	jit_map_flush(c->jit->map, (u64)c->jit->run + c->jit->fixed, c->jit->size - c->jit->fixed);
	c->jit->used = c->jit->unmapped = c->jit->fixed;
	c->jit->cold_used = c->jit->cold;
	c->jit->ready = c->jit->cold_ready = 0;
	c->jit->fault_count = 0;
	c->jit->counter_count = 0;
	soft_cells_reset(c);
	c->jx.link = 0;
	jit_pages_forget(c->jit);
	soft_jit_remapped(c);
}

void soft_jit_thread(struct soft_cpu *c, bool runs)
{
	struct vec_site site = {.cpu = c};

	if (!c->jit)
		return;
	vec_signal_stack(runs ? c->jit->signal_stack : NULL, SIGNAL_STACK);
	if (runs && !c->vec_live) {
		soft_jit_site(c, &site.code, &site.code_end, &site.code_entry);
		vec_signal_site(&site);
	}
}

/* ---- running ---- */

/* The process counts each page of code for both of its mappings; the writable one can do without. But jumps
 * in old code are linked again and again, and each page that is missed then is a fault: so the more there is,
 * the rarer. */
static void give_back(struct soft_jit *j)
{
	if (j->used < j->unmapped + max((size_t)GIVE_BACK, j->unmapped))
		return;
	(void)madvise(j->write, align_down(j->used, (size_t)PAGE_SIZE), MADV_DONTNEED);
	(void)madvise(j->write + j->cold, align_down(j->cold_used - j->cold, (size_t)PAGE_SIZE),
	              MADV_DONTNEED);
	j->unmapped = j->used;
}

/* Pages for what is written next, in both mappings: one by one each would be two faults. */
static void populate(struct soft_jit *j, size_t used, size_t *ready, size_t end)
{
	if (used + PAGE_SIZE < *ready || *ready == end)
		return;
	if (*ready < used)
		*ready = align_down(used, (size_t)PAGE_SIZE);
	end = min(*ready + POPULATE, end);
	(void)madvise(j->write + *ready, end - *ready, MADV_POPULATE_WRITE);
	(void)madvise(j->run + *ready, end - *ready, MADV_POPULATE_READ);
	*ready = end;
}

bool soft_jit_run(struct soft_cpu *c, struct soft_block *b)
{
	u64 n = (u64)(c->tlb - c->tlbs[0]) / SOFT_TLB_ENTRIES;
	u32 link = c->jx.link, code;

	c->jx.link = 0;
	soft_cells_settle(c);
	if (b->heat < -0x40000000)
		b->heat = 0;
	if (!usable(c) || !b->page) {
		if (link && !c->lockstep)
			jit_link_none(c, (const struct jit_site *)(u64)link);
		return false;
	}
	if (c->lockstep && b->code[n] && jit_counter(c->jit, b))
		--*jit_counter(c->jit, b);
	if (jit_counter(c->jit, b) && *jit_counter(c->jit, b) < 0) {
		for (unsigned mode = 0; mode < SOFT_TLB_MODES; mode++)
			jit_pages_retire(c->jit, b, mode);
		b->counter = SOFT_NOT_PLAIN;
	}
	code = b->code[n];
	if (!code) {
		populate(c->jit, c->jit->used, &c->jit->ready, c->jit->cold);
		populate(c->jit, c->jit->cold_used, &c->jit->cold_ready, c->jit->size);
		code = soft_jit_translate(c, b, (unsigned)n);
		if (c->jit->used == c->jit->size) { /* full */
			soft_cache_flush(c);
			return true;
		}
		if (!code)
			return false;
		b->code[n] = code;
		give_back(c->jit);
		jit_map_block(c->jit->map, code, (u64)c->jit->run + c->jit->used, c->rip, c->cpl);
	}
	b->heat = 0; /* nobody uses its ops */
	if (n != SOFT_TLB_USER && !soft_jump_is_global(c, c->rip))
		c->jx.own_pages = true;
	if (!(c->rip >> 63) && (n != SOFT_TLB_USER || soft_jump_is_global(c, c->rip)))
		c->jx.low_shared = true;
	jit_note_page(c, b, c->rip, (unsigned)n);
	if (b->mode & SOFT_MODE_CROSSING) {
		jit_note_page(c, b + 1, c->rip + PAGE_SIZE, (unsigned)n);
		jit_note_page(c, b, c->rip, (unsigned)n); /* as that may have forgotten all */
		soft_cache_note_jump(c, c->rip + PAGE_SIZE);
	}
	/* Under the lock-step check jumps hit, but come back. */
	/* What is linked now need not take room in the table. */
	if (!link || c->lockstep || !jit_link(c, (const struct jit_site *)(u64)link, b, code, (unsigned)n))
		jit_note_jump(c, c->rip, c->lockstep ? c->jit->out : code, (unsigned)n, b->needs_flags);
	soft_cache_note_jump(c, c->rip);
	if (unlikely(c->lockstep != NULL)) {
		if (!soft_jit_may_return(c))
			return true;
		soft_lockstep_enter(c, b);
		c->jit->enter(code + JIT_CHECK_SIZE);
		soft_lockstep_leave(c);
		c->jx.link = 0;
		return true;
	}
	c->jit->enter(code);
	if (c->jx.link) {
		c->jit->link_rip = c->rip;
		c->jit->link_key =
		        jit_key(c, ((const struct jit_site *)(u64)c->jx.link)->op >> JIT_LINK_MODE & 3);
	}
	return true;
}
