#!/bin/sh
# The public header: alone as C11, from C++ through the plain functions, and what must not compile. With every compiler there is.
#     headers.sh SOURCE
set -u
source=$1 bad=0 tried=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo '#include "heddle.h"' >"$tmp/alone.c"
cat >"$tmp/plain.cpp" <<'END'
#include "heddle.h"
static hd twice(const hd *args, int, void *) { return hd_add(args[0], args[0]); }
hd_fn *make() { return hd_function(twice, nullptr, 0, "twice"); }
END
fail() { echo "$1"; bad=$((bad + 1)); }
for c in gcc clang; do
    command -v $c >/dev/null 2>&1 || continue
    strict="$c -std=c11 -Wall -Wextra -Werror -fsyntax-only -I$source/api"
    $strict "$tmp/alone.c" || fail "$c: the header alone does not compile"
    for f in "$source"/examples/*.c; do
        $c -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I"$source/api" "$f" || fail "$c refuses $f"
    done
    for f in "$source"/tests/negative/*.c; do
        tried=$((tried + 1))
        if $c -std=c11 -Wall -Wextra -Werror -I"$source/api" -c -o "$tmp/o" "$f" >"$tmp/out" 2>&1; then
            fail "$c accepts $f"
        elif grep -q 'No such file' "$tmp/out"; then
            fail "$c: $f does not find what it includes"
        fi
    done
done
for c in g++ clang++; do
    command -v $c >/dev/null 2>&1 || continue
    $c -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I"$source/api" "$tmp/plain.cpp" || fail "$c: the header from C++"
done
# who may include whom: a room that includes what it may not see does not compile
rooms() { grep -lE "$2" $(ls $1 2>/dev/null) /dev/null && fail "$1 includes what it may not see: $2"; }
rooms "$source/graph/*.c $source/graph/transforms/*.c" '#include "(kernel|backend|heddle|api)\.h"'
rooms "$source/graph/*/*.c" '#include "(backend|heddle|api)\.h"'
rooms "$source/backends/*.c $source/backends/opencl/*.c $source/backends/vulkan/*.c" '#include "(graph|heddle|api|schedule)\.h"'
rooms "$source/examples/*.c $source/bench/workloads*.c" '#include "(graph|kernel|backend|api|base)\.h"'
[ "$tried" -gt 0 ] || fail "no compiler was tried"
echo "$tried programs that must not compile, $bad failures"
[ "$bad" = 0 ]
