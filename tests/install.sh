#!/bin/sh
# Installs into a folder of its own, and builds a program in every way that users have: find_package(heddle), shared and static;
# pkg-config, shared and --static; add_subdirectory, which brings no tests, targets or options of ours that stop a build.
#     install.sh BUILD SOURCE
set -eu
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_DEVICE=host
cmake --install "$build" --prefix "$tmp/usr" >/dev/null
lib=$(dirname "$(find "$tmp/usr" -name libheddle.so)")
mkdir "$tmp/user"
cp "$source/examples/predict.c" "$tmp/user/main.c"

# What libraries show begins with hd_, and a program may have functions of the names inside.
shows() {
    bad=$(awk '{ print $3 }' | grep -v '^hd_' || true)
    [ -z "$bad" ] || { echo "$1 shows: $bad"; exit 1; }
}
nm -D --defined-only "$lib/libheddle.so" | shows libheddle.so
readelf -d "$lib/libheddle.so" | grep -q 'SONAME.*libheddle\.so\.0'

# The static one wants what it links: its headers are here, its libraries may not be.
if [ -f "$lib/libheddle.a" ]; then
    nm --extern-only --defined-only "$lib/libheddle.a" | grep ' [A-Z] ' | shows libheddle.a
    static="add_executable(still main.c own.c)
target_link_libraries(still PRIVATE heddle::static)"
else
    static=
fi
printf 'int emit, type_size, error_set, arena_alloc;\n' >"$tmp/user/own.c"

cat >"$tmp/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.21)
project(user C)
find_package(heddle 0.1 REQUIRED)
add_executable(user main.c)
target_link_libraries(user PRIVATE heddle::heddle)
$static
END
cmake -S "$tmp/user" -B "$tmp/user/build" -DCMAKE_PREFIX_PATH="$tmp/usr" >/dev/null
cmake --build "$tmp/user/build" >/dev/null
"$tmp/user/build/user" >"$tmp/one"
[ -s "$tmp/one" ]
if [ -n "$static" ]; then
    "$tmp/user/build/still" | cmp - "$tmp/one"
    ! readelf -d "$tmp/user/build/still" | grep -q libheddle || { echo "heddle::static is shared"; exit 1; }
fi
ways="find_package"

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH="$lib/pkgconfig"
    # shellcheck disable=SC2046
    cc -o "$tmp/two" "$tmp/user/main.c" $(pkg-config --cflags --libs heddle)
    LD_LIBRARY_PATH=$lib "$tmp/two" | cmp - "$tmp/one"
    if [ -n "$static" ]; then
        cp -r "$tmp/usr" "$tmp/only"
        find "$tmp/only" -name 'libheddle.so*' -delete
        PKG_CONFIG_PATH=$(echo "$lib/pkgconfig" | sed "s,^$tmp/usr,$tmp/only,")
        # shellcheck disable=SC2046
        cc -o "$tmp/three" "$tmp/user/main.c" "$tmp/user/own.c" $(pkg-config --static --cflags --libs heddle)
        "$tmp/three" | cmp - "$tmp/one"
    fi
    ways="$ways, pkg-config"
fi

# As a folder of another project, which has its own flags and its own tests.
cat >"$tmp/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.21)
project(user C)
set(CMAKE_BUILD_TYPE Debug)
add_subdirectory("$source" heddle)
enable_testing()
add_executable(user main.c)
target_link_libraries(user PRIVATE heddle::heddle)
$static
add_test(NAME mine COMMAND user)
foreach(target guide golden laws heddle_command test_api Experimental Nightly)
    if(TARGET \${target})
        message(FATAL_ERROR "the target \${target} came along")
    endif()
endforeach()
if(HEDDLE_WERROR OR BUILD_TESTING)
    message(FATAL_ERROR "warnings are errors, or tests are on, in somebody else's project")
endif()
END
cmake -S "$tmp/user" -B "$tmp/user/sub" -DCMAKE_C_COMPILER_LAUNCHER="$(command -v ccache || true)" >/dev/null
[ "$(cd "$tmp/user/sub" && ctest -N | tail -1)" = "Total Tests: 1" ]
cmake --build "$tmp/user/sub" -j2 >"$tmp/log" 2>&1 || { tail -20 "$tmp/log"; exit 1; }
for program in user ${static:+still}; do
    "$tmp/user/sub/$program" | cmp - "$tmp/one"
done
echo "installed, found and linked: $ways, add_subdirectory"
