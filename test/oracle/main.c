/*
 * oracle [--seed N] [--sets N] [--form PATTERN] [--compat] [--list] [--keep-going] [--verbose]
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

struct run {
	struct guest *guest;
	struct image native;
	struct sample sample;
	const struct form *form;
	u64 seed, sets, number, first;
	unsigned mismatches, shown, show;
	u64 cases, total_mismatches;
	unsigned bad_forms, empty_forms;
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

static bool next(void *ctx, struct sample **s)
{
	struct run *r = ctx;

	while (r->number < r->first + r->sets) {
		if (!sample_make(&r->sample, r->form, r->seed, r->number++, native_data()))
			continue;
		snprintf(current, sizeof(current), "%s, case %llu", r->form->name,
		         (unsigned long long)r->number - 1);
		memcpy(guest_data(r->guest), native_data(), DATA_SIZE);
		native_run(&r->sample, &r->native);
		r->cases++;
		*s = &r->sample;
		return true;
	}
	return false;
}

static void print_sample(const struct run *r, const struct difference *d)
{
	const struct sample *s = &r->sample;
	ZydisFormatter formatter;
	char text[128] = "?";

	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&formatter, &s->z, s->operands, s->z.operand_count_visible, text,
	                                sizeof(text), s->rip, NULL);
	printf("MISMATCH %s  --seed %llu, case %llu\n  ", s->form->name, (unsigned long long)r->seed,
	       (unsigned long long)s->number);
	for (unsigned i = 0; i < s->len; i++)
		printf("%02x ", s->bytes[i]);
	printf(" %s   at %x\n", text, s->rip);
	printf("  in: rflags %llx fcw %04x fsw %04x ftw %02x mxcsr %x\n", (unsigned long long)s->in.rflags,
	       *(const u16 *)s->in.xsave, *(const u16 *)(s->in.xsave + 2), s->in.xsave[4],
	       *(const u32 *)(s->in.xsave + 24));
	printf("  in:");
	for (unsigned i = 0; i < 16; i++)
		printf(" %llx", (unsigned long long)s->in.gpr[i]);
	printf("\n  native: exception %llu error %llx cr2 %llx rip %llx rflags %llx\n",
	       (unsigned long long)r->native.vector, (unsigned long long)r->native.error,
	       (unsigned long long)r->native.cr2, (unsigned long long)r->native.rip,
	       (unsigned long long)r->native.rflags);
	fputs(d->text, stdout);
}

static void done(void *ctx, const struct image *out)
{
	struct run *r = ctx;
	struct difference d;

	if (compare(&r->sample, &r->native, out, native_data(), guest_data(r->guest), &d))
		return;
	r->mismatches++;
	if (r->mismatches <= r->show)
		print_sample(r, &d);
}

/* What does not depend on the number of sets or the forms before: so each form can be run again by itself. */
static void fill_data(const struct form *f, u64 seed)
{
	struct rng rng = {.state = seed + f->opcode};
	u64 *p = (u64 *)native_data();

	for (unsigned i = 0; i < DATA_SIZE / 8; i++)
		p[i] = rng_next(&rng);
}

static int run_form(struct run *r, const struct form *f)
{
	struct guest_calls calls = {.next = next, .done = done, .ctx = r};
	u64 before = r->cases;

	r->form = f;
	r->number = r->first;
	r->mismatches = 0;
	fill_data(f, r->seed);
	alarm(20 + (unsigned)(r->sets / 1000));
	if (guest_run(r->guest, &calls) < 0) {
		printf("BROKEN %s\n", current);
		guest_free(r->guest);
		r->guest = guest_new();
		r->mismatches++;
	}
	r->empty_forms += r->cases == before;
	if (r->cases == before)
		printf("EMPTY %s: no instruction of this form can be made\n", f->name);
	if (r->mismatches) {
		r->bad_forms++;
		r->total_mismatches += r->mismatches;
		printf("FORM %s: %u of %llu cases differ\n", f->name, r->mismatches,
		       (unsigned long long)(r->cases - before));
	}
	return 0;
}

static void usage(void)
{
	fprintf(stderr, "usage: oracle [--seed N] [--sets N] [--first N] [--form PATTERN] [--compat] "
	                "[--list] [--show N]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'},   {"sets", 1, NULL, 'n'},
	                                        {"form", 1, NULL, 'f'},   {"list", 0, NULL, 'l'},
	                                        {"compat", 0, NULL, 'c'}, {"show", 1, NULL, 'w'},
	                                        {"first", 1, NULL, 'i'},  {NULL, 0, NULL, 0}};
	struct run r = {.seed = 1, .sets = 100, .show = 1};
	struct form_list l = {0};
	const char *pattern = NULL;
	bool list = false, compat = false;
	unsigned ran = 0;
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
			pattern = optarg;
			break;
		case 'w':
			r.show = (unsigned)strtoul(optarg, NULL, 0);
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
	if (optind < argc)
		usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	forms_find(&l, compat);
	if (list) {
		for (unsigned i = 0; i < l.count; i++)
			printf("%s%s\n", l.forms[i].name, l.forms[i].excluded ? " (excluded)" : "");
		return 0;
	}
	native_init();
	r.guest = guest_new();
	for (unsigned i = 0; i < l.count; i++) {
		if (l.forms[i].excluded || (pattern && fnmatch(pattern, l.forms[i].name, 0)))
			continue;
		ran++;
		run_form(&r, &l.forms[i]);
	}
	printf("%u forms (%u excluded, %u empty), %llu cases, %u forms with %llu mismatches; seed %llu, %ld "
	       "s\n",
	       ran, l.excluded, r.empty_forms, (unsigned long long)r.cases, r.bad_forms,
	       (unsigned long long)r.total_mismatches, (unsigned long long)r.seed,
	       (long)(time(NULL) - start));
	guest_free(r.guest);
	forms_release(&l);
	return r.bad_forms || r.empty_forms ? 1 : 0;
}
