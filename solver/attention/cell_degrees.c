/* Polynomials that stand for e^t on [-rho, rho], and how far they are from it; the bounds are proven in gathered.py. */

#define STEEPEST 3.0     /* largest |z - z_0| |y - c| that is expanded */
#define FINEST 8         /* steps of the tables per factor of two */
#define STEPS 420        /* entries of the tables: down to 3 * 2^-52 */
#define HIGHEST 24       /* largest degree */
#define POWERS 12        /* largest number of powers of the coordinate along the axis */
static const double LOG2_E = 1.4426950408889634;

/* What the monomials of q variables are: in order of their degree; each is the product of its parent and one variable. */
typedef struct { int q, degree; const long *start, *parent, *variable; const double *many; } Monomials;

/* For each step and degree p: bounds of the series cut after p, of its first and of its second derivative with respect to t/rho,
   and its coefficients in powers of t/rho. */
static double cut[3][STEPS][HIGHEST + 1], power[STEPS][HIGHEST + 1][HIGHEST + 1], steepness[STEPS], growth[STEPS];

static void fill_step(int step)
{
    const int last = HIGHEST + 40;
    double rho = STEEPEST * exp2(-(double)step / FINEST), bessel[HIGHEST + 41], sum[3] = {0.0, 0.0, 0.0};
    steepness[step] = rho, growth[step] = exp(rho);
    for (int l = 0; l <= last; ++l) {
        double term = 1.0;
        bessel[l] = 0.0;
        for (int k = 1; k <= l; ++k) term *= 0.5 * rho / k;
        for (int k = 1; term > 1e-19 * bessel[l]; ++k) bessel[l] += term, term *= 0.25 * rho * rho / ((double)k * (k + l));
    }
    for (int l = last; l > 0; --l) {
        double square = (double)l * l, term = 2.0 * bessel[l] * (1.0 + 1e-12);
        sum[0] += term, sum[1] += square * term, sum[2] += square * (square - 1.0) / 3.0 * term;
        if (l <= HIGHEST + 1)
            for (int c = 0; c < 3; ++c) cut[c][step][l - 1] = sum[c];
    }
    double before[HIGHEST + 1] = {1.0}, now[HIGHEST + 1] = {0.0, 1.0}, next[HIGHEST + 1], a[HIGHEST + 1] = {0.0};
    for (int l = 0; l <= HIGHEST; ++l) {
        const double *t = l ? now : before;
        for (int k = 0; k <= l; ++k) a[k] += (l ? 2.0 : 1.0) * bessel[l] * t[k];
        memcpy(power[step][l], a, sizeof a);
        if (!l) continue;
        for (int k = 0; k <= HIGHEST; ++k) next[k] = (k ? 2.0 * now[k - 1] : 0.0) - (k < l ? before[k] : 0.0);
        memcpy(before, now, sizeof now), memcpy(now, next, sizeof now);
    }
}

static void fill_tables(void)
{
    static int filled = 0;
#pragma omp critical (coldflow_tables)
    if (!filled) {
        for (int step = 0; step < STEPS; ++step) fill_step(step);
        filled = 1;
    }
}

/* The step of the tables at or above rho. */
static int find_step(double rho)
{
    if (!(rho > 0.0)) return STEPS - 1;
    double s = floor(FINEST * log2(STEEPEST / rho));
    int step = s < 0.0 ? 0 : s > STEPS - 1 ? STEPS - 1 : (int)s;
    return step && steepness[step] < rho ? step - 1 : step;
}

/* How one pair of cells is expanded: across the axis in polynomials of degree p[k] for each power k up to `powers` along it. */
typedef struct { int step, powers, p[POWERS]; } Degrees;

/* Sizes of a pair: bounds of the exponent across and along the axis, and of y - c, relative to the size of all sources. */
typedef struct { double steep, tall, across, along; } Sizes;

/* Degrees for an error of `relative` of each term or `absolute` of a term at the centre, whichever is more; false if they
   exceed the tables. order: how many derivatives have to be as accurate, 1 or 2. */
static int choose_degrees(const Monomials *mono, int axis, int order, Sizes s, double relative, double absolute, Degrees *out)
{
    if (s.steep > STEEPEST || s.tall > 0.5) return 0;
    const int step = find_step(s.steep), most = mono->degree < HIGHEST ? mono->degree : HIGHEST;
    const double *value = cut[0][step], *slope = cut[1][step], *curve = cut[2][step];
    double wide = s.across / steepness[step], tolerance = relative / growth[step] / (1.0 + 1.3 * s.tall);
    tolerance = (absolute > tolerance ? absolute : tolerance) / 3.0;
    const double above = growth[step] * (1.0 + 1.3 * s.tall);   /* e^tall <= 1 + 1.3 tall up to 1/2 */
    double weight[3] = {1.0, 0.0, 0.0}, allowed = 0.5 * tolerance;   /* tall^k/k!, and the two before */
    int p = 0;
    out->step = step;
    for (int k = 0;; ++k) {
        if (k == POWERS) return 0;
        double high = weight[1] * s.along, higher = weight[2] * s.along * s.along;
#define FINE(p) (weight[0] * value[p] <= allowed && weight[0] * wide * slope[p] <= allowed && high * value[p] <= allowed       \
                 && (order < 2 || (weight[0] * wide * wide * curve[p] <= allowed && high * wide * slope[p] <= allowed         \
                                   && higher * value[p] <= allowed)))
        while (p <= most && !FINE(p)) ++p;
        if (p > most) return 0;
        while (p > 0 && FINE(p - 1)) --p;
#undef FINE
        out->p[k] = p, out->powers = k;
        weight[2] = weight[1], weight[1] = weight[0], weight[0] *= s.tall / (k + 1), allowed *= 0.5;
        if (!axis || (weight[0] * above <= tolerance && weight[1] * s.along * above <= tolerance
                      && (order < 2 || weight[2] * s.along * s.along * above <= tolerance))) return 1;
    }
}

static long count_terms(const Monomials *mono, const Degrees *degrees)
{
    long sum = 0;
    for (int k = 0; k <= degrees->powers; ++k) sum += mono->start[degrees->p[k] + 1];
    return sum;
}
