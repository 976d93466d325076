/*
 * prepare_linalg.c - factorisations and solves become ordinary ops, by the size of the matrices.
 *
 *     small       written out, element by element: one matrix a lane, in registers
 *     up to 32    a loop over columns, one matrix a lane: in registers, or in private rows if there are any
 *     larger      two halves, or panels of columns, so that products do the work, and what is left are the
 *                 cases above; of eigenvalues, a loop over sweeps
 *
 * An algorithm is written for one matrix, and lanes make a stack of it, as vmap makes a batch of a function.
 * Inside a body what is small becomes part of that body: a loop with a solve in it stays one kernel. What is
 * large stays as it is: then the body is a step of the plan, and it is prepared when that is.
 */
#include "lanes.h"
#include "linalg.h"

#include <math.h>

enum { OPERANDS = 4 };

int how_solved(const Ins *i)
{
    int how = 0;
    for (int k = 0; k < 4; k++)
        how |= ins_int(i, k) ? 1 << k : 0;
    return how;
}

Ref matrix_element(Ref x, int64_t row, int64_t column)
{
    return Reshape(MatrixPart(x, row, 1, column, 1), (Ints){ 0 });
}

void loop_scan(LoopBody *f, const Loop *l, const Ref *x, Ref *out)
{
    int n = l->captures + l->carry + l->xs;
    Ref in[16], y[16];
    Type t[16];
    for (int k = 0; k < l->results; k++)
        out[k] = 0;
    for (int k = 0; k < n; k++) {
        if (!x[k])
            return;
        t[k] = k < n - l->xs ? *typ(x[k]) : type_drop_lead(typ(x[k]), 1);
    }
    graph_begin(graph_new());
    for (int k = 0; k < n; k++)
        in[k] = graph_input(t[k], 0);
    f(in, y);
    graph_outputs(y, l->results);
    Graph *body = graph_end();
    Region r = region_plain(SCAN, l->captures, 0, l->carry);
    r.length = l->length, r.reverse = l->reverse;
    if (!error_pending())
        emit_region(&r, n, x, 1, &body, out);
}

void each_matrix(LoopBody *f, int n, const Ref *x, const bool *shared, int nout, Ref *out)
{
    Ref in[OPERANDS], y[OPERANDS] = { 0 };
    Type t[OPERANDS];
    int64_t count = 0;
    for (int k = 0; k < nout; k++)
        out[k] = 0;
    for (int k = 0; k < n; k++) {
        if (!x[k])
            return;
        bool one = shared && shared[k];
        t[k] = one ? *typ(x[k]) : type_drop_lead(typ(x[k]), 1);
        count = one ? count : typ(x[k])->dim[0];
    }
    graph_begin(graph_new());
    for (int k = 0; k < n; k++)
        in[k] = graph_input(t[k], 0);
    f(in, y);
    graph_outputs(y, nout);
    Graph *g = graph_end(), *lanes = error_pending() ? NULL : over_lanes(g, count, shared);
    if (lanes && !error_pending())
        graph_inline(lanes, x, out);
}

/* Columns of the narrowest panel: of so many that a lane has room for it, with the order of its rows. */
static int64_t narrow_of(const Machine *m, int64_t rows)
{
    int64_t n = m->matrix_panel;
    while (n > m->matrix_panel_least && rows * (n + 1) > m->state_row)
        n /= 2;
    return n;
}

/* ==================== graphs of it */

static Graph *blocks_of(BlocksFn *f, const Ins *i, const Type *t, const Cut *cut)
{
    Ref in[OPERANDS], out[OPERANDS] = { 0 };
    graph_begin(graph_new());
    for (int k = 0; k < i->nin; k++)
        in[k] = graph_input(t[k], 0);
    f(i, in, out, cut);
    graph_outputs(out, i->nout);
    return graph_end();
}

static Graph *graph_of(LinalgFn *f, const Ins *i, const Type *t)
{
    Ref in[OPERANDS], out[OPERANDS] = { 0 };
    graph_begin(graph_new());
    for (int k = 0; k < i->nin; k++)
        in[k] = graph_input(t[k], 0);
    f(i, in, out);
    graph_outputs(out, i->nout);
    return graph_end();
}

/* ==================== how an op is computed */

typedef struct Way {
    LinalgFn *written, *loop;
    BlocksFn *blocks;
    double code, state; /* instructions, written out; elements of the loop's carry */
} Way;

/* Instructions that eliminate n columns of n rows, with so many other columns beside them. */
static double elimination(double n, double beside)
{
    return 4 * ((n - 1) * n * (2 * n - 1) / 6 + (beside + 1) * n * (n - 1) / 2) + 3 * n * (n - 1) / 2;
}

static Way way_of_reals(const Ins *i, const Type *t)
{
    double m = (double)t[0].dim[0], n = (double)t[0].dim[1], sides = (double)t[1].dim[1];
    switch (i->op) {
    case OP_cholesky:
        return (Way){ cholesky_written, cholesky_loop, cholesky_blocks, n * n * n / 3 + 2 * n * n, n * n };
    case OP_triangular_solve:
        return (Way){ triangular_written, triangular_loop, triangular_blocks, (n * n + 2 * n) * sides,
            n * sides };
    case OP_qr:
        return (Way){ NULL, qr_loop, qr_panels, 0, m * n };
    case OP_lu:
        return (Way){ m * n > 0 ? lu_written : NULL, lu_loop, lu_panels,
            elimination(n, n + 1) + (m > n ? 4 * (m - n) * n * (n + 2) : 0), m * n };
    case OP_solve:
        return (Way){ solve_written, solve_loop, solve_blocks, elimination(n, sides) + sides * n * (n + 1),
            n * (n + sides) };
    case OP_eigh:
        return (Way){ NULL, eigh_loop, eigh_sweeps, 0, INFINITY };
    default:
        return (Way){ NULL, svd_loop, svd_sweeps, 0, INFINITY };
    }
}

static Way way_of(const Ins *i, const Type *t)
{
    Way w = way_of_reals(i, t);
    if (dtype_complex((Dtype)t[0].dt))
        w.written = NULL;
    return w;
}

/* x A = b is A' x' = b'. */
static void turned_solve(const Ins *i, const Ref *x, Ref *out)
{
    out[0] = Turned(TriangularSolve(x[0], Turned(x[1]), how_solved(i) ^ (TRI_RIGHT | TRI_TRANSPOSE)));
}

static void inside(const Ins *i, const Ref *x, Ref *out, const Target *t)
{
    Type one[OPERANDS] = { 0 };
    for (int k = 0; k < i->nin; k++)
        one[k] = *typ(x[k]);
    Way w = one[0].rank == 2 ? way_of(i, one) : (Way){ 0 };
    bool written = w.written && w.code <= (double)t->machine->written_inside;
    LinalgFn *f = written ? w.written : w.state <= (double)t->machine->loop_inside ? w.loop : NULL;
    if (f && i->op == OP_triangular_solve && how_solved(i) & TRI_RIGHT)
        f = turned_solve;
    if (f)
        prepare_into(graph_of(f, i, one), x, out, t, false);
    else
        again(i, x, out);
}

/* Operands and results with one axis in front, which counts the matrices. */
static Ref flat(Ref v, int lead, int64_t count)
{
    Type t = type_drop_lead(typ(v), lead);
    t = type_add_lead(&t, count);
    return Reshape(v, type_shape(&t));
}

/* A matrix a lane; the right-hand sides are lanes too, which share it. */
static Graph *lanes_of(const Ins *i, Type *one, int64_t count, const Machine *m)
{
    bool sides = i->op == OP_triangular_solve;
    int64_t columns = one[1].dim[1];
    if (sides)
        one[1].dim[1] = 1;
    Way w = way_of(i, one);
    bool written = w.written && w.code <= (double)m->written_alone;
    Graph *g = graph_of(written ? w.written : w.loop, i, one);
    if (written && !error_pending())
        g = one_turn(g);
    if (sides && !error_pending())
        g = over_lanes(g, columns, (const bool[OPERANDS]){ true });
    return error_pending() ? NULL : over_lanes(g, count, NULL);
}

/* Is it more than a lane's work? Then so it is cut. */
static bool is_large(const Ins *i, const Type *one, const Way *w, const Machine *m, Cut *cut)
{
    int64_t rows = one->dim[0], columns = one->dim[1], least = rows < columns ? rows : columns;
    *cut = (Cut){ m->matrix_lane, m->matrix_panel_wide, m->matrix_halved };
    switch (i->op) {
    case OP_solve:
        return w->code > (double)m->written_alone;
    case OP_qr: /* a lane computes products of its reflections over and over */
        cut->leaf = narrow_of(m, rows);
        return least > 2 * cut->leaf || (least > cut->leaf && rows * columns > m->state_row);
    case OP_lu:
        cut->leaf = narrow_of(m, rows);
        return least > cut->leaf && rows * columns > (m->state_row ? m->state_row : m->matrix_alone);
    case OP_eigh: case OP_svd:
        return least && rows * columns > m->state;
    default:
        return rows > cut->leaf;
    }
}

typedef void IntoFn(const Graph *, const Ref *x, Ref *out, const Target *);

/* Of stacks with any axes in front. */
static void stacks(const Ins *i, const Ref *x, Ref *out, const Target *t, IntoFn *into)
{
    int lead = typ(x[0])->rank - 2;
    int64_t count = 1;
    Cut cut;
    Type one[OPERANDS] = { 0 }, all[OPERANDS];
    Ref y[OPERANDS];
    for (int d = 0; d < lead; d++)
        count *= typ(x[0])->dim[d];
    for (int k = 0; k < i->nin; k++) {
        one[k] = type_drop_lead(typ(x[k]), lead);
        y[k] = flat(x[k], lead, count);
        all[k] = *typ(y[k]);
    }
    bool sides = i->op == OP_triangular_solve;
    Way w = way_of(i, one);
    bool large = is_large(i, one, &w, t->machine, &cut);
    if (sides && how_solved(i) & TRI_RIGHT) {
        into(graph_of(turned_solve, i, all), y, out, t);
    } else if (w.blocks && large) {
        Graph *g = blocks_of(w.blocks, i, all, &cut);
        if (!error_pending())
            into(g, y, out, t);
    } else {
        Type b = type_add_lead(&one[1], count);
        if (sides) {
            int64_t n = one[1].dim[0], m = one[1].dim[1];
            y[1] = Reshape(Turned(y[1]), (Ints){ 4, { count, m, n, 1 } });
        }
        Graph *g = lanes_of(i, one, count, t->machine);
        if (g)
            into(g, y, out, t);
        if (sides && out[0])
            out[0] = Turned(Reshape(out[0], (Ints){ 3, { count, b.dim[2], b.dim[1] } }));
    }
    for (int k = 0; k < i->nout && !error_pending(); k++) {
        Type r = type_drop_lead(typ(out[k]), 1);
        for (int d = lead; d-- > 0;)
            r = type_add_lead(&r, typ(x[0])->dim[d]);
        out[k] = Reshape(out[k], type_shape(&r));
    }
}

static void prepared_into(const Graph *g, const Ref *x, Ref *out, const Target *t)
{
    prepare_into(g, x, out, t, true);
}

void prepare_linalg(const Ins *i, const Ref *x, Ref *out, const Target *t, bool whole)
{
    if (whole)
        stacks(i, x, out, t, prepared_into);
    else
        inside(i, x, out, t);
}

/* ==================== of complex numbers
 *
 * Their loops are written before numbers become parts, and become loops over parts then. A triangular matrix
 * and a positive one are real matrices of twice the size there (transforms/complex.c): they stay. */

static bool of_complex(const Graph *g, const Ins *i)
{
    switch (i->op) {
    case OP_qr: case OP_lu: case OP_solve: case OP_eigh: case OP_svd:
        return dtype_complex((Dtype)g->type[i->in[0]].dt);
    default:
        return false;
    }
}

static bool any_complex(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        if (of_complex(g, g->ins[n]))
            return true;
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (any_complex(g->ins[n]->sub[k]))
                return true;
    }
    return false;
}

static void written_into(const Graph *g, const Ref *x, Ref *out, const Target *t);

static void factorised(const Graph *g, const Ins *i, const Ref *x, Ref *out, const Target *t)
{
    bool some = false;
    for (int k = 0; k < i->nout; k++)
        some = some || type_size(&g->type[i->out + (Ref)k]);
    if (some)
        stacks(i, x, out, t, written_into);
    for (int k = 0; k < i->nout; k++)
        if (!type_size(&g->type[i->out + (Ref)k]))
            out[k] = Zeros(&g->type[i->out + (Ref)k]);
}

static void written_into(const Graph *g, const Ref *x, Ref *out, const Target *t)
{
    Ref *m = NEWS(Ref, g->nval);
    Loc before = loc_here();
    for (int k = 0; k < g->nin; k++)
        m[g->in[k]] = x[k];
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        const Ins *i = g->ins[n];
        Ref *y = NEWS(Ref, i->nin);
        for (int k = 0; k < i->nin; k++)
            y[k] = m[i->in[k]];
        if (i->loc.file)
            loc_set(i->loc);
        if (of_complex(g, i)) {
            factorised(g, i, y, m + i->out, t);
        } else if (i->op == OP_region) {
            Graph **sub = NEWS(Graph *, i->nsub);
            for (int k = 0; k < i->nsub; k++)
                sub[k] = prepare_complex(i->sub[k], t);
            if (!error_pending())
                append_region(i->region, i->nin, y, i->nsub, sub, m + i->out);
        } else {
            again(i, y, m + i->out);
        }
    }
    loc_set(before);
    for (int k = 0; k < g->nout; k++)
        out[k] = m[g->out[k]];
}

Graph *prepare_complex(const Graph *g, const Target *t)
{
    if (!any_complex(g))
        return (Graph *)(uintptr_t)g;
    Ref *x = NEWS(Ref, g->nin), *out = NEWS(Ref, g->nout);
    Graph *h = graph_begin(graph_new());
    h->ncap = g->ncap, h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        x[k] = graph_input(g->type[g->in[k]], g->flag[g->in[k]] & V_ACC);
    written_into(g, x, out, t);
    if (!error_pending())
        graph_outputs(out, g->nout);
    graph_end();
    return error_pending() ? NULL : graph_dce(h);
}
