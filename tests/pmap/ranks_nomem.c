/*
 * ranks_nomem.c - memory ends in one rank of two: each allocation of ours in it fails in turn, once and from
 * there on, while both make two calls, the second of which wants all of what the first has given. They end
 * in both, with one result or one error, HD_ENOMEM; no array is left, and the next call works. A rank that
 * fails before it comes to a call, where it is traced, has its own error; the other has one as soon as that
 * rank comes to the next call: they do not make the same.
 * Run by ranks.sh on two ranks; HEDDLE_TEST_EVERY=K looks at every K-th.
 */
#include <stdio.h>

#include "heddle.h"

#include "failing.h"

enum { ROWS = 3 };

static int turn; /* a function for each, so that it is traced again */

/* A sum that is gathered, one in a loop, and an array that is read afterwards. */
static hd step(hd c, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_mul_c(hd_add(c, hd_psum(c, "i")), .25), c);
}
static hd meets(hd x, const void *n)
{
    hd y = hd_add(hd_tanh(x), hd_sum(hd_all_gather(hd_square(x), "i", 0, false), 0));
    return hd_add(hd_nth(hd_scan(step, y, HD_NIL, .length = 2), 0), hd_c(*(const int *)n * 0.));
}

/* What lies on both ranks is brought to each of them for this. */
static hd whole(hd all, const void *n) { return hd_add(hd_sin(all), hd_c(*(const int *)n * 0.)); }

static int call(float *to)
{
    const float in[2 * ROWS] = { .5f, -1, 2, .25f, 3, -2 };
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { 2, ROWS } }, in, NULL), *far = NULL, *y = NULL;
    hd_fn *f = x ? hd_pmap(hd_bind(meets, turn), .axis_name = "i", .devices = "0/host,1/host") : NULL;
    hd_fn *g = f ? hd_pmap(hd_bind(whole, turn), .axis_size = 2, .in_axes = { HD_NONE }, .out_axes = HD_NONE,
                       .devices = "0/host,1/host") :
                   NULL;
    int e = g ? hd_call(f, &far, x) : hd_error_code();
    e = e ? e : hd_call(g, &y, far);
    if (e ? y != NULL : !y)
        e = -1;
    if (!e && hd_read_n(y, HD_F32, to, 2 * ROWS)) {     /* here alone, or in both: it can be read again */
        e = hd_error_code();
        atomic_store(&left, -1);
        e = e == HD_ENOMEM && !hd_read_n(y, HD_F32, to, 2 * ROWS) ? 0 : e;
    }
    hd_drop(x), hd_drop(far), hd_drop(y);
    return e;
}

/* What each rank has, to both: an argument is the same in both, but a rank gives its own shard its own. */
static hd both(hd x) { return hd_all_gather(x, "i", 0, false); }
static int tell(int mine, int *all)
{
    int32_t own[2] = { mine, mine };
    hd_array *x = hd_array_new(HD_I32, (hd_ints){ 1, { 2 } }, own, NULL), *y = NULL;
    int e = hd_call(
        hd_pmap(both, .axis_name = "i", .devices = "0/host,1/host", .out_axes = HD_NONE), &y, x);
    e = e ? e : hd_read_n(y, HD_I32, all, 2);
    hd_drop(x), hd_drop(y);
    return e;
}

static int wrong(long n, const char *what, int a, int b)
{
    fprintf(stderr, "rank %d, allocation %ld%s: %s: %d, %d: %s\n", hd_rank(), n,
        lasting ? " and all after" : "", what, a, b, hd_error());
    return 1;
}

/* In the victim the n-th fails. 0: it went on well; -1: there was none. */
static int strike(long n, int victim, const float *want)
{
    float y[2 * ROWS];
    int all[2], codes[2];
    const int64_t live = hd_live();
    turn++;
    happened = false;
    if (hd_rank() == victim)
        atomic_store(&left, n);
    int e = call(y);
    atomic_store(&left, -1);
    char text[300];
    snprintf(text, sizeof text, "%s", e ? hd_error() : "");
    const bool met = !tell(e, codes), early = !met && strstr(hd_error(), "do not make the same call");
    if ((!met && (!early || e != HD_ENOMEM || hd_rank() != victim || tell(e, codes))) || tell(happened, all))
        return wrong(n, "the next call fails", e, hd_error_code());
    if (strstr(text, "do not make the same call"))
        e = codes[victim];
    else if (codes[0] != codes[1] && !early)
        return fprintf(stderr, "%s\n", text), wrong(n, "codes of the ranks", codes[0], codes[1]);
    if (e && (e != HD_ENOMEM || !*text))
        return wrong(n, text, e, 0);
    if (!e && memcmp(y, want, sizeof y))
        return wrong(n, "another result", 0, 0);
    if (hd_live() != live)
        return wrong(n, "arrays left", (int)live, (int)hd_live());
    return all[victim] ? 0 : -1;
}

int main(void)
{
    const char *k = getenv("HEDDLE_TEST_EVERY");
    const int every = k ? atoi(k) : 61;
    float want[2 * ROWS];
    int all[2], struck = 0;
    if (call(want) || tell(0, all))
        return wrong(0, "all is well, but", 0, 0);
    for (int c = 0; c < 4; c++) {
        lasting = c / 2;
        for (long n = c; ; n += every, struck++) {
            int e = strike(n, c % 2, want);
            if (e > 0)
                return 1;
            if (e < 0)
                break;
        }
    }
    if (hd_live())
        return wrong(0, "arrays left", 0, (int)hd_live());
    if (hd_rank() == 0)
        printf("%d allocations fail in one of two ranks, and both say so\n", struck);
    return 0;
}
