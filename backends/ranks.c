/*
 * ranks.c - the processes of one job: who they are, what devices they have, and the calls that all of them
 * make.
 *
 * In:  what started this process, by its environment; what it calls.   Out: devices of other ranks by name;
 * a call that all ranks
 *      make, or an error in all that made it.
 * Before a call runs, each rank tells all others what it is (COME), and after it how it went (DONE); so all
 * have its results or none. A rank that gives up waiting says so (GONE), one whose process ends does, too
 * (LEFT). During a call each shows that it is there (ALIVE), also while it compiles, runs a callback or
 * waits for a device (away.c). Whoever is waited for, and has not been heard of for HEDDLE_MPI_TIMEOUT
 * seconds, ends the wait with an error.
 */
#include "mail.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT = 300, BEAT_MAX = 5, EXIT_WAIT = 5, ROUNDS = 8 };

/* coming: it has come to a call that this rank is not in yet; later: and, after one that none could make, to
 * the next already. call: the one both are in, by its count; ended: the last it was done with. */
typedef struct Peer {
    bool hello, left, here, more, timeline;
    /* letters of clocks; the last one's time, and when it was read */
    int clocks;
    double clock, read;
    Letter coming, later, ending;
    uint64_t call, version;
    _Atomic uint64_t ended;
    double heard;
    int ndevice; DeviceInfo *info; Device **device;
} Peer;

static struct {
    pthread_mutex_t joining, call;              /* while it joins; from enter to leave */
    int state;                                  /* 0: not tried; 1: joined; -1: it failed, why says how */
    const Wire *wire;
    int me, n;
    Peer *peer;
    uint64_t calls, parts;
    double limit, beat;
    double looked, seconds;                     /* at the clock last; that counted since (now) */
    int round;                                  /* of clocks */
    /* somebody was waited for too long: in the last call; so that nothing works any more */
    bool late, lost, ended;
    _Atomic bool leaving;
    pid_t pid;
    char why[600];
} job = { .joining = PTHREAD_MUTEX_INITIALIZER, .call = PTHREAD_MUTEX_INITIALIZER, .n = 1 };

static _Thread_local bool inside;

static double often(void) { return job.limit > 0 && job.limit / 4 < BEAT_MAX ? job.limit / 4 : BEAT_MAX; }

/* Seconds in which this rank could have heard of the others. Between two looks at the clock, which a rank
 * that waits takes all the time, only so many count: what is longer it was stopped itself, as where a whole
 * job is, or a machine sleeps, and then it knows nothing of the others. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double looked = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec, since = looked - job.looked;
    job.looked = looked;
    job.seconds += since < often() ? since : often();
    return job.seconds;
}

/* ==================== letters */

/* The call that it has come to is dealt with. */
static void next_coming(Peer *p)
{
    p->here = p->more, p->more = false;
    if (p->here)
        p->coming = p->later;
}

static void read_letter(int from, Letter *l)
{
    Peer *p = &job.peer[from];
    p->heard = now();
    switch ((LetterKind)l->kind) {
    case L_HELLO:
        p->hello = true, p->version = l->hash, p->ndevice = l->code, p->timeline = l->own;
        break;
    case L_CLOCK:
        p->clocks++, p->clock = l->time, p->read = timeline_clock();
        if (!job.me)
            mail_send(from, &(Letter){ .kind = L_CLOCK, .time = p->read }, NULL, NULL, NULL);
        break;
    case L_COME:
        *(p->here ? &p->later : &p->coming) = *l;
        p->more = p->here, p->here = true;
        break;
    case L_GONE:
        if (p->more && p->later.call == l->call) {
            p->more = false;
            break;
        }
        if (p->here && p->coming.call == l->call) {
            next_coming(p);
            break;
        }
        p->ending = *l, p->ended = l->call;
        break;
    case L_DONE: p->ending = *l, p->ended = l->call; break;
    case L_LEFT: p->left = true; break;
    case L_ALIVE: case L_PARCEL: break;
    }
}

/* To all, and with it to rank 0 what the timeline has of this one. */
static const ParcelId events = { UINT64_MAX, 0, 0 };
static int tell_with_events(const Letter *l)
{
    int e = 0;
    for (int r = 0; r < job.n && !e; r++) {
        Letter with = *l;
        char *text = r || !job.me || !job.peer[0].timeline ? NULL : timeline_take();
        with.id = events, with.bytes = text ? strlen(text) + 1 : 0;
        if (r != job.me)
            e = mail_send(r, &with, text, text, NULL);
    }
    job.beat = now();
    return e;
}

/* ... when all have told. */
static void write_events(uint64_t call)
{
    for (int r = 1; r < job.n && !job.me; r++) {
        char *text = mail_take(r, call == UINT64_MAX ? call : job.peer[r].call, events);
        if (text)
            timeline_put(text);
        free(text);
    }
}

static int tell_all(const Letter *l, const void *bytes, int *left)
{
    int e = 0;
    for (int r = 0; r < job.n && !e; r++)
        if (r != job.me)
            e = mail_send(r, l, bytes, NULL, left);
    job.beat = now();
    return e;
}

static void show_life(void)
{
    if (job.limit > 0 && now() - job.beat > often())
        tell_all(&(Letter){ .kind = L_ALIVE, .call = job.calls }, NULL, NULL);
}

/* Nothing over ranks works from here on: somebody is in the midst of what this one has given up. */
static int lose(const char *why)
{
    if (!job.lost)
        snprintf(job.why, sizeof job.why, "%s", why);
    job.lost = true;
    mail_abandon();
    return error_set(E_DEVICE, "%s", why);
}

static int turn(void) { return mail_turn(read_letter); }

/* For one that is away. If MPI has failed, it meets that when it is back. */
static void turn_away(void)
{
    if (!job.lost && turn() >= 0)
        show_life();
}

static bool may_turn_away(void) { return !job.wire->usable(); }

/* ==================== waiting */

static bool missing(LetterKind what, int r)
{
    const Peer *p = &job.peer[r];
    if (r == job.me)
        return false;
    return what == L_HELLO ? !p->hello :
        what == L_CLOCK    ? (job.me ? r == 0 && p->clocks < job.round : p->clocks < ROUNDS) :
        what == L_COME     ? !p->here :
        what == L_DONE     ? p->ended != p->call :
                             !p->left;
}

static bool silent(int r, double since)
{
    double heard = job.peer[r].heard > since ? job.peer[r].heard : since;
    return job.limit > 0 && now() - heard > job.limit;
}

/* What is wrong with one of those that are waited for. 0: nothing. */
static int in_vain(LetterKind what, double since, const char *for_what)
{
    char text[600];
    for (int r = 0; r < job.n; r++) {
        if (!missing(what, r) ||
            (what == L_LEFT ? !silent(r, since) : !job.peer[r].left && !silent(r, since)))
            continue;
        if (job.peer[r].left)
            return error_set(E_DEVICE, "rank %d of %d has ended, and does not come to %s: all ranks have to",
                r, job.n, for_what);
        job.late = true;
        snprintf(text, sizeof text,
            "rank %d of %d has not come to %s within %g seconds (HEDDLE_MPI_TIMEOUT): it does something "
            "else, or "
            "works no more",
            r, job.n, for_what, job.limit);
        return what == L_COME ? error_set(E_DEVICE, "%s", text) : lose(text);
    }
    return 0;
}

static int await(LetterKind what, const char *for_what)
{
    double since = now();
    for (int idle = 0; ; idle++) {
        int some = turn(), e = some < 0 ? lose("a message of MPI failed") : in_vain(what, since, for_what),
            left = 0;
        for (int r = 0; r < job.n; r++)
            left += missing(what, r);
        if (!left && ((what != L_DONE && what != L_LEFT) || mail_quiet()))
            return 0;
        if (!e && job.leaving && what != L_LEFT)
            e = error_set(E_DEVICE, "the process is ending: exit() was called");
        if (!e && !left && job.limit > 0 && now() - since > job.limit)
            e = lose("messages of MPI do not arrive");
        if (e)
            return e;
        show_life();
        idle = some ? 0 : idle;
        mail_rest(idle);
    }
}

/* ==================== joining */

/* This process' devices, opened, as others are told of them. */
static DeviceInfo *own_devices(int *n)
{
    *n = device_count();
    DeviceInfo *info = calloc((size_t)*n + 1, sizeof *info);
    for (int i = 0; info && i < *n; i++) {
        Device *d = device_at(i);
        if (d)
            info[i] = d->info;
        else {
            snprintf(info[i].name, sizeof info[i].name, "%s:?", device_kind(i));
            snprintf(info[i].notes, sizeof info[i].notes, "%s", error_text());
            error_clear();
        }
    }
    return info;
}

/* With the numbers of ranks in their names. */
static int take_devices(int r, DeviceInfo *info, int n)
{
    Peer *p = &job.peer[r];
    p->info = info, p->ndevice = n;
    p->device = calloc((size_t)n + 1, sizeof *p->device);
    if (!info || !p->device)
        return error_set(E_NOMEM, "no memory for the devices of rank %d", r);
    for (int i = 0; i < n; i++) {
        char name[sizeof info->name];
        snprintf(name, sizeof name, "%s", info[i].name);
        snprintf(info[i].name, sizeof info[i].name, "%d/%.20s", r, name);
        name[strcspn(name, ":")] = 0;
        info[i].kind = intern(name);
    }
    return 0;
}

static uint64_t build_hash(void)
{
    const uint64_t sizes[] = { sizeof(Letter), sizeof(DeviceInfo), 0x0102030405060708 };
    return hash_bytes(sizes, sizeof sizes, 0);
}

/* How far the clock of rank 0 is ahead: it answers in the middle between question and answer, most nearly in
 * the quickest of some rounds. */
static int compare_clocks(void)
{
    double ahead = 0, best = 0;
    int e = 0;
    if (!(job.me ? job.peer[0].timeline : timeline_wanted()))
        return 0;
    if (!job.me)
        e = await(L_CLOCK, "the comparing of clocks");
    for (int k = 1; k <= ROUNDS && job.me && !e; k++) {
        double asked = timeline_clock(), took;
        job.round = k;
        e = mail_send(0, &(Letter){ .kind = L_CLOCK }, NULL, NULL, NULL);
        e = e ? e : await(L_CLOCK, "the comparing of clocks");
        took = job.peer[0].read - asked;
        if (!e && (k == 1 || took < best))
            best = took, ahead = job.peer[0].clock - asked - took / 2;
    }
    if (!e && timeline_wanted())
        timeline_joins(job.me, ahead);
    return e;
}

static int meet_others(void)
{
    int n, e, left = 0;
    DeviceInfo *own = own_devices(&n);
    if (!own)
        return error_set(E_NOMEM, "no memory for a list of devices");
    job.peer[job.me].ndevice = n;
    Letter hello = { .kind = L_HELLO,
        .code = n,
        .own = timeline_wanted(),
        .hash = build_hash(),
        .bytes = sizeof *own * (size_t)n };
    e = tell_all(&hello, own, &left);
    e = e ? e : await(L_HELLO, "their job's beginning");
    for (double since = now(); !e && mail_left(&left); )
        e = turn() < 0 || (job.limit > 0 && now() - since > job.limit) ?
            lose("messages of MPI do not arrive") :
            0;
    for (int r = 0; r < job.n && !e; r++) {
        DeviceInfo *theirs = own;
        const double since = now();
        while (r != job.me && !e && !(theirs = mail_take(r, 0, (ParcelId){ 0 })))
            e = turn() < 0 || (job.limit > 0 && now() - since > job.limit) ?
                lose("messages of MPI do not arrive") :
                0;
        if (!e && r != job.me && job.peer[r].version != hello.hash)
            e = error_set(E_DEVICE, "rank %d of %d runs another version of Heddle", r, job.n);
        e = e ? e : take_devices(r, theirs, job.peer[r].ndevice);
    }
    return e ? e : compare_clocks();
}

static void ending(void);
static void at_exit(void);

static int join(void)
{
    const char *limit = getenv("HEDDLE_MPI_TIMEOUT"), *why;
    job.limit = limit && *limit ? strtod(limit, NULL) : TIMEOUT;
    if (!(job.wire = wire_find(job.why, sizeof job.why)))
        return error_set(E_DEVICE, "%s", job.why);
    if ((why = wire_begin(job.wire, job.limit, &job.me, &job.n, ending)) || (why = job.wire->usable()))
        return error_set(E_DEVICE, "this process cannot join its job: %s", why);
    job.pid = getpid();
    atexit(at_exit);
    if (!(job.peer = calloc((size_t)job.n, sizeof *job.peer)))
        return error_set(E_NOMEM, "no memory for a job of %d ranks", job.n);
    for (double since = now(); !job.wire->ready(); mail_rest(0))
        if (job.limit > 0 && now() - since > job.limit)
            return error_set(E_DEVICE,
                "not all %d ranks of this job have come to a call over ranks within %g seconds "
                "(HEDDLE_MPI_TIMEOUT)",
                job.n, job.limit);
    int e = mail_open(job.wire, job.n);
    e = e ? e : meet_others();
    return e || job.limit <= 0 ? e : away_open(often() / 2, turn_away, may_turn_away);
}

int ranks_count(void)
{
    pthread_mutex_lock(&job.joining);
    if (!job.state && ranks_several()) {
        Loc before = loc_set((Loc){ 0 });
        job.state = join() ? -1 : 1;
        loc_set(before);
        if (job.state < 0)
            snprintf(job.why, sizeof job.why, "%s", error_text());
    } else if (!job.state) {
        job.state = 1;
    }
    if (job.state < 0)
        error_set(E_DEVICE, "%s", job.why);
    int n = job.state < 0 ? 0 : job.n;
    pthread_mutex_unlock(&job.joining);
    return n;
}

int ranks_me(void) { return ranks_count() ? job.me : -1; }

/* ==================== devices */

int far_devices(int rank)
{
    return ranks_count() && rank >= 0 && rank < job.n && job.n > 1 ? job.peer[rank].ndevice : 0;
}

const DeviceInfo *far_info(int rank, int i) { return &job.peer[rank].info[i]; }

/* "opencl" is "opencl:0", "host:0" is "host". */
static int far_number(int rank, const char *name)
{
    char full[sizeof ((DeviceInfo *)0)->name];
    if (!strcmp(name, "host:0"))
        name = "host";
    snprintf(
        full, sizeof full, "%d/%s%s", rank, name, strchr(name, ':') || !strcmp(name, "host") ? "" : ":0");
    for (int i = 0; i < job.peer[rank].ndevice; i++)
        if (!strcmp(job.peer[rank].info[i].name, full))
            return i;
    return -1;
}

static int no_device(int rank, const char *name)
{
    Text t = { 0 };
    for (int i = 0; i < job.peer[rank].ndevice && i < 16; i++)
        text_add(&t, "%s%s", i ? ", " : "", job.peer[rank].info[i].name);
    error_set(E_DEVICE, "there is no device \"%d/%s\"; rank %d has: %s", rank, name, rank, t.s ? t.s : "");
    text_free(&t);
    return (int)E_DEVICE;
}

Device *far_device(int rank, const char *name)
{
    int n = ranks_count();
    if (!n)
        return NULL;
    if (rank < 0 || rank >= n)
        return error_set(E_DEVICE,
                   "there is no rank %d for device \"%d/%s\": this job has %d (mpirun -n starts several)",
                   rank, rank, name, n),
               NULL;
    if (rank == job.me)
        return device_find(name);
    int i = far_number(rank, name);
    if (i < 0)
        return no_device(rank, name), NULL;
    pthread_mutex_lock(&job.joining);
    Device **d = &job.peer[rank].device[i];
    *d = *d ? *d : far_new(rank, &job.peer[rank].info[i]);
    pthread_mutex_unlock(&job.joining);
    return *d;
}

/* ==================== calls */

bool ranks_inside(void) { return inside; }

uint64_t ranks_part(void) { return job.parts++; }

void ranks_away(bool is)
{
    if (inside)
        (is ? away_begin : away_end)();
}

/* All have come. 0: to the same; else the same verdict in all ranks. One that comes with an error cannot
 * make the call, whatever it is; so nobody does, and all have that error. */
static int compare(const char *what, uint64_t hash)
{
    int other = -1, fails = -1, failed = error_pending();
    for (int r = job.n - 1; r >= 0; r--) {
        const Letter *l = &job.peer[r].coming;
        if (r == job.me)
            continue;
        other = l->hash != hash ? r : other;
        fails = l->code ? r : fails;
    }
    if (fails >= 0 && !failed) {
        Loc before = loc_set((Loc){ 0 });       /* the text has it */
        error_set(
            (Code)job.peer[fails].coming.code, "%s (in rank %d)", job.peer[fails].coming.text, fails);
        loc_set(before);
    } else if (other >= 0) {                    /* nothing, if it has failed itself */
        const char *theirs = job.peer[other].coming.text;
        error_set(E_DEVICE,
            "the ranks of this job do not make the same call: rank %d has come to %s, rank %d to %s%s",
            job.me, what, other, theirs,
            strcmp(what, theirs) ? "" : ": what is traced there differs, in a constant perhaps");
    }
    for (int r = 0; r < job.n; r++) {
        Peer *p = &job.peer[r];
        p->call = p->coming.call;
        next_coming(p);
        if (r != job.me)
            mail_before(r, p->call);
    }
    return (int)error_code();
}

static int begin(const char *what, uint64_t hash)
{
    char text[300];
    Letter come = { .kind = L_COME, .code = (int)error_code(), .call = ++job.calls, .hash = hash };
    const char *why = job.wire->usable();
    job.parts = 0;
    if (job.lost || why || job.ended || getpid() != job.pid)
        return error_set(E_DEVICE, "a call over ranks cannot be made: %s", why ? why : job.lost ? job.why :
                         job.ended ? "MPI has ended" : "this is a child of fork()");
    snprintf(come.text, sizeof come.text, "%s", come.code ? error_text() : what);
    snprintf(text, sizeof text, "%s (as rank %d has)", what, job.me);
    int e = tell_all(&come, NULL, NULL);
    e = e ? e : await(L_COME, text);
    if (e)
        tell_all(&(Letter){ .kind = L_GONE,
                     .code = e,
                     .own = true,
                     .call = job.calls,
                     .text = "another rank has given up to wait" },
            NULL, NULL);
    return e ? e : compare(what, hash);
}

int ranks_enter(const char *what, uint64_t hash)
{
    pthread_mutex_lock(&job.call);
    int e = begin(what, hash);
    inside = !e;
    if (e)
        pthread_mutex_unlock(&job.call);
    return e;
}

/* Another rank has failed in this call. */
static bool any_failed(void)
{
    bool failed = job.lost || job.leaving;
    for (int r = 0; r < job.n; r++) {
        const Peer *p = &job.peer[r];
        failed = failed || (r != job.me && (p->left || (p->ended == p->call && p->ending.code)));
    }
    return failed;
}

/* The rank whose failure is told: the first that failed by itself. -1: none. */
static int who_failed(int code, bool own)
{
    int first = code ? job.me : -1, first_own = code && own ? job.me : -1;
    for (int r = job.n - 1; r >= 0; r--) {
        const Letter *l = &job.peer[r].ending;
        if (r == job.me || !l->code)
            continue;
        first = first < 0 || r < first ? r : first;
        if (l->own)
            first_own = first_own < 0 || r < first_own ? r : first_own;
    }
    return first_own >= 0 ? first_own : first;
}

static int finish(int code)
{
    Letter done = { .kind = L_DONE, .code = code, .own = code && !any_failed(), .call = job.calls };
    snprintf(done.text, sizeof done.text, "%s", error_text());
    int e = job.lost ? (int)E_DEVICE : tell_with_events(&done);
    e = e ? e : await(L_DONE, "the end of a call");
    if (e)
        return code ? code : e;
    write_events(job.calls);
    int who = who_failed(code, done.own);
    if (who >= 0 && who != job.me) {
        error_clear();
        Loc before = loc_set((Loc){ 0 });       /* the text has it */
        error_set((Code)job.peer[who].ending.code, "%s", job.peer[who].ending.text);
        loc_set(before);
    }
    job.late = job.late && who >= 0;
    return who < 0 ? 0 : (int)error_code();
}

int ranks_leave(int code)
{
    int e = finish(code);
    inside = false;
    pthread_mutex_unlock(&job.call);
    return e;
}

void ranks_attend(Party *p, _Atomic int *running)
{
    double since = now();
    for (int idle = 0; *running; idle++) {
        int some = job.lost ? 0 : turn();
        bool failed = some < 0 ? lose("a message of MPI failed") != 0 : any_failed();
        for (int r = 0; r < job.n && !failed; r++)
            if (missing(L_DONE, r) && silent(r, since))
                failed = in_vain(L_DONE, since, "the end of a call") != 0;
        if (p && (some || failed))
            party_wake(p, failed);
        if (!job.lost)
            show_life();
        idle = some ? 0 : idle;
        mail_rest(idle);
    }
}

/* ==================== parcels of a call */

int far_send(int rank, ParcelId m, const void *bytes, size_t n, int *left)
{
    return mail_send(
        rank, &(Letter){ .kind = L_PARCEL, .call = job.calls, .bytes = n, .id = m }, bytes, NULL, left);
}

int far_look(int rank, ParcelId m, const void **bytes, size_t n)
{
    const Peer *p = &job.peer[rank];
    /* asked first: what came before that letter is there by now */
    bool over = p->ended == p->call;
    size_t came = n;
    int here = mail_look(rank, p->call, m, bytes, &came);
    if (here == -2)
        return error_set(E_NOMEM, "no memory for what ranks exchange"), -1;
    return came != n || (here < 0 && over) ? -1 : here > 0;
}

int far_left(const int *left) { return mail_left(left); }

void far_forget(int rank, ParcelId m) { free(mail_take(rank, job.peer[rank].call, m)); }

/* To the other ranks that want it. */
static int give(ParcelId m, Mem *mem, const bool *wants, void **copy, int *left)
{
    int e =
        (*copy = malloc(mem->bytes)) ? 0 : error_set(E_NOMEM, "out of host memory: %zu bytes", mem->bytes);
    ranks_away(true);
    e = e ? e : mem->device->backend->read(mem, 0, *copy, mem->bytes);
    ranks_away(false);
    e = e ? rank_tells(mem->device, e) : 0;
    for (int r = 0; r < job.n && !e; r++)
        if (r != job.me && (!wants || wants[r]))
            e = far_send(r, m, *copy, mem->bytes, left);
    return e;
}

/* Waits for a parcel of another rank. NULL after an error, else free() it. */
static void *fetch(int rank, ParcelId m, size_t n)
{
    const void *bytes;
    int here = 0;
    double since = now();
    for (int idle = 0; !(here = far_look(rank, m, &bytes, n)); idle++) {
        int some = turn(), e = some < 0 ? lose("a message of MPI failed") : 0;
        if (!e && silent(rank, since))
            e = in_vain(L_DONE, since, "where an array is read");
        if (e || any_failed())
            return error_set(E_DEVICE, "what is wanted lies on rank %d, which has failed", rank), NULL;
        show_life();
        idle = some ? 0 : idle;
        mail_rest(idle);
    }
    if (here < 0)
        return error_set(E_DEVICE, "what is wanted lies on rank %d, which does not send it", rank), NULL;
    return mail_take(rank, job.peer[rank].call, m);
}

/* Whose bytes are lent until they have gone. */
static void wait_gone(const int *left)
{
    for (int idle = 0; mail_left(left) && !job.lost; idle++)
        if (turn() < 0)
            lose("a message of MPI failed");
        else
            show_life(), mail_rest(idle);
}

int ranks_gather(int n, Mem *const *m, const bool *wants)
{
    uint64_t part = ranks_part() << 32;
    int e = 0, left = 0;
    void **copy = calloc((size_t)n + 1, sizeof *copy), *bytes;
    if (!copy)
        e = error_set(E_NOMEM, "out of host memory");
    for (int k = 0; k < n && !e; k++)
        if (m[k]->bytes && !device_far(m[k]->device))
            e = give((ParcelId){ part, k, -1 }, m[k], wants, &copy[k], &left);
    for (int k = 0; k < n && !e; k++)
        if (m[k]->bytes && device_far(m[k]->device) && (!wants || wants[job.me])) {
            bytes = fetch(device_rank(m[k]->device), (ParcelId){ part, k, -1 }, m[k]->bytes);
            e = bytes ? 0 : (int)error_code();
            if (bytes)
                far_bytes(m[k], bytes);
        }
    wait_gone(&left);
    for (int k = 0; copy && k < n; k++)
        free(copy[k]);
    free(copy);
    return e;
}

int ranks_tell(const void *mine, size_t n, void *all)
{
    uint64_t part = ranks_part() << 32;
    int e = 0, left = 0;
    for (int r = 0; r < job.n && !e && n; r++)
        if (r != job.me)
            e = far_send(r, (ParcelId){ part, job.me, -1 }, mine, n, &left);
    for (int r = 0; r < job.n && !e && n; r++) {
        void *theirs = r == job.me ? NULL : fetch(r, (ParcelId){ part, r, -1 }, n);
        e = theirs || r == job.me ? 0 : (int)error_code();
        if (!e)
            memcpy((char *)all + (size_t)r * n, r == job.me ? mine : theirs, n);
        free(theirs);
    }
    wait_gone(&left);
    return e;
}

/* ==================== the end of the process */

static void give_up(const char *why)
{
    fprintf(stderr, "heddle: rank %d of %d ends its job: %s\n", job.me, job.n, why);
    fflush(NULL);
    job.wire->abort(1);
}

/* Before MPI ends, whoever ends it: nobody is in a call any more, and all know it. */
static void ending(void)
{
    struct timespec t;
    if (job.state != 1 || job.ended || job.n < 2 || getpid() != job.pid)
        return;
    job.leaving = true;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += EXIT_WAIT;
    if (inside || pthread_mutex_timedlock(&job.call, &t))
        give_up("its process ends in the middle of a call");
    job.ended = true;
    away_close();
    if (job.lost || job.late)
        give_up(job.lost ? job.why : "a rank did not come to a call");
    tell_with_events(&(Letter){ .kind = L_LEFT, .call = UINT64_MAX });
    if (await(L_LEFT, "its end"))
        give_up(error_text());
    write_events(UINT64_MAX);
    mail_close();
    pthread_mutex_unlock(&job.call);
}

static void at_exit(void)
{
    if (getpid() != job.pid)
        return;
    if (job.state < 0 && job.n > 1)
        give_up(job.why);
    ending();
    job.wire->close();
}
