"""Layers that make one tensor of several: Add, Concatenate, Dot and their kin.

Each takes a list of at least two tensors (Subtract and Dot: exactly two) whose batches are
equally long. All but Dot pass masks of steps on (see `sequence.py`): a step counts where it
does in one of the inputs.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _core
from .._names import whole
from .._trees import is_shape
from .base import Layer
from .recurrent import constant, mask_of, steps_of, with_mask

if TYPE_CHECKING:
    from .base import Shape

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
]

_MOST = 16  # values that one operator takes


def _either(a: Any, b: Any) -> Any:
    """Steps (see `recurrent.steps_of`) that count in one of two; None: all do in one of them."""
    return None if a is None or b is None else _core.apply("maximum", (a, b))


def _within(v: Any, steps: Any, other: Any) -> Any:
    """v where steps count, and `other` elsewhere."""
    if steps is None:
        return v
    shape = (*steps.shape, *(1,) * (len(v.shape) - len(steps.shape)))
    inside = _core.apply("reshape", (steps,), {"shape": shape})
    kept = _core.apply("multiply", (v, inside))
    rest = _core.apply("multiply", (_core.apply("subtract", (1.0, inside)), other))
    return _core.apply("add", (kept, rest))


def _joined(parts: list[Any], axis: int) -> Any:
    while len(parts) > 1:
        parts = [
            _core.apply("concatenate", tuple(parts[k : k + _MOST]), {"axis": axis})
            for k in range(0, len(parts), _MOST)
        ]
    return parts[0]


def _ranks(x: Any) -> list[Any]:
    """Values with axes of length 1 put behind the batch, so that all have equally many."""
    rank = max(len(v.shape) for v in x)
    return [
        v if len(v.shape) == rank else _core.apply(
            "reshape", (v,),
            {"shape": (v.shape[0], *(1,) * (rank - len(v.shape)), *v.shape[1:])},
        )
        for v in x
    ]  # fmt: skip


class _Merge(Layer):
    takes_many = True
    exactly: ClassVar[int | None] = None

    def _check(self, shapes: Any) -> list[Shape]:
        """The inputs' shapes, of the right number."""
        many = isinstance(shapes, (list, tuple)) and not is_shape(shapes)
        count = len(shapes) if many else 1
        if not many or count < 2 or (self.exactly is not None and count != self.exactly):
            wanted = f"exactly {self.exactly}" if self.exactly else "at least 2"
            got = f"the shapes {list(shapes)}" if many else f"one tensor of shape {shapes}"
            raise ValueError(f"layer {self.name!r}: got {got}, expected a list of {wanted} tensors")
        return list(shapes)

    def _values(self, x: Any) -> list[Any]:
        shapes: Any = (
            [tuple(v.shape) for v in x] if isinstance(x, (list, tuple)) else tuple(x.shape)
        )
        self.compute_output_shape(shapes)
        return list(x)


class _Elementwise(_Merge):
    """Axes of length 1, and missing ones behind the batch, are broadcast."""

    op: ClassVar[str]

    def call(self, x: Any, training: bool = False) -> Any:
        parts = self._values(x)
        y, steps = reduce(self._two, zip(_ranks(parts), map(steps_of, parts), strict=True))
        return with_mask(y, steps)

    def _two(self, one: Any, other: Any) -> Any:
        """Two values with their steps as one."""
        (a, in_a), (b, in_b) = one, other
        a, b = self._filled(a, in_a, b, in_b)
        return _core.apply(self.op, (a, b)), _either(in_a, in_b)

    def _filled(self, a: Any, in_a: Any, b: Any, in_b: Any) -> tuple[Any, Any]:
        """Two values with what stands for their steps that do not count."""
        return a, b

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self._check(input_shape)
        found = shapes[0]
        for shape in shapes[1:]:
            a, b = (tuple(s[1:]) for s in (found, shape))
            n = max(len(a), len(b))
            a, b = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
            batches = [s[0] for s in (found, shape) if s[0] is not None]
            fits = all(p == q or p == 1 or q == 1 for p, q in zip(a, b, strict=True))
            if not fits or len(set(batches)) > 1:
                raise ValueError(
                    f"layer {self.name!r}: cannot join shapes {found} and {shape}; expected equal "
                    "ones, but for axes of length 1"
                )
            joined = [q if p == 1 else p for p, q in zip(a, b, strict=True)]
            found = (batches[0] if batches else None, *joined)
        return found


class Add(_Elementwise):
    """The sum of its inputs: a list of tensors of one shape (axes of length 1 are broadcast).

    Raises ValueError, naming both shapes, when they do not fit.

    >>> Add()([np.ones((2, 3)), np.ones((2, 3))]).tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """

    op = "add"


class Subtract(_Elementwise):
    """The first of two inputs minus the second; shapes and errors as in `Add`.

    >>> Subtract()([np.full((1, 2), 5.0), np.ones((1, 2))]).tolist()
    [[4.0, 4.0]]
    """

    op = "subtract"
    exactly = 2


class Multiply(_Elementwise):
    """The product of its inputs, element by element; shapes and errors as in `Add`. A step
    that a mask leaves out of one input counts there as 1, and gives 0 where it is left out of
    all.

    >>> Multiply()([np.full((1, 2), 5.0), np.full((1, 2), 3.0)]).tolist()
    [[15.0, 15.0]]
    """

    op = "multiply"

    def call(self, x: Any, training: bool = False) -> Any:
        y = super().call(x, training)
        return with_mask(_within(y, mask_of(y), 0.0), mask_of(y))

    def _filled(self, a: Any, in_a: Any, b: Any, in_b: Any) -> tuple[Any, Any]:
        return _within(a, in_a, 1.0), _within(b, in_b, 1.0)


class Average(_Elementwise):
    """The mean of its inputs, element by element; shapes and errors as in `Add`.

    >>> Average()([np.zeros((1, 2)), np.full((1, 2), 3.0)]).tolist()
    [[1.5, 1.5]]
    """

    op = "add"

    def call(self, x: Any, training: bool = False) -> Any:
        total = super().call(x, training)
        return with_mask(_core.apply("divide", (total, float(len(x)))), mask_of(total))


class _Extreme(_Elementwise):
    def _filled(self, a: Any, in_a: Any, b: Any, in_b: Any) -> tuple[Any, Any]:
        b = _within(b, in_b, a)
        return _within(a, in_a, b), b


class Maximum(_Extreme):
    """The greatest of its inputs, element by element; shapes and errors as in `Add`. A step
    that a mask leaves out of one input is that of the others.

    >>> Maximum()([np.array([[1.0, 4.0]]), np.array([[3.0, 2.0]])]).tolist()
    [[3.0, 4.0]]
    """

    op = "maximum"


class Minimum(_Extreme):
    """The least of its inputs, element by element; shapes, steps and errors as in `Maximum`.

    >>> Minimum()([np.array([[1.0, 4.0]]), np.array([[3.0, 2.0]])]).tolist()
    [[1.0, 2.0]]
    """

    op = "minimum"


class Concatenate(_Merge):
    """Its inputs one behind the other along `axis`, the last by default; all other axes are
    equal.

    Raises ValueError, naming both shapes, when they are not, or for the batch's axis.

    >>> Concatenate()([np.zeros((1, 2)), np.ones((1, 1))]).tolist()
    [[0.0, 0.0, 1.0]]
    """

    def __init__(self, axis: int = -1, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.axis = whole("axis", axis)

    def call(self, x: Any, training: bool = False) -> Any:
        parts = self._values(x)
        return with_mask(_joined(parts, self.axis), self._mask(parts))

    def _mask(self, parts: list[Any]) -> Any:
        """Masks one behind the other as their steps are; or, where features are joined, a mask
        of the steps that count in one of the parts."""
        steps = [steps_of(v) for v in parts]
        known = next((s for s in steps if s is not None), None)
        if known is None:
            return None
        axis, axes = self.axis % len(parts[0].shape), len(known.shape)
        if axis >= axes:
            return reduce(_either, steps)
        every = [
            constant(np.ones(v.shape[:axes], v.dtype), v) if s is None else s
            for s, v in zip(steps, parts, strict=True)
        ]
        return _joined(every, axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self._check(input_shape)
        first, rank = shapes[0], len(shapes[0])
        axis = self.axis + (rank if self.axis < 0 else 0)
        if not 0 < axis < rank:
            raise ValueError(
                f"layer {self.name!r}: axis {self.axis} of inputs of shape {first}; expected one "
                f"from 1 to {rank - 1}: axis 0 is the batch"
            )
        total: int | None = 0
        for shape in shapes:
            others = [
                (a, b) for k, (a, b) in enumerate(zip(first, shape, strict=False)) if k != axis
            ]
            if len(shape) != rank or any(a != b for a, b in others):
                raise ValueError(
                    f"layer {self.name!r}: cannot put shapes {first} and {shape} behind each other "
                    f"along axis {self.axis}; all other axes must be equal"
                )
            n = shape[axis]
            total = None if n is None or total is None else total + n
        return (*first[:axis], total, *first[axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis, **super().get_config()}


class Dot(_Merge):
    """The sum over one axis of each of two inputs of their product, sample by sample.

    axes: that axis, or one of each (axis 0 is the batch). normalize: both are first divided
    by their length along it, so that the cosine of their angle comes out. The result has
    the axes of the first that are left, then those of the second; (batch, 1) when none is.

    Raises ValueError, naming both shapes, when the two axes are not equally long.

    >>> Dot(axes=1)([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).tolist()
    [[11.0]]
    """

    exactly = 2

    def __init__(self, axes: Any, normalize: bool = False, **keywords: Any) -> None:
        super().__init__(**keywords)
        pair = (axes, axes) if hasattr(axes, "__index__") else tuple(axes)
        if len(pair) != 2:
            raise ValueError(f"axes: got {axes!r}, expected an axis or two of them")
        self.axes = tuple(whole("axes", a) for a in pair)
        self.normalize = bool(normalize)

    def _places(self, shapes: list[Shape]) -> list[int]:
        found = []
        for axis, shape in zip(self.axes, shapes, strict=True):
            at = axis + (len(shape) if axis < 0 else 0)
            if not 0 < at < len(shape):
                raise ValueError(
                    f"layer {self.name!r}: axis {axis} of inputs of shape {shape}; expected one "
                    f"from 1 to {len(shape) - 1}: axis 0 is the batch"
                )
            found.append(at)
        return found

    def call(self, x: Any, training: bool = False) -> Any:
        apply, values = _core.apply, self._values(x)
        places = self._places([v.shape for v in values])
        if self.normalize:
            values = [self._unit(v, p) for v, p in zip(values, places, strict=True)]
        out = self.compute_output_shape([v.shape for v in values])
        flat = []
        for v, p, first in zip(values, places, (True, False), strict=True):
            rest = [k for k in range(1, len(v.shape)) if k != p]
            v = apply("transpose", (v,), {"perm": (0, *rest, p) if first else (0, p, *rest)})
            n, batch = v.shape[-1] if first else v.shape[1], v.shape[0]
            v = apply("reshape", (v,), {"shape": (batch, -1, n) if first else (batch, n, -1)})
            flat.append(v)
        return apply(
            "reshape", (apply("matmul", tuple(flat)),), {"shape": (x[0].shape[0], *out[1:])}
        )

    @staticmethod
    def _unit(v: Any, axis: int) -> Any:
        apply = _core.apply
        squares = apply("sum", (apply("multiply", (v, v)),), {"axis": (axis,), "keepdims": True})
        length = apply("power", (apply("maximum", (squares, 1e-12)), 0.5))
        return apply("divide", (v, length))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        a, b = self._check(input_shape)
        p, q = self._places([a, b])
        if a[p] != b[q] or (a[0] != b[0] and None not in (a[0], b[0])):
            raise ValueError(
                f"layer {self.name!r}: cannot multiply shapes {a} and {b} along their axes "
                f"{self.axes}: {a[p]} is not {b[q]}"
            )
        rest = [n for k, n in enumerate(a) if k not in (0, p)]
        rest += [n for k, n in enumerate(b) if k not in (0, q)]
        return (a[0], *(rest or [1]))

    def get_config(self) -> dict[str, Any]:
        return {"axes": list(self.axes), "normalize": self.normalize, **super().get_config()}
