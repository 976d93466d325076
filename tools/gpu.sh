#!/bin/bash
# On a machine with a GPU: is what Heddle computes there right, and how fast is it? One report in text, in under 8 minutes.
#   tools/gpu.sh [--report FILE] [--any] [--profile NAME] [--jax PYTHON] [--minutes N]
# For each GPU of OpenCL and of Vulkan: a build, the guide, a sample of the golden programs and of the laws; then what memory and
# products take, beside JAX where PYTHON has it (on the GPU where it finds one), and what backends/sim predicts of that GPU.
#   --any           devices on processors, too, planned for as GPUs are: how this script is tried without one
#   --profile NAME  which GPU of backends/sim/profiles this is (by default, by the model's name)
# The report ends with `failed: 0`, and the status is 0, if everything agreed. What there was no time for is said.
set -u
cd "$(dirname "$0")/.." || exit 2
report=gpu-report.txt any='' profile='' python=python3 minutes=8
while [ $# -gt 0 ]; do
    case $1 in
    --report) report=$2; shift ;;
    --profile) profile=$2; shift ;;
    --jax) python=$2; shift ;;
    --minutes) minutes=$2; shift ;;
    --any) any=1 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
began=$(date +%s)
measuring=$((minutes * 25))                     # seconds of them, for what is measured
reserved=$measuring                             # ... and for the devices that follow
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
memory="saxpy_16m exp_16m sum_16m cumsum_16m softmax layernorm layernorm_grad transpose_4096 scaled_loss_256k normalize_256"
products="gemm_512 gemm_1024 gemm_2048 bmm_512 attention"
[ -n "$any" ] && export HEDDLE_CHECK=groups

left() { echo $((minutes * 60 - $(date +%s) + began)); }
say() { printf '%s\n' "$@" | tee -a "$report"; }

# What is tried, at most so long, and never longer than what is left before measuring begins: a line, and the end of what it said
# where it failed.
try() {                                         # seconds, what it is, command ...
    local most=$1 what=$2 code=0 at
    at=$(date +%s)
    shift 2
    local rest=$(($(left) - reserved))
    [ "$rest" -gt 5 ] || { say "$(printf '%-44s no time left' "$what")"; return; }
    [ "$most" -lt "$rest" ] || most=$rest
    timeout "$most" "$@" >"$tmp/log" 2>&1 || code=$?
    at=$(($(date +%s) - at))
    case $code in
    0) say "$(printf '%-44s ok, %d s: %s' "$what" "$at" "$(tail -1 "$tmp/log" | cut -c1-80)")" ;;
    124) say "$(printf '%-44s not done after %d s' "$what" "$most")" ;;
    *) failed=$((failed + 1)); say "$(printf '%-44s FAILED with %d' "$what" "$code")"; tail -20 "$tmp/log" | tee -a "$report" ;;
    esac
}

: >"$report" || exit 2
say "Heddle on this machine's GPUs, $(date -u +%F), $(git rev-parse --short HEAD 2>/dev/null || echo 'no git')"
try 300 "build" sh -c 'cmake --preset release && cmake --build build -j"$(nproc)" --target heddle heddle_command example_guide golden laws bench'
[ "$failed" = 0 ] || exit 1
heddle=build/tools/heddle
"$heddle" devices >"$tmp/devices" 2>&1
cat "$tmp/devices" >>"$report"
devices=$(awk -v any="$any" '/^(opencl|vulkan):/ { d = $1 } /^ +memory/ && d { if (any || !/a processor/) print d; d = "" }' "$tmp/devices")
[ -n "$devices" ] || { say "no GPU: install its OpenCL or Vulkan driver; --any takes devices on processors"; exit 1; }

to_go=$(echo "$devices" | wc -w)
for d in $devices; do
    reserved=$(($(left) - ($(left) - measuring) / to_go))
    to_go=$((to_go - 1))
    model=$(awk -v d="$d" '$1 == d { $1 = ""; print }' "$tmp/devices")
    say "" "== $d:$model"
    "$heddle" devices --verbose | awk -v d="$d" '/^[a-z]+:?[0-9]* / && /^(opencl|vulkan|host)/ { on = $1 == d }
        on && /^(lanes|cores|group_items|local_memory) / { print "   " $1, $2 }' | tee -a "$report"
    try 60 "$d: the guide" build/examples/guide --device "$d"
    try 75 "$d: a sample of the golden programs" build/tests/golden --device "$d" --every 40 tests/golden
    for op in reduce_sum dot cumsum sort; do
        try 20 "$d: laws of $op" build/tests/laws --device "$d" --op "$op"
    done
done

# ---- how fast: least time of a call in ms; what sim predicts of that GPU; JAX
jaxed() { [ -s "$tmp/jax" ] && sed -n "s/.*\"name\": *\"$1\".*\"min_ms\": *\([0-9.e-]*\).*/\1/p" "$tmp/jax" | head -1; }
if [ "$(left)" -gt 90 ] && "$python" -c 'import jax' 2>/dev/null; then
    # shellcheck disable=SC2086
    timeout 60 "$python" bench/jax_suite.py --min-time 0.2 $memory $products >"$tmp/jax" 2>/dev/null
fi
to_go=$(echo "$devices" | wc -w)
for d in $devices; do
    reserved=$(($(left) - $(left) / to_go))
    to_go=$((to_go - 1))
    model=$(awk -v d="$d" '$1 == d { $1 = ""; print }' "$tmp/devices")
    gpu=$profile
    case $model in
    *H200* | *H100*) gpu=${gpu:-h200} ;;
    *7900*) gpu=${gpu:-rx7900xtx} ;;
    *B580*) gpu=${gpu:-arcb580} ;;
    *A6000*) gpu=${gpu:-a6000} ;;
    *G715* | *Immortalis*) gpu=${gpu:-malig715} ;;
    esac
    say "" "== $d, ms" "$(printf '%-20s %10s %12s %12s  %s' workload measured "sim:${gpu:-none}" JAX bandwidth)"
    for w in $memory $products; do
        rest=$(($(left) - reserved))
        [ "$rest" -gt 10 ] || { say "no time left"; break; }
        timeout "$rest" build/bench/bench --device "$d" --no-cached -t 0.2 --limit 30 "$w" >"$tmp/log" 2>&1
        ms=$(awk '/ min / { for (k = 1; k < NF; k++) if ($k == "min") print $(k + 1) }' "$tmp/log")
        bytes=$(awk '/ bytes / { for (k = 1; k < NF; k++) if ($k == "bytes") print $(k + 1) }' "$tmp/log")
        if [ -z "$ms" ] && [ "$(left)" -gt "$reserved" ] && ! grep -q 'took too long' "$tmp/log"; then
            failed=$((failed + 1))
            tail -3 "$tmp/log" | tee -a "$report"
        fi
        # A prediction is the launches' time and, between them, the device's own.
        us=
        [ -n "$gpu" ] && [ $(($(left) - reserved)) -gt 20 ] && us=$(HEDDLE_CHECK='' timeout 40 build/bench/bench --device "sim:$gpu" "$w" 2>/dev/null |
            awk '/ us / { for (k = 1; k < NF; k++) if ($k == "predicted") print $(k + 1) }')
        say "$(awk -v w="$w" -v ms="${ms:-0}" -v us="$us" -v jax="$(jaxed "$w")" -v b="${bytes:-0}" 'BEGIN {
            printf "%-20s %10s %12s %12s  %.0f GB/s", w, ms ? sprintf("%.4f", ms) : "-", us ? sprintf("%.4f", us / 1e3) : "-",
                jax ? sprintf("%.4f", jax) : "-", ms ? b / ms / 1e6 : 0 }')"
    done
done
say "" "took $(($(date +%s) - began)) s" "failed: $failed"
[ "$failed" = 0 ]
