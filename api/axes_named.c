/*
 * axes_named.c - named axes of vmap while a program is traced, and what lanes do together over them.
 *
 * A vmap with .axis_name binds the name while the function inside it is traced. An axis that hides an outer
 * one of its name gets a name of its own, so a graph never sees two alike. Which axes are bound, and their
 * sizes, is part of what a function is traced for.
 */
#include "formulas.h"
#include <ctype.h>
#include <string.h>

_Thread_local Bound *axes_bound;

/* ==================== binding */

int axis_bind(Bound *b, const char *name, int64_t size, Loc loc)
{
    int hidden = 0;
    if (!name[0] || strpbrk(name, ", \t\"\\\n"))
        return error_set(
            E_INVAL, "a map's .axis_name \"%s\" is no name: it has no spaces, commas or quotes", name);
    for (const Bound *o = axes_bound; o; o = o->up)
        hidden += o->name == name;
    *b = (Bound){ .name = name,
        .unique = hidden ? intern(arena_text("%s'%d", name, hidden)) : name,
        .size = size,
        .loc = loc,
        .up = axes_bound };
    b->all = intern(arena_text("%s %s:%lld", axes_bound ? axes_bound->all : "", b->unique, (long long)size));
    axes_bound = b;
    return 0;
}

void axis_unbind(Bound *b) { axes_bound = b->up; }

/* The first trace that opens inside a binding is that of the function it maps. */
void axes_open(Trace *t)
{
    for (Bound *b = axes_bound; b && !b->home; b = b->up)
        b->home = t;
}

void axes_close(const Trace *t)
{
    for (Bound *b = axes_bound; b; b = b->up)
        if (b->home == t)
            b->home = NULL;
}

/* ==================== names */

static void unbound(const char *what, const char *name, int n)
{
    const char *list = "";
    for (const Bound *b = axes_bound; b; b = b->up)
        list = arena_text("%s%s\"%s\" of %lld at %s:%d", list, list[0] ? ", " : "", b->name,
            (long long)b->size, b->loc.file ? b->loc.file : "?", b->loc.line);
    error_set(E_INVAL, "%s: no axis \"%.*s\" is around this function; %s%s", what, n, name,
              list[0] ? "there is " : "hd_vmap(f, .axis_name = ...) names one", list);
}

static const Bound *find(const char *what, const char *name, int n)
{
    for (const Bound *b = axes_bound; b; b = b->up)
        if ((int)strlen(b->name) == n && !memcmp(b->name, name, (size_t)n))
            return b;
    unbound(what, name, n);
    return NULL;
}

/* "i" or "i, j": the axes, outermost as it is written; how many, or -1 after an error. */
static int axes_named(const char *what, const char *names, const Bound **out)
{
    int n = 0;
    if (!tracing())
        return -1;
    if (!names)
        return error_set(E_INVAL, "%s: the name of the axis is NULL", what), -1;
    for (const char *s = names;; s++) {
        while (isspace((unsigned char)*s))
            s++;
        int k = (int)strcspn(s, ", \t\n");
        if (n == MAXRANK || !k)
            return error_set(E_INVAL, "%s: \"%s\": names of axes are wanted, with commas", what, names), -1;
        if (!(out[n] = find(what, s, k)))
            return -1;
        for (int i = 0; i < n; i++)
            if (out[i] == out[n])
                return error_set(E_INVAL, "%s: axis \"%s\" is named twice", what, out[n]->name), -1;
        n++;
        s += k;
        while (isspace((unsigned char)*s))
            s++;
        if (!*s)
            return n;
        if (*s != ',')
            return error_set(E_INVAL, "%s: \"%s\": names of axes are wanted, with commas", what, names), -1;
    }
}

static const Bound *one_axis(const char *what, const char *name)
{
    const Bound *b[MAXRANK];
    int n = axes_named(what, name, b);
    if (n > 1)
        error_set(E_INVAL, "%s: one axis at a time, not \"%s\"", what, name);
    return n == 1 ? b[0] : NULL;
}

static int64_t lanes_of(const Bound *const *b, int n)
{
    int64_t size = 1;
    for (int i = 0; i < n; i++)
        size *= b[i]->size;
    return size;
}

int64_t hd_axis_size(const char *names)
{
    OP(hd_axis_size);
    const Bound *b[MAXRANK];
    int n = axes_named("hd_axis_size", names, b);
    return n < 0 ? -1 : lanes_of(b, n);
}

/* A lane's number is the same at every step of a loop: it is made where the axis begins, and captured from
 * there, so that loops and branches may depend on it. */
static Ref lane_number(const Bound *b)
{
    Trace *t = b->home;
    Arena *a = arena_use(t->arena);
    graph_begin(t->g);
    Ref v = AxisIndex(b->unique, b->size);
    graph_end();
    arena_use(a);
    return v ? sym_ref((hd){ t->serial, v }) : 0;
}

hd hd_axis_index(const char *names)
{
    OP(hd_axis_index);
    const Bound *b[MAXRANK];
    int n = axes_named("hd_axis_index", names, b);
    Ref k = n > 0 ? lane_number(b[0]) : 0;
    for (int i = 1; k && i < n; i++)
        k = Add(Mul(k, Like(k, (double)b[i]->size)), lane_number(b[i]));
    return sym_of(k);
}

/* ==================== over one axis or several */

typedef struct Over {
    const char *what;
    Op op;
    int n, at, to;
    bool tiled, mean;
    const Bound *axis[MAXRANK];
    Ref source;
} Over;

static Ref meet(const Over *o, int k, Ref x)
{
    return Collective(o->op, o->axis[k]->unique, o->axis[k]->size, o->at, o->to, x);
}

static hd reduce_leaf(const hd *x, int n, void *env)
{
    const Over *o = env;
    double c;
    (void)n;
    if (o->op == OP_psum && sym_weak(x[0], &c))
        return sym_const(o->mean ? c : c * (double)lanes_of(o->axis, o->n));
    Ref r = sym_ref(x[0]);
    if (r && o->mean)
        r = to_float(r);
    if (r && o->op == OP_psum && typ(r)->dt == DT_BOOL)
        r = Convert(r, DT_I32);
    for (int k = 0; k < o->n && r; k++)
        r = meet(o, k, r);
    if (r && o->mean)
        r = Div(r, Like(r, (double)lanes_of(o->axis, o->n)));
    return sym_of(r);
}

static hd over(const char *what, Op op, bool mean, hd x, const char *names)
{
    Over o = { .what = what, .op = op, .mean = mean };
    o.n = axes_named(what, names, o.axis);
    return o.n < 0 ? HD_NIL : sym_map(what, reduce_leaf, &o, 1, &x);
}

hd hd_psum(hd x, const char *axes) { OP(hd_psum); return over("hd_psum", OP_psum, false, x, axes); }
hd hd_pmean(hd x, const char *axes) { OP(hd_pmean); return over("hd_pmean", OP_psum, true, x, axes); }
hd hd_pmax(hd x, const char *axes) { OP(hd_pmax); return over("hd_pmax", OP_pmax, false, x, axes); }
hd hd_pmin(hd x, const char *axes) { OP(hd_pmin); return over("hd_pmin", OP_pmin, false, x, axes); }

/* ==================== with an axis of the array */

/* Axes `at` and at + 1 as one. */
static Ref merged(Ref x, int at)
{
    if (!x)
        return 0;
    Ints s = shape_of(x);
    s.v[at] *= s.v[at + 1];
    for (int d = at + 1; d + 1 < s.n; d++)
        s.v[d] = s.v[d + 1];
    s.n--;
    return Reshape(x, s);
}

/* Axis `at` as two, n by the rest; an error where n does not divide it. */
static Ref parted(const char *what, Ref x, int at, int64_t n)
{
    Ints s = shape_of(x);
    if (s.n == MAXRANK || !n || s.v[at] % n) {
        error_set(E_SHAPE, "%s: axis %d of %s cannot be dealt out to %lld lanes", what, at,
            type_text(typ(x)), (long long)n);
        return 0;
    }
    for (int d = s.n; d > at + 1; d--)
        s.v[d] = s.v[d - 1];
    s.v[at + 1] = s.v[at] / n, s.v[at] = n, s.n++;
    return Reshape(x, s);
}

static hd gather_leaf(const hd *x, int n, void *env)
{
    Over o = *(const Over *)env;
    Ref r = sym_ref(x[0]);
    (void)n;
    int at = r ? axis_of(o.what, o.at, typ(r)->rank + !o.tiled) : -1;
    if (at < 0)
        return HD_NIL;
    o.at = at;
    for (int k = o.n - 1; k >= 0; k--) {        /* the last name is the innermost */
        r = meet(&o, k, r);
        if (k < o.n - 1)
            r = merged(r, at);
    }
    return sym_of(o.tiled ? merged(r, at) : r);
}

hd hd_all_gather(hd x, const char *axes, int at, bool tiled)
{
    OP(hd_all_gather);
    Over o = { .what = "hd_all_gather", .op = OP_all_gather, .at = at, .tiled = tiled };
    o.n = axes_named(o.what, axes, o.axis);
    return o.n < 0 ? HD_NIL : sym_map(o.what, gather_leaf, &o, 1, &x);
}

static hd deal_leaf(const hd *x, int n, void *env)
{
    Over o = *(const Over *)env;
    Ref r = sym_ref(x[0]);
    (void)n;
    int rank = r ? typ(r)->rank : 0;
    if (!r || (o.at = axis_of(o.what, o.at, rank)) < 0 || (o.to = axis_of(o.what, o.to, rank)) < 0)
        return HD_NIL;
    if (!o.tiled)
        return sym_of(meet(&o, 0, r));
    r = parted(o.what, r, o.at, o.axis[0]->size);
    r = r ? meet(&o, 0, r) : 0;
    return sym_of(o.op == OP_all_to_all ? merged(r, o.to) : r);
}

hd hd_psum_scatter(hd x, const char *axis, int at, bool tiled)
{
    OP(hd_psum_scatter);
    Over o = {
        .what = "hd_psum_scatter", .op = OP_psum_scatter, .at = at, .to = at, .tiled = tiled, .n = 1
    };
    o.axis[0] = one_axis(o.what, axis);
    return o.axis[0] ? sym_map(o.what, deal_leaf, &o, 1, &x) : HD_NIL;
}

hd hd_all_to_all(hd x, const char *axis, int split, int concat, bool tiled)
{
    OP(hd_all_to_all);
    Over o = {
        .what = "hd_all_to_all", .op = OP_all_to_all, .at = split, .to = concat, .tiled = tiled, .n = 1
    };
    o.axis[0] = one_axis(o.what, axis);
    return o.axis[0] ? sym_map(o.what, deal_leaf, &o, 1, &x) : HD_NIL;
}

/* ==================== from lane to lane */

static hd permute_leaf(const hd *x, int n, void *env)
{
    const Over *o = env;
    (void)n;
    Ref r = sym_ref(x[0]);
    return sym_of(r ? Permute(o->axis[0]->unique, o->axis[0]->size, r, o->source) : 0);
}

hd hd_ppermute(hd x, const char *axis, const int (*pairs)[2], int n)
{
    static const char what[] = "hd_ppermute";
    OP(hd_ppermute);
    Over o = { .what = what, .n = 1 };
    if (!(o.axis[0] = one_axis(what, axis)) || list_in(what, pairs, n, 0))
        return HD_NIL;
    int64_t size = o.axis[0]->size;
    int32_t *from = NEWS(int32_t, size);
    bool *sends = NEWS(bool, size);
    for (int64_t i = 0; i < size; i++)
        from[i] = -1;
    for (int i = 0; i < n; i++) {
        int a = pairs[i][0], b = pairs[i][1];
        if (a < 0 || a >= size || b < 0 || b >= size) {
            error_set(E_INVAL, "%s: from %d to %d: axis \"%s\" has %lld lanes", what, a, b, o.axis[0]->name,
                (long long)size);
            return HD_NIL;
        }
        if (sends[a] || from[b] >= 0) {
            error_set(
                E_INVAL, "%s: lane %d %s twice", what, sends[a] ? a : b, sends[a] ? "sends" : "receives");
            return HD_NIL;
        }
        sends[a] = true, from[b] = a;
    }
    o.source = Data(type_of(DT_I32, 1, &size), from);
    return o.source ? sym_map(what, permute_leaf, &o, 1, &x) : HD_NIL;
}

static hd broadcast_leaf(const hd *x, int n, void *env)
{
    Over o = *(const Over *)env;
    Ref r = sym_ref(x[0]);
    (void)n;
    r = r ? meet(&o, 0, r) : 0;
    return sym_of(r ? squeeze_axis(take_range(r, 0, o.to, o.to + 1), 0) : 0);
}

hd hd_pbroadcast(hd x, const char *axis, int source)
{
    OP(hd_pbroadcast);
    Over o = { .what = "hd_pbroadcast", .op = OP_all_gather, .to = source, .n = 1 };
    if (!(o.axis[0] = one_axis(o.what, axis)))
        return HD_NIL;
    if (source >= 0 && source < o.axis[0]->size)
        return sym_map(o.what, broadcast_leaf, &o, 1, &x);
    error_set(E_INVAL, "%s: there is no lane %d: axis \"%s\" has %lld", o.what, source, o.axis[0]->name,
              (long long)o.axis[0]->size);
    return HD_NIL;
}
