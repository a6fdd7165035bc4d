/* clock.h - seconds since some moment, never going back. */
#ifndef PA_CLOCK_H
#define PA_CLOCK_H

double pa_clock(void);

#endif
