"""A clock that stands still while a process waits for a processor: what a busy machine takes
from a process is not counted."""

import os
import sys
import time

# For a process whose clock is looked at: threads of NumPy's BLAS that wait for work would run it.
ALONE = {"OPENBLAS_NUM_THREADS": "1"}


def of(pid=None):
    """Seconds of all threads of a process, of this one without an argument. Where no other
    process can be asked for them, the seconds of the day."""
    if not sys.platform.startswith("linux"):
        return time.monotonic()
    # CPUCLOCK_SCHED of a process, as clock_getcpuclockid makes it
    return time.clock_gettime(~(pid or os.getpid()) << 3 | 2)


def wait_until(process, when, seconds=60):
    """Waits until the clock of a process shows `when` or it has ended; what the clock shows."""
    end = time.monotonic() + seconds
    while (now := of(process.pid)) < when and process.poll() is None:
        if time.monotonic() > end:
            raise TimeoutError(f"process {process.pid} does not compute")
        time.sleep(0.002)
    return now
