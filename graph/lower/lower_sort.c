/*
 * lower_sort.c - SPEC_SORT: rows of several operands, put in the order of the first ones.
 *
 * In:  a sort, its passes, and, where a long row is shared out, which part of it this kernel is.
 * Out: a finished body.
 * In a short row every element goes where the number of those before it says: a comparison with all of them,
 * in vectors. Else a row is sorted by digits, the lowest first: a pass counts how often each digit occurs,
 * sums up to where each begins, and moves every element there, in order; so each pass is stable, and after
 * the last digit of the first key the row is sorted. Passes go back and forth between the result and
 * scratch, such that the last one ends in the result. A long row is cut into chunks: a kernel counts digits
 * by chunk, the next one knows from these counts where the digits of its chunk go.
 * Order: -0 equals 0, nan comes last (first where the order descends), equal elements stay in order.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Sort {
    Lower *L; const Ins *i;
    const Type *t;                              /* all operands have this shape */
    int axis, n, keys;
    int64_t len, chunks, m;                     /* m: elements of a chunk */
    bool descending;
    Form row[MAXRANK];                          /* index of the row; the axis is set as needed */
    Form line, chunk;                           /* number of the row, of the chunk */
    const Env *env;
    Dtype it;                                   /* of positions */
    MemRef *a, *b;                               /* results; scratch */
    const SortPass *pass; int npass;
} Sort;

static Val pos_const(const Sort *S, int64_t c) { return k_bits(S->L->k, S->it, c); }
static Val pos_op(const Sort *S, KOp op, Val x, Val y) { return k2(S->L->k, op, S->it, x, y); }
static Val pos_less(const Sort *S, Val x, Val y) { return k2(S->L->k, K_LT, DT_BOOL, x, y); }

static Val pos_of(const Sort *S, Form f)
{
    Val v = k_index(S->L->k, f);
    return dtype_of(S->L, v) == S->it ? v : k1(S->L->k, K_CONVERT, S->it, v);
}

static Form pos_form(const Sort *S, Val pos) { return k_value(S->L->k, pos, 0, S->len - 1); }

/* Element k of every operand is read or written at a position of the row. */
static const Form *at_pos(Sort *S, Form p)
{
    S->row[S->axis] = p;
    return S->row;
}

static void read_at(Sort *S, const MemRef *from, Form f, Val *x)
{
    for (int k = 0; k < S->n; k++)
        x[k] = load_memref(S->L, &from[k], at_pos(S, f), S->t->rank, S->env);
}

static void write_at(Sort *S, const MemRef *to, Form f, const Val *x)
{
    for (int k = 0; k < S->n; k++)
        if (x[k])
            store_memref(S->L, &to[k], at_pos(S, f), S->t->rank, S->env, x[k]);
}

/* ==================== the order */

/* An unsigned word with the order of the key; what is above key_bits() of its dtype is not defined. */
static Val key_word(const Sort *S, int n, Val x)
{
    Kernel *k = S->L->k;
    Dtype dt = dtype_of(S->L, x), of = (Dtype)S->L->spec->g->type[S->i->in[n]].dt;
    Dtype ut = dtype_size(dt) == 8 ? DT_U64 : DT_U32, st = ut == DT_U64 ? DT_I64 : DT_I32;
    Val u;
    if (dtype_float(dt)) {
        int top = ut == DT_U64 ? 63 : 31;
        int64_t inf = ut == DT_U64 ? INT64_C(0x7ff) << 52 : INT64_C(0xff) << 23;
        Val sign = k_bits(k, ut, (int64_t)(UINT64_C(1) << top)), w = k1(k, K_BITS, ut, x);
        Val below = k1(k, K_BITS, ut, k2(k, K_SAR, st, k1(k, K_BITS, st, x), k_bits(k, st, top)));
        Val size = k2(k, K_AND, ut, w, k1(k, K_NOT, ut, sign));
        u = k2(k, K_XOR, ut, w, k2(k, K_OR, ut, below, sign));
        u = k3(k, K_SELECT, ut, k2(k, K_EQ, DT_BOOL, w, sign), sign, u);
        u = k3(k, K_SELECT, ut, k2(k, K_GT, DT_BOOL, size, k_bits(k, ut, inf)), k_bits(k, ut, -1), u);
        int unused = of == DT_F16 ? 13 : of == DT_BF16 ? 16 : 0;
        u = unused ? k2(k, K_SHR, ut, u, k_bits(k, ut, unused)) : u;
    } else {
        u = dt == ut ? x : k1(k, K_CONVERT, ut, x);
        if (dtype_signed(dt))
            u = k2(k, K_XOR, ut, u, k_bits(k, ut, (int64_t)(UINT64_C(1) << (8 * dtype_size(dt) - 1))));
    }
    return S->descending ? k1(k, K_NOT, ut, u) : u;
}

/* ==================== short rows */

/* The row, and the words of its keys, in private arrays. */
typedef struct Short { Sort *S; MemRef *own; Buffer **word; } Short;

/* Bits of a key that say anything. */
static int key_bits(const Spec *s, int key)
{
    int bits = 0;
    for (int k = 0; k < s->npass; k++)
        bits = s->pass[k].key == key ? s->pass[k].bits : bits;
    return bits;
}

static void short_copy(Lower *L, void *ctx, const Form *idx, Form flat)
{
    const Short *c = ctx;
    Sort *S = c->S;
    for (int n = 0; n < S->n; n++) {
        Val x = eval_one(L, L->top, S->i->in[n], at_pos(S, idx[0]), S->env);
        if (!x)
            return;
        x = form_vector(flat) ? widen_val(L, x) : x;
        store_memref(L, &c->own[n], at_pos(S, idx[0]), S->t->rank, S->env, x);
        if (n >= S->keys)
            continue;
        int bits = key_bits(L->spec, n);
        Val w = key_word(S, n, x);
        Dtype ut = dtype_of(L, w);
        w = k2(L->k, K_AND, ut, w, k_bits(L->k, ut, bits < 64 ? (INT64_C(1) << bits) - 1 : -1));
        k_store(L->k, c->word[n], flat, w);
    }
}

/* Behind the row, up to a whole vector: nothing stands behind these words. */
static void short_pad(const Short *c, int64_t room)
{
    Kernel *k = c->S->L->k;
    if (room == c->S->len)
        return;
    Form at = form_addc(form_a(k_loop(k, "z", room - c->S->len, 0, NULL, NULL)), c->S->len);
    for (int n = 0; n < c->S->keys; n++)
        k_store(k, c->word[n], at, k_bits(k, (Dtype)c->word[n]->dt, -1));
    k_loop_end(k, NULL, NULL);
}

/* Which elements of a vector stand before element i, whose words are x: lexicographic, then by position. */
static Val before(const Short *c, Form lanes, Form i, const Val *x)
{
    Lower *L = c->S->L;
    Val less = k2(L->k, K_LT, DT_BOOL, k_index(L->k, lanes), k_index(L->k, i));
    for (int n = c->S->keys - 1; n >= 0; n--) {
        Val y = k_load(L->k, c->word[n], lanes);
        less =
            or_val(L, k2(L->k, K_LT, DT_BOOL, y, x[n]), and_val(L, k2(L->k, K_EQ, DT_BOOL, y, x[n]), less));
    }
    return less;
}

static void by_rank(Sort *S)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    int64_t room = (S->len + W - 1) / W * W;
    Short c = { S, NEWS(MemRef, S->n), NEWS(Buffer *, S->keys) };
    Layout *line = NEW(Layout);
    *line = (Layout){ .ndigit = 1, .digit = { { S->axis, 1, 0, 1 } } };
    for (int n = 0; n < S->n; n++) {
        Dtype dt = (Dtype)L->spec->g->type[S->i->in[n]].dt;
        c.own[n] = (MemRef){ k_private(k, dt, room), line };
        if (n < S->keys)
            c.word[n] = k_private(k, dtype_size(dt) == 8 ? DT_U64 : DT_U32, room);
    }
    sweep_space(L, &S->len, 1, short_copy, &c);
    short_pad(&c, room);
    SCRATCH(Val, x, S->n);
    SCRATCH(Val, y, S->keys);
    Val zero = k_splat(k, pos_const(S, 0)), phi, sum;
    Form i = form_a(k_loop(k, "i", S->len, 0, NULL, NULL));
    for (int n = 0; n < S->keys; n++)
        y[n] = k_load(k, c.word[n], i);
    read_at(S, c.own, i, x);
    Form v = form_a(k_loop(k, "v", room / W, 1, &zero, &phi));
    Val less = before(&c, form_add(form_mul(v, W), form_a(LANE)), i, y);
    Val next = pos_op(S, K_ADD, phi, select_val(L, less, k_splat(k, pos_const(S, 1)), zero));
    k_loop_end(k, &next, &sum);
    write_at(S, S->a, pos_form(S, k1(k, K_HSUM, S->it, sum)), x);
    k_loop_end(k, NULL, NULL);
}

/* ==================== digits */

typedef struct SortCopy { Sort *S; const MemRef *to; Form first; } SortCopy;

static void sort_copy(Lower *L, void *ctx, const Form *idx, Form flat)
{
    SortCopy *c = ctx;
    Sort *S = c->S;
    (void)flat;
    Form at = form_add(c->first, idx[0]);
    for (int k = 0; k < S->n; k++) {
        Val x = eval_one(L, L->top, S->i->in[k], at_pos(S, at), S->env);
        if (x)
            store_memref(L, &c->to[k], at_pos(S, at), S->t->rank, S->env, x);
    }
}

/* The operands of this chunk. The last chunk is whole: what it shares with its neighbour is stored twice,
 * the same. */
static void copy_in(Sort *S, const MemRef *to)
{
    Form first = form_mul(S->chunk, S->m);
    if (S->chunks * S->m > S->len)
        first = pos_form(S, pos_op(S, K_MIN, pos_of(S, first), pos_const(S, S->len - S->m)));
    SortCopy c = { S, to, first };
    sweep_space(S->L, &S->m, 1, sort_copy, &c);
}

/* A number for each digit: counts, or where the next one goes. */
typedef struct Table { Buffer *buf; Form base; } Table;

static int64_t table_size(const SortPass *p) { return p->width < 4 ? W : INT64_C(1) << p->width; }

static void tables_new(const Sort *S, Table t[2])
{
    int64_t size = 0;
    for (int p = 0; p < S->npass; p++)
        size = table_size(&S->pass[p]) > size ? table_size(&S->pass[p]) : size;
    for (int k = 0; k < 2; k++)
        t[k] = (Table){ k_private(S->L->k, S->it, size), form_c(0) };
}

/* The chunk's part of all counts. */
static Table counts_of(const Sort *S, const SortPass *p, Form chunk)
{
    Form f = form_add(form_mul(S->line, S->chunks), chunk);
    return (Table){ S->L->spec->sort->counts.buf, form_mul(f, table_size(p)) };
}

static Val table_get(const Sort *S, Table t, Form d) { return k_load(S->L->k, t.buf, form_add(t.base, d)); }
static void table_set(const Sort *S, Table t, Form d, Val x)
{
    k_store(S->L->k, t.buf, form_add(t.base, d), x);
}

static Form lanes_loop(Sort *S, const SortPass *p)
{
    return form_add(
        form_mul(form_a(k_loop(S->L->k, "v", table_size(p) / W, 0, NULL, NULL)), W), form_a(LANE));
}

static void table_clear(Sort *S, const SortPass *p, Table t)
{
    Form d = form_a(k_loop(S->L->k, "z", table_size(p), 0, NULL, NULL));
    table_set(S, t, d, pos_const(S, 0));
    k_loop_end(S->L->k, NULL, NULL);
}

/* What stands at the element's digit, which becomes one more. */
static Val table_next(Sort *S, const SortPass *p, Table t, const Val *x)
{
    Kernel *k = S->L->k;
    Val w = key_word(S, p->key, x[p->key]);
    Dtype ut = dtype_of(S->L, w);
    w = k2(k, K_SHR, ut, w, k_bits(k, ut, p->shift));
    w = k2(k, K_AND, ut, w, k_bits(k, ut, (INT64_C(1) << p->width) - 1));
    Form d = k_value(k, w, 0, (INT64_C(1) << p->width) - 1);
    Val n = table_get(S, t, d);
    table_set(S, t, d, pos_op(S, K_ADD, n, pos_const(S, 1)));
    return n;
}

/* The chunk's positions in order; a branch where the last chunk is shorter. */
static Form each_open(Sort *S)
{
    Kernel *k = S->L->k;
    Form p = form_add(form_mul(S->chunk, S->m), form_a(k_loop(k, "i", S->m, 0, NULL, NULL)));
    if (S->chunks * S->m == S->len)
        return p;
    Val v = pos_of(S, p);
    k_if(k, pos_less(S, v, pos_const(S, S->len)));
    return pos_form(S, pos_op(S, K_MIN, v, pos_const(S, S->len - 1)));
}

static void each_close(Sort *S)
{
    if (S->chunks * S->m != S->len)
        k_if_end(S->L->k, 0, NULL, NULL, NULL);
    k_loop_end(S->L->k, NULL, NULL);
}

static void count(Sort *S, const SortPass *p, const MemRef *from, Table t)
{
    Val *x = NEWS(Val, S->n);
    table_clear(S, p, t);
    Form at = each_open(S);
    x[p->key] = load_memref(S->L, &from[p->key], at_pos(S, at), S->t->rank, S->env);
    table_next(S, p, t, x);
    each_close(S);
}

/* Counts become positions: the sum of all counts before. base: added to each; buf NULL: nothing. */
static void sum_up(Sort *S, const SortPass *p, Table t, Table base)
{
    Val sum = pos_const(S, 0), phi;
    Form d = form_a(k_loop(S->L->k, "d", table_size(p), 1, &sum, &phi));
    Val n = table_get(S, t, d);
    table_set(S, t, d, base.buf ? pos_op(S, K_ADD, phi, table_get(S, base, d)) : phi);
    n = pos_op(S, K_ADD, phi, n);
    k_loop_end(S->L->k, &n, &sum);
}

/* Of the counts of all chunks: the sum of all, and of those before this one. */
static void gather_counts(Sort *S, const SortPass *p, Table all, Table base)
{
    Kernel *k = S->L->k;
    Val zero = k_splat(k, pos_const(S, 0)), init[2] = { zero, zero }, phi[2], out[2],
        own = pos_of(S, S->chunk);
    Form d = lanes_loop(S, p), c = form_a(k_loop(k, "c", S->chunks, 2, init, phi));
    Val n = table_get(S, counts_of(S, p, c), d);
    Val less = pos_less(S, pos_of(S, c), own);
    Val next[2] = { pos_op(S, K_ADD, phi[0], n), pos_op(S, K_ADD, phi[1], select_val(S->L, less, n, zero)) };
    k_loop_end(k, next, out);
    table_set(S, all, d, out[0]);
    table_set(S, base, d, out[1]);
    k_loop_end(k, NULL, NULL);
}

/* A pass, and how many elements have each of its digits. */
typedef struct Tally { const SortPass *p; Table t; } Tally;

/* Every element to its position. next: what is counted on the way; NULL: nothing. */
static void move(Sort *S, const Tally *now, const MemRef *from, const MemRef *to, const Tally *next)
{
    SCRATCH(Val, x, S->n);
    if (next)
        table_clear(S, next->p, next->t);
    Form at = each_open(S);
    read_at(S, from, at, x);
    write_at(S, to, pos_form(S, table_next(S, now->p, now->t, x)), x);
    if (next)
        table_next(S, next->p, next->t, x);
    each_close(S);
}

/* What pass n reads: the result is where the last one ends. */
static const MemRef *before_pass(const Sort *S, int n) { return (S->npass - n) % 2 ? S->b : S->a; }

static void all_passes(Sort *S)
{
    Table t[2];
    tables_new(S, t);
    copy_in(S, before_pass(S, 0));
    count(S, &S->pass[0], before_pass(S, 0), t[0]);
    for (int n = 0; n < S->npass; n++) {
        sum_up(S, &S->pass[n], t[n % 2], (Table){ 0 });
        Tally now = { &S->pass[n], t[n % 2] }, next = { &S->pass[n + 1], t[(n + 1) % 2] };
        move(S, &now, before_pass(S, n), before_pass(S, n + 1), n + 1 < S->npass ? &next : NULL);
    }
}

/* One kernel of a row in chunks. */
static void one_part(Sort *S, const SortPart *part)
{
    const SortPass *p = &S->pass[part->pass];
    const MemRef *from = before_pass(S, part->pass);
    if (part->count) {
        if (!part->pass)
            copy_in(S, from);
        count(S, p, from, counts_of(S, p, S->chunk));
        return;
    }
    Table t[2];
    tables_new(S, t);
    gather_counts(S, p, t[0], t[1]);
    sum_up(S, p, t[0], t[1]);
    move(S, &(Tally){ p, t[0] }, from, before_pass(S, part->pass + 1), NULL);
}

/* ==================== the kernel */

static int sort_memory(Sort *S)
{
    const Spec *s = S->L->spec;
    for (int k = 0; k < S->n; k++) {
        S->a[k] = s->live[k] ? s->stored[S->i->out + (Ref)k] :
            s->scratch       ? s->scratch[S->n + k] :
                               (MemRef){ 0 };
        S->b[k] = s->scratch ? s->scratch[k] : (MemRef){ 0 };
        if (!S->a[k].buf || (!s->by_rank && !S->b[k].buf))
            return error_set(E_INTERNAL, "kernel %s: a sort of %s has no scratch", s->name, type_text(S->t));
    }
    return 0;
}

/* Work-items over rows and chunks. */
static void open_rows(Sort *S, Items *it)
{
    int64_t dim[MAXRANK], rows = 1;
    int n = 0, of[MAXRANK];
    for (int d = 0; d < S->t->rank; d++)
        if (d != S->axis)
            of[n] = d, dim[n++] = S->t->dim[d], rows *= S->t->dim[d];
    int64_t both[2] = { rows, S->chunks };
    Form f[MAXRANK], g[2];
    form_unlinear(items_open(S->L, it), both, 2, g);
    S->line = g[0], S->chunk = g[1];
    form_unlinear(S->line, dim, n, f);
    for (int d = 0; d < n; d++)
        S->row[of[d]] = f[d];
}

void lower_sort(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Sort S = { .L = L,
        .i = i,
        .t = &s->g->type[i->in[0]],
        .axis = (int)ins_int(i, ATTR(sort, axis)),
        .n = i->nin,
        .keys = (int)ins_int(i, ATTR(sort, keys)),
        .descending = ins_int(i, ATTR(sort, descending)),
        .env = env_new(0),
        .chunks = 1,
        .a = NEWS(MemRef, i->nin),
        .b = NEWS(MemRef, i->nin) };
    S.len = S.m = S.t->dim[S.axis];
    S.pass = s->pass, S.npass = s->npass;
    S.it = S.len > INT32_MAX ? DT_I64 : DT_I32;
    if (s->sort) {
        S.chunks = s->sort->chunks;
        S.m = (S.len + S.chunks - 1) / S.chunks;
    }
    if (sort_memory(&S))
        return;
    Items it;
    open_rows(&S, &it);
    if (s->sort)
        one_part(&S, s->sort);
    else
        (s->by_rank ? by_rank : all_passes)(&S);
    items_close(L, &it);
}
