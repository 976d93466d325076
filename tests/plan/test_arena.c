/*
 * test_arena.c - where temporaries lie in the arena of a plan.
 *
 * In:  plans of copies, drawn: slots of few and many sizes, which live for a few steps or for nearly all.
 * Out: each temporary at the lowest offset that is free while it lives, the largest first, as it is found
 * here by looking at all the others.
 */
#include <stdlib.h>

#include "plan.h"
#include "suite_run.h"

enum { SLOTS = 120, STEPS = 70, PLANS = 60 };

static uint64_t seed = 88172645463325252ull;
static int any(int n)                           /* 0 .. n-1 */
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (int)(seed % (uint64_t)n);
}

typedef struct Life { int first, last, number; size_t bytes, at; } Life;

static void note(Life *l, int step)
{
    l->first = l->first < 0 || step < l->first ? step : l->first;
    l->last = step > l->last ? step : l->last;
}

static Plan *drawn(int kind, Life *life)
{
    Plan *p = NEW(Plan);
    for (int k = 0; k < SLOTS; k++) {
        int64_t size = kind % 3 == 0 ? 1000 : kind % 3 == 1 ? 1 + any(9000) : 1000 * (1 + any(3));
        plan_slot(p, SLOT_TEMP, DT_F32, size, "t");
        life[k] = (Life){ .first = -1, .last = -1, .number = k };
    }
    for (int n = 0; n < STEPS; n++) {
        Step *s = plan_step(p, S_COPY);
        *s = (Step){ .kind = S_COPY, .in = NEWS(int, 4), .out = NEWS(int, 1), .nin = 4, .nout = 1 };
        for (int k = 0; k < 4; k++) {           /* near ones, nested ones, or any */
            int slot = kind % 2 ? (n * SLOTS / STEPS + any(6)) % SLOTS : any(SLOTS);
            s->in[k] = kind % 5 == 4 && k < 2 ? abs(STEPS / 2 - n) : slot;
            note(&life[s->in[k]], n);
        }
        s->out[0] = any(SLOTS);
        note(&life[s->out[0]], n);
    }
    return p;
}

static int larger_first(const void *a, const void *b)
{
    const Life *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : x->number - y->number;
}

static bool meet(const Life *x, const Life *y)
{
    return x->first <= y->last && y->first <= x->last && x->at < y->at + y->bytes &&
        y->at < x->at + x->bytes;
}

/* The lowest offset that is no one's among those before it. */
static void place(Life *l, int n)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int j = 0; j < n; j++)
            if (meet(&l[j], &l[n]))
                l[n].at = l[j].at + l[j].bytes, moved = true;
    }
}

START_TEST(lowest)
{
    Arena *arena = arena_new(), *before = arena_use(arena);
    for (int kind = 0; kind < PLANS; kind++) {
        Life life[SLOTS];
        Plan *p = drawn(kind, life);
        size_t most = 0;
        int n = 0;
        ck_assert(plan_layout(p));
        for (int k = 0; k < SLOTS; k++)
            if (life[k].first >= 0) {
                life[n] = life[k];
                size_t bytes = p->slot[k].bytes + SLACK * sizeof(float);
                life[n++].bytes = (bytes + PLAN_PAGE - 1) / PLAN_PAGE * PLAN_PAGE;
            }
        qsort(life, (size_t)n, sizeof *life, larger_first);
        for (int k = 0; k < n; k++) {
            place(life, k);
            ck_assert_uint_eq(p->slot[life[k].number].offset, life[k].at + PLAN_PAGE);
            most = life[k].at + life[k].bytes > most ? life[k].at + life[k].bytes : most;
        }
        ck_assert_uint_eq(p->bytes, most + PLAN_PAGE);
    }
    arena_use(before);
    arena_drop(arena);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("arena");
    TCase *c = tcase_create("layout");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, lowest);
    suite_add_tcase(s, c);
    return suite_run(s);
}
