/*
 * fuzz_text.c - programs as text from strangers.
 *
 * In:  bytes. What is refused has an error; what is understood prints as text that means the same graph, is
 * well-formed without dead
 *      code, and, where it is little work, gives on the host the same results with and without it.
 * Seeds: the programs of tests/ir, and for each row of the op table the graphs of its laws.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "fuzz_target.h"
#include "laws.h"

enum { WORK_MOST = 20000, ARGS_MOST = 64 };

#ifdef HEDDLE_FUZZ
_Noreturn void fuzz_wrong(const char *format, ...)
{
    fprintf(stderr, "%s\n", format);
    abort();
}
#endif

/* ==================== is it little work? */

/* Elements touched, at most; infinite for loops that say themselves when they end. */
static double work(const Graph *g)
{
    double sum = 1;
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        double size = 0, product = 1, bodies = 0;
        for (int k = 0; k < i->nout; k++)
            size += (double)type_size(&g->type[i->out + (Ref)k]);
        for (int k = 0; k < i->nin; k++) {
            double s = 1 + (double)type_size(&g->type[i->in[k]]);
            size += s;
            product *= i->nin < 4 ? s : 1;
        }
        for (int k = 0; k < i->nsub; k++)
            bodies += work(i->sub[k]);
        for (int l = 0; i->region && l < i->region->nlane; l++)
            bodies *= 1 + (double)i->region->lane[l].size;
        if (i->region && i->region->kind == WHILE)
            return 1e300;
        if (i->region && i->region->kind == SCAN)
            bodies *= 1 + (double)i->region->length;
        sum += size + bodies + (i->op == OP_region ? 0 : product);
    }
    for (int v = 1; v < g->nval; v++)           /* sizes of zero hide large ones */
        for (int d = 0; d < g->type[v].rank; d++)
            sum += (double)g->type[v].dim[d];
    return sum;
}

/* ==================== values on the host */

static Device *host(void)
{
    static Device *d;
    return d ? d : (d = host_backend.open(0));
}

static Mem *argument(const Type *t)
{
    Mem *m = NULL;
    size_t bytes = type_bytes(t);
    char *data = calloc(1, bytes + 16);
    for (int64_t k = 0; k < type_size(t); k++) {
        char *at = data + (size_t)k * dtype_size((Dtype)t->dt);
        if (dtype_float((Dtype)t->dt) || t->dt == DT_C64 || t->dt == DT_C128)
            dtype_store_f((Dtype)t->dt, at, (double)(k * 37 % 19) / 4 - 2);
        else
            dtype_store_i((Dtype)t->dt, at, k * 37 % 19 - 4);
    }
    if (host_backend.alloc(host(), bytes, &m) || (bytes && host_backend.write(m, 0, data, bytes)))
        fuzz_wrong("no memory");
    free(data);
    return m;
}

/* 0, or what the run was refused with. */
static int evaluate(const Graph *g, Mem **in, Mem **out)
{
    Exec *x = host_backend.build_graph(host(), g);
    if (!x)
        return (int)error_code();
    int e = host_backend.run(x, g->nin, in, g->nout, out);
    host_backend.drop(x);
    return e;
}

static void compare(const Graph *g, const Graph *d)
{
    Mem *in[ARGS_MOST], *a[ARGS_MOST] = { 0 }, *b[ARGS_MOST] = { 0 };
    for (int k = 0; k < g->nin; k++)
        in[k] = argument(&g->type[g->in[k]]);
    int e = evaluate(g, in, a);
    if (e && !error_pending())
        fuzz_wrong("not evaluated, without an error");
    error_clear();
    if (evaluate(d, in, b) && !e)
        fuzz_wrong("refused once dead code is gone");
    error_clear();
    for (int k = 0; k < g->nout && !e; k++)
        if (memcmp(host_backend.map(a[k]), host_backend.map(b[k]), type_bytes(&g->type[g->out[k]])))
            fuzz_wrong("another result once dead code is gone");
    for (int k = 0; k < g->nout; k++)
        for (int i = 0; i < 2; i++)
            if (i ? b[k] : a[k])
                mem_drop(i ? b[k] : a[k]);
    for (int k = 0; k < g->nin; k++)
        mem_drop(in[k]);
}

/* ==================== a text */

static char *printed(const Graph *g)
{
    Text t = { 0 };
    graph_print(g, &t);
    return text_take(&t);
}

static void understood(const Graph *g)
{
    char *a = printed(g);
    Graph *h = graph_parse(a, "printed");
    if (!h)
        fuzz_wrong("what was printed is refused");
    char *b = printed(h);
    if (strcmp(a, b) || !graph_equal(g, h))
        fuzz_wrong("what was printed means another program");
    free(a), free(b);
    Graph *d = graph_dce(g);
    if (!d || graph_check(d))
        fuzz_wrong("damaged by taking out dead code");
    if (g->nin <= ARGS_MOST && g->nout <= ARGS_MOST && work(g) < WORK_MOST)
        compare(g, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    Arena *arena = arena_new(), *before = arena_use(arena);
    memcpy(text, data, size);
    text[size] = 0;
    error_clear();
    Graph *g = graph_parse(text, "fuzz");
    if (!g != error_pending())
        fuzz_wrong(g ? "understood, with an error" : "refused without an error");
    if (g)
        understood(g);
    arena_use(before);
    arena_drop(arena);
    free(text);
    return 0;
}

/* ==================== what to begin with */

Ints dims_(int n, const int64_t *v) { return ints_of(v, n); }
bool may(Dtype dt) { return (void)dt, true; }
static Ref result[ARGS_MOST];
static int nresult;
void out(Ref r) { if (nresult < ARGS_MOST) result[nresult++] = r; }
Ref in(Dtype dt, Kind kind, int64_t limit, Ints shape)
{
    Type t = type_of(dt, shape.n, shape.v);
    return (void)kind, (void)limit, graph_input(t, 0);
}
Ref in_again(Ref v) { return graph_input(*typ(v), 0); }

static void law_seed(Op op, int variant, FuzzTake *take)
{
    static const Dtype prefer[] = { DT_F32, DT_I32, DT_BOOL, DT_F64, DT_U32 };
    const Law *law = &law_table[op];
    for (size_t k = 0; k < sizeof prefer / sizeof *prefer; k++)
        if (law->dtypes >> prefer[k] & 1) {
            Arena *arena = arena_new(), *before = arena_use(arena);
            Graph *g = graph_begin(graph_new());
            nresult = 0;
            law->make(op, prefer[k], variant);
            graph_outputs(result, nresult);
            graph_end();
            char *s = printed(g);
            if (!error_pending() && strlen(s) < 3000)
                take(s, strlen(s));
            error_clear();
            free(s);
            arena_use(before);
            arena_drop(arena);
            return;
        }
}

void fuzz_seeds(const char *folder, FuzzTake *take)
{
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d)); ) {
        char path[4096], text[1 << 14];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = strstr(e->d_name, ".hd") ? fopen(path, "r") : NULL;
        if (!f)
            continue;
        take(text, fread(text, 1, sizeof text, f));
        fclose(f);
    }
    if (d)
        closedir(d);
    for (int op = 1; op < OP_COUNT; op++)
        for (int v = 0; v < law_table[op].variants && v < 3; v++)
            law_seed((Op)op, v, take);
}

void fuzz_words(FuzzTake *take)
{
    static const char *const more[] = { "f32[", "i32[", "bool[]", "f16[2]", "c64[1]", "u64[0]", "f32[2,3]",
        "()", "->", "lanes(2:\"i\")", "in(=|+)", "out(|)", "cap=1", "acc=1", "carry=1", "length=2",
        "reverse", "remat", "split", "linear", "fn f(", "ret ", "= region scan ", "= region while ",
        "= region cond ", "= region call ", "x0 ", "v1 ", "@\"a\":1", "0x7fc00001", "nan", "-inf", "{", "}",
        "'", "+", "|" };
    for (int op = 1; op < OP_COUNT; op++) {
        take(optab[op].name, strlen(optab[op].name));
        char word[64];
        for (const AttrWord *w = optab[op].attrs; w->word; w++) {
            int n = snprintf(word, sizeof word, " %s=", w->word);
            take(word, (size_t)n);
        }
    }
    for (size_t k = 0; k < sizeof more / sizeof *more; k++)
        take(more[k], strlen(more[k]));
}
