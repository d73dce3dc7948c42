/* The sources' side: for every pair of cells the coefficients of the polynomial in z - z_0. */

#define TOGETHER 4       /* target cells that share one pass over a source cell */
#define CHUNK 32         /* vectors of sources of such a pass */
#define PASS 4096        /* vectors of monomials of such a pass */

/* Coordinates of e across the axis n, by the reflection that carries n to the first axis, and along it; see `unturn`. */
INLINE vd turn(const int d, int axis, const double *n, const vd *e, vd *u)
{
    if (!axis) {
        for (int k = 0; k < d; ++k) u[k] = e[k];
        return splat(0.0);
    }
    double sign = n[0] < 0.0 ? -1.0 : 1.0, factor = 1.0 / (1.0 + fabs(n[0]));   /* 2/|v|^2 = 1/(1 + |n_0|), v = n + sign e_0 */
    vd along = splat(0.0);
    for (int k = 0; k < d; ++k) along += e[k] * splat(n[k]);
    vd part = (along + splat(sign) * e[0]) * splat(factor);
    for (int k = 1; k < d; ++k) u[k - 1] = e[k] - part * splat(n[k]);
    return along;
}

INLINE void unturn(const int d, int axis, const double *n, const vd *u, vd along, vd *e)
{
    if (!axis) {
        for (int k = 0; k < d; ++k) e[k] = u[k];
        return;
    }
    /* the reflection of (-sign along, u) */
    double sign = n[0] < 0.0 ? -1.0 : 1.0, factor = 1.0 / (1.0 + fabs(n[0]));
    vd first = splat(-sign) * along, part = first * splat(n[0] + sign);
    for (int k = 1; k < d; ++k) part += u[k - 1] * splat(n[k]);
    part *= splat(factor);
    e[0] = first - part * splat(n[0] + sign);
    for (int k = 1; k < d; ++k) e[k] = u[k - 1] - part * splat(n[k]);
}

/* Bounds of a pair from the very points of its target cell, and its degrees. */
INLINE void measure(const int d, const Plan *plan, Pair *pair)
{
    const Cells *t = plan->target, *s = plan->source;
    const double *c = t->centre + pair->target * d, *n = s->normal + pair->source * d;
    if (!s->axis) return;
    vd wide = splat(0.0), high = splat(0.0);
    for (long j = t->cell[pair->target].first; j < t->cell[pair->target].last; j += LANES) {
        vd along = splat(0.0), rest = splat(0.0), e[d];
        for (int k = 0; k < d; ++k) e[k] = load(t->point + k * t->stride + j) - splat(c[k]), along += e[k] * splat(n[k]);
        for (int k = 0; k < d; ++k) rest += (e[k] - along * splat(n[k])) * (e[k] - along * splat(n[k]));
        vl mine = first_lanes(t->cell[pair->target].last - j);
        wide = larger(wide, choose(mine, rest, splat(0.0)));
        high = larger(high, choose(mine, larger(along, -along), splat(0.0)));
    }
    Sizes own = pair->sizes;
    double steep = sqrt(largest(wide)) * (1.0 + 1e-12) * s->cell[pair->source].across;
    double tall = largest(high) * (1.0 + 1e-12) * s->cell[pair->source].along;
    own.steep = steep < own.steep ? steep : own.steep, own.tall = tall < own.tall ? tall : own.tall;
    Degrees found;
    if (choose_degrees(&plan->mono, s->axis, plan->order, own, plan->tolerance, pair->allowed, &found))
        pair->sizes = own, pair->degrees = found;
}

/* Registers hold ROWS monomials for TOGETHER cells. */
#define ROWS (LANES == 8 ? 4 : 2)

/* The totals of eight vectors are added to `out`. */
INLINE void add_totals(const vd *a, double *out)
{
#if LANES == 8
    const vl even = {0, 8, 2, 10, 4, 12, 6, 14}, odd = {1, 9, 3, 11, 5, 13, 7, 15}, low = {0, 1, 8, 9, 4, 5, 12, 13},
             high = {2, 3, 10, 11, 6, 7, 14, 15}, first = {0, 1, 2, 3, 8, 9, 10, 11}, last = {4, 5, 6, 7, 12, 13, 14, 15};
    vd b[4], c[2];
    for (int i = 0; i < 4; ++i) b[i] = __builtin_shuffle(a[2 * i], a[2 * i + 1], even) + __builtin_shuffle(a[2 * i], a[2 * i + 1], odd);
    for (int i = 0; i < 2; ++i) c[i] = __builtin_shuffle(b[2 * i], b[2 * i + 1], low) + __builtin_shuffle(b[2 * i], b[2 * i + 1], high);
    vd all = __builtin_shuffle(c[0], c[1], first) + __builtin_shuffle(c[0], c[1], last);
    for (int i = 0; i < 8; ++i) out[i] += all[i];
#else
    for (int i = 0; i < 8; ++i) out[i] += total(a[i]);
#endif
}

/* sum[g][a] += sum_v mono[a][v] weight[g][v] for a below `count`, which is rounded up to whole eights. */
INLINE void multiply(const int cells, long count, long vectors, const vd *mono, const vd (*weight)[CHUNK], double *const *sum)
{
    for (long a = 0; a < count; a += 8) {
        vd acc[TOGETHER][8];
        for (int some = 0; some < 8; some += ROWS) {
            const vd *row = mono + (a + some) * CHUNK;
            vd part[TOGETHER][ROWS];
            for (int g = 0; g < cells; ++g)
                for (int i = 0; i < ROWS; ++i) part[g][i] = splat(0.0);
            for (long v = 0; v < vectors; ++v)
                for (int g = 0; g < cells; ++g)
                    for (int i = 0; i < ROWS; ++i) part[g][i] += row[i * CHUNK + v] * weight[g][v];
            for (int g = 0; g < cells; ++g)
                for (int i = 0; i < ROWS; ++i) acc[g][some + i] = part[g][i];
        }
        for (int g = 0; g < cells; ++g) add_totals(acc[g], sum[g] + a);
    }
}

/* What one thread works with. */
typedef struct { vd *mono; double *sum; } Bench;

/* For pairs of one source cell: sum_j 2^(l_j + <z_0, y_j - c> - top) eta_n^k eta^alpha over its sources in units of its sizes,
   and from that the polynomials; the degrees of the first pair are the largest. */
INLINE void moments(const int d, const Plan *plan, Pair *const *pair, int cells, Bench bench)
{
    const Cells *s = plan->source;
    const Monomials *m = &plan->mono;
    const long at = pair[0]->source;
    const Cell *cell = s->cell + at;
    const double *c = s->centre + at * d, *n = s->normal + at * d;
    double across = cell->across > 0.0 ? 1.0 / cell->across : 0.0, along = cell->along > 0.0 ? 1.0 / cell->along : 0.0;
    long size = m->start[pair[0]->degrees.p[0] + 1], whole = (size + 7) / 8 * 8, chunk = PASS / whole, powers = 0;
    chunk = chunk < 1 ? 1 : chunk > CHUNK ? CHUNK : chunk;
    vd weight[TOGETHER][CHUNK], tall[CHUNK], top[TOGETHER];
    double z[TOGETHER][d], *sum[TOGETHER];
    for (int g = 0; g < cells; ++g) {
        for (int k = 0; k < d; ++k) z[g][k] = LOG2_E * plan->target->centre[pair[g]->target * d + k];
        top[g] = splat(EMPTY);
        powers = pair[g]->degrees.powers > powers ? pair[g]->degrees.powers : powers;
    }
    const long stride = whole * (powers + 1);
    memset(bench.sum, 0, sizeof(double) * (size_t)(stride * cells));
    for (long j = cell->first; j < cell->last; j += LANES) {
        vl mine = first_lanes(cell->last - j);
        for (int g = 0; g < cells; ++g) {
            vd t = load(s->level + j);
            for (int k = 0; k < d; ++k) t += splat(z[g][k]) * (load(s->point + k * s->stride + j) - splat(c[k]));
            top[g] = larger(top[g], choose(mine, t, splat(EMPTY)));
        }
    }
    for (int g = 0; g < cells; ++g) pair[g]->top = largest(top[g]);
    for (long from = cell->first; from < cell->last; from += chunk * LANES) {
        long vectors = (cell->last - from + LANES - 1) / LANES;
        vectors = vectors < chunk ? vectors : chunk;
        for (long v = 0; v < vectors; ++v) {
            long j = from + v * LANES;
            vl mine = first_lanes(cell->last - j);
            vd level = load(s->level + j), e[d], u[d], *mono = bench.mono + v;
            for (int k = 0; k < d; ++k) e[k] = load(s->point + k * s->stride + j) - splat(c[k]);
            for (int g = 0; g < cells; ++g) {
                vd t = level - splat(pair[g]->top);
                for (int k = 0; k < d; ++k) t += splat(z[g][k]) * e[k];
                weight[g][v] = choose(mine, exp2_vector(choose(mine, t, splat(0.0))), splat(0.0));
            }
            tall[v] = choose(mine, turn(d, s->axis, n, e, u) * splat(along), splat(0.0));
            for (int k = 0; k < m->q; ++k) u[k] = choose(mine, u[k] * splat(across), splat(0.0));
            mono[0] = splat(1.0);
            for (long a = 1; a < size; ++a) mono[a * CHUNK] = mono[m->parent[a] * CHUNK] * u[m->variable[a]];
            for (long a = size; a < whole; ++a) mono[a * CHUNK] = splat(0.0);
        }
        for (long k = 0; k <= powers; ++k) {
            long count = 0;
            for (int g = 0; g < cells; ++g) {
                if (k <= pair[g]->degrees.powers && m->start[pair[g]->degrees.p[k] + 1] > count)
                    count = m->start[pair[g]->degrees.p[k] + 1];
                sum[g] = bench.sum + g * stride + k * whole;
            }
            switch (cells) {
            case 1: multiply(1, count, vectors, bench.mono, weight, sum); break;
            case 2: multiply(2, count, vectors, bench.mono, weight, sum); break;
            case 3: multiply(3, count, vectors, bench.mono, weight, sum); break;
            default: multiply(4, count, vectors, bench.mono, weight, sum);
            }
            if (k == powers) break;
            for (int g = 0; g < cells; ++g)
                for (long v = 0; v < vectors; ++v) weight[g][v] *= tall[v];
        }
    }
    for (int g = 0; g < cells; ++g) {
        const Degrees *degrees = &pair[g]->degrees;
        double *out = pair[g]->moment, factor = 1.0;
        pair[g]->mass = log2(bench.sum[g * stride]);
        for (int k = 0; k <= degrees->powers; ++k) {
            const double *from = bench.sum + g * stride + k * whole, *a = power[degrees->step][degrees->p[k]];
            const int p = degrees->p[k];
            if (m->q == 2) {   /* in the order in which Horner's scheme takes them: falling powers */
                for (int i = p; i >= 0; --i)
                    for (int j = p - i; j >= 0; --j) {
                        long at = m->start[i + j] + j;
                        *out++ = factor * a[i + j] * m->many[at] * from[at];
                    }
            } else if (m->q == 1)
                for (int i = p; i >= 0; --i) *out++ = factor * a[i] * from[i];
            else
                for (int l = 0; l <= p; ++l)
                    for (long i = m->start[l]; i < m->start[l + 1]; ++i) *out++ = factor * a[l] * m->many[i] * from[i];
            factor /= k + 1;
        }
    }
}
