/*
 * balance.c - how many places of a map each of several devices gets, by how long a place takes there.
 *
 * In:  the time of a place on each device, as it was measured last.   Out: numbers of places, so that all
 * devices are done as nearly
 *      at once as whole places allow. Each device keeps one at least, or its speed would not be known any
 *      more.
 * Over ranks each measures its own devices and tells the others; all learn it when the call has succeeded in
 * all, so that all deal out the next one alike.
 * HEDDLE_PACE="host:1=3, opencl:0=.5" says what a place costs instead of having it measured: for tests, and
 * where it is known.
 */
#include "api.h"
#include "ranks.h"
#include <stdlib.h>
#include <string.h>

/* What a place costs on a device by the variable; devices that it does not name: 1. Below zero: it is not
 * set. */
static double pace_said(const char *device)
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

Balance *balance_new(int nplace, Device *const *device, Exec *const *exec)
{
    Balance *b = NEW(Balance);
    *b = (Balance){ nplace, 0, NEWS(Device *, nplace), NEWS(Exec *, nplace), NEWS(int, nplace),
        NEWS(int, nplace), NEWS(double, nplace), NEWS(double, nplace) };
    for (int s = 0; s < nplace; s++) {
        int d = 0;
        while (d < b->n && b->device[d] != device[s])
            d++;
        b->device[d] = device[s], b->exec[d] = exec[s], b->count[d]++;
        b->n += d == b->n;
    }
    return b;
}

bool balance_better(Balance *b)
{
    for (int d = 0; d < b->n; d++)
        if (b->cost[d] <= 0)
            return false;
    share_out(b->nplace, b->n, b->cost, b->next);
    bool better = longest(b->n, b->cost, b->next) < .9 * longest(b->n, b->cost, b->count);
    if (better)
        memcpy(b->count, b->next, sizeof *b->count * (size_t)b->n);
    return better;
}

/* Half of what was known stays, so that one slow run moves little. */
void balance_see(Balance *b, const Device *device, const char *label, double seconds)
{
    double said = pace_said(label);
    for (int d = 0; d < b->n; d++)
        if (b->device[d] == device)
            b->seen[d] = said >= 0 ? said : b->cost[d] > 0 ? (b->cost[d] + seconds) / 2 : seconds;
}

int balance_tell(Balance *b)
{
    size_t bytes = sizeof *b->seen * (size_t)b->n;
    double *all = calloc((size_t)ranks_count() * (size_t)b->n + 1, sizeof *all);
    int e = all ? ranks_tell(b->seen, bytes, all) : (int)error_set(E_NOMEM, "out of host memory");
    for (int d = 0; d < b->n && !e; d++)
        b->seen[d] = all[device_rank(b->device[d]) * b->n + d];
    free(all);
    return e;
}

void balance_learn(Balance *b) { memcpy(b->cost, b->seen, sizeof *b->cost * (size_t)b->n); }
