/*
 * env.c - environments: what each symbolic variable is in a copy of a kernel's block.
 */
#include "demand.h"

const Env *env_new(int k)
{
    Env *e = NEW(Env);
    e->k = k;
    return e;
}

const Env *env_sets(const Env *e, const Atom *const *a, const Form *f, int n)
{
    if (!n)
        return e;
    Env *r = NEW(Env);
    *r = (Env){
        .n = e->n, .k = e->k, .kf = e->kf, .a = NEWS(const Atom *, e->n + n), .f = NEWS(Form, e->n + n)
    };
    for (int j = 0; j < e->n; j++)
        r->a[j] = e->a[j], r->f[j] = e->f[j];
    for (int j = 0; j < n; j++) {
        int p = 0;
        while (p < r->n && r->a[p] != a[j])
            p++;
        r->a[p] = a[j], r->f[p] = f[j];
        r->n += p == r->n;
    }
    return r;
}

const Env *env_set(const Env *e, const Atom *a, Form f) { return env_sets(e, &a, &f, 1); }

const Env *env_copy(const Env *e, int k)
{
    Env *r = NEW(Env);
    *r = *e;
    r->k = k;
    return r;
}

bool env_binds(const Env *e, const Form *idx, int n)
{
    const AtomSet *s = idx_deps(idx, n);
    for (int j = 0; j < s->n; j++)
        if (!env_get(e, s->a[j]) && s->a[j] != STEP)
            return false;
    return true;
}

Form env_get(const Env *e, const Atom *a)
{
    for (int j = 0; j < e->n; j++)
        if (e->a[j] == a)
            return e->f[j];
    return NULL;
}

Envs env_block(Envs envs, int copies, const Atom *a, const Form *f)
{
    const Env **out = NEWS(const Env *, envs.n * copies);
    for (int e = 0; e < envs.n; e++)
        for (int c = 0; c < copies; c++)
            out[e * copies + c] = env_set(envs.at[e], a, f[c]);
    return (Envs){ out, envs.n * copies };
}

int64_t space_size(const Atom *const *space, int n)
{
    int64_t size = 1;
    for (int j = 0; j < n; j++)
        size *= atom_extent(space[j]);
    return size;
}

Envs env_space(Envs envs, const Atom *const *space, int n)
{
    int size = (int)space_size(space, n);
    int64_t dim[MAXRANK];
    const Env **out = NEWS(const Env *, size * envs.n);
    for (int j = 0; j < n; j++)
        dim[j] = atom_extent(space[j]);
    for (int c = 0; c < size; c++) {
        Form at[MAXRANK];
        form_unlinear(form_c(c), dim, n, at);
        for (int e = 0; e < envs.n; e++)
            out[c * envs.n + e] = env_sets(envs.at[e], space, at, n);
    }
    return (Envs){ out, size * envs.n };
}
