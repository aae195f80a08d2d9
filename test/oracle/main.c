/*
 * oracle [--seed N] [--sets N] [--first N] [--form PATTERN] [--compat] [--list] [--show N]
 * oracle --blocks N [--seed N] [--first N] [--show N] [--list]
 *
 * With --several the engine does as if there were other vCPUs, too.
 *
 * Sets are the cases of each form; --blocks makes so many blocks of random instructions instead. A mismatch
 * is printed with the words that bring it again: --first is its number, then --sets 1 or --blocks 1 is
 * enough. Of a block that comes out differently translated and interpreted, what is not needed for that is
 * replaced by NOPs and the rest is printed, too.
 *
 * Exit status: 0 if native and soft agree everywhere, 1 if not, 2 if it cannot run.
 */
#include "oracle.h"

#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INTERPRETED, TRANSLATED, ENGINES };
static const char *const engine_names[] = {"interpreted", "translated"};

struct run {
	struct form_list forms;
	const char *pattern;
	u64 seed, sets, first, blocks;
	unsigned show;
	bool several;

	struct guest *guest[ENGINES];
	unsigned engine;
	struct task *task, *end; /* to be run; the one that is awaited is in front */
	unsigned mismatches;     /* of this form, or of all blocks */
	u64 cases, form_cases, total_mismatches;
	unsigned ran, bad_forms, empty_forms;
};

static char current[160]; /* for the watchdog */

static void on_alarm(int sig)
{
	static const char text[] = "oracle: no end in sight: ";

	if (write(2, text, sizeof(text) - 1) < 0 || write(2, current, strlen(current)) < 0 ||
	    write(2, "\n", 1) < 0)
		_exit(3);
	_exit(2);
}

static void watch(const struct sample *s, const char *who)
{
	if (s->code)
		snprintf(current, sizeof(current), "block %llu", (unsigned long long)s->number / BLOCK_CASES);
	else
		snprintf(current, sizeof(current), "%s, %s, case %llu", who, s->form->name,
		         (unsigned long long)s->number);
}

/* ---- the child: makes cases ---- */

/* What does not depend on the number of sets or the forms before: so each form can be run again by itself. */
static void fill_data(const struct form *f, u64 seed)
{
	struct rng rng = {.state = seed + f->opcode};
	u64 *p = (u64 *)native_data();

	for (unsigned i = 0; i < DATA_SIZE / 8; i++)
		p[i] = rng_next(&rng);
}

static void send_case(struct stream *t, const struct sample *s)
{
	struct task *task = stream_room(t);

	task->sample = *s;
	task->last = false;
	memcpy(task->before, native_data(), DATA_SIZE);
	native_run(s, &task->native);
	memcpy(task->after, native_data(), DATA_SIZE);
	stream_send(t);
}

static void send_last(struct stream *t, const struct form *f)
{
	struct task *task = stream_room(t);

	task->sample.form = f;
	task->last = true;
	stream_send(t);
}

static bool wanted(const struct run *r, const struct form *f)
{
	return !f->excluded && (!r->pattern || !fnmatch(r->pattern, f->name, 0));
}

static void make_cases(struct stream *t, void *ctx)
{
	static struct sample s;
	struct run *r = ctx;

	native_init();
	for (u64 n = r->first * BLOCK_CASES; n < (r->first + r->blocks) * BLOCK_CASES; n++) {
		block_make(&s, &r->forms, r->seed, n, native_data());
		watch(&s, "natively");
		if (n % 4096 == 0)
			alarm(120);
		send_case(t, &s);
	}
	if (r->blocks) {
		send_last(t, NULL);
		return;
	}
	for (unsigned i = 0; i < r->forms.count; i++) {
		const struct form *f = &r->forms.forms[i];

		if (!wanted(r, f))
			continue;
		alarm(60 + (unsigned)(r->sets / 1000));
		fill_data(f, r->seed);
		for (u64 n = r->first; n < r->first + r->sets; n++)
			if (sample_make(&s, f, r->seed, n, native_data())) {
				watch(&s, "natively");
				send_case(t, &s);
			}
		send_last(t, f);
	}
}

/* ---- printing ---- */

static void print_code(const struct sample *s)
{
	ZydisFormatter formatter;

	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	for (unsigned at = 0; at < s->len;) {
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction z;
		char text[128] = "?";

		if (ZYAN_FAILED(ZydisDecoderDecodeFull(oracle_decoder(!s->code && s->form->compat),
		                                       s->bytes + at, s->len - at, &z, operands)))
			break;
		ZydisFormatterFormatInstruction(&formatter, &z, operands, z.operand_count_visible, text,
		                                sizeof(text), s->rip + at, NULL);
		if (z.mnemonic != ZYDIS_MNEMONIC_NOP || z.length > 1 || !s->code) {
			printf("  %x  ", (unsigned)(s->rip + at));
			for (unsigned i = 0; i < 12; i++)
				printf(i < z.length ? "%02x" : "  ", s->bytes[at + i]);
			printf(" %s\n", text);
		}
		at += z.length;
	}
}

static void print_in(const struct sample *s)
{
	printf("  in: rflags %llx fcw %04x fsw %04x ftw %02x mxcsr %x\n", (unsigned long long)s->in.rflags,
	       *(const u16 *)s->in.xsave, *(const u16 *)(s->in.xsave + 2), s->in.xsave[4],
	       *(const u32 *)(s->in.xsave + 24));
	printf("  in:");
	for (unsigned i = 0; i < 16; i++)
		printf(" %llx", (unsigned long long)s->in.gpr[i]);
	printf("\n");
}

static void print_native(const struct task *t)
{
	printf("  native: exception %llu error %llx cr2 %llx rip %llx rflags %llx\n",
	       (unsigned long long)t->native.vector, (unsigned long long)t->native.error,
	       (unsigned long long)t->native.cr2, (unsigned long long)t->native.rip,
	       (unsigned long long)t->native.rflags);
}

static void print_mismatch(const struct run *r, const struct task *t, const struct difference *d)
{
	const struct sample *s = &t->sample;

	if (s->code)
		printf("MISMATCH %s --blocks 1 --seed %llu --first %llu, case %llu\n",
		       engine_names[r->engine], (unsigned long long)r->seed,
		       (unsigned long long)s->number / BLOCK_CASES,
		       (unsigned long long)s->number % BLOCK_CASES);
	else
		printf("MISMATCH %s --form '%s' --seed %llu --first %llu\n", engine_names[r->engine],
		       s->form->name, (unsigned long long)r->seed, (unsigned long long)s->number);
	print_code(s);
	print_in(s);
	print_native(t);
	fputs(d->text, stdout);
}

/* ---- the parent: runs them in the guests ---- */

static bool next(void *ctx, const struct sample **s)
{
	struct run *r = ctx;

	if (r->task == r->end)
		return false;
	watch(&r->task->sample, engine_names[r->engine]);
	guest_data_set(r->guest[r->engine], r->task->before);
	*s = &r->task->sample;
	return true;
}

static void done(void *ctx, const struct image *out)
{
	struct run *r = ctx;
	struct task *t = r->task++;
	static u8 data[DATA_SIZE];
	struct difference d;

	guest_data_get(r->guest[r->engine], data);
	if (compare(&t->sample, &t->native, out, t->after, data, &d))
		return;
	r->mismatches++;
	if (r->mismatches <= r->show)
		print_mismatch(r, t, &d);
}

static void run_engine(struct run *r, unsigned engine, struct task *from, struct task *end)
{
	struct guest_calls calls = {.next = next, .done = done, .ctx = r};

	if (!r->guest[engine])
		return;
	r->engine = engine;
	r->task = from;
	r->end = end;
	alarm(120);
	while (r->task < r->end && guest_run(r->guest[engine], &calls) < 0) {
		printf("BROKEN %s %s\n", engine_names[engine], current);
		guest_free(r->guest[engine]);
		r->guest[engine] = guest_new(engine == TRANSLATED, r->several);
		r->mismatches++;
		r->task++;
	}
}

/* ---- making a bad block small ---- */

struct outcome {
	struct image image;
	u8 data[DATA_SIZE];
	bool known;
};

static void keep(void *ctx, const struct image *out)
{
	struct run *r = ctx;

	((struct outcome *)(void *)r->end)->image = *out;
	((struct outcome *)(void *)r->end)->known = true;
	r->task = NULL;
}

static struct task trial;

static bool next_trial(void *ctx, const struct sample **s)
{
	struct run *r = ctx;

	if (!r->task)
		return false;
	guest_data_set(r->guest[r->engine], trial.before);
	*s = &trial.sample;
	return true;
}

/* Runs the trial anew, a few times, as the first runs of code are not like those that follow. */
static void try_engine(struct run *r, unsigned engine, struct outcome *o)
{
	struct guest_calls calls = {.next = next_trial, .done = keep, .ctx = r};

	r->engine = engine;
	o->known = false;
	for (unsigned i = 0; i < 3; i++) {
		r->task = &trial;
		r->end = (void *)o;
		if (guest_run(r->guest[engine], &calls) < 0) {
			guest_free(r->guest[engine]);
			r->guest[engine] = guest_new(engine == TRANSLATED, r->several);
			o->known = false;
			return;
		}
	}
	guest_data_get(r->guest[engine], o->data);
}

static bool still_differs(struct run *r)
{
	static struct outcome a, b;
	struct difference d;

	trial.sample.code++; /* other code than before */
	try_engine(r, INTERPRETED, &a);
	try_engine(r, TRANSLATED, &b);
	return a.known != b.known ||
	       (a.known && !compare(&trial.sample, &a.image, &b.image, a.data, b.data, &d));
}

static void shrink(struct run *r, const struct task *t)
{
	bool smaller = true;

	trial = *t;
	trial.sample.code = 1ULL << 32;
	alarm(60);
	if (!still_differs(r)) {
		printf("  (alone it does not differ)\n");
		return;
	}
	while (smaller) {
		smaller = false;
		for (unsigned at = 0; at < trial.sample.len;) {
			ZydisDecodedInstruction z;
			u8 old[16];

			if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(oracle_decoder(false), NULL,
			                                              trial.sample.bytes + at,
			                                              trial.sample.len - at, &z)))
				break;
			if (z.mnemonic != ZYDIS_MNEMONIC_NOP || z.length > 1) {
				memcpy(old, trial.sample.bytes + at, z.length);
				memset(trial.sample.bytes + at, 0x90, z.length);
				if (still_differs(r))
					smaller = true;
				else
					memcpy(trial.sample.bytes + at, old, z.length);
			}
			at += z.length;
		}
	}
	printf("  what is left of it with NOPs for the rest:\n");
	print_code(&trial.sample);
	print_in(&trial.sample);

	static struct outcome a, b;
	struct difference d = {.text = "  it does not end\n"};

	trial.sample.code++;
	try_engine(r, INTERPRETED, &a);
	try_engine(r, TRANSLATED, &b);
	if (a.known && b.known)
		compare(&trial.sample, &a.image, &b.image, a.data, b.data, &d);
	printf("  interpreted (\"native\" below): exception %llu rip %llx cr2 %llx\n%s",
	       (unsigned long long)a.image.vector, (unsigned long long)a.image.rip,
	       (unsigned long long)a.image.cr2, d.text);
}

/* ---- */

static void run_tasks(struct run *r, struct task *from, struct task *end)
{
	unsigned before = r->mismatches;

	r->cases += (u64)(end - from);
	r->form_cases += (u64)(end - from);
	for (unsigned engine = 0; engine < ENGINES; engine++)
		run_engine(r, engine, from, end);
	if (r->mismatches == before || before >= r->show || !r->blocks || !r->guest[TRANSLATED])
		return;
	for (struct task *t = from; t < end; t++) {
		trial = *t;
		trial.sample.code = (1ULL << 32) + t->sample.code;
		if (still_differs(r)) {
			shrink(r, t);
			break;
		}
	}
}

static void form_ends(struct run *r, const struct form *f)
{
	r->ran += f != NULL;
	if (f && !r->form_cases) {
		r->empty_forms++;
		printf("EMPTY %s: no instruction of this form can be made\n", f->name);
	}
	if (r->mismatches) {
		r->bad_forms++;
		r->total_mismatches += r->mismatches;
		if (f)
			printf("FORM %s: %u of %llu cases differ\n", f->name, r->mismatches,
			       (unsigned long long)r->form_cases);
	}
	r->mismatches = 0;
	r->form_cases = 0;
}

static void run_all(struct run *r, struct stream *stream)
{
	unsigned forms = 0;

	for (unsigned i = 0; i < r->forms.count; i++)
		forms += wanted(r, &r->forms.forms[i]);
	for (unsigned ends = r->blocks ? 1 : forms; ends;) {
		struct task *t, *from;
		unsigned n = stream_receive(stream, &t);

		from = t;
		for (struct task *end = t + n; t < end; t++) {
			if (!t->last)
				continue;
			run_tasks(r, from, t);
			form_ends(r, t->sample.form);
			from = t + 1;
			ends--;
		}
		run_tasks(r, from, t);
		stream_done(stream, n);
	}
}

/* The blocks instead of their results. */
static void list_blocks(struct run *r, struct stream *stream)
{
	for (bool last = false; !last;) {
		struct task *t;
		unsigned n = stream_receive(stream, &t);

		for (unsigned i = 0; i < n; i++) {
			const struct sample *s = &t[i].sample;

			last = t[i].last;
			if (last)
				break;
			if (s->number % BLOCK_CASES == 0) {
				printf("BLOCK %llu\n", (unsigned long long)s->number / BLOCK_CASES);
				print_code(s);
			}
			print_in(s);
			print_native(&t[i]);
		}
		stream_done(stream, n);
	}
}

static void usage(void)
{
	fprintf(stderr, "usage: oracle [--seed N] [--sets N] [--first N] [--form PATTERN] [--compat] "
	                "[--list] [--show N] [--blocks N] [--several]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'},    {"sets", 1, NULL, 'n'},
	                                        {"form", 1, NULL, 'f'},    {"list", 0, NULL, 'l'},
	                                        {"compat", 0, NULL, 'c'},  {"show", 1, NULL, 'w'},
	                                        {"first", 1, NULL, 'i'},   {"blocks", 1, NULL, 'b'},
	                                        {"several", 0, NULL, 'm'}, {NULL, 0, NULL, 0}};
	static struct run r = {.seed = 1, .sets = 100, .show = 1};
	bool list = false, compat = false;
	struct stream *stream;
	time_t start = time(NULL);
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			r.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			r.sets = strtoull(optarg, NULL, 0);
			break;
		case 'i':
			r.first = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			r.pattern = optarg;
			break;
		case 'w':
			r.show = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'b':
			r.blocks = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			r.several = true;
			break;
		case 'l':
			list = true;
			break;
		case 'c':
			compat = true;
			break;
		default:
			usage();
		}
	}
	if (optind < argc || (compat && r.blocks))
		usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	forms_find(&r.forms, compat);
	if (list && r.blocks) {
		stream = stream_new(make_cases, &r);
		list_blocks(&r, stream);
		stream_free(stream);
		return 0;
	}
	if (list) {
		for (unsigned i = 0; i < r.forms.count; i++)
			printf("%s%s\n", r.forms.forms[i].name,
			       r.forms.forms[i].excluded ? " (excluded)" : "");
		return 0;
	}
	stream = stream_new(make_cases, &r);
	r.guest[INTERPRETED] = guest_new(false, r.several);
	if (!compat) /* 32-bit code is never translated */
		r.guest[TRANSLATED] = guest_new(true, r.several);
	run_all(&r, stream);
	if (r.blocks)
		printf("%llu blocks, %llu cases, ", (unsigned long long)r.blocks,
		       (unsigned long long)r.cases);
	else
		printf("%u forms (%u excluded, %u empty), %llu cases, %u forms with ", r.ran,
		       r.forms.excluded, r.empty_forms, (unsigned long long)r.cases, r.bad_forms);
	printf("%llu mismatches; %s, seed %llu, %ld s\n", (unsigned long long)r.total_mismatches,
	       r.guest[TRANSLATED] ? "interpreted and translated" : "interpreted", (unsigned long long)r.seed,
	       (long)(time(NULL) - start));
	for (unsigned engine = 0; engine < ENGINES; engine++)
		if (r.guest[engine])
			guest_free(r.guest[engine]);
	stream_free(stream);
	forms_release(&r.forms);
	return r.bad_forms || r.empty_forms ? 1 : 0;
}
