/* Differential equations with adaptive steps that end at an event: pendulums let go at different angles,
 * each followed with the Dormand-Prince method until it hangs straight down. A while of its own for each
 * lane: more steps where the way is longer. The time is a quarter of the period, which the
 * arithmetic-geometric mean gives in closed form. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { STAGES = 7 };

#define FLIGHT(F, S) F(t) F(y) F(step) F(turns)
HD_STRUCT(flight, FLIGHT);

/* angle, speed -> their change */
static hd pendulum(hd y) { return hd_stack(0, hd_at(y, 1), hd_neg(hd_sin(hd_at(y, 0)))); }

/* One step of length h: the new state, and how large its error is, measured by what is allowed. */
static hd advance(hd y, hd h, hd *error)
{
    static const double a[STAGES][STAGES] = {
        { 0 },
        { 1. / 5 },
        { 3. / 40, 9. / 40 },
        { 44. / 45, -56. / 15, 32. / 9 },
        { 19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729 },
        { 9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656 },
        { 35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84 },
    };
    static const double e[STAGES] = { 71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525,
        -1. / 40 };
    hd k[STAGES], at = y, wrong = hd_zeros_like(y);

    for (int i = 0; i < STAGES; i++) {
        at = y;
        for (int j = 0; j < i; j++)
            at = a[i][j] != 0 ? hd_add(at, hd_mul(hd_mul_c(h, a[i][j]), k[j])) : at;
        k[i] = pendulum(at);
        wrong = hd_add(wrong, hd_mul(hd_mul_c(h, e[i]), k[i]));
    }
    *error = hd_div_c(hd_norm(wrong), 1e-6);
    return at;
}

/* A step that is too wrong is tried again, shorter. One past the event is tried again up to where a straight
 * line would meet it. */
static hd turn(hd state)
{
    flight f = hd_unpack(flight, state);
    hd error, y = advance(f.y, f.step, &error), before = hd_at(f.y, 0), after = hd_at(y, 0);
    hd past = hd_lt(after, hd_c(-1e-6)), good = hd_and(hd_le(error, hd_c(1)), hd_not(past));
    hd scale = hd_clip(hd_mul_c(hd_pow_c(hd_maximum_c(error, 1e-6), -0.2), 0.9), hd_c(0.2), hd_c(5));
    scale = hd_where(hd_and(past, hd_le(error, hd_c(1))), hd_div(before, hd_sub(before, after)), scale);
    return hd_pack(flight,
        {
            .t = hd_where(good, hd_add(f.t, f.step), f.t),
            .y = hd_where(good, y, f.y),
            .step = hd_mul(f.step, scale),
            .turns = hd_add_c(f.turns, 1),
        });
}

static hd falling(hd state)
{
    flight f = hd_unpack(flight, state);
    return hd_and(hd_gt(hd_at(f.y, 0), hd_c(1e-6)), hd_lt(f.turns, hd_c(1000)));
}

static hd fall(hd angle)                                /* tuple(time, turns) */
{
    hd start = hd_pack(flight,
        {
            .t = hd_zeros(HD_F32),
            .y = hd_stack(0, angle, hd_zeros(HD_F32)),
            .step = hd_full(hd_c(0.1)),
            .turns = hd_zeros(HD_I32),
        });
    flight f = hd_unpack(flight, hd_while(falling, turn, start));
    return hd_tuple(f.t, f.turns);
}

static double quarter_period(double angle)
{
    double a = 1, b = cos(angle / 2);

    for (int i = 0; i < 8; i++) {
        double mean = (a + b) / 2;
        b = sqrt(a * b), a = mean;
    }
    return M_PI / 2 / a;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "angles", 1, NULL, 'n' }, { 0 } };
    int n = 200, status = 1;
    float *angle = NULL, *time = NULL;
    int32_t *turns = NULL;
    hd_array *angles = NULL, *out[2] = { NULL };
    double worst = 0;

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            n = atoi(optarg) > 3 ? atoi(optarg) : 4;
    angle = calloc((size_t)n, sizeof *angle), time = calloc((size_t)n, sizeof *time),
    turns = calloc((size_t)n, sizeof *turns);
    if (!angle || !time || !turns)
        goto fail;
    for (int i = 0; i < n; i++)
        angle[i] = 0.1f + 3.f * (float)i / (float)(n - 1);
    angles = hd_array_of(angle, n);
    if (hd_call(hd_vmap(fall), out, angles) || hd_read(out[0], time, (size_t)n) ||
        hd_read(out[1], turns, (size_t)n))
        goto fail;
    for (int i = 0; i < n; i++) {
        double exact = quarter_period((double)angle[i]);
        worst = fmax(worst, fabs((double)time[i] / exact - 1));
        if (i % (n / 4) == 0 || i == n - 1)
            printf("angle %.4f quarter period %.4f exact %.4f\n", (double)angle[i], (double)time[i], exact);
    }
    printf("worst error %s\n", worst < 1e-5 ? "below 0.00001" : "too large");
    status = !(worst < 1e-5);
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    free(angle), free(time), free(turns);
    hd_drop(angles), hd_drop(out[0]), hd_drop(out[1]);
    return status;
}
