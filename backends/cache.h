/*
 * cache.h - compiled programs on disk (cache.c, SQLite). Safe with many processes; silent where it cannot
 * work.
 */
#ifndef HEDDLE_CACHE_H
#define HEDDLE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool cache_get(const void *key, size_t nkey, void **data, size_t *n);   /* *data: free() it */
/* Nobody need care whether it is kept. */
enum {
    CACHE_KEPT,
    CACHE_BUSY, /* somebody else writes for long, or stopped in the midst: it may work another time */
    CACHE_NONE  /* there is no cache, or it cannot be written */
};
int cache_put(const void *key, size_t nkey, const void *data, size_t n);
void cache_drop(const void *key, size_t nkey);          /* the driver refused it */
/* As cache_get, for what may end the process. *tried: it has never worked before, and is owed a
 * cache_worked() or a cache_drop(); if the process ends without, it is not tried again. */
bool cache_try(const void *key, size_t nkey, void **data, size_t *n, bool *tried);
void cache_worked(const void *key, size_t nkey);

/* Which build of this library it is, by the file that holds this code: a number for keys of what another
 * build may make otherwise of the same. 0: it cannot be known. */
uint64_t cache_build(void);

/* Is there a file that is not known to be useless? Nobody makes one. */
bool cache_exists(void);

/* What several processes want, one makes: whoever has the claim of a key looks once more whether it is kept,
 * makes it, keeps it, and gives the claim back, which the system does for a process that ends. Waits so long
 * at most while somebody else has it. >= 0: the claim; else one of these. */
enum {
    CLAIM_TAKEN = -1, /* somebody else still has it */
    CLAIM_NONE = -2, /* there is no cache to make it for */
    CLAIM_MS = 120000 /* compiling seldom takes longer: then it is done twice */
};
int cache_claim(const void *key, size_t nkey, int wait_ms);
void cache_claim_end(int claim);

#endif
