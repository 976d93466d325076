/*
 * far.c - devices of other ranks, as this process sees them: a name, what is known of it, and memories that
 * hold nothing.
 *
 * The table of such a device answers what must be asked of any memory. A memory's bytes can be brought here;
 * then it can be read.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

typedef struct FarDevice { Device base; int rank; } FarDevice;
typedef struct FarMem { Mem base; void *bytes; } FarMem;

static int elsewhere(const Device *d)
{
    return error_set(
        E_DEVICE, "%s is another rank's device: nothing is computed there from here", d->info.name);
}

static int far_alloc(Device *d, size_t n, Mem **m)
{
    *m = far_mem(d, n);
    return *m ? 0 : (int)error_code();
}

static void far_release(Mem *m)
{
    free(((FarMem *)m)->bytes);
    free(m);
}

static int far_write(Mem *m, size_t at, const void *bytes, size_t n)
{
    (void)m, (void)at, (void)bytes, (void)n;
    return 0;
}

static int far_read(Mem *m, size_t at, void *to, size_t n)
{
    const char *bytes = ((FarMem *)m)->bytes;
    if (n && !bytes)
        return error_set(
            E_INTERNAL, "%s: the bytes of this memory have not been brought here", m->device->info.name);
    if (n)
        memcpy(to, bytes + at, n);
    return 0;
}

static int far_wait(Mem *m) { (void)m; return 0; }
static bool far_ready(Mem *m) { (void)m; return true; }
static const void *far_map(Mem *m) { return ((FarMem *)m)->bytes; }
static Exec *far_build(Device *d, Plan *p) { (void)p, elsewhere(d); return NULL; }

static const Backend far_backend = {
    .kind = "far",
    .alloc = far_alloc,
    .release = far_release,
    .write = far_write,
    .read = far_read,
    .wait = far_wait,
    .ready = far_ready,
    .map = far_map,
    .build = far_build,
};

Device *far_new(int rank, const DeviceInfo *info)
{
    FarDevice *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "no memory for a device"), NULL;
    *d = (FarDevice){ { .backend = &far_backend, .info = *info }, rank };
    return &d->base;
}

bool device_far(const Device *d) { return d->backend == &far_backend; }

int device_rank(const Device *d) { return device_far(d) ? ((const FarDevice *)d)->rank : ranks_me(); }

const char *device_label(const Device *d, char *to, size_t n)
{
    if (device_far(d))
        snprintf(to, n, "%s", d->info.name);
    else
        snprintf(to, n, "%d/%s", ranks_me(), d->info.name);
    return to;
}

int rank_tells(const Device *d, int e)
{
    char label[64], text[4096];
    Code code = error_code();
    Loc before = loc_set((Loc){ 0 });           /* the text has it */
    snprintf(text, sizeof text, "%s", error_text());
    error_clear();
    e = error_set(code ? code : (Code)e, "%s (on %s)", text, device_label(d, label, sizeof label));
    loc_set(before);
    return e;
}

Mem *far_mem(Device *d, size_t n)
{
    FarMem *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(E_NOMEM, "out of host memory"), NULL;
    m->base.device = d, m->base.bytes = m->base.capacity = n, m->base.refs = 1;
    return &m->base;
}

void far_bytes(Mem *m, void *bytes)
{
    free(((FarMem *)m)->bytes);
    ((FarMem *)m)->bytes = bytes;
}

bool far_here(const Mem *m) { return ((const FarMem *)m)->bytes; }
