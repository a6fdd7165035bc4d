/* guard.h - a step that would leave NaN or infinity behind is not made. */
#ifndef PA_GUARD_H
#define PA_GUARD_H

#include "graph/graph.h"

typedef struct pa_guard pa_guard;

/* For a program that runs these steps and changes something. grad: of each of the first n
 * values, or -1; tensor: of all values. opt may be NULL. */
pa_status pa_guard_new(pa_guard **made, const pa_graph *graph, const pa_steps *steps,
                       pa_optimizer *opt, int n, const int *grad, const pa_tensor *tensor,
                       pa_error *err);
void pa_guard_free(pa_guard *g); /* g may be NULL */

/* How many calls change what layers keep (moving statistics): the first of the updates.
 */
int pa_guard_states(const pa_guard *g);

/* Where a call may write a bound on the magnitudes of this gradient, so that the guard
 * need not look for itself; NULL where it is no parameter's, or looking costs less. */
double *pa_guard_bound(pa_guard *g, const pa_tensor *grad);

/* Parameters and slots may have been changed by others. */
void pa_guard_forget(pa_guard *g);

/* Before the first change: PA_EVALUE when a gradient is not finite, PA_ENOMEM. */
pa_status pa_guard_enter(pa_guard *g, const pa_ctx *ctx);

/* Behind the changes to state, and then to parameters and slots: NULL, or the data of an
 * array that is not finite, everything being put back to what it was. */
const void *pa_guard_leave_state(pa_guard *g, pa_pool *pool);
const void *pa_guard_leave(pa_guard *g, pa_pool *pool);

#endif
