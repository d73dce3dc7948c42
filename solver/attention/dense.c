/* Every target against every source.

   For the target z (scaled by beta log2 e) and sources y_j with log2 masses l_j the results are, with t_j = l_j + z.y_j - shift,
       den = sum_j 2^t_j,   num = sum_j 2^t_j y_j.
   The shift is the largest possible exponent where that is certain not to underflow (`bounded`), else the running
   largest exponent over the tiles of sources. */

#define TARGETS 4   /* targets that share each load of a source */
#define TILE 64     /* packs of a tile: stays in the first-level cache */
#define STRIP 64    /* targets that share a tile */

/* Four targets against one tile. acc: [target][den, num_1..num_d]. */
INLINE void tile_bounded(const int d, const vd *pack, long packs, const double *z, const double *shift, vd *acc)
{
    for (long i = 0; i < packs; ++i, pack += PACK(d)) {
        vd e[TARGETS];
        for (int b = 0; b < TARGETS; ++b) e[b] = pack[d] - splat(shift[b]);
        for (int k = 0; k < d; ++k)
            for (int b = 0; b < TARGETS; ++b) e[b] += splat(z[b * d + k]) * pack[k];
        exp2_vectors(TARGETS, e);
        for (int b = 0; b < TARGETS; ++b) {
            vd *sum = acc + b * (d + 1);
            sum[0] += e[b];
            for (int k = 0; k < d; ++k) sum[k + 1] += e[b] * pack[k];
        }
    }
}

INLINE void tile_running(const int d, const vd *pack, long packs, const double *z, double *shift, vd *acc)
{
    vd top[TARGETS];
    for (int b = 0; b < TARGETS; ++b) top[b] = splat(EMPTY);
    for (long i = 0; i < packs; ++i)
        for (int b = 0; b < TARGETS; ++b) {
            vd t = pack[i * PACK(d) + d];
            for (int k = 0; k < d; ++k) t += splat(z[b * d + k]) * pack[i * PACK(d) + k];
            top[b] = larger(top[b], t);
        }
    for (int b = 0; b < TARGETS; ++b) {
        double now = largest(top[b]);
        if (now <= shift[b]) continue;
        vd scale = splat(exp2(shift[b] - now));
        for (int k = 0; k <= d; ++k) acc[b * (d + 1) + k] *= scale;
        shift[b] = now;
    }
    tile_bounded(d, pack, packs, z, shift, acc);
}

INLINE void strip(const int d, int bounded, long targets, const double *z, double *shift,
                  long packs, const vd *pack, double *num, double *den)
{
    vd acc_local[(d < 8 ? 8 : 1) * (STRIP + TARGETS)] __attribute__((aligned(64)));
    vd *acc = acc_local;
    if (d > 7) acc = aligned_alloc(64, sizeof(vd) * (size_t)(d + 1) * (STRIP + TARGETS));
    double zs[(STRIP + TARGETS) * (d < 8 ? 8 : d)], s[STRIP + TARGETS];
    for (long b = 0; b < targets + TARGETS; ++b) {
        long from = b < targets ? b : targets - 1;   /* the last four are filled up with copies */
        for (int k = 0; k < d; ++k) zs[b * d + k] = z[from * d + k];
        s[b] = bounded ? shift[from] : EMPTY;
    }
    memset(acc, 0, sizeof(vd) * (size_t)(d + 1) * (STRIP + TARGETS));
    for (long first = 0; first < packs; first += TILE) {
        long count = packs - first < TILE ? packs - first : TILE;
        for (long b = 0; b < targets; b += TARGETS)
            if (bounded)
                tile_bounded(d, pack + first * PACK(d), count, zs + b * d, s + b, acc + b * (d + 1));
            else
                tile_running(d, pack + first * PACK(d), count, zs + b * d, s + b, acc + b * (d + 1));
    }
    for (long b = 0; b < targets; ++b) {
        den[b] = total(acc[b * (d + 1)]);
        for (int k = 0; k < d; ++k) num[b * d + k] = total(acc[b * (d + 1) + k + 1]);
        shift[b] = s[b];
    }
    if (acc != acc_local) free(acc);
}

static void strip_1(int bounded, long n, const double *z, double *s, long m, const vd *y, double *num, double *den)
{ if (bounded) strip(1, 1, n, z, s, m, y, num, den); else strip(1, 0, n, z, s, m, y, num, den); }
static void strip_2(int bounded, long n, const double *z, double *s, long m, const vd *y, double *num, double *den)
{ if (bounded) strip(2, 1, n, z, s, m, y, num, den); else strip(2, 0, n, z, s, m, y, num, den); }
static void strip_3(int bounded, long n, const double *z, double *s, long m, const vd *y, double *num, double *den)
{ if (bounded) strip(3, 1, n, z, s, m, y, num, den); else strip(3, 0, n, z, s, m, y, num, den); }
static void strip_4(int bounded, long n, const double *z, double *s, long m, const vd *y, double *num, double *den)
{ if (bounded) strip(4, 1, n, z, s, m, y, num, den); else strip(4, 0, n, z, s, m, y, num, den); }

/* z (n, d), shift (n,) in: the bound, out: the shift used; pack: m packs; num (n, d), den (n,). */
void coldflow_dense(int d, int bounded, long n, const double *z, double *shift, long m, const double *packed,
                    double *num, double *den, int threads)
{
    const vd *pack = (const vd *)packed;
    threads = pick_threads(threads, (double)n * m * LANES);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long b = 0; b < n; b += STRIP) {
        long count = n - b < STRIP ? n - b : STRIP;
        const double *zb = z + b * d;
        double *sb = shift + b, *nb = num + b * d, *db = den + b;
        switch (d) {
        case 1: strip_1(bounded, count, zb, sb, m, pack, nb, db); break;
        case 2: strip_2(bounded, count, zb, sb, m, pack, nb, db); break;
        case 3: strip_3(bounded, count, zb, sb, m, pack, nb, db); break;
        case 4: strip_4(bounded, count, zb, sb, m, pack, nb, db); break;
        default: strip(d, bounded, count, zb, sb, m, pack, nb, db);
        }
    }
}

/* Zero temperature: the mean, weighted by mass, of the sources whose z.y is within `tie` |z| of the largest.
   level: the largest z.y. den: their mass (relative to the unit the masses were packed in). */
void coldflow_hardmax(int d, long n, const double *z, double tie, double radius, long m, const double *packed,
                      double *num, double *den, double *level, int threads)
{
    const vd *pack = (const vd *)packed;
    threads = pick_threads(threads, (double)n * m * LANES);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads) if (threads > 1)
    for (long i = 0; i < n; ++i) {
        vd top = splat(-INFINITY), sum[d + 1];
        double norm = 0;
        for (int k = 0; k < d; ++k) norm += z[i * d + k] * z[i * d + k];
        for (int pass = 0; pass < 2; ++pass) {
            vd limit = splat(largest(top) - tie * radius * sqrt(norm));
            if (pass) memset(sum, 0, sizeof sum);
            for (long j = 0; j < m; ++j) {
                const vd *y = pack + j * PACK(d);
                vd t = splat(0.0);
                for (int k = 0; k < d; ++k) t += splat(z[i * d + k]) * y[k];
                t = choose((vl)(y[d] > splat(0.5 * EMPTY)), t, splat(-INFINITY));
                if (!pass) {
                    top = larger(top, t);
                    continue;
                }
                vl tied = (vl)(t >= limit);
                int any = 0;
                for (int lane = 0; lane < LANES; ++lane) any |= tied[lane] != 0;
                if (!any) continue;
                vd e = choose(tied, exp2_vector(y[d]), splat(0.0));
                sum[0] += e;
                for (int k = 0; k < d; ++k) sum[k + 1] += e * y[k];
            }
        }
        den[i] = total(sum[0]);
        level[i] = largest(top);
        for (int k = 0; k < d; ++k) num[i * d + k] = total(sum[k + 1]);
    }
}

/* y (n, d) and log2 masses l (n,), taken in the order given by `order` (or as they are, if null), into `packs` packs;
   the places beyond n are left empty. */
void coldflow_pack(int d, long n, const double *y, const double *l, const long *order, long packs, double *packed)
{
    for (long j = 0; j < packs * LANES; ++j) {
        double *pack = packed + j / LANES * LANES * PACK(d) + j % LANES;
        long from = j < n ? (order ? order[j] : j) : -1;
        for (int k = 0; k < d; ++k) pack[k * LANES] = from < 0 ? 0.0 : y[from * d + k];
        pack[d * LANES] = from < 0 || l[from] < EMPTY ? EMPTY : l[from];
    }
}

INLINE void matrix_rows(const int d, long n, const double *x, const double *matrix, double *out)
{
    for (long i = 0; i < n; ++i, x += d, out += d)
        for (int k = 0; k < d; ++k) {
            double sum = 0.0;
            for (int j = 0; j < d; ++j) sum += x[j] * matrix[j * d + k];
            out[k] = sum;
        }
}

/* out (n, d): x (n, d) times matrix (d, d). */
void coldflow_turn(int d, long n, const double *x, const double *matrix, double *out)
{
    if (d == 2) matrix_rows(2, n, x, matrix, out);
    else if (d == 3) matrix_rows(3, n, x, matrix, out);
    else matrix_rows(d, n, x, matrix, out);
}
