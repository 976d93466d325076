/*
 * lower_panel.c - panels that a work-item copies for itself.
 *
 * In:  the panels of a Spec, the block of the vector.   Out: private arrays, filled; whoever evaluates the
 * value at that index from here on loads from there (Row).
 */
#include "evaluator.h"

/* Where in the panel: steps, then the position in the block of the vector. */
static Form panel_form(const Lower *L, const Panel *p)
{
    Form f = form_a(L->spec->at);
    int64_t stride = atom_extent(L->spec->at);
    for (int k = p->ks->n - 1; k >= 0; stride *= atom_extent(p->ks->a[k--]))
        f = form_add(f, form_mul(form_a(p->ks->a[k]), stride));
    return f;
}

/* Steps `first` + u * loop .. of it for the block. */
static void fill(Lower *L, const Panel *p, const Row *r, Form first, int u, Envs envs)
{
    int64_t dim[MAXRANK];
    const Env **es = NEWS(const Env *, u * envs.n);
    for (int k = 0; k < p->ks->n; k++)
        dim[k] = atom_extent(p->ks->a[k]);
    for (int c = 0; c < u; c++) {
        Form at[MAXRANK];
        form_unlinear(form_addc(first, c), dim, p->ks->n, at);
        for (int e = 0; e < envs.n; e++)
            es[c * envs.n + e] = env_sets(envs.at[e], p->ks->a, at, p->ks->n);
    }
    Val *x = NEWS(Val, u * envs.n);
    eval_at(L, L->top, p->v, p->idx->f, (Envs){ es, u * envs.n }, x);
    for (int e = 0; e < u * envs.n && !L->failed; e++)
        k_store(L->k, r->buf, form_in(L, r->f, es[e]), widen_val(L, x[e]));
}

void lower_panel(Lower *L, const Panel *p, Envs envs)
{
    int rank = p->idx->n;
    int64_t steps = (int64_t)p->ks->vol, from = 0;
    Row *r = NEW(Row);
    r->f = panel_form(L, p);
    Dtype dt = math_register((Dtype)L->top->g->type[p->v].dt);
    r->buf = k_private(L->k, dt, steps * atom_extent(L->spec->at));
    MapKey key = map_key(p->v, 0, 0, p->idx->f, rank);
    *map_at(&L->top->rows, key.w, key.n) = r;
    for (int u = p->turn; u; u = u > 1 ? 1 : 0) {
        int64_t count = (steps - from) / u;
        if (!count)
            continue;
        Form first = form_c(from);
        if (count > 1)
            first = form_addc(form_mul(form_a(k_loop(L->k, "k", count, 0, NULL, NULL)), u), from);
        fill(L, p, r, first, u, envs);
        if (count > 1)
            k_loop_end(L->k, NULL, NULL);
        from += count * u;
    }
    r->filled = true;
}
