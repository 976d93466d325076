/*
 * axes.c - which axis of which leaf vmap maps: integers by argument, or text that mirrors trees.
 *
 *     axes   = item {"," item}             one for each argument (of out_tree: one for the result, or its
 *     parts)
 *     item   = integer | "none" | "{" key ":" item {"," key ":" item} "}" | "(" [item {"," item}] ")"
 * An integer or none stands for everything below it. Every key of a dictionary must be named.
 */
#include "api.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader { const char *what, *all, *at; } Reader;

static int complain(const Reader *r, const char *text)
{
    return error_set(
        E_INVAL, "%s: \"%s\", position %d: %s", r->what, r->all, (int)(r->at - r->all) + 1, text);
}

static char peek(Reader *r)
{
    while (isspace((unsigned char)*r->at))
        r->at++;
    return *r->at;
}

static bool take(Reader *r, char c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static void fill(const Tree *t, int32_t axis, int32_t **out)
{
    for (int i = 0; i < t->nleaf; i++)
        *(*out)++ = axis;
}

static int item(Reader *r, const Tree *t, int32_t **out);

static int tuple(Reader *r, const Tree *t, int32_t **out)
{
    if (t->kind != T_TUPLE)
        return complain(r, arena_text("here is no tuple but %s", tree_text(t)));
    r->at++;
    for (int i = 0; i < t->n; i++)
        if (i && !take(r, ','))
            return complain(r, arena_text("the tuple has %d parts", t->n));
        else if (item(r, t->part[i], out))
            return (int)error_code();
    take(r, ',');
    return take(r, ')') ? 0 : complain(r, arena_text("\")\" is wanted: the tuple has %d parts", t->n));
}

static int dictionary(Reader *r, const Tree *t, int32_t **out)
{
    if (t->kind != T_DICT)
        return complain(r, arena_text("here is no dictionary but %s", tree_text(t)));
    bool *seen = NEWS(bool, t->n);
    int32_t **at = NEWS(int32_t *, t->n);
    for (int i = 0; i < t->n; i++)
        at[i] = *out, *out += t->part[i]->nleaf;
    r->at++;
    while (peek(r) != '}') {
        size_t n = strcspn(r->at, ":,{}()");
        const char *key = r->at;
        while (n && isspace((unsigned char)key[n - 1]))
            n--;
        int k = 0;
        while (k < t->n && (strlen(t->key[k]) != n || memcmp(t->key[k], key, n)))
            k++;
        if (k == t->n)
            return complain(r, arena_text("there is no key \"%.*s\" in %s", (int)n, key, tree_text(t)));
        if (seen[k])
            return complain(r, arena_text("the key \"%s\" is named twice", t->key[k]));
        seen[k] = true;
        r->at += n;
        if (!take(r, ':'))
            return complain(r, "\":\" is wanted");
        if (item(r, t->part[k], &at[k]))
            return (int)error_code();
        if (!take(r, ',') && peek(r) != '}')
            return complain(r, "\",\" or \"}\" is wanted");
    }
    r->at++;
    for (int k = 0; k < t->n; k++)
        if (!seen[k])
            return complain(r, arena_text("the key \"%s\" is not named", t->key[k]));
    return 0;
}

static int item(Reader *r, const Tree *t, int32_t **out)
{
    char c = peek(r), *end;
    if (c == '{')
        return dictionary(r, t, out);
    if (c == '(')
        return tuple(r, t, out);
    if (!strncmp(r->at, "none", 4) && !isalnum((unsigned char)r->at[4]) && r->at[4] != '_') {
        r->at += 4;
        fill(t, HD_NONE, out);
        return 0;
    }
    long v = strtol(r->at, &end, 10);
    if (end == r->at || v < -MAXRANK || v > MAXRANK)
        return complain(r, "an axis, none, {...} or (...) is wanted");
    r->at = end;
    fill(t, (int32_t)v, out);
    return 0;
}

int axes_parse(const char *what, const char *text, const Tree *const *part, int n, int32_t *axis)
{
    Reader r = { what, text, text };
    for (int i = 0; i < n; i++)
        if (i && !take(&r, ','))
            return complain(
                &r, arena_text("%d item%s wanted, separated by commas", n, n == 1 ? " is" : "s are"));
        else if (item(&r, part[i], &axis))
            return (int)error_code();
    return peek(&r) ?
        complain(&r, arena_text("%d item%s wanted, and this is one more", n, n == 1 ? " is" : "s are")) :
        0;
}

const char *map_name(const hd_fn *f) { return f->key.kind == FN_PMAP ? "hd_pmap" : "hd_vmap"; }

/* Counts axes from the front, in an array of t's rank (out: one more, the lanes' own). */
static int settled(
    const hd_fn *f, const char *what, const char *name, const Tree *t, int32_t *axis, int extra)
{
    Type *type = NEWS(Type, t->nleaf);
    tree_types(t, type);
    for (int i = 0; i < t->nleaf; i++) {
        int rank = type[i].rank + extra;
        if (axis[i] == HD_NONE)
            continue;
        if (axis[i] < -rank || axis[i] >= rank)
            return error_set(E_INVAL, "%s: %s asks for axis %d of %s%s, which is %s", map_name(f), what,
                axis[i], name, tree_path(t, i), type_text(&type[i]));
        if (rank > MAXRANK)
            return error_set(E_SHAPE, "%s: %s%s would have more than %d axes", map_name(f), name,
                tree_path(t, i), MAXRANK);
        axis[i] += axis[i] < 0 ? rank : 0;
    }
    return 0;
}

int axes_in(const hd_fn *f, const Tree *args, int32_t *axis)
{
    loc_set(f->loc);
    if (f->key.in_tree) {
        if (axes_parse(arena_text("%s: in_tree", map_name(f)), f->key.in_tree, args->part, args->n, axis))
            return (int)error_code();
    } else {
        int32_t *at = axis;
        for (int i = 0; i < args->n; i++)
            fill(args->part[i], i < MAXRANK ? f->key.in_axes[i] : 0, &at);
        for (int i = args->n; i < MAXRANK; i++)
            if (f->key.in_axes[i])
                return error_set(E_INVAL, "%s: in_axes names argument %d, but %s is given %d argument%s",
                    map_name(f), i, fn_name(f), args->n, args->n == 1 ? "" : "s");
    }
    for (int i = 0; i < args->n; axis += args->part[i++]->nleaf)
        if (settled(f, "in_axes", arena_text("argument %d", i), args->part[i], axis, 0))
            return (int)error_code();
    return 0;
}

int axes_result(const hd_fn *f, const Tree *out, int32_t *axis)
{
    loc_set(f->loc);
    if (f->key.out_tree) {
        /* "0, none" for the parts of a tuple as well as "(0, none)" */
        bool parts = false;
        int depth = 0;
        for (const char *s = f->key.out_tree; *s; s++) {
            depth += (*s == '{' || *s == '(') - (*s == '}' || *s == ')');
            parts |= *s == ',' && !depth;
        }
        bool open = parts && out->kind == T_TUPLE;
        if (axes_parse(arena_text("%s: out_tree", map_name(f)), f->key.out_tree, open ? out->part : &out,
                open ? out->n : 1, axis))
            return (int)error_code();
    } else {
        int32_t *at = axis;
        fill(out, f->key.out_axes, &at);
    }
    return settled(f, "out_axes", "the result", out, axis, 1);
}
