/*
 * mail.h - letters between ranks, and parcels of bytes that follow them. For ranks.c alone, but for what it
 * hands on.
 */
#ifndef HEDDLE_MAIL_H
#define HEDDLE_MAIL_H

#include "ranks.h"
#include "wire.h"

typedef enum LetterKind { L_HELLO, L_CLOCK, L_COME, L_GONE, L_PARCEL, L_DONE, L_ALIVE, L_LEFT } LetterKind;
typedef struct Letter {
    int32_t kind, code;                         /* code: of L_COME, L_DONE; 0: all is well */
    /* L_DONE: it failed by itself, not because another did; L_HELLO: it wants a timeline */
    bool own;
    double time;                                /* L_CLOCK: that of rank 0 */
    uint64_t call, hash, bytes;                 /* the sender's call; of L_COME; of a parcel that follows */
    ParcelId id;
    char text[1000];                            /* what is called; the error */
} Letter;
/* Something being sent. left: how many of somebody's are not yet sent; NULL: nobody waits. */
typedef struct Post {
    struct Post *next;
    Letter letter;
    int to;
    const void *bytes;
    void *own;
    int *left;
    void *request[2];
    bool lasts;                                 /* it is one of those set aside */
} Post;

int mail_open(const Wire *, int n);             /* 0, or a code */
void mail_close(void);
/* own: the mail's, which frees it. In any thread. 0, or a code: then it is not sent. */
int mail_send(int to, const Letter *, const void *bytes, void *own, int *left);
int mail_left(const int *left);                 /* how many of them are not yet sent */
/* One round of sending and receiving, in the thread that may. 1: something happened; -1: MPI failed. read:
 * is told of each letter. */
int mail_turn(void (*read)(int from, Letter *));
/* sleeps, the longer the more turns there were in which nothing happened */
void mail_rest(int turns);
bool mail_quiet(void);                          /* nothing is under way */
void mail_abandon(void);                        /* what is under way is not waited for any more */
/* Parcels that came. 1: its bytes are here, the mail's; 0: they are coming; -1: nothing is known of it; -2:
 * there was no memory for it. */
int mail_look(int rank, uint64_t call, ParcelId, const void **bytes, size_t *n);
void *mail_take(int rank, uint64_t call, ParcelId); /* its bytes become the caller's; NULL: it is not here */
/* those of earlier calls are dropped, now and when they come */
void mail_before(int rank, uint64_t call);

/* ==================== wire.c */
/* Beside the library, or where the system looks. NULL, and why. */
const Wire *wire_find(char *why, size_t);
/* Begins MPI, and ends the process if that takes longer than the limit, in seconds. NULL, or why it cannot
 * be. */
const char *wire_begin(const Wire *, double limit, int *me, int *n, void (*ending)(void));

/* ==================== away.c: turns while the thread that makes them does something else */
/* often: seconds between two; may: is a thread that is not the caller's allowed to? 0, or a code. */
int away_open(double often, void (*turn)(void), bool (*may)(void));
void away_close(void);
void away_begin(void);
void away_end(void);                            /* no turn is under way any more */

#endif
