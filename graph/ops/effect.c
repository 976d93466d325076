/*
 * effect.c - what a program does beside its results, as instructions: check, debug_print.
 *
 * Attributes `name names`: the message or format, and the names of the lane axes, which are in front of
 * every operand. The first operand, bool with an element a lane, is also the result, which nobody needs: an
 * effect is never dead. Idle lanes have none.
 * Derivatives are not affected: values are observed, not used.
 * graph_lift_effects rewrites them before anything is scheduled, so there is nothing to evaluate.
 */
#include "ops.h"

const char *format_piece(const char *s, Text *t, bool *value)
{
    for (*value = false; *s; s++) {
        bool brace = *s == '{' || *s == '}';
        if (s[0] == '{' && s[1] == '}')
            return *value = true, s + 2;
        if (brace && s[1] != *s)
            return NULL;
        if (t)
            text_char(t, *s, 1);
        s += brace;
    }
    return s;
}

static int format_fits(const char *format, int given)
{
    int wanted = 0;
    bool value;
    for (const char *s = format; *s; wanted += value)
        if (!(s = format_piece(s, NULL, &value)))
            return error_set(
                E_INVAL, "hd_debug_print: \"%s\": a value is {}, and a brace by itself is {{ or }}", format);
    return wanted == given ? 0 :
                             error_set(E_INVAL, "hd_debug_print: \"%s\" wants %d values, and %d are given",
                                 format, wanted, given);
}

static int effect_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    struct check_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.name.n != 1 || nin < 1 || t[0]->dt != DT_BOOL || t[0]->rank != a.names.n)
        return error_set(E_SHAPE, "%s: the first operand is bool, with the %d lane axes that are named",
            optab[op].name, a.names.n);
    for (int k = 1; k < nin; k++)
        for (int d = 0; d < a.names.n; d++)
            if (t[k]->rank < a.names.n || t[k]->dim[d] != t[0]->dim[d])
                return error_set(E_SHAPE, "%s: %s does not have the lanes of %s", optab[op].name,
                    type_text(t[k]), type_text(t[0]));
    *out = *t[0];
    return op == OP_debug_print ? format_fits((const char *)(intptr_t)a.name.v[0], nin - 1) : 0;
}

/* One more lane axis in front. */
static void effect_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref *y = NEWS(Ref, i->nin);
    Attr a = { 0 };
    int n;
    const int64_t *names = ins_attr(i, ATTR(check, names), &n);
    if (n == MAXRANK) {
        error_set(E_SHAPE, "%s: more than %d lane axes", optab[i->op].name, MAXRANK);
        return;
    }
    int64_t more[MAXRANK];
    more[0] = (int64_t)(intptr_t)(ax->lane.name ? ax->lane.name : intern(""));
    for (int k = 0; k < n; k++)
        more[k + 1] = names[k];
    attr_int(&a, ins_int(i, ATTR(check, name)));
    attr_list(&a, more, n + 1);
    ops_stack(i, x, s, ax, y);
    if (ax->mask && y[0]) {
        Ref on = Broadcast(ax->mask, type_shape(typ(y[0])), (Ints){ 1, { 0 } });
        y[0] = i->op == OP_check ? Or(y[0], Not(on)) : And(y[0], on);
    }
    out[0] = emit((Op)i->op, i->nin, y, &a);
    so[0] = STACKED;
}

const Rules rules_check = { effect_infer, ops_jvp_zero, NULL, effect_batch, NULL };
const Rules rules_debug_print = { effect_infer, ops_jvp_zero, NULL, effect_batch, NULL };
