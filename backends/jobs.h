/*
 * jobs.h - work for compilers in processes of their own: between jobs.c, which gives it out, and
 * compiler/compiler.c, the program that does it.
 *
 * A driver's compiler often works in one thread of a process at a time, so what is to be compiled by all
 * cores at once is compiled by several processes. They end with the process that asked them.
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
/* A program's text for the device of that name and driver, built with these options. urgent: somebody
 * waits. NULL: it cannot be given away. */
Job *job_new(const char *device, const char *driver, const char *options, const char *source, bool urgent);
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
 * however. In the file follow device, driver, options and source, each with a 0 behind it, then the
 * binary. */
typedef struct JobFile {
    _Atomic uint32_t state;
    uint32_t version;
    uint64_t part[4]; /* bytes of each, the 0 included */
    uint64_t binary; /* bytes */
    double ms; /* of the compiler's processor time */
} JobFile;
enum { JOB_VERSION = 1 };

#endif
