#!/bin/sh
# docs/ops.md says what the header and the op table say, and has words for every row.
#     ops.sh BUILD SOURCE [--update]
set -u
build=$1 source=$2
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
"$build/heddle-ops" "$source" >"$tmp" || exit 1
[ "${3-}" = --update ] && cp "$tmp" "$source/docs/ops.md"
diff "$source/docs/ops.md" "$tmp" >&2 && echo "docs/ops.md is up to date" && exit 0
echo "docs/ops.md is out of date: tests/ops.sh $build $source --update" >&2
exit 1
