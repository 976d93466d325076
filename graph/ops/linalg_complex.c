/* linalg_complex.c - factorisations and solves of complex matrices on the host: linalg_host.h of them. */
#include <complex.h>

typedef long double _Complex Number;

#define RE(z)           creall(z)
#define IM(z)           cimagl(z)
#define CONJ(z)         conjl(z)
#define MAGNITUDE(z)    cabsl(z)
#define NUMBER(re, im)  __builtin_complex((long double)(re), (long double)(im))
#define LINALG_EVAL     complex_linalg_eval
#include "linalg_host.h"
