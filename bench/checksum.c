/*
 * checksum.c - what the results of a workload must add up to, and the list of all workloads.
 *
 * All leaves of the result, in order, are one vector of n doubles: its sum, the sum of its magnitudes, four
 * elements. No time is believed before the checksum agrees.
 */
#include "workloads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ==================== the list */

static const Workload *const groups[] = {
    guide_workloads, kernel_workloads, control_workloads, model_workloads, numeric_workloads,
    latency_workloads, first_workloads, first_net_workloads,
};

const Workload *workload_at(int i)
{
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (const Workload *w = groups[g]; w->name; w++)
            if (!i--)
                return w;
    return NULL;
}

int workload_count(void)
{
    int n = 0;
    while (workload_at(n))
        n++;
    return n;
}

const Workload *workload_named(const char *name)
{
    for (int i = 0; workload_at(i); i++)
        if (!strcmp(workload_at(i)->name, name))
            return workload_at(i);
    return NULL;
}

/* ==================== checksums */

static double value_at(enum hd_dtype t, const void *p, int64_t i)
{
    switch (t) {
    case HD_BOOL: return ((const bool *)p)[i];
    case HD_I32: return ((const int32_t *)p)[i];
    case HD_U32: return ((const uint32_t *)p)[i];
    case HD_F32: return ((const float *)p)[i];
    case HD_F64: return ((const double *)p)[i];
    default: return NAN;
    }
}

/* Calls each for every leaf in order; stops at a code. */
static int leaves(const hd_array *a, int (*each)(const hd_array *, void *), void *env)
{
    int n = hd_array_len(a), e = 0;
    if (!n)
        return hd_array_dtype(a) ? each(a, env) : 0;
    for (int i = 0; i < n && !e; i++)
        e = leaves(hd_array_nth(a, i), each, env);
    return e;
}

typedef struct Sums { Checksum *to; int64_t done, at[4]; } Sums;

/* A complex number is two. */
static int64_t numbers(const hd_array *a)
{
    return hd_array_size(a) * (hd_array_dtype(a) == HD_C64 ? 2 : 1);
}

static int count(const hd_array *a, void *env) { *(int64_t *)env += numbers(a); return 0; }

static int add_leaf(const hd_array *a, void *env)
{
    Sums *s = env;
    enum hd_dtype t = hd_array_dtype(a) == HD_C64 ? HD_F32 : hd_array_dtype(a);
    int64_t n = numbers(a);
    const void *p = hd_data(a);

    if (n && !p)
        return hd_error_code() ? hd_error_code() : HD_EINTERNAL;
    for (int64_t i = 0; i < n; i++) {
        double v = value_at(t, p, i);
        s->to->sum += v, s->to->abs += fabs(v);
    }
    for (int k = 0; k < 4; k++)
        if (s->at[k] >= s->done && s->at[k] < s->done + n)
            s->to->elem[k] = value_at(t, p, s->at[k] - s->done);
    s->done += n;
    return 0;
}

int checksum(const hd_array *a, Checksum *c)
{
    Sums s = { .to = c };
    *c = (Checksum){ 0 };
    leaves(a, count, &c->n);
    s.at[1] = c->n / 3, s.at[2] = 2 * c->n / 3, s.at[3] = c->n - 1;
    return leaves(a, add_leaf, &s);
}

double checksum_error(const Workload *w, const Checksum *got, const Checksum *want)
{
    double size = want->abs / (double)want->n, worst = fabs(got->sum - want->sum) / want->abs;
    if (got->n != want->n)
        return INFINITY;
    for (int i = 0; i < 4 && !w->sum_only; i++)
        worst = fmax(worst, fabs(got->elem[i] - want->elem[i]) / fmax(fabs(want->elem[i]), size));
    /* fmax drops a nan */
    for (int i = 0; i < 4; i++)
        if (isnan(got->elem[i]))
            return INFINITY;
    return isnan(got->sum) ? INFINITY : worst / (w->tol ? w->tol : 1e-5);
}

static int add_bytes(const hd_array *a, void *env)
{
    *(double *)env += (double)hd_array_size(a) * (double)hd_dtype_size(hd_array_dtype(a));
    return 0;
}

double bytes_of(const hd_array *a)
{
    double n = 0;
    leaves(a, add_bytes, &n);
    return n;
}
