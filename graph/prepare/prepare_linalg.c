/*
 * prepare_linalg.c - factorisations and solves become ordinary ops, by the size of the matrices.
 *
 *     small       written out, element by element: one matrix a lane, in registers
 *     up to 32    a loop over columns, one matrix a lane: in registers, or in private rows if there are any
 *     larger      two halves, so that products do the work, and what is left are the cases above
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

/* ==================== graphs of it */

static Graph *halves_of(BlocksFn *f, const Ins *i, const Type *t, const Machine *m)
{
    Ref in[OPERANDS], out[OPERANDS];
    graph_begin(graph_new());
    for (int k = 0; k < i->nin; k++)
        in[k] = graph_input(t[k], 0);
    f(i, in, out, m->matrix_lane);
    graph_outputs(out, i->nout);
    return graph_end();
}

static Graph *graph_of(LinalgFn *f, const Ins *i, const Type *t)
{
    Ref in[OPERANDS], out[OPERANDS];
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

/* Instructions that eliminate n columns, with so many others beside them. */
static double elimination(double n, double beside)
{
    return 4 * ((n - 1) * n * (2 * n - 1) / 6 + (beside + 1) * n * (n - 1) / 2) + 3 * n * (n - 1) / 2;
}

static Way way_of(const Ins *i, const Type *t)
{
    double m = (double)t[0].dim[0], n = (double)t[0].dim[1], sides = (double)t[1].dim[1];
    switch (i->op) {
    case OP_cholesky:
        return (Way){ cholesky_written, cholesky_loop, cholesky_blocks, n * n * n / 3 + 2 * n * n, n * n };
    case OP_triangular_solve:
        return (Way){ triangular_written, triangular_loop, triangular_blocks, (n * n + 2 * n) * sides,
            n * sides };
    case OP_qr:
        return (Way){ NULL, qr_loop, NULL, 0, m * n };
    case OP_lu:
        return (Way){ m * n > 0 ? lu_written : NULL, lu_loop, NULL, elimination(n, n + 1), m * n };
    case OP_solve:
        return (Way){ solve_written, solve_loop, solve_blocks, elimination(n, sides) + sides * n * (n + 1),
            n * (n + sides) };
    case OP_eigh:
        return (Way){ NULL, eigh_loop, NULL, 0, INFINITY };
    default:
        return (Way){ NULL, svd_loop, NULL, 0, INFINITY };
    }
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

void prepare_linalg(const Ins *i, const Ref *x, Ref *out, const Target *t, bool whole)
{
    int lead = typ(x[0])->rank - 2;
    int64_t count = 1;
    Type one[OPERANDS] = { 0 }, all[OPERANDS];
    Ref y[OPERANDS];
    if (!whole) {
        inside(i, x, out, t);
        return;
    }
    for (int d = 0; d < lead; d++)
        count *= typ(x[0])->dim[d];
    for (int k = 0; k < i->nin; k++) {
        one[k] = type_drop_lead(typ(x[k]), lead);
        y[k] = flat(x[k], lead, count);
        all[k] = *typ(y[k]);
    }
    bool sides = i->op == OP_triangular_solve;
    Way w = way_of(i, one);
    const Machine *m = t->machine;
    bool large = i->op == OP_solve ? w.code > (double)m->written_alone : one[0].dim[0] > m->matrix_lane;
    if (sides && how_solved(i) & TRI_RIGHT) {
        prepare_into(graph_of(turned_solve, i, all), y, out, t, true);
    } else if (w.blocks && large) {
        prepare_into(halves_of(w.blocks, i, all, t->machine), y, out, t, true);
    } else {
        Type b = type_add_lead(&one[1], count);
        if (sides) {
            int64_t n = one[1].dim[0], m = one[1].dim[1];
            y[1] = Reshape(Turned(y[1]), (Ints){ 4, { count, m, n, 1 } });
        }
        Graph *g = lanes_of(i, one, count, t->machine);
        if (g)
            prepare_into(g, y, out, t, true);
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
