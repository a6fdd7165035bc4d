"""What layers over images and sequences share: sizes, padding, the order of the axes.

The operators know images with channels last, (batch, height, width, channels). A sequence
(batch, time, channels) is an image of height 1; "channels_first" is a transposition before
and one behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core
from .._names import unknown, whole

if TYPE_CHECKING:
    from .base import Shape

FORMATS = ("channels_last", "channels_first")


def sizes(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """`rank` whole numbers of at least 1; one number stands for all.

    >>> sizes("strides", 2, 2), sizes("strides", (1, 3), 2)
    ((2, 2), (1, 3))
    """
    if hasattr(value, "__index__"):
        value = (value,) * rank
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer or {rank} of them, got {value!r}") from None
    if len(found) != rank:
        raise ValueError(f"{name} must be an integer or {rank} of them, got {value!r}")
    return tuple(whole(name, n, 1) for n in found)


def choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    """One of the known words; ValueError for another one."""
    word = value.lower() if isinstance(value, str) else value
    if word not in known:
        raise unknown(name, value, known)
    return str(word)


def same_padding(n: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after n pixels so that ceil(n / stride) windows of `size` fit.

    >>> same_padding(28, 5, 1), same_padding(7, 2, 2)
    ((2, 2), (0, 1))
    """
    total = max((-(-n // stride) - 1) * stride + size - n, 0)
    return total // 2, total - total // 2


def check_input(whose: str, shape: Shape, rank: int, first: bool) -> None:
    """Raises ValueError unless (batch, pixels ..., channels), all known but the batch."""
    axes = ("height", "width") if rank == 2 else ("steps",)
    names = ("batch", "channels", *axes) if first else ("batch", *axes, "channels")
    if len(shape) != rank + 2 or None in shape[1:]:
        raise ValueError(
            f"layer {whose!r}: got inputs of shape {shape}, expected {rank + 2} axes, "
            f"({', '.join(names)}), all known but the batch"
        )


def channels_of(shape: Shape, first: bool) -> int:
    """The number of channels of an input that `check_input` has let pass."""
    return int(shape[1 if first else -1] or 0)


def to_image(x: Any, rank: int, first: bool) -> Any:
    """x as (batch, height, width, channels)."""
    if first:
        x = _core.apply("transpose", (x,), {"perm": (0, *range(2, rank + 2), 1)})
    if rank == 1:
        x = _core.apply("reshape", (x,), {"shape": (x.shape[0], 1, *x.shape[1:])})
    return x


def from_image(x: Any, rank: int, first: bool) -> Any:
    """The inverse of `to_image`."""
    if rank == 1:
        x = _core.apply("reshape", (x,), {"shape": (x.shape[0], *x.shape[2:])})
    if first:
        x = _core.apply("transpose", (x,), {"perm": (0, rank + 1, *range(1, rank + 1))})
    return x


def as_pair(values: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of a sequence as sizes of an image of height 1."""
    return values if len(values) == 2 else (1, *values)
