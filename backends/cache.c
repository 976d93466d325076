/*
 * cache.c - compiled programs on disk, in one SQLite file.
 *
 * In:  a key of any bytes, and a blob.   Out: the same blob in a later process, or nothing.
 * The file is $HEDDLE_CACHE (compiled.db in it where it is a folder), else
 * $XDG_CACHE_HOME/heddle/compiled.db, else ~/.cache/heddle/compiled.db;
 * HEDDLE_CACHE=off turns it off. What lies in it runs in this process, so it is used only if nobody else can
 * write it, and only a file that carries our number is ever changed. A blob is kept with a hash of key and
 * blob: damaged or exchanged rows count as absent. A blob that has not worked yet is marked while it is
 * tried; a mark whose process is gone says that the blob ended it.
 * The cache must cost less than it saves: reading needs no lock of another process, and what only keeps the
 * books is left out where somebody else writes. What was made is worth waiting for others' turns, which are
 * short: PUT_MS at most, and TRY_MS once that was in vain. Whatever goes wrong (a home
 * that cannot be written, a full disk, a damaged file) programs are built again; why there is no cache is
 * said once under HEDDLE_CHECK or HEDDLE_DUMP. A connection must not cross fork(), so the process number is
 * kept beside it and a child opens its own.
 * Processes that come to want the same at the same time, as those of a job do, agree who makes it by claims:
 * locks on bytes of an empty file beside the other, each at the place that its key hashes to.
 */
#define _GNU_SOURCE
#include "base.h"
#include "cache.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CAP_BYTES   (256ll << 20)                       /* of blobs; $HEDDLE_CACHE_MB changes it */
#define TABLE "program2" /* its number is the schema's: versions of Heddle share a file */

enum {
    OURS = 0x4864646c,                                  /* the application's number in the file's header */
    TRY_MS = 50,                                        /* the least that compiling costs */
    PUT_MS = 2000,                                      /* many turns of as many writers as there may be */
    LOOK_MS = 10,                                       /* at a claim, so often */
    TRYING_S = 60,                                      /* a blob is tried for less */
    FRESH_S = 3600,                                     /* a use is noted once in as many seconds */
};

static struct {
    pthread_mutex_t lock;
    sqlite3 *db;
    ino_t inode;                                        /* of the file it has open */
    pid_t pid;
    bool failed, in_vain;                               /* the last blob waited for its turn in vain */
    bool later;                                         /* the file could not be opened now */
    /* of this process, and no other that has or had its number */
    sqlite3_int64 token;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the file ---- */

static bool is_folder(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISDIR(s.st_mode);
}

static bool cache_path(char *path, size_t n)
{
    const char *own = getenv("HEDDLE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int k;
    if (own && !strcmp(own, "off"))
        return false;
    if (own && *own)
        k = snprintf(path, n, is_folder(own) ? "%s/compiled.db" : "%s", own);
    else if (xdg && *xdg)
        k = snprintf(path, n, "%s/heddle/compiled.db", xdg);
    else if (home && *home)
        k = snprintf(path, n, "%s/.cache/heddle/compiled.db", home);
    else
        return false;
    return k > 0 && (size_t)k < n;
}

/* Why there is no cache. */
static bool refuse(const char *path, const char *why)
{
    static bool told;
    if (!told && (getenv("HEDDLE_CHECK") || getenv("HEDDLE_DUMP")))
        fprintf(stderr, "heddle: no compiled programs are kept: %s %s\n", path, why);
    told = true;
    return false;
}

static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700);
            *p = '/';
        }
}

static const char *owner_trouble(const struct stat *s)
{
    return s->st_uid != geteuid() && s->st_uid != 0 ? "belongs to another user" :
        s->st_mode & (S_IWGRP | S_IWOTH) ? "can be written by others: chmod go-w" : NULL;
}

/* Whoever can write the folder can put another file, or another log of it, in its place. Its descriptor, or
 * -1. */
static int open_folder(const char *path)
{
    char folder[4096];
    struct stat s;
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? slash == path ? 1 : (int)(slash - path) : 1,
        slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *trouble = fd < 0 || fstat(fd, &s) ? "is not there and cannot be made" : owner_trouble(&s);
    if (!trouble)
        return fd;
    refuse(folder, trouble);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A file with our number, or an empty one. SQLite is not asked, since it may repair what it opens. */
static bool file_is_ours(const char *path)
{
    unsigned char head[72] = { 0 };
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(path, "cannot be read");
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    uint32_t number =
        (uint32_t)head[68] << 24 | (uint32_t)head[69] << 16 | (uint32_t)head[70] << 8 | head[71];
    if (n == 0 || (n == sizeof head && !memcmp(head, "SQLite format 3", 16) && number == OURS))
        return true;
    return refuse(path, "is not a file of Heddle's, and is left as it is");
}

static void remove_parts(const char *path, bool file)  /* logs that a removed file left, or the file too */
{
    static const char *const part[] = { "-wal", "-shm", "-journal", "" };
    char name[4200];
    for (int i = 0; i < 3 + file; i++) {
        snprintf(name, sizeof name, "%s%s", path, part[i]);
        unlink(name);
    }
}

static bool file_is_safe(const char *path)
{
    struct stat s;
    if (lstat(path, &s)) {
        remove_parts(path, false);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd >= 0 ? close(fd), true : refuse(path, "cannot be made");
    }
    const char *trouble = !S_ISREG(s.st_mode) ? "is not a plain file" : owner_trouble(&s);
    return trouble ? refuse(path, trouble) : file_is_ours(path);
}

/* Our number is written before there is a log, so that the file itself always carries it. */
static int prepare(sqlite3 *db)
{
    sqlite3_stmt *s;
    sqlite3_busy_timeout(db, TRY_MS);
    if (sqlite3_prepare_v2(db, "select proven from " TABLE, -1, &s, NULL) == SQLITE_OK)
        return sqlite3_finalize(s);
    char sql[400];
    snprintf(sql, sizeof sql,
        "pragma application_id=%d; pragma journal_mode=wal; pragma synchronous=normal;"
        "create table if not exists " TABLE
        "(key blob primary key, sum blob, used integer, proven integer, token integer, "
        "pid integer, since integer, data blob)",
        OURS);
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static sqlite3 *connect(const char *path, int *code)
{
    sqlite3 *db = NULL;
    *code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (*code == SQLITE_OK && (*code = prepare(db)) == SQLITE_OK) {
        sqlite3_exec(db, "pragma synchronous=normal", NULL, NULL, NULL);
        return db;
    }
    sqlite3_close(db);
    return NULL;
}

/* With the folder locked, so that who makes a file and who removes what is left of one do not meet. */
static sqlite3 *open_locked(const char *path, int *code)
{
    *code = SQLITE_CANTOPEN;
    if (!file_is_safe(path))
        return NULL;
    sqlite3 *db = connect(path, code);
    if (db || (*code != SQLITE_NOTADB && *code != SQLITE_CORRUPT))
        return db;
    remove_parts(path, true);                           /* ours, and damaged beyond reading */
    return file_is_safe(path) ? connect(path, code) : NULL;
}

static bool lock_folder(int folder)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    for (int i = 0; i < TRY_MS; i++, nanosleep(&pause, NULL))
        if (!flock(folder, LOCK_EX | LOCK_NB))
            return true;
    return false;
}

/* *later: it may work another time. */
static sqlite3 *open_file(char *path, bool *later)
{
    int code = SQLITE_BUSY;
    sqlite3 *db = NULL;
    struct stat s;
    make_folders(path);
    int folder = open_folder(path);
    if (folder < 0)
        return NULL;
    if (lock_folder(folder))
        db = open_locked(path, &code);
    close(folder);
    *later = code == SQLITE_BUSY || code == SQLITE_LOCKED;
    if (!db && !*later)
        refuse(path, sqlite3_errstr(code));
    if (db)
        cache.inode = stat(path, &s) ? 0 : s.st_ino;
    return db;
}

static sqlite3_int64 new_token(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    const int64_t what[] = { getpid(), t.tv_sec, t.tv_nsec, (int64_t)(intptr_t)&t };
    return (sqlite3_int64)hash_bytes(what, sizeof what, 0);
}

static void disconnect(void)
{
    sqlite3_close(cache.db);
    cache.db = NULL;
}

/* The connection of this process, with the lock held; NULL: no cache. */
static sqlite3 *connection(void)
{
    char path[4096];
    struct stat s;
    cache.later = false;
    if (!cache_path(path, sizeof path))
        return NULL;
    /* the parent's connection is left alone: closing it would unlock its file */
    if (cache.pid != getpid()) {
        cache.db = NULL;
        cache.failed = false;
        cache.pid = getpid();
        cache.token = new_token();
    }
    if (cache.db && (stat(path, &s) || s.st_ino != cache.inode))
        disconnect();                                   /* somebody removed the file */
    if (!cache.db && !cache.failed) {
        cache.db = open_file(path, &cache.later);
        cache.failed = !cache.db && !cache.later;
    }
    return cache.db;
}

/* After a statement: a file that turns out to be damaged is made anew the next time. */
static void ended(int code)
{
    char path[4096];
    int kind = code & 0xff;
    if (kind != SQLITE_CORRUPT && kind != SQLITE_NOTADB && kind != SQLITE_IOERR)
        return;
    disconnect();
    if (kind != SQLITE_IOERR && cache_path(path, sizeof path))
        remove_parts(path, true);
}

/* ---- rows ---- */

/* Of key and blob: against damage, not against those who could write the file as well. */
typedef struct Sum { uint64_t half[2]; } Sum;

static Sum sum_of(const void *key, size_t nkey, const void *data, size_t n)
{
    Sum s;
    for (int i = 0; i < 2; i++)
        s.half[i] = hash_bytes(data, n, hash_bytes(key, nkey, 11 + (uint64_t)i) + n);
    return s;
}

/* One statement with the key as its first parameter, and numbers. wait: whether for who writes now. */
static void run_one(
    const char *sql, bool wait, const void *key, size_t nkey, const sqlite3_int64 *number, int n)
{
    sqlite3_stmt *s;
    if (!cache.db || sqlite3_prepare_v2(cache.db, sql, -1, &s, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(s, 2 + i, number[i]);
    sqlite3_busy_timeout(cache.db, wait ? TRY_MS : 0);
    int code = sqlite3_step(s);
    sqlite3_finalize(s);
    sqlite3_busy_timeout(cache.db, TRY_MS);
    ended(code);
}

/* A mark of another process that has ended, or has its number by now, or takes too long. */
static bool mark_is_left_over(sqlite3_int64 token, pid_t pid, sqlite3_int64 since)
{
    if (token == 0 || token == cache.token)
        return false;
    return pid == getpid() || (kill(pid, 0) && errno == ESRCH) ||
        since + TRYING_S < (sqlite3_int64)time(NULL);
}

/* What one row says, its blob copied. good: it is whole, and did not end a process. */
typedef struct Row { bool there, good, proven; sqlite3_int64 used, token; void *data; size_t n; } Row;

static Row read_row(const void *key, size_t nkey)
{
    Row r = { 0 };
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(cache.db,
            "select data, sum, used, proven, token, pid, since from " TABLE " where key = ?", -1, &s, NULL))
        return r;
    sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        const void *data = sqlite3_column_blob(s, 0), *sum = sqlite3_column_blob(s, 1);
        r.n = (size_t)sqlite3_column_bytes(s, 0);
        r.used = sqlite3_column_int64(s, 2);
        r.proven = sqlite3_column_int(s, 3);
        r.token = sqlite3_column_int64(s, 4);
        Sum want = sum_of(key, nkey, data, data ? r.n : 0);
        r.there = true;
        r.good = data && sum && sqlite3_column_bytes(s, 1) == sizeof want &&
            !memcmp(sum, &want, sizeof want) &&
            !mark_is_left_over(r.token, (pid_t)sqlite3_column_int64(s, 5), sqlite3_column_int64(s, 6));
        if (r.good && (r.data = malloc(r.n)) != NULL)
            memcpy(r.data, data, r.n);
    }
    sqlite3_finalize(s);
    if (code != SQLITE_ROW)
        ended(code);
    return r;
}

/* tried: NULL, or whether it is marked until cache_worked(). */
static bool look(const void *key, size_t nkey, void **data, size_t *n, bool *tried)
{
    Row r = { 0 };
    pthread_mutex_lock(&cache.lock);
    if (connection())
        r = read_row(key, nkey);
    const sqlite3_int64 now = (sqlite3_int64)time(NULL), mark[] = { cache.token, getpid(), now };
    if (r.there && !r.good)
        run_one("delete from " TABLE " where key = ?", true, key, nkey, NULL, 0);
    else if (r.data && tried && !r.proven && !r.token)
        run_one("update " TABLE " set token = ?2, pid = ?3, since = ?4 where key = ?1", false, key, nkey,
            mark, 3);
    else if (r.data && r.used + FRESH_S < now)
        run_one("update " TABLE " set used = ?2 where key = ?1", false, key, nkey, &now, 1);
    pthread_mutex_unlock(&cache.lock);
    *data = r.data;
    *n = r.n;
    if (tried)
        *tried = r.data && !r.proven;
    return r.data != NULL;
}

bool cache_get(const void *key, size_t nkey, void **data, size_t *n)
{
    return look(key, nkey, data, n, NULL);
}
bool cache_try(const void *key, size_t nkey, void **data, size_t *n, bool *tried)
{
    return look(key, nkey, data, n, tried);
}

void cache_worked(const void *key, size_t nkey)
{
    pthread_mutex_lock(&cache.lock);
    if (connection())
        run_one("update " TABLE " set proven = 1, token = 0 where key = ?", true, key, nkey, NULL, 0);
    pthread_mutex_unlock(&cache.lock);
}

void cache_drop(const void *key, size_t nkey)
{
    pthread_mutex_lock(&cache.lock);
    if (connection())
        run_one("delete from " TABLE " where key = ?", true, key, nkey, NULL, 0);
    pthread_mutex_unlock(&cache.lock);
}

static void keep_under_cap(void)
{
    const char *mb = getenv("HEDDLE_CACHE_MB");
    const sqlite3_int64 cap = mb && atoll(mb) > 0 ? atoll(mb) << 20 : CAP_BYTES;
    run_one("delete from " TABLE
            " where key is not ?1 and key in (select key from (select key, sum(length(data)) over "
            "(order by used desc, rowid desc) as total from " TABLE ") where total > ?2)",
        false, "", 0, &cap, 1);
}

/* With the lock held and a connection. */
static int put(const void *key, size_t nkey, const void *data, size_t n)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(cache.db, "insert or replace into " TABLE
            " values (?, ?, strftime('%s', 'now'), 0, 0, 0, 0, ?)", -1, &s, NULL) != SQLITE_OK)
        return CACHE_NONE;
    Sum sum = sum_of(key, nkey, data, n);
    sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, &sum, sizeof sum, SQLITE_STATIC);
    sqlite3_bind_blob(s, 3, data, (int)n, SQLITE_STATIC);
    sqlite3_busy_timeout(cache.db, cache.in_vain ? TRY_MS : PUT_MS);
    int code = sqlite3_step(s);
    sqlite3_finalize(s);
    sqlite3_busy_timeout(cache.db, TRY_MS);
    cache.in_vain = (code & 0xff) == SQLITE_BUSY;
    if (code == SQLITE_DONE)
        keep_under_cap();
    else
        ended(code);
    return code == SQLITE_DONE ? CACHE_KEPT : cache.in_vain ? CACHE_BUSY : CACHE_NONE;
}

int cache_put(const void *key, size_t nkey, const void *data, size_t n)
{
    int how = CACHE_NONE;
    pthread_mutex_lock(&cache.lock);
    if (n < 0x7fffffff && connection())
        how = put(key, nkey, data, n);
    else if (cache.later)
        how = CACHE_BUSY;
    pthread_mutex_unlock(&cache.lock);
    return how;
}

static uint64_t build;

static void find_build(void)
{
    Dl_info self;
    struct stat s;
    if (!dladdr((const void *)(uintptr_t)find_build, &self) || !self.dli_fname ||
        stat(strchr(self.dli_fname, '/') ? self.dli_fname : "/proc/self/exe", &s))
        return;
    const int64_t what[] = { (int64_t)s.st_dev, (int64_t)s.st_ino, s.st_size, s.st_mtim.tv_sec,
        s.st_mtim.tv_nsec };
    build = hash_bytes(what, sizeof what, 1);
}

uint64_t cache_build(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_build);
    return build;
}

bool cache_exists(void)
{
    char path[4096];
    return cache_path(path, sizeof path) && !access(path, F_OK) && !cache.failed;
}

/* ---- claims ---- */

static int open_claims(void)
{
    char path[4096], name[4200];
    pthread_mutex_lock(&cache.lock);
    bool there = connection() && cache_path(path, sizeof path);
    pthread_mutex_unlock(&cache.lock);
    if (!there)
        return -1;
    snprintf(name, sizeof name, "%s-claims", path);
    return open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int cache_claim(const void *key, size_t nkey, int wait_ms)
{
    const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000 };
    struct flock l = { .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = (off_t)(hash_bytes(key, nkey, 13) >> 2),
        .l_len = 1 };
    int fd = open_claims();
    for (int waited = 0; fd >= 0 && fcntl(fd, F_OFD_SETLK, &l); waited += LOOK_MS) {
        bool taken = errno == EAGAIN || errno == EACCES;
        if (!taken || waited >= wait_ms)
            return close(fd), taken ? CLAIM_TAKEN : CLAIM_NONE;
        nanosleep(&pause, NULL);
    }
    return fd < 0 ? CLAIM_NONE : fd;
}

void cache_claim_end(int claim)
{
    if (claim >= 0)
        close(claim);
}
