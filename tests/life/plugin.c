/* A library that comes and goes: a function whose program depends on how it was compiled. */
#include <heddle.h>

static hd scaled(hd x) { return hd_mul(x, hd_c(FACTOR)); }
static hd shifted(hd x, const void *by) { return hd_add(hd_mul(x, hd_c(FACTOR)), hd_c(*(const int *)by)); }

hd_fn *plain(void) { return hd_jit(scaled); }
hd_fn *bound(void)
{
    int by = 1;
    return hd_grad(hd_bind(shifted, by));
}
void leave(void) { hd_forget(scaled); }
