#!/bin/sh
# tools/texts on a sample: the same build gives the same texts; a kernel, a step or a program that changes is noticed and named.
#     texts.sh BUILD ROOT
set -u
texts=$2/tools/texts
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
wrong() { echo "texts: $*"; bad=1; }

sample="softmax gemm_512 rnn_grad law.sort.f32 law.scatter.i32"
"$texts" make "$tmp/one" "$1" $sample >"$tmp/said" || wrong "make fails"
grep -q '^10 texts' "$tmp/said" || wrong "not ten texts: $(cat "$tmp/said")"
"$texts" make "$tmp/two" "$1" $sample >/dev/null || wrong "make fails again"
"$texts" compare "$tmp/one" "$tmp/two" >"$tmp/said" || wrong "two runs differ: $(cat "$tmp/said")"
grep -q '^kernel ' "$tmp/one/softmax.cpu" && grep -q '^ *launch ' "$tmp/one/softmax.cpu" || wrong "no plan or kernel in softmax.cpu"
cmp -s "$tmp/one/softmax.cpu" "$tmp/one/softmax.gpu" && wrong "one text for both shapes"

sed -i 's/ = hmax / = hmin /' "$tmp/two/softmax.cpu"
sed -i 's/loop \(.*\) times/loop \1 turns/; s/rows (/row (/' "$tmp/two/rnn_grad.cpu"
rm "$tmp/two/law.sort.f32.gpu"
"$texts" compare "$tmp/one" "$tmp/two" >"$tmp/said" && wrong "three changes go unnoticed"
for name in softmax.cpu rnn_grad.cpu law.sort.f32.gpu; do
    grep -q "^$name: " "$tmp/said" || wrong "the change of $name is not named: $(cat "$tmp/said")"
done
grep -q '^7 the same, 3 differ' "$tmp/said" || wrong "counts: $(tail -n 1 "$tmp/said")"
"$texts" make "$tmp/none" "$1" no_such_program >/dev/null 2>&1 && wrong "a program that is not there is made"
[ $bad = 0 ] && echo "texts are made, and compared"
exit $bad
