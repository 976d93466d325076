#!/bin/sh
# HEDDLE_TIMELINE over ranks is one file: a process for each rank, all that was begun is ended, and all by one clock, though
# those of the ranks are a thousand seconds apart. Each computes something while its bytes are on their way to the others.
#     ranks_timeline.sh BUILD SOURCE
build=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_DEVICE=host HEDDLE_TIMELINE=$tmp/run.json HEDDLE_CHECK=clocks
"$source/tests/pmap/ranks.sh" "$build" 3 "$build/tests/ranks" right >"$tmp/said" 2>&1
code=$?
[ $code = 0 ] || { cat "$tmp/said"; exit $code; }
[ "$(ls "$tmp" | wc -l)" = 2 ] || { ls "$tmp"; echo "there is more than one file"; exit 1; }
# As the Trace Event Format asks.
if [ -x "$build/tests/timeline" ]; then
    "$build/tests/timeline" "$HEDDLE_TIMELINE" || exit 1
fi
tr -d '"{}' <"$HEDDLE_TIMELINE" | sed 's/,$//' | awk -F'[:,]' '
    /process_name/ { rank[$4] = $NF }
    /ph:B,.*beside an exchange/ { beside[$4]++ }
    /ph:[BE],/ {
        n[$2, $4]++
        if (!first || $NF < first) first = $NF
        if ($NF > last) last = $NF
    }
    END {
        for (p = 1; p <= 3; p++)
            if (rank[p] != "rank " p - 1 || !n["B", p] || n["B", p] != n["E", p]) {
                print "process " p " is \"" rank[p] "\", begins " n["B", p] + 0 ", ends " n["E", p] + 0
                bad = 1
            } else if (!beside[p]) {
                print "process " p " does nothing while it waits"
                bad = 1
            }
        if (last - first > 300e6) {
            printf "the first and the last event are %.0f s apart\n", (last - first) / 1e6
            bad = 1
        }
        exit bad
    }' || { cat "$HEDDLE_TIMELINE"; exit 1; }
echo "one timeline of three ranks"
