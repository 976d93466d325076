/*
 * opencl_text.h - between the files of the OpenCL C printer: opencl_c.c (kernels, structure, memory),
 * opencl_value.c (operands, index forms, instructions that give a value), opencl_prelude.c (the functions
 * that they call), opencl_builtins.c (declarations of the driver's), opencl_entry.c (what calls them).
 */
#ifndef HEDDLE_OPENCL_TEXT_H
#define HEDDLE_OPENCL_TEXT_H

#include "opencl_c.h"

/* What of the prelude is called: helpers, by lanes > 1 and, + 2, by indices of 64 bits; reductions by
 * dtype. */
enum { H_DIV, H_MOD, H_ANY, H_F16, H_BF16, H_HELPERS };
typedef struct Used {
    bool helper[H_HELPERS][4], horizontal[K_OP_COUNT][DT_COUNT], f64, shuffles, stream, halves, apart;
    Map function;                               /* by name: those of the kernels that are printed */
    Text functions;
} Used;

/* Places that differ by a constant: how many, the name of their pointer while it is in scope, and what it
 * points to. */
typedef struct Base { const Buffer *buf; Form f; int uses, name; } Base;

typedef struct Printer {
    const Kernel *k;
    const OpenclCaps *caps;
    Used *used;
    Text *out;
    int indent, error;
    /* indices are long; it has stores around the cache; it is a function of the entry */
    bool wide, streamed, joined;
    Base *base; int nbase, nname;
    int *open, nopen;                           /* bases in scope */
    /* of the instruction being printed; the last one that the text shows */
    Loc loc, shown;
} Printer;

#define P(...) text_add(p->out, __VA_ARGS__)

/* The text of an operand is short. */
typedef struct Arg { char s[80]; } Arg;

extern const char *const ocl_type[DT_COUNT];    /* of a register of one lane */
/* what OpenCL calls an op: an operator, a function, or, across lanes, "sum" of hd_sum_float */
extern const char *const ocl_word[K_OP_COUNT];

static inline const char *ocl_lanes(int w) { return w > 1 ? "16" : ""; }
static inline Dtype ocl_unsigned(Dtype d)
{
    return d >= DT_I8 && d <= DT_I64 ? (Dtype)(d - DT_I8 + DT_U8) : d;
}
static inline void ocl_use(Printer *p, int helper, bool vector)
{
    p->used->helper[helper][vector + 2 * p->wide] = true;
}

void ocl_refuse(Printer *, const char *what, const char *name);
/* what a value is called: results of a loop are its carried variables */
Val ocl_named(const Kernel *, Val);
Arg ocl_plain(const Printer *, Val);
Arg ocl_arg(const Printer *, Val, int w);       /* an operand of w lanes */
void ocl_form(Printer *, Form, bool with_lane); /* in int or long; without the lane: the place of lane 0 */
void ocl_expression(Printer *, const KIns *);   /* the text right of `=` */
/* Of floats; w: "", or how many lanes they have; sure: x is not nan. */
void ocl_extreme(Text *, bool max, bool sure, Dtype, const char *w, const char *x, const char *y);
void ocl_prelude(const Used *, Text *);
void ocl_builtins(const char *text, bool f64, Text *);  /* declarations of those that it calls */
void ocl_entry(Text *, const Kernel *const *, int n, int pointers);

#endif
