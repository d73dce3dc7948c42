/* Fourier expansion of the kernel on the circle. With z = kappa (cos a, sin a) and c_k = sum_j w_j e^{-ik phi_j},
       sum_j w_j e^{<z,y_j>}     = sum_k I_k(kappa) e^{ika} c_k,
       sum_j w_j e^{<z,y_j>} y_j = sum_k I_k(kappa) e^{ika} c_{k-1}   (as a complex number). */

#define CIRCLE_CHUNKS 16
#define WIDTH 4   /* vectors of sources that advance together */

/* c: (order + 1, 2) real and imaginary parts of c_0 .. c_order, of m points y (m, 2) on the circle with masses w (m,).
   The points are cut into chunks by their number alone: the sums do not depend on the threads. */
void coldflow_circle_sources(long m, const double *y, const double *w, long order, double *c, int threads)
{
    long chunks = m / 2048 + 1 < CIRCLE_CHUNKS ? m / 2048 + 1 : CIRCLE_CHUNKS, modes = order + 1;
    vd *sums = aligned_alloc(64, sizeof(vd) * 2 * (size_t)(modes * chunks));
    memset(sums, 0, sizeof(vd) * 2 * (size_t)(modes * chunks));
    threads = pick_threads(threads, (double)m * order / 4);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long chunk = 0; chunk < chunks; ++chunk) {
        vd *sum = sums + 2 * modes * chunk;
        long end = m * (chunk + 1) / chunks;
        for (long j = m * chunk / chunks; j < end; j += WIDTH * LANES) {
            vd er[WIDTH], ei[WIDTH], pr[WIDTH], pi[WIDTH];
            for (int v = 0; v < WIDTH; ++v) {
                vd y0 = splat(1.0), y1 = splat(0.0);
                pr[v] = pi[v] = splat(0.0);
                for (int lane = 0; lane < LANES; ++lane) {
                    long at = j + v * LANES + lane;
                    if (at >= end) continue;
                    y0[lane] = y[2 * at], y1[lane] = y[2 * at + 1], pr[v][lane] = w[at];
                }
                vd inverse = splat(1.0) / root(y0 * y0 + y1 * y1);
                er[v] = y0 * inverse, ei[v] = -y1 * inverse;
            }
            for (long k = 0; k < modes; ++k) {
                sum[2 * k] += (pr[0] + pr[1]) + (pr[2] + pr[3]);
                sum[2 * k + 1] += (pi[0] + pi[1]) + (pi[2] + pi[3]);
                for (int v = 0; v < WIDTH; ++v) {
                    vd next = pr[v] * er[v] - pi[v] * ei[v];
                    pi[v] = pr[v] * ei[v] + pi[v] * er[v];
                    pr[v] = next;
                }
            }
        }
    }
    for (long k = 0; k < 2 * modes; ++k) {
        vd sum = sums[k];
        for (long chunk = 1; chunk < chunks; ++chunk) sum += sums[2 * modes * chunk + k];
        c[k] = total(sum);
    }
    free(sums);
}

#define PAIR 2   /* vectors of targets that advance together */

/* The Bessel functions come backwards, into `bessel`; the powers of e^{ia} then go forwards, so that their rounding
   errors grow with the order and the orders that matter least get the largest. */
static void circle_block(long count, const double *z, long order, double depth, const double *mix, const double *rough, vd *bessel,
                         double *num, double *den, double *shift, double *error)
{
    vd kappa[PAIR], er[PAIR], ei[PAIR], start[PAIR], inverse[PAIR], whole[PAIR];
    vd pr[PAIR], pi[PAIR], d[PAIR], nr[PAIR], ni[PAIR];
    long top = order;
    for (int v = 0; v < PAIR; ++v)
        for (int lane = 0; lane < LANES; ++lane) {
            long at = v * LANES + lane < count ? v * LANES + lane : count - 1;
            double a = z[2 * at], b = z[2 * at + 1], norm = sqrt(a * a + b * b);
            kappa[v][lane] = norm;
            er[v][lane] = norm > 0.0 ? a / norm : 1.0;
            ei[v][lane] = norm > 0.0 ? b / norm : 0.0;
            norm = norm < SMALLEST_KAPPA ? SMALLEST_KAPPA : norm;
            inverse[v][lane] = 2.0 / norm;
            start[v][lane] = start_order(norm, depth);
            if (start[v][lane] > top) top = (long)start[v][lane];
        }
    vd now[PAIR], above[PAIR], sum[PAIR], noise[PAIR];
    for (int v = 0; v < PAIR; ++v) now[v] = above[v] = sum[v] = noise[v] = splat(0.0);
    for (long k = top; k > 0; --k)
        for (int v = 0; v < PAIR; ++v) {
            now[v] = choose((vl)(start[v] == splat((double)k)), splat(1.0), now[v]);
            if (k <= order) bessel[k * PAIR + v] = now[v], noise[v] += splat(rough[k]) * now[v];
            sum[v] += now[v];
            vd below = above[v] + splat((double)k) * inverse[v] * now[v];
            above[v] = now[v];
            now[v] = below;
        }
    for (int v = 0; v < PAIR; ++v) {
        whole[v] = splat(2.0) * sum[v] + now[v];
        noise[v] = splat(2.0) * noise[v] + splat(rough[0]) * now[v];
        d[v] = now[v] * splat(mix[0]), nr[v] = now[v] * splat(mix[2]), ni[v] = now[v] * splat(mix[4]);
        pr[v] = er[v], pi[v] = ei[v];
    }
    for (long k = 1; k <= order; ++k)
        for (int v = 0; v < PAIR; ++v) {
            const double *m = mix + 6 * k;
            vd qr = bessel[k * PAIR + v] * pr[v], qi = bessel[k * PAIR + v] * pi[v];
            d[v] += qr * splat(m[0]) - qi * splat(m[1]);
            nr[v] += qr * splat(m[2]) - qi * splat(m[3]);
            ni[v] += qr * splat(m[4]) + qi * splat(m[5]);
            vd t = pr[v] * er[v] - pi[v] * ei[v];
            pi[v] = pr[v] * ei[v] + pi[v] * er[v];
            pr[v] = t;
        }
    for (int v = 0; v < PAIR; ++v)
        for (int lane = 0; lane < LANES && v * LANES + lane < count; ++lane) {
            long at = v * LANES + lane;
            double x = kappa[v][lane], from = start[v][lane], all = whole[v][lane];
            den[at] = d[v][lane] / all, num[2 * at] = nr[v][lane] / all, num[2 * at + 1] = ni[v][lane] / all;
            shift[at] = x;
            /* I_{k+1}/I_k < q_k = x/(k + 1/2 + sqrt(x^2 + (k + 1/2)^2)) (Amos 1974) */
            double q = x / (from + 0.5 + sqrt(x * x + (from + 0.5) * (from + 0.5)));
            double left = q / (1.0 - q) / all, lost = (2.0 * from + 1.0 + 2.0 / (1.0 - q)) * left;
            if (from > order) {
                q = x / (order + 0.5 + sqrt(x * x + (order + 0.5) * (order + 0.5)));
                lost += 2.0 * q / (1.0 - q) * (bessel[order * PAIR + v][lane] / all + left);
            }
            error[at] = 2.0 * lost + noise[v][lane] / all;
        }
}

/* Targets z (n, 2) from mix (order + 1, 6), the coefficients combined as `fourier.py` says: num (n, 2), den (n,)
   relative to e^shift, shift = |z|; error (n,): bound on what truncation does to num and den, relative to the
   mass, and sum_k I_k rough_k e^-kappa for rounding, rough (order + 1,). */
void coldflow_circle_targets(long n, const double *z, long order, double depth, const double *mix, const double *rough,
                             double *num, double *den, double *shift, double *error, int threads)
{
    const long block = PAIR * LANES;
    threads = pick_threads(threads, (double)n * order);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        vd *bessel = aligned_alloc(64, sizeof(vd) * PAIR * (size_t)(order + 1));
#pragma omp for schedule(dynamic, 16)
        for (long i = 0; i < n; i += block)
            circle_block(n - i < block ? n - i : block, z + 2 * i, order, depth, mix, rough, bessel, num + 2 * i, den + i,
                         shift + i, error + i);
        free(bessel);
    }
}
