/* errors.c - a pa_status and its message as a Python exception. */
#include "py/state.h"

PyObject *pa_py_raise(pa_status status, const pa_error *err)
{
    const char *text = err && err->text[0] ? err->text : "no message was given";
    switch (status) {
    case PA_ENOMEM:
        PyErr_NoMemory();
        break;
    case PA_EVALUE:
    case PA_EOVERFLOW:
        PyErr_SetString(PyExc_ValueError, text);
        break;
    case PA_ETYPE:
        PyErr_SetString(PyExc_TypeError, text);
        break;
    case PA_EINTR:
        if (!PyErr_Occurred())
            PyErr_SetNone(PyExc_KeyboardInterrupt);
        break;
    case PA_OK:
        PyErr_SetString(PyExc_SystemError, "pyact: an error was raised without a reason");
        break;
    }
    return NULL;
}
