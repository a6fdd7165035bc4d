"""Locks that a fork leaves usable: what a thread of the parent held is free in the child."""

from __future__ import annotations

import os
from threading import RLock
from typing import Any

__all__ = ["Exclusive", "guard"]


def guard() -> Any:
    """A lock of a module, held for moments: a fork waits until it is free."""
    lock = RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


_renewing = guard()


class Exclusive:
    """One thread at a time, for as long as it takes; others wait, the thread itself may enter
    again. A fork does not wait for it: the child has a lock of its own.

    >>> alone = Exclusive()
    >>> with alone.held():
    ...     "nobody else"
    'nobody else'
    """

    def __init__(self) -> None:
        self._lock, self._process = RLock(), os.getpid()

    def held(self) -> Any:
        """The lock, for a `with`."""
        if self._process != os.getpid():
            with _renewing:
                if self._process != os.getpid():
                    self._lock, self._process = RLock(), os.getpid()
        return self._lock

    def __reduce__(self) -> Any:
        return Exclusive, ()
