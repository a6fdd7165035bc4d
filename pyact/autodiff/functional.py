"""Gradients of functions: value_and_grad, and check_grad by finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _recording
from .._core import Value
from .._names import real, whole
from .._trees import leaves, map_tree, refill
from ..variables import Tensor, constant
from .tape import GradientTape, plain

if TYPE_CHECKING:
    from collections.abc import Callable


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function of the same arguments that returns (f(...), gradient).

    f: gives one number (a value of shape ()), computed with pyact.ops, operators or NumPy
    functions. argnums: the argument, or arguments, to differentiate in: arrays, variables, or
    nested structures of them; the gradient has the same structure. has_aux: does f give
    (number, anything)? Then the result is ((number, anything), gradient). Where the number does
    not depend on an argument, the gradient is 0.

    Raises TypeError for what is no function or no argument's number, IndexError for an argument
    that is not there, ValueError when the result is not a single number.

    >>> value, grad = value_and_grad(lambda x: np.sum(x**3.0))(np.array([1.0, 2.0]))
    >>> float(value), grad.tolist()
    (9.0, [3.0, 12.0])
    """
    if not callable(f):
        raise TypeError(f"value_and_grad: got {type(f).__name__}, expected a function")
    many = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    chosen = tuple(whole("value_and_grad: argnums", k) for k in many)

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        given = list(args)
        wide = any(getattr(x, "dtype", None) == np.float64 for x in leaves((args, kwargs)))
        for k in chosen:
            if not -len(given) <= k < len(given):
                raise IndexError(
                    f"value_and_grad: argnums names argument {k}, but {len(given)} are given by "
                    "position"
                )
        outer = _recording.current() is not None
        aux = None
        with GradientTape() as tape:
            for k in chosen:
                watched = [
                    x if isinstance(x, (Tensor, Value))
                    else constant(x, "float64" if wide and not hasattr(x, "dtype") else None)
                    for x in leaves(given[k])
                ]  # fmt: skip
                tape.watch(watched)
                given[k] = refill(given[k], watched)
            value = f(*given, **kwargs)
            if has_aux:
                if not isinstance(value, tuple) or len(value) != 2:
                    raise TypeError(
                        "value_and_grad: has_aux=True expects a function that gives two things, "
                        f"(number, anything), got {type(value).__name__}"
                    )
                value, aux = value
            if np.shape(value) != ():
                raise ValueError(
                    f"value_and_grad: the function gave shape {np.shape(value)}, expected one "
                    "number; take a sum or a mean"
                )
        grads = tape.gradient(value, tuple(given[k] for k in chosen), None, "zero")
        if isinstance(value, Value) and not outer:
            value = value.numpy()[()]
            aux = map_tree(plain, aux)
        result = (value, aux) if has_aux else value
        return result, grads if isinstance(argnums, (tuple, list)) else grads[0]

    both.__name__ = f"value_and_grad({getattr(f, '__name__', 'f')})"
    both.__doc__ = f.__doc__
    return both


def check_grad(
    f: Callable[..., Any], inputs: Any, eps: float = 1e-5, rtol: float = 1e-4, atol: float = 1e-6
) -> float:
    """Holds the gradients of f against finite differences, in float64.

    f: a function of len(inputs) arrays, written with operators. inputs: an array or a list of
    arrays. Each element is moved by eps max(1, |x|) both ways; for a function with more than
    one result a random weighting of them is summed. Returns the largest error, relative to
    the larger of the two gradients and at least 1.

    Raises AssertionError, naming input and element, where the gradients differ by more than
    atol + rtol |numeric|.

    >>> check_grad(lambda x: np.tanh(x), np.array([0.3, -1.0])) < 1e-8
    True
    """
    eps, rtol, atol = real("eps", eps, above=0), real("rtol", rtol, 0), real("atol", atol, 0)
    given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = [np.array(x, np.float64) for x in given]
    weights: list[Any] = []

    def weighted(*values: Any) -> Any:
        y = f(*values)
        if not weights:
            rng = np.random.default_rng(0)
            weights.append(rng.uniform(0.5, 1.5, np.shape(y)))
        return np.sum(y * weights[0])

    _, grads = value_and_grad(weighted, tuple(range(len(arrays))))(*arrays)
    worst = 0.0
    for k, (array, grad) in enumerate(zip(arrays, grads, strict=True)):
        for at in np.ndindex(array.shape):
            h = eps * max(1.0, abs(float(array[at])))
            moved: list[Any] = []
            for sign in (1, -1):
                other = [a.copy() for a in arrays]
                other[k][at] += sign * h
                moved.append((other[k][at], float(weighted(*other))))
            numeric = (moved[0][1] - moved[1][1]) / (moved[0][0] - moved[1][0])
            got = float(grad[at])
            error = abs(got - numeric)
            if not error <= atol + rtol * abs(numeric):
                raise AssertionError(
                    f"check_grad: input {k}, element {at}: the gradient is {got!r}, finite "
                    f"differences give {numeric!r}"
                )
            scale: Any = max(1.0, abs(got), abs(numeric))
            worst = max(worst, float(error / scale))
    return worst
