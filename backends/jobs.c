/*
 * jobs.c - compilers in processes of their own, and what they are given to do.
 *
 * In:  programs' texts.   Out: binaries; or word that a job failed, and then the caller compiles.
 * Two queues are sockets that all compilers read, so whoever is free takes the next job, an urgent one
 * first. A job is a file in memory, shared with who takes it, and a pipe: its other end closes when the job
 * has ended or its compiler has died, so nobody waits for ever. No thread of ours waits for a job that
 * nobody waits for, so fork() and exit() have nothing to look after: when the queues close, which is when
 * this process ends, compilers do what lies in them, which is for the disk then, and end. They are nobody's
 * children (started by one that ends at once), so a program's wait() never meets them.
 */
#define _GNU_SOURCE
#include "jobs.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"

extern char **environ;

enum { MOST_COMPILERS = 16, MOST_SENT = 96, LOOK_MS = 20, ABOVE = 16, MOST_STARTS = 2 * MOST_COMPILERS };

struct Job {
    Job *next, **at; /* in one of the pool's lists; at NULL: in none */
    bool sent;
    char *text;
    size_t n; /* what the file will hold; NULL: it has it */
    int file, done; /* -1: not yet */
    JobFile *head;
    bool urgent, ended;
};

static struct {
    pthread_mutex_t lock;
    int queue[2], ours[2]; /* the compilers' ends, by urgency; and ours */
    int alive[MOST_COMPILERS], n; /* a pipe for each: it closes when that one ends */
    Job *unsent, *under_way;
    int sent; /* how many are under way: sent, and not ended */
    int starts; /* of the program, since a job of it ended */
    bool open;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ==================== the program */

static char program[4096];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_program(void)
{
    const char *said = getenv("HEDDLE_COMPILER");
    Dl_info self;
    if (said && *said) {
        snprintf(program, sizeof program, "%s", strcmp(said, "off") ? said : "");
        return;
    }
    if (!dladdr((const void *)(uintptr_t)find_program, &self) || !self.dli_fname)
        return;
    const char *slash = strrchr(self.dli_fname, '/'), *name = slash ? self.dli_fname : "/proc/self/exe";
    char own[4096];
    ssize_t k = slash ? -1 : readlink(name, own, sizeof own - 1);
    if (k > 0)
        own[k] = 0, name = own;
    slash = strrchr(name, '/');
    for (int up = 0; slash && up < 2; up++) {
        snprintf(
            program, sizeof program, "%.*s/%sheddle-compiler", (int)(slash - name), name, up ? "../" : "");
        if (!access(program, X_OK))
            return;
    }
    program[0] = 0;
}

bool jobs_possible(void)
{
    pthread_once(&once, find_program);
    fault_due("jobs", "begin");                 /* reads the variable */
    return program[0] && !fault_wanted;
}

int jobs_at_once(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n > MOST_COMPILERS ? MOST_COMPILERS : n;
}

double jobs_done(double all, double longest)
{
    all /= jobs_at_once();
    return all > longest ? all : longest;
}

/* A descriptor out of the way of those that a compiler gets, and of programs that we do not start. */
static int above(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, ABOVE);
    if (fd >= 0)
        close(fd);
    return high;
}

static bool pair(int to[2], bool socket)
{
    if (socket ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, to) : pipe2(to, O_CLOEXEC))
        return false;
    to[0] = above(to[0]), to[1] = above(to[1]);
    if (to[0] >= 0 && to[1] >= 0)
        return true;
    close(to[0]), close(to[1]);
    return false;
}

static bool queues_open(void)
{
    for (int q = 0; q < 2 && !pool.open; q++) {
        int end[2];
        if (!pair(end, true)) {
            if (q)
                close(pool.ours[0]), close(pool.queue[0]);
            return false;
        }
        pool.ours[q] = end[0], pool.queue[q] = end[1];
    }
    return pool.open = true;
}

/* It starts itself a second time and ends, so it is ended when this returns. */
static bool start_program(int alive)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t a;
    sigset_t none, all;
    pid_t child;
    char *argv[] = { (char *)"heddle-compiler", NULL };
    sigemptyset(&none), sigfillset(&all);
    if (posix_spawn_file_actions_init(&files))
        return false;
    posix_spawnattr_init(&a);
    posix_spawnattr_setflags(&a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&a, &none), posix_spawnattr_setsigdefault(&a, &all);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1), posix_spawn_file_actions_adddup2(&files, 0, 2);
    posix_spawn_file_actions_adddup2(&files, pool.queue[1], JOB_URGENT);
    posix_spawn_file_actions_adddup2(&files, pool.queue[0], JOB_LATER);
    posix_spawn_file_actions_adddup2(&files, alive, JOB_ALIVE);
    bool made = !posix_spawn(&child, program, &files, &a, argv, environ);
    posix_spawn_file_actions_destroy(&files), posix_spawnattr_destroy(&a);
    while (made && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return made;
}

static void one_more(void)
{
    int end[2];
    pool.starts++;
    if (!pair(end, false))
        return;
    if (start_program(end[1]))
        pool.alive[pool.n++] = end[0];
    else
        close(end[0]);
    close(end[1]);
}

static bool closed(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, ms) > 0;
}

/* Started again and again, the program does nothing. */
static bool hopeless(void) { return pool.starts > MOST_STARTS; }

/* Those that ended, of boredom or otherwise, are replaced as long as there is something to do. */
static void enough_compilers(void)
{
    for (int k = pool.n - 1; k >= 0; k--)
        if (closed(pool.alive[k], 0))
            close(pool.alive[k]), pool.alive[k] = pool.alive[--pool.n];
    while (pool.n < pool.sent && pool.n < jobs_at_once() && !hopeless())
        one_more();
}

/* ==================== jobs */

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k <= 0 && errno != EINTR)
            return false;
        p += k > 0 ? k : 0, n -= k > 0 ? (size_t)k : 0;
    }
    return true;
}

static bool send_to(const Job *j, int pipe_end)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } c = { 0 };
    int fds[2] = { j->file, pipe_end };
    char nothing = 0;
    struct iovec v = { &nothing, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };
    c.head.cmsg_level = SOL_SOCKET, c.head.cmsg_type = SCM_RIGHTS, c.head.cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(&c.head), fds, sizeof fds);
    return sendmsg(pool.ours[j->urgent], &m, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void unsend(Job *j) /* as if it had not been tried */
{
    if (j->head)
        munmap(j->head, sizeof *j->head);
    if (j->file >= 0)
        close(j->file);
    if (j->done >= 0)
        close(j->done);
    j->head = NULL, j->file = j->done = -1;
}

/* Its file and its pipe are made, and both are sent. */
static bool job_send(Job *j)
{
    int end[2];
    j->file = above(memfd_create("heddle job", MFD_CLOEXEC));
    if (j->file < 0 || !write_all(j->file, j->text, j->n) || !pair(end, false))
        return unsend(j), false;
    j->done = end[0];
    void *head = mmap(NULL, sizeof *j->head, PROT_READ | PROT_WRITE, MAP_SHARED, j->file, 0);
    j->head = head == MAP_FAILED ? NULL : head;
    bool sent = j->head && send_to(j, end[1]);
    close(end[1]);
    if (!sent)
        unsend(j);
    return sent;
}

static void list(Job *j, Job **at)
{
    j->next = *at, j->at = at, *at = j;
    if (j->next)
        j->next->at = &j->next;
}

static void unlist(Job *j)
{
    if (!j->at)
        return;
    *j->at = j->next;
    if (j->next)
        j->next->at = j->at;
    j->at = NULL;
}

static void ended_now(Job *j)
{
    uint32_t state = atomic_load(&j->head->state);
    bool done = state == JOB_WORKED || state == JOB_FAILED;
    if (!done && !closed(j->done, 0) && !(hopeless() && !pool.n))
        return;
    pool.starts = done ? 0 : pool.starts;
    pool.sent--;
    close(j->done), j->done = -1;
    unlist(j);
    j->sent = false, j->ended = true;
}

/* With the lock held: as many as there is room for. What cannot be sent although nothing is under way never
 * will be. */
static void send_some(void)
{
    for (Job *j = pool.under_way, *next; j; j = next)
        next = j->next, ended_now(j);
    while (pool.unsent && pool.sent < MOST_SENT) {
        Job *j = pool.unsent;
        if (hopeless() || !job_send(j)) {
            if (hopeless() || !pool.sent)
                unlist(j), j->ended = true;
            else
                break;
            continue;
        }
        unlist(j);
        free(j->text), j->text = NULL;
        list(j, &pool.under_way);
        j->sent = true;
        pool.sent++;
    }
    enough_compilers();
}

void job_row(JobRows *r, const void *key, size_t nkey, const void *value, size_t n, bool binary)
{
    const JobRow head = { nkey, n, binary };
    size_t all = sizeof head + nkey + n;
    char *p = realloc(r->s, r->n + all);
    if (!p) {
        r->failed = true;
        return;
    }
    r->s = p;
    memcpy(p + r->n, &head, sizeof head);
    memcpy(p + r->n + sizeof head, key, nkey);
    if (n)
        memcpy(p + r->n + sizeof head + nkey, value, n);
    r->n += all;
}

/* Its file's text. */
static bool job_write(Job *j, const JobText *t)
{
    const void *part[JOB_PARTS] = { t->device, t->driver, t->options, t->source, t->rows.s };
    JobFile head = { .version = JOB_VERSION,
        .part = { strlen(t->device) + 1, strlen(t->driver) + 1, strlen(t->options) + 1, t->nsource,
            t->rows.n } };
    size_t n = sizeof head;
    for (int k = 0; k < JOB_PARTS; k++)
        n += head.part[k];
    if (t->rows.failed || !(j->text = malloc(n)))
        return false;
    memcpy(j->text, &head, sizeof head);
    j->n = sizeof head;
    for (int k = 0; k < JOB_PARTS; k++) {
        if (head.part[k])
            memcpy(j->text + j->n, part[k], head.part[k]);
        j->n += head.part[k];
    }
    return true;
}

Job *job_new(const JobText *t)
{
    Job *j = jobs_possible() ? calloc(1, sizeof *j) : NULL;
    if (!j || !job_write(j, t)) {
        free(j);
        return NULL;
    }
    j->file = j->done = -1, j->urgent = t->urgent;
    pthread_mutex_lock(&pool.lock);
    j->ended = !queues_open();
    if (!j->ended) {
        Job **at = &pool.unsent;
        while (*at && !(j->urgent && !(*at)->urgent))
            at = &(*at)->next;
        list(j, at);
        send_some();
    }
    pthread_mutex_unlock(&pool.lock);
    return j;
}

/* Before all that nobody waits for: it may lie in both queues, and the first who comes to it takes it. */
static void hurry(Job *j)
{
    if (j->urgent || j->ended)
        return;
    j->urgent = true;
    if (!j->sent) {
        unlist(j);
        list(j, &pool.unsent);
    } else if (atomic_load(&j->head->state) == JOB_WAITS) {
        int end[2];
        if (pair(end, false)) {
            /* the pipe that is waited for stays the first one, which closes when both have been read */
            send_to(j, end[1]);
            close(end[0]), close(end[1]);
        }
    }
}

void job_hurry(Job *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&pool.lock);
    hurry(j);
    pthread_mutex_unlock(&pool.lock);
}

bool job_ended(Job *j, int wait_ms)
{
    for (int waited = 0;; waited += LOOK_MS) {
        pthread_mutex_lock(&pool.lock);
        send_some();
        bool ended = j->ended;
        int fd = !ended && j->done >= 0 ? dup(j->done) : -1;
        pthread_mutex_unlock(&pool.lock);
        bool over = ended || (wait_ms >= 0 && waited >= wait_ms);
        if (!over && fd >= 0)
            closed(fd, wait_ms < 0 || wait_ms - waited > LOOK_MS ? LOOK_MS : wait_ms - waited);
        else if (!over)
            poll(NULL, 0, LOOK_MS);
        if (fd >= 0)
            close(fd);
        if (over)
            return ended;
    }
}

void *job_result(const Job *j, size_t *n)
{
    if (!j->head || atomic_load(&j->head->state) != JOB_WORKED || !j->head->binary)
        return NULL;
    off_t at = sizeof *j->head;
    for (int k = 0; k < JOB_PARTS; k++)
        at += (off_t)j->head->part[k];
    char *p = malloc(*n = (size_t)j->head->binary);
    for (size_t k = 0; p && k < *n;) {
        ssize_t got = pread(j->file, p + k, *n - k, at + (off_t)k);
        if (got <= 0 && errno != EINTR)
            return free(p), NULL;
        k += got > 0 ? (size_t)got : 0;
    }
    return p;
}

double job_ms(const Job *j) { return j->head ? j->head->ms : 0; }

void job_drop(Job *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&pool.lock);
    pool.sent -= j->sent;
    unlist(j);
    unsend(j);
    pthread_mutex_unlock(&pool.lock);
    free(j->text);
    free(j);
}

void jobs_forked(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    for (int q = 0; q < 2 && pool.open; q++)
        close(pool.ours[q]), close(pool.queue[q]);
    for (int k = 0; k < pool.n; k++)
        close(pool.alive[k]);
    pool.n = pool.sent = pool.starts = 0, pool.unsent = pool.under_way = NULL, pool.open = false;
}
