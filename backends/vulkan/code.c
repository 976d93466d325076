/*
 * code.c - compiled kernels: found in this process, on the disk, or compiled, by several processes where
 * that helps (jobs.h).
 *
 * In:  kernels.   Out: pipelines.
 * A unit is one kernel: its words, and the pipeline that the driver made of them. It is known by its code,
 * whatever program it is part of. A row on the disk has its words and what the driver keeps of a pipeline,
 * so a plan that is read back needs nothing else. Making a pipeline is never quick: Mesa's driver on
 * processors keeps native code in files of its own, and takes a quarter of the time of compiling to come to
 * them. So where nobody waits a thread makes them, and where somebody does, several.
 */
#include "jobs.h"
#include "progress.h"
#include "rates.h"
#include "vk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The key of a row. */
typedef struct Key {
    char what[8];
    VkMaker maker;
    uint32_t unused;
    uint64_t caps, code[2];
} Key;

typedef struct Row {
    uint32_t local, unused;
    uint64_t words; /* bytes; they follow, and behind them what the driver keeps */
} Row;

struct VkUnit {
    VkUnit *next;
    int refs; /* under the device's lock, as is the list */
    Key key;
    char name[64];
    uint32_t *word;
    size_t n;
    int local, ins; /* invocations of a work-group; the kernel's instructions */
    pthread_mutex_t lock; /* of what follows */
    VkPipeline pipeline; /* NULL: not yet */
    Job *job; /* that compiles it; NULL: nobody does */
    void *data;
    size_t ndata; /* what the driver kept of it; NULL: nothing */
    bool found, tried; /* on the disk, or by who compiled it; for the first time */
    const char *how;
    double ms; /* for HEDDLE_DUMP=time: where it is from, what it took */
    _Atomic bool made;
};

static Key key_of(const VkDev *d, const uint64_t code[2])
{
    const SpirvCaps *c = &d->caps;
    const int32_t caps[] = { c->i64, c->f64, c->byte_storage, c->short_storage, c->bytes, c->shorts,
        c->denormals, c->nearest, c->specials, c->group, c->exact_div[0], c->exact_div[1], c->exact_sqrt[0],
        c->exact_sqrt[1], c->keeps_denormals[0], c->keeps_denormals[1], c->folds_zeros, c->extends_badly,
        c->fma[0], c->fma[1], c->loop_limit };
    Key k;
    memset(&k, 0, sizeof k);
    memcpy(k.what, "vk-kern", 8);
    k.maker = d->maker;
    k.caps = hash_bytes(caps, sizeof caps, cache_build()); /* another may write a kernel otherwise */
    memcpy(k.code, code, sizeof k.code);
    return k;
}

/* ==================== units */

static VkUnit *unit_new(const Key *key, const Kernel *k)
{
    VkUnit *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&u->lock, NULL);
    u->key = *key, u->refs = 1, u->ins = k->nins;
    snprintf(u->name, sizeof u->name, "%s", k->name);
    return u;
}

static void unit_free(VkDev *d, VkUnit *u)
{
    if (u->pipeline && !d->lost)
        d->f.DestroyPipeline(d->device, u->pipeline, NULL);
    job_drop(u->job);
    pthread_mutex_destroy(&u->lock);
    free(u->word), free(u->data), free(u);
}

static VkUnit *in_use(const VkDev *d, const Key *key)
{
    for (VkUnit *u = d->units; u; u = u->next)
        if (!memcmp(&u->key, key, sizeof *key))
            return u->refs++, u;
    return NULL;
}

static void list(VkDev *d, VkUnit *u) { u->next = d->units, d->units = u; }

static void *copy_of(const void *p, size_t n)
{
    void *q = malloc(n + 1);
    if (q)
        memcpy(q, p, n);
    return q;
}

/* What a row says, if it is whole; with words of its own only if they are these. */
static bool take_row(VkUnit *u, const char *bytes, size_t n)
{
    Row r;
    if (n < sizeof r)
        return false;
    memcpy(&r, bytes, sizeof r);
    if (r.words > n - sizeof r || r.words % 4 || !r.words)
        return false;
    const char *words = bytes + sizeof r;
    const size_t data = n - sizeof r - r.words;
    if (u->word && (u->n * 4 != r.words || memcmp(u->word, words, r.words)))
        return false;
    if (!u->word && !(u->word = copy_of(words, r.words)))
        return false;
    u->n = r.words / 4, u->local = (int)r.local;
    u->data = data ? copy_of(words + r.words, data) : NULL;
    u->ndata = u->data ? data : 0;
    return true;
}

static bool from_disk(VkUnit *u)
{
    void *bytes;
    size_t n;
    if (!cache_try(&u->key, sizeof u->key, &bytes, &n, &u->tried))
        return false;
    u->found = take_row(u, bytes, n);
    free(bytes);
    if (!u->found)
        cache_drop(&u->key, sizeof u->key), u->tried = false;
    u->how = u->found ? "from the disk" : NULL;
    return u->found;
}

/* The row without what the driver keeps. free() it. */
static char *row_of(const VkUnit *u, size_t *n)
{
    const Row r = { .local = (uint32_t)u->local, .words = 4 * u->n };
    char *p = malloc(*n = sizeof r + r.words);
    if (p)
        memcpy(p, &r, sizeof r), memcpy(p + sizeof r, u->word, r.words);
    return p;
}

static void keep(const VkUnit *u, const void *data, size_t ndata)
{
    size_t n;
    char *row = row_of(u, &n), *all = row ? realloc(row, n + ndata + 1) : NULL;
    if (all && ndata)
        memcpy(all + n, data, ndata);
    if (all)
        cache_put(&u->key, sizeof u->key, all, n + ndata);
    free(all ? all : row);
}

/* ==================== jobs */

static Job *job_of(const VkDev *d, const VkUnit *u, bool urgent)
{
    char driver[16 + 2 * sizeof d->maker + 1] = JOB_VULKAN, options[16];
    const unsigned char *m = (const unsigned char *)&d->maker;
    JobText t = { .device = d->base.info.model, .driver = driver, .options = options, .source = u->word,
        .nsource = 4 * u->n, .urgent = urgent };
    size_t n;
    for (size_t k = 0; k < sizeof d->maker; k++)
        snprintf(driver + strlen(JOB_VULKAN) + 2 * k, 3, "%02x", m[k]);
    snprintf(options, sizeof options, "%zu", sizeof(Pushed));
    char *row = row_of(u, &n);
    if (row)
        job_row(&t.rows, &u->key, sizeof u->key, row, n, true);
    free(row);
    Job *j = job_new(&t);
    free(t.rows.s);
    return j;
}

/* Milliseconds for an instruction. */
static Rate *compiling_rate(const VkDev *d)
{
    char name[32];
    const uint64_t maker = hash_bytes(&d->maker, sizeof d->maker, 1);
    snprintf(name, sizeof name, "vulkan %016llx", (unsigned long long)maker);
    return rate_of(name, 3);
}

static void take_job(const VkDev *d, VkUnit *u)
{
    enum { MUCH = 300 }; /* instructions: in less there is much that does not depend on them */
    size_t n = 0;
    void *data = job_result(u->job, &n);
    u->how = data ? "compiled by another process" : NULL;
    u->found = data;
    u->ms = job_ms(u->job);
    if (data && u->ins >= MUCH)
        rate_seen(compiling_rate(d), u->ins, u->ms);
    free(u->data);
    u->data = data, u->ndata = data ? n : 0;
    job_drop(u->job);
    u->job = NULL;
}

/* With its lock held, and its job ended. What another process is just making is waited for, and is on the
 * disk then. */
static int make(VkDev *d, VkUnit *u)
{
    VkWords w = { u->name, u->word, u->n, 0 };
    if (u->job)
        take_job(d, u);
    int claim = u->found ? CLAIM_NONE : cache_claim(&u->key, sizeof u->key, CLAIM_MS);
    if (claim >= 0)
        from_disk(u);
    void *data = u->data;
    size_t n = u->ndata;
    u->pipeline = vk_pipeline(d, &w, &data, &n);
    if (u->tried)
        (u->pipeline ? cache_worked : cache_drop)(&u->key, sizeof u->key);
    u->tried = false;
    if (u->pipeline && (!u->found || data))
        keep(u, data, n);
    cache_claim_end(claim);
    u->how = u->how ? u->how : "compiled here";
    u->ms += w.ms;
    free(data), free(u->data);
    u->data = NULL, u->found = true;
    u->made = u->pipeline != VK_NULL_HANDLE;
    return u->pipeline ? 0 : (int)error_code();
}

/* 0, VK_NOT_YET, or an error. Waits so long at most; -1: for ever. */
static int unit_finish(VkDev *d, VkUnit *u, int wait_ms)
{
    int e = 0;
    if (u->made)
        return 0;
    if (pthread_mutex_trylock(&u->lock)) {
        if (wait_ms >= 0)
            return VK_NOT_YET;
        pthread_mutex_lock(&u->lock);
    }
    if (!u->pipeline)
        e = u->job && !job_ended(u->job, wait_ms) ? VK_NOT_YET : make(d, u);
    pthread_mutex_unlock(&u->lock);
    return e;
}

/* ==================== threads that make pipelines */

struct VkMaking {
    VkCode *c;
    pthread_t thread;
    pid_t process;
    bool waited; /* who asked waits, so exit() and fork() know of them */
    _Atomic bool stop, ended;
};

static void *make_all(void *making)
{
    struct VkMaking *m = making;
    for (int k = 0; k < m->c->n && !m->stop; k++) {
        if (!m->waited)
            visit_beside();
        if (!process_ending())
            unit_finish(m->c->d, m->c->unit[k], 0);
        if (!m->waited)
            visit_end();
        error_clear();
    }
    m->ended = true;
    return NULL;
}

static struct VkMaking *making_start(VkCode *c, bool waited)
{
    struct VkMaking *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->c = c, m->process = getpid(), m->waited = waited;
    if (thread_start(&m->thread, make_all, m))
        return m;
    free(m);
    return NULL;
}

static void making_end(struct VkMaking *m, bool stop)
{
    if (!m)
        return;
    m->stop = stop;
    if (m->process == getpid())
        pthread_join(m->thread, NULL);
    free(m);
}

/* ==================== code */

static VkUnit *unit_of(VkCode *c, const Kernel *k, bool *there)
{
    const Key key = key_of(c->d, k->code);
    VkUnit *u = in_use(c->d, &key);
    *there = true;
    if (u || !(u = unit_new(&key, k)))
        return u;
    if (k->nins && (spirv_write(k, &c->d->caps, &u->word, &u->n, &u->local) ||
                       (check_stage("spirv") && spirv_check(u->name, u->word, u->n))))
        return unit_free(c->d, u), NULL;
    *there = from_disk(u);
    if (*there || k->nins)
        return list(c->d, u), u;
    return unit_free(c->d, u), NULL;
}

/* With the lock held. whole: none may be missing. */
static int find(VkCode *c, VkDev *d, Kernel *const *kernel, int n, bool whole)
{
    *c = (VkCode){ .d = d };
    c->unit = calloc((size_t)n + 1, sizeof *c->unit);
    if (!c->unit)
        return error_set(E_NOMEM, "no memory for a program");
    for (int k = 0; k < n; k++) {
        bool there;
        if (!(c->unit[k] = unit_of(c, kernel[k], &there)))
            return error_pending() ? (int)error_code() : VK_NOT_YET;
        c->n++;
        if (whole && (!there || (c->unit[k]->job && !c->unit[k]->made)))
            return VK_NOT_YET;
    }
    return (int)error_code();
}

int vk_code_open(VkCode *c, VkDev *d, Kernel *const *kernel, int n)
{
    pthread_mutex_lock(&d->code);
    int e = find(c, d, kernel, n, false);
    pthread_mutex_unlock(&d->code);
    return e;
}

/* Is it neither there nor on the disk? begun: or is somebody at it? */
static bool missing(VkUnit *u, bool begun)
{
    if (u->made || pthread_mutex_trylock(&u->lock)) /* locked: somebody makes a pipeline */
        return false;
    bool is = !u->pipeline && !u->found && (begun || !u->job);
    pthread_mutex_unlock(&u->lock);
    return is;
}

double vk_code_expected(const VkCode *c)
{
    enum { MODULE_MS = 20 }; /* of a module, beside its instructions */
    double all = 0, longest = 0;
    for (int k = 0; k < c->n; k++) {
        VkUnit *u = c->unit[k];
        double ms = missing(u, true) ? MODULE_MS + rate_ms(compiling_rate(c->d), u->ins) : 0;
        all += ms, longest = ms > longest ? ms : longest;
    }
    return jobs_done(all, longest);
}

void vk_code_begin(VkCode *c, bool wait)
{
    int nm = 0;
    pthread_mutex_lock(&c->d->code);
    for (int k = 0; k < c->n; k++)
        nm += missing(c->unit[k], false);
    /* one that is waited for is compiled here as soon as there */
    for (int k = 0; k < c->n && jobs_possible() && (nm > 1 || !wait); k++)
        if (missing(c->unit[k], false))
            c->unit[k]->job = job_of(c->d, c->unit[k], wait);
    pthread_mutex_unlock(&c->d->code);
}

int vk_code_find(VkCode *c, VkDev *d, Kernel *const *kernel, int n)
{
    pthread_mutex_lock(&d->code);
    int e = find(c, d, kernel, n, true);
    pthread_mutex_unlock(&d->code);
    return e;
}

static int count(const VkCode *c)
{
    int done = 0;
    for (int k = 0; k < c->n; k++)
        done += c->unit[k]->made;
    return done;
}

/* Jobs that have ended; of units that another program makes nobody knows. */
static bool all_compiled(const VkCode *c)
{
    bool all = true;
    for (int k = 0; k < c->n && all; k++) {
        VkUnit *u = c->unit[k];
        if (u->made || pthread_mutex_trylock(&u->lock))
            continue;
        all = !u->job || job_ended(u->job, 0);
        pthread_mutex_unlock(&u->lock);
    }
    return all;
}

static int wait_for_all(VkCode *c)
{
    enum { PAUSE_US = 20000, MOST = 16 };
    struct VkMaking *helper[MOST];
    Progress p = { 0 };
    int left = c->n - count(c), n = jobs_at_once() - 1, e = 0;
    for (int k = 0; k < c->n; k++)
        job_hurry(c->unit[k]->job);
    n = fault_wanted ? 0 : n > left - 1 ? left - 1 : n > MOST ? MOST : n; /* failures come in order */
    for (bool again = true; again && !e;) {
        int before = count(c);
        for (int k = 0; k < n; k++)
            helper[k] = making_start(c, true);
        again = false;
        for (int k = 0; k < c->n && e <= 0; k++) {
            e = unit_finish(c->d, c->unit[k], 0);
            again |= e == VK_NOT_YET;
        }
        for (int k = 0; k < n; k++)
            making_end(helper[k], e > 0);
        e = e > 0 ? e : 0;
        progress(&p, count(c), c->n);
        if (again && before == count(c))
            usleep(PAUSE_US);
    }
    progress_end(&p, e);
    return e;
}

int vk_code_finish(VkCode *c, bool wait)
{
    if (count(c) == c->n && !c->making)
        return 0;
    if (c->making && (wait || c->making->ended)) {
        making_end(c->making, false);
        c->making = NULL;
        wait = true; /* what it could not do says why */
    }
    if (!wait && !c->making && all_compiled(c))
        c->making = making_start(c, false);
    return wait ? wait_for_all(c) : VK_NOT_YET;
}

void vk_code_drop(VkCode *c)
{
    making_end(c->making, true);
    for (int k = 0; k < c->n; k++) {
        VkUnit *u = c->unit[k], **at = &c->d->units;
        pthread_mutex_lock(&c->d->code);
        bool last = !--u->refs;
        while (last && *at != u)
            at = &(*at)->next;
        if (last)
            *at = u->next;
        pthread_mutex_unlock(&c->d->code);
        if (last)
            unit_free(c->d, u);
    }
    free(c->unit);
    *c = (VkCode){ 0 };
}

VkPipeline vk_code_pipeline(const VkCode *c, int k) { return c->unit[k]->pipeline; }
int vk_code_local(const VkCode *c, int k) { return c->unit[k]->local; }
VkWords vk_code_words(const VkCode *c, int k)
{
    return (VkWords){ c->unit[k]->name, c->unit[k]->word, c->unit[k]->n, 0 };
}

/* ==================== HEDDLE_DUMP=time */

typedef struct Told {
    const char *name;
    const VkUnit *u;
} Told;

static int most_words(const void *a, const void *b)
{
    const VkUnit *x = ((const Told *)a)->u, *y = ((const Told *)b)->u;
    return x->n < y->n ? 1 : x->n > y->n ? -1 : 0;
}

void vk_code_tell(const VkCode *c, Kernel *const *kernel)
{
    Told *t = malloc(((size_t)c->n + 1) * sizeof *t);
    for (int k = 0; t && k < c->n; k++)
        t[k] = (Told){ kernel[k]->name, c->unit[k] };
    if (t)
        qsort(t, (size_t)c->n, sizeof *t, most_words);
    for (int k = 0; t && k < c->n; k++)
        fprintf(stderr, "---- time %s: %zu words, %s, %.1f ms\n", t[k].name, t[k].u->n,
            t[k].u->how ? t[k].u->how : "?", t[k].u->ms);
    free(t);
}
