/*
 * misuse.c - what must be refused: the programs of errors.def, and the functions that they call.
 */
#include <stdlib.h>
#include <string.h>

#include "misuse.h"

#define ones(...)       hd_ones(HD_F32, __VA_ARGS__)
#define ints(n)         hd_iota(HD_I32, 0, n)
#define int_zeros(...)  hd_zeros(HD_I32, __VA_ARGS__)

#define LINEAR(F, S) F(w) F(b)
HD_STRUCT(linear, LINEAR);

/* ==================== functions of the cases */

static hd index_scalar(void) { return hd_index(hd_iota(HD_I32, 0, 3), 0, 1); }
static hd truth(void) { return hd_index(hd_gt(hd_ones(HD_F32, 2), hd_c(0)), 0, 1); }
static hd dict_wb(void) { return hd_dict({ "w", ones(3) }, { "b", ones(3) }); }
static hd add2(hd x, hd y) { return hd_add(x, y); }
static hd same(hd x) { return x; }
static hd holes(hd x) { return hd_sum(hd_max_pool(x, .window = HD_INTS(2), .dilation = HD_INTS(2))); }
static hd sine(hd x) { return hd_sin(x); }
static hd turned(hd x) { return hd_complex(hd_zeros_like(x), x); }
static hd twice(hd x) { return hd_mul(x, hd_c(2)); }
static hd pair(hd x) { return hd_tuple(x, x); }
static hd first(hd x, hd y) { return (void)y, x; }
static hd first_of_two(hd x, hd y) { return (void)y, x; }
static hd second_of_two(hd x, hd y) { return (void)x, y; }
static hd add2_and_nothing(hd x, hd y) { return hd_tuple(hd_add(x, y), hd_tuple_n(NULL, 0)); }
static hd sum_and_nothing(hd x) { return hd_tuple(hd_sum(x), hd_tuple_n(NULL, 0)); }
static hd sum_tangent(hd x, hd dx) { return hd_tuple(x, hd_sum(dx)); }
static hd sum_value(hd x, hd dx) { return hd_tuple(hd_sum(x), dx); }
static hd moving_value(hd x, hd dx) { return hd_tuple(hd_add(x, dx), dx); }
static hd curved(hd x, hd dx) { return hd_tuple(x, hd_mul(dx, dx)); }
static hd twice_of(hd y, hd x) { return hd_mul(y, x); }
static hd twice_of_jvp(hd y, hd x, hd dx) { return hd_tuple(hd_mul(y, x), hd_mul(y, dx)); }
static hd captured_rule(hd y)
{
    return hd_apply(hd_custom_jvp(hd_partial(twice_of, y), hd_partial(twice_of_jvp, y)), hd_full(hd_c(3)));
}
static hd constant(void) { return hd_c(1); }
static hd get_w(hd p) { return hd_get(p, "w"); }
static hd get_a(hd p) { return hd_get(p, "a"); }
static hd as_float(hd x) { return hd_cast(x, HD_F32); }
static hd as_int(hd x) { return hd_cast(x, HD_I32); }
static hd hd_sum_all(hd x) { return hd_sum(x); }
static hd below_ten(hd x) { return hd_lt(x, hd_c(10)); }
static hd below_three(hd x) { return hd_lt(x, hd_c(3)); }
static hd first_below_three(hd x) { return hd_lt(hd_index(x, 0, 0), hd_c(3)); }
static hd double_while(hd x) { return hd_while(below_ten, twice, x); }
static hd second(hd i, hd v) { return (void)i, v; }
static hd double_step(hd i, hd v) { return (void)i, hd_mul(v, hd_c(2)); }
static hd double_fori(hd x, hd n) { return hd_fori(hd_c(0), n, double_step, x); }
static hd next_to_two(hd x) { return hd_nextafter(x, hd_c(2)); }
static hd carry_int(hd c, hd x) { return hd_tuple(hd_cast(c, HD_I32), x); }
static hd carry_grows(hd c, hd x) { return hd_tuple(hd_concatenate(0, c, c), x); }
static hd carry_pair(hd c, hd x) { return hd_tuple(hd_tuple(c, c), x); }
static hd carry_first(hd c, hd x) { return hd_tuple(c, x); }
static hd not_pair(hd c, hd x) { return (void)x, c; }
static hd body_pair(hd i, hd v) { return (void)i, hd_tuple(v, v); }
static hd five_ones(hd x) { return (void)x, ones(5); }
static hd three_ones(hd x) { return (void)x, ones(3); }
static hd uses_dot(hd x, hd w) { return hd_dot(x, w); }
static hd layer(hd x)
{
    return hd_dim(x, 0) == 4 ? x : hd_fail("layer wants 4 features, got %d", (int)hd_dim(x, 0));
}
static hd pmax_i(hd x) { return hd_pmax(x, "i"); }
static hd psum_i(hd x) { return hd_psum(x, "i"); }
static hd psum_j(hd x) { return hd_psum(x, "j"); }
static hd permute_0_5(hd x) { return hd_ppermute(x, "i", (const int[][2]){ { 0, 5 } }, 1); }
static hd permute_twice(hd x) { return hd_ppermute(x, "i", (const int[][2]){ { 0, 1 }, { 1, 1 } }, 2); }
static hd shuffle_0_0(hd x) { return hd_ppermute(x, "i", (const int[][2]){ { 0, 0 }, { 0, 1 } }, 2); }
static hd deal_i(hd x) { return hd_all_to_all(x, "i", 0, 0, false); }
static hd deal_sum_i(hd x) { return hd_psum_scatter(x, "i", 0, false); }

/* A symbol of a trace that is over. */
static hd stolen;
static hd leak(hd x) { return stolen = hd_sin(x); }
static hd leaked_by(hd_fn *f) { return hd_ok(hd_apply(f, ones(3))) ? stolen : HD_NIL; }

static hd linear_of(hd p) { return hd_unpack(linear, p).w; }

#define E(id, words, ...)   static hd case_##id(void) { return __VA_ARGS__; }
#define IN(id, words, ...)  static hd case_##id(void) { return __VA_ARGS__; }
#define OK(id, why, ...)    static hd case_##id(void) { return __VA_ARGS__; }
#define N(id, why)
#define LATER(id, what)
#include "errors.def"
#undef E
#undef IN
#undef OK
#undef N
#undef LATER

const Misuse misuses[] = {
#define E(id, words, ...)   { #id, __LINE__, 'e', words, case_##id },
#define IN(id, words, ...)  { #id, __LINE__, 'i', words, case_##id },
#define OK(id, why, ...)    { #id, __LINE__, 'o', why, case_##id },
#define N(id, why)          { #id, __LINE__, 'n', why, NULL },
#define LATER(id, what)     { #id, __LINE__, 'l', what, NULL },
#include "errors.def"
};
const int misuse_count = sizeof misuses / sizeof *misuses;

const Misuse *misuse_find(const char *name)
{
    for (int k = 0; k < misuse_count; k++)
        if (!strcmp(misuses[k].name, name))
            return &misuses[k];
    return NULL;
}

/* NULL, or what the message lacks. A call over several lines may name any of them. */
const char *misuse_lacks(const char *message, const char *words, const char *file, int line)
{
    static char word[200];
    bool here = false;
    for (const char *p = message; file && (p = strstr(p, file)) != NULL; p += strlen(file)) {
        int n = atoi(p + strlen(file) + 1);
        here = here || abs(n - line) <= 2;
    }
    if (file && !here)
        return snprintf(word, sizeof word, "%s:%d", file, line), word;
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        if (!strstr(message, word))
            return word;
        p += n + (p[n] == '|');
    }
    return NULL;
}

/* What is wrong with a row on a device: NULL, or a sentence. */
const char *misuse_judge(const Misuse *m, const char *device)
{
    static char text[1200];
    hd_array *out = NULL;
    int code = hd_call(hd_jit(m->f, .device = device), &out);
    const char *missing = m->kind == 'o' ? code ? "success" : NULL :
        !code                            ? "an error" :
                misuse_lacks(hd_error(), m->text, m->kind == 'i' ? NULL : "errors.def", m->line);
    if (!missing && !code != (out != NULL))
        missing = "agreement of code and result";
    snprintf(text, sizeof text, "errors.def:%d: no %s in: %s", m->line, missing ? missing : "mistake",
        code ? hd_error() : "no error");
    hd_drop(out);
    return missing ? text : NULL;
}
