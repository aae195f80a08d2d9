/*
 * Loops, of which the translator hoists checks (src/cpu/soft/jit_loop.h), over pages that lie in memory in
 * another order than in linear addresses, in the same, and in a large page: each guest is run by the
 * interpreter and translated, with one vCPU's checks and with those of several, and must come to the same
 * registers and memory, by the exception that is expected; and in lock-step, which must find nothing.
 */
#include "soft_guest.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA  0x800000ULL
#define PAGES 16
#define AREA  (8 * MiB) /* where they lie */

enum { P = 1, W = 2, U = 4 };
enum { UD = 6, PF = 14, DE = 0, GP = 13 };

/* rdi: DATA, rsi: a word in its third page, rcx: a count, r11: DATA + 0x800. ud2 ends it. */
GUEST(forwards, "\tmov $6000, %ecx\n"
                "1:\tadd (%rdi), %rax\n"
                "\tadd $8, %rdi\n"
                "\tdec %rcx\n"
                "\tjne 1b\n"
                "\tud2\n")
GUEST(backwards, "\tlea 0xfff8(%rdi), %rdi\n"
                 "\tmov $7000, %ecx\n"
                 "1:\tadd (%rdi), %rax\n"
                 "\tmov %rax, 8(%rdi)\n"
                 "\tsub $8, %rdi\n"
                 "\tdec %rcx\n"
                 "\tjne 1b\n"
                 "\tud2\n")
GUEST(odd_steps, /* some accesses cross pages */
      "\tmov $1500, %ecx\n"
      "\tadd $3, %rdi\n"
      "1:\tmov (%rdi), %rdx\n"
      "\txor 16(%rdi), %rdx\n"
      "\tadd %rdx, %rax\n"
      "\tmov %rax, (%rsi)\n"
      "\tadd $29, %rdi\n"
      "\tsub $5, %rsi\n"
      "\tdec %rcx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(mixed, /* indices of 64 and of 32 bits, a word that does not move, one by rip, registers that are
                spilled */
      "\txor %edx, %edx\n"
      "\txor %ebx, %ebx\n"
      "\tmov $0, %r10d\n"
      "1:\tmov (%rdi,%rbx,8), %r9\n"
      "\tmov %edx, %ebp\n"
      "\tadd $3, %edx\n"
      "\tadd 0x1000(%rdi,%rbp,2), %r9\n"
      "\txor (%r11,%r10,4), %r9\n"
      "\tadd %r9, (%rsi)\n"
      "\tadd 2f(%rip), %r9\n"
      "\tmov %r9, 0x5000(%r11,%rbx,2)\n"
      "\tadd $1, %r10\n"
      "\tinc %rbx\n"
      "\tcmp $3000, %rbx\n"
      "\tjne 1b\n"
      "\tud2\n"
      "2:\t.quad 0x123456789\n")
GUEST(columns, "\tmov $4, %r9d\n"
               "3:\tmov %r11, %rdx\n"
               "\tmov $60, %ecx\n"
               "1:\tadd (%rdx), %rax\n"
               "\tadd %rax, (%rdi)\n"
               "\tadd $8, %rdi\n"
               "\tadd $776, %rdx\n"
               "\tdec %ecx\n"
               "\tjne 1b\n"
               "\tdec %r9d\n"
               "\tjne 3b\n"
               "\tud2\n")
GUEST(gather, /* where it looks comes from memory */
      "\tmov $5000, %ecx\n"
      "1:\tmovzwl (%rdi), %edx\n"
      "\tadd (%r11,%rdx,1), %rax\n"
      "\tadd %rax, 0x2000(%r11,%rdx,1)\n"
      "\tadd $2, %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(stack, "\tlea 0x8000(%rdi), %rsp\n"
             "\tmov $3000, %ecx\n"
             "1:\tpush %rax\n"
             "\tadd (%rsi), %rax\n"
             "\tpush %rsi\n"
             "\tadd 8(%rsp), %rax\n"
             "\tpop %rdx\n"
             "\tdec %ecx\n"
             "\tjne 1b\n"
             "\tud2\n")
GUEST(frames, /* some of them across a page's end, and come to again */
      "\tlea 0x8000(%rdi), %rsp\n"
      "\tmov $300, %r9d\n"
      "3:\tsub $24, %rsp\n"
      "\tmov $12, %ecx\n"
      "1:\tcall 2f\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n"
      "2:\tpush %rax\n"
      "\tpush %rsi\n"
      "\tadd 0x30(%rsp), %rax\n"
      "\tmov %rax, -0x38(%rsp)\n"
      "\txor 8(%rsp), %rax\n"
      "\tpop %rsi\n"
      "\tpop %rdx\n"
      "\tret\n")
GUEST(reads, /* across a page's end, aligned ones among them; no loop's own */
      "\tmov $900, %r9d\n"
      "1:\tcall 2f\n"
      "\tadd $16, %rdi\n"
      "\tdec %r9d\n"
      "\tjne 1b\n"
      "\tud2\n"
      "2:\tmovaps (%rdi), %xmm0\n"
      "\tpaddq 16(%rdi), %xmm0\n"
      "\tmovups 27(%rdi), %xmm1\n"
      "\tpaddq %xmm1, %xmm0\n"
      "\tmov %r9d, %ebx\n"
      "\tand $1, %ebx\n"
      "\tadd 9(%rdi,%rbx,4), %rax\n"
      "\tmovq %xmm0, %rdx\n"
      "\tadd %rdx, %rax\n"
      "\tret\n")
GUEST(vectors, "\tmov $1200, %ecx\n"
               "\txorps %xmm2, %xmm2\n"
               "1:\tmovaps (%rdi), %xmm0\n"
               "\tpaddq 16(%rdi), %xmm0\n"
               "\tpaddq %xmm0, %xmm2\n"
               "\tmovups %xmm2, 0x1003(%rdi)\n"
               "\tadd $32, %rdi\n"
               "\tdec %ecx\n"
               "\tjne 1b\n"
               "\tmovq %xmm2, %rax\n"
               "\tud2\n")
GUEST(misaligned, "\tadd $8, %rdi\n"
                  "1:\tmovaps (%rdi), %xmm0\n"
                  "\tadd $8, %rdi\n"
                  "\tdec %rcx\n"
                  "\tjne 1b\n"
                  "\tud2\n")
GUEST(side_exits, /* short loops, left in the middle */
      "\tmov $2000, %r9d\n"
      "3:\tlea (%rdi,%r9,2), %rdx\n"
      "1:\tmov (%rdx), %al\n"
      "\tadd $1, %rdx\n"
      "\ttest $3, %al\n"
      "\tje 2f\n"
      "\tadd %rax, %rbx\n"
      "\tcmp %rdx, %rsi\n"
      "\tjne 1b\n"
      "2:\tadc $0, %rbx\n"
      "\tdec %r9\n"
      "\tjne 3b\n"
      "\tud2\n")
GUEST(flags_live, /* at the end, and in the middle */
      "\tmov $600, %ecx\n"
      "1:\tadd (%rdi), %rax\n"
      "\tadc 8(%rdi), %rdx\n"
      "\tsetc %bl\n"
      "\tadc 16(%rdi), %rbp\n"
      "\tlea 24(%rdi), %rdi\n"
      "\tsub $1, %ecx\n"
      "\tjne 1b\n"
      "\tpushf\n"
      "\tpop %rsi\n"
      "\tud2\n")
GUEST(carried, /* a carry from iteration to iteration */
      "\tmov $600, %ecx\n"
      "\tclc\n"
      "1:\tmov (%rdi), %rax\n"
      "\tadc %rax, 0x3000(%rdi)\n"
      "\tlea 8(%rdi), %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tsbb %rdx, %rdx\n"
      "\tud2\n")
GUEST(missing, /* the sixth page is not there */
      "\tmov $6000, %ecx\n"
      "1:\tadd (%rdi), %rax\n"
      "\tadd $8, %rdi\n"
      "\tdec %rcx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(missing_below, "\tlea 0xf000(%rdi), %rdi\n"
                     "\tmov $14000, %ecx\n"
                     "1:\tincl (%rdi)\n"
                     "\tsub $4, %rdi\n"
                     "\tdec %rcx\n"
                     "\tjne 1b\n"
                     "\tud2\n")
GUEST(read_only, /* the fourth page; it is read before */
      "\tmov $6000, %ecx\n"
      "1:\tmov 0x100(%rdi), %rax\n"
      "\tmov %rax, (%rdi)\n"
      "\tadd $8, %rdi\n"
      "\tdec %rcx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(divides, /* by zero at last */
      "\tmovl $0, 0x2800(%rdi)\n"
      "1:\torb $1, (%rsi)\n"
      "\tmov $1000000, %eax\n"
      "\txor %edx, %edx\n"
      "\torl $0, (%rdi)\n"
      "\tdivl (%rdi)\n"
      "\tadd %rax, %rbx\n"
      "\tadd $4, %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(wraps, /* an index of 32 bits, upwards */
      "\tmov $0xffffff00, %edx\n"
      "\tsub %rdx, %rdi\n"
      "1:\tmov %edx, %ebp\n"
      "\tadd (%rdi,%rbp), %rax\n"
      "\tadd $1, %edx\n"
      "\tdec %rcx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(wraps_below, "\tmov $300, %edx\n"
                   "1:\tmov %edx, %ebp\n"
                   "\tadd 0x1000(%rdi,%rbp), %rax\n"
                   "\tsub $3, %edx\n"
                   "\tdec %rcx\n"
                   "\tjne 1b\n"
                   "\tud2\n")
GUEST(own_code, /* 1 becomes 2 while the loop runs */
      "\tlea 2f-100(%rip), %rdi\n"
      "\tmov $200, %ecx\n"
      "1:\tadd $1, %eax\n"
      "2:\tmov -0x400(%rdi), %dl\n"
      "\tadd $1, %rdi\n"
      "\tmov (%rdi), %bl\n"
      "\tcmp $1, %bl\n"
      "\tjne 3f\n"
      "\tmovb $2, (%rdi)\n"
      "3:\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n")
GUEST(remaps, /* what is read changes its place in between; rsi: its entry in the page table */
      "\tmov $50, %r9d\n"
      "\tmov %rdi, %rbp\n"
      "3:\tmov $700, %ecx\n"
      "\tmov %rbp, %rdi\n"
      "1:\tadd (%rdi), %rax\n"
      "\tadd $8, %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\txorq $0x3000, (%rsi)\n"
      "\tinvlpg (%rbp)\n"
      "\tdec %r9\n"
      "\tjne 3b\n"
      "\tud2\n")
GUEST(loses_right, /* to write to the page, by an INVLPG */
      "\tmov $20, %r9d\n"
      "\tmov %rdi, %rbp\n"
      "3:\tmov $700, %ecx\n"
      "\tmov %rbp, %rdi\n"
      "1:\taddq $5, (%rdi)\n"
      "\tadd $8, %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tcmp $4, %r9\n"
      "\tjne 2f\n"
      "\tandq $~2, 8(%rsi)\n"
      "\tinvlpg 0x1000(%rbp)\n"
      "2:\tdec %r9\n"
      "\tjne 3b\n"
      "\tud2\n")

GUEST(regions, /* over the end of 2 MiB, some accesses in both */
      "\tmov $8, %r9d\n"
      "3:\tlea 0x1fe003(%rdi), %rdx\n"
      "\tmov $1000, %ecx\n"
      "1:\tmov (%rdx), %rbx\n"
      "\txor %rbx, %rax\n"
      "\tadd %rax, 0x20(%rdx)\n"
      "\tadd $12, %rdx\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n")
GUEST(patches, /* a function among the data, add $…, %eax */
      "\tmov $40, %r9d\n"
      "\tlea 0x3100(%rdi), %rbp\n"
      "\tmovb $0x05, (%rbp)\n"
      "\tmovb $0xc3, 5(%rbp)\n"
      "3:\tmov $300, %ecx\n"
      "4:\tcall *%rbp\n"
      "\tdec %ecx\n"
      "\tjne 4b\n"
      "\tlea 0x1101(%rdi), %rdx\n"
      "\tmov $1500, %ecx\n"
      "1:\taddl $1, (%rdx)\n"
      "\tadd $8, %rdx\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n")
GUEST(nested, /* short inner loops, of which some go over page ends */
      "\tmov $900, %r9d\n"
      "\tmov %rdi, %rbp\n"
      "3:\tmov $9, %ecx\n"
      "\tmov %rbp, %rdx\n"
      "\tadd (%rsi), %rax\n"
      "1:\tadd (%rdx), %rax\n"
      "\tmov %rax, 8(%rdx)\n"
      "\tadd $16, %rdx\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tadd $56, %rbp\n"
      "\tadc $0, %rax\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n")

#define LONG_BODY(count)             \
	"\tmov $700, %ecx\n"         \
	"\tmov %r11, %rdx\n"         \
	"1:\t.rept " #count "\n"     \
	"\tadd (%rdx), %rax\n"       \
	"\tadc 0x100(%rdi), %r10\n"  \
	"\tlea 1(%rdi), %rdi\n"      \
	"\tmov %rax, 0x1ff8(%rdi)\n" \
	"\trol $3, %r10\n"           \
	"\txor %r10, (%rsi)\n"       \
	"\t.endr\n"                  \
	"\tadd $8, %rdx\n"           \
	"\tsub $" #count ", %rdi\n"  \
	"\tadd $24, %rdi\n"          \
	"\tdec %ecx\n"               \
	"\tjne 1b\n"                 \
	"\tud2\n"
GUEST(long_body, LONG_BODY(38)) /* as long as a block can be, nearly */
GUEST(longer_body, LONG_BODY(60))

GUEST(jumps_back, /* ends by a jump that is always taken */
      "\tmov $6000, %ecx\n"
      "1:\tdec %ecx\n"
      "\tje 2f\n"
      "\tadd (%rdi), %rax\n"
      "\tmov %rax, 0x20(%rdi)\n"
      "\tadd $8, %rdi\n"
      "\tjmp 1b\n"
      "2:\tud2\n")
#define JUMPS_WITHIN(vector)                    \
	"\tmov $1200, %ecx\n"                   \
	"\tmov %r11, %rdx\n"                    \
	"1:\tadd $0x23456789, %ebx\n"           \
	"\tjc 3f\n"                             \
	"4:\t.rept 17\n"                        \
	"\tadd (%rdx), %rax\n"                  \
	"\trol $5, %rax\n"                      \
	"\tlea 1(%rdi), %rdi\n"                 \
	"\tadc %rax, 0x20(%rsi)\n"              \
	"\t.endr\n" vector "\tcmp $0x40, %al\n" \
	"\tjb 5f\n"                             \
	"\tadc 8(%rdx), %r10\n"                 \
	"\tjmp 5f\n"                            \
	"\t.fill 40, 1, 0xcc\n"                 \
	"3:\txor 0x100(%rdx), %rax\n"           \
	"\tjmp 4b\n"                            \
	"5:\tadc $7, %r10\n"                    \
	"\tmov %r10, 0x1ff8(%rdi)\n"            \
	"\tadd $24, %rdx\n"                     \
	"\tsub $9, %rdi\n"                      \
	"\tsub $1, %rcx\n"                      \
	"\tjb 6f\n"                             \
	"\tadd %rax, 8(%rdi)\n"                 \
	"\tjmp 1b\n"                            \
	"6:\tud2\n"
GUEST(jumps_within, JUMPS_WITHIN("")) /* … and goes on behind code that is jumped over */
GUEST(jumps_vectors, JUMPS_WITHIN("\tmovups (%rdx), %xmm1\n"
                                  "\tpaddq %xmm1, %xmm2\n"
                                  "\tmovq %xmm2, %r9\n"
                                  "\txor %r9, 0x10(%rsi)\n"))

GUEST(overlaps, /* a string that is copied onto itself, a byte further on */
      "\tmov $40, %r9d\n"
      "3:\tmov %r11, %rbx\n"
      "\tmov $28, %ebp\n"
      "1:\tmov %rbx, %rsi\n"
      "\tlea 1(%rbx), %rdi\n"
      "\tmov $11, %ecx\n"
      "\trep movsl\n"
      "\tadd $0x7f8, %rbx\n"
      "\tdec %ebp\n"
      "\tjne 1b\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n")

/* Calls: code that runs often goes on in what it calls nearby, so that one block has both. */
GUEST(calls_itself, /* frames across pages' ends */
      "\tlea 0x8040(%rdi), %rsp\n"
      "\tmov $4, %r9d\n"
      "3:\tmov $12, %edi\n"
      "\tcall 1f\n"
      "\tadd %rax, %r12\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n"
      "1:\tpush %rbx\n"
      "\tsub $0x88, %rsp\n"
      "\tmov %rdi, 0x10(%rsp)\n"
      "\tmov %edi, %ebx\n"
      "\tcmp $1, %edi\n"
      "\tjbe 2f\n"
      "\tdec %edi\n"
      "\tcall 1b\n"
      "\tmov 0x10(%rsp), %rdi\n"
      "\tmov %eax, %ebx\n"
      "\tsub $2, %edi\n"
      "\tcall 1b\n"
      "\tadd %eax, %ebx\n"
      "2:\tmov %ebx, %eax\n"
      "\tadd $0x88, %rsp\n"
      "\tpop %rbx\n"
      "\tret\n")
GUEST(calls_flags, /* that the callee reads */
      "\tmov $300, %ecx\n"
      "1:\tmov (%rdi), %rdx\n"
      "\tadd %rdx, %rax\n"
      "\tcall 2f\n"
      "\tadd $8, %rdi\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n"
      "2:\tadc $0, %rbx\n"
      "\tsbb %rdx, %rbp\n"
      "\tcall 3f\n"
      "\tret\n"
      "3:\tsetc %r9b\n"
      "\tadd %r9, %r10\n"
      "\tret\n")
GUEST(calls_patched, /* in front of what calls it, and behind it */
      "\tmov $20, %r9d\n"
      "\tjmp 3f\n"
      "1:\tadd $0x12345, %eax\n"
      "\tcmp $3, %cl\n"
      "\tjb 5f\n"
      "\tret\n"
      "\t.fill 40, 1, 0xcc\n"
      "3:\tmov $30, %ecx\n"
      "4:\tcall 1b\n"
      "\tcall 2f\n"
      "\tdec %ecx\n"
      "\tjne 4b\n"
      "\tincb 1b+1(%rip)\n"
      "\ttest $1, %r9b\n"
      "\tje 6f\n"
      "\tincb 2f+3(%rip)\n"
      "6:\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n"
      "5:\tinc %rbx\n"
      "\tret\n"
      "\t.fill 40, 1, 0xcc\n"
      "2:\tadd $0x12345, %edx\n"
      "\tret\n")
GUEST(calls_many, /* more than a block goes on behind */
      "\tmov $200, %ecx\n"
      "1:\tcall 2f\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n"
      "6:\tadd %rax, (%rsi)\n"
      "\tmov (%rsp), %rdx\n"
      "\tret\n"
      "5:\tpush %rax\n"
      "\tcall 6b\n"
      "\tpop %rbx\n"
      "\tret\n"
      "4:\tadd (%rdi), %rax\n"
      "\tcall 5b\n"
      "\tret\n"
      "3:\tcall 4b\n"
      "\tadd $8, %rdi\n"
      "\tret\n"
      "2:\tpush %rcx\n"
      "\tcall 3b\n"
      "\tpop %rcx\n"
      "\tret\n")
GUEST(calls_store, /* the return address into the page of the code, now and then */
      "\tmov %rsp, %rbp\n"
      "\tmov $12, %r9d\n"
      "3:\tmov $40, %ecx\n"
      "1:\tcall 2f\n"
      "\tcmp $2, %ecx\n"
      "\tjne 4f\n"
      "\tlea 5f(%rip), %rsp\n"
      "4:\tdec %ecx\n"
      "\tjne 1b\n"
      "\tmov %rbp, %rsp\n"
      "\tdec %r9d\n"
      "\tjne 3b\n"
      "\tud2\n"
      "2:\tadd (%rdi), %rax\n"
      "\tadd (%rsp), %rbx\n"
      "\tret\n"
      "\t.fill 64, 1, 0xcc\n"
      "5:\tud2\n")
GUEST(calls_fault, /* the callee does, in the middle of what it needs of the stack */
      "\tmov $6000, %ecx\n"
      "1:\tadd $8, %rdi\n"
      "\tpush %rcx\n"
      "\tcall 2f\n"
      "\tpop %rcx\n"
      "\tdec %ecx\n"
      "\tjne 1b\n"
      "\tud2\n"
      "2:\tpush %rax\n"
      "\tsub $16, %rsp\n"
      "\tadd (%rdi), %rbx\n"
      "\tadd %rbx, 8(%rsp)\n"
      "\tadd 24(%rsp), %rbx\n"
      "\tadd $16, %rsp\n"
      "\tpop %rax\n"
      "\tret\n")

static const struct guest {
	const char *name;
	const u8 *start, *end;
	unsigned vector; /* that ends it */
	int missing, read_only;
	bool table; /* rsi: the first page's entry in PT */
} guests[] = {
#define G(name, ...)                                         \
	{                                                    \
#name, name##_start, name##_end, __VA_ARGS__ \
	}
        G(forwards, UD, -1, -1),    G(backwards, UD, -1, -1),     G(odd_steps, UD, -1, -1),
        G(mixed, UD, -1, -1),       G(columns, UD, -1, -1),       G(gather, UD, -1, -1),
        G(stack, UD, -1, -1),       G(vectors, UD, -1, -1),       G(misaligned, GP, -1, -1),
        G(side_exits, UD, -1, -1),  G(flags_live, UD, -1, -1),    G(carried, UD, -1, -1),
        G(missing, PF, 5, -1),      G(missing_below, PF, 5, -1),  G(read_only, PF, -1, 3),
        G(divides, DE, -1, -1),     G(wraps, PF, -1, -1),         G(wraps_below, PF, -1, -1),
        G(own_code, UD, -1, -1),    G(remaps, UD, -1, -1, true),  G(loses_right, PF, -1, -1, true),
        G(regions, UD, -1, -1),     G(patches, UD, -1, -1),       G(nested, UD, -1, -1),
        G(overlaps, UD, -1, -1),    G(long_body, UD, -1, -1),     G(longer_body, UD, -1, -1),
        G(jumps_back, UD, -1, -1),  G(jumps_within, UD, -1, -1),  G(jumps_vectors, UD, -1, -1),
        G(frames, UD, -1, -1),      G(reads, UD, -1, -1),         G(calls_itself, UD, -1, -1),
        G(calls_flags, UD, -1, -1), G(calls_patched, UD, -1, -1), G(calls_many, UD, -1, -1),
        G(calls_store, UD, -1, -1), G(calls_fault, PF, 6, -1),
};

enum how { INTERPRET, TRANSLATE, CHECK };

static struct cpu *new_cpu(enum how how)
{
	struct cpu_config config = {.count = 1,
	                            .board = &board,
	                            .tsc_hz = clock_tsc_hz(),
	                            .interpret = how == INTERPRET,
	                            .check = how == CHECK};
	struct error e;
	struct cpu *c = soft_cpu_new(&config, &e);

	assert_non_null(c);
	return c;
}

enum order { SCATTERED, IN_ORDER, LARGE, ORDERS };

static void prepare(const struct guest *g, enum order order, struct cpu *c, struct vcpu_state *s)
{
	u32 random = 12345;

	memset(ram, 0, 0x100000);
	flat(c, s, true);
	stop_handlers();
	memcpy(ram + CODE, g->start, (size_t)(g->end - g->start));
	for (unsigned i = 0; i < PAGES; i++)
		put64(PT + i * 8, (AREA + (order == SCATTERED ? i * 5 % PAGES : i) * PAGE_SIZE) | P | W | U);
	if (order == LARGE)
		put64(PD + (DATA >> 21) * 8, AREA | 0x87);
	if (g->missing >= 0)
		put64(PT + (unsigned)g->missing * 8, 0);
	if (g->read_only >= 0)
		put64(PT + (unsigned)g->read_only * 8, get64(PT + (unsigned)g->read_only * 8) & ~(u64)W);
	for (u64 i = 0; i < (PAGES + 4) * PAGE_SIZE; i++) {
		random = random * 1664525 + 1013904223;
		ram[AREA + i] = (u8)(random >> 24);
	}
	for (unsigned i = 0; i < REG_COUNT; i++)
		s->regs[i] = 0;
	s->regs[REG_RSP] = STACK;
	s->regs[REG_RDI] = DATA;
	s->regs[REG_RSI] = g->table ? PT : DATA + 0x2f00;
	s->regs[REG_RCX] = 5000;
	s->regs[11] = DATA + 0x800;
}

static void compare(const struct guest *g, enum order order, bool single_vcpu, enum how how)
{
	static u8 first[MEM_SIZE];
	struct vcpu_state want, got;
	struct cpu *c;

	mem.single_vcpu = single_vcpu;
	for (unsigned second = 0; second < 2; second++) {
		struct vcpu_state *s = second ? &got : &want;

		memset((void *)words, 0, sizeof(words));
		c = new_cpu(second ? how : INTERPRET);
		prepare(g, order, c, s);
		run(c, s);
		cpu_free(c);
		if (!second)
			memcpy(first, ram, MEM_SIZE);
	}
	if (want.regs[8] != g->vector)
		print_error("%s ended by exception %u\n", g->name, (unsigned)want.regs[8]);
	assert_int_equal(want.regs[8], g->vector);
	for (unsigned i = 0; i < REG_COUNT; i++)
		if (want.regs[i] != got.regs[i])
			fail_msg("%s (%u): register %u is %lx, should be %lx", g->name, order, i,
			         (long)got.regs[i], (long)want.regs[i]);
	assert_int_equal(want.cr2, got.cr2);
	assert_int_equal(want.rip, got.rip);
	/* What the exception pushed, too, but for flags, of which dead ones may differ. */
	put64(want.regs[REG_RSP] + 16, 0);
	memset(first + want.regs[REG_RSP] + 16, 0, 8);
	memset(first + want.regs[REG_RSP] + 24, 0, 8);
	put64(want.regs[REG_RSP] + 24, 0);
	for (u64 i = 0; i < MEM_SIZE; i++)
		if (first[i] != ram[i])
			fail_msg("%s (%u): byte %lx is %x, should be %x", g->name, order, (long)i, ram[i],
			         first[i]);
}

static void compare_all(bool single_vcpu, enum how how)
{
	for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
		const struct guest *g = &guests[i];
		bool small = g->missing >= 0 || g->read_only >= 0 || g->table;

		for (enum order order = SCATTERED; order < (small ? LARGE : ORDERS); order++)
			compare(g, order, single_vcpu, how);
	}
}

static void test_one_vcpu(void **state)
{
	compare_all(true, TRANSLATE);
}

static void test_several_vcpus(void **state)
{
	compare_all(false, TRANSLATE);
}

static void test_lockstep(void **state)
{
	compare_all(true, CHECK);
}

/* ---- events ---- */

GUEST(forever, "1:\tadd (%rdi), %rax\n"
               "\tadd (%rsi), %rdx\n"
               "\tsub $1, %rcx\n"
               "\tjne 1b\n"
               "\tud2\n")
/* Nothing but calls goes backwards. */
GUEST(forever_calls, "\tjmp 3f\n"
                     "1:\tadd $8, %rsp\n"
                     "\tadd (%rdi), %rax\n"
                     "\tadd (%rsi), %rdx\n"
                     "\tsub $1, %rcx\n"
                     "\tjne 4f\n"
                     "\tud2\n"
                     "2:\tadd $8, %rsp\n"
                     "\ttest %rcx, %rcx\n"
                     "\tjne 3f\n"
                     "\tud2\n"
                     "3:\tcall 1b\n"
                     "4:\tcall 2b\n")
static const struct guest endless[] = {G(forever, UD, -1, -1), G(forever_calls, UD, -1, -1)};

static void *stop(void *cpu)
{
	volatile u64 *word = (u64 *)(ram + AREA);

	/* Once the word is read, the loop runs; 1 is not what it holds else. */
	while (*word != 1)
		;
	usleep(20000);
	cpu_raise(cpu, CPU_EV_STOP);
	return NULL;
}

/* A loop whose iterations are not limited looks at events. */
static void run_endless(const struct guest *g)
{
	struct vcpu_state s;
	struct cpu *c = new_cpu(TRANSLATE);
	pthread_t thread;

	prepare(g, SCATTERED, c, &s);
	put64(AREA, 1);
	s.regs[REG_RCX] = ~0ULL;
	assert_int_equal(pthread_create(&thread, NULL, stop, c), 0);
	run(c, &s);
	pthread_join(thread, NULL);
	assert_true(s.regs[REG_RCX] != 0);
	assert_int_equal(s.regs[REG_RAX], ~s.regs[REG_RCX]);
	cpu_free(c);
}

static void test_events(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(endless); i++)
		run_endless(&endless[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_one_vcpu, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_several_vcpus, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_lockstep, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
	};

	/* All is translated, and with cells the third time. */
	setenv("INSULA_TRANSLATE", "1", true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
