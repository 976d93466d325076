/*
 * compiled.c - part of every test program and benchmark: programs run as compiled code from their first call
 * on. What these want to see is the device's code; tests of tier 0 ask for it.
 */
#include <stdlib.h>

static __attribute__((constructor)) void from_the_first_call(void) { setenv("HEDDLE_TIER", "1", 0); }
