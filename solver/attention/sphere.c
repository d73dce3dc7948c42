/* Spherical harmonic expansion of the kernel on the sphere. With z = kappa (direction x), i_l the modified spherical
   Bessel function and P_lm the Legendre functions with mean square one,
       e^{<z,y>} = sum_l i_l(kappa) sum_m Y_lm(x) conj(Y_lm(y)),   Y_lm = P_lm(x_3) e^{im alpha}.
   P_lm = N_m s^m A_lm p, where s = sin(theta) and p is the monic polynomial with
       p_{l+1} = x_3 p_l - (l^2 - m^2)/(4 l^2 - 1) p_{l-1};
   factors N_m A_lm are left to the coefficients, s^m e^{im alpha} = (x_1 + i x_2)^m needs no trigonometry. */

#define SPHERE_CHUNKS 16
#define BUNCH 16              /* blocks of sources or targets that share one order m */
#define BESIDE (LANES == 8 ? 2 : 1)   /* vectors of targets whose sums are kept in registers */
#define MOST_FIELDS 5
#define TINY 1e-280           /* powers s^m below this carry nothing at the degrees used, and would be denormal */

/* Row m of a triangle of degrees 0 .. degree: entries l = m .. degree. */
INLINE long row(long m, long degree) { return m * (degree + 1) - m * (m - 1) / 2; }

static double *recurrence(long degree)
{
    double *beta = malloc(sizeof(double) * (size_t)row(degree + 1, degree));
    for (long m = 0; m <= degree; ++m)
        for (long l = m; l <= degree; ++l)
            beta[row(m, degree) + l - m] = (double)(l * l - m * m) / (double)(4 * l * l - 1);
    return beta;
}

/* raw: (triangle, 2) sums over sources y (n, 3) of w (y_1 - i y_2)^m p_l(y_3); the order of the sums depends on n only. */
void coldflow_sphere_sources(long n, const double *y, const double *w, long degree, double *raw, int threads)
{
    long chunks = n / 2048 + 1 < SPHERE_CHUNKS ? n / 2048 + 1 : SPHERE_CHUNKS, size = 2 * row(degree + 1, degree);
    double *parts = calloc((size_t)(size * chunks), sizeof(double)), *beta = recurrence(degree);
    threads = pick_threads(threads, (double)n * degree * degree / 4);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long chunk = 0; chunk < chunks; ++chunk) {
        double *part = parts + size * chunk;
        long end = n * (chunk + 1) / chunks;
        vd *sum = aligned_alloc(64, sizeof(vd) * 2 * (size_t)(degree + 1));
        vd x[BUNCH][WIDTH], er[BUNCH][WIDTH], ei[BUNCH][WIDTH], gr[BUNCH][WIDTH], gi[BUNCH][WIDTH];
        for (long j = n * chunk / chunks; j < end; j += BUNCH * WIDTH * LANES) {
            long bunches = (end - j + WIDTH * LANES - 1) / (WIDTH * LANES);
            bunches = bunches < BUNCH ? bunches : BUNCH;
            for (long b = 0; b < bunches; ++b)
                for (int v = 0; v < WIDTH; ++v) {
                    gr[b][v] = gi[b][v] = er[b][v] = ei[b][v] = x[b][v] = splat(0.0);
                    for (int lane = 0; lane < LANES; ++lane) {
                        long at = j + (b * WIDTH + v) * LANES + lane;
                        if (at >= end) continue;
                        const double *p = y + 3 * at;
                        double inverse = 1.0 / sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
                        er[b][v][lane] = p[0] * inverse, ei[b][v][lane] = -p[1] * inverse;
                        x[b][v][lane] = p[2] * inverse, gr[b][v][lane] = w[at];
                    }
                }
            for (long m = 0; m <= degree; ++m) {
                const double *bm = beta + row(m, degree);
                long terms = degree - m + 1;
                memset(sum, 0, sizeof(vd) * 2 * (size_t)terms);
                for (long b = 0; b < bunches; ++b) {
                    vd p[WIDTH], before[WIDTH];
                    for (int v = 0; v < WIDTH; ++v) p[v] = splat(1.0), before[v] = splat(0.0);
                    for (long l = 0; l < terms; ++l) {
                        vd re = sum[2 * l], im = sum[2 * l + 1], factor = splat(bm[l]);
                        for (int v = 0; v < WIDTH; ++v) {
                            re += p[v] * gr[b][v];
                            im += p[v] * gi[b][v];
                            vd next = x[b][v] * p[v] - factor * before[v];
                            before[v] = p[v];
                            p[v] = next;
                        }
                        sum[2 * l] = re, sum[2 * l + 1] = im;
                    }
                    for (int v = 0; v < WIDTH; ++v) {
                        vd r = gr[b][v] * er[b][v] - gi[b][v] * ei[b][v];
                        vd i = gr[b][v] * ei[b][v] + gi[b][v] * er[b][v];
                        vl keep = (vl)(r * r + i * i > splat(TINY));
                        gr[b][v] = choose(keep, r, splat(0.0));
                        gi[b][v] = choose(keep, i, splat(0.0));
                    }
                }
                double *out = part + 2 * row(m, degree);
                for (long l = 0; l < 2 * terms; ++l) out[l] += total(sum[l]);
            }
        }
        free(sum);
    }
    memset(raw, 0, sizeof(double) * (size_t)size);
    for (long chunk = 0; chunk < chunks; ++chunk)
        for (long i = 0; i < size; ++i) raw[i] += parts[size * chunk + i];
    free(parts), free(beta);
}

/* Unnormalised (2l+1)-free Bessel ratios i_0 .. i_degree of one block by backward recurrence, and their sum
   sum_l (2l+1) i_l = e^kappa over all orders; noise: the same sum with factors rough_l. */
INLINE void sphere_bessel(vd inverse, vd start, long top, long degree, const double *rough,
                          vd *bessel, long stride, vd *whole, vd *noise)
{
    vd now = splat(0.0), above = splat(0.0), sum = splat(0.0), loud = splat(0.0);
    for (long l = top; l >= 0; --l) {
        now = choose((vl)(start == splat((double)l)), splat(1.0), now);
        if (l <= degree) bessel[l * stride] = now, loud += splat((2.0 * l + 1.0) * rough[l]) * now;
        sum += splat(2.0 * l + 1.0) * now;
        vd below = above + splat(2.0 * l + 1.0) * inverse * now;
        above = now;
        now = below;
    }
    *whole = sum;
    *noise = loud;
}

INLINE void sphere_bunch(const int fields, long count, const double *z, long degree, double depth, const double *beta,
                         const double *mix, const double *rough, vd *bessel, double *value, double *shift, double *error)
{
    vd x[BUNCH][BESIDE], er[BUNCH][BESIDE], ei[BUNCH][BESIDE], gr[BUNCH][BESIDE], gi[BUNCH][BESIDE];
    vd kappa[BUNCH][BESIDE], start[BUNCH][BESIDE], whole[BUNCH][BESIDE], noise[BUNCH][BESIDE], out[BUNCH][BESIDE][MOST_FIELDS];
    long blocks = (count + BESIDE * LANES - 1) / (BESIDE * LANES);
    for (long b = 0; b < blocks; ++b)
        for (int v = 0; v < BESIDE; ++v) {
            vd inverse;
            long top = 0;
            for (int lane = 0; lane < LANES; ++lane) {
                long at = (b * BESIDE + v) * LANES + lane;
                const double *p = z + 3 * (at < count ? at : count - 1);
                double norm = sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]), scale = norm > 0.0 ? 1.0 / norm : 0.0;
                kappa[b][v][lane] = norm;
                er[b][v][lane] = p[0] * scale, ei[b][v][lane] = p[1] * scale;
                x[b][v][lane] = norm > 0.0 ? p[2] * scale : 1.0;
                norm = norm < SMALLEST_KAPPA ? SMALLEST_KAPPA : norm;
                inverse[lane] = 1.0 / norm;
                start[b][v][lane] = start_order(norm, depth);
                if (start[b][v][lane] > top) top = (long)start[b][v][lane];
            }
            sphere_bessel(inverse, start[b][v], top > degree ? top : degree, degree, rough,
                          bessel + b * BESIDE * (degree + 1) + v, BESIDE, &whole[b][v], &noise[b][v]);
            gr[b][v] = splat(1.0), gi[b][v] = splat(0.0);
            for (int c = 0; c < fields; ++c) out[b][v][c] = splat(0.0);
        }
    for (long m = 0; m <= degree; ++m) {
        const double *bm = beta + row(m, degree), *cm = mix + 2 * fields * row(m, degree);
        for (long b = 0; b < blocks; ++b) {
            const vd *i = bessel + (b * (degree + 1) + m) * BESIDE;
            vd p[BESIDE], before[BESIDE], re[BESIDE][MOST_FIELDS], im[BESIDE][MOST_FIELDS];
            for (int v = 0; v < BESIDE; ++v) {
                p[v] = splat(1.0), before[v] = splat(0.0);
                for (int c = 0; c < fields; ++c) re[v][c] = im[v][c] = splat(0.0);
            }
            for (long l = 0; l <= degree - m; ++l) {
                for (int v = 0; v < BESIDE; ++v) {
                    vd term = p[v] * i[l * BESIDE + v];
                    for (int c = 0; c < fields; ++c) {
                        re[v][c] += term * splat(cm[2 * fields * l + c]);
                        im[v][c] += term * splat(cm[2 * fields * l + fields + c]);
                    }
                    vd next = x[b][v] * p[v] - splat(bm[l]) * before[v];
                    before[v] = p[v];
                    p[v] = next;
                }
            }
            for (int v = 0; v < BESIDE; ++v) {
                for (int c = 0; c < fields; ++c) out[b][v][c] += re[v][c] * gr[b][v] - im[v][c] * gi[b][v];
                vd r = gr[b][v] * er[b][v] - gi[b][v] * ei[b][v], s = gr[b][v] * ei[b][v] + gi[b][v] * er[b][v];
                vl keep = (vl)(r * r + s * s > splat(TINY));
                gr[b][v] = choose(keep, r, splat(0.0));
                gi[b][v] = choose(keep, s, splat(0.0));
            }
        }
    }
    for (long at = 0; at < count; ++at) {
        long b = at / (BESIDE * LANES), v = at / LANES % BESIDE, lane = at % LANES;
        double sum = whole[b][v][lane], k = kappa[b][v][lane], from = start[b][v][lane];
        shift[at] = k;
        for (int c = 0; c < fields; ++c) value[fields * at + c] = out[b][v][c][lane] / sum;
        /* i_{l+1}/i_l < q_l = k/(l + 1 + sqrt(k^2 + (l + 1)^2)) (Amos 1974, order l + 1/2) */
        double q = k / (from + 1.0 + sqrt(k * k + (from + 1.0) * (from + 1.0))), left = q / (1.0 - q) / sum;
        double lost = ((from + 1.0) * (from + 1.0) + (2.0 * from + 3.0) / (1.0 - q) + 2.0 / ((1.0 - q) * (1.0 - q))) * left;
        if (from > degree) {
            double last = bessel[(b * (degree + 1) + degree) * BESIDE + v][lane] / sum + left;
            q = k / (degree + 1.0 + sqrt(k * k + (degree + 1.0) * (degree + 1.0)));
            lost += last * q * ((2.0 * degree + 3.0) / (1.0 - q) + 2.0 / ((1.0 - q) * (1.0 - q)));
        }
        error[at] = 2.0 * lost + noise[b][v][lane] / sum;
    }
}

/* Targets z (n, 3) from mix (triangle, 2 fields), four or five of them: real parts, then imaginary parts, of the coefficients of what is
   summed, all factors included. value (n, fields): the sums; shift and error as in `coldflow_circle_targets`. */
void coldflow_sphere_targets(long n, const double *z, long degree, double depth, int fields, const double *mix, const double *rough,
                             double *value, double *shift, double *error, int threads)
{
    const long bunch = BUNCH * BESIDE * LANES;
    double *beta = recurrence(degree);
    threads = pick_threads(threads, (double)n * degree * degree / 2);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        vd *bessel = aligned_alloc(64, sizeof(vd) * BUNCH * BESIDE * (size_t)(degree + 1));
#pragma omp for schedule(dynamic)
        for (long i = 0; i < n; i += bunch) {
            long count = n - i < bunch ? n - i : bunch;
            if (fields == 4)
                sphere_bunch(4, count, z + 3 * i, degree, depth, beta, mix, rough, bessel, value + 4 * i, shift + i, error + i);
            else
                sphere_bunch(5, count, z + 3 * i, degree, depth, beta, mix, rough, bessel, value + 5 * i, shift + i, error + i);
        }
        free(bessel);
    }
    free(beta);
}

/* From raw sums up to `degree` + 1 to the coefficients of (1, y_1, y_2, y_3) up to `degree`, with the factors of the
   targets: mix (triangle, 8); to power (degree + 1,) is added the squared norm of the coefficients of each degree. Multiplication by a coordinate couples neighbouring degrees and orders only:
       x_3 P_lm = C(l+1,m) P_{l+1,m} + C(l,m) P_{l-1,m},                     C(l,m)^2 = (l^2-m^2)/(4l^2-1),
       s P_lm   = D(l+1,m+1) P_{l+1,m+1} - E(l,m) P_{l-1,m+1}
                = D(l,m) P_{l-1,m-1} - E(l+1,m-1) P_{l+1,m-1},
       D(l,m)^2 = (l+m)(l+m-1)/(4l^2-1),   E(l,m)^2 = (l-m)(l-m-1)/(4l^2-1). */
void coldflow_sphere_couple(long degree, const double *raw, double *mix, double *power)
{
    long big = degree + 1, size = row(big + 1, big);
    double *scale = malloc(sizeof(double) * (size_t)size), *c = malloc(sizeof(double) * 2 * (size_t)size);
    double norm = 1.0;
    for (long m = 0; m <= big; ++m) {
        if (m) norm *= sqrt((2.0 * m + 1.0) / (2.0 * m));
        double a = norm;
        for (long l = m; l <= big; ++l) {
            if (l > m) a *= sqrt((4.0 * l * l - 1.0) / (double)(l * l - m * m));
            long at = row(m, big) + l - m;
            scale[at] = a, c[2 * at] = a * raw[2 * at], c[2 * at + 1] = a * raw[2 * at + 1];
        }
    }
#define RE(l, m) ((l) < (m) ? 0.0 : c[2 * (row(m, big) + (l) - (m))])
#define IM(l, m) ((l) < (m) ? 0.0 : c[2 * (row(m, big) + (l) - (m)) + 1])
#define CC(l, m) sqrt((double)((l) * (l) - (m) * (m)) / (4.0 * (l) * (l) - 1.0))
#define DD(l, m) sqrt((double)(((l) + (m)) * ((l) + (m) - 1)) / (4.0 * (l) * (l) - 1.0))
#define EE(l, m) sqrt((double)(((l) - (m)) * ((l) - (m) - 1)) / (4.0 * (l) * (l) - 1.0))
    for (long m = 0; m <= degree; ++m)
        for (long l = m; l <= degree; ++l) {
            double *out = mix + 8 * (row(m, degree) + l - m), f = scale[row(m, big) + l - m] * (m ? 2.0 : 1.0);
            double up = l + 1 <= big ? DD(l + 1, m + 1) : 0.0, down = l > m ? EE(l, m) : 0.0;
            /* sums of w (y_1 - i y_2) and of w (y_1 + i y_2) against the conjugate harmonics */
            double vr = up * RE(l + 1, m + 1) - (l - 1 >= m + 1 ? down * RE(l - 1, m + 1) : 0.0);
            double vi = up * IM(l + 1, m + 1) - (l - 1 >= m + 1 ? down * IM(l - 1, m + 1) : 0.0);
            double ur = vr, ui = -vi;   /* m = 0: conjugates of each other */
            if (m) {
                double low = DD(l, m), high = EE(l + 1, m - 1);
                ur = (l - 1 >= m - 1 ? low * RE(l - 1, m - 1) : 0.0) - high * RE(l + 1, m - 1);
                ui = (l - 1 >= m - 1 ? low * IM(l - 1, m - 1) : 0.0) - high * IM(l + 1, m - 1);
            }
            power[l] += (m ? 2.0 : 1.0) * (RE(l, m) * RE(l, m) + IM(l, m) * IM(l, m));
            double lower = l > m ? CC(l, m) : 0.0;
            out[0] = f * RE(l, m), out[4] = f * IM(l, m);
            out[1] = f * 0.5 * (ur + vr), out[5] = f * 0.5 * (ui + vi);
            out[2] = f * 0.5 * (ui - vi), out[6] = f * -0.5 * (ur - vr);
            out[3] = f * (CC(l + 1, m) * RE(l + 1, m) + (l > m ? lower * RE(l - 1, m) : 0.0));
            out[7] = f * (CC(l + 1, m) * IM(l + 1, m) + (l > m ? lower * IM(l - 1, m) : 0.0));
        }
    free(scale), free(c);
}
