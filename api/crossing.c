/*
 * crossing.c - from how many bytes on shards reduce in parts, each its own, and gather them, instead of
 * gathering everything and reducing it all: as it is on this machine.
 *
 * In:  the devices of a call whose shards reduce something of a size for which that matters.   Out: bytes,
 * of all shards together.
 * A pair of the devices stands for all of them, which are alike. Programs that only sum are run on the two,
 * both ways, with few bytes and with many; between them time is taken for a line. Where the lines of so many
 * shards as there are would meet, follows from what each way moves: gathering brings a shard all bytes, in
 * parts it gets a part of each and then all parts, with a message and a launch more for each. What the pair
 * takes is kept, in this process and on disk, by kind and model of the devices: so however many there are,
 * it is measured once, and never for a call that sums only little or very much.
 * Either way gives the same bits.
 */
#include "api.h"
#include "ranks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* bytes */
enum { LEAST = 4 << 10, MOST = 16 << 20, FEW = LEAST, MANY = 512 << 10, UNKNOWN = 256 << 10 };
enum { PAIR = 2, CHAIN = 4, ROUNDS = 4, KEPT = 16 };

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
static Graph *sums(int64_t w, ReduceWay way)
{
    int exchanges = 0;
    const char *axis = intern("shards");
    Graph *g = graph_begin(graph_new());
    g->name = intern("measuring sums of shards");
    Ref x = graph_input(type_of(DT_F32, 1, &w), 0);
    for (int k = 0; k < CHAIN; k++)
        x = reduced_over(OP_psum, axis, PAIR, way, x, &exchanges);
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

static bool begin_all(Probe *p, Party *party)
{
    bool good = true;
    for (int s = 0; s < PAIR; s++) {
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

/* Nanoseconds of one sum over the pair of so many bytes of both; 0: it could not be measured. */
static double one_sum(Device *const *device, int64_t both, bool parts)
{
    const PartyAxis axis = { intern("shards"), PAIR };
    const ReduceWay way = devices_near(device[0], device[1]) ? REDUCE_IN_STEPS : REDUCE_IN_PARTS;
    const int64_t w = both / PAIR / (int64_t)sizeof(float);
    Graph *g = graph_dce(sums(w, parts ? way : REDUCE_WHOLE));
    Probe p[PAIR] = { 0 };
    size_t bytes = sizeof(float) * (size_t)w;
    void *zeros = calloc(1, bytes);
    Party *party = party_new(1, &axis, device, 0);
    bool good = g && zeros && party && !error_pending();
    for (int s = 0; s < PAIR && good; s++) {
        p[s].device = device[s];
        p[s].exec = s ? compile_again(p[0].exec, g, device[s]) : compile_shard(graph_clone(g), device[0]);
        good = p[s].exec && (p[s].in = mem_with(device[s], zeros, bytes));
    }
    double least = 0;
    good = good && begin_all(p, party);
    for (int s = 0; s < PAIR; s++) {
        if (p[s].started)
            pthread_join(p[s].thread, NULL);
        good = good && !p[s].code;
        least = p[s].least > least ? p[s].least : least;
    }
    for (int s = 0; s < PAIR; s++) {
        if (p[s].exec)
            p[s].device->backend->drop(p[s].exec);
        mem_drop(p[s].in);
    }
    party_drop(party);
    free(zeros);
    error_clear();
    return good ? least / CHAIN : 0;
}

/* Of a sum over a pair, in nanoseconds: what parts take more for few bytes, and what a byte takes, gathered
 * and in parts. */
typedef struct Pair { double more, whole, parts; } Pair;

/* false: the devices do not do it. */
static bool pair_measured(Device *const *device, Pair *pair)
{
    double t[2][2];
    for (int parts = 0; parts < 2; parts++)
        for (int many = 0; many < 2; many++)
            if ((t[parts][many] = one_sum(device, many ? MANY : FEW, parts)) <= 0)
                return false;
    pair->more = t[1][0] - t[0][0];
    pair->whole = (t[0][1] - t[0][0]) / (MANY - FEW), pair->parts = (t[1][1] - t[1][0]) / (MANY - FEW);
    return true;
}

/* Where the lines of n shards meet. Gathered, each gets n pieces and all bytes, whatever n is; in parts
 * twice as many pieces, and twice the n-th part of the bytes. A power of two, so that small differences from
 * run to run do not matter. */
static int64_t meeting(const Pair *pair, int n)
{
    double more = pair->more * n / PAIR, gain = pair->whole - pair->parts * PAIR / n;
    int64_t most = LEAST;
    while (most < MOST && (gain <= 0 || ((double)most - FEW) * gain < more))
        most *= 2;
    return most;
}

/* ==================== keeping */

/* under the front end's lock, as all compiling */
static struct { char *key; Pair pair; } kept[KEPT];
static int nkept;

/* The first device, and one that stands for the others: the one that is farthest from it. */
static void stand_for(Device *const *device, int n, Device **pair)
{
    pair[0] = pair[1] = device[0];
    for (int s = n - 1; s > 0; s--)
        if (device[s] != device[0] && (pair[1] == device[0] || !devices_near(device[0], device[s])))
            pair[1] = device[s];
}

static const char *key_of(Device *const *pair)
{
    const char *how = pair[0] == pair[1] ? "one" : devices_near(pair[0], pair[1]) ? "near" : "apart";
    const DeviceInfo *i = &pair[0]->info;
    return arena_text("crossing 4|%s|%s|%s|%s", how, pair[0]->backend->kind, i->model, i->driver);
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
    Device *two[PAIR];
    Pair pair = { 0 };
    void *data = NULL;
    size_t size = 0;
    stand_for(device, n, two);
    const char *key = key_of(two);
    for (int k = 0; key && k < nkept; k++)
        if (!strcmp(kept[k].key, key))
            return meeting(&kept[k].pair, n);
    bool known = key && cache_get(key, strlen(key), &data, &size) && size == sizeof pair;
    if (known)
        memcpy(&pair, data, size);
    free(data);
    if (!key || (!known && !pair_measured(two, &pair)))
        return UNKNOWN;
    if (!known)
        cache_put(key, strlen(key), &pair, sizeof pair);
    if (nkept < KEPT && (kept[nkept].key = strdup(key)))
        kept[nkept++].pair = pair;
    return meeting(&pair, n);
}
