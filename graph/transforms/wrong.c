/*
 * wrong.c - faults on demand, and roundings on demand: the same program with results that are a little, or
 * clearly, not what they should be.
 *
 * In:  a graph without rules, effects and places. Out: the same, but that some results are changed.
 *      graph_wrong     one op is wrong, as HEDDLE_WRONG says, where it says so: what comparing must find
 *      graph_shaken    every float result is one rounding off, up or down: what differs no more than this
 *                      need not be wrong
 * A fault is KIND:OP, then words with commas, all of which must hold:
 *      dtype=f64       of the result          size=37         of the result, in elements
 *      from=32         in elements from this one on, row by row
 *      lane=3, step=9  in bodies of regions: of the outermost lane axis around; of the scan around
 *      of=mul          where an operand is what this op gives
 *      nan             the wrong value is nan; else it is 1/64 larger, or off by one
 */
#include "transforms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Fault {
    int op, of; /* of 0: any */
    Dtype dt;
    int64_t size, from, lane, step; /* -1: any */
    bool nan;
} Fault;

/* A body being written again. lane, step: their numbers, values of the current graph; 0: nothing asks. */
typedef struct Making {
    const Fault *fault;
    const Graph *from;
    Ref lane, step;
    uint32_t *serial; /* shaken: how many values were so far */
} Making;

/* ==================== what HEDDLE_WRONG says */

static int fault_number(const char *word, const char *value, int64_t *to)
{
    char *end;
    *to = strtoll(value, &end, 10);
    if (end == value || *end || *to < 0)
        return error_set(E_INVAL, "HEDDLE_WRONG: %s=%s is no number", word, value);
    return 0;
}

static int fault_word(Fault *f, char *word)
{
    char *value = strchr(word, '=');
    if (!strcmp(word, "nan"))
        return f->nan = true, 0;
    if (value)
        *value++ = 0;
    if (value && !strcmp(word, "dtype") && (f->dt = dtype_parse(value, strlen(value))))
        return 0;
    if (value && !strcmp(word, "of") && (f->of = op_find(value)))
        return 0;
    if (value && !strcmp(word, "size"))
        return fault_number(word, value, &f->size);
    if (value && !strcmp(word, "from"))
        return fault_number(word, value, &f->from);
    if (value && !strcmp(word, "lane"))
        return fault_number(word, value, &f->lane);
    if (value && !strcmp(word, "step"))
        return fault_number(word, value, &f->step);
    return error_set(E_INVAL, "HEDDLE_WRONG: %s%s%s is none of dtype=, size=, from=, lane=, step=, of=, nan",
        word, value ? "=" : "", value ? value : "");
}

/* false: nothing is to be wrong on this kind of device, or the text makes no sense, which is an error. */
static bool fault_read(Fault *f, const char *kind)
{
    const char *s = getenv("HEDDLE_WRONG");
    if (!s || !*s)
        return false;
    char *text = arena_copy(s, strlen(s) + 1), *op = strchr(text, ':'),
         *rest = op ? strchr(op + 1, ':') : NULL;
    if (op)
        *op++ = 0;
    if (rest)
        *rest++ = 0;
    *f = (Fault){ .size = -1, .from = -1, .lane = -1, .step = -1 };
    if (!op || !(f->op = op_find(op)))
        return error_set(E_INVAL, "HEDDLE_WRONG=%s: KIND:OP[:WORDS] is wanted, an op of the table", s),
               false;
    for (char *save = NULL, *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save))
        if (fault_word(f, w))
            return false;
    return !strcmp(text, kind);
}

/* ==================== elements */

/* The numbers of the elements, row by row. */
static Ref numbers(const Type *t)
{
    Type u = *t;
    int64_t stride = 1;
    u.dt = (uint8_t)type_counter(type_size(t));
    Ref all = Full(u, 0);
    for (int d = t->rank - 1; d >= 0; d--) {
        all = Add(all, Mul(Iota(u, d), Full(u, (double)stride)));
        stride *= t->dim[d];
    }
    return all;
}

static Ref also(Ref a, Ref b) { return a ? And(a, b) : b; }

static Ref is_number(Ref at, int64_t n, const Type *t)
{
    return Broadcast(Eq(at, Const(DT_I32, (double)n)), type_shape(t), (Ints){ 0 });
}

static Ref wrong_value(Ref v, bool nan)
{
    Dtype dt = (Dtype)typ(v)->dt;
    if (dt == DT_BOOL)
        return Not(v);
    if (dtype_complex(dt)) {
        Type t = *typ(v);
        t.dt = (uint8_t)dtype_part(dt);
        return Add(v, Convert(Full(t, nan ? (double)NAN : 1. / 64), dt));
    }
    if (!dtype_float(dt))
        return Add(v, Like(v, 1));
    return nan ? Like(v, (double)NAN) : Add(Mul(v, Like(v, 1 + 1. / 64)), Like(v, 1. / 64));
}

static bool is_of(const Making *m, const Ins *i)
{
    bool is = !m->fault->of;
    for (int k = 0; k < i->nin; k++) {
        const Ins *from = m->from->def[i->in[k]];
        is = is || (from && from->op == m->fault->of);
    }
    return is;
}

static Ref spoiled(const Making *m, const Ins *i, Ref v)
{
    const Fault *f = m->fault;
    Type t = v ? *typ(v) : (Type){ 0 };
    Ref where = 0;
    if (!v || i->op != f->op || t.dt == DT_KEY || graph_acc(cur(), v) || (f->dt && f->dt != (Dtype)t.dt) ||
        (f->size >= 0 && f->size != type_size(&t)) || !is_of(m, i))
        return v;
    if (f->from >= 0) {
        Ref n = numbers(&t);
        where = Ge(n, Like(n, (double)f->from));
    }
    if (f->lane >= 0)
        where = also(where, is_number(m->lane, f->lane, &t));
    if (f->step >= 0)
        where = also(where, is_number(m->step, f->step, &t));
    Ref w = wrong_value(v, f->nan);
    return where ? Select(where, w, v) : w;
}

/* ==================== bodies */

static void wrong_ins(const Ins *i, const Ref *x, Ref *out, void *env);

/* With two further captures, lane and step; a scan has its own step as the last of xs. */
static Graph *wrong_body(const Making *up, const Region *r, const Graph *b)
{
    Ref *map = NEWS(Ref, b->nval), unit = 0;
    Making m = { up->fault, b, 0, 0, NULL };
    graph_begin(graph_new());
    for (int k = 0; k <= b->nin; k++) {
        if (k == r->ncap)
            m.lane = graph_input(type_scalar(DT_I32), 0), m.step = graph_input(type_scalar(DT_I32), 0);
        if (k < b->nin)
            map[b->in[k]] = input_like(b, k, b->flag[b->in[k]]);
    }
    if (r->kind == SCAN)
        unit = graph_input(type_scalar(DT_I32), 0);
    m.step = unit ? unit : m.step;
    graph_map_ins(b, map, wrong_ins, &m);
    return graph_map_end(b, map);
}

static void wrong_region(const Making *m, const Ins *i, const Ref *x, Ref *out)
{
    const Region *r = i->region;
    Draft f = draft_like(r, i->nin + 3, i->nsub);
    uint8_t *shared = NEWS(uint8_t, r->nlane + 1), *first = NEWS(uint8_t, r->nlane + 1);
    Type lanes = type_of(DT_I32, 1, &(int64_t){ r->nlane ? r->lane[0].size : 0 });
    first[0] = STACKED;
    for (int k = 0; k <= i->nin; k++) {
        if (k == region_npred(r) + r->ncap) {
            draft_operand(&f, r->nlane ? Iota(lanes, 0) : m->lane, r->nlane ? first : shared);
            draft_operand(&f, m->step, shared);
        }
        if (k < i->nin)
            draft_operand(&f, x[k], marks_in(r, k));
    }
    if (r->kind == SCAN)
        draft_operand(&f, Iota(type_of(DT_I32, 1, &r->length), 0), shared);
    f.r.ncap += 2;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = wrong_body(m, r, i->sub[k]);
    if (!error_pending())
        draft_emit(&f, out);
}

static void wrong_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    if (i->op == OP_region)
        wrong_region(env, i, x, out);
    else
        again(i, x, out);
    for (int k = 0; k < i->nout; k++)
        out[k] = spoiled(env, i, out[k]);
}

Graph *graph_wrong(Graph *g, const char *kind)
{
    Fault f;
    if (!fault_read(&f, kind))
        return error_pending() ? NULL : g;
    Ref *map = NEWS(Ref, g->nval);
    Graph *h = graph_map_begin(g, map, V_ACC);
    h->ncap = g->ncap, h->name = g->name;
    Making m = { &f, g, Const(DT_I32, -1), Const(DT_I32, -1), NULL };
    graph_map_ins(g, map, wrong_ins, &m);
    graph_map_end(g, map);
    return error_pending() ? NULL : graph_dce(h);
}

/* ==================== roundings */

static double rounding_of(Dtype dt)
{
    return dt == DT_F16 ? 0x1p-10 : dt == DT_BF16 ? 0x1p-7 : dt == DT_F32 ? 0x1p-23 : 0x1p-52;
}

/* Functions whose documented bound is not a few ULP: how many roundings stand for one, of f32 and of f64
 * (docs/numerics.md). Their terms cancel, or they are steep, so their arguments are a rounding off, too. */
static const struct {
    uint16_t op;
    double f32, f64;
} rough[] = { { OP_lgamma, 1, 1 }, { OP_digamma, 1, 1 }, { OP_expi, 1, 1 }, { OP_zeta, 1, 2 },
    { OP_polygamma, 2, 4 }, { OP_betaln, 2, 4 }, { OP_igamma, 4, 8 }, { OP_igammac, 4, 8 },
    { OP_regularized_incomplete_beta, 4, 8 }, { OP_random_gamma_grad, 16, 256 } };

/* 0: it is no such function */
static double roughness(int op, Dtype dt)
{
    for (size_t k = 0; k < sizeof rough / sizeof *rough; k++)
        if (rough[k].op == op)
            return dt == DT_F64 ? rough[k].f64 : rough[k].f32;
    return 0;
}

/* v, each element so many roundings up or down, by its place and the serial number. */
static Ref shake(Ref v, double roundings, const Making *m)
{
    Dtype dt = v ? (Dtype)typ(v)->dt : DT_NONE;
    if (!dtype_inexact(dt) || graph_acc(cur(), v))
        return v;
    Type t = *typ(v), u = t;
    uint32_t odd = 2654435761u, serial = ++*m->serial * 0x9E3779B1u;
    t.dt = (uint8_t)dtype_part(dt), u.dt = DT_U32;
    double unit = roundings * rounding_of((Dtype)t.dt);
    Ref n = FullBits(u, (int64_t)(serial ^ serial >> 15));
    for (int d = 0; d < t.rank; d++, odd = odd * 0x85EBCA6Bu + 2)
        n = Xor(n, Mul(Iota(u, d), FullBits(u, (int64_t)(odd | 1))));
    n = Mul(Xor(n, ShiftRightLogical(n, FullBits(u, 15))), FullBits(u, 0xC2B2AE35));
    Ref factor = Select(Ge(n, FullBits(u, 0x80000000)), Full(t, 1 + unit), Full(t, 1 - unit));
    return Mul(v, dtype_complex(dt) ? Convert(factor, dt) : factor);
}

static void shaken_ins(const Ins *i, const Ref *x, Ref *out, void *env);

static Graph *shaken(const Graph *g, uint32_t *serial)
{
    Making m = { NULL, g, 0, 0, serial };
    return graph_map(g, shaken_ins, &m);
}

/* What is added up is off before, since a device may add in another order; else what comes out. */
static void shaken_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Making *m = env;
    int what = optab[i->op].element;
    Ins same = *i;
    if (i->op == OP_region) {
        same.sub = NEWS(Graph *, i->nsub);
        for (int k = 0; k < i->nsub; k++)
            same.sub[k] = shaken(i->sub[k], m->serial);
        again(&same, x, out);
        return;
    }
    Ref *y = NEWS(Ref, i->nin);
    double rough_by = i->nin && x[0] ? roughness(i->op, (Dtype)typ(x[0])->dt) : 0;
    for (int k = 0; k < i->nin; k++)
        y[k] = what == IS_SUM || what == IS_OWN || rough_by > 0 ? shake(x[k], 1, m) : x[k];
    again(i, y, out);
    for (int k = 0; k < i->nout && what != IS_VIEW && what != IS_PASS && what != IS_LEAF; k++)
        out[k] = shake(out[k], rough_by > 1 ? rough_by : 1, m);
}

Graph *graph_shaken(const Graph *g, uint32_t seed)
{
    uint32_t serial = seed * 0x10001u;
    return shaken(g, &serial);
}
