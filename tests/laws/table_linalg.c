/*
 * table_linalg.c - cases of linear algebra: sizes that are written out, loops, and blocks; none, and stacks
 * of none.
 *
 * Matrices are well conditioned, and made of few bits, so that an error of the op is larger than that of
 * what comes before it. ULPs are of 1, or of the result where that is larger: an element that happens to be
 * small is as far from the exact one as its neighbours are.
 */
#include <math.h>

#include "table.h"

double of_one(const double *x, double want)
{
    (void)x;
    return fabs(want) > 1 ? fabs(want) : 1;
}

static Ref times(Ref x, double c) { return Mul(x, Like(x, c)); }
static Ref plus(Ref x, double c) { return Add(x, times(IdentityLike(x), c)); }
static int64_t last(Ints s) { return s.v[s.n - 1]; }

static Ref positive(Dtype dt, Ints s)
{
    Ref x = in(dt, SMALL, 0, s);
    return plus(Matmul(x, Turned(x)), (double)last(s) + 1);
}

/* With a diagonal that outweighs the rest, as ones would, too. */
static Ref heavy(Dtype dt, Ints s) { return plus(times(in(dt, SMALL, 0, s), 1.0 / 16), 3); }

void make_cholesky(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t size[] = { 1, 3, 40, 33 };
    if (variant < 2) {
        out(Cholesky(positive(dt, DIMS(2, size[2 * variant], size[2 * variant]))));
        out(Cholesky(positive(dt, DIMS(size[2 * variant + 1], size[2 * variant + 1]))));
        return;
    }
    out(Cholesky(positive(dt, DIMS(2, 9, 9))));
    out(Cholesky(positive(dt, DIMS(2, 3, 5, 5))));
    Ref none = Cholesky(times(positive(dt, DIMS(2, 4, 4)), -1));
    out(none ? Convert(Ne(none, none), dt) : 0);
    out(Cholesky(in(dt, SMALL, 0, DIMS(0, 3, 3))));
    out(Cholesky(in(dt, SMALL, 0, DIMS(2, 0, 0))));
}

void make_triangular_solve(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t size[] = { 3, 9, 40 };
    int64_t n = size[variant];
    Ref a = heavy(dt, DIMS(2, n, n)), b = in(dt, SMALL, 0, DIMS(2, n, 2));
    Ref r = in(dt, SMALL, 0, DIMS(2, 2, n));
    for (int how = 0; how < 16; how++)
        out(TriangularSolve(a, how & TRI_RIGHT ? r : b, how));
    if (variant)
        return;
    Ref wide = heavy(dt, DIMS(2, 20, 20));      /* more than is written out */
    out(TriangularSolve(wide, in(dt, SMALL, 0, DIMS(2, 20, 1)), TRI_LOWER));
    out(TriangularSolve(in(dt, SMALL, 0, DIMS(0, 0)), in(dt, SMALL, 0, DIMS(0, 3)), TRI_LOWER));
    out(TriangularSolve(a, in(dt, SMALL, 0, DIMS(2, 3, 0)), TRI_LOWER));
}

static void factored(Ref a, bool full)
{
    Ref f[2] = { 0 };
    Qr(a, full, f);
    out(f[0]), out(f[1]);
}

void make_qr(Op op, Dtype dt, int variant)
{
    (void)op;
    switch (variant) {
    case 0:
        factored(heavy(dt, DIMS(2, 3, 3)), false);
        factored(plus(in(dt, SMALL, 0, DIMS(5, 2)), 5), false);
        factored(heavy(dt, DIMS(1, 1)), false);
        break;
    case 1:
        factored(heavy(dt, DIMS(34, 34)), false);
        break;
    default:
        factored(plus(in(dt, SMALL, 0, DIMS(5, 2)), 5), true);
        factored(plus(in(dt, SMALL, 0, DIMS(2, 2, 4)), 5), false);
        factored(in(dt, SMALL, 0, DIMS(3, 0)), true);
        factored(in(dt, SMALL, 0, DIMS(0, 3)), false);
    }
}

void make_lu(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t shape[][2] = { { 4, 4 }, { 9, 9 }, { 5, 3 }, { 3, 5 }, { 40, 40 } };
    Ref f[3] = { 0 };
    Lu(heavy(dt, variant ? DIMS(shape[variant][0], shape[variant][1]) : DIMS(2, 4, 4)), f);
    out(f[0]), out(f[1]), out(f[2]);
    if (variant != 2)
        return;
    Lu(in(dt, SMALL, 0, DIMS(3, 0)), f);
    out(f[1]), out(f[2]);
    static const int64_t narrow[][2] = { { 2, 40 }, { 40, 2 }, { 300, 1 }, { 1, 40 } };
    for (int k = 0; k < 4; k++) {
        Lu(plus(in(dt, SMALL, 0, DIMS(narrow[k][0], narrow[k][1])), 9), f);
        out(f[0]), out(f[1]), out(f[2]);
    }
}

void make_solve(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t size[] = { 3, 8, 40 };
    int64_t n = size[variant], sides[] = { 1, 3 };
    Ref f[3] = { 0 }, a = heavy(dt, DIMS(2, n, n));
    Lu(StopGradient(a), f);
    for (int k = 0; k < 2; k++)
        for (int turned = 0; turned < 2; turned++)
            out(Solve(a, in(dt, SMALL, 0, DIMS(2, n, sides[k])), f[0], f[2], turned));
    if (variant)
        return;
    Lu(StopGradient(a = heavy(dt, DIMS(2, 2))), f);                    /* many sides of a small matrix */
    out(Solve(a, in(dt, SMALL, 0, DIMS(2, 40)), f[0], f[2], false));
}

/* Signs are nobody's, so what is judged are products in which they cancel. */
void make_eigh(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t size[] = { 3, 6, 12, 1 };
    Ref a = positive(dt, variant ? DIMS(size[variant], size[variant]) : DIMS(2, 3, 3)), f[2] = { 0 };
    Eigh(a, f);
    if (!f[0])
        return;
    out(f[0]);
    out(Matmul(Mul(f[1], Along(Sqrt(f[0]), f[1], false)), Turned(f[1])));
}

void make_svd(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t shape[][2] = { { 3, 3 }, { 7, 4 }, { 3, 5 }, { 12, 12 } };
    Ref a = plus(in(dt, SMALL, 0, variant ? DIMS(shape[variant][0], shape[variant][1]) : DIMS(2, 3, 3)), 3),
        f[3] = { 0 };
    Svd(a, false, f);
    if (!f[0])
        return;
    out(f[1]);
    out(Matmul(Mul(f[0], Along(Sqrt(f[1]), f[0], false)), f[2]));
}

/* Lengths by one pass and by two, of products, and by a convolution; along the last axis and others. */
void make_fft(Op op, Dtype dt, int variant)
{
    (void)op;
    static const int64_t shape[][3] = { { 2, 3, 12 }, { 2, 48, 17 }, { 1, 34, 3 }, { 2, 67, 1 } };
    const int64_t *s = shape[variant];
    Ints dims = DIMS(s[0], s[1], s[2]);
    Ref re = in(dt, SMALL, 0, dims), im = in(dt, SMALL, 0, dims), z[2];
    for (int axis = variant == 3; axis < (variant ? 2 : 3); axis++) {
        Fft(re, im, axis, axis == 1, z);
        out(z[0]), out(z[1]);
    }
}

/* Matrices of the last two sizes, square ones of the last: each kind of size, in stacks of any rank. */
void stack_of_matrices(Op op, Dtype dt, Ints s)
{
    Ints square = s, tall = s;
    int row = s.n - 2;
    square.v[row] = s.v[row + 1], tall.v[row] += s.v[row + 1];
    Ref f[3] = { 0 }, a = op == OP_eigh || op == OP_cholesky ? positive(dt, square) : heavy(dt, square);
    Ref b = in(dt, SMALL, 0, s);                /* from the right */
    switch (op) {
    case OP_cholesky: out(Cholesky(a)); return;
    case OP_triangular_solve:
        for (int how = 0; how < 16; how += 3)
            out(TriangularSolve(a, how & TRI_RIGHT ? b : Turned(b), how));
        return;
    case OP_qr: factored(plus(in(dt, SMALL, 0, tall), 5), false); return;
    case OP_lu:
        Lu(plus(in(dt, SMALL, 0, tall), 5), f);
        out(f[0]), out(f[1]), out(f[2]);
        return;
    case OP_solve:
        Lu(StopGradient(a), f);
        out(Solve(a, Turned(b), f[0], f[2], false));
        out(Solve(a, Turned(b), f[0], f[2], true));
        return;
    case OP_eigh:
        Eigh(a, f);
        out(f[0]);
        out(f[0] ? Matmul(Mul(f[1], Along(Sqrt(f[0]), f[1], false)), Turned(f[1])) : 0);
        return;
    default:
        Svd(plus(in(dt, SMALL, 0, tall), 5), false, f);
        out(f[1]);
        out(f[1] ? Matmul(Mul(f[0], Along(Sqrt(f[1]), f[0], false)), f[2]) : 0);
    }
}
