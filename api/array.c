/*
 * array.c - data: arrays and trees of arrays.
 *
 * An hd_array is an immutable value with a reference count: a leaf (a type and a Store of bytes), a leaf
 * without contents (abstract), or a tree.
 * Functions keep Stores, not hd_arrays, so hd_live() counts what the program holds.
 */
#include "api.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ==================== arrays */

hd_array *array_leaf(const Type *type, Store *s)
{
    hd_array *a = array_make();
    if (!a) {
        store_drop(s);
        return NULL;
    }
    a->type = *type, a->store = s, a->abstract = !s;
    return a;
}

/* A tree with room for n parts, none of them there yet. */
static hd_array *array_inner(bool keyed, int n)
{
    hd_array *a = array_make();
    if (!a)
        return NULL;
    a->tree = true, a->n = n;
    a->part = calloc((size_t)n + 1, sizeof *a->part);
    a->key = keyed ? calloc((size_t)n + 1, sizeof *a->key) : NULL;
    if (a->part && (a->key || !keyed))
        return a;
    a->n = 0;
    array_drop(a);
    return no_memory(sizeof *a->part * (size_t)n), NULL;
}

/* Takes the parts over. NULL if one is missing or not the caller's, or the tree too deep: then the others
 * go. */
static hd_array *array_whole(hd_array *a)
{
    bool whole = true;
    for (int i = 0; i < a->n; i++)
        if (!a->part[i] || !array_take(a->part[i]))
            whole = false, a->part[i] = NULL;
        else if (a->depth <= a->part[i]->depth)
            a->depth = a->part[i]->depth + 1;
    if (whole && tree_depth_ok(a->depth))
        return a;
    array_drop(a);
    return NULL;
}

/* What was to be taken over goes, where there is no tree for it. */
static void give_up(hd_array *part)
{
    if (part && array_take(part))
        array_drop_part(part);
}

/* next: the leaves not yet used; NULL: abstract ones. */
static hd_array *build(const Tree *t, Store *const **next)
{
    if (t->nleaf && t->kind != T_DICT && t->kind != T_TUPLE)
        return array_leaf(&t->type, next ? *(*next)++ : NULL);
    hd_array *a = array_inner(t->key, t->n);
    for (int i = 0; !a && next && i < t->nleaf; i++)
        store_drop(*(*next)++);
    for (int i = 0; a && i < t->n; i++) {
        a->part[i] = build(t->part[i], next);
        if (t->key)
            a->key[i] = t->key[i];
    }
    return a ? array_whole(a) : NULL;
}

hd_array *array_build(const Tree *t, Store *const *leaves)
{
    return build(t, leaves ? &leaves : NULL);
}

const Tree *array_tree(const hd_array *a)
{
    if (!a->tree)
        return tree_leaf(&a->type);
    const Tree **part = NEWS(const Tree *, a->n);
    for (int i = 0; i < a->n; i++)
        part[i] = array_tree(a->part[i]);
    return a->key ? tree_dict(a->key, part, a->n) : tree_tuple(part, a->n);
}

uint64_t array_hash(const hd_array *a, uint64_t h)
{
    if (!a->tree)
        return hash_bytes(a->type.dim, sizeof *a->type.dim * a->type.rank, h + ((uint64_t)a->type.dt << 56));
    h = hash_bytes(&a->n, sizeof a->n, h);
    if (a->key)
        h = hash_bytes(a->key, sizeof *a->key * (size_t)a->n, h);
    for (int i = 0; i < a->n; i++)
        h = array_hash(a->part[i], h);
    return h;
}

bool array_fits(const hd_array *a, const Tree *t)
{
    if (!a->tree)
        return t->kind == T_LEAF && type_equal(&a->type, &t->type);
    if (t->kind != (a->key ? T_DICT : T_TUPLE) || a->n != t->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if ((a->key && a->key[i] != t->key[i]) || !array_fits(a->part[i], t->part[i]))
            return false;
    return true;
}

int array_leaves(hd_array *a, hd_array **out, int n)
{
    if (!a->tree) {
        if (out)
            out[n] = a;
        return n + 1;
    }
    for (int i = 0; i < a->n; i++)
        n = array_leaves(a->part[i], out, n);
    return n;
}

/* ==================== making them from host memory */

int array_type(const char *what, enum hd_dtype d, hd_ints shape, Type *t)
{
    if (shape.n < 0)
        return error_set(E_SHAPE, "%s: the number of values does not match the shape", what);
    if (!is_dtype(d))
        return error_set(E_DTYPE, "%s: %d is no dtype", what, (int)d);
    if (shape.n > type_rank_most((Dtype)d))
        return error_set(E_SHAPE, "%s: %d axes; at most %d", what, shape.n, type_rank_most((Dtype)d));
    int64_t bytes = (int64_t)dtype_size((Dtype)d);
    for (int i = 0; i < shape.n; i++)
        if (shape.v[i] < 0 || __builtin_mul_overflow(bytes, shape.v[i] ? shape.v[i] : 1, &bytes))
            return error_set(E_SHAPE, "%s: the size %lld of axis %d is negative, or the array too large",
                what, (long long)shape.v[i], i);
    *t = type_of((Dtype)d, shape.n, shape.v);
    return 0;
}

/* Elements of size `size` from strided src; axis by axis, the innermost contiguous run at once where it is
 * one. */
static char *gather(char *dst, const char *src, const Type *t, const int64_t *stride, int axis, size_t size)
{
    if (axis == t->rank) {
        memcpy(dst, src, size);
        return dst + size;
    }
    if (axis == t->rank - 1 && stride[axis] == (int64_t)size) {
        memcpy(dst, src, size * (size_t)t->dim[axis]);
        return dst + size * (size_t)t->dim[axis];
    }
    for (int64_t i = 0; i < t->dim[axis]; i++)
        dst = gather(dst, src + i * stride[axis], t, stride, axis + 1, size);
    return dst;
}

hd_array *hd_array_new(enum hd_dtype d, hd_ints shape, const void *data, const int64_t *strides)
{
    Type t;
    OP(hd_array_new);
    error_begin();
    if (array_type("hd_array_new", d, shape, &t))
        return NULL;
    size_t bytes = type_bytes(&t);
    if (bytes && !data)
        return error_set(E_INVAL, "hd_array_new: data is NULL"), NULL;
    char *host = malloc(bytes ? bytes : 1);
    if (!host)
        return no_memory(bytes), NULL;
    if (bytes && strides)
        gather(host, data, &t, strides, 0, dtype_size((Dtype)d));
    else if (bytes)
        memcpy(host, data, bytes);
    Store *s = store_new(bytes, host, NULL);
    return s ? array_leaf(&t, s) : NULL;
}

hd_array *hd_array_scalar(enum hd_dtype d, double value)
{
    char b[16] = { 0 };
    OP(hd_array_scalar);
    error_begin();
    if (!is_dtype(d))
        return error_set(E_DTYPE, "hd_array_scalar: %d is no dtype", (int)d), NULL;
    if (d == HD_KEY)
        return error_set(E_DTYPE, "hd_array_scalar: a key is no number; make one with hd_array_random_key"),
               NULL;
    dtype_store_f((Dtype)d, b, value);
    return hd_array_new(d, (hd_ints){ 0 }, b, NULL);
}

hd_array *hd_array_key(uint64_t seed)
{
    OP(hd_array_key);
    uint32_t k[2] = { (uint32_t)(seed >> 32), (uint32_t)seed };
    return hd_array_new(HD_U32, (hd_ints){ 1, { 2 } }, k, NULL);
}

hd_array *hd_array_random_key(uint64_t seed)
{
    OP(hd_array_random_key);
    uint32_t k[2] = { (uint32_t)(seed >> 32), (uint32_t)seed };
    return hd_array_new(HD_KEY, (hd_ints){ 0 }, k, NULL);
}

hd_array *hd_array_abstract_n(enum hd_dtype d, hd_ints shape)
{
    Type t;
    OP(hd_array_abstract_n);
    error_begin();
    return array_type("hd_array_abstract", d, shape, &t) ? NULL : array_leaf(&t, NULL);
}

/* ==================== trees */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const hd_array_pair *)a)->key, ((const hd_array_pair *)b)->key);
}

/* Takes the values over, and sorts the pairs. */
static hd_array *dict_of(hd_array_pair *pair, int n)
{
    hd_array *a = array_inner(true, n);
    bool bad = !a;
    for (int i = 0; i < n; i++)
        if (!pair[i].key)
            bad = error_set(E_INVAL, "a dictionary's key %d of %d is NULL", i, n);
    if (!bad)
        qsort(pair, (size_t)n, sizeof *pair, by_key);
    for (int i = 0; i < n && !bad; i++)
        if (!pair[i].value)
            bad = error_pass();
        else if (i && !strcmp(pair[i].key, pair[i - 1].key))
            bad = error_set(E_INVAL, "a dictionary has the key \"%s\" twice", pair[i].key);
    for (int i = 0; i < n; i++) {
        if (bad)
            give_up(pair[i].value);
        else
            a->part[i] = pair[i].value, a->key[i] = intern(pair[i].key);
    }
    if (!bad)
        return array_whole(a);
    array_drop(a);
    return NULL;
}

hd_array *hd_array_dict_n(const hd_array_pair *pair, int n)
{
    OP(hd_array_dict_n);
    if (list_in("hd_array_dict", pair, n, -1))
        return NULL;
    if (n < 0)
        for (n = 0; pair[n].key; n++)
            ;
    hd_array_pair *own = malloc(sizeof *own * ((size_t)n + 1));
    hd_array *a = NULL;
    for (int i = 0; i < n; i++)
        if (own)
            own[i] = pair[i];
        else
            give_up(pair[i].value);
    if (own)
        a = dict_of(own, n);
    else
        no_memory(sizeof *own * ((size_t)n + 1));
    free(own);
    return a;
}

hd_array *hd_array_tuple_n(hd_array *const *part, int n)
{
    OP(hd_array_tuple_n);
    if (list_in("hd_array_tuple", part, n, 0))
        return NULL;
    hd_array *a = array_inner(false, n);
    for (int i = 0; i < n; i++) {
        if (a)
            a->part[i] = part[i];
        else
            give_up(part[i]);
        if (!part[i])
            error_pass();
    }
    return a ? array_whole(a) : NULL;
}

hd_array *hd_array_get(const hd_array *a, const char *key)
{
    if (!a || !array_alive("hd_array_get", -1, a))
        return NULL;
    for (int i = 0; key && a->key && i < a->n; i++)
        if (!strcmp(a->key[i], key))
            return a->part[i];
    error_begin();
    error_set(E_INVAL, a->key ? "hd_array_get: the dictionary has no key \"%s\"" :
              "hd_array_get: \"%s\" of what is no dictionary",
              key ? key : "NULL");
    return NULL;
}

hd_array *hd_array_nth(const hd_array *a, int i)
{
    if (!a || !array_alive("hd_array_nth", -1, a))
        return NULL;
    if (i >= 0 && i < a->n)
        return a->part[i];
    error_begin();
    error_set(E_INVAL, "hd_array_nth: there is no part %d of %d", i, a->n);
    return NULL;
}

int hd_array_len(const hd_array *a) { return a && array_alive("hd_array_len", -1, a) ? a->n : 0; }

const char *hd_array_field_name(const hd_array *a, int i)
{
    return a && array_alive("hd_array_field_name", -1, a) && a->key && i >= 0 && i < a->n ? a->key[i] : NULL;
}

/* ---- structs */

static hd_array *pack_item(const hd_field *f, hd_array *const *leaf)
{
    hd_array *x = f->inner ? hd_array_pack_n(f->inner, leaf) : *leaf;
    if (!x && !error_pending())
        error_set(E_INVAL, "hd_array_pack: the field %s is missing", f->name);
    return x;
}

/* The value of one field: an item, or a tuple of them. */
static hd_array *pack_field(const hd_field *f, hd_array *const *leaf)
{
    int size = f->inner ? field_leaves(f->inner) : 1;
    if (!field_list(f))
        return pack_item(f, leaf);
    hd_array **item = malloc(f->count * sizeof *item), *list = NULL;
    for (size_t i = 0; i < f->count; i++, leaf += size) {
        hd_array *x = pack_item(f, leaf);
        if (item)
            item[i] = x;
        else
            give_up(x);
    }
    if (item)
        list = hd_array_tuple_n(item, (int)f->count);
    else
        no_memory(f->count * sizeof *item);
    free(item);
    return list;
}

hd_array *hd_array_pack_n(const hd_field *f, hd_array *const *leaf)
{
    OP(hd_array_pack_n);
    if (fields_in("hd_array_pack", f) || list_in("hd_array_pack", leaf, field_leaves(f), 0))
        return NULL;
    int n = field_count(f), nleaf = field_leaves(f);
    hd_array_pair *pair = malloc(sizeof *pair * ((size_t)n + 1));
    hd_array *a = NULL;
    for (int i = 0; !pair && i < nleaf; i++)
        give_up(leaf[i]);
    for (int i = 0; pair && i < n; i++) {
        pair[i] = (hd_array_pair){ field_key(&f[i]), pack_field(&f[i], leaf) };
        leaf += field_items(&f[i]) * (f[i].inner ? field_leaves(f[i].inner) : 1);
    }
    if (pair)
        a = dict_of(pair, n);
    else
        no_memory(sizeof *pair * ((size_t)n + 1));
    free(pair);
    return a;
}

static hd_array **unpack(const hd_array *a, const hd_field *f, hd_array **out)
{
    for (; f->name; f++) {
        const hd_array *x = a ? hd_array_get(a, field_key(f)) : NULL;
        bool list = field_list(f);
        if (x && list && x->n != (int)f->count)
            error_set(E_INVAL, "hd_array_unpack: the field %s has %d items, the tree %d", f->name,
                (int)f->count, x->n);
        for (int i = 0; i < field_items(f); i++) {
            const hd_array *part = list && x ? (i < x->n ? x->part[i] : NULL) : x;
            if (f->inner)
                out = unpack(part, f->inner, out);
            else
                *out++ = (hd_array *)(uintptr_t)part;
        }
    }
    return out;
}

hd_array *const *hd_array_unpack_n(const hd_array *a, const hd_field *f)
{
    enum { MOST = 1024 };
    static _Thread_local hd_array *out[MOST];
    static hd_array *const nothing[MOST];
    if (fields_in("hd_array_unpack", f))
        return nothing;
    if (field_leaves(f) > MOST) {
        error_begin();
        error_set(E_INVAL, "hd_array_unpack: a struct of more than %d arrays", MOST);
        return nothing;
    }
    unpack(a, f, out);
    return out;
}

/* ==================== questions */

static const hd_array *leaf(const char *what, const hd_array *a)
{
    if (!a || !array_alive(what, -1, a))
        return NULL;
    if (!a->tree)
        return a;
    error_begin();
    error_set(E_INVAL,
        "%s: an array is wanted, not a tree: take its parts with hd_array_get or hd_array_nth", what);
    return NULL;
}

enum hd_dtype hd_array_dtype(const hd_array *a)
{
    a = leaf("hd_array_dtype", a);
    return a ? (enum hd_dtype)a->type.dt : HD_NODTYPE;
}

hd_ints hd_array_shape(const hd_array *a)
{
    a = leaf("hd_array_shape", a);
    return a ? ints_out(type_shape(&a->type)) : (hd_ints){ 0 };
}

int64_t hd_array_dim(const hd_array *a, int axis)
{
    a = leaf("hd_array_dim", a);
    int k = a ? axis + (axis < 0 ? a->type.rank : 0) : -1;
    if (a && k >= 0 && k < a->type.rank)
        return a->type.dim[k];
    if (a) {
        error_begin();
        error_set(E_INVAL, "hd_array_dim: axis %d is out of range for an array of %d; axes are %d to %d",
            axis, a->type.rank, -a->type.rank, a->type.rank - 1);
    }
    return 0;
}

int64_t hd_array_size(const hd_array *a)
{
    a = leaf("hd_array_size", a);
    return a ? type_size(&a->type) : 0;
}

const char *hd_array_device(const hd_array *a)
{
    if (a && !array_alive("hd_array_device", -1, a))
        return "";
    while (a && a->tree)
        a = a->n ? a->part[0] : NULL;
    return a && a->store ? store_places(a->store) : "";
}

int hd_wait(const hd_array *a)
{
    OP(hd_wait);
    if (!a)
        return error_pass();
    error_begin();
    if (!array_alive("hd_wait", -1, a) || process_usable())
        return error_told((int)error_code());
    for (int i = 0; i < a->n; i++)
        if (hd_wait(a->part[i]))
            return (int)error_code();
    return a->store ? error_told(store_wait(a->store)) : 0;
}

bool hd_ready(const hd_array *a)
{
    OP(hd_ready);
    if (!a || !array_alive("hd_ready", -1, a))
        return false;
    for (int i = 0; i < a->n; i++)
        if (!hd_ready(a->part[i]))
            return false;
    return !a->store || store_ready(a->store);
}

static const hd_array *contents(const char *what, const hd_array *a)
{
    a = leaf(what, a);
    if (a && !a->store) {
        error_set(E_INVAL, "%s: the array is abstract: it has a type but no contents", what);
        return NULL;
    }
    return a;
}

int hd_read_n(const hd_array *x, enum hd_dtype d, void *dst, size_t count)
{
    OP(hd_read_n);
    if (!x)
        return error_pass();
    error_begin();
    const hd_array *a = contents("hd_read", x);
    if (!a)
        return error_told((int)error_code());
    if ((int)d != a->type.dt)
        return error_told(error_set(E_DTYPE, "hd_read: the array has another dtype: it is %s, not %s",
                                    dtype_name((Dtype)a->type.dt),
                                    dtype_name((Dtype)d)));
    if (count != (size_t)type_size(&a->type))
        return error_told(error_set(E_SHAPE, "hd_read: the array has another size: %lld elements, not %zu",
                                    (long long)type_size(&a->type), count));
    if (count && !dst)
        return error_told(error_set(E_INVAL, "hd_read: there is no room to read into: the pointer is NULL"));
    return error_told(store_read(a->store, dst));
}

double hd_item(const hd_array *x)
{
    OP(hd_item);
    char b[16];
    if (!x)
        return error_pass(), NAN;
    error_begin();
    const hd_array *a = contents("hd_item", x);
    if (a && type_size(&a->type) != 1)
        error_set(E_SHAPE, "hd_item: the array has %lld elements, not 1", (long long)type_size(&a->type)),
            a = NULL;
    if (a && a->type.dt == DT_KEY)
        error_set(E_DTYPE, "hd_item: a key is no number; take its words with hd_key_data"), a = NULL;
    return a && !store_read(a->store, b) ? dtype_load_f((Dtype)a->type.dt, b) : NAN;
}

const void *hd_data(const hd_array *x)
{
    OP(hd_data);
    if (!x)
        return NULL;
    error_begin();
    const hd_array *a = contents("hd_data", x);
    return a ? store_host(a->store) : NULL;
}

/* ==================== elsewhere */

/* Where an array goes: to one device, or in shares along an axis to several. */
typedef struct Where { Device **device; int n; int64_t axis; bool ranks; } Where;

static int put_layout(const Type *t, const Where *w, Sharding *l)
{
    int64_t axis = w->axis + (w->axis < 0 ? t->rank : 0);
    if (axis < 0 || axis >= t->rank)
        return error_set(E_INVAL, "hd_put: an array of %d axes has no axis %lld to deal out to %d devices",
            t->rank, (long long)w->axis, w->n);
    if (t->dim[axis] % w->n)
        return error_set(E_SHAPE,
            "hd_put: axis %lld, of %lld, cannot be dealt out to %d devices: a multiple is wanted",
            (long long)axis, (long long)t->dim[axis], w->n);
    *l = sharding_rows(t, w->n, (int)axis);
    return 0;
}

static Store *put_store(const hd_array *a, const void *where)
{
    const Where *w = where;
    Sharding l = sharding_rows(&a->type, 1, -1);
    if (w->n == 1 && !w->ranks) {
        Mem *m = store_on(a->store, w->device[0], false);
        return m ? store_new(a->store->bytes, NULL, m) : NULL;
    }
    return w->n > 1 && put_layout(&a->type, w, &l) ? NULL : store_dealt(a->store, &l, w->device, w->ranks);
}

int array_bring(const hd_array *a)
{
    int e = a->store ? store_bring(a->store) : 0;
    for (int i = 0; i < a->n && !e; i++)
        e = array_bring(a->part[i]);
    return e;
}

hd_array *array_each(const char *what, const hd_array *a, ToStore *f, const void *env)
{
    if (a->tree) {
        hd_array *y = array_inner(a->key, a->n);
        for (int i = 0; y && i < a->n && (y->part[i] = array_each(what, a->part[i], f, env)); i++)
            if (a->key)
                y->key[i] = a->key[i];
        return y ? array_whole(y) : NULL;
    }
    if (!contents(what, a))
        return NULL;
    Store *s = f(a, env);
    return s ? array_leaf(&a->type, s) : NULL;
}

hd_array *hd_put_n(const hd_array *a, const char *device, const hd_put_opts *opts)
{
    OP(hd_put_n);
    OPTIONS(hd_put_opts, opts);
    if (!a || !array_alive("hd_put", -1, a))
        return NULL;
    error_begin();
    Where w = { .axis = opts->axis, .ranks = device && devices_ranked(device) };
    w.n = devices_listed("hd_put", device, &w.device);
    hd_array *y = w.n && !array_bring(a) ? array_each("hd_put", a, put_store, &w) : NULL;
    free(w.device);
    return y;
}
