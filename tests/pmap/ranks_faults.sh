#!/bin/sh
# What one of three ranks does wrong is an error or the end of the job, in bounded time, and says who it was.
#     ranks_faults.sh BUILD SOURCE
# All times follow from how long a job takes here and now that does nothing wrong.
build=$1 source=$2
export HEDDLE_DEVICE=host
try() {                                         # case, whether it succeeds, limit in seconds, what is said
    out=$(HEDDLE_MPI_TIMEOUT=$3 timeout $((200 + 10 * ${took:-0})) "$source/tests/pmap/ranks.sh" "$build" 3 "$build/tests/ranks" "$1" 2>&1)
    code=$?
    case $code in
    77) echo "$out"; exit 77 ;;
    124) echo "$1: it hangs"; echo "$out"; exit 1 ;;
    esac
    { [ $code = 0 ] && [ "$2" = yes ]; } || { [ $code != 0 ] && [ "$2" = no ]; } || { echo "$1 ends with $code:"; echo "$out"; exit 1; }
    echo "$out" | grep -q "$4" || { echo "$1 does not say \"$4\":"; echo "$out"; exit 1; }
}
began=$(date +%s)
try right yes 100 ''
took=$(($(date +%s) - began))
short=$((3 + 2 * took))
export RANKS_LONGER=$((short + 2))
# Those with a long limit side by side, three at a time: most of their time is MPI's beginning and end.
(
    try fails yes 100 'rank 2 says: .*this one refuses.*shard 1 of 3, on 1/host'
    try different yes 100 'rank 1 has come to\|rank 1 to'
    try ends no 100 'rank 1 of 3 has ended'
    try killed no 100 'rank 1'
) &
one=$!
(
    try 'fails in a scan' yes 100 'rank 0 says: .*this one refuses.*shard 1 of 3, on 1/host'
    try 'killed in a scan' no 100 'rank 1'
    try 'killed in a grid' no 100 'rank 1'
    try alone no 100 'rank [02] of 3 has ended'
) &
two=$!
(
    try 'does not read' no 100 'rank 1 of 3 has ended.*the reading of an array'
    try 'killed at home' no 100 'rank 1'
    try 'comes late' yes 100 ''
) &
three=$!
for job in $one $two $three; do
    wait "$job"
    code=$?
    [ $code = 0 ] || worst=$code
done
[ -z "${worst:-}" ] || exit "$worst"
# Those whose limit must pass alone: who is only slow must not be taken for one that is gone.
try 'stopped in a scan' no "$short" 'rank 1 of 3 has not'
try 'exits in a scan' no "$short" 'rank 1 of 3 ends its job'
try 'takes long' yes "$short" ''
try 'all stopped in a scan' yes "$short" ''
try 'stopped at home' no "$short" 'rank 1 of 3 has not'
try 'never comes' no "$short" ''
try 'stopped at the end' no "$short" 'rank 1 of 3 has not come to its end'
try stopped no "$short" 'rank 1 of 3 has not'
echo "what one rank does wrong is told"
