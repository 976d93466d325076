/*
 * timeline.c - is a file of HEDDLE_TIMELINE what viewers of the Trace Event Format read (Perfetto,
 * about:tracing)? And do shards overlap in it?
 *
 * In:  timeline FILE [N].   Out: what is in it; 1, and the first event that is wrong, or fewer than N lanes
 * at work at once.
 * The format's rules for what Heddle writes: an array of objects; `ph` is B or E (a span begins, ends) or M
 * (a name); pid and tid are whole numbers; B has a name, B and E a time `ts` in microseconds, which does not
 * go back in a lane, a pair of pid and tid; spans of a lane nest, and an E has the name of the B that it
 * ends; M names a process or a thread, in args.name; every lane and every process of a span has a name.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 1000, DEPTH = 30 };

typedef struct Lane {
    json_int_t pid, tid;
    bool named, process_named;
    double last;
    int depth;
    const char *open[DEPTH];
} Lane;

static Lane lane[LANES];
static int nlane;

static Lane *lane_of(json_int_t pid, json_int_t tid)
{
    int k = 0;
    while (k < nlane && (lane[k].pid != pid || lane[k].tid != tid))
        k++;
    if (k == LANES)
        return NULL;
    if (k == nlane) {
        lane[nlane++] = (Lane){ .pid = pid, .tid = tid };
        for (int j = 0; j < k; j++)
            lane[k].process_named |= lane[j].pid == pid && lane[j].process_named;
    }
    return &lane[k];
}

static const char *name_event(Lane *l, const json_t *o, const char *name)
{
    const char *what = json_string_value(json_object_get(json_object_get(o, "args"), "name"));
    if (!what || !*what)
        return "args.name is missing";
    if (!strcmp(name, "thread_name"))
        l->named = true;
    else if (strcmp(name, "process_name"))
        return "a name of neither a process nor a thread";
    else
        for (int k = 0; k < nlane; k++)
            lane[k].process_named |= lane[k].pid == l->pid;
    return NULL;
}

static const char *span_event(Lane *l, const json_t *o, bool begins, const char *name)
{
    const json_t *ts = json_object_get(o, "ts");
    double t = json_number_value(ts);
    if (!json_is_number(ts) || t < 0)
        return "ts is no time";
    if (t < l->last)
        return "time goes back";
    if (!l->named || !l->process_named)
        return "its lane has no name";
    l->last = t;
    if (begins && l->depth == DEPTH)
        return "spans nest too deep";
    if (begins) {
        l->open[l->depth++] = name;
        return NULL;
    }
    if (!l->depth)
        return "it ends what has not begun";
    return strcmp(l->open[--l->depth], name) ? "it ends another span than the innermost" : NULL;
}

static const char *event(const json_t *o, int *way)
{
    const char *ph = json_string_value(json_object_get(o, "ph")),
               *name = json_string_value(json_object_get(o, "name"));
    const json_t *pid = json_object_get(o, "pid"), *tid = json_object_get(o, "tid");
    if (!ph || strlen(ph) != 1 || !strchr("BEM", *ph))
        return "ph is none of B, E and M";
    if (!json_is_integer(pid) || !json_is_integer(tid))
        return "pid or tid is no whole number";
    if (!name || !*name)
        return "name is missing";
    Lane *l = lane_of(json_integer_value(pid), json_integer_value(tid));
    if (!l)
        return "there are too many lanes for this program";
    if (*ph == 'M')
        return name_event(l, o, name);
    int before = l->depth > 0;
    const char *why = span_event(l, o, *ph == 'B', name);
    *way = (l->depth > 0) - before;
    return why;
}

/* A lane comes to work, or is done: way 1 or -1. Those of several ranks do not stand in the order of time.
 */
typedef struct Turn { double ts; int way; } Turn;

static int by_time(const void *a, const void *b)
{
    const Turn *x = a, *y = b;
    return x->ts != y->ts ? (x->ts > y->ts ? 1 : -1) : x->way - y->way;
}

static int most_at_once(Turn *t, size_t n)
{
    int at_work = 0, most = 0;
    if (n)
        qsort(t, n, sizeof *t, by_time);
    for (size_t k = 0; k < n; k++)
        at_work += t[k].way, most = at_work > most ? at_work : most;
    return most;
}

int main(int n, char **v)
{
    json_error_t e;
    json_t *all = n > 1 ? json_load_file(v[1], 0, &e) : NULL;
    const char *why = NULL;
    size_t turns = 0;
    if (!json_is_array(all))
        return fprintf(stderr, "%s\n", n > 1 ? e.text : "timeline FILE [N]"), 1;
    Turn *turn = calloc(json_array_size(all) + 1, sizeof *turn);
    for (size_t i = 0; i < json_array_size(all) && !why; i++) {
        int way = 0;
        if ((why = event(json_array_get(all, i), &way)))
            fprintf(stderr, "%s: event %zu: %s: %s\n", v[1], i, why,
                json_dumps(json_array_get(all, i), JSON_COMPACT));
        if (way)
            turn[turns++] = (Turn){ json_number_value(json_object_get(json_array_get(all, i), "ts")), way };
    }
    for (int k = 0; k < nlane && !why; k++)
        if (lane[k].depth)
            fprintf(stderr, "%s: a span %s has no end\n", v[1], why = lane[k].open[0]);
    const int most = most_at_once(turn, turns);
    printf("%zu events in %d lanes, of which at most %d are at work at once\n", json_array_size(all), nlane,
        most);
    free(turn);
    json_decref(all);
    return why || most < (n > 2 ? atoi(v[2]) : 0);
}
