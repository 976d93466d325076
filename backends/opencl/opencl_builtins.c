/*
 * opencl_builtins.c - declarations of the functions of OpenCL C that a text calls.
 *
 * In:  a text.   Out: what it calls, declared, for a driver that is asked to leave its header out.
 * PoCL has clang read 18,000 lines of declarations in front of each text, twice, which takes 100 ms: as long
 * as a kernel of 200 lines. opencl-c.h leaves itself out where _OPENCL_H_ is defined. What is declared here
 * is what is declared there, so compiled code is the same.
 */
#include "opencl_text.h"

#include <ctype.h>
#include <string.h>

enum { FLOATS = 1, INTEGERS = 2 };
enum { WIDTHS = 5 };
static const char *const width[WIDTHS] = { "", "2", "4", "8", "16" };

/* Letters, the result first: T the type, s one lane of it, m integers with a sign of its size. */
static const struct Row {
    const char *name, *form;
    int of, from;                               /* which types, and how few lanes, as a place in width */
} row[] = {
    { "fma", "TTTT", FLOATS, 0 },
    { "sqrt", "TT", FLOATS, 0 },
    { "floor", "TT", FLOATS, 0 },
    { "ceil", "TT", FLOATS, 0 },
    { "rint", "TT", FLOATS, 0 },
    { "trunc", "TT", FLOATS, 0 },
    { "fabs", "TT", FLOATS, 0 },
    { "max", "TTT", INTEGERS, 0 },
    { "min", "TTT", INTEGERS, 0 },
    { "mul_hi", "TTT", INTEGERS, 0 },
    { "popcount", "TT", INTEGERS, 0 },
    { "clz", "TT", INTEGERS, 0 },
    { "clamp", "TTTT", INTEGERS, 0 },
    { "clamp", "TTss", INTEGERS, 1 },
    { "select", "TTTm", FLOATS | INTEGERS, 1 },
};

static const char *const plain[][2] = {
    { "get_global_id", "CONST size_t get_global_id(uint);\n" },
    { "barrier", "__attribute__((convergent, overloadable)) void barrier(cl_mem_fence_flags);\n" },
};

/* Halves, to and from floats: up to the address space. */
static const struct { const char *name, *before; } half[] = {
    { "vload_half", "__attribute__((pure, overloadable)) float vload_half(size_t, const" },
    { "vload_half16", "__attribute__((pure, overloadable)) float16 vload_half16(size_t, const" },
    { "vstore_half_rte", "__attribute__((overloadable)) void vstore_half_rte(float, size_t," },
    { "vstore_half16_rte", "__attribute__((overloadable)) void vstore_half16_rte(float16, size_t," },
};

static bool in_word(char c) { return c == '_' || isalnum((unsigned char)c); }

static bool calls(const char *text, const char *name)
{
    const size_t n = strlen(name);
    for (const char *s = text; s && (s = strstr(s, name)) != NULL; s += n)
        if (s[n] == '(' && (s == text || !in_word(s[-1])))
            return true;
    return false;
}

static Dtype mask_of(Dtype d)
{
    static const Dtype by_size[] = { [1] = DT_I8, [2] = DT_I16, [4] = DT_I32, [8] = DT_I64 };
    return by_size[dtype_size(d)];
}

static void declare(Text *t, const struct Row *r, Dtype d, const char *w)
{
    for (const char *f = r->form; *f; f++) {
        const char *T = ocl_type[*f == 'm' ? mask_of(d) : d];
        if (f == r->form)
            text_add(t, "CONST %s%s %s(", T, w, r->name);
        else
            text_add(t, "%s%s%s", f - r->form > 1 ? ", " : "", T, *f == 's' ? "" : w);
    }
    text_add(t, ");\n");
}

static bool computes(Dtype d, bool f64) { return d != DT_BOOL && ocl_type[d] && (d != DT_F64 || f64); }

void ocl_builtins(const char *text, bool f64, Text *t)
{
    static const char *const space[] = { "__global", "__local", "__private" };
    text_add(t, "#define CONST __attribute__((const, overloadable))\n");
    for (size_t k = 0; k < sizeof row / sizeof *row; k++)
        for (int d = 0; d < DT_COUNT && calls(text, row[k].name); d++)
            for (int w = row[k].from; w < WIDTHS && computes((Dtype)d, f64); w++)
                if (row[k].of & (dtype_float((Dtype)d) ? FLOATS : INTEGERS))
                    declare(t, &row[k], (Dtype)d, width[w]);
    for (int to = 0; to < DT_COUNT; to++)
        if (computes((Dtype)to, f64) && calls(text, arena_text("convert_%s16", ocl_type[to])))
            for (int from = 0; from < DT_COUNT; from++)
                if (computes((Dtype)from, f64))
                    text_add(t, "CONST %s16 convert_%s16(%s16);\n", ocl_type[to], ocl_type[to],
                        ocl_type[from]);
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
        if (calls(text, plain[k][0]))
            text_add(t, "%s", plain[k][1]);
    for (size_t k = 0; k < sizeof half / sizeof *half; k++)
        for (int s = 0; s < 3 && calls(text, half[k].name); s++)
            text_add(t, "%s %s half *);\n", half[k].before, space[s]);
}
