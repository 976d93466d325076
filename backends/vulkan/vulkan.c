/*
 * vulkan.c - the loader, and every physical device that can run kernels in one list.
 *
 * In:  libvulkan.so.1, if there is one.   Out: vulkan_backend, devices vulkan:0, vulkan:1 ...
 * A device must know Vulkan 1.2 and buffer device addresses; one that does not is left out and said so. What
 * it computes exactly, and what has to be done for it, is probed when it is opened (probe.c).
 * HEDDLE_CHECK=validation turns the validation layer on, its checks of synchronization too, and its
 * complaints into errors;
 * HEDDLE_CHECK=staging copies arrays as on a graphics card also where the host sees the device's memory.
 */
#include "vk.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEVICES = 16, MAX_OPEN = 64 };
static struct {
    pthread_once_t once;
    const char *missing;
    char text[512];
    VkApi f;
    VkInstance instance;
    int n;
    VkPhysicalDevice d[MAX_DEVICES];
    bool validation, no_validation;             /* on; asked for, but not installed */
} found = { .once = PTHREAD_ONCE_INIT };

static const char *result_text(VkResult e)
{
    switch (e) {
#define X(c) case c: return #c;
    X(VK_ERROR_OUT_OF_HOST_MEMORY) X(VK_ERROR_OUT_OF_DEVICE_MEMORY) X(VK_ERROR_INITIALIZATION_FAILED)
    X(VK_ERROR_DEVICE_LOST) X(VK_ERROR_MEMORY_MAP_FAILED) X(VK_ERROR_LAYER_NOT_PRESENT)
    X(VK_ERROR_EXTENSION_NOT_PRESENT) X(VK_ERROR_FEATURE_NOT_PRESENT) X(VK_ERROR_INCOMPATIBLE_DRIVER)
    X(VK_ERROR_TOO_MANY_OBJECTS) X(VK_ERROR_UNKNOWN)
    X(VK_ERROR_INVALID_SHADER_NV) X(VK_ERROR_FRAGMENTED_POOL)
#undef X
    default: return NULL;
    }
}

int vk_fails(const VkDev *d, VkResult e, const char *what)
{
    char text[128];
    snprintf(text, sizeof text, "%s: %.90s", d->base.info.name, what);
    return vk_fail(e, text);
}

int vk_fail(VkResult e, const char *what)
{
    bool memory = e == VK_ERROR_OUT_OF_HOST_MEMORY || e == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
        e == VK_ERROR_MEMORY_MAP_FAILED || e == VK_ERROR_TOO_MANY_OBJECTS;
    const char *s = result_text(e);
    return s ? error_set(memory ? E_NOMEM : E_DEVICE, "%s: %s", what, s)
        : error_set(E_DEVICE, "%s: Vulkan error %d", what, (int)e);
}

bool vk_lost(const VkDev *d)
{
    if (d->base.lost)
        error_set(E_DEVICE,
            "%s was lost: a computation on it did not end as it should. What was on it is gone; the next "
            "program that is compiled for it opens it anew",
            d->base.info.name);
    return d->base.lost;
}

/* ==================== the instance */

/* What the validation layer says is the error of the call that it is about. */
static VKAPI_ATTR VkBool32 VKAPI_CALL complain(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
    VkDebugUtilsMessageTypeFlagsEXT type, const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity, (void)type, (void)user;
    error_set(E_INTERNAL, "Vulkan validation: %.900s", data->pMessage);
    return VK_FALSE;
}

static const VkDebugUtilsMessengerCreateInfoEXT listen = {
    .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
    .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
    .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT, .pfnUserCallback = complain };

static bool has_layer(const char *name)
{
    VkLayerProperties p[64];
    uint32_t n = 64;
    if (VK_TRY(&found.f, EnumerateInstanceLayerProperties, &n, p) < 0)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(p[i].layerName, name))
            return true;
    return false;
}

static VkResult instance_new(void)
{
    static const char *const layer[] = { "VK_LAYER_KHRONOS_validation" },
                             *const extension[] = { "VK_EXT_debug_utils", "VK_EXT_validation_features" };
    static const VkValidationFeatureEnableEXT more =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    const VkValidationFeaturesEXT features = { .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &listen, .enabledValidationFeatureCount = 1, .pEnabledValidationFeatures = &more };
    const VkApplicationInfo app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pEngineName = "heddle",
        .apiVersion = VK_API_VERSION_1_2 };
    VkInstanceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app };
    found.validation = check_wanted("validation") && has_layer(layer[0]);
    found.no_validation = check_wanted("validation") && !found.validation;
    if (found.validation) {
        c.pNext = &features;
        c.enabledLayerCount = 1, c.enabledExtensionCount = 2;
        c.ppEnabledLayerNames = layer, c.ppEnabledExtensionNames = extension;
    }
    return VK_TRY(&found.f, CreateInstance, &c, NULL, &found.instance);
}

static void listen_always(PFN_vkGetInstanceProcAddr get)        /* beyond the creation of the instance */
{
    PFN_vkCreateDebugUtilsMessengerEXT make =
        (PFN_vkCreateDebugUtilsMessengerEXT)get(found.instance, "vkCreateDebugUtilsMessengerEXT");
    VkDebugUtilsMessengerEXT m;
    if (!make || make(found.instance, &listen, NULL, &m))
        found.validation = false, found.no_validation = true;
}

/* ==================== physical devices */

static int compute_family(const VkApi *f, VkPhysicalDevice p)
{
    VkQueueFamilyProperties q[16];
    uint32_t n = 16;
    f->GetPhysicalDeviceQueueFamilyProperties(p, &n, q);
    int best = -1;
    for (uint32_t i = 0; i < n; i++)            /* one that does graphics too is the main one */
        if ((q[i].queueFlags & VK_QUEUE_COMPUTE_BIT) &&
            (best < 0 || (q[i].queueFlags & VK_QUEUE_GRAPHICS_BIT)))
            best = (int)i;
    return best;
}

static void features_of(const VkApi *f, VkPhysicalDevice p, VkFeatures *x)
{
    memset(x, 0, sizeof *x);
    x->all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, x->all.pNext = &x->v11;
    x->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, x->v11.pNext = &x->v12;
    x->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    f->GetPhysicalDeviceFeatures2(p, &x->all);
}

/* Processors behind the graphics cards: the first device is the one that people mean. */
static int rank(const VkPhysicalDeviceProperties *p)
{
    switch (p->deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 0;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 1;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return 2;
    default: return 3;
    }
}

static void list_device(VkPhysicalDevice p)
{
    VkPhysicalDeviceProperties q;
    VkFeatures x = { 0 };
    found.f.GetPhysicalDeviceProperties(p, &q);
    const char *lacks = q.apiVersion < VK_API_VERSION_1_2 ? "Vulkan 1.2" : NULL;
    if (!lacks) {
        features_of(&found.f, p, &x);
        lacks = !x.v12.bufferDeviceAddress ? "buffer device addresses"
            : !x.v12.timelineSemaphore ? "timeline semaphores"
            : compute_family(&found.f, p) < 0 ? "compute" : NULL;
    }
    if (lacks)
        snprintf(found.text, sizeof found.text, "the Vulkan device %.200s lacks %s: install a newer driver",
            q.deviceName, lacks);
    if (lacks || found.n == MAX_DEVICES)
        return;
    int at = found.n++;
    for (VkPhysicalDeviceProperties r; at > 0; at--) {
        found.f.GetPhysicalDeviceProperties(found.d[at - 1], &r);
        if (rank(&r) <= rank(&q))
            break;
        found.d[at] = found.d[at - 1];
    }
    found.d[at] = p;
}

/* Drivers may be there, but none says so. */
static void no_list(const char *call, VkResult e)
{
    const char *s = result_text(e);
    snprintf(found.text, sizeof found.text, "Vulkan devices cannot be listed: %s fails: %s", call,
        s ? s : "an unknown error");
    found.missing = found.text;
}

PFN_vkGetInstanceProcAddr vk_loader(void)
{
    void *lib = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    return lib ? (PFN_vkGetInstanceProcAddr)dlsym(lib, "vkGetInstanceProcAddr") : NULL;
}

bool vk_load(VkApi *f, VkInstance instance, PFN_vkGetInstanceProcAddr get, const char **lacks)
{
#define X(f_) \
    if ((f->f_ = (PFN_vk##f_)get(instance, "vk" #f_)) == NULL) { \
        *lacks = "the Vulkan loader has no vk" #f_ ": install a newer libvulkan1"; \
        return false; \
    }
    VK_INSTANCE(X)
#undef X
    return true;
}

static bool load_instance(PFN_vkGetInstanceProcAddr get)
{
    uint32_t version = 0;
#define X(f_) found.f.f_ = (PFN_vk##f_)get(NULL, "vk" #f_);
    VK_LOADER(X)
#undef X
    if (!found.f.EnumerateInstanceVersion || VK_TRY(&found.f, EnumerateInstanceVersion, &version) ||
        version < VK_API_VERSION_1_2) {
        found.missing = "the Vulkan loader is older than 1.2: install a newer libvulkan1";
        return false;
    }
    VkResult e = instance_new();
    if (e) {
        found.missing =
            "no Vulkan driver: install your GPU's, or apt install mesa-vulkan-drivers for a device on "
            "the processor";
        if (e != VK_ERROR_INCOMPATIBLE_DRIVER)
            no_list("vkCreateInstance", e);
        return false;
    }
    if (!vk_load(&found.f, found.instance, get, &found.missing))
        return false;
    if (found.validation)
        listen_always(get);
    return true;
}

static void find_devices(void)
{
    PFN_vkGetInstanceProcAddr get = vk_loader();
    if (!get) {
        found.missing =
            "no Vulkan loader (libvulkan.so.1): apt install libvulkan1, and mesa-vulkan-drivers for "
            "a device on the processor";
        return;
    }
    VkPhysicalDevice p[MAX_DEVICES];
    uint32_t n = MAX_DEVICES;
    if (!load_instance(get))
        return;
    VkResult e = VK_TRY(&found.f, EnumeratePhysicalDevices, found.instance, &n, p);
    if (e < 0)
        no_list("vkEnumeratePhysicalDevices", e), n = 0;
    for (uint32_t i = 0; i < n; i++)
        list_device(p[i]);
    if (found.text[0])
        found.missing = found.text;
    else if (!found.n)
        found.missing =
            "no Vulkan device: install your GPU's driver, or apt install mesa-vulkan-drivers for one on "
            "the processor";
}

static int count(void)
{
    pthread_once(&found.once, find_devices);
    return found.n;
}

static bool gpu(int index)
{
    VkPhysicalDeviceProperties p;
    found.f.GetPhysicalDeviceProperties(found.d[index], &p);
    return p.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static const char *missing(void)
{
    count();
    return found.missing;
}

/* ==================== opening a device */

/* Which widths of floats (bit 0: f16, 1: f32, 2: f64) a mode may be asked for, where the device has it for
 * `has` of them. */
static int widths(int has, VkShaderFloatControlsIndependence free)
{
    switch (free) {
    case VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_ALL: return has & 6;
    case VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_32_BIT_ONLY: return (has & 5) == 5 ? has & 7 : has & 2;
    default: return has == 7 ? 7 : 0;
    }
}

static void ask_machine(VkDev *d)
{
    Machine *m = &d->base.info.machine;
    const Lockstep f = vk_lockstep(d);
    if (!d->base.info.is_cpu || check_wanted("groups")) {
        lockstep_machine(m, &f);
        return;
    }
    *m = machine_gpu;
    processor_machine(m);
    m->local_memory = f.local;
    machine_follow(m);
}

static void describe(VkDev *d, const VkFeatures *x)
{
    DeviceInfo *i = &d->base.info;
    SpirvCaps *c = &d->caps;
    VkPhysicalDeviceDriverProperties driver = { .sType =
                                                    VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES };
    VkPhysicalDeviceFloatControlsProperties m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES, .pNext = &driver };
    VkPhysicalDeviceMaintenance3Properties most = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &m };
    VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &most };
    VkPhysicalDeviceMemoryProperties heaps;
    d->f.GetPhysicalDeviceProperties2(d->physical, &p);
    d->f.GetPhysicalDeviceMemoryProperties(d->physical, &heaps);
    i->kind = "vulkan";
    d->maker = (VkMaker){ p.properties.vendorID, p.properties.deviceID, p.properties.driverVersion, { 0 } };
    memcpy(d->maker.uuid, p.properties.pipelineCacheUUID, sizeof d->maker.uuid);
    snprintf(i->model, sizeof i->model, "%.127s", p.properties.deviceName);
    snprintf(i->driver, sizeof i->driver, "%.60s %.60s", driver.driverName, driver.driverInfo);
    i->is_cpu = i->scalar = p.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    for (uint32_t h = 0; h < heaps.memoryHeapCount; h++)
        if ((heaps.memoryHeaps[h].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            heaps.memoryHeaps[h].size > i->memory)
            i->memory = heaps.memoryHeaps[h].size;
    ask_machine(d);
    i->max_alloc = most.maxMemoryAllocationSize < i->memory ? most.maxMemoryAllocationSize : i->memory;
    i->has_i64 = x->all.features.shaderInt64 && !check_wanted("narrow");
    /* its exact fma is made of 64-bit integers */
    i->has_f64 = x->all.features.shaderFloat64 && i->has_i64;
    i->has_f16 = x->v12.shaderFloat16;
    memcpy(d->groups, p.properties.limits.maxComputeWorkGroupCount, sizeof d->groups);
    pool_new(&d->pool, i->memory);
    pool_new(&d->pinned, i->memory / 16);
    *c = (SpirvCaps){ .i64 = i->has_i64, .f64 = i->has_f64, .byte_storage = x->v12.storageBuffer8BitAccess,
        .short_storage = x->v11.storageBuffer16BitAccess,
        .bytes = x->v12.shaderInt8, .shorts = x->all.features.shaderInt16, .group = i->is_cpu ? 8 : 64 };
    c->denormals = widths((m.shaderDenormPreserveFloat16 ? 1 : 0) | (m.shaderDenormPreserveFloat32 ? 2 : 0) |
        (m.shaderDenormPreserveFloat64 ? 4 : 0), m.denormBehaviorIndependence);
    c->nearest = widths((m.shaderRoundingModeRTEFloat16 ? 1 : 0) | (m.shaderRoundingModeRTEFloat32 ? 2 : 0) |
        (m.shaderRoundingModeRTEFloat64 ? 4 : 0), m.roundingModeIndependence);
    c->specials = (m.shaderSignedZeroInfNanPreserveFloat32 ? 2 : 0) |
        (m.shaderSignedZeroInfNanPreserveFloat64 ? 4 : 0);
    if (!i->has_f64)
        c->denormals &= ~4, c->nearest &= ~4, c->specials &= ~4;
}

static int memory_type(const VkPhysicalDeviceMemoryProperties *m, VkMemoryPropertyFlags must,
    VkMemoryPropertyFlags rather)
{
    int best = -1;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++) {
        VkMemoryPropertyFlags f = m->memoryTypes[i].propertyFlags;
        if ((f & must) == must && (best < 0 || ((f & rather) == rather &&
            (m->memoryTypes[best].propertyFlags & rather) != rather)))
            best = (int)i;
    }
    return best;
}

static void choose_memory(VkDev *d)
{
    const VkMemoryPropertyFlags near = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                seen = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkPhysicalDeviceMemoryProperties m;
    VkPhysicalDeviceProperties p;
    d->f.GetPhysicalDeviceMemoryProperties(d->physical, &m);
    d->f.GetPhysicalDeviceProperties(d->physical, &p);
    d->type_host = memory_type(&m, seen, cached);
    d->type_near = memory_type(&m, near, 0);
    int both = memory_type(&m, near | seen, cached);
    bool shared = p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU ||
        p.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    d->mapped = shared && both >= 0 && !check_wanted("staging");
    if (d->mapped)
        d->type_near = both;
}

/* What is used where it is there. */
static uint32_t extensions(VkDev *d, const char *name[2])
{
    uint32_t n = 0;
    d->budget = vk_has_extension(d, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (d->budget)
        name[n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (dump_wanted("time") && vk_has_extension(d, VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME))
        name[n++] = VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME;
    return n;
}

static VkResult make_device(VkDev *d, const VkFeatures *has)
{
    const char *name[2];
    const float priority = 1;
    const VkDeviceQueueCreateInfo q = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = d->family,
        .queueCount = 1, .pQueuePriorities = &priority };
    VkPhysicalDeviceVulkan12Features v12 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .storageBuffer8BitAccess = has->v12.storageBuffer8BitAccess, .shaderInt8 = has->v12.shaderInt8,
        .timelineSemaphore = VK_TRUE, .bufferDeviceAddress = VK_TRUE };
    VkPhysicalDeviceVulkan11Features v11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = &v12,
        .storageBuffer16BitAccess = has->v11.storageBuffer16BitAccess };
    const VkPhysicalDeviceFeatures2 f = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &v11,
        { .shaderInt64 = has->all.features.shaderInt64,
            .shaderFloat64 = has->all.features.shaderFloat64,
            .shaderInt16 = has->all.features.shaderInt16 } };
    const VkDeviceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &f,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &q,
        .enabledExtensionCount = extensions(d, name),
        .ppEnabledExtensionNames = name };
    return VK_DO(d, CreateDevice, d->physical, &c, NULL, &d->device);
}

/* Its own functions; what all programs share. */
static VkResult set_up(VkDev *d)
{
    const PFN_vkGetDeviceProcAddr get = d->f.GetDeviceProcAddr;
#define X(f_) \
    if ((d->f.f_ = (PFN_vk##f_)get(d->device, "vk" #f_)) == NULL) \
        return VK_ERROR_INITIALIZATION_FAILED;
    VK_DEVICE(X)
#undef X
    if (!d->queue)
        d->f.GetDeviceQueue(d->device, d->family, 0, &d->queue);
    d->clocks = (PFN_vkGetCalibratedTimestampsEXT)get(d->device, "vkGetCalibratedTimestampsEXT");
    vk_times_open(d);
    const VkPushConstantRange r = { VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(Pushed) };
    const VkPipelineLayoutCreateInfo l = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &r };
    VkResult e = VK_DO(d, CreatePipelineLayout, d->device, &l, NULL, &d->layout);
    return e ? e : vk_queue_open(d) ? VK_SUCCESS : VK_ERROR_INITIALIZATION_FAILED;
}

/* exit() would take a driver of processors apart while its threads compute. */
static struct {
    pthread_mutex_t lock;
    VkDev *d[MAX_OPEN];
} open_ones = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void finish_all(void)
{
    pthread_mutex_lock(&open_ones.lock);
    for (int k = 0; k < MAX_OPEN; k++)
        if (open_ones.d[k] && !open_ones.d[k]->base.lost)
            vk_until(open_ones.d[k], vk_newest(open_ones.d[k]));
    pthread_mutex_unlock(&open_ones.lock);
}

/* One goes, or there is none, and one comes, or none. */
static void open_change(const VkDev *from, VkDev *to)
{
    static bool registered;
    int k = 0;
    pthread_mutex_lock(&open_ones.lock);
    while (k < MAX_OPEN && open_ones.d[k] != from)
        k++;
    if (k < MAX_OPEN)
        open_ones.d[k] = to;
    if (!registered)
        atexit(finish_all), registered = true;
    pthread_mutex_unlock(&open_ones.lock);
}

void vk_close(Device *dev)
{
    VkDev *d = (VkDev *)dev;
    open_change(d, NULL);
    vk_until(d, vk_newest(d));
    vk_pool_empty(d);
    vk_piece_drop(d, &d->staging);
    vk_stream_drop(d, &d->stream);
    if (d->device && d->f.DestroyDevice && !d->base.lost) {
        vk_blocks_drop(d);
        if (d->layout)
            d->f.DestroyPipelineLayout(d->device, d->layout, NULL);
    }
    vk_queue_close(d);
    if (d->device && d->f.DestroyDevice && !d->base.lost && !d->adopted)
        d->f.DestroyDevice(d->device, NULL);
    vk_blocks_forget(d);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->given.lock);
    pthread_mutex_destroy(&d->block_lock);
    stock_close(&d->code);
    free(d);
}

static void take_notes(VkDev *d)
{
    const SpirvCaps *c = &d->caps;
    char *s = d->base.info.notes;
    size_t n = sizeof d->base.info.notes;
    snprintf(s, n, "%s%s%s%s%s%s", c->fma[0] == FMA_NATIVE ? "" : "fma is emulated; ",
        c->exact_div[0] && c->exact_sqrt[0] ? "" : "division or square root is corrected; ",
        c->keeps_denormals[0] ? "" : "numbers below 2^-126 become 0; ",
        c->byte_storage && c->short_storage ? "" : "no arrays of 8 or 16 bits; ",
        c->loop_limit ? "the driver ends long loops, which is noticed; " : "",
        found.no_validation ? "no validation layer: apt install vulkan-validationlayers; " : "");
    size_t end = strlen(s);
    if (end)
        s[end - 2] = 0;
}

VkDev *vk_device_new(const char *name)
{
    VkDev *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "no memory for a device"), NULL;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->given.lock, NULL);
    pthread_mutex_init(&d->block_lock, NULL);
    vk_code_stock(d);
    d->base.backend = &vulkan_backend;
    snprintf(d->base.info.name, sizeof d->base.info.name, "%s", name);
    return d;
}

int vk_open(VkDev *d, const VkFeatures *has)
{
    describe(d, has);
    choose_memory(d);
    if (machine_override(&d->base.info.machine))
        return (int)error_code();
    VkResult e = d->adopted ? VK_SUCCESS : make_device(d, has);
    e = e ? e : set_up(d);
    if (e)
        return vk_fail(e, d->base.info.name);
    if (vk_probe(d))
        return (int)error_code();
    d->base.info.no_fma64 = d->base.info.has_f64 && d->caps.fma[1] != FMA_NATIVE;
    take_notes(d);
    if (!d->adopted)
        open_change(NULL, d);
    return 0;
}

static Device *open_device(int index)
{
    char name[32];
    VkFeatures has;
    snprintf(name, sizeof name, "vulkan:%d", index);
    VkDev *d = vk_device_new(name);
    if (!d)
        return NULL;
    d->f = found.f;
    d->physical = found.d[index];
    d->family = (uint32_t)compute_family(&found.f, d->physical);
    features_of(&found.f, d->physical, &has);
    if (!vk_open(d, &has))
        return &d->base;
    vk_close(&d->base);
    return NULL;
}

/* Of arrays no view without a copy: what a kernel reads past an end belongs to the allocation, which goes
 * back to the pool. */
static const void *map(Mem *m) { return ((VkMem *)m)->pinned ? ((VkMem *)m)->piece.host : NULL; }

#define X(f) "vk" #f,
const char *const vk_calls[] = { VK_FALLIBLE(X) NULL };
#undef X

const Backend vulkan_backend = {
    .kind = "vulkan",
    .driver_calls = vk_calls,
    .count = count,
    .gpu = gpu,
    .missing = missing,
    .open = open_device,
    .close = vk_close,
    .alloc = vk_alloc,
    .pin = vk_pin,
    .release = vk_release,
    .write = vk_write,
    .read = vk_read,
    .copy = vk_copy,
    .wait = vk_wait,
    .ready = vk_ready,
    .map = map,
    .build = vk_build,
    .begin = vk_begin,
    .again = vk_again,
    .finish = vk_finish,
    .run = vk_run,
    .drop = vk_drop,
    .code = vk_code,
};
