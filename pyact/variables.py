"""Weights: arrays that view the model's own memory.

A `Weight` is a NumPy array like any other; writing to it changes the model. It also knows
its place in the core's memory, so that operators record it as a parameter and not as a
constant. Slices and results of arithmetic are plain arrays.
"""

from __future__ import annotations

from _thread import _local
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Weight", "WeightSpec", "allocate", "zeros_within"]

_ALIGN = 64  # bytes; where each weight begins, so that vector loads do not straddle lines


class Weight(np.ndarray):
    """A weight of a layer; made by `Layer.add_weight`.

    block, offset: its place in the core's memory (elements). trainable: does the
    optimizer change it? name: as shown by `summary` and files.
    """

    block: Block | None = None
    offset: int = 0
    trainable: bool = True
    name: str = ""

    def assign(self, value: Any) -> None:
        """Writes `value`, of the same shape, into the weight.

        Raises ValueError for another shape; nothing is broadcast.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.name or 'weight'}: got shape {array.shape}, expected {self.shape}"
            )
        self[...] = array

    def numpy(self) -> NDArray[Any]:
        """A copy as a plain array."""
        return np.array(self, subok=False)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()  # a pickled weight is a plain array

    def __deepcopy__(self, memo: Any) -> Any:
        return self.numpy()


class WeightSpec:
    """What a layer says about a weight before it has memory."""

    __slots__ = ("initializer", "name", "shape", "trainable")

    def __init__(
        self, name: str, shape: Sequence[int], initializer: Any, trainable: bool = True
    ) -> None:
        self.name = name
        self.shape = tuple(int(n) for n in shape)
        self.initializer = initializer
        self.trainable = trainable


_allowance = _local()


@contextmanager
def zeros_within(elements: int) -> Iterator[None]:
    """Inside, in this thread, new weights stay zero and have so many elements at most in
    all: what is read from a file is written over them, and a file cannot ask for more
    memory than it fills.

    Raises ValueError from `allocate` for more.
    """
    before = getattr(_allowance, "left", None)
    _allowance.left = elements
    try:
        yield
    finally:
        _allowance.left = before


def _may_allocate(specs: Sequence[WeightSpec]) -> bool:
    """Are initial values wanted? Counts against the allowance when they are not."""
    left = getattr(_allowance, "left", None)
    if left is None:
        return True
    for spec in specs:
        count = 1
        for n in spec.shape:
            count *= n
        left -= count
    if left < 0:
        raise ValueError("the layers ask for more weights than there are in the file")
    _allowance.left = left
    return False


def _size(spec: WeightSpec, itemsize: int) -> int:
    unit = _ALIGN // itemsize
    count = 1
    for n in spec.shape:
        count *= n
    return -(-count // unit) * unit


def allocate(specs: Sequence[WeightSpec], dtype: Any) -> list[Weight]:
    """Weights with their initial values, one behind the other in one block."""
    dtype = np.dtype(dtype)
    wanted = _may_allocate(specs)
    block = Block(dtype, sum(_size(s, dtype.itemsize) for s in specs))
    weights, offset = [], 0
    for spec in specs:
        weight = block.view(offset, spec.shape).view(Weight)
        weight.block, weight.offset = block, offset
        weight.trainable, weight.name = spec.trainable, spec.name
        if wanted:
            weight.assign(spec.initializer(spec.shape, dtype))
        weights.append(weight)
        offset += _size(spec, dtype.itemsize)
    return weights
