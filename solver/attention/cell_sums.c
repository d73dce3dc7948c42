/* The targets' side: polynomials and direct sums. */

#define AT_ONCE 4        /* vectors of targets that share the coefficients of a polynomial */

/* Sums of one vector of targets: 2^shift times den, num and, in the order 11, 12, .., 22, .., second. */
typedef struct { vd shift, den, *num, *second; } Sums;

/* A polynomial and its derivatives with respect to the variables across and along the axis; those of second order are halved
   where both are the same. */
typedef struct { vd value, a, b, w, aa, ab, bb, aw, bw, ww; } Jet;

INLINE void rescale(const int d, Sums *sums, vd shift)
{
    vd factor = exp2_vector(sums->shift - shift);
    factor = choose((vl)(sums->shift - shift < splat(-955.0)), splat(0.0), factor);
    sums->den *= factor;
    for (int k = 0; k < d; ++k) sums->num[k] *= factor;
    for (int k = 0; sums->second && k < d * (d + 1) / 2; ++k) sums->second[k] *= factor;
    sums->shift = shift;
}

/* Horner's scheme in up to two variables across the axis and one along it, for AT_ONCE vectors. */
INLINE void horner(const int q, const int order, const Degrees *degrees, const double *c, const vd *a, const vd *b, const vd *w, Jet *out)
{
    enum { W = AT_ONCE };
    const vd zero = splat(0.0);
    for (int v = 0; v < W; ++v) out[v] = (Jet){zero, zero, zero, zero, zero, zero, zero, zero, zero, zero};
    for (int k = degrees->powers; k >= 0; --k) {
        vd f[W], fa[W], fb[W], faa[W], fab[W], fbb[W];
        const double *row = c;
        for (int l = k - 1; l >= 0; --l) row += q == 2 ? (degrees->p[l] + 1) * (degrees->p[l] + 2) / 2 : degrees->p[l] + 1;
        for (int v = 0; v < W; ++v) f[v] = fa[v] = fb[v] = faa[v] = fab[v] = fbb[v] = zero;
        for (int i = degrees->p[k]; i >= 0; --i) {
            vd r[W], r1[W], r2[W];
            for (int v = 0; v < W; ++v) r[v] = r1[v] = r2[v] = zero;
            if (q == 2)
                for (int j = degrees->p[k] - i; j >= 0; --j) {
                    vd next = splat(*row++);
                    for (int v = 0; v < W; ++v) {
                        if (order > 1) r2[v] = r2[v] * b[v] + r1[v];
                        r1[v] = r1[v] * b[v] + r[v];
                        r[v] = r[v] * b[v] + next;
                    }
                }
            else {
                vd next = splat(*row++);
                for (int v = 0; v < W; ++v) r[v] = next;
            }
            for (int v = 0; v < W; ++v) {
                if (order > 1) {
                    faa[v] = faa[v] * a[v] + fa[v];
                    if (q == 2) fab[v] = fab[v] * a[v] + fb[v], fbb[v] = fbb[v] * a[v] + r2[v];
                }
                fa[v] = fa[v] * a[v] + f[v];
                if (q == 2) fb[v] = fb[v] * a[v] + r1[v];
                f[v] = f[v] * a[v] + r[v];
            }
        }
        for (int v = 0; v < W; ++v) {
            Jet *o = out + v;
            if (order > 1) {
                o->ww = o->ww * w[v] + o->w, o->aw = o->aw * w[v] + o->a, o->aa = o->aa * w[v] + faa[v];
                if (q == 2) o->bw = o->bw * w[v] + o->b, o->ab = o->ab * w[v] + fab[v], o->bb = o->bb * w[v] + fbb[v];
            }
            o->w = o->w * w[v] + o->value, o->a = o->a * w[v] + fa[v], o->value = o->value * w[v] + f[v];
            if (q == 2) o->b = o->b * w[v] + fb[v];
        }
    }
}

/* Expansion of a pair in up to two variables across the axis, for AT_ONCE vectors of targets. */
INLINE void evaluate_few(const int d, const int axis, const int order, const Plan *plan, const Pair *pair, const vd (*z)[d], Sums *sums)
{
    const int q = d - axis;
    const Cells *s = plan->source;
    const Cell *cell = s->cell + pair->source;
    const double *c = s->centre + pair->source * d, *n = s->normal + pair->source * d, *z0 = plan->target->centre + pair->target * d;
    const double wide = cell->across / steepness[pair->degrees.step], high = cell->along;
    vd a[AT_ONCE], b[AT_ONCE], w[AT_ONCE], scale[AT_ONCE];
    Jet jet[AT_ONCE];
    for (int v = 0; v < AT_ONCE; ++v) {
        vd e[d], u[d], t = splat(pair->top) - sums[v].shift;
        for (int k = 0; k < d; ++k) t += splat(LOG2_E * c[k]) * z[v][k], e[k] = z[v][k] - splat(z0[k]);
        w[v] = turn(d, axis, n, e, u) * splat(high);
        a[v] = u[0] * splat(wide), b[v] = q == 2 ? u[q - 1] * splat(wide) : splat(0.0);
        scale[v] = choose((vl)(t < splat(-955.0)), splat(0.0), exp2_vector(t));
    }
    horner(q, order, &pair->degrees, pair->moment, a, b, w, jet);
    for (int v = 0; v < AT_ONCE; ++v) {
        vd e[d], u[d], value = jet[v].value * scale[v];
        u[0] = jet[v].a * scale[v] * splat(wide);
        if (q == 2) u[q - 1] = jet[v].b * scale[v] * splat(wide);
        unturn(d, axis, n, u, jet[v].w * scale[v] * splat(high), e);
        sums[v].den += value;
        for (int k = 0; k < d; ++k) sums[v].num[k] += e[k] + splat(c[k]) * value;
        if (order < 2) continue;
        /* the second derivatives along the axes across (a, b) and along (w), turned row by row and then column by column */
        vd rows[3][d], turned[d][3], g[3][3], squared = scale[v] * splat(wide * wide), mixed = scale[v] * splat(wide * high);
        g[0][0] = splat(2.0) * jet[v].aa * squared, g[1][1] = splat(2.0) * jet[v].bb * squared;
        g[2][2] = splat(2.0) * jet[v].ww * scale[v] * splat(high * high);
        g[0][1] = g[1][0] = jet[v].ab * squared, g[0][2] = g[2][0] = jet[v].aw * mixed, g[1][2] = g[2][1] = jet[v].bw * mixed;
        for (int i = 0; i < 3; ++i) {
            vd across[d];
            across[0] = g[i][0];
            if (q == 2) across[q - 1] = g[i][1];
            unturn(d, axis, n, across, g[i][2], rows[i]);
        }
        for (int k = 0; k < d; ++k)
            for (int i = 0; i < 3; ++i) turned[k][i] = rows[i][k];
        for (int k = 0, at = 0; k < d; ++k) {
            vd across[d], whole[d];
            across[0] = turned[k][0];
            if (q == 2) across[q - 1] = turned[k][1];
            unturn(d, axis, n, across, turned[k][2], whole);
            for (int l = k; l < d; ++l, ++at)
                sums[v].second[at] += whole[l] + splat(c[k]) * e[l] + splat(c[l]) * e[k] + splat(c[k] * c[l]) * value;
        }
    }
}

/* The same for one vector of targets in any number of variables: monomials, then the derivatives backwards from them. */
INLINE void evaluate_many(const int d, const Plan *plan, const Pair *pair, const vd *z, Sums *sums, vd *mono, vd *back)
{
    const Cells *s = plan->source;
    const Monomials *m = &plan->mono;
    const Cell *cell = s->cell + pair->source;
    const Degrees *degrees = &pair->degrees;
    const double *c = s->centre + pair->source * d, *n = s->normal + pair->source * d, *z0 = plan->target->centre + pair->target * d;
    const double wide = cell->across / steepness[degrees->step], high = cell->along, *end = pair->moment + count_terms(m, degrees);
    const long size = m->start[degrees->p[0] + 1];
    vd e[d], u[d], slope[d], part[d], t = splat(pair->top) - sums->shift, value = splat(0.0), rise = splat(0.0);
    for (int k = 0; k < d; ++k) t += splat(LOG2_E * c[k]) * z[k], e[k] = z[k] - splat(z0[k]);
    vd w = turn(d, s->axis, n, e, u) * splat(high);
    for (int k = 0; k < m->q; ++k) u[k] *= splat(wide), slope[k] = splat(0.0);
    mono[0] = splat(1.0);
    for (long a = 1; a < size; ++a) mono[a] = mono[m->parent[a]] * u[m->variable[a]];
    for (int k = degrees->powers; k >= 0; --k) {
        long count = m->start[degrees->p[k] + 1];
        end -= count;
        for (long a = 0; a < count; ++a) back[a] = splat(end[a]);
        for (int f = 0; f < m->q; ++f) part[f] = splat(0.0);
        for (long a = count - 1; a > 0; --a) {
            back[m->parent[a]] += back[a] * u[m->variable[a]];
            part[m->variable[a]] += back[a] * mono[m->parent[a]];
        }
        rise = rise * w + value, value = value * w + back[0];
        for (int f = 0; f < m->q; ++f) slope[f] = slope[f] * w + part[f];
    }
    vd scale = choose((vl)(t < splat(-955.0)), splat(0.0), exp2_vector(t));
    for (int k = 0; k < m->q; ++k) u[k] = slope[k] * splat(wide);
    unturn(d, s->axis, n, u, rise * splat(high), e);
    sums->den += scale * value;
    for (int k = 0; k < d; ++k) sums->num[k] += scale * (e[k] + splat(c[k]) * value);
}

/* All sources of a cell, one by one, for up to eight targets. */
INLINE void sum_directly(const int d, const Plan *plan, const Pair *pair, const vd *z, long count, Sums *sums)
{
    const Cells *s = plan->source;
    const Cell *cell = s->cell + pair->source;
    const int pairs = sums->second ? d * (d + 1) / 2 : 0;
    for (long i = 0; i < count; ++i) {
        vd top = splat(EMPTY), den = splat(0.0), num[d], second[pairs + 1];
        double x[d];
        for (int k = 0; k < d; ++k) x[k] = LOG2_E * z[k][i], num[k] = splat(0.0);
        for (int k = 0; k < pairs; ++k) second[k] = splat(0.0);
        for (long j = cell->first; j < cell->last; j += LANES) {
            vd t = load(s->level + j);
            for (int k = 0; k < d; ++k) t += splat(x[k]) * load(s->point + k * s->stride + j);
            top = larger(top, choose(first_lanes(cell->last - j), t, splat(EMPTY)));
        }
        if (largest(top) > sums->shift[i] + 400.0) {
            vd shift = sums->shift;
            shift[i] = largest(top);
            rescale(d, sums, shift);
        }
        for (long j = cell->first; j < cell->last; j += LANES) {
            vd t = load(s->level + j) - splat(sums->shift[i]), y[d];
            for (int k = 0; k < d; ++k) y[k] = load(s->point + k * s->stride + j), t += splat(x[k]) * y[k];
            vd e = exp2_vector(choose(first_lanes(cell->last - j), t, splat(EMPTY)));
            den += e;
            for (int k = 0; k < d; ++k) num[k] += e * y[k];
            for (int k = 0, at = 0; pairs && k < d; ++k)
                for (int l = k; l < d; ++l, ++at) second[at] += e * y[k] * y[l];
        }
        sums->den[i] += total(den);
        for (int k = 0; k < d; ++k) sums->num[k][i] += total(num[k]);
        for (int k = 0; k < pairs; ++k) sums->second[k][i] += total(second[k]);
    }
}
