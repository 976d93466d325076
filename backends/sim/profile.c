/*
 * profile.c - machines of backends/sim from text: those in profiles/, which are part of the library, and
 * files.
 *
 * A line is "name value" of profile.def; `#` begins a comment.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Row {
    const char *name;
    size_t at;
} Row;
static const Row row[] = {
#define REAL(name, value, meaning) { #name, offsetof(Profile, name) },
#include "profile.def"
};
enum { ROWS = sizeof row / sizeof *row };

static const Profile ordinary = {
#define REAL(name, value, meaning) .name = value,
#include "profile.def"
};

static const struct {
    const char *name, *text;
} kept[] = {
#include "profiles.h"
};
enum { KEPT = sizeof kept / sizeof *kept };

/* ==================== text */

static int parse_line(Profile *p, char *s, const char *where, int line)
{
    char name[32], rest[8];
    double v;
    s[strcspn(s, "#\r")] = 0;
    int n = sscanf(s, "%31s %lf %7s", name, &v, rest);
    if (n <= 0)
        return 0;
    for (int k = 0; k < ROWS && n == 2; k++)
        if (!strcmp(row[k].name, name)) {
            memcpy((char *)p + row[k].at, &v, sizeof v);
            return v >= 0 && v < 1e15 ?
                0 :
                error_set(E_INVAL, "%s:%d: %s is no number from 0 on", where, line, name);
        }
    return error_set(E_INVAL,
        "%s:%d: \"%s\" is no row of a machine's profile: a line is a name of "
        "backends/sim/profile.def and a number",
        where, line, name);
}

static int parse(Profile *p, const char *text, const char *where)
{
    int line = 1, e = 0;
    for (const char *s = text; *s && !e; line++) {
        size_t n = strcspn(s, "\n");
        char part[256];
        snprintf(part, sizeof part, "%.*s", (int)(n < 255 ? n : 255), s);
        e = parse_line(p, part, where, line);
        s += n + (s[n] == '\n');
    }
    bool can = p->lanes >= 1 && p->lanes <= LANES_MAX && !((int)p->lanes & ((int)p->lanes - 1)) &&
        p->cores >= 1 && p->clock > 0 && p->schedulers >= 1 && p->bandwidth > 0 && p->l2_bandwidth > 0 &&
        p->sector >= 16 && p->line >= p->sector && p->line <= 32 * p->sector && p->request >= 1 &&
        p->word >= 1 && p->banks >= 1 && p->banks <= 256 && p->group_items >= 1 && p->group_items <= 1024 &&
        p->group >= 1 && p->cores <= 4096 && p->register_step >= 1 && p->f32 > 0 && p->f64 > 0 &&
        p->integer > 0 && p->convert > 0 && p->special > 0 && p->requests > 0 && p->l1_lines > 0 &&
        p->l1_width > 0 && p->reachable > 0 && p->l1 + p->l2 < 1e10;
    if (!e && !can)
        e = error_set(E_INVAL,
            "%s: no machine is like that: lanes are a power of two of at most %d, a group has at most "
            "1024 items, rates are above 0",
            where, LANES_MAX);
    return e;
}

static int read_file(Profile *p, const char *path)
{
    FILE *f = fopen(path, "rb");
    char part[1024];
    size_t n;
    if (!f)
        return error_set(E_IO, "%s: the profile of a machine cannot be read: %s", path, strerror(errno));
    Text t = { 0 };
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        text_add(&t, "%.*s", (int)n, part);
    bool bad = ferror(f);
    fclose(f);
    int e = bad ? error_set(E_IO, "%s: the profile of a machine cannot be read", path) :
                  parse(p, t.s ? t.s : "", path);
    text_free(&t);
    return e;
}

int profile_read(Profile *p, const char *name)
{
    Text t = { 0 };
    *p = ordinary;
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    snprintf(p->name, sizeof p->name, "%.*s", (int)strcspn(base, "."), base);
    if (strchr(name, '/') || strchr(name, '.'))
        return read_file(p, name);
    for (int k = 0; k < KEPT; k++)
        if (!strcmp(kept[k].name, name))
            return parse(p, kept[k].text, name);
    for (int k = 0; k < KEPT; k++)
        text_add(&t, "%s%s", k ? ", " : "", kept[k].name);
    int e = error_set(E_INVAL,
        "there is no machine \"%s\" to simulate; there are %s, and files with a profile (docs/sim.md)", name,
        t.s ? t.s : "");
    text_free(&t);
    return e;
}

/* ==================== HEDDLE_SIM=h200,machines/mine.txt */

enum { MOST = 16 };
static char *names; /* the variable's, cut at its commas; kept */
static const char *name_at[MOST];
static int nnames = -1;

int profile_count(void)
{
    const char *s = getenv("HEDDLE_SIM");
    if (nnames >= 0)
        return nnames;
    nnames = 0;
    names = s && *s ? strdup(s) : NULL;
    for (char *at = names, *save = NULL; names && (at = strtok_r(at, ", ", &save)) != NULL && nnames < MOST;
         at = NULL)
        name_at[nnames++] = at;
    return nnames;
}

const char *profile_name(int k) { return k >= 0 && k < profile_count() ? name_at[k] : ""; }
