/*
 * grid.c - which device each shard of a grid is on.
 *
 * In:  the axes of a grid, each with the text of its .devices.   Out: a device for each shard, in row-major
 * order.
 * The list of an axis is dealt out in equal parts to the places along it, neighbours together. What a place
 * has got is the list of the axis inside: all of it, or, where that axis has numbers for .devices, those of
 * it; where it has names, these instead.
 */
#include "api.h"
#include "ranks.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BALANCED "balanced "

bool place_balanced(const char *place) { return !strncmp(place, BALANCED, strlen(BALANCED)); }

static const char *devices_of(const Places *p, int axis)
{
    const char *s = p->axis[axis].place;
    return place_balanced(s) ? s + strlen(BALANCED) : s;
}

typedef struct List { Device **device; int n; } List;           /* in the arena */

static bool is_relative(const char *devices)
{
    return isdigit((unsigned char)devices[strspn(devices, " \t")]) && !strchr(devices, '/');
}

static List named_devices(const char *names)
{
    Device **d;
    int n = devices_listed("hd_pmap: .devices", names, &d);
    List l = { NEWS(Device *, n), n };
    if (n > 0)                                  /* else there is an error, and no list */
    memcpy(l.device, d, sizeof *d * (size_t)n);
    free(d);
    return l;
}

/* "0, 2": of those that the place around has got. */
static List chosen_devices(const char *numbers, List from)
{
    List l = { NEWS(Device *, (int)strlen(numbers)), 0 };
    for (const char *s = numbers; s; s = s && *s ? s + 1 : NULL) {
        char *end;
        long k = strtol(s, &end, 10);
        end += strspn(end, " \t");
        if (end == s || (*end && *end != ',') || k < 0 || k >= from.n) {
            error_set(E_INVAL,
                "hd_pmap: .devices \"%s\": there are numbers from 0 to %d here, of the devices that the map "
                "around "
                "gives each of its places",
                numbers, from.n - 1);
            return (List){ 0 };
        }
        l.device[l.n++] = from.device[k];
        s = *end ? end : NULL;
    }
    return l;
}

/* All devices of one kind, at most so many. */
static List devices_like(const Device *home, int64_t most)
{
    int all = 0;
    while (*device_kind(all))                   /* those in no list are behind it */
        all++;
    List l = { NEWS(Device *, all), 0 };
    for (int i = 0; i < all && l.n < most && !error_pending(); i++)
        if (!strcmp(device_kind(i), home->info.kind))
            l.device[l.n++] = device_at(i);
    return l;
}

bool grid_ranked(const Places *p)
{
    for (int a = p->n - 1; a >= 0; a--)         /* names inside stand for those around */
        if (devices_of(p, a)[0] && !is_relative(devices_of(p, a)))
            return devices_ranked(devices_of(p, a));
    return ranks_several();
}

static List list_of(const Places *p, int axis, List from)
{
    const char *own = devices_of(p, axis);
    if (!own[0])
        return from;
    if (!is_relative(own))
        return named_devices(own);
    if (axis)
        return chosen_devices(own, from);
    error_set(E_INVAL,
        "hd_pmap: .devices \"%s\": numbers choose among the devices of a map around this one, and there is "
        "none; "
        "give names",
        own);
    return (List){ 0 };
}

/* Whether k devices can be dealt out to the places of the axes from this one on. */
static bool fits(const Places *p, int axis, int k)
{
    int a = axis;
    do {
        int m = (int)p->axis[a].size;
        if (place_balanced(p->axis[a].place) && k <= m)
            return true;
        if (m % k == 0 || k % m)
            return m % k == 0;
        k /= m;
    } while (++a < p->n && !devices_of(p, a)[0]);
    return a < p->n;                            /* the next has its own */
}

/* How many devices of a kind a rank has; k: the place of the k-th in the list. */
static int kind_of_rank(int rank, const char *kind, int k, int *at)
{
    int n = 0;
    for (int i = 0; i < far_devices(rank); i++)
        if (!strcmp(far_info(rank, i)->kind, kind) && n++ == k)
            *at = i;
    return n;
}

/* Of each rank as many of a kind, the most that fit; where one of each does not fit, one each of the first
 * ranks. */
static List devices_of_ranks(const Places *p, const char *kind)
{
    int ranks = ranks_count(), each = ranks ? INT32_MAX : 0, at = 0;
    for (int r = 0; r < ranks; r++) {
        int has = kind_of_rank(r, kind, -1, &at);
        each = has < each ? has : each;
    }
    while (each > 1 && !fits(p, 0, each * ranks))
        each--;
    while (each == 1 && ranks > 1 && !fits(p, 0, ranks))
        ranks--;
    List l = { NEWS(Device *, (size_t)each * (size_t)ranks), 0 };
    for (int r = 0; r < ranks; r++)
        for (int k = 0; k < each; k++) {
            kind_of_rank(r, kind, k, &at);
            l.device[l.n++] = device_find(far_info(r, at)->name);
        }
    if (!l.n && !error_pending())
        error_set(
            E_DEVICE, "hd_pmap: not every rank has a device \"%s\": .devices names those of each", kind);
    return l;
}

/* All devices of one kind; as many as fit. */
static List default_devices(const Places *p, const Device *home, int64_t n)
{
    if (ranks_several())
        return devices_of_ranks(p, home->info.kind);
    List all = devices_like(home, n);
    while (all.n > 1 && !fits(p, 0, all.n))
        all.n--;
    return all;
}

/* From the first place of this axis on; where the shards end that are now known. */
static Device **deal(const Places *p, int axis, List from, Device **out)
{
    if (axis == p->n) {
        *out = from.device[0];
        return out + 1;
    }
    List l = list_of(p, axis, from);
    int64_t m = p->axis[axis].size;
    if (error_pending())
        return out;
    if (!fits(p, axis, l.n)) {
        error_set(E_SHAPE,
            "hd_pmap: an axis of %lld cannot be dealt out to the %d devices of \"%s\": a multiple is wanted",
            (long long)m, l.n, devices_of(p, axis));
        return out;
    }
    int part = l.n > m ? (int)(l.n / m) : 1;
    for (int64_t s = 0; s < m && !error_pending(); s++)
        out = deal(p, axis + 1, (List){ l.device + (l.n > m ? s * part : s * l.n / m), part }, out);
    return out;
}

Device **grid_devices(const Places *p, const Device *home)
{
    Mesh mesh = grid_mesh(p);
    int64_t n = mesh_shards(&mesh);
    Device **d = NEWS(Device *, n);
    List all = devices_of(p, 0)[0] ? (List){ 0 } : default_devices(p, home, n);
    if (!error_pending())
        deal(p, 0, all, d);
    return error_pending() ? NULL : d;
}

/* Names in places that are batched are looked at, too. */
static void names_known(const Graph *g)
{
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        const Ins *i = g->ins[n];
        Loc before = loc_set(i->loc);
        for (int a = 0; i->op == OP_region && a < i->region->nlane; a++) {
            const Lane *l = &i->region->lane[a];
            Places own = { 1, { *l } };
            if (l->place && l->size && devices_of(&own, 0)[0] && !is_relative(devices_of(&own, 0)))
                named_devices(devices_of(&own, 0));
        }
        loc_set(before);
        for (int k = 0; k < i->nsub; k++)
            names_known(i->sub[k]);
    }
}

bool places_known(const Graph *g, Device *home)
{
    names_known(g);
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        Places p = grid_of(g->ins[n]);
        Loc before = loc_set(g->ins[n]->loc);
        if (p.n)
            grid_devices(&p, home);
        loc_set(before);
    }
    return !error_pending();
}
