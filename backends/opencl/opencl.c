/*
 * opencl.c - the loader, and every device of every platform in one list.
 *
 * In:  libOpenCL.so.1, if there is one.   Out: opencl_backend, devices opencl:0, opencl:1 ...
 * PoCL offers the processor twice, and one context may hold both: `pthread` uses all cores and costs 16-35
 * us a launch, `basic` runs in the caller's thread and costs 0.6 us. Unless the user has set POCL_DEVICES we
 * ask for both and show them as one device, whose executables choose by the work in them (exec.c).
 */
#include "opencl.h"
#include "ranks.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

ClApi ocl;

static struct {
    pthread_once_t once;
    const char *missing;
    int n;
    struct { cl_platform_id platform; cl_device_id id[QUEUES]; int nid; } d[MAX_DEVICES];
} found = { .once = PTHREAD_ONCE_INIT };

const char *ocl_error(cl_int e)
{
    switch (e) {
#define X(c) case c: return #c;
        X(CL_DEVICE_NOT_FOUND)
        X(CL_DEVICE_NOT_AVAILABLE) X(CL_COMPILER_NOT_AVAILABLE) X(CL_MEM_OBJECT_ALLOCATION_FAILURE)
            X(CL_OUT_OF_RESOURCES) X(CL_OUT_OF_HOST_MEMORY) X(CL_BUILD_PROGRAM_FAILURE) X(CL_INVALID_VALUE)
                X(CL_INVALID_BUFFER_SIZE) X(CL_INVALID_BINARY) X(CL_INVALID_KERNEL_NAME)
                    X(CL_INVALID_KERNEL_ARGS) X(CL_INVALID_WORK_GROUP_SIZE) X(CL_INVALID_GLOBAL_WORK_SIZE)
                        X(CL_INVALID_ARG_SIZE) X(CL_INVALID_ARG_INDEX) X(CL_INVALID_MEM_OBJECT)
                            X(CL_MISALIGNED_SUB_BUFFER_OFFSET) X(CL_INVALID_PROGRAM_EXECUTABLE)
                                X(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
#undef X
    }
    static _Thread_local char text[32];
    snprintf(text, sizeof text, "OpenCL error %d", e);
    return text;
}

bool ocl_no_memory(cl_int e)
{
    return e == CL_MEM_OBJECT_ALLOCATION_FAILURE || e == CL_OUT_OF_HOST_MEMORY ||
        e == CL_INVALID_BUFFER_SIZE;
}

int ocl_fail(const OclDevice *d, cl_int e, const char *what)
{
    return error_set(
        ocl_no_memory(e) ? E_NOMEM : E_DEVICE, "%s: %s: %s", d->base.info.name, what, ocl_error(e));
}

void ocl_enter(OclDevice *d, int queue)
{
    if (queue)
        pthread_mutex_lock(&d->quick);
}

void ocl_leave(OclDevice *d, int queue)
{
    if (queue)
        pthread_mutex_unlock(&d->quick);
}

/* A text that a device reports, free() it; NULL: it does not. */
static char *device_text(cl_device_id id, cl_device_info what)
{
    size_t n = 0;
    if (ocl.clGetDeviceInfo(id, what, 0, NULL, &n) != CL_SUCCESS)
        return NULL;
    char *s = calloc(n + 1, 1);
    if (s && n && ocl.clGetDeviceInfo(id, what, n, s, NULL) == CL_SUCCESS)
        return s;
    free(s);
    return NULL;
}

static void copy_text(cl_device_id id, cl_device_info what, char *out, size_t n)
{
    char *s = device_text(id, what);
    snprintf(out, n, "%s", s ? s : "");
    free(s);
}

bool ocl_usable(cl_device_id id)
{
    char version[64];
    int major = 0, minor = 0;
    cl_bool there = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;
    copy_text(id, CL_DEVICE_VERSION, version, sizeof version);
    bool known = sscanf(version, "OpenCL %d.%d", &major, &minor) == 2 &&
        ocl.clGetDeviceInfo(id, CL_DEVICE_AVAILABLE, sizeof there, &there, NULL) == CL_SUCCESS &&
        ocl.clGetDeviceInfo(id, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL) ==
            CL_SUCCESS &&
        ocl.clGetDeviceInfo(id, CL_DEVICE_ENDIAN_LITTLE, sizeof little, &little, NULL) == CL_SUCCESS;
    return known && there && compiler && little && 10 * major + minor >= 12;
}

/* "pthread-AMD EPYC" and "basic-AMD EPYC" are one processor: the part behind the dash, or NULL. */
static const char *same_processor(const char *name, const char *driver)
{
    size_t n = strlen(driver);
    return strncmp(name, driver, n) == 0 && (name[n] == '-' || name[n] == 0) ? name + n : NULL;
}

static void list_platform(cl_platform_id p, bool pair)
{
    cl_device_id ids[MAX_DEVICES];
    char name[MAX_DEVICES][128];
    bool taken[MAX_DEVICES] = { false };
    cl_uint n = 0;
    if (ocl.clGetDeviceIDs(p, CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &n) != CL_SUCCESS)
        return;
    n = n > MAX_DEVICES ? MAX_DEVICES : n;
    for (cl_uint i = 0; i < n; i++) {
        copy_text(ids[i], CL_DEVICE_NAME, name[i], sizeof name[i]);
        if ((taken[i] = !ocl_usable(ids[i])))
            found.missing = "an OpenCL device is older than 1.2 or has no compiler, and cannot be used";
    }
    for (cl_uint i = 0; pair && i < n; i++) {           /* the quick twin is not a device of its own */
        const char *rest = same_processor(name[i], "basic");
        for (cl_uint j = 0; rest && !taken[i] && !taken[j] && j < n; j++) {
            const char *other = same_processor(name[j], "pthread");
            if (other && !strcmp(rest, other) && found.n < MAX_DEVICES) {
                found.d[found.n].platform = p;
                found.d[found.n].id[0] = ids[j];
                found.d[found.n].id[1] = ids[i];
                found.d[found.n++].nid = 2;
                taken[i] = taken[j] = true;
            }
        }
    }
    for (cl_uint i = 0; i < n; i++)
        if (!taken[i] && found.n < MAX_DEVICES) {
            found.d[found.n].platform = p;
            found.d[found.n].id[0] = ids[i];
            found.d[found.n++].nid = 1;
        }
}

/* Ranks build the same programs at the same time, and PoCL reads what another process is just writing into
 * its folder: it aborts over a file that is empty as yet. So each rank, and what compiles for it, has a
 * folder of its own. */
static void own_folder(void)
{
    char path[4096];
    const char *at = getenv("POCL_CACHE_DIR"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const int rank = ranks_number();
    if (rank < 0)
        return;
    if (at && *at)
        snprintf(path, sizeof path, "%s/rank%d", at, rank);
    else if (cache && *cache)
        snprintf(path, sizeof path, "%s/pocl/kcache/rank%d", cache, rank);
    else
        snprintf(path, sizeof path, "%s%s/pocl/kcache/rank%d", home && *home ? home : "/tmp",
            home && *home ? "/.cache" : "", rank);
    setenv("POCL_CACHE_DIR", path, 1);
}

static void find_devices(void)
{
    own_folder();
    bool pair = !getenv("POCL_DEVICES");
    if (pair)
        setenv("POCL_DEVICES", "basic pthread", 0);
    /* Compile a kernel once, for every launch; its loop over work-items is then not one that vectorizers may
     * reorder. */
    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 0);
    setenv("POCL_WORK_GROUP_METHOD", "loops", 0);
    void *lib = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        found.missing = "no OpenCL loader (libOpenCL.so.1): apt install ocl-icd-libopencl1, and "
                        "pocl-opencl-icd for a device "
                        "on the processor";
        return;
    }
#define X(f) \
    if ((ocl.f = (__typeof__(ocl.f))dlsym(lib, #f)) == NULL) { \
        found.missing = "the OpenCL loader is older than 1.2 (no " #f "): install a newer one"; \
        return; \
    }
    CL_FUNCTIONS(X)
#undef X
    ocl_faults();
    cl_platform_id p[16];
    cl_uint n = 0;
    if (ocl.clGetPlatformIDs(16, p, &n) != CL_SUCCESS)
        n = 0;
    for (cl_uint i = 0; i < n && i < 16; i++)
        list_platform(p[i], pair);
    if (pair)                                           /* programs that we start choose for themselves */
        unsetenv("POCL_DEVICES");
    if (!found.n && !found.missing)
        found.missing = "no OpenCL device: install your GPU's driver, or apt install pocl-opencl-icd for "
                        "one on the processor";
}

static int count(void)
{
    pthread_once(&found.once, find_devices);
    return found.n;
}

static bool gpu(int index)
{
    cl_device_type type = 0;
    ocl.clGetDeviceInfo(found.d[index].id[0], CL_DEVICE_TYPE, sizeof type, &type, NULL);
    return !(type & CL_DEVICE_TYPE_CPU);
}

static const char *missing(void)
{
    count();
    return found.missing;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = strstr(list, word); s; s = strstr(s + n, word))
        if ((s == list || s[-1] == ' ') && (s[n] == ' ' || s[n] == 0))
            return true;
    return false;
}

/* What has no default: without it a device cannot be opened. */
static cl_int ask_limits(OclDevice *d)
{
    DeviceInfo *i = &d->base.info;
    cl_ulong memory = 0, most = 0;
    cl_uint align = 0, units = 0;
    cl_device_type type = 0;
    cl_device_fp_config single = 0;
    cl_device_id id = d->id[0];
    cl_int e = ocl.clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL);
    e = e ? e : ocl.clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof most, &most, NULL);
    e = e ? e : ocl.clGetDeviceInfo(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align, &align, NULL);
    e = e ? e : ocl.clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    e = e ? e : ocl.clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    e = e ? e : ocl.clGetDeviceInfo(id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof single, &single, NULL);
    d->exact_division = single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    i->memory = memory;
    i->max_alloc = most;
    i->is_cpu = type & CL_DEVICE_TYPE_CPU;
    d->units = units ? units : 1;
    d->align = align / 8 > SLACK_BYTES ? align / 8 : SLACK_BYTES;
    return e;
}

/* A processor's own caches are the system's to say: OpenCL knows one of them. */
static void ask_machine(OclDevice *d)
{
    const DeviceInfo *i = &d->base.info;
    Machine *m = &d->base.info.machine;
    if (!i->is_cpu || check_wanted("groups")) {
        const Lockstep f = ocl_lockstep(d->id[0]);
        lockstep_machine(m, &f);
        return;
    }
    *m = i->scalar ? machine_gpu : machine_processor;
    processor_machine(m);
    m->cores = d->units;
    ocl_ask_number(d->id[0], CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, &m->line);
    machine_follow(m);
}

/* What a device can do; what it does not say it cannot. */
static void ask_features(OclDevice *d)
{
    DeviceInfo *i = &d->base.info;
    cl_device_id id = d->id[0];
    cl_uint width = 0;
    cl_device_fp_config twice = 0;
    char *extensions = device_text(id, CL_DEVICE_EXTENSIONS);
    bool f64 = extensions && has_word(extensions, "cl_khr_fp64"), narrow = check_wanted("narrow");
    i->has_f16 = extensions && has_word(extensions, "cl_khr_fp16");
    i->has_i64 = !narrow;
    f64 = f64 ||
        (ocl.clGetDeviceInfo(id, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof twice, &twice, NULL) == CL_SUCCESS &&
            twice);
    i->has_f64 = f64 && !narrow;
    i->scalar = ocl.clGetDeviceInfo(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL) ==
            CL_SUCCESS &&
        width == 1;
    if (!i->is_cpu ||
        ocl.clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof d->cache, &d->cache, NULL) !=
            CL_SUCCESS)
        d->cache = 0;
    ask_machine(d);
    if (check_wanted("stream"))                 /* as if every array were larger */
        d->cache = 1;
    free(extensions);
}

static cl_int describe(OclDevice *d, cl_platform_id platform)
{
    DeviceInfo *i = &d->base.info;
    char name[64] = "", driver[64];
    size_t n = 0;
    i->kind = "opencl";
    copy_text(d->id[0], CL_DEVICE_NAME, i->model, sizeof i->model);
    copy_text(d->id[0], CL_DRIVER_VERSION, driver, sizeof driver);
    if (ocl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, 0, NULL, &n) != CL_SUCCESS || n > sizeof name ||
        ocl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, n, name, NULL) != CL_SUCCESS)
        name[0] = 0;
    snprintf(i->driver, sizeof i->driver, "%.63s %.60s", name, driver);
    d->one_compiler = !strcmp(name, "Portable Computing Language");
    for (int q = 0; q < d->nqueue; q++)
        copy_text(d->id[q], CL_DEVICE_NAME, d->name[q], sizeof d->name[q]);
    snprintf(d->version, sizeof d->version, "%s", driver);
    if (d->nqueue > 1)
        snprintf(i->notes, sizeof i->notes, "small programs run in the caller's thread");
    cl_int e = ask_limits(d);
    ask_features(d);
    if (machine_override(&i->machine))
        return CL_INVALID_VALUE;
    const char *method = getenv("POCL_WORK_GROUP_METHOD"),
               *special = getenv("POCL_WORK_GROUP_SPECIALIZATION");
    snprintf(d->key, sizeof d->key, "%s|%s|%llx|%llx|%.32s|%.32s", i->model, i->driver,
        i->is_cpu ? (unsigned long long)processor_features() : 0ull,
        (unsigned long long)machine_hash(&i->machine), method ? method : "", special ? special : "");
    return e;
}

/* A context for all devices of a platform, as long as one of them is open; opening and closing are under the
 * list's lock. */
static struct Shared { cl_platform_id platform; cl_context context; int users; } shared[MAX_DEVICES];

static struct Shared *shared_by(cl_platform_id p)
{
    struct Shared *s = shared, *end = shared + MAX_DEVICES, *free_one = NULL;
    for (; s < end && !(s->users && s->platform == p); s++)
        if (!s->users && !free_one)
            free_one = s;
    return s < end ? s : free_one;
}

static cl_context context_of(cl_platform_id p, cl_int *e)
{
    const cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)p, 0 };
    struct Shared *s = shared_by(p);
    cl_device_id id[IN_CONTEXT];
    cl_uint n = 0;
    *e = CL_SUCCESS;
    for (int i = 0; i < found.n && !s->users; i++)
        for (int q = 0; q < found.d[i].nid && found.d[i].platform == p; q++)
            id[n++] = found.d[i].id[q];
    if (!s->users)
        *s = (struct Shared){ p, ocl.clCreateContext(props, n, id, NULL, NULL, e), 0 };
    s->users += *e == CL_SUCCESS;
    return s->context;
}

static void leave_context(cl_context c)
{
    struct Shared *s = shared, *end = shared + MAX_DEVICES;
    while (s < end && !(s->users && s->context == c))
        s++;
    if (c && (s == end || !--s->users))         /* the application's, or nobody's any more */
        ocl.clReleaseContext(c);
}

void ocl_close(Device *dev)
{
    OclDevice *d = (OclDevice *)dev;
    ocl_pool_empty(d);
    for (int q = 0; q < d->nqueue; q++)
        ocl_queue_close(&d->queue[q]);
    if (d->moving)
        ocl.clReleaseCommandQueue(d->moving);
    leave_context(d->context);
    pthread_mutex_destroy(&d->quick), stock_close(&d->code);
    free(d);
}

int ocl_open(OclDevice *d, cl_platform_id platform, cl_context given, cl_command_queue queue)
{
    cl_int e = describe(d, platform);
    if (e != CL_SUCCESS)
        return ocl_fail(d, e, "asking for its limits");
    pool_new(&d->pool, d->base.info.memory);
    pool_new(&d->pinned, d->base.info.memory / 16);
    d->context = !given ? context_of(platform, &e) :
        (e = ocl.clRetainContext(given)) ? NULL :
                                           given;
    if (e != CL_SUCCESS)
        return ocl_fail(d, e, "a context");
    d->base.realm = d->context;
    int code = 0;
    for (int q = 0; q < d->nqueue && !code; q++)
        code = ocl_queue_open(d, q, queue);
    d->moving = code ? NULL : ocl.clCreateCommandQueue(d->context, d->id[0], 0, &e);
    return code || e == CL_SUCCESS ? code : ocl_fail(d, e, "a command queue");
}

OclDevice *ocl_device_new(const char *name)
{
    OclDevice *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "no memory for a device"), NULL;
    pthread_mutex_init(&d->quick, NULL), ocl_code_stock(d);
    d->base.backend = &opencl_backend;
    snprintf(d->base.info.name, sizeof d->base.info.name, "%s", name);
    return d;
}

static Device *open_device(int index)
{
    char name[32];
    snprintf(name, sizeof name, "opencl:%d", index);
    OclDevice *d = ocl_device_new(name);
    if (!d)
        return NULL;
    d->nqueue = found.d[index].nid;
    memcpy(d->id, found.d[index].id, sizeof d->id);
    if (!ocl_open(d, found.d[index].platform, NULL, NULL))
        return &d->base;
    ocl_close(&d->base);
    return NULL;
}

/* Of arrays no view without a copy: what a kernel reads past an end belongs to the driver's allocation. */
static const void *map(Mem *m) { return ((OclMem *)m)->host; }

const Backend opencl_backend = {
    .kind = "opencl",
    .driver_calls = ocl_calls,
    .count = count,
    .gpu = gpu,
    .missing = missing,
    .open = open_device,
    .close = ocl_close,
    .alloc = ocl_alloc,
    .pin = ocl_pin,
    .release = ocl_release,
    .write = ocl_write,
    .read = ocl_read,
    .copy = ocl_copy,
    .wait = ocl_wait,
    .ready = ocl_ready,
    .map = map,
    .build = ocl_build,
    .begin = ocl_begin,
    .again = ocl_again,
    .finish = ocl_finish,
    .run = ocl_run,
    .drop = ocl_drop,
    .code = ocl_code,
};
