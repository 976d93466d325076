/*
 * opencl_prelude.c - the functions in front of the kernels: only those that they call.
 */
#include "opencl_text.h"

/* One step of a tree: p and q are vectors of w lanes, or scalars. */
static void join(Text *t, KOp op, Dtype dt, const char *w, const char *p, const char *q)
{
    const char *word = ocl_word[kop[op].joins];
    bool order = op == K_HMAX || op == K_HMIN;
    if (order && dtype_float(dt))
        ocl_extreme(t, op == K_HMAX, false, dt, w, p, q);
    else
        text_add(t, order ? "%2$s(%1$s, %3$s)" : "%s %s %s", p, word, q);
}

static void tree(Text *t, KOp op, Dtype dt)
{
    bool order = op == K_HMAX || op == K_HMIN;
    const char *T = ocl_type[dt], *U = ocl_type[order ? dt : ocl_unsigned(dt)];
    text_add(t, "static inline %s hd_%s_%s(%s16 v)\n{\n    %s16 u = as_%s16(v);\n", T, ocl_word[op], T,
        T, U, U);
    text_add(t, "    %s8 a = ", U), join(t, op, dt, "8", "u.lo", "u.hi");
    text_add(t, ";\n    %s4 b = ", U), join(t, op, dt, "4", "a.lo", "a.hi");
    text_add(t, ";\n    %s2 c = ", U), join(t, op, dt, "2", "b.lo", "b.hi");
    text_add(t, ";\n    %s x = c.x, y = c.y;\n    return (%s)(", U, T), join(t, op, dt, "", "x", "y");
    text_add(t, ");\n}\n");
}

/* Rounded down, of numbers that may be negative. */
static void floor_division(Text *t, bool mod, bool vec, const char *T)
{
    const char *w = ocl_lanes(vec ? W : 1);
    text_add(t, "static inline %s%s hd_%s_%s%s(%s%s x, %s d) { %s%s r = x %% d; ", T, w, mod ? "mod" : "div",
        T, w, T, w, T, T, w);
    if (mod)
        text_add(t, vec ? "return r + ((r < 0) & d); }\n" : "return r < 0 ? r + d : r; }\n");
    else
        text_add(t, vec ? "return x / d + (r < 0); }\n" : "return x / d - (r < 0); }\n");
}

/* Lanes of two vectors: in turn, of their lower or upper halves; and the inverse, the even or the odd ones.
 * As one shuffle where clang compiles: vectors of lanes or of parts are many instructions until they are
 * one. */
static void shuffles(Text *t)
{
    static const char *const name[] = { "ZIP_LO", "ZIP_HI", "EVEN", "ODD" };
    for (int clang = 1; clang >= 0; clang--) {
        text_add(t, clang ? "#ifdef __clang__\n" : "#else\n");
        for (int n = 0; n < 4; n++) {
            text_add(t, "#define HD_%s(T, a, b) %s", name[n],
                clang ? "__builtin_shufflevector(a, b" : "(T##16)(");
            for (int l = 0; l < W; l++) {
                int from = n < 2 ? n * W / 2 + l / 2 + l % 2 * W : 2 * l + n - 2;
                if (clang)
                    text_add(t, ", %d", from);
                else
                    text_add(t, "%s%c.s%x", l ? ", " : "", from < W ? 'a' : 'b', (unsigned)(from % W));
            }
            text_add(t, ")\n");
        }
    }
    text_add(t, "#endif\n");
}

/* To the nearest f16, kept as f32: there and back. Devices have instructions for it. */
static void f16_rounding(Text *t, const char *w)
{
    text_add(t, "static inline float%s hd_half%s(float%s x)\n{\n    ushort%s h;\n"
        "    vstore_half%s_rte(x, 0, (__private half *)&h);\n"
        "    return vload_half%s(0, (const __private half *)&h);\n}\n", w, w, w, w, w, w);
}

/* The bits of the nearest bf16; nan stays nan. */
static void bf16_rounding(Text *t, bool vec)
{
    const char *w = ocl_lanes(vec ? W : 1);
    text_add(t, "static inline ushort%s hd_bfloat%s(float%s x)\n{\n    uint%s u = as_uint%s(x);\n"
        "    uint%s r = x != x ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;\n"
        "    return %s(r);\n}\n", w, w, w, w, w, w, vec ? "convert_ushort16" : "(ushort)");
}

void ocl_prelude(const Used *u, Text *t)
{
    text_add(t, "#pragma OPENCL FP_CONTRACT OFF\n");
    if (u->f64)
        text_add(t, "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n");
    text_add(t, "#define HD_LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))\n"
        "#define HD_LANES_L ((long16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))\n");
    /* PoCL's vload16 and vstore16 are functions of many parts; an element's alignment is all that we
     * promise. */
    text_add(t,
        "#ifdef __clang__\n"
        "#define HD_LOAD(T, n, S, p) ({ typedef T##n place __attribute__((aligned(sizeof(T)))); *(S const "
        "place *)(p); })\n"
        "#define HD_STORE(T, n, S, x, p) { typedef T##n place __attribute__((aligned(sizeof(T)))); *(S "
        "place *)(p) = x; }\n"
        "#else\n#define HD_LOAD(T, n, S, p) vload##n(0, p)\n#define HD_STORE(T, n, S, x, p) vstore##n(x, 0, "
        "p)\n#endif\n");
    /* stores around a cache are ordered by a fence only, as on x86 */
    if (u->stream)
        text_add(t,
            "#ifdef __clang__\n#define HD_STREAM(T, n, S, x, p) __builtin_nontemporal_store(x, (S T##n "
            "*)(p))\n"
            "#define HD_STREAMED() __sync_synchronize()\n#else\n#define HD_STREAM HD_STORE\n#define "
            "HD_STREAMED()\n#endif\n");
    if (u->functions.s)
        text_add(t, "#ifdef __clang__\n#define HD_SELDOM __attribute__((noinline, cold))\n#else\n"
            "#define HD_SELDOM\n#endif\n");
    if (u->apart)
        text_add(t, "#ifdef __clang__\n#define HD_APART __attribute__((noinline))\n#else\n"
            "#define HD_APART\n#endif\n");
    if (u->halves)
        text_add(t,
            "static inline float16 hd_halves(ushort16 h)\n{\n    return vload_half16(0, (const __private "
            "half *)&h);\n}\n"
            "static inline ushort16 hd_half_bits(float16 x)\n{\n    ushort16 h;\n"
            "    vstore_half16_rte(x, 0, (__private half *)&h);\n    return h;\n}\n");
    if (u->shuffles)
        shuffles(t);
    for (int m = 0; m < 4; m++) {
        if (u->helper[H_DIV][m])
            floor_division(t, false, m & 1, m & 2 ? "long" : "int");
        if (u->helper[H_MOD][m])
            floor_division(t, true, m & 1, m & 2 ? "long" : "int");
    }
    for (int w = 0; w < 2; w++) {
        if (u->helper[H_F16][w] || u->helper[H_F16][w + 2])
            f16_rounding(t, ocl_lanes(w ? W : 1));
        if (u->helper[H_BF16][w] || u->helper[H_BF16][w + 2])
            bf16_rounding(t, w);
    }
    if (u->helper[H_ANY][1] || u->helper[H_ANY][3])
        text_add(t,
            "static inline int hd_any(int16 v)\n{\n    long8 w = as_long8(v);\n    long4 a = w.lo | w.hi;\n"
            "    long2 b = a.lo | a.hi;\n    return (b.x | b.y) != 0;\n}\n");
    for (int op = 0; op < K_OP_COUNT; op++)
        for (int dt = 0; dt < DT_COUNT; dt++)
            if (u->horizontal[op][dt])
                tree(t, (KOp)op, (Dtype)dt);
    text_add(t, "\n");
}
