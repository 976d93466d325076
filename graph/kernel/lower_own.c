/*
 * lower_own.c - SPEC_CUMULATIVE: the running value of one axis.
 *
 * In:  cumsum, cumprod, cummax, cummin.   Out: a finished body.
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
    Place out;
    const Env *env;
} Running;

/* Along the axis for each of u indices (of what is outside and inside), w: in vectors. */
static void run_along(const Running *R, Form outer, const Form *inner, int u, bool vec)
{
    Lower *L = R->L;
    const Type *t = R->t;
    int64_t n = t->dim[R->axis];
    Dtype dt = math_register((Dtype)t->dt);
    Form idx[4][MAXRANK];
    Val acc[4], phi[4];
    for (int c = 0; c < u; c++) {
        form_unlinear(outer, t->dim, R->axis, idx[c]);
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
        if (phi[c])
            store_place(L, &R->out, idx[c], t->rank, R->env, phi[c]);
    }
    k_loop_end(L->k, phi, acc);
}

void lower_cumulative(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Running R = { .L = L, .i = i, .t = &s->g->type[i->out], .axis = (int)ins_int(i, 0), .inner = 1,
        .out = s->stored[i->out],
        .env = env_new(0) };
    int64_t outer = 1, steps = R.t->dim[R.axis];
    for (int d = 0; d < R.t->rank; d++)
        *(d < R.axis ? &outer : d > R.axis ? &R.inner : &steps) *= d == R.axis ? 1 : R.t->dim[d];
    bool vec = R.inner >= W && (R.inner % W == 0 || frame_place(L->top, i->in[0]).buf != R.out.buf);
    int64_t blocks = vec ? (R.inner + W - 1) / W : R.inner;
    int u = !vec ? 1 : blocks >= 4 ? 4 : (int)blocks;
    int64_t dim[2] = { outer, (blocks + u - 1) / u };
    while (vec && s->in_place && blocks % u)
        u--, dim[1] = (blocks + u - 1) / u;
    Form f[2], in[4];
    Items it;
    form_unlinear(items_open(L, dim[0] * dim[1], 4.0 * (double)steps * u, &it), dim, 2, f);
    for (int c = 0; c < u; c++) {
        in[c] = form_addc(form_mul(f[1], u * (vec ? W : 1)), c * W);
        int64_t lo, hi, most = R.inner - (vec ? W : 1);
        form_range(in[c], &lo, &hi);
        if (hi > most) {                        /* the last vectors overlap: what they store is the same */
            Val v = k_index(L->k, in[c]);
            in[c] = k_value(L->k, k2(L->k, K_MIN, dtype_of(L, v), v, index_const(L, v, most)), 0, most);
        }
        in[c] = vec ? form_add(in[c], form_a(LANE)) : in[c];
    }
    run_along(&R, f[0], in, u, vec);
    items_close(L, &it);
}
