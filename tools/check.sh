#!/bin/sh
# Sanitizers and simulators, beyond what `make test` does:
#   1. the tests again under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer: all of the host, a share of devices
#   2. threads under ThreadSanitizer, on the host
#   3. memory over many shapes of one function
#   4. kernels in oclgrind, which checks every access of every work-item, races between them, and how OpenCL is called
#   5. texts and files from strangers, by libFuzzer
# Builds in build-asan, build-tsan and build-fuzz. Each step is timed; the first that fails ends it.
set -eu
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_CACHE=off CK_DEFAULT_TIMEOUT=300
unoptimised=$PWD/build/unoptimised              # what drivers compiled for `make test`
mkdir -p "$unoptimised/pocl"
began=$(date +%s)
step() { echo "== $(($(date +%s) - began)) s: $*"; }

configure() {                                   # preset
    cmake --preset "$1" -DHEDDLE_BENCH=OFF -DHEDDLE_UNOPTIMISED="$unoptimised" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
}

# A program, 0 or 77 (its device is not there). What it says is shown if it fails.
passes() {
    case $1 in */*) [ -x "$1" ] || { echo "skipped: $1 could not be built, see cmake's output"; return 0; } ;; esac
    code=0
    "$@" >"$tmp/log" 2>&1 || code=$?
    case $code in
    0) tail -1 "$tmp/log" ;;
    77) echo "skipped: $*" ;;
    *) cat "$tmp/log"; echo "failed with $code: $*"; exit 1 ;;
    esac
}

step "AddressSanitizer, UndefinedBehaviorSanitizer: build"
configure asan
cmake --build --preset asan -j "$jobs" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
# Drivers, their compilers and loaders keep memory until the process ends; what is ours must not leak. Whatever driver is installed
# is known by the name of its library, also when a loader has closed it again: so nothing is closed while leaks are looked for.
cp tests/lsan.supp "$tmp/supp"
cat /etc/OpenCL/vendors/*.icd /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json 2>/dev/null |
    grep -o 'lib[A-Za-z0-9_+-]*\.so' | sort -u | sed 's/^/leak:/; s/\.so$//' >>"$tmp/supp"
echo 'int dlclose(void *library) { (void)library; return 0; }' >"$tmp/open.c"
cc -shared -fPIC "$tmp/open.c" -o "$tmp/open.so"
export LSAN_OPTIONS="suppressions=$tmp/supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
# Compilers inside drivers set their own stack; what asks for absurd sizes wants NULL.
export ASAN_OPTIONS="use_sigaltstack=0:verify_asan_link_order=0:allocator_may_return_null=1"
t=build-asan/tests

step "a leak and an overrun are noticed"
cat >"$tmp/bad.c" <<'END'
#include <stdlib.h>
int main(int n, char **v) { volatile char *p = malloc(8); (void)v; if (n > 1) p[8] = 1; p = 0; return 0; }
END
cc -fsanitize=address,undefined "$tmp/bad.c" -o "$tmp/bad"
if "$tmp/bad" 2>/dev/null || "$tmp/bad" overrun 2>/dev/null; then
    echo "the sanitizer lets mistakes pass"
    exit 1
fi

export LD_PRELOAD="$tmp/open.so"

step "suites and the host"
others='opencl|vulkan|^install$|^builds$|^docs$|^life$|^command$|^headers$|^rooms$|^test_bench$|^test_spirv|^test_taps$|^test_state$'
leaving='^test_fork$|^test_ownership$'          # processes that leave without giving back, which is what they try
ctest --preset asan -j "$jobs" -E "$others|$leaving" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
tail -3 "$tmp/log" | head -1
ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" ctest --preset asan -j "$jobs" -R "$leaving" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }

# Here, too, PoCL and Mesa do not optimise what runs once (tests/CMakeLists.txt).
export POCL_EXTRA_BUILD_FLAGS=-cl-opt-disable GALLIVM_PERF=nopt POCL_CACHE_DIR="$unoptimised/pocl" MESA_SHADER_CACHE_DIR="$unoptimised"

step "a share of the devices"
export HEDDLE_COMPILER=off                      # one driver a process; suites have compilers in processes of their own
for device in opencl:0 vulkan:0; do
    every=10
    [ $device = vulkan:0 ] && every=4
    passes $t/golden --device $device --every $every tests/golden
    passes $t/fuzz --device $device --seed 20 --count 2
    passes $t/fuzz --views --device $device --seed 100 --count 20 --many 20
    passes $t/laws --device $device --dtype i16
done
unset HEDDLE_COMPILER
passes $t/test_opencl_faults
unset LD_PRELOAD

step "every call of OpenCL fails, once and for good: begins beside what follows"
mkdir "$tmp/calls"
(
    tmp="$tmp/calls"
    passes build/tests/test_opencl_faults 1
) >"$tmp/calls.log" 2>&1 &
calls=$!

step "Mesa's OpenCL, which the drivers of AMD's and Intel's GPUs share, on the processor"
mesa=$(RUSTICL_ENABLE=llvmpipe build/tools/heddle devices | awk '/^opencl:/ { name = $1 } /rusticl/ { print name; exit }')
if [ -z "$mesa" ]; then
    echo "skipped: rusticl (mesa-opencl-icd) is not here"
else
    export RUSTICL_ENABLE=llvmpipe
    passes build/examples/guide --device "$mesa"
    passes build/tests/golden --device "$mesa" --every 300 tests/golden
    passes build/tests/laws --device "$mesa" --dtype i16
    passes build/tests/fuzz --device "$mesa" --seed 1 --count 1
    unset RUSTICL_ENABLE
fi

step "each call of a Vulkan driver fails, once and for good"
export LD_PRELOAD="$tmp/open.so"
HEDDLE_TEST_EVERY=1 passes $t/test_vulkan
unset LD_PRELOAD

step "ThreadSanitizer"
configure tsan
[ ! -x $t/test_threads ] || cmake --build --preset tsan -j "$jobs" --target heddle test_threads test_pmap test_pmap_grid test_mesh test_ranks test_exchange test_pmap_faults ranks >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
HEDDLE_TEST_DEVICE=host CK_FORK=no TSAN_OPTIONS=halt_on_error=1 passes build-tsan/tests/test_threads
for suite in test_pmap test_pmap_grid test_mesh test_exchange test_pmap_faults; do
    OCL_ICD_VENDORS=/dev/null VK_ICD_FILENAMES=/dev/null CK_FORK=no TSAN_OPTIONS=halt_on_error=1 passes build-tsan/tests/$suite
done

step "ThreadSanitizer over ranks: MPI's own libraries, which are not built for it, are left out, and nothing else"
if [ -f build-tsan/libheddle_mpi.so ]; then
    ranks() {                                   # how many, what
        OCL_ICD_VENDORS=/dev/null VK_ICD_FILENAMES=/dev/null HEDDLE_DEVICE=host HEDDLE_MPI_TIMEOUT=60 \
            TSAN_OPTIONS=ignore_noninstrumented_modules=1:exitcode=66 passes tests/pmap/ranks.sh build-tsan "$@"
    }
    ranks 4 build-tsan/tests/test_ranks
    ranks 4 build-tsan/tests/test_mesh
    ranks 3 build-tsan/tests/ranks right
    ranks 3 build-tsan/tests/ranks "fails in a scan"
fi

step "every allocation of ours fails, once and from there on; with AddressSanitizer every second"
if [ -x build/tests/test_nomem ]; then
    HEDDLE_TEST_EVERY=1 passes build/tests/test_nomem
fi
# With PoCL alone: what other drivers of the machine leak when they are loaded is not ours.
HEDDLE_TEST_EVERY=2 OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd passes $t/test_nomem

step "calls of OpenCL have failed"
wait $calls || { cat "$tmp/calls.log"; exit 1; }
cat "$tmp/calls.log"

step "a hundred thousand shapes on the host, some hundred on devices: memory stays flat"
if [ -x build/tests/test_functions ]; then
    shapes() {                                  # device, how many, KiB that its driver may keep of half of them
        HEDDLE_DEVICE=$1 HEDDLE_TEST_SHAPES=$2 HEDDLE_TEST_GROWTH=$3 CK_RUN_CASE=flat POCL_CACHE_DIR="$tmp/pocl" \
            passes build/tests/test_functions
    }
    shapes host 100000 2048
    shapes opencl:0 300 16384
    shapes vulkan:0 600 65536
else
    echo "skipped: build/ is not there"
fi

step "oclgrind"
rt=$(ls /usr/lib/oclgrind/liboclgrind-rt-icd.so /usr/lib/*/oclgrind/liboclgrind-rt-icd.so /usr/lib/liboclgrind-rt-icd.so 2>/dev/null | head -1)
if [ -z "$rt" ]; then
    echo "skipped: oclgrind is not here"
else
    mkdir "$tmp/icd"
    echo "$rt" >"$tmp/icd/oclgrind.icd"
    export OCL_ICD_VENDORS="$tmp/icd" OCLGRIND_LOG="$tmp/oclgrind.log" OCLGRIND_DATA_RACES=1 OCLGRIND_CHECK_API=1
    plain=build/tests/golden
    [ -x $plain ] || plain=build-asan/tests/golden
    # It knows no rotation of words, so no random numbers.
    for case in 'predict*' 'softmax*' 'pairwise*' 'rnn*' '*per_example*'; do
        passes $plain --device opencl:0 --family guide --case "$case" tests/golden
    done
    for family in control batching structural; do
        passes $plain --device opencl:0 --family $family --every 3 tests/golden
    done
    # Optimised, LLVM makes of a factorization's kernel a reversal of two bits, which it does not know, and it takes vectors of constant
    # truth values for their first one.
    OCLGRIND_BUILD_OPTIONS=-cl-opt-disable passes $plain --device opencl:0 --family derivatives --every 3 tests/golden
    OCLGRIND_BUILD_OPTIONS=-cl-opt-disable passes "$(dirname $plain)"/fuzz --views --device opencl:0 --seed 1 --count 500 --many 10
    if [ -s "$OCLGRIND_LOG" ]; then
        head -60 "$OCLGRIND_LOG"
        echo "oclgrind found mistakes"
        exit 1
    fi
    # It would say so: a kernel that writes one element too far.
    echo '__kernel void over(__global int *p) { p[get_global_id(0) + 1] = 1; }' >"$tmp/over.cl"
    printf 'over.cl\nover\n4 1 1\n4 1 1\n<size=16 fill=0 dump>\n' >"$tmp/over.sim"
    (cd "$tmp" && OCLGRIND_LOG="$tmp/over.log" oclgrind-kernel over.sim >"$tmp/over.out" 2>&1) || true
    cat "$tmp/over.log" "$tmp/over.out" 2>/dev/null | grep -q 'Invalid write' || { echo "oclgrind lets mistakes pass"; exit 1; }
fi
step "libFuzzer: texts and files from strangers, a minute each"
clang=$(command -v clang-14 || command -v clang || true)
if [ -z "$clang" ]; then
    echo "skipped: clang is not here"
else
    cmake --preset fuzz -DHEDDLE_BENCH=OFF -DCMAKE_C_COMPILER="$clang" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
    cmake --build --preset fuzz -j "$jobs" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
    for what in text file; do
        mkdir "$tmp/$what" "$tmp/found_$what"
        $t/fuzz_$what --folder tests/ir --write "$tmp/$what"
        build-fuzz/tests/fuzz_$what -max_total_time=60 -timeout=20 -dict="$tmp/$what.dict" -artifact_prefix=build-fuzz/ \
            "$tmp/found_$what" "$tmp/$what" >"$tmp/$what.log" 2>&1 &
        eval "$what=$!"
    done
    for what in text file; do
        eval "wait \$$what" || { tail -40 "$tmp/$what.log"; echo "failed: fuzz_$what; its input is in build-fuzz/"; exit 1; }
        tail -1 "$tmp/$what.log"
    done
fi
step "all is well"
