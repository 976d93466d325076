/*
 * vk.h - the Vulkan backend's own header: the loader's functions, devices, memory, executables.
 * The loader (libvulkan.so.1) is opened at run time, so a machine without one still runs everything else.
 *
 * Kernels reach memory by address (buffer device addresses), so nothing is bound: a launch pushes the
 * address of a table of its parameters' addresses, STEP, and where its part of the grid begins.
 */
#ifndef HEDDLE_VULKAN_H
#define HEDDLE_VULKAN_H

#define VK_NO_PROTOTYPES                      
#include <vulkan/vulkan_core.h>
#include <pthread.h>

#include "backend.h"
#include "units.h"
#include "fault.h"
#include "spirv.h"

#define VK_LOADER(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties) \
    X(EnumerateInstanceExtensionProperties)
#define VK_INSTANCE(X) \
    X(DestroyInstance) \
    X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties) X(GetPhysicalDeviceProperties2) \
        X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties) \
            X(GetPhysicalDeviceQueueFamilyProperties) X(CreateDevice) X(GetDeviceProcAddr)
#define VK_DEVICE(X) \
    X(DestroyDevice) \
    X(GetDeviceQueue) X(CreateBuffer) X(DestroyBuffer) X(GetBufferMemoryRequirements) X(AllocateMemory) \
        X(FreeMemory) X(BindBufferMemory) X(MapMemory) X(UnmapMemory) X(GetBufferDeviceAddress) \
            X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineLayout) X(DestroyPipelineLayout) \
                X(CreatePipelineCache) X(GetPipelineCacheData) X(DestroyPipelineCache) \
                    X(CreateComputePipelines) X(DestroyPipeline) X(CreateCommandPool) X(DestroyCommandPool) \
                        X(AllocateCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer) \
                            X(ResetCommandPool) X(CmdBindPipeline) X(CmdPushConstants) X(CmdDispatch) \
                                X(CmdPipelineBarrier) X(CmdCopyBuffer) X(QueueSubmit) X(CreateFence) \
                                    X(DestroyFence) X(WaitForFences) X(ResetFences) X(DeviceWaitIdle)
typedef struct VkApi {
#define X(f) PFN_vk##f f;
    VK_LOADER(X) VK_INSTANCE(X) VK_DEVICE(X)
#undef X
} VkApi;

/* Every call that may fail is made by these: its VkResult. Those that are not in the list do not compile. */
#define VK_FALLIBLE(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties) \
    X(EnumeratePhysicalDevices) X(CreateDevice) X(CreateBuffer) X(AllocateMemory) X(BindBufferMemory) \
    X(MapMemory) X(CreateShaderModule) X(CreatePipelineLayout) X(CreatePipelineCache) X(GetPipelineCacheData) \
    X(CreateComputePipelines) X(CreateCommandPool) X(AllocateCommandBuffers) X(BeginCommandBuffer) \
    X(EndCommandBuffer) X(ResetCommandPool) X(QueueSubmit) X(CreateFence) X(WaitForFences) X(ResetFences) \
    X(DeviceWaitIdle)
enum {
#define X(f) VK_CALL_##f,
    VK_FALLIBLE(X)
#undef X
};
extern const char *const vk_calls[];            /* their names; NULL at the end */
#define VK_TRY(api, call, ...) \
    (fault("vulkan", vk_calls[VK_CALL_##call]) ? VK_ERROR_OUT_OF_DEVICE_MEMORY : (api)->call(__VA_ARGS__))
#define VK_DO(dev, call, ...) VK_TRY(&(dev)->f, call, __VA_ARGS__)

/* What a launch pushes. `start` is read as i32 where the kernel's indices are, so its low half comes
 * first. */
typedef struct Pushed { uint64_t table; int32_t step, zero; int64_t start[3]; } Pushed;

/* A part of a block of memory. SLACK_BYTES lie before and behind what is asked for: kernels read past
 * ends. */
typedef struct VkBlock VkBlock;
typedef struct VkPiece {
    VkBlock *block; size_t size;                /* what it takes of it, slack included */
    /* the first byte behind the slack: its place in the block's buffer, */
    VkBuffer buffer; size_t at;
    uint64_t address;                           /* its address, */
    unsigned char *host;                        /* and where it is mapped; NULL: the host does not see it */
} VkPiece;

/* Commands are recorded, submitted and waited for. One owner at a time. */
typedef struct VkStream {
    VkCommandPool pool; VkCommandBuffer buffer; VkFence fence;
    bool open, runs;                            /* recorded into; submitted and not waited for */
} VkStream;

/* Which driver of which device: what it compiled is for no other. */
typedef struct VkMaker { uint32_t vendor, device, driver; uint8_t uuid[VK_UUID_SIZE]; } VkMaker;

typedef struct VkMem VkMem;
typedef struct VkDev {
    Device base;
    VkApi f;                                    /* its own functions, without the loader's dispatch */
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    /* of memory: for arrays; that the host sees (may be the same) */
    int type_near, type_host;
    bool mapped;                                /* the host sees arrays */
    VkPipelineLayout layout;
    VkMaker maker;
    uint32_t groups[3];                         /* most work-groups of a dispatch, by dimension */
    SpirvCaps caps;
    pthread_mutex_t queue_lock;                 /* submitting */
    pthread_mutex_t lock;                       /* transfers: stream and staging */
    pthread_mutex_t block_lock;
    /* of its own memory; of what the host sees. The size of the next */
    VkBlock *block[2]; size_t block_size[2];
    _Atomic bool lost;                          /* nobody knows what it is doing: it is not used any more */
    Pool pool, pinned;
    VkStream stream;
    VkPiece staging; size_t staging_size;
    Stock code;                                 /* compiled kernels in use (code.c) */
} VkDev;

struct VkMem {
    Mem base;
    VkPiece piece;
    bool pinned;
};

/* vulkan.c */
int vk_fail(VkResult, const char *what);        /* records an error, returns its code */
bool vk_lost(const VkDev *);                    /* and if so, records an error */

/* block.c */
/* with slack; host: mapped memory. false after an error */
bool vk_piece(VkDev *, size_t bytes, bool host, VkPiece *);
void vk_piece_drop(VkDev *, VkPiece *);
/* Do these bytes lie in memory that is pinned for it? Where its commands find them. */
bool vk_pinned(VkDev *, const void *bytes, VkBuffer *, size_t *at);
void vk_blocks_drop(VkDev *);                   /* those that are empty */
/* all, of a device that is lost: the driver keeps its memory */
void vk_blocks_forget(VkDev *);

/* memory.c */
int vk_alloc(Device *, size_t, Mem **);
int vk_pin(Device *, size_t, Mem **);
void vk_release(Mem *);
int vk_write(Mem *, size_t, const void *, size_t);
int vk_read(Mem *, size_t, void *, size_t);
int vk_copy(Mem *, Mem *, const Strided *);
int vk_piece_write(VkDev *, VkPiece *, size_t, const void *, size_t);   /* the piece must not be in use */
int vk_piece_read(VkDev *, VkPiece *, size_t, void *, size_t);
int vk_piece_copy(VkDev *, const VkPiece *to, const VkPiece *from, const Strided *);
void vk_pool_empty(VkDev *);

/* pipeline.c */
bool vk_stream_new(VkDev *, VkStream *);
void vk_stream_drop(VkDev *, VkStream *);
VkCommandBuffer vk_stream_open(VkDev *, VkStream *);    /* what to record into; NULL after an error */
/* submits; nothing where nothing is recorded. Until it is waited for nobody records */
int vk_stream_start(VkDev *, VkStream *);
int vk_stream_wait(VkDev *, VkStream *);        /* for what was submitted, if anything */
int vk_stream_run(VkDev *, VkStream *);         /* both */
void vk_barrier(VkDev *, VkCommandBuffer);      /* what comes sees what went before */
/* A pipeline of these words. data: of its cache, n bytes, what the driver keeps of it; in: what it kept
 * before, which is not given to another driver; out: what it keeps now, free() it, or NULL. */
typedef struct VkWords {
    const char *name;
    uint32_t *word;
    size_t n;
    double ms;                                  /* out: what the driver took */
} VkWords;
VkPipeline vk_pipeline(VkDev *, VkWords *, void **data, size_t *n);       /* NULL after an error */

/* code.c: each kernel compiled once, however many programs have it. Finds what is there. whole: NOT_YET
 * where something is missing. 0, or an error. */
int vk_code_open(Units *, VkDev *, Kernel *const *, int n, bool whole);
/* Begins to compile what is not there, and nobody compiles. wait: somebody waits. */
void vk_code_begin(Units *, bool wait);
VkPipeline vk_code_pipeline(const Units *, int k);
int vk_code_local(const Units *, int k);        /* invocations of a work-group along x */
VkWords vk_code_words(const Units *, int k);
void vk_code_stock(VkDev *);                    /* where it is kept, with nothing in it */

/* exec.c */
Exec *vk_build(Device *, Plan *);
Exec *vk_begin(Device *, Plan *);
Exec *vk_again(Device *, Plan *);
int vk_finish(Exec *);
int vk_run(Exec *, int nin, Mem *const *in, int nout, Mem **out);
void vk_drop(Exec *);
int vk_code(Exec *, Text *);

/* probe.c: what the device computes exactly, into its caps. An error code if the device fails to run
 * anything. */
int vk_probe(VkDev *);

#endif
