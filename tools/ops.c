/*
 * ops.c - writes docs/ops.md: every function of heddle.h that makes symbols, as the header says it, and
 * every row of the op table, as the table says it.
 *
 *     heddle-ops SOURCE > docs/ops.md
 *
 * Of elementwise rows all follows from the row; shapes, dtypes and errors of the others are in
 * ops_words.def, and a row that has none there is an error. The test `ops` compares what is written with
 * what is there.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "ops.h"

/* ==================== the header */

static char line[4096];

/* The next line without its end; false: there is none. */
static bool next(FILE *f)
{
    if (!fgets(line, sizeof line, f))
        return false;
    line[strcspn(line, "\n")] = 0;
    return true;
}

static const char *trimmed(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    for (size_t n = strlen(s); n && isspace((unsigned char)s[n - 1]);)
        s[--n] = 0;
    return s;
}

static bool in_block; /* of code */
static void block(bool on)
{
    if (on != in_block)
        puts(on ? "\n```" : "```");
    in_block = on;
}

/* A comment of several lines, or one before declarations: `title` on its first line makes a heading. */
static void comment(FILE *f)
{
    char *s = strstr(line, "/*") + 2;
    bool first = true, code = false;
    block(false);
    for (;;) {
        char *end = strstr(s, "*/");
        if (end)
            *end = 0;
        const char *t = trimmed(s);
        if (first && !strncmp(t, "====================", 20)) {
            printf("\n## %s\n\n", t + 21);
        } else if (first && !strncmp(t, "---- ", 5)) {
            printf("\n### %s\n\n", t + 5);
        } else if (*t) {
            code = first ? !strncmp(t, "hd_", 3) : code; /* how macros are written */
            if (first && code)
                block(true);
            printf("%s%s\n", first && !code ? "\n" : "", t);
        }
        first = false;
        if (end || !next(f))
            break;
        s = line[0] == ' ' && line[1] == '*' ? line + 2 : line;
    }
    if (code)
        block(false);
}

/* Declarations, without what the compiler wants of them. */
static void declaration(void)
{
    char *s = line;
    block(true);
    for (char *p; (p = strstr(s, "HD_API ")); s = p + 7)
        printf("%.*s", (int)(p - s), s);
    puts(s);
}

static int header(const char *source)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/api/heddle.h", source);
    FILE *f = fopen(path, "r");
    if (!f)
        return fprintf(stderr, "%s: not there\n", path), 1;
    bool on = false;
    while (next(f)) {
        if (!strncmp(line, "/* ====================", 23))
            on = strstr(line, " 6. ") || strstr(line, " 7. ") || strstr(line, " 8. ");
        if (!on)
            continue;
        if (!strncmp(line, "/*", 2))
            comment(f);
        else if (*line)
            declaration();
    }
    block(false);
    return fclose(f);
}

/* ==================== the op table */

typedef struct Words {
    const char *accepts, *gives, *derivatives; /* elementwise: the row's own text */
    const char *shapes, *dtypes, *errors; /* others: words */
} Words;

static Words said[OP_COUNT] = {
#define ELEM(name, builder, arity, in, out, commutes, mathematics, real, whole, slope) \
    [OP_##name] = { .accepts = #in, .gives = #out, .derivatives = #slope },
#define STRUC(...)
#include "ops.def"
#undef ELEM
#undef STRUC
#define OP(name, s, d, e) [OP_##name] = { .shapes = s, .dtypes = d, .errors = e },
#include "ops_words.def"
#undef OP
};

static const struct {
    int bits;
    const char *name;
} kinds[] = {
    { ANY_ | C_, "any" },
    { ANY_, "any but complex" },
    { NUM_ | C_, "numbers" },
    { NUM_, "numbers but complex" },
    { F_ | C_, "floats, complex" },
    { BITS_, "bool, integers" },
    { INT_, "integers" },
    { F_, "floats" },
};

static const char *accepted(int bits)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (kinds[k].bits == bits)
            return kinds[k].name;
    return "?";
}

/* D2(y, x) as "y; x"; what is zero or not known in words */
static void slope(const char *text)
{
    int depth = 0;
    if (!strcmp(text, "ZERO") || !strcmp(text, "MISSING")) {
        printf("%s", *text == 'Z' ? "zero" : "none: an error");
        return;
    }
    putchar('`');
    for (const char *p = strchr(text, '(') + 1; p[1]; p++) {
        depth += (*p == '(') - (*p == ')');
        if (*p == ',' && !depth)
            printf("`;"), p += 1, printf(" `");
        else
            putchar(*p);
    }
    putchar('`');
}

static const char *rule(const OpRow *o)
{
    const Rules *r = o->rules;
    if (o == &optab[OP_region] || o == &optab[OP_callback])
        return o == &optab[OP_region] ? "that of its bodies" : "none: an error";
    if (r->jvp == optab[OP_stop_gradient].rules->jvp || r->jvp == optab[OP_convert].rules->jvp ||
        r->jvp == optab[OP_reduce_precision].rules->jvp)
        return o == &optab[OP_stop_gradient] ? "zero" : "linear";
    return !r->jvp              ? "there is nothing to differentiate" :
        r->jvp == ops_jvp_zero  ? "zero" :
        r->jvp == ops_jvp_again ? "linear" :
        r->transpose            ? "yes, and a transpose of its own" :
                                  "yes, in linear ops";
}

static const char *on_devices(const OpRow *o)
{
    switch (o->element) {
    case IS_VIEW:
    case IS_PASS:
        return "an index: nothing is computed";
    case IS_LEAF:
        return "made where it is read";
    case IS_PART:
        return "part of the kernel that reads it";
    case IS_SUM:
        return "a loop of a kernel";
    case IS_OWN:
        return "a kernel, or a step, of its own";
    case IS_GONE:
        return "rewritten in other ops";
    default:
        return "part of the kernel that reads it";
    }
}

static void attributes(const OpRow *o)
{
    if (!o->attrs || !o->attrs->word)
        printf("-");
    for (const AttrWord *a = o->attrs; a && a->word; a++)
        printf("%s%s%s", a == o->attrs ? "" : ", ", a->word, a->list ? "[]" : "");
}

static int table(void)
{
    int missing = 0;
    puts("\n## Elementwise rows\n\nOperands and result have one shape, of any axes. The derivative is by "
         "each operand `x`, `y`, `w`, in builders; `z` is the\nresult. Every backend computes every row, in "
         "the dtypes that the device has; one without f64 or 64-bit integers says so before it\ncompiles. "
         "Cost: of an element, in cheap instructions.\n\n| row | operands | dtypes | gives | derivative | "
         "cost |\n| --- | --- | --- | --- | --- | --- |");
    for (int op = 1; op < OP_COUNT; op++) {
        const OpRow *o = &optab[op];
        if (!o->elementwise)
            continue;
        printf("| %s | %d | %s | %s | ", o->name, o->nin, accepted(o->accepts),
            o->gives == BOOL_     ? "bool" :
                o->gives == PART_ ? "the same; of complex numbers real" :
                                    "the same");
        slope(said[op].derivatives);
        printf(" | %d |\n", o->cost);
    }
    puts("\n## Structural rows\n\n`jvp` and `vjp`: linear ops are their own tangent; what has a derivative "
         "in linear ops is transposed "
         "through them.\n\n| row | shapes | attributes | dtypes | errors | derivative | on devices |\n| --- "
         "| --- | --- | --- | --- | --- | --- |");
    for (int op = 1; op < OP_COUNT; op++) {
        const OpRow *o = &optab[op];
        if (o->elementwise)
            continue;
        if (!said[op].shapes) {
            fprintf(stderr, "tools/ops_words.def: there are no words for %s\n", o->name);
            missing++;
            continue;
        }
        printf("| %s | `%s` | ", o->name, said[op].shapes);
        attributes(o);
        printf(" | %s%s | %s | %s | %s |\n", said[op].dtypes, o->moves ? ", and keys" : "", said[op].errors,
            rule(o), on_devices(o));
    }
    return missing;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: heddle-ops SOURCE > docs/ops.md\n"), 2;
    Arena *arena = arena_new();
    arena_use(arena);
    puts("# Ops\n\nWritten by `tests/ops.sh build . --update` from `api/heddle.h`, `graph/ops.def` and "
         "`tools/ops_words.def`; a "
         "test fails where it is not\nwhat they say. First the functions, then the rows of the op table "
         "that they are made of. \"Errors\" "
         "are what the row itself refuses, with the\nline of the program; functions say theirs above.");
    int bad = header(argv[1]) || table();
    arena_drop(arena);
    return bad != 0;
}
