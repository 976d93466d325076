/*
 * symbol.c - what programs ask of symbols and make of them: constants, types, dictionaries, tuples, structs.
 *
 * In: symbols of the current trace or of those around it. Out: symbols of the current one; parts of a tree
 * as they are.
 */
#include "api.h"
#include <string.h>

/* ==================== constants and questions */

static const Type *leaf_type(hd x)
{
    static const Type weak = { .dt = DT_F32 };
    const Trace *t = sym_home(x);
    if (!t)
        return NULL;
    const Node *n = sym_node(x, t);
    if (n && n->tree->kind != T_WEAK) {
        error_set(E_INVAL, "an array is wanted here, not the tree %s", tree_text(n->tree));
        return NULL;
    }
    return n ? &weak : &t->g->type[x.ref];
}

hd hd_c(double value)
{
    OP(hd_c);
    return sym_const(value);
}

static hd const_of_array(hd_array *a)
{
    if (a->tree) {
        hd *part = NEWS(hd, a->n);
        for (int i = 0; i < a->n; i++)
            if (part[i] = const_of_array(a->part[i]), !part[i].trace)
                return HD_NIL;
        return a->key ? sym_dict(a->key, part, a->n) : sym_tuple(part, a->n);
    }
    if (a->abstract) {
        error_set(E_INVAL, "hd_const: an abstract array has no contents");
        return HD_NIL;
    }
    Arena *arena = arena_use(entry_top->arena);
    PUSH(entry_top->kept, entry_top->nkept, entry_top->kept_cap, store_keep(a->store));
    arena_use(arena);
    return sym_of(capture(trace_top, (Cap){ .data = a->store, .type = a->type }));
}

hd hd_const(hd_array *a)
{
    OP(hd_const);
    if (!a && !error_pending())
        error_set(E_INVAL, "hd_const: the array is NULL");
    return a && tracing() && array_alive("hd_const", -1, a) ? const_of_array(a) : HD_NIL;
}

hd hd_lit_n(enum hd_dtype d, hd_ints shape, const void *data)
{
    OP(hd_lit_n);
    Type t;
    if (!tracing() || array_type("hd_lit", d, shape, &t))
        return HD_NIL;
    if (data || !type_size(&t))
        return sym_of(Data(t, data));
    error_set(E_INVAL, "hd_lit: data is NULL");
    return HD_NIL;
}

enum hd_dtype hd_dtype(hd x)
{
    const Type *t = leaf_type(x);
    return t ? (enum hd_dtype)t->dt : HD_NODTYPE;
}

hd_ints hd_shape(hd x)
{
    const Type *t = leaf_type(x);
    return t ? ints_out(type_shape(t)) : (hd_ints){ 0 };
}

int64_t hd_dim(hd x, int axis)
{
    const Type *t = leaf_type(x);
    int a = t ? axis_of("hd_dim", axis, t->rank) : -1;
    return a < 0 ? 0 : t->dim[a];
}

int64_t hd_size(hd x)
{
    const Type *t = leaf_type(x);
    return t ? type_size(t) : 0;
}

const char *hd_str(hd x)
{
    static _Thread_local char buffer[8][256];
    static _Thread_local int turn;
    char *b = buffer[turn = (turn + 1) % 8];
    size_t n = sizeof buffer[0];
    const Trace *t = sym_holder(x);
    const Node *d = t ? sym_node(x, t) : NULL;
    if (!x.trace)
        return "nil";
    if (!t)
        return "a symbol whose trace has ended";
    if (d) {
        snprintf(b, n, "%s", tree_text(d->tree));
        return b;
    }
    const Ins *i = t->g->def[x.ref];
    int k = snprintf(b, n, "%s %s", type_text(&t->g->type[x.ref]), i ? optab[i->op].name : "argument");
    if (i && i->loc.file && k > 0 && (size_t)k < n)
        snprintf(b + k, n - (size_t)k, " at %s:%d", i->loc.file, i->loc.line);
    return b;
}

int sym_count(const char *what, const hd *x, int n)
{
    if (list_in(what, x, n, -1))
        return -1;
    if (n < 0)
        for (n = 0; x[n].trace != UINT32_MAX; n++)
            ;
    return n;
}

hd hd_tuple_n(const hd *x, int n)
{
    OP(hd_tuple_n);
    n = sym_count("hd_tuple", x, n);
    return n < 0 ? HD_NIL : sym_tuple(x, n);
}

hd hd_dict_n(const hd_pair *p, int n)
{
    OP(hd_dict_n);
    if (!tracing() || list_in("hd_dict", p, n, -1))
        return HD_NIL;
    if (n < 0)
        for (n = 0; p[n].key; n++)
            ;
    const char **k = NEWS(const char *, n);
    hd *x = NEWS(hd, n);
    for (int i = 0; i < n; i++)
        k[i] = p[i].key, x[i] = p[i].value;
    return sym_dict(k, x, n);
}

static const Node *tree_node(const char *what, hd x)
{
    const Trace *t = sym_home(x);
    const Node *n = t ? sym_node(x, t) : NULL;
    if (t && (!n || n->tree->kind == T_WEAK)) {
        error_set(E_INVAL, "%s: %s is an array, not a tree", what, hd_str(x));
        return NULL;
    }
    return n;
}

hd hd_get(hd tree, const char *key)
{
    OP(hd_get);
    const Node *n = tree_node("hd_get", tree);
    if (!n)
        return HD_NIL;
    for (int i = 0; n->tree->key && i < n->tree->n; i++)
        if (key && !strcmp(n->tree->key[i], key))
            return n->part[i];
    error_set(E_INVAL, "hd_get: there is no key \"%s\" in %s", key ? key : "NULL", tree_text(n->tree));
    return HD_NIL;
}

hd hd_nth(hd tree, int i)
{
    OP(hd_nth);
    const Node *n = tree_node("hd_nth", tree);
    if (n && i >= 0 && i < n->tree->n)
        return n->part[i];
    if (n)
        error_set(E_INVAL, "hd_nth: there is no part %d in %s", i, tree_text(n->tree));
    return HD_NIL;
}

int hd_len(hd tree)
{
    const Trace *t = sym_home(tree);
    const Node *n = t ? sym_node(tree, t) : NULL;
    return n ? n->tree->n : 0;
}

const char *hd_field_name(hd tree, int i)
{
    const Node *n = tree_node("hd_field_name", tree);
    return n && n->tree->key && i >= 0 && i < n->tree->n ? n->tree->key[i] : NULL;
}

int hd_leaf_count(hd tree)
{
    int n = sym_leaf_count(tree);
    return n < 0 ? 0 : n;
}

hd hd_leaf(hd tree, int i)
{
    OP(hd_leaf);
    int n = 0;
    hd *leaf = sym_leaves(tree, &n);
    if (leaf && i >= 0 && i < n)
        return leaf[i];
    if (leaf)
        error_set(E_INVAL, "hd_leaf: there is no leaf %d in %s", i, tree_text(sym_type(tree)));
    return HD_NIL;
}

static hd apply_leaf(const hd *x, int n, void *f) { return apply(f, x, n); }

hd hd_tree_map_n(hd_fn *f, const hd *trees, int n)
{
    OP(hd_tree_map_n);
    n = fn_in("hd_tree_map", f) ? sym_count("hd_tree_map", trees, n) : -1;
    return n < 0 ? HD_NIL : sym_map("hd_tree_map", apply_leaf, f, n, trees);
}

/* ==================== structs */

int fields_in(const char *what, const hd_field *f)
{
    return f ? 0 : (error_begin(), error_set(E_INVAL, "%s: the list of fields is NULL", what));
}

/* Items of one field. */
int field_items(const hd_field *f) { return field_list(f) ? (int)f->count : 1; }

int field_leaves(const hd_field *f)
{
    int n = 0;
    for (; f->name; f++)
        n += field_items(f) * (f->inner ? field_leaves(f->inner) : 1);
    return n;
}

int field_count(const hd_field *f)
{
    int n = 0;
    while (f[n].name)
        n++;
    return n;
}

bool field_list(const hd_field *f) { return strchr(f->name, '[') != NULL; }

const char *field_key(const hd_field *f)
{
    char name[256];
    if (!field_list(f))
        return f->name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(f->name, "["), f->name);
    return intern(name);
}

static hd pack(const hd_field *f, const hd *leaf);

/* The value of one field, or of each item of a list of them. */
static hd pack_field(const hd_field *f, const hd *leaf)
{
    int n = field_items(f), size = f->inner ? field_leaves(f->inner) : 1;
    hd *item = NEWS(hd, n);
    for (int i = 0; i < n; i++, leaf += size) {
        item[i] = f->inner ? pack(f->inner, leaf) : *leaf;
        if (!item[i].trace && !error_pending())
            error_set(E_INVAL, "hd_pack: the field %s is missing", f->name);
    }
    return field_list(f) ? sym_tuple(item, n) : item[0];
}

static hd pack(const hd_field *f, const hd *leaf)
{
    int n = field_count(f);
    const char **key = NEWS(const char *, n);
    hd *part = NEWS(hd, n);
    for (int i = 0; i < n; i++) {
        key[i] = field_key(&f[i]);
        part[i] = pack_field(&f[i], leaf);
        leaf += field_items(&f[i]) * (f[i].inner ? field_leaves(f[i].inner) : 1);
    }
    return error_pending() ? HD_NIL : sym_dict(key, part, n);
}

hd hd_pack_n(const hd_field *f, const hd *leaves)
{
    OP(hd_pack_n);
    return tracing() && !fields_in("hd_pack", f) && !list_in("hd_pack", leaves, field_leaves(f), 0) ?
        pack(f, leaves) :
        HD_NIL;
}

static hd *unpack(hd tree, const hd_field *f, hd *out);

static hd *unpack_field(hd x, const hd_field *f, hd *out)
{
    if (x.trace && f->inner)
        return unpack(x, f->inner, out);
    *out = x;
    return out + (f->inner ? field_leaves(f->inner) : 1);
}

/* The items of a list; HD_NIL for each after an error. */
static hd *unpack_list(hd x, const hd_field *f, hd *out)
{
    const Node *n = x.trace ? tree_node("hd_unpack", x) : NULL;
    if (n && n->tree->n != (int)f->count)
        error_set(E_INVAL, "hd_unpack: the field %s has %d items, the tree has %s", f->name, (int)f->count,
                  tree_text(n->tree));
    for (int i = 0; i < (int)f->count; i++)
        out = unpack_field(n && !error_pending() ? hd_nth(x, i) : HD_NIL, f, out);
    return out;
}

static hd *unpack(hd tree, const hd_field *f, hd *out)
{
    const Node *n = tree_node("hd_unpack", tree);
    if (!n)
        return out;
    if (n->tree->n != field_count(f))
        error_set(E_INVAL, "hd_unpack: the struct has %d fields, the tree is %s", field_count(f),
            tree_text(n->tree));
    for (; f->name; f++) {
        hd x = error_pending() ? HD_NIL : hd_get(tree, field_key(f));
        out = field_list(f) ? unpack_list(x, f, out) : unpack_field(x, f, out);
    }
    return out;
}

const hd *hd_unpack_n(hd tree, const hd_field *f)
{
    static const hd nothing[256];
    OP(hd_unpack_n);
    if (fields_in("hd_unpack", f))
        return nothing;
    int n = field_leaves(f);
    if (!sym_home(tree) && n <= 256)
        return nothing;
    hd *out = NEWS(hd, n);
    if (tree.trace)
        unpack(tree, f, out);
    return out;
}
