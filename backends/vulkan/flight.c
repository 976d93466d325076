/*
 * flight.c - what a program gives to the queue: commands, recorded once and given again; several calls of it
 * at once.
 *
 * In:  launches and copies, in order.   Out: command buffers that are given to the queue.
 * A flight is a command buffer and a table of what its launches need to know, the addresses of their
 * parameters. While it flies both are the device's; so each call takes one that has landed, or a new one. A
 * launch writes its addresses to the table in any case, and is recorded only if the flight has not that very
 * command at that place from the time before: so a call that does what an earlier one did records nothing,
 * whatever loops and branches the program has, and whatever memory it is given. Copies name buffers, and are
 * recorded again where those are others. A full table ends a flight, and so does who must wait for it.
 * The table's first word is set by loops that the driver ended before their time (spirv_loop.c).
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 8 };

/* ==================== flights */

void vk_flights_open(VkFlights *s, VkDev *d, size_t table)
{
    *s = (VkFlights){ .d = d, .table = HEAD + table, .most = d->adopted ? MOST_FLIGHTS : FLIGHTS };
}

static void flight_drop(VkDev *d, VkFlight *f)
{
    vk_stream_drop(d, &f->stream);
    vk_piece_drop(d, &f->table);
    free(f->command);
    free(f);
}

void vk_flights_close(VkFlights *s)
{
    vk_until(s->d, s->last);
    for (int k = 0; k < s->n; k++)
        flight_drop(s->d, s->all[k]);
    s->n = 0;
}

static VkFlight *flight_new(VkFlights *s)
{
    VkFlight *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    if (!vk_piece(s->d, s->table, true, &f->table) || !vk_stream_new(s->d, &f->stream))
        return flight_drop(s->d, f), NULL;
    memset(f->table.host, 0, s->table);
    return s->all[s->n++] = f;
}

int vk_flights_ready(VkFlights *s) { return s->n || flight_new(s) ? 0 : (int)error_code(); }

static bool same(const VkCommand *a, const VkCommand *b) { return !memcmp(a, b, sizeof *a); }

/* Does it hold a recording that begins with this? Copies of buffers that may be gone are none. */
static bool begins_with(const VkFlights *s, VkFlight *f, const VkCommand *c)
{
    if (f->kept && f->copies && f->destroyed != s->d->destroyed)
        f->kept = false;
    return f->kept && same(&f->command[0], c);
}

static bool older(const VkFlight *a, const VkFlight *b)
{
    return !b || a->stream.number < b->stream.number;
}

/* One that has landed and did the same; else a new one, or the one that has not been used for longest, which
 * is waited for. */
static VkFlight *take(VkFlights *s, const VkCommand *c)
{
    VkFlight *oldest = NULL;
    for (int k = 0; k < s->n; k++) {
        VkFlight *f = s->all[k];
        if (begins_with(s, f, c) && !vk_pending(s->d, f->stream.number))
            return f;
        if (older(f, oldest))
            oldest = f;
    }
    if (oldest && !oldest->kept && !vk_pending(s->d, oldest->stream.number))
        return oldest;
    if (s->n < s->most)
        return flight_new(s);
    VkResult e = vk_until(s->d, oldest->stream.number);
    if (e && s->d->base.lost)
        return vk_lost(s->d), NULL;
    return e ? vk_fails(s->d, e, "waiting for an earlier call"), NULL : oldest;
}

static int begin(VkFlights *s, const VkCommand *c)
{
    if (s->now)
        return 0;
    if (vk_lost(s->d) || (s->now = take(s, c)) == NULL)
        return (int)error_code();
    VkFlight *f = s->now;
    begins_with(s, f, c);                       /* what it holds may be forgotten */
    f->at = 0, f->used = HEAD, f->copies = f->copies && f->kept;
    if (!f->kept)
        f->n = 0;
    return 0;
}

/* ==================== recording */

/* Dispatches have a most number of work-groups: more are several parts of the grid. */
static void dispatch(const VkDev *d, VkCommandBuffer c, const int64_t n[3], const int64_t size[3], Pushed *p)
{
    int64_t most[3], at[3];
    for (int i = 0; i < 3; i++)
        most[i] = (d->groups[i] < (1u << 24) ? d->groups[i] : 1 << 24) * size[i];
    for (at[2] = 0; at[2] < n[2]; at[2] += most[2])
        for (at[1] = 0; at[1] < n[1]; at[1] += most[1])
            for (at[0] = 0; at[0] < n[0]; at[0] += most[0]) {
                uint32_t groups[3];
                for (int i = 0; i < 3; i++) {
                    int64_t left = n[i] - at[i] < most[i] ? n[i] - at[i] : most[i];
                    groups[i] = (uint32_t)((left + size[i] - 1) / size[i]);
                    p->start[i] = at[i];
                }
                d->f.CmdPushConstants(c, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof *p, p);
                d->f.CmdDispatch(c, groups[0], groups[1], groups[2]);
            }
}

static void record_launch(const VkDev *d, VkCommandBuffer b, const VkFlight *f, const VkCommand *c)
{
    const Kernel *k = c->kernel;
    Pushed p = { .table = f->table.address + c->at, .step = (int32_t)c->step };
    int64_t n[3] = { 1, 1, 1 }, size[3] = { c->group, 1, 1 };
    for (int i = 0; i < k->ngrid; i++) {
        n[i] = k->grid[i].n;
        size[i] = i && k->grid[i].group ? k->grid[i].group : size[i];
    }
    d->f.CmdBindPipeline(b, VK_PIPELINE_BIND_POINT_COMPUTE, c->pipeline);
    dispatch(d, b, n, size, &p);
}

static int record(VkFlights *s, const VkCommand *c)
{
    VkDev *d = s->d;
    VkCommandBuffer b = vk_stream_open(d, &s->now->stream, 0);
    if (!b)
        return (int)error_code();
    if (c->kernel)
        record_launch(d, b, s->now, c);
    else
        d->f.CmdCopyBuffer(b, c->from, c->to, 1, &c->copy);
    vk_barrier(d, b);
    return 0;
}

/* What was given to the flight so far is not what it holds, or not all of it. */
static int record_again(VkFlights *s)
{
    VkFlight *f = s->now;
    int e = 0;
    f->kept = false, f->n = f->at;
    for (int k = 0; k < f->n && !e; k++)
        e = record(s, &f->command[k]);
    return e;
}

static int next(VkFlights *s, const VkCommand *c)
{
    VkFlight *f = s->now;
    if (f->kept && f->at < f->n && same(&f->command[f->at], c))
        return f->at++, 0;
    if (f->kept && record_again(s))
        return (int)error_code();
    if (f->n == f->cap) {
        int cap = f->cap ? 2 * f->cap : 8;
        VkCommand *more = realloc(f->command, (size_t)cap * sizeof *more);
        if (!more)
            return error_set(E_NOMEM, "no memory for a program");
        f->command = more, f->cap = cap;
    }
    f->command[f->n++] = *c;
    f->at = f->n;
    if (!c->kernel)
        f->copies = true, f->destroyed = s->d->destroyed;
    return record(s, c);
}

/* ==================== for exec.c */

int vk_flights_launch(VkFlights *s, VkCommand c, const uint64_t *address)
{
    const size_t n = (size_t)(c.kernel->nparam + 1) * sizeof *address;
    if (n > s->table - HEAD)
        return error_set(E_INTERNAL, "kernel %s has %d parameters", c.kernel->name, c.kernel->nparam);
    if (s->now && s->now->used + n > s->table && vk_flights_start(s))
        return (int)error_code();
    c.at = s->now ? s->now->used : HEAD;
    if (begin(s, &c))
        return (int)error_code();
    VkFlight *f = s->now;
    memcpy(f->table.host + c.at, address, n - sizeof *address);
    memcpy(f->table.host + c.at + n - sizeof *address, &f->table.address, sizeof *address);
    f->used += n;
    return next(s, &c);
}

int vk_flights_copy(VkFlights *s, VkCommand c) { return begin(s, &c) ? (int)error_code() : next(s, &c); }

/* The first line of the user's that a kernel is of. */
static Loc line_of(const Kernel *k)
{
    for (int v = 0; v < k->nins; v++)
        if (k->ins[v].loc.file)
            return k->ins[v].loc;
    return (Loc){ NULL, 0 };
}

static VkWork work_of(const VkDev *d, const VkFlight *f)
{
    VkWork w = { .cut = d->caps.loop_limit ? (volatile uint32_t *)(void *)f->table.host : NULL };
    for (int k = 0; k < f->at; k++) {
        const Kernel *kernel = f->command[k].kernel;
        w.last = kernel ? kernel->name : w.last;
        if (kernel && !w.first)
            w.first = kernel->name, w.loc = line_of(kernel);
    }
    return w;
}

int vk_flights_start(VkFlights *s)
{
    VkFlight *f = s->now;
    if (!f)
        return 0;
    if (f->kept && f->at < f->n && record_again(s))
        return vk_flights_stop(s), (int)error_code();
    const VkWork w = work_of(s->d, f);
    f->kept = false;
    int e = vk_stream_start(s->d, &f->stream, &w);
    s->now = NULL;
    if (e)
        return e;
    f->kept = true;
    s->last = f->stream.number;
    s->first = s->first ? s->first : s->last;
    return 0;
}

int vk_flights_wait(VkFlights *s)
{
    const uint64_t last = s->first ? s->last : vk_newest(s->d);
    return vk_wait_for(s->d, s->first ? s->first : last, last);
}

void vk_flights_stop(VkFlights *s)
{
    if (!s->now)
        return;
    s->now->stream.open = s->now->kept = false;
    s->now = NULL;
}
