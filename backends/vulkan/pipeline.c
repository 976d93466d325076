/*
 * pipeline.c - command buffers, compute pipelines, and what the driver keeps of them on disk.
 *
 * In:  SPIR-V words; what to record.   Out: pipelines; work that is finished.
 * All pipelines share one layout: no descriptors, and a block of push constants (Pushed).
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool vk_stream_new(VkDev *d, VkStream *s)
{
    memset(s, 0, sizeof *s);
    const VkCommandPoolCreateInfo p = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = d->family };
    VkResult e = VK_DO(d, CreateCommandPool, d->device, &p, NULL, &s->pool);
    VkCommandBufferAllocateInfo b = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = s->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1 };
    if (!e)
        e = VK_DO(d, AllocateCommandBuffers, d->device, &b, &s->buffer);
    if (!e)
        return s->times = vk_times_new(d), true;
    vk_stream_drop(d, s);
    vk_fail(e, "a command buffer");
    return false;
}

void vk_stream_drop(VkDev *d, VkStream *s)
{
    if (s->times && !d->base.lost)
        d->f.DestroyQueryPool(d->device, s->times, NULL);
    if (s->pool && !d->base.lost)               /* its buffers go with it */
        d->f.DestroyCommandPool(d->device, s->pool, NULL);
    memset(s, 0, sizeof *s);
}

/* What the application did in its queue is seen, and what it does next sees this. */
static void beside_others(VkDev *d, VkCommandBuffer c)
{
    const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkMemoryBarrier m = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT };
    d->f.CmdPipelineBarrier(c, all, all, 0, 1, &m, 0, NULL, 0, NULL);
}

VkCommandBuffer vk_stream_open(VkDev *d, VkStream *s, VkCommandBufferUsageFlags how)
{
    const VkCommandBufferBeginInfo b = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = how };
    if (s->open)
        return s->buffer;
    if (vk_lost(d))
        return NULL;
    VkResult e = VK_DO(d, ResetCommandPool, d->device, s->pool, 0);
    if (!e)
        e = VK_DO(d, BeginCommandBuffer, s->buffer, &b);
    if (e)
        return vk_fails(d, e, "recording commands"), NULL;
    s->open = true;
    if (d->adopted)
        beside_others(d, s->buffer);
    vk_times_begin(d, s->buffer, s->times);
    return s->buffer;
}

int vk_stream_start(VkDev *d, VkStream *s, const VkWork *work)
{
    VkWork w = *work;
    if (s->open && d->adopted)
        beside_others(d, s->buffer);
    if (s->open)
        vk_times_end(d, s->buffer, s->times);
    VkResult e = s->open ? VK_DO(d, EndCommandBuffer, s->buffer) : VK_SUCCESS;
    s->open = false;
    w.times = s->times, w.given = s->times ? vk_times_now(d) : 0;
    return e ? vk_fails(d, e, "recording commands") : vk_give(d, s->buffer, &w, &s->number);
}

int vk_stream_run(VkDev *d, VkStream *s)
{
    const VkWork w = { 0 };
    int e = vk_stream_start(d, s, &w);
    return e ? e : vk_wait_for(d, s->number, s->number);
}

void vk_barrier(VkDev *d, VkCommandBuffer c)
{
    const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkMemoryBarrier m = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT |
            VK_ACCESS_HOST_WRITE_BIT };
    d->f.CmdPipelineBarrier(c, work, work | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &m, 0, NULL, 0, NULL);
}

/* ==================== what drivers keep */

/* of a pipeline cache's data: four words and the maker's mark */
enum { HEADER = 16 + VK_UUID_SIZE };

/* Drivers are not asked to read what another has made. */
static bool made_here(const VkDev *d, const void *data, size_t n)
{
    const VkMaker *m = &d->maker;
    uint32_t head[4];
    /* nothing but a header: the driver keeps its code elsewhere, or not at all */
    if (n <= HEADER)
        return false;
    memcpy(head, data, sizeof head);
    return head[0] >= HEADER && head[0] <= n && head[1] == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
        head[2] == m->vendor && head[3] == m->device &&
        !memcmp((const char *)data + sizeof head, m->uuid, sizeof m->uuid);
}

static VkResult cache_make(VkDev *d, const void *data, size_t n, VkPipelineCache *out)
{
    const VkPipelineCacheCreateInfo c = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = n, .pInitialData = data
    };
    return VK_DO(d, CreatePipelineCache, d->device, &c, NULL, out);
}

/* What it keeps now, where that is more than a header. */
static void *kept(VkDev *d, VkPipelineCache cache, size_t *n)
{
    VkResult e = VK_DO(d, GetPipelineCacheData, d->device, cache, n, NULL);
    void *data = e || *n <= HEADER ? NULL : malloc(*n);
    if (data && !VK_DO(d, GetPipelineCacheData, d->device, cache, n, data) && made_here(d, data, *n))
        return data;
    free(data);
    return *n = 0, NULL;
}

typedef struct Compile {
    VkDev *d;
    VkPipelineCache cache;
    const VkComputePipelineCreateInfo *info;
    const char *name;
    VkPipeline p;
    double ms;
} Compile;

static double thread_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compile(void *env)
{
    Compile *c = env;
    const double began = thread_ms();
    VkResult e = VK_DO(c->d, CreateComputePipelines, c->d->device, c->cache, 1, c->info, NULL, &c->p);
    c->ms = thread_ms() - began;
    return e ? vk_fail(e, c->name) : 0;
}

VkPipeline vk_pipeline(VkDev *d, VkWords *w, void **data, size_t *n)
{
    const VkShaderModuleCreateInfo m = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = 4 * w->n, .pCode = w->word };
    VkPipelineCache cache = VK_NULL_HANDLE;
    VkShaderModule module;
    const void *before = *data && made_here(d, *data, *n) ? *data : NULL;
    const size_t nbefore = before ? *n : 0;
    *data = NULL, *n = 0;
    VkResult e = VK_DO(d, CreateShaderModule, d->device, &m, NULL, &module);
    if (e)
        return vk_fail(e, w->name), VK_NULL_HANDLE;
    if (before && cache_make(d, before, nbefore, &cache))
        before = NULL;                          /* refused: it is kept anew */
    if (!before && cache_make(d, NULL, 0, &cache))
        cache = VK_NULL_HANDLE;                 /* it serves nothing but speed */
    const VkComputePipelineCreateInfo c = { .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = d->layout, .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module, .pName = "main" } };
    Compile job = { d, cache, &c, w->name, VK_NULL_HANDLE, 0 };
    int failed = deep_call(compile, &job);
    w->ms = job.ms;
    if (!failed && cache && !before)
        *data = kept(d, cache, n);
    d->f.DestroyShaderModule(d->device, module, NULL);
    if (cache)
        d->f.DestroyPipelineCache(d->device, cache, NULL);
    return failed ? VK_NULL_HANDLE : job.p;
}
