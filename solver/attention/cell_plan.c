/* The plan: how every cell of targets takes every cell of sources. Exponents of whole sums are base 2, t = l + log2(e) <z,y>;
   those that are expanded, <z - z_0, y - c>, are natural. */

#define WORTH_LOOKING 2e4 /* nanoseconds of a pair from which its halves are looked at */
#define PATIENCE 0.15    /* part of the limit that planning may take */
#define FEW 24           /* cells of at most as many points are not halved */
#define LOOSEST 0.1      /* largest error of a term */

/* How one pair of cells is treated. */
typedef struct {
    long target, source, next;
    int expanded;
    Degrees degrees;
    Sizes sizes;
    double allowed;             /* error of the sum over the source cell that is allowed, relative to what it is at the centre */
    double top, mass;           /* log2: largest of the terms at z_0 relative to the centre, their sum relative to it */
    double *moment;             /* its coefficients */
} Pair;

typedef struct { long first, last, pairs, path; } Task;

typedef struct {
    Cells *target, *source;
    Monomials mono;
    int order;                  /* derivatives wanted: 1 for moments, 2 for second moments */
    double tolerance, drop, limit, cost, effort, dense, size;   /* effort: nanoseconds of planning; size: of all sources */
    Pair *pair;
    long pairs, room, *head, heads;
    char *deeper;
    Task *task;
    long tasks, task_room, *path, paths, path_room;
} Plan;

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
static double price(const Plan *plan, long g, long at, double allowed, Pair *pair, int *settled)
{
    const Cells *t = plan->target, *s = plan->source;
    const Cell *cell = s->cell + at;
    const long mine = cell->last - cell->first, members = t->cell[g].last - t->cell[g].first;
    double spread = t->cell[g].radius, direct = (double)members * mine * plan->dense * 1.5 + 30.0 * members, expand = INFINITY;
    *pair = (Pair){.target = g, .source = at, .allowed = allowed, .sizes = {spread * cell->across, spread * cell->along,
                   cell->across / plan->size, cell->along / plan->size}};
    if (choose_degrees(&plan->mono, s->axis, plan->order, pair->sizes, plan->tolerance, allowed, &pair->degrees)) {
        double count = (double)count_terms(&plan->mono, &pair->degrees), each = plan->mono.q > 2 ? 0.25 : 0.08 * plan->order;
        expand = 300.0 + mine * (3.0 + 0.06 * count) + members * (6.0 + each * count);
    }
    pair->expanded = expand < direct;
    *settled = expand < INFINITY || (mine <= FEW && members <= FEW);
    if (cell->mass <= 0.5 * EMPTY) return 0.0;
    return pair->expanded ? expand : direct;
}

/* Halve a cell, if it is not yet, which takes time as well. */
static int part(Plan *plan, Cells *t, long at)
{
    if (t->cell[at].left == WHOLE) plan->effort += 300.0 + 15.0 * (t->cell[at].last - t->cell[at].first);
    return halve(t, at);
}

/* The best lower bound for the target z, log2, among cell `at` and those on the way down from it. */
static double look_down(const Cells *s, long at, const double *z, long *best_cell, double best)
{
    while (s->cell[at].left >= 0) {
        long left = s->cell[at].left;
        double a = jensen(s->d, s, left, z), b = jensen(s->d, s, left + 1, z);
        at = a > b ? left : left + 1;
        if ((a > b ? a : b) > best) best = a > b ? a : b, *best_cell = at;
    }
    return best;
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
    best = look_down(s, best_cell, z, &best_cell, best);
    while (size && fine) {
        fine = plan->effort <= PATIENCE * plan->limit + 2e5;
        long at = stack[--size], mine = s->cell[at].last - s->cell[at].first;
        if (s->cell[at].mass <= 0.5 * EMPTY) continue;
        double away = 0.0;
        for (int k = 0; k < d; ++k) {
            double gap = s->centre[at * d + k] - s->mean[best_cell * d + k];
            away += gap * gap;
        }
        double centre = most(d, s, at, z) - best + LOG2_E * spread * sqrt(away) + 1e-9, own = log2((double)mine / s->n);
        plan->effort += 150.0;
        if (centre + LOG2_E * spread * s->cell[at].radius < plan->drop + own) continue;
        double allowed = own - centre < 60.0 ? plan->tolerance * exp2(own - centre) : LOOSEST;
        allowed = allowed < LOOSEST ? allowed : LOOSEST;
        Pair pair;
        int settled, split_source = 1;
        double cost = price(plan, g, at, allowed, &pair, &settled);
        if (settled && cost > WORTH_LOOKING && mine > FEW && part(plan, s, at)) {
            long left = s->cell[at].left;
            Pair child;
            int also;
            settled = price(plan, g, left, allowed, &child, &also) + price(plan, g, left + 1, allowed, &child, &also) > 0.8 * cost;
        }
        if (settled && cost > WORTH_LOOKING && members > FEW && part(plan, t, g)) {
            long left = t->cell[g].left;
            Pair child;
            int also;
            if (price(plan, left, at, allowed, &child, &also) + price(plan, left + 1, at, allowed, &child, &also) <= 0.8 * cost) {
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
        split_source = members <= FEW || (mine > FEW && members <= mine);
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
   nanoseconds. order: 1 for moments, 2 for second moments as well; tolerance: of each term, relative; drop: log2 of the part of the
   sum that may be left out; dense: nanoseconds per pair. */
void *coldflow_plan(void *targets, void *sources, int order, int degree, const long *start, const long *parent, const long *variable,
                    const double *many, double tolerance, double drop, double limit, double dense, double *cost)
{
    Plan *plan = calloc(1, sizeof *plan);
    fill_tables();
    plan->target = targets, plan->source = sources, plan->order = order;
    plan->mono = (Monomials){plan->source->d - plan->source->axis, degree, start, parent, variable, many};
    plan->tolerance = tolerance, plan->drop = drop, plan->limit = limit, plan->dense = dense;
    plan->size = plan->source->cell[0].radius > 0.0 ? plan->source->cell[0].radius : 1.0;
    long root = 0;
    int fine = plan_cell(plan, 0, &root, 1);
    *cost = plan->cost + plan->effort;
    if (fine) return plan;
    coldflow_plan_free(plan);
    return NULL;
}
