/*
 * code.c - compiled code: found in this process, on the disk, or compiled, by several processes where that
 * helps (jobs.h).
 *
 * In:  kernels.   Out: OpenCL programs that have them.
 * A unit is one text of a few kernels and what it was compiled to. A kernel is known by its code, whatever
 * program it is part of: of kernels that two programs have in common, the second one finds those of the
 * first. On the disk a row for each kernel says in which unit it is, and under what name. How many units
 * are made of what is missing: a text costs PoCL 150 ms before its first kernel, a kernel about a
 * millisecond an instruction, so a few for each processor, the longest kernels first.
 */
#include "jobs.h"
#include "opencl.h"
#include "progress.h"
#include "rates.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { UNIT_INS = 1500, UNITS_EACH = 3 }; /* instructions that are worth a unit; at most, a processor */

typedef struct Hash2 {
    uint64_t h[2];
} Hash2;
/* The keys of the disk cache. */
typedef struct Key {
    char what[8];
    Hash2 code, where;
} Key;
typedef struct Entry {
    Hash2 code;
    char name[64];
} Entry; /* a kernel, and what the unit calls it */

struct OclUnit {
    OclUnit *next;
    int refs; /* under the device's lock, as are the list and entries */
    Key key;
    int queue;
    Entry *entry;
    int nentry;
    int64_t ins; /* of its kernels, all; 0: it is from the disk */
    pthread_mutex_t lock; /* of what follows */
    cl_program program; /* NULL: not yet */
    Job *job; /* that compiles it; NULL: nobody does */
    char *source;
    bool tried, failed;
    const char *how;
    double ms; /* for HEDDLE_DUMP=time: where it is from, what it took */
};

OpenclCaps ocl_caps(const OclDevice *d)
{
    return (OpenclCaps){ .f64 = d->base.info.has_f64, .one_item = true, .cache = d->cache };
}

static const char *options(const OclDevice *d)
{
    return d->exact_division ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
}

/* All that compiled code depends on beside its text. */
static Key key_of(const char *what, const uint64_t code[2], const OclDevice *d, int queue)
{
    char where[1024];
    Key k = { 0 };
    int n = snprintf(where, sizeof where, "%s|%d|%s|%llu", d->key, queue, options(d),
        (unsigned long long)d->cache);
    snprintf(k.what, sizeof k.what, "%s", what);
    memcpy(k.code.h, code, sizeof k.code.h);
    for (int i = 0; i < 2; i++)
        k.where.h[i] = hash_bytes(where, (size_t)n, 1 + (uint64_t)i);
    return k;
}

/* A kernel's row is found by what the kernel says, and not by its text, so it is of one build of the
 * library: another may print the same otherwise. Units are found by their text, by every build. */
static Key kernel_key(const uint64_t code[2], const OclDevice *d, int queue)
{
    const uint64_t build = cache_build();
    Key k = key_of("cl-kern", code, d, queue);
    for (int i = 0; i < 2; i++)
        k.code.h[i] = hash_bytes(&build, sizeof build, code[i]);
    return k;
}

/* ==================== programs */

static int build_failed(const OclUnit *u, OclDevice *d, cl_int e)
{
    size_t n = 0;
    char *log = NULL;
    if (u->program &&
        ocl.clGetProgramBuildInfo(u->program, d->id[u->queue], CL_PROGRAM_BUILD_LOG, 0, NULL, &n) ==
            CL_SUCCESS &&
        (log = calloc(1, n + 1)) != NULL)
        ocl.clGetProgramBuildInfo(u->program, d->id[u->queue], CL_PROGRAM_BUILD_LOG, n, log, NULL);
    int code = error_set(E_INTERNAL, "%s: the kernel compiler refused a program (%s): %.800s",
        d->base.info.name, ocl_error(e), log ? log : "");
    free(log);
    return code;
}

static void unload(OclUnit *u)
{
    if (u->program)
        ocl.clReleaseProgram(u->program);
    u->program = NULL;
}

/* The binary of a program that is built for one device of its context. Drivers list it at the place of that
 * device, or first: it is the one that is not empty. *n: its bytes; free() it. NULL: there is none. */
static void *binary_of(cl_program p, size_t *n)
{
    cl_uint devices = 0;
    size_t sizes[IN_CONTEXT] = { 0 };
    unsigned char *part[IN_CONTEXT] = { NULL };
    int own = -1;
    if (ocl.clGetProgramInfo(p, CL_PROGRAM_NUM_DEVICES, sizeof devices, &devices, NULL) != CL_SUCCESS ||
        devices > IN_CONTEXT ||
        ocl.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, devices * sizeof *sizes, sizes, NULL) != CL_SUCCESS)
        return NULL;
    for (int i = 0; i < (int)devices; i++)
        if (sizes[i] && own >= 0)
            return NULL;
        else if (sizes[i])
            own = i;
    if (own < 0 || (part[own] = malloc(sizes[own])) == NULL)
        return NULL;
    unsigned char *mine = part[own];
    *n = sizes[own];
    if (ocl.clGetProgramInfo(p, CL_PROGRAM_BINARIES, devices * sizeof *part, part, NULL) == CL_SUCCESS)
        return mine;
    free(mine);
    return NULL;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

typedef struct Make {
    OclUnit *u;
    OclDevice *d;
    const void *binary;
    size_t n;
} Make;

/* Refused ones are another driver's, or damaged. */
static int load(void *make)
{
    const Make *m = make;
    OclUnit *u = m->u;
    cl_int status = CL_SUCCESS, e;
    const unsigned char *binary = m->binary;
    u->program =
        ocl.clCreateProgramWithBinary(m->d->context, 1, &m->d->id[u->queue], &m->n, &binary, &status, &e);
    e = e == CL_SUCCESS ? status : e;
    if (e == CL_SUCCESS)
        e = ocl.clBuildProgram(u->program, 1, &m->d->id[u->queue], options(m->d), NULL, NULL);
    for (int k = 0; k < u->nentry && e == CL_SUCCESS; k++) {
        cl_kernel there = ocl.clCreateKernel(u->program, u->entry[k].name, &e);
        if (e == CL_SUCCESS)
            ocl.clReleaseKernel(there);
    }
    if (e != CL_SUCCESS)
        unload(u);
    return e != CL_SUCCESS;
}

/* On the disk, a kernel's row says where it is. */
static Key kernel_row(const OclUnit *u, const OclDevice *d, int k, Entry *row)
{
    *row = u->entry[k];
    row->code = u->key.code;
    return kernel_key(u->entry[k].code.h, d, u->queue);
}

static void keep(const OclUnit *u, const OclDevice *d, const void *binary, size_t n)
{
    cache_put(&u->key, sizeof u->key, binary, n);
    for (int k = 0; k < u->nentry; k++) {
        Entry row;
        const Key key = kernel_row(u, d, k, &row);
        cache_put(&key, sizeof key, &row, sizeof row);
    }
}

/* The same, by whoever compiles it. */
static Job *job_of(const OclUnit *u, const OclDevice *d, bool urgent)
{
    JobText t = { .device = d->name[u->queue], .driver = d->version, .options = options(d),
        .source = u->source, .nsource = strlen(u->source) + 1, .urgent = urgent };
    job_row(&t.rows, &u->key, sizeof u->key, NULL, 0, true);
    for (int k = 0; k < u->nentry; k++) {
        Entry row;
        const Key key = kernel_row(u, d, k, &row);
        job_row(&t.rows, &key, sizeof key, &row, sizeof row, false);
    }
    Job *j = job_new(&t);
    free(t.rows.s);
    return j;
}

/* Asking for the binary makes drivers compile that would do so when a kernel first runs. */
static int compile_here(void *make)
{
    const Make *m = make;
    OclUnit *u = m->u;
    const char *s = u->source;
    const double began = now_ms();
    size_t n;
    cl_int e;
    u->program = ocl.clCreateProgramWithSource(m->d->context, 1, &s, NULL, &e);
    if (e == CL_SUCCESS)
        e = ocl.clBuildProgram(u->program, 1, &m->d->id[u->queue], options(m->d), NULL, NULL);
    if (e != CL_SUCCESS) {
        build_failed(u, m->d, e);
        unload(u);
        return (int)error_code();
    }
    void *binary = binary_of(u->program, &n);
    if (binary)
        keep(u, m->d, binary, n);
    free(binary);
    u->how = "compiled here", u->ms = now_ms() - began;
    return 0;
}

/* Milliseconds for an instruction. */
static Rate *compiling_rate(const OclDevice *d) { return rate_of(d->version, 1); }

/* What a compiler of another process made of it. */
static bool from_job(OclUnit *u, OclDevice *d)
{
    size_t n = 0;
    void *binary = job_result(u->job, &n);
    Make m = { u, d, binary, n };
    bool good = binary && !load(&m);
    u->how = "compiled by another process", u->ms = job_ms(u->job);
    if (good && u->ins >= UNIT_INS / 3) /* in less there is much that does not depend on it */
        rate_seen(compiling_rate(d), (double)u->ins, u->ms);
    free(binary);
    job_drop(u->job);
    u->job = NULL;
    return good;
}

/* ==================== units */

static OclUnit *unit_new(const Key *key, int queue)
{
    OclUnit *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&u->lock, NULL);
    u->key = *key, u->queue = queue, u->refs = 1;
    return u;
}

static void unit_free(OclUnit *u)
{
    unload(u);
    job_drop(u->job);
    pthread_mutex_destroy(&u->lock);
    free(u->entry), free(u->source), free(u);
}

static bool unit_names(OclUnit *u, const uint64_t code[2], const char *name)
{
    Entry *e = realloc(u->entry, (size_t)(u->nentry + 1) * sizeof *e);
    if (!e)
        return error_set(E_NOMEM, "no memory for a program"), false;
    u->entry = e;
    e[u->nentry] = (Entry){ { { code[0], code[1] } }, "" };
    snprintf(e[u->nentry++].name, sizeof e->name, "%s", name);
    return true;
}

static const Entry *unit_has(const OclUnit *u, const uint64_t code[2])
{
    for (int k = 0; k < u->nentry; k++)
        if (!memcmp(u->entry[k].code.h, code, sizeof u->entry[k].code.h))
            return &u->entry[k];
    return NULL;
}

static bool same_place(const Key *a, const Key *b) { return !memcmp(&a->where, &b->where, sizeof a->where); }

/* What the code has a reference to already, once more. */
static OclUnit *used(OclCode *c, OclUnit *u, bool counted)
{
    for (int k = 0; k < c->nall; k++)
        if (c->all[k] == u)
            return u;
    u->refs += !counted;
    return c->all[c->nall++] = u;
}

/* A unit with that kernel that some program uses. With the lock held. */
static OclUnit *in_use(OclCode *c, const Kernel *k, const Key *key)
{
    for (OclUnit *u = c->d->compiled; u; u = u->next)
        if (!u->failed && same_place(&u->key, key) && unit_has(u, k->code))
            return used(c, u, false);
    return NULL;
}

static bool from_disk(OclUnit *u, OclDevice *d)
{
    Make m = { u, d, NULL, 0 };
    void *binary;
    if (!cache_try(&u->key, sizeof u->key, &binary, &m.n, &u->tried))
        return false;
    m.binary = binary;
    bool good = !deep_call(load, &m);
    u->how = "from the disk";
    free(binary);
    if (!good)
        cache_drop(&u->key, sizeof u->key), u->tried = false;
    return good;
}

static void list(OclDevice *d, OclUnit *u) { u->next = d->compiled, d->compiled = u; }

/* With the lock held: the unit that the disk has it in. */
static OclUnit *on_disk(OclCode *c, const Kernel *k, const Key *key)
{
    void *data;
    size_t n;
    Entry row;
    if (!cache_get(key, sizeof *key, &data, &n))
        return NULL;
    bool whole = n == sizeof row;
    if (whole)
        memcpy(&row, data, sizeof row), row.name[sizeof row.name - 1] = 0;
    free(data);
    if (!whole)
        return NULL;
    const Key where = key_of("cl-unit", row.code.h, c->d, c->queue);
    for (OclUnit *u = c->d->compiled; u; u = u->next)
        if (!u->failed && !memcmp(&u->key, &where, sizeof where))
            return unit_names(u, k->code, row.name) ? used(c, u, false) : NULL;
    OclUnit *u = unit_new(&where, c->queue);
    if (u && unit_names(u, k->code, row.name) && from_disk(u, c->d)) {
        list(c->d, u);
        return used(c, u, true);
    }
    if (u)
        unit_free(u);
    return NULL;
}

/* ==================== what is missing */

typedef struct Missing {
    const Kernel *k;
    int number, group;
} Missing;

static int longest_first(const void *a, const void *b)
{
    const Missing *x = a, *y = b;
    return x->k->nins != y->k->nins ? (x->k->nins < y->k->nins ? 1 : -1) : x->number - y->number;
}

static int in_order(const void *a, const void *b)
{
    return ((const Missing *)a)->number - ((const Missing *)b)->number;
}

/* Into how many units, and which goes into which: each into the one with the least so far. */
static int share_out(const OclCode *c, Missing *m, int n)
{
    int64_t all = 0;
    for (int k = 0; k < n; k++)
        all += m[k].k->nins;
    int groups = 1, most = UNITS_EACH * jobs_at_once();
    if (c->d->one_compiler && jobs_possible())
        groups = all / UNIT_INS < most ? (int)(all / UNIT_INS) : most;
    groups = groups < 1 ? 1 : groups > n ? n : groups;
    int64_t *sum = NEWS(int64_t, groups);
    qsort(m, (size_t)n, sizeof *m, longest_first);
    for (int k = 0; k < n; k++) {
        int least = 0;
        for (int g = 1; g < groups; g++)
            least = sum[g] < sum[least] ? g : least;
        m[k].group = least;
        sum[least] += m[k].k->nins;
    }
    qsort(m, (size_t)n, sizeof *m, in_order);
    return groups;
}

static OclUnit *unit_of(OclCode *c, const Missing *m, int n, int group)
{
    const Kernel **k = NEWS(const Kernel *, n);
    const OpenclCaps caps = ocl_caps(c->d);
    Text t = { 0 };
    int nk = 0;
    for (int i = 0; i < n; i++)
        if (m[i].group == group)
            k[nk++] = m[i].k;
    if (opencl_c_print(k, nk, &caps, &t) || error_pending() ||
        (check_stage("opencl") && opencl_c_check(t.s, k, nk)))
        return text_free(&t), NULL;
    const uint64_t text[2] = { hash_bytes(t.s, t.n, 1), hash_bytes(t.s, t.n, 2) };
    const Key key = key_of("cl-unit", text, c->d, c->queue);
    OclUnit *u = unit_new(&key, c->queue);
    bool named = u;
    for (int i = 0; i < nk && named; i++)
        u->ins += k[i]->nins, named = unit_names(u, k[i]->code, k[i]->name);
    if (named && !(u->source = text_take(&t)))
        named = false, error_set(E_NOMEM, "no memory for a program's text");
    text_free(&t);
    if (u && !named)
        return unit_free(u), NULL;
    return u;
}

/* With the lock held. */
static int begin(OclCode *c, Missing *m, int n, bool wait)
{
    int groups = n ? share_out(c, m, n) : 0;
    for (int g = 0; g < groups; g++) {
        OclUnit *u = unit_of(c, m, n, g);
        if (!u)
            return (int)error_code();
        if (!from_disk(u, c->d) && c->d->one_compiler && jobs_possible())
            u->job = job_of(u, c->d, wait);
        list(c->d, u);
        used(c, u, true);
        for (int i = 0; i < n; i++)
            if (m[i].group == g)
                c->unit[m[i].number] = u;
    }
    return 0;
}

/* ==================== code */

/* m: gets what is missing, and nm how many. With the lock held. The parameters are code, a queue, a
 * list, a list. */
static int find(OclCode *c, OclDevice *d, int queue, Kernel *const *kernel, int n, Missing *m, int *nm)
{
    *c = (OclCode){ .d = d, .queue = queue, .n = n };
    c->unit = calloc((size_t)n + 1, sizeof *c->unit);
    c->all = calloc((size_t)n + 1, sizeof *c->all);
    if (!c->unit || !c->all)
        return error_set(E_NOMEM, "no memory for a program");
    for (int k = 0; k < n; k++) {
        const Key key = kernel_key(kernel[k]->code, d, queue);
        OclUnit *u = in_use(c, kernel[k], &key);
        c->unit[k] = u ? u : on_disk(c, kernel[k], &key);
        if (!c->unit[k])
            m[(*nm)++] = (Missing){ kernel[k], k, 0 };
    }
    return (int)error_code();
}

int ocl_code_open(OclCode *c, OclDevice *d, int queue, Kernel *const *kernel, int n, bool wait)
{
    Missing *m = NEWS(Missing, n);
    int nm = 0;
    pthread_mutex_lock(&d->code);
    int e = find(c, d, queue, kernel, n, m, &nm);
    e = e ? e : begin(c, m, nm, wait);
    pthread_mutex_unlock(&d->code);
    return e;
}

int ocl_code_find(OclCode *c, OclDevice *d, int queue, Kernel *const *kernel, int n)
{
    Missing *m = NEWS(Missing, n);
    int nm = 0;
    pthread_mutex_lock(&d->code);
    int e = find(c, d, queue, kernel, n, m, &nm);
    pthread_mutex_unlock(&d->code);
    return e ? e : nm ? OCL_NOT_YET : 0;
}

/* Here, unless another process is at it: then what that one keeps. */
static int compile_once(OclUnit *u, OclDevice *d)
{
    int claim = cache_claim(&u->key, sizeof u->key, CLAIM_MS);
    Make m = { u, d, NULL, 0 };
    int e = claim >= 0 && from_disk(u, d) ? 0 : deep_call(compile_here, &m);
    cache_claim_end(claim);
    return e;
}

double ocl_code_expected(const OclCode *c)
{
    enum { TEXT_MS = 80 }; /* of a text, beside its kernels */
    double all = 0, longest = 0;
    for (int k = 0; k < c->nall; k++) {
        OclUnit *u = c->all[k];
        bool there = !pthread_mutex_trylock(&u->lock);
        if (there) {
            there = u->program;
            pthread_mutex_unlock(&u->lock);
        }
        double ms = there ? 0 : TEXT_MS + rate_ms(compiling_rate(c->d), (double)u->ins);
        all += ms, longest = ms > longest ? ms : longest;
    }
    return jobs_done(all, longest);
}

/* 0, OCL_NOT_YET, or an error. Waits so long at most; -1: for ever. */
static int unit_finish(OclUnit *u, OclDevice *d, int wait_ms)
{
    int e = 0;
    if (wait_ms)
        pthread_mutex_lock(&u->lock);
    else if (pthread_mutex_trylock(&u->lock))
        return OCL_NOT_YET;
    if (!u->program && u->job && !job_ended(u->job, wait_ms))
        e = OCL_NOT_YET;
    else if (!u->program && !(u->job && from_job(u, d)))
        e = compile_once(u, d), u->failed = e != 0;
    pthread_mutex_unlock(&u->lock);
    return e;
}

/* How many kernels are compiled. */
static int count(const OclCode *c)
{
    int done = 0;
    for (int k = 0; k < c->n; k++) {
        OclUnit *u = c->unit[k];
        if (!pthread_mutex_trylock(&u->lock)) {
            done += u->program != NULL;
            pthread_mutex_unlock(&u->lock);
        }
    }
    return done;
}

int ocl_code_finish(OclCode *c, bool wait)
{
    enum { TELL_MS = 200 };
    Progress p = { 0 };
    int e = 0;
    for (int k = 0; k < c->nall && wait; k++)
        job_hurry(c->all[k]->job);
    for (int k = 0; k < c->nall && !e; k++) {
        while ((e = unit_finish(c->all[k], c->d, wait ? TELL_MS : 0)) == OCL_NOT_YET && wait)
            progress(&p, count(c), c->n);
        if (wait && p.began)
            progress(&p, count(c), c->n);
    }
    progress_end(&p, e);
    return e;
}

/* ==================== HEDDLE_DUMP=time */

typedef struct Told {
    const Kernel *k;
    const OclUnit *u;
    int lines;
} Told;

static int most_lines(const void *a, const void *b)
{
    return ((const Told *)b)->lines - ((const Told *)a)->lines;
}

/* Of its text, without what it calls. 0: it was read back, and has none. */
static int lines_of(const Kernel *k, const OclDevice *d)
{
    const OpenclCaps caps = ocl_caps(d);
    Text t = { 0 };
    int n = 0;
    if (!k->nins)
        return 0;
    const char *s = opencl_c_print(&k, 1, &caps, &t) || !t.s ? NULL : strstr(t.s, "__kernel");
    for (; s && *s; s++)
        n += *s == '\n';
    text_free(&t);
    return n;
}

void ocl_code_tell(const OclCode *c, Kernel *const *list)
{
    Told *t = malloc(((size_t)c->n + 1) * sizeof *t);
    for (int k = 0; t && k < c->n; k++)
        t[k] = (Told){ list[k], c->unit[k], lines_of(list[k], c->d) };
    if (t)
        qsort(t, (size_t)c->n, sizeof *t, most_lines);
    for (int k = 0; t && k < c->n; k++) {
        int others = -1;
        for (int i = 0; i < c->n; i++)
            others += t[i].u == t[k].u;
        fprintf(stderr, "---- time %s: ", t[k].k->name);
        if (t[k].lines)
            fprintf(stderr, "%d lines, ", t[k].lines);
        fprintf(stderr, "%s", t[k].u->how ? t[k].u->how : "?");
        if (t[k].u->ms > 0)
            fprintf(stderr, ", %.1f ms with %d others", t[k].u->ms, others);
        fprintf(stderr, "\n");
    }
    free(t);
}

cl_kernel ocl_code_kernel(const OclCode *c, int k, const Kernel *kernel, cl_int *e)
{
    pthread_mutex_lock(&c->d->code);
    const Entry *entry = unit_has(c->unit[k], kernel->code);
    cl_kernel made = ocl.clCreateKernel(c->unit[k]->program, entry->name, e);
    pthread_mutex_unlock(&c->d->code);
    return made;
}

bool ocl_code_tried(const OclCode *c)
{
    bool tried = false;
    for (int k = 0; k < c->nall; k++)
        tried |= c->all[k]->tried;
    return tried;
}

void ocl_code_worked(const OclCode *c)
{
    for (int k = 0; k < c->nall; k++) {
        OclUnit *u = c->all[k];
        pthread_mutex_lock(&u->lock);
        if (u->tried)
            cache_worked(&u->key, sizeof u->key);
        u->tried = false;
        pthread_mutex_unlock(&u->lock);
    }
}

void ocl_code_drop(OclCode *c)
{
    for (int k = 0; k < c->nall; k++) {
        OclUnit *u = c->all[k], **at = &c->d->compiled;
        pthread_mutex_lock(&c->d->code);
        bool last = !--u->refs;
        while (last && *at != u)
            at = &(*at)->next;
        if (last)
            *at = u->next;
        pthread_mutex_unlock(&c->d->code);
        if (last)
            unit_free(u);
    }
    free(c->unit), free(c->all);
    c->nall = 0, c->unit = c->all = NULL;
}
