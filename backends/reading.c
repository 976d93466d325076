/*
 * reading.c - plans whose kernels are read instruction by instruction, in the host's memory.
 *
 * In:  a plan, and where the host has the bytes of its arguments and results.   Out: those bytes; or an
 * error where a kernel does what it must not.
 * It is all of the device `kernel`, and tier 0 of devices whose compiler takes its time: first calls of a
 * program are read, which needs no compiler, while the device's works in processes of its own. That is done
 * where reading should end first, by rates that are measured (rates.c); they may be wrong, so it is left in
 * the midst when the code is there. The kernels are the same, and what an instruction gives does not depend
 * on who runs it: so neither do the bits. A temporary has an allocation of its own, so that an overrun meets
 * nobody else.
 */
#include "reading.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rates.h"
#include "run.h"

enum { TIER0_BYTES = 64 << 20 }; /* of arguments, results and temporaries, at most: they are copied */

struct Reading {
    Frame *frame;
    void **owned;
    int nowned, cap; /* temporaries */
    const Device *device;
    bool (*ready)(void *exec);
    void *exec;
    double look; /* when that is asked again */
    pthread_mutex_t lock; /* they serve one run at a time */
};

static char *bytes_at(Spot s) { return (char *)s.buffer + s.at; }

static Spot place(void *x, const Slot *s)
{
    Reading *r = x;
    if (s->kind == SLOT_CONST && s->data)
        return (Spot){ (void *)(uintptr_t)s->data, 0 };
    if (r->nowned == r->cap) {
        int cap = r->cap ? 2 * r->cap : 16;
        void **p = realloc(r->owned, (size_t)cap * sizeof *p);
        if (!p)
            return error_set(E_NOMEM, "no memory for a program"), (Spot){ NULL, 0 };
        r->owned = p, r->cap = cap;
    }
    void *p = malloc(s->bytes + 16);
    if (!p)
        return error_set(E_NOMEM, "no memory for a program"), (Spot){ NULL, 0 };
    memset(p, 0xA5, s->bytes); /* nothing may depend on what is there */
    return (Spot){ r->owned[r->nowned++] = p, 0 };
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool enough(void *reading)
{
    enum { LOOK_MS = 5 };
    Reading *r = reading;
    double now = now_ms();
    if (now < r->look)
        return false;
    r->look = now + LOOK_MS;
    return r->ready(r->exec);
}

/* ==================== steps */

static int launch(void *x, const Frame *f, const Kernel *k, int64_t step)
{
    Reading *r = x;
    void **param = calloc((size_t)k->nparam + 1, sizeof *param);
    if (!param)
        return error_set(E_NOMEM, "no memory for a launch");
    for (int n = 0; n < k->nparam; n++)
        param[n] = bytes_at(f->mem[k->param[n]->slot]);
    int e = k_run(k, &(KLaunch){ param, step, r->ready ? enough : NULL, r });
    free(param);
    return e;
}

static int copy(void *x, Spot from, Spot to, size_t n)
{
    (void)x;
    if (n)
        memmove(bytes_at(to), bytes_at(from), n);
    return 0;
}

static int fetch(void *x, Spot from, void *out, size_t n)
{
    (void)x;
    if (n)
        memcpy(out, bytes_at(from), n);
    return 0;
}

static int store(void *x, Spot to, const void *p, size_t n)
{
    (void)x;
    if (n)
        memcpy(bytes_at(to), p, n);
    return 0;
}

static int settled(void *x)
{
    (void)x;
    return 0;
}
static const void *seen(void *x, Spot s)
{
    (void)x;
    return bytes_at(s);
}

static void away(void *x, bool is)
{
    Reading *r = x;
    if (is)
        pthread_mutex_unlock(&r->lock);
    else
        pthread_mutex_lock(&r->lock);
}

int reading_run(Reading *r, Mem *const *in, Mem *const *out, Spot (*spot)(Mem *))
{
    static const Replay steps = { launch, copy, fetch, store, settled, settled, settled, seen, away,
        NULL, NULL };
    pthread_mutex_lock(&r->lock);
    int e = replay(&steps, r->device, r, r->frame, in, out, spot);
    pthread_mutex_unlock(&r->lock);
    return e;
}

Reading *reading_new(const Plan *p, const Device *d, bool (*ready)(void *exec), void *exec)
{
    Reading *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&r->lock, NULL);
    r->device = d, r->ready = ready, r->exec = exec;
    if (!(r->frame = replay_frame(p, d, place, r)))
        return reading_drop(r), NULL;
    return r;
}

void reading_drop(Reading *r)
{
    if (!r)
        return;
    replay_frame_drop(r->frame);
    for (int k = 0; k < r->nowned; k++)
        free(r->owned[k]);
    free(r->owned);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ==================== tier 0 */

static bool plain(const Plan *p)
{
    for (int s = 0; s < p->nstep; s++) {
        const Step *st = &p->step[s];
        if (st->kind == S_HOST || st->kind == S_EXCHANGE)
            return false;
        for (int b = 0; b < st->nbody; b++)
            if (!plain(st->body[b]))
                return false;
    }
    return true;
}

static bool tier_is(const char *n)
{
    const char *tier = getenv("HEDDLE_TIER");
    return tier && !strcmp(tier, n);
}

bool tier0_possible(const Plan *p) { return !tier_is("1") && p->nstep && plain(p); }

/* Milliseconds for a cycle of compiled code. */
static Rate *reading_rate(void) { return rate_of("read", 2e-4); }

bool tier0_pays(const Plan *p, double compile_ms)
{
    size_t bytes = p->bytes;
    for (int s = 0; s < p->nslot; s++)
        bytes += p->slot[s].kind == SLOT_TEMP ? 0 : p->slot[s].bytes;
    const double ms = rate_ms(reading_rate(), p->work);
    if (dump_wanted("time"))
        fprintf(stderr, "---- time tier 0: by what others took, reading %.1f ms, compiling %.1f ms\n", ms,
            compile_ms);
    return tier_is("0") || (ms <= compile_ms && bytes <= TIER0_BYTES);
}

/* What stands for a device's memory: nobody but spot_of looks at it. */
typedef struct Copy {
    Mem *mem;
    void *bytes;
} Copy;

static Spot spot_of(Mem *m) { return (Spot){ ((Copy *)(void *)m)->bytes, 0 }; }

static int copies(Copy *c, Mem **as, int n, Mem *const *mem, bool fill)
{
    for (int k = 0; k < n; k++) {
        c[k] = (Copy){ mem[k], malloc(mem[k]->bytes + 16) };
        as[k] = (Mem *)(void *)&c[k];
        if (!c[k].bytes)
            return error_set(E_NOMEM, "no memory for a program");
        if (fill && mem[k]->bytes && mem[k]->device->backend->read(mem[k], 0, c[k].bytes, mem[k]->bytes))
            return (int)error_code();
    }
    return 0;
}

_Atomic uint64_t tier0_runs;

int tier0_run(Reading *r, int nin, Mem *const *in, int nout, Mem *const *out)
{
    const Plan *p = r->frame->plan;
    int n = nin + nout;
    Copy *c = calloc((size_t)n + 1, sizeof *c);
    Mem **as = calloc((size_t)n + 1, sizeof *as);
    int e = c && as ? 0 : error_set(E_NOMEM, "no memory for a program");
    e = e ? e : copies(c, as, nin, in, true);
    e = e ? e : copies(c + nin, as + nin, nout, out, false);
    const double began = now_ms();
    e = e ? e : reading_run(r, as, as + nin, spot_of);
    const double ms = now_ms() - began;
    if (!e || (e == K_LEFT && ms > rate_ms(reading_rate(), p->work)))
        rate_seen(reading_rate(), p->work, ms);
    tier0_runs += !e;
    for (int k = 0; k < nout && !e; k++) /* what is an argument or another result is there */
        if (p->alias[k] == -1 && out[k]->bytes)
            e = out[k]->device->backend->write(out[k], 0, c[nin + k].bytes, out[k]->bytes);
    for (int k = 0; c && k < n; k++)
        free(c[k].bytes);
    free(c), free(as);
    return e;
}
