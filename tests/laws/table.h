/*
 * table.h - builders of cases that are not in table.c itself.
 */
#ifndef HEDDLE_TESTS_TABLE_H
#define HEDDLE_TESTS_TABLE_H

#include "laws.h"

void make_accum(Op op, Dtype dt, int variant);
void make_accum_slice(Op op, Dtype dt, int variant);
void make_barrier(Op op, Dtype dt, int variant);
void make_named(Op op, Dtype dt, int variant);
void make_constrain(Op op, Dtype dt, int variant);
void make_meet(Op op, Dtype dt, int variant);
void make_callback(Op op, Dtype dt, int variant);
void make_effect(Op op, Dtype dt, int variant);
void make_region(Op op, Dtype dt, int variant);
void make_cholesky(Op op, Dtype dt, int variant);
void make_triangular_solve(Op op, Dtype dt, int variant);
void make_qr(Op op, Dtype dt, int variant);
void make_lu(Op op, Dtype dt, int variant);
void make_solve(Op op, Dtype dt, int variant);
void make_eigh(Op op, Dtype dt, int variant);
void make_svd(Op op, Dtype dt, int variant);
void make_fft(Op op, Dtype dt, int variant);
void make_complex(Op op, Dtype dt, int variant);
void make_part(Op op, Dtype dt, int variant);
double of_one(const double *x, double want);    /* a scale: an ULP of 1, or of what is larger */

#endif
