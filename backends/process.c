/*
 * process.c - what becomes of threads: a process that forks has one left in its child, one that exits cuts
 * them off.
 *
 * In:  visits, one for each thread that is inside the library.   Out: process_usable(), asked by whatever
 * takes a lock
 *      or computes.
 * A child of fork() has neither the drivers' threads nor what its parent's others were in the middle of. So
 * its devices are gone, but for the host; and if another thread was inside, nothing works but giving the
 * error. fork() never waits for a thread: one may compile for seconds, and drivers fork in order to compile.
 * What a child's exit() runs of its parent's handlers are destructors of drivers too, which wait for locks
 * that nobody will open, and for threads of drivers that are not there: where drivers were opened, or
 * another thread was inside, it ends before these. exit() runs the destructors of drivers while other
 * threads go on. A handler that runs before these turns away who comes in, and waits for those inside. What
 * was registered last runs first, and compilers register destructors in the midst of their first programs:
 * so the handler is registered again after programs were built, and exit() in the main thread lets those out
 * first who are inside.
 */
#include "backend.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };                   /* exit() waits so long at most */
enum { REGISTRATIONS = 256 };

/* turns: of going in and out, so odd while the thread is inside */
typedef struct Visitor {
    _Atomic uint32_t turns;
    bool listed, beside; /* beside: only in a driver, and a child can do without it */
    struct Visitor *next, **at;
} Visitor;

static _Thread_local Visitor me;
static Visitor *visitors;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* in a child: another thread was inside when it was forked */
static bool cut_off;
static _Atomic bool leaving;
static pthread_t leaver;

static void unlist(void *visitor)               /* when its thread ends */
{
    Visitor *v = visitor;
    pthread_mutex_lock(&lock);
    *v->at = v->next;
    if (v->next)
        v->next->at = v->at;
    v->listed = false;
    pthread_mutex_unlock(&lock);
}

static bool others_inside(bool beside)          /* with the lock held; those beside, too? */
{
    for (const Visitor *v = visitors; v; v = v->next)
        if (v != &me && (beside || !v->beside) && atomic_load(&v->turns) % 2)
            return true;
    return false;
}

/* ==================== fork */

static bool others;

static void prepare(void)
{
    pthread_mutex_lock(&lock);
    base_hold();
    others = others_inside(false);
}

static void in_parent(void)
{
    base_release();
    pthread_mutex_unlock(&lock);
}

/* Called by exit() after what the child itself has registered, and instead of all that its parent had. */
static void end_child(int status, void *unused)
{
    (void)unused;
    fflush(NULL);
    _exit(status);
}

/* glibc's: atexit() with the status */
extern int on_exit(void (*)(int, void *), void *) __attribute__((weak));

static void end_early(void)
{
    static bool registered;
    if (!registered && on_exit)
        on_exit(end_child, NULL);
    registered = true;
}

void process_cut(void)
{
    end_early();
    cut_off = true;
}

static void in_child(void)
{
    base_release();
    if (others)
        process_cut();
    visitors = me.listed ? &me : NULL;          /* the other threads are not here */
    me.next = NULL, me.at = &visitors;
    pthread_mutex_unlock(&lock);
    if (devices_forked())                       /* drivers have threads of their own, inside or not */
        end_early();
}

static void start(void)
{
    pthread_key_create(&key, unlist);
    pthread_atfork(prepare, in_parent, in_child);
}

/* ==================== exit */

static void wait_for_others(void)
{
    if (leaving)
        return;
    leaver = pthread_self();
    leaving = true;
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        /* first of all: who just came in is seen */
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        pthread_mutex_lock(&lock);
        bool wait = others_inside(true);
        pthread_mutex_unlock(&lock);
        if (!wait)
            return;
    }
}

void process_watch_exit(void)
{
    static _Atomic int times;
    if (atomic_fetch_add(&times, times < REGISTRATIONS) < REGISTRATIONS)
        atexit(wait_for_others);
}

/* What is thread-local in the main thread ends first of all in exit(), before any handler: time for those
 * who are inside now to come out once. It ends with the thread too, so nobody is turned away. */
extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static void let_out(void *visitor)
{
    enum { MOST = 256 };
    const Visitor *who[MOST];
    uint32_t turns[MOST];
    int n = 0;
    (void)visitor;
    pthread_mutex_lock(&lock);
    for (const Visitor *v = visitors; v && n < MOST; v = v->next)
        if (v != &me && (turns[n] = atomic_load(&v->turns)) % 2)
            who[n++] = v;
    pthread_mutex_unlock(&lock);
    for (int ms = 0, left = n; left && ms < PATIENCE_MS; ms++) {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        left = 0;
        pthread_mutex_lock(&lock);
        for (const Visitor *v = visitors; v; v = v->next)
            for (int i = 0; i < n; i++)
                left += v == who[i] && atomic_load(&v->turns) == turns[i];
        pthread_mutex_unlock(&lock);
    }
    atexit(wait_for_others);                    /* before all that compilers have registered meanwhile */
}

/* ==================== visits */

static void turn(memory_order order)
{
    atomic_store_explicit(&me.turns, atomic_load_explicit(&me.turns, memory_order_relaxed) + 1, order);
}

void visit_begin(void)
{
    if (!me.listed) {
        pthread_once(&once, start);
        pthread_mutex_lock(&lock);
        me.next = visitors, me.at = &visitors, me.listed = true;
        if (visitors)
            visitors->at = &me.next;
        visitors = &me;
        pthread_mutex_unlock(&lock);
        pthread_setspecific(key, &me);
        if (__cxa_thread_atexit_impl && getpid() == (pid_t)syscall(SYS_gettid))
            __cxa_thread_atexit_impl(let_out, &me, &__dso_handle);
    }
    turn(memory_order_relaxed);
}

void visit_beside(void)
{
    me.beside = true;
    visit_begin();
}

void visit_end(void) { turn(memory_order_release); }

bool process_ending(void)
{
    return atomic_load_explicit(&leaving, memory_order_relaxed) && !pthread_equal(leaver, pthread_self());
}

int process_usable(void)
{
    if (cut_off)
        return error_set(E_DEVICE,
            "this process was forked while another thread was inside Heddle, of which its memory "
            "has only half: let the child exec, or fork before there are threads");
    if (process_ending())
        return error_set(E_DEVICE, "the process is ending: exit() was called");
    return 0;
}
