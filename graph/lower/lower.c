/*
 * lower.c - the evaluator: values of a graph at a block of environments.
 *
 * In:  a value, a symbolic index, environments.   Out: one value of the kernel for each environment.
 * Invariant: what is asked for is known by (frame, value, index in the environment, clamps that the index
 * lost there). If it was evaluated where it can still be seen, it is that; so what copies, lanes and phases
 * share is computed once. A stored value is a load, a parameter of a body is what the region says it is, all
 * else follows the element rule. After an error values are 0, which every builder passes on in silence;
 * lower() returns NULL.
 */
#include "evaluator.h"

#include <string.h>

/* ==================== frames */

Frame *frame_new(Lower *L, const Graph *g)
{
    Frame *f = NEW(Frame);
    f->id = ++L->nframe;
    f->g = g;
    return f;
}

void frame_push(Lower *L, Frame *f) { f->up = L->frames, L->frames = f; }
void frame_pop(Lower *L, Frame *f) { L->frames = f->up; }

static Frame *frame_of(const Lower *L, const Graph *g)
{
    for (Frame *f = L->frames; f; f = f->up)
        if (f->g == g)
            return f;
    return L->top;
}

MemRef frame_memref(const Frame *fr, Ref v)
{
    if (!fr->stored || !fr->stored[v].buf || refs_have(fr->made, v))
        return (MemRef){ 0 };
    MemRef copy = memref_instead(fr->instead, v);
    return copy.buf ? copy : fr->stored[v];
}

const Row *frame_row(const Frame *fr, Ref v, const Form *idx)
{
    if (!fr->rows.n)
        return NULL;
    MapKey key = map_key(v, 0, 0, idx, fr->g->type[v].rank);
    const Row *r = map_get(&fr->rows, key.w, key.n);
    return r && r->filled ? r : NULL;
}

Param *frame_param(const Frame *fr, Ref v)
{
    return fr->param_of && fr->param_of[v] ? &fr->param[fr->param_of[v] - 1] : NULL;
}

Form *param_index(const Param *q, const Form *idx, int n)
{
    Form *all = NEWS(Form, q->nlead + n);
    memcpy(all, q->lead, sizeof *all * (size_t)q->nlead);
    memcpy(all + q->nlead, idx, sizeof *all * (size_t)n);
    return all;
}

bool scope_open(const Kernel *k, int scope)
{
    int s = k->cur;
    while (s >= 0 && k->scope[s].depth > k->scope[scope].depth)
        s = k->scope[s].parent;
    return s == scope;
}

/* ==================== small builders */

Val lower_fail(Lower *L)
{
    L->failed = true;
    return 0;
}

Val widen_val(Lower *L, Val v) { return width(L, v) == 1 ? k_splat(L->k, v) : v; }
Val index_const(Lower *L, Val like, int64_t c) { return k_bits(L->k, dtype_of(L, like), c); }
Val select_val(Lower *L, Val c, Val x, Val y)
{
    return x == y ? x : k3(L->k, K_SELECT, dtype_of(L, x), c, x, y);
}
Val and_val(Lower *L, Val x, Val y) { return !x ? y : !y ? x : k2(L->k, K_AND, DT_BOOL, x, y); }
Val or_val(Lower *L, Val x, Val y) { return !x ? y : !y ? x : k2(L->k, K_OR, DT_BOOL, x, y); }

Val any_val(Lower *L, const Val *m, int n)
{
    Val r = 0;
    for (int j = 0; j < n; j++)
        r = or_val(L, r, m[j]);
    return width(L, r) > 1 ? k1(L->k, K_ANY, DT_BOOL, r) : r;
}

Val clamp_val(Lower *L, Val x, int64_t lo, int64_t hi)
{
    Dtype dt = dtype_of(L, x);
    return k2(L->k, K_MIN, dt, k2(L->k, K_MAX, dt, x, index_const(L, x, lo)), index_const(L, x, hi));
}

/* What the index type does not hold is clamped before, in its own type. */
Val index_of(Lower *L, Val x, Dtype dt, int64_t lo, int64_t hi)
{
    Dtype to = L->k->wide_index || lo < INT32_MIN || hi > INT32_MAX ? DT_I64 : DT_I32;
    if (!x)
        return 0;
    if (dt == DT_BOOL ||
        (dtype_unsigned(dt) ? dtype_size(dt) < dtype_size(to) : dtype_size(dt) <= dtype_size(to)))
        return clamp_val(L, dt == to ? x : k1(L->k, K_CONVERT, to, x), lo, hi);
    if (dtype_signed(dt) || lo > 0)
        x = k2(L->k, K_MAX, dt, x, k_bits(L->k, dt, lo));
    x = k2(L->k, K_MIN, dt, x, k_bits(L->k, dt, hi < 0 ? 0 : hi));
    return k1(L->k, K_CONVERT, to, x);
}

Val const_val(Lower *L, Dtype dt, const void *p)
{
    if (dt == DT_F16 || dt == DT_BF16)
        return k_const(L->k, DT_F32, dtype_load_f(dt, p));
    return k_bits(L->k, dt, dtype_load_i(dt, p));
}

Val convert_val(Lower *L, Val x, Dtype from, Dtype to)
{
    return !x || from == to ? x : math_op(L->k, OP_convert, from, to, 1, &x);
}


bool any_zero(const Type *t)
{
    for (int d = 0; d < t->rank; d++)
        if (!t->dim[d])
            return true;
    return false;
}

void element_index(const Type *t, int64_t c, Form *idx)
{
    for (int d = t->rank - 1; d >= 0; d--) {
        idx[d] = form_c(c % t->dim[d]);
        c /= t->dim[d];
    }
}

/* ==================== forms in an environment */

static bool special(Form f)
{
    for (int j = 0; j < f->n; j++) {
        const Atom *a = f->t[j].a;
        if (a->kind == A_CLAMP || a->kind == A_WITHIN || a->kind == A_ELEM ||
            ((a->kind == A_DIV || a->kind == A_MOD) && special(a->f)))
            return true;
    }
    return false;
}

Form aligned_base(Lower *L, Form f)
{
    int64_t s;
    if (form_coef(f, LANE) != 1 || !k_mode(L->k, f, &s) || s != 1 || f->c % W)
        return NULL;
    for (int j = 0; j < f->n; j++)
        if (f->t[j].a != LANE && f->t[j].k % W)
            return NULL;
    return form_add(f, form_mul(form_a(LANE), -1));
}

typedef struct InEnv { Lower *L; const Env *e; } InEnv;

/* What may be read in the stead of an element that is within an array wherever anybody looks; NULL: nothing
 * but the clamp.
 * A border at a multiple of W never cuts an aligned vector: its base is clamped. Near the array a vector
 * that lies side by side is not clamped at all (SLACK; load_memref sees to it that this holds for the
 * address). */
static Form unclamped(Lower *L, Form f, int64_t n)
{
    int64_t lo, hi, s;
    Form base = aligned_base(L, f);
    if (base && n % W == 0 && n >= W) {
        form_range(base, &lo, &hi);
        if (lo >= 0 && hi <= n - W)
            return f;
        Val v = clamp_val(L, k_index(L->k, base), 0, n - W);
        return form_add(k_value(L->k, v, 0, n - W), form_a(LANE));
    }
    form_range(f, &lo, &hi);
    bool near = lo >= -SLACK && hi < n + SLACK;
    return !L->strict && near && form_coef(f, LANE) == 1 && k_mode(L->k, f, &s) && s == 1 ? f : NULL;
}

/* Else each lane goes its own way. What is not clamped is noted: a value at that index is not what it is at
 * the same index elsewhere, since lanes outside are anything, and parts that only they would reach are left
 * out. */
static Form in_clamp(void *ctx, AtomKind kind, Form f, int64_t n)
{
    Lower *L = ((InEnv *)ctx)->L;
    Form c = form_clamp(f, n), any;
    if (c == f || form_const(c))
        return c;
    if (kind == A_CLAMP || (any = unclamped(L, f, n)) == NULL)
        return k_value(L->k, clamp_val(L, k_index(L->k, f), 0, n - 1), 0, n - 1);
    const AtomSet *one = set_one(atom_of(A_WITHIN, f, n, 0, n - 1));
    L->within = L->within ? set_join(L->within, one) : one;
    return any;
}

static Form in_elem(void *ctx, const Atom *a)
{
    InEnv *c = ctx;
    Lower *L = c->L;
    Frame *fr = frame_of(L, a->g);
    bool strict = L->strict;
    const AtomSet *within = L->within;
    L->strict = false;
    Val x = eval_one(L, fr, a->v, a->idx, c->e);
    L->strict = strict, L->within = within;
    return k_value(L->k, index_of(L, x, (Dtype)fr->g->type[a->v].dt, a->lo, a->hi), a->lo, a->hi);
}

Form form_in(Lower *L, Form f, const Env *e)
{
    if (form_const(f))
        return f;
    InEnv c = { L, e };
    Subst s = { e->n, e->a, e->f, in_elem, in_clamp, &c };
    if (special(f))
        return form_subst(f, &s);
    const void *key[2] = { f, e };
    void **p = map_at(&L->forms, key, sizeof key);
    if (!*p)
        *p = (void *)(uintptr_t)form_subst(f, &s);
    return *p;
}

bool has_lanes(Lower *L, const Form *idx, int n, Envs envs)
{
    for (int j = 0; j < n; j++)
        for (int e = 0; e < envs.n; e++)
            if (form_vector(form_in(L, idx[j], envs.at[e])))
                return true;
    return false;
}

/* ==================== loads and stores */

static Form memref_form(Lower *L, const MemRef *p, const Form *real, int n, const Env *e)
{
    const Layout *l = p->layout;
    Form lead[MAXRANK + 1];
    for (int j = 0; j < l->nlead; j++)
        lead[j] = form_in(L, l->lead[j], e);
    return layout_form(l, lead, real, n, env_number(e));
}

/* Is this address one that may be read? base: what the buffer's size says nothing of. */
static bool may_read(const MemRef *p, Form f, int64_t size)
{
    int64_t lo, hi, slack = p->buf->space == GLOBAL ? SLACK : 0;
    if (p->layout->base && p->buf->space == GLOBAL)
        f = form_add(f, form_mul(p->layout->base, -1));
    form_range(f, &lo, &hi);
    return lo >= -slack && hi < size + slack;
}

/* An index of n dimensions, and what it is in an environment. */
typedef struct Index { const Form *idx, *real; int n; } Index;

static Val load_real(Lower *L, const MemRef *p, int64_t size, Index at, const Env *e)
{
    const Form *idx = at.idx;
    int n = at.n;
    Form f = memref_form(L, p, at.real, n, e);
    bool loose = false;
    for (int j = 0; j < n; j++)
        loose = loose || special(idx[j]);
    if (loose && !may_read(p, f, size)) {
        Form tight[MAXRANK + 1];
        bool strict = L->strict;
        L->strict = true;
        for (int j = 0; j < n; j++)
            tight[j] = form_in(L, idx[j], e);
        L->strict = strict;
        f = memref_form(L, p, tight, n, e);
    }
    return k_load(L->k, p->buf, f);
}

Val load_memref(Lower *L, const MemRef *p, const Form *idx, int n, const Env *e)
{
    Form real[MAXRANK + 1];
    for (int j = 0; j < n; j++)
        real[j] = form_in(L, idx[j], e);
    return load_real(L, p, p->buf->size, (Index){ idx, real, n }, e);
}

/* One of W equal lanes. */
static Val first_lane(Lower *L, Val x)
{
    Dtype dt = dtype_of(L, x);
    if (dt == DT_BOOL)
        return k1(L->k, K_ANY, DT_BOOL, x);
    if (!dtype_float(dt))
        return k1(L->k, K_HMAX, dt, x);
    Dtype bits = dt == DT_F64 ? DT_I64 : DT_I32;
    return k1(L->k, K_BITS, dt, k1(L->k, K_HMAX, bits, k1(L->k, K_BITS, bits, x)));
}

void store_memref(Lower *L, const MemRef *p, const Form *idx, int n, const Env *e, Val x)
{
    Form real[MAXRANK + 1];
    int64_t s;
    for (int j = 0; j < n; j++)
        real[j] = form_in(L, idx[j], e);
    Form f = memref_form(L, p, real, n, e);
    if (width(L, x) > 1 && k_mode(L->k, f, &s) && !s)
        x = first_lane(L, x);
    k_store(L->k, p->buf, f, form_vector(f) ? widen_val(L, x) : x);
}

/* ==================== held values */

/* Copies the elements to a private array, for indices that are known only when running. */
static void held_spill(Lower *L, Held *h)
{
    if (h->spill && scope_open(L->k, h->spill - 1))
        return;
    int lanes = 1;
    for (int64_t c = 0; c < h->size * h->ne; c++)
        lanes = width(L, h->val[c]) > 1 ? W : lanes;
    Layout *l = NEW(Layout);
    *l = *layout_natural(h->t.dim, h->t.rank);
    for (int j = 0; j < l->ndigit; j++)
        l->digit[j].stride *= lanes;
    l->env_stride = h->size * lanes;
    l->base = lanes > 1 ? form_a(LANE) : NULL;
    h->mem = (MemRef){ k_private(L->k, (Dtype)h->t.dt, h->size * h->ne * lanes), l };
    h->spill = L->k->cur + 1;
    for (int64_t c = 0; c < h->size; c++) {
        Form idx[MAXRANK];
        element_index(&h->t, c, idx);
        for (int k = 0; k < h->ne; k++)
            store_memref(L, &h->mem, idx, h->t.rank, env_new(k), h->val[c * h->ne + k]);
    }
}

Val held_at(Lower *L, Held *h, const Form *idx, const Form *real, const Env *e)
{
    int rank = h->t.rank;
    int64_t room = 1, lo, hi;
    if (h->val && e->kf)
        held_spill(L, h);
    else if (h->val) {
        for (int d = 0; d < rank; d++)
            room *= form_const(real[d]) || h->t.dim[d] == 1 ? 1 : h->t.dim[d];
        Form lin = form_c(0);
        for (int d = 0; d < rank; d++)
            lin = form_add(form_mul(lin, h->t.dim[d]), h->t.dim[d] == 1 ? form_c(0) : real[d]);
        if (room == 1) {
            form_range(lin, &lo, &hi);
            lo = lo < 0 ? 0 : lo >= h->size ? h->size - 1 : lo;
            return h->val[lo * h->ne + e->k];
        }
        if (room <= L->spec->written.choose) {
            Val x = 0, n = k_index(L->k, lin);
            for (int64_t c = h->size - 1; c >= 0; c--) {
                Form at[MAXRANK];
                bool can = true;
                element_index(&h->t, c, at);
                for (int d = 0; d < rank; d++)
                    can = can && (!form_const(real[d]) || real[d] == at[d] || h->t.dim[d] == 1);
                if (can) {
                    Val y = h->val[c * h->ne + e->k];
                    x = !x ? y : select_val(L, k2(L->k, K_EQ, DT_BOOL, n, index_const(L, n, c)), y, x);
                }
            }
            return x;
        }
        held_spill(L, h);
    }
    return load_real(L, &h->mem, h->mem.buf->size, (Index){ idx, real, rank }, e);
}

static Val param_one(Lower *L, Param *q, Val x, const Env *e)
{
    Val only = 0;
    for (int j = 0; j < q->nzero; j++) {
        Val n = k_index(L->k, form_in(L, q->zero[j], e));
        only = and_val(L, only, k2(L->k, K_EQ, DT_BOOL, n, index_const(L, n, 0)));
    }
    return only ? select_val(L, only, x, k_bits(L->k, dtype_of(L, x), 0)) : x;
}

static void param_at(Lower *L, Param *q, const Element *el, Val *out)
{
    Envs envs = el->envs;
    int n = el->fr->g->type[el->v].rank;
    if (q->held) {
        for (int e = 0; e < envs.n; e++)
            out[e] = held_at(L, q->held, el->idx, el->real + e * n, envs.at[e]);
        return;
    }
    eval_at(L, q->fr, q->v, param_index(q, el->idx, n), envs, out);
    for (int e = 0; q->nzero && e < envs.n; e++)
        out[e] = param_one(L, q, out[e], envs.at[e]);
}

/* ==================== the element rule on a block */

static Val elementwise(Lower *L, Frame *fr, const Ins *i, Ref v, const Val *x)
{
    Kernel *k = L->k;
    Dtype from = (Dtype)fr->g->type[i->in[i->op == OP_select]].dt, to = (Dtype)fr->g->type[v].dt;
    for (int n = 0; n < i->nin; n++)
        if (!x[n])
            return 0;
    if (i->op == OP_select)
        return select_val(L, x[0], x[1], x[2]);
    if (i->op == OP_threefry)
        return math_threefry(k, x, (int)(v - i->out));
    /* by a power of two: exact as a product */
    if (i->op == OP_div && from == DT_F32 && k_is_const(k, x[1])) {
        uint32_t b = (uint32_t)k->ins[x[1]].bits, e = b >> 23 & 255;
        if (!(b & 0x7fffff) && e > 1 && e < 253)
            return k2(
                k, K_MUL, DT_F32, x[0], k_bits(k, DT_F32, (int64_t)((b & 0x80000000u) | (254 - e) << 23)));
    }
    if (i->op == OP_reduce_precision)
        return math_reduce_precision(k, from, x[0], ins_int(i, ATTR(reduce_precision, exponent)),
            ins_int(i, ATTR(reduce_precision, mantissa)));
    return math_op(k, i->op == OP_accum ? OP_add : i->op, from, to, i->nin, x);
}

/* x + sum: the accumulators of the sum start at x, where that changes no rounding. */
static bool chain(Lower *L, const Element *el, Val *out)
{
    Frame *fr = el->fr;
    const Ins *i = el->i;
    const Type *t = &fr->g->type[el->v];
    if ((i->op != OP_add && i->op != OP_accum) || !fr->whole || math_register((Dtype)t->dt) != (Dtype)t->dt)
        return false;
    for (int n = 1; n >= 0; n--)
        if (users_chain(fr->users, i->in[n]) && !memo_known(L, fr, i->in[n], el->idx, el->envs) &&
            has_lanes(L, el->idx, t->rank, el->envs)) {
            SCRATCH(Val, start, el->envs.n);
            SumLoop sum = { &(Want){ i->in[n], el->idx }, 1, -1, 0, false, { 0 }, 0 };
            eval_at(L, fr, i->in[1 - n], el->idx, el->envs, start);
            lower_reduce(L, fr, &sum, el->envs, start, out);
            return true;
        }
    return false;
}

/* A long chain of instructions would be a deep recursion: its values are evaluated from its end, one in so
 * many; those between are a recursion of that depth. */
enum { CHAIN_PIECE = 32, CHAIN_MAX = 1 << 16 };
typedef struct Chain { Lower *L; Envs envs; int met, left; } Chain;

static Onward chain_link(DemandWalk *w, Visit *x)
{
    Chain *c = w->ctx;
    if (++c->met > CHAIN_MAX)
        return WALK_DONE;
    return !x->i || x->i->op == OP_region || frame_memref(x->fr, x->v).buf || frame_param(x->fr, x->v) ||
            optab[x->i->op].element == IS_SUM || op_special(x->i->op) ?
        WALK_PAST : WALK_INTO;
}

static void chain_piece(DemandWalk *w, Visit *x)
{
    Chain *c = w->ctx;
    if (++c->left % CHAIN_PIECE || users_chain(x->fr->users, x->v))
        return;
    SCRATCH(Val, out, c->envs.n);
    eval_at(c->L, x->fr, x->v, x->idx, c->envs, out);
}

static void deep(Lower *L, const Element *el)
{
    Chain c = { .L = L, .envs = el->envs };
    DemandWalk w = { .g = el->fr->g, .fr = el->fr, .visit = chain_link, .leave = chain_piece, .ctx = &c };
    demand_walk(&w, el->v, el->idx, 0, NULL);
}

static void op(Lower *L, const Element *el, Val *out)
{
    Frame *fr = el->fr;
    const Ins *i = el->i;
    Envs envs = el->envs;
    if (optab[i->op].element == IS_SUM) {
        Want one = { el->v, el->idx };
        lower_reduce(L, fr, &(SumLoop){ &one, 1, -1, 0, false, { 0 }, 0 }, envs, NULL, out);
        return;
    }
    if (i->op == OP_region) {
        region_value(L, el, out);
        return;
    }
    if (op_special(i->op)) {
        op_element(L, el, out);
        return;
    }
    if (chain(L, el, out))
        return;
    if (L->depth % 128 == 127)
        deep(L, el);
    Demand *d;
    int n = elem_rule(fr->g, i, (int)(el->v - i->out), el->idx, &d);
    if (op_views(i->op) || i->op == OP_dynamic_slice || i->op == OP_gather) {
        eval_at(L, fr, d[0].v, d[0].idx, envs, out);
        return;
    }
    Val *args = NEWS(Val, n * envs.n), x[4];
    for (int j = 0; j < n; j++)
        eval_at(L, fr, d[j].v, d[j].idx, envs, args + j * envs.n);
    if (n > 3 && i->op != OP_threefry) {
        error_set(E_INTERNAL, "%s has no element rule in the lowering", optab[i->op].name);
        n = 0;
    }
    for (int e = 0; e < envs.n; e++) {
        for (int j = 0; j < n; j++)
            x[j] = args[j * envs.n + e];
        out[e] = n ? elementwise(L, fr, i, el->v, x) : lower_fail(L);
    }
}

/* Elements of a constant array at indices that are known. */
static bool fixed_data(const Element *el)
{
    bool fixed = el->i && el->i->op == OP_data;
    for (int j = 0; fixed && j < el->envs.n * el->fr->g->type[el->v].rank; j++)
        fixed = form_const(el->real[j]);
    return fixed;
}

static Form row_at(Lower *L, const Row *r, const Env *e)
{
    return form_add(form_in(L, r->f, e), form_mul(env_number(e), r->pad));
}

static void compute(Lower *L, const Element *el, Val *out)
{
    Frame *fr = el->fr;
    Envs envs = el->envs;
    const Type *t = &fr->g->type[el->v];
    const Row *known = frame_row(fr, el->v, el->idx);
    if (known) {
        for (int e = 0; e < envs.n; e++)
            out[e] = k_load(L->k, known->buf, row_at(L, known, envs.at[e]));
        return;
    }
    MemRef p = frame_memref(fr, el->v);
    if (p.buf && !fixed_data(el)) {
        int64_t size = p.layout->base ? type_size(t) : p.buf->size;
        for (int e = 0; e < envs.n; e++)
            out[e] = load_real(L, &p, size, (Index){ el->idx, el->real + e * t->rank, t->rank }, envs.at[e]);
        return;
    }
    Param *q = frame_param(fr, el->v);
    if (q) {
        param_at(L, q, el, out);
        return;
    }
    Row *row = NULL;
    if (fr->rows.n) {
        MapKey key = map_key(el->v, 0, 0, el->idx, t->rank);
        row = map_get(&fr->rows, key.w, key.n);
    }
    if (!el->i) {
        error_set(E_INTERNAL, "kernel %s: value %%%u is neither stored nor computed", L->k->name, el->v);
        for (int e = 0; e < envs.n; e++)
            out[e] = lower_fail(L);
        return;
    }
    Loc was = loc_enter(el->i);
    op(L, el, out);
    for (int e = 0; row && e < envs.n; e++) {
        Form f = row_at(L, row, envs.at[e]);
        k_store(L->k, row->buf, f, form_vector(f) ? widen_val(L, out[e]) : out[e]);
        row->written = true;
    }
    loc_set(was);
}

/* ==================== what is known already */

typedef struct Memo { Val val; int call, pos; } Memo;

static Memo *memo_of(Lower *L, Frame *fr, Ref v, const Form *real, const AtomSet *within, const Env *e)
{
    uint64_t what = (uint64_t)fr->id << 32 | v, where = fr->whole && !fr->by_env ? 0 : (uint64_t)e->k + 1;
    MapKey key = map_key(what, where, (uintptr_t)within, real, fr->g->type[v].rank);
    void **p = map_at(&L->memo, key.w, key.n);
    return *p ? *p : (*p = NEW(Memo));
}

/* The value at an index, which becomes real in the environment. What is known at all indices there serves
 * those who look at some, not the other way round. */
static Memo *memo_at(Lower *L, Frame *fr, Ref v, const Form *idx, const Env *e, Form *real)
{
    L->within = NULL;
    for (int j = 0; j < fr->g->type[v].rank; j++)
        real[j] = form_in(L, idx[j], e);
    const AtomSet *within = L->within;
    Memo *all = memo_of(L, fr, v, real, NULL, e);
    return !within || k_visible(L->k, all->val) ? all : memo_of(L, fr, v, real, within, e);
}

void memo_set(Lower *L, Frame *fr, Ref v, const Form *idx, const Env *e, Val x)
{
    Form real[MAXRANK];
    memo_at(L, fr, v, idx, e, real)->val = x;
}

bool memo_known(Lower *L, Frame *fr, Ref v, const Form *idx, Envs envs)
{
    Form real[MAXRANK];
    for (int e = 0; e < envs.n; e++)
        if (!k_visible(L->k, memo_at(L, fr, v, idx, envs.at[e], real)->val))
            return false;
    return true;
}

void eval_at(Lower *L, Frame *fr, Ref v, const Form *idx, Envs envs, Val *out)
{
    int n = fr->g->type[v].rank, call = ++L->calls, todo = 0;
    Form *real = NEWS(Form, envs.n * n);            /* those to be computed come to the front */
    Memo **memo = NEWS(Memo *, 2 * envs.n);
    const Env **need = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n; e++) {
        Memo *m = memo[e] = memo_at(L, fr, v, idx, envs.at[e], real + todo * n);
        if (m->call == call || k_visible(L->k, m->val))
            continue;
        m->call = call, m->pos = todo;
        memo[envs.n + todo] = m;
        need[todo++] = envs.at[e];
    }
    if (todo && !L->failed) {
        Val *x = NEWS(Val, todo);
        L->depth++;
        compute(L, &(Element){ fr, fr->g->def[v], v, idx, real, { need, todo } }, x);
        L->depth--;
        for (int e = 0; e < todo; e++) {
            memo[envs.n + e]->val = x[e];
            L->failed = L->failed || !x[e];
        }
    }
    for (int e = 0; e < envs.n; e++)
        out[e] = L->failed ? 0 : memo[e]->val;
}

Val eval_one(Lower *L, Frame *fr, Ref v, const Form *idx, const Env *e)
{
    Val x;
    eval_at(L, fr, v, idx, (Envs){ &e, 1 }, &x);
    return x;
}
