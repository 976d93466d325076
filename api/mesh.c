/*
 * mesh.c - meshes: devices in a grid with named axes, and how arrays lie over them.
 *
 * In:  "data: 2, model: 2", the devices; and for an array the axis of the mesh that deals out each of its
 * axes: "data, none".
 * A mesh is interned: the same text is the same mesh. Axes of size 1 deal nothing out.
 */
#include "api.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ==================== words of a list */

/* The next word, up to one of the marks; *s: behind the mark, NULL at the end. 0: there is none, or it is
 * too long. */
static size_t next_word(const char **s, const char *marks, char *word, size_t room)
{
    const char *at = *s;
    while (isspace((unsigned char)*at))
        at++;
    size_t n = strcspn(at, marks), len = n;
    *s = at[n] ? at + n + 1 : NULL;
    while (len && isspace((unsigned char)at[len - 1]))
        len--;
    if (len >= room)
        return 0;
    memcpy(word, at, len);
    word[len] = 0;
    return len;
}

static bool blank(const char *s) { return !s || !s[strspn(s, " \t\n")]; }

static int axis_named(const Mesh *m, const char *name)
{
    for (int a = 0; a < m->naxis; a++)
        if (!strcmp(m->name[a], name))
            return a;
    return -1;
}

static const char *names_text(const Mesh *m)
{
    static _Thread_local char text[400];
    size_t n = 0;
    text[0] = 0;
    for (int a = 0; a < m->naxis && n < sizeof text; a++)
        n += (size_t)snprintf(
            text + n, sizeof text - n, "%s%s: %lld", a ? ", " : "", m->name[a], (long long)m->size[a]);
    return text;
}

/* ==================== making */

static hd_mesh *meshes;                         /* under front_lock */

static int parse_axes(const char *text, Mesh *m)
{
    char word[100], *end;
    for (const char *s = text; s; ) {
        const char *colon = s;
        if (m->naxis == MESH_AXES)
            return error_set(E_INVAL, "hd_mesh_new: \"%s\" has more than %d axes", text, MESH_AXES);
        if (!next_word(&colon, ":,", word, sizeof word) || !colon || colon[-1] != ':')
            return error_set(
                E_INVAL, "hd_mesh_new: \"%s\": axes are written as \"data: 2, model: 2\"", text);
        long size = strtol(colon, &end, 10);
        end += strspn(end, " \t\n");
        if (size < 1 || size > HOST_DEVICES || (*end && *end != ','))
            return error_set(E_INVAL, "hd_mesh_new: \"%s\": axis \"%s\" wants a size from 1 to %d", text,
                word, HOST_DEVICES);
        if (axis_named(m, word) >= 0)
            return error_set(E_INVAL, "hd_mesh_new: \"%s\": two axes are called \"%s\"", text, word);
        if (strchr(word, '#') || strchr(word, '+') || !strcmp(word, "none"))
            return error_set(E_INVAL, "hd_mesh_new: \"%s\" cannot be the name of an axis", word);
        m->name[m->naxis] = intern(word), m->size[m->naxis++] = size;
        s = *end ? end + 1 : NULL;
    }
    return 0;
}

static int check_devices(const Mesh *m, Device *const *d, int n, const char *names)
{
    for (int k = 0; k < n; k++)
        for (int j = 0; j < k; j++)
            if (d[j] == d[k])
                return error_set(
                    E_DEVICE, "hd_mesh_new: \"%s\" names %s twice", names ? names : "", d[k]->info.name);
    if (mesh_shards(m) % n || mesh_shards(m) > HOST_DEVICES)
        return error_set(E_SHAPE,
            "hd_mesh_new: a mesh \"%s\" has %lld places, which cannot be dealt out to %d devices: a "
            "multiple is "
            "wanted, at most %d",
            names_text(m), (long long)mesh_shards(m), n, HOST_DEVICES);
    return 0;
}

static bool same_mesh(const hd_mesh *a, const hd_mesh *b)
{
    const Mesh *m = &b->mesh;
    return a->ranks == b->ranks && a->mesh.naxis == m->naxis &&
        !memcmp(a->mesh.size, m->size, sizeof m->size) && !memcmp(a->mesh.name, m->name, sizeof m->name) &&
        !memcmp(a->device, b->device, sizeof *a->device * (size_t)mesh_shards(m));
}

bool mesh_names(const Device *d)
{
    bool named = false;
    pthread_mutex_lock(&front_lock);
    for (const hd_mesh *m = meshes; m; m = m->next)
        for (int64_t k = mesh_shards(&m->mesh); k-- > 0;)
            named |= m->device[k] == d;
    pthread_mutex_unlock(&front_lock);
    return named;
}

static const hd_mesh *interned(const Mesh *m, Device *const *list, int n, bool ranks)
{
    int64_t all = mesh_shards(m);
    hd_mesh *new = calloc(1, sizeof *new + sizeof *new->device * (size_t)all), *at;
    if (!new)
        return error_set(E_NOMEM, "out of host memory"), NULL;
    new->mesh = *m, new->ranks = ranks;
    for (int64_t k = 0; k < all; k++)
        new->device[k] = list[k / (all / n)];
    pthread_mutex_lock(&front_lock);
    for (at = meshes; at && !same_mesh(at, new); at = at->next)
        ;
    if (at)
        free(new);
    else
        new->next = meshes, meshes = at = new;
    pthread_mutex_unlock(&front_lock);
    return at;
}

const hd_mesh *hd_mesh_new(const char *axes, const char *devices)
{
    OP(hd_mesh_new);
    error_begin();
    Mesh m = { 0 };
    Device **list = NULL;
    if (blank(axes)) {
        error_set(E_INVAL, "hd_mesh_new: there are no axes; they are written as \"data: 2, model: 2\"");
        return NULL;
    }
    int n = parse_axes(axes, &m) ? 0 : devices_listed("hd_mesh_new", devices, &list);
    const hd_mesh *mesh = n && !check_devices(&m, list, n, devices) ?
        interned(&m, list, n, devices && devices_ranked(devices)) :
        NULL;
    free(list);
    return mesh;
}

/* ==================== specs */

int spec_item(const char *what, const Mesh *m, const char *item, int d, Dealt *out)
{
    char word[100];
    int last = -1;
    for (const char *s = item; s; ) {
        next_word(&s, "+", word, sizeof word);
        if (!strcmp(word, "none"))
            continue;
        int a = axis_named(m, word);
        if (a < 0)
            return error_set(
                E_INVAL, "%s: there is no axis \"%s\" in the mesh \"%s\"", what, word, names_text(m));
        if (out->over[a] >= 0)
            return error_set(E_INVAL, "%s: axis \"%s\" of the mesh deals out two axes, %d and %d", what,
                word, out->over[a], d);
        if (a < last)
            return error_set(E_INVAL,
                "%s: \"%s\": axes that deal out one axis are in the order of the mesh, \"%s\"", what, item,
                names_text(m));
        out->over[a] = (int8_t)d, last = a;
    }
    return 0;
}

/* Do the pieces come out even? Axes of the mesh of size 1 deal nothing out. */
int spec_divides(const char *what, const Mesh *m, const Type *t, Dealt *spec)
{
    for (int d = 0; d < t->rank; d++) {
        int64_t n = 1;
        for (int a = 0; a < m->naxis; a++)
            n *= spec->over[a] == d ? m->size[a] : 1;
        if (t->dim[d] % n)
            return error_set(E_SHAPE,
                "%s: axis %d, of %lld elements, cannot be dealt out to %lld shards of the mesh \"%s\": a "
                "multiple is wanted",
                what, d, (long long)t->dim[d], (long long)n, names_text(m));
    }
    for (int a = 0; a < MESH_AXES; a++)
        if (a >= m->naxis || m->size[a] == 1)
            spec->over[a] = -1;
    return 0;
}

static int parse_spec(
    const char *what, const Mesh *m, const char *text, int first, const Type *t, Dealt *out)
{
    char item[200];
    int d = first;
    memset(out, -1, sizeof *out);
    for (const char *s = blank(text) ? NULL : text; s; d++) {
        if (!next_word(&s, ",", item, sizeof item))
            return error_set(E_INVAL,
                "%s: \"%s\": for each axis the name of one of the mesh, or none, is wanted", what, text);
        if (d >= t->rank)
            return error_set(E_SHAPE, "%s: \"%s\" is for more than the %d axes of the array", what, text,
                t->rank - first);
        if (spec_item(what, m, item, d, out))
            return (int)error_code();
    }
    return spec_divides(what, m, t, out);
}

int constraint_spec(const Mesh *m, const char *text, int first, const Type *t, Dealt *out)
{
    return parse_spec("hd_constrain", m, text, first, t, out);
}

static hd constrain_leaf(const hd *x, int n, void *spec)
{
    (void)n;
    Ref r = sym_ref(x[0]);
    return sym_of(r ? Constrain(r, 0, spec) : 0);
}

hd hd_constrain(hd x, const char *spec)
{
    OP(hd_constrain);
    if (!spec) {
        error_set(E_INVAL, "hd_constrain: the spec is NULL");
        return HD_NIL;
    }
    return sym_map("hd_constrain", constrain_leaf, (void *)(uintptr_t)intern(spec), 1, &x);
}

const char *hd_array_spec(const hd_array *a)
{
    OP(hd_array_spec);
    const Shards *s = a && array_alive("hd_array_spec", -1, a) && a->store ? a->store->shards : NULL;
    Text t = { 0 };
    if (!s || !s->sharding.of)
        return "";
    for (int d = 0; d < a->type.rank; d++) {
        bool any = false;
        text_add(&t, d ? ", " : "");
        for (int m = 0; m < s->sharding.mesh.naxis; m++)
            if (s->sharding.spec.over[m] == d)
                text_add(&t, any ? "+%s" : "%s", s->sharding.mesh.name[m]), any = true;
        text_add(&t, any ? "" : "none");
    }
    const char *all = intern(t.s ? t.s : "");
    text_free(&t);
    return all ? all : "";
}

void mesh_report(const Graph *shard, const Moves *m, hd_cost_info *cost)
{
    Text t = { 0 };
    cost->sums = m->sums, cost->gathers = m->gathers, cost->exchanges = m->exchanges;
    cost->gathered = intern(m->text->s ? m->text->s : "");
    if (shard && dump_wanted("mesh")) {
        graph_print(shard, &t);
        fprintf(stderr, "---- mesh\n%s%s", t.s ? t.s : "", cost->gathered ? cost->gathered : "");
    }
    text_free(&t);
}

/* ==================== data */

typedef struct Onto { const hd_mesh *mesh; const char *spec; } Onto;

static Store *dealt(const hd_array *a, const void *env)
{
    const Onto *o = env;
    Sharding s = { .type = a->type, .mesh = o->mesh->mesh, .of = o->mesh };
    return parse_spec("hd_shard", &s.mesh, o->spec, 0, &a->type, &s.spec) ?
        NULL :
        store_dealt(a->store, &s, o->mesh->device, o->mesh->ranks);
}

hd_array *hd_shard(const hd_array *a, const hd_mesh *mesh, const char *spec)
{
    OP(hd_shard);
    if (!a || !array_alive("hd_shard", -1, a))
        return NULL;
    if (!mesh && !error_pending())
        error_set(E_INVAL, "hd_shard: the mesh is NULL");
    if (!mesh)
        return NULL;
    error_begin();
    return array_bring(a) ? NULL : array_each("hd_shard", a, dealt, &(Onto){ mesh, spec });
}

static int mesh_below(const hd_array *a, const hd_mesh **mesh)
{
    for (int i = 0; i < a->n; i++)
        if (mesh_below(a->part[i], mesh))
            return (int)error_code();
    const hd_mesh *here = a->store && a->store->shards ? a->store->shards->sharding.of : NULL;
    if (here && *mesh && here != *mesh)
        return error_set(E_DEVICE,
            "hd_call: arguments lie over different meshes; hd_shard one of them, or hd_put it on one "
            "device");
    *mesh = here ? here : *mesh;
    return 0;
}

int mesh_of_args(hd_array *const *args, int n, const hd_mesh **mesh)
{
    *mesh = NULL;
    for (int k = 0; k < n; k++)
        if (mesh_below(args[k], mesh))
            return (int)error_code();
    return 0;
}

Dealt store_spec(const Store *s, const hd_mesh *mesh)
{
    Dealt d;
    memset(&d, -1, sizeof d);
    return s && s->shards && s->shards->sharding.of == mesh ? s->shards->sharding.spec : d;
}

int leaf_specs(const hd_array *a, const hd_mesh *mesh, Dealt *out, int n)
{
    for (int i = 0; i < a->n; i++)
        n = leaf_specs(a->part[i], mesh, out, n);
    if (!a->tree)
        out[n++] = store_spec(a->store, mesh);
    return n;
}
