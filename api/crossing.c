/*
 * crossing.c - from how many bytes on shards reduce in parts, each its own, and gather them, instead of
 * gathering everything and reducing it all: as it is on this machine.
 *
 * In:  the devices of a call whose shards reduce something of a size for which that matters.   Out: bytes,
 * of all shards together.
 * Programs that only sum are run on the devices, both ways, with few bytes and with many. Between them time
 * is taken for a line: gathering brings more bytes to each shard, parts take an exchange and launches more.
 * Where the lines meet is kept, in this process and on disk, by kinds and models of devices. Either way
 * gives the same bits.
 */
#include "api.h"
#include "ranks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* bytes */
enum { LEAST = 4 << 10, MOST = 16 << 20, FEW = LEAST, MANY = 1 << 20, UNKNOWN = 256 << 10 };
enum { CHAIN = 4, ROUNDS = 5, KEPT = 16 };

static int64_t forced;

int64_t crossing_set(int64_t bytes)
{
    int64_t before = forced;
    forced = bytes;
    return before;
}

/* ==================== is it asked for? */

static bool between(const Graph *g, Ref v, int64_t lanes)
{
    int64_t bytes = (int64_t)type_bytes(&g->type[v]);
    return lanes > 0 && bytes <= MOST / lanes && bytes > LEAST / lanes;
}

/* A collective, or a result that is summed over the lanes of a place. */
static bool matters(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        const Region *r = i->op == OP_region ? i->region : NULL;
        if ((i->op == OP_psum || i->op == OP_pmax || i->op == OP_pmin) &&
            between(g, i->in[0], ins_int(i, ATTR(psum, size))))
            return true;
        for (int a = 0; r && a < r->nlane; a++)
            for (int k = 0; k < i->nout && r->lane[a].place; k++)
                if (r->om[k * r->nlane + a] == SUMMED && between(g, i->out + (Ref)k, r->lane[a].size))
                    return true;
        for (int k = 0; k < i->nsub; k++)
            if (matters(i->sub[k]))
                return true;
    }
    return false;
}

bool devices_all_near(Device *const *device, int n)
{
    for (int s = 1; s < n; s++)
        if (!devices_near(device[0], device[s]))
            return false;
    return true;
}

/* ==================== measuring */

typedef struct Probe {
    Device *device; Exec *exec; Party *party; Mem *in; int s;
    double least;                               /* nanoseconds, of all turns */
    int code; bool started; pthread_t thread;
} Probe;

/* Sums over the shards, one after the other. */
static Graph *sums(int n, int64_t w, ReduceWay way)
{
    int exchanges = 0;
    const char *axis = intern("shards");
    Graph *g = graph_begin(graph_new());
    g->name = intern("measuring sums of shards");
    Ref x = graph_input(type_of(DT_F32, 1, &w), 0);
    for (int k = 0; k < CHAIN; k++)
        x = reduced_over(OP_psum, axis, n, way, x, &exchanges);
    graph_outputs(&x, 1);
    graph_end();
    return g;
}

static double nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void *rounds(void *probe)
{
    Probe *p = probe;
    party_enter(p->party, p->s);
    for (int k = 0; k < ROUNDS && !p->code; k++) {
        Mem *out = NULL;
        double since = nanoseconds();
        p->code = p->device->backend->run(p->exec, 1, &p->in, 1, &out);
        double took = nanoseconds() - since;
        mem_drop(out);
        p->least = k && p->least < took ? p->least : took;
    }
    party_leave(p->code);
    error_clear();
    return NULL;
}

static bool begin_all(Probe *p, int n, Party *party)
{
    bool good = true;
    for (int s = 0; s < n; s++) {
        p[s].party = party, p[s].s = s;
        p[s].started = good && !pthread_create(&p[s].thread, NULL, rounds, &p[s]);
        if (!p[s].started) {
            party_enter(party, s);
            party_leave(E_NOMEM);
            good = false;
        }
    }
    return good;
}

/* Nanoseconds of one sum of w numbers a shard; 0: it could not be measured. */
static double one_sum(Device *const *device, int n, int64_t w, bool parts)
{
    const PartyAxis axis = { intern("shards"), n };
    const ReduceWay way = devices_all_near(device, n) ? REDUCE_IN_STEPS : REDUCE_IN_PARTS;
    Graph *g = graph_dce(sums(n, w, parts ? way : REDUCE_WHOLE));
    Probe *p = NEWS(Probe, n);
    size_t bytes = sizeof(float) * (size_t)w;
    void *zeros = calloc(1, bytes);
    Party *party = party_new(1, &axis, device, 0);
    bool good = g && zeros && party && !error_pending();
    for (int s = 0; s < n && good; s++) {
        p[s].device = device[s];
        p[s].exec = s ? compile_again(p[0].exec, device[s]) : compile_shard(graph_clone(g), device[0]);
        good = p[s].exec && (p[s].in = mem_with(device[s], zeros, bytes));
    }
    double least = 0;
    good = good && begin_all(p, n, party);
    for (int s = 0; s < n; s++) {
        if (p[s].started)
            pthread_join(p[s].thread, NULL);
        good = good && !p[s].code;
        least = p[s].least > least ? p[s].least : least;
    }
    for (int s = 0; s < n; s++) {
        if (p[s].exec)
            p[s].device->backend->drop(p[s].exec);
        mem_drop(p[s].in);
    }
    party_drop(party);
    free(zeros);
    error_clear();
    return good ? least / CHAIN : 0;
}

/* Where two lines meet, through what both ways take for few bytes and for many. A power of two, so that
 * small differences from run to run do not matter. UNKNOWN where the devices do not do it. */
static int64_t measured(Device *const *device, int n)
{
    const double few = FEW, many = MANY;
    const int64_t w = FEW / (int64_t)sizeof(float) / n + 1, v = MANY / (int64_t)sizeof(float) / n + 1;
    double t[2][2];
    for (int parts = 0; parts < 2; parts++) {
        t[parts][0] = one_sum(device, n, w, parts);
        t[parts][1] = t[parts][0] > 0 ? one_sum(device, n, v, parts) : 0;
        if (t[parts][1] <= 0)
            return UNKNOWN;
    }
    /* of parts: for few bytes; then a byte */
    double more = t[1][0] - t[0][0], gain = (t[0][1] - t[1][1] + more) / (many - few);
    int64_t most = LEAST;
    while (most < MOST && (gain <= 0 || ((double)most - few) * gain < more))
        most *= 2;
    return most;
}

/* ==================== keeping */

/* under the front end's lock, as all compiling */
static struct { char *key; int64_t bytes; } kept[KEPT];
static int nkept;

static const char *key_of(Device *const *device, int n)
{
    Text t = { 0 };
    int distinct = 0;
    for (int s = 0; s < n; s++)
        distinct += !s || device[s] != device[s - 1];
    text_add(&t, "crossing 3|%d|%d|%s|%s|%s", n, distinct, device[0]->backend->kind, device[0]->info.model,
        device[0]->info.driver);
    const char *key = t.s ? intern(t.s) : NULL;
    text_free(&t);
    return key;
}

/* Over ranks, all must take one way: no measurement of one of them says which. */
int64_t crossing(const Graph *g, Device *const *device, int n)
{
    if (forced)
        return forced;
    for (int s = 0; s < n; s++)
        if (device_far(device[s]))
            return UNKNOWN;
    return n > 1 && matters(g) ? crossing_measured(device, n) : UNKNOWN;
}

int64_t crossing_measured(Device *const *device, int n)
{
    void *data = NULL;
    size_t size = 0;
    int64_t bytes = 0;
    const char *key = key_of(device, n);
    if (!key)
        return UNKNOWN;
    for (int k = 0; k < nkept; k++)
        if (!strcmp(kept[k].key, key))
            return kept[k].bytes;
    if (cache_get(key, strlen(key), &data, &size) && size == sizeof bytes)
        memcpy(&bytes, data, size);
    free(data);
    if (bytes < LEAST || bytes > MOST) {
        bytes = measured(device, n);
        cache_put(key, strlen(key), &bytes, sizeof bytes);
    }
    if (nkept < KEPT && (kept[nkept].key = strdup(key)))
        kept[nkept++].bytes = bytes;
    return bytes;
}
