/*
 * tell.c - from counts to time, and the table of both.
 *
 * In:  what the groups of a kernel did that were run, each alone. Out: how long all of it takes, and why.
 * Each part of the machine is busy for some time: cores with instructions, with local memory, with lines of
 * the first cache; the second cache and memory with bytes. And groups wait: those that a core can hold at
 * once hide one another's latency, so what is left is the time of one group as often as cores are filled
 * anew. The longest of these is the prediction: all of them overlap, as they do where much is resident.
 * The roof is the time of the bytes that are touched, each once, at the bandwidth of memory, or of the
 * active lanes' arithmetic at its rate, whichever is longer.
 */
#include "sim.h"

const char *const sim_part[6] = { "arithmetic", "local memory", "first cache", "second cache", "memory",
    "latency" };

static double larger(double a, double b) { return a > b ? a : b; }
static double lesser(double a, double b) { return a < b ? a : b; }

SimTime sim_time(const SimCode *c, const SimCounts *n, const Profile *m)
{
    SimTime t = { 0 };
    if (n->ran <= 0)
        return t;
    double scale = n->groups / n->ran, each = n->groups / n->launches, cores = lesser(m->cores, each);
    double cycle = 1 / m->clock, all = 0, busy = 0; /* microseconds */
    const double rate[C_COUNT] = { m->f32, m->f64, m->integer, m->convert, m->special, m->requests,
        m->lanes * m->schedulers };
    for (int k = 0; k < C_COUNT; k++) {
        all += n->issued[k] / m->schedulers;
        busy = larger(busy, n->issued[k] * m->lanes / rate[k]);
    }
    /* memory is not read more often than it has bytes, where the second cache holds them all */
    double bytes = n->to_memory * scale, whole = c->bytes * n->launches;
    bytes = n->ran < n->groups && c->bytes <= m->l2 ? lesser(bytes, whole) : bytes;
    double rounds =
        (double)(int64_t)((each + cores * c->resident - 1) / (cores * c->resident)) * n->launches;
    t.part[0] = larger(all, busy) * scale / cores * cycle;
    t.part[1] = (n->local + n->conflicts) * scale / cores * cycle;
    t.part[2] = n->lines * scale / cores * cycle;
    t.part[3] = n->to_l2 * scale / m->l2_bandwidth / 1e3;
    t.part[4] = bytes / (m->bandwidth * m->reachable) / 1e3;
    t.part[5] = n->cycles / n->ran * rounds * cycle;
    for (int k = 0; k < 6; k++) {
        t.slowest = t.part[k] > t.part[t.slowest] ? k : t.slowest;
        t.us = larger(t.us, t.part[k]);
    }
    double touched = lesser(n->touched * scale, whole) / m->bandwidth / 1e3;
    double done = larger(n->busy[C_F32] / m->f32, n->busy[C_F64] / m->f64) * scale / m->cores * cycle;
    t.roof = larger(touched, done);
    return t;
}

/* ==================== the table */

static void bytes_text(Text *t, double n)
{
    static const char *const unit[] = { "B", "K", "M", "G", "T" };
    int u = 0;
    for (; n >= 10000 && u < 4; u++)
        n /= 1024;
    text_add(t, " %7.4g%s", n, unit[u]);
}

static void line(const SimKernel *k, const Profile *m, Text *t)
{
    const SimCounts *n = &k->counts;
    const SimCode *c = k->code;
    SimTime time = sim_time(c, n, m);
    double scale = n->groups / n->ran, issued = 0, busy = 0;
    for (int x = 0; x < C_COUNT; x++)
        issued += n->issued[x], busy += n->busy[x];
    text_add(t, "%-20.20s %6.0f %8.0f x %-4lld %4d%s %6lld %4.0f%% %9.3g %5.1f", k->name, n->launches,
        n->groups / n->launches, (long long)c->items, c->registers, c->spilled ? "!" : " ",
        (long long)c->local, 100 * c->resident * c->subgroups / m->subgroups, issued * scale,
        issued > 0 ? busy / issued : 0);
    text_add(t, " %6.1f %5.1f %5.1f", n->asked > 0 ? n->sectors / n->asked : 0,
        n->asked > 0 ? n->least / n->asked : 0, n->local > 0 ? n->conflicts / n->local : 0);
    bytes_text(t, n->to_l1 * scale), bytes_text(t, n->to_l2 * scale), bytes_text(t, n->to_memory * scale);
    text_add(t, " %9.4g %5.2f  %s%s", time.us, time.us > 0 ? time.roof / time.us : 0, sim_part[time.slowest],
        n->ran < n->groups ? arena_text(", %.0f of %.0f groups run", n->ran, n->groups) : "");
    if (k->loc.file) {
        text_add(t, "  ");
        text_name(t, k->loc.file);
        text_add(t, ":%d", k->loc.line);
    }
    text_add(t, "\n");
}

void sim_table(const SimKernel *const *k, int n, const Profile *m, Text *t)
{
    double us = 0, roof = 0, launches = 0, sampled = 0;
    text_add(t, "sim:%s: %.0f cores of %.0f lanes, %.0f MHz, %.0f GB/s\n", m->name, m->cores, m->lanes,
        m->clock, m->bandwidth);
    text_add(t, "%-20s %6s %15s %5s %6s %5s %9s %5s %6s %5s %5s %8s %8s %8s %9s %5s  %s\n", "kernel",
        "times", "groups x items", "regs", "local", "occ", "instr", "lanes", "sect", "least", "bank", "l1",
        "l2", "memory", "us", "roof", "what takes longest");
    for (int i = 0; i < n; i++) {
        if (!k[i]->counts.launches || k[i]->counts.ran <= 0)
            continue;
        line(k[i], m, t);
        SimTime time = sim_time(k[i]->code, &k[i]->counts, m);
        us += time.us, roof += time.roof, launches += k[i]->counts.launches;
        sampled += k[i]->counts.ran < k[i]->counts.groups;
    }
    text_add(t, "%.0f launches: %.4g us, of which the roof is %.2f; and %.4g us from launch to launch\n",
        launches, us, us > 0 ? roof / us : 0, launches * m->launch);
    if (sampled > 0)
        text_add(t,
            "Of %.0f kernels some groups were run, the others are taken to be like them: results are not "
            "computed\n",
            sampled);
}
