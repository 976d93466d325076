/* linalg_real.c - factorisations and solves of real matrices on the host: linalg_host.h of them. */
typedef long double Number;

#define RE(z)           (z)
#define IM(z)           ((void)(z), 0.0L)
#define CONJ(z)         (z)
#define MAGNITUDE(z)    fabsl(z)
#define NUMBER(re, im)  (re)
#define LINALG_EVAL     real_linalg_eval
#include "linalg_host.h"
