/*
 * compiler.c - the program heddle-compiler: compiles for the process that started it (jobs.h).
 *
 * In:  two queues of jobs, an urgent one and another.   Out: binaries, in the jobs' files and on the disk.
 * When that process ends the queues close: what lies in them is still compiled, for whoever comes next, at
 * the system's leisure, as long as there is a file to keep it in, and for a minute of processor time at
 * most. It ends then, and when there was nothing to do for a while.
 * What another compiler has claimed, as those of other ranks do, is put by until that one has kept it: then
 * it is read, and not compiled again. If that one dies, or takes too long, it is compiled here.
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
enum { PUT_BY = 96, LOOK_MS = 10 };

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
        for (int k = 0; k < PATIENCE && cache_put(rows, r.key, value, all) == CACHE_BUSY; k++)
            usleep(TRY_US); /* others write */
        free(value);
        rows += r.key + r.value, size -= r.key + r.value;
    }
}

/* A job that was taken: its file, the pipe that tells its end; when it was first put by, in seconds. */
typedef struct Task {
    JobFile *head;
    size_t size;
    int file, done;                             /* done: -1: it has been told */
    time_t since;
    const char *part[JOB_PARTS];
} Task;

static bool parts_of(Task *t)
{
    const char *text = (const char *)t->head;
    size_t at = sizeof *t->head;
    for (int k = 0; k < JOB_PARTS; k++) {
        if (t->head->part[k] > t->size - at)
            return false;
        t->part[k] = text + at, at += t->head->part[k];
        if (k < JOB_SOURCE && (!t->head->part[k] || t->part[k][t->head->part[k] - 1]))
            return false;
    }
    return true;
}

/* The first row, which has the binary, and is what one compiler claims. */
static const char *first_row(const Task *t, JobRow *r)
{
    size_t size = t->head->part[JOB_ROWS];
    if (size < sizeof *r)
        return NULL;
    memcpy(r, t->part[JOB_ROWS], sizeof *r);
    size -= sizeof *r;
    return r->key <= size && r->value <= size - r->key && r->binary ? t->part[JOB_ROWS] + sizeof *r : NULL;
}

/* What another has made of it: what lies behind the row's own value. free() it. */
static void *kept(const char *key, const JobRow *r, size_t *n)
{
    void *all, *binary = NULL;
    if (!cache_get(key, r->key, &all, n))
        return NULL;
    bool same = *n > r->value && !memcmp(all, key + r->key, r->value);
    if (same && (binary = malloc(*n -= r->value)) != NULL)
        memcpy(binary, (const char *)all + r->value, *n);
    free(all);
    return binary;
}

static void compile(Task *t)
{
    const Work w = { t->part[JOB_DEVICE], t->part[JOB_DRIVER], t->part[JOB_OPTIONS], t->part[JOB_SOURCE],
        t->head->part[JOB_SOURCE] };
    const char *key;
    JobRow r;
    size_t n = 0;
    bool vulkan = !strncmp(w.driver, JOB_VULKAN, strlen(JOB_VULKAN));
    double began = processor_ms();
    void *binary = (key = first_row(t, &r)) ? kept(key, &r, &n) : NULL;
    bool found = binary;
    if (!found)
        binary = vulkan ? compile_vulkan(&w, &n) : compile_opencl(&w, &n);
    t->head->binary = n, t->head->ms = processor_ms() - began;
    const off_t behind = t->part[JOB_ROWS] + t->head->part[JOB_ROWS] - (const char *)t->head;
    bool good = binary && written(t->file, binary, n, behind);
    atomic_store(&t->head->state, good ? JOB_WORKED : JOB_FAILED);
    close(t->done), t->done = -1;               /* who waits goes on; the rows are for the next process */
    if (good && !found)
        keep_rows(t->part[JOB_ROWS], t->head->part[JOB_ROWS], binary, n);
    free(binary);
}

/* false: another compiler has claimed it. */
static bool work(Task *t)
{
    JobRow r;
    const char *key = first_row(t, &r);
    int claim = key ? cache_claim(key, r.key, 0) : CLAIM_NONE;
    if (claim == CLAIM_TAKEN && (!t->since || time(NULL) - t->since < CLAIM_MS / 1000))
        return false;
    compile(t);
    cache_claim_end(claim);
    return true;
}

/* Nobody wants it any more: the pipe has no reader, and that is not because all has ended. */
static bool unwanted(int done)
{
    struct pollfd p[2] = { { .fd = done }, { .fd = JOB_URGENT } };
    return !alone && poll(p, 2, 0) > 0 && (p[0].revents & POLLERR) && !(p[1].revents & POLLHUP);
}

static void end(Task *t)
{
    uint32_t taken = JOB_TAKEN;
    atomic_compare_exchange_strong(&t->head->state, &taken, JOB_FAILED);
    munmap(t->head, t->size);
    close(t->file);
    if (t->done >= 0)
        close(t->done);
}

static Task put_by[PUT_BY];
static int nput_by;

/* Of those that were put by, what nobody has claimed any more, or nobody wants. False: nothing of it. */
static bool come_back(void)
{
    int before = nput_by;
    for (int k = nput_by - 1; k >= 0; k--)
        if (unwanted(put_by[k].done) || work(&put_by[k])) {
            end(&put_by[k]);
            put_by[k] = put_by[--nput_by];
        }
    return nput_by < before;
}

static void do_job(int file, int done)
{
    struct stat s;
    uint32_t waits = JOB_WAITS;
    Task t = { .file = file, .done = done };
    void *p = MAP_FAILED;
    if (!fstat(file, &s) && (size_t)s.st_size >= sizeof(JobFile))
        p = mmap(NULL, t.size = (size_t)s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (p == MAP_FAILED) {
        close(file), close(done);
        return;
    }
    t.head = p;
    bool mine = !unwanted(done) && atomic_compare_exchange_strong(&t.head->state, &waits, JOB_TAKEN);
    if (mine && t.head->version == JOB_VERSION && parts_of(&t) && !work(&t) && nput_by < PUT_BY) {
        t.since = time(NULL);
        put_by[nput_by++] = t;
    } else if (mine)
        end(&t);
    else
        munmap(p, t.size), close(file), close(done);
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
        if (poll(q, 2, nput_by ? LOOK_MS : BORED_MS) <= 0 && !nput_by)
            _exit(0);
        if (take(JOB_URGENT, fds) || take(JOB_LATER, fds))
            do_job(fds[0], fds[1]);
        else if (!come_back() && nput_by)
            usleep(1000 * LOOK_MS);
        else if (alone && !nput_by)
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
