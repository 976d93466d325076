/*
 * spirv_loop.c - loops.
 *
 * In:  K_LOOP and K_BRK.   Out: a structured loop.
 * A carried value is a variable of the function, read at the top of a turn and written at the end of it: all
 * of them move together, and what the loop leaves is what they hold then.
 * There are drivers (Mesa's on processors) that end all loops of a work-item after so many turns, and say
 * nothing. There a turn is several bodies one behind the other, each with its test, more of them where more
 * turns are counted on; and a loop that was ended, not left, says so in a word that the executor reads.
 */
#include "spirv_words.h"

typedef struct Carried { uint32_t var[4]; int n; Reg r; } Carried;

static uint32_t variable(Writer *w, uint32_t type)
{
    uint32_t id = sp_id(w);
    PUT(&w->vars, OpVariable, sp_pointer(w, StorageFunction, type), id, StorageFunction);
    return id;
}

static Carried carried(Writer *w, const KIns *phi)
{
    Carried c = { .n = phi->w > 1 ? 4 : 1, .r = sp_reg((Dtype)phi->dt) };
    for (int i = 0; i < c.n; i++)
        c.var[i] = variable(w, sp_type(w, c.r, c.n));
    return c;
}

static void carried_store(Writer *w, const Carried *c, const Ids *x)
{
    for (int i = 0; i < c->n; i++)
        PUT(w->to, OpStore, c->var[i], x->id[i]);
}

static Ids carried_load(Writer *w, const Carried *c)
{
    Ids x = { { 0 } };
    for (int i = 0; i < c->n; i++)
        x.id[i] = OP(w, OpLoad, sp_type(w, c->r, c->n), c->var[i]);
    return x;
}

/* ==================== leaving */

/* Goes on to a new block if stay holds, else leaves the loop around. */
static void stay_if(Writer *w, uint32_t stay)
{
    uint32_t next = sp_id(w);
    if (w->cut)
        PUT(w->to, OpStore, w->left, OP(w, OpLogicalNot, sp_type(w, R_BOOL, 1), stay));
    PUT(w->to, OpBranchConditional, stay, next, w->around);
    sp_label(w, next);
}

void sp_leave(Writer *w, const KIns *i)
{
    if (w->around)
        stay_if(w, sp_get(w, i->arg[0], 1).id[0]);
    else
        sp_fail(w, E_INTERNAL, "a loop is left that is not there");
}

/* Behind a loop: was it left, or ended? */
static void tell(Writer *w, uint32_t left)
{
    uint32_t bad = sp_id(w), on = sp_id(w), c = OP(w, OpLoad, sp_type(w, R_BOOL, 1), left);
    PUT(w->to, OpSelectionMerge, on, 0);
    PUT(w->to, OpBranchConditional, c, on, bad);
    sp_label(w, bad);
    PUT(w->to, OpStore, w->cut, sp_const(w, R_U32, 1, 1), AccessAligned, 4);
    PUT(w->to, OpBranch, on);
    sp_label(w, on);
}

/* ==================== one loop */

static Reg counter_reg(const Writer *w) { return w->wide ? R_U64 : R_U32; }

/* The test, and the body. */
static void turn(Writer *w, const KIns *l, const Carried *c, uint32_t counter)
{
    const Kernel *k = w->k;
    Reg r = counter_reg(w);
    uint32_t t = sp_type(w, r, 1), i = OP(w, OpLoad, t, counter);
    if (l->n >= 0)
        stay_if(w, OP(w, OpSLessThan, sp_type(w, R_BOOL, 1), i, sp_const(w, r, 1, (uint64_t)l->n)));
    for (int p = 0; p < l->ncarry; p++)
        w->val[l->phi[p]] = carried_load(w, &c[p]);
    PUSH(w->atom, w->natom, w->atom_cap, (SpVar){ l->var, i });
    sp_scope(w, l->scope);
    w->natom--;
    Ids *next = NEWS(Ids, l->ncarry);
    for (int p = 0; p < l->ncarry; p++)
        next[p] = sp_get(w, l->next[p], k->ins[l->phi[p]].w);
    for (int p = 0; p < l->ncarry; p++)
        carried_store(w, &c[p], &next[p]);
    PUT(w->to, OpStore, counter, OP(w, OpIAdd, t, i, sp_const(w, r, 1, 1)));
}

void sp_loop(Writer *w, const KIns *l)
{
    const Kernel *k = w->k;
    Carried *c = NEWS(Carried, l->ncarry);
    uint32_t head = sp_id(w), body = sp_id(w), more = sp_id(w), out = sp_id(w), around = w->around,
             left = w->left;
    uint32_t counter = variable(w, sp_type(w, counter_reg(w), 1));
    for (int p = 0; p < l->ncarry; p++) {
        c[p] = carried(w, &k->ins[l->phi[p]]);
        Ids x = sp_get(w, l->arg[p], k->ins[l->phi[p]].w);
        carried_store(w, &c[p], &x);
    }
    PUT(w->to, OpStore, counter, sp_const(w, counter_reg(w), 1, 0));
    if (w->cut) {
        w->left = variable(w, sp_type(w, R_BOOL, 1));
        PUT(w->to, OpStore, w->left, sp_const(w, R_BOOL, 1, 0));
    }
    w->around = out;
    PUT(w->to, OpBranch, head);
    sp_label(w, head);
    PUT(w->to, OpLoopMerge, out, more, 0);
    PUT(w->to, OpBranch, body);
    sp_label(w, body);
    for (int n = 0; n < w->copies[l - k->ins] && !w->error; n++)
        turn(w, l, c, counter);
    PUT(w->to, OpBranch, more);
    sp_label(w, more);
    PUT(w->to, OpBranch, head);
    sp_label(w, out);
    if (w->cut)
        tell(w, w->left);
    w->around = around, w->left = left;
    for (int p = 0; p < l->ncarry; p++)
        if (l->out[p])
            w->val[l->out[p]] = carried_load(w, &c[p]);
}

/* ==================== copies */

enum { MOST_COPIES = 64, MOST_CODE = 6000, UNKNOWN = 1 << 16 };

/* Vectors of 4, of a scope with everything inside. */
static double size_of(const Writer *w, int scope)
{
    const KScope *s = &w->k->scope[scope];
    double n = 0;
    for (int i = 0; i < s->nbody; i++) {
        const KIns *x = &w->k->ins[s->body[i]];
        if (x->op == K_APPLY)
            n += size_of(w, w->k->function[x->bits]->scope);
        else if (x->op == K_LOOP || x->op == K_IF)
            n += size_of(w, x->scope) * (x->op == K_LOOP ? w->copies[s->body[i]] : 1);
        else
            n += x->w > 1 || x->op == K_STORE || x->op == K_STORES ? 4 : 1;
    }
    return n;
}

/* Turns of all loops in a scope; *worst: the loop with the most of them that may still grow, its turns in
 * *most. times: how often the scope is entered. */
static double turns(const Writer *w, int scope, double times, Val *worst, double *most)
{
    const KScope *s = &w->k->scope[scope];
    double n = 0;
    for (int i = 0; i < s->nbody; i++) {
        Val v = s->body[i];
        const KIns *x = &w->k->ins[v];
        if (x->op == K_IF || x->op == K_APPLY)
            n += turns(w, x->op == K_IF ? x->scope : w->k->function[x->bits]->scope, times, worst, most);
        if (x->op != K_LOOP)
            continue;
        double trips = x->n < 0 ? UNKNOWN : (double)x->n, own = times * trips / w->copies[v];
        bool room = w->copies[v] < MOST_COPIES && 2 * w->copies[v] <= 2 * trips &&
            2 * w->copies[v] * size_of(w, x->scope) <= MOST_CODE;
        if (room && own > *most)
            *most = own, *worst = v;
        n += own + turns(w, x->scope, times * trips, worst, most);
    }
    return n;
}

void sp_copies(Writer *w)
{
    const Kernel *k = w->k;
    w->copies = NEWS(int, k->nins);
    for (int i = 0; i < k->nins; i++)
        w->copies[i] = 1;
    if (!w->caps->loop_limit)
        return;
    for (;;) {
        Val worst = 0;
        double most = 0, n = turns(w, 0, 1, &worst, &most);
        if (n < 0.9 * w->caps->loop_limit || !worst || size_of(w, 0) > MOST_CODE)
            return;
        w->copies[worst] *= 2;
    }
}
