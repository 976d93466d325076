/*
 * laws.c - laws over every row of the op table.
 *
 * In:  a device. Out: a line for each law that a row breaks; last `N laws held, N broken`. Exit code 1 if
 * one is broken, 77 if
 *      the device is not there.
 * On every device: the values of each op in each dtype against the host reference, exact or within the bound
 * of the row. Many cases are results of one program, so that few kernels do it.
 * On the host also: results against the same op in f64; what is printed parses to the same graph; lanes
 * compute what one example after the other computes; derivatives are the limits of difference quotients;
 * <ct, J t> = <J^T ct, t>. The rows are in table.c, what their inputs hold in data.c.
 * A test that cannot fail proves nothing: first each law is shown something wrong, and has to say so.
 *
 *      laws [--device NAME] [--op OP] [--dtype DT] [--all] [--verbose]      --all: every case in every dtype
 *      laws --rank R|all [--every N [--part K]] ...
 *           every row at rank R, or at 0 to 6, sizes 0 and 1 among others (table_ranks.c); every N-th case
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "data.h"
#include "table.h"

static struct { const char *device, *op, *dtype, *rank, *every, *part; bool all, verbose; } option = {
    .device = "host", .every = "1", .part = "0"
};
static const Law *laws = law_table;             /* those that are asked for */
static int rank = -1, least_rank = -1, most_rank = -1;         /* -1: what the rows choose */
static Device *device, *host;
static bool flushes;                            /* the device takes denormals for zeros */
static int held, broken;

/* ==================== cases */

typedef struct Case { Op op; Dtype dt; int variant, nneed; Graph *g; Need *need; } Case;

static struct { Need need[48]; Ref out[64]; int nneed, nout; } made;

Ints dims_(int n, const int64_t *v) { return ints_of(v, n); }
bool may(Dtype dt)
{
    return dt != DT_F64 ? dt != DT_I64 && dt != DT_U64 ? true : device->info.has_i64 : device->info.has_f64;
}
void out(Ref r) { made.out[made.nout++] = r; }

Ref in(Dtype dt, Kind kind, int64_t limit, Ints shape)
{
    Type t = type_of(dt, shape.n, shape.v);
    made.need[made.nneed++] = (Need){ t, kind, limit };
    return graph_input(t, 0);
}

Ref in_again(Ref v)
{
    for (int k = 0; k < cur()->nin; k++)
        if (cur()->in[k] == v)
            made.need[made.nneed++] = made.need[k];
    return graph_input(*typ(v), 0);
}

static bool same_need(const Need *a, const Need *b)
{
    return type_equal(&a->t, &b->t) && a->kind == b->kind && a->limit == b->limit;
}

static int salt_of(const Case *c, int k)
{
    int salt = 0;
    for (int j = 0; j < k; j++)
        salt += same_need(&c->need[j], &c->need[k]);
    return salt;
}

static Bytes *draw_all(const Case *c, int lane)
{
    Bytes *x = NEWS(Bytes, c->nneed);
    for (int k = 0; k < c->nneed; k++)
        x[k] = draw(&c->need[k], salt_of(c, k), lane, flushes);
    return x;
}

/* c->g is NULL after an error. */
static Case case_of(const Law *law, Op op, Dtype dt, int variant)
{
    made.nneed = made.nout = 0;
    graph_begin(graph_new());
    law->make(op, dt, variant);
    bool ok = !error_pending();
    for (int k = 0; k < made.nout; k++)
        ok = ok && made.out[k];
    if (ok)
        graph_outputs(made.out, made.nout);
    Graph *g = graph_end();
    return (Case){ op, dt, variant, made.nneed, ok ? g : NULL,
        arena_copy(made.need, sizeof(Need) * (size_t)made.nneed) };
}

/* ==================== running */

/* NULL after an error. */
static Bytes *run_on(Device *d, const Graph *g, const Bytes *x)
{
    const Backend *b = d->backend;
    Effects none;
    Exec *e = compile(graph_clone(g), d, &none);
    Mem **in = NEWS(Mem *, g->nin), **to = NEWS(Mem *, g->nout);
    int code = e ? 0 : E_INTERNAL;
    for (int k = 0; k < g->nin && !code; k++) {
        size_t n = type_bytes(&x[k].t);
        code = b->alloc(d, n, &in[k]);
        code = code ? code : b->write(in[k], 0, x[k].p, n);
    }
    code = code ? code : b->run(e, g->nin, in, g->nout, to);
    Bytes *y = NEWS(Bytes, g->nout);
    for (int k = 0; k < g->nout && !code; k++) {
        y[k] = bytes_of(g->type[g->out[k]]);
        code = b->read(to[k], 0, y[k].p, type_bytes(&y[k].t));
    }
    for (int k = 0; k < g->nin; k++)
        mem_drop(in[k]);
    for (int k = 0; k < g->nout; k++)
        mem_drop(to[k]);
    if (e)
        b->drop(e);
    return code ? NULL : y;
}

/* ==================== comparing: NULL, or what is wrong */

static const char *exactly(Bytes got, Bytes want)
{
    Dtype dt = (Dtype)want.t.dt;
    if (!type_equal(&got.t, &want.t))
        return arena_text("%s instead of %s", type_text(&got.t), type_text(&want.t));
    for (int64_t k = 0; k < type_size(&want.t); k++) {
        double a = value_at(got, k), b = value_at(want, k),
               least = dtype_float(dt) ? ldexp(1, form[dt].least) : 0;
        if (dtype_float(dt) && ((isnan(a) && isnan(b)) || (flushes && fabs(a) < least && fabs(b) < least)))
            continue;
        if (memcmp(element(got, k), element(want, k), dtype_size(dt)))
            return arena_text(
                "%.17g instead of %.17g at %lld of %s", a, b, (long long)k, type_text(&want.t));
    }
    return NULL;
}

static double ulp_of(Dtype dt, double v)
{
    int e = v == 0 || !isfinite(v) ? form[dt].least : ilogb(v);
    return ldexp(1, (e < form[dt].least ? form[dt].least : e) - form[dt].mantissa);
}

/* An infinity counts as the number after the largest. */
static double within(Dtype dt, double v)
{
    double end = ldexp(ldexp(1, form[dt].most), 1), most = DBL_MAX;
    end = isinf(end) ? most : end;
    return fabs(v) > end ? copysign(end, v) : v;
}

static double worst;                            /* of the last call of closely */

/* want: in f64. x: the operands. */
static const char *closely(
    Bytes got, Bytes want, const Bytes *x, double bound, double (*scale)(const double *, double))
{
    Dtype dt = (Dtype)got.t.dt;
    int64_t size = type_size(&got.t);
    worst = 0;
    for (int64_t k = 0; k < type_size(&got.t); k++) {
        double a = value_at(got, k), b = value_at(want, k), e = INFINITY;
        double v[3] = { 0 };
        for (int j = 0; j < 3 && x[j].p && type_size(&x[j].t) == size; j++)
            v[j] = value_at(x[j], k);
        double unit = ulp_of(dt, within(dt, scale ? scale(v, b) : b));
        if (flushes && fabs(a) <= ldexp(1, form[dt].least) && fabs(b) <= ldexp(1, form[dt].least))
            continue;
        if (isnan(a) || isnan(b))
            e = isnan(a) && isnan(b) ? 0 : INFINITY;
        else if (a == b)
            e = 0;
        else if (isinf(b) && fabs(a) < ldexp(1, form[dt].most))
            e = INFINITY;
        else
            e = fabs(within(dt, a) - within(dt, b)) / unit;
        if (e > worst)
            worst = e;
        if (!(e <= bound))
            return arena_text("%.17g instead of %.17g at (%.9g, %.9g, %.9g), element %lld: %.3g ULP, "
                              "at most %.3g",
                a, b, v[0], v[1], v[2], (long long)k, e, bound);
    }
    return NULL;
}

static double bound_of(const Law *law, Dtype dt)
{
    if (dt == DT_F64)
        return law->ulp64;
    return dt == DT_F32 ? law->ulp : 0.5 + (law->ulp + 1) * ldexp(1, form[dt].mantissa - 23);
}

/* The same case in f64, on the values that the inputs have in their own dtype. */
static Bytes *wide_results(const Law *law, const Case *c, const Bytes *x)
{
    Case w = case_of(law, c->op, DT_F64, c->variant);
    Bytes *y = NEWS(Bytes, c->nneed);
    for (int k = 0; k < c->nneed; k++) {
        y[k] = bytes_of(w.need[k].t);
        for (int64_t j = 0; j < type_size(&x[k].t); j++)
            dtype_store_f(DT_F64, element(y[k], j), value_at(x[k], j));
    }
    return w.g ? run_on(host, w.g, y) : NULL;
}

/* Results of a case, computed anywhere, against the host. */
static const char *law_values(const Law *law, const Case *c, const Bytes *x, const Bytes *got)
{
    bool close = law->ulp != 0 && dtype_float(c->dt);
    Bytes *want = close ? wide_results(law, c, x) : run_on(host, c->g, x);
    if (!want)
        return error_text();
    for (int k = 0; k < c->g->nout; k++) {
        double bound = bound_of(law, c->dt);
        if (close && device == host && c->dt != DT_F64)
            bound = law->ulp_host != 0 ? law->ulp_host : 0.5001;       /* the reference itself rounds once */
        Bytes first[3];
        memset(first, 0, sizeof first);
        for (int j = 0; j < 3 && j < c->nneed; j++)
            first[j] = x[j];
        const char *e =
            close ? closely(got[k], want[k], first, bound, law->scale) : exactly(got[k], want[k]);
        if (close && option.verbose && type_size(&got[k].t) > 10)
            printf("%-12s %-5s %-8s worst %.3f of %.3f ULP\n", optab[c->op].name, dtype_name(c->dt),
                option.device, worst, bound);
        if (e)
            return arena_text("result %d: %s", k, e);
    }
    return NULL;
}

/* ==================== laws of graphs, on the host */

static const char *law_text(const Graph *g, const char *text)
{
    const Graph *again = graph_parse(text, "printed");
    return again && graph_equal(g, again) ?
        NULL :
        arena_text("what is printed is read as another graph: %s", error_text());
}

/* b: g over three lanes; in[lane]: the operands of each; states: which are stacked. */
static const char *law_lanes(const Graph *g, const Graph *b, Bytes *const *x, const uint8_t *states)
{
    Bytes *all = NEWS(Bytes, g->nin);
    if (!b || graph_check(b))
        return error_text();
    for (int k = 0; k < g->nin; k++) {
        all[k] = x[0][k];
        if (states[k] != STACKED)
            continue;
        size_t n = type_bytes(&all[k].t);
        all[k] = bytes_of(type_add_lead(&x[0][k].t, 3));
        for (size_t l = 0; l < 3; l++)
            memcpy(all[k].p + l * n, x[l][k].p, n);
    }
    Bytes *got = run_on(host, b, all), *one = NEWS(Bytes, g->nin);
    for (int l = 0; l < 3 && got; l++) {
        for (int k = 0; k < g->nin; k++)
            one[k] = x[states[k] == STACKED ? l : 0][k];
        Bytes *want = run_on(host, g, one);
        for (int k = 0; k < g->nout && want; k++) {
            Bytes row = { want[k].t, got[k].p + (size_t)l * type_bytes(&want[k].t) };
            Type t = type_add_lead(&row.t, 3);
            const char *e = type_equal(&t, &got[k].t) ? exactly(row, want[k]) :
                                                        arena_text("is %s", type_text(&got[k].t));
            if (e)
                return arena_text("lane %d, result %d: %s", l, k, e);
        }
        if (!want)
            return error_text();
    }
    return got ? NULL : error_text();
}

/* a point and a direction */
typedef struct Smooth { int nin, nwrt, nout; bool *wrt; Bytes *x, *t; } Smooth;

static Smooth smooth_of(const Law *law, const Case *c)
{
    Rng r = { (uint64_t)c->op * 64 + (uint64_t)c->variant };
    Smooth s = { .nin = c->nneed,
        .wrt = NEWS(bool, c->nneed),
        .x = NEWS(Bytes, 2 * c->nneed),
        .t = NEWS(Bytes, c->nneed) };
    for (int k = 0; k < c->nneed; k++) {
        int o = k < 3 ? k : 0;
        bool own = law->lo[o] != law->hi[o];
        s.wrt[k] = dtype_float((Dtype)c->need[k].t.dt);
        s.x[k] = !s.wrt[k] ? draw(&c->need[k], salt_of(c, k), 0, flushes)
                           : draw_smooth(c->need[k].t, &r, own ? law->lo[o] : -2, own ? law->hi[o] : 2);
        if (law->unknown >> o & 1) {            /* stays, at whole numbers */
            s.wrt[k] = false;
            for (int64_t j = 0; j < type_size(&s.x[k].t); j++)
                dtype_store_f(DT_F64, element(s.x[k], j), round(value_at(s.x[k], j)));
        }
        if (s.wrt[k])
            s.t[k] = draw_smooth(c->need[k].t, &r, -1, 1), s.x[c->nneed + s.nwrt++] = s.t[k];
    }
    return s;
}

static Bytes *moved(const Smooth *s, double by)
{
    Bytes *x = NEWS(Bytes, s->nin);
    for (int k = 0; k < s->nin; k++) {
        x[k] = s->x[k];
        if (!s->wrt[k])
            continue;
        x[k] = bytes_of(s->x[k].t);
        for (int64_t j = 0; j < type_size(&x[k].t); j++)
            dtype_store_f(DT_F64, element(x[k], j), value_at(s->x[k], j) + by * value_at(s->t[k], j));
    }
    return x;
}

/* jvp: (x.., t..) -> (results.., tangents of float results..). Tangents are slopes of g, or zero
 * (stopped). */
static const char *law_slope(const Law *law, const Graph *g, const Graph *jvp, const Smooth *s)
{
    double h = law->step ? law->step : 1e-5, tolerance = law->tolerance ? law->tolerance : 1e-6;
    if (!jvp || graph_check(jvp))
        return error_text();
    Bytes *z = run_on(host, jvp, s->x), *up = run_on(host, g, moved(s, h)),
          *down = run_on(host, g, moved(s, -h));
    int at = g->nout;
    if (!z || !up || !down)
        return error_text();
    for (int k = 0; k < g->nout; k++) {
        if (!dtype_float((Dtype)up[k].t.dt))
            continue;
        Bytes dz = z[at++];
        for (int64_t j = 0; j < type_size(&dz.t); j++) {
            double more = value_at(up[k], j), less = value_at(down[k], j), got = value_at(dz, j),
                   want = law->derivative == STOPPED || more == less ? 0 : (more - less) / (2 * h);
            if (isnan(value_at(z[k], j)))
                continue;
            if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
                return arena_text(
                    "result %d at %lld: the tangent is %.12g, the slope %.12g", k, (long long)j, got, want);
        }
    }
    return NULL;
}

/* vjp: (x.., ct..) -> (results.., cotangents of float operands..) */
static const char *law_adjoint(
    const Law *law, const Graph *g, const Graph *jvp, const Graph *vjp, const Smooth *s)
{
    if (!jvp || !vjp || graph_check(vjp))
        return error_text();
    Bytes *z = run_on(host, jvp, s->x);
    if (!z)
        return error_text();
    Bytes *x = NEWS(Bytes, vjp->nin);
    Rng r = { 99 };
    double there = 0, here = 0, size = 0;
    int nct = jvp->nout - g->nout;
    memcpy(x, s->x, (size_t)s->nin * sizeof *x);
    for (int k = 0; k < nct; k++) {
        Bytes dz = z[g->nout + k], ct = x[s->nin + k] = draw_smooth(dz.t, &r, -1, 1);
        for (int64_t j = 0; j < type_size(&dz.t); j++) {
            double p = value_at(dz, j) * value_at(ct, j);
            there += p, size += fabs(p);
        }
    }
    Bytes *back = run_on(host, vjp, x);
    for (int k = 0; k < s->nwrt && back; k++)
        for (int64_t j = 0; j < type_size(&s->x[s->nin + k].t); j++) {
            double p = value_at(s->x[s->nin + k], j) * value_at(back[g->nout + k], j);
            here += p, size += fabs(p);
        }
    if (!back)
        return error_text();
    return fabs(there - here) <= (law->tolerance ? law->tolerance : 1e-12) * (1 + size) ? NULL
        : arena_text("<ct, J t> is %.17g, <J^T ct, t> is %.17g", there, here);
}

static const char *law_missing(const Case *c, const Graph *derivative)
{
    bool ok = !derivative && error_code() == E_DIFF && strstr(error_text(), optab[c->op].name);
    const char *e = ok ? NULL : arena_text("no error that names the op, but: %s", error_text());
    error_clear();
    return e;
}

/* ==================== a row on the host */

static bool wanted(Op op, Dtype dt)
{
    return (!option.op || !strcmp(option.op, optab[op].name)) &&
        (!option.dtype || dtype_parse(option.dtype, strlen(option.dtype)) == dt);
}

/* Whose turn is it? At ranks: every N-th case, and no row is always left out. */
static bool in_turn(Op op, Dtype dt, int variant)
{
    int n = atoi(option.every), k = variant + 5 * rank + 7 * (int)dt + 11 * (int)op;
    return rank < 0 || n < 2 || (int)(hash_bytes(&k, sizeof k, 5) % (uint64_t)n) == atoi(option.part);
}

static void judge(const Case *c, const char *law, const char *e)
{
    if (e) {
        const char *at = rank < 0 ? "" : arena_text(" of rank %d", rank);
        printf("FAIL %s, %s, case %d%s on %s: %s: %s\n", optab[c->op].name, dtype_name(c->dt), c->variant,
            at, option.device, law, *e ? e : "?");
        fflush(stdout);
    }
    *(e ? &broken : &held) += 1;
    error_clear();
}

static void lanes_laws(const Case *c)
{
    uint8_t *states = NEWS(uint8_t, c->nneed), *stack = NEWS(uint8_t, c->g->nout);
    const Lane lane = { 3, NULL, NULL };
    Bytes *x[] = { draw_all(c, 0), draw_all(c, 1), draw_all(c, 2) };
    int masks = 1 << (c->nneed < 3 ? c->nneed : 3);
    for (int k = 0; k < c->nneed; k++)
        if (c->need[k].t.rank == MAXRANK)       /* no room for lanes */
            return;
    for (int m = 1; m < masks; m++) {           /* beyond three operands: in turn */
        for (int k = 0; k < c->nneed; k++)
            states[k] = m >> k % 3 & 1 ? STACKED : SHARED;
        for (int k = 0; k < c->g->nout; k++)
            stack[k] = STACKED;
        Graph *b = graph_batch(c->g, states, stack, &lane, false, false);
        judge(c, "lanes", law_lanes(c->g, b, x, states));
        judge(c, "lanes, matrix form", law_lanes(c->g, b ? graph_matrix(b) : NULL, x, states));
    }
}

static void derivative_laws(const Law *law, const Case *c)
{
    bool quotients = !law->quotients || law->quotients >> c->variant & 1;
    Smooth s = smooth_of(law, c);
    if (!s.nwrt || (!quotients && law->derivative != MISSING))
        return;
    Graph *jvp = graph_jvp(c->g, s.wrt);
    if (law->derivative == MISSING) {
        judge(c, "forward mode", law_missing(c, jvp));
        judge(c, "reverse mode", law_missing(c, graph_vjp(c->g, s.wrt)));
        return;
    }
    bool *other = NEWS(bool, c->nneed);
    for (int k = 0; k < c->nneed && law->unknown; k++) {
        memset(other, 0, sizeof *other * (size_t)c->nneed);
        if (law->unknown >> k & 1 && (other[k] = true))
            judge(c, "unknown derivative", law_missing(c, graph_jvp(c->g, other)));
    }
    judge(c, "slope", law_slope(law, c->g, jvp, &s));
    Graph *vjp = graph_vjp(c->g, s.wrt);
    if (law->forward >> c->variant & 1) {
        bool refused = !vjp && error_code() == E_DIFF;
        judge(c, "reverse mode", refused ? NULL : "should be an error");
    } else
        judge(c, "adjoint", law_adjoint(law, c->g, jvp, vjp, &s));
}

static void row_on_host(const Law *law, Op op, Dtype dt)
{
    for (int v = 0; v < law->variants; v++) {
        if (!in_turn(op, dt, v))
            continue;
        Case c = case_of(law, op, dt, v);
        if (c.g && !c.g->nout) {                /* a row that has none of this rank */
            if (rank == 2 && v == SIZES_MIXED)
                judge(&c, "cases", "none at all: see tests/laws/table_ranks.c");
            continue;
        }
        if (!c.g || graph_check(c.g)) {
            judge(&c, "build", error_text());
            continue;
        }
        Text t = { 0 };
        graph_print(c.g, &t);
        if (op != OP_callback)                  /* text has no functions */
            judge(&c, "text", law_text(c.g, t.s));
        text_free(&t);
        if (law->ulp != 0 && dtype_float(dt) && dt != DT_F64) {
            Bytes *x = draw_all(&c, 0), *got = run_on(host, c.g, x);
            judge(&c, "values", got ? law_values(law, &c, x, got) : error_text());
        }
        lanes_laws(&c);
        if (dt == DT_F64)
            derivative_laws(law, &c);
    }
}

/* ==================== rows on a device: many cases, one program */

enum { GROUP = 24 };

/* Inputs that hold the same are one input. */
static const char *run_group(Case *const *c, int n, Bytes *const *x, Bytes **got)
{
    graph_begin(graph_new());
    Need *need = NULL;
    Bytes *arg = NULL;
    int *salt = NULL, nneed = 0, caps[3] = { 0 }, m = 0;
    Ref *result = NULL;
    int nresult = 0, cap = 0;
    for (int i = 0; i < n; i++) {
        Ref *v = NEWS(Ref, c[i]->nneed), *z = NEWS(Ref, c[i]->g->nout);
        for (int k = 0; k < c[i]->nneed; k++) {
            int s = salt_of(c[i], k), at = 0;
            while (at < nneed && !(same_need(&need[at], &c[i]->need[k]) && salt[at] == s))
                at++;
            if (at == nneed) {
                m = nneed;
                PUSH(need, nneed, caps[0], c[i]->need[k]);
                nneed = m;
                PUSH(salt, nneed, caps[1], s);
                nneed = m;
                PUSH(arg, nneed, caps[2], x[i][k]);
                graph_input(c[i]->need[k].t, 0);
            }
            v[k] = cur()->in[at];
        }
        graph_inline(c[i]->g, v, z);
        for (int k = 0; k < c[i]->g->nout; k++)
            PUSH(result, nresult, cap, z[k]);
    }
    graph_outputs(result, nresult);
    Graph *g = graph_end();
    Bytes *y = error_pending() ? NULL : run_on(device, g, arg);
    for (int i = 0, at = 0; i < n && y; at += c[i]->g->nout, i++)
        got[i] = y + at;
    return y ? NULL : arena_text("%s", error_text());
}

/* A device may lack f64 functions, if it says so: of the op, or of a function that the op is made of. */
static bool refused(const Case *c, const char *e)
{
    return c->dt == DT_F64 && law_table[c->op].ulp != 0 && strstr(e, " of f64 is not available on ");
}

static void judge_group(Case *const *c, int n)
{
    Bytes **x = NEWS(Bytes *, n), **got = NEWS(Bytes *, n);
    for (int i = 0; i < n; i++)
        x[i] = draw_all(c[i], 0);
    const char *e = run_group(c, n, x, got);
    bool some = false;                          /* of them the device lacks */
    error_clear();
    for (int i = 0; i < n; i++) {
        const char *own = e ? run_group(&c[i], 1, &x[i], &got[i]) : NULL;       /* who is it? */
        error_clear();
        bool without = own && refused(c[i], own);
        some = some || without;
        own = without ? NULL : own ? own : law_values(&laws[c[i]->op], c[i], x[i], got[i]);
        judge(c[i], "values", own);
    }
    if (e && n > 1 && !some)
        judge(c[0], "many cases in one program", e);
}

/* Which cases a device runs: all of f32; of the others the one that shows the dtype. */
static bool on_device(const Law *law, Dtype dt, int variant)
{
    bool element = law->quotients == 2 && law->variants == 4, full = dt == DT_F32 || dt == DT_KEY;
    bool slow = rank >= 0 ? law->long_text : law->long_text >> variant & 1;
    if (option.all)
        return true;
    if (slow && !strncmp(option.device, "vulkan", 6))
        return false;
    if (rank >= 0)                              /* of other dtypes one of the sizes in turn */
        return full || ((int)dt + rank) % SIZES == variant % SIZES;
    if (element)
        return variant == 0 || (full && variant == 3);
    return full || variant == (law->variants > 1 && law->derivative != STOPPED);
}

static void dtype_on_device(Dtype dt)
{
    Case *group[GROUP];
    int n = 0;
    for (int op = 1; op < OP_COUNT; op++) {
        const Law *law = &laws[op];
        for (int v = 0; v < law->variants && wanted((Op)op, dt) && law->dtypes >> dt & 1; v++) {
            if (!on_device(law, dt, v) || !in_turn((Op)op, dt, v))
                continue;
            Case *c = arena_alloc(sizeof *c);
            *c = case_of(law, (Op)op, dt, v);
            if (!c->g) {
                judge(c, "build", error_text());
                continue;
            }
            if (c->g->nout)
                group[n++] = c;
            if (n == GROUP)
                judge_group(group, n), n = 0;
        }
    }
    if (n)
        judge_group(group, n);
}

/* Does x + x of the least denormal give zero? */
static bool probe_flush(void)
{
    graph_begin(graph_new());
    Ref x = graph_input(type_scalar(DT_F32), 0), z = Add(x, x);
    graph_outputs(&z, 1);
    Graph *g = graph_end();
    Bytes v = bytes_of(type_scalar(DT_F32));
    dtype_store_f(DT_F32, v.p, 0x1p-149);
    Bytes *y = run_on(device, g, &v);
    return y && value_at(y[0], 0) == 0;
}

/* ==================== each law is shown something wrong */

static int unnoticed;

static void must_fail(const char *what, const char *e)
{
    error_clear();
    if (e)
        return;
    printf("FAIL self-test: %s was not noticed\n", what);
    unnoticed++;
}

static void must_hold(const char *what, const char *e)
{
    if (!e)
        return;
    printf("FAIL self-test: %s: %s\n", what, e);
    unnoticed++;
}

static Bytes one_value(Dtype dt, double v)
{
    Bytes b = bytes_of(type_scalar(dt));
    dtype_store_f(dt, b.p, v);
    return b;
}

static void self_test_values(void)
{
    Bytes one = one_value(DT_F32, 1), want = one_value(DT_F64, 1), off = one_value(DT_F32, 1 + 3 * 0x1p-23);
    const Bytes at[3] = { one };
    must_hold("1 is 1", closely(one, want, at, 0, NULL));
    must_hold("3 ULP within 3", closely(off, want, at, 3, NULL));
    must_fail("3 ULP where 2.9 are allowed", closely(off, want, at, 2.9, NULL));
    must_fail("a nan for a number", closely(one_value(DT_F32, NAN), want, at, 1e9, NULL));
    must_fail("a number for a nan", closely(one, one_value(DT_F64, NAN), at, 1e9, NULL));
    must_fail("infinity for a number", closely(one_value(DT_F32, INFINITY), want, at, 100, NULL));
    must_fail("a number for infinity", closely(one, one_value(DT_F64, INFINITY), at, 1e9, NULL));
    must_fail("a zero's sign", exactly(one_value(DT_F32, -0.0), one_value(DT_F32, 0.0)));
    must_fail("the last bit", exactly(one_value(DT_F32, 1 + 0x1p-23), one));
    must_fail("another type", exactly(one_value(DT_F16, 1), one));
    Case sin32 = case_of(&law_table[OP_sin], OP_sin, DT_F32, 0),
         cos32 = case_of(&law_table[OP_cos], OP_cos, DT_F32, 0);
    Bytes *x = draw_all(&sin32, 0), *got = run_on(device, sin32.g, x);
    if (!got) {
        must_hold("sin runs", error_text());
        return;
    }
    must_fail("sin for cos", law_values(&law_table[OP_cos], &cos32, x, got));
    Law none = law_table[OP_sin];
    none.ulp = 1e-3;
    must_fail("a bound that no function keeps", device == host ? "" : law_values(&none, &sin32, x, got));
}

static void self_test_graphs(void)
{
    static const bool yes = true;
    static const uint8_t stack = STACKED;
    const Law *law = &law_table[OP_sin];
    const Lane lane = { 3, NULL, NULL };
    Case f = case_of(law, OP_sin, DT_F64, 1), h = case_of(&law_table[OP_cos], OP_cos, DT_F64, 1);
    Smooth s = smooth_of(law, &f);
    Graph *df = graph_jvp(f.g, &yes), *dh = graph_jvp(h.g, &yes), *rf = graph_vjp(f.g, &yes),
          *rh = graph_vjp(h.g, &yes);
    must_hold("sin's slope", law_slope(law, f.g, df, &s));
    must_fail("cos' tangent for sin's", law_slope(law, f.g, dh, &s));
    must_hold("sin's adjoint", law_adjoint(law, f.g, df, rf, &s));
    must_fail("cos' cotangent for sin's", law_adjoint(law, f.g, df, rh, &s));
    must_fail("a derivative where there should be none", law_missing(&f, df));
    Bytes *x[] = { draw_all(&f, 0), draw_all(&f, 1), draw_all(&f, 2) };
    must_hold(
        "sin's lanes", law_lanes(f.g, graph_batch(f.g, &stack, &stack, &lane, false, false), x, &stack));
    must_fail("cos' lanes for sin's",
        law_lanes(f.g, graph_batch(h.g, &stack, &stack, &lane, false, false), x, &stack));
    Text t = { 0 };
    graph_print(h.g, &t);
    must_fail("another graph's text", law_text(f.g, t.s));
    must_fail("text that is none", law_text(f.g, "sin ("));
    text_free(&t);
}

/* ==================== the command */

/* Rows without a law. */
static int rows_missing(const Law *table)
{
    int n = 0;
    for (int op = 1; op < OP_COUNT; op++)
        if (!table[op].make || !table[op].variants || !table[op].dtypes) {
            n++;
            if (table == law_table)
                printf("FAIL %s has no law: add a line to law_table\n", optab[op].name);
        }
    return n;
}

static void in_arena(void (*f)(void))
{
    Arena *arena = arena_new(), *before = arena_use(arena);
    f();
    arena_use(before);
    arena_drop(arena);
}

static void prove_laws(void)
{
    Law *hole = arena_copy(law_table, sizeof law_table);
    hole[OP_tanh] = (Law){ 0 };
    must_fail("a row without a law", rows_missing(hole) == rows_missing(law_table) + 1 ? "" : NULL);
    flushes = device != host && probe_flush();
    self_test_values();
    self_test_graphs();
}

static Op now_op;
static Dtype now_dtype;
static void one_row(void) { row_on_host(&laws[now_op], now_op, now_dtype); }
static void one_dtype(void) { dtype_on_device(now_dtype); }

static void all_rows(void)
{
    if (rank >= 0)
        laws = laws_of_rank(rank);
    for (int dt = DT_BOOL; dt < DT_COUNT; dt++) {
        now_dtype = (Dtype)dt;
        if (device != host && may(now_dtype))
            in_arena(one_dtype);
        for (int op = 1; op < OP_COUNT && device == host; op++)
            if (wanted(now_op = (Op)op, now_dtype) && law_table[op].make && law_table[op].dtypes >> dt & 1)
                in_arena(one_row);
    }
}

static bool read_options(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        const char **text = !strcmp(argv[k], "--device") ? &option.device :
            !strcmp(argv[k], "--op")                     ? &option.op :
            !strcmp(argv[k], "--dtype")                  ? &option.dtype :
            !strcmp(argv[k], "--rank")                   ? &option.rank :
            !strcmp(argv[k], "--every")                  ? &option.every :
            !strcmp(argv[k], "--part")                   ? &option.part :
                                                           NULL;
        if (text && k + 1 < argc)
            *text = argv[++k];
        else if (!strcmp(argv[k], "--all"))
            option.all = true;
        else if (!strcmp(argv[k], "--verbose"))
            option.verbose = true;
        else
            return false;
    }
    if (option.rank && !strcmp(option.rank, "all"))
        least_rank = 0, most_rank = MAX_RANK_OF_CASES;
    else if (option.rank)
        least_rank = most_rank = atoi(option.rank);
    return most_rank <= MAX_RANK_OF_CASES && atoi(option.every) > 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "usage: laws [--device NAME] [--op OP] [--dtype DT] [--all] [--verbose]\n"
                        "            [--rank R|all [--every N [--part K]]]\n");
        return 2;
    }
    Arena *arena = arena_new();
    arena_use(arena);
    host = device_find("host");
    device = device_find(option.device);
    if (!device) {
        printf("skipped: %s\n", error_text());
        return 77;
    }
    broken += rows_missing(law_table);
    in_arena(prove_laws);
    for (rank = least_rank; rank <= most_rank; rank++)
        all_rows();
    printf("%d laws held, %d broken on %s\n", held, broken + unnoticed, option.device);
    arena_use(NULL);
    arena_drop(arena);
    device_close_all();
    return broken + unnoticed > 0 || !held;     /* none: there is no such op */
}
