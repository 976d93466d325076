/*
 * kir.c - the builder of kernels: folds, finds, hoists.
 *
 * In:  calls in program order.
 * Out: instructions by number, and for every scope the order they run in.
 * Invariant: the home (scope) of an operand encloses its user's. A pure instruction has exactly one home,
 * the
 *      innermost scope of its operands, so common subexpressions and loop-invariant motion are one table
 *      look-up. Nothing leaves a branch (its scope is a wall): it may be rare. Loads of what the kernel
 *      itself writes stay where they are said.
 */
#include "kir.h"

#include <math.h>
#include <string.h>

static inline uint32_t mix(uint32_t h, uint64_t v)
{
    uint64_t x = (h + 0x9e3779b97f4a7c15ull) ^ v;
    x *= 0xff51afd7ed558ccdull;
    return (uint32_t)(x ^ x >> 31);
}

/* ==================== maps from pointers */

int kmap_get(const Map *m, const void *key)
{
    const void *n = map_get(m, &key, sizeof key);
    return n ? (int)((uintptr_t)n >> 1) - 1 : -1;
}

void kmap_put(Map *m, const void *key, int val)
{
    *map_at(m, &key, sizeof key) = (void *)((uintptr_t)(val + 1) << 1 | 1);
}

/* ==================== scopes and instructions */

static int broken(const Kernel *k, const char *what)
{
    return error_set(E_INTERNAL, "kernel %s: %s", k->name, what);
}

static int scope_new(Kernel *k, int parent, bool wall)
{
    PUSH(k->scope, k->nscope, k->scope_cap, (KScope){ .parent = parent, .wall = wall });
    int s = k->nscope - 1;
    k->scope[s].depth = parent < 0 ? 0 : k->scope[parent].depth + 1;
    return s;
}

Kernel *k_new(const char *name)
{
    Kernel *k = NEW(Kernel);
    k->name = arena_text("%s", name);
    k->build = NEW(KBuild);
    PUSH(k->ins, k->nins, k->cap, (KIns){ .op = K_NONE });
    scope_new(k, -1, false);
    k_where(k, LANE, 0);
    k_where(k, STEP, 0);
    return k;
}

void k_where(Kernel *k, const Atom *a, int scope) { kmap_put(&k->build->where, a, scope); }

static Val ins_new(Kernel *k, KIns i)
{
    i.loc = loc_here();
    if (i.narg)
        i.arg = arena_copy(i.arg, sizeof *i.arg * (size_t)i.narg);
    else
        i.arg = NULL;
    PUSH(k->ins, k->nins, k->cap, i);
    return (Val)k->nins - 1;
}

static void body_add(Kernel *k, int scope, Val v)
{
    KScope *s = &k->scope[scope];
    PUSH(s->body, s->nbody, s->cap, v);
}

static bool scope_open(const Kernel *k, int scope)
{
    int s = k->cur, d = k->scope[scope].depth;
    while (s >= 0 && k->scope[s].depth > d)
        s = k->scope[s].parent;
    return s == scope;
}

bool k_visible(const Kernel *k, Val v) { return v && scope_open(k, k->ins[v].home); }

static int deeper(const Kernel *k, int a, int b)
{
    return a < 0 || b < 0 ? -1 : k->scope[b].depth > k->scope[a].depth ? b : a;
}

/* The innermost scope of what the form is made of; -1: a variable that belongs to no loop. */
static int form_home(const Kernel *k, Form f)
{
    int h = k->build->root;
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        switch (a->kind) {
        case A_VAR:
            h = atom_is_lane(a) || atom_is_step(a) ? h : deeper(k, h, kmap_get(&k->build->where, a));
            break;
        case A_VAL: h = deeper(k, h, k->ins[a->val].home); break;
        case A_ELEM: return -1;
        default: h = deeper(k, h, form_home(k, a->f));
        }
        if (h < 0)
            return -1;
    }
    return h;
}

/* Where a pure instruction lives; -1 after an error. */
static int home_of(const Kernel *k, int narg, const Val *arg, Form f)
{
    int h = k->build->root;
    for (int i = 0; i < narg; i++)
        h = k->ins[arg[i]].op == K_CONST ? h : deeper(k, h, k->ins[arg[i]].home);
    int g = f ? form_home(k, f) : h;
    if (g < 0) {
        error_set(E_INTERNAL, "kernel %s: the place %s uses a variable that is not in scope", k->name,
            form_text(f));
        return -1;
    }
    h = deeper(k, h, g);
    for (int s = k->cur; s >= 0; s = k->scope[s].parent)
        if (s == h || k->scope[s].wall)
            return s == h || scope_open(k, h) ? s : (broken(k, "an operand is not in scope"), -1);
    broken(k, "an operand is not in scope");
    return -1;
}

/* ==================== finding */

static uint32_t ins_hash(const KIns *i, int home)
{
    uint32_t h = mix(mix((uint32_t)i->op | (uint32_t)i->dt << 8 | (uint32_t)i->w << 16, (uint64_t)i->bits),
        (uintptr_t)i->form);
    h = mix(mix(h, (uintptr_t)i->buf), (uint64_t)home);
    for (int a = 0; a < i->narg; a++)
        h = mix(h, i->arg[a]);
    return h;
}

/* An instruction of a kernel, which stands for its number. */
typedef struct Like { const Kernel *k; const KIns *i; } Like;

static bool ins_is(const void *like, const void *it)
{
    const Like *l = like;
    const KIns *a = l->i, *b = &l->k->ins[(uintptr_t)it];
    return a->op == b->op && a->dt == b->dt && a->w == b->w && a->narg == b->narg && a->bits == b->bits
        && a->form == b->form && a->buf == b->buf && a->home == b->home
        && (!a->narg || !memcmp(a->arg, b->arg, sizeof *a->arg * (size_t)a->narg));
}

/* An instruction like this one in that home; 0: there is none. */
static Val known_in(const Kernel *k, KIns *i, int home)
{
    i->home = home;
    return (Val)(uintptr_t)hash_find(&k->build->pure, ins_hash(i, home), ins_is, &(Like){ k, i });
}

/* A pure instruction: found where it is visible, else appended to its home. */
static Val find(Kernel *k, KIns i)
{
    KBuild *b = k->build;
    int h = i.op == K_CONST ? 0 : home_of(k, i.narg, i.arg, i.form);
    if (h < 0)
        return 0;
    if (k->scope[h].wall)                       /* it may stand outside of the branch already */
        for (int s = k->cur; s >= 0; s = k->scope[s].parent) {
            Val v = known_in(k, &i, s);
            if (v)
                return v;
        }
    Val v = known_in(k, &i, h);
    if (v)
        return v;
    v = ins_new(k, i);
    *hash_place(&b->pure, ins_hash(&k->ins[v], h), ins_is, &(Like){ k, &k->ins[v] }) = (void *)(uintptr_t)v;
    if (i.op != K_CONST)
        body_add(k, h, v);
    return v;
}

/* ==================== values */

Val k_bits(Kernel *k, Dtype dt, int64_t bits)
{
    return find(k, (KIns){ .op = K_CONST, .dt = dt, .w = 1, .bits = k_wrap(dt, bits) });
}

Val k_const(Kernel *k, Dtype dt, double x)
{
    return k_bits(k, dt,
        dtype_float(dt)                 ? k_bits_of(dt, x) :
            dt == DT_BOOL               ? x != 0 :
            dt == DT_U64 && x >= 0x1p63 ? (int64_t)(uint64_t)x :
                                          (int64_t)x);
}

bool k_is_const(const Kernel *k, Val v) { return v && k->ins[v].op == K_CONST; }

Val k_emit(Kernel *k, KOp op, Dtype dt, int narg, const Val *arg)
{
    SCRATCH(Val, a, narg);
    int64_t bits = 0;
    int w = 1;
    for (int i = 0; i < narg; i++) {
        if (!arg[i])
            return 0;
        a[i] = arg[i];
        w = k->ins[a[i]].w > w ? k->ins[a[i]].w : w;
    }
    if (op == K_ROUND)
        bits = dt, dt = DT_F32;
    Val v = k_fold(k, &op, &dt, bits, narg, a);
    if (v)
        return v;
    if (kop[op].commutes && (k_is_const(k, a[0]) || (a[0] > a[1] && !k_is_const(k, a[1])))) {
        Val t = a[0];
        a[0] = a[1], a[1] = t;
    }
    return find(k,
        (KIns){ .op = (uint8_t)op,
            .dt = dt,
            .w = (uint8_t)(k_across(op) ? 1 : w),
            .narg = narg,
            .arg = a,
            .bits = bits });
}

Val k1(Kernel *k, KOp op, Dtype dt, Val x) { return k_emit(k, op, dt, 1, &x); }
Val k2(Kernel *k, KOp op, Dtype dt, Val x, Val y) { return k_emit(k, op, dt, 2, (const Val[]){ x, y }); }
Val k3(Kernel *k, KOp op, Dtype dt, Val x, Val y, Val z)
{
    return k_emit(k, op, dt, 3, (const Val[]){ x, y, z });
}

/* Lanes of the widest of these; 0: one of them is none. */
int k_widest(const Kernel *k, int n, const Val *v)
{
    int w = 1;
    for (int i = 0; i < n; i++) {
        if (!v[i])
            return 0;
        w = k->ins[v[i]].w > w ? k->ins[v[i]].w : w;
    }
    return w;
}

Val k_splat(Kernel *k, Val v)
{
    if (!v || k->ins[v].w == W)
        return v;
    return find(k, (KIns){ .op = K_SPLAT, .dt = k->ins[v].dt, .w = W, .narg = 1, .arg = &v });
}

Val k_index(Kernel *k, Form f)
{
    if (!form_fits(f))
        k->wide_index = true;
    Dtype dt = k->wide_index ? DT_I64 : DT_I32;
    if (form_const(f))
        return k_bits(k, dt, f->c);
    if (f->n == 1 && !f->c && f->t[0].k == 1 && f->t[0].a->kind == A_VAL && k->ins[f->t[0].a->val].dt == dt)
        return f->t[0].a->val;
    return find(k, (KIns){ .op = K_INDEX, .dt = dt, .w = form_vector(f) ? W : 1, .form = f });
}

Form k_value(Kernel *k, Val v, int64_t lo, int64_t hi)
{
    int64_t c, l, h;
    if (!v || k_const_of(k, v, &c))
        return form_c(v ? c : 0);
    const KIns *i = &k->ins[v];
    if (i->op == K_INDEX) {
        form_range(i->form, &l, &h);
        if (l >= lo && h <= hi)
            return i->form;
    }
    return form_a(atom_val(v, i->w == W, lo, hi));
}

/* ==================== functions */

KFunction *k_function_of(const Kernel *k, int what, Dtype dt, int w)
{
    for (int n = 0; n < k->nfunction; n++)
        if (k->function[n]->what == what && k->function[n]->dt == dt && k->function[n]->w == w)
            return k->function[n];
    return NULL;
}

KFunction *k_function(Kernel *k, int what, const char *name, int narg, const Val *like)
{
    KFunction *f = NEW(KFunction);
    int w = k_widest(k, narg, like);
    *f = (KFunction){ .what = what, .dt = k->ins[like[0]].dt, .w = (uint8_t)w, .narg = narg,
                      .arg = NEWS(Val, narg), .scope = scope_new(k, -1, true), .around = k->cur };
    f->name = arena_text("%s_%s%s", name, dtype_name(f->dt), w > 1 ? "x16" : "");
    for (int a = 0; a < narg; a++)
        f->arg[a] = ins_new(k, (KIns){ .op = K_ARG, .dt = k->ins[like[a]].dt, .w = f->w, .group = a,
            .home = f->scope });
    k->cur = k->build->root = f->scope;
    return f;
}

void k_function_end(Kernel *k, KFunction *f, int n, const Val *result)
{
    f->nresult = k_widest(k, n, result) ? n : 0;            /* none after an error */
    f->result = arena_copy(result, sizeof *result * (size_t)n);
    f->number = k->nfunction;
    PUSH(k->function, k->nfunction, k->function_cap, f);
    k->cur = k->build->root = f->around;
    while (k->scope[k->build->root].parent >= 0)
        k->build->root = k->scope[k->build->root].parent;
}

Val k_apply(Kernel *k, const KFunction *f, const Val *arg)
{
    if (!f->nresult || !k_widest(k, f->narg, arg))
        return 0;
    Val v = find(k, (KIns){ .op = K_APPLY, .dt = k->ins[*f->result].dt, .w = f->w, .narg = f->narg,
        .arg = (Val *)(uintptr_t)arg, .bits = f->number, .group = f->nresult });
    if (!v || f->nresult == 1 || k->ins[v].part)
        return v;
    Val *part = NEWS(Val, f->nresult);
    for (int n = 0; n < f->nresult; n++)
        part[n] = ins_new(k, (KIns){ .op = K_PART, .dt = k->ins[f->result[n]].dt, .w = f->w, .bits = v,
            .group = n, .home = k->ins[v].home });
    k->ins[v].part = part;
    return v;
}

/* ==================== memory */

static int param_of(Kernel *k, Buffer *b)
{
    int p = kmap_get(&k->build->param, b);
    if (p >= 0)
        return p;
    p = k->nparam;
    int cap = k->param_cap;
    PUSH(k->param, k->nparam, k->param_cap, b);
    if (k->param_cap != cap)
        k->written = arena_grow(k->written, sizeof(bool) * (size_t)p, sizeof(bool) * (size_t)k->param_cap);
    k->written[p] = false;
    kmap_put(&k->build->param, b, p);
    return p;
}

void k_writes(Kernel *k, Buffer *b)
{
    if (b->space != GLOBAL)
        return;
    bool seen = kmap_get(&k->build->param, b) >= 0;
    int p = param_of(k, b);
    if (seen && !k->written[p])
        error_set(E_INTERNAL, "kernel %s: buffer %s is read before it is said that the kernel writes it",
            k->name, b->name);
    k->written[p] = true;
}

bool k_changes(const Kernel *k, const Buffer *b)
{
    int p = b->space == GLOBAL ? kmap_get(&k->build->param, b) : -1;
    return b->space != GLOBAL || (p >= 0 && k->written[p]);
}

bool k_mode(const Kernel *k, Form f, int64_t *stride)
{
    (void)k;
    *stride = 0;
    for (int i = 0; i < f->n; i++) {
        const Atom *a = f->t[i].a;
        if (atom_is_lane(a))
            *stride = f->t[i].k;
        else if (a->kind == A_VAL ? a->wide : a->kind != A_VAR && a->f && form_vector(a->f))
            return false;
    }
    return true;
}

static int mode_width(const Kernel *k, Form f)
{
    int64_t s;
    return k_mode(k, f, &s) && !s ? 1 : W;
}

static Dtype loaded(const Buffer *b) { return b->dt == DT_F16 || b->dt == DT_BF16 ? DT_F32 : (Dtype)b->dt; }

Val k_load(Kernel *k, Buffer *b, Form f)
{
    k->wide_index |= !form_fits(f);
    if (b->space == GLOBAL)
        param_of(k, b);
    KIns i = { .op = K_LOAD, .dt = loaded(b), .w = (uint8_t)mode_width(k, f), .form = f, .buf = b };
    if (!k_changes(k, b))
        return find(k, i);
    if (home_of(k, 0, NULL, f) < 0)
        return 0;
    i.home = k->cur;
    Val v = ins_new(k, i);
    body_add(k, k->cur, v);
    return v;
}

void k_store(Kernel *k, Buffer *b, Form f, Val v)
{
    if (!v || home_of(k, 1, &v, f) < 0)
        return;
    k->wide_index |= !form_fits(f);
    if (!k_changes(k, b))
        k_writes(k, b);
    if (mode_width(k, f) < k->ins[v].w) {
        broken(k, "a vector is stored at one place");
        return;
    }
    if (k->ins[v].dt != loaded(b)) {
        error_set(E_INTERNAL, "kernel %s: %s is stored in %s, which holds %s", k->name,
            dtype_name(k->ins[v].dt), b->name, dtype_name(b->dt));
        return;
    }
    Val s = ins_new(k, (KIns){ .op = K_STORE, .narg = 1, .arg = &v, .form = f, .buf = b, .home = k->cur });
    body_add(k, k->cur, s);
}

Buffer *k_private(Kernel *k, Dtype dt, int64_t size)
{
    Buffer *b = NEW(Buffer);
    *b = (Buffer){
        .name = arena_text("p%d", k->npriv), .dt = dt, .space = PRIVATE, .size = size, .slot = -1
    };
    PUSH(k->priv, k->npriv, k->priv_cap, b);
    return b;
}

void k_barrier(Kernel *k) { body_add(k, k->cur, ins_new(k, (KIns){ .op = K_BARRIER, .home = k->cur })); }

/* ==================== structure */

static void enter(Kernel *k, Val v)
{
    KBuild *b = k->build;
    PUSH(b->open, b->nopen, b->open_cap, v);
    k->cur = k->ins[v].scope;
}

/* The structure being built, which must be of that kind; its scope is closed. 0 after an error. */
static Val leave(Kernel *k, KOp op)
{
    KBuild *b = k->build;
    Val v = b->nopen ? b->open[b->nopen - 1] : 0;
    if (!v || k->ins[v].op != op)
        return (void)broken(k, "a loop or branch is closed that is not open"), 0;
    b->nopen--;
    k->cur = k->scope[k->ins[v].scope].parent;
    return v;
}

const Atom *k_loop(Kernel *k, const char *name, int64_t n, int ninit, const Val *init, Val *phi)
{
    int s = scope_new(k, k->cur, false);
    const Atom *var = atom_var(arena_text("%s%d", name, s), n < 0 ? INT32_MAX : n, 0);
    k_where(k, var, s);
    k->wide_index |= n > INT32_MAX;
    Val v = ins_new(k, (KIns){ .op = K_LOOP, .narg = ninit, .arg = (Val *)(uintptr_t)init, .home = k->cur,
        .var = var, .n = n, .scope = s, .ncarry = ninit });
    for (int i = 0; i < ninit; i++)
        phi[i] = !init[i] ? 0 :
                            ins_new(k,
                                (KIns){ .op = K_PHI,
                                    .dt = k->ins[init[i]].dt,
                                    .w = k->ins[init[i]].w,
                                    .bits = v,
                                    .group = i,
                                    .home = s });
    k->ins[v].phi = ninit ? arena_copy(phi, sizeof *phi * (size_t)ninit) : NULL;
    enter(k, v);
    return var;
}

void k_loop_end(Kernel *k, const Val *next, Val *out)
{
    KBuild *b = k->build;
    Val v = b->nopen ? b->open[b->nopen - 1] : 0;
    int n = v ? k->ins[v].ncarry : 0;
    Val *nx = NEWS(Val, n), *o = NEWS(Val, n);
    for (int i = 0; i < n; i++) {
        const KIns *p = &k->ins[k->ins[v].phi[i]];
        nx[i] = next[i];
        if (!nx[i] || !k->ins[v].phi[i])
            continue;
        if (k->ins[nx[i]].dt != p->dt || k->ins[nx[i]].w > p->w)
            error_set(E_INTERNAL, "kernel %s: a value carried as %s x %d becomes %s x %d", k->name,
                dtype_name(p->dt), p->w, dtype_name(k->ins[nx[i]].dt), k->ins[nx[i]].w);
        else if (p->w == W)
            nx[i] = k_splat(k, nx[i]);
    }
    if (!leave(k, K_LOOP))
        return;
    for (int i = 0; i < n; i++) {
        Val p = k->ins[v].phi[i];
        out[i] = o[i] = !p ? 0 : ins_new(k, (KIns){ .op = K_RESULT, .dt = k->ins[p].dt, .w = k->ins[p].w,
            .bits = v, .group = i, .home = k->cur });
    }
    k->ins[v].next = nx, k->ins[v].out = o;
    body_add(k, k->cur, v);
}

void k_brk(Kernel *k, Val cond)
{
    if (!cond || home_of(k, 1, &cond, NULL) < 0)
        return;
    body_add(k, k->cur, ins_new(k, (KIns){ .op = K_BRK, .narg = 1, .arg = &cond, .home = k->cur }));
}

void k_if(Kernel *k, Val cond)
{
    int s = scope_new(k, k->cur, true);
    Val v = ins_new(k, (KIns){ .op = K_IF, .narg = 1, .arg = &cond, .home = k->cur, .scope = s });
    enter(k, v);
}

void k_if_end(Kernel *k, int n, const Val *vals, const Val *others, Val *out)
{
    KBuild *b = k->build;
    Val v = b->nopen ? b->open[b->nopen - 1] : 0, *x = NEWS(Val, n), *y = NEWS(Val, n), *o = NEWS(Val, n);
    for (int i = 0; i < n; i++)
        x[i] = vals[i] && others[i] && k->ins[others[i]].w == W ? k_splat(k, vals[i]) : vals[i];
    if (!leave(k, K_IF))
        return;
    for (int i = 0; i < n; i++) {
        out[i] = 0;
        if (!x[i] || !others[i])
            continue;
        y[i] = k->ins[x[i]].w == W ? k_splat(k, others[i]) : others[i];
        if (k->ins[x[i]].dt != k->ins[y[i]].dt)
            error_set(E_INTERNAL, "kernel %s: a branch gives %s, the other %s", k->name,
                dtype_name(k->ins[x[i]].dt), dtype_name(k->ins[y[i]].dt));
        out[i] = o[i] = ins_new(k,
            (KIns){ .op = K_RESULT,
                .dt = k->ins[x[i]].dt,
                .w = k->ins[x[i]].w,
                .bits = v,
                .group = i,
                .home = k->cur });
    }
    KIns *f = &k->ins[v];
    f->ncarry = n, f->next = x, f->other = y, f->out = o;
    body_add(k, k->cur, v);
}
