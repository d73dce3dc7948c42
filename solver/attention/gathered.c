/* Attention between cells of sources and cells of targets by expansions about their centres; the bounds are proven in gathered.py. */

#define BATCH 4000000    /* coefficients that are kept at once, nearly */
#define SLICE 256        /* targets of a task */

/* The pairs whose terms reach the targets of cell g: one task for each slice of each lowest cell. */
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
    for (long first = plan->target->cell[g].first; first < plan->target->cell[g].last; first += SLICE) {
        if (plan->tasks == plan->task_room)
            plan->task = realloc(plan->task, sizeof(Task) * (size_t)(plan->task_room = 2 * plan->tasks + 64));
        long last = first + SLICE < plan->target->cell[g].last ? first + SLICE : plan->target->cell[g].last;
        plan->task[plan->tasks++] = (Task){first, last, count, plan->paths};
    }
    plan->paths += count;
}

/* What a thread needs: for the sources, and for the targets. */
typedef struct { Bench bench; vd *mono, *back; } Scratch;

/* One task: first what is certain to count, as the scale, then the terms that reach it. */
INLINE double run_task(const int d, const int axis, const int order, const Plan *plan, const Task *task, const Scratch *scratch,
                       double *num, double *den, double *shift, double *second)
{
    enum { W = AT_ONCE };
    const Cells *t = plan->target, *s = plan->source;
    const long *path = plan->path + task->path;
    const long members = task->last - task->first, fours = (members + W * LANES - 1) / (W * LANES), bunches = fours * W;
    const int few = d - axis <= 2, pairs = d * (d + 1) / 2;
    vd z[bunches][d], num_sum[bunches][d], second_sum[order > 1 ? bunches : 1][pairs], low[bunches];
    Sums sums[bunches];
    double work = 0.0;
    for (long b = 0; b < bunches; ++b) {
        for (int k = 0; k < d; ++k)
            for (long i = 0; i < LANES; ++i) {
                long at = b * LANES + i < members ? b * LANES + i : members - 1;
                z[b][k][i] = t->point[k * t->stride + task->first + at];
            }
        low[b] = splat(EMPTY);
    }
    for (long i = 0; i < task->pairs; ++i) {
        const Pair *pair = plan->pair + path[i];
        const double *from = (pair->expanded ? s->centre : s->mean) + pair->source * d;
        double base = pair->expanded ? pair->top + pair->mass - LOG2_E * (pair->sizes.steep + pair->sizes.tall) - 1e-3
                                     : s->cell[pair->source].mass;
        for (long b = 0; b < bunches; ++b) {
            vd there = splat(base);
            for (int k = 0; k < d; ++k) there += splat(LOG2_E * from[k]) * z[b][k];
            low[b] = larger(low[b], there);
        }
    }
    for (long b = 0; b < bunches; ++b) {
        sums[b] = (Sums){low[b], splat(0.0), num_sum[b], order > 1 ? second_sum[b] : NULL};
        for (int k = 0; k < d; ++k) num_sum[b][k] = splat(0.0);
        for (int k = 0; order > 1 && k < pairs; ++k) second_sum[b][k] = splat(0.0);
    }
    for (long i = 0; i < task->pairs; ++i) {
        const Pair *pair = plan->pair + path[i];
        const double *c = s->centre + pair->source * d;
        const Cell *cell = s->cell + pair->source;
        double needed = plan->drop + log2((double)(cell->last - cell->first) / s->n);
        for (long b = 0; b < bunches; b += pair->expanded && few ? W : 1) {
            long count = members - b * LANES;
            if (count <= 0) break;
            vd above = splat(EMPTY);
            if (pair->expanded)
                for (long v = b; v < b + (few ? W : 1); ++v) {
                    vd there = splat(pair->top + pair->mass + LOG2_E * (pair->sizes.steep + pair->sizes.tall) + 1e-9);
                    for (int k = 0; k < d; ++k) there += splat(LOG2_E * c[k]) * z[v][k];
                    above = larger(above, there - low[v]);
                }
            else
                for (int lane = 0; lane < LANES; ++lane) {
                    double own[d];
                    for (int k = 0; k < d; ++k) own[k] = z[b][k][lane];
                    above[lane] = most(d, s, pair->source, own) + 1e-9 - low[b][lane];
                }
            if (largest(above) < needed) continue;
            long most_lanes = (pair->expanded && few ? W : 1) * LANES;
            count = count < most_lanes ? count : most_lanes;
            if (!pair->expanded) {
                sum_directly(d, plan, pair, z[b], count, sums + b);
                work += (double)count * (cell->last - cell->first);
                continue;
            }
            if (few) evaluate_few(d, axis, order, plan, pair, (const vd (*)[d])(z + b), sums + b);
            else evaluate_many(d, plan, pair, z[b], sums + b, scratch->mono, scratch->back);
            work += (double)count * count_terms(&plan->mono, &pair->degrees);
        }
    }
    for (long at = 0; at < members; ++at) {
        long row = t->order[task->first + at], b = at / LANES, i = at % LANES;
        den[row] = sums[b].den[i], shift[row] = sums[b].shift[i];
        for (int k = 0; k < d; ++k) num[row * d + k] = num_sum[b][k][i];
        for (int k = 0; order > 1 && k < pairs; ++k) second[row * pairs + k] = second_sum[b][k][i];
    }
    return work;
}

static double run(const Plan *plan, const Task *task, const Scratch *scratch, double *num, double *den, double *shift, double *second)
{
#define CASE(D, A)                                                                                                           \
    if (plan->source->d == D && plan->source->axis == A)                                                                     \
        return second ? run_task(D, A, 2, plan, task, scratch, num, den, shift, second)                                      \
                      : run_task(D, A, 1, plan, task, scratch, num, den, shift, second)
    CASE(1, 0);
    CASE(2, 0);
    CASE(2, 1);
    CASE(3, 1);
#undef CASE
    if (plan->source->d == 3) return run_task(3, 0, 1, plan, task, scratch, num, den, shift, second);
    return run_task(plan->source->d, plan->source->axis, 1, plan, task, scratch, num, den, shift, second);
}

/* By source, and the largest degrees first. */
static int compare_pairs(const void *a, const void *b)
{
    const Pair *x = *(Pair *const *)a, *y = *(Pair *const *)b;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    if (x->degrees.p[0] != y->degrees.p[0]) return x->degrees.p[0] > y->degrees.p[0] ? -1 : 1;
    return x->target < y->target ? -1 : x->target > y->target;
}

/* Coefficients of these pairs, in `room`. */
static double prepare(Plan *plan, Pair **pair, long count, double *room, Scratch *scratch, int threads)
{
    const int d = plan->source->d;
    double work = 0.0;
    qsort(pair, (size_t)count, sizeof *pair, compare_pairs);
    for (long i = 0; i < count; ++i) pair[i]->moment = room, room += count_terms(&plan->mono, &pair[i]->degrees);
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads) if (threads > 1) reduction(+ : work)
    for (long i = 0; i < count; ++i) {
        /* groups begin where the source changes and after each TOGETHER pairs of it */
        long first = i;
        while (first > 0 && pair[first - 1]->source == pair[i]->source) --first;
        if ((i - first) % TOGETHER) continue;
        int cells = 1;
        while (cells < TOGETHER && i + cells < count && pair[i + cells]->source == pair[i]->source) ++cells;
#ifdef _OPENMP
        Bench bench = scratch[omp_get_thread_num()].bench;
#else
        Bench bench = scratch->bench;
#endif
        if (d == 2) moments(2, plan, pair + i, cells, bench);
        else if (d == 3) moments(3, plan, pair + i, cells, bench);
        else moments(d, plan, pair + i, cells, bench);
        const Cell *cell = plan->source->cell + pair[i]->source;
        for (int g = 0; g < cells; ++g) work += (double)(cell->last - cell->first) * count_terms(&plan->mono, &pair[i + g]->degrees);
    }
    return work;
}

/* Expanded pairs of cell g, or of all cells below as well, appended to `list`; the number of their coefficients. */
static double list_pairs(const Plan *plan, long g, int below, Pair **list, long *count)
{
    double sum = 0.0;
    for (long i = plan->head[g]; i >= 0; i = plan->pair[i].next) {
        if (!plan->pair[i].expanded) continue;
        if (list) list[(*count)++] = plan->pair + i;
        sum += count_terms(&plan->mono, &plan->pair[i].degrees);
    }
    for (long child = plan->target->cell[g].left; below && plan->deeper[g] && child <= plan->target->cell[g].left + 1; ++child)
        sum += list_pairs(plan, child, 1, list, count);
    return sum;
}

/* Cells whose pairs are few enough to be held at once, from left to right; pairs of the cells above them to `above`. */
static void find_roots(const Plan *plan, long g, long *root, long *roots, Pair **above, long *count)
{
    if (!plan->deeper[g] || list_pairs(plan, g, 1, NULL, NULL) <= BATCH) {
        root[(*roots)++] = g;
        return;
    }
    list_pairs(plan, g, 0, above, count);
    for (long child = plan->target->cell[g].left; child <= plan->target->cell[g].left + 1; ++child)
        find_roots(plan, child, root, roots, above, count);
}

/* Results as from `coldflow_dense` for all points of the plan's targets, shift in base 2; unless null, second (n, d (d + 1)/2) is the
   same for y_k y_l, k <= l, which plans of order 2 in up to two dimensions can tell. Returns the terms evaluated. Once only. */
double coldflow_gathered(void *handle, double *num, double *den, double *shift, double *second, int threads)
{
    Plan *plan = handle;
    const int d = plan->source->d;
    double work = 0.0, coefficients = 0.0;
    long deepest = 1, widest = 1, roots = 0, count = 0, room = 64, *path = malloc(sizeof(long) * (size_t)room);
    threads = pick_threads(threads, plan->cost);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads) if (threads > 1)
    for (long i = 0; i < plan->pairs; ++i)
        if (plan->pair[i].expanded) {
            if (d == 2) measure(2, plan, plan->pair + i);
            else if (d == 3) measure(3, plan, plan->pair + i);
            else measure(d, plan, plan->pair + i);
        }
    for (long i = 0; i < plan->pairs; ++i)
        if (plan->pair[i].expanded) {
            const Degrees *degrees = &plan->pair[i].degrees;
            long size = (plan->mono.start[degrees->p[0] + 1] + 7) / 8 * 8;
            deepest = size > deepest ? size : deepest;
            widest = degrees->powers + 1 > widest ? degrees->powers + 1 : widest;
        }
    Scratch *scratch = malloc(sizeof *scratch * (size_t)threads);
    for (int i = 0; i < threads; ++i)
        scratch[i] = (Scratch){{aligned_alloc(64, sizeof(vd) * (size_t)(deepest * CHUNK)),
                                malloc(sizeof(double) * (size_t)(deepest * widest * TOGETHER))},
                               aligned_alloc(64, sizeof(vd) * (size_t)deepest), aligned_alloc(64, sizeof(vd) * (size_t)deepest)};
    long *root = malloc(sizeof(long) * (size_t)plan->target->cells);
    Pair **list = malloc(sizeof *list * (size_t)(plan->pairs + 1));
    find_roots(plan, 0, root, &roots, list, &count);
    for (long i = 0; i < count; ++i) coefficients += (double)count_terms(&plan->mono, &list[i]->degrees);
    double *shared = malloc(sizeof(double) * (size_t)(coefficients + 1.0)), *own = NULL, held = 0.0;
    work += prepare(plan, list, count, shared, scratch, threads);
    make_tasks(plan, 0, path, 0, &room, &path);
    free(path);
    for (long from = 0, task = 0; from < roots;) {
        long to = from;
        coefficients = 0.0, count = 0;
        do coefficients += list_pairs(plan, root[to], 1, list, &count), ++to;
        while (to < roots && coefficients < BATCH);
        if (coefficients + 1.0 > held) free(own), own = malloc(sizeof(double) * (size_t)(held = coefficients + 1.0));
        work += prepare(plan, list, count, own, scratch, threads);
        long end = task, last = plan->target->cell[root[to - 1]].last;
        while (end < plan->tasks && plan->task[end].last <= last) ++end;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1) reduction(+ : work)
        for (long i = task; i < end; ++i) {
#ifdef _OPENMP
            const Scratch *mine = scratch + omp_get_thread_num();
#else
            const Scratch *mine = scratch;
#endif
            work += run(plan, plan->task + i, mine, num, den, shift, second);
        }
        task = end, from = to;
    }
    for (int i = 0; i < threads; ++i) free(scratch[i].bench.mono), free(scratch[i].bench.sum), free(scratch[i].mono), free(scratch[i].back);
    free(scratch), free(root), free(list), free(shared), free(own);
    return work;
}
