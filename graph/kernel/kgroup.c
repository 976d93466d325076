/*
 * kgroup.c - work-groups: their items, what they share, where they wait for one another.
 *
 * In:  kernels that are built, or finished. Out: dimensions with groups, local arrays, barriers; whether
 * all items of a group come to each barrier.
 * There are no instructions for numbers in a group: with `group` items in a group along a dimension, the
 * item is the remainder of the grid's variable by that, and the group its quotient, which are forms.
 *
 * Same. A value is the same for all items of a group if it is made of constants, of the group's number and
 * of what is loaded from memory that nobody writes, at such a place. Found as the largest set that agrees
 * with that: all are taken to be so, until no instruction says otherwise.
 */
#include "kir.h"
#include "watch.h"

enum { THIRD_MOST = 64 };       /* items of a group along the third dimension: all that devices must have */

/* ==================== building */

const Atom *k_grid(Kernel *k, const char *name, int64_t n, int64_t group)
{
    if (k->ngrid == 3) {
        error_set(E_INTERNAL, "kernel %s: a grid has at most three dimensions", k->name);
        return k->grid[2].var;
    }
    const Atom *a = atom_var(arena_text("%s", name), n, 0);
    k_where(k, a, 0);
    k->grid[k->ngrid++] = (Grid){ a, n, group };
    return a;
}

void k_groups(Kernel *k, int64_t items)
{
    for (int d = 0; d < k->ngrid && items > 0; d++) {
        Grid *g = &k->grid[d];
        int64_t most = d < 2 || items < THIRD_MOST ? items : THIRD_MOST;
        for (g->group = 1; 2 * g->group <= most && (d ? g->n % (2 * g->group) == 0 : g->group < g->n);)
            g->group *= 2;
        items /= g->group;
    }
}

static int64_t along(const Grid *g) { return g->group > 0 ? g->group : 1; }

Form k_item(const Kernel *k, int d) { return form_mod(form_a(k->grid[d].var), along(&k->grid[d])); }
Form k_group(const Kernel *k, int d) { return form_div(form_a(k->grid[d].var), along(&k->grid[d])); }

int64_t k_group_items(const Kernel *k)
{
    int64_t n = 1;
    for (int d = 0; d < k->ngrid; d++)
        n *= along(&k->grid[d]);
    return n;
}

Buffer *k_local(Kernel *k, Dtype dt, int64_t size)
{
    Buffer *b = k_private(k, dt, size);
    b->space = LOCAL;
    b->name = arena_text("l%d", k->npriv - 1);
    return b;
}

bool k_meets(const Kernel *k)
{
    for (int i = 0; i < k->npriv; i++)
        if (k->priv[i]->space == LOCAL)
            return true;
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            if (k->ins[k->scope[s].body[i]].op == K_BARRIER)
                return true;
    return false;
}

void k_barriers(const Kernel *k, bool *has)
{
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            if (k->ins[k->scope[s].body[i]].op == K_BARRIER)
                for (int up = s; up >= 0; up = k->scope[up].parent)
                    has[up] = true;
}

/* ==================== what is the same for all items of a group */

typedef struct Same {
    const Kernel *k;
    bool *same;
    Val *owner;
    bool all;
} Same;

static bool same_form(const Same *s, Form f)
{
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        bool is = true;
        if (a->kind == A_VAL)
            is = s->same[a->val];
        else if (a->kind == A_VAR) {
            for (int d = 0; d < s->k->ngrid; d++)
                is &= s->k->grid[d].var != a || along(&s->k->grid[d]) == 1;
        } else {
            is = same_form(s, a->f);
            for (int d = 0; d < s->k->ngrid && !is; d++) /* the number of the group */
                is = a->kind == A_DIV && a->f == form_a(s->k->grid[d].var) &&
                    a->d % along(&s->k->grid[d]) == 0;
        }
        if (!is)
            return false;
    }
    return true;
}

static void same_use(void *ctx, Val v)
{
    Same *s = ctx;
    s->all &= !v || s->same[v] || s->k->ins[v].op == K_CONST;
}

/* Are all that leave this loop in one turn all of them? */
static bool same_exits(const Same *s, const KIns *loop)
{
    const Kernel *k = s->k;
    for (int c = loop->scope; c < k->nscope; c++) {
        int up = c;
        bool all = true;
        while (up > loop->scope && k->scope[up].wall) /* branches inside, but no loops */
            all &= s->same[k->ins[s->owner[up]].arg[0]], up = k->scope[up].parent;
        for (int i = 0; up == loop->scope && i < k->scope[c].nbody; i++) {
            const KIns *x = &k->ins[k->scope[c].body[i]];
            if (x->op == K_BRK && !(all && s->same[x->arg[0]]))
                return false;
        }
    }
    return true;
}

static bool still_same(Same *s, Val v)
{
    const Kernel *k = s->k;
    const KIns *i = &k->ins[v];
    const KIns *of = &k->ins[i->op == K_PHI || i->op == K_RESULT || i->op == K_PART ? i->bits : 0];
    s->all = true;
    if (i->op == K_PHI)
        same_use(s, of->arg[i->group]), same_use(s, of->next[i->group]);
    else if (i->op == K_RESULT && of->op == K_LOOP) {
        same_use(s, of->phi[i->group]);
        s->all &= same_exits(s, of);
    } else if (i->op == K_RESULT)
        same_use(s, of->arg[0]), same_use(s, of->next[i->group]), same_use(s, of->other[i->group]);
    else if (i->op != K_LOOP && i->op != K_IF && i->op != K_STORE && i->op != K_STORES) {
        const KIns *x = i->op == K_PART ? of : i;
        for (int a = 0; a < x->narg; a++)
            same_use(s, x->arg[a]);
        s->all &= !x->form || same_form(s, x->form);
        s->all &= !x->buf || !k_changes(k, x->buf);
    }
    return s->all;
}

static int wrong_group(const Kernel *k, Val v, const char *what)
{
    Loc was = v ? loc_set(k->ins[v].loc) : loc_here();
    int e = error_set(E_INTERNAL, "kernel %s: %s", k->name, what);
    loc_set(was);
    return e;
}

/* Is what is around the barrier entered and left by all? */
static int barrier_check(const Same *s, Val v)
{
    const Kernel *k = s->k;
    for (int up = k->ins[v].home; up > 0; up = k->scope[up].parent) {
        const KIns *i = &k->ins[s->owner[up]];
        if (i->op == K_IF ? !s->same[i->arg[0]] : !same_exits(s, i))
            return wrong_group(k, v,
                arena_text("v%u (barrier) is in a %s that not all items of a group need "
                           "take alike",
                    (unsigned)v, i->op == K_IF ? "branch" : "loop"));
    }
    return 0;
}

int k_groups_check(const Kernel *k)
{
    Same s = { .k = k, .same = NEWS(bool, k->nins), .owner = NEWS(Val, k->nscope) };
    for (int d = 0; d < k->ngrid; d++)
        if (k->grid[d].group < 0 || (k->grid[d].n % along(&k->grid[d]) && (d || k_meets(k))))
            return wrong_group(k, 0,
                arena_text("groups of %lld do not fill %s < %lld", (long long)k->grid[d].group,
                    k->grid[d].var->name, (long long)k->grid[d].n));
    if (!k_meets(k))
        return 0;
    for (int v = 0; v < k->nins; v++) {
        s.same[v] = true;
        if (kop[k->ins[v].op].is == KC_SCOPE)
            s.owner[k->ins[v].scope] = (Val)v;
    }
    for (bool more = true; more;) {
        more = false;
        for (int v = 1; v < k->nins; v++)
            if (s.same[v] && k->ins[v].op != K_NONE && !still_same(&s, (Val)v))
                s.same[v] = false, more = true;
    }
    for (int c = 0; c < k->nscope; c++)
        for (int i = 0; i < k->scope[c].nbody; i++) {
            Val v = k->scope[c].body[i];
            if (k->ins[v].op == K_BARRIER && barrier_check(&s, v))
                return error_code();
        }
    return 0;
}

/* ==================== races */

const char *race_text(Race r, const Watch *w, const char *name, int64_t at)
{
    const char *other = w->wrote.item == SEVERAL ? "another" : arena_text("work-item %d", w->wrote.item - 1);
    switch (r) {
    case READ_OF_ANOTHERS:
        return arena_text("%s[%lld] is read, and %s wrote it", name, (long long)at, other);
    case WRITE_OF_WHAT_WAS_READ:
        return arena_text(
            "%s[%lld] is written, and another work-item read what was there", name, (long long)at);
    default:
        return arena_text("%s[%lld] is written otherwise by %s", name, (long long)at, other);
    }
}
