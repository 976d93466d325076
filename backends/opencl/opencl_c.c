/*
 * opencl_c.c - kernels as OpenCL C 1.2 text.
 *
 * In:  finished kernels.   Out: one text; only what the kernels call is in its prelude.
 * One statement an instruction, and FP_CONTRACT OFF: nothing is contracted unless it is K_FMA. Values are v<number>, loop
 * variables end in _, the grid's are i<dimension>, buffers have their own name and a number behind it: no two can meet.
 *
 * A bool is an int: 0 or 1 alone, 0 or -1 in every lane of a vector (int16, whatever was compared), one byte 0 or 1 in memory.
 * Integers wrap, so signed sums and products go by way of unsigned. f16 and bf16 are in memory only.
 */
#include "opencl_c.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* What of the prelude is called: helpers, and for each dtype the horizontal reductions. */
enum { H_DIV, H_MOD, H_ANY, H_F16, H_BF16, H_HELPERS };
typedef struct Used { bool helper[H_HELPERS][4], horizontal[K_OP_COUNT][DT_COUNT], f64; } Used;   /* [4]: lanes > 1, + 2: i64 */

typedef struct Printer {
    const Kernel *k;
    const OpenclCaps *caps;
    Used *used;
    Text *out;
    int indent, error;
    bool wide;
    Loc loc;                                    /* of the instruction being printed, and the last one shown */
    Loc shown;
} Printer;

static const char *const register_type[DT_COUNT] = {
    [DT_BOOL] = "int", [DT_I8] = "char", [DT_I16] = "short", [DT_I32] = "int", [DT_I64] = "long", [DT_U8] = "uchar",
    [DT_U16] = "ushort", [DT_U32] = "uint", [DT_U64] = "ulong", [DT_F32] = "float", [DT_F64] = "double",
};

static Dtype unsigned_of(Dtype d) { return d >= DT_I8 && d <= DT_I64 ? (Dtype)(d - DT_I8 + DT_U8) : d; }
static Dtype signed_of(Dtype d) { return d >= DT_U8 && d <= DT_U64 ? (Dtype)(d - DT_U8 + DT_I8) : d; }
static const char *lanes(int w) { return w > 1 ? "16" : ""; }
static size_t size_of(Dtype d) { return d == DT_BOOL ? 4 : dtype_size(d); }     /* in a register */

static const char *memory_type(const Buffer *b)
{
    switch (b->dt) {
    case DT_BOOL: return "uchar";
    case DT_F16: return b->space == GLOBAL ? "half" : "ushort";         /* half may not be declared, only pointed to */
    case DT_BF16: return "ushort";
    default: return register_type[b->dt];
    }
}

#define P(...) text_add(p->out, __VA_ARGS__)

static void fail(Printer *p, const char *what, const char *name)
{
    if (!p->error)
        p->error = error_set(E_DTYPE, "kernel %s: %s%s", p->k->name, what, name);
}

/* ==================== lines */

static void begin(Printer *p) { text_char(p->out, ' ', 4 * p->indent); }

static void end(Printer *p)
{
    if (p->loc.file && (p->loc.file != p->shown.file || p->loc.line != p->shown.line)) {
        const char *base = strrchr(p->loc.file, '/');
        P("    // %s:%d", base ? base + 1 : p->loc.file, p->loc.line);
        p->shown = p->loc;
    }
    P("\n");
}

/* ==================== values. The text of an operand is short: it fits an Arg. */

typedef struct Arg { char s[80]; } Arg;

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
    default: snprintf(s, n, "((%s)%d)", register_type[dt], (int)bits);
    }
}

/* What a value is called: results of a loop are its carried variables. */
static Val named(const Kernel *k, Val v)
{
    while (k->ins[v].op == K_RESULT && k->ins[k->ins[v].bits].op == K_LOOP)
        v = k->ins[k->ins[v].bits].phi[k->ins[v].group];
    return v;
}

static Arg plain(const Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    Arg a;
    if (i->op == K_CONST)
        literal((Dtype)i->dt, i->bits, a.s, sizeof a.s);
    else
        snprintf(a.s, sizeof a.s, "v%u", (unsigned)named(p->k, v));
    return a;
}

/* An operand of w lanes. */
static Arg arg(const Printer *p, Val v, int w)
{
    const KIns *i = &p->k->ins[v];
    Arg x = plain(p, v), a;
    if (w == 1 || i->w == w)
        return x;
    snprintf(a.s, sizeof a.s, "(%s16)(%s%.50s)", register_type[i->dt], i->dt == DT_BOOL ? "-" : "", x.s);
    return a;
}

static void declare(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    begin(p);
    P("%s%s v%u = ", register_type[i->dt], lanes(i->w), (unsigned)v);
}

/* ==================== index forms, in int or long */

static void form(Printer *, Form, bool with_lane);

static void use(Printer *p, int helper, bool vector) { p->used->helper[helper][vector + 2 * p->wide] = true; }

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
    const char *L = p->wide ? "L" : "", *T = p->wide ? "long" : "int", *w = lanes(vec ? W : 1);
    if (pow2) {                                 /* of negative numbers too: rounded down */
        P("((");
        form(p, a->f, true);
        if (mod)
            P(") & %lld%s)", (long long)a->d - 1, L);
        else
            P(") >> %d)", __builtin_ctzll((uint64_t)a->d));
    } else if (lo >= 0) {
        P(vec ? "as_%s%s(as_u%s%s(" : "(%s%s)((u%s%s)(", T, w, T, w);
        form(p, a->f, true);
        P(") %c %lldu%s)", mod ? '%' : '/', (long long)a->d, L);
    } else {
        use(p, mod ? H_MOD : H_DIV, vec);
        P("hd_%s_%s%s(", mod ? "mod" : "div", T, w);
        form(p, a->f, true);
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
        Arg x = plain(p, a->val);
        if (dt == to)
            P("%s", x.s);
        else if (a->wide)
            P("convert_%s16(%s%s)", register_type[to], x.s, dt == DT_BOOL ? " & 1" : "");
        else
            P("(%s)%s", register_type[to], x.s);
        break;
    }
    case A_CLAMP:
        P("clamp(");
        form(p, a->f, true);
        P(p->wide ? ", 0L, %lldL)" : ", 0, %lld)", (long long)a->d - 1);
        break;
    case A_DIV: case A_MOD:
        quotient(p, a);
        break;
    case A_ELEM:
        fail(p, "a place depends on an element that is not evaluated", "");
    }
}

/* Without the lane: the place of lane 0. */
static void form(Printer *p, Form f, bool with_lane)
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
        P(any ? f->c < 0 ? " - %lld%s" : " + %lld%s" : f->c < 0 ? "(-%lld%s)" : "%lld%s", (long long)(f->c < 0 ? -f->c : f->c), L);
}

/* ==================== instructions that give a value: the text right of `=` */

static void wrapping(Printer *p, Dtype dt, int w, const char *op, const Arg *a)
{
    Dtype u = unsigned_of(dt);
    const char *T = register_type[dt], *U = register_type[u];
    if (w > 1 && u != dt)
        P("as_%s16(as_%s16(%s) %s as_%s16(%s))", T, U, a[0].s, op, U, a[1].s);
    else if (w > 1 || (u == dt && size_of(dt) >= 4))
        P("%s %s %s", a[0].s, op, a[1].s);
    else                                        /* narrow ones are computed in uint and cut */
        P("(%s)((%s)%s %s (%s)%s)", T, size_of(dt) < 4 ? "uint" : U, a[0].s, op, size_of(dt) < 4 ? "uint" : U, a[1].s);
}

static void infix(Printer *p, Dtype dt, int w, const char *op, const Arg *a)
{
    bool cut = w == 1 && size_of(dt) < 4;
    P(cut ? "(%s)(" : "", register_type[dt]);
    P(cut ? "%s %s %s)" : "%s %s %s", a[0].s, op, a[1].s);
}

/* A shift to the right as the dtype `as`. */
static void shift_right(Printer *p, Dtype dt, Dtype as, int w, const Arg *a)
{
    if (dt == as)
        infix(p, dt, w, ">>", a);
    else if (w > 1)
        P("as_%s16(as_%s16(%s) >> as_%s16(%s))", register_type[dt], register_type[as], a[0].s, register_type[as], a[1].s);
    else
        P("(%s)((%s)%s >> %s)", register_type[dt], register_type[as], a[0].s, a[1].s);
}

static void arithmetic(Printer *p, KOp op, Dtype dt, int w, const Arg *a)
{
    static const char *const sign[] = { [K_ADD] = "+", [K_SUB] = "-", [K_MUL] = "*" };
    const char *T = register_type[dt];
    bool f = dtype_float(dt);
    switch (op) {
    case K_ADD: case K_SUB: case K_MUL:
        if (f)
            P("%s %s %s", a[0].s, sign[op], a[1].s);
        else
            wrapping(p, dt, w, sign[op], a);
        break;
    case K_DIV: infix(p, dt, w, "/", a); break;
    case K_REM: infix(p, dt, w, "%", a); break;
    case K_FMA: P("fma(%s, %s, %s)", a[0].s, a[1].s, a[2].s); break;
    case K_NEG:
        if (f)
            P("-%s", a[0].s);
        else if (w > 1)
            P("as_%s16(-as_%s16(%s))", T, register_type[unsigned_of(dt)], a[0].s);
        else
            P("(%s)(0u - (%s)%s)", T, size_of(dt) < 4 ? "uint" : register_type[unsigned_of(dt)], a[0].s);
        break;
    case K_ABS:
        P(f ? "fabs(%s)" : dtype_unsigned(dt) ? "%s" : w > 1 ? "as_%2$s16(abs(%1$s))" : "(%2$s)abs(%1$s)", a[0].s, T);
        break;
    case K_SQRT: P("sqrt(%s)", a[0].s); break;
    case K_FLOOR: P("floor(%s)", a[0].s); break;
    case K_CEIL: P("ceil(%s)", a[0].s); break;
    case K_RINT: P("rint(%s)", a[0].s); break;
    default: P("trunc(%s)", a[0].s);
    }
}

/* nan if either is: the first is chosen if it is larger or nan, else the second. A constant first is never nan. */
static void extreme(Printer *p, const KIns *i, const Arg *a)
{
    bool max = i->op == K_MAX;
    const char *r = max ? ">" : "<";
    if (!dtype_float(i->dt)) {
        P("%s(%s, %s)", max ? "max" : "min", a[0].s, a[1].s);
        return;
    }
    const KIns *c = &p->k->ins[i->arg[1]];
    while (c->op == K_SPLAT)
        c = &p->k->ins[c->arg[0]];
    bool sure = c->op == K_CONST && (i->dt == DT_F32 ? (c->bits & 0x7fffffff) <= 0x7f800000 :
        (c->bits & INT64_MAX) <= 0x7ff0000000000000);
    const char *x = a[sure].s, *y = a[!sure].s;
    if (i->w > 1)
        P(sure ? "select(%2$s, %1$s, %1$s %3$s %2$s)" : "select(%2$s, %1$s, (%1$s %3$s %2$s) | (%1$s != %1$s))", x, y, r);
    else
        P(sure ? "%1$s %3$s %2$s ? %1$s : %2$s" : "%1$s %3$s %2$s || %1$s != %1$s ? %1$s : %2$s", x, y, r);
}

static void bitwise(Printer *p, KOp op, Dtype dt, int w, const Arg *a)
{
    switch (op) {
    case K_AND: infix(p, dt, w, "&", a); break;
    case K_OR: infix(p, dt, w, "|", a); break;
    case K_XOR: infix(p, dt, w, "^", a); break;
    case K_NOT:
        P(w > 1 ? "~%s" : dt == DT_BOOL ? "!%s" : "(%2$s)~%1$s", a[0].s, register_type[dt]);
        break;
    case K_SHL: infix(p, dt, w, "<<", a); break;
    case K_SHR: shift_right(p, dt, unsigned_of(dt), w, a); break;
    case K_SAR: shift_right(p, dt, signed_of(dt), w, a); break;
    case K_MULHI: P("mul_hi(%s, %s)", a[0].s, a[1].s); break;
    case K_POPCOUNT: P("popcount(%s)", a[0].s); break;
    default: P("clz(%s)", a[0].s);
    }
}

static void comparison(Printer *p, KOp op, Dtype of, int w, const Arg *a)
{
    static const char *const sign[] = { [K_EQ] = "==", [K_NE] = "!=", [K_LT] = "<", [K_LE] = "<=", [K_GT] = ">", [K_GE] = ">=" };
    bool mask = w > 1 && size_of(of) != 4;
    P(mask ? "convert_int16(%s %s %s)" : "%s %s %s", a[0].s, sign[op], a[1].s);
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
    Arg c = plain(p, i->arg[0]), x = arg(p, i->arg[1], i->w), y = arg(p, i->arg[2], i->w);
    if (p->k->ins[i->arg[0]].w > 1)
        P("select(%s, %s, %s(%s))", y.s, x.s, mask_of((Dtype)i->dt), c.s);
    else
        P("%s ? %s : %s", c.s, x.s, y.s);
}

static void conversion(Printer *p, Dtype from, Dtype to, int w, const Arg *a)
{
    const char *T = register_type[to];
    if (to == DT_BOOL) {
        char zero[48];
        snprintf(zero, sizeof zero, w > 1 ? "(%s16)(0)" : "0", register_type[from]);
        P(w > 1 && size_of(from) != 4 ? "convert_int16(%s != %s)" : "%s != %s", a[0].s, zero);
    } else if (w == 1)
        P("(%s)%s", T, a[0].s);
    else if (from == DT_BOOL)
        P(to == DT_F32 ? "as_float16(%s & 0x3f800000)" : "convert_%2$s16(%1$s & 1)", a[0].s, T);
    else
        P("convert_%s16(%s)", T, a[0].s);
}

/* The device's name of an op of ours; NULL: it has none. */
static const char *builtin(const char *name)
{
    static const char *const same[] = { "exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "tan", "asin", "acos", "atan",
        "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "pow", "cbrt", "rsqrt", "sqrt", "erf", "erfc", "lgamma",
        "nextafter", "copysign", "floor", "ceil", "trunc" };
    static const char *const other[][2] = { { "rem", "fmod" }, { "round", "rint" }, { "abs", "fabs" } };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!strcmp(same[i], name))
            return name;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (!strcmp(other[i][0], name))
            return other[i][1];
    return NULL;
}

static void call(Printer *p, const KIns *i)
{
    const char *f = builtin(i->name);
    if (!f || !dtype_float(i->dt)) {
        fail(p, "OpenCL C has no builtin function ", i->name);
        return;
    }
    P("%s(", f);
    for (int a = 0; a < i->narg; a++)
        P("%s%s", a ? ", " : "", arg(p, i->arg[a], i->w).s);
    P(")");
}

static void horizontal(Printer *p, const KIns *i)
{
    const KIns *x = &p->k->ins[i->arg[0]];
    Arg a = plain(p, i->arg[0]);
    if (i->op == K_ANY) {
        use(p, H_ANY, true);
        P("hd_any(%s)", a.s);
        return;
    }
    static const char *const name[] = { [K_HSUM] = "sum", [K_HPROD] = "prod", [K_HMAX] = "max", [K_HMIN] = "min", [K_HAND] = "and",
        [K_HOR] = "or", [K_HXOR] = "xor" };
    p->used->horizontal[i->op][x->dt == DT_BOOL ? DT_I32 : x->dt] = true;
    P("hd_%s_%s(%s)%s", name[i->op], register_type[x->dt], a.s, x->dt == DT_BOOL ? " & 1" : "");
}

static void index_value(Printer *p, const KIns *i)
{
    Dtype has = p->wide ? DT_I64 : DT_I32;
    if (i->dt != has)
        P(i->w > 1 ? "convert_%s16(" : "(%s)(", register_type[i->dt]);
    form(p, i->form, true);
    P(i->dt != has ? ")" : "");
}

static void rounding(Printer *p, const KIns *i, const Arg *a)
{
    use(p, i->bits == DT_F16 ? H_F16 : H_BF16, i->w > 1);
    if (i->bits == DT_F16)
        P("hd_half%s(%s)", lanes(i->w), a[0].s);
    else
        P(i->w > 1 ? "as_float16(convert_uint16(hd_bfloat16(%s)) << 16)" : "as_float((uint)hd_bfloat(%s) << 16)", a[0].s);
}

static void expression(Printer *p, const KIns *i)
{
    const Kernel *k = p->k;
    Dtype dt = (Dtype)i->dt, of = i->narg ? (Dtype)k->ins[i->arg[0]].dt : dt;
    KOp op = (KOp)i->op;
    Arg a[3];
    bool wide = op >= K_HSUM && op <= K_ANY;
    for (int x = 0; x < i->narg && x < 3; x++)
        a[x] = arg(p, i->arg[x], wide ? k->ins[i->arg[x]].w : i->w);
    switch (op) {
    case K_INDEX: index_value(p, i); break;
    case K_SPLAT: P("%s", a[0].s); break;
    case K_MAX: case K_MIN: extreme(p, i, a); break;
    case K_SELECT: selection(p, i); break;
    case K_CONVERT: conversion(p, of, dt, i->w, a); break;
    case K_BITS: P("as_%s%s(%s)", register_type[dt], lanes(i->w), a[0].s); break;
    case K_ROUND: rounding(p, i, a); break;
    case K_CALL: call(p, i); break;
    default:
        if (wide)
            horizontal(p, i);
        else if (op >= K_EQ && op <= K_GE)
            comparison(p, op, of, i->w, a);
        else if (op >= K_AND && op <= K_CLZ)
            bitwise(p, op, dt, i->w, a);
        else
            arithmetic(p, op, dt, i->w, a);
    }
}

/* ==================== memory */

static void buffer_name(Printer *p, const Buffer *b)
{
    int n = -1;
    const char *s = b->space == GLOBAL ? "_" : "_p";
    for (int i = 0; b->space == GLOBAL && i < p->k->nparam && n < 0; i++)
        n = p->k->param[i] == b ? i : -1;
    for (int i = 0; b->space != GLOBAL && i < p->k->npriv && n < 0; i++)
        n = p->k->priv[i] == b ? i : -1;
    if (!isalpha((unsigned char)b->name[0]))
        P("b");
    for (const char *c = b->name; *c; c++)
        P("%c", isalnum((unsigned char)*c) ? *c : '_');
    P("%s%d", s, n);
}

/* The buffer as something to index: halves of our own arrays are ushort there. */
static void pointer(Printer *p, const Buffer *b)
{
    bool cast = b->dt == DT_F16 && b->space != GLOBAL;
    if (cast)
        P(b->space == LOCAL ? "((__local half *)" : "((__private half *)");
    buffer_name(p, b);
    P(cast ? ")" : "");
}

/* b + (place of lane 0, moved) */
static void address(Printer *p, const Buffer *b, Form f, int64_t move)
{
    pointer(p, b);
    P(" + (");
    form(p, f, false);
    if (move)
        P(move < 0 ? " - %lld)" : " + %lld)", (long long)(move < 0 ? -move : move));
    else
        P(")");
}

/* From what memory holds to what registers do: text around. */
static void raise_open(Printer *p, Dtype dt, int w)
{
    if (dt == DT_BOOL)
        P(w > 1 ? "convert_int16(" : "(");
    else if (dt == DT_BF16)
        P(w > 1 ? "as_float16(convert_uint16(" : "as_float((uint)");
}

static void raise_close(Printer *p, Dtype dt, int w)
{
    if (dt == DT_BOOL)
        P(w > 1 ? ") != 0" : " != 0)");
    else if (dt == DT_BF16)
        P(w > 1 ? ") << 16)" : " << 16)");
}

/* How a memory operation reaches its lanes. */
typedef enum Reach { ONE, UNIT, BACK, STRIDED, EACH } Reach;

static Reach reach(const Printer *p, Form f, int64_t *stride)
{
    if (!k_mode(p->k, f, stride))
        return EACH;
    return *stride == 0 ? ONE : *stride == 1 ? UNIT : *stride == -1 ? BACK : STRIDED;
}

/* The place of a lane, where lanes have places of their own: v<v>x is the first one's or all of them. */
static void place(Printer *p, Val v, Reach r, int64_t stride, int lane)
{
    if (r == EACH)
        P("v%ux.s%x", (unsigned)v, (unsigned)lane);
    else
        P("v%ux + %lld%s", (unsigned)v, (long long)(stride * lane), p->wide ? "L" : "");
}

static void places(Printer *p, Val v, Form f, Reach r)
{
    if (r != STRIDED && r != EACH)
        return;
    begin(p);
    P("%s%s v%ux = ", p->wide ? "long" : "int", r == EACH ? "16" : "", (unsigned)v);
    form(p, f, r == EACH);
    P(";\n");
}

static void load(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16;
    int64_t s;
    Reach r = reach(p, i->form, &s);
    places(p, v, i->form, r);
    declare(p, v);
    raise_open(p, (Dtype)b->dt, i->w);
    if (r == ONE) {
        P(half ? "vload_half(" : "");
        if (!half)
            pointer(p, b), P("[");
        form(p, i->form, true);
        P(half ? ", " : "]");
        if (half)
            pointer(p, b), P(")");
    } else if (r == UNIT || r == BACK) {
        P(half ? "vload_half16(0, " : "vload16(0, ");
        address(p, b, i->form, r == BACK ? 1 - W : 0);
        P(r == BACK ? ").sfedcba9876543210" : ")");
    } else {
        P("(%s16)(", half ? "float" : memory_type(b));
        for (int l = 0; l < W; l++) {
            P(l ? ", " : "");
            if (half)
                P("vload_half(");
            else
                pointer(p, b), P("[");
            place(p, v, r, s, l);
            P(half ? ", " : "]");
            if (half)
                pointer(p, b), P(")");
        }
        P(")");
    }
    raise_close(p, (Dtype)b->dt, i->w);
    P(";");
    end(p);
}

/* What is stored, as memory holds it. */
static Arg lowered(Printer *p, Val x, Dtype dt, int w)
{
    Arg a = arg(p, x, w), r;
    bool vec = w > 1;
    if (dt == DT_BF16)
        use(p, H_BF16, vec);
    if (dt == DT_BOOL)
        snprintf(r.s, sizeof r.s, vec ? "convert_uchar16(%.40s & 1)" : "(uchar)%.40s", a.s);
    else if (dt == DT_BF16)
        snprintf(r.s, sizeof r.s, vec ? "hd_bfloat16(%.50s)" : "hd_bfloat(%.50s)", a.s);
    else
        return a;
    return r;
}

static void store_lanes(Printer *p, Val v, Reach r, int64_t s)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16, vec = p->k->ins[i->arg[0]].w > 1;
    Arg a = lowered(p, i->arg[0], (Dtype)b->dt, vec ? W : 1);
    begin(p);
    P("%s%s v%us = %s;\n", half ? "float" : memory_type(b), lanes(vec ? W : 1), (unsigned)v, a.s);
    for (int l = 0; l < W; l++) {
        char x[32];
        snprintf(x, sizeof x, vec ? "v%us.s%x" : "v%us", (unsigned)v, (unsigned)l);
        begin(p);
        if (half)
            P("vstore_half_rte(%s, ", x);
        else
            pointer(p, b), P("[");
        place(p, v, r, s, l);
        if (half)
            P(", "), pointer(p, b), P(");");
        else
            P("] = %s;", x);
        end(p);
    }
}

static void store(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16;
    int64_t s;
    Reach r = reach(p, i->form, &s);
    places(p, v, i->form, r);
    if (r == STRIDED || r == EACH) {
        store_lanes(p, v, r, s);
        return;
    }
    Arg a = lowered(p, i->arg[0], (Dtype)b->dt, r == ONE ? 1 : W);
    begin(p);
    if (r == ONE && half) {
        P("vstore_half_rte(%s, ", a.s);
        form(p, i->form, true);
        P(", "), pointer(p, b), P(");");
    } else if (r == ONE) {
        pointer(p, b), P("[");
        form(p, i->form, true);
        P("] = %s;", a.s);
    } else {
        P(half ? "vstore_half16_rte((%s)%s, 0, " : "vstore16((%s)%s, 0, ", a.s, r == BACK ? ".sfedcba9876543210" : "");
        address(p, b, i->form, r == BACK ? 1 - W : 0);
        P(");");
    }
    end(p);
}

/* ==================== blocks
 * m vectors that hold element l * m + c, in order of memory  <->  m vectors, one for each constant c. For a power of two
 * log2(m) rounds of even and odd (of low and high halves); for any other m a two-vector shuffle for each source. */

typedef struct Shuffle { Printer *p; Val v; const char *type; int next; } Shuffle;     /* temporaries are v<v>t<n> */

static int temporary(Shuffle *s)
{
    begin(s->p);
    text_add(s->p->out, "%s16 v%ut%d = ", s->type, (unsigned)s->v, s->next);
    return s->next++;
}

static int halves(Shuffle *s, int a, int b, const char *part)
{
    unsigned v = (unsigned)s->v;
    int t = temporary(s);
    text_add(s->p->out, "(%s16)(v%ut%d.%s, v%ut%d.%s);\n", s->type, v, a, part, v, b, part);
    return t;
}

static int zip(Shuffle *s, int a, int b, int from)
{
    unsigned v = (unsigned)s->v;
    int t = temporary(s);
    text_add(s->p->out, "(%s16)(", s->type);
    for (int l = from; l < from + W / 2; l++)
        text_add(s->p->out, "%sv%ut%d.s%x, v%ut%d.s%x", l > from ? ", " : "", v, a, (unsigned)l, v, b, (unsigned)l);
    text_add(s->p->out, ");\n");
    return t;
}

/* Records of any size: lane l of output c is element (l * m + c) of the input, or the inverse. */
static void gather(Shuffle *s, int m, const int *in, int *out, bool inverse)
{
    for (int c = 0; c < m; c++) {
        int t = temporary(s);
        text_add(s->p->out, "(%s16)(", s->type);
        for (int l = 0; l < W; l++) {
            int at = inverse ? c * W + l : l * m + c;
            int from = inverse ? at % m : at / W, lane = inverse ? at / m : at % W;
            text_add(s->p->out, "%sv%ut%d.s%x", l ? ", " : "", (unsigned)s->v, in[from], (unsigned)lane);
        }
        text_add(s->p->out, ");\n");
        out[c] = t;
    }
}

static void shuffle(Shuffle *s, int m, const int *in, int *out, bool inverse)
{
    int h = m / 2, a[W] = { 0 }, b[W] = { 0 }, x[W], y[W];
    if (m == 1) {
        out[0] = in[0];
        return;
    }
    if (m & (m - 1)) {
        gather(s, m, in, out, inverse);
        return;
    }
    if (!inverse) {
        for (int i = 0; i < h; i++) {
            a[i] = halves(s, in[2 * i], in[2 * i + 1], "even");
            b[i] = halves(s, in[2 * i], in[2 * i + 1], "odd");
        }
        shuffle(s, h, a, x, false), shuffle(s, h, b, y, false);
        for (int i = 0; i < h; i++)
            out[2 * i] = x[i], out[2 * i + 1] = y[i];
        return;
    }
    for (int i = 0; i < h; i++)
        a[i] = in[2 * i], b[i] = in[2 * i + 1];
    shuffle(s, h, a, x, true), shuffle(s, h, b, y, true);
    for (int i = 0; i < h; i++)
        out[2 * i] = zip(s, x[i], y[i], 0), out[2 * i + 1] = zip(s, x[i], y[i], W / 2);
}

static void block_load(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    int m = i->group, rows = W / m, in[W], out[W];
    Shuffle s = { .p = p, .v = v, .type = memory_type(i->buf) };
    for (int n = 0; n < m; n++) {
        in[n] = temporary(&s);
        if (i->stride == m || m == W) {
            P("vload16(0, ");
            address(p, i->buf, i->form, i->stride == m ? n * W : n * i->stride);
            P(");\n");
            continue;
        }
        P("(%s16)(", s.type);
        for (int r = 0; r < rows; r++) {
            P("%svload%d(0, ", r ? ", " : "", m);
            address(p, i->buf, i->form, (n * rows + r) * i->stride);
            P(")");
        }
        P(");\n");
    }
    shuffle(&s, m, in, out, false);
    for (int c = 0; c < m; c++) {
        begin(p);
        P("%s16 v%u = v%ut%d;", s.type, (unsigned)i->part[c], (unsigned)v, out[c]);
        end(p);
    }
}

static void block_store(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    int m = i->group, rows = W / m, in[W], out[W];
    Shuffle s = { .p = p, .v = v, .type = memory_type(i->buf) };
    for (int c = 0; c < m; c++) {
        in[c] = temporary(&s);
        P("%s;\n", arg(p, i->arg[c], W).s);
    }
    shuffle(&s, m, in, out, true);
    for (int n = 0; n < m; n++) {
        bool whole = i->stride == m || m == W;
        for (int r = 0; r < (whole ? 1 : rows); r++) {
            begin(p);
            P("vstore%d(v%ut%d", whole ? W : m, (unsigned)v, out[n]);
            P(whole ? "" : ".s");
            for (int c = 0; c < m && !whole; c++)
                P("%x", (unsigned)(r * m + c));
            P(", 0, ");
            address(p, i->buf, i->form, i->stride == m ? n * W : whole ? n * i->stride : (n * rows + r) * i->stride);
            P(");");
            end(p);
        }
    }
}

/* ==================== structure */

static void scope(Printer *, int);

/* Carried values move together: those that take another's old value wait in a name of their own. */
static void advance(Printer *p, const KIns *l)
{
    const Kernel *k = p->k;
    bool waits[l->ncarry + 1];
    for (int c = 0; c < l->ncarry; c++) {
        const KIns *x = &k->ins[named(k, l->next[c])];
        waits[c] = x->op == K_PHI && k->ins[x->bits].scope == l->scope && named(k, l->next[c]) != l->phi[c];
        if (!waits[c])
            continue;
        begin(p);
        P("%s%s v%un = v%u;\n", register_type[x->dt], lanes(x->w), (unsigned)l->phi[c], (unsigned)named(k, l->next[c]));
    }
    for (int c = 0; c < l->ncarry; c++) {
        unsigned phi = (unsigned)l->phi[c];
        if (named(k, l->next[c]) == l->phi[c])
            continue;
        begin(p);
        if (waits[c])
            P("v%u = v%un;\n", phi, phi);
        else
            P("v%u = %s;\n", phi, arg(p, l->next[c], k->ins[phi].w).s);
    }
}

static void loop(Printer *p, const KIns *l)
{
    const char *i = l->var->name, *T = p->wide ? "long" : "int";
    for (int c = 0; c < l->ncarry; c++) {
        declare(p, l->phi[c]);
        P("%s;\n", arg(p, l->arg[c], p->k->ins[l->phi[c]].w).s);
    }
    begin(p);
    if (l->n < 0)
        P("for (%s %s_ = 0;; %s_++) {", T, i, i);
    else
        P("for (%s %s_ = 0; %s_ < %lld%s; %s_++) {", T, i, i, (long long)l->n, p->wide ? "L" : "", i);
    end(p);
    p->indent++;
    scope(p, l->scope);
    advance(p, l);
    p->indent--;
    begin(p);
    P("}\n");
}

static void branch(Printer *p, const KIns *b)
{
    for (int c = 0; c < b->ncarry; c++) {
        declare(p, b->out[c]);
        P("%s;\n", arg(p, b->other[c], p->k->ins[b->out[c]].w).s);
    }
    begin(p);
    P("if (%s) {", plain(p, b->arg[0]).s);
    end(p);
    p->indent++;
    scope(p, b->scope);
    for (int c = 0; c < b->ncarry; c++) {
        begin(p);
        P("v%u = %s;\n", (unsigned)b->out[c], arg(p, b->next[c], p->k->ins[b->out[c]].w).s);
    }
    p->indent--;
    begin(p);
    P("}\n");
}

static void statement(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    p->loc = i->loc;
    switch (i->op) {
    case K_LOAD: load(p, v); break;
    case K_STORE: store(p, v); break;
    case K_LOADS: block_load(p, v); break;
    case K_STORES: block_store(p, v); break;
    case K_LOOP: loop(p, i); break;
    case K_IF: branch(p, i); break;
    case K_BRK:
        begin(p);
        P("if (!(%s)) break;", plain(p, i->arg[0]).s);
        end(p);
        break;
    case K_BARRIER:
        begin(p);
        P("barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);");
        end(p);
        break;
    default:
        if (i->dt == DT_F64)
            p->used->f64 = true;
        declare(p, v);
        expression(p, i);
        P(";");
        end(p);
    }
}

static void scope(Printer *p, int s)
{
    for (int i = 0; i < p->k->scope[s].nbody; i++)
        statement(p, p->k->scope[s].body[i]);
}

static void buffer_check(Printer *p, const Buffer *b)
{
    if (!memory_type(b))
        fail(p, "no array may have elements of ", dtype_name((Dtype)b->dt));
    p->used->f64 |= b->dt == DT_F64;
}

static void kernel(Printer *p)
{
    const Kernel *k = p->k;
    const char *T = p->wide ? "long" : "int";
    P("__kernel %svoid %s(", p->caps->one_item ? "__attribute__((reqd_work_group_size(1, 1, 1))) " : "", k->name);
    for (int i = 0; i < k->nparam; i++) {
        buffer_check(p, k->param[i]);
        if (p->error)
            return;
        P("%s__global %s%s *restrict ", i ? ", " : "", k->written[i] ? "" : "const ", memory_type(k->param[i]));
        buffer_name(p, k->param[i]);
    }
    P(k->stepped ? k->nparam ? ", int step)\n{\n" : "int step)\n{\n" : ")\n{\n");
    for (int g = 0; g < k->ngrid; g++)
        P("    %s i%d = (%s)get_global_id(%d);\n", T, g, T, g);
    for (int i = 0; i < k->npriv; i++) {
        const Buffer *b = k->priv[i];
        buffer_check(p, b);
        if (p->error)
            return;
        P("    %s%s ", b->space == LOCAL ? "__local " : "", memory_type(b));
        buffer_name(p, b);
        P("[%lld] __attribute__((aligned(64)));\n", (long long)(b->size > 0 ? b->size : 1));
    }
    p->indent = 1;
    scope(p, 0);
    P("}\n\n");
}

/* ==================== the prelude */

/* One step of a tree: p and q are vectors or scalars of the same type. */
static void join(Text *t, KOp op, bool isfloat, const char *p, const char *q)
{
    static const char *const sign[] = { [K_HSUM] = "+", [K_HPROD] = "*", [K_HAND] = "&", [K_HOR] = "|", [K_HXOR] = "^" };
    bool max = op == K_HMAX;
    if (op != K_HMAX && op != K_HMIN)
        text_add(t, "%s %s %s", p, sign[op], q);
    else if (!isfloat)
        text_add(t, "%s(%s, %s)", max ? "max" : "min", p, q);
    else
        text_add(t, "((%s %s %s) | (%s != %s)) ? %s : %s", p, max ? ">" : "<", q, p, p, p, q);
}

static void tree(Text *t, KOp op, Dtype dt)
{
    static const char *const name[] = { [K_HSUM] = "sum", [K_HPROD] = "prod", [K_HMAX] = "max", [K_HMIN] = "min", [K_HAND] = "and",
        [K_HOR] = "or", [K_HXOR] = "xor" };
    bool order = op == K_HMAX || op == K_HMIN;
    const char *T = register_type[dt], *U = register_type[order ? dt : unsigned_of(dt)];
    text_add(t, "static inline %s hd_%s_%s(%s16 v)\n{\n    %s16 u = as_%s16(v);\n", T, name[op], T, T, U, U);
    text_add(t, "    %s8 a = ", U), join(t, op, dtype_float(dt), "u.lo", "u.hi");
    text_add(t, ";\n    %s4 b = ", U), join(t, op, dtype_float(dt), "a.lo", "a.hi");
    text_add(t, ";\n    %s2 c = ", U), join(t, op, dtype_float(dt), "b.lo", "b.hi");
    text_add(t, ";\n    %s x = c.x, y = c.y;\n    return (%s)(", U, T), join(t, op, dtype_float(dt), "x", "y");
    text_add(t, ");\n}\n");
}

/* Rounded down, of numbers that may be negative. */
static void floor_division(Text *t, bool mod, bool vec, const char *T)
{
    const char *w = lanes(vec ? W : 1);
    text_add(t, "static inline %s%s hd_%s_%s%s(%s%s x, %s d) { %s%s r = x %% d; ", T, w, mod ? "mod" : "div", T, w, T, w, T, T, w);
    if (mod)
        text_add(t, vec ? "return r + ((r < 0) & d); }\n" : "return r < 0 ? r + d : r; }\n");
    else
        text_add(t, vec ? "return x / d + (r < 0); }\n" : "return x / d - (r < 0); }\n");
}

/* To the nearest f16, kept as f32: normal ones by their bits, denormals as multiples of 2^-24, then infinity and nan. */
static void f16_rounding(Text *t, const char *w)
{
    text_add(t, "static inline float%s hd_half%s(float%s x)\n{\n"
        "    uint%s u = as_uint%s(x);\n"
        "    uint%s a = u & 0x7fffffffu;\n"
        "    uint%s r = (a + 0xfffu + ((a >> 13) & 1u)) & 0xffffe000u;\n"
        "    float%s d = as_float%s(a) + 0.5f;\n"
        "    d = d - 0.5f;\n"
        "    r = a < 0x38800000u ? as_uint%s(d) : r;\n", w, w, w, w, w, w, w, w, w, w);
    text_add(t,
        "    r = r >= 0x47800000u ? (uint%s)(0x7f800000u) : r;\n"
        "    r = a > 0x7f800000u ? a | 0x400000u : r;\n"
        "    return as_float%s(r | (u & 0x80000000u));\n}\n", w, w);
}

/* The bits of the nearest bf16; nan stays nan. */
static void bf16_rounding(Text *t, bool vec)
{
    const char *w = lanes(vec ? W : 1);
    text_add(t, "static inline ushort%s hd_bfloat%s(float%s x)\n{\n    uint%s u = as_uint%s(x);\n"
        "    uint%s r = x != x ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;\n"
        "    return %s(r);\n}\n", w, w, w, w, w, w, vec ? "convert_ushort16" : "(ushort)");
}

static void prelude(const Used *u, Text *t)
{
    text_add(t, "#pragma OPENCL FP_CONTRACT OFF\n");
    if (u->f64)
        text_add(t, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    text_add(t, "#define HD_LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))\n"
        "#define HD_LANES_L ((long16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))\n");
    for (int m = 0; m < 4; m++) {
        if (u->helper[H_DIV][m])
            floor_division(t, false, m & 1, m & 2 ? "long" : "int");
        if (u->helper[H_MOD][m])
            floor_division(t, true, m & 1, m & 2 ? "long" : "int");
    }
    for (int w = 0; w < 2; w++) {
        if (u->helper[H_F16][w] || u->helper[H_F16][w + 2])
            f16_rounding(t, lanes(w ? W : 1));
        if (u->helper[H_BF16][w] || u->helper[H_BF16][w + 2])
            bf16_rounding(t, w);
    }
    if (u->helper[H_ANY][1] || u->helper[H_ANY][3])
        text_add(t, "static inline int hd_any(int16 v)\n{\n    long8 w = as_long8(v);\n    long4 a = w.lo | w.hi;\n"
            "    long2 b = a.lo | a.hi;\n    return (b.x | b.y) != 0;\n}\n");
    for (int op = K_HSUM; op < K_ANY; op++)
        for (int dt = 0; dt < DT_COUNT; dt++)
            if (u->horizontal[op][dt])
                tree(t, (KOp)op, (Dtype)dt);
    text_add(t, "\n");
}

int opencl_c_print(const Kernel *const *list, int n, const OpenclCaps *caps, Text *out)
{
    Text body = { 0 };
    Used used = { 0 };
    int error = 0;
    for (int i = 0; i < n && !error; i++) {
        Printer p = { .k = list[i], .caps = caps, .used = &used, .out = &body, .wide = list[i]->wide_index };
        kernel(&p);
        error = p.error;
    }
    if (!error && used.f64 && !caps->f64)
        error = error_set(E_DTYPE, "the device has no f64: convert to f32, or choose another device");
    if (!error) {
        prelude(&used, out);
        text_add(out, "%s", body.s ? body.s : "");
    }
    text_free(&body);
    return error;
}
