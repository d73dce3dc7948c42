/* Cells: points in a binary tree that halves the widest side of the smallest box, so that what lies apart is parted first.
   Children come into being when they are asked for: a law that has gathered needs few of them.

   A cell has a centre c, the middle of its box, and encloses its points y by two numbers: with the axis n = c/|c| (on spheres; in
   flat space there is no axis) `along` >= |<y - c, n>| and `across` >= |y - c - <y - c, n> n|. */

#define WHOLE (-1)   /* not yet halved */
#define POINT (-2)   /* cannot be halved: all its points are equal */

typedef struct {
    long first, last, left;   /* points, in the tree's order; left child or one of the above, the right child is the next cell */
    int widest;
    double along, across, radius;
    double mass;              /* log2, for sources */
} Cell;

typedef struct {
    int d, axis;
    long n, cells, room, stride;
    double *point;            /* (d, stride): coordinate by coordinate, in the tree's order */
    double *level;            /* (stride,): log2 masses in the tree's order, or null */
    long *order;
    Cell *cell;
    double *centre, *normal, *mean;   /* (room, d) each */
} Cells;

INLINE vd load(const double *from)
{
    vd v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* 1 for the lanes below `count`, else 0, as a mask */
INLINE vl first_lanes(long count)
{
    const vl lane = COUNT;
    return lane < (vl)EACH(count);
}

/* Mass and mean of the points of one cell. */
static void weigh_points(Cells *t, long at)
{
    Cell *cell = t->cell + at;
    double top = EMPTY, *mean = t->mean + at * t->d;
    for (long j = cell->first; j < cell->last; ++j) top = t->level[j] > top ? t->level[j] : top;
    for (int k = 0; k < t->d; ++k) mean[k] = t->centre[at * t->d + k];
    cell->mass = EMPTY;
    if (top <= 0.5 * EMPTY) return;
    vd sum = splat(0.0), part[t->d];
    memset(part, 0, sizeof part);
    for (long j = cell->first; j < cell->last; j += LANES) {
        vd w = exp2_vector(load(t->level + j) - splat(top));
        w = choose(first_lanes(cell->last - j), w, splat(0.0));
        sum += w;
        for (int k = 0; k < t->d; ++k) part[k] += w * (load(t->point + k * t->stride + j) - splat(mean[k]));
    }
    for (int k = 0; k < t->d; ++k) mean[k] += total(part[k]) / total(sum);
    cell->mass = top + log2(total(sum));
}

static long new_cell(Cells *t, long first, long last)
{
    const int d = t->d;
    if (t->cells == t->room) {
        t->room *= 2;
        t->cell = realloc(t->cell, sizeof(Cell) * (size_t)t->room);
        t->centre = realloc(t->centre, sizeof(double) * (size_t)(t->room * d));
        t->normal = realloc(t->normal, sizeof(double) * (size_t)(t->room * d));
        t->mean = realloc(t->mean, sizeof(double) * (size_t)(t->room * d));
    }
    long at = t->cells++;
    Cell *cell = t->cell + at;
    double *centre = t->centre + at * d, *normal = t->normal + at * d, widest = 0.0, norm = 0.0;
    *cell = (Cell){first, last, WHOLE, 0, 0.0, 0.0, 0.0, EMPTY};
    for (int k = 0; k < d; ++k) {
        const double *x = t->point + k * t->stride;
        vd low = splat(x[first]), high = low;
        long j = first;
        for (; j + LANES <= last; j += LANES) {
            vd v = load(x + j);
            low = choose((vl)(v < low), v, low), high = larger(high, v);
        }
        double least = -largest(-low), most = largest(high);
        for (; j < last; ++j) least = x[j] < least ? x[j] : least, most = x[j] > most ? x[j] : most;
        centre[k] = 0.5 * least + 0.5 * most;
        norm += centre[k] * centre[k];
        if (most - least > widest) widest = most - least, cell->widest = k;
    }
    norm = sqrt(norm);
    for (int k = 0; k < d; ++k) normal[k] = norm > 0.0 ? centre[k] / norm : k == 0;
    if (!(widest > 0.0)) {
        for (int k = 0; k < d; ++k) centre[k] = t->point[k * t->stride + first];
        cell->left = POINT;
    } else {
        vd along = splat(0.0), across = splat(0.0), radius = splat(0.0);
        for (long j = first; j < last; j += LANES) {
            vd high = splat(0.0), square = splat(0.0), e[d];
            for (int k = 0; k < d; ++k) {
                e[k] = load(t->point + k * t->stride + j) - splat(centre[k]);
                high += e[k] * splat(normal[k]);
                square += e[k] * e[k];
            }
            vl mine = first_lanes(last - j);
            square = choose(mine, square, splat(0.0));
            radius = larger(radius, square);
            if (!t->axis) continue;
            high = choose(mine, high, splat(0.0));
            along = larger(along, larger(high, -high));
            vd rest = splat(0.0);
            for (int k = 0; k < d; ++k) {
                vd part = e[k] - high * splat(normal[k]);
                rest += part * part;
            }
            across = larger(across, choose(mine, rest, splat(0.0)));
        }
        /* a little more against rounding, which is relative to the coordinates */
        double slack = 4e-16 * (norm + sqrt(largest(radius)));
        cell->radius = sqrt(largest(radius)) * (1.0 + 1e-12) + slack;
        cell->along = t->axis ? largest(along) * (1.0 + 1e-12) + slack : 0.0;
        cell->across = t->axis ? sqrt(largest(across)) * (1.0 + 1e-12) + slack : cell->radius;
    }
    if (t->level) weigh_points(t, at);
    return at;
}

/* Halve a cell; false if all its points are equal. */
static int halve(Cells *t, long at)
{
    if (t->cell[at].left >= 0) return 1;
    if (t->cell[at].left == POINT) return 0;
    const int k = t->cell[at].widest;
    double middle = t->centre[at * t->d + k], *x = t->point + k * t->stride;
    long i = t->cell[at].first, j = t->cell[at].last - 1;
    while (i <= j) {
        while (i <= j && x[i] <= middle) ++i;
        while (i <= j && x[j] > middle) --j;
        if (i >= j) break;
        for (int c = 0; c < t->d; ++c) {
            double *y = t->point + c * t->stride, hold = y[i];
            y[i] = y[j], y[j] = hold;
        }
        long hold = t->order[i];
        t->order[i] = t->order[j], t->order[j] = hold;
        if (t->level) {
            double one = t->level[i];
            t->level[i] = t->level[j], t->level[j] = one;
        }
        ++i, --j;
    }
    long first = t->cell[at].first, last = t->cell[at].last;
    if (i == first || i == last) {   /* the sides differ by less than rounding */
        t->cell[at].left = POINT;
        return 0;
    }
    long left = new_cell(t, first, i);
    new_cell(t, i, last);
    t->cell[at].left = left;
    return 1;
}

/* A tree over points (n, d), n > 0; axis: they lie on the unit sphere. To be given back to `coldflow_cells_free`. */
void *coldflow_cells(int d, int axis, long n, const double *y)
{
    Cells *t = calloc(1, sizeof *t);
    t->d = d, t->axis = axis, t->n = n, t->room = 64, t->stride = n + LANES;
    t->point = calloc((size_t)(d * t->stride), sizeof(double));
    t->order = malloc(sizeof(long) * (size_t)n);
    t->cell = malloc(sizeof(Cell) * (size_t)t->room);
    t->centre = malloc(sizeof(double) * (size_t)(t->room * d));
    t->normal = malloc(sizeof(double) * (size_t)(t->room * d));
    t->mean = malloc(sizeof(double) * (size_t)(t->room * d));
    for (long j = 0; j < n; ++j) {
        t->order[j] = j;
        for (int k = 0; k < d; ++k) t->point[k * t->stride + j] = y[j * d + k];
    }
    new_cell(t, 0, n);
    return t;
}

/* Put log2 masses (n,), below EMPTY/2 for none, on the points, in the order in which these were given. */
void coldflow_cells_weigh(void *cells, const double *level)
{
    Cells *t = cells;
    if (!t->level) t->level = calloc((size_t)t->stride, sizeof(double));
    for (long j = 0; j < t->n; ++j) t->level[j] = level[t->order[j]] < EMPTY ? EMPTY : level[t->order[j]];
    /* children come after their parents */
    for (long at = t->cells - 1; at >= 0; --at) {
        Cell *cell = t->cell + at;
        if (cell->left < 0) {
            weigh_points(t, at);
            continue;
        }
        Cell *a = t->cell + cell->left, *b = a + 1;
        double top = a->mass > b->mass ? a->mass : b->mass;
        cell->mass = EMPTY;
        for (int k = 0; k < t->d; ++k) t->mean[at * t->d + k] = t->centre[at * t->d + k];
        if (top <= 0.5 * EMPTY) continue;
        double p = exp2(a->mass - top), q = exp2(b->mass - top);
        for (int k = 0; k < t->d; ++k) {
            double *mean = t->mean + cell->left * t->d + k;
            t->mean[at * t->d + k] = (p * mean[0] + q * mean[t->d]) / (p + q);
        }
        cell->mass = top + log2(p + q);
    }
}

void coldflow_cells_free(void *cells)
{
    Cells *t = cells;
    free(t->point), free(t->level), free(t->order), free(t->cell), free(t->centre), free(t->normal), free(t->mean), free(t);
}
