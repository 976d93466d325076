/*
 * pass.c - the passes over a finished kernel.
 *
 * In:  a kernel whose scopes are all closed.
 * Out: the same kernel without what nobody needs; strided vectors as blocks; pure instructions right in
 * front of
 *      their first user; parameters that are used; the flags that printers read.
 * Invariant: effects and loads of what changes keep their order; every operand still precedes its user.
 *
 *   blocks   Lanes that are S elements apart, at m neighbouring constants, are m wide loads and log2(m)
 *   rounds of
 *            shuffles instead of 16 m loads; stores likewise. This is arrays of structures, transposes, and
 *            the xs and ys of lanes.
 *   order    Depth first, so that few values live at once: a compiler that keeps our order spills otherwise.
 *            Where many items wait for loads together (Kernel.ahead), those go first.
 */
#include "kir.h"

#include <stdlib.h>
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

static bool structure(const KIns *i) { return kop[i->op].is == KC_SCOPE; }
static bool effect(const KIns *i) { return kop[i->op].is == KC_WRITE; }

/* ==================== dead code
 * Roots are effects. What is live makes the structure around it live, with its condition and its exits; a
 * carried value is live if it is read or left, and then so are its start and its next. */

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
    case K_APPLY:
        k->function[i->bits]->used = true;
        for (int n = 0; n < i->group; n++)
            mark(m, k->function[i->bits]->result[n]);
        k_uses(k, v, mark, m);
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

/* ==================== blocks
 * Accesses of one buffer at one form, but for a constant, their lanes S apart. Neighbouring constants, up
 * to S of them, are a window: m = S of 3, 5, 6, 7 (a record, whole) or a power of two. A window of loads may
 * have gaps if it surely lies in the buffer: where m divides all that the form is made of. */

typedef struct Access { int64_t c; int at; Val v; } Access;             /* at: where in the body */

typedef struct Group {
    uint8_t op; const Buffer *buf; int64_t stride, epoch; Form terms;   /* the key */
    Access *got; int n, cap;
    int next;                                   /* of the same hash */
} Group;

/* A buffer that changes: loads may not meet across a store, nor stores across a load. */
typedef struct Epoch { const Buffer *buf; int64_t load, store; Form terms; int64_t stride; } Epoch;

typedef struct Blocks {
    Kernel *k;
    int scope;
    Group *group; int ngroup, group_cap;
    int hash[256];
    Epoch *epoch; int nepoch, epoch_cap;
    /* a barrier, or a structure with effects: nothing meets across */
    int64_t all;
    /* by position in the body: the block there; what became part of one */
    Val *put; bool *drop; int count;
} Blocks;

static Epoch *epoch_of(Blocks *b, const Buffer *buf)
{
    for (int i = 0; i < b->nepoch; i++)
        if (b->epoch[i].buf == buf)
            return &b->epoch[i];
    PUSH(b->epoch, b->nepoch, b->epoch_cap, (Epoch){ .buf = buf });
    return &b->epoch[b->nepoch - 1];
}

/* The number that keeps apart what may not meet. */
static int64_t epoch_now(Blocks *b, const KIns *i, Form terms)
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
    Form terms = form_addc(i->form, -i->form->c);
    int64_t epoch = epoch_now(b, i, terms);
    size_t size = dtype_size(i->buf->dt);
    if (!k_mode(k, i->form, &S) || S < 2 || (size != 4 && size != 8) || i->buf->space == LOCAL)
        return;
    uint32_t h =
        (uint32_t)(hash_bytes(&terms, sizeof terms, (uint64_t)(uintptr_t)i->buf + (uint64_t)epoch) & 255);
    int g = b->hash[h] - 1;
    for (; g >= 0; g = b->group[g].next) {
        const Group *q = &b->group[g];
        if (q->op == i->op && q->buf == i->buf && q->terms == terms && q->epoch == epoch)
            break;
    }
    if (g < 0) {
        PUSH(b->group, b->ngroup, b->group_cap,
            (Group){ .op = i->op,
                .buf = i->buf,
                .stride = S,
                .terms = terms,
                .epoch = epoch,
                .next = b->hash[h] - 1 });
        g = b->ngroup - 1;
        b->hash[h] = b->ngroup;
    }
    Group *q = &b->group[g];
    PUSH(q->got, q->n, q->cap, (Access){ i->form->c, at, v });
}

static int by_constant(const void *x, const void *y)
{
    const Access *a = x, *b = y;
    return a->c != b->c ? (a->c > b->c) - (a->c < b->c) : a->at - b->at;
}

/* Sorted: is an element stored twice, by lanes of different accesses? Then their order matters. */
static bool overlaps(const Group *g)
{
    if (g->got[g->n - 1].c - g->got[0].c < g->stride) {
        for (int i = 1; i < g->n; i++)
            if (g->got[i].c == g->got[i - 1].c)
                return true;
        return false;
    }
    for (int i = 0; i < g->n; i++)              /* rare: more of them than the stride is long */
        for (int j = i + 1; j < g->n && g->got[j].c - g->got[i].c < W * g->stride; j++)
            if ((g->got[j].c - g->got[i].c) % g->stride == 0)
                return true;
    return false;
}

/* Does a window of m at any multiple of m lie in the buffer wherever one element of it does? */
static bool aligned(const Group *g, int m)
{
    bool all = g->buf->size % m == 0;
    for (int i = 0; i < g->terms->n; i++)
        all &= g->terms->t[i].k % m == 0;
    return all;
}

/* The window that begins with access i: its size, its first constant, and the accesses in it by number. */
static int window(const Group *g, int i, int64_t *base, int *in)
{
    int most = dtype_size(g->buf->dt) == 8 ? W / 2 : W, run = 0, m = 1;
    int64_t S = g->stride, c0 = g->got[i].c;
    /* the run of neighbours; a second load of the same is for itself */
    for (int j = i; j < g->n && run < W && g->got[j].c <= c0 + run; j++)
        if (g->got[j].c == c0 + run)
            in[run++] = j;
    while (2 * m <= run && 2 * m <= most && 2 * m <= S)
        m *= 2;
    *base = c0;
    if ((S == 3 || S == 5 || S == 6 || S == 7) && run >= S)
        return (int)S;
    for (int p = most; p > m && g->op == K_LOAD; p /= 2) {
        int64_t from = c0 - ((c0 % p) + p) % p;
        int n = 0, part[W];
        if (p > S || !aligned(g, p))
            continue;
        for (int c = 0; c < p; c++)
            part[c] = -1;
        for (int j = i; j < g->n && g->got[j].c < from + p; j++)
            if (part[g->got[j].c - from] < 0)
                part[g->got[j].c - from] = j, n++;
        if (n <= m || 2 * n < p)
            continue;
        memcpy(in, part, sizeof part);
        *base = from;
        return p;
    }
    return m;
}

/* Builds the block of m, at a load's first or a store's last position. */
static void block_new(Blocks *b, const Group *g, int64_t base, int m, const int *in)
{
    Kernel *k = b->k;
    bool load = g->op == K_LOAD;
    Val *part = NEWS(Val, m), v = (Val)k->nins;
    KIns n = { .op = load ? K_LOADS : K_STORES,
        .form = form_addc(g->terms, base),
        .buf = (Buffer *)(uintptr_t)g->buf,
        .stride = g->stride,
        .group = m,
        .home = b->scope };
    int at = -1;
    for (int c = 0; c < m; c++)
        if (in[c] >= 0) {
            const Access *a = &g->got[in[c]];
            at = at < 0 || (load ? a->at < at : a->at > at) ? a->at : at;
            b->drop[a->at] = true;
            n.loc = k->ins[a->v].loc;
        }
    PUSH(k->ins, k->nins, k->cap, n);
    for (int c = 0; c < m; c++) {
        Val p = in[c] < 0 ? 0 : g->got[in[c]].v;
        if (!load)
            part[c] = k->ins[p].arg[0];
        else if (p) {
            KIns *i = &k->ins[p];
            i->op = K_PART, i->bits = v, i->group = c, i->form = NULL, i->buf = NULL;
            part[c] = p;
        } else {
            PUSH(k->ins, k->nins, k->cap,
                (KIns){ .op = K_PART, .dt = g->buf->dt, .w = W, .bits = v, .group = c, .home = b->scope });
            part[c] = (Val)k->nins - 1;
        }
    }
    if (load)
        k->ins[v].part = part;
    else
        k->ins[v].arg = part, k->ins[v].narg = m;
    b->put[at] = v;                             /* where one of its own is, so there is no other block */
    b->count++;
}

/* Cuts a group into windows. */
static void windows(Blocks *b, Group *g)
{
    int in[W];
    int64_t base;
    qsort(g->got, (size_t)g->n, sizeof *g->got, by_constant);
    if (g->n < 2 || (g->op == K_STORE && overlaps(g)))
        return;
    for (int i = 0; i < g->n; i++) {
        if (b->drop[g->got[i].at])
            continue;
        int m = window(g, i, &base, in);
        bool fresh = m > 1;
        for (int c = 0; c < m; c++)
            fresh &= in[c] < 0 || !b->drop[g->got[in[c]].at];
        if (fresh)
            block_new(b, g, base, m, in);
    }
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

static void blocks_of(Kernel *k, int scope)
{
    KScope *s = &k->scope[scope];
    Blocks b = { .k = k, .scope = scope };
    for (int i = 0; i < s->nbody; i++) {
        const KIns *x = &k->ins[s->body[i]];
        if (x->op == K_LOAD || x->op == K_STORE)
            collect(&b, s->body[i], i);
        else if (x->op == K_BARRIER || (structure(x) && has_effects(k, x->scope)))
            b.all += 1ll << 32;                 /* beyond every epoch of before */
    }
    if (!b.ngroup)
        return;
    b.put = NEWS(Val, s->nbody), b.drop = NEWS(bool, s->nbody);
    for (int g = 0; g < b.ngroup; g++)
        windows(&b, &b.group[g]);
    if (!b.count)
        return;
    Val *body = NEWS(Val, s->nbody + b.count);
    int n = 0;
    for (int i = 0; i < s->nbody; i++) {
        if (b.put[i])
            body[n++] = b.put[i];
        if (!b.drop[i])
            body[n++] = s->body[i];
    }
    s->body = body, s->cap = s->nbody + b.count, s->nbody = n;
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
    KClass is = kop[i->op].is;
    return is == KC_READ ? !k_changes(k, i->buf) : is != KC_WRITE && is != KC_SCOPE && is != KC_EXIT;
}

/* What it needs that is pure, of this scope, and not yet in order. */
static void need(void *ctx, Val v)
{
    Order *o = ctx;
    const KIns *i = &o->k->ins[v];
    if (i->op == K_PART)
        v = (Val)i->bits, i = &o->k->ins[v];
    if (v && i->home == o->scope && kop[i->op].is != KC_OUTSIDE && !o->done[v] && pure(o->k, i))
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

static void put_in_order(Order *o, Val v)
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

typedef struct Late { const Order *o; bool *late, any; } Late;

static void use_late(void *ctx, Val v)
{
    Late *l = ctx;
    const KIns *i = &l->o->k->ins[v];
    const KIns *of = i->op == K_PART ? &l->o->k->ins[i->bits] : i;
    bool here = v && of->home == l->o->scope && of->op != K_PHI && of->op != K_CONST && of->op != K_ARG;
    l->any = l->any || (here && (of->op == K_RESULT || l->late[v] || !pure(l->o->k, of)));
}

/* Loads of what does not change begin where their scope does, if they wait for nothing of it: so one does
 * not wait for what another one is needed for. */
static void order_loads(Order *o, const KScope *s)
{
    Late l = { o, NEWS(bool, o->k->nins), false };
    for (int i = 0; i < s->nbody; i++) {
        Val v = s->body[i];
        const KIns *x = &o->k->ins[v];
        if (!pure(o->k, x))
            continue;
        l.any = false;
        k_uses(o->k, v, use_late, &l);
        l.late[v] = l.any;
        for (int p = 0; x->part && p < x->group; p++)
            l.late[x->part[p]] = l.any;
        if (!l.any && kop[x->op].is == KC_READ)
            put_in_order(o, v);
    }
}

/* last: what must be there at its end. */
static void order_scope(Order *o, int scope, const Val *last, int nlast)
{
    Kernel *k = o->k;
    KScope *s = &k->scope[scope];
    o->scope = scope;
    o->out = NULL, o->nout = o->cap = 0;
    if (k->ahead)
        order_loads(o, s);
    for (int i = 0; i < s->nbody; i++)
        if (!pure(k, &k->ins[s->body[i]]))
            put_in_order(o, s->body[i]);
    for (int c = 0; c < nlast; c++) {
        int from = o->nuse;
        need(o, last[c]);
        bool any = o->nuse > from;
        o->nuse = from;
        if (any)
            put_in_order(o, o->use[from]);
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
    const KFunction **function = NEWS(const KFunction *, k->nscope);
    for (int n = 0; n < k->nfunction; n++)
        if (k->function[n]->used)
            function[k->function[n]->scope] = k->function[n];
    for (int s = 0; s < k->nscope; s++)
        if (function[s])
            order_scope(&o, s, function[s]->result, function[s]->nresult);
        else if (owner[s])
            order_scope(&o, s, k->ins[owner[s]].next, k->ins[owner[s]].ncarry);
        else if (!s)
            order_scope(&o, s, NULL, 0);
        else
            k->scope[s].nbody = 0;
}

/* ==================== what is left */


static void parameters(Kernel *k)
{
    Map used = { 0 };
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
