/*
 * mode.c - the caller's floating-point mode and locale, which are set aside while Heddle works.
 *
 * In: whatever the program has set: another rounding, denormals as zero, traps, a decimal comma. Out: the
 * defaults of C, in which constants are folded, text is read and written, drivers compile, and threads are
 * made that inherit them; and the caller's own again when it goes on, exceptions that were raised meanwhile
 * left out.
 * A call of a compiled function passes here: registers that are slow to read are read once.
 */
#include "api.h"

#if defined(__SSE2__)
/* SSE has its register; x87, where long double is computed, has another. */
#define SSE_DEFAULT 0x1f80u
#define SSE_FLAGS   0x3fu
#define X87_DEFAULT 0x037f

static uint32_t sse(void) { uint32_t m; __asm__ volatile("stmxcsr %0" : "=m"(m)); return m; }
static void sse_set(uint32_t m) { __asm__ volatile("ldmxcsr %0" : : "m"(m)); }
static uint16_t x87(void) { uint16_t w; __asm__ volatile("fnstcw %0" : "=m"(w)); return w; }
/* What was raised while traps were off is cleared, lest it traps now. */
static void x87_set(uint16_t w) { __asm__ volatile("fnclex\n\tfldcw %0" : : "m"(w)); }

static void floats_enter(Mode *m)
{
    m->sse = sse(), m->x87 = x87();
    if ((m->sse & ~SSE_FLAGS) != SSE_DEFAULT)
        sse_set(SSE_DEFAULT);
    if (m->x87 != X87_DEFAULT)
        x87_set(X87_DEFAULT);
}

static void floats_leave(const Mode *m)
{
    sse_set(m->sse);
    if (m->x87 != X87_DEFAULT)
        x87_set(m->x87);
}

#elif defined(__aarch64__)
/* The control register of all modes is 0; flags are in another. */
static uint64_t control(void) { uint64_t c; __asm__ volatile("mrs %0, fpcr" : "=r"(c)); return c; }
static void control_set(uint64_t c) { __asm__ volatile("msr fpcr, %0" : : "r"(c)); }
static uint64_t flags(void) { uint64_t f; __asm__ volatile("mrs %0, fpsr" : "=r"(f)); return f; }
static void flags_set(uint64_t f) { __asm__ volatile("msr fpsr, %0" : : "r"(f)); }

static void floats_enter(Mode *m)
{
    m->control = control(), m->flags = flags();
    if (m->control)
        control_set(0);
}

static void floats_leave(const Mode *m)
{
    flags_set(m->flags);
    if (m->control)
        control_set(m->control);
}

#else
static void floats_enter(Mode *m) { fegetenv(&m->env), fesetenv(FE_DFL_ENV); }
static void floats_leave(const Mode *m) { fesetenv(&m->env); }
#endif

static locale_t plain;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void plain_make(void) { plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

void mode_enter(Mode *m)
{
    pthread_once(&once, plain_make);
    m->locale = uselocale(plain);
    floats_enter(m);
}

void mode_leave(const Mode *m)
{
    floats_leave(m);
    uselocale(m->locale);
}
