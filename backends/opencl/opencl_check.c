/*
 * opencl_check.c - the verifier of printed OpenCL C, as far as that goes without its compiler.
 *
 * In:  the text of some kernels. Out: 0, or the error of the first line that breaks a rule: brackets match;
 * every kernel is there
 *      once, by its name; in each function a value vN is declared, with its type in front, before anything
 *      reads it.
 */
#include "opencl_c.h"

#include <string.h>

enum { DEPTH = 256 };

typedef struct Scan {
    const char *at;
    int line, depth;
    char open[DEPTH];                           /* brackets that are open */
    bool typed;                                 /* the word before this one is a word too: a type, mostly */
    unsigned char *declared; int ndeclared;     /* by number, of the function in work */
} Scan;

static int wrong(const Scan *s, const char *what)
{
    return error_set(E_INTERNAL, "OpenCL C, line %d of what is printed: %s", s->line, what);
}

static bool in_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int bracket(Scan *s, char c)
{
    static const char opens[] = "([{", closes[] = ")]}";
    if (strchr(opens, c)) {
        if (s->depth == DEPTH)
            return wrong(s, "brackets are too deep");
        s->open[s->depth++] = closes[strchr(opens, c) - opens];
        return 0;
    }
    if (!s->depth || s->open[--s->depth] != c)
        return wrong(s, "a bracket closes another one");
    if (!s->depth && c == '}')                  /* the end of a function */
        memset(s->declared, 0, (size_t)s->ndeclared);
    return 0;
}

/* vN alone: what values are called. -1: it is another word. */
static int value_number(const char *word, size_t n)
{
    int number = 0;
    if (n < 2 || n > 8 || *word != 'v')
        return -1;
    for (size_t k = 1; k < n; k++) {
        if (word[k] < '0' || word[k] > '9')
            return -1;
        number = 10 * number + word[k] - '0';
    }
    return number;
}

static int word(Scan *s, size_t n)
{
    int v = value_number(s->at, n);
    if (v >= s->ndeclared || (v >= 0 && !s->typed && !s->declared[v]))
        return wrong(s, arena_text("v%d is read and nowhere declared before", v));
    if (v >= 0)
        s->declared[v] = 1;
    s->typed = true;
    s->at += n;
    return 0;
}

static int step(Scan *s)
{
    size_t n = 0;
    while (in_word(s->at[n]))
        n++;
    if (n)
        return word(s, n);
    if (*s->at == '/' && s->at[1] == '/') {
        s->at += strcspn(s->at, "\n");
        return 0;
    }
    if (strchr("()[]{}", *s->at) && bracket(s, *s->at))
        return (int)error_code();
    s->line += *s->at == '\n';
    /* `float v1, v2;` declares both */
    s->typed = s->typed && strchr(" *,\n", *s->at) &&
        !(s->depth > 1 && s->open[s->depth - 1] != '}' && *s->at == ',');
    s->at++;
    return 0;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)) != NULL; s++)
        n++;
    return n;
}

int opencl_c_check(const char *text, const Kernel *const *k, int n)
{
    Scan s = { .at = text, .line = 1, .ndeclared = 1 };
    for (int j = 0; j < n; j++)
        s.ndeclared = k[j]->nins > s.ndeclared ? k[j]->nins : s.ndeclared;
    s.declared = NEWS(unsigned char, s.ndeclared);
    while (*s.at)
        if (step(&s))
            return (int)error_code();
    if (s.depth)
        return wrong(&s, "the text ends inside brackets");
    const bool entry = count(text, " " OPENCL_ENTRY "(");       /* it calls them */
    for (int j = 0; j < n; j++)
        if (count(text, arena_text(" %s(", k[j]->name)) != (entry && opencl_c_joins(k[j]) ? 2 : 1))
            return wrong(&s, arena_text("kernel %s is not there once", k[j]->name));
    return 0;
}
