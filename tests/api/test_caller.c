/*
 * test_caller.c - the program's own floating-point mode and locale: results have the same bits whatever they
 * are, and they are the program's again when a call returns, and in its functions while these are traced.
 */
#define _GNU_SOURCE
#include <fenv.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "heddle.h"
#include "suite_run.h"

enum { PLAIN, UP, DOWN, ZERO, FLUSH, TRAPS, COMMA, ALL, MODES };
static const char *const names[MODES] = { "plain", "upward", "downward", "toward zero", "denormals flushed",
    "traps", "decimal comma", "all at once" };
static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
enum { DEVICES = 3, WHAT_IS_THERE = 77 };

static char folder[] = "/tmp/heddle-caller-XXXXXX";
static bool comma;                              /* is there a locale with one? */

/* ==================== modes */

/* A locale of our own, since hardly any is installed: only numbers differ from C's. */
static void make_locale(void)
{
    static const char text[] =
        "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n";
    char source[64], command[256];
    if (!mkdtemp(folder))
        return;
    snprintf(source, sizeof source, "%s/text", folder);
    FILE *f = fopen(source, "w");
    if (!f || fputs(text, f) < 0 || fclose(f))
        return;
    snprintf(command, sizeof command, "localedef -c -i %s -f UTF-8 %s/comma.UTF-8 >/dev/null 2>&1", source,
        folder);
    if (system(command) < 0)
        return;
    setenv("LOCPATH", folder, 1);
    comma = setlocale(LC_NUMERIC, "comma.UTF-8") != NULL;
    setlocale(LC_NUMERIC, "C");
}

static void remove_locale(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command))
        perror(command);
}

static void mode_set(int mode)
{
    static const int rounding[] = {
        [UP] = FE_UPWARD, [DOWN] = FE_DOWNWARD, [ZERO] = FE_TOWARDZERO, [ALL] = FE_UPWARD
    };
    if (mode == COMMA || mode == ALL)
        setlocale(LC_NUMERIC, "comma.UTF-8");
    if (mode >= UP && mode <= ZERO)
        fesetround(rounding[mode]);
#if defined(__SSE2__)
    if (mode == FLUSH || mode == ALL)
        _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
    if (mode == TRAPS || mode == ALL)
        feenableexcept(FE_ALL_EXCEPT);
    if (mode == ALL)
        fesetround(FE_UPWARD);
}

typedef struct State { int round, traps; unsigned csr; char point; } State;

static State state(void)
{
    State s = { fegetround(), fegetexcept(), 0, localeconv()->decimal_point[0] };
#if defined(__SSE2__)
    s.csr = _mm_getcsr() & ~0x3fu;
#endif
    return s;
}

static State wanted;
static bool same_state(void)
{
    State s = state();
    return s.round == wanted.round && s.traps == wanted.traps && s.csr == wanted.csr &&
        s.point == wanted.point;
}

/* ==================== a program in which everything rounds */

static bool lent = true;

static hd formulas(hd x)
{
    lent &= same_state();                       /* its own mode, here too */
    hd third = hd_div(hd_c(1), hd_c(3)), tiny = hd_mul(hd_c(1e-20), hd_c(1e-20));
    hd zero = hd_sub(hd_c(0), hd_c(0)), many = hd_sum(hd_arange(HD_F32, 0.1, 7, 0.3));
    lent &= same_state();
    hd folded = hd_stack(0, third, hd_div(hd_c(2), hd_c(3)), tiny, hd_div(hd_c(1), zero), hd_sqrt(hd_c(2)),
        hd_exp(hd_c(0.1)), many);
    hd small = hd_mul(x, hd_c(1e-38)), y = hd_add(hd_mul(x, third), hd_sin(hd_div(x, hd_c(7))));
    return hd_tuple(folded, hd_concatenate(0, small, y, hd_div(x, hd_sub(x, x))),
        hd_cast(hd_linspace(HD_F64, 0, 0.1, 7), HD_F16));
}

/* Everything that comes out, bits and text, into f. false: the device is not there. */
static bool compute(const char *device, FILE *f)
{
    static const uint32_t bits[4] = { 0x3dcccccd, 0x40490fdb, 0x00000007, 0xbf99999a };
    float in[4];
    memcpy(in, bits, sizeof in);
    if (!hd_default_device(device))
        return false;
    hd_array *x = hd_array_of(in, 4), *r[3] = { NULL, NULL, NULL }, *s = hd_array_scalar(HD_F16, 0.1),
             *again = NULL;
    bool fine = x && s && !hd_call(formulas, r, x) && !hd_print(f, x) && !hd_print(f, s);
    for (int i = 0; i < 3 && fine; i++) {
        fine = !hd_print(f, r[i]) && hd_data(r[i]);
        fwrite(hd_data(r[i]), hd_dtype_size(hd_array_dtype(r[i])), (size_t)hd_array_size(r[i]), f);
    }
    fine = fine && !hd_print_graph(f, formulas, x);
    hd_fn *parsed = hd_parse("main(x f32[4]) {\n    y f32[4] = mul x, 0.3333\n    ret y\n}\n", "text");
    if (fine && parsed && !hd_call(parsed, &again, x))
        fwrite(hd_data(again), 4, 4, f);
    if (!fine || hd_print_graph(f, hd_vmap(formulas, .in_axes = { 5 }), x) == 0)
        fprintf(stderr, "%s: %s\n", device, hd_error());
    fputs(hd_error(), f);
    for (int i = 0; i < 3; i++)
        hd_drop(r[i]);
    hd_drop(x), hd_drop(s), hd_drop(again);
    return fine && hd_live() == 0;
}

/* ==================== each mode in a process of its own, from its first call */

typedef struct Bytes { char at[1 << 16]; size_t n; int status; } Bytes;

static void run(int mode, const char *device, Bytes *b)
{
    int p[2];
    ck_assert(!pipe(p));
    pid_t child = fork();
    if (!child) {
        FILE *f = fdopen(p[1], "w");
        setenv("HEDDLE_CACHE", "off", 1);
        mode_set(mode);
        wanted = state();
        bool fine = compute(device, f), back = same_state();
        fclose(f);
        if (!fine && hd_error_code() == HD_EDEVICE)
            _exit(WHAT_IS_THERE);
        _exit(!fine ? 1 : !back ? 2 : !lent ? 3 : 0);
    }
    close(p[1]);
    b->n = 0;
    for (ssize_t k; (k = read(p[0], b->at + b->n, sizeof b->at - b->n)) > 0; )
        b->n += (size_t)k;
    close(p[0]);
    waitpid(child, &b->status, 0);
}

/* On devices, whose compilers take their time, the plain mode and all others at once. */
START_TEST(same_bits)
{
    static Bytes plain, other;
    const char *device = devices[_i];
    make_locale();
    atexit(remove_locale);
    if (!comma)
        fprintf(stderr, "test_caller: localedef makes no locale here: decimal commas are not tried\n");
    run(PLAIN, device, &plain);
    if (WIFEXITED(plain.status) && WEXITSTATUS(plain.status) == WHAT_IS_THERE) {
        fprintf(stderr, "test_caller: there is no %s\n", device);
        return;
    }
    ck_assert_msg(
        plain.status == 0 && plain.n > 500, "%s: status %x, %zu bytes", device, plain.status, plain.n);
    for (int mode = _i ? ALL : UP; mode < MODES; mode++) {
        run(mode, device, &other);
        ck_assert_msg(other.status == 0, "%s, %s: status %x", device, names[mode], other.status);
        ck_assert_msg(other.n == plain.n && !memcmp(other.at, plain.at, plain.n),
            "%s, %s: other bits:\n%.*s\n--- not\n%.*s", device, names[mode], (int)other.n, other.at,
            (int)plain.n, plain.at);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("caller");
    TCase *c = tcase_create("modes");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, same_bits, 0, DEVICES);
    suite_add_tcase(s, c);
    return suite_run(s);
}
