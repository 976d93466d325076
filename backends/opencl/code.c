/*
 * code.c - compiled code: found in this process, on the disk, or compiled, by several processes where that
 * helps (units.h).
 *
 * In:  kernels.   Out: OpenCL programs that have them.
 * A unit is one text of a few kernels and what it was compiled to. A kernel is known by its code, whatever
 * program it is part of: of kernels that two programs have in common, the second one finds those of the
 * first. On the disk a row for each kernel says in which unit it is, and under what name, or which of the
 * entry's functions it is (opencl_entry.c). How many units are made of what is missing: a text costs PoCL
 * 60 ms before its first kernel and an instruction about a third of a millisecond, so one for each processor
 * as soon as that is worth it, a few where there is much, the longest kernels first.
 */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Instructions that are worth a unit: of one for each processor, which are compiled side by side; of more
 * than that, up to so many a processor. */
enum { BESIDE_INS = 200, UNIT_INS = 1500, UNITS_EACH = 3 };

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
    int32_t which, pointers;
} Entry; /* a kernel, and what the unit calls it: a name, or of an entry with so many pointers a number */

typedef struct OclUnit {
    Unit base;
    Key key;
    int queue;
    Entry *entry;
    int nentry;                                 /* under the stock's lock */
    cl_program program;                         /* under the unit's: NULL: not yet */
    char *source;
} OclUnit;

OpenclCaps ocl_caps(const OclDevice *d)
{
    return (OpenclCaps){ .f64 = d->base.info.has_f64, .one_item = true, .cache = d->cache };
}

/* Of a text that declares what it calls, PoCL's header is left out (opencl_builtins.c). And clang's passes
 * are: PoCL runs those of -O3 behind them, twice. It checks what stands between spaces and gives clang what
 * stands between spaces or tabs, so this is how clang is told; a version that is stricter refuses it, or
 * takes it for what the name stands for, and compiles as ever. */
#define HEADER_LEFT_OUT " -D_OPENCL_H_"
#define QUICKLY "\t-disable-llvm-passes"
#define EXACT   "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
#define OTHERS  "-cl-std=CL1.2"

static const char *plain_options(const OclDevice *d) { return d->exact_division ? EXACT : OTHERS; }

static const char *options(const OclDevice *d)
{
    if (!d->one_compiler)
        return plain_options(d);
    return d->exact_division ? EXACT HEADER_LEFT_OUT QUICKLY : OTHERS HEADER_LEFT_OUT QUICKLY;
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
        if (k && !strcmp(u->entry[k].name, u->entry[k - 1].name))
            continue;
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

/* With its header, too, should a version of PoCL not do without it; what the tests run under HEDDLE_CHECK
 * does. */
static cl_int build(OclUnit *u, OclDevice *d)
{
    const char *how[] = { options(d), plain_options(d) }, *s = u->source;
    const bool again = how[0] != how[1] && !check_stage("opencl");
    cl_int e = CL_SUCCESS;
    for (int k = 0; k <= again; k++) {
        unload(u);
        u->program = ocl.clCreateProgramWithSource(d->context, 1, &s, NULL, &e);
        if (e == CL_SUCCESS)
            e = ocl.clBuildProgram(u->program, 1, &d->id[u->queue], how[k], NULL, NULL);
        if (e == CL_SUCCESS)
            break;
    }
    return e;
}

/* Asking for the binary makes drivers compile that would do so when a kernel first runs. */
static int compile_here(void *make)
{
    const Make *m = make;
    OclUnit *u = m->u;
    const double began = now_ms();
    size_t n;
    cl_int e = build(u, m->d);
    if (e != CL_SUCCESS) {
        build_failed(u, m->d, e);
        unload(u);
        return (int)error_code();
    }
    void *binary = binary_of(u->program, &n);
    if (binary)
        keep(u, m->d, binary, n);
    free(binary);
    u->base.how = "compiled here", u->base.ms = now_ms() - began;
    return 0;
}

/* What a compiler of another process made of it. */
static bool from_job(OclUnit *u, OclDevice *d)
{
    size_t n = 0;
    void *binary = unit_job_result(&d->code, &u->base, &n);
    Make m = { u, d, binary, n };
    bool good = binary && !load(&m);
    free(binary);
    return good;
}

/* ==================== units */

static OclUnit *unit_new(const Key *key, int queue)
{
    OclUnit *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    u->key = *key, u->queue = queue;
    unit_open(&u->base, &u->key, sizeof u->key);
    return u;
}

static void unit_free(void *device, Unit *unit)
{
    OclUnit *u = (OclUnit *)unit;
    (void)device;
    unit_close(unit);
    unload(u);
    free(u->entry), free(u->source), free(u);
}

static bool unit_names(OclUnit *u, const Entry *is)
{
    Entry *e = realloc(u->entry, (size_t)(u->nentry + 1) * sizeof *e);
    if (!e)
        return error_set(E_NOMEM, "no memory for a program"), false;
    u->entry = e;
    e[u->nentry++] = *is;
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

/* A unit of the stock with that kernel. With its lock held, as is all that follows. */
static OclUnit *in_use(const OclDevice *d, const Kernel *k, const Key *key)
{
    for (Unit *u = d->code.first; u; u = u->next)
        if (same_place(&((OclUnit *)u)->key, key) && unit_has((OclUnit *)u, k->code))
            return (OclUnit *)u;
    return NULL;
}

static bool from_disk(OclUnit *u, OclDevice *d)
{
    Make m = { u, d, NULL, 0 };
    void *binary;
    if (!cache_try(&u->key, sizeof u->key, &binary, &m.n, &u->base.tried))
        return false;
    m.binary = binary;
    u->base.made = !deep_call(load, &m);
    u->base.how = "from the disk";
    free(binary);
    if (!u->base.made)
        cache_drop(&u->key, sizeof u->key), u->base.tried = false;
    return u->base.made;
}

/* The unit that the disk has it in. *there: it is in the stock. */
static OclUnit *on_disk(OclDevice *d, int queue, const Kernel *k, const Key *key, bool *there)
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
    const Key where = key_of("cl-unit", row.code.h, d, queue);
    memcpy(row.code.h, k->code, sizeof row.code.h);
    *there = true;
    for (Unit *u = d->code.first; u; u = u->next)
        if (!memcmp(&((OclUnit *)u)->key, &where, sizeof where))
            return unit_names((OclUnit *)u, &row) ? (OclUnit *)u : NULL;
    OclUnit *u = unit_new(&where, queue);
    *there = false;
    if (u && unit_names(u, &row) && from_disk(u, d))
        return u;
    if (u)
        unit_free(d, &u->base);
    return NULL;
}

/* ==================== what is missing */

typedef struct Missing {
    const Kernel *k;
    int number, group;
    int64_t weight;
} Missing;

static int longest_first(const void *a, const void *b)
{
    const Missing *x = a, *y = b;
    return x->weight != y->weight ? (x->weight < y->weight ? 1 : -1) : x->number - y->number;
}

static int in_order(const void *a, const void *b)
{
    return ((const Missing *)a)->number - ((const Missing *)b)->number;
}

static int groups_for(int64_t ins)
{
    const int64_t each = jobs_at_once(), beside = ins / BESIDE_INS, many = ins / UNIT_INS;
    const int64_t few = beside < each ? beside : each, most = UNITS_EACH * each;
    return (int)(many > most ? most : many > few ? many : few);
}

/* Into how many units, and which goes into which: each into the one with the least so far. */
static int share_out(const OclDevice *d, Missing *m, int n)
{
    int64_t all = 0;
    for (int k = 0; k < n; k++)
        all += m[k].weight = opencl_c_weight(m[k].k);
    int groups = d->one_compiler && jobs_possible() ? groups_for(all) : 1;
    groups = groups < 1 ? 1 : groups > n ? n : groups;
    int64_t *sum = NEWS(int64_t, groups);
    qsort(m, (size_t)n, sizeof *m, longest_first);
    for (int k = 0; k < n; k++) {
        int least = 0;
        for (int g = 1; g < groups; g++)
            least = sum[g] < sum[least] ? g : least;
        m[k].group = least;
        sum[least] += m[k].weight;
    }
    qsort(m, (size_t)n, sizeof *m, in_order);
    return groups;
}

/* What the text calls kernel number `which` of it. */
static Entry entry_of(const Kernel *k, int which, int pointers)
{
    Entry e = { .code = { { k->code[0], k->code[1] } }, .which = which, .pointers = pointers };
    if (!pointers || !opencl_c_joins(k))
        e.pointers = 0;
    snprintf(e.name, sizeof e.name, "%s", e.pointers ? OPENCL_ENTRY : k->name);
    return e;
}

static OclUnit *unit_of(OclDevice *d, int queue, const Missing *m, int n, int group)
{
    const Kernel **k = NEWS(const Kernel *, n);
    OpenclCaps caps = ocl_caps(d);
    Text t = { 0 };
    int nk = 0;
    int64_t ins = 0;
    caps.joined = caps.declares = d->one_compiler;
    for (int i = 0; i < n; i++)
        if (m[i].group == group)
            k[nk++] = m[i].k, ins += m[i].weight;
    if (opencl_c_print(k, nk, &caps, &t) || error_pending() ||
        (check_stage("opencl") && opencl_c_check(t.s, k, nk)))
        return text_free(&t), NULL;
    const uint64_t text[2] = { hash_bytes(t.s, t.n, 1), hash_bytes(t.s, t.n, 2) };
    const Key key = key_of("cl-unit", text, d, queue);
    OclUnit *u = unit_new(&key, queue);
    bool named = u;
    const int pointers = opencl_c_entry(k, nk, &caps);
    for (int i = 0; i < nk && named; i++) {
        const Entry e = entry_of(k[i], i, pointers);
        named = unit_names(u, &e);
    }
    if (named && !(u->source = text_take(&t)))
        named = false, error_set(E_NOMEM, "no memory for a program's text");
    text_free(&t);
    if (u)
        u->base.ins = ins;
    if (u && !named)
        return unit_free(d, &u->base), NULL;
    return u;
}

static int begin(Units *c, int queue, Missing *m, int n, bool wait)
{
    OclDevice *d = c->of->device;
    int groups = n ? share_out(d, m, n) : 0;
    for (int g = 0; g < groups; g++) {
        OclUnit *u = unit_of(d, queue, m, n, g);
        if (!u)
            return (int)error_code();
        if (!from_disk(u, d) && d->one_compiler && jobs_possible())
            u->base.job = job_of(u, d, wait);
        bool added = false;
        for (int i = 0; i < n; i++)
            if (m[i].group == g) {
                (added ? units_use : units_add)(c, m[i].number, &u->base);
                added = true;
            }
    }
    return 0;
}

/* ==================== code */

/* m: gets what is missing; how many, or -1 after an error. */
static int find(Units *c, int queue, Kernel *const *kernel, Missing *m)
{
    OclDevice *d = c->of->device;
    int nm = 0;
    for (int k = 0; k < c->n; k++) {
        const Key key = kernel_key(kernel[k]->code, d, queue);
        bool there = true;
        OclUnit *u = in_use(d, kernel[k], &key);
        u = u ? u : on_disk(d, queue, kernel[k], &key, &there);
        if (u)
            (there ? units_use : units_add)(c, k, &u->base);
        else
            m[nm++] = (Missing){ kernel[k], k, 0, 0 };
    }
    return error_pending() ? -1 : nm;
}

int ocl_code_open(Units *c, OclDevice *d, int queue, Kernel *const *kernel, int n, OclWanted wanted)
{
    Missing *m = NEWS(Missing, n);
    if (units_open(c, &d->code, n))
        return (int)error_code();
    pthread_mutex_lock(&d->code.lock);
    int nm = find(c, queue, kernel, m), e = nm < 0 ? (int)error_code() : 0;
    if (nm > 0)
        e = wanted == WANTED_IF_THERE ? NOT_YET : begin(c, queue, m, nm, wanted == WANTED_NOW);
    pthread_mutex_unlock(&d->code.lock);
    return e;
}

/* Of what its job gave, or here, unless another process is at it: then of what that one keeps. */
static int unit_make(void *device, Unit *unit)
{
    OclUnit *u = (OclUnit *)unit;
    OclDevice *d = device;
    if (!unit->job || !from_job(u, d)) {
        int claim = cache_claim(&u->key, sizeof u->key, CLAIM_MS);
        Make m = { u, d, NULL, 0 };
        int e = claim >= 0 && from_disk(u, d) ? 0 : deep_call(compile_here, &m);
        cache_claim_end(claim);
        if (e)
            return e;
    }
    unit->made = true;
    return 0;
}

/* Lines of its text, without what it calls. */
static int lines_of(void *device, const Unit *u, const Kernel *k)
{
    const OpenclCaps caps = ocl_caps(device);
    Text t = { 0 };
    int n = 0;
    (void)u;
    if (!k->nins) /* it was read back, and has none */
        return 0;
    const char *s = opencl_c_print(&k, 1, &caps, &t) || !t.s ? NULL : strstr(t.s, "__kernel");
    for (; s && *s; s++)
        n += *s == '\n';
    text_free(&t);
    return n;
}

/* What an entry is told once: which of its kernels it is. Of pointers that this one has not, none. */
static cl_int told(cl_kernel made, const Kernel *k, const Entry *e)
{
    const cl_int which = e->which, step = 0;
    cl_int bad = ocl.clSetKernelArg(made, (cl_uint)e->pointers, sizeof which, &which);
    bad = bad ? bad : ocl.clSetKernelArg(made, (cl_uint)e->pointers + 1, sizeof step, &step);
    for (int i = k->nparam; i < e->pointers && !bad; i++)
        bad = ocl.clSetKernelArg(made, (cl_uint)i, sizeof(cl_mem), NULL);
    return bad;
}

cl_kernel ocl_code_kernel(const Units *c, int k, const Kernel *kernel, int *step, cl_int *e)
{
    const OclUnit *u = (const OclUnit *)c->unit[k];
    pthread_mutex_lock(&c->of->lock);
    const Entry *entry = unit_has(u, kernel->code);
    cl_kernel made = ocl.clCreateKernel(u->program, entry->name, e);
    if (*e == CL_SUCCESS && entry->pointers && (*e = told(made, kernel, entry)) != CL_SUCCESS)
        ocl.clReleaseKernel(made), made = NULL;
    *step = entry->pointers ? entry->pointers + 1 : kernel->nparam;
    pthread_mutex_unlock(&c->of->lock);
    return *e == CL_SUCCESS ? made : NULL;
}

static Rate *rate(const void *device) { return rate_of(((const OclDevice *)device)->version, 1); }

void ocl_code_stock(OclDevice *d)
{
    d->code = (Stock){ .device = d, .make = unit_make, .end = unit_free, .length = lines_of,
        .lengths = "lines", .rate = rate, .unit_ms = 60, .much = UNIT_INS / 3 };
    stock_open(&d->code);
}
