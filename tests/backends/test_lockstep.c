/*
 * test_lockstep.c - which machine a device gets that runs work-items in groups: what drivers say is
 * pretended, since no driver here is a GPU's.
 */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"
#include "suite_run.h"
#include "vk.h"

/* ==================== from what is said */

static Machine machine_of(Lockstep f)
{
    Machine m;
    lockstep_machine(&m, &f);
    return m;
}

static const Lockstep large = { .lanes = 32, .items = 1024, .side = { 1024, 1024 }, .local = 48 << 10,
                                .cores = 132, .line = 128, .l2 = 50 << 20 };

START_TEST(what_is_said_is_taken)
{
    Machine m = machine_of(large);
    ck_assert_int_eq(m.lanes, 32);
    ck_assert_int_eq(m.group_items, 512);       /* 48 KiB are enough for so many */
    ck_assert_int_eq(m.cores, 132);
    ck_assert_int_eq(m.l2, 50 << 20);
    ck_assert_int_eq(m.local_memory, 48 << 10);
    ck_assert_int_ge(m.core_local, m.local_memory);
    ck_assert_int_eq(m.columns, 8 * 132 * 32);  /* what follows from it */
    ck_assert_int_eq(m.core_registers, machine_gpu.core_registers);     /* what is not said */
}
END_TEST

START_TEST(small_and_silent_devices)
{
    Lockstep f = large;
    f.lanes = 1;                                /* nobody knows */
    ck_assert_int_eq(machine_of(f).lanes, machine_gpu.lanes);
    f.lanes = 24;
    ck_assert_int_eq(machine_of(f).lanes, 16);
    f.lanes = 128;
    ck_assert_int_eq(machine_of(f).lanes, 64);
    f = large, f.items = 896;
    ck_assert_int_eq(machine_of(f).group_items, 512);
    f = large, f.side[1] = 100;
    ck_assert_int_eq(machine_of(f).group_items, 64);
    f = large, f.local = 16 << 10;              /* the least that Vulkan lets a device have */
    ck_assert_int_eq(machine_of(f).group_items, 128);
    ck_assert_int_eq(machine_of((Lockstep){ 0 }).group_items, 1);       /* as where groups are of one item */
    f = large, f.local = 0;
    ck_assert_int_eq(machine_of(f).group_items, 1);
}
END_TEST

/* ==================== OpenCL */

typedef struct Said { cl_device_info what; size_t n; size_t v[3]; } Said;
static const Said *pretended;

/* Sizes are size_t in the lists and numbers of 32 or 64 bits elsewhere; all in our order of bytes. */
static cl_int CL_API_CALL pretend(cl_device_id d, cl_device_info what, size_t room, void *to, size_t *n)
{
    (void)d;
    for (const Said *s = pretended; s->what; s++)
        if (s->what == what) {
            if (s->n > room)
                return CL_INVALID_VALUE;
            memcpy(to, s->v, s->n);
            *n = s->n;
            return CL_SUCCESS;
        }
    return CL_INVALID_VALUE;
}

static const Said intel[] = { { CL_DEVICE_MAX_WORK_GROUP_SIZE, 8, { 512 } },
    { CL_DEVICE_MAX_WORK_ITEM_SIZES, 24, { 512, 512, 512 } }, { 0x4108, 24, { 8, 16, 32 } },
    { CL_DEVICE_LOCAL_MEM_SIZE, 8, { 64 << 10 } }, { CL_DEVICE_MAX_COMPUTE_UNITS, 4, { 160 } },
    { CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, 8, { 18 << 20 } }, { 0 } };
static const Said nvidia[] = { { CL_DEVICE_MAX_WORK_GROUP_SIZE, 8, { 1024 } },
    { CL_DEVICE_MAX_WORK_ITEM_SIZES, 24, { 1024, 1024, 64 } }, { 0x4003, 4, { 32 } },
    { 0x4002, 4, { 32768 } }, { CL_DEVICE_LOCAL_MEM_SIZE, 8, { 48 << 10 } },
    { CL_DEVICE_MAX_COMPUTE_UNITS, 4, { 132 } }, { 0 } };
static const Said amd[] = { { CL_DEVICE_MAX_WORK_GROUP_SIZE, 8, { 256 } },
    { CL_DEVICE_MAX_WORK_ITEM_SIZES, 24, { 1024, 1024, 1024 } }, { 0x4043, 4, { 64 } },
    { CL_DEVICE_LOCAL_MEM_SIZE, 8, { 64 << 10 } }, { 0x4047, 4, { 128 << 10 } }, { 0 } };
/* OpenCL 3.0, no extension */
static const Said third[] = { { CL_DEVICE_MAX_WORK_GROUP_SIZE, 8, { 128 } },
    { CL_DEVICE_MAX_WORK_ITEM_SIZES, 24, { 128, 128, 128 } }, { 0x1067, 8, { 16 } },
    { CL_DEVICE_LOCAL_MEM_SIZE, 8, { 32 << 10 } }, { 0 } };
static const struct { const Said *said; int64_t lanes, group, cores, registers, local; } drivers[] = {
    { intel, 32, 512, 160, 65536, 96 << 10 },
    { nvidia, 32, 512, 132, 32768, 96 << 10 },
    { amd, 64, 256, 16, 65536, 128 << 10 },
    { third, 16, 128, 16, 65536, 96 << 10 },
};

START_TEST(opencl_devices)
{
    ocl.clGetDeviceInfo = pretend, pretended = drivers[_i].said;
    Machine m = machine_of(ocl_lockstep(NULL));
    ck_assert_int_eq(m.lanes, drivers[_i].lanes);
    ck_assert_int_eq(m.group_items, drivers[_i].group);
    ck_assert_int_eq(m.cores, drivers[_i].cores);
    ck_assert_int_eq(m.core_registers, drivers[_i].registers);
    ck_assert_int_eq(m.core_local, drivers[_i].local);
}
END_TEST

/* ==================== Vulkan */

static const char *extension;

static VKAPI_ATTR VkResult VKAPI_CALL list(VkPhysicalDevice p, const char *layer, uint32_t *n,
    VkExtensionProperties *to)
{
    (void)p, (void)layer;
    *n = extension ? 1 : 0;
    if (extension)
        strcpy(to->extensionName, extension);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice p, VkPhysicalDeviceProperties2 *all)
{
    (void)p;
    VkPhysicalDeviceLimits *l = &all->properties.limits;
    l->maxComputeWorkGroupInvocations = 1024, l->maxComputeSharedMemorySize = 48 << 10;
    l->maxComputeWorkGroupSize[0] = l->maxComputeWorkGroupSize[1] = 1024;
    l->maxComputeWorkGroupSize[2] = 64;
    for (VkBaseOutStructure *s = all->pNext; s; s = s->pNext) {
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES)
            ((VkPhysicalDeviceSubgroupProperties *)(void *)s)->subgroupSize = 32;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV) {
            VkPhysicalDeviceShaderSMBuiltinsPropertiesNV *x = (void *)s;
            x->shaderSMCount = 132, x->shaderWarpsPerSM = 64;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD) {
            VkPhysicalDeviceShaderCorePropertiesAMD *x = (void *)s;
            x->shaderEngineCount = 6, x->shaderArraysPerEngineCount = 2, x->computeUnitsPerShaderArray = 8;
            x->simdPerComputeUnit = 2, x->wavefrontsPerSimd = 16, x->vgprsPerSimd = 1536;
        }
    }
}

static const struct { const char *extension; int64_t cores, items, registers; } makers[] = {
    { NULL, 16, 2048, 65536 },
    { VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME, 132, 2048, 65536 },
    { VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME, 96, 1024, 98304 },
};

START_TEST(vulkan_devices)
{
    VkDev *d = calloc(1, sizeof *d);
    d->f.EnumerateDeviceExtensionProperties = list, d->f.GetPhysicalDeviceProperties2 = properties;
    extension = makers[_i].extension;
    Machine m = machine_of(vk_lockstep(d));
    ck_assert_int_eq(m.lanes, 32);
    ck_assert_int_eq(m.group_items, 512);
    ck_assert_int_eq(m.cores, makers[_i].cores);
    ck_assert_int_eq(m.core_items, makers[_i].items);
    ck_assert_int_eq(m.core_registers, makers[_i].registers);
    free(d);
}
END_TEST

/* ==================== the devices here, asked as GPUs are */

static const char *const device[] = { "opencl:0", "vulkan:0" };

START_TEST(devices_here)
{
    for (int groups = 0; groups < 2; groups++) {
        setenv("HEDDLE_CHECK", groups ? "groups" : "", 1);
        Device *d = device_find(device[_i]);
        if (!d)
            return;
        ck_assert_msg((d->info.machine.group_items > 1) == (groups || !d->info.is_cpu),
            "%s: groups of %lld items", device[_i], (long long)d->info.machine.group_items);
        device_close_all();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lockstep");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, what_is_said_is_taken);
    tcase_add_test(c, small_and_silent_devices);
    tcase_add_loop_test(c, opencl_devices, 0, sizeof drivers / sizeof *drivers);
    tcase_add_loop_test(c, vulkan_devices, 0, sizeof makers / sizeof *makers);
    tcase_add_loop_test(c, devices_here, 0, 2);
    suite_add_tcase(s, c);
    return suite_run(s);
}
