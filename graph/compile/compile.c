/*
 * compile.c - graph in, plan out: each step once, in order.
 */
#include "compile.h"
#include "graph.h"
#include "lower.h"
#include "schedule.h"

/* ==================== dtypes that the device lacks */

static bool lacks(const Target *t, int dt)
{
    return (dt == DT_F64 && !t->f64) || ((dt == DT_I64 || dt == DT_U64) && !t->i64);
}

/* A function of f64 where each of its fma would be made of integers: such a kernel takes minutes. */
static bool lacks_function(const Target *t, const Ins *i, int dt)
{
    return i && dt == DT_F64 && t->no_fma64 && optab[i->op].fused;
}

static int check_dtypes(const Graph *g, const Target *t)
{
    for (Ref v = 1; v < (Ref)g->nval; v++) {
        const Ins *i = g->def[v];
        int dt = g->type[v].dt;
        bool missing = lacks(t, dt);
        if (!missing && !lacks_function(t, i, dt))
            continue;
        const char *what = i ? optab[i->op].name : "an argument",
                   *name = t->device ? t->device : "the device";
        Loc was = i ? loc_set(i->loc) : loc_here();
        int r = missing ?
            error_set(E_DEVICE, "%s: %s has no %s; convert to %s, or choose a device that has it", what,
                name, dtype_name((Dtype)dt), dt == DT_I64 ? "i32" : dt == DT_U64 ? "u32" : "f32") :
            error_set(E_DEVICE,
                "%s of f64 is not available on %s, which has no fused multiply-add of f64; convert to f32, "
                "or choose another device",
                what, name);
        loc_set(was);
        return r;
    }
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (check_dtypes(g->ins[n]->sub[k], t))
                return error_code();
    return 0;
}

/* ==================== the pipeline */

static const Prepared *prepared(const Graph *, const Target *, Bounds);

/* What a body of a step is: which of its inputs and results are steps' parts, which carries may stay in
 * place. */
static Bounds bounds_of(const Region *r, int body)
{
    int n = region_nloop(r);
    if (r->kind == SCAN)
        return (Bounds){ true, r->ncap + n, n, r->length, r->ncap, n };
    return r->kind == WHILE && body ? (Bounds){ .body = true, .first_carry = r->ncap, .ncarry = n } :
                                      (Bounds){ .body = true };
}

static const Prepared *const *bodies_of(const Ins *i, const Target *t)
{
    const Prepared **body = NEWS(const Prepared *, i->nsub);
    for (int k = 0; k < i->nsub && !error_pending(); k++)
        body[k] = prepared(i->sub[k], t, bounds_of(i->region, k));
    return body;
}

/* Of shards that reduce: what becomes of a chunk. */
static const Prepared *const *chunk_of(const Ins *i, const Type *x, const Target *t)
{
    const Prepared **body = NEWS(const Prepared *, 1);
    body[0] = prepared(reduce_chunk(i, x), t, (Bounds){ .body = true });
    return body;
}

/* A graph rewritten, verified and shown, then the bodies of its steps. NULL after an error. */
static const Prepared *prepared(const Graph *g, const Target *t, Bounds b)
{
    Prepared *p = NEW(Prepared);
    p->g = prepare(g, t), p->bounds = b;
    if (error_pending() || (check_stage("prepared") && prepared_check(p->g)))
        return NULL;
    p->g = prepare_seal(p->g, t, &b);
    if (error_pending() || (check_stage("prepared") && sealed_check(p->g)))
        return NULL;
    if (dump_wanted("prepared")) {
        Text text = { 0 };
        graph_print(p->g, &text);
        dump_text("prepared", &text);
    }
    p->body = NEWS(const Prepared *const *, p->g->nval);
    for (int n = 0; n < p->g->nins; n++) {
        const Ins *i = p->g->ins[n];
        if (i->op == OP_region && region_run(i->region, i->nin, i->nsub, i->sub, t) == RUN_STEPS)
            p->body[i->out] = bodies_of(i, t);
        else if (op_reduces(i))
            p->body[i->out] = chunk_of(i, &p->g->type[i->in[0]], t);
    }
    return error_pending() ? NULL : p;
}

/* As they are lowered: after those that are joined have become one. */
static bool specs_hold(const Step *st)
{
    for (int k = 0; check_stage("spec") && k < st->nspec; k++)
        if (spec_check(st->spec[k]))
            return false;
    return true;
}

static Kernel *lower_step(const Step *st)
{
    if (!specs_hold(st))
        return NULL;
    Loc was = loc_set(st->loc);
    Kernel *k = error_pending() ? NULL : lower(st->spec, st->nspec);
    loc_set(was);
    if (!k)
        error_set(E_INTERNAL, "kernel %s could not be lowered", st->spec[st->nspec - 1]->name);
    return k && check_stage("kernel") && k_check(k) ? NULL : k;
}

static void lower_plan(Plan *p)
{
    for (int n = 0; n < p->nstep && !error_pending(); n++) {
        Step *st = &p->step[n];
        if (st->nspec)
            st->kernel = lower_step(st);
        for (int k = 0; k < st->nbody; k++)
            lower_plan(st->body[k]);
    }
}

Plan *plan_schedule(const Graph *g, const Target *target)
{
    Target *t = arena_copy(target, sizeof *t);
    if (!t->machine)
        t->machine = &machine_processor;
    if (error_pending() || !(g = graph_without_stored(g)) || !(g = graph_without_keys(g)) ||
        !(g = prepare_complex(g, t)) || !(g = graph_without_complex(g)) || check_dtypes(g, t))
        return NULL;
    form_open();
    sets_open();
    elem_open();
    const Prepared *q = prepared(g, t, (Bounds){ 0 });
    Plan *p = q ? schedule_graph(q, t, "") : NULL;
    if (p) {
        join_plan(p, t->machine);
        lower_plan(p);
        plan_count(p);
    }
    if (error_pending() || !p || !plan_layout(p) || (check_stage("plan") && plan_check(p)))
        p = NULL;
    form_close();
    return p;
}
