/*
 * fuzz.c - random programs under random transforms, held to the laws that transforms obey.
 *
 * In:  seeds. A seed makes a random nest of straight code, scans, whiles, conds, calls over lanes, vmaps and
 *      checkpoints: a closed graph from three vectors to one. Random transforms around it give such a graph
 *      again.
 * Out: for every seed that breaks a law, the seed and the law. Laws:
 *      check     the verifier passes after every transform
 *      matrix    the matrix form computes what the lanes compute
 *      vmap      a batched graph computes, row by row, what the graph computes
 *      adjoint   <ct, jvp(t)> = <vjp(ct), t>
 *      primal    jvp and vjp give the function's own results
 *      slope     jvp is the limit of difference quotients (f64)
 *      text      what is printed parses to the same graph
 *      With --device NAME one law instead: the program, its derivatives and its lanes give on the device
 *      what they give on the host; with --bits also, in f32, bit by bit what the kernels of its plan give
 *      when they are read.
 *
 *      With --views: programs of views instead (fuzz_views.c), --many of them in one graph.
 *
 *      With --pmap: programs whose shards meet (fuzz_pmap.c), over these devices and as lanes; with --one
 *      each program is held to one law, in turn, not to all six: where compilers take their time.
 *
 *      fuzz [--seed N] [--count N] [--only LAW] [--verbose]
 *      fuzz [--bits | --views [--many N]] --device NAME [--seed N] [--count N] [--verbose]
 *      fuzz --pmap NAME,NAME [--one] [--seed N] [--count N]
 *      exit code: 1 if a law was broken, 77 if the device is not there
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "programs.h"

static Values values_random(Type t, Rng *r)
{
    Values a = values_new(t);
    for (int64_t k = 0; k < type_size(&t); k++)
        a.v[k] = normal(r);
    return a;
}

/* ==================== random transforms around them */

static const bool wrt_w[] = { true, false, false }, wrt_x[] = { false, true, false },
                  wrt_wx[] = { true, true, false };
static const bool wrt_all[] = { true, true, true };

/* The sum of sines of f: a scalar to be differentiated. */
static Graph *loss(const Graph *f)
{
    Args a = begin3();
    return end1(total(Sin(call(f, a.w, a.x, a.y))));
}

static Graph *grad(const Graph *f, const bool *wrt)
{
    const Graph *v = graph_vjp(loss(f), wrt);
    if (!v)
        return NULL;
    Args a = begin3();
    Ref z[4];
    graph_inline(v, (const Ref[]){ a.w, a.x, a.y, Const(real, 1) }, z);
    return end1(z[1]);
}

static Graph *tangent(const Graph *f)
{
    const Graph *j = graph_jvp(f, wrt_wx);
    if (!j)
        return NULL;
    Args a = begin3();
    Ref z[2];
    graph_inline(j, (const Ref[]){ a.w, a.x, a.y, a.y, a.w }, z);
    return end1(z[1]);
}

/* Rows of the Jacobian by vmap of the pullback, columns by vmap of the jvp; mixed together. */
static Graph *jacobians(const Graph *f)
{
    const Graph *j = graph_jvp(f, wrt_w), *p = graph_vjp(f, wrt_x);
    if (!j || !p)
        return NULL;
    Args a = begin3();
    const uint8_t states[] = { SHARED, SHARED, SHARED, STACKED };
    Type index = type_of(DT_I32, 2, (const int64_t[]){ N, N });
    Ref hit = Eq(Iota(index, 0), Iota(index, 1)), eye = Select(hit, Full(mat(), 1), Full(mat(), 0));
    const Ref in[] = { a.w, a.x, a.y, eye };
    Ref columns[2], rows[2];
    over_batch(j, in, states, N, columns);
    over_batch(p, in, states, N, rows);
    return end1(Sum(Mul(columns[1], Sin(rows[1])), axis(1)));
}

static Graph *wrap_vmap(Gen *g, const Graph *f)
{
    Args a = begin3();
    Ref z, all = outer(a.y, a.x);
    uint8_t states[3] = { SHARED, SHARED, SHARED };
    Ref in[] = { a.w, a.x, a.y };
    int some = 1 + pick(&g->r, 7);
    for (int k = 0; k < 3; k++)
        if (some >> k & 1)
            in[k] = Add(all, over_columns(in[k])), states[k] = STACKED;
    over_batch(f, in, states, N, &z);
    return end1(total(z));
}

static Graph *wrap(Gen *g, Graph *f, int n)
{
    for (; f && n > 0; n--)
        switch (pick(&g->r, g->forward_only ? 3 : 6)) {
        case 0: f = tangent(f); break;
        case 1: case 2: f = wrap_vmap(g, f); break;
        case 3: f = grad(f, wrt_x); break;
        case 4: f = grad(f, wrt_w); break;
        default: f = jacobians(f); break;
        }
    return f;
}

/* ==================== laws */

static FuzzOptions option = { .seed = 1, .count = 100, .many = 1 };
static char broken[4096];

static bool wanted(const char *law) { return !option.only || !strcmp(option.only, law); }

static bool fails(const char *law, const char *what)
{
    snprintf(broken, sizeof broken, "%s (%s)%s%s", law, what, error_pending() ? ": " : "", error_text());
    return false;
}

static double tolerance = 1e-8, rounding = 1e-12;       /* of results; a few roundings of arguments */

/* Does a change of the arguments by a few roundings change the results by more than the tolerance? Then they
 * prove nothing: nests of derivatives of loops can be as steep as they like. */
static bool too_steep(const Graph *g, const Values *in, const Values *out)
{
    Values *moved = NEWS(Values, g->nin), *z = NEWS(Values, g->nout);
    for (int k = 0; k < g->nin; k++) {
        moved[k] = values_new(in[k].t);
        for (int64_t j = 0; j < type_size(&in[k].t); j++)
            moved[k].v[j] = in[k].v[j] * (1 + (j % 2 ? rounding : -rounding));
    }
    return !evaluate(g, moved, z) && !all_same(z, out, g->nout, tolerance);
}

/* Evaluates g both ways. False: a law is broken. */
static bool lanes_and_matrix(const Graph *g, const char *what, const Values *in, Values *out)
{
    if (!g || graph_check(g))
        return fails("check", what);
    if (evaluate(g, in, out))
        return fails("run", what);
    if (!wanted("matrix"))
        return true;
    const Graph *m = graph_matrix(g);
    Values *got = NEWS(Values, g->nout);
    if (!m || graph_check(m) || graph_has_lanes(m))
        return fails("check", arena_text("matrix form of %s", what));
    if (evaluate(m, in, got))
        return fails("run", arena_text("matrix form of %s", what));
    for (int k = 0; k < g->nout; k++)
        if (!all_same(&got[k], &out[k], 1, tolerance) && !too_steep(g, in, out))
            return fails("matrix", arena_text("%s, result %d: %s", what, k, difference(got[k], out[k])));
    return true;
}

static double inner(Values a, Values b)
{
    double s = 0;
    for (int64_t k = 0; k < type_size(&a.t); k++)
        s += a.v[k] * b.v[k];
    return s;
}

/* Central differences. A program may bend or jump anywhere, so one of several step widths has to agree. */
static bool law_slope(const Graph *f, const Values *in, const Values *t, Values dz)
{
    double worst = 0;
    for (int64_t j = 0; j < type_size(&dz.t); j++)
        if (!(fabs(dz.v[j]) < 1e3))             /* too steep for difference quotients */
            return true;
    for (double h = 1e-3; h > 1e-8; h /= 10) {
        Values moved[3], up, down;
        for (int way = 1; way >= -1; way -= 2) {
            for (int k = 0; k < 3; k++) {
                moved[k] = values_new(in[k].t);
                for (int64_t j = 0; j < type_size(&in[k].t); j++)
                    moved[k].v[j] = in[k].v[j] + way * h * t[k].v[j];
            }
            if (evaluate(f, moved, way > 0 ? &up : &down))
                return fails("run", "moved arguments");
        }
        for (int64_t j = 0; j < type_size(&dz.t); j++)
            up.v[j] = (up.v[j] - down.v[j]) / (2 * h);
        if (same(up.v, dz.v, type_size(&dz.t), 2e-5))
            return true;
        worst = up.v[0];
    }
    return fails("slope", arena_text("jvp %g, difference quotient %g", dz.v[0], worst));
}

static bool law_vmap(const Graph *f, Rng *r)
{
    Lane lane = { 2, NULL, NULL };
    uint8_t states[3], out = STACKED;
    Values in[3], one[3], all, single;
    for (int k = 0; k < 3; k++) {
        states[k] = (uint8_t)pick(r, 2);
        Type t = vec();
        in[k] = values_random(states[k] ? type_add_lead(&t, lane.size) : t, r);
    }
    const Graph *g = graph_batch(f, states, &out, &lane, false, false);
    if (!lanes_and_matrix(g, "vmap", in, &all))
        return false;
    for (int64_t n = 0; n < lane.size; n++) {
        for (int k = 0; k < 3; k++)
            one[k] = (Values){ vec(), in[k].v + (states[k] ? n * N : 0) };
        if (evaluate(f, one, &single))
            return fails("run", "one lane");
        if (!same(all.v + n * N, single.v, N, tolerance))
            return fails("vmap", "a lane differs");
    }
    return true;
}

static bool law_text(const Graph *f)
{
    Text text = { 0 };
    graph_print(f, &text);
    const Graph *again = graph_parse(text.s, "printed");
    bool ok = again && graph_equal(f, again);
    text_free(&text);
    return ok || fails("text", "print and parse");
}

static bool laws_forward(const Graph *f, Rng *r, const Values *in, Values z, Values *t, Values *dz)
{
    Values all[6], jz[2];
    const Graph *j = graph_jvp(f, wrt_all);
    for (int k = 0; k < 3; k++) {
        t[k] = values_random(vec(), r);
        all[k] = in[k], all[3 + k] = t[k];
    }
    if (!lanes_and_matrix(j, "jvp", all, jz))
        return false;
    if (!all_same(jz, &z, 1, tolerance))
        return fails("primal", "jvp");
    *dz = jz[1];
    return !wanted("slope") || law_slope(f, in, t, *dz);
}

static bool laws_reverse(const Graph *f, Rng *r, const Values *in, Values z, const Values *t, Values dz)
{
    Values all[4] = { in[0], in[1], in[2], values_random(vec(), r) }, back[4];
    if (!lanes_and_matrix(graph_vjp(f, wrt_all), "vjp", all, back))
        return false;
    if (!all_same(back, &z, 1, tolerance))
        return fails("primal", "vjp");
    double there = inner(all[3], dz), here = 0, scale = 0;
    for (int k = 0; k < 3; k++) {
        here += inner(back[k + 1], t[k]);
        scale += sqrt(inner(back[k + 1], back[k + 1]) * inner(t[k], t[k]));
    }
    if (wanted("adjoint") && !near(there, here, scale, 1e-7))
        return fails("adjoint", arena_text("%.17g and %.17g", there, here));
    const Graph *w = wrap_vmap(&(Gen){ .r = *r }, f);   /* grad of vmap, vmap of grad of vmap */
    const Graph *g = grad(w, wrt_x);
    return lanes_and_matrix(g, "grad of vmap", in, back)
        && lanes_and_matrix(wrap_vmap(&(Gen){ .r = *r }, g), "vmap of grad of vmap", in, back);
}

static bool refuses_reverse(const Graph *f)
{
    Graph *v = graph_vjp(f, wrt_all);
    bool ok = v || (error_code() == E_DIFF && strstr(error_text(), "while"));
    error_clear();
    return ok || fails("check", "reverse mode through a while gives its error");
}

/* ==================== the host and a device */

/* NULL: laws on the host; whose bits are the kernels' own, if they are asked for */
static Device *other, *reader;

static bool same_bits(const Values *a, const Values *b)
{
    for (int64_t j = 0; j < type_size(&a->t); j++)
        if (!(a->v[j] == b->v[j] && signbit(a->v[j]) == signbit(b->v[j])) &&
            !(isnan(a->v[j]) && isnan(b->v[j])))
            return false;
    return true;
}

/* The plan that the other device gets, read: what its printer and its compiler made of it gives the same
 * bits. */
static bool bits_of_kernels(const Graph *g, const char *what, const Values *in, const Values *got)
{
    Values *read = NEWS(Values, g->nout);
    Device *host = device;
    DeviceInfo own = reader->info;
    reader->info = other->info, device = reader;
    int code = evaluate(graph_dce(g), in, read);
    reader->info = own, device = host;
    if (code)
        return fails("kernels", what);
    for (int k = 0; k < g->nout; k++)
        if (!same_bits(&got[k], &read[k]))
            return fails("kernels", arena_text("%s, result %d: %s", what, k, difference(got[k], read[k])));
    return true;
}

static bool same_on_device(const Graph *g, const char *what, const Values *in)
{
    if (!g)
        return fails("check", what);
    Values *want = NEWS(Values, g->nout), *got = NEWS(Values, g->nout);
    Device *host = device;
    if (evaluate(g, in, want))
        return fails("run", what);
    device = other;
    int code = evaluate(graph_dce(g), in, got);
    device = host;
    if (code)
        return fails("device", what);
    for (int k = 0; k < g->nout; k++)
        if (!all_same(&got[k], &want[k], 1, tolerance) && !too_steep(g, in, want))
            return fails("device", arena_text("%s, result %d: %s", what, k, difference(got[k], want[k])));
    return !reader || bits_of_kernels(g, what, in, got);
}

static bool laws_on_device(const Graph *f, bool forward_only, const Values *in, Rng *r)
{
    static const uint8_t states[] = { STACKED, SHARED, STACKED };
    const Lane lane = { 2, NULL, NULL };
    const uint8_t out = STACKED;
    Values all[6], many[3];
    for (int k = 0; k < 3; k++) {
        Type t = vec();
        all[k] = in[k], all[3 + k] = values_random(t, r);
        many[k] = states[k] ? values_random(type_add_lead(&t, lane.size), r) : in[k];
    }
    return same_on_device(f, "the program", in)
        && same_on_device(graph_jvp(f, wrt_all), "jvp", all)
        && (forward_only || same_on_device(graph_vjp(f, wrt_all), "vjp", all))
        && same_on_device(graph_batch(f, states, &out, &lane, false, false), "vmap", many);
}

static bool try_seed(uint64_t seed)
{
    Gen g = { .r = { seed * 0x9E3779B97F4A7C15u + 1 } };
    g.forward_only = pick(&g.r, 10) < 3;
    int depth = 1 + pick(&g.r, 3), around = pick(&g.r, 3);
    Graph *f = wrap(&g, random_program(&g, depth), around);
    Rng r = { seed + 77 };
    Values in[3] = { values_random(vec(), &r), values_random(vec(), &r), values_random(vec(), &r) }, z, t[3],
           dz;
    if (!f || error_pending())
        return fails("check", "building the program");
    if (option.verbose) {
        Text text = { 0 };
        graph_print(f, &text);
        puts(text.s);
        text_free(&text);
    }
    if (other)
        return laws_on_device(f, g.forward_only, in, &r);
    return lanes_and_matrix(f, "the program", in, &z)
        && (!wanted("text") || law_text(f))
        && (!wanted("vmap") || law_vmap(f, &r))
        && laws_forward(f, &r, in, z, t, &dz)
        && (g.forward_only ? refuses_reverse(f) : laws_reverse(f, &r, in, z, t, dz));
}

/* ==================== the command */

static bool read_options(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        bool more = k + 1 < argc;
        if (!strcmp(argv[k], "--seed") && more)
            option.seed = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--count") && more)
            option.count = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--many") && more)
            option.many = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--only") && more)
            option.only = argv[++k];
        else if (!strcmp(argv[k], "--device") && more)
            option.device = argv[++k];
        else if (!strcmp(argv[k], "--pmap") && more)
            option.pmap = argv[++k];
        else if (!strcmp(argv[k], "--one"))
            option.one = true;
        else if (!strcmp(argv[k], "--bits"))
            option.bits = true;
        else if (!strcmp(argv[k], "--views"))
            option.views = true;
        else if (!strcmp(argv[k], "--verbose"))
            option.verbose = true;
        else
            return false;
    }
    return option.many > 0 && (!(option.views || option.bits) || option.device);
}

int main(int argc, char **argv)
{
    int bad = 0;
    if (!read_options(argc, argv)) {
        fprintf(stderr,
            "usage: fuzz [--seed N] [--count N] [--only LAW] [--verbose]\n"
            "       fuzz [--bits | --views [--many N]] --device NAME [--seed N] [--count N] [--verbose]\n"
            "       fuzz --pmap NAME,NAME [--one] [--seed N] [--count N]\n");
        return 2;
    }
    if (option.pmap)
        return pmap_agrees(option.seed, option.count, option.pmap, option.one);
    if (!device_use("host")) {
        fprintf(stderr, "%s\n", error_text());
        return 2;
    }
    if (option.device && !(other = device_find(option.device))) {
        printf("skipped: %s\n", error_text());
        return 77;
    }
    if (option.bits && !(reader = device_find("kernel"))) {
        fprintf(stderr, "%s\n", error_text());
        return 2;
    }
    /* f64 has no functions there, and nowhere functions of ours */
    if (other && (reader || !other->info.has_f64 || !strcmp(other->info.kind, "vulkan")))
        real = DT_F32, tolerance = 2e-3, rounding = 1e-6;
    for (int64_t seed = option.seed; !option.views && seed < option.seed + option.count; seed++) {
        Arena *arena = arena_new(), *before = arena_use(arena);
        error_clear();
        if (!try_seed((uint64_t)seed)) {
            printf("seed %lld: %s\n", (long long)seed, broken);
            fflush(stdout);
            bad++;
        }
        arena_use(before);
        arena_drop(arena);
    }
    if (option.views)
        bad = views_agree(&option, device, other);
    device_close_all();
    printf("%lld programs from seed %lld, %d bad\n", (long long)option.count, (long long)option.seed, bad);
    return bad > 0;
}
