#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/lockstep_state.h"
#include "cpu/soft/vec.h"

#include <Zydis/Zydis.h>

#include <stdio.h>

/* What is shown of both states; size in bytes. */
struct field {
	const char *name;
	u16 at, size;
};
#define FIELD(field)                                                                            \
	{                                                                                       \
#field, offsetof(struct soft_cpu, field), sizeof(((struct soft_cpu *)0)->field) \
	}
#define NAMED(name, field)                                                                    \
	{                                                                                     \
		name, offsetof(struct soft_cpu, field), sizeof(((struct soft_cpu *)0)->field) \
	}
static const struct field fields[] = {
        NAMED("rax", regs[0]),
        NAMED("rcx", regs[1]),
        NAMED("rdx", regs[2]),
        NAMED("rbx", regs[3]),
        NAMED("rsp", regs[4]),
        NAMED("rbp", regs[5]),
        NAMED("rsi", regs[6]),
        NAMED("rdi", regs[7]),
        NAMED("r8", regs[8]),
        NAMED("r9", regs[9]),
        NAMED("r10", regs[10]),
        NAMED("r11", regs[11]),
        NAMED("r12", regs[12]),
        NAMED("r13", regs[13]),
        NAMED("r14", regs[14]),
        NAMED("r15", regs[15]),
        FIELD(rip),
        FIELD(rflags),
        NAMED("fs base", segbase[SEG_FS]),
        NAMED("gs base", segbase[SEG_GS]),
        FIELD(cpl),
        FIELD(mode),
        FIELD(shadow),
        FIELD(step),
        FIELD(vec_deny),
        FIELD(nmi_blocked),
        FIELD(halted),
        FIELD(activity),
        NAMED("es", seg[SEG_ES]),
        NAMED("cs", seg[SEG_CS]),
        NAMED("ss", seg[SEG_SS]),
        NAMED("ds", seg[SEG_DS]),
        NAMED("fs", seg[SEG_FS]),
        NAMED("gs", seg[SEG_GS]),
        FIELD(ldtr),
        FIELD(tr),
        FIELD(gdtr),
        FIELD(idtr),
        FIELD(cr0),
        FIELD(cr2),
        FIELD(cr3),
        FIELD(cr4),
        FIELD(xcr0),
        FIELD(efer),
        FIELD(dr),
        FIELD(dr6),
        FIELD(dr7),
        FIELD(db_pending),
        FIELD(star),
        FIELD(lstar),
        FIELD(cstar),
        FIELD(sfmask),
        FIELD(kernel_gs_base),
        FIELD(sysenter_cs),
        FIELD(sysenter_esp),
        FIELD(sysenter_eip),
        FIELD(pat),
        FIELD(tsc_adjust),
        FIELD(tsc_aux),
        FIELD(misc_enable),
        FIELD(spec_ctrl),
        FIELD(fpu_ip),
        FIELD(fpu_dp),
        FIELD(fpu_op),
};

static void print_bytes(const u8 *p, size_t n)
{
	if (n <= 8) {
		u64 v = 0;

		vec_copy(&v, p, n);
		fprintf(stderr, " %16llx", (unsigned long long)v);
		return;
	}
	fputc(' ', stderr);
	for (size_t i = n; i-- > 0;)
		fprintf(stderr, "%02x", p[i]);
}

static bool differ(const u8 *a, const u8 *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return true;
	return false;
}

static void print_row(const char *name, const u8 *before, const u8 *want, const u8 *got, size_t n,
                      bool always)
{
	bool wrong = differ(want, got, n);

	if (!always && !wrong && !differ(before, want, n))
		return;
	fprintf(stderr, "%c %-14s", wrong ? '*' : ' ', name);
	print_bytes(before, n);
	print_bytes(want, n);
	print_bytes(got, n);
	fputc('\n', stderr);
}

static void print_state(struct lockstep_run *r, const struct soft_cpu *have)
{
	const struct soft_cpu *before = lockstep_cpu(&r->begin), *want = lockstep_cpu(&r->after);
	char name[16];

	fprintf(stderr, "  %-14s %16s %16s %16s\n", "", "before", "interpreted", "translated");
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];

		print_row(f->name, (const u8 *)before + f->at, (const u8 *)want + f->at,
		          (const u8 *)have + f->at, f->size, f->at < offsetof(struct soft_cpu, op));
	}
	fprintf(stderr, "  %-14s %16x %16x %16x (SF ZF AF PF CF in 15:8, OF in 0; dead ones may differ)\n",
	        "flags", before->af, want->af, have->af);
	if (!r->vectors)
		return;
	print_row("fcw, fsw, ftw", before->xsave, want->xsave, have->xsave, 6, false);
	print_row("mxcsr", before->xsave + XSAVE_MXCSR, want->xsave + XSAVE_MXCSR, have->xsave + XSAVE_MXCSR,
	          4, false);
	for (unsigned i = 0; i < 32 + 8; i++) {
		unsigned at = i < 16   ? XSAVE_XMM + 16 * i
		              : i < 32 ? XSAVE_YMMH + 16 * (i - 16)
		                       : XSAVE_ST + 16 * (i - 32);

		snprintf(name, sizeof(name),
		         i < 16   ? "xmm%u"
		         : i < 32 ? "ymm%u high"
		                  : "st%u",
		         i & (i < 32 ? 15 : 7));
		print_row(name, before->xsave + at, want->xsave + at, have->xsave + at, i < 32 ? 16 : 10,
		          false);
	}
	for (unsigned at = XSAVE_END; at < VCPU_XSAVE_SIZE; at += 16) {
		snprintf(name, sizeof(name), "xsave+%u", at);
		print_row(name, before->xsave + at, want->xsave + at, have->xsave + at, 16, false);
	}
}

static u64 gpa_of(const struct soft_cpu *c, const u8 *host)
{
	const struct physmem *mem = c->base.config.board->mem;

	for (unsigned i = 0; i < mem->count; i++)
		if ((u64)(host - mem->slots[i].hva) < mem->slots[i].size)
			return mem->slots[i].gpa + (u64)(host - mem->slots[i].hva);
	return ~0ULL;
}

static void print_memory(const struct soft_cpu *c, const struct lockstep_run *r)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < r->count; i++) {
		const struct lockstep_page *p = &r->pages[i];

		for (unsigned k = 0; k < PAGE_SIZE; k += 8) {
			bool wrong = differ(p->host + k, p->copy + k, 8);

			if (!(p->chunks >> k / LOCKSTEP_CHUNK & 1) ||
			    (!wrong && !differ(p->copy + k, p->before + k, 8)))
				continue;
			if (shown++ == 64) {
				fprintf(stderr, "  …\n");
				return;
			}
			fprintf(stderr, "%c %-14llx", wrong ? '*' : ' ',
			        (unsigned long long)gpa_of(c, p->host + k));
			print_bytes(p->before + k, 8);
			print_bytes(p->copy + k, 8);
			print_bytes(p->host + k, 8);
			fputc('\n', stderr);
		}
	}
}

static void print_code(const struct soft_cpu *c, const struct lockstep_run *r, u64 page_rip)
{
	const struct soft_block *b = r->block;
	const u8 *bytes = soft_block_bytes(c, b);
	ZydisDecoder decoder;
	ZydisFormatter formatter;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
	for (unsigned i = 0; i < b->count; i++) {
		const struct op *o = &b->ops[i];
		ZydisDecodedInstruction z;
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		char text[128] = "?";

		if (o->fn == op_guard_cpl0)
			continue;
		if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes + (o->off - soft_block_first(b)),
		                                        o->len, &z, operands)))
			ZydisFormatterFormatInstruction(&formatter, &z, operands, z.operand_count_visible,
			                                text, sizeof(text), page_rip + o->off, NULL);
		fprintf(stderr, "%s %016llx  ", o == r->at ? (r->ended ? "=>" : "->") : "  ",
		        (unsigned long long)(page_rip + o->off));
		for (unsigned k = 0; k < 12; k++)
			fprintf(stderr, k < o->len ? "%02x" : "  ", bytes[o->off - soft_block_first(b) + k]);
		fprintf(stderr, "%s %s\n", o->len > 12 ? "…" : " ", text);
	}
}

void lockstep_report(const struct soft_cpu *c, struct lockstep_run *r, const char *where)
{
	u64 page_rip = lockstep_cpu(&r->begin)->regs[SREG_PAGE_RIP];

	fflush(stdout);
	fprintf(stderr, "soft-check: interpreter and translated code differ %s\n", where);
	fprintf(stderr, "block %016llx, at %llx of memory, %u bytes, mode %u; compared from %016llx on\n",
	        (unsigned long long)(page_rip + r->block->off),
	        (unsigned long long)(r->block->gpa + r->block->off), r->block->bytes, r->block->mode,
	        (unsigned long long)(page_rip + r->from->off));
	fprintf(stderr, "code (=> the last that was interpreted, -> the first that was not):\n");
	print_code(c, r, page_rip);
	print_state(r, c);
	fprintf(stderr, "memory (guest-physical):\n");
	print_memory(c, r);
	fprintf(stderr, "blocks before, the last one last, and their flags:\n");
	for (unsigned i = 0; i < LOCKSTEP_NOTES && i < r->noted; i++) {
		unsigned n = (r->noted - min(r->noted, (unsigned)LOCKSTEP_NOTES) + i) % LOCKSTEP_NOTES;

		fprintf(stderr, "  %016llx %04x\n", (unsigned long long)r->notes[n].rip, r->notes[n].af);
	}
	fflush(stderr);
}
