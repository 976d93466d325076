/*
 * device.c - one flat list of devices, whatever the vendor; reference counts of memory.
 *
 * In:  the backends' tables.   Out: devices by number and by name.
 * A backend is asked for its devices once, when somebody first wants the list; a device is opened when it is
 * first used. A missing loader or driver means no devices of that kind and a sentence of advice, never a
 * failure.
 */
#include "jobs.h"
#include "ranks.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEVICES = 64 + HOST_DEVICES, MAX_ADVICE = 8, MANY_NAMES = 16, MAX_ADDED = 64,
    MAX_LOST = 16 };

static const Backend *const backends[] = { &opencl_backend, &vulkan_backend, &sim_backend,
    &host_backend, &kernel_backend };

static struct {
    pthread_mutex_t lock;
    bool listed;
    int n, nhidden, nadvice;                            /* those in no list are the last ones */
    struct { const Backend *backend; int index; Device *device; } d[MAX_DEVICES];
    /* the default: a GPU, an OpenCL processor, the host, a Vulkan processor */
    int fastest;
    const char *advice[MAX_ADVICE];
    Device *lost[MAX_LOST]; int nlost;                  /* there may be arrays on them */
    Device *added[MAX_ADDED]; int nadded;               /* the application's own */
} list = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ==================== in the child of a fork, whose drivers have lost their threads */

static int gone(const Device *d)
{
    return error_set(E_DEVICE,
        "%s does not work in a child of fork(), whose parent has used it: let the child exec, fork "
        "before the first call, or use the host",
        d->info.name);
}

static int gone_alloc(Device *d, size_t n, Mem **m) { (void)n, (void)m; return gone(d); }
static void gone_release(Mem *m) { (void)m; }
static int gone_write(Mem *m, size_t at, const void *p, size_t n)
{
    (void)at, (void)p, (void)n;
    return gone(m->device);
}
static int gone_read(Mem *m, size_t at, void *p, size_t n)
{
    (void)at, (void)p, (void)n;
    return gone(m->device);
}
static int gone_wait(Mem *m) { return gone(m->device); }
static bool gone_ready(Mem *m) { (void)m; return true; }
static const void *gone_map(Mem *m) { gone(m->device); return NULL; }
static Exec *gone_build(Device *d, Plan *p) { (void)p; gone(d); return NULL; }
static void gone_drop(Exec *e) { (void)e; }
static void gone_close(Device *d) { (void)d; }

static int gone_run(Exec *e, int nin, Mem *const *in, int nout, Mem **out)
{
    (void)nin, (void)in, (void)nout, (void)out;
    return gone(e->device);
}

static Device *gone_open(int index)
{
    (void)index;
    error_set(E_DEVICE,
        "this device does not work in a child of fork(), whose parent has loaded its driver: let the child "
        "exec, fork before the first call, or use the host");
    return NULL;
}

bool devices_forked(void)
{
    bool gone = false;
    static Backend left[sizeof backends / sizeof *backends];
    pthread_mutex_init(&list.lock, NULL);
    jobs_forked();
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
        left[b] = (Backend){ .kind = backends[b]->kind,
            .open = gone_open,
            .close = gone_close,
            .alloc = gone_alloc,
            .release = gone_release,
            .write = gone_write,
            .read = gone_read,
            .wait = gone_wait,
            .ready = gone_ready,
            .map = gone_map,
            .build = gone_build,
            .run = gone_run,
            .drop = gone_drop };
    for (int i = 0; i < list.n; i++)
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
            if (list.d[i].backend == backends[b] && backends[b] != &host_backend &&
                backends[b] != &kernel_backend) {
                gone = true;
                list.d[i].backend = &left[b];
                if (list.d[i].device)
                    list.d[i].device->backend = &left[b];
            }
    for (int k = 0; k < list.nadded; k++)
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
            if (list.added[k]->backend == backends[b])
                gone = true, list.added[k]->backend = &left[b];
    return gone;
}

/* ==================== the list */

/* What may be expected of device i before it is opened. Vulkan drivers for processors compile slowly, so
 * that evaluating on the host is faster for what most first programs are. */
static int speed(int i)
{
    const Backend *b = list.d[i].backend;
    if (b->gpu && b->gpu(list.d[i].index))
        return 3;
    return b == &opencl_backend ? 2 : b == &host_backend ? 1 : 0;
}

static void enumerate(void)                             /* with the lock held */
{
    if (list.listed)
        return;
    faults_known(backends, (int)(sizeof backends / sizeof *backends));
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        int n = backends[b]->count();
        for (int i = 0; i < n && list.n + list.nhidden < MAX_DEVICES; i++) {
            list.d[list.n + list.nhidden].backend = backends[b];
            list.d[list.n + list.nhidden].index = i;
            *(backends[b]->hidden ? &list.nhidden : &list.n) += 1;
        }
        const char *advice = backends[b]->missing ? backends[b]->missing() : NULL;
        if (advice && list.nadvice < MAX_ADVICE)
            list.advice[list.nadvice++] = advice;
    }
    for (int i = 1; i < list.n; i++)
        if (speed(i) > speed(list.fastest))
            list.fastest = i;
    list.listed = true;
    process_watch_exit();
}

int device_count(void)
{
    if (process_usable())
        return 0;
    pthread_mutex_lock(&list.lock);
    enumerate();
    int n = list.n;
    pthread_mutex_unlock(&list.lock);
    return n;
}

/* One that is lost is opened anew: what is on it fails, what comes does not. */
static void put_aside(Device **d)
{
    if (*d && (*d)->lost && list.nlost < MAX_LOST)
        list.lost[list.nlost++] = *d, *d = NULL;
}

Device *device_at(int i)
{
    Device *d = NULL;
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&list.lock);
    enumerate();
    if (i >= 0 && i < list.n + list.nhidden)
        put_aside(&list.d[i].device);
    if (i < 0 || i >= list.n + list.nhidden)
        error_set(E_DEVICE, "there is no device number %d; there are %d", i, list.n);
    else if ((d = list.d[i].device) == NULL)
        d = list.d[i].device = device_open(list.d[i].backend, list.d[i].index), process_watch_exit();
    pthread_mutex_unlock(&list.lock);
    return d;
}

const char *device_kind(int i)
{
    return i >= 0 && i < device_count() + list.nhidden ? list.d[i].backend->kind : "";
}

const char *device_missing(int i)
{
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&list.lock);
    enumerate();
    const char *s = i >= 0 && i < list.nadvice ? list.advice[i] : NULL;
    pthread_mutex_unlock(&list.lock);
    return s;
}

static const char *name_at(int i) { return list.d[i].backend->name(list.d[i].index); }

/* "opencl:1" -> the backend's kind and the number; "host" and "opencl" mean number 0. */
static Device *by_name(const char *name)
{
    int n = device_count();                             /* first: it makes the list */
    n += list.nhidden;
    const char *colon = strchr(name, ':');
    size_t kind = colon ? (size_t)(colon - name) : strlen(name);
    char *end = NULL;
    long index = colon ? strtol(colon + 1, &end, 10) : 0;
    bool number = !colon || (end > colon + 1 && !*end);
    for (int i = 0; i < n; i++)
        if (strlen(list.d[i].backend->kind) == kind && !strncmp(list.d[i].backend->kind, name, kind) &&
            (list.d[i].backend->name && colon ? !strcmp(name_at(i), colon + 1) :
                                                number && list.d[i].index == index))
            return device_at(i);
    return NULL;
}

/* ==================== the application's own */

static int added_at(const char *name)                   /* with the lock held; -1: it is not there */
{
    int k = list.nadded - 1;
    while (k >= 0 && strcmp(list.added[k]->info.name, name))
        k--;
    return k;
}

Device *device_added(const char *name)
{
    pthread_mutex_lock(&list.lock);
    int k = added_at(name);
    Device *d = k < 0 ? NULL : list.added[k];
    pthread_mutex_unlock(&list.lock);
    return d;
}

static bool is_kind(const char *name)
{
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
        if (!strcmp(backends[b]->kind, name))
            return true;
    return false;
}

bool device_nameable(const char *name)
{
    bool word = isalpha((unsigned char)*name) && strlen(name) < sizeof((DeviceInfo *)0)->name;
    for (const char *c = name; *c; c++)
        word &= isalnum((unsigned char)*c) || *c == '_' || *c == '-';
    if (!word)
        error_set(E_INVAL,
            "\"%s\" cannot name a device: a letter, then letters, digits, _ and -, 31 at most", name);
    else if (is_kind(name) || device_added(name))
        error_set(E_INVAL, "there is a device \"%s\" already: give this one another name", name);
    return !error_pending();
}

int device_add(Device *d)
{
    pthread_mutex_lock(&list.lock);
    bool again = added_at(d->info.name) >= 0, full = list.nadded == MAX_ADDED;
    if (!again && !full)
        list.added[list.nadded++] = d;
    pthread_mutex_unlock(&list.lock);
    process_watch_exit();
    return again ? error_set(E_INVAL, "there is a device \"%s\" already", d->info.name) :
        full ? error_set(E_DEVICE, "there are %d devices of the application's: remove some", MAX_ADDED) :
               0;
}

int device_remove(const char *name)
{
    pthread_mutex_lock(&list.lock);
    int k = added_at(name);
    Device *d = k < 0 ? NULL : list.added[k];
    int64_t live = d ? d->live : 0;
    if (d && !live)
        list.added[k] = list.added[--list.nadded];
    pthread_mutex_unlock(&list.lock);
    if (!d)
        return error_set(E_DEVICE, "there is no device \"%s\" that the application has added", name);
    if (live)
        return error_set(E_INVAL,
            "%lld arrays or running programs are still on %s: hd_drop them, or hd_put them elsewhere, "
            "before it goes",
            (long long)live, name);
    d->backend->close(d);
    return 0;
}

Device *device_find(const char *name)
{
    size_t digits = 0;
    while (isdigit((unsigned char)name[digits]))
        digits++;
    if (digits && digits < 8 && name[digits] == '/')
        return far_device(atoi(name), name + digits + 1);
    Device *d = device_added(name);
    d = d ? d : by_name(name);
    if (d || error_pending())
        return d;
    Text t = { 0 };
    for (int i = 0; i < device_count(); i++)
        if (i > MANY_NAMES)
            continue;
        else if (i == MANY_NAMES)
            text_add(&t, " ...");
        else if (list.d[i].backend->name)
            text_add(&t, "%s%s:%s", i ? ", " : "", list.d[i].backend->kind, name_at(i));
        else if (list.d[i].index || strcmp(list.d[i].backend->kind, "host"))
            text_add(&t, "%s%s:%d", i ? ", " : "", list.d[i].backend->kind, list.d[i].index);
        else
            text_add(&t, "%shost", i ? ", " : "");
    error_set(E_DEVICE, "there is no device \"%s\"; there are: %s%s%s", name, t.s ? t.s : "",
        device_missing(0) ? ". " : "", device_missing(0) ? device_missing(0) : "");
    text_free(&t);
    return NULL;
}

Device *device_default(void)
{
    const char *name = getenv("HEDDLE_DEVICE");
    if (name && *name)
        return device_find(name);
    return device_count() ? device_at(list.fastest) : NULL;
}

void device_close_all(void)
{
    pthread_mutex_lock(&list.lock);
    for (int i = 0; i < list.n + list.nhidden; i++)
        if (list.d[i].device)
            list.d[i].backend->close(list.d[i].device), list.d[i].device = NULL;
    while (list.nlost)
        list.nlost--, list.lost[list.nlost]->backend->close(list.lost[list.nlost]);
    while (list.nadded)
        list.nadded--, list.added[list.nadded]->backend->close(list.added[list.nadded]);
    pthread_mutex_unlock(&list.lock);
}

Mem *mem_keep(Mem *m)
{
    if (m)
        m->refs++;
    return m;
}

void mem_drop(Mem *m)
{
    if (m && --m->refs == 0 && !process_ending())
        m->device->backend->release(m);
}
