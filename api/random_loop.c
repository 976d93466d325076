/*
 * random_loop.c - samplers that reject: gamma, poisson, binomial, each a loop that ends when a draw is
 * accepted.
 *
 * The loop of one number is written on scalars and lifted over the lanes of the result, so that each number
 * has its own count of steps; where the key is shared (poisson, binomial), a lane draws its own element of
 * what the whole array would. gamma: Marsaglia and Tsang, A simple method for generating gamma variables
 * (2000). poisson: Knuth's product of uniforms below 10, else Hoermann's PTRS (1993). binomial: sums of
 * geometric numbers where n p is at most 10, else Hoermann's BTRS (1993). Keys are split as jax.random
 * splits them.
 */
#include "random.h"

#include <math.h>

static Key key_at(const Ref *x) { return (Key){ .word = { x[0], x[1] } }; }
static void key_to(Key k, Ref *x) { x[0] = k.word[0], x[1] = k.word[1]; }

static Ref less(double c, Ref x) { return Sub(Like(x, c), x); }
static Ref plus(Ref x, double c) { return Add(x, Like(x, c)); }
static Ref times(double c, Ref x) { return Mul(Like(x, c), x); }
static Ref over(double c, Ref x) { return Div(Like(x, c), x); }
static Ref below(Ref x, double c) { return Lt(x, Like(x, c)); }
static Ref at_least(Ref x, double c) { return Ge(x, Like(x, c)); }

/* ==================== gamma */

/* c, key, x, v: normal numbers x until v = 1 + c x is above zero. */
static void not_positive(const Ref *x, Ref *out) { out[0] = Le(x[4], Like(x[4], 0)); }

static void next_normal(const Ref *x, Ref *out)
{
    Key sub[2];
    if (split(key_at(x + 1), 2, sub))
        return;
    Ref n = draw_normal(sub[1], (Dtype)typ(x[0])->dt, (Ints){ 0 });
    key_to(sub[0], out);
    out[2] = n, out[3] = plus(Mul(n, x[0]), 1);
}

/* d, c, key, X = x^2, V = v^3, U: uniform numbers U until one is small enough for x. */
static void rejected(const Ref *x, Ref *out)
{
    Ref X = x[4], V = x[5], U = x[6];
    Ref outside = Ge(U, less(1, times(0.0331, square(X))));
    Ref above = Ge(Log(U), Add(times(0.5, X), Mul(x[0], Add(less(1, V), Log(V)))));
    out[0] = And(outside, above);
}

static void next_candidate(const Ref *x, Ref *out)
{
    Key sub[3];
    Ref v[4];
    Dtype d = (Dtype)typ(x[0])->dt;
    if (split(key_at(x + 2), 3, sub))
        return;
    loop_while(not_positive, next_normal, 1, 4,
         (Ref[]){ x[1], sub[1].word[0], sub[1].word[1], Const(d, 0), Const(d, -1) }, v);
    if (error_pending())
        return;
    key_to(sub[0], out);
    out[2] = square(v[2]), out[3] = Mul(square(v[3]), v[3]), out[4] = unit(sub[2], d, (Ints){ 0 });
}

/* key, a. Below 1 a number of a + 1 is drawn and multiplied by U^(1/a). */
static void one_gamma(const Ref *x, Ref *y, const void *logarithm)
{
    Key sub[2];
    Ref a = x[2], big = at_least(a, 1), V[5];
    if (split(key_at(x), 2, sub))
        return;
    Ref d = plus(Select(big, a, plus(a, 1)), -1.0 / 3), c = over(1.0 / 3, Sqrt(d)), zero = Like(a, 0),
        one = Like(a, 1);
    loop_while(rejected, next_candidate, 2, 5,
         (Ref[]){ d, c, sub[0].word[0], sub[0].word[1], zero, one, Like(a, 2) }, V);
    if (error_pending())
        return;
    if (!*(const bool *)logarithm) {
        Ref u = less(1, unit(sub[1], (Dtype)typ(a)->dt, (Ints){ 0 }));
        y[0] = Mul(Mul(d, V[3]), Select(big, one, Pow(u, Div(one, a))));
        return;
    }
    Ref u = Neg(draw_exponential(sub[1], (Dtype)typ(a)->dt, (Ints){ 0 }));
    Ref boost = Select(Or(big, Eq(u, zero)), zero, Mul(u, Div(one, a)));
    y[0] = Add(Add(Log(d), Log(V[3])), boost);
}

/* Each element has a key of its own. */
Ref draw_gamma(Key k, Ref a, bool logarithm)
{
    Ref w[2], y;
    if (!a || !keys_of(k, shape_of(a), w))
        return 0;
    each_element(one_gamma, &logarithm, 3, (Ref[]){ w[0], w[1], stop_gradient(a) }, shape_of(a), 1, &y);
    return GammaDraw(y, a, logarithm);
}

/* ==================== accepted by one, while others still try
 * All numbers of an array draw from the same keys in turn until each has accepted once; each keeps what it
 * accepted last. So they go on together, in two loops: to the first acceptance of each lane, and from there
 * to the end of the longest. */

enum { A, B, AT, LAST = AT + PLACE, CAPTURES, K = CAPTURES, ACCEPTED, KEY, STEPS = KEY + 2, OPERANDS };

/* One turn: the operands, and the keys of the next turn and of two uniforms. */
typedef struct Trial { const Ref *x; Key next, sub[2]; } Trial;

static bool trial(const Ref *x, Trial *t)
{
    Key sub[3];
    if (split(key_at(x + KEY), 3, sub))
        return false;
    *t = (Trial){ x, sub[0], { sub[1], sub[2] } };
    return true;
}

/* Two uniforms of this lane: the first about 0. */
static bool uniforms(const Trial *t, Ref *u, Ref *v)
{
    Dtype d = (Dtype)typ(t->x[A])->dt;
    *u = plus(unit_at(t->sub[0], t->x + AT, d), -0.5), *v = unit_at(t->sub[1], t->x + AT, d);
    return *u && *v;
}

static void tried(const Trial *t, Ref yes, Ref k, Ref *out)
{
    out[0] = Select(yes, k, t->x[K]), out[1] = Or(yes, t->x[ACCEPTED]);
    key_to(t->next, out + 2);
    out[4] = plus(t->x[STEPS], 1);
}

static void not_accepted(const Ref *x, Ref *out) { out[0] = Not(x[ACCEPTED]); }
static void not_last(const Ref *x, Ref *out) { out[0] = Lt(x[STEPS], x[LAST]); }

typedef struct Loop { StepFn *more, *step; } Loop;
static void one_loop(const Ref *x, Ref *y, const void *env)
{
    const Loop *l = env;
    Ref out[5] = { 0 };
    loop_while(l->more, l->step, CAPTURES, OPERANDS - CAPTURES, x, out);
    y[0] = out[0], y[1] = out[2], y[2] = out[3], y[3] = out[4];
}

/* The k that each lane accepts. idle: lanes that take another way; they try, too, unless all do. */
static Ref accepted_last(StepFn *step, Key key, Ref a, Ref b, Ref idle)
{
    Ref c[PLACE], y[4], zero = Const(DT_I32, 0);
    Ints shape = a ? shape_of(a) : (Ints){ 0 }, all = ints_run(0, shape.n);
    if (!a || !b || !idle || !places(shape, (Dtype)typ(a)->dt, c))
        return 0;
    Ref none = shape.n ? Reduce(OP_reduce_and, idle, all) : idle;
    each_element(one_loop, &(Loop){ not_accepted, step }, OPERANDS,
        (Ref[]){ a, b, c[0], c[1], c[2], c[3], zero, Const((Dtype)typ(a)->dt, -1), none, key.word[0],
            key.word[1], zero },
        shape, 4, y);
    if (!shape.n || !y[3])
        return y[0];
    Type steps = *typ(y[3]);
    Ref last = type_size(&steps) ? Reduce(OP_reduce_max, y[3], all) : zero;
    each_element(one_loop, &(Loop){ not_last, step }, OPERANDS,
        (Ref[]){ a, b, c[0], c[1], c[2], c[3], last, y[0], none, y[1], y[2],
            Select(idle, scalar_to(last, shape), y[3]) },
        shape, 4, y);
    return y[0];
}

/* ==================== poisson */

/* -lambda, place, k, key, logarithm of the product so far */
static void above_rate(const Ref *x, Ref *out) { out[0] = Gt(x[PLACE + 4], x[0]); }

static void next_factor(const Ref *x, Ref *out)
{
    Key sub[2];
    if (split(key_at(x + PLACE + 2), 2, sub))
        return;
    out[0] = plus(x[PLACE + 1], 1);
    key_to(sub[0], out + 1);
    out[3] = Add(x[PLACE + 4], Log(unit_at(sub[1], x + 1, DT_F32)));
}

/* place, key, lambda: the number of uniforms whose product stays above exp(-lambda). */
static void one_small(const Ref *x, Ref *y, const void *env)
{
    (void)env;
    Ref out[4];
    loop_while(above_rate, next_factor, PLACE + 1, 4,
        (Ref[]){ Neg(x[PLACE + 2]), x[0], x[1], x[2], x[3], Const(DT_I32, 0), x[PLACE], x[PLACE + 1],
            Const(DT_F32, 0) },
        out);
    y[0] = error_pending() ? 0 : plus(out[0], -1);
}

static void next_poisson(const Ref *x, Ref *out)
{
    Trial t;
    Ref u, v, lambda = x[0];
    if (!trial(x, &t) || !uniforms(&t, &u, &v))
        return;
    Ref b = plus(times(2.53, Sqrt(lambda)), 0.931), a = plus(times(0.02483, b), -0.059),
        from_edge = less(0.5, Abs(u));
    Ref scale = plus(over(1.1328, plus(b, -3.4)), 1.1239), sure = less(0.9277, over(3.6224, plus(b, -2)));
    Ref k = Floor(plus(Add(Mul(Add(Div(times(2, a), from_edge), b), u), lambda), 0.43));
    Ref s = Log(Div(Mul(v, scale), Add(Div(a, square(from_edge)), b)));
    Ref ratio = Sub(Add(Neg(lambda), Mul(k, Log(lambda))), Lgamma(plus(k, 1)));
    Ref never = Or(below(k, 0), And(below(from_edge, 0.013), Gt(v, from_edge)));
    tried(&t, Or(And(at_least(from_edge, 0.07), Le(v, sure)), And(Not(never), Le(s, ratio))), k, out);
}

Ref draw_poisson(Key key, Ref lambda)
{
    Ref c[PLACE], few;
    lambda = stop_gradient(lambda);
    if (!lambda || !places(shape_of(lambda), DT_F32, c))
        return 0;
    Ref small = Or(is_nan(lambda), below(lambda, 10));
    each_element(one_small, NULL, PLACE + 3, (Ref[]){ c[0], c[1], c[2], c[3], key.word[0], key.word[1],
                 Select(small, lambda, Like(lambda, 0)) }, shape_of(lambda), 1, &few);
    Ref large = Select(small, Like(lambda, 1e5), lambda);
    Ref many = accepted_last(next_poisson, key, large, large, small);
    Ref y = Select(small, few, Convert(many, DT_I32));
    return Select(Eq(lambda, Like(lambda, 0)), Like(y, 0), y);
}

/* ==================== binomial */

/* n, log(1 - p), place, how many, their sum, key: geometric numbers until their sum is above n */
static void within(const Ref *x, Ref *out) { out[0] = Le(x[PLACE + 3], x[0]); }

static void next_geometric(const Ref *x, Ref *out)
{
    Key sub[2];
    if (split(key_at(x + PLACE + 4), 2, sub))
        return;
    out[0] = plus(x[PLACE + 2], 1);
    out[1] = Add(x[PLACE + 3], Ceil(Div(Log(unit_at(sub[0], x + 2, (Dtype)typ(x[0])->dt)), x[1])));
    key_to(sub[1], out + 2);
}

/* What Stirling's series leaves of log k!, k at least 0: a table to 9, then the series. */
static Ref stirling_tail(Ref k)
{
    static const double table[] = { 0.0810614667953272, 0.0413406959554092, 0.0276779256849983,
        0.02079067210376509, 0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
        0.00925546218271273, 0.00833056343336287 };
    Ref z = plus(k, 1), few = square(z);
    Ref tail = Div(less(1.0 / 12, Div(less(1.0 / 360, over(1.0 / 1260, few)), few)), z);
    for (int i = 9; i >= 0; i--)
        tail = Select(below(k, i + 1), Like(k, table[i]), tail);
    return tail;
}

/* The logarithm of the ratio of k's probability to that of the mode. */
static Ref log_ratio(Ref n, Ref r, Ref mode, Ref k)
{
    Ref a = plus(Sub(n, mode), 1), b = plus(Sub(n, k), 1);
    Ref s = Add(Mul(plus(mode, 0.5), Log(Div(plus(mode, 1), Mul(r, a)))), Mul(plus(n, 1), Log(Div(a, b))));
    s = Add(s, Mul(plus(k, 0.5), Log(Div(Mul(r, b), plus(k, 1)))));
    s = Add(Add(s, stirling_tail(mode)), stirling_tail(Sub(n, mode)));
    return Sub(Sub(s, stirling_tail(k)), stirling_tail(Sub(n, k)));
}

static void next_binomial(const Ref *x, Ref *out)
{
    Trial t;
    Ref u, v, n = x[0], p = x[1];
    if (!trial(x, &t) || !uniforms(&t, &u, &v))
        return;
    Ref deviation = Sqrt(Mul(Mul(n, p), less(1, p))), b = plus(times(2.53, deviation), 1.15);
    Ref a = Add(plus(times(0.0248, b), -0.0873), times(0.01, p)), from_edge = less(0.5, Abs(u));
    Ref sure = less(0.92, over(4.2, b)), scale = Mul(plus(over(5.1, b), 2.83), deviation);
    Ref k = Floor(Add(Mul(Add(Div(times(2, a), from_edge), b), u), plus(Mul(n, p), 0.5)));
    Ref s = Log(Div(Mul(v, scale), Add(Div(a, square(from_edge)), b)));
    Ref ratio = log_ratio(n, Div(p, less(1, p)), Floor(Mul(plus(n, 1), p)), k);
    Ref never = Or(below(k, 0), Gt(k, n));
    tried(&t, Or(And(at_least(from_edge, 0.07), Le(v, sure)), And(Not(never), Le(s, ratio))), k, out);
}

/* place, key, n, q of at most 1/2 */
static void one_rare(const Ref *x, Ref *y, const void *env)
{
    (void)env;
    const Ref *key = x + PLACE, *n = key + 2;
    Ref out[4], zero = Like(n[0], 0);
    loop_while(within, next_geometric, PLACE + 2, 4,
        (Ref[]){ n[0], Log1p(Neg(n[1])), x[0], x[1], x[2], x[3], zero, zero, key[0], key[1] }, out);
    y[0] = error_pending() ? 0 : plus(out[0], -1);
}

/* Of whole n, and q of at most 1/2. small: n q is at most 10. */
static Ref binomial(Key key, Ref n, Ref q, Ref small)
{
    Ref c[PLACE], few;
    if (!small || !places(shape_of(small), (Dtype)typ(n)->dt, c))
        return 0;
    each_element(one_rare, NULL, PLACE + 4, (Ref[]){ c[0], c[1], c[2], c[3], key.word[0], key.word[1],
                 Select(small, n, Like(n, 0)), q }, shape_of(small), 1, &few);
    Ref many = accepted_last(
        next_binomial, key, Select(small, Like(n, 1e4), n), Select(small, Like(q, 0.5), q), small);
    return Select(small, few, many);
}

/* Of p above 1/2, what is left of n. nan for what is no number of trials, or no probability. */
Ref draw_binomial(Key key, Ref n, Ref p)
{
    n = stop_gradient(n), p = stop_gradient(p);
    Ref rare = below(p, 0.5), q = Select(rare, p, less(1, p)), endless = Eq(n, Like(n, INFINITY));
    Ref no_p = Or(is_nan(q), below(q, 0)), no_n = Or(is_nan(n), below(n, 0));
    q = Select(no_p, Like(q, 0.01), q);
    n = Select(Or(no_n, endless), Like(n, 0), n);
    Ref small = Le(Mul(n, q), Like(n, 10));
    n = Floor(n);
    Ref y = binomial(key, n, q, small);
    y = Select(rare, y, Sub(n, y));
    return Select(Or(no_p, no_n), Like(y, NAN), Select(endless, Like(y, INFINITY), y));
}
