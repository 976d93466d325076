/*
 * backend.h - devices, memory and executables, whatever the vendor.
 *
 * A Device is found by name in one flat list. Mem is device memory with a reference count and the state of
 * what is being computed into it. An Exec is a program built for a device; running it enqueues and returns.
 * All of this may be called from any thread.
 */
#ifndef HEDDLE_BACKEND_H
#define HEDDLE_BACKEND_H

#include <pthread.h>

#include "base.h"
#include "cache.h"
#include "fault.h"
#include "plan.h"
#include "target.h"

typedef struct Device Device;
typedef struct Mem Mem;
typedef struct Exec Exec;

typedef struct DeviceInfo {
    char name[32];                              /* "host", "opencl:0" */
    const char *kind;                           /* "host" "opencl" "vulkan" */
    char model[128], driver[128];               /* as the driver reports them */
    uint64_t memory, max_alloc;                 /* bytes */
    bool is_cpu, has_f16, has_f64, has_i64;
    bool no_fma64;                              /* fma of f64 is made of integers: no functions of it */
    /* a processor without vectors: its compiler makes them of work-items */
    bool scalar;
    char notes[512];                            /* what is missing and how to install it */
    Machine machine;                            /* what plans for it depend on */
} DeviceInfo;

/* n pieces of so many bytes: in one memory from `from` on, each `from_step` behind the one before; in
 * another likewise. */
typedef struct Strided { size_t from, from_step, to, to_step, bytes, n; } Strided;

/* What every backend implements. One static table a backend; device.c keeps the list. */
typedef struct Backend {
    const char *kind;
    const char *const *driver_calls;            /* those that HEDDLE_FAULT can name; NULL: none */
    bool hidden;                                /* its devices are in no list: one has to name them */
    int (*count)(void);                         /* opens the loader; 0 where there is none. Never fails */
    bool (*gpu)(int index);                     /* known without opening it; NULL: none is one */
    const char *(*name)(int index);             /* what is behind the colon of its name; NULL: the number */
    /* one sentence that says what to install; NULL if nothing is missing */
    const char *(*missing)(void);
    Device *(*open)(int index);                 /* NULL after an error */
    void (*close)(Device *);
    int (*alloc)(Device *, size_t, Mem **);
    /* pinned memory: the host's, mapped, which the device reads and writes without another copy in between.
     * For bytes on their way */
    int (*pin)(Device *, size_t, Mem **);
    void (*release)(Mem *);                     /* the last reference is gone */
    /* returns when the bytes are taken */
    int (*write)(Mem *, size_t offset, const void *, size_t);
    /* waits for what is being computed into it */
    int (*read)(Mem *, size_t offset, void *, size_t);
    /* from a memory that is near, of which it waits for what computes it; returns when all is copied */
    int (*copy)(Mem *to, Mem *from, const Strided *);
    int (*wait)(Mem *);                         /* 0, or the late error of the computation */
    bool (*ready)(Mem *);
    const void *(*map)(Mem *);                  /* host view without a copy, or NULL */
    Exec *(*build)(Device *, Plan *);           /* NULL after an error. The plan's arena outlives the Exec */
    /* The same, but it may run before its code is there; NULL: build. finish waits for that. */
    Exec *(*begin)(Device *, Plan *);
    /* From a plan that was kept (plan_unpack), if all its code is there; NULL: it is not, or an error. */
    Exec *(*again)(Device *, Plan *);
    int (*finish)(Exec *);
    Exec *(*build_graph)(Device *, const Graph *);      /* instead of build: the host reference */
    /* Enqueues. in: borrowed; out: gets new memories, each with a reference for the caller. */
    int (*run)(Exec *, int nin, Mem *const *in, int nout, Mem **out);
    void (*drop)(Exec *);
    int (*code)(Exec *, Text *);                /* the text it was built from, for dumps */
} Backend;

/* Backends extend it: first member of theirs. Devices of one realm copy from one another's memory; NULL:
 * from no other's. */
struct Device {
    const Backend *backend;
    DeviceInfo info;
    const void *realm;
    _Atomic int64_t live;                       /* of the application's own: arrays and programs on it */
    /* nobody knows what it is doing: nothing works on it any more, and the next who asks gets it anew */
    _Atomic bool lost;
};
struct Mem {                                    /* likewise */
    Device *device;
    size_t bytes, capacity;
    _Atomic int refs;
    bool borrowed;                              /* the application's, which may write it again */
    Mem *next, *before, *older, *newer;         /* the pool's */
};
/* one of both: what it runs */
struct Exec { Device *device; const Plan *plan; const Graph *graph; };

/* Does one copy from the other's memory? */
static inline bool devices_near(const Device *a, const Device *b)
{
    return a == b || (a->realm && a->realm == b->realm);
}

extern const Backend host_backend, opencl_backend, vulkan_backend, sim_backend, kernel_backend;

/* ==================== device.c */
enum { HOST_DEVICES = 1024 };                   /* at most */
int device_count(void);
/* hosts are the last ones; behind them those that are in no list */
Device *device_at(int i);
const char *device_kind(int i);                 /* without opening it; "" if there is none */
Device *device_find(const char *name);          /* NULL after an error that lists what there is */
Device *device_default(void);                   /* $HEDDLE_DEVICE, else the first OpenCL device, else host */
/* The application's own devices have names that it gives, and are in no list. Is one possible? Else an
 * error. */
bool device_nameable(const char *name);
int device_add(Device *);                       /* takes it over; an error leaves it to the caller */
/* An error if something is still on it. */
int device_remove(const char *name);
Device *device_added(const char *name);         /* NULL: none of the application's has that name */
const char *device_missing(int i);              /* sentences on what to install; NULL at the end */
void device_close_all(void);
bool devices_forked(void);              /* in the child of a fork: all but the host are gone; were there? */

/* ==================== host/evaluate.c: where the host is in a program, for those who watch it
 * A region around what it evaluates, the innermost first. step: of a scan or while, -1: there is none. */
struct Ins;
struct Graph;
typedef struct HostAt {
    struct HostAt *up;
    const struct Ins *region; int body;
    int64_t lane[MAXRANK], step;
    void *note; int noted;                      /* the watcher's; 0 at first */
} HostAt;
/* see: before each instruction, with its operands, and where; NULL: outside regions. begin: with the graph
 * that is run, which outlives the program. */
typedef struct HostWatch {
    void (*begin)(void *env, const struct Graph *);
    void (*see)(void *env, const struct Ins *, HostAt *, const void *const *in);
    void *env;
} HostWatch;
/* The programs that this thread runs on the host from now on; NULL: none. */
void host_watch(const HostWatch *);

/* ==================== process.c: threads that fork and exit cut off */
void visit_begin(void);                         /* this thread is inside the library, until visit_end */
/* The same of a thread of ours that works for nobody who waits, in a driver alone: exit() waits for it, and
 * fork() takes no notice, for the driver is gone in a child anyway. */
void visit_beside(void);
void visit_end(void);
bool process_ending(void);                      /* another thread has called exit() */
/* 0, or an error: memory is half written, or the process is ending */
int process_usable(void);
void process_cut(void);                         /* in a child: another thread was inside */
/* after a driver did something for the first time: exit() waits for visits before its end */
void process_watch_exit(void);

Mem *mem_keep(Mem *);
void mem_drop(Mem *);

/* ==================== faulty.c: failures on demand */
/* What HEDDLE_FAULT names and no backend has is told, and nothing fails. */
void faults_known(const Backend *const *, int n);
Device *device_open(const Backend *, int index);        /* NULL after an error */
int device_refuses(const Device *, const char *call);

/* Must this call to a device fail? 0, or a code: each is asked for once, just before it is made. */
static inline int device_fault(const Device *d, const char *call)
{
    return fault_wanted ? device_refuses(d, call) : 0;
}

/* ==================== processor.c */
/* what the system says of this processor; what it does not say stays */
void processor_machine(Machine *);
/* which it is, and which instructions it has; compiled programs depend on them */
uint64_t processor_features(void);

/* ==================== deep.c: f(env) on a large stack, for compilers in drivers; otherwise as if it were
 * called here */
int deep_call(int (*f)(void *), void *env);
bool thread_start(pthread_t *, void *(*f)(void *), void *env);  /* with such a stack, and without signals */

/* ==================== exchange.c: shards of one program, each in a thread of its own, give one another
 * bytes */
enum { PARTY_AXES = 8 };                        /* at most */
typedef struct PartyAxis { const char *name; int size; } PartyAxis;
typedef struct Party Party;
/* A grid of shards on these devices, the last axis counts fastest. part: of a call over ranks (ranks.h).
 * NULL after an error. */
Party *party_new(int naxis, const PartyAxis *, Device *const *, uint64_t part);
void party_drop(Party *);
/* this thread is that shard, until it leaves. It leaves with its code: after */
void party_enter(Party *, int me);
void party_leave(int code);                     /* one that is not 0 nobody waits for it any more */
void party_wake(Party *, bool failed);          /* something came from other ranks; or one has failed */
int party_first(const Party *);                 /* who left first with such a code; -1: nobody */
/* What is there for others: where the host sees it; where that is NULL it does not, and this is where its
 * backend has it. */
typedef struct Given { const void *bytes, *place; size_t at; } Given;
/* The arrays of a shard in an exchange: what it gives and what it gets; where shards reduce, a chunk of
 * what comes to it, and what becomes of it, each of two in turn. */
typedef enum Area { WHOLE, CHUNK_0, CHUNK_1 } Area;
/* What a shard gives in an exchange, n bytes, and how it takes what it gets; `to`: a place in the area. */
typedef struct Trade {
    size_t n;
    Given given, reduced[2];
    void *x;
    int (*put)(void *x, Area, size_t to, const void *part, size_t n);   /* from the host's memory */
    /* of what is given, or was reduced, to the host's memory */
    int (*fetch)(void *x, Area, size_t at, void *part, size_t n);
    /* from a device of the same realm */
    int (*copy)(void *x, Area, size_t to, const Given *, size_t at, size_t n);
    /* waits for what was begun, so that others see it; NULL: nothing ever is */
    int (*settle)(void *x);
    /* What this shard gives is on its way to other ranks: the time to begin what needs nothing of theirs;
     * settle waits for that, too. NULL: nothing */
    int (*beside)(void *x);
    size_t chunks;                              /* where shards reduce */
    /* begins; what is put and fetched meanwhile need not wait, until this returns: it has ended */
    int (*reduce)(void *x, int turn);
    int (*reduced_now)(void *x);
} Trade;
/* Waits until all shards along an axis have come to the exchange of this name, AXIS#NUMBER, and takes this
 * one's parts. from: of a permutation, who gives to each (-1: zeros). 0, or a code. */
int exchange(Swap, const char *name, const Trade *, const int32_t *from);
extern _Atomic uint64_t exchange_beside;        /* what was begun beside exchanges so far, for tests */

/* ==================== timeline.c: HEDDLE_TIMELINE=FILE, what ran when */
bool timeline_wanted(void);
/* From here on this thread works for a shard on that device; -1: for what one device runs between. Its spans
 * may nest. */
void timeline_lane(int shard, const char *device);
void timeline_begin(const char *name);
void timeline_end(const char *name);
/* Over ranks (ranks.c): this clock, in microseconds; which rank this is, and how far ahead the clock of rank
 * 0 is; what another has kept since it was taken last, as text, free() it, or NULL; rank 0 writes it. */
double timeline_clock(void);
void timeline_joins(int rank, double ahead);
char *timeline_take(void);
void timeline_put(const char *text);

/* ==================== pool.c: memory that nobody holds, kept for the next array of its size */
enum { POOL_LISTS = 257 + 48 * 128 };
typedef struct Pool {
    pthread_mutex_t lock;
    Mem *list[POOL_LISTS], *oldest, *newest;
    size_t held, cap;                           /* bytes; at most */
    uint64_t looked;                            /* memories looked at, for tests */
} Pool;
int too_large(const Device *, size_t bytes);    /* E_NOMEM: more than the device gives in one piece */
/* holds a quarter of the device's memory, or $HEDDLE_POOL_MB */
void pool_new(Pool *, uint64_t memory);
/* Sizes are rounded up, so that nearly equal ones share: to 256 bytes, above 64 KiB to a 128th of a power of
 * two or less. */
size_t pool_class(size_t bytes);
Mem *pool_take(Pool *, size_t capacity);        /* NULL: none of this capacity. 0: the oldest, to empty it */
/* what there is no room for, the oldest first: a list by `next`, the caller's again */
Mem *pool_give(Pool *, Mem *);

#endif
