/*
 * cache.c - compiled programs on disk, in one SQLite file.
 *
 * In:  a key of any bytes, and a blob.   Out: the same blob in a later process, or nothing.
 * The file is $HEDDLE_CACHE, else $XDG_CACHE_HOME/heddle/programs.db, else ~/.cache/heddle/programs.db; HEDDLE_CACHE=off
 * turns it off. SQLite's own locking makes it safe between processes; a write-ahead log keeps it whole after a crash; each
 * entry carries a checksum, and a damaged one is deleted and counts as absent. Whatever goes wrong (a home that cannot be
 * written, a full disk, a damaged file) the cache does nothing and says nothing: programs are built again.
 * A connection must not cross fork(), so the process number is kept beside it and a child opens its own.
 */
#include "backend.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CAP_BYTES   (256ll << 20)                       /* of blobs; $HEDDLE_CACHE_MB changes it */
#define SCHEMA      "1"

static struct { pthread_mutex_t lock; sqlite3 *db; pid_t pid; bool failed; } cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700);
            *p = '/';
        }
    return true;
}

static bool cache_path(char *path, size_t n)
{
    const char *own = getenv("HEDDLE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int k;
    if (own && !strcmp(own, "off"))
        return false;
    if (own && *own)
        k = snprintf(path, n, "%s", own);
    else if (xdg && *xdg)
        k = snprintf(path, n, "%s/heddle/programs.db", xdg);
    else if (home && *home)
        k = snprintf(path, n, "%s/.cache/heddle/programs.db", home);
    else
        return false;
    return k > 0 && (size_t)k < n;
}

static bool prepare(sqlite3 *db)
{
    return sqlite3_exec(db, "pragma journal_mode=wal; pragma synchronous=normal;"
        "create table if not exists program" SCHEMA "(key blob primary key, sum integer, used integer, data blob)",
        NULL, NULL, NULL) == SQLITE_OK;
}

static sqlite3 *open_file(char *path)
{
    sqlite3 *db = NULL;
    make_folders(path);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 2000);
        if (prepare(db))
            return db;
        int code = sqlite3_errcode(db);
        sqlite3_close(db);
        if (code != SQLITE_NOTADB && code != SQLITE_CORRUPT)
            return NULL;
        unlink(path);                                   /* damaged beyond reading: begin again */
        if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
            sqlite3_busy_timeout(db, 2000);
            if (prepare(db))
                return db;
        }
    }
    sqlite3_close(db);
    return NULL;
}

/* The connection of this process, with the lock held; NULL: no cache. */
static sqlite3 *connection(void)
{
    char path[4096];
    if (cache.pid != getpid()) {                        /* the parent's connection is left alone: closing it would unlock its file */
        cache.db = NULL;
        cache.failed = false;
        cache.pid = getpid();
    }
    if (!cache.db && !cache.failed) {
        cache.db = cache_path(path, sizeof path) ? open_file(path) : NULL;
        cache.failed = !cache.db;
    }
    return cache.db;
}

static void run_one(sqlite3 *db, const char *sql, const void *key, size_t nkey)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
    sqlite3_step(s);
    sqlite3_finalize(s);
}

bool cache_get(const void *key, size_t nkey, void **data, size_t *n)
{
    bool found = false, bad = false;
    sqlite3_stmt *s;
    pthread_mutex_lock(&cache.lock);
    sqlite3 *db = connection();
    if (db && sqlite3_prepare_v2(db, "select data, sum from program" SCHEMA " where key = ?", -1, &s, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
        if (sqlite3_step(s) == SQLITE_ROW) {
            const void *p = sqlite3_column_blob(s, 0);
            *n = (size_t)sqlite3_column_bytes(s, 0);
            bad = !p || hash_bytes(p, *n, 1) != (uint64_t)sqlite3_column_int64(s, 1);
            if (!bad && (*data = malloc(*n)) != NULL) {
                memcpy(*data, p, *n);
                found = true;
            }
        }
        sqlite3_finalize(s);
        if (bad)
            run_one(db, "delete from program" SCHEMA " where key = ?", key, nkey);
        else if (found)
            run_one(db, "update program" SCHEMA " set used = strftime('%s', 'now') where key = ?", key, nkey);
    }
    pthread_mutex_unlock(&cache.lock);
    return found;
}

static void keep_under_cap(sqlite3 *db)
{
    const char *mb = getenv("HEDDLE_CACHE_MB");
    long long cap = mb && atoll(mb) > 0 ? atoll(mb) << 20 : CAP_BYTES;
    char sql[400];
    snprintf(sql, sizeof sql, "delete from program" SCHEMA " where key in (select key from (select key, sum(length(data)) over "
        "(order by used desc, rowid desc) as total from program" SCHEMA ") where total > %lld)", cap);
    sqlite3_exec(db, sql, NULL, NULL, NULL);
}

void cache_put(const void *key, size_t nkey, const void *data, size_t n)
{
    sqlite3_stmt *s;
    pthread_mutex_lock(&cache.lock);
    sqlite3 *db = connection();
    if (db && n < 0x7fffffff && sqlite3_prepare_v2(db, "insert or replace into program" SCHEMA
            " values (?, ?, strftime('%s', 'now'), ?)", -1, &s, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(s, 1, key, (int)nkey, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, (sqlite3_int64)hash_bytes(data, n, 1));
        sqlite3_bind_blob(s, 3, data, (int)n, SQLITE_STATIC);
        bool done = sqlite3_step(s) == SQLITE_DONE;
        sqlite3_finalize(s);
        if (done)
            keep_under_cap(db);
    }
    pthread_mutex_unlock(&cache.lock);
}
