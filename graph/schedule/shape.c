/*
 * shape.c - the shape of a kernel: vector axis, register blocks, packed operands, by counting loads.
 *
 * In:  the outer space and the stores of a kernel. Out: its Spec. Copies that it wants of operands are made
 * before it. The vector axis is the outer variable, or none (the innermost loop), for which loads and stores
 * cost least.
 * Blocks: of strided neighbours (they become block loads), of axes that half of a reduction's loads do not
 * depend on (register tiles), of dimensions up to 4.
 */
#include "schedule.h"

#include <string.h>

static const Machine *machine(const Traffic *t) { return t->s->target->machine; }

static int block_of(const Spec *s, const Atom *a)
{
    for (int k = 0; k < s->nblock; k++)
        if (s->block[k].a == a)
            return s->block[k].n;
    return 0;
}

static void set_block(Spec *s, const Atom *a, int64_t n)
{
    if (n > 1 && !block_of(s, a))
        s->block[s->nblock++] = (Block){ a, (int)n };
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static double block_all(const Spec *s)
{
    double n = 1;
    for (int k = 0; k < s->nblock; k++)
        n *= s->block[k].n;
    return n;
}

/* ==================== maps: one flat space if all forms stay affine */

static bool flat_map(Spec *spec, const Traffic *t, const Vars *space)
{
    if (t->nred || space->n < 2)
        return false;
    for (int k = 0; k < spec->nstore; k++)
        if (spec->store[k].nspace)
            return false;
    for (int k = 0; k < t->nwork; k++)          /* nothing that a row shares */
        if (set_meets(t->work[k].deps, space) && !set_covers(t->work[k].deps, space))
            return false;
    int64_t n = (int64_t)space->vol, dim[MAXRANK];
    Form digit[MAXRANK];
    for (int k = 0; k < space->n; k++)
        dim[k] = atom_extent(space->a[k]);
    const Atom *m = elem_space("m", &n, 1, 0)[0];
    form_unlinear(form_a(m), dim, space->n, digit);
    Subst sub = { .n = space->n, .from = space->a, .to = digit };
    double work = 0;
    for (int k = 0; k < t->nload; k++) {
        if (!form_affine(t->load[k].f))
            return false;
        Form f = form_subst(t->load[k].f, &sub);
        if (!form_affine(f) || form_coef(f, m) < 0 || form_coef(f, m) > 1)
            return false;
        work += 2;
    }
    for (int k = 0; k < t->nwork; k++)
        work += t->work[k].cost;
    spec->outer[0] = spec->flat = m;
    spec->nouter = 1;
    memcpy(spec->flat_of, space->a, sizeof *space->a * (size_t)space->n);
    spec->nflat = space->n;
    spec->vec = n >= W ? m : NULL;
    spec->work = work;
    return true;
}

/* ==================== the vector axis */

/* How often each element is loaded. */
static double uses(const Traffic *t, const Load *l, const Vars *space)
{
    return space->vol * l->loops->vol / (double)type_size(&t->s->g->type[l->v]);
}

/* Would a copy make this load unit, and is it used often enough? */
static bool packable(const Traffic *t, const Load *l, const Vars *space, const Atom *a)
{
    if (!l->v || !a)
        return false;
    int n = 0;
    for (int d = 0; d < l->idx->n; d++)
        n += form_coef(l->idx->f[d], a) == 1;
    return n == 1 && uses(t, l, space) >= (double)machine(t)->packed_uses;
}

/* Loops of sums whose loads lie next to one another, but not along a, are written out by vectors. */
static bool turned(const Traffic *t, const Vars *space, const Atom *a)
{
    for (int k = 0; k < t->nload; k++) {
        const Load *l = &t->load[k];
        if (!l->store && l->loops->vol > (double)machine(t)->unroll && load_cost(machine(t), l, a) > 1 &&
            form_coef(l->f, l->loops->a[l->loops->n - 1]) == 1 && !packable(t, l, space, a))
            return true;
    }
    return false;
}

/* Lines of the kernel if a is the vector, in vectors of what is in flight. */
static double axis_text(const Traffic *t, const Vars *space, const Atom *a)
{
    bool far = turned(t, space, a);
    double n = 0;
    for (int k = 0; k < t->nwork; k++) {
        double vol = t->work[k].loops->vol;
        double copies = vol <= (double)machine(t)->unroll ? vol : far ? W : 1;
        n += machine(t)->code_line * t->work[k].code * copies;
    }
    return n;
}

static double axis_cost(const Traffic *t, const Vars *space, const Atom *a)
{
    const Machine *m = machine(t);
    double c = a ? 0 : m->sum_across * t->nred;
    for (int k = 0; k < t->nload; k++) {
        const Load *l = &t->load[k];
        const Atom *v = a                                          ? a :
            l->loops->n && atom_extent(loops_phase(l->loops)) >= W ? loops_phase(l->loops) :
                                                                     NULL;
        double u = v ? load_cost(m, l, v) : (double)m->load_far;
        if (v && u > 1 && !l->store && packable(t, l, space, v))
            u = 1 + m->packed_copy / uses(t, l, space);
        c += l->loops->vol * u;
    }
    for (int k = 0; k < t->nwork; k++) {
        const Vars *l = t->work[k].loops;
        bool wide = a || (l->n && atom_extent(loops_phase(l)) >= W);
        c += l->vol * t->work[k].cost * (wide ? 1 : W);
    }
    double text = a ? axis_text(t, space, a) : 0;
    return text > (double)m->text ? c * text / (double)m->text : c;
}

static void choose_axis(Spec *spec, const Traffic *t, const Vars *space)
{
    double best = -1;
    for (int k = 0; k <= space->n; k++) {
        const Atom *a = k < space->n ? space->a[k] : NULL;
        if (a && (spec->chunk || atom_extent(a) < W))
            continue;
        double c = axis_cost(t, space, a);
        if (best < 0 || c <= best) {
            best = c;
            spec->vec = a;
        }
    }
}

/* ==================== packing */

static int64_t common_divisor(int64_t a, int64_t b) { return b ? common_divisor(b, a % b) : a; }

/* Do rows that a loop goes through come to the same sets of the second cache, so that a panel of them would
 * not stay there? */
static bool rows_collide(const Traffic *t, const Load *l)
{
    const Machine *m = machine(t);
    const Atom *a = l->loops->a[l->loops->n - 1];
    int64_t each = (int64_t)dtype_size((Dtype)t->s->g->type[l->v].dt), apart = form_coef(l->f, a) * each;
    if (apart <= m->panel * each || !m->way)
        return false;
    int64_t step = common_divisor(apart, m->way), row = m->panel * each;
    return atom_extent(a) > m->way / (step > row ? step : row) * m->l2_ways;
}

static int64_t bytes_of(const Type *t) { return type_size(t) * (int64_t)dtype_size((Dtype)t->dt); }

/* The dimension of a load's value that a copy should have innermost, or -1; in panels, which are whole? */
static int pack_dim(const Spec *spec, const Traffic *t, const Load *l, const Vars *space, bool *panels)
{
    const Atom *a = spec->vec ? spec->vec : loops_phase(l->loops);
    if (panel_reads(spec, t, l, space))
        return -1;
    if (panel_passes_by(spec, t, l, space) && uses(t, l, space) >= (double)machine(t)->passing_uses)
        a = l->loops->a[l->loops->n - 1];
    if (!l->v || !a || form_opaque(l->f, a))
        return -1;
    const Type *type = &t->s->g->type[l->v];
    int64_t k = form_coef(l->f, a);
    bool apart = k == 1 && spec->vec && l->loops->n && bytes_of(type) > machine(t)->stay &&
        rows_collide(t, l) && uses(t, l, space) >= (double)machine(t)->panel_uses;
    if (!apart && (k == 0 || k == 1))
        return -1;
    if (!packable(t, l, space, a))
        return -1;
    int dim = -1;
    for (int d = 0; d < l->idx->n; d++)
        if (form_coef(l->idx->f[d], a) == 1)
            dim = d;
    *panels = type->dim[dim] % machine(t)->panel == 0 && (apart || bytes_of(type) >= machine(t)->panel_from);
    if (apart && !*panels)
        return -1;
    for (int j = 0; j < t->nload; j++)          /* every other load of it must be served as well */
        if (t->load[j].v == l->v) {
            Form f = t->load[j].idx->f[dim];
            if (form_coef(f, a) != 1 && set_has(form_deps(f), a))
                return -1;
        }
    return dim;
}

static MemRef pack(Sched *s, const char *name, Ref v, int d, bool panels)
{
    const Type *t = &s->g->type[v];
    if (!s->packed[v])
        s->packed[v] = NEWS(MemRef, t->rank);
    MemRef *p = &s->packed[v][d];
    if (p->buf)
        return *p;
    p->layout = layout_packed(t->dim, t->rank, d, panels ? s->target->machine->panel : 0);
    p->buf = schedule_buffer(s, SLOT_TEMP, (Dtype)t->dt, type_size(t), arena_text("q%u_%d", v, d));
    const Atom *const *o = elem_space("o", t->dim, t->rank, 0);
    Store st = { .v = v, .nidx = t->rank, .to = *p };
    const Atom *outer[MAXRANK];
    int n = 0;
    for (int k = 0; k < t->rank; k++) {
        st.idx[k] = t->dim[k] == 1 ? form_c(0) : form_a(o[k]);
        if (t->dim[k] != 1)
            outer[n++] = o[k];
    }
    Spec *spec = shape_spec(s, arena_text("%s_pack%u", name, v), vars_of(outer, n), &st, 1, (Refs){ 0 });
    schedule_kernel(s, spec, s->g->def[v] ? s->g->def[v]->loc : (Loc){ 0 });
    return *p;
}

/* Loads of packed operands move to their copies, in the count as well. */
static void pack_operands(Sched *s, Spec *spec, Traffic *t, const Vars *space)
{
    int n = 0;
    struct { Ref v; int dim; bool panels; } *todo = arena_alloc(sizeof *todo * (size_t)(t->nload + 1));
    for (int k = 0; k < t->nload; k++) {
        bool panels = false;
        int d = pack_dim(spec, t, &t->load[k], space, &panels);
        bool known = d < 0;
        for (int j = 0; j < n; j++)
            known = known || todo[j].v == t->load[k].v;
        if (!known)
            todo[n].v = t->load[k].v, todo[n].panels = panels, todo[n++].dim = d;
    }
    if (!n)
        return;
    Instead *copy = NEWS(Instead, n);
    for (int k = 0; k < n; k++) {               /* in order of values */
        MemRef p = pack(s, spec->name, todo[k].v, todo[k].dim, todo[k].panels);
        int j = k;
        for (; j > 0 && copy[j - 1].v > todo[k].v; j--)
            copy[j] = copy[j - 1];
        copy[j] = (Instead){ todo[k].v, p };
    }
    spec->instead = (Insteads){ copy, n };
    for (int k = 0; k < t->nload; k++) {
        Load *l = &t->load[k];
        MemRef p = l->v ? memref_instead(spec->instead, l->v) : (MemRef){ 0 };
        if (p.buf)
            l->f = layout_form(p.layout, NULL, l->idx->f, l->idx->n, NULL);
    }
}

/* ==================== blocks */

static bool some_shared(const Traffic *t, const Atom *a)
{
    for (int k = 0; k < t->ntile; k++)
        if (t->tile[k].loops->vol >= (double)machine(t)->tile_sum && !form_depends(t->tile[k].f, a))
            return true;
    return false;
}

/* Strided neighbours may be as many as a block of rows; then only what registers they leave is added. */
static void tile_outer(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(t);
    const Atom *vec = spec->vec;
    bool any = false;
    if (traffic_shared(t, vec) && atom_extent(vec) >= m->tile_vectors * W)
        set_block(spec, vec, m->tile_vectors);
    const int64_t have = (int64_t)block_all(spec);
    const int64_t fits = m->tile_rows * m->tile_vectors, all = fits > m->flight ? fits : m->flight;
    const int64_t left = have < all ? all / have : 1;
    const Atom *rows = NULL;                    /* the longest up to tile_rows, of those the innermost */
    for (int k = space->n - 1; k >= 0; k--) {
        const Atom *a = space->a[k];
        if (a != vec && !block_of(spec, a) && traffic_shared(t, a) && some_shared(t, vec) &&
            (rows ? atom_extent(rows) < m->tile_rows && atom_extent(a) > atom_extent(rows) :
                    atom_extent(a) > 1))
            rows = a;
    }
    if (rows)
        set_block(spec, rows, least(atom_extent(rows), least(m->tile_rows, left)));
    for (int k = 0; k < space->n; k++)
        any = any || traffic_shared(t, space->a[k]);
    /* sums that are unrolled need nothing in flight beside them */
    bool loop = false;
    for (int k = 0; k < t->ntile; k++)
        loop = loop || t->tile[k].loops->vol > (double)m->unroll;
    if (!any && loop && !spec->nblock)
        set_block(spec, vec, least(atom_extent(vec) / W, m->sum_vectors));
}

static void tile_rows(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(t);
    bool nested = false;                        /* a contraction inside a phase: rows x vectors */
    for (int k = 0; k < t->ntile; k++) {
        const Vars *l = t->tile[k].loops;
        nested =
            nested || (l->vol >= (double)m->tile_sum && l->n > 1 && l->a[l->n - 1]->depth > l->a[0]->depth);
    }
    for (int k = space->n - 1; k >= 0; k--) {
        const Atom *a = space->a[k];
        if (traffic_shared(t, a) && atom_extent(a) >= m->inside_rows) {
            set_block(spec, a, nested && atom_extent(a) >= m->tile_rows ? m->tile_rows : m->inside_rows);
            if (nested)
                spec->inner_tile = (int)m->tile_vectors;
            break;
        }
    }
}

/* Do elements that follow one another in a lie next to one another? In a panel, those of a row of it do. */
static bool neighbours(Form f, const Atom *a)
{
    for (int k = 0; k < f->n; k++) {
        const Atom *b = f->t[k].a;
        if (f->t[k].k == 1 && (b == a || (b->kind == A_MOD && b->f == form_a(a) && b->d % W == 0)))
            return true;
    }
    return false;
}

/* What is loaded and stored once a block, its lanes apart: elements beside one another are turned in
 * registers. */
static void turn_neighbours(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(t);
    int64_t most = t->nload == 2 && space->vol >= (double)m->large_copy ? W : m->copy_block;
    for (int k = 0; k < space->n; k++)
        for (int j = 0; j < t->nload; j++) {
            const Load *l = &t->load[j];
            const Atom *a = space->a[k];
            int64_t v = form_coef(l->f, spec->vec);
            if (a != spec->vec && !l->loops->n && neighbours(l->f, a) && v != 0 && v != 1)
                set_block(spec, a, atom_extent(a) < W ? atom_extent(a) : most);
        }
}

static void choose_blocks(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(t);
    double steps = 0;
    for (int k = 0; k < t->ntile; k++)
        steps = t->tile[k].loops->vol > steps ? t->tile[k].loops->vol : steps;
    if (spec->vec && !(t->nred && steps >= (double)m->turn_steps))
        turn_neighbours(spec, t, space);
    if (t->nred && steps >= (double)m->tile_sum)
        (spec->vec ? tile_outer : tile_rows)(spec, t, space);
    if (spec->vec)
        for (int k = 0; k < space->n; k++) {
            const Atom *a = space->a[k];
            if (a != spec->vec && atom_extent(a) <= m->small_axis &&
                (double)atom_extent(a) * block_all(spec) <= (double)m->flight)
                set_block(spec, a, atom_extent(a));
        }
}

/* ==================== what stays in a cache while blocks follow one another */

/* Bytes that reductions load for n positions of a and all that b does not move. */
static double loaded(const Traffic *t, const Atom *a, const Atom *b, int64_t n)
{
    double sum = 0;
    for (int k = 0; k < t->ntile; k++) {
        const Load *l = &t->tile[k];
        if (form_depends(l->f, a) && !form_depends(l->f, b))
            sum += (double)n * vars_vol_in(l->loops, form_deps(l->f)) *
                (double)dtype_size((Dtype)t->s->g->type[l->v].dt);
    }
    return sum;
}

/* A product whose right-hand side is larger than what stays near a core: its columns in runs that do stay,
 * for each of which all rows go by. The other way round all columns would go by for each block of rows,
 * which has fewer rows than a run has columns. */
static void choose_run(Spec *spec, const Traffic *t)
{
    const Atom *vec = spec->vec, *rows = NULL;
    double stay = (double)machine(t)->stay;
    for (int k = 0; k < spec->nblock; k++)
        rows = spec->block[k].a == vec ? rows : spec->block[k].a;
    if (!vec || !rows || atom_extent(rows) == block_of(spec, rows) ||
        loaded(t, vec, rows, atom_extent(vec)) <= stay)
        return;
    double n = stay / loaded(t, vec, rows, W * (block_of(spec, vec) ? block_of(spec, vec) : 1));
    if (n >= 1)
        spec->run = vec, spec->run_blocks = (int64_t)n;
}

/* Cycles of a block: what does not depend on a blocked variable is done once, what runs over W elements
 * inside is done in vectors. */
static double cycles(const Spec *spec, const AtomSet *deps, const Vars *loops, double each)
{
    bool across = spec->vec && set_has(deps, spec->vec);
    double n = loops->vol * each;
    for (int k = 0; k < spec->nblock; k++)
        n *= set_has(deps, spec->block[k].a) ? spec->block[k].n : 1;
    return !across && loops->n && atom_extent(loops_phase(loops)) >= W ? n / W : n;
}

static double block_work(const Spec *spec, const Traffic *t)
{
    double n = machine(t)->sum_lines * t->nred;
    for (int k = 0; k < t->nload; k++) {
        const Load *l = &t->load[k];
        const Atom *v = spec->vec ? spec->vec : l->loops->n ? loops_phase(l->loops) : NULL;
        n += cycles(spec, form_deps(l->f), l->loops, v ? load_cost(machine(t), l, v) : 1);
    }
    for (int k = 0; k < t->nwork; k++)
        n += cycles(spec, t->work[k].deps, t->work[k].loops, t->work[k].cost);
    return n > 1 ? n : 1;
}

/* Elements of the loops that are written out: each of a reduction, or of a store, that is inside others. */
static double written_turns(const Spec *spec, const Vars *loops)
{
    double n = 1;
    for (int k = 0, next; k < loops->n; k = next) {
        double turns = 1;
        for (next = k; next < loops->n && loops->a[next]->depth == loops->a[k]->depth; next++)
            turns *= (double)atom_extent(loops->a[next]);
        n *= turns <= (double)spec->unroll ? turns : 1;
    }
    return n;
}

/* Instructions: one for each copy of each operation and load; a short reduction is unrolled. */
static double copies(const Spec *spec, const AtomSet *deps, const Vars *loops)
{
    double n = written_turns(spec, loops);
    for (int k = 0; k < spec->nblock; k++)
        n *= set_has(deps, spec->block[k].a) ? spec->block[k].n : 1;
    return n;
}

/* Lines. What is long is a function of the kernel, which is text once, and a line where it is called. */
static double code_of(const Spec *spec, const Traffic *t)
{
    const Machine *m = machine(t);
    double n = m->sum_lines * (1 + t->nred);
    bool called[OP_COUNT] = { false };
    for (int k = 0; k < t->nload; k++)
        n += m->load_lines * copies(spec, form_deps(t->load[k].f), t->load[k].loops);
    for (int k = 0; k < t->nwork; k++) {
        const Work *w = &t->work[k];
        bool function = w->code >= (double)m->text_kept;
        n += (function ? 1 : w->code) * copies(spec, w->deps, w->loops);
        n += function && !called[w->op] ? m->code_line * w->code : 0;
        called[w->op] = true;
    }
    return n;
}

/* Short sums are loops, too, where they would make text long. */
static void choose_unroll(Spec *spec, const Traffic *t)
{
    const Machine *m = machine(t);
    double all = code_of(spec, t);
    while (spec->unroll > 1 && code_of(spec, t) > (double)m->text)
        spec->unroll /= 2;
    if (code_of(spec, t) > all / 2)             /* they are not what is long */
        spec->unroll = m->unroll;
}

/* Does the loop of a sum, which is no product, read elements that lie side by side, and lanes apart? Its
 * steps are written out (stage.c), as often as the block has copies. */
static bool written_out(const Spec *spec, const Traffic *t, const Vars *loops)
{
    bool apart = false;
    if (loops->n != 1 || !spec->vec || loops->vol <= (double)machine(t)->unroll)
        return false;
    for (int j = 0; j < t->nload; j++) {
        const Load *l = &t->load[j];
        int64_t lane = form_coef(l->f, spec->vec);
        if (l->loops == loops && !form_depends(l->f, spec->vec))
            return false;
        apart |= l->loops == loops && !l->store && form_coef(l->f, loops->a[0]) == 1 && lane != 0 &&
            lane != 1;
    }
    return apart;
}

/* Instructions of such loops. */
static double written_code(const Spec *spec, const Traffic *t)
{
    const Machine *m = machine(t);
    double n = 0;
    for (int k = 0; k < t->nload; k++)
        if (written_out(spec, t, t->load[k].loops))
            n += m->load_lines * copies(spec, form_deps(t->load[k].f), t->load[k].loops);
    for (int k = 0; k < t->nwork; k++)
        if (written_out(spec, t, t->work[k].loops))
            n += m->code_line * t->work[k].code * copies(spec, t->work[k].deps, t->work[k].loops);
    return n * (double)m->turned;
}

static bool long_block(const Spec *spec, const Traffic *t)
{
    const Machine *m = machine(t);
    double written = written_code(spec, t);
    return written > (double)m->text || written + code_of(spec, t) > (double)m->text_block;
}

/* Blocks shrink before text grows. */
static void shorten(Spec *spec, const Traffic *t)
{
    while (spec->nblock && long_block(spec, t)) {
        int most = 0;
        for (int k = 1; k < spec->nblock; k++)
            most = spec->block[k].n > spec->block[most].n ? k : most;
        spec->block[most].n /= 2;
        if (spec->block[most].n == 1)
            spec->block[most] = spec->block[--spec->nblock];
    }
}

Spec *shape_spec(Sched *s, const char *name, const Vars *space, const Store *st, int nstore, Refs made)
{
    Spec *spec = NEW(Spec);
    *spec = (Spec){ .kind = SPEC_LOOPS,
        .name = name,
        .g = s->g,
        .stored = s->stored,
        .made = made,
        .target = s->target,
        .store = arena_copy(st, sizeof *st * (size_t)nstore),
        .nstore = nstore };
    for (int k = 0; k < nstore; k++)
        spec->chunk = st[k].chunk ? st[k].chunk : spec->chunk;
    Traffic t = { .s = s, .made = made };
    spec->unroll = s->target->machine->unroll;
    traffic_count(&t, st, nstore);
    spec->maps = !t.nred;
    if (group_map(spec, &t, space) || (!grouped(machine(&t)) && flat_map(spec, &t, space))) {
        spec->code = code_of(spec, &t);
        return spec;
    }
    memcpy(spec->outer, space->a, sizeof *space->a * (size_t)space->n);
    spec->nouter = space->n;
    bool tiled = group_product(spec, &t, space) || group_turned(spec, &t, space);
    if (!tiled)
        choose_axis(spec, &t, space);
    if (tiled || group_rows(spec, &t, space) || group_columns(spec, &t)) {
        spec->work = block_work(spec, &t);
        spec->code = code_of(spec, &t);
        return spec;
    }
    pack_operands(s, spec, &t, space);
    if (!spec->chunk)
        choose_blocks(spec, &t, space);
    shorten(spec, &t);
    choose_unroll(spec, &t);
    spec->contract = block_all(spec) > 1 && t.nred;
    if (spec->contract)
        choose_panels(spec, &t, space);
    if (spec->contract && !spec->npanel)
        choose_run(spec, &t);
    spec->work = block_work(spec, &t);
    spec->code = code_of(spec, &t);
    return spec;
}

/* ==================== kernels of one instruction */

/* Which values of a region's body differ by lane; inputs are known. */
static void differ_by_lane(const Graph *body, bool *own)
{
    for (int n = 0; n < body->nins; n++) {
        const Ins *i = body->ins[n];
        bool any = false;
        for (int k = 0; k < i->nin; k++)
            any = any || own[i->in[k]];
        for (int k = 0; k < i->nout; k++)
            own[i->out + (Ref)k] = any;
    }
}

/* Is there a product in the body of which all lanes read one operand? */
static bool product_shared(const Region *r, const Graph *body)
{
    bool *own = NEWS(bool, body->nval);
    for (int k = 0; k < body->nin; k++) {
        own[body->in[k]] = region_group(r, k) == 'a' || region_group(r, k) == 'y';
        for (int a = 0; a < r->nlane; a++)
            own[body->in[k]] |= r->im[k * r->nlane + a] == STACKED;
    }
    differ_by_lane(body, own);
    for (int n = 0; n < body->nins; n++) {
        const Ins *i = body->ins[n];
        if (i->op == OP_dot && (!own[i->in[0]] || !own[i->in[1]]))
            return true;
    }
    return false;
}

/* Of products lanes side by side share what is loaded of an operand that is one for all; others would be
 * more text, and of rows that leave the first cache more, for nothing. */
static int lanes_beside(const Machine *m, const Region *r, const Graph *body)
{
    return product_shared(r, body) ? (int)m->tile_rows : 1;
}

static void shape_lanes(Spec *spec, const Root *r)
{
    const Machine *m = spec->target->machine;
    const Region *g = r->ins->region;
    const Graph *body = r->ins->sub[r->ins->nsub - 1];
    const Atom *last = r->space->n ? r->space->a[r->space->n - 1] : NULL;
    double state = body_state(body, g, false), code = body_code(body);
    int n = 1;
    /* a compiler that makes vectors of work-items takes each lane for a value: of long text one an item */
    bool lanes = m->lanes == 1 || (!grouped(m) && m->body_lines * code <= (double)m->text);
    spec->vec = lanes && last && atom_extent(last) >= W ? last : NULL;
    if (r->spec == SPEC_ROWS) {                 /* some lanes a work-item, the vector inside the state */
        spec->vec = NULL;
        spec->inner_tile = (int)m->tile_vectors;
        spec->contract = true;
        n = lanes_beside(m, g, body);           /* but each core is to have some */
        while (n > 1 && r->space->vol / n < (double)m->cores)
            n /= 2;
        set_block(spec, last, least(atom_extent(last), n));
    } else if (spec->vec) { /* groups of lanes in flight hide latency, while registers last */
        while (n < m->group_lanes && state * n * 2 <= (double)m->group_state &&
            code * n <= (double)m->group_code && r->space->vol / (W * n * 2) >= (double)m->lane_blocks &&
            W * n * 2 <= atom_extent(last))
            n *= 2;
        set_block(spec, last, n);
    }
    spec->work = region_turns(g) * body_weight(body) * n;
    spec->code = m->body_lines * code;
}

/* Cycles of a scatter or of running values, all work-items. */
static double own_work(const Machine *m, const Graph *g, const Ins *i, bool wide, bool in_place)
{
    double x = (double)type_size(&g->type[i->in[0]]);
    if (i->op != OP_scatter)
        return wide ? (double)m->running_vector * x / W : x;
    double u = (double)type_size(&g->type[i->in[2]]), positions = (double)type_size(&g->type[i->in[1]]);
    return (in_place ? 0 : m->scatter_copy * x) + u * (wide ? 1 : (double)m->scatter_lone) +
        (double)m->scatter_position * positions;
}

Spec *shape_ins(Sched *s, const char *name, const Root *r)
{
    Spec *spec = NEW(Spec);
    *spec = (Spec){ .kind = r->spec, .name = name, .g = s->g, .stored = s->stored,
                    .target = s->target, .ins = r->ins, .live = r->live, .nouter = r->space->n,
                    .unroll = s->target->machine->unroll };
    Ref *made = NEWS(Ref, r->ins->nout);
    for (int k = 0; k < r->ins->nout; k++)
        made[k] = r->v + (Ref)k;
    spec->made = (Refs){ made, r->ins->nout };
    spec->in_place = r->spec == SPEC_SCATTER && s->stored[r->v].buf == s->stored[r->ins->in[0]].buf;
    memcpy(spec->outer, r->space->a, sizeof *r->space->a * (size_t)r->space->n);
    if (r->spec == SPEC_LANES || r->spec == SPEC_ROWS) {
        shape_lanes(spec, r);
        spec_bodies(spec);
        return spec;
    }
    if (r->spec == SPEC_SORT)
        return shape_sort(s, spec, r->ins->loc);
    if (r->x) {
        const Type *t = &s->g->type[r->x];
        Layout *l = arena_copy(layout_natural(t->dim, t->rank), sizeof *l);
        l->base = s->stored[r->v].layout->base;
        spec->store = NEW(Store);
        *spec->store = (Store){ .v = r->x, .to = { s->stored[r->v].buf, l } };
        spec->nstore = 1;
    }
    const Atom *last = r->space->n ? r->space->a[r->space->n - 1] : NULL;
    spec->vec = r->chunk && last && atom_extent(last) >= W ? last : NULL;
    spec->code = (double)s->target->machine->own_lines;
    spec->work = own_work(s->target->machine, s->g, r->ins, spec->vec, spec->in_place);
    return spec;
}
