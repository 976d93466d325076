/*
 * machine.c - the table of the machine: the two standard ones, what follows from what, its text.
 *
 * In:  what a device says of itself; rows of text. Out: a Machine whose rows agree with one another.
 * machine.def is read once for each of these; so a new row is printed, read and part of keys without a line
 * here.
 */
#include "target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const Machine machine_processor = {
#define INT(name, processor, gpu, meaning)  .name = processor,
#define REAL INT
#include "machine.def"
#undef INT
};

const Machine machine_gpu = {
#define INT(name, processor, gpu, meaning)  .name = gpu,
#include "machine.def"
#undef INT
#undef REAL
};

typedef struct Fact { const char *name; size_t at; bool real; const char *meaning; } Fact;

static const Fact fact[] = {
#define INT(name, processor, gpu, meaning)  { #name, offsetof(Machine, name), false, meaning },
#define REAL(name, processor, gpu, meaning) { #name, offsetof(Machine, name), true, meaning },
#include "machine.def"
#undef INT
#undef REAL
};
enum { FACTS = sizeof fact / sizeof *fact };

static int64_t *whole(const Machine *m, const Fact *f) { return (int64_t *)((char *)(uintptr_t)m + f->at); }
static double *real(const Machine *m, const Fact *f) { return (double *)((char *)(uintptr_t)m + f->at); }

/* Blocks of results as registers hold them, beside the vectors and the number that they are made from. */
static void follow_registers(Machine *m)
{
    int64_t fits = m->vector_registers * m->vector_bits / (16 * 32), rows;
    m->flight = fits > 2 ? fits / 2 : 1;
    m->tile_vectors = fits >= 16 ? 2 : 1;
    rows = (fits - 1 - m->tile_vectors) / m->tile_vectors;
    m->tile_rows = rows > 8 ? 8 : rows > 2 ? rows : 2;
    m->panel = 16 * m->tile_vectors;
    m->inside_rows = m->sum_vectors = fits >= 8 ? 4 : 2;
    m->sums = fits > 8 ? fits : 8;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void machine_follow(Machine *m)
{
    if (m->lanes == 1)
        follow_registers(m);
    if (m->group_items > 1) {                   /* a group does a piece or a line: some a core */
        m->columns = 8 * m->cores * m->lanes;
        m->column_pieces = 4 * m->columns;
        m->pieces_alone = least(8 * m->cores, 4096);
        m->running_beside = 2 * m->cores;
        m->sort_bits = m->sort_bits_long = 4;   /* an item a chunk: short ones, and small tables */
        m->sort_piece = 128, m->sort_items = 64 * m->cores, m->sort_counters = 16;
    }
    m->items = 4 * m->cores > 64 ? 4 * m->cores : 64;
    m->near = m->lanes == 1 ? m->l2 / 2 : m->l2;
    m->way = m->l2_ways ? m->l2 / m->l2_ways : 0;
    m->stay = m->lanes == 1 ? m->l2 / 2 : 0;
    m->panel_from = m->lanes == 1 ? m->stay : 8 << 20;
    m->own_panel = m->lanes == 1 && m->private_arrays ? least(m->stay, 512 << 10) : 0;
    m->own_panel_from = m->stay / 2;
}

/* ==================== text */

static int refuse(const char *where, int line, const char *what, const char *word, size_t n)
{
    return error_set(E_INVAL,
        "%s:%d: %s: %.*s. A line is a name and a number; `heddle devices --verbose` prints all", where, line,
        what, (int)n, word);
}

static const Fact *fact_named(const char *name, size_t n)
{
    for (int k = 0; k < FACTS; k++)
        if (strlen(fact[k].name) == n && !memcmp(fact[k].name, name, n))
            return &fact[k];
    return NULL;
}

/* A number, negative after an error: none of the table's is. */
static double number(const char *s, const char *end)
{
    char *stop;
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    double v = s < end ? strtod(s, &stop) : -1;
    while (s < end && stop < end && (*stop == ' ' || *stop == '\t' || *stop == '\r'))
        stop++;
    return s < end && stop == end && v >= 0 && v <= 1e15 ? v : -1;
}

/* again: rows only, not the form that they are rows of. */
static int parse_line(Machine *m, const char *s, const char *end, const char *where, int line, bool again)
{
    const char *hash = memchr(s, '#', (size_t)(end - s));
    end = hash ? hash : end;
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    size_t n = strcspn(s, " \t\n");
    n = n < (size_t)(end - s) ? n : (size_t)(end - s);
    if (s == end)
        return 0;
    if (s + n == end && (n == 3 || n == 9) && !memcmp(s, n == 3 ? "gpu" : "processor", n)) {
        if (!again)
            *m = n == 3 ? machine_gpu : machine_processor;
        return 0;
    }
    const Fact *f = fact_named(s, n);
    double v = f ? number(s + n, end) : 0;
    if (!f)
        return refuse(where, line, "there is no such row", s, n);
    if (v < 0 || (!f->real && v != (double)(int64_t)v))
        return refuse(where, line, f->real ? "not a number from 0 on" : "not a whole number from 0 on", s,
            (size_t)(end - s));
    if (f->real)
        *real(m, f) = v;
    else
        *whole(m, f) = (int64_t)v;
    return 0;
}

static int parse_all(Machine *m, const char *text, const char *where, bool again)
{
    int line = 1;
    for (const char *s = text, *end; *s; s = *end ? end + 1 : end, line++) {
        end = s + strcspn(s, "\n");
        if (parse_line(m, s, end, where, line, again))
            return error_code();
    }
    return 0;
}

/* Twice: what follows from rows gives way to rows of its own. */
int machine_parse(Machine *m, const char *text, const char *where)
{
    Machine was = *m;
    int code = parse_all(m, text, where, false);
    if (!code)
        machine_follow(m), parse_all(m, text, where, true);
    else
        *m = was;
    return code;
}

int machine_read(Machine *m, const char *path)
{
    FILE *f = fopen(path, "rb");
    char part[1024];
    size_t n;
    if (!f)
        return error_set(E_IO, "%s: the machine's table cannot be read: %s", path, strerror(errno));
    Text t = { 0 };
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        text_add(&t, "%.*s", (int)n, part);
    bool bad = ferror(f);
    fclose(f);
    char *s = text_take(&t);
    int code = bad ? error_set(E_IO, "%s: the machine's table cannot be read", path)
             : !s ? error_set(E_NOMEM, "no memory for the machine's table") : machine_parse(m, s, path);
    free(s);
    return code;
}

int machine_override(Machine *m)
{
    const char *path = getenv("HEDDLE_MACHINE");
    return path && *path ? machine_read(m, path) : 0;
}

void machine_print(const Machine *m, Text *t)
{
    for (int k = 0; k < FACTS; k++) {
        text_add(t, "%-18s ", fact[k].name);
        if (fact[k].real)
            text_add(t, "%-10.9g", *real(m, &fact[k]));
        else
            text_add(t, "%-10lld", (long long)*whole(m, &fact[k]));
        text_add(t, "  # %s\n", fact[k].meaning);
    }
}

uint64_t machine_hash(const Machine *m) { return hash_bytes(m, sizeof *m, 3); }
