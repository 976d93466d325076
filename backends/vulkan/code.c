/*
 * code.c - compiled kernels: found in this process, on the disk, or compiled, by several processes where
 * that helps (units.h).
 *
 * In:  kernels.   Out: pipelines.
 * A unit is one kernel: its words, and the pipeline that the driver made of them. It is known by its code,
 * whatever program it is part of. A row on the disk has its words and what the driver keeps of a pipeline,
 * so a plan that is read back needs nothing else. Making a pipeline is never quick: Mesa's driver on
 * processors keeps native code in files of its own, and takes a quarter of the time of compiling to come to
 * them. So threads make them.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

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

typedef struct VkUnit {
    Unit base;                                  /* its lock is for what follows */
    Key key;
    char name[64];
    uint32_t *word;
    size_t n;
    int local;                                  /* invocations of a work-group */
    VkPipeline pipeline;                        /* NULL: not yet */
    void *data;
    size_t ndata;                               /* what the driver kept of it; NULL: nothing */
} VkUnit;

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
    u->key = *key, u->base.ins = k->nins;
    snprintf(u->name, sizeof u->name, "%s", k->name);
    unit_open(&u->base, &u->key, sizeof u->key);
    return u;
}

static void unit_free(void *device, Unit *unit)
{
    VkDev *d = device;
    VkUnit *u = (VkUnit *)unit;
    unit_close(unit);
    if (u->pipeline && !d->base.lost)
        d->f.DestroyPipeline(d->device, u->pipeline, NULL);
    free(u->word), free(u->data), free(u);
}

static VkUnit *in_use(const VkDev *d, const Key *key)
{
    for (Unit *u = d->code.first; u; u = u->next)
        if (!memcmp(&((VkUnit *)u)->key, key, sizeof *key))
            return (VkUnit *)u;
    return NULL;
}

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
    Unit *b = &u->base;
    if (!cache_try(&u->key, sizeof u->key, &bytes, &n, &b->tried))
        return false;
    b->found = take_row(u, bytes, n);
    free(bytes);
    if (!b->found)
        cache_drop(&u->key, sizeof u->key), b->tried = false;
    b->how = b->found ? "from the disk" : NULL;
    return b->found;
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

static void take_job(VkDev *d, VkUnit *u)
{
    size_t n = 0;
    void *data = unit_job_result(&d->code, &u->base, &n);
    u->base.found = data;
    free(u->data);
    u->data = data, u->ndata = data ? n : 0;
}

/* What another process is just making is waited for, and is on the disk then. */
static int make(void *device, Unit *b)
{
    VkDev *d = device;
    VkUnit *u = (VkUnit *)b;
    VkWords w = { u->name, u->word, u->n, 0 };
    if (b->job)
        take_job(d, u);
    int claim = b->found ? CLAIM_NONE : cache_claim(&u->key, sizeof u->key, CLAIM_MS);
    if (claim >= 0)
        from_disk(u);
    void *data = u->data;
    size_t n = u->ndata;
    u->pipeline = vk_pipeline(d, &w, &data, &n);
    if (b->tried)
        (u->pipeline ? cache_worked : cache_drop)(&u->key, sizeof u->key);
    b->tried = false;
    if (u->pipeline && (!b->found || data))
        keep(u, data, n);
    cache_claim_end(claim);
    b->how = b->how ? b->how : "compiled here";
    b->ms += w.ms;
    free(data), free(u->data);
    u->data = NULL, b->found = true;
    b->made = u->pipeline != VK_NULL_HANDLE;
    return u->pipeline ? 0 : (int)error_code();
}

/* ==================== code */

/* *listed: it is in the stock; *there: its code is known, or it is being compiled. */
static VkUnit *unit_of(VkDev *d, const Kernel *k, bool *listed, bool *there)
{
    const Key key = key_of(d, k->code);
    VkUnit *u = in_use(d, &key);
    *listed = u;
    *there = u && !unit_missing(&u->base, true);
    if (u || !(u = unit_new(&key, k)))
        return u;
    bool good = !k->nins || (!spirv_write(k, &d->caps, &u->word, &u->n, &u->local) &&
                                !(check_stage("spirv") && spirv_check(u->name, u->word, u->n)));
    *there = good && from_disk(u);
    if (good && (*there || k->nins))
        return u;
    return unit_free(d, &u->base), NULL;
}

/* With the stock's lock held. whole: none may be missing. */
static int find(Units *c, Kernel *const *kernel, bool whole)
{
    for (int k = 0; k < c->n; k++) {
        bool listed, there;
        VkUnit *u = unit_of(c->of->device, kernel[k], &listed, &there);
        if (!u)
            return error_pending() ? (int)error_code() : NOT_YET;
        (listed ? units_use : units_add)(c, k, &u->base);
        if (whole && !there)
            return NOT_YET;
    }
    return (int)error_code();
}

int vk_code_open(Units *c, VkDev *d, Kernel *const *kernel, int n, bool whole)
{
    if (units_open(c, &d->code, n))
        return (int)error_code();
    pthread_mutex_lock(&d->code.lock);
    int e = find(c, kernel, whole);
    pthread_mutex_unlock(&d->code.lock);
    return e;
}

void vk_code_begin(Units *c, bool wait)
{
    int nm = 0;
    pthread_mutex_lock(&c->of->lock);
    for (int k = 0; k < c->nall; k++)
        nm += unit_missing(c->all[k], false);
    /* one that is waited for is compiled here as soon as there */
    for (int k = 0; k < c->nall && jobs_possible() && (nm > 1 || !wait); k++)
        if (unit_missing(c->all[k], false))
            c->all[k]->job = job_of(c->of->device, (const VkUnit *)c->all[k], wait);
    pthread_mutex_unlock(&c->of->lock);
}

VkPipeline vk_code_pipeline(const Units *c, int k) { return ((const VkUnit *)c->unit[k])->pipeline; }
int vk_code_local(const Units *c, int k) { return ((const VkUnit *)c->unit[k])->local; }

VkWords vk_code_words(const Units *c, int k)
{
    const VkUnit *u = (const VkUnit *)c->unit[k];
    return (VkWords){ u->name, u->word, u->n, 0 };
}

static int words_of(void *device, const Unit *u, const Kernel *k)
{
    (void)device, (void)k;
    return (int)((const VkUnit *)u)->n;
}

static Rate *rate(const void *device)
{
    const VkDev *d = device;
    char name[32];
    const uint64_t maker = hash_bytes(&d->maker, sizeof d->maker, 1);
    snprintf(name, sizeof name, "vulkan %016llx", (unsigned long long)maker);
    return rate_of(name, 3);
}

void vk_code_stock(VkDev *d)
{
    d->code = (Stock){ .device = d, .make = make, .end = unit_free, .length = words_of, .lengths = "words",
        .rate = rate, .slow = true, .unit_ms = 20, .much = 300 };
    stock_open(&d->code);
}
