/*
 * place.c - from the user's source line to the op that was written there.
 *
 * In: hd_at_(file, line, op) calls that the macros of heddle.h make before an op's operands are evaluated.
 * Out: loc_here() names the op's own line while it is built.
 * The same two calls set the caller's floating-point mode and locale aside, and say that a thread is inside:
 * every way in goes through them.
 * Invariant: an op sees only entries above its floor: those that were pushed since the op or function around
 * it began. So an op may be built of ops, and a user's function that an op calls cannot take the entry of a
 * call that is still waiting for its operands. Entries nobody takes (a function's name used as a value) go
 * when the op around them takes its own.
 */
#include "api.h"
#include <string.h>

enum { DEPTH = 256 };
static _Thread_local struct { const char *file; int line; void (*op)(void); } place[DEPTH];
static _Thread_local int height, floor_, depth;

/* The mode of the user's code, while this thread is in ours. */
static _Thread_local Mode users;
static _Thread_local bool ours;

void hd_at_(const char *file, int line, void (*op)(void))
{
    if (height == DEPTH)
        height = floor_ < DEPTH ? floor_ : 0;
    place[height].file = file, place[height].line = line, place[height++].op = op;
}

/* The file's name may lie in a library that is closed while messages still speak of it. */
static const char *lasting(const char *file)
{
    static _Thread_local const char *last;
    if (!last || !file || strcmp(last, file))
        last = intern(file);
    return last;
}

At at_place(void (*op)(void))
{
    for (int i = height; i-- > floor_; )
        if (place[i].op == op) {
            loc_set((Loc){ lasting(place[i].file), place[i].line });
            height = i;
            break;
        }
    At a = { floor_, height, false };
    floor_ = height;
    if (!depth++)
        visit_begin();
    return a;
}

At at_enter(void (*op)(void))
{
    At a = at_place(op);
    if (!ours)
        mode_enter(&users), a.guards = ours = true;
    return a;
}

void at_leave(At *a)
{
    if (a->guards)
        ours = false, mode_leave(&users);
    floor_ = a->floor, height = a->height;
    if (--depth)
        return;
    visit_end();
    if (!trace_top)
        loc_set((Loc){ NULL, 0 });              /* what follows was not written there */
}

At at_lend(void)
{
    At a = { floor_, height, false };
    floor_ = height;
    depth++;
    ours = false;
    mode_leave(&users);
    return a;
}

void at_back(At *a)
{
    mode_enter(&users);
    ours = true;
    at_leave(a);
}
