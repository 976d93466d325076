#!/bin/sh
# The tests again under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer: what runs on the host, all of it.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan >/dev/null
cmake --build --preset asan -j "$(nproc)" --target golden laws fuzz test_graph test_ir test_form test_transforms test_errors \
    test_cache
# Drivers keep memory until the process ends; what is ours must not leak.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
ctest --preset asan -j "$(nproc)" -R '^(golden.host.*|laws.host|fuzz|test_(graph|ir|form|transforms|errors|cache))$'
