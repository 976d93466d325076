/*
 * fuzz_target.h - bytes from strangers: what a fuzz target gives its driver.
 *
 * The driver is libFuzzer, where clang is (preset "fuzz", tools/check.sh), or fuzz_driver.c: the seeds and
 * so many mutations of them, the same ones each time.
 */
#ifndef HEDDLE_TESTS_FUZZ_TARGET_H
#define HEDDLE_TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* One input: refused with an error, or understood. Anything else ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void FuzzTake(const void *data, size_t size);
void fuzz_seeds(const char *folder, FuzzTake *);        /* the inputs to begin with */
void fuzz_words(FuzzTake *);                            /* what often stands in inputs */

/* Says what went wrong and ends the process. */
_Noreturn void fuzz_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
