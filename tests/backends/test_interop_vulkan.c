/*
 * test_interop_vulkan.c - the application's own Vulkan: a device of its device and queue, arrays over its
 * buffers.
 *
 * In:  an instance, a device and buffers that this program makes through the loader, as an application does.
 * Out: values without a copy, in the order of its commands; semaphores both ways; errors that name what does
 * not fit; nothing left.
 */
#include <stdio.h>

#include "vk.h"
#include "suite.h"

enum { N = 1000, FIRST = 1024, BYTES = FIRST + 4 * N + HD_PADDING };

static struct App {
    VkApi f;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    VkFeatures has;
    PFN_vkSignalSemaphore signal;
    PFN_vkDestroyInstance destroy;
    hd_vulkan_app app;
    int locked, uses;
} app;

static void lock(void *user, bool locked)
{
    struct App *a = user;
    a->locked += locked ? 1 : -1, a->uses += locked;
    ck_assert(a->locked == locked);
}

static void instance_new(void)
{
    const PFN_vkGetInstanceProcAddr get = vk_loader();
    const VkApplicationInfo me = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .apiVersion = VK_API_VERSION_1_2 };
    const char *const layer[] = { "VK_LAYER_KHRONOS_validation" };
    const bool check = getenv("HEDDLE_CHECK") && strstr(getenv("HEDDLE_CHECK"), "validation");
    const VkInstanceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &me, .enabledLayerCount = check, .ppEnabledLayerNames = layer };
    const char *lacks;
    uint32_t n = 1;
    ck_assert(!((PFN_vkCreateInstance)get(NULL, "vkCreateInstance"))(&c, NULL, &app.instance));
    ck_assert_msg(vk_load(&app.f, app.instance, get, &lacks), "%s", lacks);
    ck_assert(app.f.EnumeratePhysicalDevices(app.instance, &n, &app.physical) >= 0 && n == 1);
}

/* all: what kernels may use, too. */
static void device_new(bool all)
{
    const float one = 1;
    VkFeatures *x = &app.has;
    *x = (VkFeatures){ .all = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &x->v11 },
        .v11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &x->v12 },
        .v12 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES } };
    if (all)
        app.f.GetPhysicalDeviceFeatures2(app.physical, &x->all);
    x->v12.bufferDeviceAddress = x->v12.timelineSemaphore = VK_TRUE;
    const VkDeviceQueueCreateInfo q = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueCount = 1, .pQueuePriorities = &one };
    const VkDeviceCreateInfo c = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &x->all,
        .queueCreateInfoCount = 1, .pQueueCreateInfos = &q };
    ck_assert(!app.f.CreateDevice(app.physical, &c, NULL, &app.device));
#define X(n) app.f.n = (PFN_vk##n)app.f.GetDeviceProcAddr(app.device, "vk" #n);
    VK_DEVICE(X)
#undef X
    app.signal = (PFN_vkSignalSemaphore)app.f.GetDeviceProcAddr(app.device, "vkSignalSemaphore");
    app.f.GetDeviceQueue(app.device, 0, 0, &app.queue);
    app.app = (hd_vulkan_app){ .instance = app.instance, .physical_device = app.physical,
        .device = app.device, .queue = app.queue, .api_version = VK_API_VERSION_1_2,
        .features = &x->all, .lock = lock, .user = &app };
}

/* Each test is a process of its own. false: there is no Vulkan. */
static bool open_app(bool all)
{
    if (!there("vulkan:0"))
        return false;
    instance_new(), device_new(all);
    ck_assert_msg(!hd_vulkan_device("app", &app.app), "%s", hd_error());
    return true;
}

static void close_app(void)
{
    ck_assert_msg(!hd_device_remove("app"), "%s", hd_error());
    ck_assert(app.uses && !app.locked);
    app.f.DestroyDevice(app.device, NULL), app.f.DestroyInstance(app.instance, NULL);
}

/* ==================== what the application does */

typedef struct Buf { VkBuffer b; VkDeviceMemory m; char *host; } Buf;

static Buf buffer(size_t bytes, bool address)
{
    Buf x;
    void *p;
    VkMemoryRequirements need;
    VkPhysicalDeviceMemoryProperties has;
    const VkMemoryPropertyFlags seen =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkBufferCreateInfo c = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
            (address ? VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : 0) };
    ck_assert(!app.f.CreateBuffer(app.device, &c, NULL, &x.b));
    app.f.GetBufferMemoryRequirements(app.device, x.b, &need);
    app.f.GetPhysicalDeviceMemoryProperties(app.physical, &has);
    const VkMemoryAllocateFlagsInfo flags = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = address ? VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT : 0 };
    VkMemoryAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags,
        .allocationSize = need.size };
    while ((has.memoryTypes[a.memoryTypeIndex].propertyFlags & seen) != seen)
        a.memoryTypeIndex++;
    ck_assert(!app.f.AllocateMemory(app.device, &a, NULL, &x.m) &&
        !app.f.BindBufferMemory(app.device, x.b, x.m, 0) &&
        !app.f.MapMemory(app.device, x.m, 0, VK_WHOLE_SIZE, 0, &p));
    x.host = p;
    return x;
}

static void buffer_end(Buf x)
{
    app.f.UnmapMemory(app.device, x.m);
    app.f.DestroyBuffer(app.device, x.b, NULL), app.f.FreeMemory(app.device, x.m, NULL);
}

static void put(Buf x, float value)
{
    for (int i = 0; i < N; i++)
        memcpy(x.host + FIRST + 4 * i, &(float){ value + (float)i }, 4);
}

/* In the application's queue, without a semaphore: behind what was given to it before. */
static void copy(VkBuffer from, uint64_t at, Buf to)
{
    VkCommandPool pool;
    VkCommandBuffer b;
    const VkCommandPoolCreateInfo p = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO };
    ck_assert(!app.f.CreateCommandPool(app.device, &p, NULL, &pool));
    const VkCommandBufferAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool, .commandBufferCount = 1 };
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    const VkSubmitInfo s = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1,
        .pCommandBuffers = &b };
    ck_assert(!app.f.AllocateCommandBuffers(app.device, &a, &b) && !app.f.BeginCommandBuffer(b, &begin));
    app.f.CmdCopyBuffer(b, from, to.b, 1, &(VkBufferCopy){ at, FIRST, 4 * N });
    ck_assert(!app.f.EndCommandBuffer(b) && !app.f.QueueSubmit(app.queue, 1, &s, VK_NULL_HANDLE) &&
        !app.f.DeviceWaitIdle(app.device));
    app.f.DestroyCommandPool(app.device, pool, NULL);
}

static hd_array *over(Buf x, VkSemaphore after, uint64_t value)
{
    hd_array *a = hd_array_from_vk("app", HD_F32, HD_INTS(N), x.b, FIRST, after, value);
    ck_assert_msg(a != NULL, "%s", hd_error());
    return a;
}

static void is(const float *y, float scale, float value)
{
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(y[i], scale * (value + (float)i));
}

static void holds(hd_array *a, float scale, float value)
{
    float y[N];
    ck_assert_msg(!hd_read(a, y, N), "%s", hd_error());
    is(y, scale, value);
}

static hd twice(hd x) { return hd_mul_c(x, 2); }
static hd same(hd x) { return x; }
static hd slope(hd x) { return hd_sum(hd_mul(x, x)); }

/* ==================== tests */

/* What the application writes is what a call sees, and a result lies where its own commands can read it. */
START_TEST(shared)
{
    if (!open_app(true))
        return;
    Buf x = buffer(BYTES, true), y = buffer(BYTES, false);
    hd_array *r = NULL, *g = NULL, *a;
    for (int k = 0; k < 3; k++) {
        uint64_t at = 0;
        put(x, (float)k);
        a = over(x, VK_NULL_HANDLE, 0);
        ck_assert_str_eq(hd_array_device(a), "app");
        ck_assert_msg(!hd_call(hd_jit(twice), &r, a), "%s", hd_error());
        ck_assert_msg(!hd_call(hd_grad(slope), &g, a), "%s", hd_error());
        ck_assert_str_eq(hd_array_device(r), "app");
        VkBuffer where = hd_array_vk_buffer(r, &at);
        ck_assert_msg(where != VK_NULL_HANDLE, "%s", hd_error());
        copy(where, at, y);
        is((const float *)(void *)(y.host + FIRST), 2, (float)k);
        holds(r, 2, (float)k), holds(g, 2, (float)k), holds(a, 1, (float)k);
        ck_assert(hd_array_vk_buffer(a, &at) == x.b);
        ck_assert_uint_eq(at, FIRST);
        hd_drop(a), hd_drop(r), hd_drop(g);
    }
    buffer_end(x), buffer_end(y);
    close_app();
}
END_TEST

/* The value that is given out says when the application may write again; and a result that is its argument
 * is a copy. */
START_TEST(results_are_ours)
{
    if (!open_app(true))
        return;
    Buf x = buffer(BYTES, true);
    uint64_t value = 0;
    hd_array *r = NULL, *y = NULL;
    put(x, 1);
    hd_array *a = over(x, VK_NULL_HANDLE, 0);
    ck_assert_msg(!hd_call(hd_jit(same), &r, a) && !hd_call(hd_jit(twice), &y, a), "%s", hd_error());
    VkSemaphore done = hd_array_vk_done(a, &value);
    ck_assert_msg(done != VK_NULL_HANDLE && value, "%s", hd_error());
    const VkSemaphoreWaitInfo w = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1,
        .pSemaphores = &done, .pValues = &value };
    ck_assert(!app.f.WaitSemaphores(app.device, &w, UINT64_MAX));
    put(x, 100);
    holds(r, 1, 1), holds(y, 2, 1);
    hd_drop(a), hd_drop(r), hd_drop(y);
    buffer_end(x);
    close_app();
}
END_TEST

/* Calls wait for the application's semaphore, which here only the host sets; more of them than a program of
 * Heddle's own devices would let wait. */
START_TEST(after_a_semaphore)
{
    enum { CALLS = 20 };
    if (!open_app(true))
        return;
    const VkSemaphoreTypeCreateInfo t = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
    const VkSemaphoreCreateInfo c = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &t };
    VkSemaphore go;
    Buf x = buffer(BYTES, true);
    hd_fn *f = hd_jit(twice);
    hd_array *r[CALLS];
    ck_assert(!app.f.CreateSemaphore(app.device, &c, NULL, &go));
    put(x, 100);
    hd_array *a = over(x, go, 5);
    for (int k = 0; k < CALLS; k++)
        ck_assert_msg(!hd_call(f, &r[k], a), "%s", hd_error());
    ck_assert(!hd_ready(a) && !hd_ready(r[0]));
    put(x, 3);
    const VkSemaphoreSignalInfo s = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = go,
        .value = 5 };
    ck_assert(!app.signal(app.device, &s));
    for (int k = 0; k < CALLS; k++)
        holds(r[k], 2, 3), hd_drop(r[k]);
    ck_assert(hd_ready(a));
    hd_drop(a);
    app.f.DestroySemaphore(app.device, go, NULL);
    buffer_end(x);
    close_app();
}
END_TEST

static void refuses(bool refused, const char *word)
{
    ck_assert_msg(refused && strstr(hd_error(), word), "%s", hd_error());
}

/* Kernels use what was enabled, and nothing else. */
START_TEST(no_more_than_enabled)
{
    if (!open_app(false))
        return;
    Buf x = buffer(BYTES, true);
    put(x, 4);
    hd_array *a = over(x, VK_NULL_HANDLE, 0), *r = NULL, *d = hd_array_scalar(HD_F64, 1);
    ck_assert_msg(!hd_call(hd_jit(twice, .device = "app"), &r, a), "%s", hd_error());
    holds(r, 2, 4);
    hd_drop(r), r = NULL;
    refuses(hd_call(hd_jit(twice, .device = "app"), &r, d) && !r, "f64");
    hd_drop(a), hd_drop(d);
    buffer_end(x);
    close_app();
}
END_TEST

START_TEST(told)
{
    if (!open_app(true))
        return;
    Buf x = buffer(BYTES, true);
    const hd_ints n = HD_INTS(N);
    hd_vulkan_app bad = app.app;
    uint64_t at;
    refuses(hd_vulkan_device("app", &bad), "already");
    refuses(hd_vulkan_device("1 a", &bad), "a letter");
    bad.queue_family = 99, refuses(hd_vulkan_device("b", &bad), "family 99");
    bad = app.app, bad.api_version = VK_API_VERSION_1_1;
    refuses(hd_vulkan_device("b", &bad), "1.2 is wanted");
    bad = app.app, bad.features = NULL, refuses(hd_vulkan_device("b", &bad), "NULL");
    app.has.v12.timelineSemaphore = VK_FALSE;
    refuses(hd_vulkan_device("b", &app.app), "without timelineSemaphore");
    refuses(!hd_array_from_vk("app", HD_F32, HD_INTS(8 * N), x.b, FIRST, 0, 0), "needs");
    refuses(!hd_array_from_vk("app", HD_F32, n, x.b, 16, 0, 0), "512 at least");
    refuses(!hd_array_from_vk("app", HD_F32, n, x.b, FIRST + 4, 0, 0), "a multiple");
    refuses(!hd_array_from_vk("vulkan:0", HD_F32, n, x.b, FIRST, 0, 0), "has added");
    refuses(!hd_array_from_cl("app", HD_F32, n, (void *)x.b, FIRST, NULL), "OpenCL");
    hd_array *a = over(x, VK_NULL_HANDLE, 0), *y = NULL;
    refuses(hd_device_remove("app"), "1 arrays");
    ck_assert_msg(!hd_call(hd_jit(twice, .device = "app"), &y, a), "%s", hd_error());
    hd_array *home = hd_put(y, "host");
    refuses(!hd_array_vk_buffer(home, &at), "hd_put");
    refuses(!hd_array_vk_buffer(y, NULL), "may not be NULL");
    hd_drop(a), hd_drop(y), hd_drop(home);
    buffer_end(x);
    close_app();
    refuses(hd_device_remove("app"), "no device");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interop_vulkan");
    TCase *c = suite_case(s);
    tcase_add_test(c, shared);
    tcase_add_test(c, results_are_ours);
    tcase_add_test(c, after_a_semaphore);
    tcase_add_test(c, no_more_than_enabled);
    tcase_add_test(c, told);
    return suite_run(s);
}
