/*
 * pipeline.c - command buffers and compute pipelines.
 *
 * In:  SPIR-V words; what to record.   Out: pipelines; work that is finished.
 * All pipelines share one layout: no descriptors, and a block of push constants (Pushed).
 */
#include "vk.h"

#include <string.h>

bool vk_stream_new(VkDev *d, VkStream *s)
{
    memset(s, 0, sizeof *s);
    const VkCommandPoolCreateInfo p = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT, .queueFamilyIndex = d->family };
    const VkFenceCreateInfo f = { .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO };
    VkResult e = d->f.CreateCommandPool(d->device, &p, NULL, &s->pool);
    VkCommandBufferAllocateInfo b = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = s->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY, .commandBufferCount = 1 };
    if (!e)
        e = d->f.AllocateCommandBuffers(d->device, &b, &s->buffer);
    if (!e)
        e = d->f.CreateFence(d->device, &f, NULL, &s->fence);
    if (!e)
        return true;
    vk_stream_drop(d, s);
    vk_fail(e, "a command buffer");
    return false;
}

void vk_stream_drop(VkDev *d, VkStream *s)
{
    if (s->fence)
        d->f.DestroyFence(d->device, s->fence, NULL);
    if (s->pool)                                /* its buffers go with it */
        d->f.DestroyCommandPool(d->device, s->pool, NULL);
    memset(s, 0, sizeof *s);
}

VkCommandBuffer vk_stream_open(VkDev *d, VkStream *s)
{
    const VkCommandBufferBeginInfo b = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT };
    if (s->open)
        return s->buffer;
    VkResult e = d->f.ResetCommandPool(d->device, s->pool, 0);
    if (!e)
        e = d->f.BeginCommandBuffer(s->buffer, &b);
    if (e)
        return vk_fail(e, "recording commands"), NULL;
    s->open = true;
    return s->buffer;
}

int vk_stream_run(VkDev *d, VkStream *s)
{
    if (!s->open)
        return 0;
    s->open = false;
    const VkSubmitInfo i = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1,
        .pCommandBuffers = &s->buffer };
    VkResult e = d->f.EndCommandBuffer(s->buffer);
    if (!e) {
        pthread_mutex_lock(&d->queue_lock);
        e = d->f.QueueSubmit(d->queue, 1, &i, s->fence);
        pthread_mutex_unlock(&d->queue_lock);
    }
    if (e)
        return vk_fail(e, "starting work on the device");
    e = d->f.WaitForFences(d->device, 1, &s->fence, VK_TRUE, UINT64_MAX);
    if (!e)
        e = d->f.ResetFences(d->device, 1, &s->fence);
    return e ? vk_fail(e, "a computation failed on the device") : 0;
}

void vk_barrier(VkDev *d, VkCommandBuffer c)
{
    const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkMemoryBarrier m = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
            VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT };
    d->f.CmdPipelineBarrier(c, work, work | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &m, 0, NULL, 0, NULL);
}

typedef struct Compile { VkDev *d; const VkComputePipelineCreateInfo *info; const char *name; VkPipeline p; } Compile;

static int compile(void *env)
{
    Compile *c = env;
    VkResult e = c->d->f.CreateComputePipelines(c->d->device, VK_NULL_HANDLE, 1, c->info, NULL, &c->p);
    return e ? vk_fail(e, c->name) : 0;
}

VkPipeline vk_pipeline(VkDev *d, const char *name, const uint32_t *words, size_t n)
{
    const VkShaderModuleCreateInfo m = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = 4 * n,
        .pCode = words };
    VkShaderModule module;
    VkResult e = d->f.CreateShaderModule(d->device, &m, NULL, &module);
    if (e)
        return vk_fail(e, name), VK_NULL_HANDLE;
    const VkComputePipelineCreateInfo c = { .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = d->layout, .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module, .pName = "main" } };
    Compile job = { d, &c, name, VK_NULL_HANDLE };
    int failed = deep_call(compile, &job);
    d->f.DestroyShaderModule(d->device, module, NULL);
    return failed ? VK_NULL_HANDLE : job.p;
}
