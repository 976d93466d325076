/*
 * golden_skips.c - what the golden runner counts, by family, and why cases are skipped.
 *
 * A reason is an op's name or a phrase. The list below says which reasons are good ones: a dtype that the
 * device lacks, what C cannot write. Any other reason is a gap. Cases whose
 * stored answer is wrong are not skipped: they are counted with what failed or passed, and listed.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"

static const struct { const char *glob, *kind;
} kinds[] = {
    { "f64 on this device", "device" },
    { "C cannot write it: *", "C" },
};

static const char *kind_of(const char *reason)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!fnmatch(kinds[i].glob, reason, 0))
            return kinds[i].kind;
    return "gap";
}

static void note(GoldenCount *c, const char *why, bool judged)
{
    for (int i = 0; i < c->nreason; i++)
        if (!strncmp(c->reason[i].why, why, sizeof c->reason[i].why - 1)) {
            c->reason[i].n++;
            return;
        }
    if (c->nreason < GOLDEN_REASONS) {
        snprintf(c->reason[c->nreason].why, sizeof c->reason[0].why, "%s", why);
        c->reason[c->nreason].judged = judged;
        c->reason[c->nreason++].n = 1;
    }
}

void golden_skip(GoldenCount *c, const char *reason)
{
    c->skipped++;
    note(c, reason, false);
}

void golden_judged(GoldenCount *c, const char *reason) { note(c, reason, true); }

int golden_table(const GoldenCount *c, int n, const char *device)
{
    int gaps = 0;
    printf("%-12s %-9s %7s %7s %8s\n", "family", "device", "passed", "failed", "skipped");
    for (int k = 0; k < n; k++)
        printf("%-12s %-9s %7d %7d %8d\n", c[k].family, device, c[k].passed, c[k].failed, c[k].skipped);
    printf("\n%-12s %7s  %-10s  %s\n", "family", "skipped", "because of", "what");
    for (int k = 0; k < n; k++)
        for (int i = 0; i < c[k].nreason; i++) {
            if (c[k].reason[i].judged)
                continue;
            const char *kind = kind_of(c[k].reason[i].why);
            gaps += !strcmp(kind, "gap") ? c[k].reason[i].n : 0;
            printf("%-12s %7d  %-10s  %s\n", c[k].family, c[k].reason[i].n, kind, c[k].reason[i].why);
        }
    for (int k = 0; k < n; k++)
        for (int i = 0; i < c[k].nreason; i++)
            if (c[k].reason[i].judged)
                printf("%-12s %7d  judged by difference quotients: %s\n", c[k].family, c[k].reason[i].n,
                    c[k].reason[i].why);
    printf("\n%d skipped without a good reason\n", gaps);
    return gaps;
}
