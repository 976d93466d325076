/*
 * spirv.h - kernels as SPIR-V 1.5 words for Vulkan 1.2.
 *
 * A module is one kernel, entry point "main". Its push constants (Pushed in vk.h, 40 bytes): the address of
 * a table of the addresses of its parameters, in order, and of a word that is set where a loop ended before
 * its time; STEP; a zero that the driver cannot see; where in the grid the launch begins.
 */
#ifndef HEDDLE_SPIRV_H
#define HEDDLE_SPIRV_H

#include "kernel.h"

/* How fma is computed: by the device's own, in f64 with rounding to odd (f32 only), or by integers. */
typedef enum FmaForm { FMA_NATIVE, FMA_WIDE, FMA_INTEGER } FmaForm;

/* What the device can do. Pairs are for f32 and f64. */
typedef struct SpirvCaps {
    bool i64, f64;
    bool byte_storage, short_storage;           /* arrays of 8-bit and of 16-bit elements */
    /* arithmetic of them: not needed, but spirv-val follows pointers to them */
    bool bytes, shorts;
    int denormals, nearest, specials;           /* modes to ask for; bit 0: f16, 1: f32, 2: f64 */
    int group;                                  /* invocations of a work-group */
    bool exact_div[2], exact_sqrt[2];           /* correctly rounded as they are */
    bool keeps_denormals[2];                    /* in sums and products */
    /* takes x * 0 for 0, x + 0 for x: it must not see that a zero is constant */
    bool folds_zeros;
    bool extends_badly;                         /* compares a sign-extended i32 with a constant wrongly */
    uint8_t fma[2];                             /* FmaForm */
    /* turns of loops after which a work-item's end, silently; 0: never */
    int loop_limit;
} SpirvCaps;

/* The module of a finished kernel: *words is the caller's to free(), *local how many invocations its
 * work-groups have (along the first dimension). 0, or an error: a dtype the device lacks, a function that
 * has no form here. */
int spirv_write(const Kernel *, const SpirvCaps *, uint32_t **words, size_t *n, int *local);

/* spirv_text.c: a module as text, a line an instruction; whether it is one that holds together. 0, or an
 * error. */
void spirv_text(const char *name, const uint32_t *words, size_t n, int local, Text *);
int spirv_check(const char *name, const uint32_t *words, size_t n);

#endif
