/*
 * ops_einsum.c - einsum: a text of labelled axes in, contractions and transpositions out.
 *
 * Each operand is a value with a label an axis. Repeated labels of one operand become a diagonal; labels
 * that nothing else needs are summed away at once; then pairs are contracted, the pair with the smallest
 * result first, until one operand is left. The axes that "..." stands for get labels of their own, numbered
 * from the right, which is how numpy lines them up.
 */
#include "formulas.h"

#include <string.h>

enum { DOTS = 128 };                            /* labels DOTS + k: the k-th axis of "..." from the right */

typedef struct Operand { Ref v; Ints label; } Operand;
typedef struct Spec { const char *text; Operand *term; int n; Ints out; int64_t size[DOTS + MAXRANK]; } Spec;

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static int complain(const Spec *s, const char *why)
{
    return error_set(E_INVAL, "hd_einsum: \"%s\": %s", s->text, why);
}

/* Reads labels up to a comma, an arrow or the end. dots: how many axes "..." stands for (known of operands:
 * rank minus letters). */
static const char *read_labels(const Spec *s, const char *p, int dots, Ints *out, int *code)
{
    *out = (Ints){ 0 };
    for (; *p && *p != ',' && strncmp(p, "->", 2); p++) {
        int n = 1;
        if (*p == ' ')
            continue;
        if (!strncmp(p, "...", 3)) {
            p += 2, n = dots;
        } else if (!is_letter(*p)) {
            *code = complain(s, "labels are letters, \"...\", \",\" and \"->\"");
            return p;
        }
        if (out->n + n > MAXRANK) {
            *code = complain(s, "a term has more labels than an array has axes");
            return p;
        }
        for (int k = n - 1; k >= 0; k--)
            out->v[out->n++] = *p == '.' ? DOTS + k : *p;
    }
    return p;
}

static int letters(const char *p)
{
    int n = 0;
    for (; *p && *p != ',' && strncmp(p, "->", 2); p++)
        n += is_letter(*p);
    return n;
}

static bool has_dots(const char *p)
{
    for (; *p && *p != ',' && strncmp(p, "->", 2); p++)
        if (*p == '.')
            return true;
    return false;
}

/* One operand's labels and what they say of sizes. A size of 1 goes with any other, as in numpy. */
static const char *read_term(Spec *s, const char *p, Operand *t, int *code)
{
    int rank = typ(t->v)->rank, named = letters(p);
    Ints label;

    if (has_dots(p) ? named > rank : named != rank) {
        *code = error_set(E_SHAPE, "hd_einsum: \"%s\": %d labels name the axes of %s",
            s->text, named, type_text(typ(t->v)));
        return p;
    }
    p = read_labels(s, p, rank - named, &label, code);
    if (*code)
        return p;
    t->label = label;
    for (int i = 0; i < label.n; i++) {
        int64_t *size = &s->size[label.v[i]], n = typ(t->v)->dim[i];
        if (*size < 0 || *size == 1)
            *size = n;
        else if (n != *size && n != 1) {
            *code = error_set(E_SHAPE, "hd_einsum: \"%s\": axis %d of %s should have size %lld, as before",
                s->text, i, type_text(typ(t->v)), (long long)*size);
            return p;
        }
    }
    return p;
}

/* Without "->": the axes of "...", then the labels that occur once, in order of the alphabet. */
static void implied_output(Spec *s)
{
    int count[DOTS + MAXRANK] = { 0 };
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < s->term[i].label.n; k++)
            count[s->term[i].label.v[k]]++;
    for (int k = MAXRANK - 1; k >= 0; k--)
        if (count[DOTS + k])
            s->out.v[s->out.n++] = DOTS + k;
    for (int c = 0; c < DOTS; c++)
        if (count[c] == 1 && s->out.n < MAXRANK)
            s->out.v[s->out.n++] = c;
}

static int read_output(Spec *s, const char *p)
{
    int dots = 0, code = 0;
    for (int k = 0; k < MAXRANK; k++)
        dots += s->size[DOTS + k] >= 0;
    p = read_labels(s, p, dots, &s->out, &code);
    if (code)
        return code;
    if (*p)
        return complain(s, "one result follows the arrow");
    for (int i = 0; i < s->out.n; i++) {
        if (s->size[s->out.v[i]] < 0)
            return complain(s, "a label of the result is in no operand");
        for (int k = 0; k < i; k++)
            if (s->out.v[k] == s->out.v[i])
                return complain(s, "a label is twice in the result");
    }
    return 0;
}

static int read_spec(Spec *s)
{
    const char *p = s->text;
    int code = 0, terms = 1;

    for (const char *q = p; *q && strncmp(q, "->", 2); q++)
        terms += *q == ',';
    if (terms != s->n)
        return error_set(
            E_INVAL, "hd_einsum: \"%s\" has %d terms, but %d arrays are given", s->text, terms, s->n);
    for (int i = 0; i < DOTS + MAXRANK; i++)
        s->size[i] = -1;
    for (int i = 0; i < s->n; i++) {
        p = read_term(s, p, &s->term[i], &code);
        if (code)
            return code;
        p += *p == ',';
    }
    if (!strncmp(p, "->", 2))
        return read_output(s, p + 2);
    implied_output(s);
    return 0;
}

/* ---- one operand */

static void drop_label(Ints *l, int at)
{
    memmove(l->v + at, l->v + at + 1, sizeof *l->v * (size_t)(l->n - at - 1));
    l->n--;
}

/* Axes a < b of equal size become one, the last: every (n+1)-th element of the square they make. */
static void diagonal(Operand *t, int a, int b)
{
    Ints ab = { 2, { a, b } }, perm = ints_without(ints_run(0, t->label.n), &ab), shape, from, step;
    int64_t n = typ(t->v)->dim[a], label = t->label.v[a];
    int last = perm.n;

    t->label = ints_without(t->label, &ab);
    t->label.v[t->label.n++] = label;
    shape = ints_without(shape_of(t->v), &ab);
    perm.v[perm.n++] = a, perm.v[perm.n++] = b;
    shape.v[shape.n++] = n * n;
    from = step = shape;
    for (int i = 0; i < shape.n; i++)
        from.v[i] = 0, step.v[i] = 1;
    step.v[last] = n + 1;
    t->v = Slice(Reshape(Transpose(t->v, perm), shape), from, shape, step);
}

/* Axes of size 1 that others have larger are dropped; repeated labels become one. */
static void tidy(const Spec *s, Operand *t)
{
    for (int i = t->label.n - 1; t->v && i >= 0; i--)
        if (typ(t->v)->dim[i] == 1 && s->size[t->label.v[i]] != 1)
            t->v = squeeze_axis(t->v, i), drop_label(&t->label, i);
    for (int b = 1; t->v && b < t->label.n; b++)
        for (int a = 0; a < b; a++)
            if (t->label.v[a] == t->label.v[b]) {
                diagonal(t, a, b);
                b = 0;                          /* the axes have moved: look again */
                break;
            }
}

/* Is the label needed by the result or by an operand other than i and j? */
static bool needed(const Spec *s, int64_t label, int i, int j)
{
    for (int k = 0; k < s->n; k++)
        if (k != i && k != j && ints_has(&s->term[k].label, label))
            return true;
    return ints_has(&s->out, label);
}

static void sum_alone(const Spec *s, int i)
{
    Operand *t = &s->term[i];
    Ints axes = { 0 };
    for (int k = 0; k < t->label.n; k++)
        if (!needed(s, t->label.v[k], i, i))
            axes.v[axes.n++] = k;
    if (!axes.n || !t->v)
        return;
    t->v = Sum(t->v, axes);
    t->label = ints_without(t->label, &axes);
}

/* ---- two operands */

/* How labels of a and b take part: contracted, batch, free. */
typedef struct Pairing { Ints xc, yc, xb, yb, label; } Pairing;

static Pairing pairing(const Spec *s, int i, int j)
{
    const Ints *x = &s->term[i].label, *y = &s->term[j].label;
    Pairing p = { 0 };
    Ints xfree = { 0 };

    for (int a = 0; a < x->n; a++) {
        int b = 0;
        while (b < y->n && y->v[b] != x->v[a])
            b++;
        if (b == y->n)
            xfree.v[xfree.n++] = x->v[a];
        else if (needed(s, x->v[a], i, j))
            p.xb.v[p.xb.n++] = a, p.yb.v[p.yb.n++] = b, p.label.v[p.label.n++] = x->v[a];
        else
            p.xc.v[p.xc.n++] = a, p.yc.v[p.yc.n++] = b;
    }
    for (int k = 0; k < xfree.n && p.label.n < MAXRANK; k++)
        p.label.v[p.label.n++] = xfree.v[k];
    for (int b = 0; b < y->n && p.label.n < MAXRANK; b++)
        if (!ints_has(x, y->v[b]))
            p.label.v[p.label.n++] = y->v[b];
    return p;
}

static double result_size(const Spec *s, int i, int j)
{
    Pairing p = pairing(s, i, j);
    double n = 1;
    for (int k = 0; k < p.label.n; k++)
        n *= (double)s->size[p.label.v[k]];
    return n;
}

static void contract_smallest(Spec *s)
{
    int bi = 0, bj = 1;
    double least = -1;

    for (int i = 0; i < s->n; i++)
        for (int j = i + 1; j < s->n; j++) {
            double n = result_size(s, i, j);
            if (least < 0 || n < least)
                least = n, bi = i, bj = j;
        }
    Pairing p = pairing(s, bi, bj);
    Operand *x = &s->term[bi], *y = &s->term[bj];
    if (x->label.n + y->label.n - 2 * p.xc.n - p.xb.n > MAXRANK) {
        complain(s, "a product on the way has too many axes");
        x->v = 0;
    } else {
        x->v = Dot(x->v, y->v, p.xc, p.yc, p.xb, p.yb, DT_NONE);
    }
    x->label = p.label;
    memmove(y, y + 1, sizeof *y * (size_t)(s->n - bj - 1));
    s->n--;
}

/* The axes in the order of the result. */
static Ref arranged(const Spec *s, Operand t)
{
    Ints perm = { 0 };
    for (int i = 0; i < s->out.n; i++)
        for (int k = 0; k < t.label.n; k++)
            if (t.label.v[k] == s->out.v[i])
                perm.v[perm.n++] = k;
    return t.v ? Transpose(t.v, perm) : 0;
}

hd hd_einsum_n(const char *text, const hd *args, int n)
{
    Spec s = { .text = text };
    Ref *r;
    OP(hd_einsum_n);

    if (!tracing() || (n = sym_count("hd_einsum", args, n)) < 0)
        return HD_NIL;
    if (!text || n < 1) {
        error_set(E_INVAL, "hd_einsum: a text and at least one array are wanted");
        return HD_NIL;
    }
    r = NEWS(Ref, n), s.term = NEWS(Operand, n), s.n = n;
    if (unify_dtype("hd_einsum", n, args, r))
        return HD_NIL;
    if (typ(r[0])->dt == DT_BOOL) {
        error_set(E_DTYPE, "hd_einsum: bool has no sums; write hd_cast(x, HD_I32)");
        return HD_NIL;
    }
    for (int i = 0; i < n; i++)
        s.term[i].v = r[i];
    if (read_spec(&s))
        return HD_NIL;
    for (int i = 0; i < n; i++)
        tidy(&s, &s.term[i]);
    for (int i = 0; i < n; i++)
        sum_alone(&s, i);
    while (s.n > 1)
        contract_smallest(&s);
    return sym_of(arranged(&s, s.term[0]));
}
