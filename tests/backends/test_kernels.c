/*
 * test_kernels.c - straight-line kernels, constants among their operands, against the builder's folds.
 *
 * In:  a table of small expressions that a compiler of a driver may simplify where it must not (x * 0, x -
 * x, 0 + x), and
 *      expressions drawn at random over all register types; operands with every special value.
 * Out: every device computes the bits that the builder gives for constant operands. A nan is a nan, whatever
 * its bits.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "kir.h"
#include "suite_run.h"

enum { N = 64, MOST = 256 };                    /* elements of a buffer; buffers of a kernel */


static uint64_t state;
static uint64_t any(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

/* ==================== expressions: built on loads for a device, on constants for what is right */

static Kernel *K;
static Dtype D;
static Val X, Y, Z;

static Val c_(double x) { return k_const(K, D, x); }
static Val add(Val x, Val y) { return k2(K, K_ADD, D, x, y); }
static Val sub(Val x, Val y) { return k2(K, K_SUB, D, x, y); }
static Val mul(Val x, Val y) { return k2(K, K_MUL, D, x, y); }
static Val quot(Val x, Val y) { return k2(K, K_DIV, D, x, y); }
static Val fma3(Val x, Val y, Val z) { return k3(K, K_FMA, D, x, y, z); }
static Val most(Val x, Val y) { return k2(K, K_MAX, D, x, y); }
static Val least(Val x, Val y) { return k2(K, K_MIN, D, x, y); }
static Val minus(Val x) { return k1(K, K_NEG, D, x); }
static Val mag(Val x) { return k1(K, K_ABS, D, x); }
static Val root(Val x) { return k1(K, K_SQRT, D, x); }
static Val whole(Val x) { return k1(K, K_FLOOR, D, x); }
static Val compare(KOp op, Val x, Val y) { return k2(K, op, DT_BOOL, x, y); }
static Val lt(Val x, Val y) { return compare(K_LT, x, y); }
static Val eq(Val x, Val y) { return compare(K_EQ, x, y); }
static Val both(Val x, Val y) { return k2(K, K_AND, DT_BOOL, x, y); }
static Val either(Val x, Val y) { return k2(K, K_OR, DT_BOOL, x, y); }
static Val not_(Val x) { return k1(K, K_NOT, DT_BOOL, x); }
static Val sel(Val c, Val x, Val y) { return k3(K, K_SELECT, D, c, x, y); }

#define FLOATS(R) \
    R(mul(X, c_(0))) \
    R(mul(X, c_(-0.0))) R(mul(X, c_(1))) R(mul(X, c_(-1))) R(mul(X, c_(INFINITY))) R(mul(X, c_(NAN))) R( \
        add(X, c_(0))) R(add(X, c_(-0.0))) R(add(X, c_(INFINITY))) R(add(X, minus(X))) R(add(minus(X), \
        X)) R(add(X, X)) R(sub(X, c_(0))) R(sub(X, c_(-0.0))) R(sub(c_(0), X)) R(sub(c_(-0.0), X)) R(sub(X, \
        X)) R(sub(minus(X), X)) R(sub(X, mul(X, c_(1)))) R(sub(add(X, Y), Y)) R(add(sub(X, Y), Y)) \
        R(sub(add(X, c_(0)), add(c_(0), X))) R(quot(X, X)) R(quot(X, c_(0))) R(quot(c_(0), X)) R( \
            quot(c_(-0.0), X)) R(quot(c_(1), X)) R(quot(X, c_(1))) R(quot(X, c_(3))) \
            R(quot(X, c_(INFINITY))) R(mul(quot(X, Y), Y)) R(quot(mul(X, Y), Y)) R( \
                quot(c_(1), quot(c_(1), X))) R(fma3(X, c_(0), Y)) R(fma3(X, c_(1), Y)) R(fma3(X, Y, \
                c_(0))) R(fma3(X, Y, c_(-0.0))) R(fma3(X, c_(0), c_(0))) R(fma3(X, X, minus(mul(X, X)))) \
                R(fma3(X, c_(-1), X)) R(fma3(c_(0), c_(0), X)) R(add(mul(X, Y), Z)) R(sub(mul(X, Y), Z)) R( \
                    compare(K_NE, X, X)) R(eq(X, X)) R(lt(X, X)) R(compare(K_LE, X, X)) R(compare(K_GE, \
                    X, X)) R(compare(K_GT, X, X)) R(eq(X, c_(0))) R(lt(X, c_(0))) R(compare(K_LE, \
                    X, c_(0))) R(compare(K_GT, X, c_(0))) R(compare(K_GE, \
                    X, c_(0))) R(compare(K_NE, X, c_(0))) R(lt(X, c_(INFINITY))) R(compare(K_LE, \
                    X, c_(INFINITY))) R(eq(X, c_(NAN))) R(compare(K_NE, X, \
                    c_(NAN))) R(not_(lt(X, Y))) R(not_(eq(X, Y))) R(both(lt(X, Y), \
                    lt(X, Z))) R(both(lt(Y, X), lt(Z, X))) \
                    R(either(lt(X, Y), lt(X, Z))) R(either(lt(X, c_(0)), lt(c_(0), X))) R( \
                        eq(add(X, c_(1)), c_(1))) R(lt(minus(X), c_(0))) \
                        R(lt(mag(X), c_(0))) R(compare(K_GE, mag(X), c_(0))) R(lt(mul(X, X), c_(0))) R( \
                            eq(sub(X, Y), c_(0))) R(lt(sub(X, Y), c_(0))) \
                            R(eq(minus(X), X)) R(eq(X, add(X, c_(0)))) R(eq(mul(X, c_(2)), X)) R( \
                                compare(K_NE, add(X, Y), X)) R(lt(add(X, c_(1)), X)) R(sel(eq(X, c_(0)), \
                                c_(0), X)) R(sel(eq(X, Y), X, Y)) R(sel(lt(X, c_(0)), minus(X), X)) \
                                R(sel(lt(X, Y), X, Y)) R(mul(sel(lt(X, Y), c_(0), c_(1)), Z)) R( \
                                    mul(sel(lt(X, Y), c_(1), c_(0)), Z)) R(add(sel(lt(X, Y), c_(0), X), Z)) \
                                    R(add(sel(lt(X, Y), X, c_(0)), c_(0))) R( \
                                        mul(sel(lt(X, Y), X, c_(2)), c_(0))) R(sub(sel(lt(X, Y), X, Z), X)) \
                                        R(minus(minus(X))) R(minus(sub(X, Y))) R(minus(add(X, Y))) R(minus( \
                                            mul(X, Y))) R(mag(minus(X))) R(mag(mul(X, X))) R(mul(minus(X), \
                                            minus(Y))) R(mul(mag(X), mag(X))) R(mul(X, c_(2))) \
                                            R(mul(mul(X, c_(2)), c_(0.5))) R(mul(mul(X, c_(3)), c_(7))) \
                                                R(add(add(X, c_(1)), c_(-1))) R(add(mul(X, Y), mul(X, Z))) \
                                                    R(mul(X, add(Y, Z))) R(root(mul(X, X))) R(mul(root(X), \
                                                        root(X))) R(root(mag(X))) R(quot(c_(1), root(X))) \
                                                        R(whole(whole(X))) R(sub(X, whole(X))) R( \
                                                            minus(whole(minus(X)))) R(k1(K, K_TRUNC, D, X)) \
                                                            R(k1(K, K_CEIL, D, X)) R(k1(K, K_RINT, D, X)) \
                                                                R(add(k1(K, K_RINT, D, X), c_(0)))

/* Which of two zeros is the larger is not said. */
#define ORDERED(R) \
    R(most(X, c_(0))) \
    R(least(X, c_(0))) R(most(X, c_(-1))) R(most(least(X, c_(1)), c_(0))) R(least(most(X, c_(0)), c_(1))) \
        R(most(X, c_(INFINITY))) R(least(X, c_(-INFINITY))) R(most(X, c_(NAN))) R(most(minus(X), minus(Y))) \
            R(most(X, minus(X)))

#define INTS(R) \
    R(compare(K_NE, add(mag(X), mag(X)), c_(0))) \
    R(lt(mag(X), c_(0))) R(lt(minus(X), X)) R(lt(add(X, c_(1)), X)) R(lt(X, sub(X, Y))) \
        R(eq(sub(X, Y), c_(0))) R(lt(mul(X, c_(2)), X)) R(most(X, minus(X))) R(least(add(X, c_(1)), X)) \
            R(sel(lt(X, Y), X, sub(X, Y))) R(eq(k2(K, K_AND, D, X, k1(K, K_NOT, D, X)), c_(0))) \
                R(mag(minus(X))) R(mag(mag(X)))

#define R(e) #e,
static const char *const names[] = { FLOATS(R) "", ORDERED(R) "", INTS(R) };
#undef R

static Val expression(int at)
{
    int i = 0;
#define R(e) if (i++ == at) return e;
    FLOATS(R)
    i++;
    ORDERED(R)
    i++;
    INTS(R)
#undef R
    return 0;
}

/* Where a list ends: 0 of floats, 1 of those whose zeros are not said, 2 of all. */
static int end_of(int list)
{
    int at = 0;
    for (; list >= 0 && at < (int)(sizeof names / sizeof *names); at++)
        list -= !names[at][0];
    return list < 0 ? at - 1 : at;
}

/* ==================== operands */

static uint64_t special(Dtype dt, uint64_t r)
{
    static const double f[] = { 0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0x1p-149, -0x1p-127, 0x1p-126, 0.5,
        2, -2, 3, 1.5, 0x1.fffffep127, -0x1p127, 0x1p-70, -0x1p80, 7 };
    static const int64_t i[] = { 0, 1, -1, 2, -2, 95, 96, 127, -128, INT32_MAX, INT32_MIN, INT64_MAX,
        INT64_MIN, (int64_t)INT32_MAX + 1, (int64_t)INT32_MIN - 1, UINT32_MAX, (int64_t)UINT32_MAX + 1, 1000,
        -1000, 3 };
    return dtype_float(dt) ? (uint64_t)k_bits_of(dt, f[r % 20]) : (uint64_t)k_wrap(dt, i[r % 20]);
}

static int64_t draw(Dtype dt)
{
    uint64_t r = any();
    if (dt == DT_BOOL)
        return (int64_t)(r & 1);
    if (r & 0x300)
        return (int64_t)special(dt, r >> 10);
    return dtype_float(dt) ? k_bits_of(dt, (double)(int64_t)(r >> 10 & 0xffff) / 64 - 512) :
                             k_wrap(dt, (int64_t)any() >> (r >> 10) % 64);
}

/* ==================== running */

typedef struct Bench {
    Device *device;
    Kernel *k;
    Form at;
    int n, nin;
    Buffer b[MOST];
    Slot slot[MOST];
    int64_t bits[MOST][N];                      /* arguments' elements; results' right ones */
    char what[MOST][160];
    bool loose[MOST];
} Bench;

static Buffer *buffer(Bench *b, Dtype dt, bool in)
{
    int i = b->n++;
    ck_assert(i < MOST);
    b->nin += in;
    b->b[i] =
        (Buffer){ .name = in ? "in" : "out", .dt = (uint8_t)dt, .space = GLOBAL, .size = N, .slot = i };
    b->slot[i] = (Slot){ .kind = in ? SLOT_ARG : SLOT_RESULT,
        .dt = (uint8_t)dt,
        .index = in ? i : i - b->nin,
        .size = N,
        .bytes = N * dtype_size(dt),
        .name = b->b[i].name };
    return &b->b[i];
}

/* One work-item has all elements: a vector, or an element, a turn. */
static Bench *bench_new(Device *d, bool vectors, bool wide)
{
    Bench *b = NEW(Bench);
    b->device = d;
    b->k = k_new("straight");
    b->k->wide_index = wide;
    const Atom *i = k_loop(b->k, "i", vectors ? N / W : N, 0, NULL, NULL);
    b->at = vectors ? form_add(form_mul(form_a(i), W), form_a(LANE)) : form_a(i);
    return b;
}

static Val argument(Bench *b, Dtype dt)
{
    int at = b->n;
    Buffer *x = buffer(b, dt, true);
    for (int i = 0; i < N; i++)
        b->bits[at][i] = draw(dt);
    return k_load(b->k, x, b->at);
}

static void element_store(Dtype dt, char *to, int64_t bits)
{
    memcpy(to, &bits, dtype_size(dt));          /* little-endian, as devices are */
}

static void judge(const Bench *b, int at, const char *got)
{
    Dtype dt = (Dtype)b->b[at].dt;
    for (int i = 0; i < N; i++) {
        int64_t bits = 0, want = b->bits[at][i];
        memcpy(&bits, got + (size_t)i * dtype_size(dt), dtype_size(dt));
        bits = k_wrap(dt, bits);
        double x = dtype_float(dt) ? k_float_of(dt, bits) : 0,
               y = dtype_float(dt) ? k_float_of(dt, want) : 0;
        if (bits == want || (x != x && y != y) || (b->loose[at] && x == y && dtype_float(dt)))
            continue;
        char operands[200] = "";
        for (int a = 0; a < b->nin && a < 8; a++)
            snprintf(operands + strlen(operands), sizeof operands - strlen(operands), " %llx",
                (long long)b->bits[a][i]);
        ck_abort_msg("%s: %s of%s is %llx, not %llx (%.9g, %.9g)", b->device->info.name, b->what[at],
            operands, (long long)bits, (long long)want, x, y);
    }
}

static void run(Bench *b)
{
    const Backend *back = b->device->backend;
    int nout = b->n - b->nin, alias[MOST];
    Mem *m[MOST] = { NULL };
    char bytes[N * 8];
    for (int i = 0; i < MOST; i++)
        alias[i] = -1;
    k_loop_end(b->k, NULL, NULL);
    k_finish(b->k);
    ck_assert_msg(!error_pending() && !k_check(b->k), "%s", error_text());
    Step step = { .kind = S_LAUNCH, .kernel = b->k };
    Plan p = { .step = &step,
        .nstep = 1,
        .slot = b->slot,
        .nslot = b->n,
        .narg = b->nin,
        .nresult = nout,
        .alias = alias,
        .nkernel = 1 };
    Exec *e = back->build(b->device, &p);
    ck_assert_msg(e != NULL, "%s", error_text());
    for (int i = 0; i < b->nin; i++) {
        size_t size = dtype_size((Dtype)b->b[i].dt);
        for (int j = 0; j < N; j++)
            element_store((Dtype)b->b[i].dt, bytes + (size_t)j * size, b->bits[i][j]);
        ck_assert(!back->alloc(b->device, N * size, &m[i]) && !back->write(m[i], 0, bytes, N * size));
    }
    ck_assert_msg(!back->run(e, b->nin, m, nout, m + b->nin), "%s", error_text());
    for (int i = b->nin; i < b->n; i++) {
        ck_assert_msg(!back->read(m[i], 0, bytes, b->slot[i].bytes), "%s", error_text());
        judge(b, i, bytes);
    }
    for (int i = 0; i < b->n; i++)
        mem_drop(m[i]);
    back->drop(e);
}

/* ==================== the table */

/* expressions; in a kernel of vectors, which take long */
enum { NAMES = sizeof names / sizeof *names, PART = 12 };

static void table(Device *d, Dtype dt, bool vectors, int from, int to)
{
    form_open();
    Bench *b = bench_new(d, vectors, false);
    Val x[3];
    for (int a = 0; a < 3; a++)
        x[a] = argument(b, dt);
    for (int at = from; at < to; at++) {
        if (!names[at][0])
            continue;
        K = b->k, D = dt, X = x[0], Y = x[1], Z = x[2];
        Val v = expression(at);
        Dtype gives = (Dtype)K->ins[v].dt;
        int out = b->n;
        snprintf(b->what[out], sizeof b->what[out], "%s in %s", names[at], dtype_name(dt));
        b->loose[out] = at > end_of(0);
        k_store(K, buffer(b, gives, false), b->at, v);
        K = k_new("right");
        for (int i = 0; i < N; i++) {
            X = k_bits(K, dt, b->bits[0][i]), Y = k_bits(K, dt, b->bits[1][i]),
            Z = k_bits(K, dt, b->bits[2][i]);
            v = expression(at);
            ck_assert_msg(k_const_of(K, v, &b->bits[out][i]), "%s is not folded", names[at]);
        }
    }
    run(b);
    form_close();
}

/* Comparisons with constants of a number that is converted. */
static void converted(Device *d, Dtype from, Dtype to)
{
    form_open();
    Bench *b = bench_new(d, false, false);
    Val x = argument(b, from);
    for (int i = 0; i < 20 * 8; i++) {
        KOp op = i % 8 < 6 ? (KOp)(K_EQ + i % 8) : i % 8 == 6 ? K_MAX : K_MIN;
        Dtype dt = i % 8 < 6 ? DT_BOOL : to;
        int64_t c = (int64_t)special(to, (uint64_t)i / 8);
        int out = b->n;
        snprintf(b->what[out], sizeof b->what[out], "operation %d of %s as %s and %llx", op,
            dtype_name(from), dtype_name(to), (long long)c);
        b->loose[out] = true;
        k_store(b->k, buffer(b, dt, false), b->at,
            k2(b->k, op, dt, k1(b->k, K_CONVERT, to, x), k_bits(b->k, to, c)));
        Kernel *k = k_new("right");
        for (int e = 0; e < N; e++) {
            Val v = k2(k, op, dt, k1(k, K_CONVERT, to, k_bits(k, from, b->bits[0][e])), k_bits(k, to, c));
            ck_assert(k_const_of(k, v, &b->bits[out][e]));
        }
    }
    run(b);
    form_close();
}

/* ==================== drawn at random */

static const Dtype kinds[] = { DT_BOOL, DT_I8, DT_I16, DT_I32, DT_I64, DT_U8, DT_U16, DT_U32, DT_U64, DT_F32,
    DT_F64 };
enum { KINDS = sizeof kinds / sizeof *kinds, LOADS = 6, STEPS = LOADS + 48 };

/* op K_LOAD: an argument. The last operand is a constant where it is -1: bits, of dtype of. */
typedef struct Node { KOp op; Dtype dt, of; int arg[3]; int64_t bits; } Node;

static int arity(KOp op)
{
    switch (op) {
    case K_SELECT: case K_FMA: return 3;
    case K_NEG: case K_NOT: case K_ABS: case K_SQRT: case K_FLOOR: case K_CONVERT: return 1;
    default: return 2;
    }
}

/* One of a dtype, rather a late one; -1: there is none. */
static int pick(const Node *n, int count, Dtype dt)
{
    int last = -1;
    for (int i = 0; i < count; i++)
        if (n[i].dt == dt && (last < 0 || any() % 3))
            last = i;
    return last;
}

static KOp draw_op(Dtype dt)
{
    static const KOp ints[] = { K_ADD, K_SUB, K_MUL, K_MAX, K_MIN, K_AND, K_OR, K_XOR, K_NEG, K_NOT,
        K_SELECT, K_ABS };
    static const KOp floats[] = { K_ADD, K_SUB, K_MUL, K_DIV, K_NEG, K_ABS, K_SQRT, K_FLOOR, K_SELECT, K_ADD,
        K_MUL, K_FMA };
    static const KOp bools[] = { K_AND, K_OR, K_XOR, K_NOT };
    uint64_t r = any();
    if (dt == DT_BOOL)
        return bools[r % 4];
    return dtype_float(dt) ? floats[r % (dt == DT_F64 ? 11 : 12)] : ints[r % 12];
}

/* An instruction on what is there. false: no luck. */
static bool draw_node(const Node *have, int count, Node *n)
{
    int from = (int)(any() % (uint64_t)count);
    Dtype dt = have[any() % (uint64_t)count].dt, other = kinds[any() % KINDS];
    switch (any() % 4) {
    case 0:                                     /* floats go to integers only within bounds */
        *n = (Node){ .op = K_CONVERT, .dt = dt == have[from].dt ? other : dt, .arg = { from } };
        return n->dt != have[from].dt &&
            (!dtype_float(have[from].dt) || dtype_float(n->dt) || n->dt == DT_BOOL);
    case 1:
        n->op = (KOp)(K_EQ + any() % (dt == DT_BOOL ? 2 : 6));
        *n = (Node){ .op = n->op, .dt = DT_BOOL, .of = dt };
        break;
    default:
        *n = (Node){ .op = draw_op(dt), .dt = dt, .of = dt };
    }
    for (int a = 0; a < arity(n->op); a++)
        if ((n->arg[a] = pick(have, count, n->op == K_SELECT && a == 0 ? DT_BOOL : n->of)) < 0)
            return false;
    if (arity(n->op) > 1 && any() % 2)
        n->arg[arity(n->op) - 1] = -1, n->bits = draw(n->of);
    return true;
}

static Val node_build(Kernel *k, const Node *n, const Val *v)
{
    Val a[3];
    for (int i = 0; i < arity(n->op); i++)
        a[i] = n->arg[i] < 0 ? k_bits(k, n->of, n->bits) : v[n->arg[i]];
    return k_emit(k, n->op, n->dt, arity(n->op), a);
}

static bool known(const Device *d, Dtype dt)
{
    return (dt != DT_F64 || d->info.has_f64) && (dt == DT_F64 || dtype_size(dt) < 8 || d->info.has_i64);
}

/* A program, on loads. */
static void draw_program(Bench *b, Node *n, Val *v)
{
    for (int i = 0; i < LOADS; i++) {
        Dtype dt = i == 0 ? DT_BOOL : kinds[any() % KINDS];
        n[i] = (Node){ .op = K_LOAD, .dt = known(b->device, dt) ? dt : DT_I32 };
        v[i] = argument(b, n[i].dt);
    }
    for (int i = LOADS; i < STEPS;)
        if (draw_node(n, i, &n[i]) && known(b->device, n[i].dt)) {
            v[i] = node_build(b->k, &n[i], v);
            i++;
        }
}

static void drawn(Device *d, uint64_t seed)
{
    Node n[STEPS];
    Val v[STEPS], right[STEPS];
    state = seed * 0x9e3779b97f4a7c15 + 88172645463325252ull;
    form_open();
    bool vectors = any() % 4 == 0;
    int first = vectors ? STEPS - PART : LOADS;         /* what is stored */
    Bench *b = bench_new(d, vectors, any() % 2);
    draw_program(b, n, v);
    for (int i = first; i < STEPS; i++) {
        snprintf(b->what[b->n], sizeof b->what[b->n],
            "seed %d: node %d, operation %d of %s on %d %d %d (%llx)", (int)seed, i, n[i].op,
            dtype_name(n[i].dt), n[i].arg[0], n[i].arg[1], n[i].arg[2], (long long)n[i].bits);
        k_store(b->k, buffer(b, n[i].dt, false), b->at, v[i]);
    }
    for (int e = 0; e < N; e++) {
        Kernel *k = k_new("right");
        for (int i = 0; i < STEPS; i++) {
            right[i] = i < LOADS ? k_bits(k, n[i].dt, b->bits[i][e]) : node_build(k, &n[i], right);
            if (i >= first)
                ck_assert(k_const_of(k, right[i], &b->bits[LOADS + i - first][e]));
        }
    }
    run(b);
    form_close();
}

/* ==================== tests */

static void on_devices(void (*f)(Device *, int), int i)
{
    static const char *const devices[] = { "vulkan:0", "opencl:0" };
    const char *only = getenv("HEDDLE_TEST_DEVICE");
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        error_clear();
        Device *x = only && strcmp(only, devices[d]) ? NULL : device_find(devices[d]);
        Arena *own = arena_new();
        if (!x)
            continue;
        arena_use(own);
        f(x, i);
        arena_use(NULL);
        arena_drop(own);
    }
}

static void table_of(Device *d, int i)
{
    state = 88172645463325252ull;
    static const Dtype ints[] = { DT_I32, DT_I64, DT_I8, DT_U16 };
    int floats = end_of(1);
    if (i == 0)
        table(d, DT_F32, false, 0, floats);
    else if (i == 1 && d->info.has_f64)
        table(d, DT_F64, false, 0, floats);
    else if (i >= 2 && i < 6 && (dtype_size(ints[i - 2]) < 8 || d->info.has_i64))
        table(d, ints[i - 2], false, floats + 1, NAMES);
    else if (i >= 6 && (i - 6) * PART < floats)
        table(d, DT_F32, true, (i - 6) * PART, (i - 5) * PART < floats ? (i - 5) * PART : floats);
    else if (i >= 6)
        table(d, ints[i % 4], true, floats + 1, NAMES);
}

static void converted_of(Device *d, int i)
{
    static const Dtype pair[][2] = { { DT_I8, DT_I32 }, { DT_I16, DT_I32 }, { DT_U8, DT_I32 },
        { DT_U16, DT_U32 }, { DT_I32, DT_I64 }, { DT_U32, DT_I64 }, { DT_I8, DT_I64 }, { DT_U32, DT_U64 },
        { DT_I32, DT_U64 }, { DT_I64, DT_I32 }, { DT_U64, DT_U32 }, { DT_I64, DT_I8 }, { DT_I32, DT_F32 },
        { DT_I64, DT_F64 }, { DT_F32, DT_F64 }, { DT_F64, DT_F32 } };
    state = 88172645463325252ull;
    if (known(d, pair[i][0]) && known(d, pair[i][1]))
        converted(d, pair[i][0], pair[i][1]);
}

static void drawn_of(Device *d, int i) { drawn(d, (uint64_t)i); }

START_TEST(exact) { on_devices(table_of, _i); }
END_TEST

START_TEST(comparisons_of_converted) { on_devices(converted_of, _i); }
END_TEST

START_TEST(random_kernels) { on_devices(drawn_of, _i); }
END_TEST

int main(int argc, char **argv)
{
    int from = argc > 2 ? atoi(argv[1]) : 0, to = argc > 2 ? atoi(argv[2]) : 6;        /* seeds */
    Suite *s = suite_create("kernels");
    TCase *t = tcase_create("straight");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, exact, 0, 8 + NAMES / PART);
    tcase_add_loop_test(t, comparisons_of_converted, 0, 16);
    tcase_add_loop_test(t, random_kernels, from, to);
    int failed = suite_run_unforked(s);
    device_close_all();
    return failed != 0;
}
