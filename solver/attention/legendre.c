/* Sums over the rows of a grid on the sphere against Legendre functions P_lm of mean square one, and back. With s = sin(theta),
       P_mm = N_m s^m,   N_m^2 = (3/2) (5/4) .. (2m+1)/(2m),
       P_{l+1,m} = (cos(theta) P_lm - b_l P_{l-1,m}) / b_{l+1},   b_l^2 = (l^2 - m^2)/(4 l^2 - 1),
   so that P_lm(pi - theta) = (-1)^{l-m} P_lm(theta) and, as functions on the whole circle, P_lm(-theta) = (-1)^m P_lm(theta). Rows are
   theta_j = pi j/half for j = 0 .. half/2, half even; those beyond follow from the symmetries. */

#define UNSEEN 1e-22   /* P_lm below this, which then grow with l, change no sum */

/* P_lm, l = m .. degree, of WIDTH vectors of rows: (degree - m + 1, WIDTH). ratio: b_l and 1/b_l. Starting values below TINY have no
   part at the degrees used: P_lm is negligible for m > l s by more than a few l^{1/3}, and they would be denormal. */
INLINE void legendre_rows(long m, long degree, double norm, const double *angle, long count, const double *ratio, vd *p)
{
    vd x[WIDTH], less[WIDTH], now[WIDTH], before[WIDTH];
    for (int v = 0; v < WIDTH; ++v)
        for (int lane = 0; lane < LANES; ++lane) {
            long j = v * LANES + lane < count ? v * LANES + lane : count - 1;
            double power = norm * pow(angle[3 * j + 2], (double)m);
            x[v][lane] = angle[3 * j], less[v][lane] = angle[3 * j + 1];
            now[v][lane] = power > TINY ? power : 0.0, before[v][lane] = 0.0;
        }
    for (long l = 0; l <= degree - m; ++l) {
        vd b = splat(ratio[2 * l]), inverse = splat(ratio[2 * l + 3]);
        for (int v = 0; v < WIDTH; ++v) {
            p[l * WIDTH + v] = now[v];
            vd next = (x[v] * now[v] - (less[v] * now[v] + b * before[v])) * inverse;
            before[v] = now[v];
            now[v] = next;
        }
    }
}

INLINE void legendre_ratios(long m, long degree, double *ratio)
{
    for (long l = m; l <= degree + 1; ++l) {
        double b = sqrt((double)(l * l - m * m) / (4.0 * (double)(l * l) - 1.0));
        ratio[2 * (l - m)] = l > m ? b : 0.0, ratio[2 * (l - m) + 1] = l > m ? 1.0 / b : 0.0;
    }
}

/* norm (degree + 1,), angle (half/2 + 1, 3): of each row cos(theta) as a difference of two numbers, and sin(theta); the last one is
   the equator. Near the pole the difference is 1 - 2 sin^2(theta/2): cos itself, rounded, would shift the row by 1e-16/theta. */
static void legendre_tables(long degree, long half, double *norm, double *angle)
{
    norm[0] = 1.0;
    for (long m = 1; m <= degree; ++m) norm[m] = norm[m - 1] * sqrt((2.0 * m + 1.0) / (2.0 * m));
    for (long j = 0; j <= half / 2; ++j) {
        double theta = M_PI * (double)j / (double)half;
        int near = 4 * j < half;
        angle[3 * j] = near ? 1.0 : 2 * j == half ? 0.0 : cos(theta);
        angle[3 * j + 1] = near ? 2.0 * sin(0.5 * theta) * sin(0.5 * theta) : 0.0;
        angle[3 * j + 2] = sin(theta);
    }
}

/* coefficient (degree + 1 orders m, degree + 1 degrees l, 2), zero for l < m: sums over the rows of P_lm times
   data (degree + 1, 4, half/2 + 1): real and imaginary parts of what is even about the equator, then of what is odd. */
void coldflow_legendre_analysis(long degree, long half, const double *data, double *coefficient, int threads)
{
    long rows = half / 2 + 1, block = WIDTH * LANES;
    double *norm = malloc(sizeof(double) * (size_t)(degree + 1)), *angle = malloc(sizeof(double) * 3 * (size_t)rows);
    legendre_tables(degree, half, norm, angle);
    threads = pick_threads(threads, (double)rows * degree * degree / 4);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        vd *p = aligned_alloc(64, sizeof(vd) * WIDTH * (size_t)(degree + 2));
        vd *sum = aligned_alloc(64, sizeof(vd) * 2 * (size_t)(degree + 1));
        double *ratio = malloc(sizeof(double) * 2 * (size_t)(degree + 2));
#pragma omp for schedule(dynamic)
        for (long m = 0; m <= degree; ++m) {
            legendre_ratios(m, degree, ratio);
            memset(sum, 0, sizeof(vd) * 2 * (size_t)(degree + 1));
            for (long j = 0; j < rows; j += block) {
                long count = rows - j < block ? rows - j : block;
                vd given[4][WIDTH];
                for (int part = 0; part < 4; ++part)
                    for (int v = 0; v < WIDTH; ++v)
                        for (int lane = 0; lane < LANES; ++lane) {
                            long at = v * LANES + lane;
                            given[part][v][lane] = at < count ? data[(4 * m + part) * rows + j + at] : 0.0;
                        }
                legendre_rows(m, degree, norm[m], angle + 3 * j, count, ratio, p);
                for (long l = 0; l <= degree - m; ++l) {
                    const vd *re = given[2 * (l % 2)], *im = given[2 * (l % 2) + 1], *q = p + l * WIDTH;
                    sum[2 * l] += (q[0] * re[0] + q[1] * re[1]) + (q[2] * re[2] + q[3] * re[3]);
                    sum[2 * l + 1] += (q[0] * im[0] + q[1] * im[1]) + (q[2] * im[2] + q[3] * im[3]);
                }
            }
            double *out = coefficient + 2 * m * (degree + 1);
            memset(out, 0, sizeof(double) * 2 * (size_t)m);
            for (long l = 0; l < 2 * (degree - m + 1); ++l) out[2 * m + l] = total(sum[l]);
        }
        free(p), free(sum), free(ratio);
    }
    free(norm), free(angle);
}

/* value (4 fields, degree + 1 orders, half + 1 rows, 2), from pole to pole: sums over l of P_lm times coefficient (degree + 1 orders,
   degree + 1 degrees, 4, 2). */
void coldflow_legendre_synthesis(long degree, long half, const double *coefficient, double *value, int threads)
{
    long rows = half / 2 + 1, block = WIDTH * LANES;
    double *norm = malloc(sizeof(double) * (size_t)(degree + 1)), *angle = malloc(sizeof(double) * 3 * (size_t)rows);
    legendre_tables(degree, half, norm, angle);
    threads = pick_threads(threads, (double)rows * degree * degree);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        vd *p = aligned_alloc(64, sizeof(vd) * WIDTH * (size_t)(degree + 2));
        double *ratio = malloc(sizeof(double) * 2 * (size_t)(degree + 2));
#pragma omp for schedule(dynamic)
        for (long m = 0; m <= degree; ++m) {
            legendre_ratios(m, degree, ratio);
            for (long j = 0; j < rows; j += block) {
                long count = rows - j < block ? rows - j : block;
                legendre_rows(m, degree, norm[m], angle + 3 * j, count, ratio, p);
                for (int field = 0; field < 4; ++field) {
                    const double *c = coefficient + 8 * (m * (degree + 1) + m) + 2 * field;
                    vd re[2][WIDTH], im[2][WIDTH];
                    for (int odd = 0; odd < 2; ++odd) {
                        for (int v = 0; v < WIDTH; ++v) re[odd][v] = im[odd][v] = splat(0.0);
                        for (long l = odd; l <= degree - m; l += 2)
                            for (int v = 0; v < WIDTH; ++v) {
                                re[odd][v] += splat(c[8 * l]) * p[l * WIDTH + v];
                                im[odd][v] += splat(c[8 * l + 1]) * p[l * WIDTH + v];
                            }
                    }
                    double *out = value + 2 * (field * (degree + 1) + m) * (half + 1);
                    for (long at = 0; at < count; ++at) {
                        int v = (int)(at / LANES), lane = (int)(at % LANES);
                        long north = j + at, south = half - north;
                        out[2 * north] = re[0][v][lane] + re[1][v][lane], out[2 * north + 1] = im[0][v][lane] + im[1][v][lane];
                        out[2 * south] = re[0][v][lane] - re[1][v][lane], out[2 * south + 1] = im[0][v][lane] - im[1][v][lane];
                    }
                }
            }
        }
        free(p), free(ratio);
    }
    free(norm), free(angle);
}

#define PIECE 32   /* degrees of one parity that are summed while their terms are at hand */

/* To sum[field][part][v], two fields and two vectors of rows, is added what `size` terms (size, WIDTH) give with coefficients
   c (size, 16). */
INLINE void add_pairs(long size, const double *c, const vd *term, vd sum[][2][WIDTH], int v)
{
    vd a = sum[0][0][v], b = sum[0][0][v + 1], d = sum[0][1][v], e = sum[0][1][v + 1];
    vd f = sum[1][0][v], g = sum[1][0][v + 1], h = sum[1][1][v], i = sum[1][1][v + 1];
    for (long l = 0; l < size; ++l, c += 16, term += WIDTH) {
        vd first = splat(c[0]), second = splat(c[1]), third = splat(c[2]), fourth = splat(c[3]);
        a += first * term[0], b += first * term[1], d += second * term[0], e += second * term[1];
        f += third * term[0], g += third * term[1], h += fourth * term[0], i += fourth * term[1];
    }
    sum[0][0][v] = a, sum[0][0][v + 1] = b, sum[0][1][v] = d, sum[0][1][v + 1] = e;
    sum[1][0][v] = f, sum[1][0][v + 1] = g, sum[1][1][v] = h, sum[1][1][v + 1] = i;
}

/* As synthesis, for rows j = first .. first + count - 1 <= half/2, count <= WIDTH LANES, and the same rows counted from the other pole,
   with the coefficients times i_l(kappa) e^-kappa for `nodes` values of kappa in each row: kappa (count, nodes).
   value (2 poles, count, nodes, 4 fields, degree + 1 orders, 2). Degrees beyond last (nodes,) are left out; top: the order from which
   the Bessel functions are computed, downwards. */
void coldflow_legendre_scaled(long degree, long half, long first, long count, long nodes, const double *kappa, const long *last,
                              long top, const double *coefficient, double *value, int threads)
{
    double *norm = malloc(sizeof(double) * (size_t)(degree + 1)), *angle = malloc(sizeof(double) * 3 * (size_t)(half / 2 + 1));
    long most = 0;
    for (long q = 0; q < nodes; ++q) most = last[q] > most ? last[q] : most;
    vd *bessel = aligned_alloc(64, sizeof(vd) * WIDTH * (size_t)(nodes * (most + 1)));
    double *silence = calloc((size_t)(most + 1), sizeof(double));   /* no rounding is wanted */
    legendre_tables(degree, half, norm, angle);
    for (long q = 0; q < nodes; ++q)
        for (int v = 0; v < WIDTH; ++v) {
            vd inverse = splat(1.0), sum, quiet, *out = bessel + q * (most + 1) * WIDTH + v;
            for (int lane = 0; lane < LANES; ++lane) {
                long at = v * LANES + lane < count ? v * LANES + lane : count - 1;
                inverse[lane] = 1.0 / kappa[at * nodes + q];
            }
            sphere_bessel(inverse, splat((double)top), top, most, silence, out, WIDTH, &sum, &quiet);
            for (long l = 0; l <= most; ++l) out[l * WIDTH] /= sum;
        }
    threads = pick_threads(threads, 8.0 * nodes * most * most);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        vd *p = aligned_alloc(64, sizeof(vd) * WIDTH * (size_t)(most + 2));
        double *ratio = malloc(sizeof(double) * 2 * (size_t)(most + 2));
#pragma omp for schedule(dynamic)
        for (long m = 0; m <= degree; ++m) {
            long terms = most - m + 1, begin = 0;
            if (terms > 0) {
                legendre_ratios(m, most, ratio);
                legendre_rows(m, most, norm[m], angle + 3 * first, count, ratio, p);
            }
            for (; begin < terms; ++begin) {
                vd size = splat(0.0);
                for (int v = 0; v < WIDTH; ++v) size = larger(size, larger(p[begin * WIDTH + v], -p[begin * WIDTH + v]));
                if (any_above(size, UNSEEN)) break;
            }
            for (long q = 0; q < nodes; ++q) {
                vd sum[2][4][2][WIDTH];   /* parity, field, real and imaginary part */
                for (int k = 0; k < 16 * WIDTH; ++k) (&sum[0][0][0][0])[k] = splat(0.0);
                const vd *scale = bessel + (q * (most + 1) + m) * WIDTH;
                const long end = last[q] - m + 1;
                for (long l = begin; l < end; l += 2 * PIECE)
                    for (int odd = 0; odd < 2; ++odd) {
                        vd term[PIECE * WIDTH];
                        long from = l + (l + odd) % 2, to = l + 2 * PIECE < end ? l + 2 * PIECE : end, size = 0;
                        for (long k = from; k < to; k += 2, ++size)
                            for (int v = 0; v < WIDTH; ++v) term[size * WIDTH + v] = p[k * WIDTH + v] * scale[k * WIDTH + v];
                        const double *c = coefficient + 8 * (m * (degree + 1) + m + from);
                        for (int field = 0; field < 4; field += 2)
                            for (int v = 0; v < WIDTH; v += 2) add_pairs(size, c + 2 * field, term + v, sum[odd] + field, v);
                    }
                for (long at = 0; at < count; ++at)
                    for (int field = 0; field < 4; ++field) {
                        long v = at / LANES, lane = at % LANES;
                        double *north = value + 2 * (((at * nodes + q) * 4 + field) * (degree + 1) + m);
                        double *south = north + 8 * count * nodes * (degree + 1);
                        for (int part = 0; part < 2; ++part) {
                            double even = sum[0][field][part][v][lane], odd = sum[1][field][part][v][lane];
                            north[part] = even + odd, south[part] = even - odd;
                        }
                    }
            }
        }
        free(p), free(ratio);
    }
    free(norm), free(angle), free(bessel), free(silence);
}
