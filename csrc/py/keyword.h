/* keyword.h - ufuncs whose parameter is a keyword. */
#ifndef PA_PY_KEYWORD_H
#define PA_PY_KEYWORD_H

#include "py/objects.h"

int pa_py_keyword_add(PyObject *module);

#endif
