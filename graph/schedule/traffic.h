/*
 * traffic.h - what a kernel loads and computes, counted symbolically. Private to shape.c and traffic.c.
 */
#ifndef HEDDLE_TRAFFIC_H
#define HEDDLE_TRAFFIC_H

#include "schedule.h"

/* v: what is loaded */
typedef struct Load { Form f; const Vars *loops; bool store; Ref v; const Idx *idx; } Load;
/* deps: of the element; of a reduction's steps, its result's */
typedef struct Work { double cost, code; const Vars *loops; const AtomSet *deps; } Work;
typedef struct Traffic {
    Sched *s; Refs made;
    Load *load; int nload, load_cap;
    Work *work; int nwork, work_cap;
    Load *tile; int ntile, tile_cap;            /* loads inside reductions, for each reduction */
    int nred;
} Traffic;

void traffic_count(Traffic *, const Store *, int nstore);

/* Does about half of what reductions load not depend on a? Then a block of it shares those loads. */
bool traffic_shared(const Traffic *, const Atom *a);
/* panels (shape_panel.c): does a work-item copy what is loaded here for itself; is it loaded beside that */
bool panel_reads(const Spec *, const Traffic *, const Load *, const Vars *space);
bool panel_passes_by(const Spec *, const Traffic *, const Load *, const Vars *space);
void choose_panels(Spec *, const Traffic *, const Vars *space);

/* Elements between lanes if a is the vector; false: each lane goes its own way. */
bool form_stride(Form, const Atom *, int64_t *);
bool form_depends(Form, const Atom *);
bool form_opaque(Form, const Atom *);           /* does a occur inside another atom? */
/* of a vector of them, in loads: 1, load_near, load_far */
double load_cost(const Machine *, Form, const Atom *);
const Atom *loops_phase(const Vars *);          /* the vector of the outermost loop; NULL without loops */

#endif
