/*
 * Host code for vector instructions: an arena of 16-byte slots, mapped twice (writable and executable), and
 * the rewriting of a guest instruction into a slot.
 */
#include "cpu/soft/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STUBS      32768u
#define HASH_SLOTS (2 * STUBS)

struct soft_stubs {
	u8 *write, *run; /* the same STUBS * VEC_STUB_SIZE bytes */
	unsigned count;
	u16 hash[HASH_SLOTS]; /* number + 1; open addressing */
};

int vec_stubs_init(struct soft_cpu *c, struct error *e)
{
	size_t size = STUBS * VEC_STUB_SIZE;
	struct soft_stubs *s = calloc(1, sizeof(*s));
	int fd;

	if (!s)
		return error_set(e, ENOMEM, "vector stubs");
	c->stubs = s;
	s->write = s->run = MAP_FAILED;
	fd = memfd_create("vector-stubs", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		goto fail;
	s->write = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	s->run = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (s->write == MAP_FAILED || s->run == MAP_FAILED)
		goto fail;
	close(fd);
	vec_stubs_reset(c);
	return 0;
fail:
	error_set(e, errno, "vector stubs");
	if (fd >= 0)
		close(fd);
	vec_stubs_release(c);
	return -1;
}

void vec_stubs_release(struct soft_cpu *c)
{
	struct soft_stubs *s = c->stubs;
	size_t size = STUBS * VEC_STUB_SIZE;

	if (!s)
		return;
	if (s->write != MAP_FAILED)
		munmap(s->write, size);
	if (s->run != MAP_FAILED)
		munmap(s->run, size);
	free(s);
	c->stubs = NULL;
}

void vec_stubs_reset(struct soft_cpu *c)
{
	static const u8 fwait[] = {0x9b};
	struct soft_stubs *s = c->stubs;

	soft_vec_park(c);
	s->count = 0;
	memset(s->hash, 0, sizeof(s->hash));
	vec_stub_number(c, fwait, sizeof(fwait));
}

int vec_stub_number(struct soft_cpu *c, const u8 *code, unsigned len)
{
	struct soft_stubs *s = c->stubs;
	u64 content[2], *slot;
	u8 *bytes = (u8 *)content;
	unsigned h;

	for (unsigned i = 0; i < VEC_STUB_SIZE; i++)
		bytes[i] = i < len ? code[i] : i == len ? 0xc3 /* ret */ : 0xcc;
	h = (unsigned)((content[0] * 0x9e3779b97f4a7c15ULL ^ content[1] * 0xc2b2ae3d27d4eb4fULL) >> 48);
	for (;; h++) {
		u16 *entry = &s->hash[h % HASH_SLOTS];

		if (!*entry) {
			if (s->count == STUBS)
				return -1;
			slot = (u64 *)(s->write + s->count * VEC_STUB_SIZE);
			slot[0] = content[0];
			slot[1] = content[1];
			*entry = (u16)++s->count;
			return (int)s->count - 1;
		}
		slot = (u64 *)(s->write + (*entry - 1u) * VEC_STUB_SIZE);
		if (slot[0] == content[0] && slot[1] == content[1])
			return *entry - 1;
	}
}

void *vec_stub_at(const struct soft_cpu *c, unsigned number)
{
	return c->stubs->run + number * VEC_STUB_SIZE;
}

/* VMOVD/VMOVQ, VCVT(T)Sx2SI, VCVTSI2Sx, VPEXTRD/Q, VPINSRD/Q, VPCMPESTRx, KMOVD/Q */
static bool vex_w_is_gpr(u8 map, u8 opcode, u8 pp)
{
	switch (opcode) {
	case 0x2a:
	case 0x2c:
	case 0x2d:
		return map == 1;
	case 0x6e:
	case 0x7e:
		return map == 1 && pp == 1;
	case 0x92:
	case 0x93:
		return map == 1 && pp == 3;
	case 0x16:
	case 0x22:
	case 0x60:
	case 0x61:
		return map == 3;
	default:
		return false;
	}
}

/* VMOVD/VMOVQ, VCVT(T)Sx2(U)SI, VCVT(U)SI2Sx, VPEXTRD/Q, VPINSRD/Q, VPBROADCASTD/Q */
static bool evex_w_is_gpr(u8 map, u8 opcode, u8 pp)
{
	switch (opcode) {
	case 0x60:
	case 0x61:
		return false;
	case 0x78:
	case 0x79:
	case 0x7b:
		return map == 1 && pp >= 2;
	case 0x7c:
		return map == 2;
	default:
		return vex_w_is_gpr(map, opcode, pp);
	}
}

/* The prefix, four bytes. Masks, zeroing, broadcast, rounding and vector length stay. */
static unsigned evex_prefix(const struct insn *i, u8 *code, bool mem, bool gpr_reg, bool gpr_rm)
{
	const u8 *v = i->bytes + i->z.raw.evex.offset;
	u8 p0 = v[1], p1 = v[2], p2 = v[3];

	if (i->mode != SOFT_MODE_LONG64) {
		p0 |= 0xf0;
		p1 |= 0x40; /* vvvv[3] */
		p2 |= 0x08; /* V' */
		if (evex_w_is_gpr(p0 & 7, i->z.opcode, p1 & 3))
			p1 &= 0x7f;
	}
	if (gpr_reg)
		p0 |= 0x90; /* R, R' */
	if (mem || gpr_rm)
		p0 |= 0x60; /* X, B */
	code[0] = 0x62;
	code[1] = p0;
	code[2] = p1;
	code[3] = p2;
	return 4;
}

/*
 * In 64-bit mode, whatever the guest's: so VEX bits that 32-bit modes ignore are cleared here. Mandatory
 * prefixes, REX.W, vvvv, L and the immediate stay as they are; segment, address-size and LOCK prefixes go.
 */
unsigned vec_encode(const struct insn *i, u8 code[15], bool mem, bool gpr_reg, bool gpr_rm)
{
	const ZydisDecodedInstruction *z = &i->z;
	bool long64 = i->mode == SOFT_MODE_LONG64, has_modrm = z->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	unsigned n = 0, reg = gpr_reg ? 0 : z->raw.modrm.reg, rm = mem ? 7 : gpr_rm ? 0 : z->raw.modrm.rm;

	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
		n = evex_prefix(i, code, mem, gpr_reg, gpr_rm);
	} else if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		const u8 *v = i->bytes + z->raw.vex.offset;
		u8 map = v[0] == 0xc5 ? 1 : v[1] & 0x1f, last = v[0] == 0xc5 ? v[1] & 0x7f : v[2];
		bool r = !(v[1] & 0x80), b = v[0] == 0xc4 && !(v[1] & 0x20);

		if (!long64) {
			last |= 0x40; /* vvvv[3], inverted */
			r = b = false;
			/* W chooses 64-bit general registers or their memory form. */
			if (vex_w_is_gpr(map, z->opcode, last & 3))
				last &= 0x7f;
		}
		if (gpr_reg)
			r = false;
		if (mem || gpr_rm)
			b = false;
		code[n++] = 0xc4;
		code[n++] = (u8)((r ? 0 : 0x80) | 0x40 | (b ? 0 : 0x20) | map);
		code[n++] = last;
	} else {
		u8 repeat = 0, rex = 0;
		bool size = false;

		for (unsigned p = 0; p < z->raw.prefix_count; p++) {
			u8 value = z->raw.prefixes[p].value;

			if (value == 0x66)
				size = true;
			else if (value == 0xf2 || value == 0xf3)
				repeat = value;
			else if (long64 && (value & 0xf0) == 0x40)
				rex = value;
		}
		/* A REX that is not right before the opcode does not count: Zydis says so by the attribute.
		 */
		if (!(z->attributes & ZYDIS_ATTRIB_HAS_REX))
			rex = 0;
		if (gpr_reg)
			rex &= (u8)~4;
		if (mem || gpr_rm)
			rex &= (u8)~1;
		rex &= (u8)~2;
		if (size)
			code[n++] = 0x66;
		if (repeat)
			code[n++] = repeat;
		if (rex & 0xf)
			code[n++] = rex;
		switch (z->opcode_map) {
		case ZYDIS_OPCODE_MAP_0F:
			code[n++] = 0x0f;
			break;
		case ZYDIS_OPCODE_MAP_0F38:
			code[n++] = 0x0f;
			code[n++] = 0x38;
			break;
		case ZYDIS_OPCODE_MAP_0F3A:
			code[n++] = 0x0f;
			code[n++] = 0x3a;
			break;
		default:
			break;
		}
	}
	code[n++] = z->opcode;
	if (has_modrm)
		code[n++] = (u8)((mem ? 0 : 0xc0) | reg << 3 | rm);
	for (unsigned k = 0; k < ARRAY_SIZE(z->raw.imm); k++)
		for (unsigned b = 0; b < z->raw.imm[k].size / 8u && n < 15; b++)
			code[n++] = i->bytes[z->raw.imm[k].offset + b];
	/* A register number in an immediate has only three bits outside of 64-bit mode. */
	if (!long64 && z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && z->raw.imm[0].size == 8)
		for (unsigned k = 0; k < z->operand_count; k++)
			if (i->operands[k].encoding == ZYDIS_OPERAND_ENCODING_IS4)
				code[n - 1] &= 0x7f;
	return n;
}
