/*
 * jobs.h - work for compilers in processes of their own: between jobs.c, which gives it out, and
 * compiler/compiler.c, the program that does it.
 *
 * A driver's compiler often works in one thread of a process at a time, so what is to be compiled by all
 * cores at once is compiled by several processes. They end after the process that asked them, when what it
 * asked for is on the disk.
 */
#ifndef HEDDLE_JOBS_H
#define HEDDLE_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ==================== the caller's side */

typedef struct Job Job;

/* Is there a program that compiles? It lies beside the library or a folder above; HEDDLE_COMPILER names
 * another, or is `off`. No under HEDDLE_FAULT, so that calls of drivers are made here and are counted. */
bool jobs_possible(void);
int jobs_at_once(void); /* as many as processors */
/* When jobs are done that take so long in all, and the longest of them so long, in any unit. */
double jobs_done(double all, double longest);
/* Rows for the cache on disk, which the compiler itself writes when it is done: it may outlive who asked. */
typedef struct JobRows {
    char *s;
    size_t n;
    bool failed; /* no memory */
} JobRows;
/* binary: what was compiled follows behind the value. */
void job_row(JobRows *, const void *key, size_t nkey, const void *value, size_t n, bool binary);
/* A program's text for the device of that name and driver, built with these options. urgent: somebody
 * waits. */
typedef struct JobText {
    const char *device, *driver, *options;
    const void *source;
    size_t nsource; /* bytes, the 0 of a text included */
    JobRows rows;
    bool urgent;
} JobText;
Job *job_new(const JobText *); /* NULL: it cannot be given away */
void job_hurry(Job *);                          /* somebody waits for it now; NULL is fine */
/* Has it ended, however? wait: at most so long; -1: until then. */
bool job_ended(Job *, int wait_ms);
/* Of one that has ended: the binary, free() it. NULL: it failed, and is to be compiled here. */
void *job_result(const Job *, size_t *n);
double job_ms(const Job *); /* what it took */
void job_drop(Job *); /* NULL is fine; nobody wants it: it is left out if it can be */
void jobs_forked(void); /* in the child of a fork: the parent's compilers are not ours */

/* ==================== between the processes */

enum {
    JOB_URGENT = 3,
    JOB_LATER = 4,
    JOB_ALIVE = 5,
    JOB_FILES
}; /* the program's descriptors; JOB_FILES: behind them */

typedef enum JobState { JOB_WAITS, JOB_TAKEN, JOB_WORKED, JOB_FAILED } JobState;

/* A message is two descriptors: a file that begins with this, and a pipe that closes when the job has ended,
 * however. In the file follow device, driver and options, each with a 0 behind it, the source, the rows,
 * then the binary. */
enum { JOB_DEVICE, JOB_DRIVER, JOB_OPTIONS, JOB_SOURCE, JOB_ROWS, JOB_PARTS };
typedef struct JobFile {
    _Atomic uint32_t state;
    uint32_t version;
    uint64_t part[JOB_PARTS]; /* bytes of each */
    uint64_t binary; /* bytes */
    double ms; /* of the compiler's processor time */
} JobFile;
enum { JOB_VERSION = 2 };

/* A row among the rows: this, the key, the value. */
typedef struct JobRow {
    uint64_t key, value, binary; /* bytes of both; 1: the binary belongs to the value */
} JobRow;

/* The driver's name of a job for Vulkan begins so, and goes on with its maker's bytes (vk.h), two digits
 * each; its options are the bytes of push constants. */
#define JOB_VULKAN "vulkan "

#endif
