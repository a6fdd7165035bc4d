/* How a job runs. The caller fills the job, opens it, raises `round`, and takes chunks
 * like everybody else. A worker that sees a new round enters (`inside` += 1), and only
 * then looks whether the job is still open; the caller closes it first and then waits
 * until nobody is inside. Either the worker sees the job closed, or the caller sees the
 * worker: so the caller never waits for a thread that has not woken up yet, and a
 * thread that wakes up late never touches the next job's fields.
 *
 * Fork: the child inherits the memory but none of the threads. It notices by its
 * process id, and the first caller puts every field back to its state at birth. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/fpu.h"
#include "base/thread.h"
#include "base/watch.h"

enum {
    MAX_THREADS = 256,
    /* A woken thread needs 40 to 60 us to arrive, a spinning one 0.3: to spin as long
     * as a wake-up costs is at most twice the price of knowing the future. */
    SPIN_NS = 60000,
    WAKE_NS = 50000,
    LOST_NS = 500000,
    WAIT_NS = 120000,    /* the same for the runner; chunks last up to about 100 us */
    RELAX_PER_LOOK = 16, /* pauses between two looks at the clock */
    MAX_RANGES = 16,
};

/* Neighbouring chunks, which the same threads take first in every job. Chunk i of a job's
 * n mostly works on the same part of a model as chunk i of another job's n: threads then
 * find in their own caches what they wrote there. */
typedef struct pa_range {
    pa_atomic next; /* first chunk that nobody has claimed */
    int64_t end;
    char pad[PA_CACHE_LINE - 2 * sizeof(int64_t)];
} pa_range;

typedef struct pa_job {
    pa_task *task;
    void *arg;
    ptrdiff_t n;
    int threads;     /* workers from this number on stay out */
    int ranges;      /* how many the chunks are cut into */
    pa_fpu fpu;      /* the caller's */
    pa_watch *watch; /* the caller's, or NULL */
} pa_job;

typedef struct pa_worker {
    pa_pool *pool;
    int index; /* 1 and up */
    pa_thread thread;
} pa_worker;

enum { IDLE, BUSY, BUSY_ORPHAN }; /* pool->state; an orphan is freed by its runner */

struct pa_pool {
    pa_atomic state;
    pa_atomic process; /* whose threads these are; 0 while being reset */
    pa_atomic threads; /* wanted, the caller's included */
    int cpus;

    /* One cache line each: chunk claims must not slow down the spinning threads. */
    char pad0[PA_CACHE_LINE];
    pa_atomic round; /* changes with every job, and when workers have to leave */
    char pad1[PA_CACHE_LINE];
    pa_range range[MAX_RANGES];
    pa_atomic open, inside;
    pa_atomic flags; /* exceptions that the workers raised */
    pa_job job;
    char pad3[PA_CACHE_LINE];

    pa_atomic keep;            /* workers from this number on leave */
    pa_atomic sleepers;        /* workers in wait_round's lock */
    pa_atomic runner_sleeps;   /* the caller in wait_inside's lock */
    pa_mutex lock;             /* guards nothing but the two conditions */
    pa_cond new_round, nobody; /* nobody is inside */
    int started;               /* workers 1..started exist; owned by the runner */
    int alone, penalty;        /* see judge_wait; owned by the runner */
    pa_worker worker[MAX_THREADS];
};

/* ---- workers ---------------------------------------------------------------------- */

/* Returns when `round` differs from `seen`: spins for a while, then sleeps. */
static int64_t wait_round(pa_pool *pool, int64_t seen)
{
    int64_t round;
    /* More threads than processors: spinning would take time from the runner. */
    int64_t spin = pa_atomic_get(&pool->threads) > pool->cpus ? 0 : SPIN_NS;
    for (int64_t until = pa_nanoseconds() + spin; pa_nanoseconds() < until;) {
        for (int i = 0; i < RELAX_PER_LOOK; i++) {
            if ((round = pa_atomic_get(&pool->round)) != seen)
                return round;
            pa_cpu_relax();
        }
        pa_thread_yield(); /* the runner itself may be waiting for this processor */
    }
    pa_mutex_lock(&pool->lock);
    pa_atomic_add(&pool->sleepers, 1);
    while ((round = pa_atomic_get(&pool->round)) == seen)
        pa_cond_wait(&pool->new_round, &pool->lock);
    pa_atomic_add(&pool->sleepers, -1);
    pa_mutex_unlock(&pool->lock);
    return round;
}

/* The range in which a worker begins. */
static int home(const pa_job *job, int worker)
{
    return (int)((int64_t)worker * job->ranges / job->threads);
}

/* Runs one chunk of range *at or, if that is used up, of the next one that is not. */
static bool take_chunk(pa_pool *pool, const pa_job *job, int *at, int worker)
{
    for (int tried = 0; tried < job->ranges; tried++) {
        pa_range *r = &pool->range[*at];
        const int64_t i = pa_atomic_add(&r->next, 1);
        if (i < r->end) {
            job->task(job->arg, (ptrdiff_t)i, worker);
            return true;
        }
        *at = *at + 1 < job->ranges ? *at + 1 : 0;
    }
    return false;
}

/* Rounding and denormal mode are the caller's during the job; exceptions raised here
 * are handed to the caller, as if it had run the chunk itself. */
static void help(pa_pool *pool, int worker)
{
    pa_atomic_add(&pool->inside, 1);
    if (pa_atomic_get(&pool->open) && worker < pool->job.threads) {
        const pa_job job = pool->job;
        const pa_fpu own = pa_fpu_get();
        pa_fpu_set((pa_fpu){job.fpu.control, 0});
        pa_watch_set(job.watch);
        for (int at = home(&job, worker); take_chunk(pool, &job, &at, worker);)
            ;
        pa_watch_set(NULL);
        const uint64_t raised = pa_fpu_get().flags;
        pa_fpu_set(own);
        if (raised)
            pa_atomic_or(&pool->flags, (int64_t)raised);
    }
    if (pa_atomic_add(&pool->inside, -1) == 1 && pa_atomic_get(&pool->runner_sleeps)) {
        pa_mutex_lock(&pool->lock);
        pa_cond_wake_all(&pool->nobody);
        pa_mutex_unlock(&pool->lock);
    }
}

static PA_THREAD_MAIN(worker_main, arg)
{
    pa_worker *self = arg;
    pa_pool *pool = self->pool;
    int64_t seen = -1; /* a worker born during a job looks at it at once */
    for (;;) {
        seen = wait_round(pool, seen);
        if (self->index >= pa_atomic_get(&pool->keep))
            return 0;
        help(pool, self->index);
    }
}

/* ---- the runner: the thread that holds `state` ---------------------------------------
 */

static void wake(pa_pool *pool)
{
    pa_mutex_lock(&pool->lock);
    pa_cond_wake_all(&pool->new_round);
    pa_mutex_unlock(&pool->lock);
}

static void start_workers(pa_pool *pool, int threads)
{
    pa_atomic_set(&pool->keep, threads);
    while (pool->started + 1 < threads) {
        pa_worker *w = &pool->worker[pool->started + 1];
        w->pool = pool;
        w->index = pool->started + 1;
        if (!pa_thread_start(&w->thread, worker_main, w))
            return; /* fewer threads compute the same */
        pool->started++;
    }
}

static void stop_workers(pa_pool *pool, int threads)
{
    if (pool->started + 1 <= threads)
        return;
    pa_atomic_set(&pool->keep, threads);
    pa_atomic_add(&pool->round, 1);
    wake(pool);
    while (pool->started + 1 > threads)
        pa_thread_join(pool->worker[pool->started--].thread);
}

static void wait_inside(pa_pool *pool)
{
    int64_t until = 0;
    while (pa_atomic_get(&pool->inside) > 0) {
        for (int i = 0; i < RELAX_PER_LOOK && pa_atomic_get(&pool->inside) > 0; i++)
            pa_cpu_relax();
        const int64_t now = pa_nanoseconds();
        if (until == 0)
            until = now + WAIT_NS;
        if (now < until)
            continue;
        pa_mutex_lock(&pool->lock);
        pa_atomic_set(&pool->runner_sleeps, 1);
        while (pa_atomic_get(&pool->inside) > 0)
            pa_cond_wait(&pool->nobody, &pool->lock);
        pa_atomic_set(&pool->runner_sleeps, 0);
        pa_mutex_unlock(&pool->lock);
    }
}

static void fill_ranges(pa_pool *pool, const pa_job *job)
{
    for (int i = 0; i < job->ranges; i++) {
        pool->range[i].end = job->n * (i + 1) / job->ranges;
        pa_atomic_set(&pool->range[i].next, job->n * i / job->ranges);
    }
}

static int64_t unclaimed(const pa_pool *pool, const pa_job *job)
{
    int64_t n = 0;
    for (int i = 0; i < job->ranges; i++) {
        const int64_t left = pool->range[i].end - pa_atomic_get(&pool->range[i].next);
        n += left > 0 ? left : 0;
    }
    return n;
}

/* The runner's own share. Waking threads costs it some microseconds and they come late:
 * it first sees from its own chunks whether they will find work. Returns its chunks. */
static int64_t run_share(pa_pool *pool, int64_t start)
{
    const pa_job *job = &pool->job;
    int64_t done = 0;
    bool asleep = pa_atomic_get(&pool->sleepers) > 0;
    for (int at = home(job, 0); take_chunk(pool, job, &at, 0);) {
        done++;
        if (pa_watch_stops(job->watch)) /* nobody finds another chunk */
            for (int i = 0; i < job->ranges; i++)
                pa_atomic_set(&pool->range[i].next, pool->range[i].end);
        if (!asleep)
            continue;
        if ((pa_nanoseconds() - start) / done * unclaimed(pool, job) > WAKE_NS) {
            wake(pool);
            asleep = false;
        }
    }
    return done;
}

/* A worker that took a chunk and then lost its processor to another program keeps the
 * runner waiting for milliseconds. After a wait that no chunk explains, some jobs are run
 * without help: 1, 2, 4 ... 32 of them while it goes on like this. */
static void judge_wait(pa_pool *pool, int64_t waited, int64_t worked, int64_t done)
{
    if (waited > LOST_NS && waited / 4 > worked / (done > 0 ? done : 1)) {
        pool->alone = pool->penalty;
        pool->penalty = pool->penalty < 32 ? 2 * pool->penalty : 32;
    } else if (pool->penalty > 1) {
        pool->penalty /= 2;
    }
}

static void run_inline(pa_task *task, void *arg, ptrdiff_t n)
{
    pa_watch *watch = pa_watch_in_pool();
    bool stopped = false;
    for (ptrdiff_t i = 0; i < n && !stopped; i++) {
        task(arg, i, 0);
        stopped = pa_watch_stops(watch);
    }
}

static bool set_up(pa_pool *pool)
{
    if (!pa_mutex_init(&pool->lock))
        return false;
    if (pa_cond_init(&pool->new_round)) {
        if (pa_cond_init(&pool->nobody))
            return true;
        pa_cond_destroy(&pool->new_round);
    }
    pa_mutex_destroy(&pool->lock);
    return false;
}

/* Is the pool this process's own? If it came through a fork, the first caller makes it
 * so; whoever comes meanwhile runs inline. */
static bool owned(pa_pool *pool)
{
    const int64_t own = pa_process_id(), owner = pa_atomic_get(&pool->process);
    if (owner == own)
        return true;
    if (owner == 0 || !pa_atomic_cas(&pool->process, owner, 0))
        return false;
    /* The parent's lock may be held by a thread that does not exist here, and its
     * conditions may be waited on: they are dropped, not destroyed. */
    memset(&pool->lock, 0, sizeof pool->lock);
    memset(&pool->new_round, 0, sizeof pool->new_round);
    memset(&pool->nobody, 0, sizeof pool->nobody);
    pool->started = 0;
    pa_atomic_set(&pool->open, 0);
    pa_atomic_set(&pool->inside, 0);
    pa_atomic_set(&pool->flags, 0);
    pa_atomic_set(&pool->sleepers, 0);
    pa_atomic_set(&pool->runner_sleeps, 0);
    if (!set_up(pool))
        return false; /* out of memory: this process stays with one thread */
    pa_atomic_set(&pool->state, IDLE);
    pa_atomic_set(&pool->process, own);
    return true;
}

static void destroy(pa_pool *pool)
{
    stop_workers(pool, 1);
    pa_cond_destroy(&pool->nobody);
    pa_cond_destroy(&pool->new_round);
    pa_mutex_destroy(&pool->lock);
    free(pool);
}

static void release(pa_pool *pool)
{
    if (!pa_atomic_cas(&pool->state, BUSY, IDLE))
        destroy(pool); /* freed while it was busy */
}

static void run_job(pa_pool *pool, pa_task *task, void *arg, ptrdiff_t n, int threads)
{
    int ranges = threads < MAX_RANGES ? threads : MAX_RANGES;
    ranges = n < ranges ? (int)n : ranges;
    pool->job = (pa_job){task, arg, n, threads, ranges, pa_fpu_get(), pa_watch_in_pool()};
    fill_ranges(pool, &pool->job);
    pa_atomic_set(&pool->flags, 0);
    pa_atomic_set(&pool->open, 1);
    pa_atomic_add(&pool->round, 1);
    const int64_t start = pa_nanoseconds();
    const int64_t done = run_share(pool, start);
    pa_atomic_set(&pool->open, 0);
    const int64_t end = pa_nanoseconds();
    wait_inside(pool);
    judge_wait(pool, pa_nanoseconds() - end, end - start, done);
    const uint64_t raised = (uint64_t)pa_atomic_get(&pool->flags);
    if (raised) {
        pa_fpu now = pa_fpu_get();
        now.flags |= raised;
        pa_fpu_set(now);
    }
}

/* ---- the interface ------------------------------------------------------------------
 */

static int clamp_threads(int threads)
{
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

pa_pool *pa_pool_new(int threads)
{
    pa_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    if (!set_up(pool)) {
        free(pool);
        return NULL;
    }
    pool->cpus = pa_cpu_count();
    pool->penalty = 1;
    pa_atomic_set(&pool->threads, clamp_threads(threads));
    pa_atomic_set(&pool->process, pa_process_id());
    return pool;
}

void pa_pool_free(pa_pool *pool)
{
    if (!pool)
        return;
    if (pa_atomic_get(&pool->process) != pa_process_id()) {
        free(pool); /* inherited through a fork and never used: there are no threads */
        return;
    }
    if (pa_atomic_cas(&pool->state, BUSY, BUSY_ORPHAN))
        return; /* its runner frees it: waiting here could hang at exit */
    destroy(pool);
}

int pa_pool_threads(const pa_pool *pool)
{
    return pool ? (int)pa_atomic_get(&pool->threads) : 1;
}

void pa_pool_resize(pa_pool *pool, int threads)
{
    if (!pool)
        return;
    pa_atomic_set(&pool->threads, clamp_threads(threads));
    if (owned(pool) && pa_atomic_cas(&pool->state, IDLE, BUSY)) {
        stop_workers(pool, (int)pa_atomic_get(&pool->threads));
        release(pool);
    } /* else the runner's next job does it */
}

void pa_pool_run(pa_pool *pool, pa_task *task, void *arg, ptrdiff_t n)
{
    const pa_watch *watch = pa_watch_in_pool();
    if (watch && pa_atomic_get(&watch->stopped))
        return;
    const int threads = pa_pool_threads(pool);
    if (n <= 1 || threads <= 1 || pool->cpus <= 1 || !owned(pool) ||
        !pa_atomic_cas(&pool->state, IDLE, BUSY)) {
        run_inline(task, arg, n);
        return;
    }
    if (pool->alone > 0) {
        pool->alone--;
        run_inline(task, arg, n);
    } else {
        stop_workers(pool, threads);
        start_workers(pool, threads);
        run_job(pool, task, arg, n, threads);
    }
    release(pool);
}
