/* away.c - computing without the GIL, and looking up for signals meanwhile. */
#include "py/objects.h"

#include "base/fpu.h"
#include "base/thread.h"

#define LOOK_FLOPS 1e7 /* below, an operator ends by itself soon enough */

enum { LOOK_EVERY = 50000000 }; /* nanoseconds */

static unsigned long
    main_thread; /* of the process; no other thread runs signal handlers */

static bool look(void *arg)
{
    pa_py_away *a = arg;
    PyEval_RestoreThread(a->thread);
    bool stop = PyErr_CheckSignals() < 0;
    if (!stop && a->progress) {
        PyObject *r = PyObject_CallNoArgs(a->progress);
        stop = r == NULL;
        Py_XDECREF(r);
    }
    a->thread = PyEval_SaveThread();
    return stop;
}

/* Another thread than the main one must not look from inside the pool: when the
 * interpreter ends, it would be stopped there for ever. */
void pa_py_leave(pa_py_away *a, PyObject *progress, double flops)
{
    const bool is_main = pa_py_is_main_thread();
    a->progress = progress;
    a->watched = is_main || progress;
    if (a->watched) {
        pa_watch_init(&a->watch, look, a, is_main && flops >= LOOK_FLOPS);
        a->outer = pa_watch_set(&a->watch);
    }
    a->thread = PyEval_SaveThread();
}

int pa_py_return(pa_py_away *a)
{
    PyEval_RestoreThread(a->thread);
    if (!a->watched)
        return 0;
    pa_watch_set(a->outer);
    return pa_atomic_get(&a->watch.stopped) ? -1 : 0;
}

bool pa_py_is_main_thread(void)
{
    return PyThread_get_thread_ident() == main_thread;
}

/* ---- for a ufunc's loop, which must not raise ---------------------------------------
 */

/* What a signal handler raised while a ufunc ran, until Python can raise it. */
static PyObject *raised[3];

static int raise_now(void *unused)
{
    (void)unused;
    if (!raised[0])
        return 0;
    PyErr_Restore(raised[0], raised[1], raised[2]);
    raised[0] = NULL;
    return -1;
}

bool pa_py_stopped(void)
{
    return raised[0] && pa_py_is_main_thread();
}

bool pa_py_look(void)
{
    static int64_t next; /* nanoseconds */
    if (!pa_py_is_main_thread() || pa_nanoseconds() < next)
        return false;
    const pa_fpu here = pa_fpu_get();
    const PyGILState_STATE gil = PyGILState_Ensure();
    if (!raised[0] && !PyErr_Occurred() && PyErr_CheckSignals() < 0)
        PyErr_Fetch(&raised[0], &raised[1], &raised[2]);
    if (raised[0])
        Py_AddPendingCall(raise_now,
                          NULL); /* is the queue full, the next look tries again */
    PyGILState_Release(gil);
    pa_fpu_set(here);
    next = pa_nanoseconds() + LOOK_EVERY;
    return raised[0] != NULL;
}

/* The thread that forks is the only one in the child, and so its main thread. */
static void forked(void)
{
    main_thread = PyThread_get_thread_ident();
}

int pa_py_away_init(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread =
        threading ? PyObject_CallMethod(threading, "main_thread", NULL) : NULL;
    PyObject *ident = thread ? PyObject_GetAttrString(thread, "ident") : NULL;
    if (ident)
        main_thread = PyLong_AsUnsignedLong(ident);
    Py_XDECREF(ident);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    if (!PyErr_Occurred() && !pa_at_fork(forked))
        PyErr_NoMemory();
    return PyErr_Occurred() ? -1 : 0;
}
