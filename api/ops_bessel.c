/*
 * ops_bessel.c - Bessel functions of the first and the second kind, of order 0 and 1, as formulas of sin,
 * cos and log.
 *
 * Up to 8 they are Chebyshev's series in x^2/32 - 1, what is odd times x, and of the second kind beside
 * 2/pi log(x) times the first. From there, with s = sin x and c = cos x,
 *     J0 = (P (s + c) - Q (s - c)) / sqrt(pi x)        Y0 = (P (s - c) + Q (s + c)) / sqrt(pi x)
 *     J1 = (P (s - c) + Q (s + c)) / sqrt(pi x)        Y1 = (Q (s - c) - P (s + c)) / sqrt(pi x)
 * where P and Q x/8 of each order are series in 128/x^2 - 1 [fitted with mpmath]. Errors are absolute, of
 * the size of a rounding of the largest value nearby: a zero of the function is off by that. Derivatives
 * are those of the series.
 */
#include "formulas.h"

#include <math.h>

/* terms: in f64; few: in f32 */
typedef struct Fit {
    const double *c;
    int terms, few;
} Fit;

static const double j0_terms[] = { 0.15772797147489012, -0.0087234423528522213, 0.26517861320333681,
    -0.37009499387264978, 0.15806710233209726, -0.034893769411408885, 0.0048191800694676045,
    -0.00046062616620627505, 3.2460328821005081e-5, -1.7619469077621507e-6, 7.6081635924187819e-8,
    -2.6792535305576729e-9, 7.8486963144794644e-11, -1.9438346867370166e-12, 4.1253205956343739e-14,
    -7.5885081254475463e-16, 1.2218515873961411e-17 };
static const double j1_terms[] = { 0.081044846325658115, -0.14897514506765211, 0.1609992623572097,
    -0.082680491766817907, 0.022213639654966035, -0.003646940600769276, 0.00040503377283548218,
    -3.2555548668572585e-5, 1.9858774049915167e-6, -9.5219847567504362e-8, 3.6871337590971482e-9,
    -1.1780266226958848e-10, 3.1601545803480033e-12, -7.2217552396517734e-14, 1.4232144003513942e-15,
    -2.4441972916190464e-17 };
static const double y0_terms[] = { -0.033146113203284942, -0.27447430552974527, 0.17903431407718266,
    0.26156734625504664, -0.17730201278114358, 0.047196689595763387, -0.0072879624795520792,
    0.00075311359325777423, -5.632079141056987e-5, 3.206532537654801e-6, -1.4407233274018699e-7,
    5.2487947873305161e-9, -1.5837552541812015e-10, 4.0263308183061208e-12, -8.7473412033107696e-14,
    1.6434898714919469e-15, -2.6977881152566836e-17 };
static const double y1_terms[] = { 0.0025380132357417817, -0.01608717304766875, -0.095912045360830742,
    0.084451972596523458, -0.028328123944594366, 0.005289897544167113, -0.0006414551451326356,
    5.5059828733387438e-5, -3.5380800186893499e-6, 1.7707804556154403e-7, -7.1105500498992798e-9,
    2.3443379059115164e-10, -6.4651518414115942e-12, 1.51429151205002e-13, -3.0511859694473253e-15,
    5.3466803857286701e-17 };
static const double p0_terms[] = { 0.99946034934751867, -0.00053652204681321174, 3.0751847875194746e-6,
    -5.1705945376060977e-8, 1.6306464635151383e-9, -7.86409137723707e-11, 5.1682623873491925e-12,
    -4.3045788699253912e-13, 4.3265957431549406e-14, -5.0690340959352361e-15, 6.7480722157338737e-16,
    -1.0011513723467786e-16 };
static const double q0_terms[] = { -0.015555854605337009, 6.8385199426116496e-5, -7.4144984110606473e-7,
    1.7972457247968992e-8, -7.27191593686632e-10, 4.2201219046687384e-11, -3.2067474209966347e-12,
    3.0061451253517063e-13, -3.336328185322427e-14, 4.2552250402454611e-15, -6.09993013164005e-16,
    9.6621289703032567e-17, -1.6686065214378146e-17, 3.1082440486738144e-18, -6.1911157873581449e-19 };
static const double p1_terms[] = { 1.0009030408600137, 0.00089898983308594086, -3.9872843004889085e-6,
    6.1776339606442985e-8, -1.8718907491063066e-9, 8.8168986595823389e-11, -5.7048636403956447e-12,
    4.6991955152305424e-13, -4.6842237839904892e-14, 5.4526748960447172e-15, -7.2211808422740179e-16,
    1.0667689114335412e-16 };
static const double q1_terms[] = { 0.046777787069535325, -9.6277235491570793e-5, 9.1386152579554541e-7,
    -2.0959781384083422e-8, 8.2291933276505541e-10, -4.6863636881769452e-11, 3.5152187949686081e-12,
    -3.2643156743278999e-13, 3.5967765829165292e-14, -4.5612523950772972e-15, 6.508282957783384e-16,
    -1.0269147531823243e-16, 1.7676355487764792e-17, -3.2834519872981615e-18 };

/* What is near 0, of the first and of the second kind, and P and Q. */
typedef struct Order {
    Fit first, second, p, q;
} Order;
static const Order orders[] = {
    { { j0_terms, 17, 11 }, { y0_terms, 17, 12 }, { p0_terms, 12, 4 }, { q0_terms, 15, 5 } },
    { { j1_terms, 16, 11 }, { y1_terms, 16, 11 }, { p1_terms, 12, 4 }, { q1_terms, 14, 5 } },
};

/* c[0] + c[1] T1(t) + ..., by Clenshaw */
static Ref series(Ref t, const Fit *f)
{
    int n = typ(t)->dt == DT_F64 ? f->terms : f->few;
    Ref twice = Add(t, t), b = Like(t, f->c[n - 1]), before = Like(t, 0);
    for (int k = n - 2; k > 0; k--) {
        Ref next = Add(Sub(Mul(twice, b), before), Like(t, f->c[k]));
        before = b, b = next;
    }
    return Add(Sub(Mul(t, b), before), Like(t, f->c[0]));
}

/* x from 0 to 8 */
static Ref near_zero(Ref x, int order, bool second)
{
    const Order *o = &orders[order];
    Ref t = Sub(Mul(square(x), Like(x, 1.0 / 32)), Like(x, 1)), one = series(t, &o->first);
    if (order)
        one = Mul(one, x);
    if (!second)
        return one;
    Ref two = series(t, &o->second), pole = Mul(Log(x), one);
    if (order)
        two = Mul(two, x), pole = Sub(pole, Div(Like(x, 1), x));
    return Add(two, Mul(pole, Like(x, 2 / PI)));
}

/* x from 8 on */
static Ref far_out(Ref x, int order, bool second)
{
    const Order *o = &orders[order];
    Ref i = Div(Like(x, 8), x), t = Sub(Mul(Mul(i, i), Like(x, 2)), Like(x, 1));
    Ref p = series(t, &o->p), q = Mul(series(t, &o->q), i), s = Sin(x), c = Cos(x);
    Ref sum = Add(s, c), difference = Sub(s, c);
    Ref y = second != (order == 1) ? Add(Mul(p, difference), Mul(q, sum)) :
                                     Sub(Mul(p, sum), Mul(q, difference));
    if (second && order)
        y = Neg(y);
    return Mul(y, Rsqrt(Mul(x, Like(x, PI))));
}

static hd bessel(const char *what, hd x, int order, bool second)
{
    Ref r = float_ref(what, x);
    if (!r)
        return HD_NIL;
    Dtype own = (Dtype)typ(r)->dt;
    r = dtype_size(own) < 4 ? Convert(r, DT_F32) : r;
    Ref a = second ? r : Abs(r), eight = Like(a, 8), end = Eq(a, Like(a, INFINITY)), far = Gt(a, eight);
    Ref y = choose(far, far_out(choose(And(far, Not(end)), a, eight), order, second),
        near_zero(choose(far, eight, a), order, second));
    y = choose(end, Like(y, 0), y);
    if (second)
        y = choose(Eq(a, Like(a, 0)), Like(y, -INFINITY), y);
    else if (order)
        y = Mul(y, Sign(r));
    return sym_of(Convert(y, own));
}

hd hd_j0(hd x)
{
    OP(hd_j0);
    return bessel("hd_j0", x, 0, false);
}
hd hd_j1(hd x)
{
    OP(hd_j1);
    return bessel("hd_j1", x, 1, false);
}
hd hd_y0(hd x)
{
    OP(hd_y0);
    return bessel("hd_y0", x, 0, true);
}
hd hd_y1(hd x)
{
    OP(hd_y1);
    return bessel("hd_y1", x, 1, true);
}
