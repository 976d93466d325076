/*
 * heddle.h - what the commands share: the options, and a program with its arguments.
 */
#ifndef HEDDLE_TOOLS_COMMAND_H
#define HEDDLE_TOOLS_COMMAND_H

#include "api.h"

enum { MAX_STEPS = 16, MAX_ARGS = 16 };

typedef struct Options {
    const char *command, *stage, *file, *device, *machine, *gpu, *in[MAX_ARGS];
    int nin, nstep;
    struct { int key; int64_t n; } step[MAX_STEPS];
    bool print, verbose, all;
    /* of compare */
    char *const *files;
    int nfile; /* more than one program */
    const char *devices, *html, *shrink;
    double tol; /* below 0: not given */
    bool nodes, json, compares; /* compares: one of its own options was given */
} Options;

/* A function and the types of its arguments, as abstract arrays. */
typedef struct Lifted {
    hd_fn *f;
    hd_array *arg[MAX_ARGS + 1];
    int n;
} Lifted;

/* A file's text; NULL after a sentence: a folder, or a device that never ends, is no program. */
char *slurp(const char *path);
/* The program of a text under the transforms of the options. 0, or a code. */
int read_program(Lifted *, const char *text, const Options *);
/* Contents of its arguments: from files, the text's ";in" lines, or made by a formula. */
void fill_arguments(const Lifted *, const char *text, const Options *, hd_array **arg);

int compare_command(const Options *); /* compare.c: the exit status */

#endif
