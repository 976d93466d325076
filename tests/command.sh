#!/bin/sh
# The heddle command: transforms nest in the order in which they are given, and what makes no sense is refused with a sentence.
#     command.sh BUILD
set -u
heddle=$1/tools/heddle tools=$(cd "$1/tools" && pwd) docs=$(dirname "$0")/../docs
[ -x "$heddle" ] || { echo "skipped: the command is not built"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_DEVICE=host
bad=0

cat >"$tmp/square.hd" <<'END'
;in 1 2 3
fn square(x0: f32[]) -> f32[] {
    v1: f32[] = mul x0 x0
    ret v1
}
END
cat >"$tmp/two.hd" <<'END'
;in 3
;in 5
fn two(x0: f32[], x1: f32[]) -> f32[], f32[] {
    v2: f32[] = mul x0 x1
    v3: f32[] = add x0 x1
    ret v2, v3
}
END

gives() {                                       # words that the output has, in one line; arguments
    want=$1
    shift
    got=$("$heddle" "$@" 2>&1 | tr -s ' \n' '  ')
    case "$got" in *"$want"*) ;; *) echo "heddle $*: no $want in: $got"; bad=1 ;; esac
}
refuses() {                                     # words that the message has; arguments
    want=$1
    shift
    got=$("$heddle" "$@" 2>&1 >/dev/null) && { echo "heddle $* is accepted"; bad=1; }
    case "$got" in *"$want"*) ;; *) echo "heddle $*: no $want in: $got"; bad=1 ;; esac
}

gives "[1. 4. 9.]" run "$tmp/square.hd" --vmap 3
gives "[[1. 4.] [9. 1.] [4. 9.]]" run "$tmp/square.hd" --vmap 2 --vmap 3
gives "f32[3,2]" run "$tmp/square.hd" --vmap 2 --vmap 3 --print
gives "[2. 4. 6.]" run "$tmp/square.hd" --grad --vmap 3
gives "x1: f32[3]" run "$tmp/square.hd" --vmap 3 --jvp --print
gives "x1: f32[3]" run "$tmp/square.hd" --vmap 3 --vjp --print
gives "x3: f32[]" run "$tmp/two.hd" --vjp --print
refuses "--in" run "$tmp/square.hd" --in a.npy --in b.npy
refuses "b.npy" run "$tmp/square.hd" --in a.npy --in b.npy
refuses "a.npy" run "$tmp/square.hd" --in a.npy
refuses "one device" run "$tmp/square.hd" --device host --device opencl:0
refuses "how many" run "$tmp/square.hd" --vmap 0
refuses "how many" run "$tmp/square.hd" --vmap -2
refuses "how many" run "$tmp/square.hd" --vmap 3x
refuses "how many" run "$tmp/square.hd" --vmap ""
refuses "how many" run "$tmp/square.hd" --vmap=
refuses "argument" run "$tmp/square.hd" --vmap
refuses "argument" run "$tmp/square.hd" --in
refuses "argument" run "$tmp/square.hd" --device
refuses "nowhere" run "$tmp/square.hd" --device nowhere
refuses "--bmap" run "$tmp/square.hd" --bmap 2
refuses "one program" run "$tmp/square.hd" "$tmp/two.hd"
refuses "which program" run
refuses "devices, run" walk "$tmp/square.hd"
refuses "devices, run"
export HEDDLE_CHECK=1
gives "fn square(x0: f32[]) -> f32[]" show trace "$tmp/square.hd"
gives "mul x0 x0 ret" show graph "$tmp/square.hd"
gives "f32[3] = mul x0 x0" show prepared "$tmp/square.hd" --vmap 3
gives "spec k0 map (32 vec) -> r0:mul" show spec "$tmp/square.hd" --vmap 32
gives "launch k0" show plan "$tmp/square.hd"
gives "= mul f32" show kernel "$tmp/square.hd"
gives "__kernel" show opencl "$tmp/square.hd" --grad --machine cpu
gives "= FMul %" show spirv "$tmp/square.hd" -m gpu
unset HEDDLE_CHECK
refuses "show trace, graph" show walk "$tmp/square.hd"
refuses "show trace, graph" show
refuses "which program" show plan
gives "kernel 0 f32[3] 0 0 0 0 0 agrees" compare "$tmp/square.hd" --devices kernel --vmap 3
gives "\"agree\":true,\"devices\":[{\"device\":\"kernel\"" compare "$tmp/square.hd" --devices kernel --json
gives "2 programs: all agree" compare "$tmp/square.hd" "$tmp/two.hd" --devices kernel
refuses "which program" compare
refuses "nowhere" compare "$tmp/square.hd" --devices nowhere
refuses "how many roundings" compare "$tmp/square.hd" --tol much
refuses "for one program" compare "$tmp/square.hd" "$tmp/two.hd" --html "$tmp/page.html"
refuses "are for compare" run "$tmp/square.hd" --nodes
export HEDDLE_WRONG=kernel:mul
gives "no line: v2: f32[3] = mul" compare "$tmp/square.hd" --devices kernel --vmap 3 --nodes --shrink "$tmp/small" --html "$tmp/page.html"
"$heddle" compare "$tmp/square.hd" --devices kernel >/dev/null && { echo "a fault is no difference"; bad=1; }
(cd "$tmp/small" && PATH=$tools:$PATH sh again.sh | grep -q differs) || { echo "what is left does not differ"; bad=1; }
[ -s "$tmp/small/kernel.txt" ] || { echo "no kernel is written"; bad=1; }
grep -q "born" "$tmp/page.html" && grep -q "</html>" "$tmp/page.html" || { echo "no page"; bad=1; }
unset HEDDLE_WRONG
refuses "one program" show plan "$tmp/square.hd" "$tmp/two.hd"
refuses "runs nothing" show plan "$tmp/square.hd" --device host
refuses "is for show" run "$tmp/square.hd" --machine gpu
refuses "abacus: the machine" show plan "$tmp/square.hd" --machine abacus
refuses "scalar" show plan "$tmp/square.hd" --vmap 3 --grad
refuses "nothing else" devices "$tmp/square.hd"
refuses "nothing else" devices --vmap 2
refuses "is for devices" run "$tmp/square.hd" --verbose
refuses "No such file" run "$tmp/none.hd"
refuses "more than 16" run "$tmp/two.hd" --jvp --jvp --jvp --jvp
refuses "scalar" run "$tmp/square.hd" --vmap 3 --grad
# What HEDDLE_FAULT cannot mean is told, and all that it can mean is in the documents.
for kind in host opencl vulkan mpi; do
    told=$(HEDDLE_FAULT=$kind:nothing:1 "$heddle" devices 2>&1 >"$tmp/out" | grep 'no call "nothing"') || {
        echo "HEDDLE_FAULT=$kind:nothing:1 is not told"
        bad=1
    }
    for call in $(echo "$told" | sed 's/.*there are: //; s/, \*$//; s/,//g'); do
        grep -q "\`$call\`" "$docs/debugging.md" || { echo "docs/debugging.md does not name $kind:$call"; bad=1; }
    done
done
# A GPU in software: neighbours beside one another take the fewest sectors, and a vector an item does not.
cat >"$tmp/axpy.hd" <<'END'
fn axpy(x0: f32[65536], x1: f32[65536]) -> f32[65536] {
    v2: f32[65536] = add x0 x1
    ret v2
}
END
echo 'group_items 1' >"$tmp/one"
gives ' 4.0 4.0 ' sim "$tmp/axpy.hd" --gpu h200
HEDDLE_MACHINE=$tmp/one "$heddle" sim "$tmp/axpy.hd" --gpu h200 | grep -q ' 32.0  16.0 ' || { echo "sectors of a vector an item"; bad=1; }
refuses 'there are a6000' sim "$tmp/axpy.hd" --gpu h300
refuses 'belong together' sim "$tmp/axpy.hd"

HEDDLE_FAULT=moon:alloc:1 "$heddle" devices 2>&1 | grep -q 'no kind "moon".*vulkan, sim, host, kernel, mpi' || { echo "HEDDLE_FAULT=moon is not told"; bad=1; }
[ $bad = 0 ] && echo "the command line holds"
exit $bad
