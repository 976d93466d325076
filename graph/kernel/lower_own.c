/*
 * lower_own.c - SPEC_CUMULATIVE: the running value of one axis.
 *
 * In:  cumsum, cumprod, cummax, cummin, and what is stored instead of them.   Out: a finished body.
 * A running value is a loop along the axis with vectors over what lies inside of it (or one by one). Floats
 * accumulate wide, every element is rounded as it is stored.
 */
#include "lower.h"

#include <string.h>

typedef struct Running {
    Lower *L; const Ins *i;
    const Type *t;
    int axis;
    int64_t inner;                              /* elements inside of the axis */
    Ref stored; Place out;                      /* stored: the running value or a function of it */
    const Env *env;
} Running;

enum { LINES = 4 };                             /* running values, or vectors of them, side by side: one waits for its last addition */

/* Along the axis for each of u lines: what is outside of it and inside. vec: vectors of lines. */
static void run_along(const Running *R, const Form *outer, const Form *inner, int u, bool vec)
{
    Lower *L = R->L;
    const Type *t = R->t;
    int64_t n = t->dim[R->axis];
    Dtype dt = math_register((Dtype)t->dt);
    Form idx[LINES][MAXRANK];
    Val acc[LINES], phi[LINES];
    for (int c = 0; c < u; c++) {
        form_unlinear(outer[c], t->dim, R->axis, idx[c]);
        form_unlinear(inner[c], t->dim + R->axis + 1, t->rank - R->axis - 1, idx[c] + R->axis + 1);
        acc[c] = reduce_identity(L, R->i->op, dt);
        acc[c] = vec ? widen_val(L, acc[c]) : acc[c];
    }
    Form step = form_a(k_loop(L->k, "t", n, u, acc, phi));
    if (ins_int(R->i, 1))
        step = form_addc(form_mul(step, -1), n - 1);
    for (int c = 0; c < u; c++) {
        idx[c][R->axis] = step;
        phi[c] = reduce_step(L, R->i->op, dt, phi[c], eval_one(L, L->top, R->i->in[0], idx[c], R->env));
        if (!phi[c])
            continue;
        memo_set(L, L->top, R->i->out, idx[c], R->env, phi[c]);
        store_place(L, &R->out, idx[c], t->rank, R->env, eval_one(L, L->top, R->stored, idx[c], R->env));
    }
    k_loop_end(L->k, phi, acc);
}

void lower_cumulative(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Running R = { .L = L, .i = i, .t = &s->g->type[i->out], .axis = (int)ins_int(i, 0), .inner = 1,
        .stored = s->nstore ? s->store->v : i->out, .out = s->nstore ? s->store->to : s->stored[i->out],
        .env = env_new(0) };
    int64_t outer = 1, steps = R.t->dim[R.axis];
    for (int d = 0; d < R.t->rank; d++)
        *(d < R.axis ? &outer : d > R.axis ? &R.inner : &steps) *= d == R.axis ? 1 : R.t->dim[d];
    bool apart = !s->in_place && frame_place(L->top, i->in[0]).buf != R.out.buf;
    bool vec = R.inner >= W && (R.inner % W == 0 || apart);
    int64_t blocks = vec ? (R.inner + W - 1) / W : R.inner, lines = vec ? blocks : outer;
    int u = LINES;
    while (u > 1 && (u > lines || (!apart && lines % u)))
        u--;
    int64_t dim[2] = { vec ? outer : (outer + u - 1) / u, vec ? (blocks + u - 1) / u : blocks };
    Form f[2], out[LINES], in[LINES];
    Items it;
    form_unlinear(items_open(L, dim[0] * dim[1], 4.0 * (double)steps * (vec ? u : 1), &it), dim, 2, f);
    for (int c = 0; c < u; c++) {               /* the last of a block overlaps the one before: what they store is the same */
        out[c] = vec ? f[0] : at_most(L, form_addc(form_mul(f[0], u), c), outer - 1);
        in[c] = vec ? form_addc(form_mul(f[1], u * W), c * W) : f[1];
        in[c] = vec ? form_add(at_most(L, in[c], R.inner - W), form_a(LANE)) : in[c];
    }
    run_along(&R, out, in, u, vec);
    items_close(L, &it);
}
