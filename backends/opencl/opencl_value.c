/*
 * opencl_value.c - operands, index forms, and the instructions that give a value, as OpenCL C expressions.
 *
 * A bool is an int: 0 or 1 alone, 0 or -1 in every lane of a vector (int16, whatever was compared). Integers
 * wrap, so signed sums and products go by way of unsigned; the narrow ones, which C computes in int, are
 * cut.
 */
#include "opencl_text.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

const char *const ocl_type[DT_COUNT] = {
    [DT_BOOL] = "int",
    [DT_I8] = "char",
    [DT_I16] = "short",
    [DT_I32] = "int",
    [DT_I64] = "long",
    [DT_U8] = "uchar",
    [DT_U16] = "ushort",
    [DT_U32] = "uint",
    [DT_U64] = "ulong",
    [DT_F32] = "float",
    [DT_F64] = "double",
};

#define Own NULL
const char *const ocl_word[K_OP_COUNT] = {
#define LANES(name, text, arity, takes, gives, commutes, word, ...) [K_##name] = word,
#define ACROSS(name, text, takes, joins, word)                      [K_##name] = word,
#define PLAIN(...)
#include "kernel.def"
};

static Dtype signed_of(Dtype d) { return d >= DT_U8 && d <= DT_U64 ? (Dtype)(d - DT_U8 + DT_I8) : d; }
static size_t size_of(Dtype d) { return d == DT_BOOL ? 4 : dtype_size(d); }     /* in a register */

void ocl_refuse(Printer *p, const char *what, const char *name)
{
    if (!p->error)
        p->error = error_set(E_DTYPE, "kernel %s: %s%s", p->k->name, what, name);
}

/* ==================== operands */

static void literal(Dtype dt, int64_t bits, char *s, size_t n)
{
    uint32_t u = (uint32_t)bits;
    float f;
    double d;
    switch (dt) {
    case DT_F32:
        memcpy(&f, &u, sizeof f);
        if (isfinite(f))
            snprintf(s, n, signbit(f) ? "(%af)" : "%af", (double)f);
        else
            snprintf(s, n, "as_float(0x%08xu)", (unsigned)u);
        break;
    case DT_F64:
        memcpy(&d, &bits, sizeof d);
        if (isfinite(d))
            snprintf(s, n, signbit(d) ? "(%a)" : "%a", d);
        else
            snprintf(s, n, "as_double(0x%016llxUL)", (unsigned long long)bits);
        break;
    case DT_I64:
        if (bits == INT64_MIN)
            snprintf(s, n, "(-0x7fffffffffffffffL - 1L)");
        else
            snprintf(s, n, bits < 0 ? "(%lldL)" : "%lldL", (long long)bits);
        break;
    case DT_U64: snprintf(s, n, "%lluUL", (unsigned long long)bits); break;
    case DT_U32: snprintf(s, n, "%uu", (unsigned)u); break;
    case DT_I32:
        if (bits == INT32_MIN)
            snprintf(s, n, "(-2147483647 - 1)");
        else
            snprintf(s, n, bits < 0 ? "(%d)" : "%d", (int)bits);
        break;
    case DT_BOOL: snprintf(s, n, "%d", bits != 0); break;
    default: snprintf(s, n, "((%s)%d)", ocl_type[dt], (int)bits);
    }
}

/* What a value is called: results of a loop are its carried variables. */
Val ocl_named(const Kernel *k, Val v)
{
    while (k->ins[v].op == K_RESULT && k->ins[k->ins[v].bits].op == K_LOOP)
        v = k->ins[k->ins[v].bits].phi[k->ins[v].group];
    return v;
}

Arg ocl_plain(const Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    Arg a;
    if (i->op == K_CONST)
        literal((Dtype)i->dt, i->bits, a.s, sizeof a.s);
    else
        snprintf(a.s, sizeof a.s, "v%u", (unsigned)ocl_named(p->k, v));
    return a;
}

/* An operand of w lanes. */
Arg ocl_arg(const Printer *p, Val v, int w)
{
    const KIns *i = &p->k->ins[v];
    Arg x = ocl_plain(p, v), a;
    if (w == 1 || i->w == w)
        return x;
    snprintf(a.s, sizeof a.s, "(%s16)(%s%.50s)", ocl_type[i->dt], i->dt == DT_BOOL ? "-" : "", x.s);
    return a;
}

/* ==================== index forms, in int or long */

static void variable(Printer *p, const Atom *a)
{
    const Kernel *k = p->k;
    if (atom_is_lane(a)) {
        P(p->wide ? "HD_LANES_L" : "HD_LANES");
        return;
    }
    if (atom_is_step(a)) {
        P(p->wide ? "(long)step" : "step");
        return;
    }
    for (int g = 0; g < k->ngrid; g++)
        if (k->grid[g].var == a) {
            P("i%d", g);
            return;
        }
    P("%s_", a->name);
}

static void quotient(Printer *p, const Atom *a)
{
    bool vec = form_vector(a->f), mod = a->kind == A_MOD, pow2 = !(a->d & (a->d - 1));
    int64_t lo, hi;
    form_range(a->f, &lo, &hi);
    const char *L = p->wide ? "L" : "", *T = p->wide ? "long" : "int", *w = ocl_lanes(vec ? W : 1);
    if (pow2) {                                 /* of negative numbers too: rounded down */
        P("((");
        ocl_form(p, a->f, true);
        if (mod)
            P(") & %lld%s)", (long long)a->d - 1, L);
        else
            P(") >> %d)", __builtin_ctzll((uint64_t)a->d));
    } else if (lo >= 0) {
        P(vec ? "as_%s%s(as_u%s%s(" : "(%s%s)((u%s%s)(", T, w, T, w);
        ocl_form(p, a->f, true);
        P(") %c %lldu%s)", mod ? '%' : '/', (long long)a->d, L);
    } else {
        ocl_use(p, mod ? H_MOD : H_DIV, vec);
        P("hd_%s_%s%s(", mod ? "mod" : "div", T, w);
        ocl_form(p, a->f, true);
        P(", %lld%s)", (long long)a->d, L);
    }
}

static void atom(Printer *p, const Atom *a)
{
    switch (a->kind) {
    case A_VAR:
        variable(p, a);
        break;
    case A_VAL: {
        Dtype dt = (Dtype)p->k->ins[a->val].dt, to = p->wide ? DT_I64 : DT_I32;
        Arg x = ocl_plain(p, a->val);
        if (dt == to)
            P("%s", x.s);
        else if (a->wide)
            P("convert_%s16(%s%s)", ocl_type[to], x.s, dt == DT_BOOL ? " & 1" : "");
        else
            P("(%s)%s", ocl_type[to], x.s);
        break;
    }
    case A_CLAMP:
        P("clamp(");
        ocl_form(p, a->f, true);
        P(p->wide ? ", 0L, %lldL)" : ", 0, %lld)", (long long)a->d - 1);
        break;
    case A_DIV: case A_MOD:
        quotient(p, a);
        break;
    case A_ELEM: case A_WITHIN:
        ocl_refuse(p, "a place depends on what is not evaluated", "");
    }
}

/* Without the lane: the place of lane 0. */
void ocl_form(Printer *p, Form f, bool with_lane)
{
    const char *L = p->wide ? "L" : "";
    bool any = false;
    for (int i = 0; i < f->n; i++) {
        int64_t k = f->t[i].k;
        if (atom_is_lane(f->t[i].a) && !with_lane)
            continue;
        P("%s", k < 0 ? any ? " - " : "-" : any ? " + " : "");
        if (k != 1 && k != -1)
            P("%lld%s * ", (long long)(k < 0 ? -k : k), L);
        atom(p, f->t[i].a);
        any = true;
    }
    if (f->c || !any)
        P(any ? f->c < 0 ? " - %lld%s" : " + %lld%s" : f->c < 0 ? "(-%lld%s)" : "%lld%s",
            (long long)(f->c < 0 ? -f->c : f->c), L);
}

/* ==================== instructions that give a value: the text right of `=` */

static void wrapping(Printer *p, Dtype dt, int w, const char *op, const Arg *a)
{
    Dtype u = ocl_unsigned(dt);
    const char *T = ocl_type[dt], *U = ocl_type[u];
    if (w > 1 && u != dt)
        P("as_%s16(as_%s16(%s) %s as_%s16(%s))", T, U, a[0].s, op, U, a[1].s);
    else if (w > 1 || (u == dt && size_of(dt) >= 4))
        P("%s %s %s", a[0].s, op, a[1].s);
    else                                        /* narrow ones are computed in uint and cut */
        P("(%s)((%s)%s %s (%s)%s)", T, size_of(dt) < 4 ? "uint" : U, a[0].s, op,
            size_of(dt) < 4 ? "uint" : U, a[1].s);
}

static void infix(Printer *p, Dtype dt, int w, const char *op, const Arg *a)
{
    bool cut = w == 1 && size_of(dt) < 4;
    if (cut)
        P("(%s)(", ocl_type[dt]);
    P(cut ? "%s %s %s)" : "%s %s %s", a[0].s, op, a[1].s);
}

/* A shift to the right as the dtype `as`. */
static void shift_right(Printer *p, Dtype dt, Dtype as, int w, const Arg *a)
{
    if (dt == as)
        infix(p, dt, w, ">>", a);
    else if (w > 1)
        P("as_%s16(as_%s16(%s) >> as_%s16(%s))", ocl_type[dt], ocl_type[as], a[0].s, ocl_type[as],
            a[1].s);
    else
        P("(%s)((%s)%s >> %s)", ocl_type[dt], ocl_type[as], a[0].s, a[1].s);
}

static void function(Printer *p, const char *name, int n, const Arg *a)
{
    P("%s(", name);
    for (int x = 0; x < n; x++)
        P("%s%s", x ? ", " : "", a[x].s);
    P(")");
}

static void negative(Printer *p, Dtype dt, int w, const Arg *a)
{
    const char *T = ocl_type[dt], *U = ocl_type[ocl_unsigned(dt)];
    if (dtype_float(dt))
        P("-%s", a[0].s);
    else if (w > 1)
        P("as_%s16(-as_%s16(%s))", T, U, a[0].s);
    else
        P("(%s)(0u - (%s)%s)", T, size_of(dt) < 4 ? "uint" : U, a[0].s);
}

/* abs() of the least is not defined everywhere. */
static void absolute(Printer *p, Dtype dt, int w, const Arg *a)
{
    P(dtype_float(dt)           ? "fabs(%1$s)"
            : dtype_unsigned(dt) ? "%1$s"
            : w > 1              ? "as_%2$s16(select(as_%3$s16(%1$s), -as_%3$s16(%1$s), %1$s < (%2$s)0))"
                                 : "(%2$s)(%1$s < 0 ? 0u - (%3$s)%1$s : (%3$s)%1$s)",
        a[0].s, ocl_type[dt], ocl_type[w == 1 && size_of(dt) < 4 ? DT_U32 : ocl_unsigned(dt)]);
}

/* The larger (smaller) of x and y, or y if x is nan; sure: it is not. The choice is one instruction of
 * most devices, which may take either of two equal numbers; so the sign is made of both: the larger of
 * two has one if both have. The parameters are the operation and what OpenCL C calls its operands. */
void ocl_extreme(Text *t, bool max, bool sure, Dtype dt, const char *w, const char *x, const char *y)
{
    static const char *const bits[2][2] = { { "0x80000000u", "0x7fffffffu" },
        { "0x8000000000000000UL", "0x7fffffffffffffffUL" } };
    const char *T = ocl_type[dt], *U = dt == DT_F64 ? "ulong" : "uint", *with = max ? "&" : "|",
               *sign = bits[dt == DT_F64][max];
    if (!sure)
        text_add(t, *w ? "select(" : "%s != %s ? %s : ", x, x, x);
    text_add(t, "as_%s%s(", T, w);
    if (*w)
        text_add(t, "as_%s%s(select(%s, %s, %s %s %s))", U, w, y, x, x, max ? ">" : "<", y);
    else
        text_add(t, "as_%s(%s %s %s ? %s : %s)", U, x, max ? ">" : "<", y, x, y);
    text_add(
        t, " %s ((as_%s%s(%s) %s as_%s%s(%s)) %s %s))", with, U, w, x, with, U, w, y, max ? "|" : "&", sign);
    if (!sure && *w)
        text_add(t, ", %s, %s != %s)", x, x, x);
}

/* nan if either is, and -0 is below 0. A constant is never nan; of one that is no zero signs do not
 * matter. */
static void extreme(Printer *p, const KIns *i, const Arg *a)
{
    bool max = i->op == K_MAX;
    int64_t bits;
    if (!dtype_float(i->dt)) {
        function(p, ocl_word[i->op], 2, a);
        return;
    }
    double c = k_const_of(p->k, i->arg[1], &bits) ? k_float_of(i->dt, bits) : NAN;
    if (isnan(c) || c == 0)
        ocl_extreme(p->out, max, c == 0, i->dt, ocl_lanes(i->w), a[c == 0].s, a[c != 0].s);
    else
        P(i->w > 1 ? "select(%2$s, %1$s, %1$s %3$s %2$s)" : "%1$s %3$s %2$s ? %1$s : %2$s", a[1].s, a[0].s,
            max ? ">" : "<");
}

static void comparison(Printer *p, const char *sign, Dtype of, int w, const Arg *a)
{
    bool mask = w > 1 && size_of(of) != 4;
    P(mask ? "convert_int16(%s %s %s)" : "%s %s %s", a[0].s, sign, a[1].s);
}

/* An int16 mask as one whose lanes are as wide as dt. */
static const char *mask_of(Dtype dt)
{
    switch (size_of(dt)) {
    case 1: return "convert_char16";
    case 2: return "convert_short16";
    case 8: return "convert_long16";
    default: return "";
    }
}

static void selection(Printer *p, const KIns *i)
{
    Arg c = ocl_plain(p, i->arg[0]), x = ocl_arg(p, i->arg[1], i->w), y = ocl_arg(p, i->arg[2], i->w);
    if (p->k->ins[i->arg[0]].w > 1)
        P("select(%s, %s, %s(%s))", y.s, x.s, mask_of((Dtype)i->dt), c.s);
    else
        P("%s ? %s : %s", c.s, x.s, y.s);
}

static void conversion(Printer *p, Dtype from, Dtype to, int w, const Arg *a)
{
    const char *T = ocl_type[to];
    if (to == DT_BOOL) {
        char zero[48];
        snprintf(zero, sizeof zero, w > 1 ? "(%s16)(0)" : "0", ocl_type[from]);
        P(w > 1 && size_of(from) != 4 ? "convert_int16(%s != %s)" : "%s != %s", a[0].s, zero);
    } else if (w == 1)
        P("(%s)%s", T, a[0].s);
    else if (from == DT_BOOL)
        P(to == DT_F32 ? "as_float16(%s & 0x3f800000)" : "convert_%2$s16(%1$s & 1)", a[0].s, T);
    else
        P("convert_%s16(%s)", T, a[0].s);
}

static void call(Printer *p, const KIns *i)
{
    P("hd_f_%s(", p->k->function[i->bits]->name);
    for (int a = 0; a < i->narg; a++)
        P("%s%s", a ? ", " : "", ocl_arg(p, i->arg[a], i->w).s);
    for (int r = 1; i->part && r < i->group; r++)
        P(", &v%u", (unsigned)i->part[r]);
    P(")");
}

static void horizontal(Printer *p, const KIns *i)
{
    const KIns *x = &p->k->ins[i->arg[0]];
    Arg a = ocl_plain(p, i->arg[0]);
    if (i->op == K_ANY) {
        ocl_use(p, H_ANY, true);
        P("hd_any(%s)", a.s);
        return;
    }
    p->used->horizontal[i->op][x->dt == DT_BOOL ? DT_I32 : x->dt] = true;
    P("hd_%s_%s(%s)%s", ocl_word[i->op], ocl_type[x->dt], a.s, x->dt == DT_BOOL ? " & 1" : "");
}

static void index_value(Printer *p, const KIns *i)
{
    Dtype has = p->wide ? DT_I64 : DT_I32;
    if (i->dt != has)
        P(i->w > 1 ? "convert_%s16(" : "(%s)(", ocl_type[i->dt]);
    ocl_form(p, i->form, true);
    P(i->dt != has ? ")" : "");
}

static void rounding(Printer *p, const KIns *i, const Arg *a)
{
    ocl_use(p, i->bits == DT_F16 ? H_F16 : H_BF16, i->w > 1);
    if (i->bits == DT_F16)
        P("hd_half%s(%s)", ocl_lanes(i->w), a[0].s);
    else
        P(i->w > 1 ? "as_float16(convert_uint16(hd_bfloat16(%s)) << 16)" :
                     "as_float((uint)hd_bfloat(%s) << 16)",
            a[0].s);
}

void ocl_expression(Printer *p, const KIns *i)
{
    const Kernel *k = p->k;
    Dtype dt = (Dtype)i->dt, of = i->narg ? (Dtype)k->ins[i->arg[0]].dt : dt;
    KOp op = (KOp)i->op;
    Arg a[3];
    for (int x = 0; x < i->narg && x < 3; x++)
        a[x] = ocl_arg(p, i->arg[x], k_across(op) ? k->ins[i->arg[x]].w : i->w);
    switch (op) {
    case K_INDEX: index_value(p, i); break;
    case K_SPLAT: P("%s", a[0].s); break;
    case K_ADD: case K_SUB: case K_MUL:
        (dtype_float(dt) ? infix : wrapping)(p, dt, i->w, ocl_word[op], a);
        break;
    case K_NEG: negative(p, dt, i->w, a); break;
    case K_ABS: absolute(p, dt, i->w, a); break;
    case K_MAX: case K_MIN: extreme(p, i, a); break;
    case K_NOT: P(i->w > 1 ? "~%s" : dt == DT_BOOL ? "!%s" : "(%2$s)~%1$s", a[0].s, ocl_type[dt]); break;
    case K_SHR: shift_right(p, dt, ocl_unsigned(dt), i->w, a); break;
    case K_SAR: shift_right(p, dt, signed_of(dt), i->w, a); break;
    case K_SELECT: selection(p, i); break;
    case K_CONVERT: conversion(p, of, dt, i->w, a); break;
    case K_BITS: P("as_%s%s(%s)", ocl_type[dt], ocl_lanes(i->w), a[0].s); break;
    case K_ROUND: rounding(p, i, a); break;
    case K_APPLY: call(p, i); break;
    default:
        if (k_across(op))
            horizontal(p, i);
        else if (k_compares(op))
            comparison(p, ocl_word[op], of, i->w, a);
        else if (isalpha((unsigned char)ocl_word[op][0]))
            function(p, ocl_word[op], i->narg, a);
        else
            infix(p, dt, i->w, ocl_word[op], a);
    }
}
