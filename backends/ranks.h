/*
 * ranks.h - the processes of one job, each a rank of it: their devices, the calls that all of them make,
 * what shards of different ranks give one another.
 *
 * A process joins its job when it first asks for devices of others; one that runs alone is a job of one. A
 * call over ranks is made by all ranks: from ranks_enter() to ranks_leave(), in one thread, which alone
 * speaks to MPI (wire.h). Whatever that thread waits for, it waits for a bounded time, and what a rank is
 * told by one that fails, or ends, is an error of the call in all of them.
 */
#ifndef HEDDLE_RANKS_H
#define HEDDLE_RANKS_H

#include "backend.h"

/* ==================== wire.c: asks the environment, and joins nothing */
bool ranks_several(void);                       /* was this process started as one of several? */
int ranks_number(void);                         /* which of them; -1: it does not say */

/* ==================== ranks.c: the job */
int ranks_count(void);                          /* joins the job. 0 after an error */
int ranks_me(void);                             /* 0 in a job of one. -1 after an error */

/* ---- devices, "1/opencl:0": the rank's number and its device. This process' own are the Devices that they
 * are without a number. */
int far_devices(int rank);                      /* how many a rank has */
const DeviceInfo *far_info(int rank, int i);    /* with the number in its name */
/* name: without the number. NULL after an error that lists what there is */
Device *far_device(int rank, const char *name);
/* another rank's: it has memories in name alone, and runs nothing here */
bool device_far(const Device *);
int device_rank(const Device *);
const char *device_label(const Device *, char *to, size_t n);  /* its name with the rank's number */
/* An error of this rank alone says with which device it was; returns its code. */
int rank_tells(const Device *, int code);

/* Memory of another rank's device: a size, until its bytes have been brought here. */
Mem *far_mem(Device *, size_t n);
void far_bytes(Mem *, void *bytes);             /* takes them over: they can be read from now on */
bool far_here(const Mem *);                     /* have they been brought? */

/* ---- calls. hash: of what is called, the same in all ranks; what: for messages */
/* 0, when all ranks have come to this one; or a code. With an error pending: so that all have it. */
int ranks_enter(const char *what, uint64_t hash);
/* when all have done with it: 0, or the code and error of the rank that failed first */
int ranks_leave(int code);
bool ranks_inside(void);                        /* is this thread in one? */
/* the number of the next part of the call; the same in all ranks */
uint64_t ranks_part(void);
/* From here on, until it is back, the thread that made the call does something that may take long and calls
 * nothing else of these: others hear that this rank is at work. Nothing where it is in no call. */
void ranks_away(bool);
/* While shards run, in threads that count themselves off: letters come and go, and the party learns of it.
 * NULL: they do not meet. */
void ranks_attend(Party *, _Atomic int *running);
/* Memories in a list, the same in all ranks, go to the ranks that want them: those of this process to
 * others, those of others come here. wants: by rank; NULL: all do. 0, or a code. */
int ranks_gather(int n, Mem *const *, const bool *wants);
/* Each rank's n bytes to all of them: `all` gets those of rank 0, 1, ... 0, or a code. */
int ranks_tell(const void *mine, size_t n, void *all);

/* ---- between shards, while a call runs. number: of the exchange; from, to: the shards; to -1: for all of a
 * rank */
typedef struct ParcelId { uint64_t number; int32_t from, to; } ParcelId;
int far_send(int rank, ParcelId, const void *bytes, size_t n, int *left);
/* 1: here; 0: not yet; -1: it will not come, or has another size */
int far_look(int rank, ParcelId, const void **bytes, size_t n);
int far_left(const int *left);                  /* how many of those are not yet sent */
void far_forget(int rank, ParcelId);

/* ==================== mail.c: calls of MPI that HEDDLE_FAULT can name; NULL at the end */
extern const char *const mail_calls[];

/* ==================== far.c: devices of other ranks, as they are seen from here */
Device *far_new(int rank, const DeviceInfo *);

#endif
