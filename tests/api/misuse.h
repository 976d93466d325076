/*
 * misuse.h - the rows of errors.def: what must be refused, and what the message says.
 */
#ifndef HEDDLE_TESTS_MISUSE_H
#define HEDDLE_TESTS_MISUSE_H

#include "heddle.h"

/* kind: 'e' an error at this line of errors.def, 'i' one inside what is called, 'o' has a meaning here, 'n'
 * C cannot write it, 'l' of something that Heddle does not have yet. text: the words of the message, with |
 * between; or why. */
typedef struct Misuse { const char *name; int line; char kind; const char *text; hd (*f)(void); } Misuse;

extern const Misuse misuses[];
extern const int misuse_count;

const Misuse *misuse_find(const char *name);    /* NULL: no such row */
/* NULL, or what the message lacks. A call over several lines may name any of them. */
const char *misuse_lacks(const char *message, const char *words, const char *file, int line);
const char *misuse_judge(const Misuse *, const char *device);   /* NULL, or what is wrong */

#endif
