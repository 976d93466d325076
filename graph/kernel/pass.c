/*
 * pass.c - the passes over a finished kernel.
 *
 * In:  a kernel whose scopes are all closed.
 * Out: the same kernel without what nobody needs; strided vectors as blocks; pure instructions right in front of
 *      their first user; parameters that are used; the flags that printers read.
 * Invariant: effects and loads of what changes keep their order; every operand still precedes its user.
 *
 *   blocks   Lanes that are S elements apart, at m neighbouring constants, are m wide loads and log2(m) rounds of
 *            shuffles instead of 16 m loads; stores likewise. This is arrays of structures, transposes, and the xs
 *            and ys of lanes.
 *   order    Depth first, so that few values live at once: a compiler that keeps our order spills otherwise.
 */
#include "kir.h"

#include <string.h>

/* ==================== what is used */

static void form_uses(Form f, void (*fn)(void *, Val), void *ctx)
{
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        if (a->kind == A_VAL)
            fn(ctx, a->val);
        else if (a->kind == A_DIV || a->kind == A_MOD || a->kind == A_CLAMP)
            form_uses(a->f, fn, ctx);
    }
}

void k_uses(const Kernel *k, Val v, void (*fn)(void *, Val), void *ctx)
{
    const KIns *i = &k->ins[v];
    for (int a = 0; a < i->narg; a++)
        fn(ctx, i->arg[a]);
    if (i->form)
        form_uses(i->form, fn, ctx);
    for (int c = 0; c < i->ncarry; c++) {
        if (i->next)
            fn(ctx, i->next[c]);
        if (i->other)
            fn(ctx, i->other[c]);
    }
}

static bool structure(const KIns *i) { return i->op == K_LOOP || i->op == K_IF; }
static bool effect(const KIns *i) { return i->op == K_STORE || i->op == K_STORES || i->op == K_BARRIER; }

/* ==================== dead code
 * Roots are effects. What is live makes the structure around it live, with its condition and its exits; a carried
 * value is live if it is read or left, and then so are its start and its next. */

typedef struct Mark { Kernel *k; bool *live; Val *owner, *todo; int ntodo, cap; } Mark;

static void mark(void *ctx, Val v)
{
    Mark *m = ctx;
    if (!v || m->live[v])
        return;
    m->live[v] = true;
    PUSH(m->todo, m->ntodo, m->cap, v);
}

static void mark_one(Mark *m, Val v)
{
    const Kernel *k = m->k;
    const KIns *i = &k->ins[v];
    mark(m, m->owner[i->home]);
    switch (i->op) {
    case K_PHI: {
        const KIns *l = &k->ins[i->bits];
        mark(m, (Val)i->bits), mark(m, l->arg[i->group]), mark(m, l->next[i->group]);
        break;
    }
    case K_RESULT: {
        const KIns *s = &k->ins[i->bits];
        mark(m, (Val)i->bits);
        if (s->op == K_LOOP)
            mark(m, s->phi[i->group]);
        else
            mark(m, s->next[i->group]), mark(m, s->other[i->group]);
        break;
    }
    case K_PART:
        mark(m, (Val)i->bits);
        break;
    case K_LOOP:
        break;                                  /* its carried values for themselves; its exits below */
    case K_IF:
        mark(m, i->arg[0]);
        break;
    default:
        k_uses(k, v, mark, m);
    }
}

/* Every K_BRK in a scope inside a live loop is live with the loop; one in a branch makes the branch live. */
static void exits(Mark *m, Val **brk, int *nbrk)
{
    const Kernel *k = m->k;
    int cap = 0;
    *brk = NULL, *nbrk = 0;
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            if (k->ins[k->scope[s].body[i]].op == K_BRK)
                PUSH(*brk, *nbrk, cap, k->scope[s].body[i]);
}

static Val loop_around(const Mark *m, int scope)
{
    while (scope >= 0 && !(m->owner[scope] && m->k->ins[m->owner[scope]].op == K_LOOP))
        scope = m->k->scope[scope].parent;
    return scope < 0 ? 0 : m->owner[scope];
}

static void drain(Mark *m)
{
    while (m->ntodo)
        mark_one(m, m->todo[--m->ntodo]);
}

/* Of the carried values of a structure, keeps the live ones. */
static void compact(Kernel *k, KIns *s, const bool *live)
{
    int n = 0;
    for (int c = 0; c < s->ncarry; c++) {
        Val v = s->op == K_LOOP ? s->phi[c] : s->out[c];
        if (!v || !live[v])
            continue;
        if (s->op == K_LOOP) {
            k->ins[v].group = n;
            s->phi[n] = v, s->arg[n] = s->arg[c];
        } else
            s->other[n] = s->other[c];
        if (s->out[c])
            k->ins[s->out[c]].group = n;
        s->out[n] = s->out[c], s->next[n] = s->next[c];
        n++;
    }
    s->ncarry = n;
    if (s->op == K_LOOP)
        s->narg = n;
}

static bool *dead(Kernel *k)
{
    Mark m = { .k = k, .live = NEWS(bool, k->nins), .owner = NEWS(Val, k->nscope) };
    Val *brk;
    int nbrk;
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++) {
            Val v = k->scope[s].body[i];
            if (structure(&k->ins[v]))
                m.owner[k->ins[v].scope] = v;
            if (effect(&k->ins[v]))
                mark(&m, v);
        }
    exits(&m, &brk, &nbrk);
    for (bool more = true; more;) {
        more = false;
        drain(&m);
        for (int i = 0; i < nbrk; i++)
            if (!m.live[brk[i]] && m.live[loop_around(&m, k->ins[brk[i]].home)]) {
                mark(&m, brk[i]);
                more = true;
            }
    }
    for (int s = 0; s < k->nscope; s++) {
        KScope *b = &k->scope[s];
        int n = 0;
        for (int i = 0; i < b->nbody; i++)
            if (m.live[b->body[i]])
                b->body[n++] = b->body[i];
        b->nbody = n;
        for (int i = 0; i < n; i++)
            if (structure(&k->ins[b->body[i]]))
                compact(k, &k->ins[b->body[i]], m.live);
    }
    return m.live;
}

/* ==================== blocks */

typedef struct Group {
    uint8_t op; const Buffer *buf; int64_t stride, epoch; Form base; int m;     /* the key */
    struct { int at; Val v; } got[W];           /* by constant: where in the body; v 0: none */
    int next;                                   /* of the same hash */
} Group;

/* A buffer that changes: loads may not meet across a store, nor stores across a load. */
typedef struct Epoch { const Buffer *buf; int64_t load, store; Form terms; int64_t stride; } Epoch;

typedef struct Blocks {
    Kernel *k;
    Group *group; int ngroup, group_cap;
    int hash[256];
    Epoch *epoch; int nepoch, epoch_cap;
    int64_t all;                                /* a barrier, or a structure with effects: nothing meets across */
} Blocks;

static int64_t pow2_in(int64_t n)
{
    int64_t p = 1;
    while (p < W && n % (2 * p) == 0)
        p *= 2;
    return p;
}

/* How many neighbours make a block: a power of two that divides all strides, or an odd record, whole. */
static int64_t block_size(const Buffer *b, Form f, int64_t S)
{
    size_t size = dtype_size(b->dt);
    if (S < 2 || (size != 4 && size != 8) || b->space == LOCAL)
        return 1;
    int64_t m = pow2_in(S), most = size == 8 ? W / 2 : W;
    bool record = S == 3 || S == 5 || S == 6 || S == 7;
    for (int i = 0; i < f->n; i++) {
        int64_t k = f->t[i].k;
        if (!atom_is_lane(f->t[i].a) && pow2_in(k) < m)
            m = pow2_in(k);
        record &= k % S == 0;
    }
    m = record ? S : m < most ? m : most;
    return b->size % m ? 1 : m;
}

static Epoch *epoch_of(Blocks *b, const Buffer *buf)
{
    for (int i = 0; i < b->nepoch; i++)
        if (b->epoch[i].buf == buf)
            return &b->epoch[i];
    PUSH(b->epoch, b->nepoch, b->epoch_cap, (Epoch){ .buf = buf });
    return &b->epoch[b->nepoch - 1];
}

/* The number that keeps apart what may not meet. */
static int64_t epoch_now(Blocks *b, const KIns *i)
{
    if (!k_changes(b->k, i->buf))
        return 0;
    Epoch *e = epoch_of(b, i->buf);
    if (i->op == K_LOAD) {
        e->store++;
        return e->load + b->all;
    }
    e->load++;
    int64_t S;
    bool plain = k_mode(b->k, i->form, &S);
    Form terms = form_addc(i->form, -i->form->c);
    if (!plain || e->terms != terms || e->stride != S)          /* they may meet: stores keep their order */
        e->store++;
    e->terms = terms, e->stride = S;
    return e->store + b->all;
}

static void collect(Blocks *b, Val v, int at)
{
    Kernel *k = b->k;
    const KIns *i = &k->ins[v];
    int64_t S;
    int64_t epoch = epoch_now(b, i);
    if (!k_mode(k, i->form, &S))
        return;
    int m = (int)block_size(i->buf, i->form, S);
    if (m == 1)
        return;
    int64_t c = ((i->form->c % m) + m) % m;
    Form base = form_addc(i->form, -c);
    uint32_t h = (uint32_t)(hash_bytes(&base, sizeof base, (uint64_t)(uintptr_t)i->buf + (uint64_t)epoch) & 255);
    int g = b->hash[h] - 1;
    for (; g >= 0; g = b->group[g].next) {
        Group *q = &b->group[g];
        if (q->op == i->op && q->buf == i->buf && q->stride == S && q->base == base && q->m == m && q->epoch == epoch
            && !q->got[c].v)
            break;
    }
    if (g < 0) {
        PUSH(b->group, b->ngroup, b->group_cap, (Group){ .op = i->op, .buf = i->buf, .stride = S, .base = base, .m = m,
            .epoch = epoch, .next = b->hash[h] - 1 });
        g = b->ngroup - 1;
        b->hash[h] = b->ngroup;
    }
    b->group[g].got[c].at = at, b->group[g].got[c].v = v;
}

/* Only a half, quarter ... of the block may be wanted. Returns whether a block pays. */
static bool shrink(Group *g)
{
    int lo = W, hi = -1, n = 0;
    for (int c = 0; c < g->m; c++)
        if (g->got[c].v)
            lo = c < lo ? c : lo, hi = c, n++;
    while (g->m > 1 && !(g->m & (g->m - 1)) && lo / (g->m / 2) == hi / (g->m / 2)) {
        int half = g->m / 2, from = lo / half * half;
        memmove(g->got, g->got + from, sizeof g->got[0] * (size_t)half);
        g->base = form_addc(g->base, from);
        lo -= from, hi -= from, g->m = half;
    }
    bool odd = g->m & (g->m - 1);
    return g->m > 1 && n * 2 >= g->m && !((odd || g->op == K_STORE) && n < g->m);
}

/* Builds the block; *at: where it goes. */
static Val block_new(Kernel *k, Group *g, int scope, int *at)
{
    bool load = g->op == K_LOAD;
    Val *part = NEWS(Val, g->m);
    KIns n = { .op = load ? K_LOADS : K_STORES, .form = g->base, .buf = (Buffer *)(uintptr_t)g->buf,
        .stride = g->stride, .group = g->m, .home = scope };
    Val v = (Val)k->nins;
    for (int c = 0; c < g->m; c++)
        if (g->got[c].v) {
            *at = load ? g->got[c].at < *at ? g->got[c].at : *at : g->got[c].at > *at ? g->got[c].at : *at;
            n.loc = k->ins[g->got[c].v].loc;
        }
    PUSH(k->ins, k->nins, k->cap, n);
    for (int c = 0; c < g->m; c++) {
        Val p = g->got[c].v;
        if (!load)
            part[c] = k->ins[p].arg[0];
        else if (p) {
            KIns *i = &k->ins[p];
            i->op = K_PART, i->bits = v, i->group = c, i->form = NULL, i->buf = NULL;
            part[c] = p;
        } else {
            PUSH(k->ins, k->nins, k->cap, (KIns){ .op = K_PART, .dt = g->buf->dt, .w = W, .bits = v, .group = c,
                .home = scope });
            part[c] = (Val)k->nins - 1;
        }
    }
    if (load)
        k->ins[v].part = part;
    else
        k->ins[v].arg = part, k->ins[v].narg = g->m;
    return v;
}

static bool has_effects(const Kernel *k, int scope)
{
    const KScope *s = &k->scope[scope];
    for (int i = 0; i < s->nbody; i++) {
        const KIns *x = &k->ins[s->body[i]];
        if (effect(x) || x->op == K_BRK || (x->op == K_LOAD && k_changes(k, x->buf))
            || (structure(x) && has_effects(k, x->scope)))
            return true;
    }
    return false;
}

/* ins points into an array that grows: nothing is held across block_new. */
static void blocks_of(Kernel *k, int scope)
{
    Blocks b = { .k = k };
    KScope *s = &k->scope[scope];
    for (int i = 0; i < s->nbody; i++) {
        const KIns *x = &k->ins[s->body[i]];
        if (x->op == K_LOAD || x->op == K_STORE)
            collect(&b, s->body[i], i);
        else if (x->op == K_BARRIER || (structure(x) && has_effects(k, x->scope)))
            b.all += 1ll << 32;                 /* beyond every epoch of before */
    }
    if (!b.ngroup)
        return;
    Val *put = NEWS(Val, s->nbody);             /* the block at a place: that of one of its own, so there is no other */
    int count = 0;
    bool *drop = NEWS(bool, s->nbody);
    for (int g = 0; g < b.ngroup; g++) {
        if (!shrink(&b.group[g]))
            continue;
        int at = b.group[g].op == K_LOAD ? s->nbody : -1;
        for (int c = 0; c < b.group[g].m; c++)
            if (b.group[g].got[c].v)
                drop[b.group[g].got[c].at] = true;
        Val v = block_new(k, &b.group[g], scope, &at);
        put[at] = v;
        count++;
    }
    Val *body = NEWS(Val, s->nbody + count);
    int n = 0;
    for (int i = 0; i < s->nbody; i++) {
        if (put[i])
            body[n++] = put[i];
        if (!drop[i])
            body[n++] = s->body[i];
    }
    s->body = body, s->nbody = n, s->cap = s->nbody + count;
}

/* ==================== order */

typedef struct Order {
    Kernel *k;
    bool *done;
    int scope;
    Val *out; int nout, cap;
    struct Frame { Val v; Val *use; int n, i; } *stack; int depth, stack_cap;
    Val *use; int nuse, use_cap;                /* being collected */
} Order;

static bool pure(const Kernel *k, const KIns *i)
{
    switch (i->op) {
    case K_STORE: case K_STORES: case K_LOOP: case K_IF: case K_BRK: case K_BARRIER: return false;
    case K_LOAD: case K_LOADS: return !k_changes(k, i->buf);
    default: return true;
    }
}

/* What it needs that is pure, of this scope, and not yet placed. */
static void need(void *ctx, Val v)
{
    Order *o = ctx;
    const KIns *i = &o->k->ins[v];
    if (i->op == K_PART)
        v = (Val)i->bits, i = &o->k->ins[v];
    if (v && i->home == o->scope && i->op != K_CONST && i->op != K_PHI && i->op != K_RESULT && !o->done[v]
        && pure(o->k, i))
        PUSH(o->use, o->nuse, o->use_cap, v);
}

static void needs(Order *o, Val v)
{
    const KIns *i = &o->k->ins[v];
    k_uses(o->k, v, need, o);
    if (structure(i))
        for (int j = 0; j < o->k->scope[i->scope].nbody; j++)
            needs(o, o->k->scope[i->scope].body[j]);
}

static void push(Order *o, Val v)
{
    o->done[v] = true;
    int from = o->nuse;
    needs(o, v);
    int n = o->nuse - from;
    Val *use = n ? arena_copy(o->use + from, sizeof *use * (size_t)n) : NULL;
    o->nuse = from;
    PUSH(o->stack, o->depth, o->stack_cap, (struct Frame){ v, use, n, 0 });
}

static void place(Order *o, Val v)
{
    if (o->done[v])
        return;
    push(o, v);
    while (o->depth) {
        struct Frame *f = &o->stack[o->depth - 1];
        if (f->i == f->n) {
            PUSH(o->out, o->nout, o->cap, f->v);
            o->depth--;
        } else if (!o->done[f->use[f->i]])
            push(o, f->use[f->i++]);
        else
            f->i++;
    }
}

static void order_scope(Order *o, int scope, Val owner)
{
    Kernel *k = o->k;
    KScope *s = &k->scope[scope];
    o->scope = scope;
    o->out = NULL, o->nout = o->cap = 0;
    for (int i = 0; i < s->nbody; i++)
        if (!pure(k, &k->ins[s->body[i]]))
            place(o, s->body[i]);
    int n = owner ? k->ins[owner].ncarry : 0;
    for (int c = 0; c < n; c++) {
        int from = o->nuse;
        need(o, k->ins[owner].next[c]);
        bool any = o->nuse > from;
        o->nuse = from;
        if (any)
            place(o, o->use[from]);
    }
    s->body = o->out, s->nbody = o->nout, s->cap = o->cap;
}

static void order(Kernel *k)
{
    Order o = { .k = k, .done = NEWS(bool, k->nins) };
    Val *owner = NEWS(Val, k->nscope);
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            if (structure(&k->ins[k->scope[s].body[i]]))
                owner[k->ins[k->scope[s].body[i]].scope] = k->scope[s].body[i];
    for (int s = 0; s < k->nscope; s++)
        if (!s || owner[s])
            order_scope(&o, s, owner[s]);
        else
            k->scope[s].nbody = 0;
}

/* ==================== what is left */


static void parameters(Kernel *k)
{
    KMap used = { 0 };
    k->stepped = false;
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++) {
            const KIns *x = &k->ins[k->scope[s].body[i]];
            if (x->buf)
                kmap_put(&used, x->buf, 1);
            if (x->form) {
                k->stepped |= set_has(form_deps(x->form), STEP);
                k->wide_index |= !form_fits(x->form);
            }
        }
    int n = 0;
    for (int p = 0; p < k->nparam; p++)
        if (kmap_get(&used, k->param[p]) == 1) {
            k->param[n] = k->param[p], k->written[n] = k->written[p];
            kmap_put(&k->build->param, k->param[n], n);
            n++;
        } else
            kmap_put(&k->build->param, k->param[p], -1);
    k->nparam = n;
    n = 0;
    for (int p = 0; p < k->npriv; p++)
        if (kmap_get(&used, k->priv[p]) == 1)
            k->priv[n++] = k->priv[p];
    k->npriv = n;
}

void k_finish(Kernel *k)
{
    if (k->build->nopen) {
        error_set(E_INTERNAL, "kernel %s is finished inside a loop or branch", k->name);
        return;
    }
    dead(k);
    for (int s = 0; s < k->nscope; s++)
        blocks_of(k, s);
    order(k);
    parameters(k);
}
