/*
 * report.h - what `heddle compare` found of a program, and the page of it.
 */
#ifndef HEDDLE_TOOLS_REPORT_H
#define HEDDLE_TOOLS_REPORT_H

#include "compare.h"

typedef struct Report {
    const char *file;
    Comparison *c;
    int n;
    Compared *of; /* by device */
    const char **folder; /* of the small program; NULL: none */
} Report;

bool report_agrees(const Report *);
int report_page(const Report *, const char *path); /* 0, or a code */

#endif
