"""Functions recorded once for each combination of shapes and run as programs."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _recording, ops, random_state
from .._core import Value
from .._trees import map_tree, refill
from ..variables import Weight

if TYPE_CHECKING:
    from collections.abc import Callable


class Function:
    """What `function` makes: a Python function that runs as a program."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._programs: dict[Any, list[Any]] = {}  # of each kind those that nobody runs
        self._seed: int | None = None
        self._calls = count()
        self.__name__ = getattr(f, "__name__", "function")
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _Method(self, instance)

    @property
    def traces(self) -> int:
        """How many programs there are: one for each combination of shapes and dtypes."""
        return len(self._programs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _recording.current() is not None:  # inside a tape or another trace: part of it
            return self._f(*args, **kwargs)
        leaves: list[Any] = []
        shape = map_tree(leaves.append, (args, kwargs))
        arrays = [_input(x) for x in leaves]
        key = (
            repr(shape),
            tuple(
                (a.shape, a.dtype.char) if a is not None else _static(x)
                for a, x in zip(arrays, leaves, strict=True)
            ),
        )
        free = self._programs.get(key, [])
        try:  # no test before it: another thread may come between
            traced = free.pop()
        except IndexError:
            traced = None
        if traced is None:
            traced = self._trace(shape, leaves, arrays)
            free = self._programs.setdefault(key, free)
        program, rebuild, fixed, _held = traced
        if self._seed is None:
            self._seed = random_state.seed_value()
        inputs = tuple(a for a in arrays if a is not None)
        try:
            made = iter(_core.execute(program, inputs, self._seed, next(self._calls)))
        finally:
            free.append(traced)
        return refill(rebuild, [next(made) if k is None else _fixed(k, inputs) for k in fixed])

    def _trace(self, shape: Any, leaves: list[Any], arrays: list[Any]) -> Any:
        graph = _core.Graph()
        with _recording.tracing(graph, for_gradients=False):
            values = [x if a is None else graph.input(a.shape, a.dtype)
                      for x, a in zip(leaves, arrays, strict=True)]  # fmt: skip
            inputs = [v.id for v, a in zip(values, arrays, strict=True) if a is not None]
            args, kwargs = refill(shape, values)
            result = self._f(*args, **kwargs)
            found: list[Any] = []
            rebuild = map_tree(found.append, result)
            outputs: list[Any] = []
            fixed: list[Any] = []  # how a result that is not computed is had
            for x in found:
                if isinstance(x, Value) and x.owner is graph and x.id in inputs:
                    fixed.append(("input", inputs.index(x.id)))
                elif isinstance(x, Value) and x.owner is graph:
                    outputs.append(ops.stop_gradient(x) if x.id in {o.id for o in outputs} else x)
                    fixed.append(None)
                elif isinstance(x, Weight) and x.block is not None:
                    fixed.append(("weight", x))
                else:
                    fixed.append(("as it is", x))
            program = _core.Program(graph, outputs=tuple(outputs))
        return program, rebuild, fixed, leaves  # what keys name by id must stay alive


class _Method:
    """A traced method of one object."""

    def __init__(self, function: Function, instance: Any) -> None:
        self._function, self._instance = function, instance
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._instance, *args, **kwargs)


def _fixed(how: Any, inputs: Any) -> Any:
    kind, x = how
    if kind == "input":
        return np.array(inputs[x])
    return x.numpy() if kind == "weight" else x


def _static(x: Any) -> Any:
    """What tells two arguments that are no arrays apart."""
    if x is None or isinstance(x, (bool, int, float, str, bytes)):
        return (type(x), x)
    return (type(x), id(x))


def _input(x: Any) -> Any:
    """An argument as an array that is fed anew for each call; None for everything else."""
    if isinstance(x, Weight) and x.block is not None:
        return None
    if isinstance(x, Value):
        x = x.numpy()
    if not isinstance(x, (np.ndarray, np.generic)):
        return None
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a traced function got an array of {array.dtype}, expected real numbers")
    if array.dtype.kind in "iu":
        narrow = array.astype(np.int32)
        if not np.array_equal(narrow, array):
            raise ValueError("a traced function got integers beyond 32 bits; pass them as floats")
        return narrow
    return np.asarray(array, np.float64 if array.dtype.char in "dg?" else np.float32)


def function(f: Callable[..., Any]) -> Function:
    """f, recorded once for each combination of its arguments' shapes and dtypes and run as a
    program in C from then on. May be used as a decorator, also of methods.

    Arrays (also in lists, tuples, dicts) are inputs; integers become int32. Variables and
    weights are read where they lie, so updates are seen. Everything else is fixed at
    recording; other numbers, strings or objects are recorded anew. Python's own statements
    run while recording only: a print or an if on numbers is not part of the program. Threads
    that call it at the same time each have a recording of their own.

    A GradientTape (or value_and_grad) inside is recorded, too, by the operators' own backward
    passes; a gradient of a gradient through the operators that
    `pyact.autodiff.twice_differentiable()` lists.

    Raises TypeError, naming the line, for what cannot be recorded (a NumPy function without
    an operator, an if on values, an assignment to a variable).

    >>> @function
    ... def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> float(norm(np.array([3.0, 4.0])))
    5.0
    """
    if not callable(f):
        raise TypeError(f"function: got {type(f).__name__}, expected a function")
    return Function(f)
