/* Floating point and vectors. */
#include "work.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static u64 bits(double d)
{
	u64 u;

	memcpy(&u, &d, sizeof(u));
	return u;
}

/* ---- n-body: five bodies, 5,000 steps ---- */

enum { BODIES = 5 };
struct body {
	double x[3], v[3], mass;
};

static const struct body first[BODIES] = {
        {{0, 0, 0}, {0, 0, 0}, 39.5},
        {{4.8, -1.2, -0.1}, {0.6, 2.8, -0.02}, 0.038},
        {{8.3, 4.1, -0.4}, {-1.0, 1.8, 0.008}, 0.011},
        {{12.9, -15.1, -0.2}, {1.1, 0.9, -0.01}, 0.0017},
        {{15.4, -25.9, 0.2}, {0.98, 0.6, -0.03}, 0.002},
};

__attribute__((noinline)) static void advance(struct body *b, unsigned steps, double dt)
{
	while (steps--) {
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned j = i + 1; j < BODIES; j++) {
				double dx = b[i].x[0] - b[j].x[0], dy = b[i].x[1] - b[j].x[1];
				double dz = b[i].x[2] - b[j].x[2], square = dx * dx + dy * dy + dz * dz;
				double factor = dt / (square * sqrt(square));

				b[i].v[0] -= dx * b[j].mass * factor;
				b[i].v[1] -= dy * b[j].mass * factor;
				b[i].v[2] -= dz * b[j].mass * factor;
				b[j].v[0] += dx * b[i].mass * factor;
				b[j].v[1] += dy * b[i].mass * factor;
				b[j].v[2] += dz * b[i].mass * factor;
			}
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned k = 0; k < 3; k++)
				b[i].x[k] += dt * b[i].v[k];
	}
}

static u64 nbody_unit(void)
{
	struct body b[BODIES];

	memcpy(b, first, sizeof(b));
	advance(b, 5000, 0.001);
	return mix(bits(b[0].x[0]), bits(b[4].v[2]));
}

/* ---- matrices of 96×96 doubles ---- */

enum { SIDE = 96 };
static double a[SIDE * SIDE] __attribute__((aligned(32))), b[SIDE * SIDE] __attribute__((aligned(32))),
        c[SIDE * SIDE] __attribute__((aligned(32)));

static void matrix_setup(void)
{
	for (unsigned i = 0; i < SIDE * SIDE; i++) {
		a[i] = (double)(i % 37) * 0.25;
		b[i] = (double)(i % 41) * 0.5;
	}
}

static u64 matrix_sum(void)
{
	return mix(bits(c[7]), bits(c[SIDE * SIDE - 5]));
}

/* Scalar: one product and one sum at a time. */
__attribute__((noinline, optimize("no-tree-vectorize"))) static void multiply(void)
{
	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned j = 0; j < SIDE; j++) {
			double s = 0;

			for (unsigned k = 0; k < SIDE; k++)
				s += a[i * SIDE + k] * b[k * SIDE + j];
			c[i * SIDE + j] = s;
		}
}

static u64 matmul_unit(void)
{
	multiply();
	return matrix_sum();
}

__attribute__((noinline)) static void multiply_sse2(void)
{
	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned k = 0; k < SIDE; k++) {
			__m128d x = _mm_set1_pd(a[i * SIDE + k]);

			for (unsigned j = 0; j < SIDE; j += 2) {
				__m128d p = _mm_mul_pd(x, _mm_load_pd(&b[k * SIDE + j]));

				_mm_store_pd(&c[i * SIDE + j], _mm_add_pd(p, _mm_load_pd(&c[i * SIDE + j])));
			}
		}
}

static u64 sse2_unit(void)
{
	multiply_sse2();
	return matrix_sum();
}

__attribute__((noinline, target("avx2,fma"))) static void multiply_avx2(void)
{
	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < SIDE; i++)
		for (unsigned k = 0; k < SIDE; k++) {
			__m256d x = _mm256_set1_pd(a[i * SIDE + k]);

			for (unsigned j = 0; j < SIDE; j += 4)
				_mm256_store_pd(&c[i * SIDE + j],
				                _mm256_fmadd_pd(x, _mm256_load_pd(&b[k * SIDE + j]),
				                                _mm256_load_pd(&c[i * SIDE + j])));
		}
}

static u64 avx2_unit(void)
{
	multiply_avx2();
	return matrix_sum();
}

/* ---- SSE integer: registers only, 200,000 rounds ---- */

__attribute__((noinline)) static __m128i scramble(__m128i x, __m128i y, unsigned rounds)
{
	const __m128i one = _mm_set1_epi32(0x9e3779b9);

	while (rounds--) {
		x = _mm_add_epi32(x, y);
		y = _mm_xor_si128(_mm_slli_epi32(y, 7), _mm_srli_epi32(y, 25));
		y = _mm_xor_si128(y, _mm_shuffle_epi32(x, 0x39));
		x = _mm_sub_epi16(_mm_unpacklo_epi8(x, y), _mm_packs_epi32(y, x));
		x = _mm_add_epi32(x, one);
	}
	return _mm_xor_si128(x, y);
}

static u64 sse_unit(void)
{
	__m128i z = scramble(_mm_set1_epi32(12345), _mm_set1_epi32(678), 200000);

	return (u64)_mm_cvtsi128_si64(_mm_xor_si128(z, _mm_unpackhi_epi64(z, z)));
}

/* ---- x87: 100,000 terms ---- */

__attribute__((noinline)) static long double series(unsigned terms)
{
	long double s = 0, x = 1, k = 1;

	for (unsigned i = 0; i < terms; i++) {
		s += x / k;
		x = -x * 0.9999L;
		k += 2;
	}
	return s;
}

static u64 x87_unit(void)
{
	return bits((double)(series(100000) * 1e6L));
}

const struct row rows_vector[] = {
        {.name = "nbody", .unit = nbody_unit},
        {.name = "matmul", .setup = matrix_setup, .unit = matmul_unit},
        {.name = "matmul-sse2", .setup = matrix_setup, .unit = sse2_unit},
        {.name = "matmul-avx2", .setup = matrix_setup, .unit = avx2_unit},
        {.name = "sse-int", .unit = sse_unit},
        {.name = "x87", .unit = x87_unit},
        {0},
};
