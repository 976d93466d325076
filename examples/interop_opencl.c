/* An application with its own OpenCL: it makes stars and draws them with kernels of its own; Heddle moves
 * them, in the same queue and without a copy. The force is the gradient of a potential: nobody derives it.
 *     interop_opencl [FILE]        a picture of where they were, after 400 steps */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <heddle.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_PNG
#include <png.h>
#endif

enum { STARS = 4096, SIZE = 256, STEPS = 10, FRAMES = 40 };

static const char *const text =
    "__kernel void make(__global float *star, uint first)\n"
    "{\n"
    "    uint i = get_global_id(0), n = get_global_size(0);\n"
    "    float angle = i * 2.399963f, way = .15f + .75f * sqrt((float)i / n);\n"
    "    star += first + 4 * i;\n"
    "    star[0] = way * cos(angle), star[1] = way * sin(angle);\n"
    "    star[2] = -sin(angle) / sqrt(way), star[3] = cos(angle) / sqrt(way);\n"
    "}\n"
    "__kernel void draw(__global const float *star, uint first, __global uint *pixel, int size)\n"
    "{\n"
    "    star += first + 4 * get_global_id(0);\n"
    "    int x = (int)((star[0] + 1) * size / 2), y = (int)((star[1] + 1) * size / 2);\n"
    "    if (x >= 0 && x < size && y >= 0 && y < size)\n"
    "        atomic_inc(pixel + y * size + x);\n"
    "}\n";

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
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
    cl_program program;
    cl_kernel make, draw;
    cl_mem stars, pixels;
    size_t first;                               /* byte of the first star: Heddle may read before it */
} App;

static int failed(const char *what, cl_int e)
{
    return e ? fprintf(stderr, "%s: OpenCL error %d\n", what, e), 1 : 0;
}

static cl_mem buffer(const App *a, size_t bytes)
{
    cl_int e;
    cl_mem m = clCreateBuffer(a->context, CL_MEM_READ_WRITE, bytes, NULL, &e);
    return failed("clCreateBuffer", e) ? NULL : m;
}

static int setup(App *a)
{
    cl_platform_id platform;
    cl_int e;
    cl_uint align = 0, zero = 0;
    if (clGetPlatformIDs(1, &platform, NULL) ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &a->device, NULL))
        return puts("no OpenCL device: install your GPU's driver, or pocl-opencl-icd"), 1;
    clGetDeviceInfo(a->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align, &align, NULL);
    a->first = align / 8 > HD_PADDING ? align / 8 : HD_PADDING;
    a->context = clCreateContext(NULL, 1, &a->device, NULL, NULL, &e);
    if (failed("clCreateContext", e))
        return 1;
    a->queue = clCreateCommandQueue(a->context, a->device, 0, &e);
    if (failed("clCreateCommandQueue", e))
        return 1;
    a->program = clCreateProgramWithSource(a->context, 1, (const char **)&text, NULL, &e);
    if (failed("clCreateProgramWithSource", e) ||
        failed("clBuildProgram", clBuildProgram(a->program, 1, &a->device, "", NULL, NULL)))
        return 1;
    a->make = clCreateKernel(a->program, "make", &e), a->draw = clCreateKernel(a->program, "draw", &e);
    a->stars = buffer(a, a->first + 16 * STARS + HD_PADDING);
    a->pixels = buffer(a, sizeof(cl_uint) * SIZE * SIZE);
    return !a->make || !a->draw || !a->stars || !a->pixels ||
        failed("clEnqueueFillBuffer",
            clEnqueueFillBuffer(
                a->queue, a->pixels, &zero, sizeof zero, 0, sizeof zero * SIZE * SIZE, 0, NULL, NULL));
}

static int launch(const App *a, cl_kernel k, cl_mem stars, size_t at)
{
    const cl_uint first = (cl_uint)(at / sizeof(float));
    const int size = SIZE;
    const size_t stars_there = STARS;
    cl_int e = clSetKernelArg(k, 0, sizeof stars, &stars);
    e = e ? e : clSetKernelArg(k, 1, sizeof first, &first);
    if (!e && k == a->draw)
        e = clSetKernelArg(k, 2, sizeof a->pixels, &a->pixels) || clSetKernelArg(k, 3, sizeof size, &size);
    return failed("clEnqueueNDRangeKernel",
        e ? e : clEnqueueNDRangeKernel(a->queue, k, 1, NULL, &stars_there, NULL, 0, NULL, NULL));
}

/* Each frame: Heddle moves the stars, the application draws them where Heddle has put them. */
static int film(const App *a)
{
    hd_fn *f = hd_jit(hd_vmap(move, .in_axes = { 0, HD_NONE }));
    hd_array *star = hd_array_from_cl("app", HD_F32, HD_INTS(STARS, 4), a->stars, a->first, NULL);
    int bad = !star;
    for (int k = 0; k < FRAMES && !bad; k++) {
        hd_array *frame = hd_array_scalar(HD_F32, k), *next = NULL;
        size_t at = 0;
        bad = !frame || hd_call(f, &next, star, frame);
        cl_mem where = bad ? NULL : hd_array_cl_mem(next, &at);
        bad = !where || launch(a, a->draw, where, at);
        hd_drop(star), hd_drop(frame), star = next;
    }
    hd_drop(star);
    if (bad && hd_error()[0])
        fprintf(stderr, "%s\n", hd_error());
    return bad;
}

/* As PNG where libpng is there, else as PGM, which most viewers show too. */
static int save(const char *path, const unsigned char *grey)
{
#ifdef HAVE_PNG
    png_image image = { .version = PNG_IMAGE_VERSION,
        .width = SIZE,
        .height = SIZE,
        .format = PNG_FORMAT_GRAY };
    return png_image_write_to_file(&image, path, 0, grey, 0, NULL) ? 0 : (perror(path), 1);
#else
    FILE *f = fopen(path, "wb");
    int bad = !f || fprintf(f, "P5\n%d %d\n255\n", SIZE, SIZE) < 0 || fwrite(grey, SIZE, SIZE, f) < SIZE;
    bad |= f && fclose(f);
    return bad ? (perror(path), 1) : 0;
#endif
}

static int picture(const App *a, const char *path)
{
    static cl_uint pixel[SIZE * SIZE];
    static unsigned char grey[SIZE * SIZE];
    cl_ulong seen = 0, lit = 0;
    if (failed("clEnqueueReadBuffer",
            clEnqueueReadBuffer(a->queue, a->pixels, CL_TRUE, 0, sizeof pixel, pixel, 0, NULL, NULL)))
        return 1;
    for (int i = 0; i < SIZE * SIZE; i++)
        seen += pixel[i], lit += pixel[i] > 0,
            grey[i] = (unsigned char)(pixel[i] > 15 ? 255 : 17 * pixel[i]);
    printf("%d stars, %d frames: %.1f%% of them in the picture, on %.0f%% of its pixels\n", STARS, FRAMES,
        100. * (double)seen / STARS / FRAMES, 100. * (double)lit / SIZE / SIZE);
    return path ? save(path, grey) : 0;
}

int main(int argc, char **argv)
{
    App a = { 0 };
    int bad = setup(&a);
    if (bad)
        return a.device != NULL;
    if (hd_opencl_device("app", a.context, a.device, a.queue))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    bad = launch(&a, a.make, a.stars, a.first) || film(&a) || picture(&a, argc > 1 ? argv[1] : NULL);
    if (hd_device_remove("app"))
        bad = fprintf(stderr, "%s\n", hd_error());
    clReleaseMemObject(a.stars), clReleaseMemObject(a.pixels);
    clReleaseKernel(a.make), clReleaseKernel(a.draw);
    clReleaseProgram(a.program), clReleaseCommandQueue(a.queue), clReleaseContext(a.context);
    return bad != 0;
}
