/*
 * access.c - loads and stores of a subgroup: what is wrong with them, and what they cost.
 *
 * In:  an instruction and the lanes that are active. Out: elements, or an error; counts.
 * An access of an item is some elements; neighbours that lie at a multiple of their bytes are one request,
 * of 16 bytes at most. A request of all lanes takes as many sectors as its bytes lie in, and of local memory
 * as many cycles as one bank has different words to give.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = W * W }; /* elements of an access */

/* Which request each element is part of, in order: lane l of the vector, part p. */
typedef struct Shape {
    int parts, wide, n;
    int16_t request[MOST];
} Shape;

/* Does every place that the form can be lie at a multiple of n? */
static bool multiple(Form f, int64_t n)
{
    bool is = f->c % n == 0;
    for (int t = 0; t < f->n; t++)
        is &= atom_is_lane(f->t[t].a) || f->t[t].k % n == 0;
    return is;
}

static void shape_of(const Simt *s, const KIns *i, Shape *h)
{
    bool block = i->op == K_LOADS || i->op == K_STORES;
    int64_t stride = 0;
    bool plain = k_mode(s->k, i->form, &stride);
    h->parts = block ? i->group : 1;
    h->wide = i->op == K_LOAD ? i->w : form_vector(i->form) ? W : 1;
    int64_t each = (int64_t)s->m->request / (int64_t)dtype_size((Dtype)i->buf->dt);
    bool row = plain && stride == h->parts; /* all elements side by side */
    int64_t beside = row ? (int64_t)W * h->parts : h->parts;
    while (each > 1 && (each > beside || !multiple(i->form, each) || (!row && block && stride % each)))
        each /= 2;
    each = each < 1 ? 1 : each;
    int before = 0;
    for (int e = 0; e < h->wide * h->parts; e++) {
        int l = e / h->parts, p = e % h->parts;
        int64_t r = row ? e / each : l * ((h->parts + each - 1) / each) + p / each;
        h->request[e] = (int16_t)r;
        before = (int)r;
    }
    h->n = before + 1;
}

/* ==================== costs */

static int by_address(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

/* Addresses sorted, each once; how many are left. */
static int distinct(uint64_t *a, int n)
{
    bool sorted = true;
    for (int k = 1; k < n; k++)
        sorted &= a[k - 1] <= a[k];
    if (!sorted)
        qsort(a, (size_t)n, sizeof *a, by_address);
    int m = n > 0;
    for (int k = 1; k < n; k++)
        if (a[k] != a[m - 1])
            a[m++] = a[k];
    return m;
}

static SimCache *near_cache(const Simt *s)
{
    SimMachine *x = s->l->machine;
    SimCache **c = &x->l1[s->core];
    if (!*c)
        *c = sim_cache_new(s->m->l1 / s->code->resident, s->m->line, s->m->sector);
    return *c;
}

/* One sector. How long a load waits for it. */
static double sector_moves(Simt *s, uint64_t at, double covered, bool store)
{
    const Profile *m = s->m;
    SimCache *l1 = near_cache(s);
    bool whole = covered >= m->sector;
    if (!l1 || !s->l->machine->l2)
        return m->wait_memory;
    if (!store && sim_cache_has(l1, at))
        return m->wait_l1;
    s->n->to_l2 += store && !whole ? m->partial * m->sector : m->sector;
    s->n->written += store ? m->sector : 0;
    if (sim_cache_has(s->l->machine->l2, at))
        return m->wait_l2;
    s->n->to_memory += store && !whole ? 2 * m->sector : m->sector;
    return m->wait_memory;
}

/* A request: so many bytes from each of n addresses on. */
static double request_global(Simt *s, uint64_t *a, int n, double width, bool store)
{
    const uint64_t sector = (uint64_t)s->m->sector, line = (uint64_t)s->m->line;
    uint64_t now = UINT64_MAX, row = UINT64_MAX;
    double covered = 0, wait = s->m->wait_l1, lines = 0, sectors = 0;
    n = distinct(a, n);
    for (int k = 0; k < n; k++)
        for (uint64_t b = a[k]; b < a[k] + (uint64_t)width;) {
            uint64_t in = b / sector, end = (in + 1) * sector;
            end = end < a[k] + (uint64_t)width ? end : a[k] + (uint64_t)width;
            if (in != now) {
                double w = covered > 0 ? sector_moves(s, now * sector, covered, store) : 0;
                wait = w > wait ? w : wait;
                lines += b / line != row, row = b / line;
                now = in, covered = 0, sectors++;
            }
            covered += (double)(end - b);
            b = end;
        }
    double w = covered > 0 ? sector_moves(s, now * sector, covered, store) : 0;
    wait = w > wait ? w : wait;
    double looked = lines / s->m->l1_lines, given = sectors * s->m->sector / s->m->l1_width;
    s->n->asked++, s->n->sectors += sectors;
    s->n->least += (double)(int64_t)((n * width + s->m->sector - 1) / s->m->sector);
    s->n->lines += looked > given ? looked : given;
    s->n->to_l1 += sectors * s->m->sector;
    return wait + (looked > given ? looked : given) - 1;
}

static double request_local(Simt *s, uint64_t *a, int n, double width)
{
    int bank[256] = { 0 }, most = 1, words = 0;
    const uint64_t word = (uint64_t)s->m->word, banks = (uint64_t)s->m->banks;
    uint64_t before = UINT64_MAX;
    n = distinct(a, n);
    for (int k = 0; k < n; k++)
        for (uint64_t w = a[k] / word; w <= (a[k] + (uint64_t)width - 1) / word; w++) {
            if (w == before)
                continue;
            before = w, words++;
            int b = ++bank[w % banks % 256];
            most = b > most ? b : most;
        }
    int best = (words + (int)banks - 1) / (int)banks;
    s->n->local += best > 1 ? best : 1;
    s->n->conflicts += most - (best > 1 ? best : 1);
    return s->m->wait_local + most - 1;
}

/* One request of an access: a is where it begins, by lane; m: of it. Returns what a load waits for. */
static double request(Simt *s, const SimMemory *m, const int64_t *a, int elements, bool store)
{
    uint64_t at[LANES_MAX];
    size_t size = dtype_size((Dtype)m->buf->dt);
    int n = 0;
    if (m->buf->space == PRIVATE && !s->code->far[m - s->mem - s->k->nparam])
        return 0;
    for (int l = 0; l < s->lanes; l++) {
        int64_t slot = (int64_t)s->sub * s->lanes + l, place = a[l];
        if (!simt_on(s, l))
            continue;
        if (m->buf->space == PRIVATE) /* elements of neighbours lie side by side */
            place = place * s->code->items + slot;
        at[n++] = m->address + (uint64_t)place * size;
    }
    simt_issue(s, C_REQUEST, 1, 0);
    if (m->buf->space == LOCAL)
        return request_local(s, at, n, (double)(size * (size_t)elements));
    return request_global(s, at, n, (double)(size * (size_t)elements), store);
}

/* ==================== faults */

#define wrong(s, lane, ...) simt_wrong((s), (lane), arena_text(__VA_ARGS__))

static Who who(const Simt *s, int lane)
{
    int64_t item = s->first + (int64_t)s->sub * s->lanes + lane + 1;
    return (Who){ (int32_t)item, (int32_t)s->group, (int32_t)s->phase };
}

/* Where an element is in what is kept of it: an item's own arrays lie one behind the other. */
static int64_t kept_at(const Simt *s, const SimMemory *m, int lane, int64_t at)
{
    return m->buf->space == PRIVATE ? ((int64_t)s->sub * s->lanes + lane) * m->buf->size + at : at;
}

static void touched(Simt *s, SimMemory *m, int64_t at)
{
    if (!m->touched || m->touched[at])
        return;
    m->touched[at] = 1;
    s->n->touched += (double)dtype_size((Dtype)m->buf->dt);
}

static int load_one(Simt *s, SimMemory *m, int lane, int64_t at, int64_t *out)
{
    const Buffer *b = m->buf;
    Dtype dt = (Dtype)b->dt;
    int64_t slack = b->space == GLOBAL ? SLACK : 0;
    if (at < -slack || at >= b->size + slack)
        return wrong(
            s, lane, "%s[%lld] of %lld elements is read", b->name, (long long)at, (long long)b->size);
    *out = k_wrap((Dtype)s->now->dt, 0x5A5A5A5A5A5A5A5A);
    if (at < 0 || at >= b->size)
        return 0;
    int64_t kept = kept_at(s, m, lane, at);
    size_t size = dtype_size(dt);
    const unsigned char *p = m->p + (size_t)kept * size;
    if (m->known && !m->known[(size_t)kept * size])
        return wrong(s, lane, "%s[%lld] is read before it is written", b->name, (long long)at);
    Race r = m->watch ? watch_read(&m->watch[at], who(s, lane)) : NO_RACE;
    if (r)
        return simt_wrong(s, lane, race_text(r, &m->watch[at], b->name, at));
    touched(s, m, at);
    *out = dtype_half(dt) ? k_bits_of(DT_F32, dtype_load_f(dt, p)) : dtype_load_i(dt, p);
    return 0;
}

static int store_one(Simt *s, SimMemory *m, int lane, int64_t at, int64_t bits)
{
    const Buffer *b = m->buf;
    Dtype dt = (Dtype)b->dt;
    size_t size = dtype_size(dt);
    if (at < 0 || at >= b->size)
        return wrong(
            s, lane, "%s[%lld] of %lld elements is written", b->name, (long long)at, (long long)b->size);
    int64_t kept = kept_at(s, m, lane, at);
    unsigned char *p = m->p + (size_t)kept * size, was[8];
    memcpy(was, p, size);
    if (dtype_half(dt))
        dtype_store_f(dt, p, k_float_of(DT_F32, bits));
    else
        dtype_store_i(dt, p, bits);
    bool same = !memcmp(was, p, size) && (!m->known || m->known[(size_t)kept * size]);
    Race r = m->watch ? watch_write(&m->watch[at], who(s, lane), same) : NO_RACE;
    if (r)
        return simt_wrong(s, lane, race_text(r, &m->watch[at], b->name, at));
    if (m->known)
        memset(m->known + (size_t)kept * size, 1, size);
    touched(s, m, at);
    return 0;
}

/* ==================== */

int simt_load(Simt *s, Val v)
{
    const KIns *i = &s->k->ins[v];
    SimMemory *m = &s->mem[s->place[v]];
    int64_t at[LANES_MAX * W], a[LANES_MAX] = { 0 };
    double wait = 0;
    Shape h;
    shape_of(s, i, &h);
    simt_form(s, i->form, h.wide, at);
    for (int e = 0, from = 0; e < h.wide * h.parts; e++) {
        int l = e / h.parts, p = e % h.parts;
        int64_t *out = simt_val(s, i->op == K_LOADS ? i->part[p] : v);
        for (int x = 0; x < s->lanes; x++)
            if (simt_on(s, x) && load_one(s, m, x, at[x * h.wide + l] + p, &out[x * h.wide + l]))
                return error_code();
        if (e && h.request[e] == h.request[e - 1])
            ;
        else
            from = e;
        if (from == e)
            for (int x = 0; x < s->lanes; x++)
                a[x] = at[x * h.wide + l] + p;
        if (e + 1 == h.wide * h.parts || h.request[e + 1] != h.request[e]) {
            double w = request(s, m, a, e + 1 - from, false);
            wait = w > wait ? w : wait;
        }
    }
    simt_issue(s, C_CONTROL, 0, (int64_t)(wait / s->code->unroll[i->home]));
    return 0;
}

int simt_store(Simt *s, Val v)
{
    const KIns *i = &s->k->ins[v];
    SimMemory *m = &s->mem[s->place[v]];
    int64_t at[LANES_MAX * W], a[LANES_MAX] = { 0 };
    Shape h;
    shape_of(s, i, &h);
    simt_form(s, i->form, h.wide, at);
    for (int e = 0, from = 0; e < h.wide * h.parts; e++) {
        int l = e / h.parts, p = e % h.parts;
        const int64_t *in = simt_val(s, i->arg[p]);
        int w = s->k->ins[i->arg[p]].w;
        for (int x = 0; x < s->lanes; x++)
            if (simt_on(s, x) && store_one(s, m, x, at[x * h.wide + l] + p, in[w > 1 ? x * w + l : x]))
                return error_code();
        if (!e || h.request[e] != h.request[e - 1]) {
            from = e;
            for (int x = 0; x < s->lanes; x++)
                a[x] = at[x * h.wide + l] + p;
        }
        if (e + 1 == h.wide * h.parts || h.request[e + 1] != h.request[e])
            request(s, m, a, e + 1 - from, true);
    }
    return 0;
}
