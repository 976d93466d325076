/*
 * spec_print.c - what the scheduler thought of a kernel, as a line of text.
 */
#include "spec.h"

static const char *spec_word(const Spec *s)
{
    static const char *const words[] = { "", "lanes", "rows", "scatter", "sort", "cumulative" };
    if (s->kind != SPEC_LOOPS)
        return words[s->kind];
    if (s->chunk)
        return "sums";
    if (s->contract)
        return "contract";
    for (int k = 0; k < s->nstore; k++)
        if (s->store[k].nspace)
            return "row";
    return s->flat || s->vec ? "map" : "reduce";
}

const char *spec_note(const Spec *s, bool packed)
{
    Text t = { 0 };
    text_add(&t, "%s (", spec_word(s));
    for (int k = 0; k < s->nouter; k++) {
        int block = 0;
        for (int j = 0; j < s->nblock; j++)
            block = s->block[j].a == s->outer[k] ? s->block[j].n : block;
        text_add(&t, "%s%lld%s", k ? ", " : "", (long long)atom_extent(s->outer[k]),
                 s->outer[k] == s->vec ? " vec" : "");
        if (block)
            text_add(&t, " x%d", block);
    }
    text_add(&t, ")");
    if (s->inner_tile > 1)
        text_add(&t, " inner x%d", s->inner_tile);
    if (s->chunk)
        text_add(&t, " chunk %lld", (long long)s->chunk);
    for (int k = 0; k < s->nstore; k++) {
        const Store *st = &s->store[k];
        const Ins *i = s->g->def[st->v];
        text_add(&t, "%s%s", k ? " " : " -> ", st->to.buf->name);
        text_add(&t, ":%s", i ? optab[i->op].name : "input");
        for (int d = 0; d < st->nspace; d++)
            text_add(&t, "%s%lld%s", d ? "," : "[", (long long)atom_extent(st->space[d]),
                     d == st->nspace - 1 ? "]" : "");
    }
    for (int k = 0; s->ins && !s->nstore && k < s->ins->nout; k++)
        if (s->live[k])
            text_add(&t, "%s%s", k ? " " : " -> ", s->stored[s->ins->out + (Ref)k].buf->name);
    for (Ref v = 1; packed && v < (Ref)s->g->nval; v++)
        if (s->instead[v].buf)
            text_add(&t, " packed %s", s->instead[v].buf->name);
    const char *note = arena_text("%s", t.s ? t.s : "");
    text_free(&t);
    return note;
}
