/*
 * ops_bits.c - integers as rows of bits: turned, reversed, counted from their ends.
 *
 * Shifts by the width or more are 0, which is what makes these formulas right at every distance.
 */
#include "formulas.h"

static Ref bits_ref(const char *what, hd x)
{
    Ref r = sym_ref(x);
    return int_operand(what, "x", r) ? r : 0;
}

static double width_of(Ref x) { return 8 * (double)dtype_size((Dtype)typ(x)->dt); }

hd hd_right_shift_logical(hd x, hd n)
{
    OP(hd_right_shift_logical);
    return elem(OP_shift_right_logical, 2, (const hd[]){ x, n });
}

hd hd_mulhi(hd x, hd y)
{
    OP(hd_mulhi);
    return elem(OP_mulhi, 2, (const hd[]){ x, y });
}

/* The bits that leave at one end come in at the other. The width is a power of two, so that n modulo it are
 * its low bits, whatever its sign. */
static hd turned(const char *what, hd x, hd n, bool left)
{
    Ref r[2];
    if (unify(what, 2, (const hd[]){ x, n }, r) || !int_operand(what, "x", r[0]))
        return HD_NIL;
    double width = width_of(r[0]);
    Ref there = And(r[1], Like(r[1], width - 1)), back = Sub(Like(r[1], width), there);
    return sym_of(Or(ShiftLeft(r[0], left ? there : back), ShiftRightLogical(r[0], left ? back : there)));
}

hd hd_rotate_left(hd x, hd n)
{
    OP(hd_rotate_left);
    return turned("hd_rotate_left", x, n, true);
}
hd hd_rotate_right(hd x, hd n)
{
    OP(hd_rotate_right);
    return turned("hd_rotate_right", x, n, false);
}

/* Neighbours change places: single bits, then pairs, then fours ... The mask has the lower one of each two:
 * 01 01 .., 0011 .. */
hd hd_bit_reverse(hd x)
{
    OP(hd_bit_reverse);
    Ref r = bits_ref("hd_bit_reverse", x);
    int width = r ? (int)width_of(r) : 0;
    for (int k = 1; r && k < width; k *= 2) {
        uint64_t mask = UINT64_MAX / ((UINT64_C(1) << k) + 1);
        Ref low = FullBits(*typ(r), (int64_t)(width == 64 ? mask : mask & ((UINT64_C(1) << width) - 1)));
        Ref by = Like(r, k);
        r = Or(And(ShiftRightLogical(r, by), low), ShiftLeft(And(r, low), by));
    }
    return sym_of(r);
}

/* Below the lowest bit that is set all are: ~x & (x - 1). Of 0 these are all bits. */
hd hd_ctz(hd x)
{
    OP(hd_ctz);
    Ref r = bits_ref("hd_ctz", x);
    return sym_of(r ? PopulationCount(And(Not(r), Sub(r, Like(r, 1)))) : 0);
}
