/*
 * keys.c - random keys as what devices have: two words of 32 bits, on a last axis.
 *
 * In: a graph whose values may be keys. Out: one without, where key[..] is u32[.., 2]: the same bytes, so
 * arguments and results are what they were. What moves keys moves their words, each by itself; what makes
 * keys of words and words of keys is gone.
 * The host needs none of this: to it a key is eight bytes.
 */
#include "transforms.h"

#include <string.h>

static bool is_key(const Graph *g, Ref v) { return g->type[v].dt == DT_KEY; }

/* Values, arguments among them. */
static bool has_keys(const Graph *g)
{
    for (Ref v = 1; v < (Ref)g->nval; v++)
        if (is_key(g, v))
            return true;
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (has_keys(g->ins[n]->sub[k]))
                return true;
    return false;
}

static Type as_words(const Type *t)
{
    Type u = *t;
    if (t->dt == DT_KEY)
        u.dt = DT_U32, u.dim[u.rank++] = 2;
    return u;
}

/* ==================== two words */

static Ref joined(Ref first, Ref second)
{
    Ref w[2] = { first, second };
    if (!first || !second)
        return 0;
    Type t = *typ(first);
    t.dim[t.rank++] = 1;
    for (int k = 0; k < 2; k++)
        w[k] = Reshape(w[k], type_shape(&t));
    return Concat(w, 2, t.rank - 1);
}

/* Of u32[.., 2]. What was joined is taken from where it is. */
static Ref word(Ref keys, int w)
{
    const Ins *d = def(keys);
    if (!keys)
        return 0;
    Type t = *typ(keys);
    t.dim[--t.rank] = 0;
    if (d && d->op == OP_concat && d->nin == 2 && ins_int(d, ATTR(concat, axis)) == t.rank &&
        typ(d->in[0])->dim[t.rank] == 1)
        return Reshape(d->in[w], type_shape(&t));
    return Reshape(SliceAxis(keys, t.rank, w, w + 1), type_shape(&t));
}

/* The instruction on each of the two words. */
static Ref by_words(const Graph *g, const Ins *i, const Ref *x)
{
    Ref *y = NEWS(Ref, i->nin), z[2];
    for (int w = 0; w < 2; w++) {
        for (int k = 0; k < i->nin; k++)
            y[k] = is_key(g, i->in[k]) ? word(x[k], w) : x[k];
        again(i, y, &z[w]);
    }
    return joined(z[0], z[1]);
}

/* Words come along, as two operands. */
static void sorted(const Graph *g, const Ins *i, const Ref *x, Ref *out)
{
    Ref *y = NEWS(Ref, 2 * i->nin), *z = NEWS(Ref, 2 * i->nin);
    Attr a = { .n = i->nattr };
    memcpy(a.v, i->attr, (size_t)i->nattr * sizeof *a.v);
    int n = 0, at = 0;
    for (int k = 0; k < i->nin; k++)
        for (int w = 0; w < 1 + is_key(g, i->in[k]); w++)
            y[n++] = is_key(g, i->in[k]) ? word(x[k], w) : x[k];
    emit_n(OP_sort, n, y, &a, z);
    for (int k = 0; k < i->nin; k++) {
        bool key = is_key(g, i->in[k]);
        out[k] = key ? joined(z[at], z[at + 1]) : z[at];
        at += 1 + key;
    }
}

static Ref constant(const Ins *i)
{
    uint64_t bits = (uint64_t)ins_int(i, ATTR(const, bits));
    return joined(ConstBits(DT_U32, (int64_t)(bits & UINT32_MAX)), ConstBits(DT_U32, (int64_t)(bits >> 32)));
}

/* ==================== the lowering */

static void inner(const Ins *i, const Ref *x, Ref *out)
{
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = graph_without_keys(i->sub[k]);
    if (!error_pending())
        draft_emit(&f, out);
}

static void without_keys(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Graph *g = env;
    bool some = i->nout && is_key(g, i->out);
    for (int k = 0; k < i->nin && !some; k++)
        some = is_key(g, i->in[k]);
    if (i->op == OP_region) {
        inner(i, x, out);
        return;
    }
    if (!some) {
        again(i, x, out);
        return;
    }
    switch (i->op) {
    case OP_bitcast: out[0] = x[0]; break;
    case OP_const: out[0] = constant(i); break;
    case OP_data: out[0] = Data(as_words(&g->type[i->out]), i->blob); break;
    case OP_sort: sorted(g, i, x, out); break;
    case OP_stop_gradient:
    case OP_named:
    case OP_constrain:
    case OP_barrier:
    case OP_all_gather:
    case OP_all_to_all:
    case OP_ppermute:
        again(i, x, out);
        break;
    default: out[0] = by_words(g, i, x);
    }
}

Graph *graph_without_keys(const Graph *g)
{
    if (!has_keys(g))
        return (Graph *)(uintptr_t)g;
    Ref *map = NEWS(Ref, g->nval);
    Graph *h = graph_begin(graph_new());
    h->ncap = g->ncap, h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = graph_input(as_words(&g->type[g->in[k]]), g->flag[g->in[k]] & V_ACC);
    graph_map_ins(g, map, without_keys, (void *)(uintptr_t)g);
    graph_map_end(g, map);
    return error_pending() ? NULL : graph_dce(h);
}
