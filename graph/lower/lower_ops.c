/*
 * lower_ops.c - elements of constants, pads, concatenations, updates in place and bit casts at a block of
 * environments: what is more than a view or a function of the operands' elements.
 *
 * In:  an instruction, a symbolic index, and the same in each environment (real).   Out: one value for each
 * environment.
 * A test that the index alone decides is made on forms; one that cuts no aligned vector is made on the
 * vector's base.
 */
#include "evaluator.h"

#include <string.h>

bool op_special(int op)
{
    switch (op) {
    case OP_const:
    case OP_data:
    case OP_iota:
    case OP_pad:
    case OP_concat:
    case OP_dynamic_update:
    case OP_accum_slice:
    case OP_bitcast:
        return true;
    default:
        return false;
    }
}

/* f >= bound as a value, decided by the vector's base where the bound cuts no vector. */
static Val at_least(Lower *L, Form f, int64_t bound)
{
    int64_t lo, hi;
    Form base = bound % W ? NULL : aligned_base(L, f);
    f = base ? base : f;
    form_range(f, &lo, &hi);
    if (lo >= bound || hi < bound)
        return k_bits(L->k, DT_BOOL, lo >= bound);
    Val x = k_index(L->k, f);
    return k2(L->k, K_GE, DT_BOOL, x, index_const(L, x, bound));
}

static Val not_val(Lower *L, Val x) { return k1(L->k, K_NOT, DT_BOOL, x); }

/* ==================== constants */

static Val data_element(Lower *L, const Ins *i, const Type *t, int64_t n)
{
    return const_val(L, (Dtype)t->dt, (const char *)i->blob + (size_t)n * dtype_size((Dtype)t->dt));
}

/* Inside a body an array of constants has no buffer: its elements are held. */
static Val data_held(Lower *L, const Element *el, int e)
{
    const Type *t = &el->fr->g->type[el->v];
    const void *key[2] = { el->fr, el->i };
    void **p = map_at(&L->regions, key, sizeof key);
    Held *h = *p;
    if (!h) {
        h = *p = NEW(Held);
        *h = (Held){ .t = *t, .size = type_size(t), .ne = 1, .val = NEWS(Val, type_size(t)) };
        for (int64_t n = 0; n < h->size; n++)
            h->val[n] = data_element(L, el->i, t, n);
    }
    return held_at(L, h, el->idx, el->real + e * t->rank, env_copy(el->envs.at[e], 0));
}

static void op_data(Lower *L, const Element *el, Val *out)
{
    const Type *t = &el->fr->g->type[el->v];
    for (int e = 0; e < el->envs.n; e++) {
        const Form *real = el->real + e * t->rank;
        int64_t n = 0;
        bool fixed = true;
        for (int d = 0; d < t->rank; d++) {
            fixed = fixed && form_const(real[d]);
            n = n * t->dim[d] + real[d]->c;
        }
        out[e] = fixed && n >= 0 && n < type_size(t) ? data_element(L, el->i, t, n) : data_held(L, el, e);
    }
}

static Val op_iota(Lower *L, const Type *t, Form f)
{
    int64_t c = f->c;
    Dtype dt = (Dtype)t->dt;
    if (form_const(f) && dtype_int(dt))
        return k_bits(L->k, dt, c);
    Val x = k_index(L->k, f);
    return convert_val(L, x, dtype_of(L, x), dt);
}

/* ==================== borders */

/* Is a padded index on the operand? 0: yes, always. */
static Val pad_inside(Lower *L, const Ins *i, const Type *x, const Form *real)
{
    const int64_t *lo = ins_attr(i, ATTR(pad, lo), NULL), *interior = ins_attr(i, ATTR(pad, interior), NULL);
    Val c = 0;
    for (int d = 0; d < x->rank; d++) {
        int64_t l, h, step = interior[d] + 1, end = (x->dim[d] - 1) * step + 1;
        Form f = form_addc(real[d], -lo[d]);
        form_range(f, &l, &h);
        if (l < 0)
            c = and_val(L, c, at_least(L, f, 0));
        if (h >= end)
            c = and_val(L, c, not_val(L, at_least(L, f, end)));
        if (step > 1) {
            Val m = k_index(L->k, form_mod(f, step));
            c = and_val(L, c, k2(L->k, K_EQ, DT_BOOL, m, index_const(L, m, 0)));
        }
    }
    return c;
}

static void op_pad(Lower *L, const Element *el, Val *out)
{
    const Graph *g = el->fr->g;
    const Type *x = &g->type[el->i->in[0]];
    Envs envs = el->envs;
    SCRATCH(Val, value, envs.n);
    eval_at(L, el->fr, el->i->in[1], el->idx, envs, value);
    if (any_zero(x)) {
        memcpy(out, value, sizeof *value * (size_t)envs.n);
        return;
    }
    Demand *d;
    elem_rule(g, el->i, 0, el->idx, &d);
    eval_at(L, el->fr, d[0].v, d[0].idx, envs, out);
    for (int e = 0; e < envs.n; e++) {
        Val c = pad_inside(L, el->i, x, el->real + e * x->rank);
        out[e] = c ? select_val(L, c, out[e], value[e]) : out[e];
    }
}

/* Where the index is known in every environment, each asks one part. */
static bool concat_known(Lower *L, const Element *el, Val *out)
{
    const Graph *g = el->fr->g;
    const Ins *i = el->i;
    Envs envs = el->envs;
    int64_t axis = ins_int(i, ATTR(concat, axis));
    int rank = g->type[i->out].rank;
    for (int e = 0; e < envs.n; e++)
        if (!form_const(el->real[e * rank + axis]))
            return false;
    for (int n = 0, done = 0; n < i->nin && done < envs.n; n++) {
        int64_t from = 0, size = g->type[i->in[n]].dim[axis];
        for (int m = 0; m < n; m++)
            from += g->type[i->in[m]].dim[axis];
        for (int e = 0; e < envs.n; e++) {
            int64_t c = el->real[e * rank + axis]->c;
            if (c < from || c >= from + size)
                continue;
            Form at[MAXRANK];
            memcpy(at, el->idx, sizeof *at * (size_t)rank);
            at[axis] = form_c(c - from);
            out[e] = eval_one(L, el->fr, i->in[n], at, envs.at[e]);
            done++;
        }
    }
    return true;
}

static void op_concat(Lower *L, const Element *el, Val *out)
{
    Frame *fr = el->fr;
    const Ins *i = el->i;
    Envs envs = el->envs;
    int64_t axis = ins_int(i, ATTR(concat, axis)), last = 0;
    int rank = fr->g->type[i->out].rank;
    if (concat_known(L, el, out))
        return;
    Demand *d;
    int n = elem_rule(fr->g, i, 0, el->idx, &d);
    SCRATCH(Val, x, envs.n);
    for (int p = n - 1; p >= 0; p--) {
        eval_at(L, fr, d[p].v, d[p].idx, envs, x);
        for (int e = 0; e < envs.n; e++)
            out[e] = p == n - 1 ? x[e] :
                select_val(L, at_least(L, el->real[e * rank + axis], last), out[e], x[e]);
        last = d[p].at;
    }
}

/* ==================== updates */

/* Is element el in environment e inside of the window of its update (0: always), and which element of the
 * update is it (at)? The indices of the batch, nb, come first in both. */
static Val window(Lower *L, const Element *el, int e, int nb, Form *at)
{
    const Graph *g = el->fr->g;
    const Ins *i = el->i;
    const Form *real = el->real + e * g->type[i->out].rank;
    const Type *x = &g->type[i->in[0]], *u = &g->type[i->in[1]];
    Form from[MAXRANK + 1];
    Val c = 0;
    memcpy(from, el->idx, sizeof *from * (size_t)nb);
    memcpy(at, el->idx, sizeof *at * (size_t)nb);
    for (int d = nb; d < u->rank; d++) {
        int64_t n = u->dim[d], full = x->dim[d];
        if (n == full) {
            at[d] = el->idx[d];
            continue;
        }
        from[nb] = form_c(d - nb);
        Val start = eval_one(L, el->fr, i->in[2], from, el->envs.at[e]);
        start = index_of(L, start, (Dtype)g->type[i->in[2]].dt, 0, full - n);
        Form o = form_add(real[d], form_mul(k_value(L->k, start, 0, full - n), -1));
        Val v = k_index(L->k, o), q;
        if (n == 1) {
            q = k2(L->k, K_EQ, DT_BOOL, v, index_const(L, v, 0));
            at[d] = form_c(0);
        } else {
            q = and_val(L, at_least(L, o, 0), not_val(L, at_least(L, o, n)));
            at[d] = k_value(L->k, clamp_val(L, v, 0, n - 1), 0, n - 1);
        }
        c = and_val(L, c, q);
    }
    return c;
}

/* Inside of the window the update stands in the stead of the operand's element, or is added to it. */
static void op_update(Lower *L, const Element *el, Val *out)
{
    const Graph *g = el->fr->g;
    const Ins *i = el->i;
    Dtype dt = (Dtype)g->type[i->out].dt;
    int nb = g->type[i->in[2]].rank - 1;
    eval_at(L, el->fr, i->in[0], el->idx, el->envs, out);
    if (any_zero(&g->type[i->in[1]]))
        return;
    for (int e = 0; e < el->envs.n; e++) {
        Form at[MAXRANK];
        Val c = window(L, el, e, nb, at), u = eval_one(L, el->fr, i->in[1], at, el->envs.at[e]);
        if (i->op == OP_dynamic_update)
            out[e] = c ? select_val(L, c, u, out[e]) : u;
        else if (!u)
            out[e] = 0;
        else {
            u = c ? select_val(L, c, u, k_bits(L->k, dtype_of(L, u), 0)) : u;
            out[e] = math_op(L->k, OP_add, dt, dt, 2, (const Val[]){ out[e], u });
        }
    }
}

/* ==================== bits */

/* Widths are alike: the prepared graph has no other. */
static void op_bitcast(Lower *L, const Element *el, Val *out)
{
    const Graph *g = el->fr->g;
    Ref x = el->i->in[0];
    eval_at(L, el->fr, x, el->idx, el->envs, out);
    for (int e = 0; e < el->envs.n; e++)
        out[e] = math_bitcast(L->k, (Dtype)g->type[x].dt, (Dtype)g->type[el->v].dt, out[e]);
}

void op_element(Lower *L, const Element *el, Val *out)
{
    const Ins *i = el->i;
    const Type *t = &el->fr->g->type[el->v];
    int64_t bits;
    switch (i->op) {
    case OP_const:
        bits = ins_int(i, ATTR(const, bits));
        for (int e = 0; e < el->envs.n; e++)
            out[e] = const_val(L, (Dtype)t->dt, &bits);
        return;
    case OP_iota:
        for (int e = 0; e < el->envs.n; e++)
            out[e] = op_iota(L, t, el->real[e * t->rank + ins_int(i, ATTR(iota, axis))]);
        return;
    case OP_data: op_data(L, el, out); return;
    case OP_pad: op_pad(L, el, out); return;
    case OP_concat: op_concat(L, el, out); return;
    case OP_dynamic_update: case OP_accum_slice: op_update(L, el, out); return;
    default: op_bitcast(L, el, out);
    }
}
