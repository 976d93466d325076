/*
 * scan.c - scan and map: a function applied to one slice after another.
 *
 * In: functions, and symbols for carry and slices. Out: one region instruction, its results as trees; or
 * several, where the steps are cut into pieces. A piece is a graph that takes its own slices: its steps
 * written out one after the other (unroll), a loop, or a loop that is a checkpoint (segments). The steps and
 * what they compute are the same, so the bits are.
 */
#include "control.h"

/* ==================== pieces */

/* A scan of body: (captures, carry, x) -> (carry, y), on nin operands. r->length is said by whoever runs
 * steps of it. */
typedef struct Steps { const Region *r; int nin; Graph *body; int64_t unroll; } Steps;
enum { WRITE_OUT_MAX = 1 << 20 };
typedef enum PieceKind { WRITTEN_OUT, LOOP, CHECKPOINT } PieceKind;

static bool is_x(const Steps *s, int operand) { return region_group(s->r, operand) == 'x'; }

static Ref row_of(Ref x, int64_t at)
{
    Type t = type_drop_lead(typ(x), 1);
    return Reshape(SliceAxis(x, 0, at, at + 1), type_shape(&t));
}

/* A slice of one step inside pieces, where arrays have an axis more: one long axis where there is no room
 * for that. */
static Type packed(const Type *row)
{
    Type flat = { .dt = row->dt, .rank = 1, .dim = { type_size(row) } };
    return row->rank + 2 > MAXRANK ? flat : *row;
}

/* The same elements as so many pieces of so many slices; one piece has no axis of its own. */
static Ref as_pieces(Ref x, const Type *row, int64_t pieces, int64_t length)
{
    Type t = type_add_lead(row, length);
    if (pieces > 1)
        t = type_add_lead(&t, pieces);
    return x ? Reshape(x, type_shape(&t)) : 0;
}

static Type x_row(const Steps *s, int operand) { return s->body->type[s->body->in[operand]]; }
static Type y_row(const Steps *s, int result) { return s->body->type[s->body->out[result]]; }

/* n steps, one after the other. */
static void write_out(const Steps *s, int64_t n, Ref *in, Ref *out)
{
    int first = s->r->ncap, nc = s->r->ncarry, nout = s->body->nout;
    Ref *x = arena_copy(in, (size_t)s->nin * sizeof *in), *y = NEWS(Ref, nout);
    Ref *ys = arena_try((size_t)n * (size_t)(nout - nc) * sizeof *ys + 1);
    for (int64_t t = 0; ys && t < n && !error_pending(); t++) {
        int64_t at = s->r->reverse ? n - 1 - t : t;
        for (int j = 0; j < s->nin; j++)
            x[j] = is_x(s, j) ? row_of(in[j], at) : x[j];
        graph_inline(s->body, x, y);
        for (int k = 0; k < nc; k++)
            x[first + k] = y[k];
        for (int k = nc; k < nout; k++)
            ys[(k - nc) * n + at] = BroadcastLead(y[k], 1);
    }
    for (int k = 0; k < nout && !error_pending(); k++)
        out[k] = k < nc ? x[first + k] : n == 1 ? ys[k - nc] : Concat(ys + (k - nc) * n, (int)n, 0);
}

static void run_steps(const Steps *s, int64_t n, Ref *in, Ref *out);

/* (captures, carry, xs of a piece) -> (carry, ys): so many steps. */
static Graph *piece_of(const Steps *s, int64_t length, PieceKind kind)
{
    Graph *loop = kind == CHECKPOINT ? piece_of(s, length, LOOP) : NULL;
    Region call = region_plain(CALL, s->nin, 0, 0);
    Ref *in = NEWS(Ref, s->nin), *out = NEWS(Ref, s->body->nout);
    call.remat = true;
    graph_begin(graph_new());
    for (int j = 0; j < s->nin; j++) {
        Type t = x_row(s, j), p = packed(&t);
        in[j] = graph_input(is_x(s, j) ? type_add_lead(&p, length) : t, 0);
        if (is_x(s, j) && kind != CHECKPOINT)
            in[j] = as_pieces(in[j], &t, 1, length);
    }
    if (kind == CHECKPOINT)
        emit_region(&call, s->nin, in, 1, &loop, out);
    else
        (kind == LOOP ? run_steps : write_out)(s, length, in, out);
    for (int k = s->r->ncarry; k < s->body->nout && kind != CHECKPOINT; k++) {
        Type t = y_row(s, k), p = packed(&t);
        out[k] = as_pieces(out[k], &p, 1, length);
    }
    graph_outputs(out, s->body->nout);
    return graph_end();
}

/* Steps from .. to in so many pieces of one length. */
typedef struct Pieces { int64_t from, to, n; PieceKind kind; } Pieces;

/* The carry of `in` moves on. */
static void run_pieces(const Steps *s, const Pieces *p, Ref *in, Ref *out)
{
    Ref *part = NEWS(Ref, s->nin);
    int64_t length = (p->to - p->from) / p->n;
    Graph *piece = piece_of(s, length, p->kind);
    Region over = *s->r;
    for (int j = 0; j < s->nin; j++) {
        Type t = x_row(s, j), row = packed(&t);
        part[j] = is_x(s, j) ? as_pieces(SliceAxis(in[j], 0, p->from, p->to), &row, p->n, length) : in[j];
    }
    if (error_pending())
        return;
    over.length = p->n;
    if (p->n == 1)
        graph_inline(piece, part, out);
    else
        emit_region(&over, s->nin, part, 1, &piece, out);
    for (int k = 0; k < s->r->ncarry; k++)
        in[s->r->ncap + k] = out[k];
    for (int k = s->r->ncarry; k < s->body->nout; k++) {
        Type t = y_row(s, k);
        out[k] = as_pieces(out[k], &t, 1, p->to - p->from);
    }
}

/* n steps as pieces of one length, and what is left over as one more at the end. */
static void in_pieces(const Steps *s, int64_t n, const Pieces *all, Ref *in, Ref *out)
{
    int64_t whole = all->to;
    const Pieces last = { whole, n, 1, all->kind };
    Ref *rest = NEWS(Ref, s->body->nout);
    if (whole < n && s->r->reverse)
        run_pieces(s, &last, in, rest);
    run_pieces(s, all, in, out);
    if (whole < n && !s->r->reverse)
        run_pieces(s, &last, in, rest);
    for (int k = 0; k < s->body->nout && whole < n; k++)
        if (k < s->r->ncarry)
            out[k] = in[s->r->ncap + k];
        else
            out[k] = out[k] && rest[k] ? Concat((const Ref[]){ out[k], rest[k] }, 2, 0) : 0;
}

static void run_steps(const Steps *s, int64_t n, Ref *in, Ref *out)
{
    Region r = *s->r;
    int64_t length = s->unroll < n ? s->unroll : n;
    r.length = n;
    if (length > 1)
        in_pieces(s, n, &(Pieces){ 0, n / length * length, n / length, WRITTEN_OUT }, in, out);
    else
        emit_region(&r, s->nin, in, 1, &s->body, out);
}

/* ==================== scan */

/* A trace at its carry and what it goes over, each a list with its length: hence the parameters. */
void scan_region(const Traced *t, const Type *want, int ncarry, const Ref *carry, int nx, const Ref *xs,
    const hd_scan_opts *o, Ref *out)
{
    CapSet caps = all_captures(1, &t);
    int ncap = caps.n, nin = ncap + ncarry + nx;
    Graph *body = body_graph(t, &caps, want);
    Ref *in = NEWS(Ref, nin);
    if (!body)
        return;
    caps_ref(caps.cap, ncap, in);
    for (int k = 0; k < ncarry; k++)
        in[ncap + k] = carry[k];
    for (int k = 0; k < nx; k++)
        in[ncap + ncarry + k] = xs[k];
    if (error_pending() || keys_loop(1, &t, ncarry, carry, xs, o->length))
        return;
    Region r = region_plain(SCAN, ncap, 0, ncarry);
    r.reverse = o->reverse;
    Steps s = { &r, nin, body, o->unroll };
    int64_t pieces = o->segments < o->length ? o->segments : o->length;
    if (o->unroll > WRITE_OUT_MAX && o->length > WRITE_OUT_MAX)
        error_set(E_INVAL, "%lld of %lld steps would be written out by .unroll: at most %d",
            (long long)o->unroll, (long long)o->length, WRITE_OUT_MAX);
    else if (pieces > 1)
        in_pieces(&s, o->length, &(Pieces){ 0, o->length / pieces * pieces, pieces, CHECKPOINT }, in, out);
    else
        run_steps(&s, o->length, in, out);
}

/* The number of steps: the size of every leaf along axis 0, or given < 0: unknown. -1 after an error. */
static int64_t steps(const char *what, const Tree *xs, int64_t given)
{
    Type *type = NEWS(Type, xs->nleaf);
    int64_t n = given;
    tree_types(xs, type);
    for (int k = 0; k < xs->nleaf; k++) {
        if (!type[k].rank)
            return error_set(E_SHAPE, "%s: xs%s is %s and has no axis to go along", what, tree_path(xs, k),
                             type_text(&type[k])), -1;
        if (n >= 0 && type[k].dim[0] != n)
            return error_set(E_SHAPE, "%s: xs%s is %s, but there are %lld steps%s", what, tree_path(xs, k),
                             type_text(&type[k]),
                             (long long)n, k ? " in xs before it" : " by .length"), -1;
        n = type[k].dim[0];
    }
    if (n < 0)
        return error_set(E_INVAL, "%s: without xs say .length", what), -1;
    return n;
}

static const Tree *one_step(const Tree *xs)
{
    Type *type = NEWS(Type, xs->nleaf);
    tree_types(xs, type);
    for (int k = 0; k < xs->nleaf; k++)
        type[k] = type_drop_lead(&type[k], 1);
    const Type *next = type;
    return tree_retype(xs, &next);
}

hd hd_scan_n(hd_fn *f, hd init, hd xs, const hd_scan_opts *o)
{
    OP(hd_scan_n);
    OPTIONS(hd_scan_opts, o);
    if (!fn_in("hd_scan", f) || !tracing())
        return HD_NIL;
    const Tree *args[2] = { tree_or_nothing(init), tree_or_nothing(xs) };
    if (!args[0] || !args[1])
        return HD_NIL;
    if (o->length < 0) {
        error_set(E_INVAL, "hd_scan: .length is %lld: it is the number of steps", (long long)o->length);
        return HD_NIL;
    }
    if (o->segments < 0) {
        error_set(E_INVAL, "hd_scan: .segments is %lld: it is a number of pieces", (long long)o->segments);
        return HD_NIL;
    }
    if (o->unroll < 0) {
        error_set(
            E_INVAL, "hd_scan: .unroll is %lld: it is a number of steps, or HD_ALL", (long long)o->unroll);
        return HD_NIL;
    }
    int64_t n = steps("hd_scan", args[1], o->length || !args[1]->nleaf ? o->length : -1);
    args[1] = n < 0 ? NULL : one_step(args[1]);
    const Traced *t = n < 0 ? NULL : loop_body((Looping){ "hd_scan", "scanned", true }, f, args, 2, 0);
    if (!t)
        return HD_NIL;
    int nc = args[0]->nleaf, nx = args[1]->nleaf;
    Type *want = NEWS(Type, t->g->nout);
    Ref *c = NEWS(Ref, nc), *x = NEWS(Ref, nx), *out = NEWS(Ref, t->g->nout);
    tree_types(t->out, want), tree_types(args[0], want);
    if (values(init, want, c) || values(xs, NULL, x))
        return HD_NIL;
    hd_scan_opts all = *o;
    all.length = n;
    scan_region(t, want, nc, c, nx, x, &all, out);
    return built(t->out, out);
}

/* ==================== map: a scan without a carry, several elements at a time if asked for */

static hd map_batches(hd_fn *f, const Tree *xs, Ref *x, int64_t n, int64_t b)
{
    hd_fn *v = hd_vmap_n(f, &(hd_vmap_opts){ 0 });
    int64_t q = n / b, r = n % b;
    Type *type = NEWS(Type, xs->nleaf), *part = NEWS(Type, xs->nleaf);
    Ref *head = NEWS(Ref, xs->nleaf), *in, *out, *rest;
    const Type *next = part;
    tree_types(xs, type);
    for (int k = 0; k < xs->nleaf; k++) {
        part[k] = type_drop_lead(&type[k], 1);
        part[k] = type_add_lead(&part[k], b);
        Type rows = type_add_lead(&part[k], q);
        head[k] = Reshape(SliceAxis(x[k], 0, 0, q * b), type_shape(&rows));
    }
    const Tree *arg = tree_retype(xs, &next);
    const Traced *t = v ? traced_body("mapped", v, tree_tuple(&arg, 1)) : NULL, *u = NULL;
    if (!t)
        return HD_NIL;
    out = NEWS(Ref, t->g->nout), rest = NEWS(Ref, t->g->nout);
    scan_region(t, NULL, 0, NULL, xs->nleaf, head, &(hd_scan_opts){ .length = q }, out);
    if (r) {
        for (int k = 0; k < xs->nleaf; k++)
            part[k].dim[0] = r;
        next = part;
        arg = tree_retype(xs, &next);
        if (!(u = traced_body("mapped", v, tree_tuple(&arg, 1))))
            return HD_NIL;
        in = NEWS(Ref, u->g->nin);
        caps_ref(u->cap, u->ncap, in);
        for (int k = 0; k < xs->nleaf; k++)
            in[u->ncap + k] = SliceAxis(x[k], 0, q * b, n);
        if (error_pending() || keys_apply(u, in + u->ncap))
            return HD_NIL;
        graph_inline(u->g, in, rest);
    }
    for (int k = 0; k < t->g->nout && !error_pending(); k++) {
        Type y = type_drop_lead(typ(out[k]), 2);
        y = type_add_lead(&y, q * b);
        out[k] = Reshape(out[k], type_shape(&y));
        if (r)
            out[k] = Concat((Ref[]){ out[k], rest[k] }, 2, 0);
    }
    return built(t->out, out);
}

hd hd_map_n(hd_fn *f, hd xs, const hd_map_opts *o)
{
    OP(hd_map_n);
    OPTIONS(hd_map_opts, o);
    if (!fn_in("hd_map", f) || !tracing())
        return HD_NIL;
    const Tree *tree = sym_type(xs), *arg;
    int64_t n = tree ? steps("hd_map", tree, -1) : -1;
    if (n < 0)
        return HD_NIL;
    Ref *x = NEWS(Ref, tree->nleaf);
    if (values(xs, NULL, x))
        return HD_NIL;
    if (o->batch_size < 0) {
        error_set(E_INVAL, "hd_map: .batch_size is %lld", (long long)o->batch_size);
        return HD_NIL;
    }
    if (o->batch_size > 1)
        return map_batches(f, tree, x, n, o->batch_size < n || !n ? o->batch_size : n);
    arg = one_step(tree);
    const Traced *t = traced_body("mapped", f, tree_tuple(&arg, 1));
    if (!t)
        return HD_NIL;
    Ref *out = NEWS(Ref, t->g->nout);
    scan_region(t, NULL, 0, NULL, tree->nleaf, x, &(hd_scan_opts){ .length = n }, out);
    return built(t->out, out);
}
