#!/bin/sh
# Who may include whom. For each room a file that includes one header, compiled with the include path of the room: it must work
# where the room may enter, and fail where it may not. Quoted includes name no folder, so the path is all there is.
#     rooms.sh BUILD SOURCE
set -u
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
say() { echo "$*"; bad=1; }
commands="$build/compile_commands.json"
[ -f "$commands" ] || { echo "skipped: no $commands"; exit 77; }

# The -I options of a room, from the command of one of its files.
path_of() {
    grep '"command"' "$commands" | grep "CMakeFiles/heddle_$1.dir/" | head -1 | grep -oE -- '-I *[^ ]+' | tr '\n' ' '
}

# room, what it may include, what not
check() {
    path=$(path_of "$1")
    [ -n "$path" ] || { say "no compile command of room $1"; return; }
    for h in $2; do
        echo "#include \"$h\"" >"$tmp/x.c"
        cc -std=gnu11 $path -fsyntax-only "$tmp/x.c" 2>"$tmp/log" || { say "$1 should see $h"; cat "$tmp/log"; }
    done
    for h in $3; do
        echo "#include \"$h\"" >"$tmp/x.c"
        cc -std=gnu11 $path -fsyntax-only "$tmp/x.c" 2>"$tmp/log" && say "$1 can see $h"
    done
}

check graph    "base.h graph.h"                       "index.h kernel.h spec.h backend.h api.h heddle.h ops.h"
check ops      "base.h graph.h"                       "index.h kernel.h backend.h api.h heddle.h"
check index    "base.h graph.h index.h demand.h"      "kernel.h mathematics.h plan.h prepare.h spec.h lower.h backend.h api.h"
check kernel   "base.h target.h index.h kernel.h"     "graph.h demand.h mathematics.h plan.h prepare.h spec.h lower.h backend.h api.h"
check math     "graph.h kernel.h mathematics.h"       "plan.h prepare.h spec.h lower.h backend.h api.h"
check plan     "base.h kernel.h plan.h"               "graph.h demand.h mathematics.h prepare.h spec.h lower.h backend.h api.h"
check prepare  "graph.h demand.h prepare.h"           "kernel.h mathematics.h plan.h spec.h lower.h backend.h api.h"
check schedule "graph.h kernel.h plan.h prepare.h spec.h" "mathematics.h compile.h backend.h api.h"
check lower    "graph.h kernel.h mathematics.h spec.h lower.h" "plan.h prepare.h compile.h backend.h api.h"
check compile  "graph.h plan.h spec.h lower.h compile.h" "backend.h api.h heddle.h"
check runtime  "base.h kernel.h plan.h backend.h"     "graph.h demand.h spec.h api.h heddle.h opencl.h"
check opencl   "base.h kernel.h plan.h backend.h opencl.h" "graph.h demand.h spec.h api.h heddle.h"
check sim      "base.h kernel.h plan.h backend.h sim.h" "graph.h demand.h spec.h api.h heddle.h opencl.h"
check host     "base.h graph.h plan.h backend.h"      "spec.h api.h heddle.h opencl.h"
check reader   "base.h graph.h plan.h run.h backend.h" "spec.h api.h heddle.h opencl.h"
check api      "api.h heddle.h graph.h compile.h backend.h" "spec.h lower.h opencl.h ops.h"
[ -d "$source/backends/vulkan" ] && check vulkan "base.h kernel.h plan.h backend.h" "graph.h demand.h spec.h api.h heddle.h opencl.h"

found=$(grep -rnE '#include "[^"]*/' "$source/api" "$source/graph" "$source/backends" --include='*.[ch]')
[ -z "$found" ] || say "includes that name a folder: $found"
# latency.c times parts of a call, and collectives.c both ways of one, which is inside
found=$(grep -nE '#include ["<](api|graph|base|kernel|schedule|backend)\.h[">]' "$source"/examples/*.c "$source"/bench/*.[ch] |
    grep -vE 'bench/(latency|collectives).c:.*"api.h"')
[ -z "$found" ] || say "programs see heddle.h alone: $found"
found=$(grep -rlE '(CL/cl|vulkan/vulkan)' "$source/api" "$source/graph" --include='*.[ch]')
[ -z "$found" ] || say "vendors' headers outside backends/: $found"
# Rooms of graph/ see one another in one direction: what a file's include path has of them, sorted, has no cycle.
for room in index kernel math plan prepare schedule lower compile; do
    for seen in $(path_of "$room" | grep -oE 'graph/[a-z]+' | sort -u); do
        [ "$seen" = "graph/$room" ] || echo "graph/$room $seen"
    done
done >"$tmp/edges"
[ -s "$tmp/edges" ] || say "no edges between the rooms of graph/"
tsort "$tmp/edges" >/dev/null 2>"$tmp/log" || { say "rooms in a circle"; cat "$tmp/log"; }
# The lowering makes no choices: it reads neither prices nor limits of the machine. What it knows of vectors is that they have W lanes,
# and of buffers that some elements around them may be read (SLACK).
found=$(grep -nE 'Machine|->machine|target->|item_cycles|elem_cost|body_(weight|code)' "$source"/graph/lower/*.[ch])
[ -z "$found" ] || say "the lowering reads prices: $found"
# Nor does it compare anything with a number of its own: what depends on sizes is on the specification. (Of bits: of
# a float's exponent, of a word.)
found=$(grep -nE '[a-z)] [<>]=? ([5-9]|[1-9][0-9]+)\b' "$source"/graph/lower/*.c | grep -vE 'e < 253|bits < 64')
[ -z "$found" ] || say "the lowering compares with numbers: $found"
# The scheduler has no numbers of its own either, but 0, 1 and 2: prices and limits are rows of machine.def. What is left counts bits,
# ranks and dimensions, or is the room of an array, by its name.
found=$(sed -E 's/"([^"\\]|\\.)*"//g; s#/\*.*\*/##; s#^ *(/\*| \*[ /]| \*$).*##; /^$/d' "$source"/graph/schedule/*.[ch] |
    grep -E '(^|[^A-Za-z_0-9.])([0-9]*\.[0-9]+|[3-9]|[1-9][0-9]+)([^A-Za-z_0-9]|$)' |
    grep -vE 'enum \{ (BEHIND|NEVER|LINES|TILES) |[%/*] 64|<< 32|31 - __builtin|return 19|8 \* \(int\)dtype_size|33 / 32' |
    grep -vE '(rank|j) < 3|roll\[3\]|4 \* MAXRANK|100 \* s->fit')
[ -z "$found" ] || say "numbers of the scheduler's own: $found"
# Private headers are for their own room, whatever its path shows besides.
found=$(grep -rlE '"schedule\.h"' "$source/graph" "$source/backends" "$source/api" --include='*.[ch]' |
    grep -vE '/graph/(schedule|compile)/')
[ -z "$found" ] || say "private headers of the scheduler outside it: $found"

# Lines end before column 110, files after about 800 lines; the public header is one file on purpose.
sources=$(find "$source/api" "$source/graph" "$source/backends" "$source/tests" "$source/tools" "$source/bench" "$source/examples" \
    -name '*.[ch]')
found=$(echo "$sources" | xargs awk 'length($0) > 109 && !/\\$/ { print FILENAME ":" FNR }')
[ -z "$found" ] || say "lines past column 109: $(echo "$found" | head -5)"
found=$(echo "$sources" | grep -v '/api/heddle\.h$' | xargs wc -l | awk '$1 > 820 && $2 != "total" { print $2 " has " $1 }')
[ -z "$found" ] || say "files that are too long: $found"
# Functions take six parameters at most, or their comment says why.
found=$(echo "$sources" | grep -E "\.c$" | grep -v "^$source/tests/" |
    xargs awk -f "$source/tests/parameters.awk")
[ -z "$found" ] || say "more than six parameters: $found"

[ $bad = 0 ] && echo "every room sees what it may, and nothing else"
exit $bad
