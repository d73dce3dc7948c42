/* Eight doubles at a time, in the compiler's own vector type: AVX-512, AVX2 or NEON come out of the same text. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LANES 8
#define INLINE static inline __attribute__((always_inline))

typedef double vd __attribute__((vector_size(64)));
typedef long long vl __attribute__((vector_size(64)));

INLINE vd splat(double x) { return (vd){x, x, x, x, x, x, x, x}; }

INLINE vd choose(vl mask, vd yes, vd no) { return (vd)((mask & (vl)yes) | (~mask & (vl)no)); }

INLINE vd larger(vd a, vd b)
{
#ifdef __AVX512F__
    return (vd)_mm512_max_pd((__m512d)a, (__m512d)b);
#else
    return choose((vl)(a > b), a, b);
#endif
}

INLINE vd root(vd a)
{
#ifdef __AVX512F__
    return (vd)_mm512_sqrt_pd((__m512d)a);
#else
    for (int i = 0; i < LANES; ++i) a[i] = sqrt(a[i]);
    return a;
#endif
}

INLINE double total(vd a) { return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])); }

INLINE double largest(vd a)
{
    double m = a[0];
    for (int i = 1; i < LANES; ++i) m = a[i] > m ? a[i] : m;
    return m;
}

/* 2^t for t <= 1023, relative error below 4e-16; everything below 2^-960 becomes 2^-960, which callers must
   be able to neglect (its products with coordinates are not yet denormal, which would be slow). Branch-free: t = k + f, |f| <= 1/2, a minimax polynomial of degree 10 for 2^f, and k added
   to the exponent bits. */
INLINE vd exp2_vector(vd t)
{
    const vd magic = splat(0x1.8p52);
    t = larger(t, splat(-960.0));
    vd k = t + magic;
    vd f = t - (k - magic);
    vd p = splat(0x1.e6063f7217bc6p-28);
    p = p * f + splat(0x1.b675bca4eeebbp-24);
    p = p * f + splat(0x1.62bfd47773353p-20);
    p = p * f + splat(0x1.ffcb54062e698p-17);
    p = p * f + splat(0x1.430913096fd9fp-13);
    p = p * f + splat(0x1.5d87fe9d7a584p-10);
    p = p * f + splat(0x1.3b2ab6fba1ddap-7);
    p = p * f + splat(0x1.c6b08d703ce49p-5);
    p = p * f + splat(0x1.ebfbdff82c598p-3);
    p = p * f + splat(0x1.62e42fefa3a19p-1);
    p = p * f + splat(1.0);
    return (vd)((vl)p + ((vl)k << 52));
}

/* Sources are stored in packs of eight: d vectors of coordinates, then one vector of log2 masses. */
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
