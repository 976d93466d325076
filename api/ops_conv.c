/*
 * ops_conv.c - convolutions, as jax.lax.conv_general_dilated: products over an array seen through windows.
 *
 * With n features in and m out, windows of K elements and x as (batch, n, space), w as (m, n, K):
 *     y[b, m, i] = sum over n, k of x[b, n, i * stride + k * dilation] w[m, n, k]
 * is one product whose left operand is a view (ops_window.c). Nothing is flipped. Groups of features, or of
 * the batch, are a batch axis of the product. Derivatives and lanes follow from those of views and products.
 */
#include "windows.h"

#include <ctype.h>
#include <string.h>

/* Where batch, features and space are in x, w and the result; of w: out features, in features. */
typedef struct ConvDims {
    int n;
    Ints x, w, y;
} ConvDims;

/* ==================== "NHWC,HWIO->NHWC" */

static int bad_dims(const char *what, const char *dims, const char *why)
{
    return error_set(E_INVAL,
        "%s: dims \"%s\": %s; a layout is like \"NHWC,HWIO->NHWC\": N batch, C features, I and O "
        "features in and out, other letters space",
        what, dims, why);
}

/* The axes of one part: of the letters in `two`, then of each letter of space in order of `space`. */
static bool axes_of_part(const char *text, int n, const char *two, const char *space, Ints *out)
{
    *out = (Ints){ 0 };
    for (int k = 0; k < n; k++) {
        char c = k < 2 ? two[k] : space[k - 2];
        const char *at = memchr(text, c, (size_t)n);
        if (!at || memchr(at + 1, c, (size_t)(text + n - at - 1)))
            return false;
        out->v[out->n++] = at - text;
    }
    return true;
}

static int layout_of(const char *what, const char *dims, int rank, ConvDims *l)
{
    char space[MAXRANK + 1], plain[4 * MAXRANK + 8];
    int n = 0;
    l->n = rank - 2;
    if (!dims) { /* NCab..,OIab..->NCab.. */
        for (n = 0; n < l->n; n++)
            space[n] = (char)('a' + n);
        snprintf(plain, sizeof plain, "NC%.*s,OI%.*s->NC%.*s", n, space, n, space, n, space);
        dims = plain;
    }
    const char *w = strchr(dims, ','), *y = w ? strstr(w, "->") : NULL;
    if (!y)
        return bad_dims(what, dims, "three lists of letters are wanted");
    if (w - dims != rank || y - w - 1 != rank || strlen(y + 2) != (size_t)rank)
        return bad_dims(what, dims, arena_text("the arrays have %d axes", rank));
    n = 0;
    for (const char *c = w + 1; c < y; c++) { /* space is in the order of w */
        if (!isalpha((unsigned char)*c))
            return bad_dims(what, dims, "axes are letters");
        if (*c != 'O' && *c != 'I' && n < MAXRANK)
            space[n++] = *c;
    }
    if (n != rank - 2 || !axes_of_part(dims, rank, "NC", space, &l->x) ||
        !axes_of_part(w + 1, rank, "OI", space, &l->w) || !axes_of_part(y + 2, rank, "NC", space, &l->y))
        return bad_dims(what, dims, "each axis has one letter, the same ones of space in all three");
    return 0;
}

/* ==================== the product */

/* Axis a becomes (n, size / n); axes behind it move up. */
static Ref split(Ref x, int a, int64_t n)
{
    Ints s = { 0 };
    if (!x)
        return 0;
    for (int d = 0; d < typ(x)->rank; d++) {
        if (d == a)
            s.v[s.n++] = n;
        s.v[s.n++] = d == a ? typ(x)->dim[d] / n : typ(x)->dim[d];
    }
    return Reshape(x, s);
}

static int64_t up(int64_t axis, int split) { return split >= 0 && axis > split ? axis + 1 : axis; }

/* Axes of space of w that are 1 long are no axes of the view: they go. */
static Ref without_ones(Ref w, Ints *axes, const Windows *v)
{
    Ints gone = { 0 }, shape = { 0 };
    if (!w)
        return 0;
    for (int k = 0; k < v->axis.n; k++)
        if (v->size.v[k] == 1)
            gone.v[gone.n++] = axes->v[2 + k];
    for (int d = 0; d < typ(w)->rank; d++)
        if (!ints_has(&gone, d))
            shape.v[shape.n++] = typ(w)->dim[d];
    for (int k = 0; k < axes->n; k++) {
        int64_t below = 0;
        for (int j = 0; j < gone.n; j++)
            below += gone.v[j] < axes->v[k];
        axes->v[k] -= below;
    }
    return Reshape(w, shape);
}

static Ref convolved(Ref x, Ref w, const ConvDims *l, const Windows *v, int64_t groups, bool of_batch)
{
    int place[MAXRANK];
    Ints ax = l->x, aw = l->w, lc, rc, lb = { 0 }, rb = { 0 }, order = { 0 };
    int g = -1; /* the axis of groups of x */
    x = window_view(x, v, Const((Dtype)typ(x)->dt, 0), place);
    w = without_ones(w, &aw, v);
    if (groups > 1) {
        int of_w = (int)aw.v[0];
        g = (int)ax.v[of_batch ? 0 : 1];
        x = split(x, g, groups), w = split(w, of_w, groups);
        for (int k = 0; k < ax.n; k++)
            ax.v[k] += ax.v[k] >= g && (ax.v[k] > g || k == (of_batch ? 0 : 1));
        for (int k = 0; k < aw.n; k++)
            aw.v[k] += aw.v[k] >= of_w;
        lb = ints1(g), rb = ints1(of_w);
    }
    lc = ints1(ax.v[1]), rc = ints1(aw.v[1]);
    for (int k = 0; k < v->axis.n; k++)
        if (place[k] > 0)
            lc.v[lc.n++] = up(place[k], g), rc.v[rc.n++] = aw.v[2 + k];
    Ref y = x && w ? Dot(x, w, lc, rc, lb, rb, DT_NONE) : 0;
    if (y && size_along(x, lc) == 1)            /* a sum begins at +0, one of a single product too */
        y = Add(y, Like(y, 0));
    if (!y)
        return 0;
    /* y: (groups), the free axes of x in order, the out features; then as the layout wants it */
    Ints axis = { .n = l->n + 2 };
    for (int k = 0; k < axis.n; k++) {
        int64_t at = k == 1 ? typ(y)->rank - 1 : lb.n;
        for (int j = 0; k != 1 && j < axis.n; j++)
            at += j != 1 && ax.v[j] < ax.v[k];
        axis.v[k] = at;
    }
    for (int d = 0; d < axis.n; d++)
        for (int k = 0; k < axis.n; k++)
            if (l->y.v[k] == d) {
                if (k == 1 && lb.n) /* groups are the slower part of the out features */
                    order.v[order.n++] = 0;
                order.v[order.n++] = axis.v[k];
            }
    y = Transpose(y, order);
    if (!y || !lb.n)
        return y;
    Ints shape = { 0 };
    for (int d = 0; d < typ(y)->rank; d++)
        if (d == l->y.v[1])
            shape.v[shape.n++] = typ(y)->dim[d] * typ(y)->dim[d + 1], d++;
        else
            shape.v[shape.n++] = typ(y)->dim[d];
    return Reshape(y, shape);
}

/* ==================== what is asked for */

static int windows_for(const char *what, Ref x, Ref w, const ConvDims *l, const hd_conv_opts *o, Windows *v)
{
    Ints pad;
    int n = l->n;
    v->axis = v->size = v->lo = v->hi = (Ints){ .n = n };
    if (window_list(what, "stride", o->stride, n, 1, &v->stride) ||
        window_list(what, "pad", o->pad, n, 2, &pad) ||
        window_list(what, "w_dilation", o->w_dilation, n, 1, &v->dilation) ||
        window_list(what, "x_dilation", o->x_dilation, n, 1, &v->base))
        return E_INVAL;
    for (int k = 0; k < n; k++) {
        v->axis.v[k] = l->x.v[2 + k], v->size.v[k] = typ(w)->dim[l->w.v[2 + k]];
        v->lo.v[k] = pad.v[2 * k], v->hi.v[k] = pad.v[2 * k + 1];
    }
    int e = windows_check(what, x, v);
    if (!e && o->same)
        windows_same(x, v);
    return e;
}

static int check_groups(
    const char *what, Ref x, Ref w, const ConvDims *l, int64_t groups, int64_t batch_groups)
{
    int64_t n = typ(x)->dim[l->x.v[0]], c = typ(x)->dim[l->x.v[1]], out = typ(w)->dim[l->w.v[0]],
            in = typ(w)->dim[l->w.v[1]];
    const char *xs = type_text(typ(x)), *ws = type_text(typ(w));
    if (groups < 1 || batch_groups < 1 || (groups > 1 && batch_groups > 1))
        return error_set(E_INVAL,
            "%s: %lld groups and %lld batch_groups; each is 1 or more, and one of them is 1", what,
            (long long)groups, (long long)batch_groups);
    if (c % groups || c / groups != in)
        return error_set(E_SHAPE,
            "%s: x, %s, has %lld features in %lld group%s; w, %s, takes %lld features: %lld are wanted",
            what, xs, (long long)c, (long long)groups, groups > 1 ? "s" : "", ws, (long long)in,
            (long long)(c / groups));
    if (out % groups || out % batch_groups)
        return error_set(E_SHAPE, "%s: w, %s, gives %lld features, which are not %lld equal groups", what,
            ws, (long long)out, (long long)(groups * batch_groups));
    if (n % batch_groups)
        return error_set(E_SHAPE, "%s: x, %s, has a batch of %lld, which is not %lld equal groups", what, xs,
            (long long)n, (long long)batch_groups);
    return 0;
}

/* Both operands, of one dtype and rank, and their layout. 0, or a code. */
static int operands(const char *what, hd x, hd w, const char *dims, Ref *r, ConvDims *l)
{
    if (unify_dtype(what, 2, (const hd[]){ x, w }, r))
        return E_INVAL;
    if (typ(r[0])->rank < 2 || typ(r[0])->rank != typ(r[1])->rank)
        return error_set(E_SHAPE,
            "%s: x is %s and w is %s: both have a batch or feature axis, one of features, and the same axes "
            "of space",
            what, type_text(typ(r[0])), type_text(typ(r[1])));
    if (!real_dtype(what, (Dtype)typ(r[0])->dt))
        return E_DTYPE;
    return layout_of(what, dims, typ(r[0])->rank, l);
}

hd hd_conv_n(hd x, hd w, const hd_conv_opts *o)
{
    static const char what[] = "hd_conv";
    Ref r[2];
    ConvDims l;
    Windows v;
    OP(hd_conv_n);
    OPTIONS(hd_conv_opts, o);
    int64_t groups = o->groups ? o->groups : 1, of_batch = o->batch_groups ? o->batch_groups : 1;
    if (operands(what, x, w, o->dims, r, &l) || check_groups(what, r[0], r[1], &l, groups, of_batch) ||
        windows_for(what, r[0], r[1], &l, o, &v))
        return HD_NIL;
    return sym_of(convolved(r[0], r[1], &l, &v, groups * of_batch, of_batch > 1));
}

/* ==================== the transpose of a convolution, as jax.lax.conv_transpose */

/* Padding of the dilated array: what `same` and its opposite mean for the result of the other direction. */
static void transpose_pads(Windows *v, bool same)
{
    for (int k = 0; k < v->axis.n; k++) {
        int64_t n = windows_span(v, k), s = v->base.v[k];
        int64_t all = n + s - 2 + (!same && n > s ? n - s : 0);
        v->lo.v[k] = same ? (s > n - 1 ? n - 1 : (all + 1) / 2) : n - 1;
        v->hi.v[k] = all - v->lo.v[k];
    }
}

hd hd_conv_transpose_n(hd x, hd w, const hd_conv_opts *o)
{
    static const char what[] = "hd_conv_transpose";
    Ref r[2];
    ConvDims l;
    Windows v;
    OP(hd_conv_transpose_n);
    OPTIONS(hd_conv_opts, o);
    hd_conv_opts turned = *o;
    turned.same = false, turned.stride = o->x_dilation, turned.x_dilation = o->stride;
    int64_t groups = o->groups ? o->groups : 1;
    if (o->batch_groups > 1 || o->x_dilation.n)
        return error_set(E_INVAL, "%s: there is no %s here; .stride is what the array is dilated by", what,
                   o->batch_groups > 1 ? "batch_groups" : "x_dilation"),
               HD_NIL;
    if (operands(what, x, w, o->dims, r, &l) || check_groups(what, r[0], r[1], &l, groups, 1) ||
        windows_for(what, r[0], r[1], &l, &turned, &v))
        return HD_NIL;
    if (!o->pad.n)
        transpose_pads(&v, o->same);
    return sym_of(convolved(r[0], r[1], &l, &v, groups, false));
}
