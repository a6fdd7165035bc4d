"""MaxPooling, AveragePooling over sequences and images, and their global forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .. import _core
from .base import Layer
from .spatial import (
    FORMATS,
    as_pair,
    check_input,
    choice,
    from_image,
    same_padding,
    sizes,
    to_image,
)

if TYPE_CHECKING:
    from .base import Shape


class _Pooling(Layer):
    rank: ClassVar[int]
    op: ClassVar[str]

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.pool_size = sizes("pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else sizes("strides", strides, self.rank)
        self.padding = choice("padding", padding, ("valid", "same"))
        self.data_format = choice("data_format", data_format or FORMATS[0], FORMATS)

    @property
    def _first(self) -> bool:
        return self.data_format == "channels_first"

    def _pixels(self, shape: Shape) -> tuple[int, ...]:
        part = shape[2:] if self._first else shape[1:-1]
        return tuple(int(n or 0) for n in part)

    def _padding(self, pixels: tuple[int, ...]) -> tuple[int, ...]:
        found: tuple[int, ...] = ()
        for n, k, s in zip(pixels, self.pool_size, self.strides, strict=True):
            found += same_padding(n, k, s) if self.padding == "same" else (0, 0)
        return found

    def call(self, x: Any, training: bool = False) -> Any:
        check_input(self.name, x.shape, self.rank, self._first)
        padding = (0, 0)[: 4 - 2 * self.rank] + self._padding(self._pixels(x.shape))
        attrs = {
            "size": as_pair(self.pool_size),
            "strides": as_pair(self.strides),
            "padding": padding,
        }
        y = _core.apply(self.op, (to_image(x, self.rank, self._first),), attrs)
        return from_image(y, self.rank, self._first)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_input(self.name, input_shape, self.rank, self._first)
        pixels = self._pixels(input_shape)
        padding, out = self._padding(pixels), []
        for i, n in enumerate(pixels):
            room = n + padding[2 * i] + padding[2 * i + 1] - self.pool_size[i]
            if room < 0:
                raise ValueError(
                    f"layer {self.name!r}: a window of {self.pool_size} is larger than inputs of "
                    f'shape {input_shape}; use a smaller window or padding="same"'
                )
            out.append(room // self.strides[i] + 1)
        channels = input_shape[1] if self._first else input_shape[-1]
        return (input_shape[0], channels, *out) if self._first else (input_shape[0], *out, channels)

    def get_config(self) -> dict[str, Any]:
        return {
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            **super().get_config(),
        }


class MaxPooling2D(_Pooling):
    """The largest x of each window of `pool_size` pixels, for each channel.

    strides: from window to window (default: pool_size). x (batch, height, width, channels)
    gives (batch, new height, new width, channels). padding: "valid" drops what does not fill a
    window, "same" lets windows reach beyond the image. The gradient goes to the first of the
    largest.

    Raises ValueError or TypeError for arguments that cannot be, and for a window larger than
    the image.

    >>> MaxPooling2D()(np.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """

    rank = 2
    op = "max_pool2d"


class AveragePooling2D(_Pooling):
    """The mean of each window of `pool_size` pixels, for each channel; what lies beyond the
    image does not count. Arguments and errors as in MaxPooling2D.

    >>> AveragePooling2D()(np.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """

    rank = 2
    op = "avg_pool2d"


class MaxPooling1D(_Pooling):
    """MaxPooling2D along one axis: x (batch, steps, channels).

    >>> MaxPooling1D(3)(np.arange(6.0).reshape(1, 6, 1)).ravel().tolist()
    [2.0, 5.0]
    """

    rank = 1
    op = "max_pool2d"


class AveragePooling1D(_Pooling):
    """AveragePooling2D along one axis: x (batch, steps, channels).

    >>> AveragePooling1D(3)(np.arange(6.0).reshape(1, 6, 1)).ravel().tolist()
    [1.0, 4.0]
    """

    rank = 1
    op = "avg_pool2d"


class _Global(Layer):
    rank: ClassVar[int]
    op: ClassVar[str]

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        self.data_format = choice("data_format", data_format or FORMATS[0], FORMATS)
        self.keepdims = bool(keepdims)

    @property
    def _axes(self) -> tuple[int, ...]:
        begin = 2 if self.data_format == "channels_first" else 1
        return tuple(range(begin, begin + self.rank))

    def _check(self, shape: Shape) -> None:
        check_input(self.name, shape, self.rank, self.data_format == "channels_first")
        if any(shape[axis] == 0 for axis in self._axes):
            raise ValueError(
                f"layer {self.name!r}: inputs of shape {tuple(shape)} are empty along "
                f"{'the steps' if self.rank == 1 else 'height or width'}; expected at least one "
                f"{'step' if self.rank == 1 else 'pixel'} to pool"
            )

    def call(self, x: Any, training: bool = False) -> Any:
        self._check(x.shape)
        return _core.apply(self.op, (x,), {"axis": self._axes, "keepdims": self.keepdims})

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check(input_shape)
        kept = (1 if i in self._axes else n for i, n in enumerate(input_shape))
        return tuple(n for i, n in enumerate(kept) if self.keepdims or i not in self._axes)

    def get_config(self) -> dict[str, Any]:
        own = {"data_format": self.data_format, "keepdims": self.keepdims}
        return {**own, **super().get_config()}


class GlobalAveragePooling2D(_Global):
    """The mean over height and width: (batch, height, width, channels) to (batch, channels).

    >>> GlobalAveragePooling2D()(np.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[1.5]]
    """

    rank = 2
    op = "mean"


class GlobalMaxPooling2D(_Global):
    """The largest over height and width: (batch, height, width, channels) to (batch, channels).

    >>> GlobalMaxPooling2D()(np.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[3.0]]
    """

    rank = 2
    op = "max"


class GlobalAveragePooling1D(_Global):
    """The mean over the steps: (batch, steps, channels) to (batch, channels).

    >>> GlobalAveragePooling1D()(np.arange(4.0).reshape(1, 4, 1)).tolist()
    [[1.5]]
    """

    rank = 1
    op = "mean"


class GlobalMaxPooling1D(_Global):
    """The largest over the steps: (batch, steps, channels) to (batch, channels).

    >>> GlobalMaxPooling1D()(np.arange(4.0).reshape(1, 4, 1)).tolist()
    [[3.0]]
    """

    rank = 1
    op = "max"
