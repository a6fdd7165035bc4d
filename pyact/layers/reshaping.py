"""ZeroPadding and UpSampling over sequences and images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _core
from .._names import whole
from .base import Layer
from .spatial import FORMATS, check_input, choice, sizes

if TYPE_CHECKING:
    from .base import Shape


def pad(x: Any, axis: int, before: int, after: int) -> Any:
    """x with zeros before and after along an axis."""

    def zeros(n: int) -> tuple[Any, ...]:
        shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
        return (np.zeros(shape, x.dtype),) if n else ()

    parts = (*zeros(before), x, *zeros(after))
    return x if len(parts) == 1 else _core.apply("concatenate", parts, {"axis": axis})


class _Spatial(Layer):
    rank: ClassVar[int]

    def __init__(self, data_format: str | None = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.data_format = choice("data_format", data_format or FORMATS[0], FORMATS)

    @property
    def _axes(self) -> range:
        begin = 2 if self.data_format == "channels_first" else 1
        return range(begin, begin + self.rank)

    def _check(self, shape: Shape) -> None:
        check_input(self.name, shape, self.rank, self.data_format == "channels_first")

    def get_config(self) -> dict[str, Any]:
        return {"data_format": self.data_format, **super().get_config()}


def _pairs(value: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """Keras's forms of padding: a number, one for each axis, or (before, after) for each."""
    form = "an integer" + (", 2 of them," if rank == 2 else "") + " or (before, after) per axis"
    if hasattr(value, "__index__"):
        value = (value,) * (2 if rank == 1 else rank)
    try:
        found = tuple(value)
        if rank == 1 and len(found) == 2:
            found = (found,)
        pairs = tuple((p, p) if hasattr(p, "__index__") else tuple(p) for p in found)
    except TypeError:
        raise TypeError(f"padding must be {form}, got {value!r}") from None
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        raise ValueError(f"padding must be {form}, got {value!r}")
    return tuple((whole("padding", a, 0), whole("padding", b, 0)) for a, b in pairs)


class _ZeroPadding(_Spatial):
    def __init__(self, padding: Any = 1, data_format: str | None = None, **keywords: Any) -> None:
        super().__init__(data_format, **keywords)
        self.padding = _pairs(padding, self.rank)

    def call(self, x: Any, training: bool = False) -> Any:
        self._check(x.shape)
        for axis, (before, after) in zip(self._axes, self.padding, strict=True):
            x = pad(x, axis, before, after)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check(input_shape)
        shape = list(input_shape)
        for axis, around in zip(self._axes, self.padding, strict=True):
            shape[axis] = (shape[axis] or 0) + sum(around)
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        pairs = [list(p) for p in self.padding]
        return {"padding": pairs[0] if self.rank == 1 else pairs, **super().get_config()}


class ZeroPadding2D(_ZeroPadding):
    """Rows and columns of zeros around an image: `padding` is a number, (rows, columns), or
    ((top, bottom), (left, right)).

    Raises ValueError or TypeError for anything else.

    >>> ZeroPadding2D(((1, 0), (2, 3)))(np.ones((1, 4, 4, 2))).shape
    (1, 5, 9, 2)
    """

    rank = 2


class ZeroPadding1D(_ZeroPadding):
    """Steps of zeros around a sequence: `padding` is a number or (before, after).

    >>> ZeroPadding1D((2, 1))(np.ones((1, 4, 3))).shape
    (1, 7, 3)
    """

    rank = 1


class _UpSampling(_Spatial):
    def __init__(self, size: Any = 2, data_format: str | None = None, **keywords: Any) -> None:
        super().__init__(data_format, **keywords)
        self.size = sizes("size", size, self.rank)

    def call(self, x: Any, training: bool = False) -> Any:
        self._check(x.shape)
        for axis, n in zip(self._axes, self.size, strict=True):
            shape = x.shape
            thin = (*shape[: axis + 1], 1, *shape[axis + 1 :])
            wide = (*shape[: axis + 1], n, *shape[axis + 1 :])
            x = _core.apply("reshape", (x,), {"shape": thin})
            x = _core.apply("broadcast_to", (x,), {"shape": wide})
            whole_axis = (*shape[:axis], shape[axis] * n, *shape[axis + 1 :])
            x = _core.apply("reshape", (x,), {"shape": whole_axis})
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check(input_shape)
        shape = list(input_shape)
        for axis, n in zip(self._axes, self.size, strict=True):
            shape[axis] = (shape[axis] or 0) * n
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        size = self.size[0] if self.rank == 1 else list(self.size)
        return {"size": size, **super().get_config()}


def _between(n: int, times: int) -> Any:
    """The (times n, n) matrix that takes n pixels to times n between them, linearly."""
    at = np.clip((np.arange(n * times) + 0.5) / times - 0.5, 0, max(n - 1, 0))
    return np.maximum(1 - np.abs(at[:, None] - np.arange(n)), 0)


class UpSampling2D(_UpSampling):
    """An image `size` times as large (one number, or (rows, columns)).

    interpolation: "nearest" repeats every pixel; "bilinear" draws straight lines between the
    middles of pixels, and goes on flat from the outermost ones to the border.

    Raises ValueError or TypeError for arguments that cannot be.

    >>> UpSampling2D()(np.array([1.0, 2.0]).reshape(1, 1, 2, 1)).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]
    """

    rank = 2

    def __init__(
        self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest",
        **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(size, data_format, **keywords)
        self.interpolation = choice("interpolation", interpolation, ("bilinear", "nearest"))

    def call(self, x: Any, training: bool = False) -> Any:
        if self.interpolation == "nearest":
            return super().call(x, training)
        self._check(x.shape)
        for axis, times in zip(self._axes, self.size, strict=True):
            before, n, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
            flat = (math.prod(before), n, math.prod(behind))
            x = _core.apply("reshape", (x,), {"shape": flat})
            x = _core.apply("matmul", (_between(n, times).astype(x.dtype), x))
            x = _core.apply("reshape", (x,), {"shape": (*before, n * times, *behind)})
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interpolation": self.interpolation}


class UpSampling1D(_UpSampling):
    """Every step repeated `size` times.

    >>> UpSampling1D(3)(np.array([1.0, 2.0]).reshape(1, 2, 1)).ravel().tolist()
    [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    """

    rank = 1
