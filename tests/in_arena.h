/*
 * in_arena.h - the fixture of suites below the public interface: what a test makes lies in an arena of its
 * own, and so do its forms.
 */
#ifndef HEDDLE_TESTS_IN_ARENA_H
#define HEDDLE_TESTS_IN_ARENA_H

#include "graph.h"
#include "index.h"

static Arena *arena, *before_it;

static void arena_in(void)
{
    error_clear();
    arena = arena_new(), before_it = arena_use(arena);
    form_open();
}

static void arena_out(void)
{
    form_close();
    arena_use(before_it), arena_drop(arena);
    error_clear();
}

#endif
