/*
 * callback.c - hd_callback, a function on the host in the middle of a program, and hd_kernel, a kernel of
 * the user's, which is launched where the device has its language, and else is a function on the host.
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
    Callback(&(HostFn){ call_host, (void (*)(void))f, user, NULL, batched }, nin, x, t->nleaf, type, out);
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

/* ==================== kernels of the user's */

/* Equal ones are one, and stay: programs hold them. Under front_lock. */
typedef struct KeptKernel { UserKernel k; struct KeptKernel *next; } KeptKernel;
static KeptKernel *kernels;

static const UserKernel *kernel_kept(const UserKernel *k)
{
    for (KeptKernel *have = kernels; have; have = have->next)
        if (have->k.name == k->name && have->k.opencl == k->opencl && have->k.nspirv == k->nspirv &&
            (!k->spirv || !memcmp(have->k.spirv, k->spirv, 4 * k->nspirv)) &&
            !memcmp(have->k.global, k->global, sizeof k->global) &&
            !memcmp(have->k.local, k->local, sizeof k->local))
            return &have->k;
    KeptKernel *new = malloc(sizeof *new);
    uint32_t *words = new && k->spirv ? malloc(4 * k->nspirv) : NULL;
    if (!new || (k->spirv && !words))
        return free(new), error_set(E_NOMEM, "out of host memory"), NULL;
    *new = (KeptKernel){ *k, kernels };
    if (words)
        new->k.spirv = memcpy(words, k->spirv, 4 * k->nspirv);
    kernels = new;
    return &new->k;
}

typedef void KernelOnHost(void *const *outputs, const void *const *inputs, const hd_ints *shapes);

/* Types and memory of operands and of results, two lists with their lengths each: hence the parameters. */
static int kernel_on_host(void (*f)(void), void *user, int nin, const Type *t, const void *const *in,
    int nout, const Type *u, void *const *out)
{
    const UserKernel *k = user;
    if (!f)
        return error_set(E_DEVICE,
            "hd_kernel %s: this device does not run %s, and there is no host function to take its place",
            k->name, k->opencl && k->spirv ? "OpenCL C or SPIR-V" : k->spirv ? "SPIR-V" : "OpenCL C");
    hd_ints *shape = calloc((size_t)(nin + nout), sizeof *shape);
    if (!shape)
        return error_set(E_NOMEM, "out of host memory");
    for (int i = 0; i < nin + nout; i++)
        shape[i] = ints_out(type_shape(i < nin ? &t[i] : &u[i - nin]));
    bool before = inside;
    At at = at_lend();
    inside = true;
    ((KernelOnHost *)f)(out, in, shape);
    inside = before;
    at_back(&at);
    free(shape);
    return error_pending() ? (int)error_code() : 0;
}

static int kernel_outputs(const hd_kernel_def *d, Type *t)
{
    const bool module = d->spirv && d->spirv_words;
    if (!d->name || !*d->name || (!d->opencl && !module && !d->host))
        return error_set(E_INVAL, "hd_kernel: its name is wanted, and its text or a host function");
    if (module && d->spirv[0] != 0x07230203)
        return error_set(E_INVAL, "hd_kernel %s: its SPIR-V does not begin with 0x07230203", d->name);
    if (d->outputs < 1 || d->outputs > HD_KERNEL_OUTPUTS)
        return error_set(E_INVAL, "hd_kernel %s: %d outputs, 1 to %d are possible", d->name, d->outputs,
            HD_KERNEL_OUTPUTS);
    for (int i = 0; i < d->outputs; i++)
        if (array_type("hd_kernel", d->output[i].dtype, d->output[i].shape, &t[i]))
            return (int)error_code();
    return 0;
}

static const UserKernel *kernel_of(const hd_kernel_def *d)
{
    UserKernel k = { .name = intern(d->name), .opencl = d->opencl ? intern(d->opencl) : NULL };
    if (d->spirv && d->spirv_words)
        k.spirv = d->spirv, k.nspirv = d->spirv_words;
    for (int i = 0; i < 3; i++) {
        k.global[i] = d->global[i] ? d->global[i] : 1;
        k.local[i] = d->local[0] && !d->local[i] ? 1 : d->local[i];
        if (k.global[i] < 0 || k.local[i] < 0 || (k.local[i] && k.global[i] % k.local[i])) {
            error_set(E_INVAL, "hd_kernel %s: work-items %lld of axis %d are not in groups of %lld", d->name,
                (long long)k.global[i], i, (long long)k.local[i]);
            return NULL;
        }
    }
    return kernel_kept(&k);
}

hd hd_kernel_n(const hd_kernel_def *d, const hd *args, int n)
{
    OP(hd_kernel_n);
    Type t[HD_KERNEL_OUTPUTS];
    Ref *x = NULL, out[HD_KERNEL_OUTPUTS];
    hd part[HD_KERNEL_OUTPUTS];
    n = tracing() ? sym_count("hd_kernel", args, n) : -1;
    if (n < 0)
        return HD_NIL;
    if (!d) {
        error_set(E_INVAL, "hd_kernel: the definition is NULL");
        return HD_NIL;
    }
    const UserKernel *k = kernel_outputs(d, t) ? NULL : kernel_of(d);
    int nin = k ? leaf_refs(args, n, &x) : -1;
    if (nin < 0)
        return HD_NIL;
    Callback(&(HostFn){ kernel_on_host, (void (*)(void))d->host, (void *)(uintptr_t)k, k, false }, nin, x,
        d->outputs, t, out);
    for (int i = 0; i < d->outputs && !error_pending(); i++)
        part[i] = sym_of(out[i]);
    return error_pending() ? HD_NIL : d->outputs == 1 ? part[0] : sym_tuple(part, d->outputs);
}
