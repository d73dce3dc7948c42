/* What Python calls: cffi reads this text, and the C files are compiled after it. */

void coldflow_pack(int d, long n, const double *y, const double *l, const long *order, double *packed);

void coldflow_dense(int d, int bounded, long n, const double *z, double *shift, long m, const double *packed,
                    double *num, double *den, int threads);

void coldflow_hardmax(int d, long n, const double *z, double tie, double radius, long m, const double *packed,
                      double *num, double *den, double *level, int threads);
