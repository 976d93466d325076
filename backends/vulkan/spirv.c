/*
 * spirv.c - kernels as SPIR-V words: structure.
 *
 * In:  a finished kernel.   Out: a module for Vulkan 1.2, its words.
 * Every instruction of the kernel IR is a few of SPIR-V, in the same order and the same nesting. Results of
 * a branch are phis. Where the grid is no multiple of the work-group, everything is inside a test of the
 * place in it.
 */
#include "spirv_words.h"

#include <string.h>

/* ==================== branches */

static void branch(Writer *w, const KIns *b)
{
    const Kernel *k = w->k;
    uint32_t then = sp_id(w), out = sp_id(w);
    Ids *other = NEWS(Ids, b->ncarry), *next = NEWS(Ids, b->ncarry);
    for (int i = 0; i < b->ncarry; i++)
        other[i] = sp_get(w, b->other[i], k->ins[b->out[i]].w);
    uint32_t c = sp_get(w, b->arg[0], 1).id[0], from = w->last_label;
    PUT(w->to, OpSelectionMerge, out, 0);
    PUT(w->to, OpBranchConditional, c, then, out);
    sp_label(w, then);
    sp_scope(w, b->scope);
    for (int i = 0; i < b->ncarry; i++)
        next[i] = sp_get(w, b->next[i], k->ins[b->out[i]].w);
    uint32_t last = w->last_label;
    PUT(w->to, OpBranch, out);
    sp_label(w, out);
    for (int i = 0; i < b->ncarry; i++) {
        int n = k->ins[b->out[i]].w > 1 ? 4 : 1;
        for (int x = 0; x < n; x++)
            w->val[b->out[i]].id[x] = OP(w, OpPhi, sp_type(w, sp_reg((Dtype)k->ins[b->out[i]].dt), n),
                next[i].id[x], last, other[i].id[x], from);
    }
}

/* ==================== instructions */

static void elementwise(Writer *w, Val v)
{
    const Kernel *k = w->k;
    const KIns *i = &k->ins[v];
    Dtype of = i->narg ? (Dtype)k->ins[i->arg[i->narg - 1]].dt : DT_NONE;
    Ids x[3];
    if (i->narg > 3) {
        sp_fail(w, E_INTERNAL, "an instruction has %d operands", i->narg);
        return;
    }
    for (int a = 0; a < i->narg; a++)
        x[a] = sp_get(w, i->arg[a], i->w);
    for (int c = 0; c < (i->w > 1 ? 4 : 1); c++) {
        uint32_t a[3] = { 0 };
        for (int n = 0; n < i->narg; n++)
            a[n] = x[n].id[c];
        w->val[v].id[c] = sp_value(w, i, of, i->w > 1 ? 4 : 1, a);
    }
}

static void index_value(Writer *w, Val v)
{
    const KIns *i = &w->k->ins[v];
    int n = i->w > 1 ? 4 : 1;
    Reg has = w->wide ? R_U64 : R_U32, r = sp_reg((Dtype)i->dt);
    for (int c = 0; c < (i->w > 1 ? 4 : 1); c++) {
        uint32_t x = sp_form(w, i->form, i->w > 1 ? c : -1);
        if (has != r)
            x = r == R_U64 ? sp_widen(w, true, n, x) : OP(w, OpUConvert, sp_type(w, r, n), x);
        w->val[v].id[c] = sp_narrow(w, (Dtype)i->dt, n, x);
    }
}

static void horizontal(Writer *w, Val v)
{
    const KIns *i = &w->k->ins[v];
    Ids x = sp_get(w, i->arg[0], W);
    w->val[v].id[0] = sp_horizontal(w, (KOp)i->op, (Dtype)w->k->ins[i->arg[0]].dt, &x);
}

/* A function of the kernel's stands where it is called: drivers would put it there, too. */
static void apply(Writer *w, Val v)
{
    const KIns *i = &w->k->ins[v];
    const KFunction *f = w->k->function[i->bits];
    for (int a = 0; a < f->narg; a++)
        w->val[f->arg[a]] = sp_get(w, i->arg[a], f->w);
    sp_scope(w, f->scope);
    for (int r = 0; r < f->nresult; r++)
        w->val[i->part ? i->part[r] : v] = sp_get(w, f->result[r], f->w);
}

static void statement(Writer *w, Val v)
{
    const KIns *i = &w->k->ins[v];
    switch (i->op) {
    case K_LOAD: sp_load(w, v); break;
    case K_STORE: sp_store(w, i); break;
    case K_LOADS: sp_load_block(w, i); break;
    case K_STORES: sp_store_block(w, i); break;
    case K_LOOP: sp_loop(w, i); break;
    case K_IF: branch(w, i); break;
    case K_BRK: sp_leave(w, i); break;
    /* of the work-group, its memory and addresses: acquire and release */
    case K_BARRIER: {
        uint32_t group = sp_const(w, R_U32, 1, 2), what = sp_const(w, R_U32, 1, 0x8 | 0x40 | 0x100);
        PUT(w->to, OpControlBarrier, group, group, what);
        break;
    }
    case K_APPLY: apply(w, v); break;
    case K_INDEX: index_value(w, v); break;
    case K_SPLAT: w->val[v] = sp_get(w, i->arg[0], W); break;
    default:
        if (k_across((KOp)i->op))
            horizontal(w, v);
        else
            elementwise(w, v);
    }
}

void sp_scope(Writer *w, int s)
{
    for (int i = 0; i < w->k->scope[s].nbody && !w->error; i++)
        statement(w, w->k->scope[s].body[i]);
}

/* ==================== the kernel */

/* The number of the work-item, of which the others of its work-group are beside it. */
static uint32_t item(Writer *w)
{
    if (w->k->ngrid)
        return w->atom[0].id;
    uint32_t u3 = GLOBAL_(w, OpTypeVector, 0, sp_type(w, R_U32, 1), 3);
    return sp_extract(w, R_U32, OP(w, OpLoad, u3, w->invocation), 0);
}

/* Work-groups are whole, and who has nothing to do is told so by a branch: Mesa's driver on processors runs
 * loops inside of loops wrongly where a work-group is smaller than its vectors. */
static void kernel(Writer *w)
{
    const Kernel *k = w->k;
    int64_t n = k->ngrid ? k->grid[0].n : 1;
    bool said = k_group_items(k) > 1 || k_meets(k);
    w->local = !said ? w->caps->group : k->ngrid && k->grid[0].group ? (int)k->grid[0].group : 1;
    sp_copies(w);
    sp_parameters(w);
    if (n % w->local == 0) {
        sp_scope(w, 0);
        return;
    }
    uint32_t in = sp_id(w), out = sp_id(w);
    uint32_t c = OP(w, OpULessThan, sp_type(w, R_BOOL, 1), item(w),
        sp_const(w, w->wide && k->ngrid ? R_U64 : R_U32, 1, (uint64_t)n));
    PUT(w->to, OpSelectionMerge, out, 0);
    PUT(w->to, OpBranchConditional, c, in, out);
    sp_label(w, in);
    sp_scope(w, 0);
    PUT(w->to, OpBranch, out);
    sp_label(w, out);
}

int spirv_write(const Kernel *k, const SpirvCaps *caps, uint32_t **words, size_t *n, int *local)
{
    Arena *own = arena_new(), *before = own ? arena_use(own) : NULL;
    if (!own)
        return error_set(E_NOMEM, "no memory for a program");
    form_open();                                /* for the functions */
    Writer w = { .k = k, .caps = caps, .next = 1, .wide = k->wide_index };
    w.to = &w.body;
    w.val = NEWS(Ids, k->nins);
    w.glsl = sp_id(&w);
    uint32_t main = sp_id(&w);
    w.entry = w.last_label = sp_id(&w);
    kernel(&w);
    int e = w.error;
    if (!e && error_pending())
        e = error_code();
    if (!e)
        e = sp_module(&w, main, words, n);
    *local = w.local;
    form_close();
    arena_use(before);
    arena_drop(own);
    return e;
}
