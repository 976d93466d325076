/*
 * check.c - the verifier, and equality of graphs.
 *
 * In: any graph. Out: 0, or the error of the first instruction that breaks a rule:
 *     operands precede users; attributes follow the schema; types are those that the op's rule infers;
 *     an accumulator is only added to, and used once; regions and their bodies likewise (region_check).
 */
#include "graph.h"

#include <string.h>

static int bad(const Graph *g, const Ins *i, const char *what)
{
    return error_set(E_INTERNAL, "graph %s: instruction v%u (%s) %s", g->name ? g->name : "without a name",
        i->out, i->op < OP_COUNT ? optab[i->op].name : "?", what);
}

/* How many lists a schema asks for. */
static int schema_words(const AttrWord *w)
{
    int n = 0;
    while (w[n].word)
        n++;
    return n;
}

static int check_form(const Graph *g, const Ins *i)
{
    if (i->op == OP_NONE || i->op >= OP_COUNT)
        return bad(g, i, "is of no operation");
    const OpRow *row = &optab[i->op];
    if (row->nin >= 0 && i->nin != row->nin)
        return bad(g, i, "has another number of operands");
    if (i->op != OP_region && i->nout != op_results((Op)i->op, i->nin, i->attr, i->nattr))
        return bad(g, i, "has another number of results");
    int words = 0, at = 0;
    for (; at < i->nattr && i->attr[at] >= 0 && i->attr[at] < i->nattr - at; words++)
        at += 1 + (int)i->attr[at];
    if (at != i->nattr || words != schema_words(row->attrs))
        return bad(g, i, "has attributes that do not follow its schema");
    if (i->out < 1 || i->out + i->nout > (Ref)g->nval)
        return bad(g, i, "gives values that the graph does not have");
    return 0;
}

static bool may_accumulate(const Ins *i, int k)
{
    if (i->op == OP_region)
        return region_group(i->region, k) == 'a';
    return k == 0 && (i->op == OP_accum || i->op == OP_accum_slice || i->op == OP_scatter);
}

static int check_operands(const Graph *g, const Ins *i, const bool *known, int *used)
{
    for (int k = 0; k < i->nin; k++) {
        Ref v = i->in[k];
        if (!v || v >= (Ref)g->nval || !known[v])
            return bad(g, i, "reads a value that is not defined before it");
        used[v]++;
        if (graph_acc(g, v) && !may_accumulate(i, k))
            return bad(g, i, "reads an accumulator");
    }
    return 0;
}

static int check_types(const Graph *g, const Ins *i)
{
    const Type **t = NEWS(const Type *, i->nin);
    Type *u = NEWS(Type, i->nout);
    for (int k = 0; k < i->nin; k++)
        t[k] = &g->type[i->in[k]];
    int err = op_infer((Op)i->op, i->nin, t, i->attr, i->nattr, u);
    for (int k = 0; !err && k < i->nout; k++)
        if (!type_equal(&u[k], &g->type[i->out + (Ref)k]))
            err = bad(g, i, arena_text("is %s and should be %s", type_text(&g->type[i->out + (Ref)k]),
                                       type_text(&u[k])));
    if (!err && i->op == OP_data && i->nblob != type_bytes(&u[0]))
        err = bad(g, i, "has another number of bytes than its type");
    return err;
}

static int check_ins(const Graph *g, const Ins *i, bool *known, int *used)
{
    int err = check_form(g, i);
    if (!err && i->op == OP_region && !i->region)
        err = bad(g, i, "has no region");
    if (!err)
        err = check_operands(g, i, known, used);
    for (int k = 0; !err && k < i->nout; k++) {
        if (known[i->out + (Ref)k])
            err = bad(g, i, "defines a value again");
        known[i->out + (Ref)k] = true;
    }
    if (!err)
        err = i->op == OP_region ? region_check(i, g) : check_types(g, i);
    return err;
}

int graph_check(const Graph *g)
{
    bool *known = NEWS(bool, g->nval);
    int *used = NEWS(int, g->nval), err = 0;
    for (int k = 0; k < g->nin; k++)
        known[g->in[k]] = true;
    if (g->ncap < 0 || g->ncap > g->nin)
        return error_set(E_INTERNAL, "graph: %d captures of %d inputs", g->ncap, g->nin);
    Loc before = loc_here();
    for (int n = 0; !err && n < g->nins; n++) {
        loc_set(g->ins[n]->loc.file ? g->ins[n]->loc : before);
        err = check_ins(g, g->ins[n], known, used);
    }
    loc_set(before);
    for (int k = 0; !err && k < g->nout; k++) {
        if (!g->out[k] || g->out[k] >= (Ref)g->nval || !known[g->out[k]])
            return error_set(E_INTERNAL, "graph: output %d is not defined", k);
        used[g->out[k]]++;
    }
    for (int v = 1; !err && v < g->nval; v++)
        if (graph_acc(g, (Ref)v) && used[v] > 1)
            err = error_set(E_INTERNAL, "graph: accumulator v%d is used %d times", v, used[v]);
    return err;
}

/* ==================== equality: inputs by position, results by order; places in the source do not count */

static bool same_lanes(const Region *a, const Region *b)
{
    for (int k = 0; k < a->nlane; k++) {
        const Lane *p = &a->lane[k], *q = &b->lane[k];
        if (p->size != q->size || !p->name != !q->name || !p->place != !q->place
            || (p->name && strcmp(p->name, q->name)) || (p->place && strcmp(p->place, q->place)))
            return false;
    }
    return true;
}

/* Rules are code: calls of two functions that are called alike are alike. */
static bool same_rule(const Rule *a, const Rule *b)
{
    return a == b || (a && b && a->kind == b->kind && a->nclosed == b->nclosed && !strcmp(a->name, b->name));
}

static bool same_region(const Ins *i, const Ins *j)
{
    const Region *a = i->region, *b = j->region;
    size_t nim = (size_t)i->nin * (size_t)a->nlane, nom = (size_t)i->nout * (size_t)a->nlane;
    if (a->kind != b->kind || a->reverse != b->reverse || a->remat != b->remat || a->split != b->split ||
        a->ncap != b->ncap || a->nacc != b->nacc || a->ncarry != b->ncarry || a->nlane != b->nlane ||
        !same_rule(a->rule, b->rule) || i->nsub != j->nsub || (a->kind == SCAN && a->length != b->length) ||
        !same_lanes(a, b) || (nim && memcmp(a->im, b->im, nim)) || (nom && memcmp(a->om, b->om, nom)))
        return false;
    for (int k = 0; k < i->nsub; k++)
        if (!graph_equal(i->sub[k], j->sub[k]))
            return false;
    return true;
}

static bool same_value(const Graph *g, Ref v, const Graph *h, Ref u)
{
    return g->flag[v] == h->flag[u] && type_equal(&g->type[v], &h->type[u]);
}

static bool same_ins(const Graph *g, const Ins *i, const Graph *h, const Ins *j, Ref *m)
{
    if (i->op != j->op || i->nin != j->nin || i->nout != j->nout || i->nattr != j->nattr ||
        i->nblob != j->nblob || (i->nattr && memcmp(i->attr, j->attr, (size_t)i->nattr * sizeof *i->attr)) ||
        (i->nblob && memcmp(i->blob, j->blob, i->nblob)))
        return false;
    for (int k = 0; k < i->nin; k++)
        if (m[i->in[k]] != j->in[k])
            return false;
    for (int k = 0; k < i->nout; k++) {
        if (!same_value(g, i->out + (Ref)k, h, j->out + (Ref)k))
            return false;
        m[i->out + (Ref)k] = j->out + (Ref)k;
    }
    return i->op != OP_region || same_region(i, j);
}

bool graph_equal(const Graph *g, const Graph *h)
{
    if (g == h)
        return true;
    if (g->nin != h->nin || g->nout != h->nout || g->ncap != h->ncap || g->nins != h->nins ||
        g->linear != h->linear)
        return false;
    Ref *m = NEWS(Ref, g->nval);
    for (int k = 0; k < g->nin; k++) {
        if (!same_value(g, g->in[k], h, h->in[k]))
            return false;
        m[g->in[k]] = h->in[k];
    }
    for (int n = 0; n < g->nins; n++)
        if (!same_ins(g, g->ins[n], h, h->ins[n], m))
            return false;
    for (int k = 0; k < g->nout; k++)
        if (m[g->out[k]] != h->out[k])
            return false;
    return true;
}
