/* Vectors of as many doubles as the processor has in one register, in the compiler's own vector type: AVX-512, AVX2 or NEON come out
   of the same text. Wider vectors than the processor's would be taken apart, through memory, some thirty times slower. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 8
#define EACH(x) {x, x, x, x, x, x, x, x}
#define COUNT {0, 1, 2, 3, 4, 5, 6, 7}
#elif defined(__AVX__)
#define LANES 4
#define EACH(x) {x, x, x, x}
#define COUNT {0, 1, 2, 3}
#else
#define LANES 2
#define EACH(x) {x, x}
#define COUNT {0, 1}
#endif
#define INLINE static inline __attribute__((always_inline))

typedef double vd __attribute__((vector_size(8 * LANES)));
typedef long long vl __attribute__((vector_size(8 * LANES)));

/* How many doubles are in a pack. */
int coldflow_lanes(void) { return LANES; }

INLINE vd splat(double x) { return (vd)EACH(x); }

INLINE vd choose(vl mask, vd yes, vd no)
{
#if LANES == 4
    return (vd)_mm256_blendv_pd((__m256d)no, (__m256d)yes, (__m256d)mask);
#else
    return (vd)((mask & (vl)yes) | (~mask & (vl)no));
#endif
}

INLINE vd larger(vd a, vd b)
{
#if LANES == 8
    return (vd)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif LANES == 4
    return (vd)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return choose((vl)(a > b), a, b);
#endif
}

INLINE vd root(vd a)
{
#if LANES == 8
    return (vd)_mm512_sqrt_pd((__m512d)a);
#elif LANES == 4
    return (vd)_mm256_sqrt_pd((__m256d)a);
#else
    for (int i = 0; i < LANES; ++i) a[i] = sqrt(a[i]);
    return a;
#endif
}

INLINE double total(vd a)
{
#if LANES == 8
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
#elif LANES == 4
    return (a[0] + a[2]) + (a[1] + a[3]);
#else
    return a[0] + a[1];
#endif
}

INLINE double largest(vd a)
{
    double m = a[0];
    for (int i = 1; i < LANES; ++i) m = a[i] > m ? a[i] : m;
    return m;
}

INLINE int any_above(vd a, double limit)
{
#if LANES == 8
    return _mm512_cmp_pd_mask((__m512d)a, _mm512_set1_pd(limit), _CMP_GT_OQ) != 0;
#elif LANES == 4
    return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, _mm256_set1_pd(limit), _CMP_GT_OQ)) != 0;
#else
    return largest(a) > limit;
#endif
}

#define ABREAST 4   /* vectors that advance together, at most */

/* 1/sqrt(a) of k vectors at once, a > 0 within the range of floats: to some 1e-6 after one step of Newton, 1e-13 after two. */
INLINE void inverse_roots(const int k, const int steps, const vd *a, vd *y)
{
#if LANES == 2
    for (int i = 0; i < k; ++i) y[i] = splat(1.0) / root(a[i]);
#else
    for (int i = 0; i < k; ++i)
#if LANES == 8
        y[i] = (vd)_mm512_rsqrt14_pd((__m512d)a[i]);
#else
        y[i] = (vd)_mm256_cvtps_pd(_mm_rsqrt_ps(_mm256_cvtpd_ps((__m256d)a[i])));
#endif
    for (int step = 0; step < steps; ++step)
        for (int i = 0; i < k; ++i) y[i] *= splat(1.5) - splat(0.5) * a[i] * (y[i] * y[i]);
#endif
}

/* 2^t of k vectors, in place, for t <= 1023, relative error below 5e-16; everything below 2^-960 becomes 2^-960, which callers must
   be able to neglect (its products with coordinates are not yet denormal, which would be slow). Branch-free: t = j + f, |f| <= 1/2, a
   minimax polynomial of degree 10 for 2^f, and j added to the exponent bits. The vectors advance together, even and odd powers apart:
   what one waits for, another has. */
INLINE void exp2_vectors(const int k, vd *t)
{
    const vd magic = splat(0x1.8p52);
    vd j[ABREAST], s[ABREAST], even[ABREAST], odd[ABREAST];
    for (int i = 0; i < k; ++i) t[i] = larger(t[i], splat(-960.0));
    for (int i = 0; i < k; ++i) j[i] = t[i] + magic;
    for (int i = 0; i < k; ++i) t[i] -= j[i] - magic;
    for (int i = 0; i < k; ++i) s[i] = t[i] * t[i];
    for (int i = 0; i < k; ++i) even[i] = splat(0x1.e6063f7217bc6p-28) * s[i] + splat(0x1.62bfd47773353p-20);
    for (int i = 0; i < k; ++i) odd[i] = splat(0x1.b675bca4eeebbp-24) * s[i] + splat(0x1.ffcb54062e698p-17);
    for (int i = 0; i < k; ++i) even[i] = even[i] * s[i] + splat(0x1.430913096fd9fp-13);
    for (int i = 0; i < k; ++i) odd[i] = odd[i] * s[i] + splat(0x1.5d87fe9d7a584p-10);
    for (int i = 0; i < k; ++i) even[i] = even[i] * s[i] + splat(0x1.3b2ab6fba1ddap-7);
    for (int i = 0; i < k; ++i) odd[i] = odd[i] * s[i] + splat(0x1.c6b08d703ce49p-5);
    for (int i = 0; i < k; ++i) even[i] = even[i] * s[i] + splat(0x1.ebfbdff82c598p-3);
    for (int i = 0; i < k; ++i) odd[i] = odd[i] * s[i] + splat(0x1.62e42fefa3a19p-1);
    for (int i = 0; i < k; ++i) even[i] = even[i] * s[i] + splat(1.0);
    for (int i = 0; i < k; ++i) t[i] = even[i] + odd[i] * t[i];
    for (int i = 0; i < k; ++i) t[i] = (vd)((vl)t[i] + ((vl)j[i] << 52));
}

INLINE vd exp2_vector(vd t)
{
    exp2_vectors(1, &t);
    return t;
}

/* Sources are stored in packs of LANES: d vectors of coordinates, then one vector of log2 masses. */
#define PACK(d) ((d) + 1)
/* The log2 mass of a place that holds no source: its exponential is the neglected 2^-960. */
#define EMPTY (-1e300)

INLINE int pick_threads(int wanted, double work)
{
#ifdef _OPENMP
    /* below some hundred microseconds of work, starting threads costs more than it saves */
    return work < 2e5 ? 1 : wanted;
#else
    (void)wanted, (void)work;
    return 1;
#endif
}

/* Where the backward recurrence of modified Bessel functions of argument kappa may start, so that what it leaves out
   is below e^-depth relative to the sum: the order k with k^2/(2 kappa + 2 k/3) >= depth (a Bernstein bound on
   kappa + k asinh(k/kappa) - sqrt(k^2 + kappa^2)), or (kappa/2)^k <= e^-depth for small kappa. */
INLINE double start_order(double kappa, double depth)
{
    if (kappa < 0.5) return ceil(depth / log(2.0 / kappa)) + 1.0;
    return ceil(depth / 3.0 + sqrt(depth * depth / 9.0 + 2.0 * depth * kappa)) + 1.0;
}

/* Smaller arguments than this change no double; clamping avoids the division by zero. */
#define SMALLEST_KAPPA 1e-18
