/*
 * lower_rows.c - a scan whose state is too large for registers: each lane's state is a private row, the body
 * is phases over it, a block of lanes as the register tile.
 *
 * In:  the scan, a block of lanes.   Out: a loop over the steps.
 * The body is lowered by the same code as a kernel: its parameters are stored values, its results are
 * stores. Two rows for each carried value: the step reads one and writes the other, which then is copied
 * over.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Rows {
    Lower *L; Frame *outer;
    const Ins *i; const Region *r; const Graph *body;
    const Form *lane;
    Envs envs;
    MemRef *cur, *next;                          /* of the carried values */
} Rows;

typedef struct Move { Rows *R; int n; const Env *e; } Move;

static const Type *carried_type(const Rows *R, int n) { return &R->body->type[R->body->in[R->r->ncap + n]]; }

static void move_start(Lower *L, void *ctx, const Form *idx, Form flat)
{
    (void)flat;
    Move *m = ctx;
    Rows *R = m->R;
    const Region *r = R->r;
    const Type *t = carried_type(R, m->n);
    int o = r->ncap + m->n;
    Form at[2 * MAXRANK];
    int n = lane_lead(R->r, r->im + o * r->nlane, R->lane, at);
    memcpy(at + n, idx, sizeof *idx * (size_t)t->rank);
    Val x = eval_one(L, R->outer, R->i->in[o], at, m->e);
    if (!L->failed)
        store_memref(L, &R->cur[m->n], idx, t->rank, m->e, x);
}

static void move_back(Lower *L, void *ctx, const Form *idx, Form flat)
{
    (void)flat;
    Move *m = ctx;
    int rank = carried_type(m->R, m->n)->rank;
    store_memref(L, &m->R->cur[m->n], idx, rank, m->e, load_memref(L, &m->R->next[m->n], idx, rank, m->e));
}

static void move_out(Lower *L, void *ctx, const Form *idx, Form flat)
{
    (void)flat;
    Move *m = ctx;
    Rows *R = m->R;
    int rank = carried_type(R, m->n)->rank;
    Form lead[MAXRANK];
    int n = lane_lead(R->r, R->r->om + m->n * R->r->nlane, R->lane, lead);
    MemRef p = memref_lead(L->spec->stored[R->i->out + (Ref)m->n], lead, n);
    store_memref(L, &p, idx, rank, m->e, load_memref(L, &R->cur[m->n], idx, rank, m->e));
}

static void move_all(Rows *R, SweepFn *fn, const bool *which)
{
    for (int n = 0; n < region_nloop(R->r); n++) {
        const Type *t = carried_type(R, n);
        if ((which && !which[n]) || any_zero(t))
            continue;
        Envs envs = roll_all(R->L, R->envs);
        for (int e = 0; e < envs.n; e++) {
            Move m = { R, n, envs.at[e] };
            sweep_space(R->L, t->dim, t->rank, fn, &m);
        }
        if (envs.n < R->envs.n)
            k_loop_end(R->L->k, NULL, NULL);
    }
}

/* A row for each environment. */
static MemRef row_memref(Rows *R, const Type *t, int64_t apart)
{
    Layout *l = NEW(Layout);
    *l = *layout_natural(t->dim, t->rank);
    l->env_stride = apart;
    return (MemRef){ k_private(R->L->k, (Dtype)t->dt, apart * R->envs.n), l };
}

/* The body as a frame: captures and xs are where they are stored, carried values in rows. */
static Frame *rows_frame(Rows *R, Form step)
{
    const Graph *b = R->body;
    const Region *r = R->r;
    Frame *f = frame_new(R->L, b);
    MemRef *stored = NEWS(MemRef, b->nval);
    f->whole = f->by_env = true;
    f->stored = stored;
    f->param = NEWS(Param, b->nin);
    f->param_of = NEWS(int, b->nval);
    for (int o = 0; o < b->nin; o++) {
        char group = region_group(r, o);
        if (group == 'a' || group == 'y') {
            stored[b->in[o]] = R->cur[o - r->ncap];
            continue;
        }
        Form lead[MAXRANK + 1];
        int n = lane_lead(R->r, r->im + o * r->nlane, R->lane, lead);
        if (group == 'x')
            lead[n++] = step;
        MemRef p = frame_memref(R->outer, R->i->in[o]);
        if (p.buf && !p.layout->nlead) {
            stored[b->in[o]] = memref_lead(p, lead, n);
            continue;
        }
        Param *q = &f->param[o];
        f->param_of[b->in[o]] = o + 1;
        q->fr = R->outer, q->v = R->i->in[o], q->nlead = n;
        memcpy(q->lead, lead, sizeof lead);
    }
    return f;
}

static int rows_stores(Rows *R, Form step, Store *st)
{
    const Graph *b = R->body;
    const Region *r = R->r;
    int nl = region_nloop(r), n = 0;
    for (int o = 0; o < b->nout; o++) {
        const Type *t = &b->type[b->out[o]];
        if (any_zero(t) || (o >= nl && !R->L->spec->live[o]))
            continue;
        MemRef to;
        if (o < nl)
            to = R->next[o];
        else {
            Form lead[MAXRANK + 1];
            int m = lane_lead(R->r, r->om + o * r->nlane, R->lane, lead);
            lead[m++] = step;
            to = memref_lead(R->L->spec->stored[R->i->out + (Ref)o], lead, m);
        }
        st[n++] = store_of(b, b->out[o], to);
    }
    return n;
}

/* What a step computes first, into rows. */
static int factor_stores(Rows *R, Store *st)
{
    Refs f = R->L->spec->factor;
    for (int n = 0; n < f.n; n++)
        st[n] = store_of(
            R->body, f.v[n], row_memref(R, &R->body->type[f.v[n]], R->L->spec->factor_apart[n]));
    return f.n;
}

void region_rows(Lower *L, Envs envs)
{
    const Spec *s = L->spec;
    const Region *r = s->ins->region;
    int nl = region_nloop(r);
    Form lane[MAXRANK];
    for (int a = 0; a < r->nlane; a++)
        lane[a] = form_a(s->outer[a]);
    Rows R = { L, L->top, s->ins, r, s->ins->sub[0], lane, envs, NEWS(MemRef, nl), NEWS(MemRef, nl) };
    for (int n = 0; n < nl; n++) {
        R.cur[n] = row_memref(&R, carried_type(&R, n), s->carry_apart[n]);
        R.next[n] = row_memref(&R, carried_type(&R, n), s->carry_apart[n]);
    }
    move_all(&R, move_start, NULL);
    if (r->length > 0 && !L->failed) {
        Form step = form_a(k_loop(L->k, "t", r->length, 0, NULL, NULL));
        if (r->reverse)
            step = form_addc(form_mul(step, -1), r->length - 1);
        Frame *f = rows_frame(&R, step);
        Store *st = NEWS(Store, R.body->nout);
        rows_stores(&R, step, st);
        frame_push(L, f);
        f->users = s->uses;
        L->top = f;
        regions_first(L, f);
        Store *factor = NEWS(Store, 2 * R.body->nins);
        int nf = factor_stores(&R, factor);
        if (nf && !L->failed)
            run_stage(L, f, &s->stage[0], factor, envs);
        for (int j = 0; j < nf; j++)
            ((MemRef *)f->stored)[factor[j].v] = factor[j].to;
        if (!L->failed)
            run_stage(L, f, &s->stage[1], st, envs);
        L->top = R.outer;
        frame_pop(L, f);
        move_all(&R, move_back, NULL);
        k_loop_end(L->k, NULL, NULL);
    }
    if (!L->failed)
        move_all(&R, move_out, s->live);
}
