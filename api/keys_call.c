/*
 * keys_call.c - HEDDLE_CHECK=keys between calls: an array whose keys a call has used is given to another.
 *
 * What a program uses of its arguments is kept with it (keys.c). The bytes of these arrays remember, word by
 * word, the place of the call that used them; so do those of results that are keys made and used inside.
 * Bytes are shared by all that hold them, and a copy knows nothing. Where there is no memory to remember
 * with, nothing is remembered.
 */
#include "api.h"
#include <stdlib.h>

KeyUses keys_of_program(const Traced *t)
{
    KeyUse *use = NEWS(KeyUse, t->keys.n);
    int n = 0;
    for (int i = 0; i < t->keys.n; i++)
        if ((int)t->keys.use[i].of[0] < t->g->nin + t->g->nout)        /* else it is of no value */
            use[n++] = t->keys.use[i];
    return (KeyUses){ use, n };
}

/* The call that used a word; .file NULL: none did. */
static Loc used_by(Store *s, int64_t at)
{
    pthread_mutex_lock(&s->lock);
    Loc l = s->used ? s->used[at] : (Loc){ 0 };
    pthread_mutex_unlock(&s->lock);
    return l;
}

static void remember(Store *const *s, const KeyUse *u, Loc call)
{
    for (int w = 0; w < 2; w++) {
        Store *one = s[u->of[w]];
        pthread_mutex_lock(&one->lock);
        if (!one->used)
            one->used = calloc(one->bytes / sizeof(uint32_t), sizeof *one->used);
        if (one->used)
            one->used[u->at[w]] = call;
        pthread_mutex_unlock(&one->lock);
    }
}

static Loc known(Loc l) { return l.file ? l : (Loc){ "?", 0 }; }

/* The first n uses did not happen. */
static void forget(KeyUses k, int n, Store *const *in)
{
    for (int i = 0; i < n; i++)
        if (!k.use[i].result)
            remember(in, &k.use[i], (Loc){ 0 });
}

int keys_before_call(KeyUses k, Store *const *in)
{
    for (int i = 0; i < k.n; i++) {
        const KeyUse *u = &k.use[i];
        if (u->result)
            continue;
        Loc inside = known(u->within.file ? u->within : u->loc);
        Loc before = used_by(in[u->of[0]], u->at[0]), too = used_by(in[u->of[1]], u->at[1]);
        if (before.file && too.file) {
            forget(k, i, in);
            return error_set(E_INVAL,
                "a random key is used twice: by this call, inside at %s:%d, and before by the call at "
                "%s:%d; it would "
                "give the same numbers again: make a key for each call with hd_random_split or "
                "hd_random_fold_in, or the "
                "array anew where the same numbers are meant",
                inside.file, inside.line, before.file, before.line);
        }
        remember(in, u, known(loc_here()));
    }
    return 0;
}

void keys_after_call(KeyUses k, Store *const *in, Store *const *out)
{
    if (!out)
        forget(k, k.n, in);
    for (int i = 0; i < k.n && out; i++)
        if (k.use[i].result)
            remember(out, &k.use[i], known(loc_here()));
}
