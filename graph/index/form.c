/*
 * form.c - index forms: c + sum of coefficient * atom, an atom being a variable, a quotient, a remainder, a
 * clamp (or the promise that none is needed), or an integer value, each with a range.
 *
 * In:  sums, products by constants, quotients and remainders.
 * Out: interned forms: equal ones are one pointer.
 * Invariant: a quotient or remainder that the ranges decide is never an atom. Of what is left every atom f /
 * d and
 *      f % d has f >= 0 (shifted by a multiple of d; except where i32 would not hold it), no common factor
 *      of d left in f, no quotient of a quotient, no remainder of a multiple; and d * (f / d) + f % d
 *      becomes f again. So a reshape of a reshape, a tile of a flattened space or the digits of a panel meet
 *      as the same pointer, whoever wrote them.
 */
#include "index.h"

#include <string.h>

/* A form with what is known of it: in front of the record, so that Form stays what kernel.h says. */
typedef struct FormBox {
    uint8_t flags;
    const AtomSet *deps;                        /* NULL until asked for */
    FormRec f;
} FormBox;
/* what is inside, at any depth; WIDE: i32 does not hold it */
enum { ELEMS = 1, CLAMPS = 2, VECTOR = 4, WIDE = 8 };

static inline FormBox *box(Form f) { return (FormBox *)((char *)(uintptr_t)f - offsetof(FormBox, f)); }

typedef struct FormTable {
    struct FormTable *before;
    const Atom *lane, *step;
    HashTable form, atom, set;
    int ids;
} FormTable;

_Thread_local const Atom *LANE, *STEP;
static _Thread_local FormTable *T;

static inline uint32_t mix(uint32_t h, uint64_t v)
{
    uint64_t x = (h + 0x9e3779b97f4a7c15ull) ^ v;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 32;
    x *= 0xc4ceb9fe1a85ec53ull;
    return (uint32_t)(x ^ x >> 29);
}

static inline uint32_t mix_ptr(uint32_t h, const void *p) { return mix(h, (uintptr_t)p); }

static int64_t floordiv(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b, b = t;
    }
    return a < 0 ? -a : a;
}

/* ==================== sets of variables */

static uint32_t set_hash(const Atom *const *a, int n)
{
    uint32_t h = 7;
    for (int i = 0; i < n; i++)
        h = mix_ptr(h, a[i]);
    return h;
}

static bool set_is(const void *like, const void *it)
{
    const AtomSet *s = like, *t = it;
    return s->n == t->n && (!s->n || !memcmp(s->a, t->a, sizeof *s->a * (size_t)s->n));
}

static const AtomSet *set_of(const Atom *const *a, int n)
{
    AtomSet *like = arena_alloc(sizeof *like + sizeof *a * (size_t)n);
    like->n = n;
    if (n)
        memcpy(like->a, a, sizeof *a * (size_t)n);
    const void **place = hash_place(&T->set, set_hash(a, n), set_is, like);
    return *place ? *place : (*place = like);
}

bool set_has(const AtomSet *s, const Atom *a)
{
    for (int i = 0; i < s->n; i++)
        if (s->a[i] == a)
            return true;
    return false;
}

const AtomSet *set_join(const AtomSet *x, const AtomSet *y)
{
    if (x == y || !y->n)
        return x;
    if (!x->n)
        return y;
    SCRATCH(const Atom *, a, x->n + y->n);
    int n = 0, i = 0, j = 0;
    while (i < x->n || j < y->n) {
        bool left = j == y->n || (i < x->n && x->a[i]->id <= y->a[j]->id);
        if (left && j < y->n && x->a[i] == y->a[j])
            j++;
        a[n++] = left ? x->a[i++] : y->a[j++];
    }
    return n == x->n ? x : n == y->n ? y : set_of(a, n);
}

const AtomSet *set_one(const Atom *a) { return set_of(&a, 1); }

const AtomSet *form_deps(Form f)
{
    FormBox *b = box(f);
    if (!b->deps) {
        const AtomSet *s = set_of(NULL, 0);
        for (int i = 0; i < f->n; i++)
            s = set_join(s, f->t[i].a->deps);
        b->deps = s;
    }
    return b->deps;
}

/* ==================== interning forms */

void form_range(Form f, int64_t *lo, int64_t *hi)
{
    __int128 l = f->c, h = f->c;
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        __int128 k = f->t[i].k;
        l += k * (k > 0 ? a->lo : a->hi);
        h += k * (k > 0 ? a->hi : a->lo);
    }
    *lo = l < INT64_MIN ? INT64_MIN : l > INT64_MAX ? INT64_MAX : (int64_t)l;
    *hi = h < INT64_MIN ? INT64_MIN : h > INT64_MAX ? INT64_MAX : (int64_t)h;
}

/* The partial sums of its evaluation, in any order, stay within +- the sum of magnitudes. */
static bool beyond(int64_t c, int n, const Term *t)
{
    __int128 m = c < 0 ? -(__int128)c : c;
    for (int i = 0; i < n; i++) {
        __int128 k = t[i].k < 0 ? -(__int128)t[i].k : t[i].k, lo = t[i].a->lo, hi = t[i].a->hi;
        lo = lo < 0 ? -lo : lo, hi = hi < 0 ? -hi : hi;
        m += k * (lo > hi ? lo : hi);
        if (k > INT32_MAX || m > INT32_MAX)
            return true;
    }
    return m > INT32_MAX;
}

static uint8_t atom_flags(const Atom *a)
{
    uint8_t s = 0;
    switch (a->kind) {
    case A_VAR:
        return a == T->lane ? VECTOR : 0;
    case A_VAL:
        return a->wide ? VECTOR : 0;
    case A_ELEM:
        for (int i = 0; i < a->nidx; i++)
            s |= box(a->idx[i])->flags & VECTOR;
        return s | ELEMS;
    case A_CLAMP: case A_WITHIN:
        return box(a->f)->flags | CLAMPS;
    default:
        return box(a->f)->flags | (a->d > INT32_MAX ? WIDE : 0);
    }
}

typedef struct Sum { int64_t c; int n; const Term *t; } Sum;

static bool form_is(const void *like, const void *it)
{
    const Sum *s = like;
    const FormRec *f = &((const FormBox *)it)->f;
    return f->c == s->c && f->n == s->n && (!s->n || !memcmp(f->t, s->t, sizeof *s->t * (size_t)s->n));
}

/* t: sorted, coefficients not 0, nothing left to recompose. */
static Form form_intern(int64_t c, int n, const Term *t)
{
    uint32_t h = mix(11, (uint64_t)c);
    for (int i = 0; i < n; i++)
        h = mix(mix_ptr(h, t[i].a), (uint64_t)t[i].k);
    const void **place = hash_place(&T->form, h, form_is, &(Sum){ c, n, t });
    if (*place)
        return &((const FormBox *)*place)->f;
    FormBox *b = arena_alloc(sizeof *b + sizeof *t * (size_t)n);
    *place = b;
    b->f.c = c, b->f.n = n;
    for (int i = 0; i < n; i++) {
        b->f.t[i] = t[i];
        b->flags |= atom_flags(t[i].a);
    }
    b->flags |= beyond(c, n, t) ? WIDE : 0;
    return &b->f;
}

Form form_c(int64_t c) { return form_intern(c, 0, NULL); }
Form form_a(const Atom *a)
{
    if (a->lo == a->hi && a->kind == A_VAR)
        return form_c(a->lo);
    return form_intern(0, 1, &(Term){ a, 1 });
}

/* ==================== sums */

static const Atom *single(Form f) { return f->n == 1 && f->t[0].k == 1 ? f->t[0].a : NULL; }

static int term_of(int n, const Term *t, const Atom *a)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int m = (lo + hi) / 2;
        if (t[m].a->id < a->id)
            lo = m + 1;
        else
            hi = m;
    }
    return lo < n && t[lo].a == a ? lo : -1;
}

/* The term that f % d, k times, comes together with: (f / d) or (f / d) % e, d * k times. */
static int partner(int n, const Term *t, const Term *m)
{
    if (!m->a->pair)
        return -1;
    int64_t k = m->k * m->a->d;
    int p = term_of(n, t, m->a->pair);
    if (p >= 0 && t[p].k == k)
        return p;
    for (p = 0; p < n; p++)
        if (t[p].a->kind == A_MOD && t[p].k == k && single(t[p].a->f) == m->a->pair && !t[p].a->f->c)
            return p;
    return -1;
}

/* Sorted terms -> form. d * (f / d) + f % d = f, and d * ((f / d) % e) + f % d = f % (d e). */
static Form form_make(int64_t c, int n, Term *t)
{
    for (int i = 0; i < n; i++) {
        int p = t[i].a->kind == A_MOD ? partner(n, t, &t[i]) : -1;
        if (p < 0)
            continue;
        const Atom *m = t[i].a, *q = t[p].a;
        Form whole = q->kind == A_DIV ? m->f : form_mod(m->f, m->d * q->d);
        whole = form_mul(whole, t[i].k);
        int k = 0;
        for (int j = 0; j < n; j++)
            if (j != i && j != p)
                t[k++] = t[j];
        return form_add(form_make(c, k, t), whole);
    }
    return form_intern(c, n, t);
}

Form form_addc(Form f, int64_t c) { return c ? form_intern(f->c + c, f->n, f->t) : f; }

Form form_add(Form f, Form g)
{
    if (!g->n)
        return form_addc(f, g->c);
    if (!f->n)
        return form_addc(g, f->c);
    SCRATCH(Term, t, f->n + g->n);
    int n = 0, i = 0, j = 0;
    while (i < f->n || j < g->n) {
        if (j == g->n || (i < f->n && f->t[i].a->id < g->t[j].a->id))
            t[n++] = f->t[i++];
        else if (i == f->n || g->t[j].a->id < f->t[i].a->id)
            t[n++] = g->t[j++];
        else {
            int64_t k = f->t[i].k + g->t[j++].k;
            if (k)
                t[n++] = (Term){ f->t[i].a, k };
            i++;
        }
    }
    return form_make(f->c + g->c, n, t);
}

Form form_mul(Form f, int64_t k)
{
    if (k == 1)
        return f;
    if (!k)
        return form_c(0);
    SCRATCH(Term, t, f->n);
    for (int i = 0; i < f->n; i++)
        t[i] = (Term){ f->t[i].a, f->t[i].k * k };
    return form_intern(f->c * k, f->n, t);
}

int64_t form_coef(Form f, const Atom *a)
{
    int p = term_of(f->n, f->t, a);
    return p < 0 ? 0 : f->t[p].k;
}

bool form_affine(Form f)
{
    for (int i = 0; i < f->n; i++)
        if (f->t[i].a->kind != A_VAR)
            return false;
    return true;
}

bool form_vector(Form f) { return box(f)->flags & VECTOR; }
bool form_fits(Form f) { return !(box(f)->flags & WIDE); }

/* ==================== quotients and remainders */

/* f = d * q + r, r with the remainders (toward zero) of the coefficients, moved by a multiple of d to where
 * lo(r) is in 0 .. d-1, unless that would leave i32. */
static void split(Form f, int64_t d, Form *q, Form *r, int64_t *lo, int64_t *hi)
{
    SCRATCH(Term, tq, f->n);
    SCRATCH(Term, tr, f->n);
    int nq = 0, nr = 0;
    for (int i = 0; i < f->n; i++) {
        int64_t k = f->t[i].k;
        if (k / d)
            tq[nq++] = (Term){ f->t[i].a, k / d };
        if (k % d)
            tr[nr++] = (Term){ f->t[i].a, k % d };
    }
    *q = form_make(0, nq, tq);
    *r = form_make(0, nr, tr);
    form_range(*r, lo, hi);
    __int128 l = (__int128)*lo + f->c, h = (__int128)*hi + f->c;
    int64_t m = f->c / d;
    if (l > INT64_MIN / 2 && h < INT64_MAX / 2) {
        int64_t whole = floordiv((int64_t)l, d);
        bool held = l >= INT32_MIN && h <= INT32_MAX, stays = h - (__int128)whole * d <= INT32_MAX;
        if (stays || !held || floordiv((int64_t)h, d) == whole)
            m = whole;
    }
    *q = form_addc(*q, m);
    *r = form_addc(*r, f->c - m * d);
    form_range(*r, lo, hi);
}

/* f / d = q + x / e and f % d = g * (x % e) + s, with g * e = d; e = 1 (then x = 0): the ranges decide. */
typedef struct Cut { Form q, x, s; int64_t e, g; } Cut;

/* Factors of d worth trying, the largest first: of each coefficient, and of the larger ones together. */
static int factors(Form r, int64_t d, int64_t *out)
{
    SCRATCH(int64_t, k, r->n);
    int64_t all = d;
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        int64_t a = r->t[i].k < 0 ? -r->t[i].k : r->t[i].k;
        int j = i;
        for (; j > 0 && k[j - 1] < a; j--)
            k[j] = k[j - 1];
        k[j] = a;
    }
    for (int i = 0; i < 2 * r->n; i++) {
        int64_t g = i < r->n ? gcd(d, k[i]) : (all = gcd(all, k[i - r->n]));
        int j = 0;
        while (j < n && out[j] > g)
            j++;
        if (g < 2 || g >= d || (j < n && out[j] == g))
            continue;
        memmove(out + j + 1, out + j, sizeof *out * (size_t)(n - j));
        out[j] = g, n++;
    }
    return n;
}

static Cut cut(Form f, int64_t d)
{
    Cut c = { .e = 1, .g = d };
    int64_t lo, hi;
    Form r;
    form_range(f, &lo, &hi);
    if (floordiv(lo, d) == floordiv(hi, d)) {
        c.q = form_c(floordiv(lo, d)), c.s = form_addc(f, -floordiv(lo, d) * d), c.x = form_c(0);
        return c;
    }
    split(f, d, &c.q, &r, &lo, &hi);
    if (floordiv(lo, d) == floordiv(hi, d)) {
        int64_t m = floordiv(lo, d);
        c.q = form_addc(c.q, m), c.s = form_addc(r, -m * d), c.x = form_c(0);
        return c;
    }
    SCRATCH(int64_t, g, 2 * r->n);
    int n = factors(r, d, g);
    for (int i = 0; i < n; i++) {
        Form up, s;
        split(r, g[i], &up, &s, &lo, &hi);
        if (lo < 0 || hi >= g[i])
            continue;
        Cut in = cut(up, d / g[i]);             /* r = g up + s, 0 <= s < g */
        c.q = form_add(c.q, in.q), c.x = in.x, c.e = in.e, c.g = g[i] * in.g;
        c.s = form_add(form_mul(in.s, g[i]), s);
        return c;
    }
    c.x = r, c.e = d, c.g = 1, c.s = form_c(0);
    return c;
}

static Form quotient(Form x, int64_t e)
{
    const Atom *a = single(x);
    int64_t d, c;
    if (a && a->kind == A_DIV && !__builtin_mul_overflow(a->d, e, &d) &&
        !__builtin_mul_overflow(a->d, x->c, &c))
        return form_div(form_addc(a->f, c), d); /* (f / d + c) / e = (f + d c) / (d e) */
    if (a && a->kind == A_MOD && !x->c && a->d % e == 0)
        return form_mod(form_div(a->f, e), a->d / e);
    int64_t lo, hi;
    form_range(x, &lo, &hi);
    return form_a(atom_of(A_DIV, x, e, floordiv(lo, e), floordiv(hi, e)));
}

static Form remainder_(Form x, int64_t e)
{
    const Atom *a = single(x);
    if (a && a->kind == A_MOD && !x->c && a->d % e == 0)
        return form_mod(a->f, e);
    int64_t lo, hi;
    form_range(x, &lo, &hi);
    return form_a(atom_of(A_MOD, x, e, 0, lo >= 0 && hi < e ? hi : e - 1));
}

Form form_div(Form f, int64_t d)
{
    if (d <= 1)
        return d == 1 ? f : form_c(0);          /* d 0: a space without elements; any index will do */
    Cut c = cut(f, d);
    return c.e == 1 ? c.q : form_add(c.q, quotient(c.x, c.e));
}

Form form_mod(Form f, int64_t d)
{
    if (d <= 1)
        return form_c(0);
    Cut c = cut(f, d);
    return c.e == 1 ? c.s : form_add(form_mul(remainder_(c.x, c.e), c.g), c.s);
}

static Form bounded(AtomKind kind, Form f, int64_t n)
{
    int64_t lo, hi;
    form_range(f, &lo, &hi);
    if (n <= 1 || hi <= 0)
        return form_c(0);
    if (lo >= n - 1)
        return form_c(n - 1);
    return lo >= 0 && hi < n ? f : form_a(atom_of(kind, f, n, lo < 0 ? 0 : lo, hi < n ? hi : n - 1));
}

Form form_clamp(Form f, int64_t n) { return bounded(A_CLAMP, f, n); }
Form form_within(Form f, int64_t n) { return bounded(A_WITHIN, f, n); }

/* ==================== atoms */

static bool atom_is(const void *like, const void *it)
{
    const Atom *a = it, *b = like;
    if (a->kind != b->kind || a->lo != b->lo || a->hi != b->hi || a->nidx != b->nidx)
        return false;
    if (a->kind == A_ELEM)
        return a->g == b->g && a->v == b->v && !memcmp(a->idx, b->idx, sizeof *a->idx * (size_t)a->nidx);
    return a->kind == A_VAL ? a->val == b->val && a->wide == b->wide : a->f == b->f && a->d == b->d;
}

static uint32_t atom_hash(const Atom *a)
{
    uint32_t h = mix(mix(a->kind, (uint64_t)a->lo), (uint64_t)a->hi);
    if (a->kind == A_ELEM) {
        h = mix(mix_ptr(h, a->g), a->v);
        for (int i = 0; i < a->nidx; i++)
            h = mix_ptr(h, a->idx[i]);
        return h;
    }
    return a->kind == A_VAL ? mix(h, 2 * (uint64_t)a->val + a->wide) : mix(mix_ptr(h, a->f), (uint64_t)a->d);
}

/* Atoms of a kernel's values come last in a sum, in the order of the values: an order that does not depend
 * on kernels before it, so that kernels which are alike are so word by word, and are compiled once. */
enum { OF_VALUES = 1 << 30 };

/* The atom that this one is, made if it is new. fresh: whether it was. */
static Atom *atom_intern(const Atom *like, bool *fresh)
{
    const void **place = hash_place(&T->atom, atom_hash(like), atom_is, like);
    *fresh = !*place;
    if (*fresh) {
        Atom *a = NEW(Atom);
        *a = *like;
        a->id = a->kind == A_VAL ? OF_VALUES + 2 * (int)a->val + a->wide : T->ids++;
        *place = a;
    }
    return (Atom *)(uintptr_t)*place;
}

static Atom *new_var(const char *name, int64_t hi, int depth)
{
    Atom *a = NEW(Atom);
    *a = (Atom){ .kind = A_VAR, .id = T->ids++, .depth = depth, .hi = hi, .name = name };
    a->deps = set_of((const Atom *const[]){ a }, 1);
    return a;
}

const Atom *atom_var(const char *name, int64_t n, int depth)
{
    return new_var(arena_text("%s", name), n > 1 ? n - 1 : 0, depth);
}

const Atom *atom_of(AtomKind kind, Form f, int64_t d, int64_t lo, int64_t hi)
{
    bool fresh;
    Atom *a = atom_intern(&(Atom){ .kind = kind, .lo = lo, .hi = hi, .f = f, .d = d }, &fresh);
    if (fresh) {
        a->deps = form_deps(f);
        if (kind == A_MOD) {
            Form q = quotient(f, d);
            a->pair = single(q) && !q->c ? single(q) : NULL;
        }
    }
    return a;
}

const Atom *atom_elem(const Graph *g, Ref v, const Form *idx, int nidx, int64_t lo, int64_t hi)
{
    bool fresh;
    Atom *a = atom_intern(
        &(Atom){ .kind = A_ELEM, .lo = lo, .hi = hi, .g = g, .v = v, .idx = idx, .nidx = nidx }, &fresh);
    if (fresh) {
        a->idx = nidx ? arena_copy(idx, sizeof *idx * (size_t)nidx) : NULL;
        a->deps = set_of(NULL, 0);
        for (int i = 0; i < nidx; i++)
            a->deps = set_join(a->deps, form_deps(idx[i]));
    }
    return a;
}

const Atom *atom_val(Val v, bool wide, int64_t lo, int64_t hi)
{
    bool fresh;
    Atom *a = atom_intern(&(Atom){ .kind = A_VAL, .lo = lo, .hi = hi, .val = v, .wide = wide }, &fresh);
    if (fresh)
        a->deps = wide ? LANE->deps : set_of(NULL, 0);
    return a;
}

void form_open(void)
{
    FormTable *t = NEW(FormTable);
    t->before = T;
    T = t;
    LANE = t->lane = new_var("lane", W - 1, 0);
    STEP = t->step = new_var("step", INT32_MAX, 0);
}

void form_close(void)
{
    T = T ? T->before : NULL;
    LANE = T ? T->lane : NULL, STEP = T ? T->step : NULL;
}

/* ==================== spaces: positions and indices */

Form form_linear(const Form *idx, const int64_t *dim, int n)
{
    Form f = form_c(0);
    int64_t s = 1;
    for (int k = n - 1; k >= 0; k--) {
        f = form_add(f, form_mul(idx[k], s));
        s *= dim[k];
    }
    return f;
}

void form_unlinear(Form f, const int64_t *dim, int n, Form *idx)
{
    for (int k = n - 1; k >= 0; k--) {
        idx[k] = form_mod(f, dim[k]);
        f = form_div(f, dim[k]);
    }
}

void form_reindex(
    const Form *idx, const int64_t *new_dim, int new_n, const int64_t *old_dim, int old_n, Form *out)
{
    int i = 0, j = 0;
    for (int k = 0; k < new_n + old_n; k++)
        if ((k < new_n ? new_dim[k] : old_dim[k - new_n]) == 0) {       /* no elements: any index will do */
            for (j = 0; j < old_n; j++)
                out[j] = form_c(0);
            return;
        }
    /* dimensions up to where the products are equal are a space of their own */
    while (i < new_n || j < old_n) {
        int i0 = i, j0 = j;
        int64_t p = 1, q = 1;
        do {
            if (j == old_n || (i < new_n && p <= q))
                p *= new_dim[i++];
            else
                q *= old_dim[j++];
        } while (p != q && (i < new_n || j < old_n));
        form_unlinear(form_linear(idx + i0, new_dim + i0, i - i0), old_dim + j0, j - j0, out + j0);
    }
}

/* ==================== substitution */

static Form atom_subst(const Atom *a, const Subst *s)
{
    switch (a->kind) {
    case A_VAR:
        for (int i = 0; i < s->n; i++)
            if (s->from[i] == a)
                return s->to[i];
        break;
    case A_DIV:
        return form_div(form_subst(a->f, s), a->d);
    case A_MOD:
        return form_mod(form_subst(a->f, s), a->d);
    case A_CLAMP: case A_WITHIN: {
        Form inner = form_subst(a->f, s);
        return s->clamp ? s->clamp(s->ctx, a->kind, inner, a->d) : bounded(a->kind, inner, a->d);
    }
    case A_ELEM: {
        if (s->elem)
            return s->elem(s->ctx, a);
        Form idx[MAXRANK];
        for (int i = 0; i < a->nidx; i++)
            idx[i] = form_subst(a->idx[i], s);
        return form_a(atom_elem(a->g, a->v, idx, a->nidx, a->lo, a->hi));
    }
    case A_VAL:
        break;
    }
    return form_a(a);
}

Form form_subst(Form f, const Subst *s)
{
    uint8_t flags = box(f)->flags;
    bool any = (flags & ELEMS && s->elem) || (flags & CLAMPS && s->clamp);
    const AtomSet *deps = any || !f->n ? NULL : form_deps(f);
    for (int i = 0; deps && !any && i < s->n; i++)
        any = set_has(deps, s->from[i]);
    if (!any)
        return f;
    Form r = form_c(f->c);
    for (int i = 0; i < f->n; i++)
        r = form_add(r, form_mul(atom_subst(f->t[i].a, s), f->t[i].k));
    return r;
}

/* ==================== text */

static void form_print(Form, Text *);

static void atom_print(const Atom *a, Text *t)
{
    switch (a->kind) {
    case A_VAR:
        text_add(t, "%s", a->name);
        break;
    case A_VAL:
        text_add(t, "v%u", (unsigned)a->val);
        break;
    case A_ELEM:
        text_add(t, "%%%u[", (unsigned)a->v);
        for (int i = 0; i < a->nidx; i++) {
            text_add(t, "%s", i ? ", " : "");
            form_print(a->idx[i], t);
        }
        text_add(t, "]");
        break;
    default:
        text_add(t, "(");
        form_print(a->f, t);
        text_add(t, " %s %lld)",
            a->kind == A_DIV       ? "/" :
                a->kind == A_MOD   ? "%" :
                a->kind == A_CLAMP ? "clamp" :
                                     "within",
            (long long)a->d);
    }
}

static void form_print(Form f, Text *t)
{
    for (int i = 0; i < f->n; i++) {
        int64_t k = f->t[i].k;
        text_add(t, "%s", i ? k < 0 ? " - " : " + " : k < 0 ? "-" : "");
        if (k != 1 && k != -1)
            text_add(t, "%lld*", (long long)(k < 0 ? -k : k));
        atom_print(f->t[i].a, t);
    }
    if (f->c || !f->n)
        text_add(t, "%s%lld",
            !f->n        ? "" :
                f->c < 0 ? " - " :
                           " + ",
            (long long)(f->n && f->c < 0 ? -f->c : f->c));
}

const char *form_text(Form f)
{
    Text t = { 0 };
    form_print(f, &t);
    const char *s = arena_text("%s", t.s ? t.s : "");
    text_free(&t);
    return s;
}
