/*
 * fault.c - failures on demand: which call is meant.
 *
 * In:  HEDDLE_FAULT, or what a test asks for; the name of each call that is about to be made (fault.h).
 * Out: whether it fails.
 * The variable is read once, when the first call asks. Calls are counted over all threads.
 */
#include "fault.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool fault_wanted = true;                       /* until the variable has been read */

/* seconds: how long a call waits instead of failing; 0: it fails */
static struct { char kind[16], call[64]; long n; bool on; double seconds; } want;
static _Atomic long calls;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The next part of a specification, up to a colon or the end. NULL: there is none, or it is empty or too
 * long. */
static const char *part(const char *s, char *to, size_t size)
{
    size_t n = s ? strcspn(s, ":") : 0;
    if (n == 0 || n >= size)
        return NULL;
    memcpy(to, s, n);
    to[n] = 0;
    return s + n + (s[n] == ':');
}

static bool read_spec(const char *spec)
{
    char number[24] = "", *end = number;
    const char *s = part(part(spec, want.kind, sizeof want.kind), want.call, sizeof want.call);
    if (!(s = part(s, number, sizeof number)))
        return false;
    want.n = strtol(number, &end, 10);
    bool digits = end != number;
    want.on = *end == '+';
    end += want.on, want.seconds = 0;
    if (*end == '@') {
        want.seconds = strtod(end + 1, &end);
        digits = digits && want.seconds > 0 && want.seconds < 1e6;
    }
    return digits && want.n > 0 && !*s && !*end;
}

static void read_variable(void)
{
    const char *spec = getenv("HEDDLE_FAULT");
    fault_wanted = spec && read_spec(spec);
    if (spec && !fault_wanted)
        fprintf(stderr, "heddle: HEDDLE_FAULT=%s is not KIND:CALL:N, and does nothing\n", spec);
}

bool fault_set(const char *spec)
{
    pthread_once(&once, read_variable);
    calls = 0;
    fault_wanted = spec && read_spec(spec);
    return fault_wanted || !spec;
}

bool fault_asked(const char **kind, const char **call)
{
    pthread_once(&once, read_variable);
    *kind = want.kind, *call = want.call;
    return fault_wanted;
}

long fault_calls(void) { return calls; }

bool fault_due(const char *kind, const char *call)
{
    pthread_once(&once, read_variable);
    if (!fault_wanted || strcmp(kind, want.kind) || (strcmp(want.call, "*") && strcmp(want.call, call)))
        return false;
    long at = atomic_fetch_add(&calls, 1) + 1;
    bool due = at == want.n || (want.on && at > want.n);
    if (!due || want.seconds <= 0)
        return due;
    struct timespec t = { (time_t)want.seconds, (long)(1e9 * fmod(want.seconds, 1)) };
    nanosleep(&t, NULL);
    return false;
}
