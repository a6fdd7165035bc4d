/* watch.h - looking up from long work.
 *
 * A thread that is about to work for long sets a watch. The loops below then ask it,
 * about 20 times a second, whether to go on: a program between its operators, the pool
 * between its chunks. Once the answer was to stop, chunks are no longer run and what they
 * would have written is undefined; whoever set the watch sees `stopped` and drops the
 * result. */
#ifndef PA_WATCH_H
#define PA_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fpu.h"

typedef struct pa_watch {
    bool (*look)(void *arg); /* true: stop. It runs without a watch, in the floating-point
                                environment in which the watch was set */
    void *arg;
    bool in_pool; /* also between the chunks of one operator */
    bool stopped;
    int64_t next; /* nanoseconds: when to look again */
    pa_fpu fpu;
} pa_watch;

void pa_watch_init(pa_watch *w, bool (*look)(void *), void *arg, bool in_pool);

/* The calling thread's watch from now on, NULL for none; returns the one before. */
pa_watch *pa_watch_set(pa_watch *w);
pa_watch *pa_watch_get(void);

/* Is the calling thread, whose watch this is, to stop? Costs a look at the clock. */
bool pa_watch_stops(pa_watch *w); /* w may be NULL */

#endif
