/*
 * progress.h - word of what takes long: how many kernels of a program are compiled.
 */
#ifndef HEDDLE_PROGRESS_H
#define HEDDLE_PROGRESS_H

#include <stdbool.h>

/* Of one wait; zero at its beginning. */
typedef struct Progress {
    double began;
    int done, all;
    bool shown;
} Progress;

typedef void ProgressTold(int done, int all, void *user);
/* Who is told, in the thread that waits; NULL: a line on a terminal, where stderr is one. */
void progress_to(ProgressTold *, void *user);
/* So many are done: told once the wait has lasted a second, and whenever it changes. */
void progress(Progress *, int done, int all);
void progress_end(Progress *, bool failed);

#endif
