"""What records operators in this thread: the tape of a GradientTape, or a graph that is
being traced.

The core asks `active` where an operator on weights belongs, and `adopt` for the tape's
value of a weight. Values of a tape that has ended keep their numbers and are constants
for everybody else.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Record", "active", "current", "paused", "tracing"]


class _Local(threading.local):
    record: Record | None = None


_local = _Local()


class Record:
    """A Tape or a Graph that operators are recorded in, and the values on it of variables
    and tensors that were met on the way. Gradient tapes inside each other share one."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        # by identity of the array: the array itself (so that its id stays its own) and
        # its values; a variable that is assigned to while recording gets another
        self.met: dict[int, tuple[Any, list[Any]]] = {}
        self.fresh: dict[int, Any] = {}
        self.opaque: dict[int, str] = {}  # id of a value -> operator without a second gradient
        self.tapes = 0  # GradientTapes that are recording in it now
        self.for_gradients = False  # a graph: gradients of its results will be taken

    @property
    def is_tape(self) -> bool:
        return type(self.owner) is _core.Tape

    def value(self, x: Any) -> Any:
        """The record's value of a weight, a tensor or a value of another tape."""
        known = self.fresh.get(id(x))
        if known is None:
            if self.is_tape:  # what is recorded keeps the numbers of now
                numbers = x.numpy() if isinstance(x, _core.Value) else np.array(x, subok=False)
                known = self.owner.leaf(numbers)
            elif getattr(x, "block", None) is not None:
                known = self.owner.param(x.block, x.offset, x.shape, x.trainable)
            else:
                known = self.owner.const(np.asarray(x))
            self.fresh[id(x)] = known
            self.met.setdefault(id(x), (x, []))[1].append(known)
        return known

    def values_of(self, x: Any) -> list[Any]:
        """All values that x had, oldest first; empty when it was never met."""
        if isinstance(x, _core.Value) and x.owner is self.owner:
            return [x]
        if not self.is_tape and getattr(x, "block", None) is not None:
            return [self.value(x)]  # a graph finds parameters by their place
        return self.met.get(id(x), (None, []))[1]

    def forget(self, x: Any) -> None:
        """x has been assigned to: what comes reads it anew."""
        self.fresh.pop(id(x), None)

    def close(self) -> None:
        """Nobody will ask for gradients: keep only the numbers that are still held."""
        self.met.clear()
        self.fresh.clear()
        if self.is_tape:
            self.owner.detach()

    def __del__(self) -> None:
        if hasattr(self, "opaque"):  # __init__ came to its end
            self.close()


def current() -> Record | None:
    """The record of this thread."""
    return _local.record


def active() -> Any:
    """Its Tape or Graph, or None."""
    record = _local.record
    return None if record is None else record.owner


def _adopt(tape: Any, x: Any) -> Any:
    record = _local.record
    if record is not None and record.owner is tape:
        return record.value(x)
    return tape.leaf(x.numpy() if isinstance(x, _core.Value) else np.array(x, subok=False))


_core.set_recorder(active, _adopt)


def use(record: Record | None) -> Record | None:
    """Makes `record` the one of this thread; returns the one before."""
    before = _local.record
    if before is not None and before.is_tape:
        before.owner.recording = False
    _local.record = record
    if record is not None and record.is_tape:
        record.owner.recording = True
    return before


@contextmanager
def tracing(graph: Any, for_gradients: bool = True) -> Iterator[Record]:
    """Operators on weights alone are recorded in `graph`, too. for_gradients: may somebody
    take gradients of what is computed?"""
    record = Record(graph)
    record.for_gradients = for_gradients
    before = use(record)
    try:
        yield record
    finally:
        use(before)


@contextmanager
def paused() -> Iterator[None]:
    """Nothing is recorded: operators run at once."""
    before = use(None)
    try:
        yield
    finally:
        use(before)
