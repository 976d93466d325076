/*
 * grid.c - what a work-item does of a kernel: blocks of each axis, and how many of them.
 *
 * In:  a specification whose vector, blocks and work are chosen. Out: its axes.
 * Axes are taken innermost first: whole loops until a work-item has work enough or its part of the whole,
 * then a chunk; the rest is the grid.
 */
#include "schedule.h"

static int copies_of(const Spec *s, const Atom *a)
{
    for (int j = 0; j < s->nblock; j++)
        if (s->block[j].a == a && s->block[j].n > 1)
            return s->block[j].n;
    return 1;
}

/* Of a group that does a block together, those along it. */
static int64_t items_along(const Spec *s, const Atom *a)
{
    for (int d = 0; s->tile && d < 2; d++)
        if (s->tile->along[d] == a)
            return s->tile->items[d];
    return 1;
}

/* Register blocks that fit their axis. */
static int64_t block_size(const Spec *s, const Atom *a)
{
    int64_t n = a->hi + 1, lanes = (a == s->vec ? W : 1) * items_along(s, a), copies = copies_of(s, a);
    while (copies > 1 && (copies * lanes > n || (s->in_place && n % (copies * lanes))))
        copies--;
    return copies * lanes;
}

/* So many of n blocks for a work-item that all parts are about as long; the last one may repeat some. */
static int64_t even_part(int64_t n, int64_t most)
{
    int64_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

bool spec_passes(const Spec *s, const Atom *a)
{
    for (int k = 0; k < s->npanel; k++)
        if (set_has(s->panel[k].idx->deps, a))
            return false;
    return s->npanel > 0;
}

/* Each work-item copies panels of its own, so it takes all rows or a long part of them, and blocks of the
 * panels' variables only if there are more work-items than the cores need. */
static void panel_chunks(Spec *s)
{
    double blocks = 1, size = 1;
    for (int j = 0; j < s->naxis; j++) {
        blocks *= (double)s->axis[j].blocks;
        size *= spec_passes(s, s->axis[j].a) ? (double)s->axis[j].size : 1;
    }
    const Machine *m = s->target->machine;
    int64_t room = (int64_t)(blocks / (double)m->items) + 1;
    int64_t rows = (int64_t)((double)m->own_panel_rows / size),
            most = (int64_t)(blocks / (double)(m->own_panel_items * m->cores)) + 1;
    rows = rows < most ? rows : most;
    int64_t budget = room > rows ? room : rows;
    for (int pass = 1; pass >= 0; pass--, budget = room > 1 ? room : 1)
        for (int j = s->naxis - 1; j >= 0; j--) {
            OuterAxis *x = &s->axis[j];
            if (spec_passes(s, x->a) != pass)
                continue;
            x->chunk = even_part(x->blocks, x->blocks < budget ? x->blocks : budget);
            budget = x->chunk == x->blocks && budget > x->blocks ? budget / x->blocks : 1;
            room /= x->chunk;
        }
}

/* Steps of a panel that are copied at once: some rows of what lies side by side; of other things a block
 * that is turned in registers. */
static int panel_turn(const Spec *s, const Panel *p)
{
    const Layout *l = s->stored[p->v].layout;
    bool beside = form_coef(layout_form(l, NULL, p->idx->f, p->idx->n, NULL), s->vec) == 1;
    return beside ? (int)s->target->machine->copy_rows : W;
}

static void chunks(Spec *s)
{
    const Machine *m = s->target->machine;
    double each = s->work > 1 ? s->work : 1, room = item_cycles(m, s->total) / each;
    int64_t budget = s->each ? s->each : room < 1 ? 1 : (int64_t)room;
    for (int j = s->naxis - 1; j >= 0; j--) {
        OuterAxis *x = &s->axis[j];
        int64_t c = s->chunk > 0 ? s->chunk : x->blocks < budget ? x->blocks : budget;
        if (x->a == s->run) {
            x->chunk = even_part(x->blocks, c < s->run_blocks ? c : s->run_blocks);
            budget = budget / x->chunk > 1 ? budget / x->chunk : 1;
            continue;
        }
        while (s->chunk <= 0 && x->blocks % c && c > 1 && (x->blocks < m->items * c || s->in_place))
            c--;
        x->chunk = c;
        budget = c == x->blocks ? (budget / x->blocks > 1 ? budget / x->blocks : 1) : 1;
    }
}

/* Blocks of an axis come one after the other, inside of those of the others, where panels stay while they
 * do; and where lanes lie apart: lines beside those that a block of neighbours has read are next, and not
 * those of other rows. */
static bool goes_inside(const Spec *s, const OuterAxis *x)
{
    return spec_passes(s, x->a) ||
        (!s->contract && x->a != s->vec && x->size > s->target->machine->neighbours);
}

void spec_grid(Spec *s)
{
    bool fits = s->vec && atom_extent(s->vec) >= W && !(s->in_place && atom_extent(s->vec) % W);
    s->vec = fits ? s->vec : NULL;
    s->total = s->work > 1 ? s->work : 1;
    if (!spec_blocks(s)) {
        spec_share(s);
        return;
    }
    for (int j = 0; j < (s->flat ? 1 : s->nouter); j++) {
        const Atom *a = s->flat ? s->flat : s->outer[j];
        int64_t size = block_size(s, a);
        s->axis[s->naxis++] =
            (OuterAxis){ .a = a, .n = a->hi + 1, .size = size, .blocks = (a->hi + size) / size,
                         .items = items_along(s, a) };
        s->axis[j].inside = goes_inside(s, &s->axis[j]);
        s->total *= (double)s->axis[j].blocks;
    }
    for (int k = 0; k < s->npanel; k++)
        s->panel[k].turn = panel_turn(s, &s->panel[k]);
    if (s->total > 0)                           /* else it has no elements */
        (s->npanel ? panel_chunks : chunks)(s);
}

int64_t spec_items(const Spec *s)
{
    int64_t n = s->team ? s->team : 1;
    for (int j = 0; j < s->naxis; j++)
        n *= (s->axis[j].blocks + s->axis[j].chunk - 1) / s->axis[j].chunk;
    return n;
}

void spec_alone(Spec *s)
{
    s->alone = true;
    if (!spec_blocks(s))
        spec_share(s);
    for (int j = 0; j < s->naxis; j++)
        s->axis[j].chunk = s->axis[j].blocks;
}
