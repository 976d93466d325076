/*
 * rates.c - rates that are measured while the work is done, and kept on the disk for the next process.
 *
 * In:  so much took so long.   Out: how long so much will take.
 * A measurement counts a quarter, those before it the rest, and none as more than 4 times what was known:
 * amounts are estimates, and a machine that is busy for a moment is no slow machine. What took less than a
 * millisecond says nothing. The disk gets a rate when it differs by a fifth from what it has there.
 */
#include "rates.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

enum { NAME = 64 };

typedef struct Key {
    char what[8], name[NAME];
} Key;

struct Rate {
    Rate *next;
    Key key;
    double each, kept; /* milliseconds for one; what the disk has, 0: nothing */
};

static Rate *rates;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void read_disk(Rate *r)
{
    void *data;
    size_t n;
    if (!cache_get(&r->key, sizeof r->key, &data, &n))
        return;
    double each = 0;
    if (n == sizeof each)
        memcpy(&each, data, n);
    free(data);
    if (isfinite(each) && each > 0)
        r->each = r->kept = each;
}

Rate *rate_of(const char *name, double guess)
{
    Key key = { .what = "rate" };
    snprintf(key.name, sizeof key.name, "%s", name);
    pthread_mutex_lock(&lock);
    Rate *r = rates;
    while (r && memcmp(&r->key, &key, sizeof key))
        r = r->next;
    if (!r && (r = calloc(1, sizeof *r))) {
        r->key = key, r->each = guess;
        read_disk(r);
        r->next = rates, rates = r;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

double rate_ms(Rate *r, double amount)
{
    pthread_mutex_lock(&lock);
    double ms = r ? r->each * amount : 0;
    pthread_mutex_unlock(&lock);
    return ms;
}

void rate_seen(Rate *r, double amount, double ms)
{
    if (!r || amount <= 0 || ms < 1)
        return;
    pthread_mutex_lock(&lock);
    double now = fmin(fmax(ms / amount, r->each / 4), r->each * 4);
    r->each += (now - r->each) / 4;
    const double each = r->each;
    bool other = fabs(each - r->kept) > r->kept / 5;
    r->kept = other ? each : r->kept;
    pthread_mutex_unlock(&lock);
    if (other)
        cache_put(&r->key, sizeof r->key, &each, sizeof each);
}
