#!/bin/sh
# heddle.h by itself: it compiles alone as C11 and as C++, and as plain functions; a C++ program links and runs; and what a
# program must not say is refused by every compiler that is here: the files in negative/, each with its reason on the first line.
#     headers.sh BUILD SOURCE
set -u
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
strict="-Wall -Wextra -Wpedantic -Wshadow -Werror -I$source/api"
bad=0
say() { echo "$*"; bad=1; }

cat >"$tmp/alone.c" <<'END'
#include <heddle.h>
END
cat >"$tmp/good.c" <<'END'
#include <heddle.h>
hd f(hd x, hd y) { return hd_add(x, hd_mul(y, hd_c(2))); } hd_fn *g(void) { return hd_vmap(f, .in_axes = { 0, HD_NONE }); }
END
cat >"$tmp/plain.c" <<'END'
#define HD_PLAIN
#include <heddle.h>
hd f(hd x) { return hd_sum_n(hd_sin(x), (hd_ints){ 0, { 0 } }); }
END
cat >"$tmp/run.cpp" <<'END'
#include <heddle.h>
#include <cmath>
static int f(hd *y, const hd *x, int, void *w)
{
    *y = hd_sum_n(hd_mul(hd_mul(hd_sin(x[0]), x[1]), hd_c(*(const double *)w)), hd_ints{ 0, { 0 } });
    return 0;
}
int main()
{
    const float v[3] = { 1, 2, 3 }, w[3] = { 4, 5, 6 };
    hd_grad_opts opts = {};
    static int dropped;
    double scale = 2;
    hd_fn *f_ = hd_function(f, &scale, [](void *) { dropped++; }, "f"), *g = hd_value_and_grad_n(f_, &opts);
    hd_array *args[2] = { hd_array_new(HD_F32, hd_ints{ 1, { 3 } }, v, nullptr), hd_array_new(HD_F32, hd_ints{ 1, { 3 } }, w, nullptr) };
    hd_array *out[2] = { nullptr, nullptr };
    float d[3] = { 0, 0, 0 };
    if (hd_call_n(g, out, 2, args, 2) || hd_read_n(out[1], HD_F32, d, 3))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    for (int i = 0; i < 2; i++)
        hd_drop(args[i]), hd_drop(out[i]);
    hd_forget_n(f_);
    return std::fabs(d[1] - 2 * 5 * std::cos(2.0f)) > 1e-5f || hd_live() != 0 || dropped != 1;
}
END

seen=0
for cc in gcc clang; do
    command -v $cc >/dev/null 2>&1 || continue
    seen=1
    case $cc in gcc) cxx=g++;; *) cxx=clang++;; esac
    for f in alone good plain; do
        $cc -std=c11 $strict -c "$tmp/$f.c" -o "$tmp/x.o" 2>"$tmp/log" || { say "$cc refuses $f.c"; cat "$tmp/log"; }
    done
    for f in "$source"/examples/*.c; do
        $cc -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I"$source/api" "$f" || say "$cc refuses $f"
    done
    for f in "$source"/tests/negative/*.c; do
        if $cc -std=c11 $strict -c "$f" -o "$tmp/x.o" 2>"$tmp/log"; then
            say "$cc takes $(basename "$f"): $(head -1 "$f")"
        fi
        grep -q 'No such file\|not found$' "$tmp/log" && say "$cc: $(basename "$f") does not find what it includes"
    done
    command -v $cxx >/dev/null 2>&1 || continue
    $cxx -x c++ -std=c++17 $strict -c "$tmp/alone.c" -o "$tmp/x.o" || say "$cxx refuses the header"
    $cxx -std=c++17 $strict "$tmp/run.cpp" -L"$build" -lheddle -Wl,-rpath,"$build" -o "$tmp/run" && HEDDLE_DEVICE=host "$tmp/run" ||
        say "$cxx: the program does not run"
done
[ $seen = 1 ] || { echo "skipped: neither gcc nor clang is here"; exit 77; }

# An op without a line macro would have no place in its messages; that of a name with a list is at its counted form.
h="$source/api/heddle.h"
sed -n '/^HD_API hd \|HD_API hd_fn \*/p' "$h" | grep -oE 'HD_API (hd|hd_fn \*) ?hd_[a-z0-9_]+\(' | grep -oE 'hd_[a-z0-9_]+\(' | tr -d '(' |
    grep -vE '_$|^hd_function$' | sort -u >"$tmp/ops"
sed -n 's/^#define \(hd_[a-z0-9_]*\) *HD_AT_.*/\1/p; s/^#define \(hd_[a-z0-9_]*\)(.*/\1/p' "$h" | sort -u >"$tmp/lines"
comm -23 "$tmp/ops" "$tmp/lines" >"$tmp/none"
[ -s "$tmp/ops" ] && [ ! -s "$tmp/none" ] || { say "no line macro for:"; cat "$tmp/none"; }

# Everything that is declared is in the library, and the library shows nothing else.
grep -ohE '\bhd_[a-z0-9_]+\(' "$h" | tr -d '(' | sort -u >"$tmp/names"
nm -D --defined-only "$build/libheddle.so" | awk '{ print $3 }' | sort -u >"$tmp/shown"
comm -23 "$tmp/shown" "$tmp/names" >"$tmp/extra"
[ ! -s "$tmp/extra" ] || { say "shown, but not declared:"; cat "$tmp/extra"; }
grep -E '^HD_API' "$h" | grep -oE '\bhd_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$tmp/declared"
comm -23 "$tmp/declared" "$tmp/shown" >"$tmp/absent"
[ -s "$tmp/declared" ] && [ ! -s "$tmp/absent" ] || { say "declared, but not there:"; cat "$tmp/absent"; }

[ $bad = 0 ] && echo "the header is whole; $(ls "$source"/tests/negative | wc -l) programs are refused"
exit $bad
