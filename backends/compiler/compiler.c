/*
 * compiler.c - the program heddle-compiler: compiles OpenCL C for the process that started it (jobs.h).
 *
 * In:  two queues of jobs, an urgent one and another.   Out: binaries, in the jobs' files.
 * It ends when the queues close, as they do when that process ends, and when there was nothing to do for
 * a while. It knows nothing of Heddle but jobs.h.
 */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "jobs.h"

enum { BORED_MS = 20000, DEVICES = 64, STACK = 256 << 20 };

#define CALLS(X) \
    X(clGetPlatformIDs) \
    X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clCreateProgramWithSource) X(clBuildProgram) \
        X(clGetProgramInfo) X(clReleaseProgram)
static struct {
#define X(f) __typeof__(&f) f;
    CALLS(X)
#undef X
} cl;

static bool loader_open(void)
{
    void *lib = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    bool all = lib;
#define X(f) all = all && (*(void **)(void *)&cl.f = dlsym(lib, #f)) != NULL;
    CALLS(X)
#undef X
    return all;
}

/* ==================== devices: found by name, opened once */

static struct {
    cl_device_id id;
    cl_context context;
    char name[256], driver[256];
} device[DEVICES];
static int ndevice;

static void list_devices(void)
{
    cl_platform_id p[16];
    cl_device_id id[DEVICES];
    cl_uint np = 0, n = 0;
    setenv("POCL_DEVICES", "basic pthread", 0);
    if (!loader_open() || cl.clGetPlatformIDs(16, p, &np))
        return;
    for (cl_uint k = 0; k < np && k < 16; k++) {
        if (cl.clGetDeviceIDs(p[k], CL_DEVICE_TYPE_ALL, DEVICES, id, &n))
            continue;
        for (cl_uint d = 0; d < n && ndevice < DEVICES; d++) {
            device[ndevice].id = id[d];
            cl.clGetDeviceInfo(id[d], CL_DEVICE_NAME, 255, device[ndevice].name, NULL);
            cl.clGetDeviceInfo(id[d], CL_DRIVER_VERSION, 255, device[ndevice].driver, NULL);
            ndevice++;
        }
    }
}

static int find_device(const char *name, const char *driver)
{
    for (int d = 0; d < ndevice; d++)
        if (!strcmp(device[d].name, name) && !strcmp(device[d].driver, driver)) {
            cl_int e = CL_SUCCESS;
            if (!device[d].context)
                device[d].context = cl.clCreateContext(NULL, 1, &device[d].id, NULL, NULL, &e);
            return e == CL_SUCCESS ? d : -1;
        }
    return -1;
}

/* ==================== a job */

static double processor_ms(void)
{
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self), getrusage(RUSAGE_CHILDREN, &children);
    const struct timeval t[] = { self.ru_utime, self.ru_stime, children.ru_utime, children.ru_stime };
    double ms = 0;
    for (int k = 0; k < 4; k++)
        ms += (double)t[k].tv_sec * 1e3 + (double)t[k].tv_usec * 1e-3;
    return ms;
}

/* The binary, which makes drivers compile that would do so when a kernel first runs. free() it. */
static void *compiled(int d, const char *options, const char *source, size_t *n)
{
    cl_int e;
    unsigned char *binary = NULL;
    cl_program p = cl.clCreateProgramWithSource(device[d].context, 1, &source, NULL, &e);
    if (e != CL_SUCCESS)
        return NULL;
    if (!cl.clBuildProgram(p, 1, &device[d].id, options, NULL, NULL) &&
        !cl.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof *n, n, NULL) && *n &&
        (binary = malloc(*n)) != NULL &&
        cl.clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL))
        free(binary), binary = NULL;
    cl.clReleaseProgram(p);
    return binary;
}

static bool written(int fd, const char *p, size_t n, off_t at)
{
    while (n) {
        ssize_t k = pwrite(fd, p, n, at);
        if (k <= 0)
            return false;
        p += k, n -= (size_t)k, at += k;
    }
    return true;
}

static JobState work(const char *text, size_t size, JobFile *head, int file)
{
    const char *part[4];
    size_t at = sizeof *head, n = 0;
    for (int k = 0; k < 4; k++) {
        if (head->part[k] == 0 || head->part[k] > size - at || text[at + head->part[k] - 1])
            return JOB_FAILED;
        part[k] = text + at, at += head->part[k];
    }
    double began = processor_ms();
    int d = find_device(part[0], part[1]);
    void *binary = d < 0 ? NULL : compiled(d, part[2], part[3], &n);
    head->binary = n, head->ms = processor_ms() - began;
    bool good = binary && written(file, binary, n, (off_t)at);
    free(binary);
    return good ? JOB_WORKED : JOB_FAILED;
}

/* Nobody wants it any more: the pipe has no reader. */
static bool unwanted(int done)
{
    struct pollfd p = { .fd = done };
    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

static void do_job(int file, int done)
{
    struct stat s;
    uint32_t waits = JOB_WAITS;
    if (fstat(file, &s) || (size_t)s.st_size < sizeof(JobFile))
        return;
    size_t size = (size_t)s.st_size;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    JobFile *head = p;
    if (p == MAP_FAILED)
        return;
    if (!unwanted(done) && atomic_compare_exchange_strong(&head->state, &waits, JOB_TAKEN))
        atomic_store(&head->state, head->version == JOB_VERSION ? work(p, size, head, file) : JOB_FAILED);
    munmap(p, size);
}

/* The next job of a queue: its file and its pipe. */
static bool take(int queue, int fds[2])
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } c;
    char nothing;
    struct iovec v = { &nothing, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };
    if (recvmsg(queue, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
        return false;
    const struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(h), 2 * sizeof(int));
    return true;
}

static void *serve(void *unused)
{
    (void)unused;
    list_devices();
    for (;;) {
        struct pollfd q[2] = { { .fd = JOB_URGENT, .events = POLLIN },
            { .fd = JOB_LATER, .events = POLLIN } };
        int fds[2];
        if (poll(q, 2, BORED_MS) <= 0)
            _exit(0);
        if (take(JOB_URGENT, fds) || take(JOB_LATER, fds)) {
            do_job(fds[0], fds[1]);
            close(fds[0]), close(fds[1]);
        }
    }
}

/* What the other process had open is none of ours, nor ours that of programs that drivers start. */
static void only_ours(void)
{
    for (int fd = JOB_URGENT; fd < JOB_FILES; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (syscall(SYS_close_range, (unsigned)JOB_FILES, ~0u, 0u))
        for (int fd = JOB_FILES; fd < 4096; fd++)
            close(fd);
}

/* Compilers recurse as deep as their text nests, so they work in a thread with a large stack; this one sees
 * that the queues close, and ends the program in the midst of whatever it does. */
int main(void)
{
    pthread_attr_t a;
    pthread_t t;
    if (fork())
        _exit(0); /* who started us waits for this one alone */
    setsid();
    only_ours();
    if (pthread_attr_init(&a) || pthread_attr_setstacksize(&a, STACK) || pthread_create(&t, &a, serve, NULL))
        return 1;
    for (;;) {
        struct pollfd q = { .fd = JOB_URGENT }; /* no events: closing alone */
        if (poll(&q, 1, -1) > 0)
            _exit(0);
    }
}
