/*
 * callback.c - a function on the host, in the middle of a program.
 *
 * The first operand says where it is called: bool, an element a lane; its axes are in front of every other
 * operand and result. Called once a lane it sees one example at a time, batched all lanes at once. It is
 * pure: equal calls are one, and what nobody needs is not called. Nothing is known of its derivative.
 * Where complex numbers, or dtypes that are for storage, have become what devices have, `seen` says which
 * dtypes the function sees all the same: the bytes are theirs.
 */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct Host { HostCall *call; void (*f)(void); void *user; int lanes; bool batched; } Host;
enum { HOST_CALL, HOST_F, HOST_USER, HOST_KERNEL, HOST_WORDS };

static Host host_of(const Ins *i)
{
    int n;
    const int64_t *p = ins_attr(i, ATTR(callback, host), &n);
    return (Host){ (HostCall *)(intptr_t)p[HOST_CALL], (void (*)(void))(intptr_t)p[HOST_F],
        (void *)(intptr_t)p[HOST_USER],
        (int)ins_int(i, ATTR(callback, lanes)), ins_int(i, ATTR(callback, batched)) != 0 };
}

const void *callback_kernel(const Ins *i)
{
    return (const void *)(intptr_t)ins_attr(i, ATTR(callback, host), NULL)[HOST_KERNEL];
}

/* What the user called, for messages. */
static const char *called(const int64_t *attr, int nattr)
{
    return attr_nth(attr, nattr, ATTR(callback, host), NULL)[HOST_KERNEL] ? "hd_kernel" : "hd_callback";
}

/* The list of results: dtype, rank and sizes of each; NULL: the attributes have none. */
static const int64_t *result_list(const int64_t *attr, int nattr, int *n)
{
    return attr_nth(attr, nattr, ATTR(callback, out), n);
}

int callback_results(const int64_t *attr, int nattr)
{
    int n, count = 0;
    const int64_t *r = result_list(attr, nattr, &n);
    for (int at = 0; at + 1 < n; at += 2 + (int)r[at + 1])
        count++;
    return count;
}

void Callback(const HostFn *h, int nin, const Ref *x, int nout, const Type *t, Ref *out)
{
    int64_t list[ATTR_MAX / 2];
    int n = 0, e = 0;
    Attr a = { 0 };
    Ref *in = NEWS(Ref, nin + 1);
    in[0] = ConstBits(DT_BOOL, 1);
    for (int k = 0; k < nin; k++)
        in[k + 1] = x[k];
    for (int k = 0; k < nout && !e; k++) {
        if (n + 2 + t[k].rank > ATTR_MAX / 2)
            e = error_set(E_INVAL, "hd_callback: more results than there is room for: %d", nout);
        for (int d = -2; d < t[k].rank && !e; d++)
            list[n++] = d == -2 ? t[k].dt : d == -1 ? t[k].rank : t[k].dim[d];
    }
    const int64_t host[HOST_WORDS] = { (int64_t)(intptr_t)h->call, (int64_t)(intptr_t)h->f,
        (int64_t)(intptr_t)h->user, (int64_t)(intptr_t)h->kernel };
    attr_list(&a, host, HOST_WORDS), attr_int(&a, 0), attr_int(&a, h->batched), attr_list(&a, list, n);
    attr_list(&a, NULL, 0);
    if (e || !emit_n(OP_callback, nin + 1, in, &a, out))
        memset(out, 0, sizeof *out * (size_t)nout);
}

void callback_again(const Graph *g, const Ins *i, Type (*as)(const Type *), const Ref *x, Ref *out)
{
    int n, nseen, count = 0, at = 0;
    const int64_t *list = result_list(i->attr, i->nattr, &n);
    const int64_t *before = ins_attr(i, ATTR(callback, seen), &nseen);
    int64_t to[ATTR_MAX / 2], *seen = NEWS(int64_t, i->nin - 1 + i->nout);
    Attr a = { 0 };
    for (int k = 0; k < i->nin - 1 + i->nout; k++) {
        const Type *t = &g->type[k < i->nin - 1 ? i->in[k + 1] : i->out + (Ref)(k - i->nin + 1)];
        Type low = as(t);
        seen[k] = nseen && before[k] ? before[k] : type_equal(t, &low) ? DT_NONE : t->dt;
    }
    for (; at + 1 < n; at += 2 + (int)list[at + 1]) {
        Type t = type_of((Dtype)list[at], (int)list[at + 1], list + at + 2), low = as(&t);
        for (int d = -2; d < low.rank && count < ATTR_MAX / 2; d++)
            to[count++] = d == -2 ? low.dt : d == -1 ? low.rank : low.dim[d];
    }
    attr_list(&a, ins_attr(i, ATTR(callback, host), NULL), HOST_WORDS);
    attr_int(&a, ins_int(i, ATTR(callback, lanes))), attr_int(&a, ins_int(i, ATTR(callback, batched)));
    attr_list(&a, to, count), attr_list(&a, seen, i->nin - 1 + i->nout);
    emit_n(OP_callback, i->nin, x, &a, out);
}

/* The k-th of operands and results, as the function sees it. */
static Type as_seen(const Ins *i, int k, Type t)
{
    int n;
    const int64_t *seen = ins_attr(i, ATTR(callback, seen), &n);
    if (n && seen[k])
        t.dt = (uint8_t)seen[k], t.rank -= dtype_complex((Dtype)seen[k]);
    return t;
}

static int callback_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    int n, lanes = (int)*attr_nth(attr, nattr, ATTR(callback, lanes), NULL);
    const int64_t *r = result_list(attr, nattr, &n);
    if (nin < 1 || t[0]->dt != DT_BOOL || t[0]->rank != lanes)
        return error_set(E_INTERNAL, "callback: its first operand does not have its %d lane axes", lanes);
    for (int k = 0, at = 0; at < n; k++, at += 2 + (int)r[at + 1]) {
        Ints shape = ints_concat(type_shape(t[0]), ints_of(r + at + 2, (int)r[at + 1]));
        int e = ops_result(op, &out[k], (Dtype)r[at], shape);
        if (e)
            return e;
    }
    return 0;
}

static void callback_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)t, (void)z;
    for (int k = 0; k < i->nout; k++)
        tz[k] = 0;
    error_set(E_DIFF,
        "%s: nothing is known of the derivative of a function on the host, or of a kernel: give the "
        "function that calls it one with hd_custom_jvp, or take its arguments through hd_stop_gradient",
        called(i->attr, i->nattr));
}

static void callback_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref *y = NEWS(Ref, i->nin);
    Attr a = { i->nattr, { 0 } };
    bool alike = true;
    memcpy(a.v, i->attr, sizeof *a.v * (size_t)i->nattr);
    for (int k = 0; k < i->nin; k++)
        alike &= s[k] == SHARED, y[k] = x[k];
    if (alike) {                                /* under a mask: called where some lane is active */
        Ref any = Reduce(OP_reduce_or, ax->mask, (Ints){ 1, { 0 } });
        y[0] = And(x[0], Broadcast(any, type_shape(typ(x[0])), (Ints){ 0 }));
        again(i, y, out);
        return;
    }
    a.v[ins_attr(i, ATTR(callback, lanes), NULL) - i->attr]++;
    ops_stack(i, x, s, ax, y);
    if (ax->mask && y[0])
        y[0] = And(y[0], Broadcast(ax->mask, type_shape(typ(y[0])), (Ints){ 1, { 0 } }));
    for (int k = 0; k < i->nout; k++)
        out[k] = 0;
    emit_n((Op)i->op, i->nin, y, &a, out);
    ops_stacked_out(i, so);
}

/* Once for one example, or for all lanes; at: which, bytes of each after the lanes. Operands and
 * results are two parameters each. */
static int call_once(const Host *h, const Ins *i, const Type *const *t, const void *const *in, const Type *u,
    void *const *out, int64_t at, int drop)
{
    int n = i->nin - 1;
    Type *types = ops_temp((size_t)(n + i->nout), sizeof *types);
    const void **x = ops_temp((size_t)(n + i->nout), sizeof *x);
    void **y = (void **)(x ? x + n : NULL);
    int e = types && x ? 0 : (int)error_code();
    for (int k = 0; k < n && !e; k++) {
        types[k] = type_drop_lead(t[k + 1], drop);
        x[k] = (const char *)in[k + 1] + (size_t)at * type_bytes(&types[k]);
        types[k] = as_seen(i, k, types[k]);
    }
    for (int k = 0; k < i->nout && !e; k++) {
        types[n + k] = type_drop_lead(&u[k], drop);
        y[k] = (char *)out[k] + (size_t)at * type_bytes(&types[n + k]);
        types[n + k] = as_seen(i, n + k, types[n + k]);
    }
    e = e ? e : h->call(h->f, h->user, n, types, x, i->nout, types + n, y);
    free(types), free(x);
    return e;
}

static int callback_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Host h = host_of(i);
    const uint8_t *on = in[0];
    int64_t lanes = type_size(t[0]), some = 0;
    int e = 0;
    for (int k = 0; k < i->nout; k++)
        memset(out[k], 0, type_bytes(&u[k]));
    for (int64_t k = 0; k < lanes && !e; k++) {
        some += on[k];
        if (on[k] && !h.batched)
            e = call_once(&h, i, t, in, u, out, k, h.lanes);
    }
    return !e && some && h.batched ? call_once(&h, i, t, in, u, out, 0, 0) : e;
}

const Rules rules_callback = { callback_infer, callback_jvp, NULL, callback_batch, callback_eval };
