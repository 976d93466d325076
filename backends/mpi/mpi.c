/*
 * mpi.c - the table of wire.h over MPI: a module, libheddle_mpi.so, that knows nothing of the rest of
 * Heddle.
 *
 * Everything goes over a communicator of its own, so nothing meets the application's messages. Errors are
 * returned, not fatal. Messages larger than MPI's counts are sent in parts.
 */
#include "wire.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { PART_MAX = 1 << 30 };

typedef struct Request { int n, from; MPI_Request r[]; } Request;

static MPI_Comm comm = MPI_COMM_NULL;
static MPI_Request joining = MPI_REQUEST_NULL;
static int level;
static bool ours;
static void (*on_ending)(void);

/* What hangs on MPI_COMM_SELF is let go first of all in MPI_Finalize. */
static int self_goes(MPI_Comm self, int key, void *value, void *state)
{
    (void)self, (void)key, (void)value, (void)state;
    on_ending();
    return MPI_SUCCESS;
}

static const char *wire_open(int *rank, int *size, void (*ending)(void))
{
    int begun = 0, over = 0, key;
    MPI_Initialized(&begun);
    MPI_Finalized(&over);
    if (over)
        return "MPI_Finalize has been called";
    if (!begun && MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level))
        return "MPI_Init_thread failed";
    ours = !begun;
    MPI_Query_thread(&level);
    on_ending = ending;
    if (MPI_Comm_rank(MPI_COMM_WORLD, rank) || MPI_Comm_size(MPI_COMM_WORLD, size) ||
        MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, self_goes, &key, NULL) ||
        MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL) || MPI_Comm_idup(MPI_COMM_WORLD, &comm, &joining))
        return "MPI gives no communicator";
    return NULL;
}

static bool wire_ready(void)
{
    int done = 1;
    if (joining != MPI_REQUEST_NULL && (MPI_Test(&joining, &done, MPI_STATUS_IGNORE) || !done))
        return false;
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    return true;
}

static const char *wire_usable(void)
{
    int main_thread = 1;
    if (level >= MPI_THREAD_SERIALIZED)
        return NULL;
    MPI_Is_thread_main(&main_thread);
    return main_thread ?
        NULL :
        "the application began MPI for one thread alone, and this is another: MPI_Init_thread with "
        "MPI_THREAD_SERIALIZED or more is wanted";
}

/* Counts are ints: what is larger goes in parts. */
static Request *request_new(size_t n)
{
    size_t parts = n ? (n + PART_MAX - 1) / PART_MAX : 1;
    Request *q = malloc(sizeof *q + parts * sizeof *q->r);
    if (!q)
        return NULL;
    q->n = (int)parts, q->from = -1;
    for (int k = 0; k < q->n; k++)
        q->r[k] = MPI_REQUEST_NULL;
    return q;
}

static int part(size_t n, int k)
{
    size_t left = n - (size_t)k * PART_MAX;
    return left < PART_MAX ? (int)left : PART_MAX;
}

static void *wire_send(int to, int kind, const void *bytes, size_t n)
{
    Request *q = request_new(n);
    for (int k = 0; q && k < q->n; k++)
        if (MPI_Isend(
                (const char *)bytes + (size_t)k * PART_MAX, part(n, k), MPI_BYTE, to, kind, comm, &q->r[k]))
            return NULL;                        /* the request is left: parts of it may be under way */
    return q;
}

static void *wire_receive(int from, int kind, void *bytes, size_t n)
{
    Request *q = request_new(n);
    for (int k = 0; q && k < q->n; k++)
        if (MPI_Irecv((char *)bytes + (size_t)k * PART_MAX, part(n, k), MPI_BYTE,
                from < 0 ? MPI_ANY_SOURCE : from, kind, comm, &q->r[k]))
            return NULL;
    return q;
}

static int wire_done(void *request, int *from)
{
    Request *q = request;
    for (int k = 0; k < q->n; k++) {
        MPI_Status s = { .MPI_SOURCE = -1 };
        int done = 1, e = q->r[k] == MPI_REQUEST_NULL ? MPI_SUCCESS : MPI_Test(&q->r[k], &done, &s);
        if (e)
            return -1;
        if (!done)
            return 0;
        if (q->from < 0)
            q->from = s.MPI_SOURCE;
    }
    if (from)
        *from = q->from;
    free(q);
    return 1;
}

static void wire_cancel(void *request)
{
    Request *q = request;
    for (int k = 0; q && k < q->n; k++)
        if (q->r[k] != MPI_REQUEST_NULL && !MPI_Cancel(&q->r[k]))
            MPI_Wait(&q->r[k], MPI_STATUS_IGNORE);
    free(q);
}

static void wire_close(void)
{
    int over = 0;
    MPI_Finalized(&over);
    if (ours && !over)
        MPI_Finalize();
}

static void wire_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

__attribute__((visibility("default"))) const Wire *heddle_wire(void)
{
    static const Wire wire = { wire_open, wire_ready, wire_usable, wire_send, wire_receive, wire_done,
        wire_cancel, wire_close, wire_abort };
    return &wire;
}
