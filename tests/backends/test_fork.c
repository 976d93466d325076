/*
 * test_fork.c - processes that fork and threads that are cut off: a child of a program that used a device is
 * told so and does not hang, whatever other threads did; one that forked before computes; exit() while
 * others call ends.
 */
#define _GNU_SOURCE
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heddle.h"
#include "suite_run.h"

/* SECONDS: what lasts longer hangs, however busy the machine is */
enum { TIMES = 20, SECONDS = 120, NO_DEVICE = 77 };
/* gcc 12's AddressSanitizer forks with its allocator's locks as other threads hold them */
#ifdef __SANITIZE_ADDRESS__
enum { ALLOCATOR_FORKS_LOCKED = 1 };
#else
enum { ALLOCATOR_FORKS_LOCKED = 0 };
#endif
static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
enum { DEVICES = 3 };

static hd twice(hd x) { return hd_mul(x, hd_c(2)); }
static hd scaled(hd x, const void *env) { return hd_mul(hd_sin(x), hd_c(*(const int *)env)); }

static int call(hd_fn *f, float *out)
{
    hd_array *x = hd_array_lit(float, (2), 1, 2), *r = NULL;
    int e = hd_call(f, &r, x);
    e = e ? e : hd_read(r, out, 2);
    hd_drop(x), hd_drop(r);
    return e;
}

/* Check's handler of the alarm, which is inherited, would kill the whole group. */
static void limit(void) { signal(SIGALRM, SIG_DFL), alarm(SECONDS); }

/* How a child ended: its code, or 1000 and the signal. SIGALRM: it hung. */
static int ended(pid_t child)
{
    int s = 0;
    waitpid(child, &s, 0);
    return WIFEXITED(s) ? WEXITSTATUS(s) : 1000 + WTERMSIG(s);
}

/* Runs program in a fresh process that opened nothing. */
static int fresh(int (*program)(const char *), const char *device)
{
    pid_t child = fork();
    if (!child) {
        limit();
        setenv("HEDDLE_DEVICE", device, 1);
        if (!hd_default_device(device))
            _exit(NO_DEVICE);
        exit(program(device));
    }
    return ended(child);
}

/* ==================== after a device was used */

static int told(void)
{
    return strstr(hd_error(), "fork") && hd_error_code() == HD_EDEVICE ? 0 : 3;
}

/* What the child of a program that used a device can do with it: nothing, and it is told. The host still
 * computes. */
static int child_computes(const char *device)
{
    float v[2] = { 0 };
    hd_array *x = hd_array_lit(float, (2), 1, 2), *r = NULL;
    if (hd_call(twice, &r, x) || hd_wait(r))
        return 1;
    pid_t child = fork();
    if (!child) {
        limit();
        bool host = !strcmp(device, "host");
        int e = call(HD_FN(twice), v);
        if (host)
            exit(e || v[1] != 4);
        if (!e || told())
            exit(4);
        if (!hd_read(r, v, 2) || told())
            exit(5);
        hd_default_device("host");
        if (call(HD_FN(twice), v) || v[1] != 4)
            exit(6);
        hd_drop(x), hd_drop(r);
        exit(hd_live() ? 7 : 0);
    }
    int e = ended(child);
    return e ? e : call(HD_FN(twice), v) || v[1] != 4;          /* the parent's works on */
}

static int child_exits(const char *device)
{
    float v[2];
    (void)device;
    if (call(HD_FN(twice), v))
        return 1;
    for (int i = 0; i < TIMES; i++) {
        pid_t child = fork();
        if (!child) {
            limit();
            if (i % 2)
                execl("/bin/true", "true", (char *)NULL);
            exit(0);
        }
        int e = ended(child);
        if (e)
            return e;
    }
    return 0;
}

/* ==================== while other threads are inside */

static _Atomic int stop;

/* Each call is of a new function, so that it is traced and compiled. */
static void *compiling(void *arg)
{
    float v[2];
    for (int k = *(int *)arg * 100000; !stop; k++)
        if (call(hd_bind(scaled, k), v))
            break;
    return NULL;
}

static void *calling(void *arg)
{
    float v[2];
    (void)arg;
    while (!call(HD_FN(twice), v))
        ;
    return NULL;
}

static int fork_while_compiling(const char *device)
{
    int seed[2] = { 1, 2 };
    pthread_t t[2];
    (void)device;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, compiling, &seed[i]);
    for (int i = 0; i < TIMES; i++) {
        usleep(3000);
        pid_t child = fork();
        if (!child) {
            limit();
            float v[2];
            int k = -i;
            if (call(hd_bind(scaled, k), v) && told())
                _exit(3);
            if (call(HD_FN(twice), v) && told())
                _exit(4);
            hd_fn *f = hd_jit(hd_vmap(twice));
            exit(!f && told() ? 5 : 0);
        }
        int e = ended(child);
        if (e)
            return e;
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    return 0;
}

static int exit_while_calling(const char *device)
{
    static int seed = 3;
    pthread_t t;
    (void)device;
    float v[2];
    if (call(HD_FN(twice), v))
        return 1;
    for (int i = 0; i < 3; i++)
        pthread_create(&t, NULL, calling, NULL);
    pthread_create(&t, NULL, compiling, &seed);
    usleep(20000);
    return 0;
}

/* A thread that is inside a call, and holds the loader's lock, while its process forks. */
static int inside[2], child_of_main[2];

static int stay(struct dl_phdr_info *o, size_t size, void *data)
{
    char c = 0;
    (void)o, (void)size, (void)data;
    return write(inside[1], &c, 1) != 1 || pause();
}

static int held_up(hd *out, const hd *in, int n, void *payload)
{
    (void)out, (void)in, (void)n, (void)payload;
    return dl_iterate_phdr(stay, NULL);
}

static void *held_up_inside(void *arg)
{
    float v[2];
    call(arg, v);
    return NULL;
}

/* Such as a driver's destructor, which would take a lock of a thread that is not in the child. */
static void of_parent(void)
{
    limit();
    for (;;)
        pause();
}

static void of_child(void) { _exit(write(child_of_main[1], "c", 1) != 1); }
static void flushed(void) { fputs("f", stdout); }
static void nothing(void) {}

static int exit_cut_off(void (*registered)(void), int status)
{
    pid_t child = fork();
    if (!child) {
        limit();
        if (HD_FN(twice) || told() || hd_function(held_up, NULL, NULL, "again") || told())
            _exit(3);
        dup2(child_of_main[1], STDOUT_FILENO);
        atexit(registered);
        exit(status);
    }
    return ended(child);
}

static int child_cut_off(const char *device)
{
    pthread_t t;
    char c[3] = "";
    (void)device;
    if (pipe(inside) || pipe(child_of_main) || atexit(of_parent))
        return 1;
    pthread_create(&t, NULL, held_up_inside, hd_function(held_up, NULL, NULL, "held_up"));
    if (read(inside[0], c, 1) != 1)
        return 2;
    if (exit_cut_off(nothing, 0) || exit_cut_off(nothing, 7) != 7 || exit_cut_off(flushed, 0) ||
        exit_cut_off(of_child, 9))
        return 3;
    _exit(read(child_of_main[0], c, 2) != 2 || strcmp(c, "fc"));
}

/* ==================== before anything was used */

START_TEST(child_of_nothing)
{
    for (int i = 0; i < 2; i++) {
        float v[2] = { 0 };
        pid_t child = fork();
        if (!child) {
            limit();
            exit(call(HD_FN(twice), v) || v[1] != 4);
        }
        ck_assert_int_eq(ended(child), 0);
        hd_drop(hd_array_scalar(HD_F32, 1));    /* arrays and functions alone open nothing */
        ck_assert_ptr_nonnull(hd_jit(twice));
    }
}
END_TEST

static void on_device(int (*program)(const char *), int i, int times)
{
    for (int k = 0, e = 0; k < times && e != NO_DEVICE; k++)
        ck_assert_msg(
            (e = fresh(program, devices[i])) == 0 || e == NO_DEVICE, "%s, run %d: %d", devices[i], k, e);
}

START_TEST(computes) { on_device(child_computes, _i, 1); }
END_TEST
START_TEST(exits) { on_device(child_exits, _i, 1); }
END_TEST
START_TEST(compiles) { on_device(fork_while_compiling, _i, 1); }
END_TEST
START_TEST(cut_off) { on_device(child_cut_off, 0, 1); }
END_TEST
START_TEST(exit_in_calls) { on_device(exit_while_calling, _i, _i ? TIMES / 3 : TIMES); }
END_TEST

int main(void)
{
    Suite *s = suite_create("fork");
    TCase *c = tcase_create("processes");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, child_of_nothing);
    tcase_add_loop_test(c, computes, 0, DEVICES);
    tcase_add_loop_test(c, exits, 0, DEVICES);
    if (!ALLOCATOR_FORKS_LOCKED)
        tcase_add_loop_test(c, compiles, 0, DEVICES);
    tcase_add_test(c, cut_off);
    tcase_add_loop_test(c, exit_in_calls, 0, DEVICES);
    suite_add_tcase(s, c);
    return suite_run(s);
}
