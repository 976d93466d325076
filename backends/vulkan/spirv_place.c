/*
 * spirv_place.c - operands, index forms, and the memory that they name.
 *
 * In:  values, forms, buffers.   Out: ids; loads and stores of single elements.
 * Global memory is reached by address, each parameter by a pointer to its elements that is read from the
 * table at the entry; places may be in front of it and behind it, by no more than the slack. Private arrays
 * are variables of the function whose elements are 32 bits wide or 64. Memory's bool is a byte, its f16 and
 * bf16 are 16 bits: they are raised and lowered here.
 */
#include "spirv_words.h"

/* ==================== operands */

Ids sp_get(Writer *w, Val v, int width)
{
    const KIns *i = &w->k->ins[v];
    Reg r = sp_reg((Dtype)i->dt);
    Ids x =
        i->op == K_CONST ? (Ids){ { sp_operand(w, r, width > 1 ? 4 : 1, (uint64_t)i->bits) } } : w->val[v];
    if (width > 1 && i->w == 1) {
        if (i->op != K_CONST)
            x.id[0] = sp_splat(w, r, x.id[0], 4);
        x.id[1] = x.id[2] = x.id[3] = x.id[0];
    }
    return x;
}

/* ==================== index forms */

static Reg index_reg(const Writer *w) { return w->wide ? R_U64 : R_U32; }
static uint32_t index_const(Writer *w, int n, int64_t c)
{
    return sp_const(w, index_reg(w), n, (uint64_t)c);
}

static uint32_t index_op(Writer *w, int op, int n, uint32_t x, uint32_t y)
{
    return OP(w, op, sp_type(w, index_reg(w), n), x, y);
}

static uint32_t index_test(Writer *w, int op, int n, uint32_t x, uint32_t y)
{
    return OP(w, op, sp_type(w, R_BOOL, n), x, y);
}

static uint32_t index_select(Writer *w, int n, uint32_t c, uint32_t x, uint32_t y)
{
    return OP(w, OpSelect, sp_type(w, index_reg(w), n), c, x, y);
}

static uint32_t variable(Writer *w, const Atom *a)
{
    if (atom_is_step(a))
        return w->wide ? sp_widen(w, true, 1, w->step) : w->step;
    for (int i = w->natom - 1; i >= 0; i--)
        if (w->atom[i].a == a)
            return w->atom[i].id;
    return sp_fail(w, E_INTERNAL, "the variable %s is not in scope", a->name), 0;
}

/* A value of the kernel as an index: cut, or extended as its dtype says. */
static uint32_t value(Writer *w, const Atom *a, int n, int chunk)
{
    const KIns *i = &w->k->ins[a->val];
    Ids x = sp_get(w, a->val, a->wide ? W : 1);
    uint32_t id = x.id[a->wide ? chunk : 0], t = sp_type(w, index_reg(w), n);
    if (i->dt == DT_BOOL)
        return OP(w, OpSelect, t, id, index_const(w, n, 1), index_const(w, n, 0));
    bool long_ = sp_reg((Dtype)i->dt) == R_U64;
    if (long_ == w->wide)
        return id;
    return w->wide ? sp_widen(w, dtype_signed((Dtype)i->dt), n, id) : OP(w, OpUConvert, t, id);
}

/* Rounded down; d > 0. */
static uint32_t quotient(Writer *w, const Atom *a, int n, uint32_t x)
{
    int64_t lo, hi, d = a->d;
    bool mod = a->kind == A_MOD;
    form_range(a->f, &lo, &hi);
    if (!(d & (d - 1)))
        return mod ? index_op(w, OpBitwiseAnd, n, x, index_const(w, n, d - 1))
            : index_op(w, OpShiftRightArithmetic, n, x, index_const(w, n, __builtin_ctzll((uint64_t)d)));
    uint32_t by = index_const(w, n, d), zero = index_const(w, n, 0);
    if (lo >= 0)
        return index_op(w, mod ? OpUMod : OpUDiv, n, x, by);
    uint32_t q = index_op(w, OpSDiv, n, x, by), r = index_op(w, OpISub, n, x, index_op(w, OpIMul, n, q, by));
    uint32_t below = index_test(w, OpSLessThan, n, r, zero);
    if (mod)
        return index_select(w, n, below, index_op(w, OpIAdd, n, r, by), r);
    return index_select(w, n, below, index_op(w, OpISub, n, q, index_const(w, n, 1)), q);
}

static uint32_t clamped(Writer *w, int64_t d, int n, uint32_t x)
{
    uint32_t zero = index_const(w, n, 0), last = index_const(w, n, d - 1);
    x = index_select(w, n, index_test(w, OpSLessThan, n, x, zero), zero, x);
    return index_select(w, n, index_test(w, OpSGreaterThan, n, x, last), last, x);
}

static bool by_lane(const Atom *a)
{
    switch (a->kind) {
    case A_VAR: return atom_is_lane(a);
    case A_VAL: return a->wide;
    case A_ELEM: return false;
    default: return form_vector(a->f);
    }
}

/* One component, or four where chunk >= 0 and it differs by lane. */
static uint32_t atom(Writer *w, const Atom *a, int chunk)
{
    int n = by_lane(a) ? 4 : 1;
    switch (a->kind) {
    case A_VAR: return n > 1 ? sp_lanes(w, index_reg(w), chunk) : variable(w, a);
    case A_VAL: return value(w, a, n, chunk);
    case A_CLAMP: return clamped(w, a->d, n, sp_form(w, a->f, n > 1 ? chunk : -1));
    case A_DIV: case A_MOD: return quotient(w, a, n, sp_form(w, a->f, n > 1 ? chunk : -1));
    default: return sp_fail(w, E_INTERNAL, "a place depends on what is not evaluated"), 0;
    }
}

/* The terms that are the same for all lanes, or those that are not; 0: there are none. */
static uint32_t terms(Writer *w, Form f, int chunk, bool lanes)
{
    uint32_t sum = 0;
    int n = lanes ? 4 : 1;
    for (int i = 0; i < f->n; i++) {
        if (by_lane(f->t[i].a) != lanes)
            continue;
        uint32_t x = atom(w, f->t[i].a, chunk);
        if (f->t[i].k != 1)
            x = index_op(w, OpIMul, n, x, index_const(w, n, f->t[i].k));
        sum = sum ? index_op(w, OpIAdd, n, sum, x) : x;
    }
    return sum;
}

uint32_t sp_form(Writer *w, Form f, int chunk)
{
    uint32_t x = terms(w, f, chunk, false);
    if (!x)
        x = index_const(w, 1, f->c);
    else if (f->c)
        x = index_op(w, OpIAdd, 1, x, index_const(w, 1, f->c));
    if (chunk < 0)
        return x;
    uint32_t y = terms(w, f, chunk, true);
    x = sp_splat(w, index_reg(w), x, 4);
    return y ? index_op(w, OpIAdd, 4, x, y) : x;
}

/* ==================== elements */

static Reg memory_reg(const Buffer *b)
{
    switch (dtype_size((Dtype)b->dt)) {
    case 1: return b->space == GLOBAL ? R_U8 : R_U32;
    case 2: return b->space == GLOBAL ? R_U16 : R_U32;
    case 4: return b->dt == DT_F32 ? R_F32 : R_U32;
    default: return b->dt == DT_F64 ? R_F64 : R_U64;
    }
}

static uint32_t raise_(Writer *w, Dtype dt, int n, uint32_t x)
{
    switch (dt) {
    case DT_BOOL: return OP(w, OpINotEqual, sp_type(w, R_BOOL, n), x, sp_const(w, R_U32, n, 0));
    case DT_I8: case DT_I16: return sp_narrow(w, dt, n, x);
    case DT_F16: return sp_call(w, T_HALF_IN, n, &x);
    case DT_BF16:
        x = OP(w, OpShiftLeftLogical, sp_type(w, R_U32, n), x, sp_const(w, R_U32, n, 16));
        return OP(w, OpBitcast, sp_type(w, R_F32, n), x);
    default: return x;
    }
}

static uint32_t lower_(Writer *w, Dtype dt, int n, uint32_t x)
{
    switch (dt) {
    case DT_BOOL:
        return OP(w, OpSelect, sp_type(w, R_U32, n), x, sp_const(w, R_U32, n, 1), sp_const(w, R_U32, n, 0));
    case DT_F16: return sp_call(w, T_HALF_OUT, n, &x);
    case DT_BF16: return sp_call(w, T_BFLOAT_OUT, n, &x);
    default: return x;
    }
}

/* What an element is in a register before it is raised. */
static Reg raw_reg(const Buffer *b)
{
    Reg r = memory_reg(b);
    return r == R_U8 || r == R_U16 ? R_U32 : r;
}

static uint32_t pointer_to(Writer *w, const Buffer *b, uint32_t at)
{
    const Kernel *k = w->k;
    uint32_t type = sp_type(w, memory_reg(b), 1);
    for (int i = 0; b->space == GLOBAL && i < k->nparam; i++)
        if (k->param[i] == b)
            return OP(w, OpPtrAccessChain, sp_pointer(w, StorageAddress, type), w->param[i], at);
    for (int i = 0; b->space != GLOBAL && i < k->npriv; i++)
        if (k->priv[i] == b)
            return OP(w, OpAccessChain,
                sp_pointer(w, b->space == LOCAL ? StorageWorkgroup : StorageFunction, type), w->priv[i], at);
    return sp_fail(w, E_INTERNAL, "the buffer %s is not the kernel's", b->name), 0;
}

static uint32_t load_one(Writer *w, const Buffer *b, uint32_t at)
{
    Reg r = memory_reg(b);
    uint32_t p = pointer_to(w, b, at), t = sp_type(w, r, 1);
    if (b->space != GLOBAL)
        return OP(w, OpLoad, t, p);
    uint32_t x = OP(w, OpLoad, t, p, AccessAligned, (uint32_t)dtype_size((Dtype)b->dt));
    return r == R_U8 || r == R_U16 ? OP(w, OpUConvert, sp_type(w, R_U32, 1), x) : x;
}

static void store_one(Writer *w, const Buffer *b, uint32_t at, uint32_t x)
{
    Reg r = memory_reg(b);
    if (r == R_U8 || r == R_U16)
        x = OP(w, OpUConvert, sp_type(w, r, 1), x);
    uint32_t p = pointer_to(w, b, at);
    if (b->space == GLOBAL)
        PUT(w->to, OpStore, p, x, AccessAligned, (uint32_t)dtype_size((Dtype)b->dt));
    else
        PUT(w->to, OpStore, p, x);
}

/* ==================== how a memory operation reaches its lanes */

typedef struct Reach {
    bool each;                                  /* every lane has a place of its own: at[] are vectors */
    int64_t stride;                             /* else they are so far apart, from at[0] on */
    uint32_t at[4];
} Reach;

static Reach reach_of(Writer *w, Form f)
{
    Reach r = { 0 };
    r.each = !k_mode(w->k, f, &r.stride);
    for (int c = 0; c < (r.each ? 4 : 1); c++)
        r.at[c] = sp_form(w, f, r.each ? c : -1);
    return r;
}

static uint32_t place(Writer *w, const Reach *r, int lane, int64_t move)
{
    if (r->each)
        return sp_extract(w, index_reg(w), r->at[lane / 4], lane % 4);
    int64_t by = r->stride * lane + move;
    return by ? index_op(w, OpIAdd, 1, r->at[0], index_const(w, 1, by)) : r->at[0];
}

static Ids load_lanes(Writer *w, const Buffer *b, const Reach *r, int64_t move)
{
    Ids x;
    uint32_t e[4];
    for (int c = 0; c < 4; c++) {
        for (int l = 0; l < 4; l++)
            e[l] = load_one(w, b, place(w, r, 4 * c + l, move));
        x.id[c] =
            raise_(w, (Dtype)b->dt, 4, sp_op(w, OpCompositeConstruct, sp_type(w, raw_reg(b), 4), 4, e));
    }
    return x;
}

static void store_lanes(Writer *w, const Buffer *b, const Reach *r, int64_t move, const Ids *x)
{
    for (int c = 0; c < 4; c++) {
        uint32_t v = lower_(w, (Dtype)b->dt, 4, x->id[c]);
        for (int l = 0; l < 4; l++)
            store_one(w, b, place(w, r, 4 * c + l, move), sp_extract(w, raw_reg(b), v, l));
    }
}

void sp_load(Writer *w, Val v)
{
    const KIns *i = &w->k->ins[v];
    Reach r = reach_of(w, i->form);
    if (i->w == 1)
        w->val[v].id[0] = raise_(w, (Dtype)i->buf->dt, 1, load_one(w, i->buf, r.at[0]));
    else
        w->val[v] = load_lanes(w, i->buf, &r, 0);
}

void sp_store(Writer *w, const KIns *i)
{
    Reach r = reach_of(w, i->form);
    if (!r.each && !r.stride) {
        Ids x = sp_get(w, i->arg[0], 1);
        store_one(w, i->buf, r.at[0], lower_(w, (Dtype)i->buf->dt, 1, x.id[0]));
        return;
    }
    Ids x = sp_get(w, i->arg[0], W);
    store_lanes(w, i->buf, &r, 0, &x);
}

/* Element c of record l is lane l of value c. */
static Reach records(Writer *w, const KIns *i)
{
    return (Reach){ .stride = i->stride, .at = { sp_form(w, i->form, -1) } };
}

void sp_load_block(Writer *w, const KIns *i)
{
    Reach r = records(w, i);
    for (int c = 0; c < i->group; c++)
        w->val[i->part[c]] = load_lanes(w, i->buf, &r, c);
}

void sp_store_block(Writer *w, const KIns *i)
{
    Reach r = records(w, i);
    for (int c = 0; c < i->group; c++) {
        Ids x = sp_get(w, i->arg[c], W);
        store_lanes(w, i->buf, &r, c, &x);
    }
}

/* ==================== at the entry */

/* A pointer to elements one behind the other. */
static uint32_t element_pointer(Writer *w, uint32_t type, size_t size)
{
    int known = w->nknown;
    uint32_t p = sp_pointer(w, StorageAddress, type);
    if (w->nknown > known)                      /* new */
        PUT(&w->decor, OpDecorate, p, DecorArrayStride, (uint32_t)size);
    return p;
}

/* Members of the push constants: where the table lies, STEP, a zero, where in the grid the launch begins. */
enum { PUSH_TABLE, PUSH_STEP, PUSH_ZERO, PUSH_START, PUSH_COUNT = PUSH_START + 3 };

/* Addresses are two words. */
static void push_constants(Writer *w, uint32_t address)
{
    static const uint32_t offset[PUSH_COUNT] = { 0, 8, 12, 16, 24, 32 };
    uint32_t u = sp_type(w, R_U32, 1), start = sp_type(w, index_reg(w), 1);
    uint32_t push = GLOBAL_(w, OpTypeStruct, 0, address, u, u, start, start, start);
    for (uint32_t i = 0; i < PUSH_COUNT; i++)
        PUT(&w->decor, OpMemberDecorate, push, i, DecorOffset, offset[i]);
    PUT(&w->decor, OpDecorate, push, DecorBlock);
    w->pushed = GLOBAL_(w, OpVariable, sp_pointer(w, StoragePushConstant, push), StoragePushConstant);
}

static uint32_t pushed(Writer *w, int member, uint32_t type)
{
    uint32_t at = sp_const(w, R_U32, 1, (uint64_t)member);
    return OP(
        w, OpLoad, type, OP(w, OpAccessChain, sp_pointer(w, StoragePushConstant, type), w->pushed, at));
}

/* A float zero that comes with the launch, and is made at the entry, once. */
static uint32_t hidden_zero(Writer *w, Reg r, int n, bool minus)
{
    uint32_t *known = &w->zero[r == R_F64][minus][n > 1];
    Reg bits = r == R_F64 ? R_U64 : R_U32;
    Words *to = w->to;
    if (*known)
        return *known;
    w->to = &w->hidden;
    uint32_t x = pushed(w, PUSH_ZERO, sp_type(w, R_U32, 1));
    if (r == R_F64)
        x = OP(w, OpUConvert, sp_type(w, bits, 1), x);
    if (minus)
        x = OP(w, OpBitwiseXor, sp_type(w, bits, 1), x,
            sp_const(w, bits, 1, r == R_F64 ? 1ull << 63 : 1ull << 31));
    x = OP(w, OpBitcast, sp_type(w, r, 1), x);
    *known = sp_splat(w, r, x, n);
    w->to = to;
    return *known;
}

/* There are drivers that take x * 0 for 0, also of infinities and nan, and x + 0 for x, also of -0, where
 * they see a zero. */
uint32_t sp_operand(Writer *w, Reg r, int n, uint64_t bits)
{
    bool zero = r == R_F32 ? !(bits & INT32_MAX) : r == R_F64 && !(bits & INT64_MAX);
    if (zero && w->caps->folds_zeros && w->to == &w->body)
        return hidden_zero(w, r, n, bits != 0);
    return sp_const(w, r, n, bits);
}

static bool has_loops(const Kernel *k)
{
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            if (k->ins[k->scope[s].body[i]].op == K_LOOP)
                return true;
    return false;
}

/* The table: an address for each parameter, and where loops say that they were ended. */
static void table(Writer *w)
{
    const Kernel *k = w->k;
    uint32_t address = GLOBAL_(w, OpTypeVector, 0, sp_type(w, R_U32, 1), 2),
             to = element_pointer(w, address, 8);
    push_constants(w, address);
    uint32_t p = OP(w, OpBitcast, to, pushed(w, PUSH_TABLE, address));
    for (int i = 0; i < k->nparam; i++) {
        const Buffer *b = k->param[i];
        uint32_t type = element_pointer(w, sp_type(w, memory_reg(b), 1), dtype_size((Dtype)b->dt));
        uint32_t at = OP(w, OpPtrAccessChain, to, p, sp_const(w, R_U32, 1, (uint64_t)i));
        w->param[i] = OP(w, OpBitcast, type, OP(w, OpLoad, address, at, AccessAligned, 8));
    }
    if (w->caps->loop_limit && has_loops(k)) {
        uint32_t type = element_pointer(w, sp_type(w, R_U32, 1), 4);
        uint32_t at = OP(w, OpPtrAccessChain, to, p, sp_const(w, R_U32, 1, (uint64_t)k->nparam));
        w->cut = OP(w, OpBitcast, type, OP(w, OpLoad, address, at, AccessAligned, 8));
    }
}

static void arrays(Writer *w)
{
    for (int i = 0; i < w->k->npriv; i++) {
        const Buffer *b = w->k->priv[i];
        uint32_t n = sp_const(w, R_U32, 1, (uint64_t)(b->size > 0 ? b->size : 1));
        uint32_t t = GLOBAL_(w, OpTypeArray, 0, sp_type(w, memory_reg(b), 1), n);
        if (b->space == LOCAL) {                /* a variable each, though they may be alike */
            w->priv[i] = sp_id(w);
            PUT(&w->globals, OpVariable, sp_pointer(w, StorageWorkgroup, t), w->priv[i], StorageWorkgroup);
        } else {
            w->priv[i] = sp_id(w);
            PUT(&w->vars, OpVariable, sp_pointer(w, StorageFunction, t), w->priv[i], StorageFunction);
        }
    }
}

void sp_parameters(Writer *w)
{
    const Kernel *k = w->k;
    uint32_t u3 = GLOBAL_(w, OpTypeVector, 0, sp_type(w, R_U32, 1), 3);
    w->param = NEWS(uint32_t, k->nparam);
    w->priv = NEWS(uint32_t, k->npriv);
    w->invocation = GLOBAL_(w, OpVariable, sp_pointer(w, StorageInput, u3), StorageInput);
    PUT(&w->decor, OpDecorate, w->invocation, DecorBuiltIn, BuiltInGlobalInvocationId);
    table(w);
    arrays(w);
    if (k->stepped)
        w->step = pushed(w, PUSH_STEP, sp_type(w, R_U32, 1));
    uint32_t id = k->ngrid ? OP(w, OpLoad, u3, w->invocation) : 0;
    for (int g = 0; g < k->ngrid; g++) {
        uint32_t t = sp_type(w, index_reg(w), 1), x = sp_extract(w, R_U32, id, g),
                 start = pushed(w, PUSH_START + g, t);
        x = index_op(w, OpIAdd, 1, w->wide ? OP(w, OpUConvert, t, x) : x, start);
        PUSH(w->atom, w->natom, w->atom_cap, (SpVar){ k->grid[g].var, x });
    }
}
