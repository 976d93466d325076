/*
 * deep.c - a call on a stack of its own. Compilers in drivers recurse as deep as the text that they are
 * given nests, and a program may call us from a thread with a small stack.
 *
 * In:  a function.   Out: its code, when it has returned. It runs in a thread that has the arena, the source
 * place and the locale
 * of the one that called, which gets its error.
 */
#define _GNU_SOURCE
#include <locale.h>
#include <signal.h>
#include <string.h>

#include "backend.h"

enum { DEEP = 64 << 20 };                       /* bytes; what is not touched is no memory */

typedef struct Deep {
    int (*f)(void *);
    void *env;
    Arena *arena; Loc loc; locale_t locale;     /* of the thread that called */
    int code;
    Code error; char text[4096];
} Deep;

static void *begin(void *deep)
{
    Deep *d = deep;
    arena_use(d->arena);
    loc_set(d->loc);
    uselocale(d->locale);
    d->code = d->f(d->env);
    d->error = error_code();
    snprintf(d->text, sizeof d->text, "%s", error_text());
    arena_use(NULL);
    return NULL;
}

/* Signals are for the application's threads. */
bool thread_start(pthread_t *t, void *(*f)(void *), void *env)
{
    pthread_attr_t a;
    sigset_t all, before;
    if (pthread_attr_init(&a))
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool made = !pthread_attr_setstacksize(&a, DEEP) && !pthread_create(t, &a, f, env);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&a);
    return made;
}

int deep_call(int (*f)(void *), void *env)
{
    pthread_t t;
    Deep d = { f, env, .arena = arena_current(), .loc = loc_here(), .locale = uselocale((locale_t)0) };
    if (!thread_start(&t, begin, &d))
        return f(env);                          /* there is no thread to be had */
    pthread_join(t, NULL);
    if (d.error && !error_pending()) {
        loc_set((Loc){ 0 });                    /* the text has it */
        error_set(d.error, "%s", d.text);
        loc_set(d.loc);
    }
    return d.code;
}
