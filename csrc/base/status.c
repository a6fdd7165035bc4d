#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

pa_status pa_fail(pa_error *err, pa_status status, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
    }
    return status;
}
