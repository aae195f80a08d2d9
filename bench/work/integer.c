/* Integer work of one process: tables, lists, sorting, calls. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

/* ---- table-driven CRC, 1 MiB ---- */

static u32 crc_table[256];
static u8 crc_data[1 << 20];

static void crc_setup(void)
{
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;

		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
		crc_table[i] = c;
	}
	for (size_t i = 0; i < sizeof(crc_data); i++)
		crc_data[i] = (u8)(i * 7 + (i >> 8));
}

__attribute__((noinline)) static u32 crc(const u8 *p, size_t n)
{
	u32 c = ~0u;

	while (n--)
		c = crc_table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

static u64 crc_unit(void)
{
	return crc(crc_data, sizeof(crc_data));
}

/* ---- a mixture in the manner of embedded benchmarks: a list, a small matrix, a state machine, a CRC-16 ----
 */

enum { NODES = 400, SIDE = 24 };

struct node {
	struct node *next;
	short value, key;
};

static struct node nodes[NODES];
static short matrix_a[SIDE * SIDE], matrix_b[SIDE * SIDE];
static int matrix_c[SIDE * SIDE];
static char text[2048];

static u16 crc16(u16 value, u16 sum)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned bit = (value ^ sum) & 1;

		value >>= 1;
		sum >>= 1;
		if (bit)
			sum ^= 0xa001;
	}
	return sum;
}

static void mixture_setup(void)
{
	static const char *const words[] = {"5012",   "1234", "-874",  "+122",   "35.54400", ".1234500",
	                                    "-110.7", "+0.6", "5.5e3", "-.12e2", "T0.3e-1F", "-T.T++Tq"};
	u32 state = 7;
	size_t length = 0;

	for (unsigned i = 0; i < NODES; i++)
		nodes[i].key = (short)(next_random(&state) >> 17);
	for (unsigned i = 0; i < SIDE * SIDE; i++) {
		matrix_a[i] = (short)(next_random(&state) >> 20);
		matrix_b[i] = (short)(next_random(&state) >> 20);
	}
	while (length < sizeof(text) - 16) {
		const char *w = words[next_random(&state) >> 16 & 7];

		strcpy(text + length, w);
		length += strlen(w);
		text[length++] = ',';
	}
}

/* Merge sort of a list, bottom up. */
static struct node *list_sort(struct node *list, int (*order)(const struct node *, const struct node *))
{
	for (unsigned size = 1;; size *= 2) {
		struct node *p = list, *tail = NULL;
		unsigned merges = 0;

		list = NULL;
		while (p) {
			struct node *q = p;
			unsigned ps = 0, qs = size;

			merges++;
			while (ps < size && q) {
				ps++;
				q = q->next;
			}
			while (ps || (qs && q)) {
				struct node *e;

				if (!ps || (qs && q && order(p, q) > 0)) {
					e = q;
					q = q->next;
					qs--;
				} else {
					e = p;
					p = p->next;
					ps--;
				}
				if (tail)
					tail->next = e;
				else
					list = e;
				tail = e;
			}
			p = q;
		}
		tail->next = NULL;
		if (merges <= 1)
			return list;
	}
}

static int by_key(const struct node *a, const struct node *b)
{
	return a->key - b->key;
}

static int by_value(const struct node *a, const struct node *b)
{
	return a->value - b->value;
}

static u16 list_work(void)
{
	struct node *list = nodes, *back = NULL;
	u16 sum = 0;

	for (unsigned i = 0; i < NODES; i++) {
		nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
		nodes[i].value = (short)i;
	}
	list = list_sort(list, by_key);
	for (struct node *n = list; n; n = n->next)
		sum = crc16((u16)n->key, sum);
	while (list) {
		struct node *n = list;

		list = n->next;
		n->next = back;
		back = n;
	}
	for (int wanted = 0; wanted < 40; wanted++) {
		struct node *n = back;

		while (n && n->value != wanted * 10)
			n = n->next;
		sum = (u16)(sum + (n ? n->key : 1));
	}
	list = list_sort(back, by_value);
	for (struct node *n = list; n; n = n->next)
		sum = crc16((u16)n->key, sum);
	return sum;
}

static u16 matrix_work(void)
{
	u16 sum = 0;

	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned j = 0; j < SIDE; j++) {
			int s = 0;

			for (unsigned k = 0; k < SIDE; k++)
				s += (matrix_a[i * SIDE + k] * matrix_b[k * SIDE + j] >> 2 & 15) * 3;
			matrix_c[i * SIDE + j] = s;
		}
	for (unsigned i = 0; i < SIDE * SIDE; i++)
		sum = crc16((u16)matrix_c[i], sum);
	return sum;
}

enum state { START, SIGN, INTEGER, FRACTION, EXPONENT, SCIENCE, WRONG, STATES };

static u16 state_work(void)
{
	u32 counts[STATES] = {0};
	enum state s = START;
	u16 sum = 0;

	for (const char *p = text; *p; p++) {
		char c = *p;
		int digit = c >= '0' && c <= '9';

		if (c == ',') {
			counts[s]++;
			s = START;
			continue;
		}
		switch (s) {
		case START:
			s = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : WRONG;
			break;
		case SIGN:
			s = digit ? INTEGER : c == '.' ? FRACTION : WRONG;
			break;
		case INTEGER:
			s = digit ? INTEGER : c == '.' ? FRACTION : WRONG;
			break;
		case FRACTION:
			s = digit ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : WRONG;
			break;
		case EXPONENT:
			s = digit || c == '+' || c == '-' ? SCIENCE : WRONG;
			break;
		case SCIENCE:
			s = digit ? SCIENCE : WRONG;
			break;
		default:
			break;
		}
	}
	for (unsigned i = 0; i < STATES; i++)
		sum = crc16((u16)counts[i], sum);
	return sum;
}

static u64 mixture_unit(void)
{
	u64 sum = 0;

	for (unsigned i = 0; i < 4; i++) {
		sum = mix(sum, list_work());
		sum = mix(sum, matrix_work());
		sum = mix(sum, state_work());
		opaque(text);
	}
	return sum;
}

/* ---- sorting 50,000 numbers with the C library's qsort ---- */

enum { NUMBERS = 50000 };
static u32 numbers[NUMBERS];

static int compare(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

static u64 qsort_unit(void)
{
	u32 state = 1;
	u64 sum = 0;

	for (unsigned i = 0; i < NUMBERS; i++)
		numbers[i] = next_random(&state);
	qsort(numbers, NUMBERS, sizeof(*numbers), compare);
	for (unsigned i = 0; i < NUMBERS; i += 97)
		sum = mix(sum, numbers[i]);
	return sum;
}

/* ---- calls ---- */

/* Not clever: the calls are the work. */
__attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) static u32 fib(u32 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static u64 fib_unit(void)
{
	return fib(24);
}

#define STEP(n)                                             \
	__attribute__((noinline)) static u32 step##n(u32 x) \
	{                                                   \
		return x * (2 * n + 1) + n;                 \
	}
STEP(0)
STEP(1)
STEP(2) STEP(3) STEP(4) STEP(5) STEP(6)
        STEP(7) static u32 (*steps[8])(u32) = {step0, step1, step2, step3, step4, step5, step6, step7};

static u64 indirect_unit(void)
{
	u32 x = 1;

	opaque(steps);
	for (u32 i = 0; i < 500000; i++)
		x = steps[(i ^ x) & 7](x);
	return x;
}

const struct row rows_integer[] = {
        {.name = "crc", .setup = crc_setup, .unit = crc_unit},
        {.name = "coremark", .setup = mixture_setup, .unit = mixture_unit},
        {.name = "qsort", .unit = qsort_unit},
        {.name = "fib", .unit = fib_unit},
        {.name = "indirect", .unit = indirect_unit},
        {0},
};
