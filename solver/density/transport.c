/* The transport operator of discontinuous Galerkin, eight cells at a time.

   Macros fixed at compile time: TDIM, GDIM, NDOF unknowns per cell, NQ cell points, NF facets per cell, NFQ points per facet,
   NN velocity nodes per cell, NFN per facet, NP check points, AFFINE.
   Arrays over cells are stored in blocks of L = 8 cells, the cell being the fastest index: [block][...][L]; incomplete blocks are
   padded with copies of the last cell. State vectors are plain [cell][NDOF].
   Every quantity of a facet is computed once and read by both its cells: the flux leaves one exactly as it enters the other. */

#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define L 8
#define NT (NF * NFQ)                      /* traces per cell */
#define NSYM (NDOF * (NDOF + 1) / 2)

typedef double vec __attribute__((vector_size(L * sizeof(double))));
typedef int64_t mask __attribute__((vector_size(L * sizeof(double))));
typedef int32_t ind __attribute__((vector_size(L * sizeof(int32_t))));

#define VEC(p) (*(const vec *)(p))
#define OUT(p) (*(vec *)(p))
#define ALL(i, n) _Pragma("GCC unroll 32") for (int i = 0; i < (n); i++)

static inline vec gather(const double *x, const int32_t *index) {
#if defined(__AVX512F__)
    return (vec)_mm512_i32gather_pd(_mm256_loadu_si256((const __m256i *)index), x, 8);
#else
    vec r;
    for (int l = 0; l < L; l++) r[l] = x[index[l]];
    return r;
#endif
}

static inline vec splat(double a) { return (vec){a, a, a, a, a, a, a, a}; }
static inline vec select_positive(vec s, vec a, vec b) { mask m = s > splat(0.0); return (vec)((m & (mask)a) | (~m & (mask)b)); }
static inline vec least(vec a, vec b) { mask m = a < b; return (vec)((m & (mask)a) | (~m & (mask)b)); }

/* Cells [first, first + L) of a state with `n` cells, transposed; lanes beyond n repeat the last cell. */
static inline void load(const double *state, int64_t first, int64_t n, vec *c) {
    int32_t index[L];
    const double *base = state + first * NDOF;
    for (int l = 0; l < L; l++) index[l] = (int32_t)((first + l < n ? l : n - 1 - first) * NDOF);
    ALL(i, NDOF) c[i] = gather(base + i, index);
}

static inline void store(double *state, int64_t first, int64_t n, const vec *c) {
    int lanes = first + L <= n ? L : (int)(n - first);
#if defined(__AVX512F__)
    if (lanes == L) {
        const __m256i index = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(NDOF));
        ALL(i, NDOF) _mm512_i32scatter_pd(state + first * NDOF + i, index, (__m512d)c[i], 8);
        return;
    }
#endif
    for (int l = 0; l < lanes; l++) ALL(i, NDOF) state[(first + l) * NDOF + i] = c[i][l];
}

/* Contravariant velocity w |J| J^+ X at the cell points, from X at the nodes; metric is [block][NQ unless AFFINE][TDIM][GDIM][L] and
   carries |J| (and w on curved cells). */
void cell_velocity(int64_t blocks, const int32_t *nodes, const double *X, const double *metric,
                   const double *phi, const double *weights, double *U) {
    for (int64_t b = 0; b < blocks; b++) {
        const int32_t *index = nodes + b * NN * L;
        double *u = U + b * NQ * TDIM * L;
#if AFFINE
        const double *g = metric + b * TDIM * GDIM * L;
        vec z[NN][TDIM];
        for (int n = 0; n < NN; n++) {
            vec x[GDIM];
            ALL(d, GDIM) x[d] = gather(X + d, index + n * L);
            ALL(a, TDIM) {
                vec s = VEC(g + (a * GDIM) * L) * x[0];
                for (int d = 1; d < GDIM; d++) s += VEC(g + (a * GDIM + d) * L) * x[d];
                z[n][a] = s;
            }
        }
        for (int q = 0; q < NQ; q++) {
            vec s[TDIM];
            ALL(a, TDIM) s[a] = phi[q * NN] * z[0][a];
            ALL(n, NN - 1) ALL(a, TDIM) s[a] += phi[q * NN + n + 1] * z[n + 1][a];
            ALL(a, TDIM) OUT(u + (q * TDIM + a) * L) = weights[q] * s[a];
        }
#else
        const double *g = metric + b * NQ * TDIM * GDIM * L;
        vec x[NN][GDIM];
        for (int n = 0; n < NN; n++) ALL(d, GDIM) x[n][d] = gather(X + d, index + n * L);
        for (int q = 0; q < NQ; q++) {
            vec s[GDIM];
            ALL(d, GDIM) s[d] = phi[q * NN] * x[0][d];
            ALL(n, NN - 1) ALL(d, GDIM) s[d] += phi[q * NN + n + 1] * x[n + 1][d];
            ALL(a, TDIM) {
                const double *row = g + (q * TDIM + a) * GDIM * L;
                vec t = VEC(row) * s[0];
                for (int d = 1; d < GDIM; d++) t += VEC(row + d * L) * s[d];
                OUT(u + (q * TDIM + a) * L) = t;
            }
        }
#endif
    }
}

/* Weighted normal speed w |dF| X.n at the facet points; normals are [block][NFQ unless AFFINE][GDIM][L]. */
void facet_speed(int64_t blocks, const int32_t *nodes, const double *X, const double *normals,
                 const double *phi, const double *weights, double *F) {
    for (int64_t b = 0; b < blocks; b++) {
        const int32_t *index = nodes + b * NFN * L;
#if AFFINE
        const double *g = normals + b * GDIM * L;
        vec z[NFN];
        ALL(n, NFN) {
            vec s = VEC(g) * gather(X, index + n * L);
            for (int d = 1; d < GDIM; d++) s += VEC(g + d * L) * gather(X + d, index + n * L);
            z[n] = s;
        }
        for (int q = 0; q < NFQ; q++) {
            vec s = phi[q * NFN] * z[0];
            ALL(n, NFN - 1) s += phi[q * NFN + n + 1] * z[n + 1];
            OUT(F + (b * NFQ + q) * L) = weights[q] * s;
        }
#else
        vec x[NFN][GDIM];
        ALL(n, NFN) ALL(d, GDIM) x[n][d] = gather(X + d, index + n * L);
        for (int q = 0; q < NFQ; q++) {
            const double *g = normals + (b * NFQ + q) * GDIM * L;
            vec s = splat(0.0);
            ALL(d, GDIM) {
                vec t = phi[q * NFN] * x[0][d];
                ALL(n, NFN - 1) t += phi[q * NFN + n + 1] * x[n + 1][d];
                s += VEC(g + d * L) * t;
            }
            OUT(F + (b * NFQ + q) * L) = s;
        }
#endif
    }
}

/* Values of the density at the facet points of all n cells, ghosts included: [block][NT][L]. */
void traces(int64_t n, const double *state, const double *facet_basis, double *T) {
    for (int64_t first = 0; first < n; first += L) {
        vec c[NDOF];
        load(state, first, n, c);
        double *t = T + first * NT;
        for (int k = 0; k < NT; k++) {
            vec s = facet_basis[k * NDOF] * c[0];
            ALL(i, NDOF - 1) s += facet_basis[k * NDOF + i + 1] * c[i + 1];
            OUT(t + k * L) = s;
        }
    }
}

/* out = inverse mass * (int rho X.grad v - upwind flux). across, speed: places of the neighbour's trace and of the facet's speed;
   sign: +1 where the facet's conormal points out of the cell, -1 where in, 0 on walls. */
void transport(int64_t n, const double *state, const double *U, const double *F, const double *T,
               const int32_t *across, const int32_t *speed, const double *sign, const double *inverse_mass,
               const double *basis, const double *gradient, const double *facet_basis, double *out) {
    for (int64_t first = 0; first < n; first += L) {
        const int64_t b = first / L;
        vec r[NDOF];
        ALL(i, NDOF) r[i] = splat(0.0);
#if NDOF > 1
        {
            vec c[NDOF];
            load(state, first, n, c);
            const double *u = U + b * NQ * TDIM * L;
            for (int q = 0; q < NQ; q++) {
                vec rho = basis[q * NDOF] * c[0];
                ALL(i, NDOF - 1) rho += basis[q * NDOF + i + 1] * c[i + 1];
                ALL(a, TDIM) {
                    const double *dv = gradient + (q * TDIM + a) * NDOF;
                    vec f = rho * VEC(u + (q * TDIM + a) * L);
                    ALL(i, NDOF - 1) r[i + 1] += dv[i + 1] * f;
                }
            }
        }
#endif
        const double *t = T + first * NT;
        for (int f = 0; f < NF; f++) {
            const vec s = VEC(sign + (b * NF + f) * L);
            ALL(q, NFQ) {
                const int k = f * NFQ + q;
                vec v = s * gather(F, speed + (b * NT + k) * L);
                vec flux = v * select_positive(v, VEC(t + k * L), gather(T, across + (b * NT + k) * L));
                const double *w = facet_basis + k * NDOF;
                ALL(i, NDOF) r[i] -= w[i] * flux;
            }
        }
#if AFFINE
        const vec m = VEC(inverse_mass + first);
        ALL(i, NDOF) r[i] *= m;
        store(out, first, n, r);
#else
        const double *m = inverse_mass + b * NSYM * L;
        vec o[NDOF];
        ALL(i, NDOF) {
            vec s = VEC(m + (i * (i + 1) / 2) * L) * r[0];
            ALL(j, NDOF - 1) {
                int k = j + 1;
                s += VEC(m + (k <= i ? i * (i + 1) / 2 + k : k * (k + 1) / 2 + i) * L) * r[k];
            }
            o[i] = s;
        }
        store(out, first, n, o);
#endif
    }
}

/* Largest outflow of a cell relative to its least measure: rates[0] over single facet points (speed / facet weight), rates[1] summed
   over the cell's facet points. */
void outflow(int64_t n, const double *F, const int32_t *speed, const double *sign, const double *facet_weights,
             const double *inverse_measure, double *rates) {
    vec point = splat(0.0), sum = splat(0.0);
    for (int64_t first = 0; first < n; first += L) {
        const int64_t b = first / L;
        const vec m = VEC(inverse_measure + first);
        vec p = splat(0.0), total = splat(0.0);
        for (int f = 0; f < NF; f++) {
            const vec s = VEC(sign + (b * NF + f) * L);
            ALL(q, NFQ) {
                vec v = s * gather(F, speed + (b * NT + f * NFQ + q) * L);
                v = select_positive(v, v, splat(0.0));
                p = -least(-p, -v / facet_weights[q]);
                total += v;
            }
        }
        point = -least(-point, -p * m);
        sum = -least(-sum, -total * m);
    }
    rates[0] = rates[1] = 0.0;
    for (int l = 0; l < L; l++) {
        if (point[l] > rates[0]) rates[0] = point[l];
        if (sum[l] > rates[1]) rates[1] = sum[l];
    }
}

/* Zhang-Shu scaling towards the cell average, in place: p <- mean + theta (p - mean) with the largest theta in [0, 1] that makes p >= 0
   at all check points. Averages in [-tiny, 0) are rounding and become 0. extremes: least average met, least and largest value at the check points
   afterwards, number of cells scaled. With scale = 0 only the extremes are computed. */
void limit(int64_t n, double *state, const double *mean, const double *check_basis, double constant, double tiny, int scale,
           double *extremes) {
    vec lowest = splat(1e300), bottom = splat(1e300), top = splat(-1e300);
    double scaled = 0.0;
    for (int64_t first = 0; first < n; first += L) {
        vec c[NDOF];
        load(state, first, n, c);
#if AFFINE
        vec average = c[0] * constant;
#else
        vec average = VEC(mean + first * NDOF) * c[0];
        ALL(i, NDOF - 1) average += VEC(mean + first * NDOF + (i + 1) * L) * c[i + 1];
#endif
        vec low = average, high = average;
        for (int k = 0; k < NP; k++) {
            vec s = check_basis[k * NDOF] * c[0];
            ALL(i, NDOF - 1) s += check_basis[k * NDOF + i + 1] * c[i + 1];
            low = least(low, s);
            high = -least(-high, -s);
        }
        lowest = least(lowest, average);
        if (scale) {
            int any = 0;
            ALL(l, L) any |= low[l] < 0.0;
            if (any) {
                for (int l = 0; l < L; l++) {
                    if (!(low[l] < 0.0)) continue;
                    double a = average[l];
                    /* a cell without mass, or with so little that its polynomial could not be scaled without losing its sign to
                       underflow; what lies below -tiny is reported and makes the step fail */
                    if (a <= 1e-290) {
                        if (a < -tiny) continue;
                        ALL(i, NDOF) c[i][l] = 0.0;
                        low[l] = high[l] = 0.0;
                    } else {
                        /* a hair short of touching zero, so that rounding cannot pull it below */
                        double theta = a / (a - low[l]) * (1.0 - 1e-12);
                        double flat = a / constant;
                        c[0][l] = flat + theta * (c[0][l] - flat);
                        ALL(i, NDOF - 1) c[i + 1][l] *= theta;
                        high[l] = a + theta * (high[l] - a);
                        low[l] = 0.0;
                    }
                    if (first + l < n) scaled += 1.0;
                }
                store(state, first, n, c);
            }
        }
        bottom = least(bottom, low);
        top = -least(-top, -high);
    }
    extremes[0] = extremes[1] = 1e300;
    extremes[2] = -1e300;
    for (int l = 0; l < L; l++) {
        if (lowest[l] < extremes[0]) extremes[0] = lowest[l];
        if (bottom[l] < extremes[1]) extremes[1] = bottom[l];
        if (top[l] > extremes[2]) extremes[2] = top[l];
    }
    extremes[3] = scaled;
}
