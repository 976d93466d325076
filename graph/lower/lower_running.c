/*
 * lower_running.c - running values of a line that the work-items of a group share out.
 *
 * In:  cumsum, cumprod, cummax, cummin along an axis in which elements lie side by side; a group a line.
 * Out: a finished body.
 * A group takes a piece of its line after the other. Items read it side by side and put it into local
 * memory; there each has some neighbours, of which it makes the running values. What is before an item is
 * what all items before it have in all: sixteen of them are put together by one item, and so are those
 * sixteen. Then the running values go back the way they came.
 *
 *      16 items of 4:   0 1 2 3 | 4 5 6 7 | ...        each its own four
 *                       own totals, before them those of other items, before them earlier pieces
 */
#include "reduce.h"

typedef struct Line {
    Lower *L; const Ins *i; const Type *t;
    int axis, op; Dtype dt;
    int64_t n, items, each;                     /* of the line; of a group; elements of an item of a piece */
    Form at[MAXRANK];                           /* the line */
    Ref stored; MemRef out; const Env *env;
    Buffer *piece, *total, *sums;
} Line;

/* Rows of 32 are one longer, so that items that lie a power of two apart meet different banks. */
static Form in_piece(Form f) { return form_add(f, form_div(f, 32)); }

/* Element m of the line. */
static const Form *element(const Line *l, Form m, Form *idx)
{
    for (int d = 0; d < l->t->rank; d++)
        idx[d] = l->at[d];
    idx[l->axis] = ins_int(l->i, ATTR(cumsum, reverse)) ? form_addc(form_mul(m, -1), l->n - 1) : m;
    return idx;
}

/* Of a vector those lanes that are below a number; others are what changes nothing. */
static Val below(const Line *l, Val x, Form number)
{
    Lower *L = l->L;
    Val lane = k_index(L->k, form_a(LANE));
    Val is = k2(L->k, K_LT, DT_BOOL, lane, k_index(L->k, number));
    return reduce_across(L, l->op, l->dt, select_val(L, is, x, reduce_identity(L, l->op, l->dt)));
}

/* What is before an item's own in this piece; all: and what the piece has in all. */
static Val before(const Line *l, Val own, Val *all)
{
    Lower *L = l->L;
    Kernel *k = L->k;
    int64_t parts = l->items / W;
    Form part = form_mod(L->member, W);
    Val i = k_index(k, L->member);
    k_store(k, l->total, L->member, own);
    k_barrier(k);
    k_if(k, k2(k, K_LT, DT_BOOL, i, index_const(L, i, W)));
    Form row = form_mul(at_most(L, part, parts - 1), W);
    Val x = reduce_across(L, l->op, l->dt, k_load(k, l->total, form_add(row, form_a(LANE))));
    if (parts < W)
        x = select_val(L, k2(k, K_LT, DT_BOOL, i, index_const(L, i, parts)), x,
            reduce_identity(L, l->op, l->dt));
    k_store(k, l->sums, part, x);
    k_if_end(k, 0, NULL, NULL, NULL);
    k_barrier(k);
    Val sums = k_load(k, l->sums, form_a(LANE));
    *all = reduce_across(L, l->op, l->dt, sums);
    Form mine = form_mul(form_div(L->member, W), W);
    Val near = below(l, k_load(k, l->total, form_add(mine, form_a(LANE))), part);
    return reduce_step(L, l->op, l->dt, below(l, sums, form_div(L->member, W)), near);
}

/* One element of the piece that begins at `first`, which this item reads or stores; false: it is beyond
 * the line. has: 0: it is not. */
static Form position_of(const Line *l, Form first, int64_t c, int64_t size, Val *has)
{
    Lower *L = l->L;
    Form m = form_add(first, form_addc(L->member, c * l->items));
    *has = 0;
    if (size == l->items * l->each)
        return m;
    if (c * l->items + l->items <= size)
        return m;
    Val v = k_index(L->k, form_addc(L->member, c * l->items));
    *has = k2(L->k, K_LT, DT_BOOL, v, index_const(L, v, size));
    return form_add(first, at_most(L, form_addc(L->member, c * l->items), size - 1));
}

/* A piece of `size` elements: what is before it becomes what is before the next one. */
static Val piece(const Line *l, Form first, int64_t size, Val carried)
{
    Lower *L = l->L;
    Kernel *k = L->k;
    Val identity = reduce_identity(L, l->op, l->dt), all, has;
    int each = (int)l->each, used = (int)((size + l->items - 1) / l->items);
    SCRATCH(Val, x, each);
    Form idx[MAXRANK];
    for (int c = 0; c < each; c++) {
        Form own = in_piece(form_addc(L->member, c * l->items));
        x[c] = identity;
        if (c < used) {
            Form m = position_of(l, first, c, size, &has);
            x[c] = eval_one(L, L->top, l->i->in[0], element(l, m, idx), l->env);
            x[c] = has ? select_val(L, has, x[c], identity) : x[c];
        }
        k_store(k, l->piece, own, x[c]);
    }
    k_barrier(k);
    Form mine = form_mul(L->member, each);
    for (int c = 0; c < each; c++) {
        Val y = k_load(k, l->piece, in_piece(form_addc(mine, c)));
        x[c] = c ? reduce_step(L, l->op, l->dt, x[c - 1], y) : y;
    }
    Val from = reduce_step(L, l->op, l->dt, carried, before(l, x[each - 1], &all));
    for (int c = 0; c < each; c++)
        k_store(k, l->piece, in_piece(form_addc(mine, c)), reduce_step(L, l->op, l->dt, from, x[c]));
    k_barrier(k);
    for (int c = 0; c < used; c++) {
        Form m = position_of(l, first, c, size, &has);
        Val y = k_load(k, l->piece, in_piece(form_addc(L->member, c * l->items)));
        if (has)
            k_if(k, has);
        element(l, m, idx);
        memo_set(L, L->top, l->i->out, idx, l->env, y);
        store_memref(L, &l->out, idx, l->t->rank, l->env, eval_one(L, L->top, l->stored, idx, l->env));
        if (has)
            k_if_end(k, 0, NULL, NULL, NULL);
    }
    k_barrier(k);
    return reduce_step(L, l->op, l->dt, carried, all);
}

void team_running(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    const Type *t = &s->g->type[i->out];
    Kernel *k = L->k;
    Line l = { .L = L, .i = i, .t = t, .op = i->op, .axis = (int)ins_int(i, ATTR(cumsum, axis)),
        .dt = math_register((Dtype)t->dt), .items = s->team, .each = s->running->each,
        .stored = s->nstore ? s->store->v : i->out, .out = s->nstore ? s->store->to : s->stored[i->out],
        .env = env_new(0) };
    l.n = t->dim[l.axis];
    for (int d = l.axis; d < t->rank; d++)
        l.at[d] = form_c(0);
    form_unlinear(grid_open(L, 0, s->running->outer), t->dim, l.axis, l.at);
    int64_t size = l.items * l.each, count = l.n / size;
    l.piece = k_local(k, l.dt, size + size / 32 + 1);
    l.total = k_local(k, l.dt, l.items), l.sums = k_local(k, l.dt, W);
    Val carried = reduce_identity(L, l.op, l.dt);
    Form first = form_c(0);
    k->work += s->share.work;
    if (count > 1)
        first = form_mul(form_a(k_loop(k, "t", count, 1, &carried, &carried)), size);
    if (count)
        carried = piece(&l, first, size, carried);
    if (count > 1)
        k_loop_end(k, &carried, &carried);
    if (l.n % size)
        piece(&l, form_c(count * size), l.n % size, carried);
}
