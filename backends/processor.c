/*
 * processor.c - what the system says of this processor.
 *
 * In:  sysfs, or sysconf where there is none; the processor's own flags. Out: rows of a Machine: cores,
 * caches, vector registers.
 */
#include "backend.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void ask(int what, int64_t *to)
{
    long v = what >= 0 ? sysconf(what) : 0;
    *to = v > 0 ? v : *to;
}

/* A file of one cache of the first core, as "48K"; 0: it cannot be read. */
static int64_t cache_file(int index, const char *what, char *word)
{
    char path[96], text[32] = "", unit = 0;
    long long n = 0;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (!fgets(text, sizeof text, f))
        text[0] = 0;
    fclose(f);
    if (word)
        *word = text[0];
    int fields = sscanf(text, "%lld%c", &n, &unit);
    return fields < 1 || n < 0 || n > 1 << 30 ? 0 : unit == 'K' ? n << 10 : unit == 'M' ? n << 20 : n;
}

/* sysfs tells which part of a shared cache this machine has, sysconf what the processor has. */
static void ask_caches(Machine *m)
{
    for (int k = 0; k < 8; k++) {
        char type = 0;
        int64_t level = cache_file(k, "level", NULL), size = cache_file(k, "size", NULL);
        cache_file(k, "type", &type);
        if (!size || type == 'I' || level < 1 || level > 3)
            continue;
        *(level == 1 ? &m->l1 : level == 2 ? &m->l2 : &m->l3) = size;
        int64_t ways = level == 2 ? cache_file(k, "ways_of_associativity", NULL) : 0;
        m->l2_ways = ways ? ways : m->l2_ways;
    }
}

/* How wide vectors are and how many registers hold them. */
static void ask_vectors(Machine *m)
{
#if defined(__x86_64__) || defined(__i386__)
    bool v4 = __builtin_cpu_supports("avx512f"), v3 = __builtin_cpu_supports("avx");
    m->vector_bits = v4 ? 512 : v3 ? 256 : 128;
    m->vector_registers = v4 ? 32 : sizeof(void *) == 8 ? 16 : 8;
#elif defined(__aarch64__)
    m->vector_bits = 128, m->vector_registers = 32;
#else
    (void)m;
#endif
}

/* A compiler that makes vectors of work-items takes each element of ours for a value of its own, and its
 * time grows faster than what it is given: so blocks are small, and none where that is much, and loops are
 * loops. (Sinkhorn's scaling with its gradient took Mesa's 40 s, and takes it 5 s; a kernel of the small
 * GPT's gradient took 60 s for blocks of four.) */
static void scalar_blocks(Machine *m)
{
    m->flight = m->tile_rows = m->unroll = m->copy_block = 4;
    m->tile_vectors = m->sum_vectors = m->turned = 1;
    m->inside_rows = 2;
    m->text_block = 120;
}

void processor_machine(Machine *m)
{
    ask(_SC_NPROCESSORS_ONLN, &m->cores);
#ifdef _SC_LEVEL1_DCACHE_SIZE                   /* glibc's */
    ask(_SC_LEVEL1_DCACHE_LINESIZE, &m->line);
    ask(_SC_LEVEL1_DCACHE_SIZE, &m->l1);
    ask(_SC_LEVEL2_CACHE_SIZE, &m->l2);
    ask(_SC_LEVEL2_CACHE_ASSOC, &m->l2_ways);
    ask(_SC_LEVEL3_CACHE_SIZE, &m->l3);
#endif
    ask_caches(m);
    if (m->lanes == 1)
        ask_vectors(m);
    else
        scalar_blocks(m);
}

uint64_t processor_features(void)
{
    char line[4096];
    uint64_t h = 0;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "flags", 5) || !strncmp(line, "Features", 8) ||
            !strncmp(line, "model name", 10)) {
            h = hash_bytes(line, strlen(line), h);
            if (strncmp(line, "model name", 10))
                break;
        }
    if (f)
        fclose(f);
    return h;
}
