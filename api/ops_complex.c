/*
 * ops_complex.c - complex numbers: taken apart and put together.
 *
 * Arithmetic and functions are those of all numbers (ops_element.c). A real number is a complex one whose
 * imaginary part is 0, so its parts may be asked for, too.
 */
#include "formulas.h"

#include <math.h>

/* |x|^2 */
Ref norm_square(Ref x)
{
    if (!x || !is_complex(x))
        return x ? square(x) : 0;
    return Add(square(RealPart(x)), square(ImagPart(x)));
}

Ref conjugate(Ref x) { return x && is_complex(x) ? Conj(x) : x; }

/* Parts are f32 or f64: plain numbers and integers are f32. */
hd hd_complex(hd re, hd im)
{
    Ref r[2];
    OP(hd_complex);
    if (unify("hd_complex", 2, (const hd[]){ re, im }, r))
        return HD_NIL;
    Dtype d = (Dtype)typ(r[0])->dt;
    if (dtype_of_parts(d) == DT_NONE) {
        error_set(E_DTYPE, "hd_complex: parts are f32 or f64, not %s; convert them with hd_cast",
            type_text(typ(r[0])));
        return HD_NIL;
    }
    return sym_of(Complex(r[0], r[1]));
}

/* A number that is no random key; 0 after an error. */
static Ref number_ref(const char *what, hd x)
{
    Ref r = sym_ref(x);
    return r && real_dtype(what, (Dtype)typ(r)->dt) ? r : 0;
}

hd hd_real(hd x)
{
    OP(hd_real);
    Ref r = number_ref("hd_real", x);
    return sym_of(r && is_complex(r) ? RealPart(r) : r);
}

hd hd_imag(hd x)
{
    OP(hd_imag);
    Ref r = number_ref("hd_imag", x);
    return sym_of(!r ? 0 : is_complex(r) ? ImagPart(r) : Like(r, 0));
}

hd hd_conj(hd x)
{
    OP(hd_conj);
    return sym_of(conjugate(number_ref("hd_conj", x)));
}

hd hd_angle(hd x)
{
    OP(hd_angle);
    Ref r = to_float(number_ref("hd_angle", x));
    if (!r)
        return HD_NIL;
    return sym_of(is_complex(r) ? Atan2(ImagPart(r), RealPart(r)) : Atan2(Like(r, 0), r));
}
