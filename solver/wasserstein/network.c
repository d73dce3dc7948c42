/* Two kernels of optimal transport between weighted points.

   shortlist: for each source the targets of least reduced cost d(x, y)^p - g(y), over all pairs. Targets come in tiles
   of neighbours; most tiles are refused as a whole, and in the others a bound decides which pairs need their arc.

   simplex: primal network simplex on a bipartite graph given by its arcs, with integer flows and strongly feasible trees
   (W. H. Cunningham, Math. Programming 11, 1976; block pricing after the LEMON library). It starts from a feasible flow
   whose support is a forest. Trees of the forest hang from an artificial root by arcs of capacity zero. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TILE 64

static double half_power(double square, double p) {
    return p == 2.0 ? square : p == 1.0 ? sqrt(square) : pow(square, 0.5 * p);
}

/* A lower bound of the squared length from the squared chord: the first terms, all positive, of (2 asin(c/2))^2. */
static inline double squared_length(double s, int arc) {
    return arc ? s * (1.0 + s * (1.0 / 12 + s * (1.0 / 90 + s * (1.0 / 560 + s * (1.0 / 3150))))) : s;
}

static double cost_of(const double *x, const double *y, int64_t d, int64_t stride, int arc, double p) {
    double minus = 0.0, plus = 0.0;
    for (int64_t k = 0; k < d; k++) {
        double a = x[k] - y[k * stride], b = x[k] + y[k * stride];
        minus += a * a;
        plus += b * b;
    }
    if (!arc) return half_power(minus, p);
    double length = 2.0 * atan2(sqrt(minus), sqrt(plus));
    return half_power(length * length, p);
}

typedef struct {
    int64_t m, d;
    int arc;
    double p;
    const double *y, *g;
    double *centre, *radius, *top; /* of each tile: (tiles, d), its reach from there, and its largest g */
} Targets;

static void enclose(Targets *all, int64_t tiles) {
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t start = tile * TILE, end = start + TILE < all->m ? start + TILE : all->m;
        double *centre = all->centre + tile * all->d, reach = 0.0, top = all->g[start];
        for (int64_t k = 0; k < all->d; k++) {
            double sum = 0.0;
            for (int64_t j = start; j < end; j++) sum += all->y[k * all->m + j];
            centre[k] = sum / (double)(end - start);
        }
        for (int64_t j = start; j < end; j++) {
            double square = 0.0;
            for (int64_t k = 0; k < all->d; k++) {
                double a = all->y[k * all->m + j] - centre[k];
                square += a * a;
            }
            if (square > reach) reach = square;
            if (all->g[j] > top) top = all->g[j];
        }
        all->radius[tile] = sqrt(reach) * (1.0 + 1e-14) + 1e-15;
        all->top[tile] = top;
    }
}

/* Put what a tile holds below the last kept value into the list of one source. */
static void visit(const Targets *all, const double *x, int64_t tile, int64_t keep, double *value, int32_t *target) {
    double bound[TILE];
    int64_t m = all->m, start = tile * TILE, count = m - start < TILE ? m - start : TILE;
    const double *shift = all->g + start;
    for (int64_t j = 0; j < count; j++) bound[j] = 0.0;
    for (int64_t k = 0; k < all->d; k++) {
        double at = x[k];
        const double *row = all->y + k * m + start;
        for (int64_t j = 0; j < count; j++) {
            double a = at - row[j];
            bound[j] += a * a;
        }
    }
    for (int64_t j = 0; j < count; j++) bound[j] = squared_length(bound[j], all->arc);
    if (all->p == 1.0) {
        for (int64_t j = 0; j < count; j++) bound[j] = sqrt(bound[j]);
    } else if (all->p != 2.0) {
        for (int64_t j = 0; j < count; j++) bound[j] = pow(bound[j], 0.5 * all->p);
    }
    for (int64_t j = 0; j < count; j++) {
        if (bound[j] - shift[j] >= value[keep - 1]) continue;
        double reduced = cost_of(x, all->y + start + j, all->d, m, all->arc, all->p) - shift[j];
        if (reduced >= value[keep - 1]) continue;
        int64_t k = keep - 1;
        for (; k > 0 && value[k - 1] > reduced; k--) value[k] = value[k - 1], target[k] = target[k - 1];
        value[k] = reduced;
        target[k] = (int32_t)(start + j);
    }
}

/* x (n, d) by rows, y (d, m) by columns in an order that keeps neighbours together, g (m). Out, per source: its `keep`
   least reduced costs below `bar` (n), ascending, in best (n, keep) with their targets in index (n, keep), -1 where there
   are fewer. Returns -1 without memory. */
int32_t shortlist(int64_t n, int64_t m, int64_t d, int32_t arc, double p, const double *x, const double *y,
                  const double *g, const double *bar, int64_t keep, double *best, int32_t *index, int32_t threads) {
    int64_t tiles = (m + TILE - 1) / TILE;
    double *memory = malloc((size_t)(tiles * (d + 2)) * sizeof *memory);
    if (!memory) return -1;
    Targets all = {m, d, arc, p, y, g, memory, memory + tiles * d, memory + tiles * (d + 1)};
    enclose(&all, tiles);
    int32_t status = 0;
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        double *floor = malloc((size_t)tiles * sizeof *floor);
        if (!floor) status = -1;
#pragma omp for schedule(dynamic, 64)
        for (int64_t i = 0; i < n; i++) {
            if (!floor) continue;
            double *value = best + i * keep;
            int32_t *target = index + i * keep;
            for (int64_t k = 0; k < keep; k++) value[k] = bar[i], target[k] = -1;
            int64_t first = 0;
            for (int64_t tile = 0; tile < tiles; tile++) {
                double square = 0.0;
                for (int64_t k = 0; k < d; k++) {
                    double a = x[i * d + k] - all.centre[tile * d + k];
                    square += a * a;
                }
                double chord = sqrt(square) - all.radius[tile];
                square = chord > 0.0 ? chord * chord : 0.0;
                floor[tile] = half_power(squared_length(square, arc), p) - all.top[tile];
                if (floor[tile] < floor[first]) first = tile;
            }
            visit(&all, x + i * d, first, keep, value, target);
            for (int64_t tile = 0; tile < tiles; tile++)
                if (tile != first && floor[tile] < value[keep - 1]) visit(&all, x + i * d, tile, keep, value, target);
        }
        free(floor);
    }
    free(memory);
    return status;
}

void costs(int64_t count, int64_t d, int64_t m, int32_t arc, double p, const double *x, const double *y,
           const int32_t *source, const int32_t *target, double *cost) {
    for (int64_t e = 0; e < count; e++) cost[e] = cost_of(x + source[e] * d, y + target[e], d, m, arc, p);
}

typedef struct { /* 32 bytes: a visit costs one cache line */
    int32_t parent, child, next, previous, depth;
    int32_t arc; /* to the parent; -1: artificial */
    double potential;
} Node;

static void unlink_node(Node *tree, int32_t v) {
    Node *node = tree + v;
    if (node->previous >= 0) tree[node->previous].next = node->next;
    else tree[node->parent].child = node->next;
    if (node->next >= 0) tree[node->next].previous = node->previous;
}

static void link_node(Node *tree, int32_t v, int32_t parent, int32_t arc) {
    Node *node = tree + v;
    node->parent = parent;
    node->arc = arc;
    node->previous = -1;
    node->next = tree[parent].child;
    if (node->next >= 0) tree[node->next].previous = v;
    tree[parent].child = v;
}

/* New depths below a node and potentials raised by `shift`; returns how many nodes that are. */
static int64_t renew(Node *tree, int32_t top, double shift) {
    int32_t v = top;
    for (int64_t count = 1;; count++) {
        tree[v].depth = tree[tree[v].parent].depth + 1;
        tree[v].potential += shift;
        if (tree[v].child >= 0) {
            v = tree[v].child;
            continue;
        }
        while (v != top && tree[v].next < 0) v = tree[v].parent;
        if (v == top) return count;
        v = tree[v].next;
    }
}

/* Hang the forest of arcs with flow from the root; potentials follow from those of one node of each tree. */
static int plant(int64_t n, int64_t nodes, int64_t arcs, const int32_t *source, const int32_t *target, const double *cost,
                 const int64_t *flow, Node *tree, const double *potential) {
    int64_t *first = calloc(nodes + 1, sizeof *first), used = 0;
    int32_t root = (int32_t)nodes, *queue = malloc(nodes * sizeof *queue);
    for (int64_t e = 0; e < arcs; e++)
        if (flow[e] > 0) first[source[e]]++, first[n + target[e]]++, used++;
    int64_t *incident = malloc((2 * used + 1) * sizeof *incident), sum = 0;
    for (int64_t v = 0; v <= nodes; v++) {
        int64_t degree = v < nodes ? first[v] : 0;
        first[v] = sum;
        sum += degree;
    }
    int64_t *fill = malloc(nodes * sizeof *fill);
    memcpy(fill, first, nodes * sizeof *fill);
    for (int64_t e = 0; e < arcs; e++)
        if (flow[e] > 0) incident[fill[source[e]]++] = e, incident[fill[n + target[e]]++] = e;
    for (int64_t v = 0; v <= nodes; v++) tree[v] = (Node){-1, -1, -1, -1, -1, -1, v < nodes ? potential[v] : 0.0};
    tree[root].depth = 0;
    int status = 0;
    for (int64_t seed = 0; seed < nodes; seed++) {
        if (tree[seed].depth >= 0) continue;
        link_node(tree, (int32_t)seed, root, -1);
        tree[seed].depth = 1;
        int64_t head = 0, tail = 0;
        queue[tail++] = (int32_t)seed;
        while (head < tail) {
            int32_t v = queue[head++];
            for (int64_t at = first[v]; at < first[v + 1]; at++) {
                int64_t e = incident[at];
                if (e == tree[v].arc) continue;
                int32_t w = v < n ? (int32_t)(n + target[e]) : source[e];
                if (tree[w].depth >= 0) {
                    status = -1; /* a cycle */
                    continue;
                }
                link_node(tree, w, v, (int32_t)e);
                tree[w].depth = tree[v].depth + 1;
                tree[w].potential = tree[v].potential + (v < n ? -cost[e] : cost[e]);
                queue[tail++] = w;
            }
        }
    }
    free(first), free(queue), free(incident), free(fill);
    return status;
}

/* Least-cost flow. Sources 0..n-1, targets 0..m-1, arcs source[e] -> target[e]; flow (arcs) holds a feasible flow on entry
   and the best one on return; potential (n + m): reduced cost = cost - potential[source] + potential[n + target].
   Stops early, with a feasible flow, once `work` (nodes visited, plus arcs priced / 8) is spent; what is left of it is
   returned there. Returns the number of pivots, -1 if the flow holds a cycle, -2 without memory. */
int64_t simplex(int64_t n, int64_t m, int64_t arcs, const int32_t *source, const int32_t *target, const double *cost,
                int64_t *flow, double *potential, double tolerance, int64_t *work) {
    int64_t nodes = n + m, pivots = 0, from = 0;
    int32_t root = (int32_t)nodes;
    Node *tree = malloc((nodes + 1) * sizeof *tree);
    if (!tree) return -2;
    if (plant(n, nodes, arcs, source, target, cost, flow, tree, potential) < 0) {
        free(tree);
        return -1;
    }
    int64_t block = (int64_t)sqrt((double)arcs) + 20;
    while (*work > 0) {
        int64_t enter = -1, scanned = 0;
        double least = -tolerance;
        while (scanned < arcs && enter < 0) {
            for (int64_t k = 0; k < block && scanned < arcs; k++, scanned++) {
                double reduced = cost[from] - tree[source[from]].potential + tree[n + target[from]].potential;
                if (reduced < least) least = reduced, enter = from;
                if (++from == arcs) from = 0;
            }
        }
        *work -= scanned / 8;
        if (enter < 0) break;
        int32_t s = source[enter], t = (int32_t)(n + target[enter]), a = s, b = t;
        /* Climb to the apex; the arc that leaves is the last to block on the way apex -> s -> t -> apex. */
        int64_t room_s = INT64_MAX, room_t = INT64_MAX;
        int32_t leave_s = -1, leave_t = -1, top = -1;
        while (a != b) {
            if (tree[a].depth >= tree[b].depth) {
                if (a < n && tree[a].arc >= 0 && flow[tree[a].arc] < room_s) room_s = flow[tree[a].arc], leave_s = a;
                top = a;
                a = tree[a].parent;
            } else {
                if (b >= n && tree[b].arc >= 0 && flow[tree[b].arc] <= room_t) room_t = flow[tree[b].arc], leave_t = b;
                b = tree[b].parent;
            }
        }
        int64_t theta = room_t <= room_s ? room_t : room_s;
        int32_t leave = room_t <= room_s ? leave_t : leave_s;
        int on_source_side = leave == leave_s && room_s < room_t;
        if (a == root) { /* two trees of the forest: s and its tree move below t */
            theta = 0;
            leave = top;
            on_source_side = 1;
        }
        if (theta > 0) {
            flow[enter] += theta;
            for (int32_t v = s; v != a; v = tree[v].parent) flow[tree[v].arc] += v < n ? -theta : theta;
            for (int32_t v = t; v != a; v = tree[v].parent) flow[tree[v].arc] += v < n ? theta : -theta;
        }
        int32_t v = on_source_side ? s : t, above = on_source_side ? t : s, start = v;
        int32_t by = (int32_t)enter;
        for (;;) {
            int32_t old = tree[v].parent;
            int32_t old_arc = tree[v].arc;
            unlink_node(tree, v);
            link_node(tree, v, above, by);
            if (v == leave) break;
            above = v, by = old_arc, v = old;
        }
        int64_t visited = renew(tree, start, on_source_side ? least : -least);
        *work -= visited + tree[s].depth + tree[t].depth;
        pivots++;
    }
    for (int64_t v = 0; v < nodes; v++) potential[v] = tree[v].potential;
    free(tree);
    return pivots;
}
