/*
 * keys.c - HEDDLE_CHECK=keys: a random key that is used twice is an error, found while its function is
 * traced.
 *
 * Each trace keeps a list of the keys that samplers and splits in it have used. A key is where its two words
 * come from: values and words of them, followed back through views, so that one row of an array of keys is
 * one key however it was taken, typed or as words. A key that the program spells out is its two numbers.
 * What a function uses of its inputs, or spells out, is kept with its graph, and counts wherever the graph
 * is applied: in the trace around it, for each lane of vmap, for each step of a loop. The list is of what
 * was written, not of instructions: the builder merges equal ones, which is just what a key that is used
 * twice gives.
 */
#include "control.h"
#include "random.h"
#include <string.h>

static bool on;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void ask(void) { on = check_wanted("keys"); }

static bool checking(void)
{
    pthread_once(&once, ask);
    return on && !error_pending();
}

/* Instead of values. SPELLED: a key that the program spells out; its words are at. MADE: one that is made
 * inside of inputs, whose bits are at[0]: it is the same where they are. Inputs from the last bit on share
 * it. */
enum { SPELLED = INT32_MAX, MADE = INT32_MAX - 1, BITS = 64 };
static bool no_value(const KeyUse *u) { return u->of[0] == SPELLED || u->of[0] == MADE; }
static uint64_t bit_of(int input) { return 1ull << (input < BITS ? input : BITS - 1); }
static bool has_bit(const KeyUse *u, int input) { return (uint64_t)u->at[0] & bit_of(input); }

/* Is it made of what its function captures alone? */
static bool of_captures(const KeyUse *u, const Traced *t)
{
    return u->of[0] == MADE && t->ncap < BITS && !((uint64_t)u->at[0] >> t->ncap);
}

/* ==================== where a word comes from: places in values count words, of which a typed key has
 * two */

static void unravel(const Type *t, int64_t at, int64_t *index)
{
    for (int d = t->rank - 1; d >= 0; at /= t->dim[d--])
        index[d] = at % t->dim[d];
}

static int64_t ravel(const Type *t, const int64_t *index)
{
    int64_t at = 0;
    for (int d = 0; d < t->rank; d++)
        at = at * t->dim[d] + index[d];
    return at;
}

/* The element of the first operand of a view that its element i[] is. */
static int64_t seen(const Ins *v, const Type *x, const int64_t *i)
{
    int64_t from[MAXRANK] = { 0 };
    Ints a = ins_ints(v,
        v->op == OP_broadcast     ? ATTR(broadcast, dims)
            : v->op == OP_reverse ? ATTR(reverse, axes)
            : v->op == OP_slice   ? ATTR(slice, start)
                                  : ATTR(transpose, perm));
    for (int d = 0; d < x->rank; d++)
        switch (v->op) {
        case OP_broadcast: from[d] = x->dim[d] == 1 ? 0 : i[a.v[d]]; break;
        case OP_transpose: from[a.v[d]] = i[d]; break;
        case OP_slice: from[d] = a.v[d] + i[d] * ins_ints(v, ATTR(slice, step)).v[d]; break;
        default: from[d] = i[d];
        }
    if (v->op == OP_shear) {
        int64_t axis = ins_int(v, ATTR(shear, axis)), along = ins_int(v, ATTR(shear, along));
        int64_t step = ins_int(v, ATTR(shear, step));
        from[axis] += step * (step < 0 ? i[along] - (x->dim[along] - 1) : i[along]);
    }
    for (int k = 0; k < a.n && v->op == OP_reverse; k++)
        from[a.v[k]] = x->dim[a.v[k]] - 1 - i[a.v[k]];
    return ravel(x, from);
}

static int64_t words_of(const Type *t) { return t->dt == DT_KEY ? 2 : 1; }

/* One step back; false: the value is no view. */
static bool back(const Graph *g, Ref *v, int64_t *at)
{
    const Ins *d = g->def[*v];
    int64_t i[MAXRANK], n = words_of(&g->type[*v]), word = *at % n, element = *at / n;
    int part = 0;
    if (!d)
        return false;
    unravel(&g->type[*v], element, i);
    switch (d->op) {
    case OP_reshape: case OP_stop_gradient: case OP_named: case OP_constrain: break;
    case OP_broadcast: case OP_transpose: case OP_slice: case OP_reverse: case OP_shear:
        element = seen(d, &g->type[d->in[0]], i);
        break;
    case OP_concat:
        for (int64_t a = ins_int(d, ATTR(concat, axis)), m; (m = g->type[d->in[part]].dim[a]) <= i[a];
             part++)
            i[a] -= m;
        element = ravel(&g->type[d->in[part]], i);
        break;
    case OP_bitcast:                            /* between keys and words it is the same word */
        *v = n != words_of(&g->type[d->in[0]]) ? d->in[0] : *v;
        return *v == d->in[0];
    default: return false;
    }
    *at = element * n + word;
    *v = d->in[part];
    return true;
}

/* The word itself, where the program spells it out. */
static bool spelled(const Graph *g, Ref v, int64_t at, int64_t *word)
{
    const Ins *d = g->def[v];
    if (!d || (d->op != OP_const && d->op != OP_data) ||
        (g->type[v].dt != DT_U32 && g->type[v].dt != DT_KEY))
        return false;
    *word = d->op == OP_data ? ((const uint32_t *)d->blob)[at] :
                               (int64_t)((uint64_t)ins_int(d, ATTR(const, bits)) >> 32 * at & UINT32_MAX);
    return true;
}

/* A key: two words of values, seen back to where they come from. */
static KeyUse origin(const Graph *g, const Ref *value, const int64_t *at)
{
    KeyUse u = { .of = { value[0], value[1] }, .at = { at[0], at[1] }, .loc = loc_here() };
    int64_t word[2];
    for (int w = 0; w < 2; w++)
        while (back(g, &u.of[w], &u.at[w]))
            ;
    if (spelled(g, u.of[0], u.at[0], &word[0]) && spelled(g, u.of[1], u.at[1], &word[1]))
        for (int w = 0; w < 2; w++)
            u.of[w] = SPELLED, u.at[w] = word[w];
    return u;
}

/* ==================== the list of a trace */

static bool same(const KeyUse *a, const KeyUse *b)
{
    return !memcmp(a->of, b->of, sizeof a->of) && !memcmp(a->at, b->at, sizeof a->at);
}

static int *slot_of(const KeySet *s, const KeyUse *u)
{
    uint64_t h = hash_bytes(u->of, sizeof u->of, hash_bytes(u->at, sizeof u->at, 0));
    for (;; h++) {
        int *slot = &s->slot[h & (s->room - 1)];
        if (!*slot || same(&s->use[*slot - 1], u))
            return slot;
    }
}

static KeyUse *found(const KeySet *s, const KeyUse *u)
{
    int k = s->n ? *slot_of(s, u) : 0;
    return k ? &s->use[k - 1] : NULL;
}

static void add(KeySet *s, const KeyUse *u)
{
    if (2 * ((uint64_t)s->n + 1) > s->room) {
        s->room = s->room ? 2 * s->room : 16;
        s->slot = NEWS(int, s->room);
        for (int i = 0; i < s->n; i++)
            *slot_of(s, &s->use[i]) = i + 1;
    }
    PUSH(s->use, s->n, s->cap, *u);
    *slot_of(s, u) = s->n;
}

static const char *place(const char *before, Loc l)
{
    return l.file ? arena_text("%s%s:%d", before, l.file, l.line) : "";
}

/* Counts a use in the trace at hand. Branches of one region do not count against one another. */
static int use(const KeyUse *u)
{
    Trace *t = trace_top;
    KeyUse *before = u->of[0] == MADE ? NULL : found(&t->keys, u);
    bool beside = before && u->region && before->region == u->region && before->branch != u->branch;
    if (before && !beside)
        return error_set(E_INVAL,
            "a random key is used twice: here%s, and before%s%s; it would give the same numbers again: make "
            "a key "
            "for each use with hd_random_split or hd_random_fold_in",
            place(", inside at ", u->within), place(" at ", before->loc),
            place(", inside at ", before->within));
    Arena *a = arena_use(t->arena);
    if (before)
        *before = *u;
    else
        add(&t->keys, u);
    arena_use(a);
    return error_pending() ? E_INTERNAL : 0;
}

int key_use(Ref key)
{
    if (!checking())
        return 0;
    KeyUse u = origin(trace_top->g, (Ref[]){ key, key }, (int64_t[]){ 0, 1 });
    return use(&u);
}

/* ==================== what a traced function uses */

typedef struct Uses { KeyUse *use; int n, cap; } Uses;

/* Rows of a result that are keys made inside, and used there: whoever uses them again is second. */
static void used_results(const Trace *t, const bool *is_input, Uses *all)
{
    const Graph *g = t->g;
    for (int o = 0; o < g->nout; o++) {
        const Type *y = &g->type[g->out[o]];
        if (y->dt != DT_KEY && (y->dt != DT_U32 || !y->rank || y->dim[y->rank - 1] != 2))
            continue;
        for (int64_t at = 0, n = type_size(y) * words_of(y); at < n; at += 2) {
            KeyUse u = origin(g, (Ref[]){ g->out[o], g->out[o] }, (int64_t[]){ at, at + 1 });
            const KeyUse *inside = found(&t->keys, &u);
            if (!inside || no_value(&u) || (is_input[u.of[0]] && is_input[u.of[1]]))
                continue;
            u = *inside;
            u.of[0] = u.of[1] = (Ref)o, u.at[0] = at, u.at[1] = at + 1, u.result = true;
            PUSH(all->use, all->n, all->cap, u);
        }
    }
}

/* Which inputs each value is made of. */
static uint64_t *made_of(const Graph *g)
{
    uint64_t *bits = NEWS(uint64_t, g->nval);
    for (int k = 0; k < g->nin; k++)
        bits[g->in[k]] = bit_of(k);
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            for (int r = 0; r < g->ins[n]->nout; r++)
                bits[g->ins[n]->out + (Ref)r] |= bits[g->ins[n]->in[k]];
    return bits;
}

/* Of a key that was made in a function that was applied: bits of its inputs as those of the trace around
 * it. */
static uint64_t bits_of_inputs(const KeyUse *u, const uint64_t *bits)
{
    uint64_t all = 0;
    for (int k = 0; k < u->nin; k++)
        all |= has_bit(u, k) ? bits[u->in[k]] : 0;
    return all;
}

KeyUses keys_used(const Trace *t)
{
    Uses all = { 0 };
    if (!t->keys.n)
        return (KeyUses){ 0 };
    bool *is_input = NEWS(bool, t->g->nval);
    Ref *number = NEWS(Ref, t->g->nval);
    uint64_t *bits = made_of(t->g);
    for (int i = 0; i < t->g->nin; i++)
        is_input[t->g->in[i]] = true, number[t->g->in[i]] = (Ref)i;
    for (int k = 0; k < t->keys.n; k++) {
        KeyUse u = t->keys.use[k];
        u.region = 0;
        if (u.of[0] == MADE)
            u.at[0] = (int64_t)bits_of_inputs(&u, bits), u.in = NULL;
        else if (u.of[0] == SPELLED)
            ;
        else if (is_input[u.of[0]] && is_input[u.of[1]])
            u.of[0] = number[u.of[0]], u.of[1] = number[u.of[1]];
        else
            u.at[0] = (int64_t)(bits[u.of[0]] | bits[u.of[1]]), u.at[1] = 0, u.of[0] = u.of[1] = MADE;
        PUSH(all.use, all.n, all.cap, u);
    }
    used_results(t, is_input, &all);
    return (KeyUses){ all.use, all.n };
}

KeyUses keys_of_inputs(KeyUses k)
{
    Uses all = { 0 };
    for (int i = 0; i < k.n; i++)
        if (!k.use[i].result)
            PUSH(all.use, all.n, all.cap, k.use[i]);
    return (KeyUses){ all.use, all.n };
}

KeyUses keys_counted(KeyUses k)
{
    k.use = arena_copy(k.use, sizeof *k.use * (size_t)k.n);
    for (int i = 0; i < k.n; i++)
        if (k.use[i].result)
            k.use[i].of[0]++, k.use[i].of[1]++;
    return k;
}

KeyUses keys_recaptured(const Traced *t, const CapSet *s)
{
    KeyUses r = keys_of_inputs(t->keys);
    for (int i = 0; i < r.n; i++) {
        KeyUse *u = &r.use[i], before = *u;
        if (u->of[0] == MADE)
            u->at[0] = 0;
        for (int k = 0; k < t->g->nin; k++) {
            int now = k < t->ncap ? cap_find(s, &t->cap[k]) : s->n + k - t->ncap;
            if (u->of[0] == MADE && has_bit(&before, k))
                u->at[0] |= (int64_t)bit_of(now);
            for (int w = 0; w < 2; w++)
                u->of[w] = before.of[w] == (Ref)k ? (Ref)now : u->of[w];
        }
    }
    return r;
}

KeyUses keys_of_lanes(const Traced *t, const Type *type, const int32_t *axis, int64_t lanes)
{
    Uses all = { 0 };
    KeyUses one = keys_of_inputs(t->keys);
    for (int i = 0; i < one.n; i++) {
        bool mapped[2] = { false, false };
        int64_t block[2] = { 1, 1 };
        for (int w = 0; w < 2 && !no_value(&one.use[i]); w++) {
            int k = (int)one.use[i].of[w] - t->ncap;
            mapped[w] = k >= 0 && axis[k] != HD_NONE;
            block[w] = k >= 0 ? words_of(&type[k]) : 1;
            for (int d = mapped[w] ? axis[k] + 1 : MAXRANK; d < MAXRANK && d < type[k].rank; d++)
                block[w] *= type[k].dim[d];
        }
        for (int64_t lane = 0; lane < (mapped[0] || mapped[1] ? lanes : lanes > 0); lane++) {
            KeyUse u = one.use[i];
            for (int w = 0; w < 2; w++)
                if (mapped[w])
                    u.at[w] = u.at[w] / block[w] * block[w] * lanes + lane * block[w] + u.at[w] % block[w];
            PUSH(all.use, all.n, all.cap, u);
        }
    }
    return (KeyUses){ all.use, all.n };
}

/* ==================== where it is applied */

static Ref input_of(const Traced *t, int k, const Ref *args)
{
    return k < t->ncap ? cap_ref(&t->cap[k]) : args[k - t->ncap];
}

/* A use inside t at inputs of it, in the trace at hand. */
static int use_inside(
    const Traced *t, const KeyUse *inside, const Ref *args, const int64_t *at, int region, int branch)
{
    KeyUse u = *inside;
    if (u.of[0] == MADE) {
        Ref *in = NEWS(Ref, u.nin = t->g->nin);
        for (int k = 0; k < u.nin; k++)
            in[k] = input_of(t, k, args);
        u.in = in;
    } else if (u.of[0] != SPELLED) {
        Ref v[2] = { input_of(t, (int)u.of[0], args), input_of(t, (int)u.of[1], args) };
        if (!v[0] || !v[1])
            return E_INTERNAL;
        u = origin(trace_top->g, v, at);
    }
    u.loc = loc_here();
    u.within = inside->within.file ? inside->within : inside->loc;
    u.region = region, u.branch = branch;
    return use(&u);
}

int keys_apply(const Traced *t, const Ref *args)
{
    for (int i = 0; i < t->keys.n && checking(); i++)
        if (!t->keys.use[i].result && use_inside(t, &t->keys.use[i], args, t->keys.use[i].at, 0, 0))
            return E_INVAL;
    return 0;
}

void keys_results(const Traced *t, const Ref *out)
{
    for (int i = 0; i < t->keys.n && checking(); i++) {
        const KeyUse *r = &t->keys.use[i];
        if (!r->result)
            continue;
        KeyUse u = origin(trace_top->g, (Ref[]){ out[r->of[0]], out[r->of[1]] }, r->at);
        u.within = r->within.file ? r->within : r->loc;
        if (!found(&trace_top->keys, &u))
            use(&u);
    }
}

int keys_branches(int n, const Traced *const *t, const Ref *args)
{
    int region = ++trace_top->key_regions;
    for (int b = 0; b < n; b++)
        for (int i = 0; i < t[b]->keys.n && checking(); i++)
            if (!t[b]->keys.use[i].result &&
                use_inside(t[b], &t[b]->keys.use[i], args, t[b]->keys.use[i].at, region, b))
                return E_INVAL;
    return 0;
}

/* ==================== loops */

static bool listed(KeyUses k, const KeyUse *u)
{
    for (int i = 0; i < k.n; i++)
        if (k.use[i].result == u->result && same(&k.use[i], u))
            return true;
    return false;
}

/* The keys that are used at some step, as places, inputs of the body, when the loop begins; and as what a
 * step makes. */
typedef struct Loop { const Traced *body; int ncarry; int64_t length; KeySet held, made; } Loop;

/* The place where the key of this place was in the step before. false: it was made in that step, and is now
 * the value that it was. */
static bool step_back(const Traced *body, KeyUse *u)
{
    const Graph *g = body->g;
    bool held = true;
    for (int w = 0; w < 2; w++) {
        int k = (int)u->of[w];
        if (k < body->ncap)
            continue;
        u->of[w] = g->out[k - body->ncap];
        while (back(g, &u->of[w], &u->at[w]))
            ;
        for (k = 0; k < g->nin && g->in[k] != u->of[w];)
            k++;
        held &= k < g->nin;
        u->of[w] = k < g->nin ? (Ref)k : u->of[w];
    }
    return held;
}

/* Is a key that was used at some step used again, as this place is used in each? */
static bool used_again(Loop *l, KeyUse u)
{
    Ref ncap = (Ref)l->body->ncap, rows = ncap + (Ref)l->ncarry;
    for (int64_t step = 0; step < l->length; step++) {
        KeyUse made = u;
        if (found(&l->held, &u))
            return true;
        add(&l->held, &u);
        if (u.of[0] >= rows || u.of[1] >= rows)
            return false;                       /* each step has another */
        made.of[0] -= ncap, made.of[1] -= ncap, made.result = true;
        if (step_back(l->body, &u))
            continue;
        int64_t word;
        bool again = found(&l->made, &u) || listed(l->body->keys, &made)
            || (spelled(l->body->g, u.of[0], u.at[0], &word) && step + 2 < l->length);
        add(&l->made, &u);
        return again && step + 1 < l->length;
    }
    return false;
}

static int in_each_step(const KeyUse *u)
{
    return error_set(E_INVAL,
        "a random key is used again at each step of a loop%s; it would give the same numbers each time: "
        "split it in "
        "the step and carry one half, give each step its own as xs, or hd_random_fold_in the step's number",
        place(", inside at ", u->within.file ? u->within : u->loc));
}

/* Is what t uses in each step used again in a later one? */
static bool repeats(Loop *l, const Traced *t, const KeyUse *inside)
{
    KeyUse u = *inside;
    if (l->length < 2)
        return false;
    if (no_value(&u))
        return u.of[0] == SPELLED || of_captures(&u, t);
    if ((int)u.of[0] < t->ncap || (int)u.of[1] < t->ncap)
        return true;
    for (int w = 0; w < 2; w++)
        u.of[w] += (Ref)(l->body->ncap - t->ncap);
    return used_again(l, u);
}

/* What a use in each step is in the trace at hand: that of the first step; of a row, of all. */
static int use_in_steps(const Loop *l, const Traced *t, const KeyUse *u, const Ref *args)
{
    int first = t->ncap + l->ncarry;
    bool row[2] = { !no_value(u) && (int)u->of[0] >= first, !no_value(u) && (int)u->of[1] >= first };
    for (int64_t step = 0; step < (row[0] || row[1] ? l->length : 1); step++) {
        int64_t at[2] = { u->at[0], u->at[1] };
        for (int w = 0; w < 2; w++) {
            const Type *x = row[w] ? &t->g->type[t->g->in[u->of[w]]] : NULL;
            at[w] += x ? step * type_size(x) * words_of(x) : 0;
        }
        if (use_inside(t, u, args, at, 0, 0))
            return E_INVAL;
    }
    return 0;
}

int keys_loop(int n, const Traced *const *t, int ncarry, const Ref *carry, const Ref *xs, int64_t length)
{
    const Traced *body = t[n - 1];
    int nargs = body->g->nin - body->ncap;
    Loop l = { .body = body, .ncarry = ncarry, .length = length };
    Ref *args = NEWS(Ref, nargs);
    for (int k = 0; k < nargs; k++)
        args[k] = k < ncarry ? carry[k] : xs[k - ncarry];
    for (int b = 0; b < n && length > 0; b++)
        for (int i = 0; i < t[b]->keys.n && checking(); i++) {
            const KeyUse *u = &t[b]->keys.use[i];
            if (u->result)
                continue;
            if (repeats(&l, t[b], u))
                return in_each_step(u);
            if (use_in_steps(&l, t[b], u, args))
                return E_INVAL;
        }
    return 0;
}

int keys_combined(const Traced *t, int64_t n)
{
    for (int i = 0; i < t->keys.n && n > 2 && checking(); i++)
        if (t->keys.use[i].of[0] != MADE || of_captures(&t->keys.use[i], t))
            return in_each_step(&t->keys.use[i]);
    return 0;
}
