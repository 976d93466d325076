/*
 * vk.h - the Vulkan backend's own header: the loader's functions, devices, memory, executables.
 * The loader (libvulkan.so.1) is opened at run time, so a machine without one still runs everything else.
 *
 * Kernels reach memory by address (buffer device addresses), so nothing is bound: a launch pushes the address of a
 * table of its parameters' addresses, STEP, and where its part of the grid begins.
 */
#ifndef HEDDLE_VULKAN_H
#define HEDDLE_VULKAN_H

#define VK_NO_PROTOTYPES                      
#include <vulkan/vulkan_core.h>
#include <pthread.h>

#include "backend.h"
#include "spirv.h"

#define VK_LOADER(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties) \
    X(EnumerateInstanceExtensionProperties)
#define VK_INSTANCE(X) \
    X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties) X(GetPhysicalDeviceProperties2) \
    X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties) X(GetPhysicalDeviceQueueFamilyProperties) \
    X(CreateDevice) X(GetDeviceProcAddr)
#define VK_DEVICE(X) \
    X(DestroyDevice) X(GetDeviceQueue) X(CreateBuffer) X(DestroyBuffer) X(GetBufferMemoryRequirements) \
    X(AllocateMemory) X(FreeMemory) X(BindBufferMemory) X(MapMemory) X(UnmapMemory) X(GetBufferDeviceAddress) \
    X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineLayout) X(DestroyPipelineLayout) \
    X(CreateComputePipelines) X(DestroyPipeline) X(CreateCommandPool) X(DestroyCommandPool) \
    X(AllocateCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer) X(ResetCommandPool) X(CmdBindPipeline) \
    X(CmdPushConstants) X(CmdDispatch) X(CmdPipelineBarrier) X(CmdCopyBuffer) X(QueueSubmit) X(CreateFence) \
    X(DestroyFence) X(WaitForFences) X(ResetFences) X(DeviceWaitIdle)
typedef struct VkApi {
#define X(f) PFN_vk##f f;
    VK_LOADER(X) VK_INSTANCE(X) VK_DEVICE(X)
#undef X
} VkApi;

/* What a launch pushes. `start` is read as i32 where the kernel's indices are, so its low half comes first. */
typedef struct Pushed { uint64_t table; int32_t step, zero; int64_t start[3]; } Pushed;

/* A buffer with memory of its own. SLACK bytes lie before and behind what is asked for: kernels read past ends. */
enum { SLACK = 512 };
typedef struct VkPiece {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t address;                           /* of the first byte behind the slack */
    unsigned char *host;                        /* the same byte, mapped; NULL: the host does not see it */
} VkPiece;

/* Commands are recorded, submitted and waited for. One owner at a time. */
typedef struct VkStream { VkCommandPool pool; VkCommandBuffer buffer; VkFence fence; bool open; } VkStream;

typedef struct VkMem VkMem;
typedef struct VkDev {
    Device base;
    VkApi f;                                    /* its own functions, without the loader's dispatch */
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    int type_near, type_host;                   /* of memory: for arrays; that the host sees (may be the same) */
    bool mapped;                                /* the host sees arrays */
    VkPipelineLayout layout;
    uint32_t groups[3];                         /* most work-groups of a dispatch, by dimension */
    SpirvCaps caps;
    pthread_mutex_t queue_lock;                 /* submitting */
    pthread_mutex_t lock;                       /* transfers: stream and staging */
    Pool pool;
    VkStream stream;
    VkPiece staging; size_t staging_size;
} VkDev;

struct VkMem {
    Mem base;
    VkPiece piece;
};

/* vulkan.c */
int vk_fail(VkResult, const char *what);        /* records an error, returns its code */

/* memory.c */
/* with slack; host: mapped memory. false after an error */
bool vk_piece(VkDev *, size_t bytes, bool host, VkPiece *);
void vk_piece_drop(VkDev *, VkPiece *);
int vk_alloc(Device *, size_t, Mem **);
void vk_release(Mem *);
int vk_write(Mem *, size_t, const void *, size_t);
int vk_read(Mem *, size_t, void *, size_t);
int vk_piece_write(VkDev *, VkPiece *, size_t, const void *, size_t);   /* the piece must not be in use */
int vk_piece_read(VkDev *, VkPiece *, size_t, void *, size_t);
void vk_pool_empty(VkDev *);

/* pipeline.c */
bool vk_stream_new(VkDev *, VkStream *);
void vk_stream_drop(VkDev *, VkStream *);
VkCommandBuffer vk_stream_open(VkDev *, VkStream *);    /* what to record into; NULL after an error */
int vk_stream_run(VkDev *, VkStream *);         /* submits and waits; nothing where nothing is recorded */
void vk_barrier(VkDev *, VkCommandBuffer);      /* what comes sees what went before */
VkPipeline vk_pipeline(VkDev *, const char *name, const uint32_t *words, size_t n);      /* NULL after an error */

/* exec.c */
Exec *vk_build(Device *, Plan *);
int vk_run(Exec *, int nin, Mem *const *in, int nout, Mem **out);
void vk_drop(Exec *);
int vk_code(Exec *, Text *);

/* probe.c: what the device computes exactly, into its caps. An error code if the device fails to run anything. */
int vk_probe(VkDev *);

#endif
