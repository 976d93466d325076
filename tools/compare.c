/*
 * compare.c - `heddle compare`: programs on devices against the host, as text, JSON or a page.
 *
 * In:  programs in text form, devices. Out: how far each result is off; with --nodes the instruction that
 *      makes the difference; with --shrink DIR the smallest program that still differs, in files.
 * The status is 0 where all agree, 1 where something differs or does not run on a device, 2 where nothing
 * could be compared.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "heddle_command.h"
#include "report.h"

/* ==================== as text */

static void print_outputs(const Report *r, const Compared *m)
{
    const Graph *g = r->c->trial.g;
    for (int k = 0; k < g->nout; k++) {
        const Gap *p = &m->out[k];
        printf("  %-10s %-2d %-16s %9.3g %9.3g %9.3g %5lld %9.3g  %s\n", m->device->info.name, k,
            type_text(&g->type[g->out[k]]), p->ulp, p->relative, p->absolute, (long long)p->nan,
            p->roundings, gap_agrees(p, r->c->tol) ? "agrees" : "differs");
    }
}

static void print_born(const Compared *m)
{
    if (!m->looked)
        return;
    if (!m->born) {
        const Level *level;
        const Ins *last = compare_blamed(m, &level);
        printf("  %s: no instruction differs by itself", m->device->info.name);
        if (last)
            printf(", %d together do, the last of them at %s: %s", compare_instructions(m->small.g),
                compare_place(last), optab[last->op].name);
        printf("\n");
        return;
    }
    const Site *s = m->born;
    const char *place = compare_place(s->i);
    printf("  %s: born in %s%s%s: element %lld is %.9g, on the host %.9g (%.3g ulp)\n", m->device->info.name,
        place, *place ? ": " : "", compare_name(s->level, s->i), (long long)m->gap.at, m->gap.got,
        m->gap.want, m->gap.ulp);
    for (const Level *l = s->level; l->up; l = l->up)
        printf("  %*s  in %s\n", (int)strlen(m->device->info.name), "", compare_name(l->up, l->region));
}

static void print_text(const Report *r)
{
    printf("%s: %s\n", r->file, r->c->trial.g->name ? r->c->trial.g->name : "?");
    printf("  %-10s %-2s %-16s %9s %9s %9s %5s %9s\n", "device", "", "output", "ulp", "relative", "absolute",
        "nan", "roundings");
    for (int d = 0; d < r->n; d++) {
        const Compared *m = &r->of[d];
        if (m->failed)
            printf("  %-10s does not run: %s\n", m->device->info.name, m->failed);
        else
            print_outputs(r, m);
        print_born(m);
        if (m->small.g && r->folder[d])
            printf("  %s: %d instruction%s that differ, in %s\n", m->device->info.name,
                compare_instructions(m->small.g), compare_instructions(m->small.g) == 1 ? "" : "s",
                r->folder[d]);
    }
}

/* ==================== as JSON */

static void json_string(Text *t, const char *s)
{
    text_char(t, '"', 1);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            text_add(t, "\\%c", *s);
        else if ((unsigned char)*s < ' ')
            text_add(t, "\\u%04x", (unsigned char)*s);
        else
            text_char(t, *s, 1);
    text_char(t, '"', 1);
}

/* JSON has no infinity and no nan: those are strings. */
static void json_number(Text *t, const char *key, double v)
{
    text_add(t, isfinite(v) ? ",\"%s\":%.9g" : ",\"%s\":\"%g\"", key, v);
}

static void json_gap(Text *t, const Gap *g)
{
    text_add(t, "\"elements\":%lld,\"nan\":%lld,\"at\":%lld", (long long)g->size, (long long)g->nan,
        (long long)g->at);
    json_number(t, "ulp", g->ulp), json_number(t, "relative", g->relative);
    json_number(t, "absolute", g->absolute), json_number(t, "roundings", g->roundings);
    if (g->at >= 0)
        json_number(t, "got", g->got), json_number(t, "want", g->want);
}

static void json_born(Text *t, const Compared *m)
{
    const Level *level;
    const Ins *i = compare_blamed(m, &level);
    text_add(t, ",\"born\":");
    if (!i) {
        text_add(t, "null");
        return;
    }
    text_add(t, "{\"instruction\":");
    json_string(t, compare_name(level, i));
    text_add(t, ",\"file\":");
    json_string(t, i->loc.file ? i->loc.file : "");
    text_add(t, ",\"line\":%d,\"alone\":%s,", i->loc.file ? i->loc.line : 0, m->born ? "true" : "false");
    json_gap(t, m->born ? &m->gap : &m->small_gap);
    text_char(t, '}', 1);
}

static void json_device(Text *t, const Report *r, int d)
{
    const Graph *g = r->c->trial.g;
    const Compared *m = &r->of[d];
    text_add(t, "%s{\"device\":\"%s\",\"agree\":%s", d ? "," : "", m->device->info.name,
        m->agree ? "true" : "false");
    if (m->failed)
        text_add(t, ",\"error\":"), json_string(t, m->failed);
    text_add(t, ",\"outputs\":[");
    for (int k = 0; k < g->nout && !m->failed; k++) {
        text_add(t, "%s{\"type\":\"%s\",", k ? "," : "", type_text(&g->type[g->out[k]]));
        json_gap(t, &m->out[k]);
        text_char(t, '}', 1);
    }
    text_char(t, ']', 1);
    if (m->looked)
        json_born(t, m);
    if (m->small.g && r->folder[d]) {
        text_add(t, ",\"small\":{\"instructions\":%d,\"folder\":", compare_instructions(m->small.g));
        json_string(t, r->folder[d]);
        text_char(t, '}', 1);
    }
    text_char(t, '}', 1);
}

static void print_json(const Report *r)
{
    Text t = { 0 };
    text_add(&t, "{\"file\":");
    json_string(&t, r->file);
    text_add(
        &t, ",\"tolerance\":%g,\"agree\":%s,\"devices\":[", r->c->tol, report_agrees(r) ? "true" : "false");
    for (int d = 0; d < r->n; d++)
        json_device(&t, r, d);
    printf("%s]}\n", t.s ? t.s : "");
    text_free(&t);
}

/* ==================== files of what is left */

static int write_file(const char *folder, const char *name, const char *text)
{
    const char *path = arena_text("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    bool bad = !f || fputs(text ? text : "", f) < 0;
    if (f && fclose(f))
        bad = true;
    return bad ? error_set(E_IO, "%s: %s", path, strerror(errno)) : 0;
}

static int write_input(const char *folder, int k, const Type *t, const void *p)
{
    hd_ints shape = { .n = t->rank };
    for (int d = 0; d < t->rank; d++)
        shape.v[d] = t->dim[d];
    hd_array *a = hd_array_new((enum hd_dtype)t->dt, shape, p, NULL);
    int e = a ? hd_save(arena_text("%s/in%d.npy", folder, k), a) : (int)error_code();
    hd_drop(a);
    return e;
}

/* The program, its inputs, what the device compiles for it, and how to see it again. */
static int write_small(const Compared *m, const char *folder)
{
    const Trial *t = &m->small;
    Text program = { 0 }, code = { 0 }, again = { 0 };
    if (mkdir(folder, 0777) && errno != EEXIST)
        return error_set(E_IO, "%s: %s", folder, strerror(errno));
    graph_print(t->g, &program);
    text_add(&again, "heddle compare program.hd --devices %s --nodes", m->device->info.name);
    int e = write_file(folder, "program.hd", program.s);
    for (int k = 0; k < t->g->nin && !e; k++) {
        e = write_input(folder, k, &t->g->type[t->g->in[k]], t->in[k]);
        text_add(&again, " --inputs in%d.npy", k);
    }
    Exec *x = e ? NULL : compile_shard(graph_clone(t->g), m->device);
    if (x && m->device->backend->code && !m->device->backend->code(x, &code))
        e = write_file(folder, "kernel.txt", code.s);
    if (x)
        m->device->backend->drop(x);
    text_char(&again, '\n', 1);
    e = e ? e : write_file(folder, "again.sh", again.s);
    text_free(&program), text_free(&code), text_free(&again);
    return e ? e : (int)error_code();
}

/* DIR for the first that differs, DIR/DEVICE where there are several devices. */
static int shrink_all(Report *r, const char *folder)
{
    int e = 0;
    for (int d = 0; d < r->n && !e; d++) {
        Compared *m = &r->of[d];
        if (m->agree || m->failed || (e = compare_shrink(r->c, m)) || !m->small.g)
            continue;
        char *name = arena_text("%s", m->device->info.name);
        for (char *s = name; *s; s++)
            *s = *s == ':' || *s == '/' ? '-' : *s;
        if (mkdir(folder, 0777) && errno != EEXIST)
            return error_set(E_IO, "%s: %s", folder, strerror(errno));
        r->folder[d] = r->n > 1 ? arena_text("%s/%s", folder, name) : folder;
        e = write_small(m, r->folder[d]);
    }
    return e;
}

/* ==================== the command */

bool report_agrees(const Report *r)
{
    bool agree = true;
    for (int d = 0; d < r->n; d++)
        agree = agree && r->of[d].agree;
    return agree;
}

static int report_make(Report *r, const Trial *t, const Options *o)
{
    Device **list;
    r->n = compare_devices(o->devices, &list);
    if (r->n < 0 || !(r->c = comparison_new(*t, o->tol < 0 ? COMPARE_TOLERANCE : o->tol)))
        return (int)error_code();
    r->of = NEWS(Compared, r->n), r->folder = NEWS(const char *, r->n);
    for (int d = 0; d < r->n; d++) {
        Compared *m = &r->of[d];
        if (compare_on(r->c, list[d], m))
            return (int)error_code();
        if ((o->nodes || o->html || (o->shrink && !m->agree)) && !m->failed && compare_nodes(r->c, m))
            return (int)error_code();
    }
    return o->shrink ? shrink_all(r, o->shrink) : 0;
}

/* Of one program. Status, or -1 after an error. */
static int compare_file(const Options *o, const char *file)
{
    Options one = *o;
    one.file = file;
    char *text = slurp(file);
    Lifted p = { 0 };
    hd_array *arg[MAX_ARGS] = { 0 };
    Entry e;
    int status = -1;
    if (!text)
        return 2;
    if (!read_program(&p, text, &one)) {
        fill_arguments(&p, text, &one, arg);
        if (!error_pending() && !entry_begin(&e)) {
            Trial t;
            Report r = { .file = file };
            if (!compare_trial(p.f, arg, p.n, &t) && !report_make(&r, &t, &one)) {
                one.json ? print_json(&r) : print_text(&r);
                if (!one.html || !report_page(&r, one.html))
                    status = !report_agrees(&r);
            }
            entry_end(&e);
        }
    }
    if (status < 0)
        fprintf(stderr, "%s\n", hd_error());
    for (int i = 0; i < MAX_ARGS; i++)
        hd_drop(arg[i]), hd_drop(p.arg[i]);
    free(text);
    return status < 0 ? 2 : status;
}

int compare_command(const Options *o)
{
    int worst = 0;
    for (int k = 0; k < o->nfile; k++) {
        int status = compare_file(o, o->files[k]);
        worst = status > worst ? status : worst;
        fflush(stdout);
    }
    if (o->nfile > 1 && !o->json)
        printf("%d programs: %s\n", o->nfile, worst == 0 ? "all agree" : "not all agree");
    return worst;
}
