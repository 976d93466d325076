/*
 * join.c - small kernels that follow one another become one.
 *
 * In:  a plan whose launches are specifications. Out: the same with fewer launches.
 * A launch costs more than what several cores would save on little work: on processors, such kernels are one work-item of one
 * kernel. Not long code, which compilers take their time for and which may occur again.
 */
#include "schedule.h"

static bool small(const Spec *s, const Machine *m)
{
    return m->launch && s->kind != SPEC_SORT && !s->chunk && s->total <= (double)m->launch;
}

static void join_steps(Step *to, const Step *st)
{
    Spec **list = NEWS(Spec *, to->nspec + 1);
    for (int k = 0; k < to->nspec; k++)
        list[k] = to->spec[k];
    list[to->nspec++] = st->spec[0];
    for (int k = 0; k < to->nspec; k++)
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
        if (fits && open && work + s->total <= (double)m->launch && code + s->code <= (double)m->join_code &&
            p->step[n - 1].nspec < m->join_kernels) {
            join_steps(&p->step[n - 1], st);
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
