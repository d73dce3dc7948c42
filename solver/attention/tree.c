/* Points in leaves of LEAF neighbours, and a binary tree over the leaves.

   The tree over leaves [a, b) splits at (a + b)/2; its nodes are numbered in preorder, so that the left child of a node
   is the next one and a tree over k leaves has 2k - 1 nodes. A node is a row of NODE(d) doubles:
       0 log2 of its mass, 1 largest log2 mass of its leaves, 2.. mean of its points (by mass), 2+d.. centre,
       2+2d.. cosine and sine of its cap, or half widths of its box, 2+3d largest distance from the centre. */

#define LEAF 16
#define NODE(d) (3 * (d) + 3)

typedef struct { int d, sphere, leaf; long n, width; double *point; double *node; long threads; } Builder;

INLINE void swap_points(double *a, double *b, int width)
{
    for (int k = 0; k < width; ++k) { double t = a[k]; a[k] = b[k]; b[k] = t; }
}

/* Rearrange points [low, high) so that those before `middle` have the smaller coordinate k. */
INLINE void split_points(const int width, double *point, long low, long high, long middle, int k)
{
    while (high - low > 1) {
        double a = point[low * width + k], b = point[(low + (high - low) / 2) * width + k],
               c = point[(high - 1) * width + k];
        double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        long i = low, j = high - 1;
        while (i <= j) {
            while (point[i * width + k] < pivot) ++i;
            while (point[j * width + k] > pivot) --j;
            if (i <= j) swap_points(point + i++ * width, point + j-- * width, width);
        }
        if (middle <= j) high = j + 1;
        else if (middle >= i) low = i;
        else return;
    }
}

/* The smallest cap about the mean direction, or box, of points [low, high). */
INLINE void enclose(const int d, int sphere, const double *point, long low, long high, double *node)
{
    double *centre = node + 2 + d, *extent = node + 2 + 2 * d, *far = node + 2 + 3 * d;
    double least[d], most[d], sum[d], norm = 0.0;
    for (int k = 0; k < d; ++k) least[k] = INFINITY, most[k] = -INFINITY, sum[k] = 0.0;
    for (long i = low; i < high; ++i)
        for (int k = 0; k < d; ++k) {
            double x = point[i * (d + 1) + k];
            least[k] = x < least[k] ? x : least[k];
            most[k] = x > most[k] ? x : most[k];
            sum[k] += x;
        }
    for (int k = 0; k < d; ++k) norm += sum[k] * sum[k];
    norm = sqrt(norm);
    *far = 0.0;
    if (sphere) {
        for (int k = 0; k < d; ++k) centre[k] = norm > 0.0 ? sum[k] / norm : k == 0;
        double cosine = 1.0;
        for (long i = low; i < high; ++i) {
            double c = 0.0;
            for (int k = 0; k < d; ++k) c += point[i * (d + 1) + k] * centre[k];
            cosine = c < cosine ? c : cosine;
        }
        /* rounding: a single point, or equal points, must get a cap that holds them */
        cosine = cosine - 4e-16 < -1.0 ? -1.0 : cosine - 4e-16;
        extent[0] = cosine;
        extent[1] = sqrt(1.0 - cosine * cosine);
        *far = sqrt(2.0 - 2.0 * cosine);
    } else {
        for (int k = 0; k < d; ++k) {
            centre[k] = 0.5 * (least[k] + most[k]);
            extent[k] = (0.5 * (most[k] - least[k])) * (1.0 + 1e-15) + 1e-16 * (fabs(least[k]) + fabs(most[k]));
            *far += extent[k] * extent[k];
        }
        *far = sqrt(*far);
    }
}

INLINE int widest(const int d, const double *point, long low, long high)
{
    double least[d], most[d];
    for (int k = 0; k < d; ++k) least[k] = INFINITY, most[k] = -INFINITY;
    for (long i = low; i < high; ++i)
        for (int k = 0; k < d; ++k) {
            double x = point[i * (d + 1) + k];
            least[k] = x < least[k] ? x : least[k];
            most[k] = x > most[k] ? x : most[k];
        }
    int best = 0;
    for (int k = 1; k < d; ++k)
        if (most[k] - least[k] > most[best] - least[best]) best = k;
    return best;
}

INLINE void grow(const int d, Builder b, long first, long last, double *node, void (*self)(Builder, long, long, double *))
{
    long low = first * b.leaf, high = last * b.leaf < b.n ? last * b.leaf : b.n;
    if (node) enclose(d, b.sphere, b.point, low, high, node);
    if (last - first == 1) return;
    long middle = (first + last) / 2;
    split_points(d + 1, b.point, low, high, middle * b.leaf, widest(d, b.point, low, high));
    double *right = node ? node + 2 * (middle - first) * NODE(d) : NULL;
    int large = high - low > 20000 && b.threads > 1;
#pragma omp task if (large)
    self(b, first, middle, node ? node + NODE(d) : NULL);
    self(b, middle, last, right);
#pragma omp taskwait
}

static void grow_2(Builder b, long first, long last, double *node) { grow(2, b, first, last, node, grow_2); }
static void grow_3(Builder b, long first, long last, double *node) { grow(3, b, first, last, node, grow_3); }
static void grow_any(Builder b, long first, long last, double *node) { grow(b.d, b, first, last, node, grow_any); }

/* Sort points (n, d) into leaves of `leaf`: order (n,), and, unless null, the geometry of the nodes (2 leaves - 1, NODE(d)).
   sphere: the points lie on the unit sphere, nodes are caps; else boxes. */
void coldflow_tree(int d, int sphere, long n, const double *y, int leaf, long *order, double *node, int threads)
{
    long leaves = (n + leaf - 1) / leaf;
    threads = n > 20000 ? threads : 1;
    Builder b = {d, sphere, leaf, n, d + 1, malloc(sizeof(double) * (size_t)(n * (d + 1))), node, threads};
    for (long i = 0; i < n; ++i) {
        for (int k = 0; k < d; ++k) b.point[i * (d + 1) + k] = y[i * d + k];
        b.point[i * (d + 1) + d] = (double)i;   /* exact below 2^53 */
    }
    void (*start)(Builder, long, long, double *) = d == 2 ? grow_2 : d == 3 ? grow_3 : grow_any;
#pragma omp parallel num_threads(threads) if (threads > 1)
#pragma omp single
    start(b, 0, leaves, node);
    for (long i = 0; i < n; ++i) order[i] = (long)b.point[i * (d + 1) + d];
    free(b.point);
}

static void weigh(int d, long first, long last, const vd *pack, double *node)
{
    double *mean = node + 2;
    if (last - first == 1) {
        double top = EMPTY, mass = 0.0;
        for (int k = 0; k < d; ++k) mean[k] = 0.0;
        for (long i = first * (LEAF / LANES); i < last * (LEAF / LANES); ++i)
            for (int lane = 0; lane < LANES; ++lane)
                if (pack[i * PACK(d) + d][lane] > top) top = pack[i * PACK(d) + d][lane];
        for (long i = first * (LEAF / LANES); i < last * (LEAF / LANES) && top > 0.5 * EMPTY; ++i)
            for (int lane = 0; lane < LANES; ++lane) {
                double w = exp2(pack[i * PACK(d) + d][lane] - top);
                mass += w;
                for (int k = 0; k < d; ++k) mean[k] += w * pack[i * PACK(d) + k][lane];
            }
        for (int k = 0; k < d && mass > 0.0; ++k) mean[k] /= mass;
        node[0] = node[1] = mass > 0.0 ? top + log2(mass) : EMPTY;
        return;
    }
    long middle = (first + last) / 2;
    double *left = node + NODE(d), *right = node + 2 * (middle - first) * NODE(d);
    weigh(d, first, middle, pack, left);
    weigh(d, middle, last, pack, right);
    double top = left[0] > right[0] ? left[0] : right[0], a = exp2(left[0] - top), b = exp2(right[0] - top);
    node[1] = left[1] > right[1] ? left[1] : right[1];
    node[0] = top > 0.5 * EMPTY ? top + log2(a + b) : EMPTY;
    for (int k = 0; k < d; ++k) mean[k] = (a * left[2 + k] + b * right[2 + k]) / (a + b);
}

/* Masses and means of all nodes, from packs of whole leaves in the tree's order. */
void coldflow_weigh(int d, long leaves, const double *packed, double *node)
{
    weigh(d, 0, leaves, (const vd *)packed, node);
}
