/* thread.h - the few locks and threads that the pool needs, over POSIX and Win32.
 *
 * The Win32 half compiles to direct calls of documented functions but has not been run:
 * no Windows machine was at hand. */
#ifndef PA_THREAD_H
#define PA_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <process.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#endif

enum { PA_CACHE_LINE = 128 }; /* bytes; two of 64, which some processors fetch in pairs */

/* ---- locks, conditions, threads --------------------------------------------------- */

#ifdef _WIN32

typedef SRWLOCK pa_mutex;
typedef CONDITION_VARIABLE pa_cond;
typedef HANDLE pa_thread;
#define PA_THREAD_MAIN(name, arg) unsigned __stdcall name(void *arg)
typedef unsigned(__stdcall *pa_thread_main)(void *);

static inline bool pa_mutex_init(pa_mutex *m)
{
    InitializeSRWLock(m);
    return true;
}
static inline void pa_mutex_destroy(pa_mutex *m)
{
    (void)m;
}
static inline void pa_mutex_lock(pa_mutex *m)
{
    AcquireSRWLockExclusive(m);
}
static inline void pa_mutex_unlock(pa_mutex *m)
{
    ReleaseSRWLockExclusive(m);
}
static inline bool pa_cond_init(pa_cond *c)
{
    InitializeConditionVariable(c);
    return true;
}
static inline void pa_cond_destroy(pa_cond *c)
{
    (void)c;
}
static inline void pa_cond_wait(pa_cond *c, pa_mutex *m)
{
    SleepConditionVariableSRW(c, m, INFINITE, 0);
}
static inline void pa_cond_wake_all(pa_cond *c)
{
    WakeAllConditionVariable(c);
}
static inline void pa_thread_yield(void)
{
    SwitchToThread();
}
static inline bool pa_thread_start(pa_thread *t, pa_thread_main entry, void *arg)
{
    *t = (HANDLE)_beginthreadex(NULL, 0, entry, arg, 0, NULL);
    return *t != NULL;
}
static inline void pa_thread_join(pa_thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}
static inline int64_t pa_process_id(void)
{
    return 1; /* no fork */
}
static inline bool pa_at_fork(void (*in_child)(void))
{
    (void)in_child;
    return true;
}
static inline int64_t pa_nanoseconds(void)
{
    LARGE_INTEGER now, hertz;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&hertz);
    return (int64_t)((double)now.QuadPart * 1e9 / (double)hertz.QuadPart);
}
static inline int64_t pa_nanoseconds_about(void)
{
    return (int64_t)GetTickCount64() * 1000000;
}

#else

typedef pthread_mutex_t pa_mutex;
typedef pthread_cond_t pa_cond;
typedef pthread_t pa_thread;
#define PA_THREAD_MAIN(name, arg) void *name(void *arg)
typedef void *(*pa_thread_main)(void *);

static inline bool pa_mutex_init(pa_mutex *m)
{
    return pthread_mutex_init(m, NULL) == 0;
}
static inline void pa_mutex_destroy(pa_mutex *m)
{
    pthread_mutex_destroy(m);
}
static inline void pa_mutex_lock(pa_mutex *m)
{
    pthread_mutex_lock(m);
}
static inline void pa_mutex_unlock(pa_mutex *m)
{
    pthread_mutex_unlock(m);
}
static inline bool pa_cond_init(pa_cond *c)
{
    return pthread_cond_init(c, NULL) == 0;
}
static inline void pa_cond_destroy(pa_cond *c)
{
    pthread_cond_destroy(c);
}
static inline void pa_cond_wait(pa_cond *c, pa_mutex *m)
{
    pthread_cond_wait(c, m);
}
static inline void pa_cond_wake_all(pa_cond *c)
{
    pthread_cond_broadcast(c);
}
static inline void pa_thread_yield(void)
{
    sched_yield();
}

/* Of a thread; a product keeps 100 KB there, and musl would give 128 in all. */
#define PA_THREAD_STACK ((size_t)1 << 20)

/* Signals stay with the threads of the host program: Ctrl-C must reach its handler
 * there, and a worker has nothing to interrupt. */
static inline bool pa_thread_start(pa_thread *t, pa_thread_main entry, void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV); /* a fault is the thread's own */
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return false;
    bool masked = pthread_sigmask(SIG_SETMASK, &all, &old) == 0;
    bool ok = pthread_attr_setstacksize(&attr, PA_THREAD_STACK) == 0 &&
              pthread_create(t, &attr, entry, arg) == 0;
    if (masked)
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return ok;
}
static inline void pa_thread_join(pa_thread t)
{
    pthread_join(t, NULL);
}
static inline int64_t pa_process_id(void)
{
    return (int64_t)getpid();
}
static inline bool pa_at_fork(void (*in_child)(void))
{
    return pthread_atfork(NULL, NULL, in_child) == 0;
}
static inline int64_t pa_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
/* Some milliseconds late; asking takes some nanoseconds instead of some dozen. */
static inline int64_t pa_nanoseconds_about(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
#else
    return pa_nanoseconds();
#endif
}
#endif

#endif
