/* pool.h - a small pool of threads.
 *
 * Work is cut into chunks by the caller, by size alone; threads claim chunks
 * dynamically, each from its own part first. So the same chunks are computed whatever the
 * number of threads, and the same bits come out. A pool refuses to nest, to queue, and to
 * wait for another caller: in each of those cases the calling thread simply runs all
 * chunks itself. */
#ifndef PA_POOL_H
#define PA_POOL_H

#include <stddef.h>

typedef struct pa_pool pa_pool;

/* Runs one chunk, 0 <= chunk < n. `worker` is below the pool's thread count and is
 * distinct among the threads running at the same time (0 is the caller). A task must not
 * fork. It runs in the caller's rounding and denormal mode, and floating-point
 * exceptions raised in it are the caller's afterwards, whichever thread ran it. */
typedef void pa_task(void *arg, ptrdiff_t chunk, int worker);

/* A pool for up to `threads` threads, the caller's included; threads are started on
 * first use. NULL: out of memory. */
pa_pool *pa_pool_new(int threads);
void pa_pool_free(pa_pool *pool); /* joins the threads; a pool that another thread is
                                     just using is left to that thread to free */

int pa_pool_threads(const pa_pool *pool);        /* 1 for NULL */
void pa_pool_resize(pa_pool *pool, int threads); /* at any time, from any thread */

/* Runs task(arg, i, worker) for every chunk i in [0, n) and returns when all are done.
 * Safe with pool NULL, from several threads at once, from inside a task, and in the
 * child of a fork. When the caller's watch (base/watch.h) says stop, it returns with the
 * chunks that have begun finished and the others not run. */
void pa_pool_run(pa_pool *pool, pa_task *task, void *arg, ptrdiff_t n);

#endif
