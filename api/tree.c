/*
 * tree.c - the shape of arguments and results: dictionaries and tuples whose leaves are array types.
 *
 * In: parts. Out: immutable nodes in the current arena.
 * Invariant: a dictionary's keys are interned, distinct and in order of strcmp, so equal trees have equal
 * leaves in equal places, and keys compare by pointer.
 */
#include "api.h"
#include <stdlib.h>
#include <string.h>

static Tree *node(TreeKind kind)
{
    Tree *t = NEW(Tree);
    t->kind = kind;
    return t;
}

const Tree *tree_leaf(const Type *type)
{
    Tree *t = node(T_LEAF);
    t->type = *type, t->nleaf = 1;
    return t;
}

const Tree *tree_weak(double value)
{
    Tree *t = node(T_WEAK);
    t->type = type_scalar(DT_F32), t->value = value, t->nleaf = 1;
    return t;
}

const Tree *tree_nil(void)
{
    return node(T_NIL);
}

enum { DEEPEST = 1000 };

bool tree_depth_ok(int depth)
{
    if (depth > DEEPEST)
        error_set(E_INVAL, "a tree is nested more than %d deep: a list is a tuple of many parts", DEEPEST);
    return depth <= DEEPEST;
}

static const Tree *inner(TreeKind kind, const char *const *key, const Tree *const *part, int n)
{
    Tree *t = node(kind);
    const Tree **p = NEWS(const Tree *, n);
    const char **k = kind == T_DICT ? NEWS(const char *, n) : NULL;
    for (int i = 0; i < n; i++) {
        p[i] = part[i], t->nleaf += part[i]->nleaf;
        t->depth = part[i]->depth > t->depth ? part[i]->depth : t->depth;
        if (k)
            k[i] = key[i];
    }
    t->n = n, t->part = p, t->key = k, t->depth++;
    return t;
}

const Tree *tree_tuple(const Tree *const *part, int n) { return inner(T_TUPLE, NULL, part, n); }
const Tree *tree_dict(const char *const *key, const Tree *const *part, int n)
{
    return inner(T_DICT, key, part, n);
}
const Tree *tree_like(const Tree *t, const Tree *const *part) { return inner(t->kind, t->key, part, t->n); }

static bool is_inner(const Tree *t) { return t->kind == T_DICT || t->kind == T_TUPLE; }

/* The same structure with each leaf replaced. */
static const Tree *mapped(const Tree *t, const Tree *(*f)(const Tree *, void *), void *env)
{
    if (!is_inner(t))
        return f(t, env);
    const Tree **p = NEWS(const Tree *, t->n);
    for (int i = 0; i < t->n; i++)
        p[i] = mapped(t->part[i], f, env);
    return tree_like(t, p);
}

static const Tree *next_type(const Tree *t, void *env)
{
    const Type **next = env;
    return t->nleaf ? tree_leaf((*next)++) : t;
}
const Tree *tree_retype(const Tree *t, const Type **next) { return mapped(t, next_type, next); }

static const Tree *strong(const Tree *t, void *env)
{
    (void)env;
    return t->kind == T_WEAK ? tree_leaf(&t->type) : t;
}
const Tree *tree_strong(const Tree *t) { return mapped(t, strong, NULL); }

static const Tree *copied(const Tree *t, void *env)
{
    (void)env;
    Tree *r = NEW(Tree);
    *r = *t;
    return r;
}
const Tree *tree_copy(const Tree *t) { return mapped(t, copied, NULL); }

static bool same(const Tree *a, const Tree *b, bool types)
{
    if (types ? a->kind != b->kind : is_inner(a) != is_inner(b) || a->nleaf != b->nleaf || a->n != b->n)
        return false;
    if (!is_inner(a))
        return !types || (type_equal(&a->type, &b->type) && !memcmp(&a->value, &b->value, sizeof a->value));
    if (a->kind != b->kind || a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if ((a->key && a->key[i] != b->key[i]) || !same(a->part[i], b->part[i], types))
            return false;
    return true;
}
bool tree_equal(const Tree *a, const Tree *b) { return same(a, b, true); }
bool tree_same_shape(const Tree *a, const Tree *b) { return same(a, b, false); }

static bool is_empty(const Tree *t) { return t->kind == T_NIL || (t->kind == T_TUPLE && !t->n); }

static bool given(const Tree *want, const Tree *have, bool absent, int **got, int *at)
{
    if (is_empty(have) && (absent || is_empty(want))) {
        for (int k = 0; k < want->nleaf; k++)
            *(*got)++ = -1;
        return true;
    }
    if (want->nleaf && !is_inner(want)) {
        *(*got)++ = (*at)++;
        return (have->kind == T_LEAF && type_equal(&want->type, &have->type)) ||
            (have->kind == T_WEAK && !want->type.rank);
    }
    if (want->kind != have->kind || want->n != have->n)
        return false;
    for (int k = 0; k < want->n; k++)
        if ((want->key && want->key[k] != have->key[k]) ||
            !given(want->part[k], have->part[k], absent, got, at))
            return false;
    return true;
}

bool tree_given(const Tree *want, const Tree *have, bool absent, int *got)
{
    int at = 0;
    return given(want, have, absent, &got, &at);
}

static uint64_t hash(const Tree *t, uint64_t h)
{
    int64_t w[3] = { t->kind, t->n, 0 };
    h = hash_bytes(w, sizeof w, h);
    if (t->kind == T_LEAF)
        h = hash_bytes(&t->type, sizeof t->type, h);
    if (t->kind == T_WEAK)
        h = hash_bytes(&t->value, sizeof t->value, h);
    for (int i = 0; i < t->n; i++) {
        if (t->key)
            h = hash_bytes(&t->key[i], sizeof t->key[i], h);
        h = hash(t->part[i], h);
    }
    return h;
}
uint64_t tree_hash(const Tree *t) { return hash(t, 0); }

static int leaves(const Tree *t, const Tree **out, int n)
{
    if (!is_inner(t)) {
        if (t->nleaf)
            out[n++] = t;
        return n;
    }
    for (int i = 0; i < t->n; i++)
        n = leaves(t->part[i], out, n);
    return n;
}
void tree_leaves(const Tree *t, const Tree **out) { leaves(t, out, 0); }

void tree_types(const Tree *t, Type *out)
{
    const Tree **l = NEWS(const Tree *, t->nleaf);
    tree_leaves(t, l);
    for (int i = 0; i < t->nleaf; i++)
        out[i] = l[i]->type;
}

static void write(Text *s, const Tree *t)
{
    switch (t->kind) {
    case T_LEAF: text_add(s, "%s", type_text(&t->type)); break;
    case T_WEAK: text_add(s, "constant %g", t->value); break;
    case T_NIL: text_add(s, "nothing"); break;
    case T_DICT:
    case T_TUPLE:
        text_char(s, t->kind == T_DICT ? '{' : '(', 1);
        for (int i = 0; i < t->n; i++) {
            text_add(s, "%s", i ? ", " : "");
            if (t->key)
                text_add(s, "%s: ", t->key[i]);
            write(s, t->part[i]);
        }
        text_char(s, t->kind == T_DICT ? '}' : ')', 1);
    }
}

static const char *arena_take(Text *s)
{
    const char *r = arena_text("%s", s->s ? s->s : "");
    text_free(s);
    return r;
}

const char *tree_text(const Tree *t)
{
    Text s = { 0 };
    write(&s, t);
    return arena_take(&s);
}

const char *tree_path(const Tree *t, int leaf)
{
    Text s = { 0 };
    while (is_inner(t)) {
        int i = 0;
        for (; i < t->n - 1 && leaf >= t->part[i]->nleaf; i++)
            leaf -= t->part[i]->nleaf;
        if (t->key)
            text_add(&s, ".%s", t->key[i]);
        else
            text_add(&s, "[%d]", i);
        t = t->part[i];
    }
    return arena_take(&s);
}

typedef struct Keyed { const char *key; int at; } Keyed;
static int by_key(const void *a, const void *b)
{
    return strcmp(((const Keyed *)a)->key, ((const Keyed *)b)->key);
}

int key_order(const char *const *key, int n, int *order)
{
    Keyed *k = NEWS(Keyed, n);
    for (int i = 0; i < n; i++)
        if (!key[i])
            return error_set(E_INVAL, "a dictionary's key %d of %d is NULL", i, n);
    for (int i = 0; i < n; i++)
        k[i] = (Keyed){ key[i], i };
    qsort(k, (size_t)n, sizeof *k, by_key);
    for (int i = 0; i < n; i++)
        order[i] = k[i].at;
    for (int i = 1; i < n; i++)
        if (!strcmp(key[order[i - 1]], key[order[i]]))
            return error_set(E_INVAL, "a dictionary has the key \"%s\" twice", key[order[i]]);
    return 0;
}
