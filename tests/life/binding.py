"""
Heddle from Python's ctypes: a symbol is a 64-bit integer (or two 32-bit numbers in a structure), a function is a
callback that gets arrays of symbols and stores its result through a pointer. Callbacks come and go, at the same
addresses more often than not; each is a function of its own.

    binding.py LIBRARY
"""
import ctypes as c
import gc
import sys

L = c.CDLL(sys.argv[1])
symbol, pointer = c.c_uint64, c.c_void_p
CALLBACK = c.CFUNCTYPE(c.c_int, c.POINTER(symbol), c.POINTER(symbol), c.c_int, c.c_void_p)
DROP = c.CFUNCTYPE(None, c.c_void_p)


class Ints(c.Structure):
    _fields_ = [("n", c.c_int), ("v", c.c_int64 * 16)]


def declare(name, result, *arguments):
    getattr(L, name).restype, getattr(L, name).argtypes = result, arguments


declare("hd_function", pointer, CALLBACK, c.c_void_p, DROP, c.c_char_p)
declare("hd_forget_n", None, pointer)
declare("hd_grad_n", pointer, pointer, c.c_void_p)
declare("hd_vmap_n", pointer, pointer, c.c_void_p)
declare("hd_call_n", c.c_int, pointer, c.POINTER(pointer), c.c_int, c.POINTER(pointer), c.c_int)
declare("hd_array_new", pointer, c.c_int, Ints, c.c_void_p, c.c_void_p)
declare("hd_read_n", c.c_int, pointer, c.c_int, c.c_void_p, c.c_size_t)
declare("hd_array_size", c.c_int64, pointer)
declare("hd_drop", None, pointer)
declare("hd_live", c.c_int64)
declare("hd_error", c.c_char_p)
declare("hd_c", symbol, c.c_double)
declare("hd_mul", symbol, symbol, symbol)
declare("hd_sin", symbol, symbol)
declare("hd_sum_n", symbol, symbol, Ints)
declare("hd_fail", symbol, c.c_char_p, c.c_char_p)
F32 = 12
dropped = []


class Function:
    """A Python function of symbols; it is forgotten when Python forgets it."""

    def __init__(self, f):
        def call(out, given, n, payload):
            try:
                out[0] = f(*given[:n])
                return 0
            except Exception as e:
                L.hd_fail(b"%s", str(e).encode())
                return 1

        self.callback, self.drop = CALLBACK(call), DROP(lambda payload: dropped.append(payload))
        self.handle = L.hd_function(self.callback, 7, self.drop, f.__name__.encode())
        assert self.handle, L.hd_error()

    def __del__(self):
        L.hd_forget_n(self.handle)


def run(f, *values):
    arrays = [L.hd_array_new(F32, Ints(1, (c.c_int64 * 16)(len(v))), (c.c_float * len(v))(*v), None) for v in values]
    out = pointer()
    try:
        if L.hd_call_n(f, c.byref(out), 1, (pointer * len(arrays))(*arrays), len(arrays)):
            raise RuntimeError(L.hd_error().decode())
        n = L.hd_array_size(out)
        got = (c.c_float * n)()
        assert not L.hd_read_n(out, F32, got, n), L.hd_error()
        return list(got)
    finally:
        for a in [*arrays, out]:
            L.hd_drop(a)


def scale(by):
    return Function(lambda x: L.hd_mul(x, L.hd_c(by)))


# Fifty functions, one after the other where the one before was.
for k in range(50):
    f = scale(k)
    assert run(f.handle, [1, 2, 3]) == [k, 2 * k, 3 * k], k
    assert run(L.hd_vmap_n(f.handle, None), [1, 2]) == [k, 2 * k], k
    del f
gc.collect()
assert len(dropped) == 50 and set(dropped) == {7}, dropped

# Transforms, closures over Python values and over a function of Heddle.
weights = [0.5, 2.0]
loss = Function(lambda x, w: L.hd_sum_n(L.hd_mul(L.hd_sin(L.hd_mul(x, w)), L.hd_c(weights[1])), Ints()))
got = run(L.hd_grad_n(loss.handle, None), [0, 0, 0], [1, 2, 3])
assert got == [2, 4, 6], got

# What goes wrong in a callback is this call's message.
bad = Function(lambda x: 1 / 0)
try:
    run(bad.handle, [1, 2])
    raise SystemExit("an exception in a callback is lost")
except RuntimeError as e:
    assert "division by zero" in str(e), e

del loss, bad
gc.collect()
assert len(dropped) == 52 and L.hd_live() == 0, (len(dropped), L.hd_live())
print("ctypes holds")
