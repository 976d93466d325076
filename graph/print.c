/*
 * print.c - a graph as text that parse.c reads back to the same graph, bit by bit.
 *
 *     fn softmax(x0: f32[8]) -> f32[8] {
 *         v2: f32[] = reduce_max x0 axes=0
 *         v3: f32[8] = broadcast v2 shape=8 dims=() @"net.c":12
 *         ...
 *         ret v9
 *     }
 *
 * A value is named where it is made, with its type; after that ' is a linear value, + an accumulator. What
 * is left of | in the list of inputs is what the function captured. Attributes carry the words of the op's
 * schema; an empty list is (). Floats are the shortest decimals that read back as the same bits, or the bits
 * themselves (0x7fc00001). @"file":line is where the user wrote it. `data` has its elements in braces;
 * `region` has its bodies there:
 *
 *         v4: f32[2], v5: f32[5,2] = region scan x0 x1 cap=0 acc=0 carry=1 length=5 lanes(3:"i"@"opencl:0")
 *         in(= |) out(= |) {
 *             fn step(x0: f32[2], x1: f32[2]) -> f32[2], f32[2] { ... }
 *         }
 *
 * Marks, one a lane axis: = shared, | stacked, + summed. Of a rule of the user's own, which is code, there
 * is its kind, how many captures it has and whose it is (rule jvp closed=0 "relu"): what is read back runs,
 * and cannot be differentiated. A comment goes from ; to the end of the line.
 */
#include "graph.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ==================== constants */

static void print_float(Text *t, Dtype dt, const void *p)
{
    int64_t bits = dtype_load_i(dt, p);
    double v = dtype_load_f(dt, p);
    char e[16], s[40];
    dtype_store_f(dt, e, v == v ? v : NAN);
    if (v != v && dtype_load_i(dt, e) != bits) {
        text_add(t, "0x%0*llx", 2 * (int)dtype_size(dt), (unsigned long long)bits);
        return;
    }
    if (v != v || isinf(v)) {
        text_add(t, v != v ? "nan" : v > 0 ? "inf" : "-inf");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        dtype_store_f(dt, e, strtod(s, NULL));
        if (dtype_load_i(dt, e) == bits)
            break;
    }
    text_add(t, "%s", s);
}

static void print_element(Text *t, Dtype dt, const void *p)
{
    if (dtype_float(dt) || dtype_f8(dt))
        print_float(t, dt, p);
    else if (dt == DT_BOOL)
        text_add(t, dtype_load_i(dt, p) ? "true" : "false");
    else if (dtype_int(dt) || dtype_stored(dt))
        text_add(t, dtype_unsigned(dt) ? "%llu" : "%lld", (long long)dtype_load_i(dt, p));
    else
        text_add(t, "0x%0*llx", 2 * (int)dtype_size(dt), (unsigned long long)dtype_load_i(dt, p));
}

/* Complex numbers are pairs. */
static void print_blob(Text *t, Dtype dt, const void *blob, size_t bytes)
{
    Dtype part = dt == DT_C64 ? DT_F32 : dt == DT_C128 ? DT_F64 : dt;
    size_t size = dtype_size(part);
    text_add(t, " {");
    for (size_t k = 0; k * size < bytes; k++) {
        text_add(t, k && k % 16 == 0 ? "\n    " : " ");
        print_element(t, part, (const char *)blob + k * size);
    }
    text_add(t, " }");
}

static void print_string(Text *t, const char *s)
{
    text_char(t, '"', 1);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            text_add(t, "\\%c", *s);
        else if ((unsigned char)*s < ' ')
            text_add(t, "\\x%02x", *s);
        else
            text_char(t, *s, 1);
    text_char(t, '"', 1);
}

/* ==================== attributes */

static bool is(const AttrWord *w, const char *word) { return !strcmp(w->word, word); }

static void print_list(Text *t, const AttrWord *w, const int64_t *v, int n, Dtype dt)
{
    char e[16] = { 0 };
    if (!n)
        text_add(t, "()");
    for (int k = 0; k < n; k++) {
        text_add(t, k ? "," : "");
        if (is(w, "dtype")) {
            text_add(t, "%s", dtype_name((Dtype)v[k]));
        } else if (is(w, "bits")) {
            Dtype of = dt == DT_C128 ? DT_F64 : dt; /* it has no imaginary part */
            dtype_store_i(of, e, v[k]);
            print_element(t, of, e);
        } else if (is(w, "host")) {
            text_char(t, '?', 1);
        } else if (is(w, "name") || is(w, "names")) {
            print_string(t, (const char *)(intptr_t)v[k]);
        } else {
            text_add(t, "%lld", (long long)v[k]);
        }
    }
}

static void print_attrs(Text *t, const Ins *i)
{
    Dtype dt = DT_NONE;
    int n, k = 0;
    for (const AttrWord *w = optab[i->op].attrs; w->word; w++) {
        const int64_t *v = ins_attr(i, k++, &n);
        text_add(t, " %s=", w->word);
        print_list(t, w, v, n, dt);
        if (is(w, "dtype") && n == 1)
            dt = (Dtype)v[0];
    }
}

static void print_loc(Text *t, Loc l)
{
    if (!l.file)
        return;
    text_add(t, " @");
    print_string(t, l.file);
    text_add(t, ":%d", l.line);
}

/* ==================== regions */

static void print_marks(Text *t, const char *word, const uint8_t *m, int n, int nlane)
{
    text_add(t, " %s(", word);
    for (int k = 0; k < n; k++) {
        text_add(t, k ? " " : "");
        for (int a = 0; a < nlane; a++)
            text_char(t, m[k * nlane + a] <= SUMMED ? "=|+"[m[k * nlane + a]] : '?', 1);
    }
    text_add(t, ")");
}

static void print_lanes(Text *t, const Ins *i, const Region *r)
{
    text_add(t, " lanes(");
    for (int a = 0; a < r->nlane; a++) {
        text_add(t, a ? " %lld" : "%lld", (long long)r->lane[a].size);
        if (r->lane[a].name) {
            text_char(t, ':', 1);
            print_string(t, r->lane[a].name);
        }
        if (r->lane[a].place) {
            text_char(t, '@', 1);
            print_string(t, r->lane[a].place);
        }
    }
    text_char(t, ')', 1);
    print_marks(t, "in", r->im, i->nin, r->nlane);
    print_marks(t, "out", r->om, i->nout, r->nlane);
}

static void print_region(Text *t, const Ins *i)
{
    const Region *r = i->region;
    text_add(t, " cap=%d acc=%d carry=%d", r->ncap, r->nacc, r->ncarry);
    if (r->kind == SCAN)
        text_add(t, " length=%lld", (long long)r->length);
    if (r->trips)
        text_add(t, " trips=%lld", (long long)r->trips);
    text_add(t, "%s%s", r->reverse ? " reverse" : "", r->remat ? " remat" : "");
    if (r->remat && r->save)
        text_char(t, '=', 1), print_string(t, r->save);
    text_add(t, "%s", r->split ? " split" : "");
    if (r->rule) {
        text_add(t, " rule %s closed=%d ", rule_word[r->rule->kind], r->rule->nclosed);
        print_string(t, r->rule->name);
    }
    if (r->nlane)
        print_lanes(t, i, r);
}

/* ==================== graphs */

/* x0, x1 ... are inputs; results count on from there, so that after dead code elimination v12 is value 12. A
 * value that nothing defines, in a graph under construction, is p with its number. */
typedef struct Name { char kind; int n; } Name;

static Name *names_of(const Graph *g)
{
    Name *m = NEWS(Name, g->nval);
    int n = g->nin + 1;
    for (int v = 0; v < g->nval; v++)
        m[v] = (Name){ 'p', v };
    for (int k = 0; k < g->nin; k++)
        m[g->in[k]] = (Name){ 'x', k };
    for (int k = 0; k < g->nins; k++)
        for (int j = 0; j < g->ins[k]->nout; j++)
            m[g->ins[k]->out + (Ref)j] = (Name){ 'v', n++ };
    return m;
}

static void print_def(Text *t, const Graph *g, const Name *m, Ref v)
{
    text_add(t, "%c%d: %s%s%s", m[v].kind, m[v].n, type_text(&g->type[v]), graph_lin(g, v) ? "'" : "",
             graph_acc(g, v) ? "+" : "");
}

static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return !*s;
}

static void print_head(Text *t, const Graph *g, const Name *m, const char *name)
{
    text_add(t, "fn ");
    if (is_name(name))
        text_add(t, "%s", name);
    else
        print_string(t, name);
    text_char(t, '(', 1);
    for (int k = 0; k < g->nin; k++) {
        text_add(t, k == 0 ? "" : k == g->ncap ? " | " : ", ");
        print_def(t, g, m, g->in[k]);
    }
    text_add(t, g->ncap && g->ncap == g->nin ? " |) -> " : ") -> ");
    for (int k = 0; k < g->nout; k++)
        text_add(t, "%s%s", k ? ", " : "", type_text(&g->type[g->out[k]]));
    text_add(t, g->nout ? "%s {\n" : "()%s {\n", g->linear ? " linear" : "");
}

static void print_graph(Text *t, const Graph *g, const char *name, int indent);

static void print_ins(Text *t, const Graph *g, const Ins *i, const Name *m, int indent)
{
    text_char(t, ' ', indent);
    for (int k = 0; k < i->nout; k++) {
        text_add(t, k ? ", " : "");
        print_def(t, g, m, i->out + (Ref)k);
    }
    text_add(t, i->nout ? " = %s" : "= %s", optab[i->op].name);
    if (i->op == OP_region)
        text_add(t, " %s", region_kind_name[i->region->kind & 3]);
    for (int k = 0; k < i->nin; k++)
        text_add(t, " %c%d", m[i->in[k]].kind, m[i->in[k]].n);
    print_attrs(t, i);
    if (i->op == OP_region)
        print_region(t, i);
    print_loc(t, i->loc);
    if (i->op == OP_data)
        print_blob(t, (Dtype)ins_int(i, ATTR(data, dtype)), i->blob, i->nblob);
    if (i->op == OP_region) {
        text_add(t, " {\n");
        for (int k = 0; k < i->nsub; k++)
            print_graph(t, i->sub[k], "body", indent + 4);
        text_char(t, ' ', indent);
        text_char(t, '}', 1);
    }
    text_char(t, '\n', 1);
}

static void print_graph(Text *t, const Graph *g, const char *name, int indent)
{
    const Name *m = names_of(g);
    text_char(t, ' ', indent);
    print_head(t, g, m, g->name ? g->name : name);
    for (int k = 0; k < g->nins; k++)
        print_ins(t, g, g->ins[k], m, indent + 4);
    text_char(t, ' ', indent + 4);
    text_add(t, "ret");
    for (int k = 0; k < g->nout; k++)
        text_add(t, "%s%c%d", k ? ", " : " ", m[g->out[k]].kind, m[g->out[k]].n);
    text_char(t, '\n', 1);
    text_char(t, ' ', indent);
    text_add(t, "}\n");
}

void graph_print(const Graph *g, Text *t)
{
    print_graph(t, g, "main", 0);
}
