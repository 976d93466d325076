/*
 * test_form.c - index forms against the arithmetic they stand for.
 */
#include <stdlib.h>
#include <string.h>

#include "in_arena.h"
#include "index.h"
#include "suite_run.h"

/* ==================== forms: random expressions, evaluated both ways */

enum { VARS = 6, ROUNDS = 20000 };

static uint64_t seed = 88172645463325252ull;
static int64_t any(int64_t n)                   /* 0 .. n-1 */
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (int64_t)(seed % (uint64_t)n);
}

static const Atom *var[VARS];
static int64_t extent[VARS], at[VARS];

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t floor_mod(int64_t a, int64_t b) { return a - b * floor_div(a, b); }
static int64_t into(int64_t a, int64_t n) { return a < 0 ? 0 : a >= n ? n - 1 : a; }

/* A form at the values in `at`: what printers compute. */
static int64_t form_at(Form f)
{
    int64_t r = f->c;
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        int64_t x = 0;
        if (a->kind == A_VAR) {
            for (int v = 0; v < VARS; v++)
                x = var[v] == a ? at[v] : x;
        } else {
            int64_t in = form_at(a->f);
            x = a->kind == A_DIV ? floor_div(in, a->d) :
                a->kind == A_MOD ? floor_mod(in, a->d) :
                                   into(in, a->d);
        }
        ck_assert_msg(x >= a->lo && x <= a->hi, "%s out of its range", form_text(f));
        r += x * f->t[i].k;
    }
    return r;
}

/* A random expression, as a form and as a tree that can be evaluated again. */
typedef struct Tree { char op; int64_t k; struct Tree *x, *y; Form f; } Tree;

static int64_t tree_at(const Tree *t)
{
    switch (t->op) {
    case 'v': return at[t->k];
    case 'c': return t->k;
    case '+': return tree_at(t->x) + tree_at(t->y);
    case '*': return tree_at(t->x) * t->k;
    case '/': return floor_div(tree_at(t->x), t->k);
    case '%': return floor_mod(tree_at(t->x), t->k);
    default: return into(tree_at(t->x), t->k);
    }
}

static Tree *grow(int depth)
{
    static const int64_t factor[] = { 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 60, -1, -2, -3, -4, -16 };
    Tree *t = NEW(Tree);
    int kind = depth ? (int)any(10) : (int)any(2) * 9;
    if (kind == 0) {
        *t = (Tree){ 'c', any(40) - 12, NULL, NULL, NULL };
        t->f = form_c(t->k);
    } else if (kind == 9) {
        *t = (Tree){ 'v', any(VARS), NULL, NULL, NULL };
        t->f = form_a(var[t->k]);
    } else if (kind < 4) {
        t->op = '+', t->x = grow(depth - 1), t->y = grow(depth - 1);
        t->f = form_add(t->x->f, t->y->f);
    } else {
        t->x = grow(depth - 1);
        t->op = "**//%%%c"[kind - 4 + any(3)];
        t->k = factor[any(t->op == '*' ? 19 : 14)];
        t->f = t->op == '*' ? form_mul(t->x->f, t->k) : t->op == '/' ? form_div(t->x->f, t->k) :
            t->op == '%' ? form_mod(t->x->f, t->k) : form_clamp(t->x->f, t->k);
    }
    return t;
}

static void new_vars(void)
{
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 12, 16, 30, 64, 100 };
    for (int v = 0; v < VARS; v++) {
        extent[v] = sizes[any(12)];
        var[v] = atom_var("i", extent[v], 0);
    }
}

static void new_values(void)
{
    for (int v = 0; v < VARS; v++)
        at[v] = any(3) ? any(extent[v]) : any(2) ? 0 : extent[v] - 1;
}

/* What form.c promises of the atoms it leaves. */
static void normal(Form f)
{
    int64_t lo, hi;
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        ck_assert(f->t[i].k != 0);
        ck_assert(i == 0 || f->t[i - 1].a->id < a->id);
        if (a->kind != A_DIV && a->kind != A_MOD)
            continue;
        form_range(a->f, &lo, &hi);
        ck_assert_msg(lo >= 0 && lo < a->d && hi >= a->d, "%s is decided or negative", form_text(f));
        ck_assert_msg(a->kind != A_DIV || a->f->n != 1 || a->f->t[0].k != 1 || a->f->t[0].a->kind != A_DIV,
            "%s is nested", form_text(f));
        normal(a->f);
    }
}

START_TEST(form_random)
{
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 50 == 0) {
            arena_out(), arena_in();
            new_vars();
        }
        Tree *t = grow(5);
        int64_t lo, hi;
        form_range(t->f, &lo, &hi);
        normal(t->f);
        for (int n = 0; n < 12; n++) {
            new_values();
            int64_t want = tree_at(t);
            ck_assert_msg(form_at(t->f) == want, "%s is %lld, not %lld", form_text(t->f),
                (long long)form_at(t->f), (long long)want);
            ck_assert(want >= lo && want <= hi);
        }
    }
}
END_TEST

/* Replacing variables by forms, then evaluating, is evaluating at their values. */
START_TEST(form_substitution)
{
    for (int round = 0; round < ROUNDS / 4; round++) {
        if (round % 50 == 0)
            arena_out(), arena_in(), new_vars();
        Tree *t = grow(5);
        const Atom *from[2] = { var[0], var[1] };
        Form to[2];
        int64_t keep[2];
        for (int v = 0; v < 2; v++)             /* something in the variable's range */
            to[v] = form_mod(grow(2)->f, extent[v]);
        Form f = form_subst(t->f, &(Subst){ .n = 2, .from = from, .to = to });
        for (int n = 0; n < 6; n++) {
            new_values();
            int64_t got = form_at(f);
            for (int v = 0; v < 2; v++)
                keep[v] = form_at(to[v]);
            at[0] = keep[0], at[1] = keep[1];
            ck_assert_int_eq(got, tree_at(t));
        }
    }
}
END_TEST

static int64_t position(const int64_t *idx, const int64_t *dim, int n)
{
    int64_t p = 0;
    for (int k = 0; k < n; k++)
        p = p * dim[k] + idx[k];
    return p;
}

/* Dimensions whose product is n, in a random order, with ones among them. */
static int split_dims(int64_t n, int64_t *dim)
{
    int r = 0;
    for (int64_t d = 2; n > 1 && r < 6; d++)
        while (n % d == 0 && r < 6) {
            if (r && any(2))
                dim[any(r)] *= d;
            else
                dim[r++] = d;
            n /= d;
        }
    if (n > 1)
        dim[r - 1] *= n;
    if (any(3) == 0)
        dim[r++] = 1;
    for (int k = r - 1; k > 0; k--) {
        int j = (int)any(k + 1);
        int64_t x = dim[k];
        dim[k] = dim[j], dim[j] = x;
    }
    return r;
}

START_TEST(form_reshape)
{
    static const int64_t size[] = { 1, 6, 12, 24, 60, 64, 96, 360, 1024 };
    for (int round = 0; round < 3000; round++) {
        if (round % 50 == 0)
            arena_out(), arena_in();
        int64_t total = size[any(9)], a[8], b[8], pos[8];
        int na = split_dims(total, a), nb = split_dims(total, b);
        Form idx[8], out[8], back[8];
        const Atom *v[8];
        for (int k = 0; k < na; k++) {
            v[k] = atom_var("i", a[k], 0);
            idx[k] = form_a(v[k]);
        }
        form_reindex(idx, a, na, b, nb, out);
        for (int n = 0; n < 10; n++) {
            Form c[8];
            for (int k = 0; k < na; k++) {
                pos[k] = any(a[k]);
                c[k] = form_c(pos[k]);
            }
            int64_t got = 0;
            for (int k = 0; k < nb; k++) {
                Form f = form_subst(out[k], &(Subst){ .n = na, .from = v, .to = c });
                ck_assert(form_const(f) && f->c >= 0 && f->c < b[k]);
                got = got * b[k] + f->c;
            }
            ck_assert_int_eq(got, position(pos, a, na));
        }
        /* There and back is the same index, as the same pointers, and the position never divides. */
        form_reindex(out, b, nb, a, na, back);
        for (int k = 0; k < na; k++)
            ck_assert_msg(back[k] == idx[k], "%s", form_text(back[k]));
        ck_assert_ptr_eq(form_linear(out, b, nb), form_linear(idx, a, na));
    }
}
END_TEST

START_TEST(form_identities)
{
    Form i = form_a(atom_var("i", 1000, 0)), j = form_a(atom_var("j", 5, 0)), l = form_a(LANE);
    Form f = form_add(form_mul(i, 5), j);
    ck_assert_ptr_eq(form_div(f, 5), i);
    ck_assert_ptr_eq(form_mod(f, 5), j);
    ck_assert_ptr_eq(form_add(form_mul(form_div(i, 7), 7), form_mod(i, 7)), i);
    ck_assert_ptr_eq(form_div(form_div(i, 3), 4), form_div(i, 12));
    ck_assert_ptr_eq(form_mod(form_mod(i, 12), 4), form_mod(i, 4));
    ck_assert_ptr_eq(form_div(form_mod(i, 12), 4), form_mod(form_div(i, 4), 3));
    ck_assert_ptr_eq(form_add(form_mod(i, 4), form_mul(form_mod(form_div(i, 4), 3), 4)), form_mod(i, 12));
    /* a vector within a row stays a vector */
    Form vec = form_add(form_mul(i, 16), l);
    ck_assert_int_eq(form_coef(form_mod(vec, 48), LANE), 1);
    ck_assert_ptr_eq(form_div(vec, 48), form_div(i, 3));
    ck_assert_ptr_eq(
        form_mod(form_add(form_mul(l, -1), form_c(15)), 16), form_add(form_mul(l, -1), form_c(15)));
    /* rounding down, and clamping */
    ck_assert_int_eq(form_div(form_c(-1), 4)->c, -1);
    ck_assert_int_eq(form_mod(form_c(-1), 4)->c, 3);
    ck_assert_ptr_eq(form_clamp(j, 5), j);
    ck_assert_int_eq(form_clamp(form_c(9), 5)->c, 4);
    ck_assert_int_eq(form_clamp(form_addc(j, -1), 5)->t[0].a->kind, A_CLAMP);
    /* spaces without elements */
    Form idx[2] = { form_c(0), form_c(0) }, out[1];
    form_reindex(idx, (int64_t[]){ 0, 3 }, 2, (int64_t[]){ 0 }, 1, out);
    ck_assert(form_const(out[0]));
    ck_assert(form_fits(form_mul(i, 2000000)));
    ck_assert(!form_fits(form_mul(i, 3000000)));
    ck_assert(form_vector(form_div(vec, 5)) && !form_vector(i));
}
END_TEST

static Form twice(void *ctx, const Atom *a) { return (void)ctx, form_c(2 * (int64_t)a->v); }

START_TEST(form_elements)
{
    Form i = form_a(atom_var("i", 10, 0)), j = form_a(atom_var("j", 10, 0));
    Form e = form_a(atom_elem(NULL, 21, &i, 1, 0, 99));
    ck_assert_ptr_eq(e, form_a(atom_elem(NULL, 21, &i, 1, 0, 99)));
    ck_assert(e != form_a(atom_elem(NULL, 21, &i, 1, 0, 98)));
    const Atom *from = i->t[0].a;
    Subst s = { .n = 1, .from = &from, .to = &j };
    ck_assert_ptr_eq(form_subst(e, &s), form_a(atom_elem(NULL, 21, &j, 1, 0, 99)));
    s.elem = twice;
    ck_assert_int_eq(form_subst(form_addc(e, 1), &s)->c, 43);
    ck_assert(set_has(form_deps(e), from));
}
END_TEST

Suite *form_suite(void);
Suite *form_suite(void)
{
    Suite *s = suite_create("form");
    TCase *f = tcase_create("forms");
    tcase_add_checked_fixture(f, arena_in, arena_out);
    tcase_set_timeout(f, 60);
    tcase_add_test(f, form_random);
    tcase_add_test(f, form_substitution);
    tcase_add_test(f, form_reshape);
    tcase_add_test(f, form_identities);
    tcase_add_test(f, form_elements);
    suite_add_tcase(s, f);
    return s;
}

int main(void)
{
    return suite_run(form_suite());
}
