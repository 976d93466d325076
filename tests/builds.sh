#!/bin/sh
# The library, its command and its examples with other compilers, standards and C libraries: each file compiles, without a
# warning. What is not installed is left out.
#     builds.sh SOURCE
# Syntax and types; what flows where is looked into by the build itself, by the sanitizers' and by libFuzzer's.
set -u
source=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$source"
files="graph/*.c graph/*/*.c api/*.c backends/*.c backends/*/*.c tools/*.c examples/*.c"
# Headers that compilers for another C library or machine do not see.
mkdir "$tmp/more"
for h in sqlite3.h zlib.h CL vulkan vk_video; do
    [ -e "/usr/include/$h" ] && ln -s "/usr/include/$h" "$tmp/more/$h"
done
for h in zconf.h; do
    ln -s "$(echo 'int main(void) { return 0; }' | cc -E -include zlib.h - 2>/dev/null | sed -n 's/^# [0-9]* "\(.*zconf.h\)".*/\1/p' | head -1)" "$tmp/more/$h"
done
# Those with headers of their own, or of the build's making: the build itself compiles them.
files=$(cd "$source" && ls $files | grep -v '^backends/mpi/\|^backends/sim/profile.c')
failed=0 done=""
rooms=$(for d in "$source"/graph/*/; do echo "-I${d%/}"; done)

said="-Wall -Wextra -Werror -ffp-contract=off -I$source/graph $rooms -I$source/backends -I$source/backends/opencl
    -I$source/backends/vulkan -I$source/api"

judged() {                                      # what was tried, its exit code
    done="$done, $1"
    [ "$2" != 0 ] || return 0
    echo "$1: warns or fails"
    grep -E 'error|warning' "$tmp/log" | head -20
    failed=1
}

build() {                                       # name, command with flags
    name=$1
    shift
    command -v "$1" >/dev/null 2>&1 || return 0
    # shellcheck disable=SC2086
    echo "$files" | (cd "$tmp" && xargs -P 2 -I FILE "$@" $said "$source/FILE") >"$tmp/log" 2>&1
    judged "$name" $?
}

# Clang takes longer to start than to read a file, and one process of it takes many: the command that it would give to itself
# for the first file, with the others behind it.
build_at_once() {                               # name, command with flags
    name=$1
    shift
    command -v "$1" >/dev/null 2>&1 || return 0
    first=$(echo "$files" | head -1)
    # shellcheck disable=SC2086
    inner=$("$@" $said "-###" "$source/$first" 2>&1 | grep '"-cc1"' | sed "s,\"$source/$first\" *\$,,")
    [ -n "$inner" ] || { build "$name" "$@"; return; }
    echo "$files" | (cd "$tmp" && sed "s,^,$source/," | xargs -P 2 -n 60 sh -c "$inner"' "$@"' sh) >"$tmp/log" 2>&1
    judged "$name" $?
}

build "gcc, C23" gcc -std=gnu2x -fsyntax-only
clang=$(command -v clang || command -v clang-14 || echo clang)
build_at_once "clang, C11" "$clang" -std=gnu11 -fsyntax-only
build_at_once "clang, C23" "$clang" -std=gnu2x -fsyntax-only
build "musl, C11" musl-gcc -std=gnu11 -fsyntax-only -idirafter "$tmp/more"
build "aarch64, C11" aarch64-linux-gnu-gcc -std=gnu11 -fsyntax-only -idirafter "$tmp/more"
[ -n "$done" ] || { echo "no compiler"; exit 77; }
[ $failed = 0 ] && echo "no warnings with ${done#, }"
exit $failed
