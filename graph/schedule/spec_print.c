/*
 * spec_print.c - specifications of kernels as text: in a word what shape one has, in a line for plans, in a
 * few lines for dumps.
 *
 *      spec k0 row (64) -> r0:div[1000]            64 outer positions; `div` is stored in a loop of 1000
 *      inside
 *          store r0 at k1 + 1000*i0                where an element lies: its index in the buffer
 *          form
 *          work 2.4e+03
 */
#include "spec.h"

static const char *spec_word(const Spec *s)
{
    static const char *const words[] = { "", "lanes", "rows", "scatter", "sort", "cumulative" };
    if (s->kind != SPEC_LOOPS)
        return words[s->kind];
    if (s->chunk)
        return "sums";
    if (s->contract)
        return "contract";
    for (int k = 0; k < s->nstore; k++)
        if (s->store[k].nspace)
            return "row";
    return s->flat || s->vec ? "map" : "reduce";
}

static int copies_of(const Spec *s, const Atom *a)
{
    for (int j = 0; j < s->nblock; j++)
        if (s->block[j].a == a)
            return s->block[j].n;
    return 0;
}

static void add_outer(const Spec *s, Text *t)
{
    text_add(t, "%s (", spec_word(s));
    for (int k = 0; k < s->nouter; k++) {
        int copies = copies_of(s, s->outer[k]);
        text_add(t, "%s%lld%s", k ? ", " : "", (long long)atom_extent(s->outer[k]),
            s->outer[k] == s->vec ? " vec" : "");
        if (copies)
            text_add(t, " x%d", copies);
    }
    text_add(t, ")");
    if (s->inner_tile > 1)
        text_add(t, " inner x%d", s->inner_tile);
    for (int k = 0; k < s->npanel; k++)
        text_add(t, " panels %s", s->stored[s->panel[k].v].buf->name);
    if (s->run)
        text_add(t, " run %lld", (long long)s->run_blocks);
    if (s->chunk)
        text_add(t, " chunk %lld", (long long)s->chunk);
}

static void add_stores(const Spec *s, Text *t)
{
    for (int k = 0; k < s->nstore; k++) {
        const Store *st = &s->store[k];
        const Ins *i = s->g->def[st->v];
        text_add(t, "%s%s:%s", k ? " " : " -> ", st->to.buf->name, i ? optab[i->op].name : "input");
        for (int d = 0; d < st->nspace; d++)
            text_add(t, "%s%lld%s", d ? "," : "[", (long long)atom_extent(st->space[d]),
                d == st->nspace - 1 ? "]" : "");
    }
    for (int k = 0; s->ins && !s->nstore && k < s->ins->nout; k++)
        if (s->live[k])
            text_add(t, "%s%s", k ? " " : " -> ", s->stored[s->ins->out + (Ref)k].buf->name);
}

static void add_note(const Spec *s, Text *t)
{
    add_outer(s, t);
    add_stores(s, t);
    for (int k = 0; k < s->instead.n; k++)
        text_add(t, " packed %s", s->instead.of[k].at.buf->name);
}

const char *spec_note(const Spec *s)
{
    Text t = { 0 };
    add_note(s, &t);
    const char *note = arena_text("%s", t.s ? t.s : "");
    text_free(&t);
    return note;
}

static void add_extents(Text *t, const char *word, const Atom *const *a, int n)
{
    text_add(t, "    %s", word);
    for (int k = 0; k < n; k++)
        text_add(t, " %s<%lld", a[k]->name, (long long)atom_extent(a[k]));
    text_add(t, "\n");
}

/* ==================== loops */

static const char *op_of(const Graph *g, Ref v) { return g->def[v] ? optab[g->def[v]->op].name : "input"; }

static void add_space(Text *t, const Atom *const *a, int n)
{
    for (int k = 0; k < n; k++)
        text_add(t, "%s%lld", k ? "," : " [", (long long)atom_extent(a[k]));
    text_add(t, n ? "]" : "");
}

static void add_rolled(Text *t, const Graph *g, const Rolled *r, const char *which)
{
    if (!r->n)
        return;
    text_add(t, ", %s%d copies a loop", which, r->n);
    for (int k = 0; k < r->nfirst; k++)
        text_add(t, "%s%s", k ? " " : " after ", r->first[k].outer ? "input" : op_of(g, r->first[k].at.v));
}

static void add_stage(const Stage *s, const Graph *g, const Ref *stored, Text *t)
{
    static const char *const part[] = { "of tiles ", "of vectors ", "of the rest " };
    for (int k = 0; k < s->nphase; k++)
        for (int j = 0; j < s->phase[k].nloop; j++) {
            const SumLoop *l = &s->phase[k].loop[j];
            text_add(t, "    phase");
            add_space(t, s->phase[k].ks, s->phase[k].nk);
            for (int w = 0; w < l->n; w++)
                text_add(t, " %s", op_of(g, l->want[w].v));
            if (l->vector >= 0 && s->phase[k].nk)
                text_add(t, ", vector %d", l->vector);
            if (l->within > 1)
                text_add(t, ", %d values within", l->within);
            if (l->steps > 1)
                text_add(t, ", %d steps written out", l->steps);
            add_rolled(t, g, &l->roll, "");
            text_add(t, "\n");
        }
    for (int k = 0; k < s->nrow; k++) {
        text_add(t, "    row");
        add_space(t, s->row[k].space, s->row[k].nspace);
        text_add(t, " %s\n", op_of(g, s->row[k].of.v));
    }
    for (int k = 0; k < s->nloop; k++) {
        const StoreLoop *l = &s->loop[k];
        text_add(t, "    stores");
        for (int j = 0; j < l->n; j++)
            text_add(t, " %s", op_of(g, stored[l->store[j]]));
        if (l->whole)
            text_add(t, ", written out");
        else if (l->vector >= 0)
            text_add(t, ", vector %d", l->vector);
        for (int j = 0; j < 3; j++)
            add_rolled(t, g, &l->roll[j], l->whole ? "" : part[j]);
        text_add(t, "\n");
    }
}

/* The values that a stage's stores are of, by number. */
static const Ref *stored_of(const Spec *s, int stage)
{
    const Graph *b = s->ins ? s->ins->sub[0] : s->g;
    Ref *v = NEWS(Ref, s->ins ? b->nout : s->nstore);
    int n = 0;
    for (int k = 0; !s->ins && k < s->nstore; k++)
        if (type_size(&b->type[s->store[k].v]))
            v[n++] = s->store[k].v;
    for (int k = 0; s->ins && k < b->nout; k++)
        if (type_size(&b->type[b->out[k]]) && (k < region_nloop(s->ins->region) || s->live[k]))
            v[n++] = b->out[k];
    return s->ins && !stage ? s->factor.v : v;
}

static void add_stages(const Spec *s, Text *t)
{
    for (int k = 0; k < 2; k++)
        if (s->stage[k].nloop)
            add_stage(&s->stage[k], s->ins ? s->ins->sub[0] : s->g, stored_of(s, k), t);
    for (int k = 0; k < s->ninner; k++) {
        text_add(t, "    inside %s, vector %d", op_of(s->inner[k].g, s->inner[k].v), s->inner[k].vector);
        if (s->inner[k].steps > 1)
            text_add(t, ", %d steps written out", s->inner[k].steps);
        text_add(t, "\n");
    }
    if (s->roll_moves)
        text_add(t, "    copies of the state a loop\n");
    if (spec_blocks(s))
        text_add(t, "    written out: %lld elements, %lld values, %lld in bodies; vectors of sums: %d, %d\n",
            (long long)s->written.loop, (long long)s->written.block, (long long)s->written.body,
            s->written.sums, s->written.flight);
}

/* ==================== kernels of one instruction */

static void add_share(const Spec *s, Text *t)
{
    const ScatterSpec *p = s->scatter;
    const RunningSpec *r = s->running;
    if (p && s->share.n)
        text_add(t, "    updates%s%s, %lld ranges of axis %d, axis %d in %lld parts\n",
            p->in_place ? " in place" : "", p->spread ? ", positions shared out" : "", (long long)p->ranges,
            p->rd, p->vd, (long long)p->parts);
    if (r && s->team)
        text_add(t, "    a group a line, %d elements an item at once\n", r->each);
    else if (r)
        text_add(t, "    at once %d %s\n", r->lines,
            r->vec        ? "vectors of lines inside" :
                r->across ? "vectors of lines outside" :
                            "lines");
    if (s->by_rank)
        text_add(t, "    by rank\n");
    if (!spec_blocks(s))
        text_add(t, "    a work-item does %lld of %lld\n", (long long)s->share.each, (long long)s->share.n);
}

/* Numbers of those that are so. */
static void add_numbers(Text *t, const char *word, const bool *is, int n)
{
    bool any = false;
    for (int k = 0; is && k < n; k++)
        if (is[k]) {
            text_add(t, "%s%d", any ? " " : word, k);
            any = true;
        }
}

static void add_regions(const Spec *s, Text *t)
{
    for (int j = 0; j < s->nregion; j++) {
        const Ins *i = s->region[j].ins;
        Text part = { 0 };
        add_numbers(&part, ", enters branch ", s->region[j].enter, i->nsub);
        for (int b = 0; b < i->nsub; b++)
            add_numbers(
                &part, arena_text(", body %d reads first ", b), s->region[j].first[b], i->sub[b]->nin);
        if (part.n)
            text_add(t, "    %s%s\n", region_kind_name[i->region->kind], part.s);
        text_free(&part);
    }
    if (s->packed) {
        add_numbers(t, "    as vectors too: ", s->packed, region_nloop(s->ins->region));
        text_add(t, "\n");
    }
    for (int k = 0; k < s->factor.n; k++)
        text_add(t, "    %s v%u of the body first\n",
            optab[s->ins->sub[0]->def[s->factor.v[k]]->op].name, s->factor.v[k]);
}

/* ==================== groups */

static void add_tile(const Spec *s, Text *t)
{
    const Tile *p = s->tile;
    text_add(t, "    tiles of");
    for (int d = 0; d < 2; d++)
        for (int k = 0; k < s->naxis; k++)
            if (s->axis[k].a == p->along[d])
                text_add(t, "%s%lld", d ? " x " : " ", (long long)s->axis[k].size);
    text_add(t, ", %lld x %lld items", (long long)p->items[0], (long long)p->items[1]);
    if (p->slices > 1)
        text_add(t, " in %lld slices", (long long)p->slices);
    if (p->product)
        text_add(t, ", %lld steps at once", (long long)p->steps);
    for (int k = 0; k < p->n; k++)
        text_add(t, "%s v%u along %s", k ? "," : "; in local memory", p->of[k].v,
            p->of[k].a[p->of[k].fast]->name);
    text_add(t, "\n");
}

static void add_group(const Spec *s, Text *t)
{
    if (!s->group)
        return;
    if (s->team)
        text_add(t, "    groups of %lld work-items do a block together", (long long)s->team);
    else
        text_add(t, "    groups of up to %lld work-items", (long long)s->group);
    if (s->held)
        text_add(t, ": up to %d elements of each in registers, or %d a turn", s->held, s->turn);
    if (s->each > 1)
        text_add(t, ", %lld one after the other", (long long)s->each);
    text_add(t, "\n");
    if (s->tile)
        add_tile(s, t);
    if (s->fit.groups)
        text_add(t,
            "    about %lld registers an item and %lld bytes a group: %lld groups a core, %.0f%% of its "
            "items\n",
            (long long)s->fit.registers, (long long)s->fit.local, (long long)s->fit.groups,
            100 * s->fit.part);
}

void spec_print(const Spec *s, Text *t)
{
    text_add(t, "spec %s ", s->name);
    add_note(s, t);
    text_add(t, "\n");
    if (s->nouter && s->outer[0])
        add_extents(t, "over", s->outer, s->nouter);
    if (s->flat)
        add_extents(t, "as digits of", &s->flat, 1);
    for (int k = 0; k < s->nstore; k++) {
        const Store *st = &s->store[k];
        if (!st->chunk && s->kind == SPEC_LOOPS)
            text_add(t, "    store %s at %s\n", st->to.buf->name,
                     form_text(layout_form(st->to.layout, NULL, st->idx, st->nidx, NULL)));
        if (st->nspace)
            add_extents(t, "inside", st->space, st->nspace);
    }
    for (int k = 0; k < s->instead.n; k++)
        text_add(t, "    reads v%u from its copy %s\n", s->instead.of[k].v, s->instead.of[k].at.buf->name);
    if (s->ins)
        text_add(t, "    instruction %s\n",
            s->ins->op == OP_region ? region_kind_name[s->ins->region->kind] : optab[s->ins->op].name);
    if (s->sort)
        text_add(t, "    pass %d of %lld chunks: %s\n", s->sort->pass, (long long)s->sort->chunks,
            s->sort->count ? "counts" : "moves");
    if (s->in_place)
        text_add(t, "    in place\n");
    add_group(s, t);
    add_stages(s, t);
    add_share(s, t);
    add_regions(s, t);
    text_add(t, "    work %.3g\n", s->work);
}
