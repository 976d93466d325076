/*
 * compare.h - one program on the host and on devices: how far results are apart, which instruction makes
 * the difference, and the smallest program that still does.
 *
 * In:  a program that is plain (compile_plain), the contents of its inputs, devices. Out: what follows.
 * The host is the reference. What rounding explains is no difference: the program is run on the host twice
 * more, each result of an instruction a rounding off (graph_shaken); an element's distance is counted in
 * what that changes there, and one rounding of its own. So nothing is said of results that depend on
 * rounding altogether, and a sum of a million numbers may be as far off as its order allows.
 * All is in the current arena.
 */
#ifndef HEDDLE_COMPARE_H
#define HEDDLE_COMPARE_H

#include "api.h"

/* as far as programs agree, unless one says otherwise: in roundings */
#define COMPARE_TOLERANCE 16.
enum { GAP_BARS = 34, COMPARE_RUNS = 2 };

/* How far an array is from what it should be. */
typedef struct Gap {
    double ulp, relative, absolute, roundings; /* the largest */
    int64_t nan; /* elements that are nan on one side alone */
    int64_t at;
    double got, want; /* where roundings are largest; -1: nowhere */
    int64_t size;
    int64_t bar[GAP_BARS]; /* elements by ULP: 0; 1; 2, 3; 4 to 7 ...; nan or more in the last */
} Gap;

/* An instruction that is run: where it is, and the operands of all its runs, one after the other. */
typedef struct Level Level;
typedef struct Site {
    const Ins *i;
    const Level *level;
    int64_t runs;
    char **in;
    size_t *bytes, *room; /* by operand */
} Site;
/* The program, or a body of a region in it. */
struct Level {
    const Level *up;
    const Ins *region;
    int body; /* NULL: the program */
    const Graph *g;
    Site *site; /* by instruction */
    Level **inner;
    int ninner, room;
    bool cut; /* too much to be kept: not all runs are there */
    int next; /* the instruction that the host runs next, perhaps */
};

/* A program and the contents of its inputs. */
typedef struct Trial {
    const Graph *g;
    void **in;
} Trial;

/* A device, against the host. */
typedef struct Compared {
    Device *device;
    const char *failed; /* the error; NULL: it ran */
    bool agree;
    Gap *out; /* by output */
    int worst; /* of them; -1: none */
    bool looked; /* each instruction was run by itself */
    const Site *born;
    Gap gap; /* the first that differs by itself; NULL: none */
    Trial small;
    Gap small_gap; /* a program that differs; g NULL: none is known */
    bool shrunk; /* it is the smallest */
} Compared;

typedef struct Comparison {
    Trial trial;
    double tol;
    void **want, **shaken[COMPARE_RUNS]; /* by output */
    Level *level; /* what the host ran; NULL: not noted */
} Comparison;

/* The host's part. NULL after an error. */
Comparison *comparison_new(Trial, double tol);
/* The results on the host alone. watch NULL: nobody looks. 0, or a code. */
int compare_host(const Trial *, const HostWatch *, void **out);
bool gap_agrees(const Gap *, double tol);
/* A device's part. An error of the device is in what it gives; the code is for what is worse. */
int compare_on(Comparison *, Device *, Compared *);
/* Where a difference is born; where no instruction differs by itself the program is shrunk, too. */
int compare_nodes(Comparison *, Compared *);
/* The smallest program that differs, if one does. */
int compare_shrink(const Comparison *, Compared *);
int compare_instructions(const Graph *); /* bodies too, constants not */
/* "v5 mul f32[3]", and where the user wrote it: "net.c:12", "" if nobody knows */
const char *compare_name(const Level *, const Ins *);
const char *compare_place(const Ins *);
/* The instruction that is to blame: the one that differs by itself, else the last of those that differ
 * together; level: where it is. NULL: none is known. */
const Ins *compare_blamed(const Compared *, const Level **level);
/* a symbol of a function, with the contents of arguments. 0, or a code */
int compare_trial(hd_fn *, hd_array *const *args, int n, Trial *);
/* devices by name, with commas; NULL: all but the host. How many; -1 after an error */
int compare_devices(const char *names, Device ***out);

#endif
