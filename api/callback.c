/*
 * callback.c - hd_callback: a function on the host in the middle of a program.
 *
 * In: symbols, whose leaves are operands of one instruction; when the program runs, dense arrays of them.
 * Out: a symbol like the one given; then the arrays that the function gave, of those types and nothing else.
 */
#include "api.h"
#include <stdlib.h>
#include <string.h>

static _Thread_local bool inside;               /* a callback is running in this thread */

bool callback_runs(void) { return inside; }

static hd_array *array_copy(const Type *t, const void *data)
{
    size_t n = type_bytes(t);
    void *copy = malloc(n ? n : 1);
    Store *s = copy ? store_new(n, copy, NULL) : NULL;
    if (!s)
        return error_set(E_NOMEM, "out of host memory"), NULL;
    if (n)
        memcpy(copy, data, n);
    return array_leaf(t, s);
}

/* What the function gave for result k: takes it over. */
static int result_of(hd_array *a, int k, const Type *want, void *to)
{
    int e = 0;
    if (!a)
        return error_set(E_INVAL, "hd_callback: the function gave no result %d", k);
    if (!array_alive("hd_callback: a result", k, a))
        return (int)error_code();
    if (a->tree || a->abstract || !type_equal(&a->type, want)) {
        Arena *arena = arena_new(), *saved = arena_use(arena);
        e = error_set(a->tree || a->type.dt == want->dt ? E_SHAPE : E_DTYPE,
            "hd_callback: result %d is %s, not %s as was said", k,
            a->tree         ? "a tree" :
                a->abstract ? "without contents" :
                              type_text(&a->type),
            type_text(want));
        arena_use(saved);
        arena_drop(arena);
    }
    e = e ? e : store_read(a->store, to);
    array_drop(a);
    return e;
}

static int user_call(hd_host_fn *f, void *user, hd_array **args, int nin, hd_array **out, int nout)
{
    bool before = inside;
    At at = at_lend();
    inside = true;
    int e = f(args, nin, out, nout, user);
    inside = before;
    at_back(&at);
    if (error_pending())                        /* hd_fail, or what it called and did not look at */
        return (int)error_code();
    return e ? error_set(E_INVAL, "hd_callback: the function gave the code %d", e) : 0;
}

/* Types and memory of operands and of results, two lists with their lengths each: hence the parameters. */
static int call_host(void (*f)(void), void *user, int nin, const Type *t, const void *const *in, int nout,
    const Type *u, void *const *out)
{
    hd_array **a = calloc((size_t)(nin + nout), sizeof *a), **y = a ? a + nin : NULL;
    int e = a ? 0 : error_set(E_NOMEM, "out of host memory");
    for (int k = 0; k < nin && !e; k++)
        if (!(a[k] = array_copy(&t[k], in[k])))
            e = (int)error_code();
    bool called = !e;
    e = e ? e : user_call((hd_host_fn *)f, user, a, nin, y, nout);
    for (int k = 0; k < nout && called; k++)
        if (e)
            hd_drop(y[k]);
        else
            e = result_of(y[k], k, &u[k], out[k]);
    for (int k = 0; k < nin && a; k++)
        array_drop(a[k]);
    free(a);
    return e;
}

/* ==================== while tracing */

static int leaf_refs(const hd *args, int n, Ref **x)
{
    int count = 0, at = 0;
    for (int i = 0; i < n; i++) {
        int k = sym_leaf_count(args[i]);
        if (k < 0)
            return sym_usable(args[i]), -1;
        count += k;
    }
    *x = NEWS(Ref, count);
    for (int i = 0; i < n; i++) {
        int k = 0;
        hd *leaf = sym_leaves(args[i], &k);
        for (int j = 0; j < k; j++)
            if (!((*x)[at++] = sym_ref(leaf[j])))
                return -1;
    }
    return count;
}

static hd callback(hd_host_fn *f, void *user, hd like, const hd *args, int n, bool batched)
{
    const Tree *t = tracing() ? sym_type(like) : NULL;
    n = t ? sym_count("hd_callback", args, n) : -1;
    if (n < 0)
        return HD_NIL;
    if (!f || !t->nleaf) {
        error_set(E_INVAL,
            f ? "hd_callback: a function that gives nothing is not called, as it is pure: like says what it "
                "gives" :
                "hd_callback: the function is NULL");
        return HD_NIL;
    }
    Type *type = NEWS(Type, t->nleaf);
    Ref *x = NULL, *out = NEWS(Ref, t->nleaf);
    int nin = leaf_refs(args, n, &x);
    hd y = HD_NIL;
    if (nin < 0)
        return HD_NIL;
    t = tree_strong(t);
    tree_types(t, type);
    Callback(call_host, (void (*)(void))f, user, batched, nin, x, t->nleaf, type, out);
    if (!error_pending())
        sym_build(t, out, &y);
    return y;
}

hd hd_callback_n(hd_host_fn *f, void *user, hd like, const hd *args, int n)
{
    OP(hd_callback_n);
    return callback(f, user, like, args, n, false);
}

hd hd_callback_batched_n(hd_host_fn *f, void *user, hd like, const hd *args, int n)
{
    OP(hd_callback_batched_n);
    return callback(f, user, like, args, n, true);
}
