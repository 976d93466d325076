/*
 * ranks.c - what goes wrong in one process of several: a call that only one makes, another function, a rank
 * that ends, is killed or stopped, a shard that fails. Run by ranks_faults.sh as `ranks CASE` on three
 * ranks; rank 1 is the odd one.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "heddle.h"

static hd met(hd x) { return hd_add(x, hd_psum(hd_square(x), "i")); }
static hd other(hd x) { return hd_sub(x, hd_psum(x, "i")); }

static int refuses(hd_array *const *args, int nargs, hd_array **out, int nout, void *user)
{
    static int calls;
    (void)nout, (void)user, (void)nargs;
    if (hd_rank() == 1 && !calls++)
        return hd_fail("this one refuses"), 1;
    out[0] = hd_keep(args[0]);
    return 0;
}

static hd failing(hd x) { return hd_psum(hd_callback(refuses, NULL, x, x), "i"); }

static int call(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    int e = hd_call(f, &y, x);
    if (e)
        fprintf(stderr, "rank %d says: %s\n", hd_rank(), hd_error());
    else if (!hd_data(y))
        fprintf(stderr, "rank %d says: %s\n", hd_rank(), hd_error()), e = 1;
    hd_drop(y);
    return e;
}

int main(int n, char **v)
{
    const char *what = n > 1 ? v[1] : "";
    const float data[] = { 1, 2, 3 };
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 1, { 3 } }, data, NULL);
    hd_fn *f = hd_pmap(met, .axis_name = "i"), *g = hd_pmap(other, .axis_name = "i"),
          *h = hd_pmap(failing, .axis_name = "i");
    bool odd = hd_rank() == 1;
    int e = call(f, x);
    if (odd && !strcmp(what, "ends"))
        return 0;
    if (odd && !strcmp(what, "killed"))
        raise(SIGKILL);
    if (odd && !strcmp(what, "stopped"))
        raise(SIGSTOP);
    if (!strcmp(what, "fails"))
        e = e ? e : !call(h, x);
    else if (!strcmp(what, "different"))
        e = e ? e : !call(odd ? g : f, x);
    else
        e = e ? e : call(f, x);
    if (!strcmp(what, "fails") || !strcmp(what, "different"))
        e = e ? e : call(f, x);                 /* the next call works */
    hd_drop(x);
    return e != 0;
}
