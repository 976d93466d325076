/*
 * balance.c - how many places of a map each of several devices gets, by how long a place takes there.
 *
 * In:  the time of a place on each device, as it was measured last.   Out: numbers of places, so that all
 * devices are done as nearly
 *      at once as whole places allow. Each device keeps one at least, or its speed would not be known any
 *      more.
 * HEDDLE_PACE="host:1=3, opencl:0=.5" says what a place costs instead of having it measured: for tests, and
 * where it is known.
 */
#include "api.h"
#include <stdlib.h>
#include <string.h>

/* What a place costs on a device by the variable; devices that it does not name: 1. Below zero: it is not
 * set. */
double pace_said(const char *device)
{
    const char *s = getenv("HEDDLE_PACE");
    size_t n = strlen(device);
    if (!s || !*s)
        return -1;
    for (; *s; s += strcspn(s, ","), s += *s == ',') {
        s += strspn(s, " ");
        if (!strncmp(s, device, n) && s[n] == '=')
            return strtod(s + n + 1, NULL);
    }
    return 1;
}

static double longest(int k, const double *cost, const int *count)
{
    double t = 0;
    for (int d = 0; d < k; d++)
        t = cost[d] * count[d] > t ? cost[d] * count[d] : t;
    return t;
}

/* One place after the other goes to the device that would be done with it first. */
static void share_out(int n, int k, const double *cost, int *count)
{
    for (int d = 0; d < k; d++)
        count[d] = 1;
    for (int left = n - k; left > 0; left--) {
        int best = 0;
        for (int d = 1; d < k; d++)
            if (cost[d] * (count[d] + 1) < cost[best] * (count[best] + 1))
                best = d;
        count[best]++;
    }
}

bool balance_better(int n, int k, const double *cost, const int *count, int *next)
{
    for (int d = 0; d < k; d++)
        if (cost[d] <= 0)                       /* not known yet */
            return false;
    share_out(n, k, cost, next);
    return longest(k, cost, next) < .9 * longest(k, cost, count);
}
