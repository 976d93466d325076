/*
 * both.c - plans on a Vulkan device and an OpenCL one: running them, judging the modules that are written,
 * comparing bits, and drawing what goes in.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "both.h"
#include "suite_run.h"

Device *vulkan, *other, *host;
static Arena *arena;

static void setup(void)
{
    error_clear();
    arena_use(arena = arena_new());
}

static void teardown(void)
{
    arena_use(NULL);
    arena_drop(arena);
    arena = NULL;
    error_clear();
}

/* ==================== spirv-val */

static bool have_val;

static void judge(const Kernel *k, const SpirvCaps *caps)
{
    uint32_t *words;
    size_t n;
    int local;
    char path[] = "/tmp/heddle-spirv-XXXXXX", command[100];
    ck_assert_msg(spirv_write(k, caps, &words, &n, &local) == 0, "%s", error_text());
    ck_assert(words[0] == 0x07230203 && n > 5);
    if (have_val) {
        int fd = mkstemp(path);
        ck_assert(fd >= 0 && write(fd, words, 4 * n) == (ssize_t)(4 * n));
        close(fd);
        snprintf(command, sizeof command, "spirv-val --target-env vulkan1.2 %s", path);
        int e = system(command);
        if (!e)
            unlink(path);
        ck_assert_msg(!e, "spirv-val refuses kernel %s: %s", k->name, path);
    }
    free(words);
}

void judge_plan(const Plan *p)
{
    Kernel **list;
    int n;
    plan_kernels(p, &list, &n);
    for (int i = 0; i < n; i++)
        judge(list[i], &((VkDev *)vulkan)->caps);
}

/* ==================== running a plan, and comparing what it gives */

/* out[k]: the bytes of result k, in the arena. */
void run_exec(Exec *e, const size_t *in_bytes, const void *const *in, int nin,
    const size_t *out_bytes, void **out, int nout)
{
    const Backend *b = e->device->backend;
    Mem *x[nin + 1], *y[nout + 1];
    for (int k = 0; k < nin; k++) {
        ck_assert_msg(!b->alloc(e->device, in_bytes[k], &x[k]), "%s", error_text());
        ck_assert_msg(!b->write(x[k], 0, in[k], in_bytes[k]), "%s", error_text());
    }
    ck_assert_msg(!b->run(e, nin, x, nout, y), "%s: %s", e->device->info.name, error_text());
    for (int k = 0; k < nout; k++) {
        out[k] = arena_alloc(out_bytes[k] + 1);
        ck_assert_msg(!b->read(y[k], 0, out[k], out_bytes[k]), "%s: %s", e->device->info.name, error_text());
        mem_drop(y[k]);
    }
    for (int k = 0; k < nin; k++)
        mem_drop(x[k]);
}

static bool element_nan(Dtype dt, const char *p) { return dtype_float(dt) && isnan(dtype_load_f(dt, p)); }

void same_bits(const char *what, Dtype dt, int64_t n, const void *x, const void *y)
{
    size_t size = dtype_size(dt);
    const char *a = x, *b = y;
    for (int64_t i = 0; i < n; i++, a += size, b += size)
        if (memcmp(a, b, size) && !(element_nan(dt, a) && element_nan(dt, b)))
            ck_abort_msg("%s: element %lld of %lld: %.17g and %.17g (%llx and %llx)", what, (long long)i,
                (long long)n, dtype_load_f(dt, a), dtype_load_f(dt, b),
                (unsigned long long)dtype_load_i(dt, a), (unsigned long long)dtype_load_i(dt, b));
}

/* ==================== inputs */

static uint64_t seed = 88172645463325252ull;
uint64_t any(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static double special(Dtype dt)
{
    static const double s[] = { 0, -0.0, 1, -1, 0.5, 2, INFINITY, -INFINITY, NAN, 0x1p-149, -0x1p-140,
        0x1p-126, 0x1.fffffep127, -0x1.fffffep127, 0x1p-24, 0x1p-14, 65504, 1.5, 2.5, -2.5, 0x1p23,
        0x1.921fb6p1, 100, -7.5 };
    static const double d[] = { 0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023, -0x1.8p-1073 };
    return dt == DT_F64 && any() % 4 == 0 ? d[any() % 4] : s[any() % (sizeof s / sizeof *s)];
}

/* Numbers of all kinds: special ones, ordinary ones, any bits. */
void draw(Dtype dt, void *p, int64_t n)
{
    size_t size = dtype_size(dt);
    for (int64_t i = 0; i < n; i++) {
        char *e = (char *)p + (size_t)i * size;
        uint64_t r = any(), kind = any() % 4;
        if (dt == DT_BOOL)
            *e = r & 1;
        else if (dtype_float(dt) && kind < 3)
            dtype_store_f(dt, e, kind == 0 ? special(dt)
                : ((double)(r >> 11) * 0x1p-53 - 0.5) * (kind == 1 ? 20 : 2000));
        else if (dtype_int(dt) && kind < 2)
            dtype_store_i(dt, e, (int64_t)(r % 40) - 20);
        else
            memcpy(e, &r, size);
    }
}

/* ==================== */

TCase *both_case(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 600);
    tcase_add_checked_fixture(c, setup, teardown);
    suite_add_tcase(s, c);
    return c;
}

bool both_open(void)
{
    vulkan = device_find("vulkan:0");
    if (!vulkan) {
        printf("skipped: %s\n", error_text());
        return false;
    }
    have_val = system("spirv-val --version >/dev/null 2>&1") == 0;
    if (!have_val)
        printf("no module is judged: spirv-val is not installed (apt install spirv-tools)\n");
    if (!(other = device_find("opencl:0")))
        printf("bits are not compared: %s\n", error_text());
    error_clear();
    host = device_find("host");
    return true;
}

int both_run(Suite *s)
{
    int failed = suite_run_unforked(s);
    device_close_all();
    return failed != 0;
}
