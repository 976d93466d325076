/*
 * opencl_c.c - kernels as OpenCL C 1.2 text.
 *
 * In:  finished kernels.   Out: one text; only what the kernels call is in its prelude.
 * One statement an instruction, and FP_CONTRACT OFF: nothing is contracted unless it is K_FMA. Values are
 * v<number>, loop variables end in _, the grid's are i<dimension>, buffers have their own name and a number
 * behind it: no two can meet.
 *
 * A bool is an int: 0 or 1 alone, 0 or -1 in every lane of a vector (int16, whatever was compared), one byte
 * 0 or 1 in memory. Integers wrap, so signed sums and products go by way of unsigned. f16 and bf16 are in
 * memory only.
 */
#include "opencl_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *memory_type(const Buffer *b)
{
    switch (b->dt) {
    case DT_BOOL: return "uchar";
    /* half may not be declared, only pointed to */
    case DT_F16: return b->space == GLOBAL ? "half" : "ushort";
    case DT_BF16: return "ushort";
    default: return ocl_type[b->dt];
    }
}

static const char *const space_name[] = {
    [GLOBAL] = "__global", [LOCAL] = "__local", [PRIVATE] = "__private"
};

/* ==================== lines */

static void begin(Printer *p) { text_char(p->out, ' ', 4 * p->indent); }

static void end(Printer *p)
{
    if (p->loc.file && (p->loc.file != p->shown.file || p->loc.line != p->shown.line)) {
        const char *base = strrchr(p->loc.file, '/');
        P("    // ");
        text_name(p->out, base ? base + 1 : p->loc.file);
        P(":%d", p->loc.line);
        p->shown = p->loc;
    }
    P("\n");
}

static void declare(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    begin(p);
    P("%s%s v%u = ", ocl_type[i->dt], ocl_lanes(i->w), (unsigned)v);
}

/* ==================== memory */

static void buffer_name(Printer *p, const Buffer *b)
{
    int n = -1;
    const char *s = b->space == GLOBAL ? "_" : "_p";
    for (int i = 0; b->space == GLOBAL && i < p->k->nparam && n < 0; i++)
        n = p->k->param[i] == b ? i : -1;
    for (int i = 0; b->space != GLOBAL && i < p->k->npriv && n < 0; i++)
        n = p->k->priv[i] == b ? i : -1;
    if (!isalpha((unsigned char)b->name[0]))
        P("b");
    for (const char *c = b->name; *c; c++)
        P("%c", isalnum((unsigned char)*c) ? *c : '_');
    P("%s%d", s, n);
}

/* The buffer as something to index: halves of our own arrays are ushort there. */
static void pointer(Printer *p, const Buffer *b)
{
    bool cast = b->dt == DT_F16 && b->space != GLOBAL;
    if (cast)
        P(b->space == LOCAL ? "((__local half *)" : "((__private half *)");
    buffer_name(p, b);
    P(cast ? ")" : "");
}

/* ---- bases
 * Places of one buffer that differ by a constant share a pointer, which is cheaper to compile than as many
 * sums. It points to the first of them, so that it is a place that is accessed. */

/* By buffer, then by what a place is made of but for its constant and the lane. */
static int by_key(const void *x, const void *y)
{
    const Base *a = x, *b = y;
    int i = 0, j = 0;
    if (a->buf != b->buf)
        return a->buf > b->buf ? 1 : -1;
    for (;; i++, j++) {
        i += i < a->f->n && atom_is_lane(a->f->t[i].a);
        j += j < b->f->n && atom_is_lane(b->f->t[j].a);
        if (i == a->f->n || j == b->f->n)
            return (j == b->f->n) - (i == a->f->n);
        const Term *t = &a->f->t[i], *u = &b->f->t[j];
        if (t->a != u->a)
            return t->a > u->a ? 1 : -1;
        if (t->k != u->k)
            return t->k > u->k ? 1 : -1;
    }
}

static bool reaches(const KIns *i)
{
    return i->op == K_LOAD || i->op == K_STORE || i->op == K_LOADS || i->op == K_STORES;
}

static void bases(Printer *p)
{
    const Kernel *k = p->k;
    int n = 0, all = 0;
    for (int s = 0; s < k->nscope; s++)
        all += k->scope[s].nbody;
    p->base = NEWS(Base, all);
    for (int s = 0; s < k->nscope; s++)
        for (int j = 0; j < k->scope[s].nbody; j++) {
            const KIns *i = &k->ins[k->scope[s].body[j]];
            int64_t stride;
            bool lanes = i->op == K_LOAD || i->op == K_STORE ?
                k_mode(k, i->form, &stride) && stride >= 0 && stride <= 1 :
                true;
            if (reaches(i) && lanes && i->form->n && i->buf->dt != DT_F16)
                p->base[n++] = (Base){ .buf = i->buf, .f = i->form, .uses = 1 };
        }
    qsort(p->base, (size_t)n, sizeof *p->base, by_key);
    for (int j = 0; j < n; j++)
        if (p->nbase && !by_key(&p->base[j], &p->base[p->nbase - 1]))
            p->base[p->nbase - 1].uses++;
        else
            p->base[p->nbase++] = p->base[j];
    p->open = NEWS(int, p->nbase);
}

static Base *base_of(const Printer *p, const Buffer *b, Form f)
{
    Base key = { .buf = b, .f = f };
    return p->nbase ? bsearch(&key, p->base, (size_t)p->nbase, sizeof key, by_key) : NULL;
}

/* The pointer of what the next statement reaches, if others share it. */
static void base_declare(Printer *p, const KIns *i)
{
    Base *a = reaches(i) ? base_of(p, i->buf, i->form) : NULL;
    if (!a || a->uses < 2 || a->name)
        return;
    bool written = i->buf->space != GLOBAL;
    for (int n = 0; n < p->k->nparam; n++)
        written = written || (p->k->param[n] == i->buf && p->k->written[n]);
    a->name = ++p->nname, a->f = i->form;
    p->open[p->nopen++] = (int)(a - p->base);
    begin(p);
    P("%s %s%s *at%d = ", space_name[i->buf->space], written ? "" : "const ", memory_type(i->buf), a->name);
    pointer(p, i->buf);
    P(" + (");
    ocl_form(p, a->f, false);
    P(");\n");
}

static void offset(Printer *p, int64_t c)
{
    if (c)
        P(c < 0 ? " - %lld" : " + %lld", (long long)(c < 0 ? -c : c));
}

/* b + (place of lane 0, moved) */
static void address(Printer *p, const Buffer *b, Form f, int64_t move)
{
    const Base *a = base_of(p, b, f);
    if (a && a->name) {
        P("at%d", a->name);
        offset(p, f->c - a->f->c + move);
        return;
    }
    pointer(p, b);
    P(" + (");
    ocl_form(p, f, false);
    offset(p, move);
    P(")");
}

/* b[place] */
static void element(Printer *p, const Buffer *b, Form f)
{
    const Base *a = base_of(p, b, f);
    if (a && a->name) {
        P("at%d[%lld]", a->name, (long long)(f->c - a->f->c));
        return;
    }
    pointer(p, b);
    P("[");
    ocl_form(p, f, true);
    P("]");
}

/* From what memory holds to what registers do: text around. */
static void raise_open(Printer *p, Dtype dt, int w)
{
    if (dt == DT_BOOL)
        P(w > 1 ? "convert_int16(" : "(");
    else if (dt == DT_BF16)
        P(w > 1 ? "as_float16(convert_uint16(" : "as_float((uint)");
}

static void raise_close(Printer *p, Dtype dt, int w)
{
    if (dt == DT_BOOL)
        P(w > 1 ? ") != 0" : " != 0)");
    else if (dt == DT_BF16)
        P(w > 1 ? ") << 16)" : " << 16)");
}

/* How a memory operation reaches its lanes. */
typedef enum Reach { ONE, UNIT, BACK, STRIDED, EACH } Reach;

static Reach reach(const Printer *p, Form f, int64_t *stride)
{
    if (!k_mode(p->k, f, stride))
        return EACH;
    return *stride == 0 ? ONE : *stride == 1 ? UNIT : *stride == -1 ? BACK : STRIDED;
}

/* The place of a lane, where lanes have places of their own: v<v>x is the first one's or all of them. */
static void place(Printer *p, Val v, Reach r, int64_t stride, int lane)
{
    if (r == EACH)
        P("v%ux.s%x", (unsigned)v, (unsigned)lane);
    else
        P("v%ux + %lld%s", (unsigned)v, (long long)(stride * lane), p->wide ? "L" : "");
}

static void places(Printer *p, Val v, Form f, Reach r)
{
    if (r != STRIDED && r != EACH)
        return;
    begin(p);
    P("%s%s v%ux = ", p->wide ? "long" : "int", r == EACH ? "16" : "", (unsigned)v);
    ocl_form(p, f, r == EACH);
    P(";\n");
}

/* The prelude's macro for n elements side by side, up to what is stored or the place. */
static void vector_open(Printer *p, const char *macro, const Buffer *b, int n)
{
    P("%s(%s, %d, %s, ", macro, memory_type(b), n, space_name[b->space]);
}

/* The same for f16, by its bits: drivers take the place of a vector of halves for one at a multiple of its
 * size. */
static void halves_open(Printer *p, const char *macro, const Buffer *b, const char *value)
{
    p->used->halves = true;
    P("%s(ushort, 16, %s, %s(%s ushort *)(", macro, space_name[b->space], value, space_name[b->space]);
}

/* An array larger than the cache that this kernel only writes: whole vectors, at multiples of their size,
 * are not kept there, and what lies at their places is not read first. */
static bool streams(const Printer *p, const Buffer *b, Form f)
{
    const Kernel *k = p->k;
    if (!p->caps->cache || b->space != GLOBAL ||
        (uint64_t)b->size * dtype_size((Dtype)b->dt) <= p->caps->cache || f->c % W)
        return false;
    for (int i = 0; i < f->n; i++)
        if (!atom_is_lane(f->t[i].a) && f->t[i].k % W)
            return false;
    for (int i = 1; i < k->nins; i++)
        if ((k->ins[i].op == K_LOAD || k->ins[i].op == K_LOADS) && k->ins[i].buf == b)
            return false;
    return true;
}

static const char *store_macro(Printer *p, const Buffer *b, Form f, bool whole)
{
    bool s = whole && streams(p, b, f);
    p->used->stream |= s;
    p->streamed |= s;
    return s ? "HD_STREAM" : "HD_STORE";
}

static void load(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16;
    int64_t s;
    Reach r = reach(p, i->form, &s);
    places(p, v, i->form, r);
    declare(p, v);
    raise_open(p, (Dtype)b->dt, i->w);
    if (r == ONE) {
        if (half) {
            P("vload_half(");
            ocl_form(p, i->form, true);
            P(", "), pointer(p, b), P(")");
        } else
            element(p, b, i->form);
    } else if (r == UNIT || r == BACK) {
        if (half)
            halves_open(p, "hd_halves(HD_LOAD", b, "");
        else
            vector_open(p, "HD_LOAD", b, W);
        address(p, b, i->form, r == BACK ? 1 - W : 0);
        P("%s%s", half ? ")))" : ")", r == BACK ? ".sfedcba9876543210" : "");
    } else {
        P("(%s16)(", half ? "float" : memory_type(b));
        for (int l = 0; l < W; l++) {
            P(l ? ", " : "");
            if (half)
                P("vload_half(");
            else
                pointer(p, b), P("[");
            place(p, v, r, s, l);
            P(half ? ", " : "]");
            if (half)
                pointer(p, b), P(")");
        }
        P(")");
    }
    raise_close(p, (Dtype)b->dt, i->w);
    P(";");
    end(p);
}

/* Is it a bf16 already, so that its upper half is all there is? */
static bool is_bf16(const Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    while (i->op == K_SPLAT)
        i = &p->k->ins[i->arg[0]];
    return (i->op == K_ROUND && i->bits == DT_BF16) || (i->op == K_LOAD && i->buf->dt == DT_BF16);
}

/* What is stored, as memory holds it. */
static Arg lowered(Printer *p, Val x, Dtype dt, int w)
{
    Arg a = ocl_arg(p, x, w), r;
    bool vec = w > 1;
    if (dt == DT_BF16 && is_bf16(p, x)) {
        snprintf(r.s, sizeof r.s, vec ? "convert_ushort16(as_uint16(%.40s) >> 16)"
            : "(ushort)(as_uint(%.40s) >> 16)", a.s);
        return r;
    }
    if (dt == DT_BF16)
        ocl_use(p, H_BF16, vec);
    if (dt == DT_BOOL)
        snprintf(r.s, sizeof r.s, vec ? "convert_uchar16(%.40s & 1)" : "(uchar)%.40s", a.s);
    else if (dt == DT_BF16)
        snprintf(r.s, sizeof r.s, vec ? "hd_bfloat16(%.50s)" : "hd_bfloat(%.50s)", a.s);
    else
        return a;
    return r;
}

static void store_lanes(Printer *p, Val v, Reach r, int64_t s)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16, vec = p->k->ins[i->arg[0]].w > 1;
    Arg a = lowered(p, i->arg[0], (Dtype)b->dt, vec ? W : 1);
    begin(p);
    P("%s%s v%us = %s;\n", half ? "float" : memory_type(b), ocl_lanes(vec ? W : 1), (unsigned)v, a.s);
    for (int l = 0; l < W; l++) {
        char x[32];
        snprintf(x, sizeof x, vec ? "v%us.s%x" : "v%us", (unsigned)v, (unsigned)l);
        begin(p);
        if (half)
            P("vstore_half_rte(%s, ", x);
        else
            pointer(p, b), P("[");
        place(p, v, r, s, l);
        if (half)
            P(", "), pointer(p, b), P(");");
        else
            P("] = %s;", x);
        end(p);
    }
}

static void store(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    const Buffer *b = i->buf;
    bool half = b->dt == DT_F16;
    int64_t s;
    Reach r = reach(p, i->form, &s);
    places(p, v, i->form, r);
    if (r == STRIDED || r == EACH) {
        store_lanes(p, v, r, s);
        return;
    }
    Arg a = lowered(p, i->arg[0], (Dtype)b->dt, r == ONE ? 1 : W);
    begin(p);
    if (r == ONE && half) {
        P("vstore_half_rte(%s, ", a.s);
        ocl_form(p, i->form, true);
        P(", "), pointer(p, b), P(");");
    } else if (r == ONE) {
        element(p, b, i->form);
        P(" = %s;", a.s);
    } else {
        const char *turn = r == BACK ? ".sfedcba9876543210" : "";
        if (half)
            halves_open(p, "HD_STORE", b, arena_text("hd_half_bits((%s)%s), ", a.s, turn));
        else {
            vector_open(p, store_macro(p, b, i->form, r == UNIT), b, W);
            P("(%s)%s, ", a.s, turn);
        }
        address(p, b, i->form, r == BACK ? 1 - W : 0);
        P(half ? "));" : ");");
    }
    end(p);
}

/* ==================== blocks
 * m vectors that hold element l * m + c, in order of memory  <->  m vectors, one for each constant c. For a
 * power of two log2(m) rounds of even and odd (of low and high halves); for any other m a two-vector shuffle
 * for each source. */

/* temporaries are v<v>t<n> */
typedef struct Shuffle { Printer *p; Val v; const char *type; int next; } Shuffle;

static int temporary(Shuffle *s)
{
    begin(s->p);
    text_add(s->p->out, "%s16 v%ut%d = ", s->type, (unsigned)s->v, s->next);
    return s->next++;
}

static int lanes_of(Shuffle *s, const char *which, int a, int b)
{
    unsigned v = (unsigned)s->v;
    int t = temporary(s);
    s->p->used->shuffles = true;
    text_add(s->p->out, "HD_%s(%s, v%ut%d, v%ut%d);\n", which, s->type, v, a, v, b);
    return t;
}

/* Records of any size: lane l of output c is element (l * m + c) of the input, or the inverse. */
static void gather(Shuffle *s, int m, const int *in, int *out, bool inverse)
{
    for (int c = 0; c < m; c++) {
        int t = temporary(s);
        text_add(s->p->out, "(%s16)(", s->type);
        for (int l = 0; l < W; l++) {
            int at = inverse ? c * W + l : l * m + c;
            int from = inverse ? at % m : at / W, lane = inverse ? at / m : at % W;
            text_add(s->p->out, "%sv%ut%d.s%x", l ? ", " : "", (unsigned)s->v, in[from], (unsigned)lane);
        }
        text_add(s->p->out, ");\n");
        out[c] = t;
    }
}

static void shuffle(Shuffle *s, int m, const int *in, int *out, bool inverse)
{
    int h = m / 2, a[W] = { 0 }, b[W] = { 0 }, x[W], y[W];
    if (m == 1) {
        out[0] = in[0];
        return;
    }
    if (m & (m - 1)) {
        gather(s, m, in, out, inverse);
        return;
    }
    if (!inverse) {
        for (int i = 0; i < h; i++) {
            a[i] = lanes_of(s, "EVEN", in[2 * i], in[2 * i + 1]);
            b[i] = lanes_of(s, "ODD", in[2 * i], in[2 * i + 1]);
        }
        shuffle(s, h, a, x, false), shuffle(s, h, b, y, false);
        for (int i = 0; i < h; i++)
            out[2 * i] = x[i], out[2 * i + 1] = y[i];
        return;
    }
    for (int i = 0; i < h; i++)
        a[i] = in[2 * i], b[i] = in[2 * i + 1];
    shuffle(s, h, a, x, true), shuffle(s, h, b, y, true);
    for (int i = 0; i < h; i++) {
        out[2 * i] = lanes_of(s, "ZIP_LO", x[i], y[i]);
        out[2 * i + 1] = lanes_of(s, "ZIP_HI", x[i], y[i]);
    }
}

static void block_load(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    int m = i->group, rows = W / m, in[W] = { 0 }, out[W];
    Shuffle s = { .p = p, .v = v, .type = memory_type(i->buf) };
    for (int n = 0; n < m; n++) {
        in[n] = temporary(&s);
        if (i->stride == m || m == W) {
            vector_open(p, "HD_LOAD", i->buf, W);
            address(p, i->buf, i->form, i->stride == m ? n * W : n * i->stride);
            P(");\n");
            continue;
        }
        P("(%s16)(", s.type);
        for (int r = 0; r < rows; r++) {
            P(r ? ", " : "");
            vector_open(p, "HD_LOAD", i->buf, m);
            address(p, i->buf, i->form, (n * rows + r) * i->stride);
            P(")");
        }
        P(");\n");
    }
    shuffle(&s, m, in, out, false);
    for (int c = 0; c < m; c++) {
        begin(p);
        P("%s16 v%u = v%ut%d;", s.type, (unsigned)i->part[c], (unsigned)v, out[c]);
        end(p);
    }
}

static void block_store(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    int m = i->group, rows = W / m, in[W] = { 0 }, out[W];
    Shuffle s = { .p = p, .v = v, .type = memory_type(i->buf) };
    for (int c = 0; c < m; c++) {
        in[c] = temporary(&s);
        P("%s;\n", ocl_arg(p, i->arg[c], W).s);
    }
    shuffle(&s, m, in, out, true);
    for (int n = 0; n < m; n++) {
        bool whole = i->stride == m || m == W;
        for (int r = 0; r < (whole ? 1 : rows); r++) {
            begin(p);
            vector_open(p, store_macro(p, i->buf, i->form, i->stride == m || (m == W && i->stride % W == 0)),
                i->buf, whole ? W : m);
            P("v%ut%d", (unsigned)v, out[n]);
            P(whole ? "" : ".s");
            for (int c = 0; c < m && !whole; c++)
                P("%x", (unsigned)(r * m + c));
            P(", ");
            address(p, i->buf, i->form,
                i->stride == m ? n * W :
                    whole      ? n * i->stride :
                                 (n * rows + r) * i->stride);
            P(");");
            end(p);
        }
    }
}

/* ==================== structure */

static void scope(Printer *, int);

/* Carried values move together: those that take another's old value wait in a name of their own. */
static void advance(Printer *p, const KIns *l)
{
    const Kernel *k = p->k;
    SCRATCH(bool, waits, l->ncarry);
    for (int c = 0; c < l->ncarry; c++) {
        const KIns *x = &k->ins[ocl_named(k, l->next[c])];
        waits[c] =
            x->op == K_PHI && k->ins[x->bits].scope == l->scope && ocl_named(k, l->next[c]) != l->phi[c];
        if (!waits[c])
            continue;
        begin(p);
        P("%s%s v%un = v%u;\n", ocl_type[x->dt], ocl_lanes(x->w), (unsigned)l->phi[c], (unsigned)ocl_named(k,
            l->next[c]));
    }
    for (int c = 0; c < l->ncarry; c++) {
        unsigned phi = (unsigned)l->phi[c];
        if (ocl_named(k, l->next[c]) == l->phi[c])
            continue;
        begin(p);
        if (waits[c])
            P("v%u = v%un;\n", phi, phi);
        else
            P("v%u = %s;\n", phi, ocl_arg(p, l->next[c], k->ins[phi].w).s);
    }
}

static void loop(Printer *p, const KIns *l)
{
    const char *i = l->var->name, *T = p->wide ? "long" : "int";
    for (int c = 0; c < l->ncarry; c++) {
        declare(p, l->phi[c]);
        P("%s;\n", ocl_arg(p, l->arg[c], p->k->ins[l->phi[c]].w).s);
    }
    begin(p);
    if (l->n < 0)
        P("for (%s %s_ = 0;; %s_++) {", T, i, i);
    else
        P("for (%s %s_ = 0; %s_ < %lld%s; %s_++) {", T, i, i, (long long)l->n, p->wide ? "L" : "", i);
    end(p);
    p->indent++;
    scope(p, l->scope);
    advance(p, l);
    p->indent--;
    begin(p);
    P("}\n");
}

static void branch(Printer *p, const KIns *b)
{
    for (int c = 0; c < b->ncarry; c++) {
        declare(p, b->out[c]);
        P("%s;\n", ocl_arg(p, b->other[c], p->k->ins[b->out[c]].w).s);
    }
    begin(p);
    P("if (%s) {", ocl_plain(p, b->arg[0]).s);
    end(p);
    p->indent++;
    scope(p, b->scope);
    for (int c = 0; c < b->ncarry; c++) {
        begin(p);
        P("v%u = %s;\n", (unsigned)b->out[c], ocl_arg(p, b->next[c], p->k->ins[b->out[c]].w).s);
    }
    p->indent--;
    begin(p);
    P("}\n");
}

static void statement(Printer *p, Val v)
{
    const KIns *i = &p->k->ins[v];
    p->loc = i->loc;
    base_declare(p, i);
    switch (i->op) {
    case K_LOAD: load(p, v); break;
    case K_STORE: store(p, v); break;
    case K_LOADS: block_load(p, v); break;
    case K_STORES: block_store(p, v); break;
    case K_APPLY:
        for (int r = 1; r < i->group; r++) {
            begin(p);
            P("%s%s v%u;\n", ocl_type[p->k->ins[i->part[r]].dt], ocl_lanes(i->w), (unsigned)i->part[r]);
        }
        declare(p, i->part ? *i->part : v);
        ocl_expression(p, i);
        P(";");
        end(p);
        break;
    case K_LOOP: loop(p, i); break;
    case K_IF: branch(p, i); break;
    case K_BRK:
        begin(p);
        P("if (!(%s)) break;", ocl_plain(p, i->arg[0]).s);
        end(p);
        break;
    case K_BARRIER:
        begin(p);
        P("barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);");
        end(p);
        break;
    default:
        if (i->dt == DT_F64)
            p->used->f64 = true;
        declare(p, v);
        ocl_expression(p, i);
        P(";");
        end(p);
    }
}

static void scope(Printer *p, int s)
{
    int outside = p->nopen;
    for (int i = 0; i < p->k->scope[s].nbody; i++)
        statement(p, p->k->scope[s].body[i]);
    while (p->nopen > outside)
        p->base[p->open[--p->nopen]].name = 0;
}

/* A function of the kernel's, if no kernel before has had it; those that are seldom called stay apart, so
 * that compilers optimize them once and not where they are called. */
static void function(Printer *p, const KFunction *f)
{
    const KIns *ins = p->k->ins;
    Text *body = p->out;
    bool wide = p->wide;
    void **known = map_at(&p->used->function, f->name, strlen(f->name));
    if (*known)
        return;
    *known = p;
    p->out = &p->used->functions, p->wide = false, p->indent = 1;
    P("static %s%s%s hd_f_%s(", f->seldom ? "HD_SELDOM " : "inline ", ocl_type[ins[*f->result].dt],
        ocl_lanes(f->w), f->name);
    for (int a = 0; a < f->narg; a++)
        P("%s%s%s v%u", a ? ", " : "", ocl_type[ins[f->arg[a]].dt], ocl_lanes(f->w), (unsigned)f->arg[a]);
    for (int r = 1; r < f->nresult; r++)
        P(", %s%s *r%d", ocl_type[ins[f->result[r]].dt], ocl_lanes(f->w), r);
    P(")\n{\n");
    scope(p, f->scope);
    for (int r = 1; r < f->nresult; r++)
        P("    *r%d = %s;\n", r, ocl_arg(p, f->result[r], f->w).s);
    P("    return %s;\n}\n", ocl_arg(p, *f->result, f->w).s);
    p->out = body, p->wide = wide;
}

static void buffer_check(Printer *p, const Buffer *b)
{
    if (!memory_type(b))
        ocl_refuse(p, "no array may have elements of ", dtype_name((Dtype)b->dt));
    p->used->f64 |= b->dt == DT_F64;
}

static long long group_of(const Kernel *k, int d)
{
    return d < k->ngrid && k->grid[d].group ? k->grid[d].group : 1;
}

static void head(Printer *p)
{
    const Kernel *k = p->k;
    P(p->joined ? "static HD_APART " : "__kernel ");
    if (!p->joined && (p->caps->one_item || k_group_items(k) > 1))
        P("__attribute__((reqd_work_group_size(%lld, %lld, %lld))) ", group_of(k, 0), group_of(k, 1),
            group_of(k, 2));
    P("void %s(", k->name);
}

/* Functions get where they are in the grid: PoCL would write out those that ask. */
static void position(Printer *p, const char *between)
{
    const Kernel *k = p->k;
    const char *T = p->wide ? "long" : "int";
    for (int g = 0; g < k->ngrid && p->joined; g++)
        P("%s%s i%d", g ? ", " : between, T, g);
    P(")\n{\n");
    for (int g = 0; g < k->ngrid && !p->joined; g++)
        P("    %s i%d = (%s)get_global_id(%d);\n", T, g, T, g);
}

static void kernel(Printer *p)
{
    const Kernel *k = p->k;
    bases(p);
    for (int n = 0; n < k->nfunction; n++)
        if (k->function[n]->used)
            function(p, k->function[n]);
    head(p);
    for (int i = 0; i < k->nparam; i++) {
        buffer_check(p, k->param[i]);
        if (p->error)
            return;
        P("%s__global %s%s *restrict ", i ? ", " : "", k->written[i] ? "" : "const ",
            memory_type(k->param[i]));
        buffer_name(p, k->param[i]);
    }
    P(k->stepped ? k->nparam ? ", int step" : "int step" : "");
    position(p, k->nparam || k->stepped ? ", " : "");
    if (k->ngrid && k->grid[0].n % group_of(k, 0))
        P("    if (i0 >= %lld%s) return;\n", (long long)k->grid[0].n, p->wide ? "L" : "");
    for (int i = 0; i < k->npriv; i++) {
        const Buffer *b = k->priv[i];
        buffer_check(p, b);
        if (p->error)
            return;
        P("    %s%s ", b->space == LOCAL ? "__local " : "", memory_type(b));
        buffer_name(p, b);
        P("[%lld] __attribute__((aligned(64)));\n", (long long)(b->size > 0 ? b->size : 1));
    }
    p->indent = 1;
    scope(p, 0);
    if (p->streamed)
        P("    HD_STREAMED();\n");
    P("}\n\n");
}

int opencl_c_print(const Kernel *const *list, int n, const OpenclCaps *caps, Text *out)
{
    const int pointers = opencl_c_entry(list, n, caps);
    Text body = { 0 }, text = { 0 };
    Used used = { .apart = pointers };
    int error = 0;
    for (int i = 0; i < n && !error; i++) {
        Printer p = { .k = list[i], .caps = caps, .used = &used, .out = &body, .wide = list[i]->wide_index,
            .joined = pointers && opencl_c_joins(list[i]) };
        kernel(&p);
        error = p.error;
    }
    if (pointers)
        ocl_entry(&body, list, n, pointers);
    if (!error && used.f64 && !caps->f64)
        error = error_set(E_DTYPE, "the device has no f64: convert to f32, or choose another device");
    if (!error) {
        ocl_prelude(&used, &text);
        text_add(&text, "%s%s", used.functions.s ? used.functions.s : "", body.s ? body.s : "");
        if (caps->declares)
            ocl_builtins(text.s, used.f64, out);
        text_add(out, "%s", text.s);
    }
    text_free(&text);
    text_free(&used.functions);
    text_free(&body);
    return error;
}
