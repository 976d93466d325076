/*
 * queue.c - how the commands of a queue end, in the order in which they were given to it.
 *
 * In:  an event for every command.   Out: for the number of a command: pending, ended well, or the error of
 * the one that failed.
 * After a command that failed, what an in-order queue does with those behind it is the driver's affair; so
 * all that were given to the queue before the failure was seen have failed with it, and no result can rest
 * on one that is not there. Each event is asked for its state once it stands first, so a queue remembers no
 * more than what it still has to do.
 */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64 };

int ocl_queue_open(OclDevice *d, int number, cl_command_queue given)
{
    OclQueue *q = &d->queue[number];
    cl_int e = CL_SUCCESS;
    pthread_mutex_init(&q->lock, NULL);
    q->event = calloc(FIRST_ROOM, sizeof *q->event);
    if (!q->event)
        return error_set(E_NOMEM, "no memory for a device");
    q->cap = FIRST_ROOM;
    if (!given)
        q->cl = ocl.clCreateCommandQueue(d->context, d->id[number], 0, &e);
    else if ((e = ocl.clRetainCommandQueue(given)) == CL_SUCCESS)
        q->cl = given;
    return e == CL_SUCCESS ? 0 : ocl_fail(d, e, "a command queue");
}

void ocl_queue_close(OclQueue *q)
{
    for (size_t i = 0; i < q->n; i++)
        ocl.clReleaseEvent(q->event[(q->head + i) % q->cap]);
    if (q->cl)
        ocl.clReleaseCommandQueue(q->cl);
    if (q->cap)
        pthread_mutex_destroy(&q->lock);
    free(q->event);
}

/* ---- with the lock held ---- */

static void failed(OclQueue *q, cl_int code)            /* the first one, and those behind it */
{
    uint64_t from = q->ended + 1, to = q->ended + q->n;
    int k = q->nbad;
    if (k && (q->bad[k - 1].to >= from || k == BAD_MAX)) {
        q->bad[k - 1].to = to > q->bad[k - 1].to ? to : q->bad[k - 1].to;
        return;
    }
    q->bad[k].from = from;
    q->bad[k].to = to;
    q->bad[k].code = code;
    q->nbad = k + 1;
}

/* Takes the first command away if it has ended. waited: it must have, so what does not say so has failed. */
static bool take_first(OclQueue *q, bool waited)
{
    cl_event first = q->event[q->head];
    cl_int state = CL_QUEUED;
    cl_int e = ocl.clGetEventInfo(first, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (e != CL_SUCCESS || state > CL_COMPLETE) {
        if (!waited)
            return false;
        state = e != CL_SUCCESS ? e : CL_INVALID_EVENT;
    }
    if (state < 0)
        failed(q, state);
    ocl.clReleaseEvent(first);
    q->head = (q->head + 1) % q->cap;
    q->n--;
    q->ended++;
    return true;
}

static void take_ended(OclQueue *q)
{
    while (q->n && take_first(q, false))
        ;
}

static bool grow(OclQueue *q)
{
    cl_event *more = calloc(2 * q->cap, sizeof *more);
    for (size_t i = 0; more && i < q->n; i++)
        more[i] = q->event[(q->head + i) % q->cap];
    if (!more)
        return false;
    free(q->event);
    q->event = more;
    q->head = 0;
    q->cap *= 2;
    return true;
}

static cl_int code_of(const OclQueue *q, uint64_t from, uint64_t to)
{
    for (int k = 0; k < q->nbad; k++)
        if (q->bad[k].from <= to && from <= q->bad[k].to)
            return q->bad[k].code;
    return CL_SUCCESS;
}

/* ---- for others ---- */

uint64_t ocl_queued(OclQueue *q, cl_event e)
{
    pthread_mutex_lock(&q->lock);
    take_ended(q);
    if (q->n == q->cap && !grow(q)) {           /* no memory to remember it: the oldest is waited for */
        ocl.clWaitForEvents(1, &q->event[q->head]);
        take_first(q, true);
    }
    q->event[(q->head + q->n++) % q->cap] = e;
    uint64_t command = q->ended + q->n;
    pthread_mutex_unlock(&q->lock);
    return command;
}

cl_int ocl_outcome(OclQueue *q, uint64_t from, uint64_t to)
{
    if (to <= q->ended && !q->nbad)
        return CL_SUCCESS;
    pthread_mutex_lock(&q->lock);
    take_ended(q);
    cl_int code = code_of(q, from, to);
    code = code == CL_SUCCESS && to > q->ended ? PENDING : code;
    pthread_mutex_unlock(&q->lock);
    return code;
}

uint64_t ocl_newest(OclQueue *q)
{
    pthread_mutex_lock(&q->lock);
    uint64_t command = q->ended + q->n;
    pthread_mutex_unlock(&q->lock);
    return command;
}

/* The command itself is waited for; those before it have then ended as well, or are waited for one by
 * one. */
cl_int ocl_wait_for(OclQueue *q, uint64_t command)
{
    cl_int e = CL_SUCCESS;
    pthread_mutex_lock(&q->lock);
    take_ended(q);
    for (uint64_t target = command; e == CL_SUCCESS && q->ended < command; target = q->ended + 1) {
        cl_event at = q->event[(q->head + (size_t)(target - q->ended - 1)) % q->cap];
        if ((e = ocl.clRetainEvent(at)) != CL_SUCCESS)
            break;
        pthread_mutex_unlock(&q->lock);
        e = ocl.clWaitForEvents(1, &at);
        e = e == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST ? CL_SUCCESS : e;
        pthread_mutex_lock(&q->lock);
        if (e == CL_SUCCESS && q->n && q->event[q->head] == at)
            take_first(q, true);
        ocl.clReleaseEvent(at);
        take_ended(q);
    }
    pthread_mutex_unlock(&q->lock);
    return e;
}
