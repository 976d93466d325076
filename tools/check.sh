#!/bin/sh
# Sanitizers and simulators: the tests again under AddressSanitizer and UndefinedBehaviorSanitizer, and kernels under oclgrind.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)
cmake --preset asan >/dev/null
cmake --build --preset asan -j "$jobs"
# PoCL and LLVM keep memory until the process ends; what is ours must not leak.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
ctest --preset asan -LE slow
