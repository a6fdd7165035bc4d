/* watch.c - see watch.h. */
#define _GNU_SOURCE
#include "base/watch.h"

#include <stddef.h>

#include "base/thread.h"

enum { LOOK_EVERY = 50000000 }; /* nanoseconds */

static PA_THREAD_LOCAL pa_watch *current;

void pa_watch_init(pa_watch *w, bool (*look)(void *), void *arg, bool in_pool)
{
    *w = (pa_watch){look,        arg, in_pool, false, pa_nanoseconds() + LOOK_EVERY,
                    pa_fpu_get()};
}

pa_watch *pa_watch_set(pa_watch *w)
{
    pa_watch *before = current;
    current = w;
    return before;
}

pa_watch *pa_watch_get(void)
{
    return current;
}

bool pa_watch_stops(pa_watch *w)
{
    if (!w || w->stopped)
        return w != NULL;
    if (pa_nanoseconds() < w->next)
        return false;
    const pa_fpu here = pa_fpu_get();
    pa_fpu_set(w->fpu);
    pa_watch_set(NULL);
    w->stopped = w->look(w->arg);
    pa_watch_set(w);
    pa_fpu_set(here);
    w->next = pa_nanoseconds() + LOOK_EVERY;
    return w->stopped;
}
