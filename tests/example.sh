#!/bin/sh
# An example of the gallery on a device: it ends well, and prints what tests/examples/NAME.txt says. There each line is compared word by
# word; a number may differ by two units of the last digit that is written there, so the file has the digits that are promised.
#     example.sh PROGRAM EXPECTED DEVICE [OPTION...]
# RUN="ranks.sh BUILD 4" in the environment: as several processes, of which one prints.
set -u
program=$1 expected=$2 device=$3
shift 3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
${RUN:-} "$program" --device "$device" "$@" >printed 2>errors
code=$?
[ $code != 77 ] || { cat printed; exit 77; }
if [ $code != 0 ]; then
    grep -q 'there is no device' errors && { cat errors; exit 77; }
    cat printed errors
    exit 1
fi
awk -v device="$device" '
    function words(line, w) { gsub(/[][,]/, " ", line); return split(line, w, " ") }
    function number(x) { return x ~ /^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?$/ }
    function unit(x,   mantissa, exponent, point) {
        exponent = x ~ /e/ ? substr(x, index(x, "e") + 1) + 0 : 0
        mantissa = x; sub(/e.*/, "", mantissa)
        point = index(mantissa, ".")
        return 10 ^ (exponent - (point ? length(mantissa) - point : 0))
    }
    function alike(want, got) {
        if (!number(want) || !number(got) || want !~ /[.e]/)
            return want == got
        return (got - want <= 2.001 * unit(want)) && (want - got <= 2.001 * unit(want))
    }
    function differ(why) { print device ": line " FNR ": " why "\n  printed  " $0 "\n  expected " want[FNR]; bad = 1 }
    NR == FNR { want[FNR] = $0; lines = FNR; next }
    {
        got = FNR
        n = words(want[FNR], w); m = words($0, g)
        if (n != m) { differ("other words"); next }
        for (i = 1; i <= n; i++)
            if (!alike(w[i], g[i])) { differ(g[i] " is not " w[i]); break }
    }
    END { if (got != lines) { print device ": " got + 0 " lines are printed, " lines " are expected"; bad = 1 } exit bad }
' "$expected" printed
