/*
 * test_verify.c - the verifiers between the stages: what is right passes, and each mistake is found and
 * named.
 *
 * In:  plans, specifications, prepared graphs, SPIR-V and OpenCL C of small programs, and the same with one
 * thing broken. No device is needed.
 */
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "graph.h"
#include "opencl_c.h"
#include "schedule.h"
#include "spirv.h"
#include "suite_run.h"

static const Target cpu = { .f64 = true, .i64 = true, .f16 = true, .max_alloc = INT64_C(1) << 32 };

static const char products[] =
    "fn products(x0: f32[512,512]) -> f32[512,512], f32[512,512] {\n"
    "    v1: f32[512,512] = dot x0 x0 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() dtype=f32\n"
    "    v2: f32[512,512] = dot v1 x0 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() dtype=f32\n"
    "    v3: f32[512,512] = dot v2 v1 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() dtype=f32\n"
    "    v4: f32[512,512] = dot v3 v2 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() dtype=f32\n"
    "    ret v3, v4\n"
    "}\n";

static const char loop[] = "fn loop(x0: f32[64,64], x1: f32[64,64]) -> f32[64,64] {\n"
                           "    v2: f32[64,64] = region scan x0 x1 cap=1 acc=0 carry=1 length=9 {\n"
                           "        fn step(x0: f32[64,64], x1: f32[64,64]) -> f32[64,64] {\n"
                           "            v2: f32[64,64] = dot x0 x1 lhs_contract=1 rhs_contract=0 "
                           "lhs_batch=() rhs_batch=() dtype=f32\n"
                           "            v3: f32[64,64] = dot v2 v2 lhs_contract=1 rhs_contract=0 "
                           "lhs_batch=() rhs_batch=() dtype=f32\n"
                           "            ret v3\n"
                           "        }\n"
                           "    }\n"
                           "    ret v2\n"
                           "}\n";

static Plan *plan_of(const char *text)
{
    Graph *g = graph_parse(text, "program");
    ck_assert_msg(g != NULL, "%s", error_text());
    Plan *p = plan_schedule(graph_dce(g), &cpu);
    ck_assert_msg(p != NULL, "%s", error_text());
    ck_assert_msg(plan_check(p) == 0, "%s", error_text());
    return p;
}

static void noticed(int code, const char *what)
{
    ck_assert_msg(code != 0, "not noticed: %s", what);
    ck_assert_msg(strstr(error_text(), what) != NULL, "not \"%s\" but: %s", what, error_text());
    error_clear();
}

static Slot *temporary(Plan *p, int n)
{
    for (int k = 0; k < p->nslot; k++)
        if (p->slot[k].kind == SLOT_TEMP && p->slot[k].bytes && !n--)
            return &p->slot[k];
    ck_abort_msg("the plan has fewer temporaries");
}

static Step *launch(Plan *p, int n)
{
    for (int k = 0; k < p->nstep; k++)
        if (p->step[k].kind == S_LAUNCH && !n--)
            return &p->step[k];
    ck_abort_msg("the plan has fewer launches");
}

static Step *last_step(Plan *p, StepKind kind)
{
    for (int k = p->nstep - 1; k >= 0; k--)
        if (p->step[k].kind == kind)
            return &p->step[k];
    ck_abort_msg("the plan has no such step");
}

START_TEST(plans)
{
    Plan *p = plan_of(products);
    temporary(p, 0)->offset = temporary(p, 1)->offset;
    noticed(plan_check(p), "overlap");
    p = plan_of(products), temporary(p, 0)->offset += 4;
    noticed(plan_check(p), "not in the arena");
    p = plan_of(products), temporary(p, 1)->offset = p->bytes;
    noticed(plan_check(p), "not in the arena");
    p = plan_of(products), p->slot[0].bytes--;
    noticed(plan_check(p), "elements of f32");
    p = plan_of(products), p->slot[0].index = 7;
    noticed(plan_check(p), "number 7");
    p = plan_of(products), p->alias[1] = -2 - 1;
    noticed(plan_check(p), "not there");
    p = plan_of(products), p->alias[0] = 0;
    noticed(plan_check(p), "a result that is something else");
    p = plan_of(products), p->nstep--;
    noticed(plan_check(p), "never written");
    p = plan_of(products);
    const Step first = *launch(p, 0);
    *launch(p, 0) = *launch(p, 1), *launch(p, 1) = first;
    noticed(plan_check(p), "before it is written");
    p = plan_of(products);
    for (int k = 0; k < launch(p, 0)->kernel->nparam; k++)
        launch(p, 0)->kernel->written[k] = true;
    noticed(plan_check(p), "which is an argument");
}
END_TEST

START_TEST(steps)
{
    Plan *p = plan_of(loop);
    Step *s = last_step(p, S_LOOP);
    s->body[0]->narg = s->nin + 1;
    noticed(plan_check(p), "arguments");
    p = plan_of(loop), s = last_step(p, S_LOOP);
    for (int k = 0; k < s->body[0]->nslot; k++)
        if (s->body[0]->slot[k].kind == SLOT_ARG)
            s->body[0]->slot[k].size /= 2, s->body[0]->slot[k].bytes /= 2;
    noticed(plan_check(p), "binds");
    p = plan_of(loop), s = last_step(p, S_LOOP);
    p->slot[s->pong[0]].size /= 2, p->slot[s->pong[0]].bytes /= 2;
    noticed(plan_check(p), "cannot hold a carry");
    p = plan_of(loop), s = last_step(p, S_LOOP);
    temporary(s->body[0], 0)->offset = p->slot[s->pong[0]].offset;
    noticed(plan_check(p), "in use around it");
}
END_TEST

/* y = x + x over 8 x 64, as the scheduler would say it. */
typedef struct Made { Spec spec; Buffer x, y; MemRef *stored; } Made;

static Made *made(void)
{
    Made *m = NEW(Made);
    const int64_t dim[] = { 8, 64 };
    const Graph *g = graph_parse(
        "fn twice(x0: f32[8,64]) -> f32[8,64] {\n    v1: f32[8,64] = add x0 x0\n    ret v1\n}\n", "twice");
    const Atom *i = atom_var("i", 8, 0), *j = atom_var("j", 64, 0);
    m->x = (Buffer){ .name = "x", .dt = DT_F32, .size = 512, .slot = 0 };
    m->y = (Buffer){ .name = "y", .dt = DT_F32, .size = 512, .slot = 1 };
    m->stored = NEWS(MemRef, g->nval);
    m->stored[g->in[0]] = (MemRef){ &m->x, layout_natural(dim, 2) };
    Store *st = NEW(Store);
    *st = (Store){
        .v = g->out[0], .idx = { form_a(i), form_a(j) }, .nidx = 2, .to = { &m->y, layout_natural(dim, 2) }
    };
    m->spec = (Spec){ .kind = SPEC_LOOPS,
        .name = "k",
        .g = g,
        .stored = m->stored,
        .outer = { i, j },
        .nouter = 2,
        .vec = j,
        .block = { { i, 4 } },
        .nblock = 1,
        .store = st,
        .nstore = 1,
        .target = &cpu };
    ck_assert_msg(spec_check(&m->spec) == 0, "%s", error_text());
    return m;
}

static const Atom *i8(void) { return atom_var("i", 8, 0); }

/* A stage with the store, and a private row along an axis. */
static Stage rows_apart(const Atom *const along, int64_t apart)
{
    KeptRow *r = NEW(KeptRow);
    StoreLoop *l = NEW(StoreLoop);
    *r = (KeptRow){ .space = arena_copy(&along, sizeof along), .nspace = 1, .apart = apart };
    *l = (StoreLoop){ .store = NEWS(int, 1), .n = 1 };
    return (Stage){ .row = r, .nrow = 1, .loop = l, .nloop = 1 };
}

START_TEST(specs)
{
    const int64_t turned[] = { 64, 8 };
    form_open();
    const Atom *z = atom_var("z", 8, 0);
    Made *m = made();
    m->spec.kind = SPEC_SORT;
    noticed(spec_check(&m->spec), "kind");
    m = made(), m->spec.outer[1] = m->spec.outer[0];
    noticed(spec_check(&m->spec), "twice");
    m = made(), m->spec.vec = z;
    noticed(spec_check(&m->spec), "no outer one");
    m = made(), m->spec.block[0].a = z;
    noticed(spec_check(&m->spec), "copies of z");
    m = made(), m->spec.block[0].n = 0;
    noticed(spec_check(&m->spec), "0 copies");
    m = made(), m->spec.flat = z, m->spec.nflat = 2,
    memcpy(m->spec.flat_of, m->spec.outer, sizeof m->spec.flat_of);
    noticed(spec_check(&m->spec), "its digits 512");
    m = made(), m->spec.axis[0] = (OuterAxis){ i8(), 8, 4, 1, 1, 1, false }, m->spec.naxis = 1;
    noticed(spec_check(&m->spec), "1 blocks of 4");
    m = made(), m->spec.axis[0] = (OuterAxis){ i8(), 8, 4, 2, 3, 1, false }, m->spec.naxis = 1;
    noticed(spec_check(&m->spec), "takes 3");
    m = made(), m->spec.total = 1, m->spec.stage[0] = rows_apart(z, 3 * W);
    noticed(spec_check(&m->spec), "48 apart");
    m = made(), m->spec.store->to.buf = NULL;
    noticed(spec_check(&m->spec), "no memory");
    m = made(), m->y.dt = DT_I32;
    noticed(spec_check(&m->spec), "which is i32");
    m = made(), m->spec.store->nidx = 1;
    noticed(spec_check(&m->spec), "1 indices");
    m = made(), m->spec.store->idx[0] = form_a(z);
    noticed(spec_check(&m->spec), "depends on z");
    m = made(), m->spec.store->idx[1] = form_addc(m->spec.store->idx[1], 1);
    noticed(spec_check(&m->spec), "512] has 512");
    m = made(), m->spec.store->to.layout = layout_natural(turned, 2), m->y.size = 100;
    noticed(spec_check(&m->spec), "has 100");
    form_close();
}
END_TEST

START_TEST(prepared)
{
    static const char *const bad[][2] = {
        { "fn f(x0: f32[8]) -> i32[] {\n    v1: i32[] = argmax x0 axis=0 dtype=i32\n    ret v1\n}\n",
            "no kernel of its own" },
        { "fn f(x0: f16[8]) -> f16[] {\n    v1: f16[] = reduce_sum x0 axes=0\n    ret v1\n}\n",
            "half floats" },
        { "fn f(x0: f32[8]) -> u16[8,2] {\n    v1: u16[8,2] = bitcast x0 dtype=u16\n    ret v1\n}\n",
            "width" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        const Graph *g = graph_parse(bad[k][0], "program");
        ck_assert_msg(g != NULL, "%s", error_text());
        noticed(prepared_check(g), bad[k][1]);
        noticed(sealed_check(g), bad[k][1]);
        ck_assert_msg(prepared_check(prepare(g, &cpu)) == 0, "%s", error_text());
    }
}
END_TEST

static const Kernel *one_kernel(void)
{
    Kernel **list;
    int n;
    plan_kernels(plan_of("fn f(x0: f32[64,100]) -> f32[64] {\n    v1: f32[64,100] = exp x0\n"
                         "    v2: f32[64] = reduce_sum v1 axes=1\n    ret v2\n}\n"), &list, &n);
    ck_assert_int_eq(n, 1);
    return list[0];
}

/* Breaks one word of the first instruction of this opcode, then checks. */
static int spirv_with(const uint32_t *words, size_t n, uint32_t op, size_t word, uint32_t value)
{
    uint32_t *w = arena_copy(words, 4 * n);
    size_t at = 5;
    while (at < n && (w[at] & 0xFFFF) != op)
        at += w[at] >> 16;
    ck_assert(at < n);
    w[at + word] = value;
    return spirv_check("k", w, n);
}

static uint32_t result_of(const uint32_t *w, uint32_t op)
{
    w += 5;
    while ((w[0] & 0xFFFF) != op)
        w += w[0] >> 16;
    return w[2];
}

START_TEST(spirv)
{
    enum { LABEL = 248, BRANCH = 249, FMUL = 133, LOAD = 61 };
    const SpirvCaps caps = {
        .i64 = true, .f64 = true, .group = 8, .exact_div = { true, true }, .exact_sqrt = { true, true }
    };
    uint32_t *words;
    size_t n;
    int local;
    ck_assert_int_eq(spirv_write(one_kernel(), &caps, &words, &n, &local), 0);
    ck_assert_msg(spirv_check("k", words, n) == 0, "%s", error_text());
    noticed(spirv_with(words, n, FMUL, 3, words[3]), "bound");
    noticed(spirv_with(words, n, FMUL, 3, result_of(words, FMUL)), "before it is made");
    noticed(spirv_with(words, n, FMUL, 0, 4u << 16 | FMUL), "too few");
    noticed(spirv_with(words, n, FMUL, 0, 0), "length");
    noticed(spirv_with(words, n, LABEL, 0, 2u << 16 | BRANCH), "");
    noticed(spirv_with(words, n, LOAD, 2, 1), "again");
    noticed(spirv_check("k", words, 4), "header");
    Text t = { 0 };
    spirv_text("k", words, n, local, &t);
    ck_assert_msg(strstr(t.s, "EntryPoint 5 %2 \"main\"") && strstr(t.s, "= FMul %"), "%.300s", t.s);
    text_free(&t);
    free(words);
}
END_TEST

START_TEST(opencl)
{
    const OpenclCaps caps = { .f64 = true, .one_item = true };
    const Kernel *k = one_kernel();
    Text t = { 0 };
    ck_assert_int_eq(opencl_c_print(&k, 1, &caps, &t), 0);
    ck_assert_msg(opencl_c_check(t.s, &k, 1) == 0, "%s", error_text());
    char *value = strstr(t.s, "float16 v");
    while (value && (value[9] < '0' || value[9] > '9'))
        value = strstr(value + 1, "float16 v");
    ck_assert(value != NULL);
    memcpy(value, "+++++++", 7);                /* no type any more */
    noticed(opencl_c_check(t.s, &k, 1), "nowhere declared");
    memcpy(value, "float16", 7);
    *strrchr(t.s, '}') = ' ';
    noticed(opencl_c_check(t.s, &k, 1), "inside brackets");
    *strrchr(t.s, ';') = ')';
    noticed(opencl_c_check(t.s, &k, 1), "closes another");
    noticed(opencl_c_check("", &k, 1), "not there once");
    text_free(&t);
}
END_TEST

static Arena *arena, *before;
static void arena_in(void) { arena = arena_new(), before = arena_use(arena); }
static void arena_out(void) { arena_use(before), arena_drop(arena); }

int main(void)
{
    TCase *c = tcase_create("verifiers");
    tcase_add_checked_fixture(c, arena_in, arena_out);
    tcase_add_test(c, plans);
    tcase_add_test(c, steps);
    tcase_add_test(c, specs);
    tcase_add_test(c, prepared);
    tcase_add_test(c, spirv);
    tcase_add_test(c, opencl);
    Suite *s = suite_create("verify");
    suite_add_tcase(s, c);
    return suite_run(s);
}
