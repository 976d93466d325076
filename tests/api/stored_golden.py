#!/usr/bin/env python3
"""Writes stored_golden.h: what ml_dtypes makes of all codes of 8-bit floats, and of f32 numbers around them."""
import sys
import ml_dtypes
import numpy as np


def table(name, ctype, values, digits):
    text = [f"0x{int(v):0{digits}X}" for v in values]
    per_line = 100 // (digits + 4)
    rows = [", ".join(text[k:k + per_line]) for k in range(0, len(text), per_line)]
    return f"static const {ctype} {name}[] = {{\n    " + ",\n    ".join(rows) + " };\n"


def around(codes):
    """Every number, the middle between neighbours, and what is next to these on both sides."""
    v = codes[np.isfinite(codes)].astype(np.float32)
    v = np.unique(v)
    with np.errstate(over="ignore"):
        last = v[-1] + (v[-1] - v[-2]) / 2
        middle = np.concatenate([(v[1:].astype(np.float64) + v[:-1]) / 2, [last, -last]]).astype(np.float32)
        m = np.concatenate([middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))])
    rest = np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x80000000, 1, 0x7F7FFFFF], np.uint32).view(np.float32)
    return np.concatenate([m, rest])


out = ["/* stored_golden.h - by stored_golden.py, of ml_dtypes " + ml_dtypes.__version__ + ": floats of 8 bits. */\n"
       "/* The f32 of each code; f32 numbers, bit by bit, and what codes they are rounded to. */\n"]
for name, dt in (("e4m3fn", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)):
    codes = np.arange(256, dtype=np.uint8).view(dt)
    x = around(codes.astype(np.float32))
    with np.errstate(over="ignore"):
        out.append(table(f"{name}_values", "uint32_t", codes.astype(np.float32).view(np.uint32), 8))
        out.append(table(f"{name}_from", "uint32_t", x.view(np.uint32), 8))
        out.append(table(f"{name}_codes", "uint8_t", x.astype(dt).view(np.uint8), 2))
open(sys.argv[1], "w").write("".join(out))
