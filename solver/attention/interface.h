/* What Python calls: cffi reads this text, and the C files are compiled after it. */

int coldflow_lanes(void);

void coldflow_pack(int d, long n, const double *y, const double *l, const long *order, long packs, double *packed);

void coldflow_dense(int d, int bounded, long n, const double *z, double *shift, long m, const double *packed,
                    double *num, double *den, int threads);

void coldflow_hardmax(int d, long n, const double *z, double tie, double radius, long m, const double *packed,
                      double *num, double *den, double *level, int threads);

void coldflow_circle_sources(long m, const double *y, const double *w, long order, double *c, int threads);

void coldflow_circle_targets(long n, const double *z, long order, double depth, const double *mix, const double *rough,
                             double *num, double *den, double *shift, double *error, int threads);

void coldflow_sphere_sources(long n, const double *y, const double *w, long degree, double *raw, int threads);

void coldflow_sphere_couple(long degree, const double *raw, double *mix, double *power);

void coldflow_sphere_targets(long n, const double *z, long degree, double depth, int fields, const double *mix, const double *rough,
                             double *value, double *shift, double *error, int threads);

void coldflow_tree(int d, int sphere, long n, const double *y, int leaf, long *order, double *node, int threads);

void coldflow_weigh(int d, long leaves, const double *packed, double *node);

long coldflow_pruned(int d, int sphere, int hard, long n, const double *z, const long *place, long leaves,
                     const double *packed, const double *node, double error, double radius, double budget, double tie,
                     const double *source_part, const double *turned, double *num, double *den, double *shift, double *quad,
                     int threads);

void coldflow_quadratic(int d, int bounded, long n, const double *z, const double *a, double *shift, long m, const double *packed,
                        double *num, double *den, double *quad, int threads);

void coldflow_turn(int d, long n, const double *x, const double *matrix, double *out);

void coldflow_forms(int d, long n, const double *matrix, const double *y, const double *z, const double *a, double *out);

void *coldflow_cells(int d, int axis, long n, const double *y);

void coldflow_cells_weigh(void *cells, const double *level);

void coldflow_cells_free(void *cells);

void *coldflow_plan(void *targets, void *sources, int order, int degree, const long *start, const long *parent, const long *variable,
                    const double *many, double tolerance, double drop, double limit, double dense, double *cost);

double coldflow_gathered(void *plan, double *num, double *den, double *shift, double *second, int threads);

void coldflow_plan_free(void *plan);

long coldflow_relay(long n, const double *z, const long *place, long leaves, const double *packed, const double *node, double s,
                    double budget, double *num, double *den, double *shift, double *second, int threads);

void coldflow_legendre_analysis(long degree, long half, const double *data, double *coefficient, int threads);

void coldflow_legendre_synthesis(long degree, long half, const double *coefficient, double *value, int threads);

void coldflow_legendre_scaled(long degree, long half, long first, long count, long nodes, const double *kappa, const long *last, long top,
                              const double *coefficient, double *value, int threads);

void coldflow_nufft_sort(long n, const double *y, long size, double *place, long *order, long *first, int threads);

void coldflow_nufft_spread(long n, const double *place, const long *order, const long *first, const double *w, long size, double shape,
                           double *grid, int threads);

void coldflow_nufft_interpolate(long n, const double *place, const long *order, long size, double shape, const double *grid,
                                double *value, int threads);
