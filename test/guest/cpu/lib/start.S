/*
 * Entry of a test guest: a multiboot-1 ELF that runs in 32-bit protected mode without paging, or (BITS64) in long
 * mode with the first 4 GiB identity-mapped by 2 MiB pages, writable and accessible to user mode.
 * Other processors start at ap_entry (a page below 1 MiB), in the same mode, and call ap_main(apic id).
 */
#define STACK_SIZE 16384
#define MAX_CPUS 8

	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.bss
	.align 4096
stacks:	.skip STACK_SIZE * MAX_CPUS
	.globl stacks_end
stacks_end:

	.data
	.align 4
	.globl boot_eax, boot_ebx
boot_eax: .long 0
boot_ebx: .long 0
	.globl ap_next
ap_next: .long 1

	.align 16
	.globl gdt, gdt_end, gdt_pointer
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 code, 32 bits */
	.quad 0x00cf93000000ffff	/* 10 data */
	.quad 0x00af9b000000ffff	/* 18 code, 64 bits */
	.quad 0x008f9b000000ffff	/* 20 code, 16 bits, 4 GiB limit */
	.quad 0x00cffb000000ffff	/* 28 user code, 32 bits */
	.quad 0x00cff3000000ffff	/* 30 user data */
	.quad 0x00affb000000ffff	/* 38 user code, 64 bits */
	.quad 0x000093000000ffff	/* 40 data, 16 bits, 64 KiB */
	.quad 0x00009b000000ffff	/* 48 code, 16 bits, 64 KiB */
	.fill 54, 8, 0			/* 50.. free for tests; TSS at GDT_TSS */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
#ifdef __x86_64__
	.quad gdt
#else
	.long gdt
#endif

#ifdef __x86_64__
	.align 4096
	.globl boot_pml4
boot_pd:
	i = 0
	.rept 2048
	.quad (i << 21) | 0xe7
	i = i + 1
	.endr
boot_pdpt:
	.quad boot_pd + 7, boot_pd + 4096 + 7, boot_pd + 8192 + 7, boot_pd + 12288 + 7
	.fill 508, 8, 0
boot_pml4:
	.quad boot_pdpt + 7
	.fill 511, 8, 0
#endif

	.text
	.code32
	.globl _start
_start:
	mov %eax, boot_eax
	mov %ebx, boot_ebx
	mov $stacks + STACK_SIZE, %esp
	push $0
	popf
	xor %edi, %edi
	jmp enter

/* edi: index of the processor */
enter:
	lgdt gdt_pointer
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
#ifdef __x86_64__
	mov %cr4, %eax
	or $0x620, %eax			/* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x900, %eax			/* LME, NXE */
	wrmsr
	mov %cr0, %eax
	and $~0xc, %eax
	or $0x80010023, %eax		/* PG, WP, NE, MP, PE */
	mov %eax, %cr0
	ljmp $0x18, $1f
	.code64
1:	test %edi, %edi
	jnz 2f
	mov boot_eax, %edi
	mov boot_ebx, %esi
	call guest_main
2:	call ap_main
#else
	mov %cr4, %eax
	or $0x600, %eax
	mov %eax, %cr4
	mov %cr0, %eax
	and $~0xc, %eax
	or $0x10023, %eax
	mov %eax, %cr0
	ljmp $0x08, $1f
1:	test %edi, %edi
	jnz 2f
	push boot_ebx
	push boot_eax
	call guest_main
2:	push %edi
	call ap_main
#endif
3:	hlt
	jmp 3b

/* Copied to a page below 1 MiB; runs at its offset 0 in real mode. */
	.globl ap_entry, ap_entry_end
	.code16
ap_entry:
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl ap_gdt_pointer - ap_entry
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $ap_enter32
ap_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
ap_entry_end:

	.code32
ap_enter32:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov $1, %edi
	lock xadd %edi, ap_next
	mov %edi, %eax
	inc %eax
	imul $STACK_SIZE, %eax
	lea stacks(%eax), %esp
	jmp enter

/* Exception entries: each pushes an error code if the processor did not, and the vector. */
#ifdef __x86_64__
	.code64
#endif
	.globl vector_entries
	.data
	.align 8
vector_entries:
	.text
	.macro entry n
	.text
77:
	.if !((\n == 8) || (\n >= 10 && \n <= 14) || (\n == 17) || (\n == 21))
	push $0
	.endif
	push $\n
	jmp vector_common
	.data
#ifdef __x86_64__
	.quad 77b
#else
	.long 77b
#endif
	.endm
	.altmacro
	i = 0
	.rept 256
	entry %i
	i = i + 1
	.endr

	.text
vector_common:
#ifdef __x86_64__
	push %r15; push %r14; push %r13; push %r12; push %r11; push %r10; push %r9; push %r8
	push %rdi; push %rsi; push %rbp; push %rbx; push %rdx; push %rcx; push %rax
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call vector_handle
	mov %rbp, %rsp
	pop %rax; pop %rcx; pop %rdx; pop %rbx; pop %rbp; pop %rsi; pop %rdi
	pop %r8; pop %r9; pop %r10; pop %r11; pop %r12; pop %r13; pop %r14; pop %r15
	add $16, %rsp
	iretq
#else
	pusha
	push %ds; push %es; push %fs; push %gs
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	mov %esp, %eax
	push %eax
	call vector_handle
	pop %eax
	pop %gs; pop %fs; pop %es; pop %ds
	popa
	add $8, %esp
	iret
#endif

/* user_call(fn, arg): runs fn(arg) at CPL 3; it comes back by int $0x81. Nothing nests. */
	.globl user_call, user_return, user_stack_top
	.bss
	.align 16
user_saved: .skip 16
	.skip 8192
user_stack_top: .skip 64
	.text
user_call:
#ifdef __x86_64__
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	mov %rsp, user_saved
	mov %rdi, %rax
	mov %rsi, %rdi
	mov $0x33, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	push $0x33
	push $user_stack_top
	pushf
	push $0x3b
	push $1f
	iretq
1:	call *%rax
	int $0x81
/* vector_handle jumps here at CPL 0 */
user_return:
	mov user_saved, %rsp
	mov $0x10, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret
#else
	mov 4(%esp), %eax
	mov 8(%esp), %edx
	push %ebx; push %ebp; push %esi; push %edi
	mov %esp, user_saved
	mov $0x33, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	push $0x33
	push $user_stack_top
	pushf
	push $0x2b
	push $1f
	iret
1:	push %edx
	call *%eax
	int $0x81
user_return:
	mov user_saved, %esp
	mov $0x10, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	pop %edi; pop %esi; pop %ebp; pop %ebx
	ret
#endif
	.section .note.GNU-stack, "", @progbits
