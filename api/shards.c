/*
 * shards.c - programs over several devices: lists of devices, what is built for each, and runs.
 *
 * In: a graph with calls over devices. Out: pieces, run one after the other over stores: on the home device,
 * or on all devices of a call at once, a thread for each that has work of its own.
 * Invariant: a shard that fails ends the waits of the others; all threads are joined before a run returns,
 * and it leaves one error, of who failed first.
 */
#include "api.h"
#include "ranks.h"
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ==================== lists of devices */

static const char *skip_space(const char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

/* The device that the text begins with; *s moves behind it and its comma. NULL after an error. */
static Device *next_device(const char *what, const char *all, const char **s)
{
    char name[64];
    const char *at = skip_space(*s);
    size_t n = strcspn(at, ","), len = n;
    while (len && isspace((unsigned char)at[len - 1]))
        len--;
    if (!len || len >= sizeof name) {
        error_set(E_INVAL, "%s: \"%s\": names of devices are wanted, with commas", what, all);
        return NULL;
    }
    memcpy(name, at, len);
    name[len] = 0;
    *s = at[n] ? at + n + 1 : NULL;
    return device_find(name);
}

int devices_listed(const char *what, const char *names, Device ***out)
{
    int n = 1, ranked = 0;
    for (const char *s = names; s && *s; s++)
        n += *s == ',', ranked += *s == '/';
    Device **d = *out = calloc((size_t)n, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "out of host memory"), 0;
    if (!names)
        return (d[0] = device_of_thread()) != NULL;
    const char *at = names;
    for (int k = 0; k < n; k++)
        if (!(d[k] = next_device(what, names, &at)))
            return 0;
    if (ranked && ranked < n) /* those without are other devices in each process */
        return error_set(E_INVAL,
                   "%s: \"%s\" names devices with and without a rank: over ranks each has the number of its "
                   "own, as in \"0/host, 1/host\"",
                   what, names),
               0;
    return n;
}

bool devices_ranked(const char *names) { return strchr(names, '/') && ranks_several(); }

/* ==================== what is built */

typedef struct Call {
    int nin, nout; Ref *in, *out;               /* values of the whole program */
    Exec **exec;                                /* by shard; several of one device may have one */
    int n;                                      /* shards; 0: the home device runs it */
    Device **device;
    Sharding *il, *ol;                          /* of each value over the shards */
    Mesh mesh;
    int *rank;                                  /* whose each shard is; NULL: all are of this process */
    bool meets;                                 /* shards exchange something: each has an Exec of its own */
    Mem **place;                                /* by shard and axis: an i32, where it is along the axis */
    Balance *balance;                           /* NULL: none */
    Loc loc; const char *name;
    pthread_mutex_t lock;                       /* one run at a time, where they meet or are balanced */
} Call;

struct Spread {
    Device *home;
    const char *what; uint64_t hash;            /* over ranks: what it is; NULL: it is not */
    int ncall; Call *call;
    int nval; size_t *bytes; int *uses;         /* by value of the program */
    int nin, nout; Ref *in, *out;
};

static bool alike(const Device *a, const Device *b)
{
    return !strcmp(a->info.kind, b->info.kind) && !strcmp(a->info.model, b->info.model) &&
        !strcmp(a->info.driver, b->info.driver);
}

/* The first shard before s on the same device; -1: none. */
static int sharer(const Call *c, int s)
{
    int t = 0;
    while (t < s && c->device[t] != c->device[s])
        t++;
    return t < s ? t : -1;
}

/* Shards of other ranks are theirs to build and to run. */
static bool is_here(const Call *c, int s) { return !device_far(c->device[s]); }

static bool all_alike(const Call *c)
{
    bool same = true;
    for (int s = 1; s < c->n; s++)
        same = same && alike(c->device[0], c->device[s]);
    return same;
}

/* How its shards reduce what g reduces over them: in chunks, which hide copies by way of the host; near
 * devices copy at once, and steps are quicker. */
static Together together(const Call *c, const Graph *g)
{
    bool steps = c->rank || devices_all_near(c->device, c->n);
    return (Together){ all_alike(c) ? crossing(g, c->device, c->n) : -1, steps };
}

/* Where shard s is along the axes of the grid, for its device. */
static bool set_places(Call *c, int s)
{
    for (int a = 0; a < c->mesh.naxis; a++) {
        int32_t at = (int32_t)mesh_place(&c->mesh, a, s);
        Mem **m = &c->place[s * c->mesh.naxis + a];
        if (!*m && !(*m = mem_with(c->device[s], &at, sizeof at)))
            return false;
    }
    return true;
}

/* Neighbouring places move from device to device where that ends them sooner. All programs are there. */
static void rebalance(Call *c)
{
    const Balance *b = c->balance;
    for (int s = 0, d = 0, left = b->count[0]; s < c->n; s++, left--) {
        while (!left)
            left = b->count[++d];
        if (c->device[s] == b->device[d])
            continue;
        c->device[s] = b->device[d], c->exec[s] = b->exec[d];
        for (int a = 0; a < c->mesh.naxis; a++) {
            mem_drop(c->place[s * c->mesh.naxis + a]);
            c->place[s * c->mesh.naxis + a] = NULL;
        }
        if (c->rank)
            c->rank[s] = device_rank(c->device[s]);
    }
}

/* g: of one shard; NULL after an error. */
static bool build_shards(Call *c, Graph *g, bool balanced, hd_cost_info *cost)
{
    if (!g)
        return false;
    c->meets = graph_exchanges(g);
    c->exec = NEWS(Exec *, c->n), c->place = NEWS(Mem *, c->n * c->mesh.naxis);
    for (int s = 0; s < c->n; s++) {
        int t = sharer(c, s), like = 0;
        if (!is_here(c, s))
            continue;
        while (like < s && !(is_here(c, like) && alike(c->device[like], c->device[s])))
            like++;
        if (t >= 0 && !c->meets)
            c->exec[s] = c->exec[t];
        else
            c->exec[s] = like < s ? compile_again(c->exec[like], g, c->device[s]) :
                                    compile_shard(graph_clone(g), c->device[s]);
        if (!c->exec[s] || !set_places(c, s)) {
            if (c->rank)
                rank_tells(c->device[s], (int)error_code());
            return false;
        }
        if (like == s)
            cost_add(cost, c->exec[s]);
    }
    if (balanced && !c->meets)
        c->balance = balance_new(c->n, c->device, c->exec);
    return true;
}

static int *ranks_of(const Call *c)
{
    int *rank = NEWS(int, c->n);
    for (int s = 0; s < c->n; s++)
        rank[s] = device_rank(c->device[s]);
    return rank;
}

static bool call_over(Call *c, const Piece *p, const Graph *g, const Device *home, hd_cost_info *cost)
{
    Places grid = grid_of(p->over);
    loc_set(c->loc = p->over->loc);
    if (!(c->device = grid_devices(&grid, home)))
        return false;
    c->mesh = grid_mesh(&grid), c->n = (int)mesh_shards(&c->mesh);
    c->rank = grid_ranked(&grid) ? ranks_of(c) : NULL;
    Dealt *in = NEWS(Dealt, p->nin), *out = NEWS(Dealt, p->nout);
    Graph *shard = graph_shard(p, g, &grid, together(c, g), in, out);
    c->il = NEWS(Sharding, p->nin), c->ol = NEWS(Sharding, p->nout);
    for (int k = 0; k < p->nin; k++)
        c->il[k] = (Sharding){ .type = g->type[p->in[k]], .mesh = c->mesh, .spec = in[k] };
    for (int k = 0; k < p->nout; k++)
        c->ol[k] = (Sharding){ .type = g->type[p->out[k]], .mesh = c->mesh, .spec = out[k] };
    return build_shards(c, shard, place_balanced(grid.axis[0].place), cost);
}

static bool call_home(Call *c, const Piece *p, Device *home, hd_cost_info *cost)
{
    c->exec = NEWS(Exec *, 1);
    if ((c->exec[0] = compile(graph_clone(p->g), home, NULL)))
        cost_add(cost, c->exec[0]);
    return c->exec[0];
}

/* All ranks come to it, or none does. */
static int over_ranks(const Spread *p)
{
    if (callback_runs())
        return error_set(E_DEVICE, "a callback cannot call what runs over ranks");
    return ranks_count() ? ranks_enter(p->what, p->hash) : (int)error_code();
}

static void count_uses(Spread *p)
{
    for (int k = 0; k < p->ncall; k++)
        for (int j = 0; j < p->call[k].nin; j++)
            p->uses[p->call[k].in[j]]++;
    for (int k = 0; k < p->nout; k++)
        p->uses[p->out[k]]++;
}

/* "f32[2,4], i32[2]": of what, so that messages tell two calls of one function apart. */
static const char *inputs_text(const Graph *g)
{
    enum { MOST = 4 };
    Text t = { 0 };
    for (int k = 0; k < g->nin && k < MOST; k++)
        text_add(&t, "%s%s", k ? ", " : "", type_text(&g->type[g->in[k]]));
    if (g->nin > MOST)
        text_add(&t, ", ...");
    const char *all = arena_text("%s", t.s ? t.s : "nothing");
    text_free(&t);
    return all;
}

/* Whether a program is over ranks, and then the same text and number in all of them. */
static void name_over_ranks(Spread *p, const Graph *g, const Piece *piece, int n)
{
    Text t = { 0 };
    for (int k = 0; k < n && !p->what; k++)
        if (piece[k].over) {
            Places grid = grid_of(piece[k].over);
            Loc at = piece[k].over->loc;
            if (grid_ranked(&grid))
                p->what = arena_text("the map over ranks %s at %s:%d, of %s", g->name ? g->name : "",
                    at.file ? at.file : "?", at.line, inputs_text(g));
        }
    if (!p->what)
        return;
    graph_print(g, &t);
    p->hash = t.s ? hash_bytes(t.s, t.n, 0) : 0;
    text_free(&t);
}

/* The same of a program over a mesh: what it is, over which devices, and how its inputs lie. */
static void name_over_mesh(Spread *p, const Graph *g, const hd_mesh *mesh, const Dealt *in)
{
    Text t = { 0 };
    char label[64];
    if (!mesh->ranks)
        return;
    p->what = arena_text("the program %s over a mesh of %lld places, of %s", g->name ? g->name : "",
        (long long)mesh_shards(&mesh->mesh), inputs_text(g));
    graph_print(g, &t);
    for (int a = 0; a < mesh->mesh.naxis; a++)
        text_add(&t, "%s %lld ", mesh->mesh.name[a], (long long)mesh->mesh.size[a]);
    for (int64_t k = 0; k < mesh_shards(&mesh->mesh); k++)
        text_add(&t, "%s ", device_label(mesh->device[k], label, sizeof label));
    p->hash = t.s ? hash_bytes(in, sizeof *in * (size_t)g->nin, hash_bytes(t.s, t.n, 0)) : 0;
    text_free(&t);
}

static void build_calls(Spread *p, const Graph *g, const Piece *piece, int n, hd_cost_info *cost)
{
    for (; p->ncall < n && !error_pending(); p->ncall++) {
        const Piece *q = &piece[p->ncall];
        Call *c = &p->call[p->ncall];
        *c = (Call){ .name = g->name, .nin = q->nin, .nout = q->nout, .in = q->in, .out = q->out };
        pthread_mutex_init(&c->lock, NULL);
        if (!(q->over ? call_over(c, q, g, p->home, cost) : call_home(c, q, p->home, cost)) &&
            !error_pending())
            error_set(E_INTERNAL, "a program for several devices could not be built");
    }
}

Spread *spread_build(Graph *whole, Device *home, hd_cost_info *cost)
{
    const Graph *g;
    Piece *piece;
    int n = graph_pieces(whole, &g, &piece), met = 0;
    if (!n)
        return NULL;
    Spread *p = NEW(Spread);
    *p = (Spread){ .home = home,
        .call = NEWS(Call, n),
        .nval = g->nval,
        .bytes = NEWS(size_t, g->nval),
        .uses = NEWS(int, g->nval),
        .nin = g->nin,
        .nout = g->nout,
        .in = arena_copy(g->in, sizeof *g->in * (size_t)g->nin),
        .out = arena_copy(g->out, sizeof *g->out * (size_t)g->nout) };
    for (Ref v = 1; v < (Ref)g->nval; v++)
        p->bytes[v] = type_bytes(&g->type[v]);
    Loc before = loc_here();
    name_over_ranks(p, g, piece, n);
    if (!p->what || !(met = over_ranks(p))) {
        ranks_away(true);
        build_calls(p, g, piece, n, cost);
        ranks_away(false);
    }
    if (p->what && !met)
        ranks_leave((int)error_code());
    loc_set(before);
    count_uses(p);
    if (!error_pending())
        return p;
    spread_drop(p);
    return NULL;
}

/* ... over a mesh: one call, of all that each shard computes. */
static bool call_mesh(Call *c, const Graph *g, const hd_mesh *mesh, const Dealt *in, hd_cost_info *cost)
{
    Text said = { 0 };
    Moves moves = { .text = &said, .spec = constraint_spec };
    Dealt *out = NEWS(Dealt, g->nout);
    c->mesh = mesh->mesh, c->n = (int)mesh_shards(&c->mesh);
    c->device = arena_copy(mesh->device, sizeof *mesh->device * (size_t)c->n);
    c->rank = mesh->ranks ? ranks_of(c) : NULL;
    Graph *shard = graph_sharded(g, &c->mesh, in, out, &moves);
    mesh_report(shard, &moves, cost);
    text_free(&said);
    shard = shard && !error_pending() ? graph_exchanging(shard, &c->mesh, in, together(c, shard)) : NULL;
    c->il = NEWS(Sharding, c->nin), c->ol = NEWS(Sharding, c->nout);
    for (int k = 0; k < c->nin; k++)
        c->il[k] = (Sharding){ g->type[g->in[k]], c->mesh, in[k], mesh };
    for (int k = 0; k < c->nout; k++)
        c->ol[k] = (Sharding){ g->type[g->out[k]], c->mesh, out[k], mesh };
    return !error_pending() && build_shards(c, shard, false, cost);
}

Spread *spread_mesh(Graph *g, const hd_mesh *mesh, const Dealt *in, Device *home, hd_cost_info *cost)
{
    int met = 0;
    Spread *p = NEW(Spread);
    *p = (Spread){ .home = home,
        .ncall = 1,
        .call = NEWS(Call, 1),
        .nval = 1 + g->nin + g->nout,
        .nin = g->nin,
        .nout = g->nout,
        .in = NEWS(Ref, g->nin),
        .out = NEWS(Ref, g->nout) };
    p->uses = NEWS(int, p->nval);
    for (int k = 0; k < g->nin; k++)
        p->in[k] = (Ref)(1 + k);
    for (int k = 0; k < g->nout; k++)
        p->out[k] = (Ref)(1 + g->nin + k);
    Loc before = loc_here();
    p->call[0] = (Call){ .name = g->name, .nin = g->nin, .nout = g->nout, .in = p->in, .out = p->out };
    pthread_mutex_init(&p->call[0].lock, NULL);
    name_over_mesh(p, g, mesh, in);
    if (!p->what || !(met = over_ranks(p))) {
        ranks_away(true);
        if (!call_mesh(&p->call[0], g, mesh, in, cost) && !error_pending())
            error_set(E_INTERNAL, "a program for several devices could not be built");
        ranks_away(false);
        if (p->what)
            ranks_leave((int)error_code());
    }
    loc_set(before);
    count_uses(p);
    if (!error_pending())
        return p;
    spread_drop(p);
    return NULL;
}

void spread_drop(Spread *p)
{
    for (int k = 0; p && k < p->ncall; k++) {
        Call *c = &p->call[k];
        for (int s = 0; s < (c->n ? c->n : 1) && c->exec; s++) {
            if (c->exec[s] && (!c->n || c->meets || sharer(c, s) < 0))
                c->exec[s]->device->backend->drop(c->exec[s]);
            for (int a = 0; c->place && a < c->mesh.naxis; a++)
                mem_drop(c->place[s * c->mesh.naxis + a]);
        }
        pthread_mutex_destroy(&c->lock);
    }
}

/* ==================== one shard */

typedef struct Job {
    const Call *c;
    Store *const *val;
    /* its shard; where they do not meet, all that share its device */
    int s;
    Party *party;
    Mem **in, **out;                            /* room for those of all shards: [shard][...] */
    int done; double seconds;                   /* its shards so far; what they took, all of it */
    int code, failed; Code error; char text[4096];      /* failed: the shard */
    _Atomic int *running;                       /* how many threads are at work */
    pthread_t thread; bool started;
} Job;

static int run_shard(const Job *j, int s)
{
    const Call *c = j->c;
    int all = c->nin + c->mesh.naxis, n = 0, e = 0;
    Mem **in = j->in + (size_t)s * (size_t)all;
    for (; n < c->nin && !e; n++)
        e = (in[n] = store_share(j->val[c->in[n]], &c->il[n], s, c->device[s])) ? 0 : (int)error_code();
    for (int a = 0; a < c->mesh.naxis; a++)
        in[c->nin + a] = c->place[s * c->mesh.naxis + a];
    e = e ? e :
            c->device[s]->backend->run(c->exec[s], all, in, c->nout, j->out + (size_t)s * (size_t)c->nout);
    for (int k = 0; k < n; k++)
        mem_drop(in[k]);
    return e;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs return before the device is done. */
static int wait_for(const Job *j, int s)
{
    Mem **out = j->out + (size_t)s * (size_t)j->c->nout;
    int e = 0;
    for (int k = 0; k < j->c->nout && !e; k++)
        e = out[k]->device->backend->wait(out[k]);
    return e;
}

static void work(Job *j)
{
    const Call *c = j->c;
    double since = c->balance ? seconds_now() : 0;
    for (int s = j->s; s < c->n && !j->code; s++) {
        if (s != j->s && (c->meets || c->device[s] != c->device[j->s]))
            continue;                           /* also those of other ranks */
        timeline_lane(s, c->device[s]->info.name);
        timeline_begin(c->name);
        if (c->meets)
            party_enter(j->party, s);
        j->code = run_shard(j, s);
        timeline_end(c->name);
        j->failed = s, j->done++;
        if (c->meets)
            party_leave(j->code);
    }
    if (c->balance && !j->code)
        j->code = wait_for(j, j->failed);
    j->seconds = c->balance ? seconds_now() - since : 0;
    j->error = error_code();
    snprintf(j->text, sizeof j->text, "%s", error_text());
    error_clear();
}

static void *begin(void *job)
{
    Job *j = job;
    loc_set(j->c->loc);
    work(j);
    --*j->running;
    return NULL;
}

/* Signals are for the application's threads. */
static bool start(Job *j)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ++*j->running;
    j->started = !pthread_create(&j->thread, NULL, begin, j);
    *j->running -= !j->started;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return j->started;
}

/* ==================== all shards of a call */

static void tell(const Job *j)
{
    Loc before = loc_set((Loc){ 0 });           /* the text has it */
    char label[64];
    const Device *d = j->c->device[j->failed];
    error_set(j->error ? j->error : E_INTERNAL, "%s (shard %d of %d, on %s)", j->text, j->failed, j->c->n,
              j->c->rank ? device_label(d, label, sizeof label) : d->info.name);
    loc_set(before);
}

/* A thread that cannot be had is a shard that has failed. Over ranks this one attends to messages. */
static int run_jobs(Job *job, int n, Party *party, bool ranks)
{
    int first = -1;
    _Atomic int running = 0;
    for (int k = 0; k < n; k++) {
        job[k].running = &running;
        if ((n > 1 || ranks) && !start(&job[k])) {
            job[k].code = E_NOMEM, job[k].error = E_NOMEM, job[k].failed = job[k].s;
            snprintf(job[k].text, sizeof job[k].text, "no thread for a shard");
            if (party) {
                party_enter(party, job[k].s);
                party_leave(E_NOMEM);
            }
        } else if (n == 1 && !ranks)
            work(&job[0]);
    }
    if (ranks)
        ranks_attend(party, &running);
    for (int k = 0; k < n; k++)
        if (job[k].started)
            pthread_join(job[k].thread, NULL);
    for (int k = n - 1; k >= 0; k--)
        if (job[k].code && (first < 0 || !party || job[k].s == party_first(party)))
            first = k;
    if (first >= 0)
        tell(&job[first]);
    return first >= 0 ? job[first].code : 0;
}

/* Where all shards have the same: which one's this process keeps for shard s, the device's first or, of
 * another rank, its own first. */
static int copy_of(const Call *c, int s)
{
    int first = 0;
    while (!is_here(c, s) && first < c->n && !is_here(c, first))
        first++;
    if (!is_here(c, s))
        return first < c->n ? first : 0;
    return sharer(c, s) < 0 ? s : sharer(c, s);
}

/* What shards of other ranks have computed is a size here; of what all have the same, ranks without a shard
 * get the first one's. */
static int settle_far(const Call *c, Mem **out)
{
    int n = 0, e = 0, ranks = ranks_count();
    bool any = false, *wants = malloc((size_t)ranks * sizeof *wants);
    Mem **list = calloc((size_t)c->nout + 1, sizeof *list);
    if (!wants || !list)
        e = error_set(E_NOMEM, "out of host memory");
    for (int s = 0; s < c->n && !e; s++)
        for (int k = 0; k < c->nout && !e && !is_here(c, s); k++) {
            Part part = part_of(&c->ol[k], s);
            Mem *m = far_mem(c->device[s], part_bytes(&c->ol[k].type, &part));
            out[(size_t)s * (size_t)c->nout + (size_t)k] = m;
            e = m ? 0 : (int)error_code();
        }
    for (int r = 0; r < ranks && !e; r++) {
        wants[r] = true;
        for (int s = 0; s < c->n; s++)
            wants[r] = wants[r] && c->rank[s] != r;
        any = any || wants[r];
    }
    for (int k = 0; k < c->nout && !e; k++)
        if (sharding_same(&c->ol[k]))
            list[n++] = out[k];
    e = e || !any ? e : ranks_gather(n, list, wants);
    free(list);
    free(wants);
    return e;
}

/* Operands that lie on other ranks and not as they are wanted are brought here, before shards run: in all
 * ranks alike. */
static int bring_operands(const Call *c, Store **val)
{
    int e = 0;
    for (int k = 0; k < c->nin && !e; k++) {
        const Shards *s = val[c->in[k]]->shards;
        if (s && s->ranks && !store_lies(val[c->in[k]], &c->il[k], c->device))
            e = store_bring(val[c->in[k]]);
    }
    return e;
}

/* Results of the shards as stores: shares, or, where all have the same, one copy a device. Takes the
 * memories over. */
static int settle_results(const Call *c, Mem **out, Store **val)
{
    for (int k = 0; k < c->nout; k++) {
        Shards *p = shards_new(&c->ol[k]);
        bool same = sharding_same(&c->ol[k]);
        if (p)
            p->ranks = c->rank, p->here = same;
        for (int s = 0; p && s < c->n; s++) {
            int first = same ? copy_of(c, s) : s;
            Mem **from = &out[(size_t)first * (size_t)c->nout + (size_t)k];
            if (first == s)
                p->mem[s] = *from, *from = NULL;
        }
        for (int s = 0; p && same && s < c->n; s++)
            if (!p->mem[s])
                p->mem[s] = mem_keep(p->mem[copy_of(c, s)]);
        val[c->out[k]] = p ? store_sharded(p) : NULL;
        if (!val[c->out[k]])
            return error_set(E_NOMEM, "out of host memory");
    }
    return 0;
}

/* What a place has cost on each device. */
static int note_costs(const Call *c, const Job *job, int n)
{
    char label[64];
    for (int k = 0; k < n; k++) {
        const Device *d = c->device[job[k].s];
        balance_see(c->balance, d, c->rank ? device_label(d, label, sizeof label) : d->info.name,
            job[k].seconds / job[k].done);
    }
    if (c->rank) /* learned when the call has succeeded in all */
        return balance_tell(c->balance);
    balance_learn(c->balance);
    return 0;
}

static int run_over(Call *c, Store **val)
{
    int n = 0;
    PartyAxis axis[MESH_AXES];
    for (int a = 0; a < c->mesh.naxis; a++)
        axis[a] = (PartyAxis){ c->mesh.name[a], (int)c->mesh.size[a] };
    Party *party = c->meets ? party_new(c->mesh.naxis, axis, c->device, c->rank ? ranks_part() : 0) : NULL;
    Job *job = calloc((size_t)c->n, sizeof *job);
    size_t nin = (size_t)c->n * (size_t)(c->nin + c->mesh.naxis), nout = (size_t)c->n * (size_t)c->nout;
    Mem **m = calloc(nin + nout + 1, sizeof *m);
    bool alone = c->meets || c->balance;
    int e = job && m && (party || !c->meets) ? 0 : (int)error_set(E_NOMEM, "out of host memory");
    if (alone)
        pthread_mutex_lock(&c->lock);
    if (c->balance && balance_better(c->balance))
        rebalance(c);
    for (int s = 0; s < c->n && !e; s++)
        e = is_here(c, s) && !set_places(c, s) ? (int)error_code() : 0;
    e = e ? e : bring_operands(c, val);
    for (int s = 0; s < c->n && !e; s++)
        if (is_here(c, s) && (c->meets || sharer(c, s) < 0))
            job[n++] = (Job){ .c = c, .val = val, .s = s, .party = party, .in = m, .out = m + nin };
    e = e ? e : run_jobs(job, n, party, c->rank);
    e = e || !c->balance ? e : note_costs(c, job, n);
    e = e || !c->rank ? e : settle_far(c, m + nin);
    e = e ? e : settle_results(c, m + nin, val);
    if (alone)
        pthread_mutex_unlock(&c->lock);
    for (size_t k = 0; m && k < nout; k++)
        mem_drop(m[nin + k]);
    free(m);
    free(job);
    party_drop(party);
    return e;
}

/* ==================== a run */

static int run_home(const Call *c, Device *home, Store **val, const size_t *bytes)
{
    Mem **m = calloc((size_t)(c->nin + c->nout + 1), sizeof *m);
    int n = 0, e = m ? 0 : (int)error_set(E_NOMEM, "out of host memory");
    for (; n < c->nin && !e; n++)
        e = (m[n] = store_on(val[c->in[n]], home, true)) ? 0 : (int)error_code();
    timeline_lane(-1, home->info.name);
    timeline_begin(c->name);
    ranks_away(true);
    e = e ? e : home->backend->run(c->exec[0], c->nin, m, c->nout, m + c->nin);
    ranks_away(false);
    timeline_end(c->name);
    for (int k = 0; k < c->nout && !e; k++) {
        val[c->out[k]] = store_new(bytes[c->out[k]], NULL, m[c->nin + k]);
        m[c->nin + k] = NULL;
        e = val[c->out[k]] ? 0 : (int)error_code();
    }
    for (int k = 0; m && k < c->nin + c->nout; k++)
        mem_drop(m[k]);
    free(m);
    return e;
}

/* Values go when their last reader has run. */
static void used(Store **val, int *left, Ref v)
{
    if (--left[v])
        return;
    store_drop(val[v]);
    val[v] = NULL;
}

static int run_pieces(Spread *p, Store *const *in, Store **out)
{
    Store **val = calloc((size_t)p->nval, sizeof *val);
    int *left = malloc((size_t)p->nval * sizeof *left),
        e = val && left ? 0 : (int)error_set(E_NOMEM, "out of host memory");
    for (int k = 0; k < p->nin && !e; k++)
        val[p->in[k]] = store_keep(in[k]);
    if (!e)
        memcpy(left, p->uses, (size_t)p->nval * sizeof *left);
    for (int k = 0; k < p->ncall && !e; k++) {
        Call *c = &p->call[k];
        e = c->n ? run_over(c, val) : run_home(c, p->home, val, p->bytes);
        e = e && !c->n && p->what ? rank_tells(p->home, e) : e;
        for (int j = 0; j < c->nin && !e; j++)
            used(val, left, c->in[j]);
    }
    for (int k = 0; k < p->nout && !e; k++)
        out[k] = store_keep(val[p->out[k]]);
    for (int v = 0; val && v < p->nval; v++)
        store_drop(val[v]);
    free(left);
    free(val);
    return e;
}

int spread_run(Spread *p, Store *const *in, Store **out, SpreadTake *take, void *env)
{
    int e = p->what ? over_ranks(p) : (int)error_code();
    if (e)
        return e;
    bool mine = !run_pieces(p, in, out);
    e = mine ? take(out, env) : (int)error_code();
    e = p->what ? ranks_leave(e) : e;
    for (int k = 0; k < p->nin; k++)
        store_settle(in[k], !e);
    for (int k = 0; k < p->nout && e && mine; k++) {
        store_drop(out[k]);
        out[k] = NULL;
    }
    for (int k = 0; k < p->ncall && !e && p->what; k++)
        if (p->call[k].balance)
            balance_learn(p->call[k].balance);
    return e;
}
