/*
 * emit.c - the builder: from an operation and its operands to a value of the current graph.
 *
 * emit() finds an identical instruction, else infers the type, folds, else appends; so every pass optimises
 * what it builds. Invariant: operands precede users. An instruction never changes once it is appended, but
 * for what hangs on its results. Identical means: same op, operands, attributes, bytes. What prints, or adds
 * to an accumulator, is never found: each adds once.
 */
#include "graph.h"

#include <string.h>

/* ==================== the current graph */

typedef struct Frame { Graph *g; struct Frame *below; } Frame;
static _Thread_local Frame *top;

Graph *graph_new(void)
{
    Graph *g = NEW(Graph);
    g->val_cap = 16;
    g->type = NEWS(Type, g->val_cap);
    g->flag = NEWS(uint8_t, g->val_cap);
    g->def = NEWS(Ins *, g->val_cap);
    g->nval = 1;
    return g;
}

Graph *graph_begin(Graph *g)
{
    Frame *f = NEW(Frame);
    f->g = g;
    f->below = top;
    top = f;
    return g;
}

Graph *graph_end(void)
{
    Graph *g = cur();
    if (top)
        top = top->below;
    return g;
}

Graph *cur(void) { return top ? top->g : NULL; }

static void *grown(const void *old, size_t n, size_t cap, size_t size, bool must)
{
    void *p = must ? arena_alloc(cap * size) : arena_try(cap * size);
    return p && n ? memcpy(p, old, n * size) : p;
}

/* Room for more values. Tables are the large part of a graph: where they may fail, they do so before the
 * reserve is touched. */
static bool value_room(Graph *g, int more, bool must)
{
    size_t n = (size_t)g->nval, cap = (size_t)g->val_cap;
    while (cap < n + (size_t)more)
        cap *= 2;
    if (cap == (size_t)g->val_cap)
        return true;
    Type *type = grown(g->type, n, cap, sizeof *type, must);
    uint8_t *flag = type ? grown(g->flag, n, cap, sizeof *flag, must) : NULL;
    Ins **def = flag ? grown(g->def, n, cap, sizeof *def, must) : NULL;
    if (!def)
        return false;
    g->type = type;
    g->flag = flag;
    g->def = def;
    g->val_cap = (int)cap;
    return true;
}

static bool ins_room(Graph *g)
{
    if (g->nins < g->ins_cap)
        return true;
    int cap = g->ins_cap ? 2 * g->ins_cap : 8;
    Ins **ins = grown(g->ins, (size_t)g->nins, (size_t)cap, sizeof *ins, false);
    if (!ins)
        return false;
    g->ins = ins;
    g->ins_cap = cap;
    return true;
}

Ref graph_value(Type t, uint8_t flag)
{
    Graph *g = cur();
    value_room(g, 1, true);
    g->type[g->nval] = t;
    g->flag[g->nval] = flag;
    g->def[g->nval] = NULL;
    return (Ref)g->nval++;
}

Ref graph_input(Type t, uint8_t flag)
{
    Graph *g = cur();
    Ref v = graph_value(t, flag);
    PUSH(g->in, g->nin, g->in_cap, v);
    return v;
}

void graph_outputs(const Ref *v, int n)
{
    Graph *g = cur();
    g->out = arena_copy(v, (size_t)n * sizeof *v);
    g->nout = n;
}

const Type *typ(Ref v)
{
    static const Type none;
    const Graph *g = cur();
    return g && v < (Ref)g->nval ? &g->type[v] : &none;
}

const Ins *def(Ref v)
{
    const Graph *g = cur();
    return g && v < (Ref)g->nval ? g->def[v] : NULL;
}

bool is_float(Ref v) { return dtype_float((Dtype)typ(v)->dt); }
bool is_complex(Ref v) { return dtype_complex((Dtype)typ(v)->dt); }
bool is_inexact(Ref v) { return dtype_inexact((Dtype)typ(v)->dt); }

/* ==================== finding identical instructions */

static bool adds_in_place(const Graph *g, const Ins *i)
{
    return i->op == OP_accum || i->op == OP_accum_slice || (i->op == OP_scatter && graph_acc(g, i->in[0]));
}

static bool findable(const Graph *g, const Ins *i)
{
    return i->op != OP_region && i->op != OP_barrier && i->op != OP_debug_print && !adds_in_place(g, i);
}

static uint64_t ins_hash(const Ins *i)
{
    uint64_t h = hash_bytes(i->in, i->nin * sizeof *i->in, i->op);
    h = hash_bytes(i->attr, (size_t)i->nattr * sizeof *i->attr, h);
    return i->nblob ? hash_bytes(i->blob, i->nblob, h) : h;
}

static bool ins_is(const void *like, const void *it)
{
    const Ins *a = like, *b = it;
    return a->op == b->op && a->nin == b->nin && a->nattr == b->nattr && a->nblob == b->nblob
        && (!a->nin || !memcmp(a->in, b->in, a->nin * sizeof *a->in))
        && (!a->nattr || !memcmp(a->attr, b->attr, (size_t)a->nattr * sizeof *a->attr))
        && (!a->nblob || a->blob == b->blob || !memcmp(a->blob, b->blob, a->nblob));
}

static Ins *found_before(const Graph *g, const Ins *i)
{
    return findable(g, i) ? (Ins *)(uintptr_t)hash_find(&g->found, ins_hash(i), ins_is, i) : NULL;
}

static void may_be_found(Graph *g, Ins *i) { *hash_place(&g->found, ins_hash(i), ins_is, i) = i; }

/* ==================== appending */

/* Out of memory: an instruction that is in no graph, of values 0 and up that nobody will use. */
static Ins *append_draft(const Ins *draft, int nout, const Type *t, const uint8_t *flag)
{
    Graph *g = cur();
    Ins *i = NEW(Ins);
    *i = *draft;
    i->in = arena_copy(draft->in, draft->nin * sizeof *draft->in);
    i->attr = arena_copy(draft->attr, (size_t)draft->nattr * sizeof *draft->attr);
    i->nout = nout;
    if (!value_room(g, nout, false) || !ins_room(g))
        return i;
    i->out = (Ref)g->nval;
    i->loc = loc_here();
    uint8_t lin = 0;
    for (int k = 0; k < i->nin; k++)
        lin |= g->flag[i->in[k]] & V_LIN;
    uint8_t acc = adds_in_place(g, i) ? g->flag[i->in[0]] & V_ACC : 0;
    for (int k = 0; k < nout; k++) {
        Ref v = graph_value(t[k], flag ? flag[k] : lin | acc);
        g->def[v] = i;
    }
    PUSH(g->ins, g->nins, g->ins_cap, i);
    return i;
}

/* What an instruction is made of, lists with their lengths: hence the parameters. */
Ins *append(Op op, int nin, const Ref *in, const Attr *a, int nout, const Type *t, const uint8_t *flag)
{
    const Ins draft = { .op = (uint16_t)op, .nin = nin, .in = (Ref *)in,
                        .attr = a ? a->v : NULL, .nattr = a ? a->n : 0 };
    return append_draft(&draft, nout, t, flag);
}

/* ==================== emit */

static int draft_check(const Ins *i)
{
    const Graph *g = cur();
    if (!g)
        return error_set(E_TRACE, "%s: no graph is being built", i->op < OP_COUNT ? optab[i->op].name : "?");
    if (i->op == OP_NONE || i->op >= OP_COUNT || !optab[i->op].rules || !optab[i->op].rules->infer)
        return error_set(E_INTERNAL, "operation %d cannot be emitted", i->op);
    const OpRow *row = &optab[i->op];
    if (row->nin >= 0 && i->nin != row->nin)
        return error_set(E_INTERNAL, "%s takes %d operands, not %d", row->name, row->nin, i->nin);
    for (int k = 0; k < i->nin; k++)
        if (i->in[k] >= (Ref)g->nval)
            return error_set(E_INTERNAL, "%s: operand %d is not a value of this graph", row->name, k);
    return 0;
}

static int draft_infer(const Ins *i, Type *out)
{
    const Graph *g = cur();
    const Type **t = NEWS(const Type *, i->nin);
    for (int k = 0; k < i->nin; k++)
        t[k] = &g->type[i->in[k]];
    return op_infer((Op)i->op, i->nin, t, i->attr, i->nattr, out);
}

/* Writes the results; returns how many, 0 after an error. */
static int emit_draft(Ins *i, Ref *out)
{
    int nout = i->op < OP_COUNT ? op_results((Op)i->op, i->nin, i->attr, i->nattr) : 0;
    for (int k = 0; k < nout; k++)
        out[k] = 0;
    for (int k = 0; k < i->nin; k++)
        if (!i->in[k])
            return 0;
    if (error_code() == E_NOMEM || draft_check(i))
        return 0;
    if (optab[i->op].commutes && i->in[0] > i->in[1]) {
        Ref *swapped = NEWS(Ref, 2);
        swapped[0] = i->in[1];
        swapped[1] = i->in[0];
        i->in = swapped;
    }
    const Ins *found = found_before(cur(), i);
    if (!found) {
        bool before = error_pending();
        Type *t = NEWS(Type, nout);
        if (draft_infer(i, t))
            return 0;
        if (nout == 1 && (out[0] = fold(i, t)))
            return 1;
        if (!before && error_pending())         /* of a fold that was under way */
            return 0;
        found = append_draft(i, nout, t, NULL);
        if (!found->out)
            return 0;
        if (findable(cur(), found))
            may_be_found(cur(), cur()->ins[cur()->nins - 1]);
    }
    for (int k = 0; k < nout; k++)
        out[k] = found->out + (Ref)k;
    return nout;
}

int emit_n(Op op, int nin, const Ref *in, const Attr *a, Ref *out)
{
    Ins draft = { .op = (uint16_t)op, .nin = nin, .in = (Ref *)in,
                  .attr = a ? a->v : NULL, .nattr = a ? a->n : 0 };
    return emit_draft(&draft, out);
}

Ref emit(Op op, int nin, const Ref *in, const Attr *a)
{
    if (op < OP_COUNT && optab[op].nout != 1) {
        error_set(E_INTERNAL, "%s has several results", optab[op].name);
        return 0;
    }
    Ref out = 0;
    emit_n(op, nin, in, a, &out);
    return out;
}

Ref Data(Type t, const void *bytes)
{
    Attr a = { 0 };
    attr_int(&a, t.dt);
    attr_list(&a, t.dim, t.rank);
    size_t n = type_bytes(&t);
    void *copy = arena_try(n);
    Ref out = 0;
    if (!copy)
        return 0;
    if (n)
        memcpy(copy, bytes, n);
    emit_draft(&(Ins){ .op = OP_data, .attr = a.v, .nattr = a.n, .blob = copy, .nblob = n }, &out);
    return out;
}

void Barrier(const Ref *x, int n, Ref *out)
{
    Graph *g = cur();
    bool missing = !n || !g || error_code() == E_NOMEM;
    for (int k = 0; k < n; k++) {
        out[k] = 0;
        missing |= !x[k];
    }
    if (missing)
        return;
    Type *t = NEWS(Type, n);
    uint8_t *flag = NEWS(uint8_t, n);
    for (int k = 0; k < n; k++) {
        t[k] = g->type[x[k]];
        flag[k] = g->flag[x[k]] & V_LIN;
    }
    const Ins *i = append(OP_barrier, n, x, NULL, n, t, flag);
    for (int k = 0; k < n; k++)
        out[k] = i->out ? i->out + (Ref)k : 0;
}

/* ==================== again */

void again(const Ins *i, const Ref *x, Ref *out)
{
    for (int k = 0; k < i->nout; k++)
        out[k] = 0;
    for (int k = 0; k < i->nin; k++)
        if (!x[k])
            return;
    Loc before = loc_here();
    if (i->loc.file)
        loc_set(i->loc);
    if (i->op == OP_region)
        emit_region(i->region, i->nin, x, i->nsub, i->sub, out);
    else if (i->op == OP_barrier)
        Barrier(x, i->nin, out);
    else
        emit_draft(&(Ins){ .op = i->op, .nin = i->nin, .in = (Ref *)x, .attr = i->attr, .nattr = i->nattr,
                           .blob = i->blob, .nblob = i->nblob }, out);
    loc_set(before);
}
