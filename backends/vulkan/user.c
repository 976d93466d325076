/*
 * user.c - kernels of the user's own in SPIR-V (hd_kernel): compiled when they are first launched, for the
 * program that launches them.
 *
 * In:  a module, its parameters' memory.   Out: work in the queue, behind what was given before.
 * Parameters are storage buffers of set 0, by number. Each launch has a set and a command buffer until it
 * has ended, which the next one then takes. A parameter that does not begin where the device lets a storage
 * buffer begin, as those of later lanes may, is copied to memory of its own meanwhile, and back.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

typedef struct Launch {
    VkStream stream;
    VkDescriptorPool pool;
    VkDescriptorSet set;
    struct Launch *next;
} Launch;

struct VkUser {
    const UserKernel *of;
    VkShaderModule module;
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    uint32_t groups[3];
    uint64_t align, most;                       /* of a storage buffer, bytes */
    Launch *launch;
    VkUser *next;
};

/* ==================== compiling */

/* The size of a work-group, as the module says for the entry point. */
static bool local_size(const UserKernel *k, uint32_t size[3])
{
    enum { ENTRY_POINT = 15, EXECUTION_MODE = 16, LOCAL_SIZE = 17, HEADER = 5 };
    const uint32_t *w = k->spirv;
    uint32_t id = 0;
    for (size_t at = HEADER, n; at < k->nspirv; at += n) {
        n = w[at] >> 16;
        if (!n || n > k->nspirv - at)
            return false;
        const size_t room = n > 3 ? 4 * (n - 3) : 0;
        const char *name = (const char *)&w[at + 3];
        if ((w[at] & 0xffff) == ENTRY_POINT && strnlen(name, room) < room && !strcmp(name, k->name))
            id = w[at + 2];
        if ((w[at] & 0xffff) == EXECUTION_MODE && n == 6 && w[at + 1] == id && w[at + 2] == LOCAL_SIZE) {
            memcpy(size, &w[at + 3], 3 * sizeof *size);
            return id && size[0] && size[1] && size[2];
        }
    }
    return false;
}

static int grouped(VkUser *u)
{
    const UserKernel *k = u->of;
    uint32_t size[3];
    if (!local_size(k, size))
        return error_set(E_INVAL,
            "hd_kernel %s: its SPIR-V has no entry point of that name with a LocalSize of constants",
            k->name);
    for (int i = 0; i < 3; i++) {
        if (k->global[i] % size[i] || (k->local[0] && k->local[i] != size[i]))
            return error_set(E_INVAL,
                "hd_kernel %s: %lld work-items of axis %d, in groups of %lld; its SPIR-V has groups of %u",
                k->name, (long long)k->global[i], i, (long long)(k->local[0] ? k->local[i] : size[i]),
                size[i]);
        u->groups[i] = (uint32_t)(k->global[i] / size[i]);
    }
    return 0;
}

static VkResult layouts(VkDev *d, VkUser *u, int n)
{
    VkDescriptorSetLayoutBinding *b = calloc((size_t)n + 1, sizeof *b);
    if (!b)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (int i = 0; i < n; i++)
        b[i] = (VkDescriptorSetLayoutBinding){ .binding = (uint32_t)i, .descriptorCount = 1,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT };
    const VkDescriptorSetLayoutCreateInfo s = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = (uint32_t)n,
        .pBindings = b
    };
    VkResult e = VK_DO(d, CreateDescriptorSetLayout, d->device, &s, NULL, &u->set);
    free(b);
    const VkPipelineLayoutCreateInfo l = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1, .pSetLayouts = &u->set };
    return e ? e : VK_DO(d, CreatePipelineLayout, d->device, &l, NULL, &u->layout);
}

static int compile(VkDev *d, VkUser *u, int n)
{
    const UserKernel *k = u->of;
    const VkShaderModuleCreateInfo m = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = 4 * k->nspirv, .pCode = k->spirv };
    VkPhysicalDeviceProperties p;
    d->f.GetPhysicalDeviceProperties(d->physical, &p);
    u->align = p.limits.minStorageBufferOffsetAlignment, u->most = p.limits.maxStorageBufferRange;
    VkResult e = layouts(d, u, n);
    e = e ? e : VK_DO(d, CreateShaderModule, d->device, &m, NULL, &u->module);
    const VkComputePipelineCreateInfo c = { .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = u->layout, .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = u->module, .pName = k->name } };
    e = e ? e : VK_DO(d, CreateComputePipelines, d->device, VK_NULL_HANDLE, 1, &c, NULL, &u->pipeline);
    char what[200];
    snprintf(what, sizeof what, "hd_kernel %.100s: %s cannot build it", k->name, d->base.info.name);
    return e ? vk_fail(e, what) : 0;
}

static void launch_drop(VkDev *d, Launch *l)
{
    vk_until(d, l->stream.number);
    if (l->pool && !d->base.lost)               /* its set goes with it */
        d->f.DestroyDescriptorPool(d->device, l->pool, NULL);
    vk_stream_drop(d, &l->stream);
    free(l);
}

static void user_drop(VkDev *d, VkUser *u)
{
    for (Launch *l; (l = u->launch) != NULL; launch_drop(d, l))
        u->launch = l->next;
    if (!d->base.lost) {
        d->f.DestroyPipeline(d->device, u->pipeline, NULL);
        d->f.DestroyPipelineLayout(d->device, u->layout, NULL);
        d->f.DestroyDescriptorSetLayout(d->device, u->set, NULL);
        d->f.DestroyShaderModule(d->device, u->module, NULL);
    }
    free(u);
}

void vk_users_drop(VkDev *d, VkUser **list)
{
    for (VkUser *u; (u = *list) != NULL; user_drop(d, u))
        *list = u->next;
}

static VkUser *user_of(VkDev *d, VkUser **list, const UserKernel *k, int n)
{
    for (VkUser *u = *list; u; u = u->next)
        if (u->of == k)
            return u;
    VkUser *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(E_NOMEM, "no memory for a kernel"), NULL;
    u->of = k;
    if (grouped(u) || compile(d, u, n))
        return user_drop(d, u), NULL;
    u->next = *list;
    return *list = u;
}

/* ==================== launching */

/* One that has ended, or a new one. */
static Launch *launch_of(VkDev *d, VkUser *u, int n)
{
    for (Launch *l = u->launch; l; l = l->next)
        if (!vk_pending(d, l->stream.number))
            return l;
    const VkDescriptorPoolSize s = { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, (uint32_t)n };
    const VkDescriptorPoolCreateInfo p = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = 1, .poolSizeCount = 1, .pPoolSizes = &s };
    Launch *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(E_NOMEM, "no memory for a kernel"), NULL;
    VkResult e = VK_DO(d, CreateDescriptorPool, d->device, &p, NULL, &l->pool);
    const VkDescriptorSetAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = l->pool, .descriptorSetCount = 1, .pSetLayouts = &u->set };
    e = e ? e : VK_DO(d, AllocateDescriptorSets, d->device, &a, &l->set);
    if (e)
        vk_fail(e, u->of->name);
    if (e || !vk_stream_new(d, &l->stream))
        return launch_drop(d, l), NULL;
    l->next = u->launch;
    return u->launch = l;
}

/* What a parameter is while the kernel runs: where it lies, or a piece of its own. */
typedef struct Bound { VkDescriptorBufferInfo at; VkPiece own; } Bound;

static int bind(VkDev *d, const VkUser *u, const UserArg *a, Bound *b)
{
    const VkPiece *p = a->at.buffer;
    const size_t at = p->at + a->at.at, bytes = (a->bytes + 3) / 4 * 4;
    *b = (Bound){ .at = { p->buffer, at, bytes ? bytes : 4 } };
    if (bytes > u->most)
        return error_set(E_NOMEM,
            "hd_kernel %s: a parameter has %zu bytes; storage buffers of %s at most %llu", u->of->name,
            a->bytes, d->base.info.name, (unsigned long long)u->most);
    if (p->block && at % u->align == 0)
        return 0;
    if (!vk_piece(d, bytes, false, &b->own))
        return (int)error_code();
    b->at.buffer = b->own.buffer, b->at.offset = b->own.at;
    return 0;
}

static void moved(VkDev *d, VkCommandBuffer c, const UserArg *a, const Bound *b, bool back)
{
    const VkPiece *p = a->at.buffer;
    if (!b->own.block || !a->bytes || (back && !a->written))
        return;
    const VkBufferCopy there = { p->at + a->at.at, b->own.at, a->bytes },
                       here = { b->own.at, p->at + a->at.at, a->bytes };
    if (back)
        d->f.CmdCopyBuffer(c, b->own.buffer, p->buffer, 1, &here);
    else
        d->f.CmdCopyBuffer(c, p->buffer, b->own.buffer, 1, &there);
    vk_barrier(d, c);
}

static void set_write(VkDev *d, const Launch *l, int k, const Bound *b)
{
    const VkWriteDescriptorSet w = { .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, .dstSet = l->set,
        .dstBinding = (uint32_t)k, .descriptorCount = 1,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, .pBufferInfo = &b->at };
    d->f.UpdateDescriptorSets(d->device, 1, &w, 0, NULL);
}

static int launched(VkDev *d, const VkUser *u, Launch *l, int n, const UserArg *arg, const Bound *b)
{
    const VkWork w = { .first = u->of->name, .last = u->of->name, .loc = loc_here() };
    VkCommandBuffer c = vk_stream_open(d, &l->stream, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
    if (!c)
        return (int)error_code();
    for (int k = 0; k < n; k++)
        moved(d, c, &arg[k], &b[k], false), set_write(d, l, k, &b[k]);
    d->f.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, u->pipeline);
    d->f.CmdBindDescriptorSets(c, VK_PIPELINE_BIND_POINT_COMPUTE, u->layout, 0, 1, &l->set, 0, NULL);
    d->f.CmdDispatch(c, u->groups[0], u->groups[1], u->groups[2]);
    vk_barrier(d, c);
    for (int k = 0; k < n; k++)
        moved(d, c, &arg[k], &b[k], true);
    return vk_stream_start(d, &l->stream, &w);
}

/* A kernel, its parameters, and where it is kept and counted: hence the parameters. */
int vk_user_launch(
    VkDev *d, VkUser **list, const UserKernel *k, int n, const UserArg *arg, uint64_t *number)
{
    VkUser *u = user_of(d, list, k, n);
    Launch *l = u ? launch_of(d, u, n) : NULL;
    Bound *b = l ? calloc((size_t)n + 1, sizeof *b) : NULL;
    int e = b ? 0 : error_pending() ? (int)error_code() : error_set(E_NOMEM, "no memory for a kernel");
    for (int i = 0; i < n && !e; i++)
        e = bind(d, u, &arg[i], &b[i]);
    e = e ? e : launched(d, u, l, n, arg, b);
    *number = e ? *number : l->stream.number;
    for (int i = 0; i < n && b; i++) {
        b[i].own.used = *number;
        vk_piece_drop(d, &b[i].own);
    }
    free(b);
    return e;
}
