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
/* Cases at a rank and at sizes of a kind (table_ranks.c, which asks others for what they know). A row that
 * has none at this rank gives no results: sorts of a scalar. */
enum { SIZES_MIXED, SIZES_LONG, SIZES_ONE, SIZES_NONE_FIRST, SIZES_NONE_LAST, SIZES, MAX_RANK_OF_CASES = 6 };
const Law *laws_of_rank(int rank);              /* of all rows, until the next call */
void stack_of_matrices(Op op, Dtype dt, Ints shape);
void seen_from_inside(Op op, Dtype dt, Ints shape, bool loop);

/* Dimension numbers of gather and scatter, their modes, and what scatter does with an update. */
typedef struct Numbers { Ints window, dropped, map, xb, ib, sizes; } Numbers;
enum { CLIP = 1, FILL = 2, IN_BOUNDS = 3, SET = 0, ADD = 1, MUL = 2, MIN = 3, MAX = 4 };
Ref gather_at(Ref x, Ref index, const Numbers *d, int mode);
Ref scatter_at(Ref x, Ref index, Ref u, const Numbers *d, int mode, int combine, int unique);

double of_one(const double *x, double want);    /* a scale: an ULP of 1, or of what is larger */

#endif
