#!/bin/sh
# The stored cases of a family, read on the device `kernel`, and how long their kernels are: compilers take their time for long ones.
#     golden_lines.sh GOLDEN FAMILY FOLDER
# A kernel has 600 lines at most, as those of the yardstick do (tests/compile/test_bench.c). In these families some have more, and no
# more than they had when they were last improved:
#     derivatives    the incomplete beta and gamma functions in f64, with their derivatives: series and fractions of their own
#     elementwise    the same; and zeta and polygamma
#     control        a loop that solves small systems, with its tangent
#     structural     eigenvectors by rotations
#     prng           samplers that reject, with several ways to draw: binomial numbers, and gamma's with their derivatives
#     guide          a particle's orbit, and a step of a fit, with their gradients, whose loops are one kernel
set -u
golden=$1 family=$2 folder=$3
case $family in
derivatives) limit=1474 ;;
prng) limit=1389 ;;
elementwise) limit=1266 ;;
control) limit=711 ;;
structural) limit=700 ;;
guide) limit=693 ;;
*) limit=600 ;;
esac
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
{ HEDDLE_DUMP=kernel "$golden" --device kernel --family "$family" "$folder" 2>&1 >"$tmp/out"; echo "status $?"; } |
    awk -v limit="$limit" '
        /^status / { status = $2; next }
        /^kernel / { lines = 0; open = 1; name = $2; sub(/\(.*/, "", name); count++ }
        open { lines++; last = $0 }
        open && /^}/ {
            open = 0
            longest = lines > longest ? lines : longest
            if (lines > limit) { print "a kernel of " lines " lines, not " limit ": " name; bad = 1 }
            next
        }
        !open && !/^---- kernel/ { print }
        END {
            print count + 0 " kernels, the longest has " longest + 0 " lines"
            exit bad || status
        }'
bad=$?
cat "$tmp/out"
exit $bad
