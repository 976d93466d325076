/*
 * join.c - small kernels that follow one another become one.
 *
 * In:  a plan whose launches are specifications. Out: the same with fewer launches.
 * A launch costs more than what several cores would save on little work: on processors, such kernels are one
 * work-item of one kernel. Elsewhere those of which none reads what another writes stand side by side, each
 * with its work-items. Not long code, which compilers take their time for and which may occur again.
 */
#include "schedule.h"

static double join_work(const Machine *m) { return (double)(m->launch ? m->launch : m->beside); }

static bool small(const Spec *s, const Machine *m)
{
    return s->kind != SPEC_SORT && !s->chunk && !s->team && s->total <= join_work(m) &&
        (m->launch || (s->reads.v && s->total > 0));
}

/* Does b load or store what a stores? */
static bool meets(const Spec *a, const Spec *b)
{
    for (int j = 0; j < a->nstore; j++) {
        const Buffer *to = a->store[j].to.buf;
        for (int k = 0; k < b->reads.n; k++)
            if (b->stored[b->reads.v[k]].buf == to)
                return true;
        for (int k = 0; k < b->nstore; k++)
            if (b->store[k].to.buf == to)
                return true;
    }
    return false;
}

static bool may_join(const Step *to, const Spec *s, const Machine *m)
{
    for (int k = 0; k < to->nspec && !m->launch; k++)
        if (meets(to->spec[k], s) || meets(s, to->spec[k]))
            return false;
    return to->nspec < m->join_kernels;
}

static void join_steps(Step *to, const Step *st, const Machine *m)
{
    Spec **list = NEWS(Spec *, to->nspec + 1);
    for (int k = 0; k < to->nspec; k++)
        list[k] = to->spec[k];
    list[to->nspec++] = st->spec[0];
    for (int k = 0; k < to->nspec && m->launch; k++)
        spec_alone(list[k]);
    to->spec = list;
    to->note = arena_text("%s, %s", to->note, st->note);
}

void join_plan(Plan *p, const Machine *m)
{
    double work = 0, code = 0;                  /* of the last step that is left, if more may join it */
    int n = 0;
    bool open = false;
    for (int k = 0; k < p->nstep; k++) {
        Step *st = &p->step[k];
        for (int b = 0; b < st->nbody; b++)
            join_plan(st->body[b], m);
        const Spec *s = st->nspec ? st->spec[0] : NULL;
        bool fits = s && small(s, m);
        if (fits && open && work + s->total <= join_work(m) && code + s->code <= (double)m->join_code &&
            may_join(&p->step[n - 1], s, m)) {
            join_steps(&p->step[n - 1], st, m);
        } else {
            p->step[n++] = *st;
            work = code = 0;
            open = fits;
        }
        work += s ? s->total : 0;
        code += s ? s->code : 0;
    }
    p->nstep = n;
}
