/* Attention on the sphere from its values on a larger sphere |Z| = s around all targets; the formula is derived in relay.py.

   Exponents are base 2. A node of the tree over directions g is a cap; its mass is the log2 of the sum of D(Z) times the quadrature
   weights. With R = |z - Z| one direction adds G (a + h) to the denominator, G = D e^-R/R, h = (1 + 1/R) (s - <z,g>)/R. */

#define FIELDS 5   /* of a pack: the components of Z, a, and the log2 mass */
#define SUMS(order) ((order) > 1 ? 16 : 5)

/* Vectors of a leaf that are summed together. */
#define SIDE (LEAF / LANES < ABREAST ? LEAF / LANES : ABREAST)

/* sqrt(a) up to a part of 1e-6, a >= 0 */
INLINE vd rough_root(vd a)
{
    vd y;
    a = larger(a, splat(1e-30));
    inverse_roots(1, 1, &a, &y);
    return a * y;
}
#define ROUGH 2e-6

typedef struct { const vd *pack; const double *node; long leaves; double s, budget; } Shell;

/* The least |z - Z| over the cap of a node; square = |z|^2. */
INLINE double least_distance(const Shell *shell, const double *node, const double *z, double square)
{
    double along = dot(3, z, node + 5), cosine = node[8], sine = node[9], norm = sqrt(square), most = norm;
    if (along < norm * cosine) {
        double across = square - along * along;
        most = along * cosine + (across > 0.0 ? sqrt(across) : 0.0) * sine;
    }
    double distance = square + shell->s * shell->s - 2.0 * shell->s * most;
    return distance > 0.0 ? sqrt(distance) * (1.0 - 1e-14) : 0.0;
}

/* Sums over a leaf: den, minus the factor of z in the gradient, factors times Z; for second derivatives also the factors of z z^T and of
   the identity, factors times Z, factors times Z Z^T. Vectors with no exponent above `least` are left out, SIDE at a time. */
INLINE void add_leaf(const int order, const Shell *shell, long leaf, const double *z, double square, double shift, double least, vd *sum)
{
    enum { W = SIDE };
    const vd *pack = shell->pack + leaf * (LEAF / LANES) * FIELDS;
    const double gap = shell->s - sqrt(square);
    const vd one = splat(1.0), floor = splat(0.9 * gap * gap), part = splat((shell->s * shell->s - square) * 0.5 / shell->s), scale = splat(0.5 / shell->s);
    for (int p = 0; p < LEAF / LANES; p += W, pack += W * FIELDS) {
        vd r2[W], inverse[W], r[W], g[W], top;
        for (int v = 0; v < W; ++v) r2[v] = splat(0.0);
        for (int k = 0; k < 3; ++k)
            for (int v = 0; v < W; ++v) {
                vd e = splat(z[k]) - pack[v * FIELDS + k];
                r2[v] += e * e;
            }
        for (int v = 0; v < W; ++v) r2[v] = larger(r2[v], floor);   /* empty places lie at the origin */
        inverse_roots(W, 2, r2, inverse);
        for (int v = 0; v < W; ++v) r[v] = r2[v] * inverse[v];
        for (int v = 0; v < W; ++v) r[v] += splat(0.5) * inverse[v] * (r2[v] - r[v] * r[v]);
        for (int v = 0; v < W; ++v) g[v] = pack[v * FIELDS + 4] - splat(LOG2_E) * r[v];
        top = g[0];
        for (int v = 1; v < W; ++v) top = larger(top, g[v]);
        if (!any_above(top, least)) continue;
        for (int v = 0; v < W; ++v) g[v] -= splat(shift);
        exp2_vectors(W, g);
        for (int v = 0; v < W; ++v) inverse[v] += inverse[v] * (one - r[v] * inverse[v]);
        for (int v = 0; v < W; ++v) {
            const vd *from = pack + v * FIELDS, i = inverse[v], away = part + r2[v] * scale;   /* s - <z,g> */
            g[v] *= i;
            vd first = (one + i) * i, ah = from[3] + first * away, i2 = i * i;
            vd alpha = g[v] * (first * ah + i2 * i * (one + i + i) * away);
            vd beta = alpha - g[v] * first * splat(1.0 / shell->s);
            sum[0] += g[v] * ah, sum[1] += alpha;
            for (int k = 0; k < 3; ++k) sum[2 + k] += beta * from[k];
            if (order < 2) continue;
            vd three = one + splat(3.0) * (i + i2);
            vd both = g[v] * i2 * (three * from[3] + i * (one + i * (splat(6.0) + splat(15.0) * (i + i2))) * away);
            vd mixed = g[v] * i2 * three * splat(1.0 / shell->s);
            sum[5] += both, sum[6] -= alpha;
            for (int k = 0, at = 10; k < 3; ++k) {
                vd part = (both - splat(2.0) * mixed) * from[k];
                sum[7 + k] += (mixed - both) * from[k];
                for (int l = k; l < 3; ++l, ++at) sum[at] += part * from[l];
            }
        }
    }
}

INLINE double leaf_bound(const Shell *shell, const double *node, const double *z, double square)
{
    return node[1] - LOG2_E * least_distance(shell, node, z, square);
}

/* The leaf with the largest upper bound for z. */
static long best_leaf(const Shell *shell, const double *z, double square)
{
    struct { const double *node; long first, last; double bound; } stack[DEPTH];
    double best = -INFINITY;
    long found = 0;
    int top = 0;
    stack[top].node = shell->node, stack[top].first = 0, stack[top].last = shell->leaves, stack[top++].bound = INFINITY;
    while (top) {
        const double *node = stack[--top].node;
        long first = stack[top].first, last = stack[top].last, middle = (first + last) / 2;
        if (stack[top].bound <= best) continue;
        if (last - first == 1) {
            best = stack[top].bound, found = first;
            continue;
        }
        const double *left = node + NODE(3), *right = node + 2 * (middle - first) * NODE(3);
        double a = leaf_bound(shell, left, z, square), b = leaf_bound(shell, right, z, square);
        for (int turn = 0; turn < 2; ++turn) {   /* the better one comes last and is taken first */
            int take_left = (a < b) == !turn;
            stack[top].node = take_left ? left : right, stack[top].bound = take_left ? a : b;
            stack[top].first = take_left ? first : middle, stack[top++].last = take_left ? middle : last;
        }
    }
    return found;
}

/* log2 of what a leaf adds to the denominator, a lower bound of the whole. */
static double leaf_sum_log(const Shell *shell, long leaf, const double *z, double square)
{
    vd sum[5] = {splat(0.0), splat(0.0), splat(0.0), splat(0.0), splat(0.0)}, origin = splat(EMPTY);
    const vd *pack = shell->pack + leaf * (LEAF / LANES) * FIELDS;
    for (int p = 0; p < LEAF / LANES; ++p, pack += FIELDS) {
        vd r2 = splat(0.0);
        for (int k = 0; k < 3; ++k) r2 += (splat(z[k]) - pack[k]) * (splat(z[k]) - pack[k]);
        origin = larger(origin, pack[4] - splat(LOG2_E) * root(r2));
    }
    add_leaf(1, shell, leaf, z, square, largest(origin), -INFINITY, sum);
    double found = total(sum[0]);
    return found > 0.0 ? largest(origin) + log2(found) - 2e-5 : EMPTY;
}

INLINE long relay_group(const int order, const Shell *shell, const double *z, const long *place, long count, long *leaf,
                        double *mass, double *num, double *den, double *shift, double *second)
{
    long best = 0;
    double centre[3] = {0.0, 0.0, 0.0}, spread = 0.0, low[GROUP], square[GROUP], level = INFINITY, nearest = INFINITY;
    const double few = log2((double)shell->leaves);
    struct { const double *node; long first, last; } stack[DEPTH];
    for (long i = 0; i < count; ++i)
        for (int k = 0; k < 3; ++k) centre[k] += z[place[i] * 3 + k] / count;
    for (long i = 0; i < count; ++i) {
        const double *own = z + place[i] * 3;
        double away = 0.0;
        for (int k = 0; k < 3; ++k) away += (own[k] - centre[k]) * (own[k] - centre[k]);
        spread = away > spread ? away : spread;
        square[i] = dot(3, own, own);
        double reach = shell->s - sqrt(square[i]);
        nearest = reach < nearest ? reach : nearest;
        /* a lower bound: the leaf that may add most to the first target */
        if (!i) best = best_leaf(shell, own, square[0]);
        low[i] = leaf_sum_log(shell, best, own, square[i]);
        level = low[i] < level ? low[i] : level;
    }
    spread = sqrt(spread) * (1.0 + 1e-12);
    /* (a + h)/R <= (2 + 1/R)/R */
    double factor = log2((2.0 + 1.0 / nearest) / nearest), norm = dot(3, centre, centre);
    long size = 0, summed = 0;
    int top = 0;
    level += shell->budget - few - factor;
    stack[top].node = shell->node, stack[top].first = 0, stack[top++].last = shell->leaves;
    while (top) {
        const double *node = stack[--top].node;
        long first = stack[top].first, last = stack[top].last, middle = (first + last) / 2;
        double away = least_distance(shell, node, centre, norm) - spread;
        if (node[1] - LOG2_E * (away > 0.0 ? away : 0.0) <= level) continue;
        if (last - first > 1) {
            stack[top].node = node + 2 * (middle - first) * NODE(3), stack[top].first = middle, stack[top++].last = last;
            stack[top].node = node + NODE(3), stack[top].first = first, stack[top++].last = middle;
            continue;
        }
        /* caps side by side */
        double *row = mass + size / LANES * LANES * 6 + size % LANES;
        for (int k = 0; k < 5; ++k) row[k * LANES] = node[5 + k];
        row[5 * LANES] = node[1];
        leaf[size++] = first;
    }
    for (long i = size; i % LANES; ++i)
        for (int k = 0; k < 6; ++k) mass[i / LANES * LANES * 6 + k * LANES + i % LANES] = k == 5 ? EMPTY : 0.0;
    for (long i = 0; i < count; ++i) {
        const double *own = z + place[i] * 3;
        const vd *row = (const vd *)mass, length = splat(sqrt(square[i])), both = splat(square[i] + shell->s * shell->s);
        vd sum[SUMS(order)], highest = splat(EMPTY);
        for (int k = 0; k < SUMS(order); ++k) sum[k] = splat(0.0);
        double *value = mass + (size + LANES - 1) / LANES * LANES * 6;
        for (long j = 0; j < size; j += LANES, row += 6) {
            vd along = splat(own[0]) * row[0] + splat(own[1]) * row[1] + splat(own[2]) * row[2];
            vd across = splat(1.0 + ROUGH) * rough_root(splat(square[i]) - along * along);
            vd most = choose((vl)(along >= length * row[3]), length, along * row[3] + across * row[4]);
            vd bound = row[5] - splat(LOG2_E * (1.0 - ROUGH)) * rough_root(both - splat(2.0 * shell->s) * most);
            memcpy(value + j, &bound, sizeof bound);
            highest = larger(highest, bound);
        }
        for (int again = 0; again < 4 && largest(highest) + factor > low[i] + 30.0; ++again) {   /* the first target's leaf is not ours */
            long at = 0;
            for (long j = 1; j < size; ++j) at = value[j] > value[at] ? j : at;
            double found = leaf_sum_log(shell, leaf[at], own, square[i]);
            low[i] = found > low[i] ? found : low[i];
            value[at] = low[i] - factor;   /* known now, and kept */
            highest = splat(EMPTY);
            for (long j = 0; j < size; ++j) highest[0] = value[j] > highest[0] ? value[j] : highest[0];
        }
        double least = low[i] + shell->budget - factor;
        long possible = 1;
        for (long j = 0; j < size; ++j) possible += value[j] > least - few;
        least -= log2((double)possible);
        for (long j = 0; j < size; ++j)
            if (value[j] > least)   /* 8 terms of 2 vectors at most are left out of each leaf that is possible */
                add_leaf(order, shell, leaf[j], own, square[i], low[i], least - 4.0, sum), ++summed;
        double all = total(sum[1]);
        den[place[i]] = total(sum[0]), shift[place[i]] = low[i];
        for (int k = 0; k < 3; ++k) num[place[i] * 3 + k] = total(sum[2 + k]) - all * own[k];
        if (order < 2) continue;
        double whole = total(sum[5]), same = total(sum[6]), v[3];
        for (int k = 0; k < 3; ++k) v[k] = total(sum[7 + k]);
        for (int k = 0, at = 0; k < 3; ++k)
            for (int l = k; l < 3; ++l, ++at)
                second[place[i] * 6 + at] = own[k] * own[l] * whole + (k == l ? same : 0.0) + own[k] * v[l] + own[l] * v[k]
                                          + total(sum[10 + at]);
    }
    return summed;
}

/* z (., 3), |z| < s; place (n,): rows of z, neighbours in a row; tree over the directions, of caps, weighed, and its packs of FIELDS.
   Results as from `coldflow_pruned`; unless null, second (., 6) as from `coldflow_gathered`. */
long coldflow_relay(long n, const double *z, const long *place, long leaves, const double *packed, const double *node, double s,
                    double budget, double *num, double *den, double *shift, double *second, int threads)
{
    Shell shell = {(const vd *)packed, node, leaves, s, budget};
    long summed = 0, room = (leaves / LANES + 1) * LANES;
    threads = pick_threads(threads, 1000.0 * n);
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : summed)
    {
        long *leaf = malloc(sizeof(long) * (size_t)room);
        double *mass = aligned_alloc(64, sizeof(double) * (size_t)(room * 7));
#pragma omp for schedule(dynamic, 4)
        for (long i = 0; i < n; i += GROUP) {
            long count = n - i < GROUP ? n - i : GROUP;
            summed += second ? relay_group(2, &shell, z, place + i, count, leaf, mass, num, den, shift, second)
                             : relay_group(1, &shell, z, place + i, count, leaf, mass, num, den, shift, NULL);
        }
        free(leaf), free(mass);
    }
    return summed * LEAF;
}
