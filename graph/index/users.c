/*
 * users.c - how often each value is used on the way to some that are computed.
 */
#include "demand.h"

static Users *users_of(UserCount *c, Ref v)
{
    void **p = map_at(&c->of, &v, sizeof v);
    return *p ? *p : (*p = NEW(Users));
}

static Onward use(DemandWalk *w, Visit *x)
{
    UserCount *c = w->ctx;
    if (!x->i || c->leaf(c->frame, x->v))
        return WALK_PAST;
    for (int n = 0; n < x->i->nin; n++) {
        Users *u = users_of(c, x->i->in[n]);
        u->n++;
        u->op = x->i->op;
    }
    return WALK_INTO;
}

void users_count(UserCount *c, DemandWalk *memory, const Ref *roots, int n)
{
    DemandWalk *w = walk_anew(memory, (DemandWalk){ .g = c->g, .visit = use, .ctx = c });
    for (int j = 0; j < n; j++) {
        users_of(c, roots[j])->n++;
        value_walk(w, roots[j]);
    }
}

/* c: NULL where nobody has counted, since there are no sums. */
bool users_chain(const UserCount *c, Ref sum)
{
    const Ins *i = c ? c->g->def[sum] : NULL;
    if (!i || (i->op != OP_dot && i->op != OP_reduce_sum) || c->leaf(c->frame, sum))
        return false;
    const Users *u = map_get(&c->of, &sum, sizeof sum);
    return u && u->n == 1 && (u->op == OP_add || u->op == OP_accum);
}
