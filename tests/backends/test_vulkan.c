/*
 * test_vulkan.c - a Vulkan device when its driver's calls fail, and its memory.
 *
 * In:  a small program with a constant, a temporary, two launches; every call of the driver that may fail,
 * failing once and
 *      for good (backends/fault.h). HEDDLE_TEST_EVERY=n: every n-th call of opening a device (35).
 * Out: an error or the right numbers, never wrong ones, no crash; after one failure all works again. Many
 * small arrays live
 *      at once in few allocations. Processors get short kernels.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heddle.h"

#include "fault.h"
#include "suite_run.h"
#include "values.h"
#include "vk.h"

enum { N = 96 };

static const char *const name = "vulkan:0";
static int every = 35;

/* ==================== a program: 3 x + c, by way of a temporary */

typedef struct Program {
    Plan plan;
    Step step[2];
    Slot slot[4];
    Buffer b[4];
    int alias[1];
    float c[N];
} Program;

static void program(Program *p)
{
    static const uint8_t kind[] = { SLOT_ARG, SLOT_CONST, SLOT_TEMP, SLOT_RESULT };
    for (int i = 0; i < 4; i++) {
        p->b[i] = (Buffer){ .name = "b", .dt = DT_F32, .space = GLOBAL, .size = N, .slot = i };
        p->slot[i] = (Slot){ .kind = kind[i], .dt = DT_F32, .size = N, .bytes = N * 4, .name = "b" };
    }
    for (int i = 0; i < N; i++)
        p->c[i] = (float)i;
    p->slot[1].data = p->c, p->slot[2].offset = 4096, p->alias[0] = -1;
    for (int s = 0; s < 2; s++) {
        Kernel *k = k_new(s ? "add" : "triple");
        Form at = form_a(k_loop(k, "i", N, 0, NULL, NULL));
        Val x = k_load(k, &p->b[s ? 2 : 0], at);
        k_store(k, &p->b[s ? 3 : 2], at, s ? k2(k, K_ADD, DT_F32, x, k_load(k, &p->b[1], at))
            : k2(k, K_MUL, DT_F32, x, k_const(k, DT_F32, 3)));
        k_loop_end(k, NULL, NULL);
        k_finish(k);
        p->step[s] = (Step){ .kind = S_LAUNCH, .kernel = k };
    }
    p->plan = (Plan){ .step = p->step,
        .nstep = 2,
        .slot = p->slot,
        .nslot = 4,
        .narg = 1,
        .nresult = 1,
        .alias = p->alias,
        .bytes = 8192,
        .nkernel = 2 };
}

/* Built, run and read on the device: 0 with the right numbers, or an error's code. */
static int once(Program *p)
{
    Mem *in = NULL, *out = NULL;
    float x[N], y[N] = { 0 };
    error_clear();
    Device *d = device_find(name);
    Exec *e = d ? d->backend->build(d, &p->plan) : NULL;
    int code = e ? d->backend->alloc(d, sizeof x, &in) : (int)error_code();
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 17);
    code = code ? code : d->backend->write(in, 0, x, sizeof x);
    code = code ? code : d->backend->run(e, 1, &in, 1, &out);
    code = code ? code : d->backend->read(out, 0, y, sizeof y);
    for (int i = 0; i < N && !code; i++)
        ck_assert_msg(y[i] == 3 * x[i] + (float)i, "element %d is %g", i, (double)y[i]);
    ck_assert_msg(!code == !error_pending(), "code %d, and \"%s\"", code, error_text());
    ck_assert_msg(e || code, "no program and no error");
    mem_drop(in);
    mem_drop(out);
    if (e)
        d->backend->drop(e);
    error_clear();
    return code;
}

static void works(Program *p)
{
    if (once(p)) {                              /* the device was lost, and is opened anew */
        device_close_all();
        ck_assert_msg(!once(p), "what follows a failure fails");
    }
}

/* Calls of a run, the device open; of one that opens it. */
static long calls(Program *p, bool open)
{
    if (open)
        device_close_all();
    ck_assert(fault_set("vulkan:*:1000000000"));
    ck_assert(!once(p));
    long n = fault_calls();
    fault_set(NULL);
    return n;
}

static void sweep(bool open, bool good, int step)
{
    Program p;
    char spec[64];
    program(&p);
    works(&p);
    long n = calls(&p, open), failed = 0;
    for (long at = 1; at <= n; at += step) {
        if (open)
            device_close_all();
        snprintf(spec, sizeof spec, "vulkan:*:%ld%s", at, good ? "+" : "");
        ck_assert(fault_set(spec));
        failed += once(&p) != 0;
        fault_set(NULL);
        if (good)
            works(&p);
        else
            ck_assert_msg(!once(&p), "after one failure of call %ld nothing works", at);
    }
    ck_assert_msg(failed > 0, "no call fails");
    ck_assert_msg(!good || failed == (n + step - 1) / step,
        "of %ld calls that fail for good %ld are noticed", n, failed);
}

/* Loop tests: 0 once, 1 for good. */
START_TEST(calls_of_a_run) { sweep(false, _i, 1); }
END_TEST

START_TEST(calls_of_a_device) { sweep(true, _i, every); }
END_TEST

/* Before a device is there: no device and a sentence, in a process of its own, since the list is made
 * once. */
START_TEST(calls_of_the_loader)
{
    static const char *const spec[] = { "vulkan:vkCreateInstance:1", "vulkan:vkEnumerateInstanceVersion:1",
        "vulkan:vkEnumeratePhysicalDevices:1", "vulkan:*:1+" };
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        int status = -1;
        pid_t child = fork();
        if (!child) {
            fault_set(spec[i]);
            _exit(device_find(name) || !strstr(error_text(), "Vulkan") || !device_find("host"));
        }
        ck_assert(child > 0 && waitpid(child, &status, 0) == child);
        ck_assert_msg(status == 0, "%s: status %d", spec[i], status);
    }
}
END_TEST

/* ==================== as users meet it */

static hd square(hd x) { return hd_mul(x, x); }
static hd next(hd x) { return hd_add(x, hd_c(1)); }

enum { MANY = 1 << 18 };                        /* long enough for a wait that ends too early */

static void is(hd_array *a, float want)
{
    ck_assert_msg(a != NULL, "%s", hd_error());
    for (int i = 0; i < (int)hd_array_size(a); i++)
        ck_assert_msg(((const float *)hd_data(a))[i] == want, "%g, not %g",
            (double)((const float *)hd_data(a))[i], (double)want);
}

static hd_array *filled(float with, int n)
{
    static float v[MANY];
    for (int i = 0; i < n; i++)
        v[i] = with;
    return hd_array_of(v, n);
}

/* What fails while a call is given has no results to go on with. What fails later is told to who asks for
 * them. */
START_TEST(one_failure_in_a_call)
{
    static const char *const spec[] = { NULL, "vulkan:vkQueueSubmit:1", "vulkan:vkEndCommandBuffer:1",
        "vulkan:vkBeginCommandBuffer:1", "vulkan:vkResetCommandPool:1" };
    hd_fn *f = hd_jit(square, .device = name), *g = hd_jit(next, .device = name);
    for (int i = 0; i < (int)(sizeof spec / sizeof *spec); i++) {
        /* another length: another program, whose commands are recorded */
        hd_array *x = filled((float)i, MANY - i), *y = NULL, *z = NULL;
        if (spec[i]) {
            ck_assert(fault_set(spec[i]));
            ck_assert_msg(hd_call(f, &y, x) && !y, "%s is not noticed", spec[i]);
            ck_assert_msg(strstr(hd_error(), "VK_"), "%s", hd_error());
            ck_assert_msg(hd_call(g, &z, y) && !z, "no result is a result");
            fault_set(NULL);
        }
        ck_assert_msg(!hd_call(f, &y, x), "%s", hd_error());
        is(y, (float)(i * i));
        ck_assert_msg(!hd_call(g, &z, y), "%s", hd_error());
        is(z, (float)(i * i + 1));
        hd_drop(x), hd_drop(y), hd_drop(z);
    }
}
END_TEST

/* ==================== calls that are not waited for */

static hd grow(hd x)
{
    for (int k = 0; k < 4; k++)
        x = hd_add(hd_mul(hd_matmul(x, x), hd_c(0)), x);
    return hd_add(x, hd_c(1));
}

static hd below(hd s) { return hd_lt(hd_sum(hd_nth(s, 0)), hd_nth(s, 1)); }
static hd more(hd s) { return hd_tuple(grow(hd_nth(s, 0)), hd_nth(s, 1)); }
static hd climb(hd x, hd limit) { return hd_nth(hd_while(below, more, hd_tuple(x, limit)), 0); }
static hd keep(hd x) { return x; }
static hd either(hd which, hd x) { return hd_cond(which, grow, keep, x); }

enum { SIDE = 24, CALLS = 12 };

static hd_array *square_of(float with)
{
    float v[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        v[i] = with;
    return hd_array_new(HD_F32, (hd_ints){ .n = 2, .v = { SIDE, SIDE } }, v, NULL);
}

static long recorded(hd_fn *f, hd_array *x, hd_array **out, bool wait)
{
    ck_assert(fault_set("vulkan:vkBeginCommandBuffer:1000000000"));
    for (int k = 0; k < CALLS; k++, x = out[k - 1])
        ck_assert_msg(!hd_call(f, &out[k], x) && (!wait || !hd_wait(out[k])), "%s", hd_error());
    long n = fault_calls();
    fault_set(NULL);
    return n;
}

/* More calls than there are flights, each on the result of the one before: a recording for each flight at
 * most, and none for calls that come when another has landed. */
START_TEST(calls_in_flight)
{
    enum { TURNS = 4 };
    hd_fn *f = hd_jit(grow, .device = name);
    hd_array *out[CALLS];
    long all = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        hd_array *host = square_of((float)turn), *x = hd_put(host, name);
        long n = recorded(f, x, out, turn % 2);
        ck_assert_msg(turn % 2 == 0 || !n, "%ld recordings of calls that come one after the other", n);
        for (int k = CALLS - 1; k >= 0; k--)
            is(out[k], (float)(turn + k + 1)), hd_drop(out[k]);
        hd_drop(x), hd_drop(host);
        all += n;
    }
    ck_assert_msg(all && all <= FLIGHTS, "%ld recordings", all);
}
END_TEST

/* Memory that nobody holds is handed out again, and the host waits with writing there for calls that still
 * read it. */
START_TEST(written_meanwhile)
{
    hd_fn *f = hd_jit(grow, .device = name), *g = hd_jit(next, .device = name);
    for (int turn = 0; turn < 20; turn++) {
        hd_array *host = square_of(7), *x = hd_put(host, name), *y = NULL, *z = NULL, *out[FLIGHTS];
        for (int k = 0; k < FLIGHTS; k++)
            ck_assert_msg(!hd_call_n(f, &out[k], 1, k ? &out[0] : &x, 1), "%s", hd_error());
        ck_assert_msg(!hd_call(g, &y, x), "%s", hd_error());
        hd_drop(x), hd_drop(host);
        host = square_of(100), z = hd_put(host, name);
        is(y, 8), is(z, 100);
        for (int k = 0; k < FLIGHTS; k++)
            is(out[k], k ? 9 : 8), hd_drop(out[k]);
        hd_drop(host), hd_drop(y), hd_drop(z);
    }
}
END_TEST

/* What a call does is decided while it runs: a recording of another length, or of other commands, is made
 * again from where it differs. */
START_TEST(calls_that_differ)
{
    hd_fn *f = hd_jit(climb, .device = name), *g = hd_jit(either, .device = name);
    for (int k = 0; k < 10; k++) {
        const float at = (float)(k % 3), limit = SIDE * SIDE * (at + (float)(k * 7 % 5) - .5f);
        const bool which = k * k % 3;
        hd_array *x = square_of(at), *y = NULL, *z = NULL, *l = hd_array_scalar(HD_F32, limit),
                 *w = hd_array_scalar(HD_BOOL, which);
        ck_assert_msg(!hd_call(f, &y, x, l) && !hd_call(g, &z, w, y), "%s", hd_error());
        const float want = k * 7 % 5 ? at + (float)(k * 7 % 5) : at;
        is(y, want), is(z, want + (float)which);
        hd_drop(x), hd_drop(y), hd_drop(z), hd_drop(l), hd_drop(w);
    }
}
END_TEST

/* ==================== a device that is lost */

static VKAPI_ATTR VkResult VKAPI_CALL lose(VkDevice d, const VkSemaphoreWaitInfo *w, uint64_t t)
{
    (void)d, (void)w, (void)t;
    return VK_ERROR_DEVICE_LOST;
}

/* The error names the kernel and its line; what was on the device fails; the next call has a new one. */
START_TEST(device_lost)
{
    hd_fn *f = hd_jit(grow, .device = name);
    hd_array *x = square_of(1), *y = NULL, *z = NULL;
    ck_assert_msg(!hd_call(f, &y, x) && !hd_wait(y), "%s", hd_error());
    VkDev *d = (VkDev *)device_find(name);
    d->f.WaitSemaphores = lose;
    for (int k = 0; k < 100 && !d->base.lost; k++) {    /* until one is not there when it is asked for */
        ck_assert_msg(!hd_call(f, &z, y), "%s", hd_error());
        if (hd_wait(z)) {
            const char *text = hd_error();
            ck_assert_msg(strstr(text, "VK_ERROR_DEVICE_LOST") && strstr(text, "test_vulkan.c:") &&
                    strstr(text, "k0"), "%s", text);
        }
        hd_drop(z);
    }
    ck_assert(d->base.lost);
    ck_assert_msg(!hd_data(y), "what was lost is there");
    ck_assert(device_find(name) != &d->base);
    ck_assert_msg(hd_call(f, &z, x) && strstr(hd_error(), "was lost"), "%s", hd_error());
    hd_drop(x), hd_drop(y);                     /* x went there with the first call */
    x = square_of(1);
    ck_assert_msg(!hd_call(f, &z, x), "%s", hd_error());
    is(z, 2);
    hd_drop(x), hd_drop(z);
}
END_TEST

/* ==================== memory */

/* An error says for what, how much, and how much there is. */
START_TEST(no_memory)
{
    hd_fn *f = hd_jit(next, .device = name);
    hd_array *x = filled(1, MANY / 2), *y = NULL;
    vk_pool_empty((VkDev *)device_find(name));
    vk_blocks_drop((VkDev *)device_find(name));
    ck_assert_msg(!hd_compile(f, x), "%s", hd_error());
    hd_array *there = hd_put(x, name);
    ck_assert_msg(there != NULL, "%s", hd_error());
    vk_pool_empty((VkDev *)device_find(name));
    vk_blocks_drop((VkDev *)device_find(name));
    hd_array *full[64];
    int n = 0;                                  /* until a new block is wanted */
    ck_assert(fault_set("vulkan:vkAllocateMemory:1+"));
    while (n < 64 && !hd_call(f, &y, there))
        full[n++] = y;
    fault_set(NULL);
    const char *text = hd_error();
    ck_assert_msg(n < 64 && strstr(text, "VK_ERROR_OUT_OF_DEVICE_MEMORY") && strstr(text, "524288 bytes") &&
            strstr(text, "for the result of k0") && strstr(text, "test_vulkan.c:") &&
            strstr(text, "its memory is"), "%s", text);
    ck_assert_msg(!hd_call(f, &y, there), "%s", hd_error());
    is(y, 2);
    hd_drop(x), hd_drop(y), hd_drop(there);
    while (n)
        hd_drop(full[--n]);
}
END_TEST


enum { ARRAYS = 10000 };

static uint32_t pattern(int i, int at) { return (uint32_t)i * 2654435761u + (uint32_t)at; }

static void array_make(Device *d, Mem **m, int i, int words)
{
    uint32_t v[300];
    for (int at = 0; at < words; at++)
        v[at] = pattern(i, at);
    ck_assert_msg(
        !d->backend->alloc(d, (size_t)words * 4, m) && !d->backend->write(*m, 0, v, (size_t)words * 4), "%s",
        error_text());
}

static void array_check(Device *d, Mem *m, int i, int words)
{
    uint32_t v[300];
    ck_assert(!d->backend->read(m, 0, v, (size_t)words * 4));
    for (int at = 0; at < words; at++)
        ck_assert_msg(v[at] == pattern(i, at), "array %d: element %d is another's", i, at);
}

static PFN_vkGetPhysicalDeviceMemoryProperties2 properties;

/* A driver with nothing left. */
static VKAPI_ATTR void VKAPI_CALL nothing_left(VkPhysicalDevice d, VkPhysicalDeviceMemoryProperties2 *m)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *b = m->pNext;
    m->pNext = NULL, properties(d, m), m->pNext = b;
    for (uint32_t k = 0; b && k < VK_MAX_MEMORY_HEAPS; k++)
        b->heapBudget[k] = b->heapUsage[k] = 1 << 20;
}

/* Where the driver says that nothing is left, what nobody holds is given back first. */
START_TEST(over_budget)
{
    enum { LARGE = 40 << 20 };
    VkDev *d = (VkDev *)device_find(name);
    Mem *m = NULL, *n = NULL;
    const bool says = d->budget;
    properties = d->f.GetPhysicalDeviceMemoryProperties2;
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_msg(!d->base.backend->alloc(&d->base, LARGE, &m), "%s", error_text());
        mem_drop(m);
        ck_assert(d->pool.held >= LARGE);
        d->budget = turn, d->f.GetPhysicalDeviceMemoryProperties2 = turn ? nothing_left : properties;
        ck_assert_msg(!d->base.backend->alloc(&d->base, LARGE / 2, &n), "%s", error_text());
        ck_assert(turn ? d->pool.held == 0 : d->pool.held >= LARGE);
        ck_assert(fault_set("vulkan:vkAllocateMemory:1+"));
        ck_assert(d->base.backend->alloc(&d->base, 2 * LARGE, &m) && !strstr(error_text(), "left") == !turn);
        fault_set(NULL);
        error_clear();
        mem_drop(n);
        vk_pool_empty(d);
    }
    d->budget = says, d->f.GetPhysicalDeviceMemoryProperties2 = properties;
}
END_TEST

/* Drivers allow some 4,096 allocations. Arrays come and go, and none touches another. */
START_TEST(many_small_arrays)
{
    static Mem *m[ARRAYS];
    static int words[ARRAYS];
    Device *d = device_find(name);
    ck_assert(fault_set("vulkan:vkAllocateMemory:1000000000"));
    for (int i = 0; i < ARRAYS; i++)
        array_make(d, &m[i], i, words[i] = 1 + i * 7 % 300);
    for (int i = 0; i < ARRAYS; i += 2)
        mem_drop(m[i]);
    vk_pool_empty((VkDev *)d);                  /* holes, not spare arrays */
    for (int i = 0; i < ARRAYS; i += 2)
        array_make(d, &m[i], i, words[i] = 1 + i * 11 % 300);
    ck_assert_msg(fault_calls() < 100, "%ld allocations", fault_calls());
    for (int i = 0; i < ARRAYS; i++)
        array_check(d, m[i], i, words[i]);
    for (int i = 0; i < ARRAYS; i++)
        mem_drop(m[(i * 7919) % ARRAYS]);
    vk_pool_empty((VkDev *)d);
    fault_set(NULL);
}
END_TEST

/* ==================== what the driver keeps on disk */

/* Kernels are compiled side by side: what several of them write is atomic. */
static struct {
    _Atomic size_t given, made;
    bool refuses;
    unsigned char data[100];
    PFN_vkCreatePipelineCache create;
} keeper;

/* A driver that keeps a hundred bytes, and remembers what it is given. */
static VKAPI_ATTR VkResult VKAPI_CALL create(
    VkDevice d, const VkPipelineCacheCreateInfo *c, const VkAllocationCallbacks *a, VkPipelineCache *out)
{
    const VkPipelineCacheCreateInfo plain = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO };
    const size_t n = c->initialDataSize;
    keeper.given = n;
    keeper.made++;
    if (n)
        ck_assert(n == sizeof keeper.data && !memcmp(c->pInitialData, keeper.data, n));
    return n && keeper.refuses ? VK_ERROR_UNKNOWN : keeper.create(d, &plain, a, out);
}

static VKAPI_ATTR VkResult VKAPI_CALL data_of(VkDevice d, VkPipelineCache c, size_t *n, void *to)
{
    (void)d, (void)c;
    if (to)
        memcpy(to, keeper.data, sizeof keeper.data);
    *n = sizeof keeper.data;
    return VK_SUCCESS;
}

static size_t given(Program *p)
{
    keeper.given = 0;
    ck_assert(!once(p));
    return keeper.given;
}

/* The program is built again and again, as by one process after another. */
START_TEST(kept_on_disk)
{
    char folder[] = "/tmp/heddle-vulkan-XXXXXX", command[100], path[100];
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/compiled.db", folder);
    setenv("HEDDLE_CACHE", path, 1);
    Program p;
    program(&p);
    VkDev *d = (VkDev *)device_find(name);
    const VkApi f = d->f;
    const VkMaker m = d->maker;
    const uint32_t head[4] = { 32, VK_PIPELINE_CACHE_HEADER_VERSION_ONE, m.vendor, m.device };
    keeper.create = f.CreatePipelineCache;
    d->f.CreatePipelineCache = create, d->f.GetPipelineCacheData = data_of;
    memset(keeper.data, 7, sizeof keeper.data);
    memcpy(keeper.data, head, sizeof head);
    ck_assert_int_eq(given(&p), 0);             /* without the maker's mark: it is not kept */
    memcpy(keeper.data + 16, m.uuid, sizeof m.uuid);
    ck_assert_int_eq(given(&p), 0);
    ck_assert_int_eq(given(&p), sizeof keeper.data);
    d->maker.driver++;                          /* another driver */
    ck_assert_int_eq(given(&p), 0);
    d->maker = m;
    ck_assert_int_eq(given(&p), sizeof keeper.data);
    keeper.refuses = true, keeper.made = 0;     /* refused: built without it, and kept anew */
    ck_assert_int_eq(given(&p), 0);
    ck_assert_int_eq(keeper.made, 4);             /* twice for each of two kernels */
    keeper.refuses = false;
    ck_assert_int_eq(given(&p), sizeof keeper.data);
    d->f = f;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ==================== what compiles in time */

/* Each access of memory is control flow to compilers of work-items, which take its square: small kernels
 * stay apart. */
START_TEST(short_kernels)
{
    const Device *d = device_find(name);
    const Target target = target_of(&d->info);
    const int64_t n = 40;
    graph_begin(graph_new());
    Ref v = graph_input(type_of(DT_F32, 1, &n), 0);
    for (int k = 0; k < 5; k++)
        v = Cumulative(OP_cumsum, v, 0, k % 2);
    graph_outputs(&v, 1);
    Plan *p = plan_schedule(graph_end(), &target);
    ck_assert_msg(p != NULL, "%s", error_text());
    ck_assert_int_eq(p->nkernel, 5);
}
END_TEST

int main(void)
{
    pid_t child = fork();                       /* drivers do not survive a fork */
    int status = 1;
    if (!child)
        _exit(device_find(name) == NULL);
    if (child < 0 || waitpid(child, &status, 0) < 0 || status) {
        printf("skipped: %s is not here\n", name);
        return 0;
    }
    if (getenv("HEDDLE_TEST_EVERY"))
        every = atoi(getenv("HEDDLE_TEST_EVERY"));
    setenv("HEDDLE_CACHE", "off", 0);
    Arena *own = arena_new();
    arena_use(own);
    form_open();
    Suite *s = suite_create("vulkan");
    TCase *t = tcase_create("vulkan");
    tcase_set_timeout(t, 0);
    suite_add_tcase(s, t);
    tcase_add_test(t, calls_of_the_loader);
    tcase_add_test(t, one_failure_in_a_call);
    tcase_add_test(t, calls_in_flight);
    tcase_add_test(t, written_meanwhile);
    tcase_add_test(t, calls_that_differ);
    tcase_add_test(t, device_lost);
    tcase_add_test(t, no_memory);
    tcase_add_test(t, over_budget);
    tcase_add_test(t, many_small_arrays);
    tcase_add_test(t, kept_on_disk);
    tcase_add_test(t, short_kernels);
    tcase_add_loop_test(t, calls_of_a_run, 0, 2);
    tcase_add_loop_test(t, calls_of_a_device, 0, 2);
    int failed = suite_run_unforked(s);
    form_close();
    arena_use(NULL);
    arena_drop(own);
    return failed != 0;
}
