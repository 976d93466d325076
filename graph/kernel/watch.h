/*
 * watch.h - who read and wrote an element last: what two work-items may not do to it without a barrier in
 * between.
 *
 * Items run in some order here, and in any on a device. Two are ordered if they are one, or if they are of
 * one group and a barrier of it lies between. Two may write the same bits to one element, as blocks do that
 * overlap.
 */
#ifndef HEDDLE_KERNEL_WATCH_H
#define HEDDLE_KERNEL_WATCH_H

#include "base.h"

enum { NOBODY = 0, SEVERAL = -1 };
/* item: its number, from 1 on; phase: how many barriers its group has passed. Numbers of phases go on from
 * group to group. */
typedef struct Who {
    int32_t item, group, phase;
} Who;
typedef struct Watch {
    Who wrote, read;
} Watch; /* zeros: nobody */

typedef enum Race { NO_RACE, READ_OF_ANOTHERS, WRITE_OF_WHAT_WAS_READ, WRITE_OTHERWISE } Race;

static inline bool who_apart(const Who *before, Who now)
{
    return before->item != NOBODY && before->item != now.item &&
        (before->group != now.group || before->phase == now.phase);
}

static inline Race watch_read(Watch *w, Who now)
{
    if (who_apart(&w->wrote, now))
        return READ_OF_ANOTHERS;
    if (who_apart(&w->read, now))
        w->read = (Who){ SEVERAL, w->read.group == now.group ? now.group : SEVERAL, now.phase };
    else
        w->read = now;
    return NO_RACE;
}

/* same: what is written was there. */
static inline Race watch_write(Watch *w, Who now, bool same)
{
    if (who_apart(&w->read, now) && (w->wrote.item == NOBODY || !same))
        return WRITE_OF_WHAT_WAS_READ;
    if (who_apart(&w->wrote, now) && !same)
        return WRITE_OTHERWISE;
    w->wrote = now;
    return NO_RACE;
}

/* The sentence, of name[at]; in the arena. */
const char *race_text(Race, const Watch *, const char *name, int64_t at);

#endif
