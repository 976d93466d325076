/*
 * sharded_region.c - regions over a mesh: loops, branches and calls over shares.
 *
 * In: a region, and the states of what goes into it. Out: the same over shares. Where only lanes are dealt
 * out each shard has fewer of them, and bodies stay as they are; else bodies are taken apart like the
 * program itself, again and again until what goes round has the same state at both ends.
 */
#include "sharded.h"

static Dealt shifted(const Dealt *d, int by)
{
    Dealt e = *d;
    for (int m = 0; m < MESH_AXES; m++)
        if (e.over[m] >= 0)
            e.over[m] = (int8_t)(e.over[m] + by);
    return e;
}
/* ==================== regions with lanes */

static int stacked_axes(const uint8_t *marks, int below)
{
    int n = 0;
    for (int a = 0; a < below; a++)
        n += marks[a] == STACKED;
    return n;
}

/* The lane axis that axis d of a value is; -1: none. */
static int lane_at(const Region *r, const uint8_t *marks, int d)
{
    for (int a = 0; a < r->nlane; a++)
        if (marks[a] == STACKED && d-- == 0)
            return a;
    return -1;
}

/* Which lane axis each axis of the mesh deals out. False: something else than lanes is dealt out. */
static bool choose_lanes(const Sharder *s, const Ins *i, int8_t *to)
{
    const Region *r = i->region;
    int64_t left[MAXRANK];
    for (int a = 0; a < r->nlane; a++)
        left[a] = r->lane[a].size;
    for (int m = 0; m < MESH_AXES; m++)
        to[m] = -1;
    for (int m = 0; m < s->mesh->naxis; m++) {
        size_t votes[MAXRANK] = { 0 }, most = 0;
        for (int k = 0; k < i->nin; k++) {
            int d = s->val[i->in[k]].at.over[m], a = d < 0 ? -1 : lane_at(r, marks_in(r, k), d);
            if (d >= 0 && a < 0)
                return false;
            if (a < 0 || left[a] % s->mesh->size[m])
                continue;
            votes[a] += type_bytes(&s->g->type[i->in[k]]) + 1;
            if (votes[a] > most)
                most = votes[a], to[m] = (int8_t)a;
        }
        if (to[m] >= 0)
            left[to[m]] /= s->mesh->size[m];
    }
    return true;
}

static Val lanes_state(const uint8_t *marks, const int8_t *to)
{
    Val v = { .at = dealt_whole };
    for (int m = 0; m < MESH_AXES; m++) {
        if (to[m] >= 0 && marks[to[m]] == STACKED)
            v.at.over[m] = (int8_t)stacked_axes(marks, to[m]);
        if (to[m] >= 0 && marks[to[m]] == SUMMED)
            v.sum |= (uint8_t)(1u << m);
    }
    return v;
}

/* An accumulator that is in another state than the region would have it: the region begins at zero. */
static bool apart(const Sharder *s, const Region *r, const Ins *i, int k, const Val *want)
{
    const Val *v = &s->val[i->in[k]];
    return region_group(r, k) == 'a' && graph_acc(cur(), v->ref) && !val_equal(v, want);
}

static Ref zero_share(const Sharder *s, Ref old, const Val *v)
{
    Type t = mesh_share(s->mesh, &v->at, &s->g->type[old]);
    return Zeros(&t);
}

/* ... and what it gives is added afterwards. */
static Val added(Sharder *s, const Ins *i, Ref acc, Val x)
{
    Val all = { .at = x.at, .sum = x.sum | s->val[acc].sum };
    for (int m = 0; m < s->mesh->naxis; m++) {
        if (all.at.over[m] >= 0)
            all.sum &= (uint8_t)~(1u << m);
        if (all.sum & ~x.sum & 1u << m)
            x.ref = sharded_first(s->mesh, x.ref, m);
    }
    all.ref = Accum(val_part(s, i, acc, &all), x.ref);
    return all;
}

/* Fewer lanes in each shard; bodies do not see them. */
static void lanes_region(Sharder *s, const Ins *i)
{
    const Region *r = i->region;
    int8_t to[MESH_AXES];
    Ref *y = NEWS(Ref, i->nout);
    if (!choose_lanes(s, i, to)) {
        *s->lanes = true;
        return;
    }
    Draft f = draft_like(r, i->nin, i->nsub);
    f.r.lane = arena_copy(r->lane, sizeof *r->lane * (size_t)r->nlane);
    for (int m = 0; m < s->mesh->naxis; m++)
        if (to[m] >= 0)
            f.r.lane[to[m]].size /= s->mesh->size[m];
    for (int k = 0; k < i->nin; k++) {
        Val want = lanes_state(marks_in(r, k), to);
        Ref x = apart(s, r, i, k, &want) ? zero_share(s, i->in[k], &want) : val_part(s, i, i->in[k], &want);
        draft_operand(&f, x, marks_in(r, k));
    }
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    draft_emit(&f, y);
    for (int k = 0; k < i->nout; k++) {
        Val state = lanes_state(marks_out(r, k), to);
        int j = region_npred(r) + r->ncap + k;
        state.ref = y[k];
        s->val[i->out + (Ref)k] =
            k < r->nacc && apart(s, r, i, j, &state) ? added(s, i, i->in[j], state) : state;
    }
}

/* ==================== regions without */

Sharder sharded_inside(const Sharder *s, const Graph *g)
{
    Sharder in = { s->mesh, g, NEWS(Val, g->nval), NEWS(int, g->nval), s->lanes, s->moves };
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            in.uses[g->ins[n]->in[k]]++;
    for (int k = 0; k < g->nout; k++)
        in.uses[g->out[k]]++;
    return in;
}

/* A body over shares. in: states; want: those of the results, NULL: as they come. out: as they came. */
static Graph *body(
    const Sharder *s, const Graph *g, const Val *in, const Val *want, const bool *fixed, Val *out)
{
    Sharder b = sharded_inside(s, g);
    Ref *y = NEWS(Ref, g->nout);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++) {
        Type t = mesh_share(s->mesh, &in[k].at, &g->type[g->in[k]]);
        b.val[g->in[k]] = in[k];
        b.val[g->in[k]].ref = graph_input(t, g->flag[g->in[k]] & V_ACC);
    }
    sharded_all(&b);
    for (int k = 0; k < g->nout && !error_pending() && !*s->lanes; k++) {
        Val *v = &b.val[g->out[k]];
        if (!graph_acc(cur(), v->ref))
            val_take_sums(&b, g->out[k], ~0u, NULL);
        out[k] = *v;
        bool moves = fixed[k] && !graph_acc(cur(), v->ref);
        y[k] = moves ? val_moved(&b, NULL, g->out[k], *v, &want[k].at) : v->ref;
    }
    graph_outputs(y, g->nout);
    return graph_end();
}

/* States of what goes round a region while they are found: of the inputs of its bodies, and of their
 * results. held: which are not to be dealt out along an axis of the mesh, since that has failed. */
typedef struct Trip { int nin, nout; Val *in, *out; uint8_t *held; bool *fixed; Graph **sub; } Trip;

/* What comes round in another state than it went in: taken over if that is to deal out more; else it is
 * whole from now on. */
static bool adopt(Val *in, const Val *out, uint8_t *held, bool acc)
{
    Val was = *in;
    if (acc) {
        in->at = out->at, in->sum = out->sum;
        return !val_equal(&was, in);
    }
    for (int m = 0; m < MESH_AXES; m++) {
        if (in->at.over[m] == out->at.over[m] || *held & 1u << m)
            continue;
        if (in->at.over[m] >= 0)
            *held |= (uint8_t)(1u << m), in->at.over[m] = -1;
        else
            in->at.over[m] = out->at.over[m];
        *held |= was.at.over[m] < 0 ? (uint8_t)(1u << m) : 0;   /* one attempt */
    }
    return !val_equal(&was, in);
}

/* Branches give their results in one state: whole where they differ. */
static bool agree(Val *all, const Val *one)
{
    bool differs = false;
    for (int m = 0; m < MESH_AXES; m++)
        if (all->at.over[m] != one->at.over[m])
            all->at.over[m] = -1, differs = true;
    return differs;
}

static void first_states(Sharder *s, const Ins *i, Trip *t)
{
    const Region *r = i->region;
    int np = region_npred(r);
    for (int j = 0; j < t->nin; j++) {
        Val *v = &s->val[i->in[np + j]];
        char group = region_group(r, np + j);
        if (group != 'a')
            val_take_sums(s, i->in[np + j], ~0u, NULL);
        t->in[j] = *v;
        if (group == 'a' && !graph_acc(cur(), v->ref))
            t->in[j].sum = 0;
        for (int m = 0; m < MESH_AXES && group == 'x'; m++)
            t->in[j].at.over[m] = v->at.over[m] > 0 ? (int8_t)(v->at.over[m] - 1) : -1;
    }
}

/* All bodies once. False: again. */
static bool round_once(Sharder *s, const Ins *i, Trip *t, bool last)
{
    const Region *r = i->region;
    int nloop = region_nloop(r);
    bool stable = true;
    Val *out = NEWS(Val, t->nout + 1), one = { .at = dealt_whole };
    for (int b = 0; b < i->nsub && !error_pending() && !*s->lanes; b++) {
        bool test = r->kind == WHILE && !b, yes = true;
        if (test) {
            t->sub[b] = body(s, i->sub[b], t->in, &one, &yes, out);
            continue;
        }
        t->sub[b] = body(s, i->sub[b], t->in, t->out, t->fixed, out);
        for (int k = 0; k < t->nout; k++)
            if (k < r->nacc || (k < nloop && (r->kind == SCAN || r->kind == WHILE))) {
                bool changed = adopt(&t->in[r->ncap + k], &out[k], &t->held[k], k < r->nacc);
                stable = stable && !changed;
                t->out[k] = t->in[r->ncap + k];
            } else if (r->kind == COND && t->fixed[k]) {
                stable = !agree(&t->out[k], &out[k]) && stable;
            } else {
                t->out[k] = out[k], t->fixed[k] = r->kind == COND;
            }
    }
    return stable || last;
}

static void inner_region(Sharder *s, const Ins *i)
{
    const Region *r = i->region;
    int np = region_npred(r);
    Trip t = { .nin = i->nin - np, .nout = i->nout };
    t.in = NEWS(Val, t.nin), t.out = NEWS(Val, t.nout), t.held = NEWS(uint8_t, t.nout),
    t.fixed = NEWS(bool, t.nout);
    t.sub = NEWS(Graph *, i->nsub);
    first_states(s, i, &t);
    for (int k = 0; k < region_nloop(r); k++)
        t.out[k] = t.in[r->ncap + k], t.fixed[k] = true;
    Moves before = *s->moves;
    for (int k = 0, done = 0; !done && !error_pending() && !*s->lanes; k++) {
        size_t n = before.text ? before.text->n : 0;
        s->moves->sums = before.sums, s->moves->gathers = before.gathers,
        s->moves->exchanges = before.exchanges;
        if (before.text)
            before.text->n = n;
        done = round_once(s, i, &t, k > 12);
    }
    if (error_pending() || *s->lanes)
        return;
    Draft f = draft_like(r, i->nin, i->nsub);
    Ref *y = NEWS(Ref, i->nout);
    for (int k = 0; k < i->nin; k++) {
        Val want = k < np ? (Val){ .at = dealt_whole } : t.in[k - np];
        if (region_group(r, k) == 'x')
            want.at = shifted(&want.at, 1);
        draft_operand(&f, val_part(s, i, i->in[k], &want), NULL);
    }
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = t.sub[k];
    draft_emit(&f, y);
    for (int k = 0; k < i->nout; k++) {
        Val v = { y[k], r->kind == SCAN && k >= region_nloop(r) ? shifted(&t.out[k].at, 1) : t.out[k].at,
            t.out[k].sum };
        s->val[i->out + (Ref)k] = v;
    }
}

static void as_it_is(Sharder *s, const Ins *i)
{
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nout);
    for (int k = 0; k < i->nin; k++)
        x[k] = s->val[i->in[k]].ref;
    again(i, x, y);
    for (int k = 0; k < i->nout; k++)
        s->val[i->out + (Ref)k] = (Val){ y[k], dealt_whole, 0 };
}

void sharded_region(Sharder *s, const Ins *i)
{
    bool plain = true, inside = false;
    for (int k = 0; k < i->nin; k++)
        plain = plain && val_is_whole(&s->val[i->in[k]]);
    for (int k = 0; k < i->nsub; k++)
        inside = inside || graph_constrains(i->sub[k]);
    if (inside && i->region->nlane)
        *s->lanes = true;
    else if (plain && !inside)
        as_it_is(s, i);
    else if (i->region->nlane)
        lanes_region(s, i);
    else
        inner_region(s, i);
}
