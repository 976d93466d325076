/*
 * compiler.c - the program heddle-compiler: compiles for the process that started it (jobs.h).
 *
 * In:  two queues of jobs, an urgent one and another.   Out: binaries, in the jobs' files and on the disk.
 * When that process ends the queues close: what lies in them is still compiled, for whoever comes next, at
 * the system's leisure, as long as there is a file to keep it in, and for a minute of processor time at
 * most. It ends then, and when there was nothing to do for a while.
 * It knows nothing of Heddle but jobs.h and the cache.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "compiler.h"
#include "jobs.h"

enum { BORED_MS = 20000, ALONE_MS = 60000, PATIENCE = 100, TRY_US = 50000, STACK = 256 << 20 };

static _Atomic bool alone; /* who asked has ended */

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

/* Each with what was compiled behind it, where it belongs to it. */
static void keep_rows(const char *rows, size_t size, const void *binary, size_t n)
{
    for (JobRow r; size >= sizeof r;) {
        memcpy(&r, rows, sizeof r);
        rows += sizeof r, size -= sizeof r;
        if (r.key > size || r.value > size - r.key)
            return;
        size_t all = r.value + (r.binary ? n : 0);
        char *value = malloc(all + 1);
        if (!value)
            return;
        memcpy(value, rows + r.key, r.value);
        if (r.binary)
            memcpy(value + r.value, binary, n);
        for (int k = 0; k < PATIENCE && cache_exists() && !cache_put(rows, r.key, value, all); k++)
            usleep(TRY_US); /* others write: nobody waits for us */
        free(value);
        rows += r.key + r.value, size -= r.key + r.value;
    }
}

static void work(const char *text, size_t size, JobFile *head, int file)
{
    const char *part[JOB_PARTS];
    size_t at = sizeof *head, n = 0;
    for (int k = 0; k < JOB_PARTS; k++) {
        if (head->part[k] > size - at)
            return;
        part[k] = text + at, at += head->part[k];
        if (k < JOB_SOURCE && (!head->part[k] || part[k][head->part[k] - 1]))
            return;
    }
    const Work w = { part[JOB_DEVICE], part[JOB_DRIVER], part[JOB_OPTIONS], part[JOB_SOURCE],
        head->part[JOB_SOURCE] };
    bool vulkan = !strncmp(w.driver, JOB_VULKAN, strlen(JOB_VULKAN));
    double began = processor_ms();
    void *binary = vulkan ? compile_vulkan(&w, &n) : compile_opencl(&w, &n);
    head->binary = n, head->ms = processor_ms() - began;
    bool good = binary && written(file, binary, n, (off_t)at);
    atomic_store(&head->state, good ? JOB_WORKED : JOB_FAILED);
    if (good)
        keep_rows(part[JOB_ROWS], head->part[JOB_ROWS], binary, n);
    free(binary);
}

/* Nobody wants it any more: the pipe has no reader, and that is not because all has ended. */
static bool unwanted(int done)
{
    struct pollfd p[2] = { { .fd = done }, { .fd = JOB_URGENT } };
    return !alone && poll(p, 2, 0) > 0 && (p[0].revents & POLLERR) && !(p[1].revents & POLLHUP);
}

static void do_job(int file, int done)
{
    struct stat s;
    uint32_t waits = JOB_WAITS, taken = JOB_TAKEN;
    if (fstat(file, &s) || (size_t)s.st_size < sizeof(JobFile))
        return;
    size_t size = (size_t)s.st_size;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    JobFile *head = p;
    if (p == MAP_FAILED)
        return;
    if (!unwanted(done) && atomic_compare_exchange_strong(&head->state, &waits, JOB_TAKEN)) {
        if (head->version == JOB_VERSION)
            work(p, size, head, file);
        atomic_compare_exchange_strong(&head->state, &taken, JOB_FAILED);
    }
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
    for (;;) {
        struct pollfd q[2] = { { .fd = JOB_URGENT, .events = POLLIN },
            { .fd = JOB_LATER, .events = POLLIN } };
        int fds[2];
        if (poll(q, 2, BORED_MS) <= 0)
            _exit(0);
        if (take(JOB_URGENT, fds) || take(JOB_LATER, fds)) {
            do_job(fds[0], fds[1]);
            close(fds[0]), close(fds[1]);
        } else if (alone)
            _exit(0);
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
 * that the queues close, and ends the program in the midst of whatever it does when that takes too long. */
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
    struct pollfd q = { .fd = JOB_URGENT }; /* no events: closing alone */
    while (poll(&q, 1, -1) <= 0)
        ;
    const double began = processor_ms();
    alone = true;
    setpriority(PRIO_PROCESS, 0, 5);
    while (cache_exists() && processor_ms() - began < ALONE_MS)
        sleep(1);
    _exit(0);
}
