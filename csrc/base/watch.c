/* watch.c - see watch.h. */
#define _GNU_SOURCE
#include "base/watch.h"

#include <stddef.h>

#include "base/thread.h"

enum { LOOK_EVERY = 50000000 }; /* nanoseconds */

static PA_THREAD_LOCAL pa_watch *current;

void pa_watch_init(pa_watch *w, bool (*look)(void *), void *arg, bool in_pool)
{
    *w = (pa_watch){.look = look,
                    .arg = arg,
                    .in_pool = in_pool,
                    .next = pa_nanoseconds_about() + LOOK_EVERY,
                    .fpu = pa_fpu_get(),
                    .owner = &current};
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

pa_watch *pa_watch_in_pool(void)
{
    return current && current->in_pool ? current : NULL;
}

bool pa_watch_stops(pa_watch *w)
{
    if (!w || pa_atomic_get(&w->stopped))
        return w != NULL;
    if (w->owner != &current || pa_nanoseconds_about() < w->next)
        return false;
    const pa_fpu here = pa_fpu_get();
    pa_fpu_set(w->fpu);
    pa_watch_set(NULL);
    const bool stop = w->look(w->arg);
    pa_watch_set(w);
    pa_fpu_set(here);
    pa_atomic_set(&w->stopped, stop);
    w->next = pa_nanoseconds_about() + LOOK_EVERY;
    return stop;
}
