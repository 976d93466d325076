#!/bin/sh
# Functions that come and go: two libraries loaded one after the other at one address, callbacks of Python's ctypes, closures
# of C++. Each must be a function of its own.
#     life.sh BUILD SOURCE
set -u
build=$1 here=$2/tests/life
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_DEVICE=host
bad=0
say() { echo "$*"; bad=1; }
[ -e "$build/libheddle.so" ] || { echo "skipped: the shared library is not built"; exit 77; }
with="-I$2/api -L$build -lheddle -Wl,-rpath,$build"
cc=${CC:-cc} cxx=${CXX:-c++}

# What the linker writes tells one build from another; else the file does.
for id in sha1 none; do
    for n in 2 10; do
        $cc -DFACTOR=$n -shared -fPIC -Wl,--build-id=$id "$here/plugin.c" -o "$tmp/$id$n.so" $with || say "plugin.c does not build"
    done
done
$cc "$here/host.c" -o "$tmp/host" $with -ldl || say "host.c does not build"

gives() {                                       # what the host prints; plugins
    want=$1
    shift
    got=$("$tmp/host" "$@" 2>&1)
    case "$got" in *elsewhere*) echo "not tried: $* do not share an address" ;; esac
    case "$(echo "$got" | sed 's/ elsewhere//' | tr '\n' ' ')" in $want) ;; *) say "$*: $got" ;; esac
}
closed='1 * closed*'
for id in sha1 none; do
    gives "6 2 30 10 $closed" "$tmp/${id}2.so" "$tmp/${id}10.so"
    gives "6 2 30 10 6 2 30 10 $closed" "$tmp/${id}2.so" "$tmp/${id}10.so" "$tmp/${id}2.so" "$tmp/${id}10.so"
    gives "6 2 30 10 6 2 1 * forgotten*" "$tmp/${id}2.so" "-$tmp/${id}10.so" "-$tmp/${id}2.so"
done

if command -v python3 >/dev/null 2>&1 && python3 -c 'import ctypes' 2>/dev/null; then
    python3 "$here/binding.py" "$build/libheddle.so" || say "ctypes"
else
    echo "not tried: python3 with ctypes is not here"
fi
if command -v "$cxx" >/dev/null 2>&1; then
    $cxx -std=c++17 -Wall -Wextra -Werror "$here/life.cpp" -o "$tmp/life" $with && "$tmp/life" || say "C++"
else
    echo "not tried: no C++ compiler is here"
fi
[ $bad = 0 ] && echo "functions come and go"
exit $bad
