/*
 * file.h - what hd_load and hd_save stand on: files read within their size, .npy arrays, zip archives, and
 * files that take another's place in one step.
 *
 * Nothing in a file is believed. Memory is asked for only when the file has the bytes for it: a deflated
 * entry may hold at most PACKS_MOST times its size, entries may not overlap, and all arrays together must
 * fit this machine.
 */
#ifndef HEDDLE_FILE_H
#define HEDDLE_FILE_H

#include "api.h"
#include <zlib.h>

/* ==================== reading (npy.c, zip.c) */

enum { PACKS_MOST = 1032 };                     /* deflate makes at most this many bytes of one */

typedef struct Input {
    int fd; const char *path;
    uint64_t size;                              /* of the file */
    uint64_t total;                             /* of the arrays read so far */
} Input;
int damaged(const char *path, const char *why);                 /* HD_EIO with a sentence */
int input_read(const Input *, uint64_t at, void *to, size_t n);         /* exactly n bytes. 0, or a code */
/* before memory for an array is asked for: does this machine have it? */
int input_room(Input *, uint64_t bytes);

/* Bytes in order: a part of a file as it is, or what it inflates to. */
typedef struct Stream {
    Input *f;
    uint64_t at, packed;                        /* the part of the file that is left */
    uint64_t size;                              /* bytes still to come out */
    uint32_t crc;                               /* of what came out */
    bool sums, inflates, ended;                 /* sums: crc is kept */
    z_stream z;
    unsigned char buf[16 << 10];
} Stream;
int stream_read(Stream *, void *to, size_t n);

hd_array *npy_read(Stream *);                   /* a header and its array. NULL after an error */
size_t npy_header(const Type *, char *out, size_t room);        /* bytes of it, padded to 64 */

/* An archive's entries in the order of its directory, which is in memory. */
typedef struct Zip { Input *f; char *dir; size_t n, at; uint64_t count, covered; } Zip;
typedef struct Item {
    const char *name, *note; size_t name_n, note_n;             /* in the directory */
    uint64_t size, packed, offset; uint32_t crc; int method, flags;
} Item;
int zip_open(Zip *, Input *);                   /* ended by zip_done */
int zip_next(Zip *, Item *);                    /* count times */
hd_array *zip_array(Zip *, const Item *);       /* NULL after an error */
void zip_done(Zip *);

/* ==================== writing (zip.c, replace.c) */

/* A file that takes the place of another once it is whole. */
typedef struct Output {
    FILE *f; const char *path;                  /* as the user wrote it, for messages */
    int lock;                                   /* a second descriptor: holds the lock when f is closed */
    char *target, *part;                        /* where it will be; what it is called until then */
    uint64_t at;                                /* bytes so far */
    char *dir; size_t dir_n, dir_cap;           /* the zip directory so far */
    uint64_t count;                             /* of entries */
} Output;
int output_begin(Output *, const char *path);   /* 0, or a code; then there is nothing to end */
/* code 0: takes the place, if all was written; else gone. Returns the code */
int output_end(Output *, int code);
int put(Output *, const void *, size_t);

enum { NAME_MOST = UINT16_MAX };                /* bytes of an entry's name */
int zip_put(
    Output *, const char *name, const char *note, const char *head, size_t nh, const char *data, size_t nd);
int zip_close(Output *);

#endif
