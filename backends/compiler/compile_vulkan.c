/*
 * compile_vulkan.c - the part of heddle-compiler that asks Vulkan's drivers.
 *
 * In:  SPIR-V words, and which driver of which device.   Out: the data of its pipeline cache.
 * Where that is a header alone the driver keeps its code elsewhere, as Mesa's on processors does: in files
 * of its own, and not before a kernel runs. So each pipeline is run over a grid of no groups; and the
 * instance is ended with the job, as the driver writes its files in a thread that is waited for then.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "compiler.h"
#include "jobs.h"

enum { DEVICES = 16, HEADER = 16 + VK_UUID_SIZE };

#define GLOBAL(X) X(CreateInstance)
#define INSTANCE(X) \
    X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties) \
        X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceQueueFamilyProperties) X(CreateDevice) \
            X(DestroyDevice) X(GetDeviceQueue) X(CreatePipelineLayout) X(DestroyPipelineLayout) \
                X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineCache) X(GetPipelineCacheData) \
                    X(DestroyPipelineCache) X(CreateComputePipelines) X(DestroyPipeline) \
                        X(CreateCommandPool) X(DestroyCommandPool) X(AllocateCommandBuffers) \
                            X(BeginCommandBuffer) X(EndCommandBuffer) X(CmdBindPipeline) X(CmdDispatch) \
                                X(QueueSubmit) X(QueueWaitIdle)
static struct {
#define X(f) PFN_vk##f f;
    GLOBAL(X) INSTANCE(X)
#undef X
} vk;

static struct {
    VkInstance instance;
    VkPhysicalDevice device;
    char maker[128];
} now; /* the one that the last job was for, if it is still open */

/* ==================== the device */

static PFN_vkGetInstanceProcAddr loader(void)
{
    void *lib = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    PFN_vkGetInstanceProcAddr get = NULL;
    if (lib)
        *(void **)(void *)&get = dlsym(lib, "vkGetInstanceProcAddr");
    return get;
}

static bool instance_open(void)
{
    static PFN_vkGetInstanceProcAddr get;
    const VkApplicationInfo app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pEngineName = "heddle",
        .apiVersion = VK_API_VERSION_1_2 };
    const VkInstanceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &app };
    if (!get && !(get = loader()))
        return false;
    vk.CreateInstance = (PFN_vkCreateInstance)get(NULL, "vkCreateInstance");
    if (!vk.CreateInstance || vk.CreateInstance(&c, NULL, &now.instance))
        return false;
    bool all = true;
#define X(f) all = all && (vk.f = (PFN_vk##f)get(now.instance, "vk" #f)) != NULL;
    INSTANCE(X)
#undef X
    return all;
}

static void instance_close(void)
{
    if (now.instance && vk.DestroyInstance)
        vk.DestroyInstance(now.instance, NULL);
    memset(&now, 0, sizeof now);
}

/* As vk.h's VkMaker, two digits a byte. */
static void maker_of(VkPhysicalDevice d, char *text, size_t n)
{
    VkPhysicalDeviceProperties p;
    vk.GetPhysicalDeviceProperties(d, &p);
    const uint32_t number[3] = { p.vendorID, p.deviceID, p.driverVersion };
    uint8_t bytes[sizeof number + VK_UUID_SIZE];
    memcpy(bytes, number, sizeof number);
    memcpy(bytes + sizeof number, p.pipelineCacheUUID, VK_UUID_SIZE);
    for (size_t k = 0; k < sizeof bytes && 2 * k + 2 < n; k++)
        snprintf(text + 2 * k, n - 2 * k, "%02x", bytes[k]);
}

static bool find(const char *maker)
{
    VkPhysicalDevice d[DEVICES];
    uint32_t n = DEVICES;
    char text[128];
    if (now.instance && !strcmp(now.maker, maker))
        return true;
    instance_close();
    if (strlen(maker) >= sizeof now.maker || !instance_open() ||
        vk.EnumeratePhysicalDevices(now.instance, &n, d) < 0)
        return instance_close(), false;
    for (uint32_t k = 0; k < n; k++) {
        maker_of(d[k], text, sizeof text);
        if (!strcmp(text, maker)) {
            now.device = d[k];
            strcpy(now.maker, maker);
            return true;
        }
    }
    return instance_close(), false;
}

static int compute_family(void)
{
    VkQueueFamilyProperties q[16];
    uint32_t n = 16;
    vk.GetPhysicalDeviceQueueFamilyProperties(now.device, &n, q);
    for (uint32_t k = 0; k < n; k++)
        if (q[k].queueFlags & VK_QUEUE_COMPUTE_BIT)
            return (int)k;
    return -1;
}

/* With what kernels use, where it has that. */
static VkDevice device_open(uint32_t family)
{
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES
    }, use12 = v12;
    VkPhysicalDeviceVulkan11Features v11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = &v12 }, use11 = { .sType = v11.sType, .pNext = &use12 };
    VkPhysicalDeviceFeatures2 f = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11 },
                              use = { .sType = f.sType, .pNext = &use11 };
    vk.GetPhysicalDeviceFeatures2(now.device, &f);
    use12.storageBuffer8BitAccess = v12.storageBuffer8BitAccess, use12.shaderInt8 = v12.shaderInt8;
    use12.bufferDeviceAddress = VK_TRUE, use11.storageBuffer16BitAccess = v11.storageBuffer16BitAccess;
    use.features.shaderInt64 = f.features.shaderInt64, use.features.shaderInt16 = f.features.shaderInt16;
    use.features.shaderFloat64 = f.features.shaderFloat64;
    const float priority = 1;
    const VkDeviceQueueCreateInfo q = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = family, .queueCount = 1, .pQueuePriorities = &priority };
    const VkDeviceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &use,
        .queueCreateInfoCount = 1, .pQueueCreateInfos = &q };
    VkDevice d = VK_NULL_HANDLE;
    return v12.bufferDeviceAddress && !vk.CreateDevice(now.device, &c, NULL, &d) ? d : VK_NULL_HANDLE;
}

/* ==================== a job */

/* What is made for one; all of it goes with the device. */
typedef struct Made {
    VkDevice d;
    VkPipelineLayout layout;
    VkShaderModule module;
    VkPipelineCache cache;
    VkPipeline pipeline;
    VkCommandPool pool;
} Made;

static bool compiles(Made *m, const Work *w)
{
    const VkPushConstantRange r = { VK_SHADER_STAGE_COMPUTE_BIT, 0, (uint32_t)atoi(w->options) };
    const VkPipelineLayoutCreateInfo l = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1, .pPushConstantRanges = &r };
    const VkShaderModuleCreateInfo s = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = w->nsource, .pCode = w->source };
    const VkPipelineCacheCreateInfo k = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO };
    if (vk.CreatePipelineLayout(m->d, &l, NULL, &m->layout) ||
        vk.CreateShaderModule(m->d, &s, NULL, &m->module) ||
        vk.CreatePipelineCache(m->d, &k, NULL, &m->cache))
        return false;
    const VkComputePipelineCreateInfo c = { .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = m->layout, .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = m->module, .pName = "main" } };
    return !vk.CreateComputePipelines(m->d, m->cache, 1, &c, NULL, &m->pipeline);
}

/* Of no groups. */
static bool runs(Made *m, uint32_t family)
{
    const VkCommandPoolCreateInfo p = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = family };
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    VkCommandBuffer b;
    VkQueue queue;
    if (vk.CreateCommandPool(m->d, &p, NULL, &m->pool))
        return false;
    const VkCommandBufferAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = m->pool, .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY, .commandBufferCount = 1 };
    if (vk.AllocateCommandBuffers(m->d, &a, &b) || vk.BeginCommandBuffer(b, &begin))
        return false;
    vk.CmdBindPipeline(b, VK_PIPELINE_BIND_POINT_COMPUTE, m->pipeline);
    vk.CmdDispatch(b, 0, 1, 1);
    vk.GetDeviceQueue(m->d, family, 0, &queue);
    const VkSubmitInfo s = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1,
        .pCommandBuffers = &b };
    return !vk.EndCommandBuffer(b) && !vk.QueueSubmit(queue, 1, &s, VK_NULL_HANDLE) &&
        !vk.QueueWaitIdle(queue);
}

static void *data_of(const Made *m, size_t *n)
{
    void *data = vk.GetPipelineCacheData(m->d, m->cache, n, NULL) ? NULL : malloc(*n + 1);
    if (data && vk.GetPipelineCacheData(m->d, m->cache, n, data))
        free(data), data = NULL;
    return data;
}

static void made_end(Made *m)
{
    if (m->pool)
        vk.DestroyCommandPool(m->d, m->pool, NULL);
    if (m->pipeline)
        vk.DestroyPipeline(m->d, m->pipeline, NULL);
    if (m->cache)
        vk.DestroyPipelineCache(m->d, m->cache, NULL);
    if (m->module)
        vk.DestroyShaderModule(m->d, m->module, NULL);
    if (m->layout)
        vk.DestroyPipelineLayout(m->d, m->layout, NULL);
    vk.DestroyDevice(m->d, NULL);
}

void *compile_vulkan(const Work *w, size_t *n)
{
    int family = find(w->driver + strlen(JOB_VULKAN)) ? compute_family() : -1;
    Made m = { .d = family < 0 ? VK_NULL_HANDLE : device_open((uint32_t)family) };
    void *data = NULL;
    if (!m.d)
        return NULL;
    if (compiles(&m, w) && runs(&m, (uint32_t)family))
        data = data_of(&m, n);
    made_end(&m);
    if (!data || *n <= HEADER)
        instance_close();
    return data;
}
