/* Attention without the leaves that cannot matter; the bounds are proven in pruned.py.

   Exponents are base 2 throughout: t = l + <z,y>. Targets come in groups of neighbours; a group makes one list of
   leaves, each target then keeps its own part of the list, by rules that depend on the target and the tree alone. */

#define GROUP 32
#define DEPTH 64   /* levels of a tree */

typedef struct {
    int d, sphere, hard;
    long leaves;
    const vd *pack;
    const double *node;
    double error;     /* distance of the points from the unit sphere, at most */
    double radius;    /* largest |y| */
    double budget;    /* log2 of half the part of the denominator that may be dropped */
    double tie;
    const vd *source_part;   /* of the quadratic moment, see divergence.c; in packs like `pack`. NULL: not asked for */
    const double *turned;    /* (., d) the targets' vectors of it */
} Tree;

typedef struct { long size, *leaf, *kept; double *row, *value; unsigned char *wanted; } List;

INLINE double dot(const int d, const double *a, const double *b)
{
    double sum = 0.0;
    for (int k = 0; k < d; ++k) sum += a[k] * b[k];
    return sum;
}

/* The largest <z,y> over the cap or box of a node; norm = |z|. */
INLINE double support(const int d, const Tree *tree, const double *node, const double *z, double norm)
{
    const double *extent = node + 2 + 2 * d;
    double along = dot(d, z, node + 2 + d);
    if (!tree->sphere) {
        for (int k = 0; k < d; ++k) along += fabs(z[k]) * extent[k];
        return along;
    }
    if (along >= norm * extent[0]) return norm * (1.0 + tree->error);
    double across = norm * norm - along * along;
    return along * extent[0] + (across > 0.0 ? sqrt(across) : 0.0) * extent[1] + norm * tree->error;
}

/* log2 of the sum over one leaf, or its largest <z,y> at zero temperature. */
INLINE double leaf_sum(const int d, const Tree *tree, long leaf, const double *z)
{
    const vd *pack = tree->pack + leaf * (LEAF / LANES) * PACK(d);
    vd t[LEAF / LANES], top = splat(EMPTY), sum = splat(0.0);
    for (int i = 0; i < LEAF / LANES; ++i, pack += PACK(d)) {
        t[i] = tree->hard ? choose((vl)(pack[d] > splat(0.5 * EMPTY)), splat(0.0), splat(EMPTY)) : pack[d];
        for (int k = 0; k < d; ++k) t[i] += splat(z[k]) * pack[k];
        top = larger(top, t[i]);
    }
    double best = largest(top);
    if (tree->hard) return best;
    for (int i = 0; i < LEAF / LANES; ++i) sum += exp2_vector(t[i] - splat(best));
    return best + log2(total(sum));
}

/* A lower bound on log2 of the denominator: one leaf in full, and by convexity 2^(l + <z, mean>) for every subtree that
   the way down to it leaves aside. The way follows the larger of these values. Returns the leaf. */
INLINE long descend(const int d, const Tree *tree, const double *z, double *bound)
{
    double aside[DEPTH];
    int level = 0;
    long first = 0, last = tree->leaves;
    const double *node = tree->node;
    while (last - first > 1) {
        long middle = (first + last) / 2;
        const double *left = node + NODE(d), *right = node + 2 * (middle - first) * NODE(d);
        double a = left[0], b = right[0];
        if (tree->hard) a = a > 0.5 * EMPTY ? 0.0 : EMPTY, b = b > 0.5 * EMPTY ? 0.0 : EMPTY;
        a += dot(d, z, left + 2), b += dot(d, z, right + 2);
        if (a >= b) node = left, last = middle, aside[level++] = b;
        else node = right, first = middle, aside[level++] = a;
    }
    double sum = leaf_sum(d, tree, first, z);
    if (!tree->hard) {
        double top = sum;
        for (int i = 0; i < level; ++i) top = aside[i] > top ? aside[i] : top;
        vd all = exp2_vector(splat(sum - top));
        double mass = all[0];
        for (; level % LANES; ++level) aside[level] = EMPTY;
        for (int i = 0; i < level; i += LANES) {
            vd some;
            memcpy(&some, aside + i, sizeof some);
            mass += total(exp2_vector(some - splat(top)));
        }
        /* the neglected 2^-960 of up to 64 terms, and rounding */
        sum = top + log2(mass) - 1e-12;
    }
    *bound = sum;
    return first;
}

/* All leaves that some target of the group may need: exponents relative to the point `near` must exceed `level`
   somewhere within `spread` of the centre of the group. */
INLINE void collect(const int d, const Tree *tree, const double *centre, double spread, const double *near, double level,
                    List *list)
{
    struct { const double *node; long first, last; } stack[DEPTH];
    double norm = sqrt(dot(d, centre, centre)), there = dot(d, centre, near), slack = 1e-14 * norm * tree->radius;
    const int fields = tree->sphere ? d + 3 : 2 * d + 1;
    int top = 0;
    stack[top].node = tree->node, stack[top].first = 0, stack[top++].last = tree->leaves;
    list->size = 0;
    while (top) {
        const double *node = stack[--top].node;
        long first = stack[top].first, last = stack[top].last, middle = (first + last) / 2;
        double away = 0.0;
        for (int k = 0; k < d; ++k) away += (node[2 + d + k] - near[k]) * (node[2 + d + k] - near[k]);
        double mass = tree->hard ? (node[1] > 0.5 * EMPTY ? 0.0 : EMPTY) : node[1];
        double most = mass + support(d, tree, node, centre, norm) - there
                    + spread * (sqrt(away) + node[2 + 3 * d] + tree->error) + slack;
        if (most <= level) continue;
        if (last - first > 1) {
            stack[top].node = node + 2 * (middle - first) * NODE(d), stack[top].first = middle, stack[top++].last = last;
            stack[top].node = node + NODE(d), stack[top].first = first, stack[top++].last = middle;
            continue;
        }
        /* fields of eight leaves side by side */
        double *row = list->row + list->size / LANES * LANES * fields + list->size % LANES;
        for (int k = 0; k < d; ++k) row[k * LANES] = node[2 + d + k];
        for (int k = 0; k < fields - d - 1; ++k) row[(d + k) * LANES] = node[2 + 2 * d + k];
        row[(fields - 1) * LANES] = mass;
        list->leaf[list->size++] = first;
    }
    for (long i = list->size; i % LANES; ++i)
        for (int k = 0; k < fields; ++k)
            list->row[i / LANES * LANES * fields + k * LANES + i % LANES] = k == fields - 1 ? EMPTY : 0.0;
}

/* Upper bounds on log2 of the sum over each leaf of the list, and the largest. */
INLINE double rate(const int d, const Tree *tree, const double *z, const List *list)
{
    const int fields = tree->sphere ? d + 3 : 2 * d + 1;
    double norm = sqrt(dot(d, z, z));
    const vd *row = (const vd *)list->row, size = splat(norm), square = splat(norm * norm);
    const vd error = splat(norm * (tree->error + 1e-15 * tree->radius));
    vd top = splat(EMPTY);
    for (long i = 0; i < list->size; i += LANES, row += fields) {
        vd along = splat(0.0), most;
        for (int k = 0; k < d; ++k) along += splat(z[k]) * row[k];
        if (tree->sphere) {
            vd across = root(larger(square - along * along, splat(0.0)));
            most = choose((vl)(along >= size * row[d]), size, along * row[d] + across * row[d + 1]);
        } else {
            most = along;
            for (int k = 0; k < d; ++k) most += splat(fabs(z[k])) * row[d + k];
        }
        most += row[fields - 1] + error;
        top = larger(top, most);
        memcpy(list->value + i, &most, sizeof most);
    }
    return largest(top);
}

#define COUPLE 2   /* targets that are summed together */

/* The sums of a couple of targets over the leaves that are kept for either; `wanted`: for which. A leaf that a target does not want adds
   zeros to its sums, which so do not depend on its neighbour. a: their vectors of the quadratic moment, if that is wanted. */
INLINE void sum_leaves(const int d, const int squares, const Tree *tree, const double (*z)[d], const double (*a)[d],
                       const List *list, long kept, const double *shift, double (*num)[d], double *den, double *quad)
{
    static const union { long long bits[2]; double value[2]; } mask = {{0, -1}};
    vd acc[COUPLE][d + 1 + squares];
    memset(acc, 0, sizeof acc);
    for (long i = 0; i < kept; ++i) {
        const vd *pack = tree->pack + list->kept[i] * (LEAF / LANES) * PACK(d);
        const vd *part = squares ? tree->source_part + list->kept[i] * (LEAF / LANES) : NULL;
        vl wanted[COUPLE];
        for (int b = 0; b < COUPLE; ++b) wanted[b] = (vl)splat(mask.value[list->wanted[i] >> b & 1]);
        for (int p = 0; p < LEAF / LANES; ++p, pack += PACK(d)) {
            vd e[COUPLE];
            for (int b = 0; b < COUPLE; ++b) e[b] = pack[d] - splat(shift[b]);
            for (int k = 0; k < d; ++k)
                for (int b = 0; b < COUPLE; ++b) e[b] += splat(z[b][k]) * pack[k];
            exp2_vectors(COUPLE, e);
            for (int b = 0; b < COUPLE; ++b) e[b] = (vd)((vl)e[b] & wanted[b]);
            for (int b = 0; b < COUPLE; ++b) {
                acc[b][0] += e[b];
                for (int k = 0; k < d; ++k) acc[b][k + 1] += e[b] * pack[k];
            }
            for (int b = 0; squares && b < COUPLE; ++b) {
                vd along = splat(0.0), across = splat(0.0);
                for (int k = 0; k < d; ++k) along += splat(z[b][k]) * pack[k], across += splat(a[b][k]) * pack[k];
                acc[b][d + 1] += e[b] * (part[p] - along * across);
            }
        }
    }
    for (int b = 0; b < COUPLE; ++b) {
        den[b] = total(acc[b][0]);
        for (int k = 0; k < d; ++k) num[b][k] = total(acc[b][k + 1]);
        if (squares) quad[b] = total(acc[b][d + 1]);
    }
}

INLINE void average_ties(const int d, const Tree *tree, const double *z, const List *list, long kept, double limit,
                         double *num, double *den)
{
    vd sum[d + 1];
    memset(sum, 0, sizeof sum);
    for (long i = 0; i < kept; ++i) {
        const vd *pack = tree->pack + list->kept[i] * (LEAF / LANES) * PACK(d);
        for (int p = 0; p < LEAF / LANES; ++p, pack += PACK(d)) {
            vd t = choose((vl)(pack[d] > splat(0.5 * EMPTY)), splat(0.0), splat(EMPTY));
            for (int k = 0; k < d; ++k) t += splat(z[k]) * pack[k];
            vd e = choose((vl)(t >= splat(limit)), exp2_vector(pack[d]), splat(0.0));
            sum[0] += e;
            for (int k = 0; k < d; ++k) sum[k + 1] += e * pack[k];
        }
    }
    *den = total(sum[0]);
    for (int k = 0; k < d; ++k) num[k] = total(sum[k + 1]);
}

INLINE long keep(const List *list, double level)
{
    long kept = 0;
    for (long i = 0; i < list->size; ++i) {
        list->kept[kept] = list->leaf[i];
        kept += list->value[i] > level;
    }
    return kept;
}

/* One group of targets, given by their places in z (., d). Returns the leaves summed. */
INLINE long group(const int d, const int squares, const Tree *tree, const double *z, const long *place, long count, List *list,
                  double *num, double *den, double *shift, double *quad)
{
    double centre[d], near[d], bound[GROUP], spread = 0.0, level = INFINITY;
    long leaf = 0, summed = 0;
    const double few = log2((double)tree->leaves);
    for (int k = 0; k < d; ++k) centre[k] = 0.0;
    for (long i = 0; i < count; ++i)
        for (int k = 0; k < d; ++k) centre[k] += z[place[i] * d + k] / count;
    for (long i = 0; i < count; ++i) {
        const double *own = z + place[i] * d;
        double away = 0.0;
        for (int k = 0; k < d; ++k) away += (own[k] - centre[k]) * (own[k] - centre[k]);
        spread = away > spread ? away : spread;
        long found = descend(d, tree, own, bound + i);
        if (i == 0) leaf = found;
    }
    spread = sqrt(spread) * (1.0 + 1e-12);
    /* a point near those attended to, as the origin of exponents: the first source of the first target's leaf */
    for (int k = 0; k < d; ++k) near[k] = tree->pack[leaf * (LEAF / LANES) * PACK(d) + k][0];
    for (long i = 0; i < count; ++i) {
        const double *own = z + place[i] * d;
        double slack = tree->tie * tree->radius * sqrt(dot(d, own, own));
        double least = tree->hard ? bound[i] - slack : bound[i] + tree->budget - few;
        least -= dot(d, own, near);
        level = least < level ? least : level;
    }
    collect(d, tree, centre, spread, near, level - 1e-9, list);
    for (long i = 0; i < count; ++i) {
        const double *own = z + place[i] * d;
        double top = rate(d, tree, own, list), slack = tree->tie * tree->radius * sqrt(dot(d, own, own));
        if (tree->hard) {
            double best = bound[i];
            long kept = keep(list, best - slack - 1e-300);
            for (long j = 0; j < kept; ++j) {
                double t = leaf_sum(d, tree, list->kept[j], own);
                best = t > best ? t : best;
            }
            kept = keep(list, best - slack - 1e-300);
            average_ties(d, tree, own, list, kept, best - slack, num + place[i] * d, den + place[i]);
            shift[place[i]] = best;
            summed += kept;
            continue;
        }
        /* Where the way down missed a leaf that may hold far more, that leaf improves the bound. */
        for (int again = 0; again < 4 && top > bound[i] + 30.0; ++again) {
            long best = 0;
            for (long j = 1; j < list->size; ++j) best = list->value[j] > list->value[best] ? j : best;
            double sum = leaf_sum(d, tree, list->leaf[best], own) - 1e-12;
            list->value[best] = sum + 1e-9;   /* now known, no longer a bound */
            bound[i] = sum > bound[i] ? sum : bound[i];
            top = EMPTY;
            for (long j = 0; j < list->size; ++j) top = list->value[j] > top ? list->value[j] : top;
        }
        double least = bound[i] + tree->budget;
        long possible = 0;
        for (long j = 0; j < list->size; ++j) possible += list->value[j] > least - few;
        least -= log2(possible > 1 ? (double)possible : 1.0);
        if (top > bound[i] + 900.0)   /* exponents could overflow: find the largest sum of a leaf first */
            for (long j = 0; j < list->size; ++j)
                if (list->value[j] > least) {
                    double sum = leaf_sum(d, tree, list->leaf[j], own);
                    bound[i] = sum > bound[i] ? sum : bound[i];
                }
        const int part = i % COUPLE;
        if (!part) memset(list->wanted, 0, (size_t)list->size);
        for (long j = 0; j < list->size; ++j) {
            int kept = list->value[j] > least;
            list->wanted[j] |= (unsigned char)(kept << part), summed += kept;
        }
        if (part < COUPLE - 1 && i < count - 1) continue;
        double couple[COUPLE][d], turned[COUPLE][d], sums[COUPLE][d], whole[COUPLE], shifts[COUPLE], quads[COUPLE];
        long kept = 0;
        for (long j = 0; j < list->size; ++j) {
            list->kept[kept] = list->leaf[j], list->wanted[kept] = list->wanted[j];
            kept += list->wanted[j] != 0;
        }
        for (int b = 0; b < COUPLE; ++b) {
            const long from = i - part + (b <= part ? b : part);
            for (int k = 0; k < d; ++k) couple[b][k] = z[place[from] * d + k];
            for (int k = 0; squares && k < d; ++k) turned[b][k] = tree->turned[place[from] * d + k];
            shifts[b] = bound[from];
        }
        sum_leaves(d, squares, tree, couple, turned, list, kept, shifts, sums, whole, quads);
        for (int b = 0; b <= part; ++b) {
            const long row = place[i - part + b];
            den[row] = whole[b], shift[row] = shifts[b];
            if (squares) quad[row] = quads[b];
            for (int k = 0; k < d; ++k) num[row * d + k] = sums[b][k];
        }
    }
    return summed;
}

#define GROUP_OF(name, d, squares) \
    static long name(const Tree *t, const double *z, const long *p, long c, List *l, double *num, double *den, double *s, double *q) \
    { return group(d, squares, t, z, p, c, l, num, den, s, q); }
GROUP_OF(group_2, 2, 0)
GROUP_OF(group_3, 3, 0)
GROUP_OF(group_any, t->d, 0)
GROUP_OF(group_2_squares, 2, 1)
GROUP_OF(group_3_squares, 3, 1)
GROUP_OF(group_any_squares, t->d, 1)

/* z (., d); place (n,): the rows of z wanted, neighbours in a row; the tree of `coldflow_tree` and `coldflow_weigh` with its packs.
   budget: log2 of half the relative part of the denominator that may be dropped; hard: zero temperature with ties.
   source_part, turned: for the quadratic moment of `coldflow_quadratic`, the numbers of the sources in packs, and the vectors of
   the targets (., d); NULL without it. Results as there, shift in base 2; returns the number of pairs summed. */
long coldflow_pruned(int d, int sphere, int hard, long n, const double *z, const long *place, long leaves,
                     const double *packed, const double *node, double error, double radius, double budget, double tie,
                     const double *source_part, const double *turned, double *num, double *den, double *shift, double *quad,
                     int threads)
{
    Tree tree = {d, sphere, hard, leaves, (const vd *)packed, node, error, radius, budget, tie, (const vd *)source_part, turned};
    long (*const few)(const Tree *, const double *, const long *, long, List *, double *, double *, double *, double *)
        = source_part ? (d == 2 ? group_2_squares : d == 3 ? group_3_squares : group_any_squares)
                      : (d == 2 ? group_2 : d == 3 ? group_3 : group_any);
    long summed = 0, room = (leaves / LANES + 1) * LANES;
    threads = pick_threads(threads, 400.0 * n);
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : summed)
    {
        List list = {0, malloc(sizeof(long) * (size_t)room), malloc(sizeof(long) * (size_t)(room + 1)),
                     aligned_alloc(64, sizeof(double) * (size_t)(room * (2 * d + 3))),
                     aligned_alloc(64, sizeof(double) * (size_t)room), malloc((size_t)(room + 1))};
#pragma omp for schedule(dynamic, 4)
        for (long i = 0; i < n; i += GROUP) {
            long count = n - i < GROUP ? n - i : GROUP;
            summed += few(&tree, z, place + i, count, &list, num, den, shift, quad);
        }
        free(list.leaf), free(list.kept), free(list.row), free(list.value), free(list.wanted);
    }
    return summed * LEAF;
}
