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
#include "lockstep.h"
#include "replay.h"
#include "units.h"
#include "fault.h"
#include "spirv.h"

#define VK_LOADER(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties) \
    X(EnumerateInstanceExtensionProperties)
#define VK_INSTANCE(X) \
    X(DestroyInstance) \
    X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties) X(GetPhysicalDeviceProperties2) \
        X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties) \
            X(GetPhysicalDeviceMemoryProperties2) X(EnumerateDeviceExtensionProperties) \
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
                                X(CmdPipelineBarrier) X(CmdCopyBuffer) X(QueueSubmit) \
                                    X(CreateSemaphore) X(DestroySemaphore) X(GetSemaphoreCounterValue) \
                                        X(WaitSemaphores) X(DeviceWaitIdle) \
                                            X(CreateQueryPool) X(DestroyQueryPool) \
                                                X(GetQueryPoolResults) X(CmdResetQueryPool) \
                                                    X(CmdWriteTimestamp) \
    X(CreateDescriptorSetLayout) X(DestroyDescriptorSetLayout) X(CreateDescriptorPool) \
        X(DestroyDescriptorPool) X(AllocateDescriptorSets) X(UpdateDescriptorSets) X(CmdBindDescriptorSets)
typedef struct VkApi {
#define X(f) PFN_vk##f f;
    VK_LOADER(X) VK_INSTANCE(X) VK_DEVICE(X)
#undef X
} VkApi;

/* Every call that may fail is made by these: its VkResult. Those that are not in the list do not compile. */
#define VK_FALLIBLE(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties) \
    X(EnumeratePhysicalDevices) X(EnumerateDeviceExtensionProperties) X(CreateDevice) \
    X(CreateBuffer) X(AllocateMemory) X(BindBufferMemory) \
    X(MapMemory) X(CreateShaderModule) X(CreatePipelineLayout) X(CreatePipelineCache) X(GetPipelineCacheData) \
    X(CreateComputePipelines) X(CreateCommandPool) X(AllocateCommandBuffers) X(BeginCommandBuffer) \
    X(EndCommandBuffer) X(ResetCommandPool) X(QueueSubmit) X(CreateSemaphore) \
    X(GetSemaphoreCounterValue) X(WaitSemaphores) X(DeviceWaitIdle) X(CreateDescriptorSetLayout) \
    X(CreateDescriptorPool) X(AllocateDescriptorSets)
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
    uint64_t used;                              /* up to this number the queue may still use it */
} VkPiece;

/* What was given to the queue at once: its first and last kernel, and a line of the first. NULL: none. */
typedef struct VkWork {
    volatile uint32_t *cut;                     /* not 0: a loop was ended; NULL: none ever is */
    const char *first, *last;
    Loc loc;
    VkSemaphore after; uint64_t value;          /* the application's, which it waits for; NULL: none */
    VkQueryPool times; double given; int before;        /* for times.c */
} VkWork;

/* These have failed. */
typedef enum VkWhy { VK_WAS_CUT, VK_WAS_LOST } VkWhy;
typedef struct VkBad { uint64_t from, to; VkWhy why; Loc loc; char first[64], last[64]; } VkBad;

/* How what was given to the queue ends (queue.c). It has numbers from 1, in the order in which it was given:
 * the values of the semaphore. */
enum { VK_BAD_MAX = 8 };
typedef struct VkGivenTo {
    VkSemaphore timeline;
    pthread_mutex_t lock;                       /* of the queue, too */
    VkWork *ring; size_t head, n, cap;          /* of what was not yet seen to end */
    _Atomic uint64_t ended;                     /* as much has, well or not; ring[head] is next */
    _Atomic int nbad;
    VkBad bad[VK_BAD_MAX];
} VkGivenTo;

/* Commands are recorded, and given to the queue. One owner at a time. */
typedef struct VkStream {
    VkCommandPool pool; VkCommandBuffer buffer;
    bool open;                                  /* recorded into */
    uint64_t number;                            /* by which the queue knows what was given last */
    VkQueryPool times;                          /* NULL: nobody wants to know */
} VkStream;

/* Clocks, in milliseconds: the device's is `ahead` of the host's, if that is known. */
typedef struct VkTimes { bool wanted, known; uint32_t bits; double tick, began, ahead; } VkTimes;

/* A launch, whose parameters' addresses lie at that place of the table; without a kernel a copy. It is
 * compared byte by byte. */
typedef struct VkCommand {
    const Kernel *kernel; VkPipeline pipeline;
    int64_t group, step; size_t at;
    VkBuffer from, to; VkBufferCopy copy;
} VkCommand;

typedef struct VkFlight {
    VkStream stream;
    VkPiece table; size_t used;
    VkCommand *command; int n, cap;             /* as recorded */
    int at;                                     /* of the call: as many were given */
    bool kept;                                  /* the recording is whole, and can be given again */
    bool copies; unsigned destroyed;            /* it names buffers, when so many were gone */
} VkFlight;

/* All flights of a program. */
enum { FLIGHTS = 8, MOST_FLIGHTS = 256 };
typedef struct VkFlights {
    struct VkDev *d;
    size_t table;                               /* bytes of each */
    VkFlight *all[MOST_FLIGHTS], *now; int n, most;
    uint64_t first, last;                       /* numbers: the first of this call, 0: none; the last */
} VkFlights;

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
    VkGivenTo given;
    VkTimes times;
    PFN_vkGetCalibratedTimestampsEXT clocks;    /* NULL: it has none */
    bool budget;                                /* it says how much memory is left (VK_EXT_memory_budget) */
    pthread_mutex_t lock;                       /* transfers: stream and staging */
    pthread_mutex_t block_lock;
    /* of its own memory; of what the host sees. The size of the next */
    VkBlock *block[2]; size_t block_size[2], taken[2];  /* bytes of all of them */
    _Atomic unsigned destroyed;                 /* buffers so far: their handles may come again */
    Pool pool, pinned;
    VkStream stream;
    VkPiece staging; size_t staging_size;
    Stock code;                                 /* compiled kernels in use (code.c) */
    /* Device and queue are the application's (adopt.c), which may use the queue but while it is locked. */
    bool adopted;
    void (*locks)(void *user, bool locked); void *user;
} VkDev;

struct VkMem {
    Mem base;
    VkPiece piece;
    bool pinned;
    /* numbers: of what ends computing it; of the last that uses it. 0: none */
    _Atomic uint64_t written, used;
};

/* What a device can do, of what is asked. */
typedef struct VkFeatures {
    VkPhysicalDeviceFeatures2 all;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
} VkFeatures;

/* vulkan.c */
VkDev *vk_device_new(const char *name);         /* without anything of Vulkan's; NULL after an error */
/* Physical device, family and functions of the instance are set; of one that is adopted device and queue,
 * too. 0, or an error: vk_close it. */
int vk_open(VkDev *, const VkFeatures *);
void vk_close(Device *);
PFN_vkGetInstanceProcAddr vk_loader(void);      /* the system's; NULL: none */
bool vk_load(VkApi *, VkInstance, PFN_vkGetInstanceProcAddr, const char **lacks);   /* its functions */
int vk_fail(VkResult, const char *what);        /* records an error, returns its code */
int vk_fails(const VkDev *, VkResult, const char *what);        /* the same, and names the device */
bool vk_lost(const VkDev *);                    /* and if so, records an error */

/* machine.c */
bool vk_has_extension(VkDev *, const char *name);
Lockstep vk_lockstep(VkDev *);

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
int vk_wait(Mem *);
bool vk_ready(Mem *);
void vk_mem_used(VkMem *, uint64_t number, bool writes);
int vk_copy(Mem *, Mem *, const Strided *);
int vk_piece_write(VkDev *, VkPiece *, size_t, const void *, size_t);   /* the piece must not be in use */
int vk_piece_read(VkDev *, VkPiece *, size_t, void *, size_t);
int vk_piece_copy(VkDev *, const VkPiece *to, const VkPiece *from, const Strided *);
void vk_pool_empty(VkDev *);

/* queue.c */
bool vk_queue_open(VkDev *);                    /* false after an error */
void vk_queue_close(VkDev *);
/* Gives it to the queue, which knows it by that number; NULL: nothing to do but wait. 0, or an error */
int vk_give(VkDev *, VkCommandBuffer, const VkWork *, uint64_t *number);
bool vk_pending(VkDev *, uint64_t number);
uint64_t vk_newest(VkDev *);                    /* the number of what was given last */
/* Until that and all before it have ended, however. An error: that is not known, but nothing runs. */
VkResult vk_until(VkDev *, uint64_t number);
int vk_outcome(VkDev *, uint64_t from, uint64_t to);    /* 0, or why one of them has failed, if it is seen */
int vk_wait_for(VkDev *, uint64_t from, uint64_t to);   /* both */

/* pipeline.c */
bool vk_stream_new(VkDev *, VkStream *);
void vk_stream_drop(VkDev *, VkStream *);
/* what to record into; NULL after an error. What was given last has ended */
VkCommandBuffer vk_stream_open(VkDev *, VkStream *, VkCommandBufferUsageFlags);
int vk_stream_start(VkDev *, VkStream *, const VkWork *);       /* gives it to the queue, perhaps again */
int vk_stream_run(VkDev *, VkStream *);         /* and waits */
void vk_barrier(VkDev *, VkCommandBuffer);      /* what comes sees what went before */

/* times.c: HEDDLE_DUMP=time */
void vk_times_open(VkDev *);
double vk_times_now(const VkDev *);
VkQueryPool vk_times_new(VkDev *);              /* NULL: nobody wants to know */
void vk_times_begin(VkDev *, VkCommandBuffer, VkQueryPool);
void vk_times_end(VkDev *, VkCommandBuffer, VkQueryPool);
void vk_times_tell(VkDev *, uint64_t number, const VkWork *);

/* flight.c */
void vk_flights_open(VkFlights *, VkDev *, size_t table);       /* bytes of addresses */
void vk_flights_close(VkFlights *);             /* waits */
int vk_flights_ready(VkFlights *);              /* one is there. 0, or an error, as all of these */
int vk_flights_launch(VkFlights *, VkCommand, const uint64_t *address);
int vk_flights_copy(VkFlights *, VkCommand);
int vk_flights_start(VkFlights *);              /* what was given so far begins */
int vk_flights_wait(VkFlights *);               /* for all of this call, or all that others gave before it */
void vk_flights_stop(VkFlights *);              /* after an error: what has not begun is forgotten */

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

/* user.c: kernels of the user's, of one program */
typedef struct VkUser VkUser;
int vk_user_launch(
    VkDev *, VkUser **, const UserKernel *, int n, const UserArg *, uint64_t *number);  /* 0, or an error */
void vk_users_drop(VkDev *, VkUser **);

/* probe.c: what the device computes exactly, into its caps. An error code if the device fails to run
 * anything. */
int vk_probe(VkDev *);

#endif
