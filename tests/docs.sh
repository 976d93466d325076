#!/bin/sh
# The code in the documents. In README.md and docs/*.md a block of C is, by the words after its three backquotes:
#     c          with main(): a program, which is built and run on the host; what it prints is the block `output` behind it, if
#                there is one. Without: declarations, which the blocks after it in the same document may use
#     c body     statements, inside a function of their own
#     c run      statements of a program that is built with the declarations before it, and run as `c` is; no array may be
#                alive at its end
#     c quote    lines of this project's own source: each must be there as it stands; `...` stands for lines left out
#     sh         commands: a program of ours that they name must be there
# In messages a block of start.md is a file start.c, and its first line is 1.
# What a block needs and a reader does not stands in a comment that begins with the line "<!-- c".
#     docs.sh BUILD SOURCE
set -u
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$source" || exit 1
bad=0 programs=0 blocks=0 quoted=0
say() { echo "$*"; bad=1; }
cc=$(command -v cc || command -v gcc || command -v clang) || { echo "skipped: there is no C compiler"; exit 77; }
flags="-std=gnu11 -Wall -Wextra -Wno-unused -Werror -I$source/api"

# One file a block: NN.KIND, with the line it begins at in its first line.
split() {
    awk -v dir="$1" '
        function open_(k) { n++; out = sprintf("%s/%03d.%s", dir, n, k); printf "" > out; print FNR + 1 > (out ".line"); inside = 1 }
        inside && (/^```/ || /^-->/) { close(out); inside = 0; next }
        inside { print > out; next }
        /^```c body/ { open_("body"); next }
        /^```c run/ { open_("run"); next }
        /^```c quote/ { open_("quote"); next }
        /^```c *$/ || /^<!-- c$/ { open_("c"); next }
        /^```output/ { open_("output"); next }
        /^```sh/ { open_("sh"); next }
        /^```[a-z]/ { print FNR > (dir "/unknown"); inside = 1; out = dir "/ignored"; next }
        /^```/ { inside = 1; out = dir "/ignored" }
    ' "$2"
}

# The lines of a block as they stand somewhere in the source, but for spaces at their ends.
quote() {
    while IFS= read -r line; do
        line=$(printf '%s' "$line" | sed 's/^ *//; s/ *$//')
        case $line in ''|'...'|'{'|'}'|*'...)'*) continue;; esac
        grep -rqF --include='*.[ch]' --include='*.def' -- "$line" graph api backends tests || say "$1: not in the source: $line"
    done <"$2"
}

printed_by() {      # the block `output` behind this one, if there is one
    next=$(basename "$1" | sed 's/^0*//; s/[.].*//')
    next=$(printf '%s/%03d.output' "$(dirname "$1")" $((next + 1)))
    [ ! -f "$next" ] || echo "$next"
}

run() {     # the program, its place, the file with what it prints
    $cc $flags "$1" -L"$build" -lheddle -lm -Wl,-rpath,"$build" -o "$tmp/program" 2>"$tmp/log" || { say "$2: does not build"; cat "$tmp/log"; return; }
    (cd "$tmp" && HEDDLE_DEVICE=host ./program >"$tmp/printed" 2>"$tmp/log") || { say "$2: fails"; cat "$tmp/log"; return; }
    programs=$((programs + 1))
    [ -z "$3" ] || diff "$3" "$tmp/printed" >"$tmp/log" || { say "$2: prints something else"; cat "$tmp/log"; }
}

for doc in README.md docs/*.md; do
    dir="$tmp/$(basename "$doc" .md)"
    mkdir "$dir"
    split "$dir" "$doc"
    [ ! -f "$dir/unknown" ] || say "$doc:$(head -1 "$dir/unknown"): a block of a kind that nothing tests"
    unit="$dir/unit.h"
    printf '#include <heddle.h>\n#include <math.h>\n#include <stdlib.h>\n#include <string.h>\n' >"$unit"
    for f in "$dir"/[0-9]*.c "$dir"/[0-9]*.body "$dir"/[0-9]*.run "$dir"/[0-9]*.quote "$dir"/[0-9]*.sh; do [ -f "$f" ] && echo "$f"; done | sort >"$dir/list"
    while IFS= read -r f; do
        place="$doc:$(cat "$f.line")"
        blocks=$((blocks + 1))
        case $f in
        *.quote) quote "$place" "$f"; quoted=$((quoted + 1)); continue;;
        *.sh) grep -oE '\bbuild/(tools|tests|examples|bench)/[a-z_]+' "$f" | sort -u | while IFS= read -r p; do
                [ -x "$build/${p#build/}" ] || echo "$place: there is no $p"; done >"$tmp/log"
            [ ! -s "$tmp/log" ] || { cat "$tmp/log"; bad=1; }
            continue;;
        *.run) { cat "$unit"; printf 'int main(void)\n{\n#line 1 "%s.c"\n' "$(basename "$doc" .md)"; cat "$f"
                echo 'return hd_live() != 0; }'; } >"$dir/try.c"
            run "$dir/try.c" "$place" "$(printed_by "$f")"
            continue;;
        *.body) { cat "$unit"; echo "static void statements(void) {"; cat "$f"; echo "}"; } >"$dir/try.c";;
        *) if grep -q 'main(' "$f"; then
                run "$f" "$place" "$(printed_by "$f")"
                continue
            fi
            { printf '#line 1 "%s.c"\n' "$(basename "$doc" .md)"; cat "$f"; } >>"$unit"
            cp "$unit" "$dir/try.c";;
        esac
        $cc $flags -fsyntax-only "$dir/try.c" 2>"$tmp/log" || { say "$place: does not compile"; cat "$tmp/log"; }
    done <"$dir/list"
done

# A document that is named in another is there.
grep -noE '\]\([A-Za-z0-9_./-]+\.(md|c|h)\)' README.md docs/*.md | while IFS=: read -r doc line link; do
    to=$(printf '%s' "$link" | sed 's/^](//; s/)$//')
    [ -f "$(dirname "$doc")/$to" ] || echo "$doc:$line: there is no $to"
done >"$tmp/log"
[ ! -s "$tmp/log" ] || { cat "$tmp/log"; bad=1; }

# Every variable that is read is in docs/environment.md.
grep -rhoE 'getenv\("HEDDLE_[A-Z_]+' api graph backends tests tools bench examples --include='*.c' --include='*.h' | sed 's/.*"//' |
    sort -u | while IFS= read -r name; do
    grep -qF "\`$name\`" docs/environment.md || echo "docs/environment.md says nothing of $name"
done >"$tmp/log"
[ ! -s "$tmp/log" ] || { cat "$tmp/log"; bad=1; }

[ $bad = 0 ] && echo "$blocks blocks hold, $programs programs ran, $quoted were found in the source"
exit $bad
