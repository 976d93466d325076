/*
 * signature.c - the trees of a program's arguments and results, as two lines before its text.
 *
 *     ;args ({b: *, w: *}, *)
 *     ;result (*, {loss: *})
 *
 * A graph knows arrays only; these lines say which dictionaries and tuples they are the leaves of, so that a
 * printed program is called with the arguments of the function it was printed from. Without a line arguments
 * are as many arrays, and the result is one array or a tuple of them.
 *
 *     tree = "*" | "none" | "{" [key ":" tree {"," key ":" tree}] "}" | "(" [tree {"," tree}] ")"
 *     key  = letters, digits and _, or a string in which \xNN is a byte
 */
#include "api.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ==================== writing */

static bool plain_key(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    return n && !s[n];
}

static void write(Text *t, const Tree *tree)
{
    if (tree->kind == T_LEAF || tree->kind == T_WEAK || tree->kind == T_NIL) {
        text_add(t, tree->kind == T_NIL ? "none" : "*");
        return;
    }
    text_char(t, tree->key ? '{' : '(', 1);
    for (int i = 0; i < tree->n; i++) {
        text_add(t, i ? ", " : "");
        if (tree->key && plain_key(tree->key[i]))
            text_add(t, "%s: ", tree->key[i]);
        else if (tree->key)
            text_char(t, '"', 1), text_name(t, tree->key[i]), text_add(t, "\": ");
        write(t, tree->part[i]);
    }
    text_char(t, tree->key ? '}' : ')', 1);
}

/* A tuple of arrays, which needs no line. */
static bool flat_tuple(const Tree *t)
{
    bool flat = t->kind == T_TUPLE;
    for (int i = 0; flat && i < t->n; i++)
        flat = t->part[i]->kind == T_LEAF || t->part[i]->kind == T_WEAK;
    return flat;
}

void signature_print(const Tree *args, const Tree *out, Text *t)
{
    if (!flat_tuple(args))
        text_add(t, ";args "), write(t, args), text_char(t, '\n', 1);
    if (out->kind != T_LEAF && out->kind != T_WEAK && (!flat_tuple(out) || out->n < 2))
        text_add(t, ";result "), write(t, out), text_char(t, '\n', 1);
}

/* ==================== reading */

enum { DEEPEST = 200 };                         /* trees in trees */
typedef struct Reader { const char *p, *word; const Tree *const *next; int left, depth; } Reader;

static const Tree *wrong(const Reader *r, const char *what)
{
    if (!error_pending())
        error_set(E_INVAL, "hd_parse: ;%s: %s, found '%.*s'", r->word, what, (int)strcspn(r->p, "\n"), r->p);
    return NULL;
}

static char peek(Reader *r)
{
    while (*r->p == ' ' || *r->p == '\t' || *r->p == '\r')
        r->p++;
    return *r->p;
}

static bool take(Reader *r, char c)
{
    bool is = peek(r) == c;
    r->p += is;
    return is;
}

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *string(Reader *r)
{
    char *s = NEWS(char, strcspn(r->p, "\n") + 1), *to = s;
    while (*r->p && *r->p != '"' && *r->p != '\n') {
        bool code = r->p[0] == '\\' && r->p[1] == 'x' && hex(r->p[2]) >= 0 && hex(r->p[3]) >= 0;
        *to++ = code ? (char)(16 * hex(r->p[2]) + hex(r->p[3])) : *r->p;
        r->p += code ? 4 : 1;
    }
    return take(r, '"') ? intern(s) : (wrong(r, "a string ends with \""), NULL);
}

static const char *key(Reader *r)
{
    peek(r);
    if (take(r, '"'))
        return string(r);
    const char *from = r->p;
    while (isalnum((unsigned char)*r->p) || *r->p == '_')
        r->p++;
    return r->p > from ? intern(arena_text("%.*s", (int)(r->p - from), from)) :
                         (wrong(r, "a key is wanted"), NULL);
}

static const Tree *tree(Reader *r);

static const Tree *inner(Reader *r, char close)
{
    int n = 0, cap = 0, keys = 0, key_cap = 0;
    const Tree **part = NULL, *t;
    const char **name = NULL, *k;
    while (!take(r, close)) {
        if (n && !take(r, ','))
            return wrong(r, arena_text("\",\" or \"%c\" is wanted", close));
        if (close == '}') {
            if (!(k = key(r)) || !take(r, ':'))
                return wrong(r, "\":\" is wanted");
            PUSH(name, keys, key_cap, k);
        }
        if (!(t = tree(r)))
            return NULL;
        PUSH(part, n, cap, t);
    }
    if (close == ')')
        return tree_tuple(part, n);
    for (int i = 1; i < n; i++)
        if (strcmp(name[i - 1], name[i]) >= 0)
            return wrong(r, "keys are in order, each once");
    return tree_dict(name, part, n);
}

static const Tree *tree(Reader *r)
{
    if (r->depth == DEEPEST)
        return wrong(r, "trees are too deep");
    if (take(r, '*'))
        return r->left-- > 0 ? *r->next++ : wrong(r, "more leaves than the function has arrays");
    if (peek(r) && !strncmp(r->p, "none", 4))
        return r->p += 4, tree_nil();
    char close = take(r, '{') ? '}' : take(r, '(') ? ')' : 0;
    if (!close)
        return wrong(r, "*, none, {...} or (...) is wanted");
    r->depth++;
    const Tree *t = inner(r, close);
    r->depth--;
    return t;
}

/* The line that begins with ;word, before the function does; NULL: none. */
static const char *line_of(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = text; *s; s += *s == '\n') {
        s += strspn(s, " \t\r");
        if (*s != ';' && *s != '\n')
            return NULL;
        if (*s == ';' && !strncmp(s + 1, word, n) && s[1 + n] == ' ')
            return s + 2 + n;
        s += strcspn(s, "\n");
    }
    return NULL;
}

int signature_parse(const char *text, const char *word, const Tree *leaves, const Tree **out)
{
    Reader r = { .p = line_of(text, word), .word = word, .next = leaves->part, .left = leaves->n };
    *out = NULL;
    if (!r.p)
        return 0;
    const Tree *t = tree(&r);
    if (t && r.left)
        t = wrong(&r, "fewer leaves than the function has arrays");
    if (t && peek(&r) && *r.p != '\n')
        t = wrong(&r, "the end of the line is wanted");
    *out = t;
    return t ? 0 : (int)error_code();
}
