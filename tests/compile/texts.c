/*
 * texts.c - the text of plans and kernels, a file a program, for comparing two builds: `tools/texts` says
 * how.
 *
 * In:  a folder; names of programs (none: all). Out: NAME.cpu and NAME.gpu there, as the scheduler plans for
 * a processor and for a
 *      gpu. Programs are the workloads of bench/ at their full size, and for each row of the op table and
 *      dtype its cases in one.
 * Nothing is compiled or run, and no device is needed. Slots, kernels and values are numbered in the order
 * in which the text has them, and there are no lines of the user: the same plan and kernels give the same
 * bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#undef HD_PLAIN
#include "workloads.h"
#include "laws.h"

typedef struct Shape { const char *name; Target target; } Shape;
static const Shape shapes[] = {
    { "cpu", { .f64 = true, .i64 = true, .f16 = true, .max_alloc = INT64_C(1) << 32 } },
    { "gpu",
        { .machine = &machine_gpu, .f64 = true, .i64 = true, .f16 = true, .max_alloc = INT64_C(1) << 32 } },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const char *folder;
static char **only;                             /* names; NULL: all */
static int failed, written;

static bool wanted(const char *name)
{
    bool found = !*only;
    for (char **n = only; *n && !found; n++)
        found = !strcmp(*n, name);
    return found;
}

static void complain(const char *name, const char *what)
{
    fprintf(stderr, "texts: %s: %s\n", name, what);
    failed++;
}

/* ==================== names become numbers */

typedef struct Names { const char **name; int n, cap; } Names;

static int number_of(const Names *s, const char *word, size_t n)
{
    for (int k = 0; k < s->n; k++)
        if (!strncmp(s->name[k], word, n) && !s->name[k][n])
            return k;
    return -1;
}

static void name_add(Names *s, const char *name)
{
    if (name && number_of(s, name, strlen(name)) < 0)
        PUSH(s->name, s->n, s->cap, name);
}

static void names_of(const Plan *p, Names *slot, Names *step)
{
    for (int k = 0; k < p->nslot; k++)
        name_add(slot, p->slot[k].name);
    for (int k = 0; k < p->nstep; k++) {
        const Step *s = &p->step[k];
        name_add(step, s->kernel ? s->kernel->name : s->kind == S_EXCHANGE ? NULL : s->note);
        for (int b = 0; b < s->nbody; b++)
            names_of(s->body[b], slot, step);
    }
}

static bool part_of_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Writes text with each word that rename knows replaced: it prints the new one, or gives false. */
static void print_renamed(
    const char *text, bool (*rename)(void *, const char *word, size_t n, FILE *), void *ctx, FILE *f)
{
    for (const char *s = text; s && *s; ) {
        size_t n = 0;
        while (part_of_word(s[n]))
            n++;
        if (!n || !rename(ctx, s, n, f))
            fwrite(s, 1, n ? n : 1, f);
        s += n ? n : 1;
    }
}

typedef struct PlanNames { Names slot, step; } PlanNames;

static bool rename_in_plan(void *ctx, const char *word, size_t n, FILE *f)
{
    const PlanNames *p = ctx;
    int slot = number_of(&p->slot, word, n), step = slot < 0 ? number_of(&p->step, word, n) : -1;
    if (slot >= 0)
        fprintf(f, "s%d", slot);
    else if (step >= 0)
        fprintf(f, "k%d", step);
    return slot >= 0 || step >= 0;
}

static void print_plan(const Plan *p, FILE *f)
{
    PlanNames names = { 0 };
    Text t = { 0 };
    names_of(p, &names.slot, &names.step);
    plan_print(p, &t);
    print_renamed(t.s, rename_in_plan, &names, f);
    text_free(&t);
}

/* Values of a kernel are numbered as they first occur, not as they were made. */
typedef struct Values { int *of, n, nval; } Values;

static bool rename_in_kernel(void *ctx, const char *word, size_t n, FILE *f)
{
    Values *v = ctx;
    char *end;
    long k = word[0] == 'v' && n > 1 ? strtol(word + 1, &end, 10) : 0;
    if (k <= 0 || k >= v->nval || end != word + n)
        return false;
    if (!v->of[k])
        v->of[k] = ++v->n;
    fprintf(f, "v%d", v->of[k]);
    return true;
}

static void print_kernel(const Kernel *k, FILE *f)
{
    Text t = { 0 };
    Values v = { NEWS(int, k->nins), 0, k->nins };
    k_dump_plain(k, &t);
    print_renamed(t.s, rename_in_kernel, &v, f);
    text_free(&t);
}

/* ==================== a program */

static void print_program(const Plan *p, FILE *f)
{
    Kernel **k;
    int n;
    print_plan(p, f);
    plan_kernels(p, &k, &n);
    for (int i = 0; i < n; i++)
        print_kernel(k[i], f);
}

static void write_text(const char *name, const Graph *g, const Shape *shape)
{
    const char *path = arena_text("%s/%s.%s", folder, name, shape->name);
    const Plan *p = plan_schedule(g, &shape->target);
    FILE *f = fopen(path, "w");
    if (!f) {
        complain(name, arena_text("cannot write %s", path));
        return;
    }
    if (p)
        print_program(p, f);
    else
        fprintf(f, "refused: %s\n", error_text());
    error_clear();
    if (fclose(f))
        complain(name, arena_text("cannot write %s", path));
    written++;
}

/* g as it comes from a trace. The plans of each shape are made from a graph of its own. */
static void write_texts(const char *name, const Graph *g)
{
    for (int k = 0; k < SHAPES; k++) {
        Effects none;
        const Graph *plain = graph_dce(graph_clone(g));
        plain = plain ? graph_without_rules(plain) : NULL;
        plain = plain ? graph_lift_effects(plain, &none) : NULL;
        if (!plain || error_pending()) {
            complain(name, error_text());
            error_clear();
            return;
        }
        write_text(name, plain, &shapes[k]);
    }
}

/* ==================== workloads */

static void workload(const Workload *w)
{
    hd_array *args[MAX_ARGS];
    const Tree *tree[MAX_ARGS];
    Entry e;
    int n = w->args(w->size, args);
    hd_fn *f = w->function(w->size);
    if (entry_begin(&e)) {
        complain(w->name, "no entry");
        return;
    }
    for (int i = 0; i < n; i++)
        tree[i] = array_tree(args[i]);
    const Traced *t = graph_of(f, tree_tuple(tree, n));
    Arena *a = arena_new(), *before = arena_use(a);
    if (t)
        write_texts(w->name, t->g);
    else
        complain(w->name, error_text());
    arena_use(before);
    arena_drop(a);
    entry_end(&e);
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
}

/* ==================== law programs: what laws_table.c builds with */

static Ref made[64];
static int nmade;

Ints dims_(int n, const int64_t *v) { return ints_of(v, n); }
bool may(Dtype dt) { return (void)dt, true; }
void out(Ref v) { made[nmade++] = v; }
Ref in(Dtype dt, Kind kind, int64_t limit, Ints shape)
{
    return (void)kind, (void)limit, graph_input(type_of(dt, shape.n, shape.v), 0);
}
Ref in_again(Ref v) { return graph_input(*typ(v), 0); }

static void law(const Law *l, Op op, Dtype dt)
{
    const char *name = arena_text("law.%s.%s", optab[op].name, dtype_name(dt));
    Ref result[512];
    int n = 0;
    if (!wanted(name))
        return;
    graph_begin(graph_new());
    for (int v = 0; v < l->variants; v++) {
        nmade = 0;
        l->make(op, dt, v);
        for (int k = 0; k < nmade && n < (int)(sizeof result / sizeof *result); k++)
            result[n++] = made[k];
    }
    graph_outputs(result, n);
    const Graph *g = graph_end();
    if (error_pending()) {
        complain(name, error_text());
        error_clear();
    } else
        write_texts(name, g);
}

static void laws(void)
{
    for (int op = 1; op < OP_COUNT; op++)
        for (int dt = DT_BOOL; dt <= DT_F64; dt++) {
            Arena *a = arena_new(), *before = arena_use(a);
            if (law_table[op].make && law_table[op].dtypes >> dt & 1)
                law(&law_table[op], (Op)op, (Dtype)dt);
            arena_use(before);
            arena_drop(a);
        }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: texts FOLDER [PROGRAM...]\n");
        return 2;
    }
    folder = argv[1], only = argv + 2;
    for (int i = 0; i < workload_count(); i++)
        if (workload_at(i)->function && wanted(workload_at(i)->name))
            workload(workload_at(i));
    laws();
    printf("%d texts in %s\n", written, folder);
    if (!written)
        fprintf(stderr, "texts: there is no such program\n");
    return failed || !written;
}
