/*
 * fft.h - short transforms of numbers that are parts of their own, and the constants of long ones.
 */
#ifndef HEDDLE_PREPARE_FFT_H
#define HEDDLE_PREPARE_FFT_H

#include "prepare.h"

typedef struct Parts {
    Ref re, im;
} Parts;

/* fft_written.c: of n numbers, each a value of any shape, in place: z[k] = sum over j of z[j] exp(-2 pi
 * i j k / n). n has no prime factor above ODD and is at most WRITTEN. */
enum { WRITTEN = 16, ODD = 13 };                /* what fft_written.c has room and formulas for: no prices */
void fft_written(Parts *z, int64_t n);
double fft_code(int64_t n); /* its instructions, about */

/* exp(-2 pi i m / n), with exact zeros and ones. */
void fft_root(int64_t m, int64_t n, double *re, double *im);

#endif
