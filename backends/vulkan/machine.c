/*
 * machine.c - what a Vulkan device says of how it runs work-items.
 *
 * In:  a device. Out: its Lockstep. How many cores there are, and what each has, Vulkan itself does not say:
 * three makers' extensions do.
 */
#include "vk.h"

#include <string.h>

bool vk_has_extension(VkDev *d, const char *name)
{
    VkExtensionProperties p[512];
    uint32_t n = sizeof p / sizeof *p;
    if (VK_DO(d, EnumerateDeviceExtensionProperties, d->physical, NULL, &n, p) < 0)
        return false;
    for (uint32_t k = 0; k < n; k++)
        if (!strcmp(p[k].extensionName, name))
            return true;
    return false;
}

/* Appended to what is asked for where the device has the extension. */
static void ask(VkDev *d, const char *extension, VkPhysicalDeviceProperties2 *all, void *part)
{
    VkBaseOutStructure *one = part;
    if (vk_has_extension(d, extension))
        one->pNext = all->pNext, all->pNext = part;
}

Lockstep vk_lockstep(VkDev *d)
{
    VkPhysicalDeviceSubgroupProperties subgroup = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES };
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV };
    VkPhysicalDeviceShaderCorePropertiesAMD amd = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD };
    VkPhysicalDeviceShaderCoreBuiltinsPropertiesARM arm = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_BUILTINS_PROPERTIES_ARM };
    VkPhysicalDeviceProperties2 p = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &subgroup };
    ask(d, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME, &p, &nv);
    ask(d, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME, &p, &amd);
    ask(d, VK_ARM_SHADER_CORE_BUILTINS_EXTENSION_NAME, &p, &arm);
    d->f.GetPhysicalDeviceProperties2(d->physical, &p);
    const VkPhysicalDeviceLimits *l = &p.properties.limits;
    int64_t lanes = subgroup.subgroupSize, units = (int64_t)amd.shaderEngineCount *
        amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray,
            subgroups = (int64_t)amd.simdPerComputeUnit * amd.wavefrontsPerSimd;
    return (Lockstep){ .lanes = lanes, .items = l->maxComputeWorkGroupInvocations,
        .side = { l->maxComputeWorkGroupSize[0], l->maxComputeWorkGroupSize[1] },
        .local = l->maxComputeSharedMemorySize,
        .cores = units + nv.shaderSMCount + arm.shaderCoreCount,        /* of one of them */
        .core_items = lanes * (subgroups + nv.shaderWarpsPerSM + arm.shaderWarpsPerCore),
        .core_registers = lanes * amd.simdPerComputeUnit * amd.vgprsPerSimd };
}
