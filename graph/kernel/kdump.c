/*
 * kdump.c - kernels as text, and their verifier.
 *
 * Text: one line an instruction, indented by scope: v12 = add f32x16 v10, v11. Constants stand where they
 * are used.
 * The verifier holds what printers rely on: operands defined before their use in a scope that encloses it,
 * dtypes and lanes that agree, places made of variables that are there.
 */
#include "kir.h"

#include <string.h>

const KRow kop[K_OP_COUNT] = {
#define LANES(name, text, arity, takes, gives, commutes, ocl, f, s, u, b) \
    [K_##name] = { text, KC_LANES, KG_##gives, arity, commutes, K_NONE, takes },
#define ACROSS(name, text, takes, joins, ocl) \
    [K_##name] = { text, KC_ACROSS, KG_SAME, 1, false, K_##joins, takes },
#define PLAIN(name, text, class, arity) \
    [K_##name] = { text, KC_##class, KG_OTHER, arity, false, K_NONE, "" },
#include "kernel.def"
};

bool k_takes(KOp op, Dtype dt)
{
    return strchr(kop[op].takes, dt == DT_BOOL ? 'b' : dtype_int(dt) ? 'i' : 'f') != NULL;
}

/* ==================== text */

/* plain: without what does not change the code, the names of buffers and kernel and the lines of the
 * user. */
typedef struct Dump { const Kernel *k; Text *t; bool plain; } Dump;

static const char *buffer_text(const Dump *d, const Buffer *b)
{
    if (!d->plain)
        return b->name;
    for (int p = 0; p < d->k->nparam; p++)
        if (d->k->param[p] == b)
            return arena_text("b%d", p);
    for (int p = 0; p < d->k->npriv; p++)
        if (d->k->priv[p] == b)
            return arena_text("p%d", p);
    return b->name;
}

static void value(const Dump *d, Val v)
{
    const KIns *i = &d->k->ins[v];
    Text *t = d->t;
    if (!v)
        text_add(t, "none");
    else if (i->op != K_CONST)
        text_add(t, "v%u", (unsigned)v);
    else if (d->plain)
        text_add(t, "%s %llx", dtype_name(i->dt), (unsigned long long)i->bits);
    else if (dtype_float(i->dt))
        text_add(t, "%.9g", k_float_of(i->dt, i->bits));
    else if (i->dt == DT_U64)
        text_add(t, "%llu", (unsigned long long)i->bits);
    else
        text_add(t, "%lld", (long long)i->bits);
}

static void values(const Dump *d, const char *open, const Val *v, int n, const char *close)
{
    Text *t = d->t;
    text_add(t, "%s", open);
    for (int a = 0; a < n; a++) {
        text_add(t, "%s", a ? ", " : "");
        value(d, v[a]);
    }
    text_add(t, "%s", close);
}

static void lanes(const KIns *i, Text *t)
{
    text_add(t, " %s", dtype_name(i->dt));
    if (i->w > 1)
        text_add(t, "x%d", i->w);
}

static void scope_dump(const Dump *d, int s, int depth);

static void line(const Dump *d, Val v, int depth)
{
    const Kernel *k = d->k;
    Text *t = d->t;
    const KIns *i = &k->ins[v];
    text_char(t, ' ', 4 * depth);
    switch (i->op) {
    case K_LOOP:
        text_add(t, "loop %s", i->var->name);
        if (i->n >= 0)
            text_add(t, " < %lld", (long long)i->n);
        values(d, " (", i->phi, i->ncarry, ")");
        values(d, " = (", i->arg, i->narg, ")");
        values(d, " next (", i->next, i->ncarry, ")");
        values(d, " -> (", i->out, i->ncarry, ") {\n");
        scope_dump(d, i->scope, depth + 1);
        text_char(t, ' ', 4 * depth);
        text_add(t, "}");
        break;
    case K_IF:
        values(d, "if ", i->arg, 1, "");
        values(d, " (", i->next, i->ncarry, ")");
        values(d, " else (", i->other, i->ncarry, ")");
        values(d, " -> (", i->out, i->ncarry, ") {\n");
        scope_dump(d, i->scope, depth + 1);
        text_char(t, ' ', 4 * depth);
        text_add(t, "}");
        break;
    case K_LOADS:
        values(d, "", i->part, i->group, "");
        text_add(t, " = loads %s[%s], %lld apart", buffer_text(d, i->buf), form_text(i->form),
            (long long)i->stride);
        break;
    case K_STORES:
        text_add(t, "stores %s[%s], %lld apart", buffer_text(d, i->buf), form_text(i->form),
            (long long)i->stride);
        values(d, ", ", i->arg, i->narg, "");
        break;
    case K_STORE:
        text_add(t, "store %s[%s]", buffer_text(d, i->buf), form_text(i->form));
        values(d, ", ", i->arg, 1, "");
        break;
    default:
        if (i->part)
            values(d, "", i->part, i->group, " = ");
        else if (i->w)
            text_add(t, "v%u = ", (unsigned)v);
        text_add(t, "%s", kop[i->op].name);
        if (i->op == K_APPLY)
            text_add(t, " %s", k->function[i->bits]->name);
        if (i->w)
            lanes(i, t);
        if (i->op == K_ROUND)
            text_add(t, " to %s", dtype_name((Dtype)i->bits));
        if (i->buf)
            text_add(t, " %s[%s]", buffer_text(d, i->buf), form_text(i->form));
        else if (i->form)
            text_add(t, " %s", form_text(i->form));
        values(d, i->narg ? " " : "", i->arg, i->narg, "");
    }
    if (i->loc.file && !d->plain) {
        text_add(t, "    // ");
        text_name(t, i->loc.file);
        text_add(t, ":%d", i->loc.line);
    }
    text_add(t, "\n");
}

static void scope_dump(const Dump *d, int s, int depth)
{
    for (int i = 0; i < d->k->scope[s].nbody; i++)
        line(d, d->k->scope[s].body[i], depth);
}

static void function_dump(const Dump *d, const KFunction *f)
{
    text_add(d->t, "    %sfunction %s", f->seldom ? "seldom " : "", f->name);
    values(d, " (", f->arg, f->narg, ")");
    values(d, " -> ", f->result, f->nresult, " {\n");
    scope_dump(d, f->scope, 2);
    text_add(d->t, "    }\n");
}

static void dump(const Dump *d)
{
    const Kernel *k = d->k;
    Text *t = d->t;
    static const char *const space[] = { [GLOBAL] = "", [PRIVATE] = "private ", [LOCAL] = "local " };
    text_add(t, "kernel %s(", d->plain ? "" : k->name);
    for (int p = 0; p < k->nparam; p++)
        text_add(t, "%s%s%s %s[%lld]", p ? ", " : "", k->written[p] ? "inout " : "",
            dtype_name(k->param[p]->dt), buffer_text(d, k->param[p]), (long long)k->param[p]->size);
    text_add(t, "%s)", k->stepped ? ", step" : "");
    for (int g = 0; g < k->ngrid; g++) {
        text_add(t, "%s %s < %lld", g ? "," : " grid", k->grid[g].var->name, (long long)k->grid[g].n);
        if (k->grid[g].group)
            text_add(t, " by %lld", (long long)k->grid[g].group);
    }
    text_add(t, "%s {\n", k->wide_index ? " wide" : "");
    for (int p = 0; p < k->npriv; p++)
        text_add(t, "    %s%s %s[%lld]\n", space[k->priv[p]->space], dtype_name(k->priv[p]->dt),
            buffer_text(d, k->priv[p]), (long long)k->priv[p]->size);
    for (int n = 0; n < k->nfunction; n++)
        if (k->function[n]->used)
            function_dump(d, k->function[n]);
    scope_dump(d, 0, 1);
    text_add(t, "}\n");
}

void k_dump(const Kernel *k, Text *t) { dump(&(Dump){ k, t, false }); }
void k_dump_plain(const Kernel *k, Text *t) { dump(&(Dump){ k, t, true }); }

/* ==================== the verifier */

typedef struct Check { const Kernel *k; bool *defined; Val at; } Check;

#define wrong(c, ...)                                                            \
    error_set(E_INTERNAL, "kernel %s: v%u (%s): %s", (c)->k->name, (c)->at,      \
        kop[(c)->k->ins[(c)->at].op].name, arena_text(__VA_ARGS__))

/* Usable here: a constant, or defined and of a scope around. */
static int usable(const Check *c, Val v, int scope)
{
    if (!v || v >= (Val)c->k->nins)
        return wrong(c, "there is no value %u", (unsigned)v);
    if (c->k->ins[v].op == K_CONST)
        return 0;
    if (!c->defined[v])
        return wrong(c, "v%u is not defined before it", (unsigned)v);
    for (; scope >= 0; scope = c->k->scope[scope].parent)
        if (scope == c->k->ins[v].home)
            return 0;
    return wrong(c, "v%u is of a scope that does not enclose it", (unsigned)v);
}

static bool var_known(const Kernel *k, const Atom *a, int scope)
{
    if (atom_is_lane(a) || atom_is_step(a))
        return true;
    for (int g = 0; g < k->ngrid; g++)
        if (k->grid[g].var == a)
            return true;
    int s = kmap_get(&k->build->where, a);
    for (; scope >= 0; scope = k->scope[scope].parent)
        if (scope == s && s > 0)
            return true;
    return false;
}

static int form_check(const Check *c, Form f, int scope)
{
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        int e = 0;
        if (a->kind == A_VAR && !var_known(c->k, a, scope))
            e = wrong(c, "%s is not a variable of a loop around it, nor of the grid", a->name);
        else if (a->kind == A_ELEM)
            e = wrong(c, "an element of a graph value is not evaluated");
        else if (a->kind == A_VAL) {
            e = usable(c, a->val, scope);
            const KIns *v = &c->k->ins[a->val];
            if (!e && !dtype_int(v->dt) && v->dt != DT_BOOL)
                e = wrong(c, "v%u is no integer, but a place", (unsigned)a->val);
            if (!e && a->wide != (v->w == W))
                e = wrong(c, "v%u has other lanes than its place says", (unsigned)a->val);
        } else if (a->kind != A_VAR)
            e = form_check(c, a->f, scope);
        if (e)
            return e;
    }
    return 0;
}

static Dtype reg(const Buffer *b) { return b->dt == DT_F16 || b->dt == DT_BF16 ? DT_F32 : (Dtype)b->dt; }

/* Operands of the dtype said, of at most the lanes said. */
static int args_are(const Check *c, Dtype dt, int from)
{
    const KIns *i = &c->k->ins[c->at];
    for (int a = from; a < i->narg; a++)
        if (c->k->ins[i->arg[a]].dt != dt)
            return wrong(
                c, "operand %d is %s, not %s", a, dtype_name(c->k->ins[i->arg[a]].dt), dtype_name(dt));
    return 0;
}

static int elementwise(const Check *c)
{
    const KIns *i = &c->k->ins[c->at];
    const KIns *a = &c->k->ins[i->arg[0]];
    const KRow *row = &kop[i->op];
    for (int x = 0; x < i->narg; x++) {
        int w = c->k->ins[i->arg[x]].w;
        if (k_across(i->op) ? w != W : w > i->w)
            return wrong(c, "operand %d has %d lanes", x, w);
    }
    if (i->op == K_SELECT)
        return a->dt != DT_BOOL ? wrong(c, "chooses by %s", dtype_name(a->dt)) : args_are(c, i->dt, 1);
    if (!k_takes(i->op, a->dt))
        return wrong(c, "of %s", dtype_name(a->dt));
    if (i->op == K_BITS && (dtype_size(i->dt) != dtype_size(a->dt) || i->dt == DT_BOOL))
        return wrong(c, "%s has not the bits of %s", dtype_name(a->dt), dtype_name(i->dt));
    if (i->op == K_ROUND && (i->dt != DT_F32 || (i->bits != DT_F16 && i->bits != DT_BF16)))
        return wrong(c, "of %s", dtype_name(i->dt));
    if (row->gives == KG_BOOL && i->dt != DT_BOOL)
        return wrong(c, "gives %s", dtype_name(i->dt));
    return row->gives == KG_OTHER ? 0 : args_are(c, row->gives == KG_BOOL ? a->dt : i->dt, 0);
}

static int scope_check(Check *, int);

static int loop_check(Check *c)
{
    const KIns *i = &c->k->ins[c->at];
    Val at = c->at;
    int e = 0;
    for (int p = 0; p < i->ncarry && !e; p++) {
        const KIns *phi = &c->k->ins[i->phi[p]], *a = &c->k->ins[i->arg[p]], *x = &c->k->ins[i->next[p]];
        c->defined[i->phi[p]] = true;
        if (a->dt != phi->dt || x->dt != phi->dt || a->w > phi->w || x->w > phi->w)
            e = wrong(c, "carried value %d changes its dtype or lanes", p);
        if (phi->bits != at || phi->group != p)
            e = wrong(c, "carried value %d is of another loop", p);
    }
    e = e ? e : scope_check(c, i->scope);
    c->at = at;
    for (int p = 0; p < i->ncarry && !e; p++)
        e = usable(c, i->next[p], i->scope);
    for (int p = 0; p < i->ncarry; p++)
        c->defined[i->out[p]] = true;
    return e;
}

static int if_check(Check *c, int scope)
{
    const KIns *i = &c->k->ins[c->at];
    Val at = c->at;
    int e = c->k->ins[i->arg[0]].dt != DT_BOOL || c->k->ins[i->arg[0]].w != 1
        ? wrong(c, "the condition is no single bool") : 0;
    for (int p = 0; p < i->ncarry && !e; p++)
        e = usable(c, i->other[p], scope);
    e = e ? e : scope_check(c, i->scope);
    c->at = at;
    for (int p = 0; p < i->ncarry && !e; p++) {
        const KIns *x = &c->k->ins[i->next[p]], *y = &c->k->ins[i->other[p]], *o = &c->k->ins[i->out[p]];
        e = usable(c, i->next[p], i->scope);
        if (!e && (x->dt != o->dt || y->dt != o->dt || x->w > o->w || y->w > o->w))
            e = wrong(c, "result %d differs between the branches", p);
        c->defined[i->out[p]] = true;
    }
    return e;
}

static bool in_loop(const Kernel *k, int scope)
{
    for (; scope > 0; scope = k->scope[scope].parent)
        if (!k->scope[scope].wall)
            return true;
    return false;
}

static int memory_check(const Check *c)
{
    const KIns *i = &c->k->ins[c->at];
    int64_t s;
    bool one = k_mode(c->k, i->form, &s) && !s;
    bool known = i->buf->space != GLOBAL;
    for (int p = 0; p < c->k->nparam && !known; p++)
        known = c->k->param[p] == i->buf;
    if (!known)
        return wrong(c, "buffer %s is no parameter", i->buf->name);
    if (i->op == K_LOADS || i->op == K_STORES) {
        if (i->group < 2 || i->group > W || s != i->stride || (i->op == K_STORES && i->narg != i->group))
            return wrong(c, "a block of %d, %lld apart", i->group, (long long)i->stride);
    } else if (i->op == K_LOAD && i->w != (one ? 1 : W))
        return wrong(c, "%d lanes at %s", i->w, form_text(i->form));
    if (i->op == K_LOAD && i->dt != reg(i->buf))
        return wrong(c, "%s of a buffer of %s", dtype_name(i->dt), dtype_name(i->buf->dt));
    if (i->op == K_STORE && one && c->k->ins[i->arg[0]].w > 1)
        return wrong(c, "a vector at one place");
    return i->narg ? args_are(c, reg(i->buf), 0) : 0;
}

/* Operands as the function has them, or of fewer lanes. */
static int apply_check(Check *c)
{
    const KIns *i = &c->k->ins[c->at];
    const KFunction *f = i->bits >= 0 && i->bits < c->k->nfunction ? c->k->function[i->bits] : NULL;
    if (!f || !f->used || i->narg != f->narg)
        return wrong(c, "%d operands of no function of the kernel", i->narg);
    for (int a = 0; a < i->narg; a++)
        if (c->k->ins[i->arg[a]].dt != c->k->ins[f->arg[a]].dt || c->k->ins[i->arg[a]].w > f->w)
            return wrong(c, "operand %d is not as %s takes it", a, f->name);
    for (int n = 0; n < f->nresult; n++) {
        const KIns *r = f->nresult > 1 ? &c->k->ins[i->part[n]] : i;
        c->defined[r - c->k->ins] = true;
        if (r->dt != c->k->ins[f->result[n]].dt || r->w != f->w)
            return wrong(c, "not what %s gives", f->name);
    }
    return 0;
}

static int ins_check(Check *c, int scope)
{
    const Kernel *k = c->k;
    const KIns *i = &k->ins[c->at];
    int e = i->home != scope ? wrong(c, "stands in another scope than its home") : 0;
    for (int a = 0; a < i->narg && !e; a++)
        e = usable(c, i->arg[a], scope);
    if (i->form && !e)
        e = form_check(c, i->form, scope);
    if (!e && kop[i->op].is == KC_OUTSIDE)
        e = wrong(c, "does not stand in a scope");
    if (!e && kop[i->op].arity >= 0 && i->narg != kop[i->op].arity)
        e = wrong(c, "%d operands", i->narg);
    if (e)
        return e;
    switch (i->op) {
    case K_LOOP: return loop_check(c);
    case K_IF: return if_check(c, scope);
    case K_LOADS:
        for (int p = 0; p < i->group; p++)
            c->defined[i->part[p]] = true;
        return memory_check(c);
    case K_LOAD: c->defined[c->at] = true; return memory_check(c);
    case K_STORE: case K_STORES: return memory_check(c);
    case K_BRK:
        if (k->ins[i->arg[0]].w != 1 || k->ins[i->arg[0]].dt != DT_BOOL)
            return wrong(c, "the condition is no single bool");
        return in_loop(k, scope) ? 0 : wrong(c, "outside of loops");
    case K_BARRIER: return 0;
    default: break;
    }
    c->defined[c->at] = true;
    if (i->w != 1 && i->w != W)
        return wrong(c, "%d lanes", i->w);
    if (i->op == K_INDEX)
        return !i->form || !dtype_int(i->dt) || i->w != (form_vector(i->form) ? W : 1)
            ? wrong(c, "lanes or dtype of a place") : 0;
    if (i->op == K_APPLY)
        return apply_check(c);
    if (i->op == K_SPLAT)
        return args_are(c, i->dt, 0);
    return elementwise(c);
}

static int scope_check(Check *c, int s)
{
    const KScope *b = &c->k->scope[s];
    for (int i = 0; i < b->nbody; i++) {
        c->at = b->body[i];
        if (ins_check(c, s))
            return error_code();
    }
    return 0;
}

int k_check(const Kernel *k)
{
    Check c = { .k = k, .defined = NEWS(bool, k->nins) };
    for (int i = 0; i < k->nins; i++) {
        Dtype d = k->ins[i].dt;
        c.at = (Val)i;
        if (k->ins[i].w && d != DT_BOOL && !dtype_int(d) && d != DT_F32 && d != DT_F64)
            return wrong(&c, "%s is no dtype of a register", dtype_name(d));
    }
    for (int n = 0; n < k->nfunction; n++) {
        const KFunction *f = k->function[n];
        for (int a = 0; a < f->narg; a++)
            c.defined[f->arg[a]] = true;
        if (f->used && scope_check(&c, f->scope))
            return error_code();
        for (int r = 0; f->used && r < f->nresult; r++)
            if (usable(&c, f->result[r], f->scope))
                return error_code();
    }
    return scope_check(&c, 0) ? (int)error_code() : k_groups_check(k);
}
