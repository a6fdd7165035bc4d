/* The thread pool: every chunk once, whatever the number of threads, nesting, concurrent
 * callers, resizing, forking, freeing while busy; and the caller's floating-point
 * environment in the workers. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/fpu.h"
#include "base/thread.h"
#include "base/watch.h"

static int failures;

#define CHECK(cond, ...)                                                                 \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            failures++;                                                                  \
            printf("FAIL %s:%d %s: ", __FILE__, __LINE__, #cond);                        \
            printf(__VA_ARGS__);                                                         \
            printf("\n");                                                                \
        }                                                                                \
    } while (0)

enum { MAX_N = 20011, SLOTS = 64 };

typedef struct probe {
    pa_pool *pool;
    pa_atomic done[MAX_N]; /* how often each chunk ran */
    pa_atomic in_use[SLOTS];
    pa_atomic clashes, max_worker, total;
    int work; /* loop turns of a chunk */
} probe;

static void busy_loop(int turns)
{
    for (volatile int i = 0; i < turns; i++)
        ;
}

static void count(void *arg, ptrdiff_t chunk, int worker)
{
    probe *p = arg;
    if (pa_atomic_swap(&p->in_use[worker], 1))
        pa_atomic_add(&p->clashes, 1);
    pa_atomic_add(&p->done[chunk], 1);
    pa_atomic_add(&p->total, 1);
    for (int64_t m; worker > (m = pa_atomic_get(&p->max_worker));)
        pa_atomic_cas(&p->max_worker, m, worker);
    busy_loop(p->work);
    pa_atomic_set(&p->in_use[worker], 0);
}

static probe *new_probe(pa_pool *pool, int work)
{
    probe *p = calloc(1, sizeof *p);
    p->pool = pool;
    p->work = work;
    return p;
}

static void check_counts(probe *p, ptrdiff_t n, const char *what)
{
    CHECK(pa_atomic_get(&p->total) == n, "%s: n %td, ran %lld", what, n,
          (long long)pa_atomic_get(&p->total));
    for (ptrdiff_t i = 0; i < n; i++)
        CHECK(pa_atomic_get(&p->done[i]) == 1, "%s: chunk %td of %td ran %lld times",
              what, i, n, (long long)pa_atomic_get(&p->done[i]));
    CHECK(pa_atomic_get(&p->clashes) == 0, "%s: two threads with one number", what);
}

static void test_every_chunk_once(void)
{
    const ptrdiff_t sizes[] = {0, 1, 2, 3, 7, 64, 1009, MAX_N};
    for (int threads = 0; threads <= 9; threads++) {
        pa_pool *pool = threads ? pa_pool_new(threads) : NULL;
        CHECK(pa_pool_threads(pool) == (threads ? threads : 1), "threads %d", threads);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int repeat = 0; repeat < 20; repeat++) {
                probe *p = new_probe(pool, repeat % 3 * 200);
                pa_pool_run(pool, count, p, sizes[s]);
                check_counts(p, sizes[s], "plain");
                CHECK(pa_atomic_get(&p->max_worker) < pa_pool_threads(pool),
                      "worker %lld", (long long)pa_atomic_get(&p->max_worker));
                free(p);
            }
        pa_pool_free(pool);
    }
}

/* Many jobs back to back, with pauses that let the workers fall asleep: a worker that
 * arrives late must not touch the next job. */
static void test_late_workers(void)
{
    pa_pool *pool = pa_pool_new(3);
    for (int i = 0; i < 3000; i++) {
        probe *p = new_probe(pool, i % 7 * 30);
        pa_pool_run(pool, count, p, 1 + i % 5);
        check_counts(p, 1 + i % 5, "late");
        free(p);
        if (i % 500 == 0)
            usleep(2000);
    }
    pa_pool_free(pool);
}

/* Of two threads the second begins in the second half, whenever it comes. */
typedef struct halves {
    pa_atomic came, strayed; /* jobs */
    pa_atomic begun;         /* in this job */
    ptrdiff_t n;
} halves;

static void take_own(void *arg, ptrdiff_t chunk, int worker)
{
    halves *h = arg;
    busy_loop(200);
    if (worker == 0 || pa_atomic_swap(&h->begun, 1))
        return;
    pa_atomic_add(&h->came, 1);
    pa_atomic_add(&h->strayed, chunk < h->n / 2);
}

static void test_own_half_first(void)
{
    pa_pool *pool = pa_pool_new(2);
    halves h = {.n = 40};
    for (int i = 0; i < 20000 && pa_atomic_get(&h.came) < 1000; i++) {
        pa_atomic_set(&h.begun, 0);
        pa_pool_run(pool, take_own, &h, h.n);
    }
    CHECK(pa_atomic_get(&h.came) > 0 || pa_cpu_count() == 1, "no worker ever came");
    CHECK(pa_atomic_get(&h.strayed) == 0, "%lld of %lld times in the other half",
          (long long)pa_atomic_get(&h.strayed), (long long)pa_atomic_get(&h.came));
    pa_pool_free(pool);
}

/* A worker's chunk that takes long: the run must not return before it is done. */
typedef struct patience {
    pa_atomic entered, finished;
} patience;

static void take_long(void *arg, ptrdiff_t chunk, int worker)
{
    patience *p = arg;
    (void)chunk;
    if (worker != 0) {
        pa_atomic_set(&p->entered, 1);
        usleep(3000);
    } else { /* long enough for the others to be woken, and to come */
        for (int i = 0; i < 200 && !pa_atomic_get(&p->entered); i++)
            usleep(100);
    }
    pa_atomic_add(&p->finished, 1);
}

static void test_waits_for_workers(void)
{
    pa_pool *pool = pa_pool_new(3);
    bool helped[2] = {pa_cpu_count() == 1, pa_cpu_count() == 1};
    for (int i = 0; i < 12; i++) {
        if (i % 2) /* then the workers are asleep, else they spin */
            usleep(2000);
        patience p = {.entered = {0}};
        pa_pool_run(pool, take_long, &p, 6);
        CHECK(pa_atomic_get(&p.finished) == 6, "returned after %lld of 6 chunks",
              (long long)pa_atomic_get(&p.finished));
        helped[i % 2] |= pa_atomic_get(&p.entered) != 0;
    }
    CHECK(helped[0] && helped[1], "no worker ever came: spinning %d, asleep %d",
          helped[0], helped[1]);
    pa_pool_free(pool);
}

/* ---- nesting and concurrent callers --------------------------------------------------
 */

static void nest(void *arg, ptrdiff_t chunk, int worker)
{
    probe *outer = arg;
    probe *inner = new_probe(outer->pool, 0);
    pa_pool_run(outer->pool, count, inner, 13);
    check_counts(inner, 13, "nested");
    CHECK(pa_atomic_get(&inner->max_worker) == 0, "a nested run is the caller's own");
    free(inner);
    count(arg, chunk, worker);
}

static void test_nested(void)
{
    pa_pool *pool = pa_pool_new(2);
    probe *p = new_probe(pool, 0);
    pa_pool_run(pool, nest, p, 101);
    check_counts(p, 101, "nesting");
    free(p);
    pa_pool_free(pool);
}

static void *concurrent(void *arg)
{
    for (int i = 0; i < 300; i++) {
        probe *p = new_probe(arg, 50);
        pa_pool_run(arg, count, p, 17);
        check_counts(p, 17, "concurrent");
        free(p);
    }
    return NULL;
}

static void *resizer(void *arg)
{
    for (int i = 0; i < 200; i++) {
        pa_pool_resize(arg, 1 + i % 5);
        usleep(50);
    }
    return NULL;
}

static void test_concurrent_callers(void)
{
    pa_pool *pool = pa_pool_new(2);
    pthread_t t[5];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, concurrent, pool);
    pthread_create(&t[4], NULL, resizer, pool);
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    pa_pool_resize(pool, 2);
    CHECK(pa_pool_threads(pool) == 2, "resized");
    probe *p = new_probe(pool, 0);
    pa_pool_run(pool, count, p, 100);
    check_counts(p, 100, "after resizing");
    free(p);
    pa_pool_free(pool);
}

/* ---- fork and exit -------------------------------------------------------------------
 */

typedef struct slow_run {
    pa_pool *pool;
    pa_atomic running, stop;
} slow_run;

static void slow(void *arg, ptrdiff_t chunk, int worker)
{
    slow_run *s = arg;
    (void)chunk, (void)worker;
    pa_atomic_set(&s->running, 1);
    while (!pa_atomic_get(&s->stop))
        pa_thread_yield();
}

static void *slow_main(void *arg)
{
    slow_run *s = arg;
    pa_pool_run(s->pool, slow, s, 4);
    return NULL;
}

static int child(pa_pool *pool, int depth)
{
    alarm(20); /* a deadlock becomes a signal */
    failures = 0;
    for (int i = 0; i < 5; i++) {
        probe *p = new_probe(pool, 100);
        pa_pool_run(pool, count, p, 500);
        check_counts(p, 500, "in a child");
        free(p);
    }
    bool helped = pa_cpu_count() == 1; /* then a pool has no workers */
    for (int i = 0; i < 2000 && !helped; i++) {
        probe *p = new_probe(pool, 1000);
        pa_pool_run(pool, count, p, 100);
        helped = pa_atomic_get(&p->max_worker) > 0;
        free(p);
    }
    CHECK(helped, "the child's pool has no threads of its own");
    if (depth > 0) {
        int status = 1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(pool, depth - 1));
        waitpid(pid, &status, 0);
        CHECK(status == 0, "grandchild: status %d", status);
    }
    pa_pool_free(pool);
    return failures != 0;
}

static void fork_and_check(pa_pool *pool, const char *what)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(pool, 1));
    int status = 1;
    waitpid(pid, &status, 0);
    CHECK(status == 0, "%s: status %d", what, status);
}

static void test_fork(void)
{
    pa_pool *pool = pa_pool_new(2);
    fork_and_check(pool, "fork before first use");
    probe *p = new_probe(pool, 0);
    pa_pool_run(pool, count, p, 100);
    free(p);
    fork_and_check(pool, "fork after use, workers spinning");
    usleep(5000);
    fork_and_check(pool, "fork after use, workers asleep");

    slow_run s = {.pool = pool};
    pthread_t t;
    pthread_create(&t, NULL, slow_main, &s);
    while (!pa_atomic_get(&s.running))
        pa_thread_yield();
    fork_and_check(pool, "fork while another thread runs a job");
    pid_t pid = fork();
    if (pid == 0) { /* a child that only frees must not hang either */
        alarm(20);
        pa_pool_free(pool);
        _exit(0);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    CHECK(status == 0, "free in a child: status %d", status);
    pa_atomic_set(&s.stop, 1);
    pthread_join(t, NULL);
    pa_pool_free(pool);
}

static void test_free_while_busy(void)
{
    for (int i = 0; i < 50; i++) {
        slow_run s = {.pool = pa_pool_new(2)};
        pthread_t t;
        pthread_create(&t, NULL, slow_main, &s);
        while (!pa_atomic_get(&s.running))
            pa_thread_yield();
        pa_pool_free(s.pool); /* returns; the runner frees */
        pa_atomic_set(&s.stop, 1);
        pthread_join(t, NULL);
    }
    pa_pool_free(NULL);
}

/* ---- floating-point environment
 * ---------------------------------------------------------- */

typedef struct fpu_probe {
    uint64_t want;
    pa_atomic wrong, by_worker;
    volatile double zero;
} fpu_probe;

static void look_at_fpu(void *arg, ptrdiff_t chunk, int worker)
{
    fpu_probe *p = arg;
    (void)chunk;
    if (pa_fpu_get().control != p->want)
        pa_atomic_add(&p->wrong, 1);
    if (worker != 0) {
        pa_atomic_set(&p->by_worker, 1);
        volatile double inf = 1 / p->zero;
        (void)inf;
    } else {
        busy_loop(20000);
    }
}

static void test_fpu(void)
{
    pa_pool *pool = pa_pool_new(2);
    const pa_fpu own = pa_fpu_get();
    for (int i = 0; i < 200; i++) {
        pa_fpu_set((pa_fpu){own.control, 0});
        if (i % 2)
            pa_fpu_flush_denormals();
        fpu_probe p = {.want = pa_fpu_get().control};
        pa_pool_run(pool, look_at_fpu, &p, 8);
        const pa_fpu now = pa_fpu_get();
        pa_fpu_set(own);
        CHECK(pa_atomic_get(&p.wrong) == 0, "run %d: not the caller's mode", i);
        CHECK(now.control == p.want, "run %d: the caller's mode changed", i);
        CHECK((now.flags != 0) == (pa_atomic_get(&p.by_worker) != 0),
              "run %d: division by zero in a worker: flags %llx", i,
              (unsigned long long)now.flags);
    }
    pa_pool_free(pool);
}

/* ---- a watch
 * ----------------------------------------------------------------------- */

static bool stop_at_once(void *asked)
{
    ++*(int *)asked;
    return true;
}

static void test_watch(void)
{
    for (int threads = 1; threads <= 3; threads++) {
        pa_pool *pool = pa_pool_new(threads);
        probe *p = new_probe(pool, 2000000); /* some milliseconds a chunk */
        int asked = 0;
        pa_watch w;
        pa_watch_init(&w, stop_at_once, &asked, true);
        CHECK(pa_watch_set(&w) == NULL, "a watch nobody set");
        pa_pool_run(pool, count, p, MAX_N);
        const int64_t ran = pa_atomic_get(&p->total);
        CHECK(pa_atomic_get(&w.stopped) && asked == 1, "asked %d times", asked);
        CHECK(ran > 0 && ran < MAX_N, "%lld of %d chunks", (long long)ran, MAX_N);
        pa_pool_run(pool, count, p, 9);
        pa_pool_run(pool, count, p, 1);
        CHECK(pa_atomic_get(&p->total) == ran, "a chunk after the stop");
        CHECK(pa_watch_stops(&w) && asked == 1, "a stop does not last");
        CHECK(pa_watch_set(NULL) == &w, "the watch is gone");
        probe *next = new_probe(pool, 0);
        pa_pool_run(pool, count, next, MAX_N);
        check_counts(next, MAX_N, "after the watch");
        free(p);
        free(next);
        pa_pool_free(pool);
    }
}

/* ---- speed: printed; only a gross loss fails
 * ----------------------------------------------- */

static void spin_chunk(void *arg, ptrdiff_t chunk, int worker)
{
    (void)chunk, (void)worker;
    busy_loop(*(int *)arg);
}

static void print_speed(void)
{
    pa_pool *pool = pa_pool_new(2);
    int turns = 0;
    for (int i = 0; i < 2; i++) { /* the second round finds the worker spinning */
        const int64_t t0 = pa_nanoseconds();
        for (int r = 0; r < 20000; r++)
            pa_pool_run(pool, spin_chunk, &turns, 2);
        if (i == 1)
            printf("pool: empty job of two chunks: %.2f us\n",
                   (double)(pa_nanoseconds() - t0) / 20000e3);
    }
    double best[2] = {1e30, 1e30};
    turns = 20000;
    for (int r = 0; r < 40; r++)
        for (int two = 0; two < 2; two++) {
            const int64_t t0 = pa_nanoseconds();
            pa_pool_run(two ? pool : NULL, spin_chunk, &turns, 16);
            const double us = (double)(pa_nanoseconds() - t0) / 1e3;
            best[two] = us < best[two] ? us : best[two];
        }
    printf("pool: 16 chunks: %.0f us on one thread, %.0f us on two\n", best[0], best[1]);
    CHECK(best[1] < best[0] * 1.6, "two threads are slower than one");
    pa_pool_free(pool);
}

int main(void)
{
    alarm(120);
    test_every_chunk_once();
    test_late_workers();
    test_waits_for_workers();
    test_own_half_first();
    test_nested();
    test_concurrent_callers();
    test_fork();
    test_free_while_busy();
    test_fpu();
    test_watch();
    print_speed();
    printf("%s\n", failures ? "test_pool: FAILED" : "test_pool: ok");
    return failures != 0;
}
