/*
 * elem.c - the element rule of every op: which elements of which operands an element needs.
 *
 * In:  an instruction and an index (a form for each dimension of the result).
 * Out: demands: operands and their indices. Views give one: they are index arithmetic. Reductions and
 * products
 *      introduce the variables that they run over.
 * Invariant: a reduction's variables are named by what they are (extents, position, depth), never by who
 * asks. So the same element demanded by two loops has the same name; that is how rows and sharing are found,
 * with no canonicalising pass.
 */
#include "demand.h"

#include <string.h>

#define POSITIONAL  64                          /* instructions that are looked through for a position */

/* ==================== variables by name */

typedef struct Named {
    const char *kind;
    int depth, n;
    const int64_t *extent;
    const Atom *const *vars;
    struct Named *next;
} Named;

#define NAMED 256                               /* chains of the table */
static _Thread_local struct { const Atom *step; Named *chain[NAMED]; } named;

void elem_open(void)
{
    memset(&named, 0, sizeof named);
    named.step = STEP;
}

const Atom *const *elem_space(const char *kind, const int64_t *extent, int n, int depth)
{
    if (named.step != STEP)
        elem_open();
    size_t bytes = sizeof *extent * (size_t)n;
    uint64_t h = hash_bytes(extent, bytes, hash_bytes(kind, strlen(kind), (uint64_t)depth)) % NAMED;
    for (Named *e = named.chain[h]; e; e = e->next)
        if (e->n == n && e->depth == depth && !strcmp(e->kind, kind) && !memcmp(e->extent, extent, bytes))
            return e->vars;
    const Atom **v = NEWS(const Atom *, n);
    for (int p = 0; p < n; p++)
        v[p] = atom_var(arena_text("%s%d_%d_%lld", kind, depth, p, (long long)extent[p]), extent[p], depth);
    Named *e = NEW(Named);
    *e = (Named){ kind, depth, n, arena_copy(extent, bytes), v, named.chain[h] };
    return (named.chain[h] = e)->vars;
}

const AtomSet *idx_deps(const Form *idx, int n)
{
    const AtomSet *s = form_deps(form_c(0));
    for (int k = 0; k < n; k++)
        s = set_join(s, form_deps(idx[k]));
    return s;
}

bool idx_equal(const Form *a, const Form *b, int n)
{
    for (int k = 0; k < n; k++)
        if (a[k] != b[k])
            return false;
    return true;
}

static void collect(Form f, const Atom ***list, int *n, int *cap)
{
    for (int k = 0; k < f->n; k++) {
        const Atom *a = f->t[k].a;
        if (a->kind == A_ELEM)
            PUSH(*list, *n, *cap, a);
        else if (a->kind != A_VAR && a->kind != A_VAL)
            collect(a->f, list, n, cap);
    }
}

int elems_of(const Form *idx, int n, const Atom ***out)
{
    int m = 0, cap = 0;
    *out = NULL;
    for (int k = 0; k < n; k++)
        collect(idx[k], out, &m, &cap);
    return m;
}

int elem_depth(const Form *idx, int n)
{
    const AtomSet *s = idx_deps(idx, n);
    int d = 0;
    for (int k = 0; k < s->n; k++)
        d = s->a[k]->depth > d ? s->a[k]->depth : d;
    return d;
}

/* ==================== costs */

/* Is v an integer that depends on the position alone? Then what it leads to is a view. */
static bool by_position(const Graph *g, Ref v, int *budget)
{
    const Ins *i = g->def[v];
    if (!i || !dtype_int((Dtype)g->type[v].dt) || --*budget < 0)
        return false;
    switch (i->op) {
    case OP_const: case OP_iota:
        return true;
    case OP_add: case OP_sub: case OP_mul: case OP_concat: case OP_convert:
        break;
    default:
        if (!op_views(i->op) || i->op == OP_barrier)
            return false;
    }
    for (int k = 0; k < i->nin; k++)
        if (!by_position(g, i->in[k], budget))
            return false;
    return true;
}

double elem_cost(const Graph *g, const Ins *i)
{
    int budget = POSITIONAL;
    if (i->op == OP_dynamic_slice && by_position(g, i->in[1], &budget))
        return 0;
    if (optab[i->op].element != IS_SUM)
        return optab[i->op].cost;
    double k = 1;
    int n;
    const int64_t *axes = ins_attr(i, ATTR(reduce_sum, axes), &n);
    for (int d = 0; d < n; d++)
        k *= (double)g->type[i->in[0]].dim[axes[d]];
    return 2 * k;
}

/* ==================== rules */

static bool in_list(const int64_t *v, int n, int64_t x, int *at)
{
    for (int k = 0; k < n; k++)
        if (v[k] == x) {
            if (at)
                *at = k;
            return true;
        }
    return false;
}

/* At the same index. */
static Demand plain(Ref v, const Form *idx, int n) { return (Demand){ .v = v, .idx = idx, .n = n }; }

/* The same with an index of its own, in *at, which the caller may change; room for one more. */
static Demand moved(Ref v, const Form *idx, int n, Form **at)
{
    *at = NEWS(Form, n + 1);
    memcpy(*at, idx, sizeof *idx * (size_t)n);
    return plain(v, *at, n);
}

static Demand blank(Ref v, int n, Form **at)
{
    *at = NEWS(Form, n + 1);
    return plain(v, *at, n);
}

static bool fits_dtype(Form f, Dtype dt)
{
    int64_t lo, hi;
    int bits = 8 * (int)dtype_size(dt) - dtype_signed(dt);
    form_range(f, &lo, &hi);
    return lo >= (dtype_signed(dt) ? -(1ll << (bits < 62 ? bits : 62)) : 0) &&
        hi < 1ll << (bits < 62 ? bits : 62);
}

/* The same as a form (by_position has said that it can be), or NULL: products of positions, what may wrap,
 * parts not told apart. */
static Form positional(const Graph *g, Ref v, const Form *idx)
{
    const Ins *i = g->def[v];
    Form f = NULL, x, y;
    Demand *d;
    switch (i->op) {
    case OP_const:
        f = form_c(ins_int(i, ATTR(const, bits)));
        break;
    case OP_iota:
        f = idx[ins_int(i, ATTR(iota, axis))];
        break;
    case OP_add: case OP_sub: case OP_mul:
        if ((x = positional(g, i->in[0], idx)) == NULL || (y = positional(g, i->in[1], idx)) == NULL)
            return NULL;
        if (i->op == OP_mul && !form_const(x) && !form_const(y))
            return NULL;
        f = i->op == OP_mul ? form_const(x) ? form_mul(y, x->c) : form_mul(x, y->c)
                            : form_add(x, i->op == OP_sub ? form_mul(y, -1) : y);
        break;
    default:
        if (elem_rule(g, i, 0, idx, &d) != 1)
            return NULL;
        f = positional(g, d[0].v, d[0].idx);
    }
    return f && fits_dtype(f, (Dtype)g->type[v].dt) ? f : NULL;
}

/* Start of dimension d of a slice, from component k of the index vectors at idx[0..n): brought into 0 ..
 * room. */
static Form start_of(const Graph *g, Ref starts, const Form *idx, int n, int k, int64_t room)
{
    if (room <= 0)
        return form_c(0);
    Form at[MAXRANK + 1];
    memcpy(at, idx, sizeof *at * (size_t)n);
    at[n] = form_c(k);
    int budget = POSITIONAL;
    Form f = by_position(g, starts, &budget) ? positional(g, starts, at) : NULL;
    if (f)
        return form_clamp(f, room + 1);
    return form_a(atom_elem(g, starts, at, n + 1, 0, room));
}

static int rule_concat(const Graph *g, const Ins *i, const Form *idx, Demand *out)
{
    int64_t axis = ins_int(i, ATTR(concat, axis)), at = 0, lo, hi;
    int n = 0, rank = g->type[i->out].rank;
    Form *own;
    for (int k = 0; k < i->nin; k++) {
        int64_t size = g->type[i->in[k]].dim[axis];
        Form f = form_addc(idx[axis], -at);
        form_range(f, &lo, &hi);
        if (hi >= 0 && lo < size) {
            out[n] = moved(i->in[k], idx, rank, &own);
            own[axis] = form_within(f, size);
            out[n++].at = at;
        }
        at += size;
    }
    return n;
}

static Demand rule_pad(const Graph *g, const Ins *i, const Form *idx)
{
    const Type *t = &g->type[i->in[0]];
    const int64_t *lo = ins_attr(i, ATTR(pad, lo), NULL), *interior = ins_attr(i, ATTR(pad, interior), NULL);
    Form *at;
    Demand d = blank(i->in[0], t->rank, &at);
    for (int k = 0; k < t->rank; k++)
        at[k] = form_within(form_div(form_addc(idx[k], -lo[k]), interior[k] + 1), t->dim[k]);
    return d;
}

static Demand rule_dynamic_slice(const Graph *g, const Ins *i, const Form *idx)
{
    const Type *t = &g->type[i->in[0]];
    int nb = g->type[i->in[1]].rank - 1, nx, ns;
    const int64_t *size = ins_attr(i, ATTR(dynamic_slice, sizes), &ns),
                  *xb = ins_attr(i, ATTR(dynamic_slice, xb), &nx);
    Form *at;
    Demand d = blank(i->in[0], t->rank, &at);
    int n = 0;
    for (int k = 0; k < nb; k++)
        if (k < nx && xb[k])
            at[n++] = idx[k];
    for (int k = 0, lead = n; k < ns; k++)
        at[n++] = form_add(idx[nb + k], start_of(g, i->in[1], idx, nb, k, t->dim[lead + k] - size[k]));
    return d;
}

/* x at the index; u at the index less the start, within it: whoever evaluates it selects by a test. A start
 * that no index of u holds, since u has one element there, is asked for by itself. */
static int rule_update(const Graph *g, const Ins *i, const Form *idx, Demand *out)
{
    const Type *t = &g->type[i->in[0]], *u = &g->type[i->in[1]];
    int nb = g->type[i->in[2]].rank - 1, n = 2;
    Form *own, *first;
    out[0] = plain(i->in[0], idx, t->rank);
    out[1] = moved(i->in[1], idx, u->rank, &own);
    for (int k = nb; k < u->rank; k++) {
        Form start = start_of(g, i->in[2], idx, nb, k - nb, t->dim[k] - u->dim[k]);
        own[k] = form_within(form_add(idx[k], form_mul(start, -1)), u->dim[k]);
        if (u->dim[k] == 1 && t->dim[k] > 1) {
            out[n] = moved(i->in[2], idx, nb, &first);
            first[nb] = form_c(k - nb), out[n++].n = nb + 1;
        }
    }
    return n;
}

static Demand rule_gather(const Graph *g, const Ins *i, const Form *idx)
{
    const Type *t = &g->type[i->in[0]], *r = &g->type[i->out];
    int no, nc, nm, nb, k;
    const int64_t *offset = ins_attr(i, ATTR(gather, offset_dims), &no),
                  *collapsed = ins_attr(i, ATTR(gather, collapsed), &nc),
                  *map = ins_attr(i, ATTR(gather, start_map), &nm);
    const int64_t *xb = ins_attr(i, ATTR(gather, x_batch), &nb),
                  *ib = ins_attr(i, ATTR(gather, indices_batch), NULL),
                  *size = ins_attr(i, ATTR(gather, sizes), NULL);
    Form batch[MAXRANK];
    int n = 0, j = 0;
    for (int d = 0; d < r->rank; d++)
        if (!in_list(offset, no, d, NULL))
            batch[n++] = idx[d];
    Form *at;
    Demand out = blank(i->in[0], t->rank, &at);
    for (int d = 0; d < t->rank; d++) {
        if (in_list(xb, nb, d, &k)) {
            at[d] = batch[ib[k]];
            continue;
        }
        Form f = in_list(collapsed, nc, d, NULL) ? form_c(0) : idx[offset[j++]];
        if (in_list(map, nm, d, &k))
            f = form_add(f, start_of(g, i->in[1], batch, n, k, t->dim[d] - size[d]));
        at[d] = f;
    }
    return out;
}

static Demand rule_view(const Graph *g, const Ins *i, int k, const Form *idx)
{
    const Type *t = &g->type[i->in[i->op == OP_barrier ? k : 0]];
    if (i->op == OP_barrier || i->op == OP_stop_gradient)
        return plain(i->in[i->op == OP_barrier ? k : 0], idx, t->rank);
    Form *at;
    Demand d = blank(i->in[0], t->rank, &at);
    const int64_t *a, *step;
    int n;
    switch (i->op) {
    case OP_broadcast:
        a = ins_attr(i, ATTR(broadcast, dims), NULL);
        for (int j = 0; j < t->rank; j++)
            at[j] = t->dim[j] == 1 ? form_c(0) : idx[a[j]];
        return d;
    case OP_reshape:
        form_reindex(idx, g->type[i->out].dim, g->type[i->out].rank, t->dim, t->rank, at);
        return d;
    case OP_transpose:
        a = ins_attr(i, ATTR(transpose, perm), NULL);
        for (int j = 0; j < t->rank; j++)
            at[a[j]] = idx[j];
        return d;
    case OP_slice:
        a = ins_attr(i, ATTR(slice, start), NULL), step = ins_attr(i, ATTR(slice, step), NULL);
        for (int j = 0; j < t->rank; j++)
            at[j] = form_addc(form_mul(idx[j], step[j]), a[j]);
        return d;
    case OP_reverse:
        a = ins_attr(i, ATTR(reverse, axes), &n);
        for (int j = 0; j < t->rank; j++)
            at[j] = in_list(a, n, j, NULL) ? form_addc(form_mul(idx[j], -1), t->dim[j] - 1) : idx[j];
        return d;
    case OP_diagonal: {
        int64_t axis = ins_int(i, ATTR(diagonal, axis)), along = ins_int(i, ATTR(diagonal, along));
        int64_t by = ins_int(i, ATTR(diagonal, offset));
        Form k = idx[t->rank - 2];
        for (int j = 0, o = 0; j < t->rank; j++)
            at[j] = j == axis ? form_addc(k, by < 0 ? -by : 0) :
                j == along    ? form_addc(k, by > 0 ? by : 0) :
                                idx[o++];
        return d;
    }
    case OP_shear: {
        int64_t axis = ins_int(i, ATTR(shear, axis)), along = ins_int(i, ATTR(shear, along));
        int64_t by = ins_int(i, ATTR(shear, step));
        memcpy(at, idx, sizeof *idx * t->rank);
        at[axis] = form_add(idx[axis], form_mul(idx[along], by));
        if (by < 0)
            at[axis] = form_addc(at[axis], t->dim[axis] - g->type[i->out].dim[axis]);
        return d;
    }
    default: return plain(i->in[0], idx, t->rank);
    }
}

int elem_rule(const Graph *g, const Ins *i, int k, const Form *idx, Demand **out)
{
    if (i->op == OP_const || i->op == OP_data || i->op == OP_iota || optab[i->op].element == IS_OWN ||
        optab[i->op].element == IS_SUM)
        return *out = NULL, 0;
    bool update = i->op == OP_dynamic_update || i->op == OP_accum_slice;   /* starts may be asked for, too */
    Demand *d = *out = NEWS(Demand, i->nin > 2 ? i->nin + (update ? MAXRANK : 0) : 2);
    if (op_views(i->op)) {
        d[0] = rule_view(g, i, k, idx);
        return 1;
    }
    switch (i->op) {
    case OP_concat:
        return rule_concat(g, i, idx, d);
    case OP_pad:
        d[0] = rule_pad(g, i, idx);
        d[1] = plain(i->in[1], idx, 0);
        return 2;
    case OP_dynamic_slice:
        d[0] = rule_dynamic_slice(g, i, idx);
        return 1;
    case OP_dynamic_update: case OP_accum_slice:
        return rule_update(g, i, idx, d);
    case OP_gather:
        d[0] = rule_gather(g, i, idx);
        return 1;
    default:                                    /* elementwise; an operand of rank 0 serves every element */
        for (int j = 0; j < i->nin; j++)
            d[j] = plain(i->in[j], idx, g->type[i->in[j]].rank);
        return i->nin;
    }
}

/* One factor's element: contracted axes run, batch axes are given first, then the free ones in order. */
static Demand side(
    const Graph *g, const Ins *i, bool right, const Atom *const *ks, const Form *idx, int *free_at)
{
    const Type *t = &g->type[i->in[right]];
    Form *at;
    Demand d = blank(i->in[right], t->rank, &at);
    int nc, nb, k;
    const int64_t *c = ins_attr(i, right ? ATTR(dot, rhs_contract) : ATTR(dot, lhs_contract), &nc);
    const int64_t *b = ins_attr(i, right ? ATTR(dot, rhs_batch) : ATTR(dot, lhs_batch), &nb);
    for (int a = 0; a < t->rank; a++) {
        at[a] = in_list(b, nb, a, &k) ? idx[k] :
            in_list(c, nc, a, &k)        ? form_a(ks[k]) :
                                           idx[(*free_at)++];
    }
    return d;
}

int elem_reduce(
    const Graph *g, const Ins *i, const Form *idx, const Atom *const **ks, int *nk, Demand out[2])
{
    const Type *t = &g->type[i->in[0]];
    int depth = 1 + elem_depth(idx, g->type[i->out].rank), n;
    int64_t extent[MAXRANK];
    const int64_t *axes =
        ins_attr(i, i->op == OP_dot ? ATTR(dot, lhs_contract) : ATTR(reduce_sum, axes), &n);
    if (i->op == OP_dot) {
        int at;
        for (int k = 0; k < n; k++)
            extent[k] = t->dim[axes[k]];
        *ks = elem_space("k", extent, *nk = n, depth);
        ins_attr(i, ATTR(dot, lhs_batch), &at);
        out[0] = side(g, i, false, *ks, idx, &at);
        out[1] = side(g, i, true, *ks, idx, &at);
        return 2;
    }
    *nk = 0;
    for (int d = 0; d < t->rank; d++)
        if (in_list(axes, n, d, NULL))
            extent[(*nk)++] = t->dim[d];
    *ks = elem_space("k", extent, *nk, depth);
    Form *own;
    out[0] = blank(i->in[0], t->rank, &own);
    for (int d = 0, r = 0, s = 0; d < t->rank; d++)
        own[d] = in_list(axes, n, d, NULL) ? form_a((*ks)[r++]) : idx[s++];
    return 1;
}

int demands_of(const Graph *g, Ref v, const Form *idx, Demand **out, const Atom *const **ks, int *nk)
{
    const Ins *i = g->def[v];
    *nk = 0;
    *ks = NULL;
    if (!i)
        return *out = NULL, 0;
    if (optab[i->op].element == IS_SUM) {
        *out = NEWS(Demand, 2);
        return elem_reduce(g, i, idx, ks, nk, *out);
    }
    return elem_rule(g, i, (int)(v - i->out), idx, out);
}
