/* An application with its own Vulkan: it draws stars with a graphics pipeline; Heddle moves them, in the
 * same queue and without a copy. What it computes is bound as vertices. The force is the gradient of a
 * potential: nobody derives it.
 *     interop_vulkan [FILE]        a picture of where they were, after 400 steps */
#include <heddle.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>
#ifdef HAVE_PNG
#include <png.h>
#endif

enum { STARS = 4096, SIZE = 256, STEPS = 10, FRAMES = 40, FIRST = HD_PADDING };

/* gl_Position = vec4(star.xy, 0, 1), gl_PointSize = 1 */
static const uint32_t vertex[] = { 0x7230203, 66816, 0, 19, 0, 131089, 1, 196622, 0, 1, 524303, 0, 1,
    0x6e69616d, 0, 2, 3, 4, 262215, 2, 30, 0, 262215, 3, 11, 0, 262215, 4, 11, 1, 131091, 5, 196641, 6, 5,
    196630, 7, 32, 262167, 8, 7, 4, 262176, 9, 1, 8, 262176, 10, 3, 8, 262176, 11, 3, 7, 262187, 7, 12, 0,
    262187, 7, 13, 0x3f800000, 262203, 9, 2, 1, 262203, 10, 3, 3, 262203, 11, 4, 3, 327734, 5, 1, 0, 6,
    131320, 14, 262205, 8, 15, 2, 327761, 7, 16, 15, 0, 327761, 7, 17, 15, 1, 458832, 8, 18, 16, 17, 12, 13,
    196670, 3, 18, 196670, 4, 13, 65789, 65592 };
/* color = vec4(1. / 15) */
static const uint32_t fragment[] = { 0x7230203, 66816, 0, 11, 0, 131089, 1, 196622, 0, 1, 393231, 4, 1,
    0x6e69616d, 0, 2, 196624, 1, 7, 262215, 2, 30, 0, 131091, 3, 196641, 4, 3, 196630, 5, 32, 262167, 6, 5,
    4, 262176, 7, 3, 6, 262187, 5, 8, 0x3d888889, 458796, 6, 9, 8, 8, 8, 8, 262203, 7, 2, 3, 327734, 3, 1,
    0, 4, 131320, 10, 196670, 2, 9, 65789, 65592 };

/* ==================== what Heddle does: f32[4] -> f32[4], place and velocity of one star */

/* A mass in the middle, and a second one that turns around it. */
static hd potential(hd at, hd other)
{
    hd near = hd_add_c(hd_sum(hd_square(at)), .01);
    hd far = hd_add_c(hd_sum(hd_square(hd_sub(at, other))), .01);
    return hd_neg(hd_add(hd_rsqrt(near), hd_mul_c(hd_rsqrt(far), .1)));
}

static hd step(hd frame, hd k, hd star)
{
    hd time = hd_mul_c(hd_add(hd_mul_c(frame, STEPS), hd_cast(k, HD_F32)), .01);
    hd other = hd_mul_c(hd_stack(0, hd_cos(time), hd_sin(time)), 1.2);
    hd at = hd_slice_axis(star, 0, 0, 2), v = hd_slice_axis(star, 0, 2, 4);
    v = hd_sub(v, hd_mul_c(hd_apply(hd_grad(potential), at, other), .01));
    return hd_concatenate(0, hd_add(at, hd_mul_c(v, .01)), v);
}

static hd move(hd star, hd frame) { return hd_fori(hd_c(0), hd_c(STEPS), hd_partial(step, frame), star); }

/* ==================== what the application does */

typedef struct App {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan12Features v12;
    VkBuffer stars, pixels;
    VkDeviceMemory memory[3]; int nmemory;
    void *seen[2];                              /* by the host: of stars and of pixels */
    VkImage image;
    VkImageView view;
    VkRenderPass pass;
    VkFramebuffer frame;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    VkShaderModule code[2];
    VkCommandPool pool;
} App;

static bool failed(const char *what, VkResult e)
{
    return e < 0 && fprintf(stderr, "%s: Vulkan error %d\n", what, (int)e);
}
#define DO(f, ...) failed(#f, f(__VA_ARGS__))
#define TYPE(t)    .sType = VK_STRUCTURE_TYPE_##t

/* A device, a queue that draws and computes, and what Heddle wants of both. */
static bool device(App *a)
{
    const float one = 1;
    VkQueueFamilyProperties q[16];
    uint32_t n = 1, nq = 16;
    const VkApplicationInfo me = { TYPE(APPLICATION_INFO), .apiVersion = VK_API_VERSION_1_2 };
    const VkInstanceCreateInfo i = { TYPE(INSTANCE_CREATE_INFO), .pApplicationInfo = &me };
    if (vkCreateInstance(&i, NULL, &a->instance) < 0 ||
        vkEnumeratePhysicalDevices(a->instance, &n, &a->physical) < 0 || !n)
        return puts("no Vulkan device: install your GPU's driver, or mesa-vulkan-drivers"), false;
    vkGetPhysicalDeviceQueueFamilyProperties(a->physical, &nq, q);
    const VkQueueFlags both = VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT;
    while (a->family + 1 < nq && (q[a->family].queueFlags & both) != both)
        a->family++;
    a->features = (VkPhysicalDeviceFeatures2){ TYPE(PHYSICAL_DEVICE_FEATURES_2), .pNext = &a->v12 };
    a->v12 = (VkPhysicalDeviceVulkan12Features){ TYPE(PHYSICAL_DEVICE_VULKAN_1_2_FEATURES) };
    vkGetPhysicalDeviceFeatures2(a->physical, &a->features);    /* all that there are */
    const VkDeviceQueueCreateInfo c = { TYPE(DEVICE_QUEUE_CREATE_INFO), .queueFamilyIndex = a->family,
        .queueCount = 1, .pQueuePriorities = &one };
    const VkDeviceCreateInfo d = { TYPE(DEVICE_CREATE_INFO), .pNext = &a->features,
        .queueCreateInfoCount = 1, .pQueueCreateInfos = &c };
    if (DO(vkCreateDevice, a->physical, &d, NULL, &a->device))
        return false;
    vkGetDeviceQueue(a->device, a->family, 0, &a->queue);
    return true;
}

/* address: Heddle reads what lies there. */
static bool memory(App *a, VkMemoryRequirements need, VkMemoryPropertyFlags must, bool address)
{
    VkPhysicalDeviceMemoryProperties has;
    const VkMemoryAllocateFlagsInfo f = { TYPE(MEMORY_ALLOCATE_FLAGS_INFO),
        .flags = address ? VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT : 0 };
    VkMemoryAllocateInfo m = { TYPE(MEMORY_ALLOCATE_INFO), .pNext = &f, .allocationSize = need.size };
    vkGetPhysicalDeviceMemoryProperties(a->physical, &has);
    while (m.memoryTypeIndex + 1 < has.memoryTypeCount &&
        (!(need.memoryTypeBits >> m.memoryTypeIndex & 1) ||
            (has.memoryTypes[m.memoryTypeIndex].propertyFlags & must) != must))
        m.memoryTypeIndex++;
    return !DO(vkAllocateMemory, a->device, &m, NULL, &a->memory[a->nmemory++]);
}

static bool buffer(App *a, VkDeviceSize bytes, VkBufferUsageFlags usage, VkBuffer *b, void **seen)
{
    VkMemoryRequirements need;
    const VkBufferCreateInfo c = { TYPE(BUFFER_CREATE_INFO), .size = bytes, .usage = usage };
    if (DO(vkCreateBuffer, a->device, &c, NULL, b))
        return false;
    vkGetBufferMemoryRequirements(a->device, *b, &need);
    return memory(a, need, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
               usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) &&
        !DO(vkBindBufferMemory, a->device, *b, a->memory[a->nmemory - 1], 0) &&
        !DO(vkMapMemory, a->device, a->memory[a->nmemory - 1], 0, VK_WHOLE_SIZE, 0, seen);
}

/* What is drawn to: one byte a pixel, to which each star adds a fifteenth of white. */
static bool canvas(App *a)
{
    VkMemoryRequirements need;
    const VkImageCreateInfo i = { TYPE(IMAGE_CREATE_INFO), .imageType = VK_IMAGE_TYPE_2D,
        .format = VK_FORMAT_R8_UNORM, .extent = { SIZE, SIZE, 1 }, .mipLevels = 1, .arrayLayers = 1,
        .samples = VK_SAMPLE_COUNT_1_BIT,
        .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
            VK_IMAGE_USAGE_TRANSFER_DST_BIT };
    if (DO(vkCreateImage, a->device, &i, NULL, &a->image))
        return false;
    vkGetImageMemoryRequirements(a->device, a->image, &need);
    if (!memory(a, need, 0, false) ||
        DO(vkBindImageMemory, a->device, a->image, a->memory[a->nmemory - 1], 0))
        return false;
    const VkImageViewCreateInfo v = { TYPE(IMAGE_VIEW_CREATE_INFO), .image = a->image,
        .viewType = VK_IMAGE_VIEW_TYPE_2D, .format = i.format,
        .subresourceRange = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1 } };
    const VkAttachmentDescription c = { .format = i.format, .samples = VK_SAMPLE_COUNT_1_BIT,
        .loadOp = VK_ATTACHMENT_LOAD_OP_LOAD, .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
        .initialLayout = VK_IMAGE_LAYOUT_GENERAL, .finalLayout = VK_IMAGE_LAYOUT_GENERAL };
    const VkAttachmentReference r = { 0, VK_IMAGE_LAYOUT_GENERAL };
    const VkSubpassDescription s = { .colorAttachmentCount = 1, .pColorAttachments = &r };
    const VkRenderPassCreateInfo p = { TYPE(RENDER_PASS_CREATE_INFO), .attachmentCount = 1,
        .pAttachments = &c, .subpassCount = 1, .pSubpasses = &s };
    if (DO(vkCreateImageView, a->device, &v, NULL, &a->view) ||
        DO(vkCreateRenderPass, a->device, &p, NULL, &a->pass))
        return false;
    const VkFramebufferCreateInfo f = { TYPE(FRAMEBUFFER_CREATE_INFO), .renderPass = a->pass,
        .attachmentCount = 1, .pAttachments = &a->view, .width = SIZE, .height = SIZE, .layers = 1 };
    return !DO(vkCreateFramebuffer, a->device, &f, NULL, &a->frame);
}

static bool pipeline(App *a)
{
    const VkShaderModuleCreateInfo m[2] = {
        { TYPE(SHADER_MODULE_CREATE_INFO), .codeSize = sizeof vertex, .pCode = vertex },
        { TYPE(SHADER_MODULE_CREATE_INFO), .codeSize = sizeof fragment, .pCode = fragment }
    };
    const VkPipelineLayoutCreateInfo l = { TYPE(PIPELINE_LAYOUT_CREATE_INFO) };
    if (DO(vkCreateShaderModule, a->device, &m[0], NULL, &a->code[0]) ||
        DO(vkCreateShaderModule, a->device, &m[1], NULL, &a->code[1]) ||
        DO(vkCreatePipelineLayout, a->device, &l, NULL, &a->layout))
        return false;
    const VkPipelineShaderStageCreateInfo stage[2] = {
        { TYPE(PIPELINE_SHADER_STAGE_CREATE_INFO), .stage = VK_SHADER_STAGE_VERTEX_BIT,
            .module = a->code[0], .pName = "main" },
        { TYPE(PIPELINE_SHADER_STAGE_CREATE_INFO), .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
            .module = a->code[1], .pName = "main" }
    };
    const VkVertexInputBindingDescription b = { .stride = 4 * sizeof(float) };
    const VkVertexInputAttributeDescription x = { .format = VK_FORMAT_R32G32B32A32_SFLOAT };
    const VkPipelineVertexInputStateCreateInfo in = { TYPE(PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO),
        .vertexBindingDescriptionCount = 1, .pVertexBindingDescriptions = &b,
        .vertexAttributeDescriptionCount = 1, .pVertexAttributeDescriptions = &x };
    const VkPipelineInputAssemblyStateCreateInfo points = {
        TYPE(PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO), .topology = VK_PRIMITIVE_TOPOLOGY_POINT_LIST
    };
    const VkViewport port = { 0, 0, SIZE, SIZE, 0, 1 };
    const VkRect2D all = { .extent = { SIZE, SIZE } };
    const VkPipelineViewportStateCreateInfo v = { TYPE(PIPELINE_VIEWPORT_STATE_CREATE_INFO),
        .viewportCount = 1, .pViewports = &port, .scissorCount = 1, .pScissors = &all };
    const VkPipelineRasterizationStateCreateInfo r = { TYPE(PIPELINE_RASTERIZATION_STATE_CREATE_INFO),
        .lineWidth = 1 };
    const VkPipelineMultisampleStateCreateInfo one = { TYPE(PIPELINE_MULTISAMPLE_STATE_CREATE_INFO),
        .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT };
    const VkPipelineColorBlendAttachmentState add = { .blendEnable = VK_TRUE,
        .srcColorBlendFactor = VK_BLEND_FACTOR_ONE, .dstColorBlendFactor = VK_BLEND_FACTOR_ONE,
        .colorWriteMask = VK_COLOR_COMPONENT_R_BIT };
    const VkPipelineColorBlendStateCreateInfo blend = { TYPE(PIPELINE_COLOR_BLEND_STATE_CREATE_INFO),
        .attachmentCount = 1, .pAttachments = &add };
    const VkGraphicsPipelineCreateInfo p = { TYPE(GRAPHICS_PIPELINE_CREATE_INFO), .stageCount = 2,
        .pStages = stage, .pVertexInputState = &in, .pInputAssemblyState = &points, .pViewportState = &v,
        .pRasterizationState = &r, .pMultisampleState = &one, .pColorBlendState = &blend,
        .layout = a->layout, .renderPass = a->pass };
    return !DO(vkCreateGraphicsPipelines, a->device, VK_NULL_HANDLE, 1, &p, NULL, &a->pipeline);
}

/* ==================== commands: recorded, given to the queue, and not waited for */

static VkCommandBuffer begin(const App *a)
{
    VkCommandBuffer c;
    const VkCommandBufferAllocateInfo i = { TYPE(COMMAND_BUFFER_ALLOCATE_INFO), .commandPool = a->pool,
        .commandBufferCount = 1 };
    const VkCommandBufferBeginInfo b = { TYPE(COMMAND_BUFFER_BEGIN_INFO),
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT };
    return DO(vkAllocateCommandBuffers, a->device, &i, &c) || DO(vkBeginCommandBuffer, c, &b) ? NULL : c;
}

/* What stands behind it in the queue sees all of it. */
static bool give(const App *a, VkCommandBuffer c)
{
    const VkMemoryBarrier m = { TYPE(MEMORY_BARRIER), .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT };
    const VkSubmitInfo s = { TYPE(SUBMIT_INFO), .commandBufferCount = 1, .pCommandBuffers = &c };
    vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1, &m,
        0, NULL, 0, NULL);
    return !DO(vkEndCommandBuffer, c) && !DO(vkQueueSubmit, a->queue, 1, &s, VK_NULL_HANDLE);
}

static bool clear(const App *a)
{
    const VkImageSubresourceRange all = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1 };
    const VkImageMemoryBarrier m = { TYPE(IMAGE_MEMORY_BARRIER),
        .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .newLayout = VK_IMAGE_LAYOUT_GENERAL, .image = a->image, .subresourceRange = all,
        .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED, .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED };
    const VkClearColorValue black = { .float32 = { 0 } };
    VkCommandBuffer c = begin(a);
    if (!c)
        return false;
    vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, NULL, 0,
        NULL, 1, &m);
    vkCmdClearColorImage(c, a->image, VK_IMAGE_LAYOUT_GENERAL, &black, 1, &all);
    return give(a, c);
}

static bool draw(const App *a, VkBuffer stars, VkDeviceSize at)
{
    const VkRenderPassBeginInfo p = { TYPE(RENDER_PASS_BEGIN_INFO), .renderPass = a->pass,
        .framebuffer = a->frame, .renderArea = { .extent = { SIZE, SIZE } } };
    VkCommandBuffer c = begin(a);
    if (!c)
        return false;
    vkCmdBeginRenderPass(c, &p, VK_SUBPASS_CONTENTS_INLINE);
    vkCmdBindPipeline(c, VK_PIPELINE_BIND_POINT_GRAPHICS, a->pipeline);
    vkCmdBindVertexBuffers(c, 0, 1, &stars, &at);
    vkCmdDraw(c, STARS, 1, 0, 0);
    vkCmdEndRenderPass(c);
    return give(a, c);
}

/* Each frame: Heddle moves the stars, the application draws them where Heddle has put them. */
static bool film(const App *a)
{
    hd_fn *f = hd_jit(hd_vmap(move, .in_axes = { 0, HD_NONE }));
    hd_array *star =
        hd_array_from_vk("app", HD_F32, HD_INTS(STARS, 4), a->stars, FIRST, VK_NULL_HANDLE, 0);
    bool good = star;
    for (int k = 0; k < FRAMES && good; k++) {
        hd_array *frame = hd_array_scalar(HD_F32, k), *next = NULL;
        uint64_t at = 0;
        good = frame && !hd_call(f, &next, star, frame);
        VkBuffer where = good ? hd_array_vk_buffer(next, &at) : VK_NULL_HANDLE;
        good = where && draw(a, where, at);
        hd_drop(star), hd_drop(frame), star = next;
    }
    hd_drop(star);
    if (!good && hd_error()[0])
        fprintf(stderr, "%s\n", hd_error());
    return good;
}

/* As PNG where libpng is there, else as PGM, which most viewers show too. */
static bool save(const char *path, const unsigned char *grey)
{
#ifdef HAVE_PNG
    png_image image = { .version = PNG_IMAGE_VERSION,
        .width = SIZE,
        .height = SIZE,
        .format = PNG_FORMAT_GRAY };
    bool good = png_image_write_to_file(&image, path, 0, grey, 0, NULL);
#else
    FILE *f = fopen(path, "wb");
    bool good = f && fprintf(f, "P5\n%d %d\n255\n", SIZE, SIZE) > 0 && fwrite(grey, SIZE, SIZE, f) == SIZE;
    good = f && !fclose(f) && good;
#endif
    if (!good)
        perror(path);
    return good;
}

static bool picture(const App *a, const char *path)
{
    const VkBufferImageCopy all = { .imageSubresource = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1 },
        .imageExtent = { SIZE, SIZE, 1 } };
    VkCommandBuffer c = begin(a);
    int lit = 0;
    if (!c)
        return false;
    vkCmdCopyImageToBuffer(c, a->image, VK_IMAGE_LAYOUT_GENERAL, a->pixels, 1, &all);
    if (!give(a, c) || DO(vkQueueWaitIdle, a->queue))
        return false;
    const unsigned char *grey = a->seen[1];
    for (int i = 0; i < SIZE * SIZE; i++)
        lit += grey[i] > 0;
    printf("%d stars, %d frames: on %.0f%% of the picture's pixels\n", STARS, FRAMES,
        100. * lit / SIZE / SIZE);
    return !path || save(path, grey);
}

static bool setup(App *a)
{
    const VkCommandPoolCreateInfo p = { TYPE(COMMAND_POOL_CREATE_INFO), .queueFamilyIndex = a->family };
    if (!buffer(a, FIRST + 16 * STARS + HD_PADDING,
            VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT, &a->stars,
            &a->seen[0]) ||
        !buffer(a, SIZE * SIZE, VK_BUFFER_USAGE_TRANSFER_DST_BIT, &a->pixels, &a->seen[1]) || !canvas(a) ||
        !pipeline(a) || DO(vkCreateCommandPool, a->device, &p, NULL, &a->pool))
        return false;
    float *star = (float *)(void *)((char *)a->seen[0] + FIRST);
    for (int i = 0; i < STARS; i++, star += 4) {
        float angle = (float)i * 2.399963f, way = .15f + .75f * sqrtf((float)i / STARS);
        star[0] = way * cosf(angle), star[1] = way * sinf(angle);
        star[2] = -sinf(angle) / sqrtf(way), star[3] = cosf(angle) / sqrtf(way);
    }
    return clear(a);
}

static void end(const App *a)
{
    vkDestroyCommandPool(a->device, a->pool, NULL), vkDestroyPipeline(a->device, a->pipeline, NULL);
    vkDestroyPipelineLayout(a->device, a->layout, NULL), vkDestroyFramebuffer(a->device, a->frame, NULL);
    vkDestroyRenderPass(a->device, a->pass, NULL), vkDestroyImageView(a->device, a->view, NULL);
    vkDestroyImage(a->device, a->image, NULL), vkDestroyBuffer(a->device, a->stars, NULL);
    vkDestroyBuffer(a->device, a->pixels, NULL);
    for (int k = 0; k < 2; k++)
        vkDestroyShaderModule(a->device, a->code[k], NULL);
    for (int k = 0; k < a->nmemory; k++)
        vkFreeMemory(a->device, a->memory[k], NULL);
    vkDestroyDevice(a->device, NULL), vkDestroyInstance(a->instance, NULL);
}

int main(int argc, char **argv)
{
    static App a;
    if (!device(&a))
        return a.physical != NULL;
    const hd_vulkan_app app = { .instance = a.instance, .physical_device = a.physical, .device = a.device,
        .queue = a.queue, .queue_family = a.family, .api_version = VK_API_VERSION_1_2,
        .features = &a.features };
    if (hd_vulkan_device("app", &app))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    bool good = setup(&a) && film(&a) && picture(&a, argc > 1 ? argv[1] : NULL);
    vkQueueWaitIdle(a.queue);
    if (hd_device_remove("app"))
        good = fprintf(stderr, "%s\n", hd_error()) < 0;
    end(&a);
    return !good;
}
