/*
 * lower_own.c - SPEC_CUMULATIVE: the running value of one axis.
 *
 * In:  cumsum, cumprod, cummax, cummin, and what is stored instead of them.   Out: a finished body.
 * A running value is a loop along the axis with vectors over what lies inside of it, or outside, or one by
 * one. Floats accumulate wide, every element is rounded as it is stored.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Running {
    Lower *L; const Ins *i;
    const Type *t;
    int axis;
    /* vectors of lines: of those side by side inside of the axis; of those outside, and then of as many
     * steps: blocks are read and written whole */
    bool vec, across;
    Ref stored; Place out;                      /* stored: the running value or a function of it */
    const Env *env;
} Running;

/* running values, or vectors of them, side by side at most */
enum { LINES = 4 };

/* Steps first .. first + count * each - 1 of u lines at once, `each` a turn of the loop. */
static void run_steps(
    const Running *R, Form (*idx)[MAXRANK], int u, int64_t first, int64_t count, int each, Val *acc)
{
    Lower *L = R->L;
    const Type *t = R->t;
    Val phi[LINES];
    if (!count)
        return;
    Form turn = form_a(k_loop(L->k, "t", count, u, acc, phi));
    for (int j = 0; j < each; j++) {
        Form step = form_addc(form_mul(turn, each), first + j);
        if (ins_int(R->i, 1))
            step = form_addc(form_mul(step, -1), t->dim[R->axis] - 1);
        for (int c = 0; c < u; c++) {
            idx[c][R->axis] = step;
            phi[c] = reduce_step(L, R->i->op, math_register((Dtype)t->dt), phi[c],
                eval_one(L, L->top, R->i->in[0], idx[c], R->env));
            if (!phi[c])
                continue;
            memo_set(L, L->top, R->i->out, idx[c], R->env, phi[c]);
            store_place(L, &R->out, idx[c], t->rank, R->env, eval_one(L, L->top, R->stored, idx[c], R->env));
        }
    }
    k_loop_end(L->k, phi, acc);
}

/* Along the axis for each of u lines: what is outside of it and inside. */
static void run_along(const Running *R, const Form *outer, const Form *inner, int u)
{
    const Type *t = R->t;
    int64_t n = t->dim[R->axis];
    Form idx[LINES][MAXRANK];
    Val acc[LINES];
    int each = R->across ? W : 1;
    for (int c = 0; c < u; c++) {
        form_unlinear(outer[c], t->dim, R->axis, idx[c]);
        form_unlinear(inner[c], t->dim + R->axis + 1, t->rank - R->axis - 1, idx[c] + R->axis + 1);
        acc[c] = reduce_identity(R->L, R->i->op, math_register((Dtype)t->dt));
        acc[c] = R->vec || R->across ? widen_val(R->L, acc[c]) : acc[c];
    }
    run_steps(R, idx, u, 0, n / each, each, acc);
    run_steps(R, idx, u, n / each * each, n % each, 1, acc);
}

/* Of n lines number f, or of the last W of them. */
static Form lanes_of(Lower *L, Form f, int64_t n)
{
    return form_add(at_most(L, form_mul(f, W), n - W), form_a(LANE));
}

void lower_cumulative(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Running R = { .L = L, .i = i, .t = &s->g->type[i->out], .axis = (int)ins_int(i, 0),
        .stored = s->nstore ? s->store->v : i->out, .out = s->nstore ? s->store->to : s->stored[i->out],
        .env = env_new(0) };
    int64_t outer = 1, inner = 1, steps = R.t->dim[R.axis];
    for (int d = 0; d < R.t->rank; d++)
        *(d < R.axis ? &outer : d > R.axis ? &inner : &steps) *= d == R.axis ? 1 : R.t->dim[d];
    bool apart = !s->in_place && frame_place(L->top, i->in[0]).buf != R.out.buf;
    R.vec = inner >= W && (inner % W == 0 || apart);
    R.across = inner == 1 && outer >= W && steps >= W && apart && L->m->lanes == 1;
    int64_t dim[2] = { R.across ? (outer + W - 1) / W : outer, R.vec ? (inner + W - 1) / W : inner };
    int64_t lines = R.vec ? dim[1] : outer;
    int u = R.across ? 1 : L->m->lines < LINES ? (int)L->m->lines : LINES;
    while (u > 1 && (u > lines || (!apart && lines % u)))
        u--;
    int64_t items[2] = { R.vec ? dim[0] : (dim[0] + u - 1) / u, R.vec ? (dim[1] + u - 1) / u : dim[1] };
    Form f[2], out[LINES], in[LINES];
    Items it;
    form_unlinear(items_open(L, items[0] * items[1],
                      4.0 * (double)steps *
                          (R.vec           ? u :
                                  R.across ? 4 :
                                             1),
                      &it),
        items, 2, f);
    /* the last of a block overlaps the one before: what they store is the same */
    for (int c = 0; c < u; c++) {
        out[c] = R.vec ? f[0] :
            R.across   ? lanes_of(L, f[0], outer) :
                         at_most(L, form_addc(form_mul(f[0], u), c), outer - 1);
        in[c] = R.vec ? lanes_of(L, form_addc(form_mul(f[1], u), c), inner) : f[1];
    }
    run_along(&R, out, in, u);
    items_close(L, &it);
}
