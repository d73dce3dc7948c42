/* Every target against every source, with a quadratic moment for the divergence of the attention field.

   Sources carry, beside their coordinates y_j, a number g_j; targets carry, beside z (scaled by beta log2 e), a vector a
   (scaled by log 2). With t_j = l_j + z.y_j - shift, l_j the log2 masses,
       den = sum_j 2^t_j,   num = sum_j 2^t_j y_j,   quad = sum_j 2^t_j (g_j - (z.y_j) (a.y_j)).
   Packs hold d coordinates, g, then the log2 masses. Tiles and strips are those of dense.c. */

/* acc: [target][den, num_1..num_d, quad]. */
INLINE void quadratic_tile(const int d, int running, const vd *pack, long packs, const double *z, const double *a, double *shift,
                           vd *acc)
{
    const int size = PACK(d + 1), sums = d + 2;
    if (running)
        for (int b = 0; b < TARGETS; ++b) {
            vd top = splat(EMPTY);
            for (long i = 0; i < packs; ++i) {
                vd t = pack[i * size + d + 1];
                for (int k = 0; k < d; ++k) t += splat(z[b * d + k]) * pack[i * size + k];
                top = larger(top, t);
            }
            double now = largest(top);
            if (now <= shift[b]) continue;
            vd scale = splat(exp2(shift[b] - now));
            for (int k = 0; k < sums; ++k) acc[b * sums + k] *= scale;
            shift[b] = now;
        }
    for (long i = 0; i < packs; ++i, pack += size)
        for (int b = 0; b < TARGETS; ++b) {
            vd t = splat(z[b * d]) * pack[0], s = splat(a[b * d]) * pack[0];
            for (int k = 1; k < d; ++k) {
                t += splat(z[b * d + k]) * pack[k];
                s += splat(a[b * d + k]) * pack[k];
            }
            vd e = exp2_vector(t + (pack[d + 1] - splat(shift[b])));
            vd *sum = acc + b * sums;
            sum[0] += e;
            for (int k = 0; k < d; ++k) sum[k + 1] += e * pack[k];
            sum[d + 1] += e * (pack[d] - t * s);
        }
}

INLINE void quadratic_strip(const int d, int running, long targets, const double *z, const double *a, double *shift, long packs,
                            const vd *pack, double *num, double *den, double *quad)
{
    const int sums = d + 2;
    vd *acc = aligned_alloc(64, sizeof(vd) * (size_t)sums * (STRIP + TARGETS));
    double *zs = malloc(sizeof(double) * (size_t)(2 * d + 1) * (STRIP + TARGETS));
    double *as = zs + d * (STRIP + TARGETS), *s = as + d * (STRIP + TARGETS);
    for (long b = 0; b < targets + TARGETS; ++b) {
        long from = b < targets ? b : targets - 1;   /* the last four are filled up with copies */
        for (int k = 0; k < d; ++k) zs[b * d + k] = z[from * d + k], as[b * d + k] = a[from * d + k];
        s[b] = running ? EMPTY : shift[from];
    }
    memset(acc, 0, sizeof(vd) * (size_t)sums * (STRIP + TARGETS));
    for (long first = 0; first < packs; first += TILE) {
        long count = packs - first < TILE ? packs - first : TILE;
        for (long b = 0; b < targets; b += TARGETS)
            quadratic_tile(d, running, pack + first * PACK(d + 1), count, zs + b * d, as + b * d, s + b, acc + b * sums);
    }
    for (long b = 0; b < targets; ++b) {
        den[b] = total(acc[b * sums]);
        for (int k = 0; k < d; ++k) num[b * d + k] = total(acc[b * sums + k + 1]);
        quad[b] = total(acc[b * sums + d + 1]);
        shift[b] = s[b];
    }
    free(acc), free(zs);
}

/* z (n, d), a (n, d), shift (n,) in: a bound of the exponents, out: the shift used (`bounded`: the same); packed: m packs;
   num (n, d), den (n,), quad (n,). */
void coldflow_quadratic(int d, int bounded, long n, const double *z, const double *a, double *shift, long m, const double *packed,
                        double *num, double *den, double *quad, int threads)
{
    const vd *pack = (const vd *)packed;
    threads = pick_threads(threads, (double)n * m * LANES);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long b = 0; b < n; b += STRIP) {
        long count = n - b < STRIP ? n - b : STRIP;
        const double *zb = z + b * d, *ab = a + b * d;
        double *sb = shift + b, *nb = num + b * d, *db = den + b, *qb = quad + b;
        if (d == 2) {
            if (bounded) quadratic_strip(2, 0, count, zb, ab, sb, m, pack, nb, db, qb);
            else quadratic_strip(2, 1, count, zb, ab, sb, m, pack, nb, db, qb);
        } else if (d == 3) {
            if (bounded) quadratic_strip(3, 0, count, zb, ab, sb, m, pack, nb, db, qb);
            else quadratic_strip(3, 1, count, zb, ab, sb, m, pack, nb, db, qb);
        } else
            quadratic_strip(d, !bounded, count, zb, ab, sb, m, pack, nb, db, qb);
    }
}

/* out_i = y_i^T M y_i - (z_i.y_i)(a_i.y_i) for y, z, a (n, d) and M (d, d); z NULL: without the second part. */
INLINE void forms(const int d, long n, const double *matrix, const double *y, const double *z, const double *a, double *out)
{
    for (long i = 0; i < n; ++i, y += d) {
        double sum = 0.0;
        for (int j = 0; j < d; ++j) sum += y[j] * dot(d, matrix + j * d, y);
        out[i] = z ? sum - dot(d, z + i * d, y) * dot(d, a + i * d, y) : sum;
    }
}

void coldflow_forms(int d, long n, const double *matrix, const double *y, const double *z, const double *a, double *out)
{
    if (d == 2) forms(2, n, matrix, y, z, a, out);
    else if (d == 3) forms(3, n, matrix, y, z, a, out);
    else forms(d, n, matrix, y, z, a, out);
}
