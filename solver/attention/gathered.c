/* Attention between cells of sources and cells of targets by expansions about their centres; the bounds are proven in gathered.py.

   Exponents of whole sums are base 2, t = l + log2(e) <z,y>; those that are expanded, <z - z_0, y - c>, are natural. */

#define STEEPEST 3.0     /* largest |z - z_0| |y - c| that is expanded */
#define FINEST 8         /* steps of the table of polynomials per factor of two */
#define STEPS 420        /* entries of that table: down to 3 * 2^-52 */
#define HIGHEST 24       /* largest degree */
#define POWERS 12        /* largest power of the coordinate along the axis, plus 2 */
#define WORTH_LOOKING 2e4 /* nanoseconds of a pair from which its halves are looked at */
#define PATIENCE 0.15    /* part of the limit that planning may take */
#define FEW 24           /* cells of at most as many points are not halved */
static const double LOG2_E = 1.4426950408889634;

/* What the monomials of q variables are: in order of their degree; each is the product of its parent and one variable. */
typedef struct { int q, degree; const long *start, *parent, *variable, *up; const double *many; } Monomials;

/* How one pair of cells is treated: powers of the axis' coordinate up to `powers`, each with a polynomial of degree p[k] */
typedef struct {
    long target, source, next;
    int expanded, powers, p[POWERS], kept[POWERS];
    double steep, tall;         /* bounds of |<zeta,eta>| across and along the axis */
    double wide, high;          /* bounds of |zeta| across and along the axis */
    double top, mass;           /* log2: largest of the terms at z_0 relative to the centre, their sum relative to it */
    long moment;                /* where its moments are */
} Pair;

typedef struct { long first, last, pairs, path; } Task;

typedef struct {
    Cells *target, *source;
    Monomials mono;
    double tolerance, drop, limit, cost, effort, dense;   /* effort: nanoseconds of planning */
    Pair *pair;
    long pairs, room, *head, heads;
    char *deeper;
    Task *task;
    long tasks, task_room, *path, paths, path_room;
} Plan;

/* e^rho times the sum of 2 I_l(rho) over l > p, which bounds |e^-t q_p(t) - 1| for |t| <= rho; see gathered.py */
static double cut(double rho, int p)
{
    double term = 2.0;
    for (int l = 1; l <= p + 1; ++l) term *= 0.5 * rho / l;
    double ratio = 0.5 * rho / (p + 2);
    return ratio < 1.0 ? exp(rho + 0.25 * rho * rho / (p + 2)) * term / (1.0 - ratio) : INFINITY;
}

static double stair(long step) { return STEEPEST * exp2(-(double)step / FINEST); }

/* The step of the table at or above rho. */
static long find_step(double rho)
{
    if (!(rho > 0.0)) return STEPS - 1;
    double s = floor(FINEST * log2(STEEPEST / rho));
    return s < 0.0 ? 0 : s > STEPS - 1 ? STEPS - 1 : (long)s;
}

/* Coefficients of the Chebyshev series of e^(rho x) cut after degree p, in powers of x. */
static void polynomial(double rho, int p, double *a)
{
    double before[HIGHEST + 1] = {1.0}, now[HIGHEST + 1] = {0.0, 1.0}, next[HIGHEST + 1];
    memset(a, 0, sizeof(double) * (HIGHEST + 1));
    for (int l = 0; l <= p; ++l) {
        double term = 1.0, sum = 0.0;
        for (int k = 1; k <= l; ++k) term *= 0.5 * rho / k;
        for (int k = 1; term > 1e-19 * sum; ++k) sum += term, term *= 0.25 * rho * rho / ((double)k * (k + l));
        const double *t = l ? now : before;
        for (int k = 0; k <= l; ++k) a[k] += (l ? 2.0 : 1.0) * sum * t[k];
        if (!l) continue;
        for (int k = 0; k <= l + 1 && k <= HIGHEST; ++k) next[k] = (k ? 2.0 * now[k - 1] : 0.0) - (k < l ? before[k] : 0.0);
        memcpy(before, now, sizeof now), memcpy(now, next, sizeof now);
    }
}

/* Degrees for bounds `steep` and `tall` of the exponent across and along the axis; false if they exceed the table. */
static int profile(const Plan *plan, int axis, double steep, double tall, int *powers, int *p, int *kept)
{
    double third = plan->tolerance / 3.0, rho = stair(find_step(steep)), weight = 1.0;
    int most = plan->mono.degree - 1, k = 0, degree = 0;
    if (tall > 0.5) return 0;   /* so that the degrees do not increase with k */
    rho = rho > steep ? rho : steep;
    if (!(steep > 0.0)) rho = 0.0;
    for (k = 0;; ++k) {
        if (k > POWERS - 3) return 0;
        double allowed = third / exp(tall) / exp2(k + 1.0) / weight;
        if (!k) {
            while (degree <= most && cut(rho, degree) > allowed) ++degree;
            if (degree > most || degree + 1 > HIGHEST) return 0;
        } else
            while (degree > 0 && cut(rho, degree - 1) <= allowed) --degree;
        p[k] = degree;
        weight *= tall / (k + 1);
        if (!axis || weight * exp(2.0 * tall) <= third) break;
    }
    *powers = k;
    for (k = 0; k <= *powers + axis; ++k) {
        int own = k <= *powers ? p[k] + 1 : 0;
        kept[k] = k && axis && p[k - 1] > own ? p[k - 1] : own;
    }
    return 1;
}

static double terms(const Plan *plan, int axis, int powers, const int *kept)
{
    double sum = 0.0;
    for (int k = 0; k <= powers + axis; ++k) sum += plan->mono.start[kept[k] + 1];
    return sum;
}

static long add_pair(Plan *plan, Pair pair)
{
    if (plan->pairs == plan->room) {
        plan->room = 2 * plan->room + 64;
        plan->pair = realloc(plan->pair, sizeof(Pair) * (size_t)plan->room);
    }
    plan->pair[plan->pairs] = pair;
    return plan->pairs++;
}

static void note_target(Plan *plan, long g)
{
    if (g < plan->heads) return;
    long more = 2 * g + 64;
    plan->head = realloc(plan->head, sizeof(long) * (size_t)more);
    plan->deeper = realloc(plan->deeper, (size_t)more);
    for (long i = plan->heads; i < more; ++i) plan->head[i] = -1, plan->deeper[i] = 0;
    plan->heads = more;
}

/* log2 of an upper bound of the sum over cell s for the target z: all its mass where the enclosing cylinder has the largest <z,y>. */
INLINE double most(const int d, const Cells *t, long s, const double *z)
{
    const double *c = t->centre + s * d, *n = t->normal + s * d;
    double there = 0.0, high = 0.0, square = 0.0;
    for (int k = 0; k < d; ++k) there += z[k] * c[k], high += z[k] * n[k], square += z[k] * z[k];
    double rest = square - high * high;
    if (t->axis) there += fabs(high) * t->cell[s].along + sqrt(rest > 0.0 ? rest : 0.0) * t->cell[s].across;
    else there += sqrt(square) * t->cell[s].radius;
    return t->cell[s].mass + LOG2_E * there;
}

INLINE double jensen(const int d, const Cells *t, long s, const double *z)
{
    double there = 0.0;
    for (int k = 0; k < d; ++k) there += z[k] * t->mean[s * d + k];
    return t->cell[s].mass + LOG2_E * there;
}

/* Nanoseconds that the pair of cells g and s takes, in the cheaper way; settled: it need not be halved for accuracy or speed. */
static double price(const Plan *plan, long g, long at, Pair *pair, int *settled)
{
    const Cells *t = plan->target, *s = plan->source;
    const int d = t->d;
    const long mine = s->cell[at].last - s->cell[at].first, members = t->cell[g].last - t->cell[g].first;
    double spread = t->cell[g].radius, direct = (double)members * mine * plan->dense * 1.5 + 30.0 * members, expand = INFINITY;
    *pair = (Pair){.target = g, .source = at, .steep = spread * s->cell[at].across, .tall = spread * s->cell[at].along};
    if (pair->steep <= STEEPEST && profile(plan, s->axis, pair->steep, pair->tall, &pair->powers, pair->p, pair->kept)) {
        double count = terms(plan, s->axis, pair->powers, pair->kept);
        expand = 400.0 + mine * (4.0 + 0.09 * count) + members * (10.0 + 0.05 * (d + 2) * count);
    }
    pair->expanded = expand < direct;
    *settled = expand < INFINITY || (mine <= FEW && members <= FEW);
    if (s->cell[at].mass <= 0.5 * EMPTY) return 0.0;
    return pair->expanded ? expand : direct;
}

/* Halve a cell, if it is not yet, which takes time as well. */
static int part(Plan *plan, Cells *t, long at)
{
    if (t->cell[at].left == WHOLE) plan->effort += 300.0 + 15.0 * (t->cell[at].last - t->cell[at].first);
    return halve(t, at);
}

static int plan_cell(Plan *plan, long g, const long *list, long count)
{
    Cells *t = plan->target, *s = plan->source;
    const int d = t->d;
    double z[d], spread = t->cell[g].radius, best = -INFINITY;
    long best_cell = -1, size = count, room = 2 * count + 64, later = 0, later_room = 64, members = t->cell[g].last - t->cell[g].first;
    long *stack = malloc(sizeof(long) * (size_t)room), *deferred = malloc(sizeof(long) * (size_t)later_room);
    int fine = 1;
    note_target(plan, g);
    memcpy(z, t->centre + g * d, sizeof z);
    for (long i = 0; i < count; ++i) {
        stack[i] = list[i];
        double value = jensen(d, s, list[i], z);
        if (value > best) best = value, best_cell = list[i];
    }
    while (size && fine) {
        fine = plan->effort <= PATIENCE * plan->limit + 2e5;
        long at = stack[--size], mine = s->cell[at].last - s->cell[at].first;
        if (s->cell[at].mass <= 0.5 * EMPTY) continue;
        double away = 0.0;
        for (int k = 0; k < d; ++k) {
            double gap = s->centre[at * d + k] - s->mean[best_cell * d + k];
            away += gap * gap;
        }
        double above = most(d, s, at, z) - best + LOG2_E * spread * (sqrt(away) + s->cell[at].radius);
        plan->effort += 300.0;
        if (above + 1e-9 < plan->drop + log2((double)mine / s->n)) continue;
        Pair pair;
        int settled, split_source = 1;
        double cost = price(plan, g, at, &pair, &settled);
        if (settled && cost > WORTH_LOOKING && mine > FEW && part(plan, s, at)) {
            long left = s->cell[at].left;
            Pair child;
            int also;
            settled = price(plan, g, left, &child, &also) + price(plan, g, left + 1, &child, &also) > 0.8 * cost;
        }
        if (settled && cost > WORTH_LOOKING && members > FEW && part(plan, t, g)) {
            long left = t->cell[g].left;
            Pair child;
            int also;
            if (price(plan, left, at, &child, &also) + price(plan, left + 1, at, &child, &also) <= 0.8 * cost) {
                if (later == later_room) deferred = realloc(deferred, sizeof(long) * (size_t)(later_room *= 2));
                deferred[later++] = at;
                continue;
            }
        }
        if (settled) {
            plan->cost += cost;
            pair.next = plan->head[g];
            plan->head[g] = add_pair(plan, pair);
            fine = plan->cost <= plan->limit;
            continue;
        }
        split_source = members <= FEW || (mine > FEW && 3 * members <= mine);
        if (mine > FEW && spread == 0.0) split_source = 1;
        if (split_source && !part(plan, s, at)) split_source = 0;
        if (!split_source && !part(plan, t, g)) {
            if (!part(plan, s, at)) {
                plan->cost += cost;
                pair.expanded = 0, pair.next = plan->head[g];
                plan->head[g] = add_pair(plan, pair);
                continue;
            }
            split_source = 1;
        }
        if (!split_source) {
            if (later == later_room) deferred = realloc(deferred, sizeof(long) * (size_t)(later_room *= 2));
            deferred[later++] = at;
            continue;
        }
        if (size + 2 > room) stack = realloc(stack, sizeof(long) * (size_t)(room *= 2));
        for (long child = s->cell[at].left; child <= s->cell[at].left + 1; ++child) {
            stack[size++] = child;
            double value = jensen(d, s, child, z);
            if (value > best) best = value, best_cell = child;
        }
    }
    free(stack);
    if (later && fine) {
        plan->deeper[g] = 1;
        long left = t->cell[g].left;
        fine = plan_cell(plan, left, deferred, later) && plan_cell(plan, left + 1, deferred, later);
    }
    free(deferred);
    return fine;
}

void coldflow_plan_free(void *handle)
{
    Plan *plan = handle;
    free(plan->pair), free(plan->head), free(plan->deeper), free(plan->task), free(plan->path), free(plan);
}

/* Which cells of `targets` take which cells of `sources` in which way, from the roots down; null if that costs more than `limit`
   nanoseconds. tolerance: of each term, relative; drop: log2 of the part of the sum that may be left out; dense: nanoseconds per pair. */
void *coldflow_plan(void *targets, void *sources, int degree, const long *start, const long *parent, const long *variable,
                    const long *up, const double *many, double tolerance, double drop, double limit, double dense, double *cost)
{
    Plan *plan = calloc(1, sizeof *plan);
    plan->target = targets, plan->source = sources;
    plan->mono = (Monomials){plan->source->d - plan->source->axis, degree, start, parent, variable, up, many};
    plan->tolerance = tolerance, plan->drop = drop, plan->limit = limit, plan->dense = dense;
    long root = 0;
    int fine = plan_cell(plan, 0, &root, 1);
    *cost = plan->cost + plan->effort;
    if (fine) return plan;
    coldflow_plan_free(plan);
    return NULL;
}

/* The pairs whose terms reach the targets of cell g and not only some of them: one task for each lowest cell. */
static void make_tasks(Plan *plan, long g, long *path, long count, long *room, long **own)
{
    for (long i = plan->head[g]; i >= 0; i = plan->pair[i].next) {
        if (count == *room) *own = path = realloc(path, sizeof(long) * (size_t)(*room *= 2));
        path[count++] = i;
    }
    if (plan->deeper[g]) {
        long left = plan->target->cell[g].left;
        make_tasks(plan, left, *own, count, room, own);
        make_tasks(plan, left + 1, *own, count, room, own);
        return;
    }
    if (plan->paths + count > plan->path_room)
        plan->path = realloc(plan->path, sizeof(long) * (size_t)(plan->path_room = 2 * (plan->paths + count)));
    memcpy(plan->path + plan->paths, path, sizeof(long) * (size_t)count);
    for (long first = plan->target->cell[g].first; first < plan->target->cell[g].last; first += 256) {
        if (plan->tasks == plan->task_room)
            plan->task = realloc(plan->task, sizeof(Task) * (size_t)(plan->task_room = 2 * plan->tasks + 64));
        long last = first + 256 < plan->target->cell[g].last ? first + 256 : plan->target->cell[g].last;
        plan->task[plan->tasks++] = (Task){first, last, count, plan->paths};
    }
    plan->paths += count;
}

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
    pair->wide = t->cell[pair->target].radius, pair->high = 0.0;
    if (s->axis) {
        vd wide = splat(0.0), high = splat(0.0);
        for (long j = t->cell[pair->target].first; j < t->cell[pair->target].last; j += LANES) {
            vd along = splat(0.0), rest = splat(0.0), e[d];
            for (int k = 0; k < d; ++k) e[k] = load(t->point + k * t->stride + j) - splat(c[k]), along += e[k] * splat(n[k]);
            for (int k = 0; k < d; ++k) rest += (e[k] - along * splat(n[k])) * (e[k] - along * splat(n[k]));
            vl mine = first_lanes(t->cell[pair->target].last - j);
            wide = larger(wide, choose(mine, rest, splat(0.0)));
            high = larger(high, choose(mine, larger(along, -along), splat(0.0)));
        }
        pair->wide = sqrt(largest(wide)) * (1.0 + 1e-12), pair->high = largest(high) * (1.0 + 1e-12);
    }
    pair->steep = pair->wide * s->cell[pair->source].across, pair->tall = pair->high * s->cell[pair->source].along;
    if (!profile(plan, s->axis, pair->steep, pair->tall, &pair->powers, pair->p, pair->kept)) pair->expanded = 0;
}

/* sum_j 2^(l_j + <z_0, y_j - c> - top) eta_n^k eta^alpha over the sources of a pair, in units of the cell's sizes. */
INLINE void moments(const int d, const Plan *plan, Pair *pair, double *out, vd *mono, vd *sum)
{
    const Cells *s = plan->source;
    const Cell *cell = s->cell + pair->source;
    const double *z = plan->target->centre + pair->target * d, *c = s->centre + pair->source * d, *n = s->normal + pair->source * d;
    const int powers = pair->powers + s->axis;
    double across = cell->across > 0.0 ? 1.0 / cell->across : 0.0, along = cell->along > 0.0 ? 1.0 / cell->along : 0.0;
    long size = plan->mono.start[pair->kept[0] + 1], all = 0;
    for (int k = 0; k <= powers; ++k) all += plan->mono.start[pair->kept[k] + 1];
    memset(sum, 0, sizeof(vd) * (size_t)all);
    vd top = splat(EMPTY);
    for (long j = cell->first; j < cell->last; j += LANES) {
        vd t = load(s->level + j);
        for (int k = 0; k < d; ++k) t += splat(LOG2_E * z[k]) * (load(s->point + k * s->stride + j) - splat(c[k]));
        top = larger(top, choose(first_lanes(cell->last - j), t, splat(EMPTY)));
    }
    pair->top = largest(top);
    for (long j = cell->first; j < cell->last; j += LANES) {
        vd t = load(s->level + j), e[d], u[d], weight, *acc = sum;
        for (int k = 0; k < d; ++k) {
            e[k] = load(s->point + k * s->stride + j) - splat(c[k]);
            t += splat(LOG2_E * z[k]) * e[k];
        }
        vl mine = first_lanes(cell->last - j);
        weight = choose(mine, exp2_vector(choose(mine, t - splat(pair->top), splat(0.0))), splat(0.0));
        vd high = turn(d, s->axis, n, e, u) * splat(along);
        for (int k = 0; k < plan->mono.q; ++k) u[k] = choose(mine, u[k] * splat(across), splat(0.0));
        mono[0] = splat(1.0);
        for (long a = 1; a < size; ++a) mono[a] = mono[plan->mono.parent[a]] * u[plan->mono.variable[a]];
        for (int k = 0; k <= powers; ++k) {
            long count = plan->mono.start[pair->kept[k] + 1];
            for (long a = 0; a < count; ++a) acc[a] += weight * mono[a];
            acc += count;
            weight *= choose(mine, high, splat(0.0));
        }
    }
    for (long a = 0; a < all; ++a) out[a] = total(sum[a]);
    pair->mass = log2(out[0]);
}

/* From moments to the polynomials in zeta of the denominator and of the components of sum_j .. (y_j - c), side by side. */
static void coefficients(const Plan *plan, const Pair *pair, const double *table, const double *moment, double *out)
{
    const Monomials *m = &plan->mono;
    const int axis = plan->source->axis, fields = 1 + m->q + axis;
    const double *a = table + find_step(pair->steep) * (HIGHEST + 1) * (HIGHEST + 1);
    double weight = 1.0;
    /* the table's rho is a little above `steep`; zeta is scaled to it */
    for (int k = 0; k <= pair->powers; ++k) {
        const double *next = moment + m->start[pair->kept[k] + 1];
        for (int l = 0; l <= pair->p[k]; ++l) {
            double factor = weight * a[pair->p[k] * (HIGHEST + 1) + l];
            for (long i = m->start[l]; i < m->start[l + 1]; ++i, out += fields) {
                double f = factor * m->many[i];
                out[0] = f * moment[i];
                for (int v = 0; v < m->q; ++v) out[1 + v] = f * moment[m->up[i * m->q + v]];
                if (axis) out[1 + m->q] = f * next[i];
            }
        }
        moment = next;
        weight *= pair->tall / (k + 1);
    }
}

typedef struct { vd shift, den, *num; } Sums;

INLINE void rescale(const int d, Sums *sums, vd shift)
{
    vd factor = exp2_vector(sums->shift - shift);
    factor = choose((vl)(sums->shift - shift < splat(-955.0)), splat(0.0), factor);
    sums->den *= factor;
    for (int k = 0; k < d; ++k) sums->num[k] *= factor;
    sums->shift = shift;
}

INLINE void evaluate(const int d, const Plan *plan, const Pair *pair, const double *coefficient, const vd *z, Sums *sums, vd *mono)
{
    const Cells *s = plan->source;
    const Monomials *m = &plan->mono;
    const Cell *cell = s->cell + pair->source;
    const double *c = s->centre + pair->source * d, *n = s->normal + pair->source * d, *z0 = plan->target->centre + pair->target * d;
    const int fields = 1 + m->q + s->axis;
    vd e[d], u[d], t = splat(pair->top), value[d + 1];
    double step = stair(find_step(pair->steep));
    double across = pair->steep > 0.0 ? cell->across / step : 0.0, along = pair->high > 0.0 ? 1.0 / pair->high : 0.0;
    for (int k = 0; k < d; ++k) t += splat(LOG2_E * c[k]) * z[k], e[k] = z[k] - splat(z0[k]);
    vd high = turn(d, s->axis, n, e, u) * splat(along);
    for (int k = 0; k < m->q; ++k) u[k] *= splat(across);
    long size = m->start[pair->p[0] + 1];
    mono[0] = splat(1.0);
    for (long a = 1; a < size; ++a) mono[a] = mono[m->parent[a]] * u[m->variable[a]];
    for (int f = 0; f < fields; ++f) value[f] = splat(0.0);
    const double *end = coefficient;
    for (int k = 0; k <= pair->powers; ++k) end += m->start[pair->p[k] + 1] * fields;
    for (int k = pair->powers; k >= 0; --k) {
        long count = m->start[pair->p[k] + 1];
        const double *row = end -= count * fields;
        for (int f = 0; f < fields; ++f) value[f] *= high;
        for (long a = 0; a < count; ++a, row += fields)
            for (int f = 0; f < fields; ++f) value[f] += splat(row[f]) * mono[a];
    }
    for (int k = 0; k < m->q; ++k) u[k] = value[1 + k] * splat(cell->across);
    unturn(d, s->axis, n, u, s->axis ? value[fields - 1] * splat(cell->along) : splat(0.0), e);
    vd scale = exp2_vector(t - sums->shift);
    scale = choose((vl)(t - sums->shift < splat(-955.0)), splat(0.0), scale);
    sums->den += scale * value[0];
    for (int k = 0; k < d; ++k) sums->num[k] += scale * (e[k] + splat(c[k]) * value[0]);
}

/* All sources of a cell, one by one, for up to eight targets. */
INLINE void sum_directly(const int d, const Plan *plan, const Pair *pair, const vd *z, long count, Sums *sums)
{
    const Cells *s = plan->source;
    const Cell *cell = s->cell + pair->source;
    for (long i = 0; i < count; ++i) {
        vd top = splat(EMPTY), den = splat(0.0), num[d];
        double x[d], shift = sums->shift[i];
        for (int k = 0; k < d; ++k) x[k] = LOG2_E * z[k][i], num[k] = splat(0.0);
        for (int pass = 0; pass < 2; ++pass) {
            for (long j = cell->first; j < cell->last; j += LANES) {
                vd t = load(s->level + j);
                for (int k = 0; k < d; ++k) t += splat(x[k]) * load(s->point + k * s->stride + j);
                t = choose(first_lanes(cell->last - j), t, splat(EMPTY));
                if (!pass) {
                    top = larger(top, t);
                    continue;
                }
                vd e = exp2_vector(t - splat(shift));
                den += e;
                for (int k = 0; k < d; ++k) num[k] += e * load(s->point + k * s->stride + j);
            }
            if (pass || largest(top) <= shift + 400.0) continue;
            double factor = exp2(shift - largest(top));
            shift = largest(top);
            sums->shift[i] = shift, sums->den[i] *= factor;
            for (int k = 0; k < d; ++k) sums->num[k][i] *= factor;
        }
        sums->den[i] += total(den);
        for (int k = 0; k < d; ++k) sums->num[k][i] += total(num[k]);
    }
}

/* One task: eight targets at a time, first what is certain to count, as the scale, then the terms that reach it. */
INLINE double run_task(const int d, const Plan *plan, const Task *task, const double *table, const double *moment,
                       double *scratch, vd *mono, double *num, double *den, double *shift)
{
    const Cells *t = plan->target, *s = plan->source;
    const long *path = plan->path + task->path;
    const long bunches = (task->last - task->first + LANES - 1) / LANES;
    vd z[bunches][d], sum[bunches][d];
    Sums sums[bunches];
    vd low[bunches];
    double work = 0.0;
    for (long b = 0; b < bunches; ++b) {
        long from = task->first + b * LANES, count = task->last - from < LANES ? task->last - from : LANES;
        for (int k = 0; k < d; ++k)
            for (long i = 0; i < LANES; ++i) z[b][k][i] = t->point[k * t->stride + from + (i < count ? i : count - 1)];
        low[b] = splat(EMPTY);
    }
    for (long i = 0; i < task->pairs; ++i) {
        const Pair *pair = plan->pair + path[i];
        const double *from = (pair->expanded ? s->centre : s->mean) + pair->source * d;
        double base = pair->expanded ? pair->top - LOG2_E * (pair->steep + pair->tall) - 1e-3 : s->cell[pair->source].mass;
        for (long b = 0; b < bunches; ++b) {
            vd there = splat(base);
            for (int k = 0; k < d; ++k) there += splat(LOG2_E * from[k]) * z[b][k];
            low[b] = larger(low[b], there);
        }
    }
    for (long b = 0; b < bunches; ++b) {
        sums[b] = (Sums){low[b], splat(0.0), sum[b]};
        for (int k = 0; k < d; ++k) sum[b][k] = splat(0.0);
    }
    for (long i = 0; i < task->pairs; ++i) {
        const Pair *pair = plan->pair + path[i];
        const double *c = s->centre + pair->source * d;
        const Cell *cell = s->cell + pair->source;
        double needed = plan->drop + log2((double)(cell->last - cell->first) / s->n);
        int ready = 0;
        for (long b = 0; b < bunches; ++b) {
            long from = task->first + b * LANES, count = task->last - from < LANES ? task->last - from : LANES;
            vd above;
            if (pair->expanded) {
                above = splat(pair->top + pair->mass + LOG2_E * (pair->steep + pair->tall) + 1e-9);
                for (int k = 0; k < d; ++k) above += splat(LOG2_E * c[k]) * z[b][k];
            } else
                for (int lane = 0; lane < LANES; ++lane) {
                    double own[d];
                    for (int k = 0; k < d; ++k) own[k] = z[b][k][lane];
                    above[lane] = most(d, s, pair->source, own) + 1e-9;
                }
            if (largest(above - low[b]) < needed) continue;
            if (pair->expanded) {
                if (!ready++) coefficients(plan, pair, table, moment + pair->moment, scratch);
                evaluate(d, plan, pair, scratch, z[b], sums + b, mono);
                work += (double)count * plan->mono.start[pair->p[0] + 1];
            } else {
                sum_directly(d, plan, pair, z[b], count, sums + b);
                work += (double)count * (cell->last - cell->first);
            }
        }
    }
    for (long b = 0; b < bunches; ++b)
        for (long i = 0; i < LANES && task->first + b * LANES + i < task->last; ++i) {
            long row = t->order[task->first + b * LANES + i];
            den[row] = sums[b].den[i], shift[row] = sums[b].shift[i];
            for (int k = 0; k < d; ++k) num[row * d + k] = sum[b][k][i];
        }
    return work;
}

/* Results as from `coldflow_dense` for all points of the plan's targets, shift in base 2; returns the terms evaluated. */
double coldflow_gathered(void *handle, double *num, double *den, double *shift, int threads)
{
    Plan *plan = handle;
    const int d = plan->source->d, axis = plan->source->axis;
    double *table = malloc(sizeof(double) * STEPS * (HIGHEST + 1) * (HIGHEST + 1)), work = 0.0;
    char *used = calloc(STEPS, 1);
    threads = pick_threads(threads, plan->cost);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads) if (threads > 1)
    for (long i = 0; i < plan->pairs; ++i)
        if (plan->pair[i].expanded) {
            if (d == 2) measure(2, plan, plan->pair + i);
            else if (d == 3) measure(3, plan, plan->pair + i);
            else measure(d, plan, plan->pair + i);
        }
    long space = 0, largest_set = 1, deepest = 1;
    for (long i = 0; i < plan->pairs; ++i) {
        Pair *pair = plan->pair + i;
        if (!pair->expanded) continue;
        used[find_step(pair->steep)] = 1;
        pair->moment = space;
        long own = (long)terms(plan, axis, pair->powers, pair->kept);
        space += own, largest_set = own > largest_set ? own : largest_set;
        deepest = plan->mono.start[pair->kept[0] + 1] > deepest ? plan->mono.start[pair->kept[0] + 1] : deepest;
    }
    for (long step = 0; step < STEPS; ++step)
        for (int p = 0; used[step] && p <= HIGHEST; ++p)
            polynomial(stair(step), p, table + (step * (HIGHEST + 1) + p) * (HIGHEST + 1));
    double *moment = malloc(sizeof(double) * (size_t)(space + 1));
    long room = 64, *path = malloc(sizeof(long) * (size_t)room);
    make_tasks(plan, 0, path, 0, &room, &path);
    free(path);
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : work)
    {
        vd *mono = aligned_alloc(64, sizeof(vd) * (size_t)deepest), *sum = aligned_alloc(64, sizeof(vd) * (size_t)largest_set);
        double *scratch = malloc(sizeof(double) * (size_t)(largest_set * (d + 1)));
#pragma omp for schedule(dynamic, 4)
        for (long i = 0; i < plan->pairs; ++i) {
            Pair *pair = plan->pair + i;
            if (!pair->expanded) continue;
            if (d == 2) moments(2, plan, pair, moment + pair->moment, mono, sum);
            else if (d == 3) moments(3, plan, pair, moment + pair->moment, mono, sum);
            else moments(d, plan, pair, moment + pair->moment, mono, sum);
            work += (double)(plan->source->cell[pair->source].last - plan->source->cell[pair->source].first)
                  * plan->mono.start[pair->kept[0] + 1];
        }
#pragma omp for schedule(dynamic)
        for (long i = 0; i < plan->tasks; ++i) {
            const Task *task = plan->task + i;
            if (d == 2) work += run_task(2, plan, task, table, moment, scratch, mono, num, den, shift);
            else if (d == 3) work += run_task(3, plan, task, table, moment, scratch, mono, num, den, shift);
            else work += run_task(d, plan, task, table, moment, scratch, mono, num, den, shift);
        }
        free(mono), free(sum), free(scratch);
    }
    free(table), free(used), free(moment);
    return work;
}
