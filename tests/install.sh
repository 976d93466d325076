#!/bin/sh
# Installs into a folder of its own, and builds a program against it both ways: find_package(heddle) and pkg-config.
#     install.sh BUILD SOURCE
set -eu
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cmake --install "$build" --prefix "$tmp/usr" >/dev/null
mkdir "$tmp/user"
cp "$source/examples/predict.c" "$tmp/user/main.c"
cat >"$tmp/user/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(heddle 0.1 REQUIRED)
add_executable(user main.c)
target_link_libraries(user PRIVATE heddle::heddle)
END
cmake -S "$tmp/user" -B "$tmp/user/build" -DCMAKE_PREFIX_PATH="$tmp/usr" >/dev/null
cmake --build "$tmp/user/build" >/dev/null
HEDDLE_DEVICE=host "$tmp/user/build/user" >"$tmp/one"
lib=$(dirname "$(find "$tmp/usr" -name libheddle.so)")
PKG_CONFIG_PATH="$lib/pkgconfig" sh -c 'cc -o "$0/two" "$0/main.c" $(pkg-config --cflags --libs heddle)' "$tmp/user"
HEDDLE_DEVICE=host LD_LIBRARY_PATH="$lib" "$tmp/user/two" >"$tmp/two"
cmp "$tmp/one" "$tmp/two"
# hidden symbols: what the library shows begins with hd_
bad=$(nm -D --defined-only "$lib/libheddle.so" | awk '{ print $3 }' | grep -v '^hd_' || true)
[ -z "$bad" ] || { echo "symbols that should be hidden: $bad"; exit 1; }
readelf -d "$lib/libheddle.so" | grep -q 'SONAME.*libheddle\.so\.0'
echo "installed, found and linked both ways"
