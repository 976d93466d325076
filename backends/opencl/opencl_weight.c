/*
 * opencl_weight.c - how much a kernel is to compile.
 *
 * In:  a kernel.   Out: instructions, as many as compilers have when functions are written out where they
 * are called: twenty calls of exp are twenty times what exp is, but a function that is kept apart is there
 * once.
 */
#include "opencl_c.h"

/* A kernel by itself; a vector of a block, which is loaded and shuffled. */
enum { KERNEL_INS = 20, SHUFFLED_INS = 4 };

/* of: what each function adds where it is called. */
static int64_t scope_weight(const Kernel *k, int s, const int64_t *of)
{
    const KScope *in = &k->scope[s];
    int64_t n = 0;
    for (int j = 0; j < in->nbody; j++) {
        const KIns *i = &k->ins[in->body[j]];
        n += 1;
        if (i->op == K_LOOP || i->op == K_IF)
            n += scope_weight(k, i->scope, of);
        else if (i->op == K_LOADS || i->op == K_STORES)
            n += (int64_t)SHUFFLED_INS * i->group;
        else if (i->op == K_APPLY)
            n += of[i->bits];
    }
    return n;
}

int64_t opencl_c_weight(const Kernel *k)
{
    int64_t *of = NEWS(int64_t, k->nfunction), n = KERNEL_INS;
    for (int j = 0; j < k->nfunction; j++) {    /* behind those that it calls */
        const KFunction *f = k->function[j];
        of[j] = scope_weight(k, f->scope, of);
        if (f->seldom)
            n += f->used ? of[j] : 0, of[j] = 0;
    }
    return k->nscope ? n + scope_weight(k, 0, of) : n;
}
