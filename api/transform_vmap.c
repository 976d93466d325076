/*
 * transform_vmap.c - a function over lanes: which arguments have the mapped axis, how long it is, what of
 * the results has it. A map over devices is a call whose lane axis has a place.
 */
#include "transform.h"

static const char *mapped_size(const Tree *args, int arg, int leaf, const Type *t, int axis)
{
    return arena_text("argument %d%s, %s, has %lld along axis %d", arg, tree_path(args->part[arg], leaf),
        type_text(t), (long long)t->dim[axis], axis);
}

/* The number of lanes; -1: nothing says it; -2 after an error. */
static int64_t lanes(const hd_fn *f, const Tree *args, const Type *type, const int32_t *axis)
{
    int64_t n = f->key.axis_size ? f->key.axis_size : -1;
    const char *first = NULL;
    for (int i = 0, leaf = 0; i < args->n; i++)
        for (int k = 0; k < args->part[i]->nleaf; k++, leaf++) {
            if (axis[leaf] == HD_NONE)
                continue;
            int64_t size = type[leaf].dim[axis[leaf]];
            if (n >= 0 && n != size) {
                const char *here = mapped_size(args, i, k, &type[leaf], axis[leaf]);
                if (!first)
                    FAIL_AT(f, E_SHAPE, "%s: .axis_size is %lld, but %s", map_name(f), (long long)n, here);
                else
                    FAIL_AT(f, E_SHAPE, "%s: mapped sizes differ: %s; %s", map_name(f), first, here);
                return -2;
            }
            if (!first)
                first = mapped_size(args, i, k, &type[leaf], axis[leaf]);
            n = size;
        }
    return n;
}

static const Tree *per_example(const Tree *args, const Type *type, const int32_t *axis)
{
    Type *t = NEWS(Type, args->nleaf);
    for (int i = 0; i < args->nleaf; i++) {
        t[i] = type[i];
        if (axis[i] == HD_NONE)
            continue;
        for (int d = axis[i]; d + 1 < t[i].rank; d++)
            t[i].dim[d] = t[i].dim[d + 1];
        t[i].dim[--t[i].rank] = 0;
    }
    const Type *next = t;
    return tree_retype(args, &next);
}

static void nothing_mapped(const hd_fn *f)
{
    FAIL_AT(f, E_INVAL, "%s: nothing is mapped: give an argument an axis, or say .axis_size", map_name(f));
}

/* The function inside, traced while the name of the axis is bound. */
static const Traced *inner_named(const hd_fn *f, const Tree *args, int64_t n, Lane *lane)
{
    Bound b;
    *lane = (Lane){ .size = n, .place = f->key.kind == FN_PMAP ? f->key.device : NULL };
    if (!f->key.axis_name)
        return graph_of(f->key.inner, args);
    if (n < 0)
        return nothing_mapped(f), NULL;
    if (axis_bind(&b, f->key.axis_name, n, f->loc))
        return NULL;
    lane->name = b.unique;
    const Traced *t = graph_of(f->key.inner, args);
    axis_unbind(&b);
    return t;
}

static void over_lanes(
    const Graph *g, const Lane *lane, const Ref *x, const uint8_t *sx, Ref *y, uint8_t *sy)
{
    Ref *V = NEWS(Ref, g->nval);
    uint8_t *S = NEWS(uint8_t, g->nval);
    for (int i = 0; i < g->nin; i++)
        V[g->in[i]] = x[i], S[g->in[i]] = sx[i];
    batch_into(g, V, S, &(Axis){ *lane, 0 }, false);
    for (int i = 0; i < g->nout; i++)
        y[i] = V[g->out[i]], sy[i] = S[g->out[i]];
}

/* The function as a call whose one lane axis has a place: a region, so that derivatives of it and
 * lanes of other axes keep the place. It is batched once for the errors of that alone. Values go with
 * their marks, hence the parameters. */
static void over_devices(
    Graph *g, const Lane *lane, const Ref *x, const uint8_t *sx, const int32_t *oaxis, Ref *y, uint8_t *sy)
{
    Region r = region_plain(CALL, g->nin, 0, 0);
    bool *in = NEWS(bool, g->nin), *differs = NEWS(bool, g->nout);
    r.nlane = 1, r.lane = arena_copy(lane, sizeof *lane);
    r.im = arena_copy(sx, (size_t)g->nin), r.om = sy;
    for (int i = 0; i < g->nin; i++)
        in[i] = sx[i] != SHARED;
    region_bits(&r, g->nin, 1, &g, in, false, lane->name, differs);
    for (int i = 0; i < g->nout; i++)
        sy[i] = oaxis[i] == HD_NONE && !differs[i] ? SHARED : STACKED;
    if (graph_batch(g, sx, sy, lane, false, false) && !error_pending())
        emit_region(&r, g->nin, x, 1, &g, y);
}

const Traced *transform_vmap(const hd_fn *f, const Tree *args)
{
    const Type *type;
    Lane lane;
    int32_t *axis = NEWS(int32_t, args->nleaf);
    leaf_types(args, &type);
    if (axes_in(f, args, axis))
        return NULL;
    int64_t n = lanes(f, args, type, axis);
    const Traced *t = n < -1 ? NULL : inner_named(f, per_example(args, type, axis), n, &lane);
    if (t && n < 0)
        return nothing_mapped(f), NULL;
    int32_t *oaxis = t ? NEWS(int32_t, t->out->nleaf) : NULL;
    if (!t || axes_result(f, t->out, oaxis))
        return NULL;
    Graph *g = t->g;
    Ref *in, *x = NEWS(Ref, g->nin), *y = NEWS(Ref, g->nout), *out = NEWS(Ref, g->nout);
    uint8_t *sx = NEWS(uint8_t, g->nin), *sy = NEWS(uint8_t, g->nout);
    Type *otype = NEWS(Type, g->nout);
    transform_open(t, args, &in);
    for (int i = 0; i < g->nin; i++) {
        int k = i - t->ncap;
        bool mapped = k >= 0 && axis[k] != HD_NONE;
        x[i] = mapped ? MoveAxis(in[i], axis[k], 0) : in[i];
        sx[i] = mapped ? STACKED : SHARED;
    }
    if (lane.place)
        over_devices(g, &lane, x, sx, oaxis, y, sy);
    else
        over_lanes(g, &lane, x, sx, y, sy);
    for (int i = 0; i < g->nout && !error_pending(); i++) {
        Ref v = y[i];
        uint8_t s = sy[i];
        if (oaxis[i] == HD_NONE && s != SHARED)
            FAIL_AT(f, E_INVAL,
                "%s: out_axes says none for the result%s of %s, but it differs between lanes: "
                "give it an axis, or reduce it",
                map_name(f), tree_path(t->out, i), fn_name(f));
        else
            out[i] = oaxis[i] == HD_NONE ? v : MoveAxis(stacked(v, s, n), 0, oaxis[i]);
        if (out[i])
            otype[i] = *typ(out[i]);
    }
    const Type *next = otype;
    Traced *r = transform_finish(t, args, tree_retype(t->out, &next), out);
    if (r)
        r->keys = keys_of_lanes(t, type, axis, n);
    return r;
}
