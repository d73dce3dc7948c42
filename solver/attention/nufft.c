/* Points of the sphere on an equispaced grid of polar angle theta and azimuth phi, both of period 2 pi and `size` nodes, by the window

       psi(x) = exp(shape (sqrt(1 - x^2) - 1)),   |x| <= 1,   x = distance / (SPAN/2 nodes)     (Barnett, Magland, af Klinteberg,
                                                                                      SIAM J. Sci. Comput. 41, 2019)

   of SPAN nodes in each angle. Stored are nodes -SPAN/2 .. size/2 + SPAN/2 - 1 of theta, since 0 <= theta <= pi, and nodes -SPAN/2 ..
   size + SPAN/2 - 1 of phi, so that no window has to be wrapped: who fills or empties the grid wraps its margins. */

#define SPAN 16
#define BANDS 16               /* parts of the grid that are filled side by side; what they share is added in a fixed order */
#define PATCH 16               /* columns of nodes that points of one row are sorted by */
#define FOUR (LANES < 4 ? LANES : 4)

typedef double unaligned __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
typedef double quad __attribute__((vector_size(8 * FOUR), aligned(8), may_alias));

/* place (n, 2): theta and phi in nodes, points sorted by rows of nodes, then patches; order (n,): which point each is;
   first (size/2 + 2): the first point of each row. */
void coldflow_nufft_sort(long n, const double *y, long size, double *place, long *order, long *first, int threads)
{
    const double scale = (double)size / (2.0 * M_PI);
    long rows = size / 2 + 1, patches = size / PATCH + 1;
    double *angle = malloc(sizeof(double) * 2 * (size_t)n);
    int *key = malloc(sizeof(int) * (size_t)n);
    long *begin = calloc((size_t)(rows * patches + 1), sizeof(long));
    threads = pick_threads(threads, 100.0 * n);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long j = 0; j < n; ++j) {
        const double *p = y + 3 * j;
        double theta = scale * atan2(sqrt(p[0] * p[0] + p[1] * p[1]), p[2]), phi = scale * atan2(p[1], p[0]);
        theta = theta < 0.5 * size ? theta : 0.5 * size;
        phi += phi < 0.0 ? size : 0.0;
        phi = phi < size ? phi : 0.0;
        angle[2 * j] = theta, angle[2 * j + 1] = phi;
        key[j] = (int)((long)theta * patches + (long)phi / PATCH);
    }
    for (long j = 0; j < n; ++j) ++begin[key[j] + 1];
    for (long k = 0; k < rows * patches; ++k) begin[k + 1] += begin[k];
    for (long row = 0; row <= rows; ++row) first[row] = begin[row * patches];
    for (long j = 0; j < n; ++j) {
        long at = begin[key[j]]++;
        order[at] = j, place[2 * at] = angle[2 * j], place[2 * at + 1] = angle[2 * j + 1];
    }
    free(angle), free(key), free(begin);
}

/* The SPAN values of the window about `at`, of the nodes whose first is returned, counted from the grid's first stored one. */
INLINE long window_of(double at, double shape, double *value)
{
    double node = ceil(at), offset = node - at - 0.5 * SPAN;
    vd bits[SPAN / LANES];
    for (int v = 0; v < SPAN / LANES; ++v) {
        vd x = (splat(offset + v * LANES) + (vd)COUNT) * splat(2.0 / SPAN);
        /* sqrt(1 - x^2) - 1 without cancellation, which shape would magnify */
        bits[v] = splat(-shape * M_LOG2E) * (x * x / (splat(1.0) + root(larger(splat(1.0) - x * x, splat(0.0)))));
    }
    for (int v = 0; v < SPAN / LANES; v += ABREAST)
        exp2_vectors(SPAN / LANES < ABREAST ? SPAN / LANES : ABREAST, bits + v);
    memcpy(value, bits, sizeof(bits));
    return (long)node;
}

/* grid (size/2 + SPAN, size + SPAN): the masses w (n,) at the sorted points, each spread by its window. The order of the sums
   depends on the points only. */
void coldflow_nufft_spread(long n, const double *place, const long *order, const long *first, const double *w, long size, double shape,
                           double *grid, int threads)
{
    long rows = size / 2 + 1, width = size + SPAN;
    double *margin = calloc((size_t)(BANDS * SPAN * width), sizeof(double));
    memset(grid, 0, sizeof(double) * (size_t)((rows - 1 + SPAN) * width));
    threads = pick_threads(threads, 50.0 * n);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (long band = 0; band < BANDS; ++band) {
        /* windows of rows begin .. end - 1 reach rows begin .. end + SPAN - 1: the last SPAN of them belong to later bands */
        long begin = rows * band / BANDS, end = rows * (band + 1) / BANDS;
        for (long j = first[begin]; j < first[end]; ++j) {
            double across[SPAN] __attribute__((aligned(64))), along[SPAN] __attribute__((aligned(64)));
            long row = window_of(place[2 * j], shape, across), column = window_of(place[2 * j + 1], shape, along);
            double mass = w[order[j]];
            vd share[SPAN / LANES];
            memcpy(share, along, sizeof(share));
            for (int v = 0; v < SPAN / LANES; ++v) share[v] *= splat(mass);
            for (long i = 0; i < SPAN; ++i) {
                long r = row + i;
                double *line = (r < end ? grid + r * width : margin + (band * SPAN + r - end) * width) + column;
                for (int v = 0; v < SPAN / LANES; ++v)
                    *(unaligned *)(line + v * LANES) += splat(across[i]) * share[v];
            }
        }
    }
    for (long band = 0; band < BANDS; ++band) {
        long end = rows * (band + 1) / BANDS, rest = rows - 1 + SPAN - end;
        for (long i = 0; i < (rest < SPAN ? rest : SPAN) * width; ++i) grid[end * width + i] += margin[band * SPAN * width + i];
    }
    free(margin);
}

/* value (n, 4): four fields, given on the grid (size/2 + SPAN, size + SPAN, 4), at the points in the order they were given in. */
void coldflow_nufft_interpolate(long n, const double *place, const long *order, long size, double shape, const double *grid,
                                double *value, int threads)
{
    const int halves = 2, most = SPAN / 2;
    long width = size + SPAN;
    threads = pick_threads(threads, 100.0 * n);
#pragma omp parallel for schedule(dynamic, 4096) num_threads(threads) if (threads > 1)
    for (long j = 0; j < n; ++j) {
        double across[SPAN] __attribute__((aligned(64))), along[SPAN] __attribute__((aligned(64)));
        long row = window_of(place[2 * j], shape, across), column = window_of(place[2 * j + 1], shape, along);
        quad out[4 / FOUR];
        for (int c = 0; c < 4 / FOUR; ++c) out[c] = (quad){0.0};
        for (int half = 0; half < halves; ++half)
            for (int c = 0; c < 4 / FOUR; ++c) {
                const double *corner = grid + 4 * (row * width + column + half * most) + c * FOUR;
                quad sum[SPAN / 2];
                for (int k = 0; k < most; ++k) sum[k] = across[0] * *(const quad *)(corner + 4 * k);
                for (int i = 1; i < SPAN; ++i)
                    for (int k = 0; k < most; ++k) sum[k] += across[i] * *(const quad *)(corner + 4 * (i * width + k));
                for (int k = 0; k < most; ++k) out[c] += along[half * most + k] * sum[k];
            }
        memcpy(value + 4 * order[j], out, sizeof(double) * 4);
    }
}
