/*
 * table.c - ops.def made into data: builders of the elementwise rows, their partial derivatives, and optab.
 *
 * In: the rows. Out: optab[], complete: an op whose family file does not define rules_<op> does not link.
 * A derivative column is D1(..), D2(..), D3(..), ZERO or MISSING. Each expands to a kind and its
 * expressions, from which one function an operand is made; in the expressions x, y, w are the operands and z
 * the result.
 */
#include "graph.h"

#include <string.h>

/* ==================== what derivative columns are written in */

#define ONE     REF_ONE
#define MINUS   REF_MINUS

/* Where two operands tie, each takes half. */
static Ref Share(Ref wins, Ref ties, Ref like)
{
    return Select(wins, Like(like, 1), Select(ties, Like(like, 0.5), Like(like, 0)));
}

/* x / z, where z is the length of x and something else: a half where both are 0. */
static Ref Part(Ref x, Ref z)
{
    Ref none = Eq(z, Like(z, 0));
    return Select(none, Like(z, 0.5), Div(x, Select(none, Like(z, 1), z)));
}

/* Of a complex number the tangent is the real part of its product with conj(x) / |x|; 0 at 0. */
static Ref AbsSlope(Ref x, Ref z)
{
    if (!is_complex(x))
        return Select(Lt(x, Like(x, 0)), Like(x, -1), Like(x, 1));
    return Div(Conj(x), Convert(Select(Eq(z, Like(z, 0)), Like(z, 1), z), (Dtype)typ(x)->dt));
}

/* One root for both factors has the other sign left of the imaginary axis. */
static Ref AcoshSlope(Ref x)
{
    Ref less = Sub(x, Like(x, 1)), more = Add(x, Like(x, 1));
    return is_complex(x) ? Mul(Rsqrt(less), Rsqrt(more)) : Rsqrt(Mul(less, more));
}

/* A partial derivative that is not known. */
static Ref Unknown(const char *what)
{
    error_set(E_DIFF, "the derivative of %s is not known; wrap that operand in stop_gradient", what);
    return 0;
}

/* The densities of the gamma distribution of shape a and of the beta distribution at x. */
static Ref Gammas(Ref a, Ref x)
{
    return Exp(Sub(Sub(Mul(Sub(a, Like(a, 1)), Log(x)), x), Lgamma(a)));
}

static Ref Betas(Ref a, Ref b, Ref x)
{
    Ref one = Like(x, 1), logs = Add(Mul(Sub(b, one), Log1p(Neg(x))), Mul(Sub(a, one), Log(x)));
    return Exp(Sub(logs, Sub(Add(Lgamma(a), Lgamma(b)), Lgamma(Add(a, b)))));
}

/* I1(x)/(x e^|x|), 1/2 at 0 */
static Ref Half1(Ref x, Ref z)
{
    Ref tiny = Lt(Abs(x), Like(x, 0x1p-14));
    return Select(tiny, Like(x, 0.5), Div(z, Select(tiny, Like(x, 1), x)));
}

static Ref Mask(Ref cond, Ref like) { return Select(cond, Like(like, 1), Like(like, 0)); }

/* ==================== builders */

#define ELEM(name, Name, arity, ...)    BUILD_##arity(name, Name)
#define BUILD_1(name, Name) Ref Name(Ref x) { return emit(OP_##name, 1, &x, NULL); }
#define BUILD_2(name, Name) \
    Ref Name(Ref x, Ref y) { return emit(OP_##name, 2, (const Ref[]){ x, y }, NULL); }
#define BUILD_3(name, Name) \
    Ref Name(Ref x, Ref y, Ref w) { return emit(OP_##name, 3, (const Ref[]){ x, y, w }, NULL); }
#define STRUC(...)
#include "ops.def"

/* ==================== partial derivatives */

#define D1(dx)          1, dx, 0, 0
#define D2(dx, dy)      2, dx, dy, 0
#define D3(dx, dy, dw)  3, dx, dy, dw
#define ZERO            0, 0, 0, 0
#define MISSING         N, 0, 0, 0

#define PARTIAL(name, k, e) \
    static Ref d##k##_##name(Ref x, Ref y, Ref w, Ref z) { (void)x, (void)y, (void)w, (void)z; return e; }
#define ELEM(name, Name, arity, accepts, gives, commutes, how, f, i, d)  PARTIALS(name, d)
#define PARTIALS(name, ...)                 PARTIALS_(name, __VA_ARGS__)
#define PARTIALS_(name, kind, a, b, c)      PARTIALS_##kind(name, a, b, c)
#define PARTIALS_0(name, a, b, c)
#define PARTIALS_N(name, a, b, c)
#define PARTIALS_1(name, a, b, c)           PARTIAL(name, 0, a)
#define PARTIALS_2(name, a, b, c)           PARTIAL(name, 0, a) PARTIAL(name, 1, b)
#define PARTIALS_3(name, a, b, c)           PARTIAL(name, 0, a) PARTIAL(name, 1, b) PARTIAL(name, 2, c)
#define STRUC(...)
#include "ops.def"

/* ==================== rows */

extern const Rules rules_element;               /* of every elementwise row: ops/element.c */
#define ELEM(...)
#define STRUC(name, ...)                    extern const Rules rules_##name;
#include "ops.def"

const Rules rules_region = { 0 };               /* passes ask for OP_region by name: transforms/region*.c */

#define POINTERS(name, ...)                 POINTERS_(name, __VA_ARGS__)
#define POINTERS_(name, kind, a, b, c)      POINTERS_##kind(name)
#define POINTERS_0(name)                    .partial = { 0 }
#define POINTERS_N(name)                    .no_derivative = true
#define POINTERS_1(name)                    .partial = { d0_##name }
#define POINTERS_2(name)                    .partial = { d0_##name, d1_##name }
#define POINTERS_3(name)                    .partial = { d0_##name, d1_##name, d2_##name }

#define PLAIN(c)                            .cost = c, .code = c ? 1 : 0, .again = c <= 1
#define LONG(c, n)                          .cost = c, .code = n
#define FUNCTION(c, n, f)                   .cost = c, .code = n, .fused = true
#define EITHER(c, n, f)                     .cost = c, .code = n, .fused = (n) > 20

const OpRow optab[OP_COUNT] = {
    [OP_NONE] = { .name = "none", .attrs = (const AttrWord[]){ { 0 } } },
#define ELEM(name_, Name, arity, accepts_, gives_, commutes_, how, f, i, d) \
    [OP_##name_] = { .name = #name_, \
        .nin = arity, \
        .nout = 1, \
        .attrs = (const AttrWord[]){ { 0 } }, \
        .elementwise = true, \
        .accepts = accepts_, \
        .gives = gives_, \
        .commutes = commutes_, \
        .rules = &rules_element, \
        .element = IS_POINT, \
        how, \
        POINTERS(name_, d) },
#define LIST(word)                          { #word, true },
#define INT(word)                           { #word, false },
#define ROW(name_, nin_, nout_, element_, cost_, again_) \
    .name = #name_, \
    .nin = nin_, \
    .nout = nout_, \
    .element = IS_##element_, \
    .cost = cost_, \
    .code = cost_, \
    .again = again_, \
    .rules = &rules_##name_
#define STRUC(name, nin, nout, element, cost, again, attrs_) \
    [OP_##name] = { ROW(name, nin, nout, element, cost, again), \
        .attrs = (const AttrWord[]){ attrs_ { 0 } } },
#define MOVES(name, nin, nout, element, cost, again, attrs_) \
    [OP_##name] = { ROW(name, nin, nout, element, cost, again), \
        .attrs = (const AttrWord[]){ attrs_ { 0 } }, \
        .moves = true },
#include "ops.def"
};

/* Ops that share code have the same words at the same places. */
#define SAME_AXES(op) SAME_ATTR(reduce_sum, op, axes);
SAME_AXES(reduce_prod)
SAME_AXES(reduce_max) SAME_AXES(reduce_min) SAME_AXES(reduce_and) SAME_AXES(reduce_or) SAME_AXES(reduce_xor)
#define SAME_AXIS(op) SAME_ATTR(cumsum, op, axis);
    SAME_AXIS(cumprod) SAME_AXIS(cummax) SAME_AXIS(cummin) SAME_AXIS(sort) SAME_AXIS(concat)
        SAME_AXIS(argmax) SAME_AXIS(argmin)
#define SAME_CUM(op) SAME_ATTR(cumsum, op, reverse);
            SAME_CUM(cumprod) SAME_CUM(cummax) SAME_CUM(cummin) SAME_ATTR(argmax, argmin, dtype);
SAME_ATTR(reshape, broadcast, shape);
#define SAME_LANES(op) SAME_ATTR(psum, op, name); SAME_ATTR(psum, op, size);
SAME_LANES(axis_index)
SAME_LANES(pmax) SAME_LANES(pmin) SAME_LANES(all_gather) SAME_LANES(psum_scatter) SAME_LANES(all_to_all)
    SAME_LANES(ppermute) SAME_ATTR(all_gather, psum_scatter, axis);
SAME_ATTR(check, debug_print, name); SAME_ATTR(check, debug_print, names);

int op_results(Op op, int nin, const int64_t *attr, int nattr)
{
    if (op == OP_callback)
        return callback_results(attr, nattr);
    return optab[op].nout < 0 ? nin : optab[op].nout;
}

static int no_number(Op op, const Type *t)
{
    if (dtype_stored((Dtype)t->dt))
        return error_set(E_DTYPE,
            "%s of %s is not defined: %s is for storage, converted and moved but not computed with; convert "
            "it with hd_cast(x, %s), and what comes out back",
            optab[op].name, type_text(t), dtype_name((Dtype)t->dt),
            dtype_f8((Dtype)t->dt) ? "HD_F32" : "HD_I32");
    return error_set(E_DTYPE,
        "%s of %s is not defined: a random key is no number; draw from it with hd_random_normal and the "
        "like, "
        "or take its words with hd_key_data",
        optab[op].name, type_text(t));
}

/* Values that are no numbers are for ops that move elements. */
static bool refuses(Op op, Dtype d)
{
    if (dtype_stored(d))
        return !optab[op].moves && op != OP_convert && op != OP_callback;
    return d == DT_KEY && !optab[op].moves;
}

int op_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    for (int k = 0; k < nin; k++)
        if (refuses(op, (Dtype)t[k]->dt))
            return no_number(op, t[k]);
    int e = optab[op].rules->infer(op, nin, t, attr, nattr, out);
    for (int k = 0, n = op_results(op, nin, attr, nattr); !e && k < n; k++)
        if (dtype_stored((Dtype)out[k].dt) && refuses(op, (Dtype)out[k].dt))
            return no_number(op, &out[k]);
        else if (refuses(op, (Dtype)out[k].dt))
            return error_set(E_DTYPE,
                "%s cannot give %s: a random key is made by hd_random_key, hd_random_split and "
                "hd_random_fold_in, or "
                "of two words by hd_wrap_key_data",
                optab[op].name, type_text(&out[k]));
    return e;
}

Op op_find(const char *name)
{
    for (int op = OP_NONE + 1; op < OP_COUNT; op++)
        if (!strcmp(optab[op].name, name))
            return (Op)op;
    return OP_NONE;
}
