/*
 * times.c - HEDDLE_DUMP=time: when each call was given, and when the device worked on it.
 *
 * In:  command buffers.   Out: a line for each on stderr, once it has ended.
 * The device writes its clock in front of the first command and behind the last. Where it can be asked for
 * both clocks at once (VK_EXT_calibrated_timestamps) its times are the host's; elsewhere the first call is
 * taken to have begun when it was given.
 */
#include "vk.h"

#include <time.h>

static double host_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void vk_times_open(VkDev *d)
{
    const VkCalibratedTimestampInfoEXT ask[2] = {
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
            .timeDomain = VK_TIME_DOMAIN_DEVICE_EXT },
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
            .timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT }
    };
    uint64_t at[2], apart;
    VkTimes *t = &d->times;
    VkPhysicalDeviceProperties p;
    VkQueueFamilyProperties q[16];
    uint32_t n = 16;
    d->f.GetPhysicalDeviceProperties(d->physical, &p);
    d->f.GetPhysicalDeviceQueueFamilyProperties(d->physical, &n, q);
    t->bits = d->family < n ? q[d->family].timestampValidBits : 0;
    t->wanted = t->bits && dump_wanted("time");
    t->tick = (double)p.limits.timestampPeriod * 1e-6;
    t->began = host_ms();
    if (t->wanted && d->clocks && !d->clocks(d->device, 2, ask, at, &apart)) {
        t->ahead = (double)at[0] * t->tick - (double)at[1] * 1e-6;
        t->known = true;
    }
}

double vk_times_now(const VkDev *d) { return host_ms() - d->times.began; }

VkQueryPool vk_times_new(VkDev *d)
{
    const VkQueryPoolCreateInfo c = { .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 2 };
    VkQueryPool p = VK_NULL_HANDLE;
    return d->times.wanted && !d->f.CreateQueryPool(d->device, &c, NULL, &p) ? p : VK_NULL_HANDLE;
}

void vk_times_begin(VkDev *d, VkCommandBuffer b, VkQueryPool p)
{
    if (!p)
        return;
    d->f.CmdResetQueryPool(b, p, 0, 2);
    d->f.CmdWriteTimestamp(b, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, p, 0);
}

void vk_times_end(VkDev *d, VkCommandBuffer b, VkQueryPool p)
{
    if (p)
        d->f.CmdWriteTimestamp(b, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, p, 1);
}

/* With the queue's lock held. */
void vk_times_tell(VkDev *d, uint64_t number, const VkWork *w)
{
    VkTimes *t = &d->times;
    uint64_t at[2] = { 0, 0 };
    double ms[2];
    if (!w->times || d->f.GetQueryPoolResults(d->device, w->times, 0, 2, sizeof at, at, sizeof *at,
        VK_QUERY_RESULT_64_BIT))
        return;
    if (!t->known)
        t->ahead = (double)at[0] * t->tick - t->began - w->given, t->known = true;
    for (int k = 0; k < 2; k++)
        ms[k] = (double)at[k] * t->tick - t->ahead - t->began;
    fprintf(stderr, "---- time %s: %llu, %s%s%s: given at %.3f ms, %d before it under way; there from %.3f "
            "to %.3f ms\n", d->base.info.name, (unsigned long long)number, w->first ? w->first : "a copy",
        w->first != w->last ? " to " : "", w->first != w->last ? w->last : "", w->given, w->before, ms[0],
        ms[1]);
}
