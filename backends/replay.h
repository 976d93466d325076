/*
 * replay.h - running a plan's steps, whatever the backend. A backend says how to launch, copy and read; the
 * rest is here.
 */
#ifndef HEDDLE_REPLAY_H
#define HEDDLE_REPLAY_H

#include "backend.h"

/* a place in device memory; what a buffer is, the backend knows */
typedef struct Spot { void *buffer; size_t at; } Spot;

/* A plan with its memory by slot. Temporaries and constants stay; arguments and results are bound by each
 * call, in a body by each step. */
typedef struct Frame {
    const Plan *plan;
    Spot *mem;
    struct Frame **body;                        /* by step: the frames of its bodies */
    bool *ahead;                                /* by step, of a run: it went before its turn */
    size_t low, high;                           /* of the arena: where its temporaries and its bodies' lie */
} Frame;

/* A parameter of a kernel of the user's. */
typedef struct UserArg { Spot at; size_t bytes; bool written; } UserArg;

typedef struct Replay {
    int (*launch)(void *x, const Frame *, const Kernel *, int64_t step);
    int (*copy)(void *x, Spot from, Spot to, size_t bytes);
    int (*fetch)(void *x, Spot from, void *out, size_t bytes);  /* waits */
    /* after all that was given before; the bytes are taken */
    int (*store)(void *x, Spot to, const void *bytes, size_t n);
    /* waits for all that was given before, whose memory others may read then */
    int (*settle)(void *x);
    /* Launches given so far begin; what is copied, fetched and stored from here on has nothing to do with
     * them and does not wait for them, until `joined` has, which says how they ended. */
    int (*apart)(void *x);
    int (*joined)(void *x);
    /* where the host sees this memory once that is settled; NULL: it does not */
    const void *(*seen)(void *x, Spot);
    /* this thread waits for others, until it is back: it holds no lock of the device */
    void (*away)(void *x, bool);
    /* A kernel of the user's; and whether it has a text in the backend's language. NULL: no such backend. */
    int (*user)(void *x, const UserKernel *, int n, const UserArg *);
    bool (*speaks)(const UserKernel *);
} Replay;

/* place: where a temporary or a constant lies; a NULL buffer is an error. Gives the kernels of the plan
 * their numbers. */
Frame *replay_frame(const Plan *, const Device *, Spot (*place)(void *x, const Slot *), void *x);
void replay_frame_drop(Frame *);                       /* NULL is fine */

/* Of the memory that this thread is asking for, for who has none: the kernel that writes it, and a line of
 * it; NULL: not known. */
const char *replay_wants(Loc *);

/* Memories for the results: a result that is an argument or another result shares its memory, as arrays
 * never change. */
int replay_outputs(const Plan *, Device *, Mem *const *in, int nout, Mem **out);
void replay_forget(int nout, Mem **out);        /* after an error */
/* All steps, enqueued in order. spot: where a memory lies. */
int replay(
    const Replay *, const Device *, void *x, Frame *, Mem *const *in, Mem *const *out, Spot (*spot)(Mem *));

#endif
