/*
 * evaluate.c - graphs evaluated instruction by instruction, each exact and rounded once.
 *
 * In: operands of a graph.   Out: its results.
 * Lanes of a region run one after the other, each its own bodies with its own path and trip count.
 *
 * Ownership. A value is a Buf with a count of references. Every function that evaluates takes its operands
 * over: it has one reference of each and drops it, whatever happens; results are new references, all NULL
 * after an error. A value that is passed to its last reader is moved, not copied, so the reader of an
 * accumulator finds itself the only owner and adds in place, through any depth of regions. Counts are plain:
 * a Buf never leaves the run that made it, and an Exec is never written after it is built, so any number of
 * threads may run it at once.
 */
#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ==================== values while running */

Buf *buf_head(size_t bytes, void *p)
{
    Buf *b = malloc(sizeof *b);
    if (b)
        *b = (Buf){ .refs = 1, .bytes = bytes, .p = p };
    else
        error_set(E_NOMEM, "host: out of memory: %zu bytes asked for", sizeof *b);
    return b;
}

static Buf *buf_new(size_t bytes)
{
    void *p = bytes_new(bytes);
    Buf *b = p ? buf_head(bytes, p) : NULL;
    if (!b)
        free(p);
    return b;
}

static Buf *buf_zero(size_t bytes)
{
    Buf *b = buf_new(bytes);
    if (b)
        memset(b->p, 0, bytes);
    return b;
}

static Buf *buf_keep(Buf *b)
{
    b->refs++;
    return b;
}

void buf_drop(Buf *b)
{
    while (b && !--b->refs) {
        Buf *parent = b->parent;
        if (!parent && !b->lent)
            free(b->p);
        free(b);
        b = parent;
    }
}

void bufs_drop(Buf **b, int n)
{
    for (int k = 0; k < n; k++) {
        buf_drop(b[k]);
        b[k] = NULL;
    }
}

/* Row k of `rows` equal ones. */
static Buf *buf_row(Buf *b, int64_t rows, int64_t k)
{
    size_t bytes = b->bytes / (size_t)rows;
    Buf *r = buf_head(bytes, b->p + (size_t)k * bytes);
    if (r)
        r->parent = buf_keep(b);
    return r;
}

bool buf_mine(const Buf *b) { return b->refs == 1 && !b->parent && !b->lent; }

/* Scratch lists, NULL after an error. */
void *list_new(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        error_set(E_NOMEM, "host: out of memory: %zu bytes asked for", n * size);
    return p;
}

/* ==================== programs: a graph with how often each value is read */

/* What an instruction runs: bodies; of shards that reduce, what becomes of a chunk. */
static int subs(const Ins *i) { return op_reduces(i) ? 1 : i->nsub; }

void prog_drop(Prog *p)
{
    if (!p)
        return;
    for (int n = 0; p->sub && n < p->g->nins; n++) {
        for (int k = 0; p->sub[n] && k < subs(p->g->ins[n]); k++)
            prog_drop(p->sub[n][k]);
        free(p->sub[n]);
    }
    free(p->sub);
    free(p->uses);
    free(p);
}

static int prog_ins(Prog *p, int n)
{
    const Ins *i = p->g->ins[n];
    const Rules *rules = optab[i->op].rules;
    for (int k = 0; k < i->nin; k++)
        p->uses[i->in[k]]++;
    p->widest = i->nin > p->widest ? i->nin : p->widest;
    p->widest = i->nout > p->widest ? i->nout : p->widest;
    if (i->op != OP_region && !op_reduces(i))
        return rules && rules->eval ?
            0 :
            error_set(E_INTERNAL, "host: %s cannot be evaluated", optab[i->op].name);
    if (!(p->sub[n] = list_new((size_t)subs(i), sizeof *p->sub[n])))
        return E_NOMEM;
    for (int k = 0; k < subs(i); k++)
        if (!(p->sub[n][k] = prog_new(op_reduces(i) ? reduce_chunk(i, &p->g->type[i->in[0]]) : i->sub[k])))
            return error_code();
    return 0;
}

Prog *prog_new(const Graph *g)
{
    Prog *p = list_new(1, sizeof *p);
    if (!p)
        return NULL;
    p->g = g;
    p->uses = list_new((size_t)g->nval, sizeof *p->uses);
    p->sub = list_new((size_t)g->nins, sizeof *p->sub);
    int err = !p->uses || !p->sub;
    for (int n = 0; !err && n < g->nins; n++)
        err = prog_ins(p, n);
    for (int k = 0; !err && k < g->nout; k++)
        p->uses[g->out[k]]++;
    if (err) {
        prog_drop(p);
        return NULL;
    }
    return p;
}

/* ==================== where this thread is, and who watches */

static _Thread_local HostAt *here;
static _Thread_local HostWatch watcher;

void host_watch(const HostWatch *w) { watcher = w ? *w : (HostWatch){ 0 }; }

/* " (lane 3, step 10)": lanes by the names of their axes, outermost first, then steps. "" outside both. */
static const char *where_text(const HostAt *at)
{
    const char *lanes = "", *steps = "";
    for (; at; at = at->up) {
        const Region *r = at->region->region;
        for (int a = r->nlane - 1; a >= 0; a--) {
            const char *name = r->lane[a].name && r->lane[a].name[0] ? r->lane[a].name : "lane";
            lanes = arena_text("%.*s %lld%s%s", (int)strcspn(name, "'"), name, (long long)at->lane[a],
                *lanes ? ", " : "", lanes);
        }
        if (r->kind == SCAN || r->kind == WHILE)
            steps = arena_text("step %lld%s%s", (long long)at->step, *steps ? ", " : "", steps);
    }
    return *lanes || *steps ? arena_text(" (%s%s%s)", lanes, *lanes && *steps ? ", " : "", steps) : "";
}

/* ==================== one instruction */

/* The lists of one evaluation of a graph, in one piece. */
typedef struct Frame {
    const HostExec *exec;
    const Prog *prog;
    Buf **value; int *left;                     /* by value; how many readers are still to come */
    Buf **x, **z;                               /* operands, results */
    const Type **t; const void **in; void **out;
    bool *ahead;                                /* by instruction: it went before its turn */
} Frame;

/* A reference for a reader: the last one gets the value's own. */
static Buf *frame_take(Frame *f, Ref v)
{
    Buf *b = f->value[v];
    if (--f->left[v])
        return buf_keep(b);
    f->value[v] = NULL;
    return b;
}

static bool adds_to_first(Op op)
{
    return op == OP_accum || op == OP_accum_slice || op == OP_dynamic_update || op == OP_scatter;
}

static bool all_finite(const Type *t, const void *p)
{
    Dtype dt = dtype_part((Dtype)t->dt);
    int64_t n = dtype_float(dt) ? type_size(t) * (dtype_complex((Dtype)t->dt) ? 2 : 1) : 0;
    for (int64_t k = 0; k < n; k++)
        if (!isfinite(dtype_load_f(dt, (const char *)p + (size_t)k * dtype_size(dt))))
            return false;
    return true;
}

/* With HEDDLE_CHECK=nan: has it operands with elements, all of them finite? Constants have none. */
static bool finite_operands(const Frame *f, const Ins *i)
{
    int64_t n = 0;
    for (int k = 0; k < i->nin; k++) {
        n += type_size(f->t[k]);
        if (!all_finite(f->t[k], f->in[k]))
            return false;
    }
    return n > 0;
}

static int check_finite(const Ins *i, const Type *u, const void *p)
{
    if (all_finite(u, p))
        return 0;
    Dtype dt = dtype_part((Dtype)u->dt);
    int64_t k = 0, parts = dtype_complex((Dtype)u->dt) ? 2 : 1;
    double v = 0;
    while (isfinite(v = dtype_load_f(dt, (const char *)p + (size_t)k * dtype_size(dt))))
        k++;
    return error_set(E_INVAL, "%s: element %lld of the result %s is %g, made of finite operands%s "
        "(HEDDLE_CHECK=nan)", optab[i->op].name, (long long)(k / parts), type_text(u), v, where_text(here));
}

static int run_simple(Frame *f, const Ins *i)
{
    const Graph *g = f->prog->g;
    for (int k = 0; k < i->nin; k++) {
        f->t[k] = &g->type[i->in[k]];
        f->in[k] = f->x[k]->p;
    }
    for (int k = 0; k < i->nout; k++) {
        const Type *u = &g->type[i->out + (Ref)k];
        f->z[k] =
            !k && adds_to_first((Op)i->op) && buf_mine(f->x[0]) ? buf_keep(f->x[0]) : buf_new(type_bytes(u));
        if (!f->z[k])
            return E_NOMEM;
        f->out[k] = f->z[k]->p;
    }
    bool finite = f->exec->nan && finite_operands(f, i);
    int err = optab[i->op].rules->eval(i, f->t, f->in, &g->type[i->out], f->out);
    for (int k = 0; !err && finite && k < i->nout; k++)
        err = check_finite(i, &g->type[i->out + (Ref)k], f->out[k]);
    return err;
}

/* What comes, and, where shards reduce, two chunks of it and what becomes of them. */
typedef struct Traded {
    const HostExec *exec;
    const Prog *reduce;
    Frame *frame;
    int at;                                     /* which instruction */
    Trade *trade;
    Buf *whole, *dealt[2], *reduced[2];
} Traded;

static int put_part(void *x, Area area, size_t at, const void *part, size_t n)
{
    const Traded *t = x;
    memcpy((area == WHOLE ? t->whole : t->dealt[area - CHUNK_0])->p + at, part, n);
    return 0;
}

static int reduce_part(void *x, int turn)
{
    Traded *t = x;
    Buf *in[1] = { buf_keep(t->dealt[turn]) }, *out[1] = { NULL };
    int err = run_graph(t->exec, t->reduce, in, out);
    buf_drop(t->reduced[turn]);
    t->reduced[turn] = err ? NULL : out[0];
    if (!err)
        t->trade->reduced[turn].bytes = out[0]->p;
    return err;
}

static int reduced_now(void *x) { (void)x; return 0; }

/* What only gives other names to the same bytes. */
static bool passes_on(Op op) { return op == OP_barrier || op == OP_reshape || op == OP_stop_gradient; }

static int run_ins(Frame *f, int n);

static bool noticed(const Ins *i) { return op_meets(i) || i->op == OP_callback; }

static bool goes(const Ins *i)
{
    bool all = !noticed(i);
    for (int k = 0; k < i->nsub; k++)
        all = all && !graph_find(i->sub[k], noticed);
    return all;
}

/* Instructions behind it whose operands are there, up to one that other shards or the user notice. */
static int go_ahead(void *x)
{
    const Traded *t = x;
    Frame *f = t->frame;
    const Graph *g = f->prog->g;
    Buf *in[2] = { f->x[0], g->ins[t->at]->nin > 1 ? f->x[1] : NULL }, *out = f->z[0];
    int err = 0, begun = 0;
    for (int n = t->at + 1; n < g->nins && !err; n++) {
        const Ins *i = g->ins[n];
        bool ready = !f->ahead[n];
        if (!goes(i))
            break;
        for (int k = 0; k < i->nin; k++)
            ready = ready && f->value[i->in[k]];
        if (!ready)
            continue;
        if (!begun++)
            timeline_begin("beside an exchange");
        err = run_ins(f, n);
        f->ahead[n] = true;
    }
    if (begun)
        timeline_end("beside an exchange");
    exchange_beside += (uint64_t)begun;
    loc_set(g->ins[t->at]->loc);
    f->x[0] = in[0], f->z[0] = out;
    if (in[1])
        f->x[1] = in[1];
    return err;
}

/* A collective that is left gives bytes to other shards and gets theirs. */
static int run_exchange(Frame *f, int n, const Prog *reduce)
{
    const Ins *i = f->prog->g->ins[n];
    Swap swap = i->op == OP_all_gather ? SWAP_GATHER :
        i->op == OP_all_to_all         ? SWAP_DEAL :
        op_reduces(i)                  ? SWAP_REDUCE :
                                         SWAP_PERMUTE;
    const Type *u = &f->prog->g->type[i->out];
    Traded x = { f->exec, reduce, f, n, .whole = f->z[0] = buf_new(type_bytes(u)) };
    Trade t = {
        .n = f->x[0]->bytes, .given.bytes = f->x[0]->p, .x = &x, .put = put_part, .beside = go_ahead
    };
    int err = x.whole ? 0 : E_NOMEM;
    x.trade = &t;
    for (int k = 0; k < 2 && reduce; k++) {
        t.chunks = (size_t)u->dim[1], t.reduce = reduce_part, t.reduced_now = reduced_now;
        x.dealt[k] = buf_new(t.n / t.chunks);
        err = x.dealt[k] ? err : E_NOMEM;
    }
    err = err ? err :
                exchange(swap, op_axis_name(i), &t, i->nin > 1 ? (const int32_t *)(void *)f->x[1]->p : NULL);
    bufs_drop(x.dealt, 2), bufs_drop(x.reduced, 2);
    return err;
}

static int run_region(const HostExec *, const Graph *, const Ins *, Prog *const *sub, Buf **x, Buf **z);

static int run_ins(Frame *f, int n)
{
    const Graph *g = f->prog->g;
    const Ins *i = g->ins[n];
    int err = 0;
    for (int k = 0; k < i->nin; k++)
        f->x[k] = frame_take(f, i->in[k]);
    for (int k = 0; k < i->nout; k++)
        f->z[k] = NULL;
    for (int k = 0; watcher.see && k < i->nin; k++)
        f->in[k] = f->x[k]->p;
    if (watcher.see)
        watcher.see(watcher.env, i, here, f->in);
    if (i->op == OP_region) {
        err = run_region(f->exec, g, i, f->prog->sub[n], f->x, f->z);
    } else if (passes_on((Op)i->op)) {
        memcpy(f->z, f->x, i->nout * sizeof *f->z);
    } else {
        err = device_fault(f->exec->exec.device, op_meets(i) ? "exchange" : "launch");
        err = err       ? err :
            op_meets(i) ? run_exchange(f, n, op_reduces(i) ? f->prog->sub[n][0] : NULL) :
                          run_simple(f, i);
        bufs_drop(f->x, i->nin);
    }
    for (int k = 0; k < i->nout; k++) {
        Ref v = i->out + (Ref)k;
        f->value[v] = f->z[k];
        if (!f->left[v] || err) {
            buf_drop(f->z[k]);
            f->value[v] = NULL;
        }
    }
    return err;
}

/* ==================== graphs */

static int frame_open(Frame *f, const HostExec *e, const Prog *p)
{
    size_t nval = (size_t)p->g->nval, wide = (size_t)p->widest;
    size_t values = nval * (sizeof *f->value + sizeof *f->left), lists = wide * 5 * sizeof(void *);
    char *all = list_new(1, values + lists + (size_t)p->g->nins);
    if (!all)
        return E_NOMEM;
    *f = (Frame){ .exec = e, .prog = p, .value = (Buf **)all };
    f->x = f->value + nval;
    f->z = f->x + wide;
    f->t = (const Type **)(f->z + wide);
    f->in = (const void **)(f->t + wide);
    f->out = (void **)(f->in + wide);
    f->left = (int *)(f->out + wide);
    f->ahead = (bool *)(f->left + nval);
    memcpy(f->left, p->uses, nval * sizeof *f->left);
    return 0;
}

int run_graph(const HostExec *e, const Prog *p, Buf **x, Buf **z)
{
    const Graph *g = p->g;
    Frame f = { 0 };
    Loc before = loc_here();
    int err = frame_open(&f, e, p);
    for (int k = 0; k < g->nout; k++)
        z[k] = NULL;
    for (int k = 0; k < g->nin; k++)
        if (!err && p->uses[g->in[k]])
            f.value[g->in[k]] = x[k];
        else
            buf_drop(x[k]);
    for (int n = 0; !err && n < g->nins; n++) {
        loc_set(g->ins[n]->loc);
        err = f.ahead[n] ? 0 : run_ins(&f, n);
    }
    loc_set(before);
    for (int k = 0; !err && k < g->nout; k++)
        z[k] = frame_take(&f, g->out[k]);
    if (f.value)
        bufs_drop(f.value, g->nval);
    free(f.value);
    return err;
}

/* ==================== regions */

typedef struct Lanes {
    const HostExec *exec;
    const Graph *g;
    const Ins *i;
    const Region *r;
    Prog *const *sub;
} Lanes;

static uint8_t mark_in(const Lanes *c, int j, int a) { return c->r->im[j * c->r->nlane + a]; }
static uint8_t mark_out(const Lanes *c, int k, int a) { return c->r->om[k * c->r->nlane + a]; }
static const Type *result_type(const Lanes *c, int k) { return &c->g->type[c->i->out + (Ref)k]; }

/* Bytes of result k inside the first a lane axes, none of which is empty. */
static size_t result_bytes(const Lanes *c, int k, int a)
{
    size_t n = type_bytes(result_type(c, k));
    while (a-- > 0)
        if (mark_out(c, k, a) == STACKED)
            n /= (size_t)c->r->lane[a].size;
    return n;
}

static int run_while(const Lanes *c, Buf **x, Buf **z)
{
    const Region *r = c->r;
    int n = c->i->nin, nl = region_nloop(r), err = 0;
    Buf **y = list_new((size_t)n, sizeof *y), *go = NULL;
    if (!y)
        err = E_NOMEM;
    for (here->step = 0; !err; here->step++) {
        here->body = 0;
        for (int k = 0; k < n; k++)
            y[k] = buf_keep(x[k]);
        if ((err = run_graph(c->exec, c->sub[0], y, &go)))
            break;
        bool more = *(const uint8_t *)go->p;
        buf_drop(go);
        if (!more)
            break;
        for (int k = 0; k < n; k++) {
            y[k] = k < r->ncap ? buf_keep(x[k]) : x[k];
            x[k] = k < r->ncap ? x[k] : NULL;
        }
        here->body = 1;
        err = run_graph(c->exec, c->sub[1], y, x + r->ncap);
    }
    for (int k = 0; !err && k < nl; k++) {
        z[k] = x[r->ncap + k];
        x[r->ncap + k] = NULL;
    }
    bufs_drop(x, n);
    free(y);
    return err;
}

/* Row s of ys takes what the step gave. */
static void store_row(Buf *ys, int64_t rows, int64_t s, Buf *row)
{
    size_t n = ys->bytes / (size_t)rows;
    if (n)
        memcpy(ys->p + (size_t)s * n, row->p, n);
    buf_drop(row);
}

static int scan_step(const Lanes *c, int64_t s, Buf **x, Buf **z, Buf **y, Buf **out)
{
    const Region *r = c->r;
    int n = c->i->nin, nl = region_nloop(r), err = 0;
    for (int k = 0; k < n; k++) {
        bool loop = k >= r->ncap && k < r->ncap + nl;
        y[k] = k < r->ncap ? buf_keep(x[k]) : loop ? x[k] : buf_row(x[k], r->length, s);
        x[k] = loop ? NULL : x[k];
        err = y[k] ? err : E_NOMEM;
    }
    if (err) {
        bufs_drop(y, n);
        return err;
    }
    here->step = s;
    err = run_graph(c->exec, c->sub[0], y, out);
    for (int k = 0; !err && k < c->i->nout; k++)
        if (k < nl)
            x[r->ncap + k] = out[k];
        else
            store_row(z[k], r->length, s, out[k]);
    return err;
}

static int run_scan(const Lanes *c, Buf **x, Buf **z)
{
    const Region *r = c->r;
    int n = c->i->nin, nout = c->i->nout, nl = region_nloop(r), err = 0;
    Buf **y = list_new((size_t)n + (size_t)nout, sizeof *y);
    if (!y)
        err = E_NOMEM;
    for (int k = nl; !err && k < nout; k++)
        if (!(z[k] = buf_new(result_bytes(c, k, r->nlane))))
            err = E_NOMEM;
    for (int64_t s = 0; !err && s < r->length; s++)
        err = scan_step(c, r->reverse ? r->length - 1 - s : s, x, z, y, y + n);
    for (int k = 0; !err && k < nl; k++) {
        z[k] = x[r->ncap + k];
        x[r->ncap + k] = NULL;
    }
    bufs_drop(x, n);
    if (err)
        bufs_drop(z, nout);
    free(y);
    return err;
}

static int run_cond(const Lanes *c, Buf **x, Buf **z)
{
    int64_t k = dtype_load_i((Dtype)c->g->type[c->i->in[0]].dt, x[0]->p);
    k = k < 0 ? 0 : k >= c->i->nsub ? c->i->nsub - 1 : k;
    buf_drop(x[0]);
    x[0] = NULL;
    here->body = (int)k;
    return run_graph(c->exec, c->sub[k], x + 1, z);
}

static int run_bodies(const Lanes *c, Buf **x, Buf **z)
{
    switch (c->r->kind) {
    case SCAN: return run_scan(c, x, z);
    case WHILE: return run_while(c, x, z);
    case COND: return run_cond(c, x, z);
    default: return run_graph(c->exec, c->sub[0], x, z);
    }
}

/* What lane n of axis a gets of operand j. The first lane takes a summed operand over; bytes: its size. */
static Buf *lane_operand(const Lanes *c, int a, int64_t n, int j, Buf **x, size_t bytes)
{
    Buf *b = x[j];
    switch (mark_in(c, j, a)) {
    case STACKED:
        return buf_row(b, c->r->lane[a].size, n);
    case SUMMED:
        x[j] = NULL;
        return n ? buf_zero(bytes) : b;
    default:
        return buf_keep(b);
    }
}

/* Floats in another dtype; takes them over. NULL: out of memory. */
static Buf *buf_as(Buf *b, Dtype from, Dtype to)
{
    if (from == to || !b)
        return b;
    size_t n = b->bytes / dtype_size(from);
    Buf *z = buf_new(n * dtype_size(to));
    for (size_t k = 0; z && k < n; k++)
        dtype_store_f(to, z->p + k * dtype_size(to), dtype_load_f(from, b->p + k * dtype_size(from)));
    buf_drop(b);
    return z;
}

/* Adds a lane's share to the sum so far. */
static int add_share(Dtype dt, Buf **sum, Buf *share)
{
    int64_t n = (int64_t)(share->bytes / dtype_size(dt));
    Type t = type_of(dt, 1, &n);
    const Type *const types[2] = { &t, &t };
    Buf *to = buf_mine(*sum) ? buf_keep(*sum) : buf_new(share->bytes);
    int err = to ? 0 : E_NOMEM;
    if (to)
        err = optab[OP_accum].rules->eval(&(Ins){ .op = OP_accum, .nin = 2, .nout = 1 }, types,
            (const void *const[]){ (*sum)->p, share->p }, &t, (void *const[]){ to->p });
    buf_drop(share);
    buf_drop(*sum);
    *sum = to;
    return err;
}

/* Puts the results of lane n in place; takes them over. Half floats are summed in f32. */
static int lane_results(const Lanes *c, int a, int64_t n, Buf **every, Buf **z)
{
    int err = 0;
    for (int k = 0; k < c->i->nout; k++) {
        uint8_t m = mark_out(c, k, a);
        Dtype dt = (Dtype)result_type(c, k)->dt;
        if (m == SUMMED && !err && !(every[k] = buf_as(every[k], dt, dtype_sum(dt))))
            err = E_NOMEM;
        if (!err && m == STACKED && !n && !(z[k] = buf_new(result_bytes(c, k, a))))
            err = E_NOMEM;
        if (err)
            buf_drop(every[k]);
        else if (m == STACKED)
            store_row(z[k], c->r->lane[a].size, n, every[k]);
        else if (!n)
            z[k] = every[k];
        else if (m == SUMMED)
            err = add_share(dtype_sum(dt), &z[k], every[k]);
        else
            buf_drop(every[k]);
        every[k] = NULL;
    }
    return err;
}

/* Peels lane axis a, then the next, then runs the bodies. */
static int run_lanes(const Lanes *c, int a, Buf **x, Buf **z)
{
    int nin = c->i->nin, nout = c->i->nout, err = 0;
    if (a == c->r->nlane)
        return run_bodies(c, x, z);
    Buf **mine = list_new((size_t)nin + (size_t)nout, sizeof *mine), **every = mine + nin;
    size_t *bytes = list_new((size_t)nin, sizeof *bytes);
    if (!mine || !bytes)
        err = E_NOMEM;
    for (int j = 0; !err && j < nin; j++)
        bytes[j] = x[j]->bytes;
    for (int64_t n = 0; !err && n < c->r->lane[a].size; n++) {
        here->lane[a] = n;
        for (int j = 0; j < nin; j++) {
            mine[j] = lane_operand(c, a, n, j, x, bytes[j]);
            err = mine[j] ? err : E_NOMEM;
        }
        if (err)
            bufs_drop(mine, nin);
        else if (!(err = run_lanes(c, a + 1, mine, every)))
            err = lane_results(c, a, n, every, z);
    }
    for (int k = 0; k < nout && !err; k++) {
        Dtype dt = (Dtype)result_type(c, k)->dt;
        if (mark_out(c, k, a) == SUMMED && !(z[k] = buf_as(z[k], dtype_sum(dt), dt)))
            err = E_NOMEM;
    }
    bufs_drop(x, nin);
    if (err)
        bufs_drop(z, nout);
    free(bytes);
    free(mine);
    return err;
}

/* An accumulator as it came, along the lane axes from a on: the same for all where the result is
 * stacked and it is shared. From and to are memory with a size, hence the parameters. */
static void keep_rows(const Lanes *c, int k, int a, const char *from, size_t nfrom, char *to, size_t nto)
{
    int j = region_npred(c->r) + c->r->ncap + k;
    if (a == c->r->nlane) {
        memcpy(to, from, nto);
        return;
    }
    int64_t rows = mark_out(c, k, a) == STACKED ? c->r->lane[a].size : 1;
    bool own = mark_in(c, j, a) == STACKED;
    nfrom /= own ? (size_t)rows : 1;
    nto /= (size_t)rows;
    for (int64_t n = 0; n < rows; n++)
        keep_rows(c, k, a + 1, from + (own ? (size_t)n * nfrom : 0), nfrom, to + (size_t)n * nto, nto);
}

/* No lanes at all: an accumulator keeps what it holds, other results are zeros. */
static int run_empty(const Lanes *c, Buf **x, Buf **z)
{
    int first = region_npred(c->r) + c->r->ncap, err = 0;
    for (int k = 0; k < c->i->nout; k++) {
        z[k] = buf_zero(type_bytes(result_type(c, k)));
        if (!z[k])
            err = E_NOMEM;
        else if (k < c->r->nacc && z[k]->bytes)
            keep_rows(c, k, 0, x[first + k]->p, x[first + k]->bytes, z[k]->p, z[k]->bytes);
    }
    bufs_drop(x, c->i->nin);
    if (err)
        bufs_drop(z, c->i->nout);
    return err;
}

static int run_region(const HostExec *e, const Graph *g, const Ins *i, Prog *const *sub, Buf **x, Buf **z)
{
    const Lanes c = { e, g, i, i->region, sub };
    for (int a = 0; a < c.r->nlane; a++)
        if (!c.r->lane[a].size)
            return run_empty(&c, x, z);
    HostAt at = { .up = here, .region = i, .step = -1 };
    here = &at;
    int err = run_lanes(&c, 0, x, z);
    here = at.up;
    return err;
}
