/*
 * plan_keep.c - plans as bytes, for a disk.
 *
 * In:  a plan.   Out: bytes; and from these a plan that does the same, whose kernels have no instructions:
 * only names, parameters, how often they run, and what their code is (Kernel.code), by which whoever has
 * their compiled code knows it. So what is read back serves a device that has compiled it before, and no
 * other.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* Writes, or reads: the same walk does both, so they cannot differ. */
typedef struct Bytes {
    char *p;
    size_t n, cap;
    bool reads, bad;
} Bytes;

static void raw(Bytes *b, void *x, size_t n)
{
    if (b->bad || !n)
        return;
    if (b->reads) {
        b->bad = n > b->cap - b->n;
        if (!b->bad)
            memcpy(x, b->p + b->n, n), b->n += n;
        return;
    }
    if (n > b->cap - b->n) {
        size_t cap = 2 * b->cap + n + 256;
        char *p = realloc(b->p, cap);
        b->bad = !p;
        if (!p)
            return;
        b->p = p, b->cap = cap;
    }
    memcpy(b->p + b->n, x, n), b->n += n;
}

#define RAW(b, x) raw(b, &(x), sizeof(x))

/* How many follow, each of so many bytes at least when they are read. */
static int counted(Bytes *b, int *n)
{
    RAW(b, *n);
    if (b->reads && (b->bad || *n < 0 || (size_t)*n > b->cap - b->n))
        b->bad = true, *n = 0;
    return *n;
}

static void text(Bytes *b, const char **s)
{
    int n = b->reads || !*s ? 0 : (int)strlen(*s);
    counted(b, &n);
    char *p = b->reads ? arena_alloc((size_t)n + 1) : NULL;
    raw(b, b->reads ? p : (void *)(uintptr_t)*s, (size_t)n);
    if (b->reads)
        *s = p;
}

static void ints(Bytes *b, int **v, int n)
{
    if (b->reads && !b->bad)
        *v = n >= 0 && (size_t)n <= b->cap ? NEWS(int, n) : (b->bad = true, NULL);
    if (!b->bad)
        raw(b, *v, (size_t)n * sizeof **v);
}

static void buffer(Bytes *b, Buffer *f)
{
    text(b, &f->name);
    RAW(b, f->dt), RAW(b, f->space), RAW(b, f->size), RAW(b, f->slot);
}

static void kernel(Bytes *b, Kernel **at)
{
    bool is = *at;
    RAW(b, is);
    if (!is || b->bad)
        return;
    Kernel *k = b->reads ? *at = NEW(Kernel) : *at;
    text(b, &k->name);
    RAW(b, k->code), RAW(b, k->work), RAW(b, k->stepped), RAW(b, k->wide_index);
    if (counted(b, &k->ngrid) > 3)
        b->bad = true;
    for (int g = 0; g < k->ngrid && !b->bad; g++)
        RAW(b, k->grid[g].n), RAW(b, k->grid[g].group);
    counted(b, &k->nparam);
    if (b->reads)
        k->param = NEWS(Buffer *, k->nparam), k->written = NEWS(bool, k->nparam);
    for (int p = 0; p < k->nparam && !b->bad; p++) {
        if (b->reads)
            k->param[p] = NEW(Buffer);
        buffer(b, k->param[p]);
        RAW(b, k->written[p]);
    }
}

static void slot(Bytes *b, Slot *s)
{
    bool data = s->data;
    RAW(b, s->kind), RAW(b, s->dt), RAW(b, s->index), RAW(b, s->size), RAW(b, s->bytes), RAW(b, s->offset);
    text(b, &s->name);
    RAW(b, data);
    if (!data || b->bad)
        return;
    b->bad = b->reads && s->bytes > b->cap - b->n;
    void *p = b->reads && !b->bad ? arena_alloc(s->bytes + 1) : (void *)(uintptr_t)s->data;
    raw(b, p, s->bytes);
    s->data = p;
}

static void plan(Bytes *, Plan *);

static void step(Bytes *b, Step *s)
{
    RAW(b, s->kind), RAW(b, s->trip), RAW(b, s->reverse), RAW(b, s->ncap), RAW(b, s->ncarry);
    b->bad |= s->kind == S_HOST || s->ncarry < 0;
    if (s->kind == S_EXCHANGE)
        RAW(b, s->swap), text(b, &s->name);
    kernel(b, &s->kernel);
    counted(b, &s->nin), counted(b, &s->nout);
    ints(b, &s->in, s->nin), ints(b, &s->out, s->nout);
    counted(b, &s->nbody);
    ints(b, &s->pong, step_pongs(s));
    if (b->reads)
        s->body = NEWS(Plan *, s->nbody);
    for (int k = 0; k < s->nbody && !b->bad; k++) {
        if (b->reads)
            s->body[k] = NEW(Plan);
        plan(b, s->body[k]);
    }
}

static void plan(Bytes *b, Plan *p)
{
    counted(b, &p->nslot);
    if (b->reads)
        p->slot = NEWS(Slot, p->nslot);
    for (int k = 0; k < p->nslot && !b->bad; k++)
        slot(b, &p->slot[k]);
    RAW(b, p->narg), RAW(b, p->bytes), RAW(b, p->nkernel), RAW(b, p->work), RAW(b, p->launches);
    counted(b, &p->nresult);
    ints(b, &p->alias, p->nresult);
    counted(b, &p->nstep);
    if (b->reads)
        p->step = NEWS(Step, p->nstep);
    for (int k = 0; k < p->nstep && !b->bad; k++)
        step(b, &p->step[k]);
}

void *plan_pack(const Plan *p, size_t *n)
{
    Bytes b = { 0 };
    plan(&b, (Plan *)(uintptr_t)p); /* which is only read */
    *n = b.n;
    if (!b.bad)
        return b.p;
    free(b.p);
    return NULL;
}

Plan *plan_unpack(const void *bytes, size_t n)
{
    Bytes b = { .p = (char *)(uintptr_t)bytes, .cap = n, .reads = true };
    Plan *p = NEW(Plan);
    plan(&b, p);
    p->kept = true;
    return b.bad || b.n != n || error_pending() ? NULL : p;
}
