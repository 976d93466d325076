/*
 * device_api.c - devices as the program sees them: names and facts.
 */
#include "api.h"
#include "progress.h"
#include "ranks.h"
#include <string.h>

/* Those of all ranks, one after the other. */
int hd_device_count(void)
{
    OP(hd_device_count);
    int ranks = ranks_count(), n = 0;
    if (ranks < 2)
        return ranks ? device_count() : 0;
    for (int r = 0; r < ranks; r++)
        n += far_devices(r);
    return n;
}

int hd_rank(void)
{
    OP(hd_rank);
    error_begin();
    return ranks_me();
}

int hd_ranks(void)
{
    OP(hd_ranks);
    error_begin();
    return ranks_count();
}

/* Device i of the job's. Of this process alone NULL. */
static const DeviceInfo *of_ranks(int i)
{
    int ranks = ranks_count();
    if (ranks < 2)
        return NULL;
    for (int r = 0; r < ranks; r++) {
        if (i >= 0 && i < far_devices(r))
            return far_info(r, i);
        i -= far_devices(r);
    }
    return NULL;
}


/* The last device, the host, tells what is missing as well. */
static const char *notes_of(const Device *d, int i)
{
    static _Thread_local char text[2048];
    const char *s;
    snprintf(text, sizeof text, "%s", d->info.notes);
    for (int k = 0; i == device_count() - 1 && (s = device_missing(k)); k++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", n ? "; " : "", s);
    }
    return text;
}

int hd_device(int i, hd_device_info *info)
{
    OP(hd_device);
    error_begin();
    if (!info)
        return error_told(error_set(
            E_INVAL, "hd_device: there is nowhere to write what is asked for: the pointer is NULL"));
    const DeviceInfo *d = of_ranks(i);
    if (!d && !error_pending() && i >= device_count())      /* those behind are in no list */
        error_set(E_DEVICE, "there is no device number %d; there are %d", i, device_count());
    const Device *own = d || error_pending() ? NULL : device_at(i);
    if (!d && !own)
        return error_told((int)error_code());
    d = d ? d : &own->info;
    *info = (hd_device_info){
        .name = d->name, .kind = d->kind, .model = d->model, .driver = d->driver, .memory = d->memory,
        .is_cpu = d->is_cpu, .has_f16 = d->has_f16, .has_f64 = d->has_f64, .has_i64 = d->has_i64,
        .notes = own ? notes_of(own, i) : d->notes,
    };
    return 0;
}

void hd_on_progress(hd_progress *f, void *user) { progress_to(f, user); }
