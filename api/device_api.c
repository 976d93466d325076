/*
 * device_api.c - devices as the program sees them: names and facts.
 */
#include "api.h"
#include <string.h>

int hd_device_count(void)
{
    OP(hd_device_count);
    return device_count();
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
        return error_told(error_set(E_INVAL, "hd_device: there is nowhere to write what is asked for: the pointer is NULL"));
    if (i >= device_count())                    /* those behind are in no list */
        error_set(E_DEVICE, "there is no device number %d; there are %d", i, device_count());
    Device *d = error_pending() ? NULL : device_at(i);
    if (!d)
        return error_told((int)error_code());
    *info = (hd_device_info){
        .name = d->info.name, .kind = d->info.kind, .model = d->info.model, .driver = d->info.driver,
            .memory = d->info.memory,
        .is_cpu = d->info.is_cpu, .has_f16 = d->info.has_f16, .has_f64 = d->info.has_f64, .has_i64 = d->info.has_i64,
        .notes = notes_of(d, i),
    };
    return 0;
}
