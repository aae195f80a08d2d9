/* Arithmetic of every width and kind, with results printed to the last bit. */
#include <complex.h>
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252ull;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t sum;

static void note(const void *value, size_t size)
{
	const unsigned char *byte = value;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ byte[i]) * 1099511628211ull;
}

static void tell(const char *what)
{
	printf("%s %016lx\n", what, (unsigned long)sum);
	sum = 0;
}

static double real(void)
{
	return ldexp((double)(int64_t)next(), (int)(next() % 200) - 100);
}

static void integers(void)
{
	for (int i = 0; i < 200000; i++) {
		uint64_t a = next(), b = next() >> next() % 64, c = a * b;
		__int128 wide = (__int128)(int64_t)a * (int64_t)b;
		int64_t q = b ? (int64_t)a / (int64_t)(b | 1) : 0;
		uint32_t d = (uint32_t)a / ((uint32_t)b | 1);
		uint64_t r = a << (b & 63) | a >> (-b & 63);

		note(&c, sizeof c), note(&wide, sizeof wide), note(&q, sizeof q), note(&d, sizeof d), note(&r, sizeof r);
		c = (uint64_t)__builtin_popcountll(a) + (uint64_t)__builtin_clzll(a | 1) + (uint64_t)__builtin_ctzll(b | 1ull << 63) +
			__builtin_bswap64(a);
		note(&c, sizeof c);
	}
	tell("integers");
}

static void reals(void)
{
	static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };

	for (int i = 0; i < 100000; i++) {
		double a = real(), b = real(), r[12];
		float f = (float)a, g = (float)b, s[6];
		long double x = a, y = b, t[4];
		int64_t n = (int64_t)remainder(a, 1e15);
		uint64_t low[4];

		fesetround(modes[i % 4]);
		feclearexcept(FE_ALL_EXCEPT);
		r[0] = a + b, r[1] = a - b, r[2] = a * b, r[3] = a / b, r[4] = sqrt(fabs(a)), r[5] = fma(a, b, a), r[6] = rint(a),
		r[7] = floor(b), r[8] = (double)n, r[9] = (double)f, r[10] = fmod(a, b), r[11] = fmax(a, b);
		s[0] = f + g, s[1] = f * g, s[2] = f / g, s[3] = sqrtf(fabsf(f)), s[4] = (float)n, s[5] = f - g;
		t[0] = x + y, t[1] = x * y, t[2] = x / y, t[3] = sqrtl(fabsl(x));
		int raised = fetestexcept(FE_ALL_EXCEPT);
		fesetround(FE_TONEAREST);
		note(r, sizeof r), note(s, sizeof s), note(&n, sizeof n), note(&raised, sizeof raised);
		for (int k = 0; k < 4; k++)
			memcpy(&low[k], &t[k], 8);
		note(low, sizeof low);
	}
	tell("reals");
}

static void functions(void)
{
	for (int i = 0; i < 20000; i++) {
		double a = ldexp((double)(int64_t)next(), -60), b = ldexp((double)(int64_t)next(), -62);
		double r[] = { sin(a), cos(a), tan(b), exp(a), log(fabs(a)), pow(fabs(a), b), atan2(a, b), sinh(b), erf(b),
			tgamma(b), cbrt(a), log1p(fabs(b)) };

		note(r, sizeof r);
	}
	tell("functions");
}

/* Those that lean on the x87 unit's own transcendental instructions. */
static void long_functions(void)
{
	for (int i = 0; i < 20000; i++) {
		long double x = ldexpl((long double)(int64_t)next(), -60), y = ldexpl((long double)(int64_t)next(), -62);
		long double r[] = { sinl(x), cosl(x), expl(x), logl(fabsl(x)), atanl(x), powl(fabsl(x), y), tanl(y), exp2l(y),
			log2l(fabsl(x)), fmodl(x, y) };
		uint64_t low;

		for (unsigned k = 0; k < sizeof r / sizeof r[0]; k++) {
			memcpy(&low, &r[k], 8);
			note(&low, sizeof low);
		}
	}
	tell("long-functions");
}

static float in[4096], out[4096];
static uint16_t small[4096];
static int32_t middle[4096];

/* Loops that the compiler turns into vector code. */
static void vectors(void)
{
	for (int i = 0; i < 4096; i++)
		in[i] = (float)((double)(int64_t)next() * 1e-12), small[i] = (uint16_t)next(), middle[i] = (int32_t)next();
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 4096; i++)
			out[i] = in[i] * 1.5f + in[4095 - i] / (1.0f + fabsf(in[i]));
		for (int i = 0; i < 4096; i++)
			small[i] = (uint16_t)(small[i] * 31 + (small[i] >> 3) + (out[i] > 0.5f));
		for (int i = 0; i < 4096; i++)
			middle[i] = abs(middle[i]) * 17 ^ middle[i] >> (i & 15) ^ small[i] << 4;
		note(out, sizeof out), note(small, sizeof small), note(middle, sizeof middle);
		memcpy(in, out, sizeof in);
	}
	tell("vectors");
}

int main(void)
{
	integers();
	reals();
	functions();
	long_functions();
	vectors();
	printf("%.17g %.9g %.21Lg %a\n", exp(1.0), (double)expf(1.0f), expl(1.0L), 1.0 / 3);
	return 0;
}
