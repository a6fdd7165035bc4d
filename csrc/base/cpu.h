/* cpu.h - what the processor can run, asked once. */
#ifndef PA_CPU_H
#define PA_CPU_H

#include <stdbool.h>

/* Can this processor (and operating system) run the named ISA? "base" always can. */
bool pa_cpu_has(const char *isa);

/* Cores this process may use, at least 1. */
int pa_cpu_count(void);

#endif
