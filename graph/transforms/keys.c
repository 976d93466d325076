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

static void without_keys(const Graph *g, const Ins *i, const Ref *x, Ref *out)
{
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

static bool lacking(Dtype d) { return d == DT_KEY; }

Graph *graph_without_keys(const Graph *g)
{
    return graph_without(g, &(Lacking){ lacking, as_words, without_keys });
}
