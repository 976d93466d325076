/*
 * mail.c - letters between ranks, and parcels of bytes that follow them, over MPI's messages that do not
 * block.
 *
 * In:  letters to send, from any thread.   Out: letters that came, told as they come, in the order of each
 * sender; parcels, kept
 *      until they are asked for.
 * One thread turns: it alone calls MPI. Each letter is one message, its parcel another of a second kind. A
 * rank's letters arrive in order, and so do its parcels; so the place for a parcel is known when its letter
 * is read, whatever else is under way.
 * Where memory ends, a call is to end with an error, in all ranks. So letters alone, which say how it went,
 * have room set aside; and so have some parcels, but for their bytes: what is owed a place gets one when
 * there is memory again, before what comes after it from the same rank, and is given up after a while.
 */
#include "mail.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KIND_LETTER = 1, KIND_BYTES = 2 };
/* of a rank: letters that may be under way at once, of two calls, that it comes to one and that it ends;
 * parcels that are owed a place */
enum { LETTERS = 4, OWED = 8 };
/* turns, until what wants memory is given up: a parcel, and with it the call; all messages */
enum { PATIENCE = 100, END_OF_PATIENCE = 10000 };

const char *const mail_calls[] = { "send", "receive", NULL };

/* bytes NULL: it is owed a place, since so many turns */
typedef struct Parcel {
    struct Parcel *next;
    int from;
    Letter letter;
    void *bytes, *request;
    int turns;
    bool lasts;                                 /* it is one of those set aside */
} Parcel;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    const Wire *wire;
    Post *out, *spare;                          /* spare: set aside */
    Parcel *in, *spare_in;
    Letter next;                                /* the one that is being received */
    int from, turns;                            /* it has come, of whom, and waits for memory so long */
    void *request;
    /* by rank: parcels of calls before this one are not wanted */
    uint64_t *oldest;
} mail = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *send_(int to, int kind, const void *bytes, size_t n)
{
    return fault("mpi", "send") ? NULL : mail.wire->send(to, kind, bytes, n);
}

static void *receive(int from, int kind, void *bytes, size_t n)
{
    return fault("mpi", "receive") ? NULL : mail.wire->receive(from, kind, bytes, n);
}

static void spares_drop(void)
{
    for (Post *p; (p = mail.spare); free(p))
        mail.spare = p->next;
    for (Parcel *p; (p = mail.spare_in); free(p))
        mail.spare_in = p->next;
}

static bool set_aside(int n)
{
    bool all = true;
    for (int k = 0; k < n * LETTERS && all; k++) {
        Post *p = calloc(1, sizeof *p);
        if ((all = p))
            p->next = mail.spare, p->lasts = true, mail.spare = p;
    }
    for (int k = 0; k < n * OWED && all; k++) {
        Parcel *p = calloc(1, sizeof *p);
        if ((all = p))
            p->next = mail.spare_in, p->lasts = true, mail.spare_in = p;
    }
    if (!all)
        spares_drop();
    return all;
}

int mail_open(const Wire *wire, int n)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&mail.posted, &monotonic);
    pthread_condattr_destroy(&monotonic);
    mail.oldest = calloc((size_t)n, sizeof *mail.oldest);
    mail.wire = wire;
    bool room = mail.oldest && set_aside(n);
    mail.request = room ? receive(-1, KIND_LETTER, &mail.next, sizeof mail.next) : NULL;
    return mail.request ? 0 : error_set(E_NOMEM, "no memory for messages of MPI");
}

static void parcel_end(Parcel *p)
{
    if (p->lasts)
        p->next = mail.spare_in, mail.spare_in = p;
    else
        free(p);
}

static void parcel_drop(Parcel *p)
{
    free(p->bytes);
    parcel_end(p);
}

void mail_close(void)
{
    mail.wire->cancel(mail.request);
    mail.request = NULL;
    for (Parcel *p = mail.in, *next; p; p = next) {
        next = p->next;
        if (!p->request)
            parcel_drop(p);
    }
    mail.in = NULL;
    free(mail.oldest);
    mail.oldest = NULL;
    spares_drop();
}

/* ==================== what goes */

/* A new one, or one of those set aside; with the lock held. */
static Post *post_new(bool may_last)
{
    Post *p = calloc(1, sizeof *p);
    if (p || !may_last || !mail.spare)
        return p;
    p = mail.spare, mail.spare = p->next;
    return p;
}

static void post_end(Post *p)
{
    free(p->own);
    if (p->lasts)
        p->next = mail.spare, mail.spare = p;
    else
        free(p);
}

int mail_send(int to, const Letter *letter, const void *bytes, void *own, int *left)
{
    Post **at = &mail.out;
    pthread_mutex_lock(&mail.lock);
    Post *p = post_new(letter->kind != L_PARCEL && letter->kind != L_ALIVE);
    if (!p) {
        pthread_mutex_unlock(&mail.lock);
        free(own);
        return error_set(E_NOMEM, "no memory for what ranks exchange");
    }
    *p = (Post){
        .letter = *letter, .to = to, .bytes = bytes, .own = own, .left = left, .lasts = p->lasts
    };
    while (*at)
        at = &(*at)->next;
    *at = p;
    if (left)
        ++*left;
    pthread_cond_signal(&mail.posted);
    pthread_mutex_unlock(&mail.lock);
    return 0;
}

int mail_left(const int *left)
{
    pthread_mutex_lock(&mail.lock);
    int n = *left;
    pthread_mutex_unlock(&mail.lock);
    return n;
}

/* Begun the first time; then asked after. 1: it has gone; -1: MPI failed. */
static int post_turn(Post *p)
{
    const Wire *w = mail.wire;
    if (!p->request[0]) {
        p->request[0] = send_(p->to, KIND_LETTER, &p->letter, sizeof p->letter);
        p->request[1] = p->letter.bytes ? send_(p->to, KIND_BYTES, p->bytes, p->letter.bytes) : NULL;
        return p->request[0] && (p->request[1] || !p->letter.bytes) ? 0 : -1;
    }
    bool gone = true;
    for (int k = 0; k < 2; k++) {
        int done = p->request[k] && p->request[k] != p ? w->done(p->request[k], NULL) : 1;
        if (done < 0)
            return -1;
        if (done)
            p->request[k] = p;                  /* not a request any more */
        gone = gone && done;
    }
    return gone;
}

static int out_turn(void)
{
    int some = 0;
    for (Post **at = &mail.out; *at; ) {
        Post *p = *at;
        int done = post_turn(p);
        if (done < 0)
            return -1;
        if (!done) {
            at = &p->next;
            continue;
        }
        some = 1;
        *at = p->next;
        if (p->left)
            --*p->left;
        post_end(p);
    }
    return some;
}

/* ==================== what comes */

/* A parcel whose letter has come. false: there is no memory, not even for saying that it is owed a place. */
static bool parcel_begin(int from, const Letter *letter)
{
    Parcel *p = calloc(1, sizeof *p), **at = &mail.in;
    if (!p && (p = mail.spare_in))
        mail.spare_in = p->next;
    if (!p)
        return false;
    *p = (Parcel){ .from = from, .letter = *letter, .lasts = p->lasts };
    while (*at)
        at = &(*at)->next;
    *at = p;
    return true;
}

/* A place for it, after all that this rank has sent before. -1: MPI failed. */
static int parcel_place(Parcel *p)
{
    for (const Parcel *q = mail.in; q != p; q = q->next)
        if (q->from == p->from && !q->bytes)
            return 0;
    if (!(p->bytes = malloc(p->letter.bytes)))
        return p->turns += p->turns <= PATIENCE, 0;
    p->request = receive(p->from, KIND_BYTES, p->bytes, p->letter.bytes);
    return p->request ? 1 : -1;
}

/* Parcels that have arrived; those that nobody wants go. */
static int in_turn(void)
{
    int some = 0;
    for (Parcel **at = &mail.in; *at; ) {
        Parcel *p = *at;
        int placed = p->bytes ? 0 : parcel_place(p),
            done = p->request ? mail.wire->done(p->request, NULL) : 0;
        if (placed < 0 || done < 0)
            return -1;
        some = some || placed || done;
        if (done)
            p->request = NULL;
        if (p->bytes && !p->request && p->letter.call < mail.oldest[p->from])
            *at = p->next, parcel_drop(p);
        else
            at = &p->next;
    }
    return some;
}

/* The next letter, with a place for its parcel. 0: there is none, or not yet; -1: MPI failed. */
static int letter_turn(Letter *letter, int *from)
{
    if (!mail.turns) {
        int got = mail.wire->done(mail.request, &mail.from);
        if (got <= 0)
            return got;
        mail.request = NULL;
    }
    if (mail.next.bytes && !parcel_begin(mail.from, &mail.next))
        return ++mail.turns > END_OF_PATIENCE ? -1 : 0;
    mail.turns = 0;
    *letter = mail.next, *from = mail.from;
    letter->text[sizeof letter->text - 1] = 0;
    mail.request = receive(-1, KIND_LETTER, &mail.next, sizeof mail.next);
    return mail.request ? 1 : -1;
}

int mail_turn(void (*read)(int from, Letter *))
{
    int some = 0, from = -1, got = 0;
    Letter letter;
    pthread_mutex_lock(&mail.lock);
    while ((got = letter_turn(&letter, &from)) > 0) {
        some = 1;
        pthread_mutex_unlock(&mail.lock);
        read(from, &letter);
        pthread_mutex_lock(&mail.lock);
    }
    int out = got < 0 ? -1 : out_turn(), in = out < 0 ? -1 : in_turn();
    pthread_mutex_unlock(&mail.lock);
    return in < 0 ? -1 : some | out | in;
}

void mail_rest(int turns)
{
    enum { SPIN = 10, LONGEST_NS = 200000 };
    struct timespec t;
    if (turns < SPIN) {
        sched_yield();
        return;
    }
    long ns = (turns - SPIN + 1) * 10000L;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ns < LONGEST_NS ? ns : LONGEST_NS;
    if (t.tv_nsec >= 1000000000)
        t.tv_nsec -= 1000000000, t.tv_sec++;
    pthread_mutex_lock(&mail.lock);
    if (!mail.out || mail.out->request[0])
        pthread_cond_timedwait(&mail.posted, &mail.lock, &t);
    pthread_mutex_unlock(&mail.lock);
}

bool mail_quiet(void)
{
    pthread_mutex_lock(&mail.lock);
    bool quiet = !mail.out;
    for (const Parcel *p = mail.in; p; p = p->next)
        quiet = quiet && !p->request;
    pthread_mutex_unlock(&mail.lock);
    return quiet;
}

void mail_abandon(void)
{
    pthread_mutex_lock(&mail.lock);
    for (Post *p = mail.out; p; p = p->next)
        if (p->left)
            --*p->left, p->left = NULL;
    pthread_mutex_unlock(&mail.lock);
}

/* ==================== parcels that came */

/* Where the list holds it, with the lock held. */
static Parcel **parcel_at(int rank, uint64_t call, const ParcelId *m)
{
    Parcel **at = &mail.in;
    for (; *at; at = &(*at)->next) {
        const Letter *l = &(*at)->letter;
        if ((*at)->from == rank && l->call == call && l->id.number == m->number && l->id.from == m->from &&
            l->id.to == m->to)
            break;
    }
    return at;
}

int mail_look(int rank, uint64_t call, ParcelId m, const void **bytes, size_t *n)
{
    pthread_mutex_lock(&mail.lock);
    const Parcel *p = *parcel_at(rank, call, &m);
    int here = !p ? -1 : p->bytes ? !p->request : p->turns > PATIENCE ? -2 : 0;
    if (here > 0)
        *bytes = p->bytes, *n = p->letter.bytes;
    pthread_mutex_unlock(&mail.lock);
    return here;
}

void *mail_take(int rank, uint64_t call, ParcelId m)
{
    void *bytes = NULL;
    pthread_mutex_lock(&mail.lock);
    Parcel **at = parcel_at(rank, call, &m), *p = *at;
    if (p && p->bytes && !p->request) {
        *at = p->next;
        bytes = p->bytes;
        parcel_end(p);
    }
    pthread_mutex_unlock(&mail.lock);
    return bytes;
}

void mail_before(int rank, uint64_t call)
{
    pthread_mutex_lock(&mail.lock);
    mail.oldest[rank] = call;
    pthread_mutex_unlock(&mail.lock);
}
