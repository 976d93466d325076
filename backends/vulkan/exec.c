/*
 * exec.c - executables: a plan as pipelines, and its runs.
 *
 * In:  Plan, then memories.   Out: memories that are computed.
 * A pipeline a kernel (code.c). A run gives launches and copies to flights (flight.c), which go to the
 * queue at its end, and where the host must read something (a condition); only that waits. All programs of
 * a device share its queue, which works in order: so the arena of temporaries is used by one call after the
 * other, and calls in flight need no copy of it.
 */
#include "jobs.h"
#include "reading.h"
#include "vk.h"

#include <stdlib.h>
#include <string.h>

/* bytes */
enum { MOST_TABLE = 1 << 16 };

typedef struct VkExec {
    Exec base;
    Plan *plan;
    Frame *top;
    Kernel **list; int nkernel;                 /* by Kernel.id */
    Units code;
    Reading *reading;                           /* tier 0, until there is code; NULL: it is, or must be */
    _Atomic bool compiled;                      /* it has pipelines, a frame and all that they need */
    VkPiece **owned; int nowned, owned_cap;     /* everything to release */
    VkPiece *arena;
    VkFlights flights;
    VkUser *user;
    uint64_t *address;                          /* of a launch's parameters: room for the most of a kernel */
    bool apart;                                 /* its commands run, and what moves goes beside them */
    bool ran;                                   /* once: drivers of processors compile when a kernel runs */
    pthread_mutex_t lock;
} VkExec;

static VkDev *device_of(const VkExec *x) { return (VkDev *)x->base.device; }

/* ---- building ---- */

static VkPiece *piece(VkExec *x, size_t bytes, bool host)
{
    if (x->nowned == x->owned_cap) {
        int cap = x->owned_cap ? 2 * x->owned_cap : 16;
        VkPiece **p = realloc(x->owned, (size_t)cap * sizeof *p);
        if (!p)
            return error_set(E_NOMEM, "no memory for a program"), NULL;
        x->owned = p;
        x->owned_cap = cap;
    }
    VkPiece *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    if (!vk_piece(device_of(x), bytes ? bytes : 1, host, p))
        return free(p), NULL;
    return x->owned[x->nowned++] = p;
}

static VkPiece *constant(VkExec *x, const Slot *s)
{
    VkPiece *p = piece(x, s->bytes, false);
    return p && !vk_piece_write(device_of(x), p, 0, s->data, s->bytes) ? p : NULL;
}

/* Temporaries are places in one arena; each is an allocation of its own where the arena is too large for
 * one, and under HEDDLE_CHECK=buffers. */
static Spot place(void *exec, const Slot *s)
{
    VkExec *x = exec;
    if (s->kind == SLOT_TEMP && x->arena)
        return (Spot){ x->arena, s->offset };
    return (Spot){ s->kind == SLOT_CONST ? constant(x, s) : piece(x, s->bytes, false), 0 };
}

static int most_params(const VkExec *x)
{
    int most = 0;
    for (int k = 0; k < x->nkernel; k++)
        most = x->list[k]->nparam > most ? x->list[k]->nparam : most;
    return most;
}

/* Bytes of the addresses that a call may want at once. */
static size_t table_of(const Plan *p)
{
    size_t n = 0;
    for (int s = 0; s < p->nstep && n < MOST_TABLE; s++) {
        const Step *step = &p->step[s];
        const size_t turns = step->kind == S_LOOP && step->trip > 1 ? (size_t)step->trip : 1;
        size_t body = step->kind == S_LAUNCH ? ((size_t)step->kernel->nparam + 1) * sizeof(uint64_t) : 0;
        for (int b = 0; b < step->nbody; b++)
            body += table_of(step->body[b]);
        n = body && turns > MOST_TABLE / body ? MOST_TABLE : n + turns * body;
    }
    return n < MOST_TABLE ? n : MOST_TABLE;
}

/* With the code there, and the lock held where others may see it: memory that stays. */
static int complete(VkExec *x)
{
    VkDev *d = device_of(x);
    const Plan *p = x->plan;
    if (p->bytes && p->bytes + 8 * SLACK_BYTES < d->base.info.max_alloc && !check_wanted("buffers") &&
        !x->arena && !(x->arena = piece(x, p->bytes, false)))
        return (int)error_code();
    if (!x->top && !(x->top = replay_frame(p, &d->base, place, x)))
        return (int)error_code();
    if (!x->address && !(x->address = calloc((size_t)most_params(x) + 1, sizeof *x->address)))
        return error_set(E_NOMEM, "no memory for a program");
    if (vk_flights_ready(&x->flights))
        return (int)error_code();
    if (dump_wanted("time"))
        units_tell(&x->code, x->list);
    x->compiled = true;
    return 0;
}

/* Until its code is there, or to see whether it is. 0, NOT_YET, or an error. */
static int come_to_code(VkExec *x, bool wait)
{
    if (x->compiled)
        return 0;
    pthread_mutex_lock(&x->lock);
    int e = x->compiled ? 0 : units_finish(&x->code, wait);
    e = e || x->compiled ? e : complete(x);
    pthread_mutex_unlock(&x->lock);
    return e;
}

static bool code_ready(void *exec) { return come_to_code(exec, false) != NOT_YET; }

int vk_finish(Exec *exec) { return come_to_code((VkExec *)exec, true); }

/* Reading gives the same bits where the device computes all numbers as the standard says. */
static bool may_read(const VkDev *d, const Plan *p)
{
    const bool *exact = d->caps.keeps_denormals;
    return !d->adopted && exact[0] && (exact[1] || !d->caps.f64) && jobs_possible() && tier0_possible(p);
}

static VkExec *exec_new(Device *dev, Plan *p)
{
    VkExec *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->base.device = dev;
    dev->live++;
    x->plan = p;
    plan_code(p, &x->list, &x->nkernel);
    vk_flights_open(&x->flights, (VkDev *)dev, table_of(p));
    return x;
}

/* e: how it began. */
static Exec *started(VkExec *x, int e)
{
    if (x && !e && !error_pending())
        return &x->base;
    if (x)
        vk_drop(&x->base);
    return NULL;
}

static Exec *start(Device *dev, Plan *p, bool wait)
{
    VkDev *d = (VkDev *)dev;
    VkExec *x = exec_new(dev, p);
    int e = x ? vk_code_open(&x->code, d, x->list, x->nkernel, false) : (int)error_code();
    wait = wait || e || !may_read(d, p) || !tier0_pays(p, units_expected(&x->code));
    if (!e)
        vk_code_begin(&x->code, wait);
    e = e ? e : come_to_code(x, wait);
    if (e == NOT_YET && dump_wanted("time"))
        fprintf(stderr, "---- time tier 0: %d kernels are read while they are compiled\n", x->nkernel);
    if (e == NOT_YET)
        e = (x->reading = reading_new(p, dev, code_ready, x)) ? 0 : (int)error_code();
    return started(x, e);
}

Exec *vk_build(Device *d, Plan *p) { return start(d, p, true); }
Exec *vk_begin(Device *d, Plan *p) { return start(d, p, false); }

Exec *vk_again(Device *dev, Plan *p)
{
    VkExec *x = exec_new(dev, p);
    int e = x ? vk_code_open(&x->code, (VkDev *)dev, x->list, x->nkernel, true) : (int)error_code();
    return started(x, e ? e : come_to_code(x, true));
}

void vk_drop(Exec *exec)
{
    VkExec *x = (VkExec *)exec;
    VkDev *d = device_of(x);
    vk_flights_close(&x->flights);
    vk_users_drop(d, &x->user);
    units_drop(&x->code);
    reading_drop(x->reading);
    replay_frame_drop(x->top);
    for (int i = 0; i < x->nowned; i++) {
        vk_piece_drop(d, x->owned[i]);
        free(x->owned[i]);
    }
    free(x->owned);
    free(x->address);
    pthread_mutex_destroy(&x->lock);
    d->base.live--;
    free(x);
}

/* The words, a byte as two digits: `xxd -r -p | spirv-dis` reads a kernel's. */
int vk_code(Exec *exec, Text *t)
{
    const VkExec *x = (const VkExec *)exec;
    for (int k = 0; k < x->nkernel; k++) {
        const VkWords w = vk_code_words(&x->code, k);
        spirv_text(x->list[k]->name, w.word, w.n, vk_code_local(&x->code, k), t);
    }
    return 0;
}

/* ---- running ---- */

static int flush(VkExec *x)
{
    int e = vk_flights_start(&x->flights);
    return e ? e : vk_flights_wait(&x->flights);
}

static int launch(void *exec, const Frame *f, const Kernel *k, int64_t step)
{
    VkExec *x = exec;
    for (int i = 0; i < k->nparam; i++) {
        const Spot *s = &f->mem[k->param[i]->slot];
        const VkPiece *p = s->buffer;
        x->address[i] = p ? p->address + s->at : 0;
    }
    const VkCommand c = { .kernel = k,
        .pipeline = vk_code_pipeline(&x->code, k->id),
        .group = vk_code_local(&x->code, k->id),
        .step = k->stepped ? step : 0 };
    return vk_flights_launch(&x->flights, c, x->address);
}

static int copy(void *exec, Spot from, Spot to, size_t bytes)
{
    VkExec *x = exec;
    const VkPiece *a = from.buffer, *b = to.buffer;
    if (x->apart)
        return vk_piece_copy(
            device_of(x), b, a, &(Strided){ .from = from.at, .to = to.at, .bytes = bytes, .n = 1 });
    const VkCommand c = { .from = a->buffer,
        .to = b->buffer,
        .copy = { a->at + from.at, b->at + to.at, bytes } };
    return vk_flights_copy(&x->flights, c);
}

static int fetch(void *exec, Spot from, void *out, size_t bytes)
{
    VkExec *x = exec;
    int e = x->apart ? 0 : flush(x);
    return e ? e : vk_piece_read(device_of(x), from.buffer, from.at, out, bytes);
}

static int settle(void *exec) { return flush(exec); }

static int apart(void *exec)
{
    VkExec *x = exec;
    int e = vk_flights_start(&x->flights);
    x->apart = !e;
    return e;
}

static int joined(void *exec)
{
    VkExec *x = exec;
    x->apart = false;
    return vk_flights_wait(&x->flights);
}

static const void *seen(void *exec, Spot s)
{
    const VkPiece *p = s.buffer;
    (void)exec;
    return p->host ? p->host + s.at : NULL;
}

static int store(void *exec, Spot to, const void *bytes, size_t n)
{
    VkExec *x = exec;
    int e = x->apart ? 0 : flush(x);
    return e ? e : vk_piece_write(device_of(x), to.buffer, to.at, bytes, n);
}

static void away(void *exec, bool is) { (void)exec, (void)is; }

/* A kernel of the user's, which is no part of a flight: behind what was given before. */
static int user(void *exec, const UserKernel *k, int n, const UserArg *arg)
{
    VkExec *x = exec;
    VkFlights *s = &x->flights;
    uint64_t number = 0;
    int e = vk_flights_start(s);
    e = e ? e : vk_user_launch(device_of(x), &x->user, k, n, arg, &number);
    if (number)
        s->last = number, s->first = s->first ? s->first : number;
    return e;
}

static bool speaks(const UserKernel *k) { return k->spirv; }

static const Replay steps = { launch, copy, fetch, store, settle, apart, joined, seen, away, user, speaks };

static Spot spot(Mem *m) { return (Spot){ &((VkMem *)m)->piece, 0 }; }

/* A call of tier 0. Whatever goes wrong, the device is to say. */
static bool read_through(VkExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    if (!x->reading || come_to_code(x, false) != NOT_YET)
        return false;
    if (!tier0_run(x->reading, nin, in, nout, out))
        return true;
    error_clear();
    return false;
}

/* Why an argument could not be computed, if that is seen. */
static int arguments(VkDev *d, int nin, Mem *const *in)
{
    int e = 0;
    for (int i = 0; i < nin && !e && d->given.nbad; i++)
        e = vk_outcome(d, ((VkMem *)in[i])->written, ((VkMem *)in[i])->written);
    return e;
}

/* What has begun uses these memories, also after an error. */
static int give_all(VkExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    VkDev *d = device_of(x);
    VkFlights *s = &x->flights;
    s->first = 0, x->apart = false;
    int e = arguments(d, nin, in);
    e = e ? e : replay(&steps, &d->base, x, x->top, in, out, spot);
    e = e ? e : vk_flights_start(s);
    if (!e && s->first && !x->ran && d->base.info.is_cpu && !d->adopted)
        e = vk_flights_wait(s), x->ran = !e;
    vk_flights_stop(s);
    for (int i = 0; s->first && i < nin; i++)
        vk_mem_used((VkMem *)in[i], s->last, false);
    for (int i = 0; s->first && i < nout; i++)
        if (x->plan->alias[i] == -1)
            vk_mem_used((VkMem *)out[i], s->last, true);
    return e || !d->given.nbad ? e : arguments(d, nin, in);     /* seen while they were given */
}

int vk_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    VkExec *x = (VkExec *)exec;
    int e = replay_outputs(x->plan, exec->device, in, nout, out);
    if (!e && !x->compiled && read_through(x, nin, in, nout, out))
        return 0;
    e = e ? e : come_to_code(x, true);
    if (!e && x->plan->nstep) {
        pthread_mutex_lock(&x->lock);
        e = give_all(x, nin, in, nout, out);
        pthread_mutex_unlock(&x->lock);
    }
    if (!e && error_pending())                  /* the validation layer has something to say */
        e = error_code();
    if (e)
        replay_forget(nout, out);
    return e;
}
