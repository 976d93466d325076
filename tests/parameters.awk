# Functions of more than six parameters, but for those whose comment says why, with the word "parameters".
#     awk -f parameters.awk FILE.c ...
# A definition begins in the first column and ends its parameters before a brace; its comment stands right above it.
FNR == 1 { comment = head = ""; reading = 0 }
reading == 0 && /^\/\*/ { comment = ""; inside = 1 }
inside { comment = comment " " $0; if (/\*\//) inside = 0; next }
reading == 0 && /^[A-Za-z].*\(/ && !/^(typedef|#|else|struct|enum|union)/ && !/=/ { reading = 1; head = ""; at = FNR }
reading {
    head = head " " $0
    if (/;[ \t]*$/ && !/\{/) { reading = 0; comment = ""; next }
    if (!/\{/) next
    reading = 0
    sub(/\{.*/, "", head)
    depth = commas = 0
    for (i = length(head); i > 0; i--) {                # the last group of parentheses
        c = substr(head, i, 1)
        if (c == ")") depth++
        if (c == "," && depth == 1) commas++
        if (c == "(" && --depth == 0) break
    }
    if (commas > 5 && comment !~ /parameters/) print FILENAME ":" at ": " commas + 1
    comment = ""
    next
}
/^[^ \t\/}]/ || /^$/ { comment = "" }
