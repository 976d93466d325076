/*
 * ops_einsum.c - einsum: a text of labelled axes in, contractions and transpositions out.
 *
 * Each operand is a value with a label an axis. Repeated labels of one operand become a diagonal; labels
 * that nothing else needs are summed away at once; then pairs are contracted until one operand is left, in
 * the order that takes the fewest products where operands are few. The axes that "..." stands for get
 * labels of their own, numbered from the right, which is how numpy lines them up.
 */
#include "formulas.h"

#include <math.h>
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
typedef struct Pairing {
    Ints xc, yc, xb, yb, label;
    int rank;
} Pairing;

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
    p.rank = x->n + y->n - 2 * p.xc.n - p.xb.n;
    for (int k = 0; k < xfree.n && p.label.n < MAXRANK; k++)
        p.label.v[p.label.n++] = xfree.v[k];
    for (int b = 0; b < y->n && p.label.n < MAXRANK; b++)
        if (!ints_has(x, y->v[b]))
            p.label.v[p.label.n++] = y->v[b];
    return p;
}

/* Operands i and j become one, in the place of i; that of j is empty, and needs no labels. Returns i. */
static int contract(Spec *s, int i, int j)
{
    Pairing p = pairing(s, i, j);
    Operand *x = &s->term[i], *y = &s->term[j];
    if (p.rank > MAXRANK) {
        complain(s, "a product on the way has too many axes");
        x->v = 0;
    } else {
        x->v = Dot(x->v, y->v, p.xc, p.yc, p.xb, p.yb, DT_NONE);
    }
    x->label = p.label;
    *y = (Operand){ 0 };
    return i;
}

/* ---- the order of contractions: of few operands the best, found for all sets of them */

enum { FEW = 8, WORDS = (DOTS + MAXRANK + 63) / 64 };

typedef struct Labels {
    uint64_t word[WORDS];
} Labels;

static Labels labels_of(const Ints *l)
{
    Labels r = { { 0 } };
    for (int k = 0; k < l->n; k++)
        r.word[l->v[k] / 64] |= UINT64_C(1) << l->v[k] % 64;
    return r;
}

static Labels either(Labels a, Labels b)
{
    for (int w = 0; w < WORDS; w++)
        a.word[w] |= b.word[w];
    return a;
}

static int count_of(const Labels *l)
{
    int n = 0;
    for (int w = 0; w < WORDS; w++)
        n += __builtin_popcountll(l->word[w]);
    return n;
}

/* elements of an array with these labels */
static double elements(const Spec *s, const Labels *l)
{
    double n = 1;
    for (int k = 0; k < DOTS + MAXRANK; k++)
        if (l->word[k / 64] >> k % 64 & 1)
            n *= (double)s->size[k];
    return n;
}

/* Bit k of a set is operand k. left: labels of what the set becomes; cost: products of numbers that this
 * takes, at least; half: of the two sets that are contracted last, the one with the lowest operand. */
typedef struct Best {
    Labels left;
    double cost;
    unsigned half;
} Best;

static void find_best(const Spec *s, Best *best)
{
    unsigned all = (1u << s->n) - 1;
    for (unsigned set = 1; set <= all; set++) {
        Labels own = { { 0 } }, others = labels_of(&s->out);
        for (int k = 0; k < s->n; k++) {
            Labels l = labels_of(&s->term[k].label);
            if (set >> k & 1)
                own = either(own, l);
            else
                others = either(others, l);
        }
        for (int w = 0; w < WORDS; w++)
            best[set].left.word[w] = own.word[w] & others.word[w];
        best[set].cost = set & (set - 1) ? INFINITY : 0;
        if (count_of(&best[set].left) > MAXRANK)
            continue;
        for (unsigned a = (set - 1) & set; a; a = (a - 1) & set) {
            if (!(a & set & -set))
                continue;
            Labels both = either(best[a].left, best[set ^ a].left);
            double cost = best[a].cost + best[set ^ a].cost + elements(s, &both);
            if (cost < best[set].cost)
                best[set].cost = cost, best[set].half = a;
        }
    }
}

/* The operands of a set become one; where it is. */
static int contract_set(Spec *s, const Best *best, unsigned set)
{
    if (!(set & (set - 1)))
        return __builtin_ctz(set);
    int a = contract_set(s, best, best[set].half), b = contract_set(s, best, set ^ best[set].half);
    return contract(s, a, b);
}

/* Of many the two whose product is larger than they are by the least. */
static int contract_greedily(Spec *s)
{
    int at = 0;
    for (int turn = 1; turn < s->n; turn++) {
        int bi = -1, bj = -1;
        double least = INFINITY;
        for (int i = 0; i < s->n; i++)
            for (int j = i + 1; s->term[i].v && j < s->n; j++) {
                Pairing p = s->term[j].v ? pairing(s, i, j) : (Pairing){ .rank = MAXRANK + 1 };
                Labels x = labels_of(&s->term[i].label), y = labels_of(&s->term[j].label),
                       z = labels_of(&p.label);
                double more =
                    p.rank > MAXRANK ? INFINITY : elements(s, &z) - elements(s, &x) - elements(s, &y);
                if (more < least)
                    least = more, bi = i, bj = j;
            }
        if (bi < 0) {
            complain(s, "a product on the way has too many axes");
            return 0;
        }
        at = contract(s, bi, bj);
        if (!s->term[at].v)
            break;
    }
    return at;
}

/* All operands become one. Where it is */
static int contract_all(Spec *s)
{
    if (s->n > FEW)
        return contract_greedily(s);
    Best *best = NEWS(Best, 1 << FEW);
    find_best(s, best);
    if (best[(1u << s->n) - 1].cost < INFINITY)
        return contract_set(s, best, (1u << s->n) - 1);
    complain(s, "a product on the way has too many axes");
    s->term[0].v = 0;
    return 0;
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
    for (int i = 0; i < n; i++)
        if (!s.term[i].v)
            return HD_NIL;
    return sym_of(arranged(&s, s.term[contract_all(&s)]));
}
