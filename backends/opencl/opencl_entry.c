/*
 * opencl_entry.c - one kernel that is any of a text's.
 *
 * In:  kernels that are printed as functions.   Out: the entry, which calls the one that it is told.
 * PoCL optimizes and links each kernel by itself, with a library that it goes through for each.
 */
#include "opencl_text.h"

bool opencl_c_joins(const Kernel *k)
{
    enum { MOST_POINTERS = 64 };
    return !k_meets(k) && k_group_items(k) == 1 && k->nparam <= MOST_POINTERS;
}

int opencl_c_entry(const Kernel *const *list, int n, const OpenclCaps *caps)
{
    int pointers = 1, joined = 0;
    for (int i = 0; i < n && caps->joined && caps->one_item; i++)
        if (opencl_c_joins(list[i])) {
            joined++;
            pointers = list[i]->nparam > pointers ? list[i]->nparam : pointers;
        }
    return joined > 1 ? pointers : 0;
}

static void call(Text *out, const Kernel *k, int which)
{
    const char *between = "";
    text_add(out, "    case %d: %s(", which, k->name);
    for (int i = 0; i < k->nparam; i++, between = ", ")
        text_add(out, "%sp%d", between, i);
    if (k->stepped)
        text_add(out, "%sstep", between), between = ", ";
    for (int g = 0; g < k->ngrid; g++, between = ", ")
        text_add(out, "%sget_global_id(%d)", between, g);
    text_add(out, "); break;\n");
}

void ocl_entry(Text *out, const Kernel *const *list, int n, int pointers)
{
    text_add(out, "__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void " OPENCL_ENTRY "(");
    for (int i = 0; i < pointers; i++)
        text_add(out, "__global void *p%d, ", i);
    text_add(out, "int which, int step)\n{\n    switch (which) {\n");
    for (int i = 0; i < n; i++)
        if (opencl_c_joins(list[i]))
            call(out, list[i], i);
    text_add(out, "    }\n}\n");
}
