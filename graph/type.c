/*
 * type.c - element type and shape of a value, and attributes: small records that compare with memcmp.
 *
 * In: dtypes and dimensions. Out: Type with every dimension beyond the rank 0 (that is what makes memcmp
 * right).
 */
#include "graph.h"

#include <string.h>

Type type_of(Dtype dt, int rank, const int64_t *dim)
{
    Type t;
    memset(&t, 0, sizeof t);                    /* padding too */
    t.dt = (uint8_t)dt;
    t.rank = (uint8_t)rank;
    for (int k = 0; k < rank; k++)
        t.dim[k] = dim[k];
    return t;
}

Type type_scalar(Dtype dt) { return type_of(dt, 0, NULL); }

bool type_equal(const Type *a, const Type *b)
{
    return a->dt == b->dt && a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim);
}

int type_rank_most(Dtype d) { return MAXRANK - (d == DT_KEY || dtype_complex(d)); }

int64_t type_size(const Type *t)
{
    int64_t n = 1;
    for (int k = 0; k < t->rank; k++)
        n *= t->dim[k];
    return n;
}

size_t type_bytes(const Type *t) { return (size_t)type_size(t) * dtype_size((Dtype)t->dt); }
Ints type_shape(const Type *t) { return ints_of(t->dim, t->rank); }

const char *type_text(const Type *t)
{
    char s[16 + MAXRANK * 21], *p = s;
    p += sprintf(p, "%s[", dtype_name((Dtype)t->dt));
    for (int k = 0; k < t->rank; k++)
        p += sprintf(p, k ? ",%lld" : "%lld", (long long)t->dim[k]);
    strcpy(p, "]");
    return arena_copy(s, strlen(s) + 1);
}

Type type_drop_lead(const Type *t, int n)
{
    return n >= t->rank ? type_scalar((Dtype)t->dt) : type_of((Dtype)t->dt, t->rank - n, t->dim + n);
}

static bool countable(const Type *t)
{
    int64_t bytes = (int64_t)dtype_size((Dtype)t->dt);
    bool over = false;
    for (int k = 0; k < t->rank; k++) {
        if (!t->dim[k])
            return true;
        over |= __builtin_mul_overflow(bytes, t->dim[k], &bytes);
    }
    return !over;
}

Type type_add_lead(const Type *t, int64_t n)
{
    int64_t dim[MAXRANK + 1] = { n };
    memcpy(dim + 1, t->dim, t->rank * sizeof *dim);
    if (t->rank == type_rank_most((Dtype)t->dt))
        error_set(E_SHAPE, "%s cannot have one more dimension: %d is the most", type_text(t), t->rank);
    Type u = type_of((Dtype)t->dt, t->rank < MAXRANK ? t->rank + 1 : MAXRANK, dim);
    if (!countable(&u))
        error_set(E_SHAPE, "%lld of %s have more bytes than can be addressed; make them fewer", (long long)n,
            type_text(t));
    return u;
}

Dtype type_counter(int64_t n) { return n <= INT32_MAX ? DT_I32 : DT_I64; }

/* ==================== attributes: lists of integers, each with its count in front */

void attr_list(Attr *a, const int64_t *v, int n)
{
    if (n < 0 || a->n + 1 + n > ATTR_MAX) {
        error_set(E_INVAL, "an operation has more than %d attribute values", ATTR_MAX);
        return;
    }
    a->v[a->n++] = n;
    for (int k = 0; k < n; k++)
        a->v[a->n++] = v[k];
}

void attr_int(Attr *a, int64_t v) { attr_list(a, &v, 1); }

const int64_t *attr_nth(const int64_t *attr, int nattr, int k, int *n)
{
    const int64_t *p = attr, *end = attr + nattr;
    while (k-- > 0 && p < end)
        p += 1 + *p;
    if (n)
        *n = p < end ? (int)*p : 0;
    return p < end ? p + 1 : NULL;
}

const int64_t *ins_attr(const Ins *i, int k, int *n) { return attr_nth(i->attr, i->nattr, k, n); }

Ints ins_ints(const Ins *i, int k)
{
    int n;
    const int64_t *v = ins_attr(i, k, &n);
    return ints_of(v, n);
}

int64_t ins_int(const Ins *i, int k)
{
    int n;
    const int64_t *v = ins_attr(i, k, &n);
    return n > 0 ? v[0] : 0;
}
