/*
 * replace.c - files that take another's place in one step, once they are whole.
 *
 * Until then a file is called "x.npz.part" and locked. Who finds one that nobody has locked removes it: a
 * process was killed over it. Who finds a locked one waits. So two that save under one name come one after
 * the other, and the old file is there until every byte of the new one has arrived on disk.
 * Symbolic links stay and lead to the new file; permissions, and owner and group where this user may give
 * them, stay too.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_MOST = 4096, HOPS_MOST = 40 };

static int failed(const Output *o) { return error_set(E_IO, "%s: %s", o->path, strerror(errno)); }

/* Where symbolic links lead in the end, be a file there or not. path has room for PATH_MOST; 0, or errno. */
static int follow(char *path)
{
    char link[PATH_MOST];
    for (int hops = 0; hops < HOPS_MOST; hops++) {
        ssize_t n = readlink(path, link, sizeof link - 1);
        if (n < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : errno;
        link[n] = 0;
        char *slash = link[0] == '/' ? NULL : strrchr(path, '/');
        size_t folder = slash ? (size_t)(slash + 1 - path) : 0;
        if (folder + (size_t)n >= PATH_MOST)
            return ENAMETOOLONG;
        memcpy(path + folder, link, (size_t)n + 1);
    }
    return ELOOP;
}

/* Names: where the file will be, and what it is called until then. */
static int output_names(Output *o)
{
    static const char ending[] = ".part";
    size_t n = strlen(o->path);
    o->target = malloc(PATH_MOST), o->part = malloc(PATH_MOST + sizeof ending);
    if (!o->target || !o->part)
        return error_set(E_NOMEM, "out of host memory");
    errno = n < PATH_MOST ? 0 : ENAMETOOLONG;
    if (!errno) {
        memcpy(o->target, o->path, n + 1);
        errno = follow(o->target);
    }
    if (errno)
        return failed(o);
    n = strlen(o->target);
    memcpy(o->part, o->target, n), memcpy(o->part + n, ending, sizeof ending);
    return 0;
}

/* What is there now: a file that this user may write, or nothing. */
static int output_old(const Output *o, struct stat *old, bool *there)
{
    *there = !stat(o->path, old);
    if (!*there)
        return errno == ENOENT ? 0 : failed(o);
    if (!S_ISREG(old->st_mode))
        return error_set(E_IO, "%s: this is no regular file, so no other can take its place", o->path);
    return access(o->target, W_OK) ? failed(o) : 0;
}

static int locked(int fd)
{
    while (flock(fd, LOCK_EX))
        if (errno != EINTR)
            /* a file system without locks */
            return errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS ? 0 : -1;
    return 0;
}

/* Is this file still the one of this name? */
static bool is_at(int fd, const char *path)
{
    struct stat a, b;
    return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Waits for who is writing it; removes it if it was left. */
static int clear_part(const Output *o)
{
    int fd = open(o->part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    int e = locked(fd) || (is_at(fd, o->part) && unlink(o->part)) ? -1 : 0;
    close(fd);
    return e;
}

/* A new file of that name, locked; -1 after an error. */
static int part_open(const Output *o, mode_t mode)
{
    for (;;) {
        int fd = open(o->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0 && (errno != EEXIST || clear_part(o)))
            return error_set(E_IO, "%s: %s", o->part, strerror(errno)), -1;
        if (fd >= 0 && !locked(fd) && is_at(fd, o->part))
            return fd;
        /* somebody took it for one that was left, before it was locked */
        if (fd >= 0)
            close(fd);
    }
}

/* As the old file was. Who may not give the group nothing gives it no rights. */
static int keep_mode(int fd, const struct stat *old)
{
    mode_t mode = old->st_mode & 0777;
    if (fchown(fd, old->st_uid, old->st_gid) && fchown(fd, (uid_t)-1, old->st_gid))
        mode &= ~(mode_t)0070;
    return fchmod(fd, mode);
}

static void output_free(Output *o)
{
    free(o->target), free(o->part), free(o->dir);
}

int output_begin(Output *o, const char *path)
{
    struct stat old;
    bool there = false;
    *o = (Output){ .path = path, .lock = -1 };
    int fd = output_names(o) || output_old(o, &old, &there) ? -1 : part_open(o, there ? 0600 : 0666);
    if (fd >= 0) {
        int e = there ? keep_mode(fd, &old) : 0;
        o->lock = e ? -1 : dup(fd);
        o->f = o->lock < 0 ? NULL : fdopen(fd, "wb");
        if (o->f)
            return 0;
        failed(o);
        unlink(o->part);
        close(fd);
        if (o->lock >= 0)
            close(o->lock);
    }
    output_free(o);
    return (int)error_code();
}

int put(Output *o, const void *p, size_t n)
{
    errno = 0;
    if (n && fwrite(p, 1, n, o->f) != n)
        return failed(o);
    o->at += n;
    return 0;
}

int output_end(Output *o, int code)
{
    errno = 0;
    bool lost = fflush(o->f) || fsync(fileno(o->f));
    int why = errno;
    if (fclose(o->f) && !lost)
        lost = true, why = errno;
    errno = why;
    if (!code && (lost || rename(o->part, o->target)))
        code = failed(o);
    if (code)
        unlink(o->part);
    close(o->lock);
    output_free(o);
    return code;
}
