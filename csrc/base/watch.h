/* watch.h - looking up from long work.
 *
 * A thread that is about to work for long sets a watch. The loops below then ask it,
 * about 20 times a second, whether to go on: a program between its operators, the pool
 * between its chunks, a long chunk between its parts. Threads that help with a job see
 * the watch of the job's caller: they never look themselves, but see the answer. Once the
 * answer was to stop, chunks are no longer run and what they would have written is
 * undefined; whoever set the watch sees `stopped` and drops the result. */
#ifndef PA_WATCH_H
#define PA_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/fpu.h"

typedef struct pa_watch {
    bool (*look)(void *arg); /* true: stop. It runs without a watch, in the floating-point
                                environment in which the watch was set */
    void *arg;
    bool in_pool; /* also between the chunks of one operator */
    pa_atomic stopped;
    int64_t next; /* nanoseconds: when to look again */
    pa_fpu fpu;
    const void *owner; /* the thread that looks */
} pa_watch;

void pa_watch_init(pa_watch *w, bool (*look)(void *), void *arg, bool in_pool);

/* The calling thread's watch from now on, NULL for none; returns the one before. */
pa_watch *pa_watch_set(pa_watch *w);
pa_watch *pa_watch_get(void);
pa_watch *pa_watch_in_pool(void); /* the same where it is `in_pool`, else NULL */

/* Is the calling thread to stop? Costs a look at the clock. */
bool pa_watch_stops(pa_watch *w); /* w may be NULL */

#endif
