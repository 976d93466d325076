/*
 * spec_check.c - the verifier of specifications: what the lowering relies on.
 *
 * In:  a Spec. Out: 0, or an error: outer variables are distinct; the vector variable and those with copies
 * are among them; the
 *      digits of a flat one make it up; what is stored has an index of the variables that are there, and
 *      lies inside its buffer; live results of an instruction have memory.
 */
#include "spec.h"

#define wrong(s, ...) \
    error_set(E_INTERNAL, "specification of kernel %s: %s", (s)->name, arena_text(__VA_ARGS__))

static bool among(const Atom *a, const Atom *const *list, int n)
{
    for (int k = 0; k < n; k++)
        if (list[k] == a)
            return true;
    return false;
}

static bool is_outer(const Spec *s, const Atom *a) { return a == s->flat || among(a, s->outer, s->nouter); }

static int outer_check(const Spec *s)
{
    double all = 1;
    for (int k = 0; k < s->nouter; k++)
        if (s->outer[k] && among(s->outer[k], s->outer, k))
            return wrong(s, "the outer variable %s occurs twice", s->outer[k]->name);
    if (s->vec && !is_outer(s, s->vec))
        return wrong(s, "the vector variable %s is no outer one", s->vec->name);
    for (int k = 0; k < s->nblock; k++)
        if (!is_outer(s, s->block[k].a) || s->block[k].n < 1)
            return wrong(s, "%d copies of %s, which is no outer variable or cannot have them", s->block[k].n,
                s->block[k].a->name);
    for (int k = 0; k < s->nflat; k++)
        all *= (double)atom_extent(s->flat_of[k]);
    return s->flat && all != (double)atom_extent(s->flat) ?
        wrong(s, "%s has %lld steps, its digits %.0f", s->flat->name, (long long)atom_extent(s->flat), all) :
        0;
}

/* Loop variables of a store's index: outer ones, digits of the flat one, loops inside, the step of a loop of
 * kernels. */
static int variables_check(const Spec *s, const Store *st)
{
    const AtomSet *deps = idx_deps(st->idx, st->nidx);
    for (int k = 0; k < deps->n; k++) {
        const Atom *a = deps->a[k];
        if (!is_outer(s, a) && !among(a, s->flat_of, s->nflat) && !among(a, st->space, st->nspace) &&
            !atom_is_step(a))
            return wrong(s, "what goes to %s depends on %s, which is no variable of this kernel",
                st->to.buf->name, a->name);
    }
    return 0;
}

/* Of an array with the steps in front it is a step's part. */
static int memref_check(const Spec *s, const Store *st)
{
    Layout l = *st->to.layout;
    int64_t lo, hi, size = l.base ? type_size(&s->g->type[st->v]) : st->to.buf->size;
    l.base = NULL;
    form_range(layout_form(&l, NULL, st->idx, st->nidx, NULL), &lo, &hi);
    return lo < 0 || hi >= size ? wrong(s, "%s[%lld .. %lld] has %lld elements", st->to.buf->name,
                                      (long long)lo, (long long)hi, (long long)size) :
                                  0;
}

static int store_check(const Spec *s, const Store *st)
{
    if (!st->v || st->v >= (Ref)s->g->nval)
        return wrong(s, "it stores a value that the graph does not have");
    const Type *t = &s->g->type[st->v];
    if (!type_size(t))
        return 0;
    if (!st->to.buf || !st->to.layout)
        return wrong(s, "v%u has no memory to go to", st->v);
    if (!st->chunk && st->to.buf->dt != t->dt)
        return wrong(s, "v%u is %s and goes to %s, which is %s", st->v, dtype_name((Dtype)t->dt),
            st->to.buf->name, dtype_name((Dtype)st->to.buf->dt));
    if (st->chunk && st->chunk != s->chunk)
        return wrong(
            s, "sums over %lld steps in a kernel of %lld", (long long)st->chunk, (long long)s->chunk);
    if (s->kind != SPEC_LOOPS || st->chunk)
        return 0;
    if (st->nidx != t->rank)
        return wrong(s, "v%u is stored at %d indices and has %d axes", st->v, st->nidx, t->rank);
    return variables_check(s, st) || memref_check(s, st) ? (int)error_code() : 0;
}

/* Blocks cover their axis, and a work-item takes some of them. */
static int axes_check(const Spec *s)
{
    for (int k = 0; k < s->naxis; k++) {
        const OuterAxis *x = &s->axis[k];
        if (x->size < 1 || x->blocks * x->size < x->n || (x->blocks - 1) * x->size >= x->n)
            return wrong(s, "%lld elements of %s are %lld blocks of %lld", (long long)x->n, x->a->name,
                (long long)x->blocks, (long long)x->size);
        if (x->blocks && (x->chunk < 1 || x->chunk > x->blocks))
            return wrong(s, "a work-item takes %lld of %lld blocks of %s", (long long)x->chunk,
                (long long)x->blocks, x->a->name);
    }
    return 0;
}

static bool rolls(const Rolled *r) { return !r->n || (r->n > 1 && r->s > 0 && r->nfirst >= 0); }

/* The loops of a stage store each of n things once, along variables that they have. */
static int stage_check(const Spec *s, const Stage *g, int n)
{
    bool *stored = NEWS(bool, n);
    int left = n;
    for (int k = 0; k < g->nphase; k++)
        for (int j = 0; j < g->phase[k].nloop; j++) {
            const SumLoop *l = &g->phase[k].loop[j];
            if (!l->n || l->vector >= (g->phase[k].nk ? g->phase[k].nk : 1) || !rolls(&l->roll))
                return wrong(s, "a loop of phase %d has %d sums and the vector %d of %d", k, l->n, l->vector,
                    g->phase[k].nk);
        }
    for (int k = 0; k < g->nloop; k++) {
        const StoreLoop *l = &g->loop[k];
        for (int j = 0; j < l->n; j++, left--) {
            if (l->store[j] < 0 || l->store[j] >= n || stored[l->store[j]])
                return wrong(s, "store number %d in no loop, or in several", l->store[j]);
            stored[l->store[j]] = true;
        }
        for (int j = 0; j < 3; j++)
            if (!rolls(&l->roll[j]))
                return wrong(s, "a loop over %d copies", l->roll[j].n);
    }
    for (int k = 0; k < g->nrow; k++) {
        const KeptRow *r = &g->row[k];
        int64_t size = space_size(r->space, r->nspace) * (s->vec ? W : 1);
        if (r->apart < size)
            return wrong(s, "rows of %lld elements that are %lld apart", (long long)size,
                (long long)r->apart);
    }
    return left ? wrong(s, "%d stores are in no loop", left) : 0;
}

/* Rows of the carried values of lanes do not overlap. */
static int lanes_check(const Spec *s)
{
    const Region *r = s->ins->region;
    const Graph *b = s->ins->sub[0];
    for (int k = 0; k < region_nloop(r); k++) {
        const Type *t = &b->type[b->in[r->ncap + k]];
        if (!s->carry_apart || s->carry_apart[k] < type_size(t))
            return wrong(s, "rows of %s overlap", type_text(t));
    }
    return 0;
}

static int stages_check(const Spec *s)
{
    int n = 0;
    if (s->kind == SPEC_LOOPS) {
        for (int k = 0; k < s->nstore; k++)
            n += type_size(&s->g->type[s->store[k].v]) > 0;
        return s->total > 0 ? stage_check(s, &s->stage[0], n) : 0;
    }
    const Graph *b = s->ins->sub[0];
    if (s->kind != SPEC_ROWS || s->total <= 0 || s->ins->region->length <= 0)
        return 0;
    for (int k = 0; k < b->nout; k++)
        n += type_size(&b->type[b->out[k]]) > 0 && (k < region_nloop(s->ins->region) || s->live[k]);
    bool bad = lanes_check(s) || stage_check(s, &s->stage[0], s->factor.n) ||
        stage_check(s, &s->stage[1], n);
    return bad ? (int)error_code() : 0;
}

/* Shares cover what there is, and what is shared out is what the instruction has. */
static int share_check(const Spec *s)
{
    const ScatterSpec *p = s->scatter;
    const RunningSpec *r = s->running;
    if (spec_blocks(s) || !s->share.n)
        return 0;
    if (s->share.each < 1 || s->share.each > s->share.n)
        return wrong(s, "a work-item does %lld of %lld", (long long)s->share.each, (long long)s->share.n);
    if (s->kind == SPEC_SCATTER && (!p || p->ranges < 1 || p->parts < 1 ||
            (p->ranges > 1 && (p->rd < 0 || p->ranges > p->dim[p->rd].n || p->spread))))
        return wrong(s, "a scatter that is not cut as its operand can be");
    if (s->kind == SPEC_CUMULATIVE && (!r || r->lines < 1 || r->lines > LINES || (s->team && r->each < 1) ||
            (r->vec && r->across)))
        return wrong(s, "running values that are not shared out as their lines can be");
    return s->kind == SPEC_SORT && !s->by_rank && !s->npass ?
        wrong(s, "a sort of long rows without passes") :
        0;
}

static bool region_known(const Spec *s, const Ins *i)
{
    for (int j = 0; j < s->nregion; j++)
        if (s->region[j].ins == i)
            return true;
    return false;
}

/* Every region inside is known, and what loops and entered branches read first is said. */
static int regions_check(const Spec *s, const Ins *i)
{
    if (!region_known(s, i))
        return wrong(s, "nothing says how a %s inside is run", region_kind_name[i->region->kind]);
    for (int b = 0; b < i->nsub; b++)
        for (int n = 0; n < i->sub[b]->nins; n++)
            if (i->sub[b]->ins[n]->op == OP_region && regions_check(s, i->sub[b]->ins[n]))
                return (int)error_code();
    return 0;
}

/* What a panel copies is stored by others, and depends on its steps and on what stays while it is read. */
static int panels_check(const Spec *s)
{
    for (int k = 0; k < s->npanel; k++) {
        const Panel *p = &s->panel[k];
        const AtomSet *deps = p->idx->deps;
        if (!s->stored[p->v].buf || refs_have(s->made, p->v))
            return wrong(s, "a panel of v%u, which is not in memory before", p->v);
        if (!s->vec || !set_has(deps, s->vec))
            return wrong(s, "a panel of v%u, which does not go along the vector", p->v);
        for (int j = 0; j < deps->n; j++)
            if (!is_outer(s, deps->a[j]) && !among(deps->a[j], p->ks->a, p->ks->n) &&
                !atom_is_step(deps->a[j]))
                return wrong(s, "a panel of v%u depends on %s", p->v, deps->a[j]->name);
        for (int j = 0; j < s->nblock; j++)
            if (s->block[j].a != s->vec && set_has(deps, s->block[j].a))
                return wrong(s, "a panel of v%u has copies along %s", p->v, s->block[j].a->name);
    }
    return 0;
}

/* A group that does a block together has items along axes that make it up; its tiles go along those or along
 * steps. */
static int tiles_check(const Spec *s)
{
    const Tile *t = s->tile;
    int64_t items = 1;
    for (int k = 0; k < s->naxis; k++)
        items *= s->axis[k].items;
    if (s->kind != SPEC_LOOPS && (t || (s->team && s->kind != SPEC_CUMULATIVE)))
        return wrong(s, "a group does a block of one instruction together");
    if (s->team && s->kind == SPEC_LOOPS && s->total > 0 && items != (t ? s->team / t->slices : 1))
        return wrong(s, "%lld items along its axes, in groups of %lld", (long long)items,
            (long long)s->team);
    for (int k = 0; t && k < t->n; k++)
        for (int d = 0; d < 2; d++)
            if (!among(t->of[k].a[d], t->along, 2) && !(t->product && !d && t->of[k].a[d] == t->step))
                return wrong(s, "a tile of v%u along %s", t->of[k].v, t->of[k].a[d]->name);
    return 0;
}

static bool suits(const Spec *s)
{
    switch (s->kind) {
    case SPEC_LOOPS: return !s->ins && s->nstore;
    case SPEC_LANES: case SPEC_ROWS: return s->ins && s->ins->op == OP_region;
    case SPEC_SCATTER: return s->ins && s->ins->op == OP_scatter;
    case SPEC_SORT: return s->ins && s->ins->op == OP_sort;
    default: return s->ins && optab[s->ins->op].element == IS_OWN;
    }
}

int spec_check(const Spec *s)
{
    if (!suits(s))
        return wrong(s, "its kind is not that of what it computes");
    if (outer_check(s) || axes_check(s) || panels_check(s) || share_check(s) || tiles_check(s))
        return (int)error_code();
    if (spec_blocks(s) && stages_check(s))
        return (int)error_code();
    if ((s->kind == SPEC_LANES || s->kind == SPEC_ROWS) && regions_check(s, s->ins))
        return (int)error_code();
    for (int k = 0; k < s->nstore; k++)
        if (store_check(s, &s->store[k]))
            return (int)error_code();
    for (int k = 0; s->ins && !s->nstore && k < s->ins->nout; k++)
        if (s->live[k] && type_size(&s->g->type[s->ins->out + (Ref)k]) &&
            !s->stored[s->ins->out + (Ref)k].buf)
            return wrong(s, "result %d has no memory to go to", k);
    return 0;
}
