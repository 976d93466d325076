/*
 * queue.c - how what was given to a queue ends, in the order in which it was given.
 *
 * In:  command buffers.   Out: for the number of one: pending, ended well, or the error of the one that
 * failed.
 * Numbers are values of one timeline semaphore: the n-th that is given makes it n. Whatever is given begins
 * behind a barrier of what was given before, so a queue works in order, and one number says that all before
 * it have ended too. A failure is a device that is lost, or a loop that its driver has ended before its time
 * (spirv_loop.c), which is seen when what had the loop stands first. All that were given to the queue before
 * a failure was seen have failed with it, as in OpenCL's queues, so no result can rest on one that is not
 * there.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64 };

bool vk_queue_open(VkDev *d)
{
    VkGivenTo *q = &d->given;
    const VkSemaphoreTypeCreateInfo t = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
    const VkSemaphoreCreateInfo c = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &t };
    if (!(q->ring = calloc(FIRST_ROOM, sizeof *q->ring)))
        return error_set(E_NOMEM, "no memory for a device"), false;
    q->cap = FIRST_ROOM;
    VkResult e = VK_DO(d, CreateSemaphore, d->device, &c, NULL, &q->timeline);
    return !e || !vk_fail(e, "a timeline semaphore");
}

void vk_queue_close(VkDev *d)
{
    VkGivenTo *q = &d->given;
    if (q->timeline && !d->base.lost)
        d->f.DestroySemaphore(d->device, q->timeline, NULL);
    free(q->ring);
    q->ring = NULL, q->timeline = VK_NULL_HANDLE;
}

/* ==================== with the lock held */

static void failed(VkGivenTo *q, const VkWork *w, VkWhy why)    /* the first one, and those behind it */
{
    const uint64_t from = q->ended + 1, to = q->ended + q->n;
    int k = q->nbad;
    if (k && (q->bad[k - 1].to >= from || k == VK_BAD_MAX)) {
        q->bad[k - 1].to = to > q->bad[k - 1].to ? to : q->bad[k - 1].to;
        return;
    }
    VkBad *b = &q->bad[k];
    *b = (VkBad){ .from = from, .to = to, .why = why, .loc = w->loc };
    snprintf(b->first, sizeof b->first, "%s", w->first ? w->first : "a copy");
    snprintf(b->last, sizeof b->last, "%s", w->last ? w->last : "a copy");
    q->nbad = k + 1;
}

/* Takes the first of them away, which has ended. */
static void take_first(VkDev *d)
{
    VkGivenTo *q = &d->given;
    const VkWork *w = &q->ring[q->head];
    if (w->cut && *w->cut) {
        *w->cut = 0;
        failed(q, w, VK_WAS_CUT);
    }
    vk_times_tell(d, q->ended + 1, w);
    q->head = (q->head + 1) % q->cap;
    q->n--;
    q->ended++;
}

static void take_up_to(VkDev *d, uint64_t number)
{
    while (d->given.n && d->given.ended < number)
        take_first(d);
}

/* Nobody knows what it is doing: what it still had to do has failed, and no more is given to it. */
static void lose(VkDev *d)
{
    VkGivenTo *q = &d->given;
    if (q->n)
        failed(q, &q->ring[q->head], VK_WAS_LOST);
    q->ended += q->n;
    q->n = 0;
    d->base.lost = true;
}

/* What is not known is pending. */
static void take_ended(VkDev *d)
{
    uint64_t value = 0;
    if (!d->given.n)
        return;
    VkResult e = VK_DO(d, GetSemaphoreCounterValue, d->device, d->given.timeline, &value);
    if (e == VK_ERROR_DEVICE_LOST)
        lose(d);
    else if (!e)
        take_up_to(d, value);
}

static bool room(VkGivenTo *q)
{
    if (q->n < q->cap)
        return true;
    VkWork *more = calloc(2 * q->cap, sizeof *more);
    if (!more)
        return false;
    for (size_t i = 0; i < q->n; i++)
        more[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    q->ring = more, q->head = 0, q->cap *= 2;
    return true;
}

/* Waiting failed: what is there may be running still, and its memory must not be used for anything else
 * before it has ended. The application may be using its own device, so that is only asked again. */
static void settle(VkDev *d)
{
    const uint64_t newest = d->given.ended + d->given.n;
    const VkSemaphoreWaitInfo w = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1,
        .pSemaphores = &d->given.timeline, .pValues = &newest };
    if (d->adopted ? VK_DO(d, WaitSemaphores, d->device, &w, UINT64_MAX) :
            VK_DO(d, DeviceWaitIdle, d->device))
        lose(d);
    else
        take_up_to(d, newest);
}

static VkResult submit(VkDev *d, VkCommandBuffer c, const VkWork *w, uint64_t value)
{
    const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const uint32_t waits = w->after != VK_NULL_HANDLE;
    const VkTimelineSemaphoreSubmitInfo t = { .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = waits, .pWaitSemaphoreValues = &w->value,
        .signalSemaphoreValueCount = 1, .pSignalSemaphoreValues = &value };
    const VkSubmitInfo s = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .pNext = &t,
        .waitSemaphoreCount = waits, .pWaitSemaphores = &w->after, .pWaitDstStageMask = &all,
        .commandBufferCount = c != NULL, .pCommandBuffers = &c,
        .signalSemaphoreCount = 1, .pSignalSemaphores = &d->given.timeline };
    if (d->locks)
        d->locks(d->user, true);
    VkResult e = VK_DO(d, QueueSubmit, d->queue, 1, &s, VK_NULL_HANDLE);
    if (d->locks)
        d->locks(d->user, false);
    return e;
}

/* ==================== for others */

int vk_give(VkDev *d, VkCommandBuffer c, const VkWork *w, uint64_t *number)
{
    VkGivenTo *q = &d->given;
    VkResult e = VK_ERROR_OUT_OF_HOST_MEMORY;
    pthread_mutex_lock(&q->lock);
    if (d->base.lost) {
        pthread_mutex_unlock(&q->lock);
        return vk_lost(d) ? (int)error_code() : 0;
    }
    if (w->times)
        take_ended(d);
    const int before = (int)q->n;
    const uint64_t value = q->ended + q->n + 1;
    if (room(q))
        e = submit(d, c, w, value);
    if (!e) {
        VkWork *mine = &q->ring[(q->head + q->n++) % q->cap];
        *mine = *w, mine->before = before;
        *number = value;
    } else if (e == VK_ERROR_DEVICE_LOST)
        lose(d);
    pthread_mutex_unlock(&q->lock);
    return e ? vk_fails(d, e, "starting work on the device") : 0;
}

bool vk_pending(VkDev *d, uint64_t number)
{
    if (number <= d->given.ended)
        return false;
    pthread_mutex_lock(&d->given.lock);
    take_ended(d);
    bool pending = number > d->given.ended;
    pthread_mutex_unlock(&d->given.lock);
    return pending;
}

uint64_t vk_newest(VkDev *d)
{
    pthread_mutex_lock(&d->given.lock);
    uint64_t number = d->given.ended + d->given.n;
    pthread_mutex_unlock(&d->given.lock);
    return number;
}

VkResult vk_until(VkDev *d, uint64_t number)
{
    if (number <= d->given.ended)
        return VK_SUCCESS;
    const VkSemaphoreWaitInfo w = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1,
        .pSemaphores = &d->given.timeline, .pValues = &number };
    VkResult e;
    do
        e = VK_DO(d, WaitSemaphores, d->device, &w, UINT64_MAX);
    while (e == VK_TIMEOUT);
    pthread_mutex_lock(&d->given.lock);
    if (e == VK_ERROR_DEVICE_LOST)
        lose(d);
    else if (e)
        settle(d);
    else
        take_up_to(d, number);
    pthread_mutex_unlock(&d->given.lock);
    return e;
}

/* The error of the range that is meant: it names what stands in the user's program. */
static int told(const VkDev *d, const VkBad *b)
{
    const Loc before = loc_set(b->loc);
    const bool several = strcmp(b->first, b->last);
    if (b->why == VK_WAS_CUT)
        error_set(E_DEVICE,
            "%s: the driver ends loops after %d turns, and a kernel has more of them; choose another "
            "device (%s%s%s)",
            d->base.info.name, d->caps.loop_limit, b->first, several ? " to " : "", several ? b->last : "");
    else
        error_set(E_DEVICE, "%s was lost (VK_ERROR_DEVICE_LOST) while it computed %s%s%s", d->base.info.name,
            b->first, several ? " or what follows, up to " : "", several ? b->last : "");
    loc_set(before);
    return (int)error_code();
}

int vk_outcome(VkDev *d, uint64_t from, uint64_t to)
{
    int e = 0;
    if (!d->given.nbad)
        return 0;
    pthread_mutex_lock(&d->given.lock);
    VkBad found = { 0 };
    for (int k = 0; k < d->given.nbad && !found.to; k++)
        if (d->given.bad[k].from <= to && from <= d->given.bad[k].to)
            found = d->given.bad[k];
    pthread_mutex_unlock(&d->given.lock);
    if (found.to)
        e = told(d, &found);
    return e;
}

int vk_wait_for(VkDev *d, uint64_t from, uint64_t number)
{
    VkResult e = vk_until(d, number);
    int code = vk_outcome(d, from, number);
    return code ? code : e ? vk_fails(d, e, "waiting for a computation") : 0;
}
