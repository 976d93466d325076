#!/bin/sh
# Programs with what they become below them: every rule of the scheduler, and of the rooms around it, by a file that bears its name.
#     text.sh BUILD ROOT [--update] [FILE...]         all files of tests/text/; --update writes what is, for `git diff` to be read
#
# In a file, a line
#     ;show spec --machine gpu | ^spec .*
# is followed by all that the pattern (of grep -oE) finds in what `heddle show spec FILE --machine gpu` prints, a match a line:
#     ;> spec k0 map (4096 vec) -> r0:exp
# Equal matches that follow one another are one line. Values have no numbers in kernels and SPIR-V, which change with everything.
# HEDDLE_CHECK=1 is set, so each stage on the way is verified too.
set -u
build=$(cd "$1" && pwd) root=$(cd "$2" && pwd)
shift 2
update=
[ "${1:-}" != --update ] || { update=yes; shift; }
for f; do                                       # by their whole names
    set -- "$@" "$(realpath "$f")"
    shift
done
heddle=$build/tools/heddle
[ -x "$heddle" ] || { echo "skipped: the command is not built"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HEDDLE_CHECK=1
unset HEDDLE_DUMP

# What a ";show" line finds.
matches() {                                     # FILE "STAGE [OPTION...] | PATTERN"
    words=${2%% | *} pattern=${2#* | }
    # shellcheck disable=SC2086
    if ! "$heddle" show ${words%% *} "$1" ${words#"${words%% *}"} >"$tmp/stage" 2>"$tmp/error"; then
        echo ";> fails: $(head -n 1 "$tmp/error" | sed "s|$1|FILE|g")"
        return
    fi
    case $words in
    kernel*) numbers='s/(^|[^a-z0-9_])v[0-9]+/\1v/g' ;;
    spirv*) numbers='s/%[0-9]+/%/g' ;;
    *) numbers= ;;
    esac
    grep -oE -e "$pattern" "$tmp/stage" | sed -E "$numbers" | sed 's/^ *//; s/ *$//' | uniq -c |
        sed -E 's/^ *1 //; s/^ *([0-9]+) (.*)/\2    (\1 times)/; s/^/;> /' >"$tmp/found"
    [ -s "$tmp/found" ] && cat "$tmp/found" || echo ";> nothing"
}

# A file as it should be.
render() {
    while IFS= read -r line; do
        case $line in
        ";> "*) continue ;;
        ";show "*) printf '%s\n' "$line"; matches "$1" "${line#;show }" ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <"$1"
}

same() { render "$1" >"$tmp/now" && cmp -s "$1" "$tmp/now"; }

# A lost line is noticed.
notices() {
    sed '/^;> /d' "$1" >"$tmp/lost.hd"
    ! same "$tmp/lost.hd"
}

[ $# -gt 0 ] || set -- "$root"/tests/text/*/*.hd
cd "$root" || exit 1                            # --machine machines/gpu32.txt
bad=0 n=0
for f; do
    n=$((n + 1))
    if ! grep -q '^;show ' "$f"; then
        echo "$f shows nothing"
        bad=1
    elif ! same "$f"; then
        bad=1
        if [ -n "$update" ]; then
            cp "$tmp/now" "$f"
            echo "written: $f"
        else
            echo "${f#"$root"/} is another text now:"
            diff "$f" "$tmp/now" | grep '^[<>]'
        fi
    fi
done
[ -n "$update" ] && exit 0
notices "$1" || { echo "a text that is lost goes unnoticed"; bad=1; }
[ $bad = 0 ] && echo "$n programs become what is written below them"
exit $bad
