/*
 * compose.c - every pair and triple of transforms, and random chains of more, around random functions.
 *
 * In:  the rows of compose_rows.c, a seed. Out: a line for each composition that is wrong; last `N
 * compositions, N refused as they
 *      should be, N bad`. Exit code 1 if one is bad, 77 if the device is not there.
 * On the host, in f64: what a row makes of the composition inside it against calls of that. On a device:
 * many compositions in one program, in f32, against the host. What has no meaning must be refused with the
 * words of the row that cannot be passed.
 *      --random draws chains of three to six rows, of both tables, and judges each level by the one inside
 * it. A chain that is wrong is printed, and what is left of it when rows are taken away as long as it is.
 *
 *      compose [--device NAME] [--seed N] [--only a,b,c] [--every K [--part I]] [--random COUNT] [--verbose]
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compose.h"

static struct {
    const char *device, *only;
    uint64_t seed;
    int every, part, depth, random;
    bool verbose;
} option = { "host", NULL, 1, 1, 0, 3, 0, false };
static int judged, refused, bad;

enum { LEVELS = 6 };
/* f[0]: without transforms; from: the seed that all of it is drawn by */
typedef struct Chain {
    int n, row[LEVELS];
    uint64_t from, seed[LEVELS];
    Fun f[LEVELS + 1];
} Chain;

/* Both tables, one behind the other. */
static int row_count(void) { return count_of_all + count_drawn; }
static const Row *row_of(int k)
{
    return k < count_of_all ? &rows_of_all[k] : &rows_drawn[k - count_of_all];
}

static const char *chain_name(const Chain *c)
{
    static char text[16 * LEVELS];
    text[0] = 0;
    for (int k = 0; k < c->n; k++) {
        strcat(text, k ? "," : "");
        strcat(text, row_of(c->row[k])->name);
    }
    return text;
}

static void complain(const Chain *c, const char *what)
{
    printf("BAD %s, seed %llu: %s\n", chain_name(c), (unsigned long long)c->from, what);
    fflush(stdout);
    bad++;
}

/* ==================== what must be refused */

/* The words of the error that the outermost row must meet; NULL: it has a meaning. What reverse mode made of
 * a function has only what its rule says of the forward pass, so what is inside is passed by then. A rule
 * that goes forward does so before anything goes back, down to the bottom. */
static const char *refusal(const Chain *c)
{
    const Row *last = row_of(c->row[c->n - 1]);
    bool forward = last->is_forward, reverse = last->is_reverse;
    const char *back = NULL;
    for (int k = c->n - 2; k >= 0; k--) {
        const Row *r = row_of(c->row[k]);
        if (forward && r->forward)
            return r->forward;
        if (last->is_reverse && r->reverse && !back)
            back = r->reverse;
        forward = (forward && !r->is_reverse) || (r->rule_forward && (forward || reverse));
        reverse = reverse && !r->rule_forward;
    }
    return back ? back : last->never;
}

static bool has_words(const char *message, const char *words)
{
    for (const char *p = words; *p;) {
        char word[80];
        size_t n = strcspn(p, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        if (!strstr(message, word))
            return false;
        p += n + (p[n] == '|');
    }
    return true;
}

static void draw(uint64_t seed, int n, const hd_ints *shape, Value *x);

/* While it is traced, or at the latest when it is called. */
static void judge_refusal(const Chain *c, bool traced, const char *words)
{
    const Fun *f = &c->f[c->n];
    Value x[PARTS], y[PARTS];
    char text[1500];
    refused++;
    draw(1, traced ? f->nin : 0, f->in, x);
    bool ran = traced && fun_call(f, x, y);
    numbers_end();
    if (!ran && has_words(hd_error(), words))
        return;
    snprintf(text, sizeof text, "no error with the words %s: %s", words, ran ? "none at all" : hd_error());
    complain(c, text);
}

/* ==================== what it must give */

static void draw(uint64_t seed, int n, const hd_ints *shape, Value *x)
{
    for (int k = 0; k < n; k++) {
        x[k] = value_new(shape[k]);
        for (int64_t i = 0; i < elements(shape[k]); i++)
            x[k].v[i] = (double)(mixed(seed + (uint64_t)k * 1000, (uint64_t)i) >> 11) * 0x1p-52 - 1;
    }
}

/* NULL, or how they differ. */
static const char *differ(const Value *got, const Value *want, int n, double tolerance)
{
    static char text[200];
    for (int k = 0; k < n; k++) {
        if (got[k].shape.n != want[k].shape.n || elements(got[k].shape) != elements(want[k].shape)) {
            snprintf(text, sizeof text, "result %d has rank %d, not %d", k, got[k].shape.n, want[k].shape.n);
            return text;
        }
        for (int64_t i = 0; i < elements(want[k].shape); i++) {
            double a = got[k].v[i], b = want[k].v[i];
            if (fabs(a - b) <= tolerance * (1 + fabs(b)))
                continue;
            snprintf(
                text, sizeof text, "result %d, element %lld: %.12g instead of %.12g", k, (long long)i, a, b);
            return text;
        }
    }
    return NULL;
}

/* A quotient is wrong where the function bends much within a step, or where the step is lost in rounding: of
 * two steps one must be right. */
static const char *judge_with(const Chain *c, const Value *x, const Value *got, double step)
{
    const Row *r = row_of(c->row[c->n - 1]);
    Value want[PARTS];
    difference_step = step;
    if (!r->want(&c->f[c->n - 1], c->seed[c->n - 1], x, want))
        return hd_error();
    return differ(got, want, c->f[c->n].nout, r->differences ? 2e-7 : 1e-11);
}

/* At arguments that are drawn, or a little beside them. */
static const char *judge_at(const Chain *c, int beside)
{
    const Fun *f = &c->f[c->n];
    Value x[PARTS], d[PARTS], got[PARTS];
    draw(mixed(option.seed, 5), f->nin, f->in, x);
    draw(mixed(option.seed, 6), f->nin, f->in, d);
    for (int k = 0; k < f->nin; k++)
        for (int64_t i = 0; i < elements(f->in[k]); i++)
            x[k].v[i] += 0.01 * beside * d[k].v[i];
    const char *why = fun_call(f, x, got) ? judge_with(c, x, got, 1e-4) : hd_error();
    if (why && row_of(c->row[c->n - 1])->differences)
        why = judge_with(c, x, got, 1e-5);
    numbers_end();
    return why;
}

static void judge_value(const Chain *c)
{
    const char *why = judge_at(c, 0);
    judged++;
    if (why)
        complain(c, why);
}

/* ==================== devices: many in one program */

enum { TOGETHER = 12 };
typedef struct Batch { int64_t n; hd_fn *f[TOGETHER]; int64_t nin[TOGETHER]; } Batch;
static Batch batch;
static Chain waiting[TOGETHER];

static hd together(hd all, const void *env)
{
    const Batch *b = env;
    hd x[PARTS], y[TOGETHER];
    for (int64_t k = 0; k < b->n; k++) {
        for (int j = 0; j < b->nin[k]; j++)
            x[j] = hd_nth(hd_nth(all, (int)k), j);
        y[k] = hd_apply_n(b->f[k], x, (int)b->nin[k]);
    }
    return hd_tuple_n(y, (int)b->n);
}

static hd_array *arguments(void)
{
    hd_array *all[TOGETHER], *x[PARTS];
    for (int k = 0; k < batch.n; k++) {
        const Fun *f = &waiting[k].f[waiting[k].n];
        Value v[PARTS];
        draw(mixed(option.seed, 5), f->nin, f->in, v);
        for (int j = 0; j < f->nin; j++) {
            float *p = malloc(sizeof *p * (size_t)(elements(f->in[j]) + 1));
            for (int64_t i = 0; i < elements(f->in[j]); i++)
                p[i] = (float)v[j].v[i];
            x[j] = hd_array_new(HD_F32, f->in[j], p, NULL);
            free(p);
        }
        all[k] = hd_array_tuple_n(x, f->nin);
        numbers_end();
    }
    return hd_array_tuple_n(all, (int)batch.n);
}

static const char *unlike(const hd_array *got, const hd_array *want)
{
    static char text[100];
    for (int k = 0; k < hd_array_len(want); k++) {
        const float *a = hd_data(hd_array_nth(got, k)), *b = hd_data(hd_array_nth(want, k));
        double most = 1;
        int64_t n = hd_array_size(hd_array_nth(want, k));
        for (int64_t i = 0; i < n && b; i++)
            most = fmax(most, fabs((double)b[i]));
        for (int64_t i = 0; i < n; i++)
            if (!a || !b || !(fabs((double)a[i] - (double)b[i]) <= 5e-4 * most)) {
                snprintf(text, sizeof text, "result %d, element %lld: %.9g, on the host %.9g", k,
                    (long long)i, a ? (double)a[i] : NAN, b ? (double)b[i] : NAN);
                return text;
            }
    }
    return NULL;
}

static void run_batch(void)
{
    if (!batch.n)
        return;
    hd_fn *f = hd_bind(together, batch);
    hd_array *x = arguments(), *got = NULL, *want = NULL;
    int code = hd_call_n(hd_jit_n(f, &(hd_jit_opts){ .device = "host" }), &want, 1, &x, 1);
    code = code ? code : hd_call_n(hd_jit_n(f, &(hd_jit_opts){ .device = option.device }), &got, 1, &x, 1);
    for (int k = 0; k < batch.n; k++) {
        const char *why = code ? hd_error() : unlike(hd_array_nth(got, k), hd_array_nth(want, k));
        judged++;
        if (why)
            complain(&waiting[k], why);
    }
    hd_drop(x), hd_drop(got), hd_drop(want);
    hd_forget(f);
    batch = (Batch){ 0 };
}

static void judge_on_device(const Chain *c)
{
    const Fun *f = &c->f[c->n];
    batch.f[batch.n] = f->f, batch.nin[batch.n] = f->nin;
    waiting[batch.n++] = *c;
    if (batch.n == TOGETHER)
        run_batch();
}

/* ==================== all of them */

/* What cannot complain proves nothing. */
static void notices(void)
{
    Value a = value_new(HD_INTS(2)), b = value_new(HD_INTS(2)), c = value_new(HD_INTS(2, 1));
    b.v[1] = 1e-5;
    if (!differ(&a, &b, 1, 2e-7) || !differ(&a, &c, 1, 1) || has_words("a while loop", "while|max_trips"))
        printf("BAD compose itself\n"), bad++;
    numbers_end();
}

static bool wanted(const Chain *c)
{
    if (option.only)
        return !strcmp(option.only, chain_name(c));
    uint64_t id = 0;
    for (int k = 0; k < c->n; k++)
        id = 100 * id + (uint64_t)c->row[k] + 1;
    return mixed(option.seed, id) % (uint64_t)option.every == (uint64_t)option.part;
}

/* One more transform around what is there. The function at the bottom depends on the first. */
static void put_around(Chain *c, int row)
{
    Fun *f = &c->f[c->n + 1];
    if (!c->n) {
        c->from = option.seed;
        base_make(mixed(option.seed, (uint64_t)row), &c->f[0]);
        if (!fun_shapes(&c->f[0]))
            complain(c, hd_error());
    }
    c->row[c->n] = row;
    c->seed[c->n] = mixed(mixed(option.seed, (uint64_t)row), (uint64_t)(c->n ? c->row[c->n - 1] : 99));
    *f = (Fun){ 0 };
    row_of(row)->make(&c->f[c->n], c->seed[c->n], f);
    c->n++;
}

/* Does row k come around c? Those that are only drawn are in pairs, and in what is asked for by name. */
static bool enumerated(const Chain *c, int k)
{
    bool whole = k < count_of_all;
    for (int i = 0; i < c->n; i++)
        whole = whole && c->row[i] < count_of_all;
    return option.only || whole || c->n < 2;
}

/* ... and so on. */
static void compose(Chain *c, int row)
{
    put_around(c, row);
    const char *words = refusal(c);
    bool named = wanted(c),
         below = !option.only || !strncmp(option.only, chain_name(c), strlen(chain_name(c)));
    bool traced = (named || below) && fun_shapes(&c->f[c->n]), host = !strcmp(option.device, "host");
    if (named && option.verbose)
        printf("%s%s\n", chain_name(c), words ? " (refused)" : "");
    if (named && words && host)
        judge_refusal(c, traced, words);
    else if (named && !words && !traced)
        complain(c, hd_error());
    else if (named && !words && (c->n > 1 || option.only))
        (host ? judge_value : judge_on_device)(c);
    for (int k = 0; k < row_count() && c->n < option.depth && below && traced && !words; k++)
        if (enumerated(c, k))
            compose(c, k);
    c->n--;
}

/* ==================== random chains */

/* Beyond these a level takes too long for what it shows. */
static bool small(const Chain *c)
{
    const Fun *f = &c->f[c->n];
    int64_t in = 0, out = 0;
    for (int k = 0; k < f->nin; k++)
        in += elements(f->in[k]);
    for (int k = 0; k < f->nout; k++)
        out += elements(f->out[k]);
    return f->nin <= 10 && in <= 80 && out <= 1500;
}

/* Not traced, because it has more results than we count or more axes than arrays have. */
static bool beyond(const Chain *c)
{
    return c->f[c->n].nout > PARTS || strstr(hd_error(), "more than 16 axes");
}

/* Where a program jumps or has a corner, quotients are wrong; a fault is there on both sides of it. */
static const char *judge_around(const Chain *c)
{
    const char *why = judge_at(c, 0);
    return why && judge_at(c, 1) && judge_at(c, -1) ? why : NULL;
}

/* Is a chain of these rows wrong? */
static bool still_wrong(const int *row, int n, Chain *c)
{
    *c = (Chain){ 0 };
    for (int k = 0; k < n; k++) {
        put_around(c, row[k]);
        if (refusal(c))
            return false;
        if (!fun_shapes(&c->f[c->n]))
            return k == n - 1 && !beyond(c);
    }
    return judge_around(c) != NULL;
}

/* Rows are taken away, one at a time, while the rest stays wrong. */
static void shrink(const Chain *bad_one)
{
    Chain c, less = *bad_one;
    for (int k = 0; k < less.n - 1; k++) {
        int row[LEVELS], n = 0;
        for (int i = 0; i < less.n; i++)
            if (i != k)
                row[n++] = less.row[i];
        if (still_wrong(row, n, &c))
            less = c, k = -1;
    }
    printf("    compose --seed %llu --only %s\n", (unsigned long long)less.from, chain_name(&less));
}

/* false: the chain ends here. */
static bool draw_level(Chain *c, uint64_t *s)
{
    for (int tries = 0; tries < 20; tries++) {
        *s = mixed(*s, 3);
        put_around(c, (int)(*s >> 33) % row_count());
        const char *words = refusal(c), *why = NULL;
        bool traced = fun_shapes(&c->f[c->n]), host = !strcmp(option.device, "host");
        if (words && host)
            judge_refusal(c, traced, words);
        if (words || (traced ? !small(c) : beyond(c))) {
            c->n--;
            continue;
        }
        judged += host;
        why = !traced ? hd_error() : host ? judge_around(c) : NULL;
        if (why) {
            complain(c, why);
            shrink(c);
        }
        return !why;
    }
    return false;
}

static void draw_chain(uint64_t seed)
{
    Chain c = { 0 };
    int depth = 3 + (int)(mixed(seed, 1) >> 33) % (LEVELS - 2);
    uint64_t s = option.seed, was = option.seed;
    s = option.seed = seed;
    while (c.n < depth && draw_level(&c, &s))
        continue;
    if (option.verbose)
        printf("%s, seed %llu\n", chain_name(&c), (unsigned long long)seed);
    if (c.n && strcmp(option.device, "host"))
        judge_on_device(&c);
    option.seed = was;
}

static void unread(const char *line, void *user) { (void)line, (void)user; }

static const char usage[] =
    "Usage: compose [OPTION...]\nEvery pair and triple of transforms around random functions.\n"
    "  -d, --device NAME   where to run: host, opencl:0 ... (host)\n"
    "  -s, --seed N        of functions, values, axes and options (1)\n"
    "  -o, --only A,B,C    this one: rows from the innermost\n"
    "  -e, --every K       about one of K\n"
    "  -p, --part I        which of those K parts: 0 ... K - 1 (0)\n"
    "  -n, --depth N       up to so many transforms, at most six (3)\n"
    "  -r, --random N      so many chains of three to six instead\n"
    "  -v, --verbose       each before it is run\n";

static bool parse_options(int argc, char **argv)
{
    static const struct option known[] = { { "device", 1, NULL, 'd' }, { "seed", 1, NULL, 's' },
        { "only", 1, NULL, 'o' }, { "every", 1, NULL, 'e' }, { "part", 1, NULL, 'p' },
        { "depth", 1, NULL, 'n' }, { "random", 1, NULL, 'r' }, { "verbose", 0, NULL, 'v' }, { 0 } };
    for (int key; (key = getopt_long(argc, argv, "d:s:o:e:p:n:r:v", known, NULL)) != -1;)
        switch (key) {
        case 'd': option.device = optarg; break;
        case 's': option.seed = strtoull(optarg, NULL, 10); break;
        case 'o':
            option.only = optarg, option.depth = LEVELS;
            break;
        case 'e': option.every = atoi(optarg); break;
        case 'p': option.part = atoi(optarg); break;
        case 'n': option.depth = atoi(optarg); break;
        case 'r':
            option.random = atoi(optarg);
            break;
        case 'v': option.verbose = true; break;
        default: return false;
        }
    return optind == argc && option.every > 0 && option.part >= 0 && option.part < option.every &&
        option.depth > 0 && option.depth <= LEVELS;
}

int main(int argc, char **argv)
{
    if (!parse_options(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!hd_default_device(option.device)) {
        printf("%s\n0 compositions, 0 refused as they should be, 0 bad\n", hd_error());
        return 77;
    }
    notices();
    hd_debug_print_to(unread, NULL);
    for (int k = 0; k < option.random; k++)
        draw_chain(mixed(option.seed, (uint64_t)k));
    for (int a = 0; a < row_count() && !option.random; a++) {
        Chain c = { 0 };
        compose(&c, a);
    }
    run_batch();
    if (hd_live())
        printf("%lld arrays are left alive\n", (long long)hd_live()), bad++;
    printf("%d compositions, %d refused as they should be, %d bad\n", judged, refused, bad);
    return bad || !(judged + refused);
}
