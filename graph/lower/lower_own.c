/*
 * lower_own.c - SPEC_CUMULATIVE: the running value of one axis.
 *
 * In:  cumsum, cumprod, cummax, cummin, and what is stored instead of them.   Out: a finished body.
 * A running value is a loop along the axis with vectors over what lies inside of it, or outside, or one by
 * one. Floats accumulate wide, every element is rounded as it is stored.
 */
#include "reduce.h"

#include <string.h>

typedef struct Running {
    Lower *L; const Ins *i; const RunningSpec *p;
    const Type *t;
    int axis;
    Ref stored; MemRef out;                      /* stored: the running value or a function of it */
    const Env *env;
} Running;

/* Steps first .. first + count * each - 1 of an axis, `each` a turn of the loop. */
typedef struct Steps { int64_t first, count; int each; } Steps;

/* Of u lines at once. */
static void run_steps(const Running *R, Form (*idx)[MAXRANK], int u, Steps steps, Val *acc)
{
    Lower *L = R->L;
    const Type *t = R->t;
    Val phi[LINES];
    if (!steps.count)
        return;
    Form turn = form_a(k_loop(L->k, "t", steps.count, u, acc, phi));
    for (int j = 0; j < steps.each; j++) {
        Form step = form_addc(form_mul(turn, steps.each), steps.first + j);
        if (ins_int(R->i, ATTR(cumsum, reverse)))
            step = form_addc(form_mul(step, -1), t->dim[R->axis] - 1);
        for (int c = 0; c < u; c++) {
            idx[c][R->axis] = step;
            phi[c] = reduce_step(L, R->i->op, math_register((Dtype)t->dt), phi[c],
                eval_one(L, L->top, R->i->in[0], idx[c], R->env));
            if (!phi[c])
                continue;
            memo_set(L, L->top, R->i->out, idx[c], R->env, phi[c]);
            Val x = eval_one(L, L->top, R->stored, idx[c], R->env);
            store_memref(L, &R->out, idx[c], t->rank, R->env, x);
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
    int each = R->p->across ? W : 1;
    for (int c = 0; c < u; c++) {
        form_unlinear(outer[c], t->dim, R->axis, idx[c]);
        form_unlinear(inner[c], t->dim + R->axis + 1, t->rank - R->axis - 1, idx[c] + R->axis + 1);
        acc[c] = reduce_identity(R->L, R->i->op, math_register((Dtype)t->dt));
        acc[c] = R->p->vec || R->p->across ? widen_val(R->L, acc[c]) : acc[c];
    }
    run_steps(R, idx, u, (Steps){ 0, n / each, each }, acc);
    run_steps(R, idx, u, (Steps){ n / each * each, n % each, 1 }, acc);
}

/* Of n lines number f, or of the last W of them. */
static Form lanes_of(Lower *L, Form f, int64_t n)
{
    return form_add(at_most(L, form_mul(f, W), n - W), form_a(LANE));
}

void lower_cumulative(Lower *L)
{
    const Spec *s = L->spec;
    const RunningSpec *p = s->running;
    const Ins *i = s->ins;
    if (s->team) {
        team_running(L);
        return;
    }
    Running R = { .L = L,
        .i = i,
        .p = p,
        .t = &s->g->type[i->out],
        .axis = (int)ins_int(i, ATTR(cumsum, axis)),
        .stored = s->nstore ? s->store->v : i->out,
        .out = s->nstore ? s->store->to : s->stored[i->out],
        .env = env_new(0) };
    Form f[2], out[LINES], in[LINES];
    Items it;
    form_unlinear(items_open(L, &it), p->items, 2, f);
    /* the last of a block overlaps the one before: what they store is the same */
    for (int c = 0; c < p->lines; c++) {
        out[c] = p->vec ? f[0] :
            p->across   ? lanes_of(L, f[0], p->outer) :
                          at_most(L, form_addc(form_mul(f[0], p->lines), c), p->outer - 1);
        in[c] = p->vec ? lanes_of(L, form_addc(form_mul(f[1], p->lines), c), p->inner) : f[1];
    }
    run_along(&R, out, in, p->lines);
    items_close(L, &it);
}
