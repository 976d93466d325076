/*
 * groups.c - kernels with work-groups: products, transposes, sums in trees, branches.
 */
#include "groups.h"

static Buffer *array(const char *name, int64_t n)
{
    Buffer *b = NEW(Buffer);
    *b = (Buffer){ .name = name, .dt = DT_F32, .space = GLOBAL, .size = n, .slot = -1 };
    return b;
}

static Hand hand(const char *name, int nin, int64_t n, int64_t results)
{
    Hand h = { k_new(name), { array("x", n), array("y", n) }, array("out", results), nin, n };
    k_writes(h.k, h.out);
    return h;
}

static Hand done(Hand h)
{
    k_finish(h.k);
    return h;
}

static Form at(Form row, int64_t n, Form column) { return form_add(form_mul(row, n), column); }

enum { TILE = 32 };

static Val tiled(Hand *h, int64_t n, Form row, Form column)
{
    Kernel *k = h->k;
    Buffer *a = k_local(k, DT_F32, TILE * TILE), *b = k_local(k, DT_F32, TILE * TILE);
    Form lx = k_item(k, 0), ly = k_item(k, 1);
    Val zero = k_const(k, DT_F32, 0), outer, inner, sum, all;
    Form t = form_a(k_loop(k, "t", n / TILE, 1, &zero, &outer));
    k_store(k, a, at(ly, TILE, lx), k_load(k, h->in[0], at(row, n, form_add(form_mul(t, TILE), lx))));
    k_store(k, b, at(ly, TILE, lx), k_load(k, h->in[1], at(form_add(form_mul(t, TILE), ly), n, column)));
    k_barrier(k);
    Form u = form_a(k_loop(k, "u", TILE, 1, &outer, &inner));
    Val next = k3(k, K_FMA, DT_F32, k_load(k, a, at(ly, TILE, u)), k_load(k, b, at(u, TILE, lx)), inner);
    k_loop_end(k, &next, &sum);
    k_barrier(k);
    k_loop_end(k, &sum, &all);
    return all;
}

Hand product(int64_t n, Product how)
{
    Hand h = hand(how == TILED ? "product_tiled" :
            how == ROWS_FIRST  ? "product_rows" :
                                 "product_columns",
        2, n * n, n * n);
    Kernel *k = h.k;
    Form x = form_a(k_grid(k, "g0", n, TILE)), y = form_a(k_grid(k, "g1", n, TILE));
    Form row = how == ROWS_FIRST ? x : y, column = how == ROWS_FIRST ? y : x;
    Val zero = k_const(k, DT_F32, 0), sum, all;
    if (how == TILED) {
        k_store(k, h.out, at(row, n, column), tiled(&h, n, row, column));
        return done(h);
    }
    Form t = form_a(k_loop(k, "t", n, 1, &zero, &sum));
    Val next =
        k3(k, K_FMA, DT_F32, k_load(k, h.in[0], at(row, n, t)), k_load(k, h.in[1], at(t, n, column)), sum);
    k_loop_end(k, &next, &all);
    k_store(k, h.out, at(row, n, column), all);
    return done(h);
}

Hand transpose(int64_t n)
{
    Hand h = hand("transpose", 1, n * n, n * n);
    Form x = form_a(k_grid(h.k, "g0", n, TILE)), y = form_a(k_grid(h.k, "g1", n, TILE / 4));
    k_store(h.k, h.out, at(x, n, y), k_load(h.k, h.in[0], at(y, n, x)));
    return done(h);
}

/* Items of a group: a row of a tile, and a quarter as many rows; each moves four elements. */
Hand transpose_staged(int64_t n, int64_t tile, int64_t row)
{
    Hand h = hand(row > tile ? "transpose_padded" : "transpose_staged", 1, n * n, n * n);
    Kernel *k = h.k;
    k_grid(k, "g0", n, tile), k_grid(k, "g1", n / 4, tile / 4);
    Buffer *t = k_local(k, DT_F32, tile * row);
    Form lx = k_item(k, 0), ly = k_item(k, 1), gx = k_group(k, 0), gy = k_group(k, 1);
    for (int q = 0; q < 4; q++) {
        Form y = form_addc(ly, q * tile / 4);
        k_store(k, t, at(y, row, lx),
            k_load(k, h.in[0], at(form_add(form_mul(gy, tile), y), n, form_add(form_mul(gx, tile), lx))));
    }
    k_barrier(k);
    for (int q = 0; q < 4; q++) {
        Form y = form_addc(ly, q * tile / 4);
        k_store(k, h.out, at(form_add(form_mul(gx, tile), y), n, form_add(form_mul(gy, tile), lx)),
            k_load(k, t, at(lx, row, y)));
    }
    return done(h);
}

Hand axpy(int64_t n, int64_t group)
{
    Hand h = hand("axpy", 2, n, n);
    Form i = form_a(k_grid(h.k, "g0", n, group));
    k_store(h.k, h.out, i,
        k3(h.k, K_FMA, DT_F32, k_const(h.k, DT_F32, 2), k_load(h.k, h.in[0], i), k_load(h.k, h.in[1], i)));
    return done(h);
}

static Val polynomial(Kernel *k, Val x, double first)
{
    Val init = k_const(k, DT_F32, first), p, all;
    k_loop(k, "t", 400, 1, &init, &p);
    Val next = k3(k, K_FMA, DT_F32, p, x, init);
    k_loop_end(k, &next, &all);
    return all;
}

Hand two_ways(int64_t n)
{
    Hand h = hand("two_ways", 2, n, n);
    Kernel *k = h.k;
    Form i = form_a(k_grid(k, "g0", n, 256));
    Val x = k_load(k, h.in[0], i), y = k_load(k, h.in[1], i), zero = k_const(k, DT_F32, 0), one, r;
    Val up = k2(k, K_GT, DT_BOOL, y, zero);
    k_if(k, up);
    Val a = polynomial(k, x, 1);
    k_if_end(k, 1, &a, &zero, &one);
    k_if(k, k1(k, K_NOT, DT_BOOL, up));
    Val b = polynomial(k, x, 2);
    k_if_end(k, 1, &b, &one, &r);
    k_store(k, h.out, i, r);
    return done(h);
}

Hand tree_sum(int64_t n, int64_t group)
{
    Hand h = hand("tree_sum", 1, n, n / group);
    Kernel *k = h.k;
    Form i = form_a(k_grid(k, "g0", n, group)), l = k_item(k, 0);
    Buffer *s = k_local(k, DT_F32, group);
    Val item = k_index(k, l);
    k_store(k, s, l, k_load(k, h.in[0], i));
    for (int64_t half = group / 2; half; half /= 2) {
        k_barrier(k);
        Val in = k2(k, K_LT, DT_BOOL, item, k_bits(k, (Dtype)k->ins[item].dt, half));
        k_if(k, in);
        Val other = k_load(k, s, form_add(l, form_c(half)));
        k_store(k, s, l, k2(k, K_ADD, DT_F32, k_load(k, s, l), other));
        k_if_end(k, 0, NULL, NULL, NULL);
    }
    k_if(k, k2(k, K_EQ, DT_BOOL, item, k_bits(k, (Dtype)k->ins[item].dt, 0)));
    k_store(k, h.out, k_group(k, 0), k_load(k, s, form_c(0)));
    k_if_end(k, 0, NULL, NULL, NULL);
    return done(h);
}
